"""A real Postfix of a test's own: in a folder it cannot leave, delivering there and nowhere else.

It runs under chroot, with a user list of its own, so nothing has to be installed and no mail server of
this machine is touched. Its files come from `build/mta` (`make mta`) or, where Postfix is installed,
from the system. There is no service that could send mail on: `smtp`, `lmtp` and `pipe` are not copied.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import socket
import stat
import subprocess
import time
from pathlib import Path
from typing import NamedTuple, Self

from tests.architecture.repository import ROOT

FETCHED = ROOT / "build" / "mta"
DAEMONS = "/usr/lib/postfix/sbin"
SERVICES = (
    "anvil", "bounce", "cleanup", "error", "master", "postlogd", "proxymap", "qmgr", "smtpd", "tlsmgr",
    "trivial-rewrite", "virtual",
)  # fmt: skip
QUEUES = (
    "active", "bounce", "corrupt", "defer", "deferred", "flush", "hold", "incoming", "private", "saved",
    "trace",
)  # fmt: skip
START_SECONDS_MAX = 20.0
DELIVERY_SECONDS_MAX = 60.0

DOMAIN = "mail.example"
USER, PASSWORD = "shop", "pä$s word"
MESSAGE_BYTES_MAX = 60_000
ERRORS_MAX = 20
"""Postfix ends a session with 421 after so many refusals; this is its default."""

REFUSALS = {
    "busy": "450 4.2.1 busy",
    "full": "552 5.2.2 full",
    "closed": "550 5.2.1 closed",
    "policy": "554 5.7.1 not from you",
}
"""Mailbox -> what is said of it."""

PASSWD = """\
root:x:0:0::/:/none
postfix:x:64101:64101::/var/spool/postfix:/none
vmail:x:64102:64102::/var/mail:/none
nobody:x:65534:65534::/nowhere:/none
"""
GROUP = "root:x:0:\npostfix:x:64101:\nvmail:x:64102:\npostdrop:x:64103:\nnogroup:x:65534:\n"
POSTFIX_ID, VMAIL_ID, POSTDROP_ID = 64101, 64102, 64103

MAIN_CF = f"""\
compatibility_level = 3.6
myhostname = {DOMAIN}
mydestination =
mynetworks =
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
smtpd_peername_lookup = no
alias_maps =
alias_database =
maillog_file = /var/log/maillog
default_transport = error:nothing leaves
relay_transport = error:nothing leaves
virtual_mailbox_domains = {DOMAIN}
virtual_mailbox_maps = texthash:/etc/postfix/mailboxes
virtual_mailbox_base = /var/mail
virtual_uid_maps = static:{VMAIL_ID}
virtual_gid_maps = static:{VMAIL_ID}
smtpd_relay_restrictions = reject_unauth_destination
smtpd_recipient_restrictions = check_recipient_access texthash:/etc/postfix/refusals
message_size_limit = {MESSAGE_BYTES_MAX}
in_flow_delay = 0
smtpd_soft_error_limit = 10000
smtpd_hard_error_limit = {ERRORS_MAX}
smtpd_tls_chain_files = /etc/postfix/tls.pem
tls_random_source =
smtpd_tls_security_level = none
smtpd_sasl_local_domain = {DOMAIN}
smtpd_sasl_path = smtpd
cyrus_sasl_config_path = /etc/postfix/sasl
"""

LOGIN = (
    "-o smtpd_sasl_auth_enable=yes -o smtpd_sender_restrictions=permit_sasl_authenticated,reject"
)
MASTER_CF = f"""\
127.0.0.1:{{plain}} inet n - n - - smtpd
127.0.0.1:{{starttls}} inet n - n - - smtpd -o smtpd_tls_security_level=encrypt {LOGIN}
127.0.0.1:{{implicit}} inet n - n - - smtpd -o smtpd_tls_wrappermode=yes {LOGIN}
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
tlsmgr unix - - n 1000? 1 tlsmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
error unix - - n - - error
proxymap unix - - n - - proxymap
virtual unix - n n - - virtual
anvil unix - - n - 1 anvil
postlog unix-dgram n - n - 1 postlogd
"""
SASL_CONF = "pwcheck_method: auxprop\nauxprop_plugin: sasldb\nmech_list: PLAIN\n"

ADDED = re.compile(rb"(?:(?:Return-Path|X-Original-To|Delivered-To|Received):.*\n(?:[ \t].*\n)*)+")
"""The headers that a server writes above a message it delivers."""


def missing() -> str:
    """Return why there can be no Postfix here, "" if there can."""
    if os.geteuid() != 0:
        return "Postfix has to be started by root"
    if shutil.which("openssl") is None:
        return "a certificate needs the openssl command"
    for path in (f"{DAEMONS}/master", "/usr/sbin/saslpasswd2"):
        if _file(path) is None:
            return f"no {path}: 'make mta' fetches it where apt-get can"
    if _plugin() is None:
        return "no sasldb plugin: 'make mta' fetches it where apt-get can"
    return ""


def _file(path: str) -> Path | None:
    """Return where the file of the server is on this machine."""
    for found in (Path(f"{FETCHED}{path}"), Path(path)):
        if found.exists():
            return found
    return None


def _plugin() -> Path | None:
    for root in (FETCHED, Path("/")):
        for found in root.glob("usr/lib/*/sasl2/libsasldb.so"):
            return found.relative_to(root)
    return None


class Delivered(NamedTuple):
    """One file of a mailbox."""

    recipient: str
    queue_id: str
    """Of the message when it was accepted: the same if a killed server delivers it again."""
    message: bytes
    """As it was sent, without what the server put above."""


class Postfix:
    """The server, for one `with` block.

    `with Postfix(folder, names) as mta: ... mta.ports["starttls"] ... mta.delivered("a")`

    Args:
        folder: becomes its root directory; does not exist yet.
        mailboxes: each has the addresses name.0 to name.999 and their mail in one maildir.
    """

    def __init__(self, folder: Path, mailboxes: tuple[str, ...]) -> None:
        self.root = folder
        self.certificate = folder / "etc/postfix/cert.pem"
        self.ports = _free_ports("plain", "starttls", "implicit")
        self._process: subprocess.Popen[bytes] | None = None
        self._copied: set[str] = set()
        self._copy_programs()
        self._make_folders(mailboxes)
        self._configure(mailboxes)

    def start(self) -> None:
        """Start, and return once it answers on all ports."""
        self._process = subprocess.Popen(
            ["chroot", self.root, f"{DAEMONS}/master", "-d"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            # A group of its own, with all its services in it.
            start_new_session=True,
        )
        give_up = time.monotonic() + START_SECONDS_MAX
        while not all(_answers(port, name == "implicit") for name, port in self.ports.items()):
            assert self._process.poll() is None, f"it ended at once: {self.log()}"
            assert time.monotonic() < give_up, f"it does not answer: {self.log()}"
            time.sleep(0.05)

    def kill(self) -> None:
        """End it and all its services without warning, as a power cut would. Idempotent."""
        process, self._process = self._process, None
        if process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()

    def log(self) -> str:
        path = self.root / "var/log/maillog"
        return path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""

    def delivered(self, mailbox: str) -> list[Delivered]:
        """Return what lies in a mailbox."""
        return [
            _delivered(p.read_bytes()) for p in (self.root / f"var/mail/{mailbox}/new").glob("*")
        ]

    def wait_until_idle(self) -> None:
        """Return when all that was accepted has been delivered."""
        queues = [self.root / f"var/spool/postfix/{q}" for q in ("maildrop", "incoming", "active")]
        give_up = time.monotonic() + DELIVERY_SECONDS_MAX
        while any(_is_mail(path) for queue in queues for path in queue.rglob("*")):
            assert time.monotonic() < give_up, f"mail is stuck: {self.log()[-2_000:]}"
            time.sleep(0.02)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self.kill()

    # The folder ----------------------------------------------------------------------------

    def _copy_programs(self) -> None:
        plugin = _plugin()
        assert plugin is not None
        wanted = [f"{DAEMONS}/{name}" for name in SERVICES]
        for path in (
            *wanted,
            "/usr/sbin/saslpasswd2",
            f"/{plugin}",
            f"/{plugin.parent}/libplain.so",
        ):
            self._copy(path)

    def _copy(self, path: str) -> None:
        """Copy a program to the same place, and the libraries it asks for to where they are found."""
        source = _file(path)
        assert source is not None, f"no {path}"
        self._put(source, path)
        folders = [
            FETCHED / "usr/lib/postfix",
            *FETCHED.glob("usr/lib/*-linux-*"),
            "/usr/lib/postfix",
        ]
        environment = os.environ | {"LD_LIBRARY_PATH": ":".join(map(str, folders))}
        listed = subprocess.run(
            ["ldd", source], env=environment, check=True, capture_output=True, text=True
        )
        for name, found in re.findall(
            r"^\s*(\S+)(?: => (/\S+))? \(0x", listed.stdout, re.MULTILINE
        ):
            if found:
                inner = "/usr/lib/postfix" if name.startswith("libpostfix") else "/usr/lib"
                self._put(Path(found), f"{inner}/{name}")
            elif name.startswith("/"):
                # The loader, by the name that stands in every program.
                self._put(Path(name), name)

    def _put(self, source: Path, path: str) -> None:
        if path not in self._copied:
            self._copied.add(path)
            target = Path(f"{self.root}{path}")
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(source, target)

    def _make_folders(self, mailboxes: tuple[str, ...]) -> None:
        self.root.chmod(0o755)
        spool = self.root / "var/spool/postfix"
        for path in ("etc/postfix/sasl", "var/log", "var/spool/postfix/pid", "dev", "tmp", "run"):
            (self.root / path).mkdir(parents=True, exist_ok=True)
        for path in (*[spool / name for name in QUEUES], self.root / "var/lib/postfix"):
            path.mkdir(parents=True, mode=0o700)
            os.chown(path, POSTFIX_ID, 0)
        for name, mode in (("maildrop", 0o1730), ("public", 0o2710)):
            (spool / name).mkdir()
            os.chown(spool / name, POSTFIX_ID, POSTDROP_ID)
            (spool / name).chmod(mode)
        for name in mailboxes:
            (self.root / f"var/mail/{name}").mkdir(parents=True)
            os.chown(self.root / f"var/mail/{name}", VMAIL_ID, VMAIL_ID)
        # A file will do, and needs no right to make devices.
        (self.root / "dev/null").touch()
        (self.root / "dev/null").chmod(0o666)

    def _configure(self, mailboxes: tuple[str, ...]) -> None:
        etc = self.root / "etc/postfix"
        texts = {
            "../passwd": PASSWD,
            "../group": GROUP,
            "main.cf": MAIN_CF,
            "master.cf": MASTER_CF.format(**self.ports),
            "sasl/smtpd.conf": SASL_CONF,
            "mailboxes": "".join(
                f"{name}.{n}@{DOMAIN} {name}/\n" for name in mailboxes for n in range(1_000)
            ),
            "refusals": "".join(f"{name}@{DOMAIN} {reply}\n" for name, reply in REFUSALS.items()),
        }
        for name, text in texts.items():
            (etc / name).write_text(text, encoding="utf-8")
        key = etc / "key.pem"
        command = (
            "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2"
        )
        command += " -subj /CN=localhost -addext subjectAltName=DNS:localhost"
        subprocess.run(
            [*command.split(), "-keyout", key, "-out", self.certificate],
            check=True,
            capture_output=True,
        )
        (etc / "tls.pem").write_bytes(key.read_bytes() + self.certificate.read_bytes())
        subprocess.run(
            ["chroot", self.root, "/usr/sbin/saslpasswd2", "-c", "-p", "-u", DOMAIN, USER],
            input=PASSWORD.encode(),
            check=True,
            capture_output=True,
        )
        os.chown(self.root / "etc/sasldb2", POSTFIX_ID, 0)


def _free_ports(*names: str) -> dict[str, int]:
    sockets = {name: socket.create_server(("127.0.0.1", 0)) for name in names}
    ports = {name: each.getsockname()[1] for name, each in sockets.items()}
    for each in sockets.values():
        each.close()
    return ports


def _answers(port: int, is_silent: bool) -> bool:
    """Whether somebody greets there, or listens at least where TLS comes first."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=5.0) as connection:
            return is_silent or connection.recv(64).startswith(b"220 ")
    except OSError:
        return False


def _is_mail(path: Path) -> bool:
    """Whether it is a whole message: half a one, left by a killed server, is not executable."""
    try:
        status = path.stat()
    except FileNotFoundError:
        return False
    return stat.S_ISREG(status.st_mode) and bool(status.st_mode & stat.S_IXUSR)


def _delivered(stored: bytes) -> Delivered:
    added = ADDED.match(stored)
    assert added is not None, "no header of the server's own"
    recipient = re.search(rb"^X-Original-To: (.*)$", added.group(), re.MULTILINE)
    queue_id = re.search(rb"\bid ([0-9A-Za-z]+)\b", added.group())
    assert recipient is not None
    assert queue_id is not None
    return Delivered(
        recipient.group(1).decode(),
        queue_id.group(1).decode(),
        stored[added.end() :].replace(b"\n", b"\r\n"),
    )
