"""The SMTP transport and the sink over real TCP, in all the sink's moods."""

from __future__ import annotations

import asyncio
import shutil
import ssl
import subprocess
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import SMTP
from pathlib import Path
from typing import Any, cast

import aiosmtplib
import pytest
import uvloop

from core.bounds import HOUR_MS
from core.engine.settlement import ATTEMPTS_MAX
from core.errors import InvalidField
from core.registry.senders import Sender, SenderKind
from core.sending import Delivery, Letter
from senders import backoff
from senders.credentials import Secrets
from senders.making import TransportMaker
from senders.smtp import SmtpTransport, Tls
from senders.smtp_sink import Answer, Behaviour, SmtpSink
from tests.letters import make_channel, make_letter

pytestmark = pytest.mark.integration

Kind = Delivery.Kind
Open = Callable[..., Awaitable[tuple[SmtpTransport, SmtpSink]]]


@pytest.fixture
async def open_both() -> AsyncIterator[Open]:
    """Make a sink and a transport that talks to it; both are closed after the test."""
    opened: list[Any] = []

    async def start(mood: dict[str, Any] | None = None, **changes: Any) -> Any:
        sink = SmtpSink(**({"keep": 1_000} | (mood or {})))
        await sink.start()
        settings = {"connections": 2, "pipeline": 8, "timeout_ms": 5_000} | changes
        transport = SmtpTransport(settings.pop("host", sink.host), sink.port, **settings)
        opened.extend((transport, sink))
        return transport, sink

    yield start
    for each in opened:
        await each.close()
        await each.close()


def letters(count: int, transport: SmtpTransport, **changes: Any) -> list[tuple[Letter, bytes]]:
    made = [make_letter(n, address=f"r{n}@example.com", **changes) for n in range(count)]
    return [(letter, transport.prepare(letter)) for letter in made]


def decide_by(answers: dict[str, Answer]) -> Callable[[str], Answer]:
    return lambda recipient: answers.get(recipient.partition("@")[0], Answer())


def kinds(deliveries: list[Delivery]) -> list[Kind]:
    assert not any("@" in delivery.detail or "r0" in delivery.detail for delivery in deliveries)
    return [delivery.kind for delivery in deliveries]


