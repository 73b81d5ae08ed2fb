"""The SMTP transport against a real mail server: Debian's Postfix, delivering into a folder of the test.

Where there is none, or nobody who may start it, these tests skip and say what is missing. `make mta`
fetches it; `tests/support/postfix.py` tells how it is kept in its folder.
"""

from __future__ import annotations

import asyncio
import html
import ssl
import tempfile
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from email import message_from_bytes, policy
from pathlib import Path
from typing import Any

import pytest
import uvloop

from core.model import Family
from core.sending import Delivery, Letter
from senders import mime
from senders.smtp import SmtpTransport, Tls
from tests.letters import make_event, make_letter
from tests.support import postfix
from tests.support.postfix import Postfix

pytestmark = pytest.mark.integration

Kind = Delivery.Kind
Connect = Callable[..., SmtpTransport]

NAMES = ("Anna", "Jürgen", "Łucja", 'Q"uote\\', "李雷", "Zoë 🧀", ".dotted", "<b>&amp;")
ITEMS = ("Gouda", "Käse=Torte", "..", "From here", "x" * 300, "Ελιές", "=?utf-8?q?x?=")
LOCALES = ("de-DE", "en", "pl", "fr-FR", "es")


@pytest.fixture(scope="module")
def mta() -> Iterator[Postfix]:
    if why := postfix.missing():
        pytest.skip(why)
    boxes = ("starttls", "implicit", "none", "class", "large", "login", "twice", "many", "killed")
    with (
        tempfile.TemporaryDirectory(prefix="afterword-test-") as folder,
        Postfix(Path(folder) / "root", boxes) as server,
    ):
        yield server


@pytest.fixture
async def connect(mta: Postfix) -> AsyncIterator[Connect]:
    opened: list[SmtpTransport] = []

    def made(tls: Tls = Tls.NONE, **changes: Any) -> SmtpTransport:
        settings: dict[str, Any] = {"connections": 4, "timeout_ms": 50_000, "tls": tls}
        if tls is not Tls.NONE:
            context = ssl.create_default_context(cafile=str(mta.certificate))
            settings |= {"context": context, "user": postfix.USER, "password": postfix.PASSWORD}
        port = mta.ports["plain" if tls is Tls.NONE else tls.value]
        settings |= changes
        opened.append(SmtpTransport("localhost", settings.pop("port", port), **settings))
        return opened[-1]

    yield made
    for transport in opened:
        await transport.close()


def letters(box: str, count: int) -> list[tuple[Letter, bytes]]:
    made = [
        make_letter(
            n,
            delivery_id=f"{box}{n:04}",
            address=f"{box}.{n}@{postfix.DOMAIN}",
            locale=LOCALES[n % len(LOCALES)],
            family=Family.PRODUCT_REVIEW if n % 2 else Family.SERVICE_REVIEW,
            event=make_event(
                first_name=NAMES[n % len(NAMES)],
                order=f"N-{n}",
                items=(ITEMS[n % len(ITEMS)], ITEMS[n % 3]),
            ),
        )
        for n in range(count)
    ]
    return [(letter, mime.render(letter)) for letter in made]


def kinds(deliveries: list[Delivery]) -> list[Kind]:
    assert not any("@" in delivery.detail for delivery in deliveries)
    return [delivery.kind for delivery in deliveries]


def check_what_a_reader_sees(letter: Letter, number: int, arrival: bytes) -> None:
    parsed = message_from_bytes(arrival, policy=policy.default)
    assert not parsed.defects
    assert parsed["Message-ID"] == f"<{letter.delivery_id}@kaesehaus.example>"
    assert letter.address in parsed["To"]
    assert parsed["From"] == "Käsehaus <hallo@kaesehaus.example>"
    plain, page = [parsed.get_body([kind]) for kind in ("plain", "html")]
    assert plain is not None
    assert page is not None
    for text in (plain.get_content(), html.unescape(page.get_content())):
        assert NAMES[number % len(NAMES)] in text
        # A question about the goods does not tell the order.
        assert f"N-{number}" in text or letter.family is Family.PRODUCT_REVIEW
    assert "\ufffd" not in plain.get_content() + page.get_content()


async def arrived(mta: Postfix, box: str) -> list[postfix.Delivered]:
    await asyncio.to_thread(mta.wait_until_idle)
    return mta.delivered(box)


# --- arrival ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("tls", list(Tls))
async def test_each_letter_arrives_once_and_unchanged(
    mta: Postfix, connect: Connect, tls: Tls
) -> None:
    transport = connect(tls)
    sent = letters(tls.value, 200)
    deliveries = await transport.send(sent)
    assert kinds(deliveries) == [Kind.ACCEPTED] * 200
    assert {d.detail for d in deliveries} == {"content: 250 2.0.0"}
    assert len(transport._connections) > 1
    assert all(each._is_pipelining for each in transport._connections)
    got = await arrived(mta, tls.value)
    assert Counter((d.recipient, d.message) for d in got) == Counter(
        (letter.address, message) for letter, message in sent
    )
    by_recipient = {d.recipient: d.message for d in got}
    for n, (letter, _) in enumerate(sent):
        check_what_a_reader_sees(letter, n, by_recipient[letter.address])
    assert "improper command pipelining" not in mta.log()


