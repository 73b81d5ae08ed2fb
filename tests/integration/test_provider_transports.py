"""SMS, WhatsApp and webhooks over real TCP: what is sent, and what every answer means."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import orjson
import pytest

from core.bounds import DAY_MS, HOUR_MS
from core.errors import RenderingFailed
from core.model import Family, Purpose
from core.registry.senders import SenderKind
from core.sending import Delivery, Letter
from senders.credentials import Secrets
from senders.http_transport import HttpTransport
from senders.provider_sink import (
    Call,
    Manner,
    ProviderSink,
    Reply,
    is_signed,
    reply_of,
    sms_error,
    whatsapp_error,
)
from tests.letters import SEND_MS, make_event
from tests.support.providers import (
    ACCOUNT,
    HOOK_SECRET,
    PHONE,
    SECRETS,
    TOKEN,
    letter_for,
    open_sink,
    transport_to,
)

pytestmark = [pytest.mark.integration, pytest.mark.asyncio]

SMS, WHATSAPP, WEBHOOK = SenderKind.SMS_TWILIO, SenderKind.WHATSAPP_CLOUD, SenderKind.WEBHOOK
KINDS = (SMS, WHATSAPP, WEBHOOK)
ACCEPTED, DEFERRED = Delivery.Kind.ACCEPTED, Delivery.Kind.DEFERRED
REJECTED, FAILED, UNKNOWN = Delivery.Kind.REJECTED, Delivery.Kind.FAILED, Delivery.Kind.UNKNOWN


async def post(transport: HttpTransport, *letters: Letter) -> list[Delivery]:
    return await transport.send([(one, transport.prepare(one)) for one in letters])


async def one_answer(kind: SenderKind, reply: Reply, **fields: Any) -> Delivery:
    """Return what a transport makes of one answer; it must not ask twice."""
    async with open_sink(decide=lambda _: reply) as sink:
        transport = transport_to(sink, kind, timeout_ms=300)
        (delivery,) = await post(transport, letter_for(kind, **fields))
        await transport.close()
        assert len(sink.calls) == 1, "no letter goes twice"
    assert TOKEN not in repr(delivery)
    assert PHONE not in repr(delivery)
    return delivery


# --- what is sent ---------------------------------------------------------------------------------


async def test_c14_a_text_message_as_the_provider_documents_it() -> None:
    """C14, C23."""
    async with open_sink(sms_login=("AC1", TOKEN)) as sink:
        transport = transport_to(sink, SMS)
        (delivery,) = await post(transport, letter_for(SMS, text="Grüße, {{first_name}}!"))
        assert (delivery.kind, delivery.was_handed_over) == (ACCEPTED, True)
        (call,) = sink.accepted
        assert call.path == "/2010-04-01/Accounts/AC1/Messages.json"
        assert call.fields == {"To": PHONE, "From": "+4930123456", "Body": "Grüße, Anna!"}
        await transport.close()


async def test_a_messaging_service_is_named_as_one() -> None:
    async with open_sink() as sink:
        transport = transport_to(sink, SMS, origin="MG77")
        await post(transport, letter_for(SMS))
        assert sink.accepted[0].fields["MessagingServiceSid"] == "MG77"
        assert "From" not in sink.accepted[0].fields
        await transport.close()


@pytest.mark.parametrize(
    ("origin", "purpose", "ends"),
    [
        ("+4930123456", Purpose.REVIEW, "Ende mit STOPP."),
        ("MG7", Purpose.MARKETING, "Ende mit STOPP."),
        ("Kaesehaus", Purpose.REVIEW, "willkommen."),
        ("+4930123456", Purpose.TRANSACTIONAL, "willkommen."),
    ],
)
async def test_g7_people_are_told_how_to_stop_where_a_stop_word_arrives(
    origin: str, purpose: Purpose, ends: str
) -> None:
    """g7: a name cannot be answered, and what is no advertising cannot be stopped."""
    async with open_sink() as sink:
        transport = transport_to(sink, SMS, origin=origin)
        await post(transport, letter_for(SMS, family=Family.SERVICE_REVIEW, purpose=purpose))
        assert sink.accepted[0].fields["Body"].endswith(ends)
        await transport.close()


async def test_g9_whatsapp_sends_an_approved_template_and_nothing_else() -> None:
    """g9, C23: one line for each parameter, in the language of the recipient."""
    async with open_sink(whatsapp_token=TOKEN) as sink:
        transport = transport_to(sink, WHATSAPP)
        event = make_event(first_name="An\nna  \t", order="4711")
        (delivery,) = await post(transport, letter_for(WHATSAPP, event=event))
        assert delivery.kind is ACCEPTED
        (call,) = sink.accepted
        assert call.path == "/v23.0/1010/messages"
        assert call.told == {
            "messaging_product": "whatsapp", "recipient_type": "individual", "to": PHONE[1:],
            "type": "template", "biz_opaque_callback_data": "d00000001",
            "template": {
                "name": "parcel_late", "language": {"code": "de"},
                "components": [{"type": "body", "parameters": [
                    {"type": "text", "text": "An na"}, {"type": "text", "text": "4711"},
                ]}],
            },
        }  # fmt: skip
        with pytest.raises(RenderingFailed, match="approved template"):
            transport.prepare(letter_for(WHATSAPP, template=""))
        with pytest.raises(RenderingFailed, match="empty"):
            transport.prepare(letter_for(WHATSAPP, parameters=("{{link}}",)))
        await transport.close()


async def test_a_webhook_is_signed_anew_for_every_attempt_under_one_id() -> None:
    """C26: and tells all that is needed to act on it."""
    async with open_sink(webhook_secret=HOOK_SECRET) as sink:
        transport = transport_to(sink, WEBHOOK)
        event = make_event(tracking_url="https://parcel.example/1")
        for attempts in (0, 1):
            letter = letter_for(WEBHOOK, event=event, attempts=attempts)
            (delivery,) = await post(transport, letter)
            assert delivery.kind is ACCEPTED
        first, second = sink.accepted
        assert first.headers["webhook-id"] == second.headers["webhook-id"] == "d00000001"
        told = first.told
        assert told["invitation"] == "accounts/acme/invitations/d00000001"
        assert told["rule"] == "accounts/acme/rules/late"
        assert (told["family"], told["kind"], told["step"]) == ("NOTIFICATION", "first", "one")
        assert told["contact"]["first_name"] == "Anna"
        assert told["order"] == {
            "reference": "4711",
            "items": [{"name": "Gouda"}, {"name": "Brie"}],
        }
        assert told["links"] == {"tracking": "https://parcel.example/1"}
        assert not is_signed(
            Call(first.form, first.path, first.headers, first.body + b" "), HOOK_SECRET
        )
        await transport.close()


@pytest.mark.parametrize("kind", [SMS, WHATSAPP])
@pytest.mark.parametrize("address", ["", "anna@example.com", "+49 151", "+49\r\nX: y", "+١٢٣"])
async def test_what_is_no_phone_number_is_never_sent(kind: SenderKind, address: str) -> None:
    async with open_sink() as sink:
        transport = transport_to(sink, kind)
        with pytest.raises(RenderingFailed):
            transport.prepare(letter_for(kind, address=address))
        await transport.close()


# --- what every answer means ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("reply", "kind", "is_bad"),
    [
        (sms_error(400, 21211), REJECTED, True),
        (sms_error(400, 21614), REJECTED, True),
        (sms_error(400, 21610), REJECTED, False),
        (sms_error(400, 21408), REJECTED, False),
        (sms_error(400, 21617), FAILED, False),
        (sms_error(400, 99999), FAILED, False),
        (sms_error(401, 20003), DEFERRED, False),
        (sms_error(403, 20005), DEFERRED, False),
        (sms_error(404, 20404), DEFERRED, False),
        (sms_error(400, 21212), DEFERRED, False),
        (sms_error(400, 21606), DEFERRED, False),
        (sms_error(400, 21704), DEFERRED, False),
        (sms_error(400, 21705), DEFERRED, False),
        (sms_error(400, 21401), FAILED, False),
        (Reply(404, b"<html>Not found</html>"), DEFERRED, False),
        (Reply(405), DEFERRED, False),
        (Reply(408), DEFERRED, False),
        (Reply(425), DEFERRED, False),
        (sms_error(429, 20429), DEFERRED, False),
        (sms_error(400, 21611), DEFERRED, False),
        (sms_error(503, 20503), DEFERRED, False),
        (sms_error(500, 20500), UNKNOWN, False),
        (Reply(502, b"<html>Bad gateway</html>"), UNKNOWN, False),
        (Reply(201, b"not JSON"), UNKNOWN, False),
        (reply_of(201, ["a", "list"]), UNKNOWN, False),
        (reply_of(201, {"sid": 7}), UNKNOWN, False),
        (reply_of(400, {"code": ["odd"]}), FAILED, False),
        (reply_of(400, {"code": "21211"}), REJECTED, True),
        (Reply(307, headers={"location": "https://elsewhere.example/"}), FAILED, False),
    ],
)  # fmt: skip
async def test_answers_to_text_messages(reply: Reply, kind: Delivery.Kind, is_bad: bool) -> None:
    """g10, R48: a letter is held only where it may have been sent."""
    delivery = await one_answer(SMS, reply)
    assert (delivery.kind, delivery.is_bad_address) == (kind, is_bad)
    assert delivery.was_handed_over is (kind is UNKNOWN)


@pytest.mark.parametrize(
    ("reply", "kind", "is_bad"),
    [
        (whatsapp_error(400, 131026), REJECTED, True),
        (whatsapp_error(400, 131050), REJECTED, False),
        (whatsapp_error(404, 132001), FAILED, False),
        (whatsapp_error(400, 100), FAILED, False),
        (whatsapp_error(400, 33), DEFERRED, False),
        (whatsapp_error(401, 190), DEFERRED, False),
        (whatsapp_error(400, 299), DEFERRED, False),
        (reply_of(400, {"error": {"code": 100, "error_subcode": 33}}), DEFERRED, False),
        (Reply(404, b"<html>Not found</html>"), DEFERRED, False),
        (Reply(408), DEFERRED, False),
        (whatsapp_error(400, 131049), DEFERRED, False),
        (whatsapp_error(400, 130429), DEFERRED, False),
        (whatsapp_error(400, 131056), DEFERRED, False),
        (whatsapp_error(500, 131000), DEFERRED, False),
        (whatsapp_error(503, 2), DEFERRED, False),
        (Reply(429), DEFERRED, False),
        (Reply(500, b"oops"), UNKNOWN, False),
        (reply_of(200, {"messages": []}), UNKNOWN, False),
        (reply_of(200, {"messages": "yes"}), UNKNOWN, False),
        (reply_of(400, {"error": "text"}), FAILED, False),
        (reply_of(400, {"error": {"code": -7}}), FAILED, False),
        (Reply(302, headers={"location": "/"}), FAILED, False),
    ],
)  # fmt: skip
async def test_answers_to_whatsapp_messages(
    reply: Reply, kind: Delivery.Kind, is_bad: bool
) -> None:
    """g9, g10."""
    delivery = await one_answer(WHATSAPP, reply)
    assert (delivery.kind, delivery.is_bad_address) == (kind, is_bad)


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (200, ACCEPTED), (204, ACCEPTED), (408, DEFERRED), (409, DEFERRED), (425, DEFERRED),
        (429, DEFERRED), (500, DEFERRED), (503, DEFERRED), (301, FAILED), (307, FAILED),
        (400, FAILED), (401, FAILED), (404, FAILED), (410, FAILED),
    ],
)  # fmt: skip
async def test_answers_to_webhooks(status: int, kind: Delivery.Kind) -> None:
    delivery = await one_answer(WEBHOOK, Reply(status, headers={"location": "http://127.0.0.1:1/"}))
    assert delivery.kind is kind


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "reply",
    [
        Reply(manner=Manner.NEVER),
        Reply(manner=Manner.DROP),
        Reply(200, b'{"sid": "SM1"', manner=Manner.CUT),
        Reply(body=b"\x00\xffSMTP ready\r\n", manner=Manner.RAW),
        Reply(body=b"HTTP/1.1 200 OK\r\n" + b"x: " + b"y" * 100_000, manner=Manner.RAW),
    ],
    ids=["never", "drop", "cut", "garbage", "endless header"],
)
async def test_r48_what_may_have_arrived_is_unknown(kind: SenderKind, reply: Reply) -> None:
    """R48: held for SMS and WhatsApp, tried again for webhooks, which have an id."""
    delivery = await one_answer(kind, reply)
    assert delivery.kind is UNKNOWN
    assert delivery.was_handed_over
    async with open_sink() as sink:
        transport = transport_to(sink, kind)
        assert transport.holds_unknown is (kind is not WEBHOOK)
        await transport.close()


@pytest.mark.parametrize("kind", KINDS)
async def test_a_server_that_is_not_there_got_nothing(kind: SenderKind) -> None:
    async with open_sink() as sink:
        transport = transport_to(sink, kind)
    (delivery,) = await post(transport, letter_for(kind))
    assert (delivery.kind, delivery.was_handed_over) == (DEFERRED, False)
    assert transport.free() == 0, "the provider is left alone for a while"
    await transport.close()


async def test_an_answer_of_ten_megabytes_is_not_read_to_its_end() -> None:
    for kind, wanted in ((SMS, UNKNOWN), (WHATSAPP, UNKNOWN), (WEBHOOK, ACCEPTED)):
        delivery = await one_answer(kind, Reply(200, b"[" + b" " * 10_000_000))
        assert delivery.kind is wanted


# --- when it is tried again -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("asked", "least_ms", "most_ms"),
    [
        ("120", 120_000, 120_000),
        ("Thu, 09 Oct 2025 09:00:00 GMT", 400_000, 400_000),
        ("99999999999999999999", DAY_MS, DAY_MS),
        ("-5", 15_000, 30_000),
        ("soon", 15_000, 30_000),
        ("Thu Oct  9 09:00:00 2025", 400_000, 400_000),
        ("Thu, 09 Oct 2025 09:00:00 -0000", 400_000, 400_000),
        ("Thursday, 09-Oct-25 09:00:00 GMT", 400_000, 400_000),
        ("Thu, 09 Oct 1900 99:00:00 GMT", 15_000, 30_000),
    ],
)
async def test_deferred_until_the_provider_says(
    asked: str, least_ms: int, most_ms: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The answer comes 400 seconds before the date, in all three forms of RFC 9110 and wherever the
    daemon is; what asks for more than a day gets a day."""
    assert SEND_MS == 1_760_000_000_000
    monkeypatch.setenv("TZ", "America/New_York")
    time.tzset()
    try:
        for kind in KINDS:
            delivery = await one_answer(kind, Reply(429, headers={"retry-after": asked}))
            assert delivery.kind is DEFERRED
            assert least_ms <= delivery.retry_after_ms <= most_ms
    finally:
        monkeypatch.undo()
        time.tzset()