@asynccontextmanager
async def foreign_server(*replies: bytes) -> AsyncIterator[int]:
    """Say the first reply at once, each further one after a packet from the client; no more."""

    class Script(asyncio.Protocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            self.transport, self.rest = cast(asyncio.Transport, transport), list(replies)
            sockets.append(self.transport)
            self.data_received(b"")

        def data_received(self, data: bytes) -> None:
            if self.rest:
                self.transport.write(self.rest.pop(0))

    sockets: list[asyncio.Transport] = []
    server = await asyncio.get_running_loop().create_server(Script, "127.0.0.1", 0)
    yield server.sockets[0].getsockname()[1]
    for socket in sockets:
        socket.abort()
    server.close()
    await server.wait_closed()


@pytest.mark.parametrize(
    "mood", [{}, {"offers_pipelining": False}, {"offers_ehlo": False}], ids=["all", "slow", "old"]
)
async def test_letters_arrive_unchanged_and_sessions_are_kept(
    open_both: Open, mood: dict[str, Any]
) -> None:
    transport, sink = await open_both(mood)
    for _ in range(3):
        sent = letters(40, transport)
        deliveries = await transport.send(sent)
        assert kinds(deliveries) == [Kind.ACCEPTED] * 40
        assert all(d.was_handed_over for d in deliveries)
        assert deliveries[0].detail == "content: 250 2.0.0"
    assert sink.counts.connections == 2
    assert sink.counts.messages == 120
    got = {(m.recipients, m.content) for m in sink.messages}
    assert got == {((letter.address,), message) for letter, message in sent}
    assert {m.sender for m in sink.messages} == {"hallo@kaesehaus.example"}


async def test_dots_are_stuffed(open_both: Open) -> None:
    transport, sink = await open_both()
    for message in (b".\r\n..\r\n.a\r\n", b"a\r\n.\r\n", b"", b"no end", b"\r\n.\r\n.\r\nQUIT\r\n"):
        letter = make_letter()
        assert kinds(await transport.send([(letter, message)])) == [Kind.ACCEPTED]
        ended = message if message.endswith(b"\r\n") else message + b"\r\n"
        assert sink.messages.pop().content == ended


@pytest.mark.parametrize("message", [b"a\nb\r\n", b"a\rb\r\n", b"a\n.\nMAIL\r\n", b"\xff\r\n"])
async def test_bare_line_ends_and_eight_bits_do_not_leave_the_house(
    open_both: Open, message: bytes
) -> None:
    transport, sink = await open_both()
    deliveries = await transport.send([(make_letter(), message), *letters(1, transport)])
    assert kinds(deliveries) == [Kind.FAILED, Kind.ACCEPTED]
    assert sink.counts.messages == 1


async def test_an_address_cannot_smuggle_a_command(open_both: Open) -> None:
    transport, sink = await open_both()
    bad = [make_letter(address="a@b.example>\r\nRSET"), make_letter(address="ä@b.example")]
    bad.append(make_letter(channel=make_channel(email_sender=None)))
    deliveries = await transport.send([(letter, b"x\r\n") for letter in bad])
    assert kinds(deliveries) == [Kind.FAILED] * 3
    assert sink.counts.connections == 0


@pytest.mark.parametrize("is_pipelining", [True, False])
@pytest.mark.parametrize(
    ("answer", "kind", "detail"),
    [
        (Answer(rcpt=b"550 5.1.1 no r0@example.com"), Kind.REJECTED, "RCPT: 550 5.1.1"),
        (Answer(rcpt=b"550 no such user r0"), Kind.REJECTED, "RCPT: 550"),
        (Answer(rcpt=b"550-5.1.1 no\r\n550 5.1.1 r0"), Kind.REJECTED, "RCPT: 550 5.1.1"),
        (Answer(rcpt=b"552 5.2.2 full"), Kind.REJECTED, "RCPT: 552 5.2.2"),
        (Answer(rcpt=b"554 5.7.1 relay denied"), Kind.FAILED, "RCPT: 554 5.7.1"),
        (Answer(rcpt=b"553 5.1.8 bad sender"), Kind.FAILED, "RCPT: 553 5.1.8"),
        (Answer(rcpt=b"451 4.7.1 greylisted"), Kind.DEFERRED, "RCPT: 451 4.7.1"),
        (Answer(rcpt=b"530 5.7.0 log in"), Kind.DEFERRED, "RCPT: 530 5.7.0"),
        (Answer(data=b"451 4.3.0 later"), Kind.DEFERRED, "DATA: 451 4.3.0"),
        (Answer(data=b"554 5.5.0 no"), Kind.FAILED, "DATA: 554 5.5.0"),
        (Answer(final=b"550 5.7.1 spam for r0"), Kind.FAILED, "content: 550 5.7.1"),
        (Answer(final=b"550 5.1.1 after all"), Kind.REJECTED, "content: 550 5.1.1"),
        (Answer(final=b"452 4.3.1 disk full"), Kind.DEFERRED, "content: 452 4.3.1"),
        (Answer(final=b"354 what"), Kind.UNKNOWN, "content: 354"),
    ],
)
async def test_refusals_by_class(
    open_both: Open, answer: Answer, kind: Kind, detail: str, is_pipelining: bool
) -> None:
    mood = {"decide": decide_by({"r1": answer}), "offers_pipelining": is_pipelining}
    transport, sink = await open_both(mood, connections=1)
    deliveries = await transport.send(letters(4, transport))
    expected = [Kind.ACCEPTED] * 4
    expected[1] = kind
    assert kinds(deliveries) == expected
    assert deliveries[1].detail == detail
    assert deliveries[1].was_handed_over == (kind is Kind.UNKNOWN)
    if kind is Kind.DEFERRED:
        assert deliveries[1].retry_after_ms == backoff.retry_ms(0, f"d{1:08x}")
    assert sink.counts.messages == 3
    assert sink.counts.connections == 1, "a refusal does not cost the session"


async def test_a_refused_message_does_not_stop_those_after_it(open_both: Open) -> None:
    answers = {f"r{n}": Answer(rcpt=b"550 5.1.1 no") for n in range(0, 60, 3)}
    transport, sink = await open_both({"decide": decide_by(answers)})
    deliveries = await transport.send(letters(60, transport))
    assert [d.kind is Kind.REJECTED for d in deliveries] == [n % 3 == 0 for n in range(60)]
    assert sink.counts.messages == 40


async def test_lost_before_the_content_is_deferred(open_both: Open) -> None:
    drop = Answer(behaviour=Behaviour.DROP_AT_DATA)
    transport, sink = await open_both({"decide": decide_by({"r0": drop})}, connections=1)
    (delivery,) = await transport.send(letters(1, transport))
    assert delivery.kind is Kind.DEFERRED
    assert not delivery.was_handed_over
    assert delivery.retry_after_ms > 0
    assert sink.counts.messages == 0


@pytest.mark.parametrize("is_pipelining", [True, False])
async def test_lost_after_the_content_is_unknown(open_both: Open, is_pipelining: bool) -> None:
    drop = Answer(behaviour=Behaviour.DROP_AFTER_CONTENT)
    mood = {"decide": decide_by({"r1": drop}), "offers_pipelining": is_pipelining}
    transport, _ = await open_both(mood, connections=1)
    deliveries = await transport.send(letters(4, transport))
    assert kinds(deliveries)[:2] == [Kind.ACCEPTED, Kind.UNKNOWN]
    assert deliveries[1].was_handed_over
    assert deliveries[1].detail == "content: connection lost"
    for delivery in deliveries[2:]:
        assert delivery.kind is Kind.DEFERRED
        assert not delivery.was_handed_over


async def test_a_server_that_never_answers_runs_into_the_timeout(open_both: Open) -> None:
    silent = Answer(behaviour=Behaviour.SILENT)
    mood = {"decide": decide_by({"r0": silent})}
    transport, _ = await open_both(mood, connections=1, timeout_ms=400)
    started = time.monotonic()
    deliveries = await transport.send(letters(3, transport))
    assert 0.4 <= time.monotonic() - started < 1.0
    assert kinds(deliveries) == [Kind.UNKNOWN, Kind.DEFERRED, Kind.DEFERRED]
    assert deliveries[0].detail == "content: timed out"
    assert deliveries[2].detail == "not begun in time"
    assert transport.free() == 0, "the server is left alone for a while"


@pytest.mark.parametrize("is_pipelining", [True, False])
@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (Answer(delay_ms=50), Kind.ACCEPTED),
        (Answer(delay_ms=5_000), Kind.UNKNOWN),
        (Answer(rcpt=b"451 4.7.1 greylisted"), Kind.DEFERRED),
        (Answer(final=b"452 4.3.1 disk full"), Kind.DEFERRED),
        (Answer(rcpt=b"550 5.1.1 no"), Kind.REJECTED),
        (Answer(behaviour=Behaviour.DROP_AT_DATA), Kind.DEFERRED),
        (Answer(behaviour=Behaviour.DROP_AFTER_CONTENT), Kind.UNKNOWN),
        (Answer(behaviour=Behaviour.SILENT), Kind.UNKNOWN),
    ],
    ids=["slow", "too slow", "later", "full", "refuses", "drops", "takes and drops", "silent"],
)
async def test_trying_again_doubles_a_letter_only_if_its_fate_was_unknown(
    open_both: Open, answer: Answer, kind: Kind, is_pipelining: bool
) -> None:
    """Every fourth letter meets the mood once; whatever is not settled is sent until it is."""
    moody = {f"r{n}@example.com" for n in range(0, 24, 4)}
    met: set[str] = set()

    def decide(recipient: str) -> Answer:
        if recipient in moody - met:
            met.add(recipient)
            return answer
        return Answer()

    mood = {"decide": decide, "offers_pipelining": is_pipelining}
    transport, sink = await open_both(mood, timeout_ms=400)
    outcomes: dict[str, list[Kind]] = {f"r{n}@example.com": [] for n in range(24)}
    waiting = letters(24, transport)
    for _ in range(12):
        transport._connect_from = 0.0
        for (letter, _), delivery in zip(waiting, await transport.send(waiting), strict=True):
            outcomes[letter.address].append(delivery.kind)
            assert delivery.was_handed_over == (delivery.kind in (Kind.ACCEPTED, Kind.UNKNOWN))
        final = (Kind.ACCEPTED, Kind.REJECTED)
        waiting = [each for each in waiting if outcomes[each[0].address][-1] not in final]
        if not waiting:
            break
    assert not waiting
    assert met == moody
    assert all(kind in outcomes[address] for address in moody)
    # A session that ended may have taken the letter behind with it, but not handed it over.
    good = {Kind.ACCEPTED, Kind.DEFERRED}
    assert all(set(outcomes[address]) <= good for address in outcomes.keys() - moody)
    copies = Counter(message.recipients[0] for message in sink.messages)
    handed_over = (Kind.ACCEPTED, Kind.UNKNOWN)
    assert copies == Counter(
        address for address, seen in outcomes.items() for each in seen if each in handed_over
    )
    named = {(m.recipients[0], message_from_bytes(m.content)["Message-ID"]) for m in sink.messages}
    assert len(named) == len(copies), "a receiver can drop the second copy by its Message-ID"


