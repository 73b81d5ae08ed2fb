"""What providers sign and say, each form by itself; signatures are made here by their documentation."""

from __future__ import annotations

import base64
import hashlib
import json
from typing import Any
from urllib.parse import urlencode

import pytest

from control.public.hooks import plain, twilio, whatsapp
from control.public.hooks.heard import ITEMS_MAX, Garbage, Heard
from core.contact_ports import FeedbackKind as Kind
from core.errors import InvalidField
from core.model import Medium

DELIVERY = "0f2d8ba016377bf10000000000010001"
MEMBER = bytes.fromhex(DELIVERY)
NUMBER = "106540352242922"


def hmac_by_hand(key: bytes, message: bytes, name: str) -> bytes:
    """RFC 2104, from its definition."""
    block = 64
    key = hashlib.new(name, key).digest() if len(key) > block else key
    key = key.ljust(block, b"\0")
    inner = hashlib.new(name, bytes(each ^ 0x36 for each in key) + message).digest()
    return hashlib.new(name, bytes(each ^ 0x5C for each in key) + inner).digest()


def kinds(heard: Heard) -> list[Kind]:
    assert {each.member for each in heard.told} <= {MEMBER}
    return [Kind(each.kind) for each in heard.told]


# --- Twilio -----------------------------------------------------------------------------------------

URL = "https://mycompany.com/myapp.php?foo=1&bar=2"
FIELDS = [
    ("CallSid", "CA1234567890ABCDE"), ("Caller", "+14158675309"), ("Digits", "1234"),
    ("From", "+14158675309"), ("To", "+18005551212"),
]  # fmt: skip
PUBLISHED = "RSOYDt4T1cUTdK1PDd93/VVr8B8="
"""What the provider's documentation gives for these fields and the token "12345"."""


def test_the_published_example_of_twilio_is_right() -> None:
    """g10."""
    assert twilio.is_signed(URL, FIELDS, PUBLISHED, "12345")
    assert twilio.is_signed(URL, FIELDS[::-1], PUBLISHED, "12345"), "fields come in any order"
    text = URL + "".join(name + value for name, value in FIELDS)
    by_hand = base64.b64encode(hmac_by_hand(b"12345", text.encode(), "sha1")).decode()
    assert by_hand == PUBLISHED


def test_a_field_that_comes_twice_is_signed_as_the_provider_signs_it() -> None:
    """Another published example: equal values once, the others in order."""
    fields = [("Sid", "CA123"), ("SidAccount", "AC123")]
    fields += [("Digits", each) for each in ("5678", "1234", "1234")]
    assert twilio.is_signed(URL, fields, "IK+Dwps556ElfBT0I3Rgjkr1wJU=", "12345")


@pytest.mark.parametrize(
    ("url", "fields", "signature", "token"),
    [
        (URL, FIELDS, PUBLISHED, "12346"),
        (URL.replace("foo=1", "foo=2"), FIELDS, PUBLISHED, "12345"),
        (URL, [*FIELDS, ("Extra", "")], PUBLISHED, "12345"),
        (URL, FIELDS[1:], PUBLISHED, "12345"),
        (URL, FIELDS, "", "12345"),
        (URL, FIELDS, PUBLISHED.lower(), "12345"),
        (URL, FIELDS, PUBLISHED[:-1], "12345"),
        (URL, FIELDS, "é" + PUBLISHED, "12345"),
    ],
)
def test_what_twilio_did_not_sign_is_refused(
    url: str, fields: list[tuple[str, str]], signature: str, token: str
) -> None:
    """g10: token, address, fields and signature all count."""
    assert not twilio.is_signed(url, fields, signature, token)


def test_the_port_that_the_scheme_implies_may_be_signed_or_not() -> None:
    named = URL.replace("mycompany.com", "mycompany.com:443")
    text = named + "".join(name + value for name, value in FIELDS)
    signature = base64.b64encode(hmac_by_hand(b"12345", text.encode(), "sha1")).decode()
    assert twilio.is_signed(URL, FIELDS, signature, "12345")
    assert twilio.is_signed(named, FIELDS, PUBLISHED, "12345")
    assert not twilio.is_signed(named.replace(":443", ":444"), FIELDS, PUBLISHED, "12345")