async def test_g9_the_pauses_of_the_limit_on_one_person_grow_from_hours() -> None:
    """g9: an early retry counts against the sender. The transport itself does not rest."""
    pauses = []
    async with open_sink(decide=lambda _: whatsapp_error(400, 131049)) as sink:
        transport = transport_to(sink, WHATSAPP)
        for attempts in range(5):
            (delivery,) = await post(transport, letter_for(WHATSAPP, attempts=attempts))
            pauses.append(delivery.retry_after_ms)
        assert transport.free() == 32
        await transport.close()
    assert pauses[0] >= 12 * HOUR_MS
    assert pauses[0] < pauses[1] < pauses[2]
    assert max(pauses) <= 96 * HOUR_MS


class Ticks:
    """A monotonic clock that is moved by hand."""

    def __init__(self) -> None:
        self.ns = 0

    def __call__(self) -> int:
        return self.ns


async def test_trouble_of_the_provider_rests_the_transport_and_one_letter_tries_again() -> None:
    ticks, replies = Ticks(), [sms_error(401, 20003), sms_error(401, 20003), None]
    async with open_sink(decide=lambda _: replies.pop(0)) as sink:
        transport = transport_to(sink, SMS, now_ns=ticks)
        assert transport.free() == 32
        await post(transport, letter_for(SMS, 1))
        assert transport.free() == 0
        ticks.ns += 2_000_000_000
        assert transport.free() == 1, "one letter sees whether it is over"
        await post(transport, letter_for(SMS, 2))
        assert transport.free() == 0
        ticks.ns += 60_000_000_000
        await post(transport, letter_for(SMS, 3))
        assert transport.free() == 32
        await transport.close()