async def test_a_second_copy_can_be_told_by_its_message_id(mta: Postfix, connect: Connect) -> None:
    for attempts in range(2):
        ((letter, _),) = letters("twice", 1)
        letter.attempts, letter.send_ms = attempts, letter.send_ms + attempts * 60_000
        # Another process would make another transport.
        transport = connect()
        deliveries = await transport.send([(letter, transport.prepare(letter))])
        assert kinds(deliveries) == [Kind.ACCEPTED]
    parsed = [message_from_bytes(d.message) for d in await arrived(mta, "twice")]
    assert len({each["Date"] for each in parsed}) == 2
    assert [each["Message-ID"] for each in parsed] == ["<twice0000@kaesehaus.example>"] * 2


def test_it_works_on_the_loop_of_the_daemon(mta: Postfix) -> None:
    async def scenario() -> list[Kind]:
        context = ssl.create_default_context(cafile=str(mta.certificate))
        transport = SmtpTransport(
            "localhost", mta.ports["starttls"], tls=Tls.STARTTLS, context=context,
            user=postfix.USER, password=postfix.PASSWORD,
        )  # fmt: skip
        deliveries = await transport.send(letters("login", 40))
        await transport.close()
        return kinds(deliveries)

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        assert runner.run(scenario()) == [Kind.ACCEPTED] * 40


# --- refusals --------------------------------------------------------------------------------------


@pytest.mark.parametrize("connections", [1, 4])
async def test_refusals_of_one_recipient_by_class(
    mta: Postfix, connect: Connect, connections: int
) -> None:
    told = {
        f"nobody@{postfix.DOMAIN}": (Kind.REJECTED, "RCPT: 550 5.1.1", True),
        f"closed@{postfix.DOMAIN}": (Kind.REJECTED, "RCPT: 550 5.2.1", True),
        f"full@{postfix.DOMAIN}": (Kind.REJECTED, "RCPT: 552 5.2.2", False),
        f"busy@{postfix.DOMAIN}": (Kind.DEFERRED, "RCPT: 450 4.2.1", False),
        f"policy@{postfix.DOMAIN}": (Kind.FAILED, "RCPT: 554 5.7.1", False),
        "anna@elsewhere.example": (Kind.FAILED, "RCPT: 554 5.7.1", False),
    }
    before = len(await arrived(mta, "class"))
    sent = letters("class", 3 * len(told))
    for (letter, _), address in zip(sent[1::3], told, strict=True):
        letter.address = address
    transport = connect(connections=connections)
    assert kinds(await transport.send(letters("login", 1))) == [Kind.ACCEPTED]
    first = list(transport._connections)
    deliveries = await transport.send(sent)
    refused = deliveries[1::3]
    assert [(d.kind, d.detail, d.is_bad_address) for d in refused] == list(told.values())
    assert not any(d.was_handed_over for d in refused)
    assert [d.retry_after_ms > 0 for d in refused] == [d.kind is Kind.DEFERRED for d in refused]
    assert kinds(deliveries[::3] + deliveries[2::3]) == [Kind.ACCEPTED] * 2 * len(told)
    if connections == 1:
        assert transport._connections == first, "a refusal does not cost the session"
    assert len(await arrived(mta, "class")) - before == 2 * len(told)


async def test_a_letter_that_is_too_large_fails_alone(mta: Postfix, connect: Connect) -> None:
    sent = letters("large", 6)
    letter, message = sent[2]
    sent[2] = (letter, message + b"x" * 70 * 2 + b"\r\n" + (b"y" * 70 + b"\r\n") * 1_000)
    deliveries = await connect(connections=1).send(sent)
    assert kinds(deliveries) == [Kind.ACCEPTED] * 2 + [Kind.FAILED] + [Kind.ACCEPTED] * 3
    assert deliveries[2].detail == "content: 552 5.3.4"
    assert {d.recipient for d in await arrived(mta, "large")} == {
        each.address for each, _ in sent if each is not letter
    }


async def test_a_list_full_of_bad_addresses_loses_no_good_one(
    mta: Postfix, connect: Connect
) -> None:
    """Postfix hangs up with 421 after twenty errors in a row; what it did not take goes again."""
    sent = letters("many", 120)
    bad = range(20, 70)
    for n, (letter, _) in enumerate(sent):
        if n in bad:
            letter.address = f"nobody{n}@{postfix.DOMAIN}"
    outcomes: dict[str, Delivery] = {}
    rounds, waiting = 0, sent
    while waiting:
        rounds += 1
        assert rounds < 20
        deliveries = await connect(connections=1).send(waiting)
        outcomes |= {
            letter.delivery_id: d for (letter, _), d in zip(waiting, deliveries, strict=True)
        }
        assert {d.kind for d in deliveries} <= {Kind.ACCEPTED, Kind.REJECTED, Kind.DEFERRED}
        waiting = [each for each in waiting if outcomes[each[0].delivery_id].kind is Kind.DEFERRED]
    assert rounds > 1, "it did hang up"
    assert "too many errors" in mta.log()
    for n, (letter, _) in enumerate(sent):
        expected = Kind.REJECTED if n in bad else Kind.ACCEPTED
        assert outcomes[letter.delivery_id].kind is expected
    got = Counter(d.recipient for d in await arrived(mta, "many"))
    assert got == Counter(letter.address for letter, _ in sent[:20] + sent[70:])