@pytest.mark.parametrize(
    ("status", "code", "said"),
    [
        ("queued", "", []),
        ("sending", "", []),
        ("sent", "", [Kind.RESOLVED_SENT]),
        ("delivered", "", [Kind.DELIVERED]),
        ("read", "", [Kind.DELIVERED, Kind.OPENED]),
        ("undelivered", "30003", [Kind.SOFT_BOUNCED]),
        ("undelivered", "30005", [Kind.HARD_BOUNCED]),
        ("undelivered", "30006", [Kind.SOFT_BOUNCED]),
        ("failed", "21211", [Kind.HARD_BOUNCED]),
        ("failed", "21610", [Kind.SOFT_BOUNCED, Kind.UNSUBSCRIBED]),
        ("failed", "30007", [Kind.SOFT_BOUNCED]),
        ("failed", "", [Kind.SOFT_BOUNCED]),
        ("failed", "٣", [Kind.SOFT_BOUNCED]),
        ("partially_delivered", "", []),
    ],
)
def test_what_a_status_of_twilio_says(status: str, code: str, said: list[Kind]) -> None:
    """g10."""
    fields = [("MessageSid", "SM1"), ("MessageStatus", status), ("ErrorCode", code)]
    heard = twilio.heard({"message": DELIVERY}, fields)
    assert kinds(heard) == said
    assert heard.ignored_count == (not said)


def test_a_status_of_another_message_is_unknown() -> None:
    for query in ({}, {"message": ""}, {"message": DELIVERY.upper()}, {"message": DELIVERY[1:]}):
        assert twilio.heard(query, [("MessageStatus", "delivered")]) == Heard(unknown_count=1)


@pytest.mark.parametrize(
    ("fields", "phone", "text", "medium"),
    [
        ({"From": "+34600000001", "Body": " Stop! ", "MessageSid": "SM1"}, "+34600000001", " Stop! ",
         Medium.SMS),
        ({"From": "whatsapp:+34600000001", "Body": "x"}, "+34600000001", "x", Medium.WHATSAPP),
        ({"From": "+34600000001", "Body": "no más", "OptOutType": "STOP"}, "+34600000001", "STOP",
         Medium.SMS),
        ({"From": "+34600000001", "Body": "hi", "OptOutType": "HELP"}, "+34600000001", "hi",
         Medium.SMS),
    ],
)  # fmt: skip
def test_what_somebody_wrote_by_twilio(
    fields: dict[str, str], phone: str, text: str, medium: Medium
) -> None:
    """g7."""
    heard = twilio.heard({}, [*fields.items(), ("SmsStatus", "received")])
    (message,) = heard.messages
    assert (message.phone, message.text, message.medium) == (phone, text, medium)
    assert message.id == fields.get("MessageSid", "")


def test_a_short_code_is_nobody() -> None:
    for sender in ("12345", "Shop", "", "+", "+0123456789"):
        heard = twilio.heard({}, [("From", sender), ("Body", "STOP")])
        assert heard == Heard(ignored_count=1)


def test_a_form_without_status_or_text_is_garbage() -> None:
    with pytest.raises(Garbage, match="MessageStatus"):
        twilio.heard({}, [("From", "+34600000001")])
    with pytest.raises(Garbage):
        twilio.fields_of(urlencode([("a", "b")] * 101).encode())
    with pytest.raises(Garbage):
        twilio.fields_of(b"a=%FF")
    with pytest.raises(Garbage):
        twilio.fields_of(b"\xff=1")


# --- WhatsApp ---------------------------------------------------------------------------------------


def call(*values: dict[str, Any], number: str = NUMBER) -> bytes:
    changes = [
        {"field": "messages", "value": {"metadata": {"phone_number_id": number}, **value}}
        for value in values
    ]
    told = {"object": "whatsapp_business_account", "entry": [{"id": "1", "changes": changes}]}
    return json.dumps(told).encode()


def status(name: str, *codes: int, **fields: Any) -> dict[str, Any]:
    told = {
        "id": "wamid.1", "status": name, "timestamp": "1750000000",
        "biz_opaque_callback_data": DELIVERY, "errors": [{"code": code} for code in codes],
    }  # fmt: skip
    return {"statuses": [{**told, **fields}]}