async def test_what_was_called_before_the_trouble_says_nothing_of_what_is_after_it() -> None:
    """A call that was slow may neither end the rest, nor count as another trouble."""
    replies = {
        "1": Reply(503), "2": sms_error(400, 21610), "3": Reply(503), "4": sms_error(400, 21610)
    }  # fmt: skip

    def decide(call: Call) -> Reply:
        name = call.fields["Body"]
        return msgspec.structs.replace(replies[name], delay_ms=100 * (int(name) - 1))

    ticks = Ticks()
    async with open_sink(decide=decide) as sink:
        transport = transport_to(sink, SMS, now_ns=ticks)
        sending = [
            asyncio.create_task(post(transport, letter_for(SMS, text=name))) for name in replies
        ]
        await sending[0]
        assert transport.free() == 0
        ticks.ns += 1_000_000_000
        for task in sending[1:]:
            await task
        assert transport.free() == 1, "one letter sees whether it is over"
        await post(transport, letter_for(SMS, text="2"))
        assert transport.free() == 32
        await transport.close()


@pytest.mark.parametrize(("asked", "rest_s"), [("30", 30), ("86400", 60), ("0", 1)])
async def test_the_transport_rests_as_long_as_the_provider_asks(asked: str, rest_s: int) -> None:
    """A minute at most: no answer may shut a sender for a day."""
    ticks = Ticks()
    async with open_sink(decide=lambda _: sms_error(429, 20429, retry_after=asked)) as sink:
        transport = transport_to(sink, SMS, now_ns=ticks)
        await post(transport, letter_for(SMS))
        ticks.ns += (rest_s - 1) * 1_000_000_000
        assert transport.free() == 0
        ticks.ns += 1_000_000_000
        assert transport.free() == 1
        await transport.close()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "reply", [Reply(manner=Manner.NEVER), Reply(manner=Manner.DROP), Reply(200, b"<html>")]
)
async def test_r48_a_provider_that_gives_no_answer_is_not_fed_with_what_is_due(
    kind: SenderKind, reply: Reply
) -> None:
    """R48: what is held comes back by hand only, so one message at a time is put at risk."""
    if kind is WEBHOOK and reply.manner is Manner.WHOLE:
        return
    async with open_sink(decide=lambda _: reply) as sink:
        transport = transport_to(sink, kind, timeout_ms=200)
        (delivery,) = await post(transport, letter_for(kind))
        assert delivery.kind is UNKNOWN
        assert transport.free() == 0
        await transport.close()


