"""What an operator may set: read once, frozen, printable.

Decides: the options with their defaults, and where they come from. In this order, the first wins:

    command line   --grpc-listen 127.0.0.1:7233
    environment    AFTERWORD_GRPC_LISTEN=127.0.0.1:7233
    TOML file      [grpc] listen = "127.0.0.1:7233"     (--config or AFTERWORD_CONFIG)

All three spell an option by its group and name, so there is one list of them: the classes below.
Never: opens anything but the TOML file; reads the environment only where it is handed in. A virtual
clock cannot be asked for here: it is given to the daemon by whoever constructs it.
"""

from __future__ import annotations

import argparse
import enum
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec

from control.addresses import (
    PORT_MAX,
    check_public_url,
    check_redis_url,
    is_loopback,
    refuse,
    split_address,
)
from core import bounds
from core.errors import InvalidField
from senders.smtp import CONNECTIONS_MAX, is_helo_name

CONFIG_VARIABLE = "AFTERWORD_CONFIG"
MASK = "***"
DRAIN_MAX_MS = 10 * bounds.MINUTE_MS
MAIL_PER_SECOND_MAX = 10_000


class Fsync(enum.StrEnum):
    """When the embedded server writes to disk."""

    ALWAYS = "always"
    """Before it answers: what is acknowledged survives a crash of the machine."""
    EVERYSEC = "everysec"
    """Every second: a crash of the machine may lose about the last one."""


class UnsubscribeScope(enum.StrEnum):
    """What somebody who just unsubscribes means (R19)."""

    ACCOUNT = "account"
    """Messages of that purpose from all channels: the account is who answers for them."""
    CHANNEL = "channel"
    """Messages of that purpose from that channel."""