async def test_a_silent_greeting_runs_into_the_timeout() -> None:
    async with foreign_server() as port:
        transport = SmtpTransport("127.0.0.1", port, timeout_ms=400)
        deliveries = await transport.send(letters(2, transport))
        assert kinds(deliveries) == [Kind.DEFERRED] * 2
        assert not any(d.was_handed_over for d in deliveries)
        await transport.close()


@pytest.mark.parametrize(
    "noise", [b"HTTP/1.1 400 Bad Request\r\n", b"220-x\r\n" * 12_000, b"220 a\r\n" * 3]
)
async def test_what_is_no_smtp_server_is_left(noise: bytes) -> None:
    async with foreign_server(noise) as port:
        transport = SmtpTransport("127.0.0.1", port, timeout_ms=3_000)
        started = time.monotonic()
        assert kinds(await transport.send(letters(1, transport))) == [Kind.DEFERRED]
        assert time.monotonic() - started < 1.0
        await transport.close()


async def test_a_slow_server_is_waited_for(open_both: Open) -> None:
    slow = Answer(delay_ms=50)
    transport, _ = await open_both({"decide": lambda _: slow})
    sending = asyncio.create_task(transport.send(letters(10, transport)))
    await asyncio.sleep(0.1)
    assert transport.free() < 16
    assert kinds(await sending) == [Kind.ACCEPTED] * 10
    assert transport.free() == 16