async def test_calls_at_a_time_are_bounded_and_outcomes_keep_their_order() -> None:
    bad = {f"+49151{number:08}" for number in range(0, 60, 3)}

    def decide(call: Call) -> Reply | None:
        return sms_error(400, 21211) if call.fields["To"] in bad else None

    async with open_sink(decide=decide) as sink:
        transport = transport_to(sink, SMS, concurrency=4)
        assert transport.free() == 4
        letters = [letter_for(SMS, n, address=f"+49151{n:08}") for n in range(60)]
        deliveries = await post(transport, *letters)
        assert [one.kind is REJECTED for one in deliveries] == [x.address in bad for x in letters]
        assert sink.busiest <= 4
        assert sink.connections <= 4
        assert len(sink.calls) == 60
        await transport.close()


async def test_too_many_a_second_are_put_off_and_none_is_lost() -> None:
    """Real rate limits of the stand-in: what it refused it did not take."""
    for kind in KINDS:
        async with open_sink(calls_per_second=5) as sink:
            transport = transport_to(sink, kind)
            deliveries = await post(transport, *(letter_for(kind, n) for n in range(20)))
            kinds = [one.kind for one in deliveries]
            assert kinds.count(ACCEPTED) == len(sink.accepted) >= 5
            assert kinds.count(DEFERRED) == 20 - len(sink.accepted)
            assert transport.free() in (0, 32) if kind is WEBHOOK else transport.free() == 0
            await transport.close()