def test_what_meta_signs() -> None:
    """g10."""
    body = call(status("delivered"))
    right = "sha256=" + hmac_by_hand(b"app secret", body, "sha256").hex()
    assert whatsapp.is_signed(body, right, "app secret")
    for wrong in (right.upper(), right[7:], right[:-1], "", "sha1=" + right[7:], "é"):
        assert not whatsapp.is_signed(body, wrong, "app secret")
    assert not whatsapp.is_signed(body + b" ", right, "app secret")
    assert not whatsapp.is_signed(body, right, "app Secret")


def test_the_handshake_of_meta() -> None:
    right = {"hub.mode": "subscribe", "hub.verify_token": "t0ken", "hub.challenge": "1158201444"}
    assert whatsapp.challenge_of(right, "t0ken") == "1158201444"
    for change in (
        {"hub.verify_token": "t0keN"},
        {"hub.verify_token": "ü"},
        {"hub.mode": "unsubscribe"},
        {"hub.challenge": "<script>"},
        {"hub.challenge": "1" * 257},
    ):
        assert whatsapp.challenge_of({**right, **change}, "t0ken") == ""
    assert whatsapp.challenge_of({}, "t0ken") == ""


@pytest.mark.parametrize(
    ("told", "said"),
    [
        (status("sent"), [Kind.RESOLVED_SENT]),
        (status("delivered"), [Kind.DELIVERED]),
        (status("read"), [Kind.DELIVERED, Kind.OPENED]),
        (status("failed", 131026), [Kind.HARD_BOUNCED]),
        (status("failed", 131050), [Kind.SOFT_BOUNCED, Kind.UNSUBSCRIBED]),
        (status("failed", 131049), [Kind.SOFT_BOUNCED]),
        (status("failed"), [Kind.SOFT_BOUNCED]),
        (status("deleted"), []),
    ],
)
def test_what_a_status_of_whatsapp_says(told: dict[str, Any], said: list[Kind]) -> None:
    """g9, g10."""
    heard = whatsapp.heard(call(told), NUMBER)
    assert kinds(heard) == said
    assert {each.time_ms for each in heard.told} <= {1_750_000_000_000}


def test_a_status_without_our_id_is_unknown_and_one_of_another_number_left_out() -> None:
    told = status("delivered", biz_opaque_callback_data="campaign 7")
    assert whatsapp.heard(call(told), NUMBER) == Heard(unknown_count=1)
    assert whatsapp.heard(call(status("delivered"), number="1"), NUMBER) == Heard(ignored_count=1)


@pytest.mark.parametrize(
    "message",
    [
        {"type": "text", "text": {"body": "STOP"}},
        {"type": "button", "button": {"text": "STOP", "payload": "x"}},
        {"type": "interactive", "interactive": {"button_reply": {"id": "1", "title": "STOP"}}},
    ],
)
def test_what_somebody_wrote_by_whatsapp(message: dict[str, Any]) -> None:
    """g7: written, or pressed."""
    told = {"from": "34600000001", "id": "wamid.2", "timestamp": "1750000000", **message}
    (found,) = whatsapp.heard(call({"messages": [told]}), NUMBER).messages
    assert (found.phone, found.text) == ("+34600000001", "STOP")
    assert (found.medium, found.time_ms) == (Medium.WHATSAPP, 1_750_000_000_000)
    assert found.id == "wamid.2"


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"{}", b'{"entry": {}}', b"\xff", b"[" * 5_000])
def test_what_meta_does_not_say_is_garbage(body: bytes) -> None:
    with pytest.raises(Garbage):
        whatsapp.heard(body, NUMBER)


# --- the plain form ---------------------------------------------------------------------------------

SECRET = "whsec_" + base64.b64encode(b"k" * 32).decode()
NOW_MS = 1_750_000_000_000


def headers(
    body: bytes, *, at_s: int = NOW_MS // 1_000, secret: bytes = b"k" * 32
) -> dict[str, str]:
    signed = f"msg-1.{at_s}.".encode() + body
    made = base64.b64encode(hmac_by_hand(secret, signed, "sha256")).decode()
    return {
        "webhook-id": "msg-1",
        "webhook-timestamp": str(at_s),
        "webhook-signature": f"v1,{made}",
    }