# --- encryption and authentication -----------------------------------------------------------------


@pytest.mark.parametrize("tls", [Tls.STARTTLS, Tls.IMPLICIT])
async def test_a_wrong_password_sends_nothing_and_waits(
    mta: Postfix, connect: Connect, tls: Tls
) -> None:
    before = len(await arrived(mta, "login"))
    transport = connect(tls, password="wrong")
    deliveries = await transport.send(letters("login", 5))
    assert kinds(deliveries) == [Kind.DEFERRED] * 5
    assert {d.detail for d in deliveries} == {"AUTH: 535 5.7.8"}
    assert not any(d.was_handed_over for d in deliveries)
    assert all(d.retry_after_ms > 0 for d in deliveries)
    assert transport.free() == 0, "nothing is claimed for a server that lets nobody in"
    assert len(await arrived(mta, "login")) == before


async def test_a_password_that_was_put_right_lets_the_letters_through(
    mta: Postfix, connect: Connect
) -> None:
    before = len(await arrived(mta, "login"))
    passwords = iter(["wrong", *[postfix.PASSWORD] * 4])
    transport = connect(Tls.STARTTLS, connections=1, password=lambda: next(passwords))
    sent = letters("login", 5)
    assert kinds(await transport.send(sent)) == [Kind.DEFERRED] * 5
    transport._connect_from = 0.0
    assert transport.free() == 16
    assert kinds(await transport.send(sent)) == [Kind.ACCEPTED] * 5
    assert len(await arrived(mta, "login")) - before == 5


async def test_plain_text_is_refused_where_encryption_is_demanded(
    mta: Postfix, connect: Connect
) -> None:
    before = len(await arrived(mta, "login"))
    transport = connect(port=mta.ports["starttls"])
    deliveries = await transport.send(letters("login", 3))
    assert kinds(deliveries) == [Kind.DEFERRED] * 3
    # It refuses RSET too, and so the letter that was opened behind it.
    assert {d.detail.partition(": ")[2] for d in deliveries} == {"530 5.7.0"}
    assert len(await arrived(mta, "login")) == before


async def test_a_server_without_starttls_gets_no_letter(mta: Postfix, connect: Connect) -> None:
    before = len(await arrived(mta, "login"))
    (delivery,) = await connect(Tls.STARTTLS, port=mta.ports["plain"]).send(letters("login", 1))
    assert (delivery.kind, delivery.detail) == (Kind.DEFERRED, "STARTTLS: not offered")
    assert len(await arrived(mta, "login")) == before


@pytest.mark.parametrize("tls", [Tls.STARTTLS, Tls.IMPLICIT])
async def test_a_certificate_nobody_vouches_for_gets_no_letter(connect: Connect, tls: Tls) -> None:
    transport = connect(tls, context=ssl.create_default_context())
    (delivery,) = await transport.send(letters("login", 1))
    assert (delivery.kind, delivery.detail) == (Kind.DEFERRED, "TLS: CERTIFICATE_VERIFY_FAILED")


# --- a power cut -----------------------------------------------------------------------------------


async def test_a_killed_server_neither_loses_nor_doubles_what_it_answered(
    mta: Postfix, connect: Connect
) -> None:
    """Only what was under way when it died may be there twice: its fate was UNKNOWN."""
    transport = connect()
    sent = letters("killed", 600)
    sending = asyncio.create_task(transport.send(sent))
    await asyncio.sleep(0)
    while transport._unsettled > 550:
        assert not sending.done()
        await asyncio.sleep(0.002)
    mta.kill()
    deliveries = await sending
    mta.start()
    counts = Counter(kinds(deliveries))
    assert counts[Kind.ACCEPTED] >= 50
    assert 1 <= counts[Kind.UNKNOWN] <= 4, "one of each session"
    assert counts.total() == counts[Kind.ACCEPTED] + counts[Kind.UNKNOWN] + counts[Kind.DEFERRED]
    again = [each for each, d in zip(sent, deliveries, strict=True) if d.kind is not Kind.ACCEPTED]
    assert kinds(await connect().send(again)) == [Kind.ACCEPTED] * len(again)
    got = await arrived(mta, "killed")
    # A server that died between delivering and noting so delivers again, under the same queue id.
    copies = Counter(recipient for recipient, _ in {(d.recipient, d.queue_id) for d in got})
    assert copies.keys() == {letter.address for letter, _ in sent}
    doubled = {recipient for recipient, count in copies.items() if count > 1}
    unknown = {
        letter.address
        for (letter, _), d in zip(sent, deliveries, strict=True)
        if d.kind is Kind.UNKNOWN
    }
    assert doubled <= unknown