async def test_too_many_messages_in_a_session_reconnects(open_both: Open) -> None:
    transport, sink = await open_both({"messages_per_session": 3}, connections=1)
    deliveries = await transport.send(letters(5, transport))
    assert kinds(deliveries) == [Kind.ACCEPTED] * 3 + [Kind.DEFERRED] * 2
    assert deliveries[3].detail == "MAIL: 421 4.7.0"
    assert 0 < deliveries[4].retry_after_ms <= 2 * backoff.RECONNECT_FIRST_MS
    assert transport.free() == 0
    await asyncio.sleep(backoff.RECONNECT_FIRST_MS / 1_000)
    assert transport.free() == 8
    assert kinds(await transport.send(letters(1, transport))) == [Kind.ACCEPTED]
    assert sink.counts.connections == 2


async def test_a_busy_greeting_defers(open_both: Open) -> None:
    transport, _ = await open_both({"greeting": b"421 4.3.2 busy"})
    deliveries = await transport.send(letters(3, transport))
    assert kinds(deliveries) == [Kind.DEFERRED] * 3
    assert deliveries[0].detail == "greeting: 421 4.3.2"


async def test_a_refused_connection_defers_for_longer_each_time(open_both: Open) -> None:
    transport, sink = await open_both()
    assert transport.free() == 16
    await sink.close()
    pauses_ms = []
    for _ in range(3):
        deliveries = await transport.send(letters(3, transport))
        assert kinds(deliveries) == [Kind.DEFERRED] * 3
        assert deliveries[0].detail == "connect: ECONNREFUSED"
        assert transport.free() == 0
        # Within the pause nobody knocks, and the answer comes at once.
        again = await transport.send(letters(1, transport))
        assert again[0].kind is Kind.DEFERRED
        pauses_ms.append(max(d.retry_after_ms for d in deliveries))
        transport._connect_from = 0.0
        assert transport.free() == 8, "one session at a time tries whether the server is back"
    assert pauses_ms[0] < pauses_ms[1] < pauses_ms[2]
    sink.port = transport._server.port
    await sink.start()
    assert kinds(await transport.send(letters(3, transport))) == [Kind.ACCEPTED] * 3
    assert transport.free() == 16