class Grpc(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The API."""

    listen: str = "127.0.0.1:7233"
    """host:port, [v6]:port or unix:/path; port 0 picks a free one."""
    tls_cert_file: str = ""
    tls_key_file: str = ""
    reflection: bool = False
    """Lets tools such as grpcurl ask which methods there are."""


class Http(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Metrics and health for machines."""

    listen: str = "127.0.0.1:9464"
    """host:port; port 0 picks a free one, "" switches it off."""


class Public(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How people reach us."""

    url: str = ""
    """https base of the links in messages; "" for none, and then messages carry no such links."""


class Unsubscribe(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where the links in messages are answered."""

    listen: str = "127.0.0.1:9465"
    """host:port, listened on if there is a `public.url`; port 0 picks a free one, "" leaves it to
    another daemon of the same store."""
    scope: UnsubscribeScope = UnsubscribeScope.ACCOUNT
    """What one click ends, and what the page offers first."""


class StoreOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where the state lives."""

    data_dir: str = "./afterword-data"
    """Home of the embedded server's data; one daemon at a time."""
    redis_url: str = ""
    """redis://[user:password@]host:port or unix:///path; "" runs the embedded server."""
    redis_server: str = ""
    """Binary of the embedded server; "" finds one."""
    fsync: Fsync = Fsync.ALWAYS
    partitions: int = bounds.PARTITIONS_DEFAULT
    """Of a new store: a power of two."""
    slot_width_ms: int = bounds.HOUR_MS
    """Of a new store."""


class Mail(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How e-mail leaves."""

    host: str = ""
    """SMTP server; "" writes .eml files to `outbox_dir` instead."""
    port: int = 25
    connections: int = 4
    user: str = ""
    password_file: str = ""
    starttls: bool = False
    helo_name: str = "localhost"
    """How this machine names itself to SMTP servers, those of senders too; many want its DNS name."""
    messages_per_second: float = 0
    """By this way, of this daemon; 0: no limit."""
    outbox_dir: str = ""
    """"" means the folder `outbox` in the data directory."""


class Auth(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Who may call."""

    tokens_file: str = ""
    """TOML with the hashes of bearer tokens; "" lets everybody on this machine in, and nobody else."""


class SecretOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where the credentials of senders are."""

    dir: str = ""
    """Folder with a folder for each account, and in it a file for each secret; "" for none."""


class Allow(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is forbidden unless said here."""

    private_endpoints: bool = False
    """Senders may call private networks and this machine, without TLS too."""


class Life(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How the daemon comes and goes."""

    drain_ms: int = 10 * bounds.SECOND_MS
    """How long calls and hand-overs under way may take at the end."""
    default_caps: bool = True
    """A new account starts with the default frequency caps."""


class AutomationOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which predefined automations there are."""

    dir: str = ""
    """Folder of further ones, a YAML or JSON file each; read when the daemon starts."""


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Everything an operator may set."""

    grpc: Grpc = Grpc()
    http: Http = Http()
    public: Public = Public()
    unsubscribe: Unsubscribe = Unsubscribe()
    store: StoreOptions = StoreOptions()
    mail: Mail = Mail()
    auth: Auth = Auth()
    secrets: SecretOptions = SecretOptions()
    allow: Allow = Allow()
    life: Life = Life()
    automations: AutomationOptions = AutomationOptions()

    def __repr__(self) -> str:
        return f"Settings({', '.join(self.lines())})"

    def lines(self) -> list[str]:
        """Return every option as "group.name = value", secrets masked."""
        return [
            f"{group}.{name} = {_shown(name, getattr(getattr(self, group), name))}"
            for group, name, _ in options()
        ]

    def validate(self) -> None:
        """Check everything that can be checked without opening anything.

        Raises:
            InvalidField: the field is the option, "store.partitions".
        """
        split_address(self.grpc.listen, "grpc.listen")
        if self.http.listen:
            split_address(self.http.listen, "http.listen")
        if self.public.url:
            check_public_url(self.public.url)
        if self.unsubscribe.listen:
            split_address(self.unsubscribe.listen, "unsubscribe.listen")
        if bool(self.grpc.tls_cert_file) != bool(self.grpc.tls_key_file):
            refuse("grpc.tls_key_file", "goes together with grpc.tls_cert_file")
        if not self.auth.tokens_file and not is_loopback(self.grpc.listen):
            refuse(
                "grpc.listen",
                "must be on this machine (127.0.0.1, [::1], localhost or unix:) as long as there is "
                "no auth.tokens_file: without tokens everybody who reaches it is let in",
            )
        count = self.store.partitions
        if not 1 <= count <= bounds.PARTITIONS_MAX or count & (count - 1):
            refuse("store.partitions", f"must be a power of two up to {bounds.PARTITIONS_MAX:,}")
        _check_range("store.slot_width_ms", self.store.slot_width_ms, 1_000, 30 * bounds.DAY_MS)
        if self.store.redis_url:
            check_redis_url(self.store.redis_url)
        elif not self.store.data_dir:
            refuse("store.data_dir", "must name a folder: the embedded server keeps its data there")
        _check_range("mail.port", self.mail.port, 1, PORT_MAX)
        _check_range("mail.connections", self.mail.connections, 1, CONNECTIONS_MAX)
        if not is_helo_name(self.mail.helo_name):
            refuse("mail.helo_name", "must be a host name or an address literal")
        pace = self.mail.messages_per_second
        _check_range("mail.messages_per_second", pace, 0, MAIL_PER_SECOND_MAX)
        if self.mail.user and not self.mail.starttls:
            refuse("mail.user", "needs mail.starttls: a password is only sent under TLS")
        if bool(self.mail.user) != bool(self.mail.password_file):
            refuse("mail.password_file", "goes together with mail.user")
        _check_range("life.drain_ms", self.life.drain_ms, 0, DRAIN_MAX_MS)


_GROUPS: dict[str, type[msgspec.Struct]] = {
    "grpc": Grpc,
    "http": Http,
    "public": Public,
    "unsubscribe": Unsubscribe,
    "store": StoreOptions,
    "mail": Mail,
    "auth": Auth,
    "secrets": SecretOptions,
    "allow": Allow,
    "life": Life,
    "automations": AutomationOptions,
}

_HELP = {
    "grpc.listen": "address of the API: host:port or unix:/path",
    "grpc.tls_cert_file": "certificate chain, PEM",
    "grpc.tls_key_file": "its key, PEM",
    "grpc.reflection": "answer server reflection",
    "http.listen": 'address of /metrics, /healthz and /readyz; "" for none',
    "public.url": "https base of unsubscribe links; without one, messages carry none",
    "unsubscribe.listen": 'address that answers them if there is a public.url; "" for none',
    "unsubscribe.scope": "what one click ends: account (all channels), channel",
    "store.data_dir": "folder of the embedded server's data",
    "store.redis_url": "an external Redis or Valkey instead of the embedded server",
    "store.redis_server": "binary of the embedded server",
    "store.fsync": "when the embedded server writes to disk: always, everysec",
    "store.partitions": "partitions of a new store",
    "store.slot_width_ms": "slot width of a new store",
    "mail.host": "SMTP server; without one, mail goes to files",
    "mail.port": "its port",
    "mail.connections": "connections to it",
    "mail.user": "user for SMTP",
    "mail.password_file": "file with the password for SMTP",
    "mail.starttls": "insist on STARTTLS",
    "mail.helo_name": "how this machine names itself to SMTP servers: its DNS name",
    "mail.messages_per_second": "e-mails a second that this daemon sends so; 0 for no limit",
    "mail.outbox_dir": "folder for .eml files if there is no SMTP server",
    "auth.tokens_file": "TOML file with hashes of bearer tokens",
    "secrets.dir": "folder of the secrets of senders: a folder for each account, a file for each secret",
    "allow.private_endpoints": "senders may call private networks and this machine, without TLS too",
    "life.drain_ms": "how long work under way may take at the end",
    "life.default_caps": "new accounts start with the default caps",
    "automations.dir": "folder of further predefined automations",
}


def options() -> Iterator[tuple[str, str, Any]]:
    """Yield (group, name, default) of every option."""
    for group, kind in _GROUPS.items():
        for field in msgspec.structs.fields(kind):
            yield group, field.name, field.default


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add every option to a command line; what is not given there stays None."""
    parser.add_argument("--config", metavar="FILE", help="TOML file with options")
    for group, name, default in options():
        path = f"{group}.{name}"
        text = f"{_HELP[path]} (default: {str(default).lower() if default != '' else 'none'})"
        flag = "--" + path.replace(".", "-").replace("_", "-")
        if isinstance(default, bool):
            parser.add_argument(
                flag, dest=path, action=argparse.BooleanOptionalAction, default=None, help=text
            )
        else:
            parser.add_argument(flag, dest=path, metavar=_metavar(default), help=text)


def from_arguments(arguments: argparse.Namespace, environment: Mapping[str, str]) -> Settings:
    """Return the settings of a command line made by `add_arguments`.

    Raises:
        InvalidField: an option is unknown or wrong.
    """
    flags = {
        f"{group}.{name}": value
        for group, name, _ in options()
        if (value := getattr(arguments, f"{group}.{name}", None)) is not None
    }
    file = getattr(arguments, "config", None) or environment.get(CONFIG_VARIABLE, "")
    return load(flags, environment, file)


def load(
    flags: Mapping[str, Any] | None = None,
    environment: Mapping[str, str] | None = None,
    config_file: str = "",
) -> Settings:
    """Return validated settings.

    Args:
        flags: "group.name" -> value.
        environment: looked into for AFTERWORD_GROUP_NAME.
        config_file: TOML; "" for none.

    Raises:
        InvalidField: an option is unknown or wrong.
    """
    given = _read_file(config_file) if config_file else {}
    known = {_variable(group, name): (group, name) for group, name, _ in options()}
    for variable, text in (environment or {}).items():
        # Others that begin alike are not ours: clients have some, and so does Kubernetes for services.
        if variable in known:
            group, name = known[variable]
            _set(given, group, name, text)
    for path, value in (flags or {}).items():
        group, _, name = path.partition(".")
        _set(given, group, name, value)
    try:
        settings = msgspec.convert(given, Settings, strict=False)
    except msgspec.ValidationError as error:
        raise InvalidField(f"settings: {error}", field="settings") from None
    settings.validate()
    return settings


def _set(given: dict[str, Any], group: str, name: str, value: Any) -> None:
    inside = given.setdefault(group, {})
    if not isinstance(inside, dict):
        refuse(group, "must be a table of options")
    inside[name] = value


def _read_file(path: str) -> dict[str, Any]:
    try:
        return tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise InvalidField(f"cannot read {path}: {error.strerror}", field="config") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InvalidField(f"{path} is not TOML: {error}", field="config") from None


def _variable(group: str, name: str) -> str:
    return f"AFTERWORD_{group}_{name}".upper()


def _metavar(default: Any) -> str:
    return "N" if isinstance(default, int) else "TEXT"


def _shown(name: str, value: Any) -> str:
    if name == "redis_url" and "@" in value:
        scheme, _, rest = value.partition("://")
        return f"{scheme}://{MASK}@{rest.rpartition('@')[2]}"
    return str(value)


def _check_range(field: str, value: float, least: int, most: int) -> None:
    if not least <= value <= most:
        refuse(field, f"must be {least:,} to {most:,}")