def test_what_standard_webhooks_sign() -> None:
    """g10."""
    right = headers(b"{}")
    assert plain.is_signed(right, b"{}", SECRET, NOW_MS)
    several = f"v1,AAAA v1a,x {right['webhook-signature']}"
    assert plain.is_signed({**right, "webhook-signature": several}, b"{}", SECRET, NOW_MS)
    assert not plain.is_signed(right, b"{ }", SECRET, NOW_MS)
    assert not plain.is_signed(headers(b"{}", secret=b"K" * 32), b"{}", SECRET, NOW_MS)
    for name, value in (
        ("webhook-id", "msg-2"), ("webhook-id", ""), ("webhook-timestamp", ""),
        ("webhook-timestamp", "x"), ("webhook-timestamp", "-1"), ("webhook-signature", ""),
        ("webhook-timestamp", "9" * 40), ("webhook-signature", "v1,é"),
    ):  # fmt: skip
        assert not plain.is_signed({**right, name: value}, b"{}", SECRET, NOW_MS)
    with pytest.raises(InvalidField):
        plain.is_signed(right, b"{}", "whsec_short", NOW_MS)


@pytest.mark.parametrize(
    ("off_s", "is_taken"), [(-301, False), (-300, True), (300, True), (301, False)]
)
def test_a_call_is_good_for_five_minutes(off_s: int, is_taken: bool) -> None:
    """A call that somebody has kept cannot be made again."""
    old = headers(b"{}", at_s=NOW_MS // 1_000 + off_s)
    assert plain.is_signed(old, b"{}", SECRET, NOW_MS) is is_taken


def feedback(*items: dict[str, Any]) -> bytes:
    return json.dumps({"feedback": items}).encode()


@pytest.mark.parametrize("name", plain.KINDS)
def test_the_plain_form_tells_every_kind(name: str) -> None:
    """g10."""
    for who in ({"delivery_id": DELIVERY}, {"message_id": f"<{DELIVERY}@shop.example>"},
                {"message_id": DELIVERY}):  # fmt: skip
        item = {**who, "kind": name, "occur_time": "2026-03-01T09:00:00.250Z"}
        (told,) = plain.heard(feedback(item)).told
        assert (told.member, told.kind) == (MEMBER, plain.KINDS[name])
        assert told.time_ms == 1_772_355_600_250


def test_a_message_that_is_none_of_ours_is_unknown() -> None:
    items = [{"message_id": "<abc@mail.example>", "kind": "delivered"}, {"delivery_id": DELIVERY,
             "kind": "opened"}]  # fmt: skip
    heard = plain.heard(feedback(*items))
    assert (heard.unknown_count, kinds(heard)) == (1, [Kind.OPENED])


@pytest.mark.parametrize(
    ("body", "names"),
    [
        (b"", "body"),
        (b"[]", "body"),
        (b"{}", "feedback"),
        (b"\xff", "body"),
        (feedback(), "feedback"),
        (feedback(*[{"delivery_id": DELIVERY, "kind": "opened"}] * (ITEMS_MAX + 1)), "1,000"),
        (feedback({"delivery_id": DELIVERY, "kind": "bounced"}), r"feedback\[0\].kind"),
        (feedback({"delivery_id": DELIVERY, "kind": "resolved_sent"}), r"feedback\[0\].kind"),
        (feedback({"kind": "opened"}), r"feedback\[0\]"),
        (feedback({"delivery_id": DELIVERY, "message_id": "x", "kind": "opened"}), r"feedback\[0\]"),
        (feedback({"delivery_id": DELIVERY, "kind": "opened", "when": 1}), "when"),
        (feedback({"delivery_id": DELIVERY, "kind": "opened", "occur_time": "today"}), "occur_time"),
        (feedback({"delivery_id": DELIVERY, "kind": "opened", "occur_time": "2026-03-01T09:00:00"}),
         "occur_time"),
        (feedback({"delivery_id": 7, "kind": "opened"}), "delivery_id"),
    ],
)  # fmt: skip
def test_what_is_wrong_in_the_plain_form_is_named(body: bytes, names: str) -> None:
    """Nothing of a call is done where a part of it is wrong."""
    with pytest.raises(Garbage, match=names):
        plain.heard(body)