async def test_an_outage_of_minutes_does_not_use_up_the_attempts_of_a_letter() -> None:
    """At first a letter comes back as soon as the server may; put off again, by its own attempts."""
    for number in range(5):
        transport = SmtpTransport("127.0.0.1", 1)
        waits_ms = []
        for attempts in range(ATTEMPTS_MAX - 1):
            letter = make_letter(number, attempts=attempts)
            (delivery,) = await transport.send([(letter, b"x\r\n")])
            assert delivery.kind is Kind.DEFERRED
            waits_ms.append(delivery.retry_after_ms)
            transport._connect_from = 0.0
        assert waits_ms[0] <= 2 * backoff.RECONNECT_FIRST_MS
        assert sum(waits_ms) > 6 * HOUR_MS
        await transport.close()


async def test_an_address_that_is_down_leads_to_the_next_one(open_both: Open) -> None:
    asked: list[str] = []

    async def addresses_of(host: str) -> Sequence[str]:
        asked.append(host)
        return ["127.0.0.2", "127.0.0.1"]

    transport, sink = await open_both(addresses_of=addresses_of, host="mail.shop.example")
    assert kinds(await transport.send(letters(1, transport))) == [Kind.ACCEPTED]
    assert asked == ["mail.shop.example"]
    await sink.close()
    await asyncio.sleep(0.05)
    (delivery,) = await transport.send(letters(1, transport))
    assert (delivery.kind, delivery.detail) == (Kind.DEFERRED, "connect: ECONNREFUSED")


@pytest.mark.parametrize(
    "found", [["127.0.0.1"], ["::ffff:127.0.0.1", "10.0.0.1"], ["fec0::1"], []]
)
async def test_p25_mail_servers_of_accounts_are_public_ones(found: list[str]) -> None:
    """P25: what is connected to is the address that was looked at, whatever the name leads to."""

    async def resolve(_: str) -> Sequence[str]:
        return found

    async with foreign_server(b"220 x\r\n") as port:
        maker = TransportMaker(Secrets(environment={}), resolve=resolve)
        for host in ("mail.shop.example", "127.0.0.1", "127.1"):
            sender = Sender(
                account="acme", id="relay", kind=SenderKind.SMTP, endpoint=f"smtp://{host}:{port}"
            )
            transport = maker.make(sender)
            letter = make_letter()
            (delivery,) = await transport.send([(letter, transport.prepare(letter))])
            assert (delivery.kind, delivery.detail) == (Kind.DEFERRED, "connect: no public address")
            await transport.close()


async def test_a_restarted_server_is_found_again_without_loss(open_both: Open) -> None:
    transport, sink = await open_both()
    assert kinds(await transport.send(letters(4, transport))) == [Kind.ACCEPTED] * 4
    await sink.close()
    await asyncio.sleep(0.05)
    await sink.start()
    assert kinds(await transport.send(letters(4, transport))) == [Kind.ACCEPTED] * 4