async def test_closing_under_load_ends_what_is_under_way_and_takes_no_more() -> None:
    waiting, let_go = asyncio.Event(), asyncio.Event()

    class Slow(ProviderSink):
        async def _answer(self, call: Call, writer: asyncio.StreamWriter) -> bool:
            waiting.set()
            await let_go.wait()
            return await super()._answer(call, writer)

    sink = Slow()
    await sink.start()
    transport = transport_to(sink, SMS, concurrency=4)
    sending = asyncio.create_task(post(transport, *(letter_for(SMS, n) for n in range(12))))
    await waiting.wait()
    closing = asyncio.create_task(transport.close())
    await asyncio.sleep(0)
    assert transport.free() == 0
    (refused,) = await post(transport, letter_for(SMS, 99))
    assert (refused.kind, refused.was_handed_over) == (DEFERRED, False)
    assert not closing.done()
    let_go.set()
    assert [one.kind for one in await sending] == [ACCEPTED] * 12
    await closing
    await transport.close()
    assert len(sink.accepted) == 12
    await sink.close()


# --- secrets --------------------------------------------------------------------------------------


async def test_a_secret_file_that_was_rotated_is_read_again(tmp_path: Path) -> None:
    folder = tmp_path / ACCOUNT
    folder.mkdir()
    file = folder / "token"
    file.write_text("old-token\n")
    async with open_sink(whatsapp_token="old-token") as sink:
        transport = transport_to(sink, WHATSAPP, secrets=Secrets(tmp_path, {}))
        assert (await post(transport, letter_for(WHATSAPP)))[0].kind is ACCEPTED
        sink.whatsapp_token = "new-token"
        rotated = folder / "token.new"
        rotated.write_text("new-token\n")
        rotated.replace(file)
        assert (await post(transport, letter_for(WHATSAPP)))[0].kind is ACCEPTED
        file.unlink()
        (delivery,) = await post(transport, letter_for(WHATSAPP))
        assert (delivery.kind, delivery.was_handed_over) == (DEFERRED, False)
        assert delivery.detail == "secret:token is empty or not there"
        await transport.close()


