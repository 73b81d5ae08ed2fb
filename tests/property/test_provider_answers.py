"""Whatever a provider answers, and whatever stands in a letter: one outcome, no second call."""

from __future__ import annotations

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.bounds import DAY_MS, HOUR_MS
from core.errors import RenderingFailed
from core.model import Contact, Event, Family, Item, Medium, Order, Purpose, Shipment
from core.registry.senders import SenderKind
from core.sending import Delivery
from senders.credentials import Secrets
from senders.http_client import HttpAnswer, is_public, is_public_host
from senders.making import TransportMaker
from senders.provider_sink import Reply
from senders.sms_text import Encoding, size_of
from tests.letters import SEND_MS, make_channel
from tests.support.providers import SECRETS, letter_for, open_sink, sender, transport_to

KINDS = (SenderKind.SMS_TWILIO, SenderKind.WHATSAPP_CLOUD, SenderKind.WEBHOOK)
PROVIDERS = {
    kind: TransportMaker(Secrets(environment=SECRETS), now_ms=lambda: SEND_MS).provider(
        sender(kind, "https://provider.example")
    )
    for kind in KINDS
}

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.floats() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4)
    ),
    max_leaves=12,
)
LIKELY = st.fixed_dictionaries(
    {},
    optional={
        "sid": JSON, "code": JSON | st.sampled_from([21211, 20429, "21610"]), "error_code": JSON,
        "messages": JSON, "error": JSON | st.fixed_dictionaries({"code": JSON}), "status": JSON,
    },
)  # fmt: skip
BODIES = (
    st.binary(max_size=200)
    | JSON.map(lambda told: orjson.dumps(told, option=orjson.OPT_NON_STR_KEYS))
    | LIKELY.map(orjson.dumps)
    | st.integers(1, 3_000).map(lambda depth: b"[" * depth)
)
HEADERS = st.dictionaries(
    st.sampled_from(["retry-after", "content-type", "location"]), st.text(max_size=40), max_size=3
)
ANSWERS = st.builds(
    HttpAnswer, status=st.integers(100, 999), headers=HEADERS, body=BODIES, now_ms=st.just(SEND_MS)
)


@settings(max_examples=1_500, deadline=None)
@given(st.sampled_from(KINDS), ANSWERS, st.integers(0, 40))
def test_every_answer_has_one_meaning(kind: SenderKind, answer: HttpAnswer, attempts: int) -> None:
    """R48: accepted is said only of a success, unknown only where it may have arrived."""
    verdict = PROVIDERS[kind].meaning(answer, letter_for(kind, attempts=attempts))
    told = verdict.delivery
    assert isinstance(told.kind, Delivery.Kind)
    if told.kind is Delivery.Kind.ACCEPTED:
        assert 200 <= answer.status < 300
    assert told.was_handed_over is (told.kind in (Delivery.Kind.ACCEPTED, Delivery.Kind.UNKNOWN))
    assert 0 <= told.retry_after_ms <= max(96 * HOUR_MS, DAY_MS)
    if told.kind is Delivery.Kind.DEFERRED:
        assert told.retry_after_ms > 0
    assert "\n" not in told.detail
    assert len(told.detail) < 200


@pytest.mark.integration
@pytest.mark.asyncio
@settings(max_examples=150, deadline=None)
@given(
    kind=st.sampled_from(KINDS), status=st.integers(200, 599), body=BODIES,
    retry_after=st.sampled_from(["", "7", "x", "-1"]),
)  # fmt: skip
async def test_over_tcp_nothing_is_sent_twice(
    kind: SenderKind, status: int, body: bytes, retry_after: str
) -> None:
    reply = Reply(status, body, {"retry-after": retry_after})
    async with open_sink(decide=lambda _: reply) as sink:
        transport = transport_to(sink, kind)
        letter = letter_for(kind)
        (delivery,) = await transport.send([(letter, transport.prepare(letter))])
        assert isinstance(delivery.kind, Delivery.Kind)
        assert len(sink.calls) == 1
        await transport.close()


TEXTS = st.text(max_size=60)
EVENTS = st.builds(
    Event,
    id=TEXTS, source=TEXTS, type=TEXTS, channel=TEXTS, occur_ms=st.integers(0, 2**41),
    contact=st.builds(Contact, email=TEXTS, phone=TEXTS, first_name=TEXTS, last_name=TEXTS),
    order=st.none() | st.builds(
        Order, reference=TEXTS, items=st.lists(st.builds(Item, sku=TEXTS, name=TEXTS), max_size=3)
    ),
    shipment=st.none() | st.builds(
        Shipment, carrier=TEXTS, tracking_number=TEXTS, tracking_url=TEXTS,
        promised_ms=st.integers(0, 2**41),
    ),
)  # fmt: skip


@settings(max_examples=600, deadline=None)
@given(
    st.sampled_from(KINDS), EVENTS, TEXTS, TEXTS, TEXTS,
    st.sampled_from([f for f in Family if f]), st.booleans(),
)  # fmt: skip
def test_every_letter_is_made_or_refused(
    kind: SenderKind, event: Event, text: str, shop: str, locale: str, family: Family, again: bool
) -> None:
    """What cannot be made is said by the one error that the engine knows."""
    letter = letter_for(
        kind, event=event, text=text, locale=locale, family=family, is_follow_up=again,
        channel=make_channel(display_name=shop), purpose=Purpose.REVIEW,
    )  # fmt: skip
    provider = PROVIDERS[kind]
    try:
        request = provider.request(letter, provider.render(letter))
    except (RenderingFailed, UnicodeEncodeError):
        return
    for name, value in request.headers.items():
        assert name.isascii()
        assert value.isprintable()
    assert request.url.startswith("https://provider.example")
    if letter.medium != Medium.SMS:
        assert isinstance(orjson.loads(request.body), dict)


@given(st.text(max_size=400))
def test_segments_hold_what_is_in_them(text: str) -> None:
    """C23: against the definition, character by character."""
    size = size_of(text)
    whole, part = (160, 153) if size.encoding is Encoding.GSM_7 else (70, 67)
    assert (size.segments == 0) == (text == "")
    if size.units <= whole:
        assert size.segments == (1 if text else 0)
    else:
        assert -(-size.units // part) <= size.segments <= -(-size.units // (part - 1))


@given(st.text(max_size=60) | st.ip_addresses().map(str))
def test_hosts_are_judged_without_an_exception(host: str) -> None:
    """P25."""
    assert is_public_host(host) in (True, False)
    if is_public(host):
        assert is_public_host(host) or "%" in host