async def test_sends_side_by_side_each_get_their_own_answers(open_both: Open) -> None:
    answers = {"r3": Answer(rcpt=b"550 5.1.1 no")}
    transport, sink = await open_both({"decide": decide_by(answers)})
    results = await asyncio.gather(*[transport.send(letters(n, transport)) for n in range(12)])
    for count, deliveries in enumerate(results):
        assert [d.kind is Kind.REJECTED for d in deliveries] == [n == 3 for n in range(count)]
    assert await transport.send([]) == []
    assert sink.counts.connections == 2


async def test_a_cancelled_send_lets_go_of_what_has_not_begun(open_both: Open) -> None:
    transport, sink = await open_both({"decide": lambda _: Answer(delay_ms=100)}, connections=1)
    sending = asyncio.create_task(transport.send(letters(6, transport)))
    await asyncio.sleep(0.05)
    sending.cancel()
    with pytest.raises(asyncio.CancelledError):
        await sending
    await asyncio.sleep(0.3)
    assert sink.counts.messages == 2, "one under way, one already opened behind it"
    assert transport.free() == 8
    assert kinds(await transport.send(letters(1, transport))) == [Kind.ACCEPTED]


async def test_close_finishes_what_is_under_way(open_both: Open) -> None:
    transport, sink = await open_both({"decide": lambda _: Answer(delay_ms=30)})
    sending = asyncio.create_task(transport.send(letters(6, transport)))
    await asyncio.sleep(0.02)
    await asyncio.gather(transport.close(), transport.close())
    assert kinds(await sending) == [Kind.ACCEPTED] * 6
    assert transport.free() == 0
    assert kinds(await transport.send(letters(1, transport))) == [Kind.DEFERRED]
    await asyncio.sleep(0.05)
    assert not sink.sessions


async def test_closing_before_opening_is_fine() -> None:
    transport = SmtpTransport("127.0.0.1", 1)
    await transport.close()
    await transport.close()


@pytest.mark.parametrize(
    "bad",
    [
        {"connections": 0},
        {"pipeline": 0},
        {"timeout_ms": 60_000},
        {"helo_name": "a b"},
        {"helo_name": "a\r\nQUIT"},
        {"user": "u", "password": "p"},
    ],
)
def test_settings_are_checked(bad: dict[str, Any]) -> None:
    with pytest.raises(InvalidField):
        SmtpTransport("127.0.0.1", 25, **bad)


# --- encryption and authentication ---------------------------------------------------------------


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    if shutil.which("openssl") is None:
        pytest.skip("needs the openssl command")
    folder = tmp_path_factory.mktemp("tls")
    key, chain = folder / "key.pem", folder / "cert.pem"
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2"
    command += " -subj /CN=localhost -addext subjectAltName=DNS:localhost"
    subprocess.run(
        [*command.split(), "-keyout", str(key), "-out", str(chain)], check=True, capture_output=True
    )
    return key, chain


def tls_contexts(certificate: tuple[Path, Path]) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    key, chain = certificate
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    server.load_cert_chain(chain, key)
    return server, ssl.create_default_context(cafile=str(chain))


@pytest.mark.parametrize("tls", [Tls.STARTTLS, Tls.IMPLICIT])
@pytest.mark.parametrize("password", ["pä$s", "wrong"])
async def test_login_under_tls(
    open_both: Open, certificate: tuple[Path, Path], tls: Tls, password: str
) -> None:
    server, client = tls_contexts(certificate)
    mood = {"context": server, "is_tls_implicit": tls is Tls.IMPLICIT, "login": ("u", "pä$s")}
    transport, sink = await open_both(
        mood, tls=tls, context=client, user="u", password=password, host="localhost"
    )
    assert password not in repr(vars(transport))
    deliveries = await transport.send(letters(20, transport))
    if password == "wrong":
        assert kinds(deliveries) == [Kind.DEFERRED] * 20
        assert deliveries[0].detail == "AUTH: 535 5.7.8"
    else:
        assert kinds(deliveries) == [Kind.ACCEPTED] * 20
        assert sink.counts.messages == 20


