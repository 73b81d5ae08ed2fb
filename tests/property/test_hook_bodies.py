"""Whatever comes to a hook is read or refused, and breaks nothing."""

from __future__ import annotations

import contextlib
from typing import Any

import orjson
from hypothesis import given
from hypothesis import strategies as st

from control.public.hooks import plain, twilio, whatsapp
from control.public.hooks.heard import Garbage, Heard
from core.contact_ports import FeedbackKind
from core.engine.stop_words import stop_word

NUMBER = "1065"
texts = st.text(max_size=40)
scalars = (
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.floats(allow_nan=False) | texts
)
names = st.sampled_from([
    "entry", "changes", "field", "value", "metadata", "phone_number_id", "statuses", "messages",
    "status", "errors", "code", "from", "text", "body", "timestamp", "biz_opaque_callback_data",
    "feedback", "delivery_id", "message_id", "kind", "occur_time", "button", "interactive",
])  # fmt: skip
known = st.sampled_from([
    "messages", NUMBER, "delivered", "failed", "sent", "read", "STOP", "34600000001", "1750000000",
    "0f2d8ba016377bf10000000000010001", 131026, 131050, "2026-03-01T09:00:00Z", "9999-12-31T23:59:59Z",
])  # fmt: skip
trees = st.recursive(
    scalars | known,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(names | texts, inner, max_size=5),
    max_leaves=30,
)


def is_sound(heard: Heard) -> bool:
    return (
        all(len(each.member) == 16 and each.time_ms >= 0 for each in heard.told)
        and all(FeedbackKind(each.kind) for each in heard.told)
        and all(each.phone.startswith("+") and each.time_ms >= 0 for each in heard.messages)
        and min(heard.unknown_count, heard.ignored_count) >= 0
    )


def dumped(tree: Any) -> bytes:
    try:
        return orjson.dumps(tree)
    except TypeError:
        # Integers beyond 64 bits, and surrogates: JSON that others might write.
        return repr(tree).encode("utf-8", "replace")


@given(trees | st.fixed_dictionaries({"entry": st.lists(trees, max_size=3)}))
def test_any_json_to_whatsapp(tree: Any) -> None:
    with contextlib.suppress(Garbage):
        assert is_sound(whatsapp.heard(dumped(tree), NUMBER))


@given(st.lists(st.dictionaries(names | texts, scalars | known | trees, max_size=6), max_size=6))
def test_any_value_inside_a_call_of_whatsapp(values: list[dict[str, Any]]) -> None:
    """The frame is right, so that what lies inside is read."""
    changes = [
        {"field": "messages", "value": {**value, "metadata": {"phone_number_id": NUMBER}}}
        for value in values
    ]
    heard = whatsapp.heard(dumped({"entry": [{"changes": changes}]}), NUMBER)
    assert is_sound(heard)
    for message in heard.messages:
        stop_word(message.text)


@given(trees | st.fixed_dictionaries({"feedback": st.lists(trees, max_size=3)}))
def test_any_json_to_the_plain_form(tree: Any) -> None:
    with contextlib.suppress(Garbage):
        assert is_sound(plain.heard(dumped(tree)))


@given(st.binary(max_size=300))
def test_any_bytes_to_every_form(body: bytes) -> None:
    for read in (plain.heard, lambda raw: whatsapp.heard(raw, NUMBER), twilio.fields_of):
        with contextlib.suppress(Garbage):
            read(body)


@given(st.dictionaries(texts, texts, max_size=4), st.dictionaries(
    st.sampled_from(["MessageStatus", "SmsStatus", "Body", "From", "ErrorCode", "OptOutType"]) | texts,
    texts | st.sampled_from(["delivered", "failed", "received", "+34600000001", "STOP", "30005"]),
))  # fmt: skip
def test_any_form_to_twilio(query: dict[str, str], fields: dict[str, str]) -> None:
    with contextlib.suppress(Garbage):
        assert is_sound(twilio.heard(query, list(fields.items())))


latin = st.text(st.characters(max_codepoint=255), max_size=60)


@given(st.binary(max_size=60), latin, latin, latin)
def test_no_signature_is_guessed(body: bytes, given_id: str, time: str, signature: str) -> None:
    """g10: whatever the headers hold, they are refused and nothing breaks."""
    headers = {"webhook-id": given_id, "webhook-timestamp": time, "webhook-signature": signature}
    assert not plain.is_signed(headers, body, "whsec_" + "a2tr" * 10, 1_750_000_000_000)
    assert not whatsapp.is_signed(body, signature, "secret")
    url = f"https://x.example/hooks/a/b/twilio?{given_id}"
    assert not twilio.is_signed(url, [(time, given_id)], signature, "secret")
    assert whatsapp.challenge_of({"hub.verify_token": time, "hub.challenge": "1"}, "secret") == ""