@pytest.mark.parametrize("secret", ["a\r\nX-Evil: 1", "ü", "a b", "a\x00b", "\x7f"])
async def test_a_secret_that_could_not_stand_in_a_header_is_not_sent(secret: str) -> None:
    async with open_sink() as sink:
        secrets = Secrets(environment=dict.fromkeys(SECRETS, secret))
        for kind in KINDS:
            transport = transport_to(sink, kind, secrets=secrets)
            (delivery,) = await post(transport, letter_for(kind))
            assert delivery.kind is DEFERRED
            assert secret not in delivery.detail
            await transport.close()
        assert not sink.calls


async def test_a_webhook_secret_of_another_form_is_told_and_not_shown() -> None:
    async with open_sink() as sink:
        secrets = Secrets(environment=dict.fromkeys(SECRETS, "short-canary"))
        transport = transport_to(sink, WEBHOOK, secrets=secrets)
        (delivery,) = await post(transport, letter_for(WEBHOOK))
        assert delivery.kind is DEFERRED
        assert "whsec_" in delivery.detail
        assert "canary" not in delivery.detail
        await transport.close()


@pytest.mark.parametrize("kind", KINDS)
async def test_secrets_and_people_are_in_no_log_and_no_repr(
    kind: SenderKind, caplog: pytest.LogCaptureFixture
) -> None:
    """Everything at DEBUG, through a call that works, one that fails and one that breaks."""
    caplog.set_level(logging.DEBUG)
    replies: Sequence[Reply | None] = [None, Reply(500), Reply(manner=Manner.DROP)]
    pending = list(replies)
    seen: list[str] = []
    async with open_sink(decide=lambda _: pending.pop(0)) as sink:
        transport = transport_to(sink, kind)
        for number in range(3):
            (delivery,) = await post(transport, letter_for(kind, number))
            seen.append(repr(delivery))
        seen += [repr(transport), repr(vars(transport))]
        await transport.close()
    seen += [record.getMessage() for record in caplog.records]
    for text in seen:
        for canary in (TOKEN, HOOK_SECRET, PHONE, PHONE[1:], "anna@example.com"):
            assert canary not in text


async def test_a_reply_is_json_as_documented() -> None:
    """The stand-in itself: an SMS of 200 characters is two segments, and a wrong account is refused."""
    async with open_sink(sms_login=("AC2", TOKEN)) as sink:
        transport = transport_to(sink, SMS)
        assert (await post(transport, letter_for(SMS, text="x" * 200)))[0].kind is DEFERRED
        sink.sms_login = ("AC1", TOKEN)
        (delivery,) = await post(transport, letter_for(SMS, text="x" * 200))
        assert delivery.kind is ACCEPTED
        assert orjson.loads(sink._documented(sink.calls[-1]).body)["num_segments"] == "2"
        await transport.close()