@pytest.mark.parametrize("tls", [Tls.STARTTLS, Tls.IMPLICIT])
async def test_a_stranger_s_certificate_gets_no_letter(
    open_both: Open, certificate: tuple[Path, Path], tls: Tls
) -> None:
    server, _ = tls_contexts(certificate)
    mood = {"context": server, "is_tls_implicit": tls is Tls.IMPLICIT}
    transport, _ = await open_both(mood, tls=tls, host="localhost")
    (delivery,) = await transport.send(letters(1, transport))
    assert delivery.kind is Kind.DEFERRED
    assert delivery.detail == "TLS: CERTIFICATE_VERIFY_FAILED"


async def test_the_authorities_of_the_system_are_read_once_for_all_senders() -> None:
    """They take a megabyte and 40 ms: a thousand senders would stop the daemon."""
    first, second = (SmtpTransport("127.0.0.1", 1, tls=Tls.STARTTLS) for _ in range(2))
    context = first._server.context
    assert context is second._server.context
    assert context is not None
    assert context.check_hostname
    assert context.verify_mode is ssl.CERT_REQUIRED


async def test_a_server_without_starttls_gets_no_letter(open_both: Open) -> None:
    transport, sink = await open_both(tls=Tls.STARTTLS)
    (delivery,) = await transport.send(letters(1, transport))
    assert (delivery.kind, delivery.detail) == (Kind.DEFERRED, "STARTTLS: not offered")
    assert sink.counts.messages == 0


@pytest.mark.parametrize("evil", [b"250-evil\r\n", b"250 evil\r\n", b"2"])
async def test_what_is_said_before_the_encryption_is_not_believed(evil: bytes) -> None:
    async with foreign_server(
        b"220 x\r\n", b"250-x\r\n250 STARTTLS\r\n", b"220 go\r\n" + evil
    ) as port:
        transport = SmtpTransport("127.0.0.1", port, tls=Tls.STARTTLS, timeout_ms=2_000)
        (delivery,) = await transport.send(letters(1, transport))
        assert delivery.detail == "STARTTLS: the server spoke before the encryption"
        await transport.close()


@pytest.mark.parametrize("tls", list(Tls))
def test_all_of_it_on_the_loop_of_the_daemon(tls: Tls, certificate: tuple[Path, Path]) -> None:
    server, client = tls_contexts(certificate)
    moods = {
        "r1": Answer(rcpt=b"550 5.1.1 no"),
        "r3": Answer(delay_ms=20),
        "r5": Answer(behaviour=Behaviour.DROP_AFTER_CONTENT),
    }

    async def scenario() -> list[Kind]:
        sink = SmtpSink(
            decide=decide_by(moods), context=server, is_tls_implicit=tls is Tls.IMPLICIT
        )
        await sink.start()
        context = None if tls is Tls.NONE else client
        transport = SmtpTransport("localhost", sink.port, connections=1, tls=tls, context=context)
        outcomes = kinds(await transport.send(letters(6, transport)))
        await sink.close()
        await transport.close()
        return outcomes

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        outcomes = runner.run(scenario())
    expected = [Kind.ACCEPTED] * 6
    expected[1], expected[5] = Kind.REJECTED, Kind.UNKNOWN
    assert outcomes == expected


# --- the sink, seen by others ----------------------------------------------------------------------


@pytest.fixture
async def sink() -> AsyncIterator[SmtpSink]:
    answers = {"no": Answer(rcpt=b"550 5.1.1 no")}
    sink = SmtpSink(keep=10, message_bytes_max=50_000, decide=decide_by(answers))
    await sink.start()
    yield sink
    await sink.close()
    await sink.close()


async def test_a_foreign_client_gets_on_with_the_sink(sink: SmtpSink) -> None:
    message = EmailMessage()
    message["From"], message["To"], message["Subject"] = "a@x.example", "b@x.example", "Grüße"
    message.set_content(".\n..dots\nKäse\n")
    async with aiosmtplib.SMTP(hostname=sink.host, port=sink.port, start_tls=False) as client:
        await client.ehlo()
        assert client.supports_extension("pipelining")
        assert client.supports_extension("8bitmime")
        errors, _ = await client.send_message(message, recipients=["b@x.example", "no@x.example"])
        assert list(errors) == ["no@x.example"]
        with pytest.raises(aiosmtplib.SMTPRecipientsRefused):
            await client.send_message(message, recipients=["no@x.example"])
        assert (await client.noop()).code == 250
        assert (await client.rset()).code == 250
        with pytest.raises(aiosmtplib.SMTPDataError) as raised:
            await client.sendmail("a@x.example", ["b@x.example"], b"x\r\n" * 40_000)
        assert raised.value.code == 552
        await client.sendmail("", ["b@x.example"], b"after\r\n")
    (first, second) = sink.messages
    assert first.recipients == ("b@x.example",)
    parsed = message_from_bytes(first.content, policy=SMTP)
    assert parsed["Subject"] == "Grüße"
    assert parsed.get_content().replace("\r\n", "\n") == ".\n..dots\nKäse\n"
    assert (second.sender, second.content) == ("", b"after\r\n")
    assert (sink.counts.messages, sink.counts.refused) == (2, 2)


async def converse(sink: SmtpSink, *sent: bytes) -> list[bytes]:
    """Say things, each in a packet of its own, and return the replies up to the end."""
    reader, writer = await asyncio.open_connection(sink.host, sink.port)
    for data in sent:
        writer.write(data)
        await writer.drain()
        await asyncio.sleep(0.01)
    writer.write_eof()
    heard = await reader.read()
    writer.close()
    return [line[:3] for line in heard.split(b"\r\n")[1:-1] if line[3:4] == b" "]


async def test_the_sink_insists_on_the_order_of_commands(sink: SmtpSink) -> None:
    mail, rcpt = b"MAIL FROM:<a@x.example>\r\n", b"RCPT TO:<b@x.example>\r\n"
    assert await converse(sink, mail) == [b"503"]
    assert await converse(sink, b"HELO x\r\n", rcpt, b"DATA\r\n") == [b"250", b"503", b"503"]
    assert await converse(sink, b"EHLO x\r\n", mail, mail) == [b"250", b"250", b"503"]
    assert await converse(sink, b"EHLO x\r\n", mail + b"DATA\r\n") == [b"250", b"250", b"554"]
    assert await converse(sink, b"EHLO x\r\n", b"MAIL TO:<a>\r\n") == [b"250", b"501"]
    assert await converse(sink, b"EHLO x\r\n", mail, b"RCPT TO:<>\r\n") == [b"250", b"250", b"501"]
    assert await converse(sink, b"VRFY a\r\n", b"quit\r\n") == [b"502", b"221"]
    assert await converse(sink, b"x" * 5_000) == [b"500"]


async def test_the_sink_finds_the_end_wherever_the_packets_are_cut(sink: SmtpSink) -> None:
    opening = b"EHLO x\r\nMAIL FROM:<a@x.example>\r\nRCPT TO:<b@x.example>\r\nDATA\r\n"
    content = b"a\r\n..\r\n\n.\n\r\n.\r\n"
    for cut in range(len(content)):
        heard = await converse(sink, opening + content[:cut], content[cut:] + b"NOOP\r\n")
        assert heard == [b"250", b"250", b"250", b"354", b"250", b"250"]
        assert sink.messages.pop().content == b"a\r\n.\r\n\n.\n\r\n"
    assert (await converse(sink, opening + b".\r\n"))[-1] == b"250"
    assert sink.messages.pop().content == b""


async def test_the_sink_writes_files(tmp_path: Path) -> None:
    sink = SmtpSink(folder=tmp_path / "mail")
    await sink.start()
    transport = SmtpTransport(sink.host, sink.port)
    ((letter, message),) = letters(1, transport)
    await transport.send([(letter, message)])
    await transport.close()
    await sink.close()
    (path,) = (tmp_path / "mail").iterdir()
    assert path.read_bytes() == message
