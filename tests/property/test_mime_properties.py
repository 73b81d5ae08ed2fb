"""Whatever customers and shops are called, a message is exactly the message meant."""

from __future__ import annotations

from email.message import EmailMessage
from email.parser import BytesParser
from email.policy import SMTP
from typing import cast

from hypothesis import given
from hypothesis import strategies as st

from core.errors import RenderingFailed
from core.model import Family
from core.registry.rule_parts import EmailSender
from senders.languages import LANGUAGES
from senders.mime import ascii_address, render
from senders.pages import body_of, content_of
from senders.templates import template_of
from tests.letters import make_channel, make_event, make_letter

HEADERS = [
    "From", "Reply-To", "To", "Subject", "Date", "Message-ID", "Auto-Submitted",
    "Content-Language", "MIME-Version", "Content-Type",
]  # fmt: skip

NASTY = st.sampled_from(
    [
        *["\r\n", "\n", "\r", "\0", '"', "\\", "<", ">", ",", "=?utf-8?b?eA==?=", "=?", "?=", "."],
        *["\r\n.\r\n", "--=_afterword_part--", "{{order}}", "\u2028", "\x85", "\x0b", "\t", "😀"],
        *["Bcc: x@y.example", "\u202e", "\ufeff", " ", "a" * 80, "ä" * 50, "=\r\n", "ß"],
    ]
)
HOSTILE = st.lists(NASTY | st.text(max_size=20), max_size=6).map("".join)
ONE_LINE = HOSTILE.map(lambda text: "".join(c for c in text if c not in "\r\n\0"))


def one_line(text: str) -> str:
    return " ".join(text.split())


def parse(raw: bytes) -> EmailMessage:
    return cast(EmailMessage, BytesParser(policy=SMTP).parsebytes(raw))


def check_form(raw: bytes) -> None:
    assert raw.isascii()
    assert raw.count(b"\r") == raw.count(b"\n") == raw.count(b"\r\n")
    assert b"\0" not in raw
    assert max(map(len, raw.split(b"\r\n"))) <= 998


@given(HOSTILE, HOSTILE, HOSTILE, HOSTILE, HOSTILE, st.sampled_from(sorted(LANGUAGES)))
def test_nothing_can_add_a_header(
    first: str, last: str, order: str, shop: str, item: str, locale: str
) -> None:
    event = make_event(first_name=first, last_name=last, order=order, items=(item,))
    channel = make_channel(display_name=shop)
    for family in (Family.SERVICE_REVIEW, Family.PRODUCT_REVIEW, Family.NOTIFICATION):
        letter = make_letter(event=event, channel=channel, family=family, locale=locale)
        try:
            raw = render(letter)
        except RenderingFailed:
            assert any(c in text for c in "\r\n\0" for text in (first, last, order, shop))
            continue
        check_form(raw)
        message = parse(raw)
        assert message.keys() == HEADERS
        assert len(list(message.iter_parts())) == 2
        assert message["To"].addresses[0].addr_spec == "anna@example.com"
        assert len(message["To"].addresses) == 1


@given(ONE_LINE, ONE_LINE, ONE_LINE)
def test_what_is_read_back_is_what_was_written(first: str, order: str, subject: str) -> None:
    subject = subject.replace("{{", "").replace("}}", "") or "x"
    event = make_event(first_name=first, last_name="", order=order)
    letter = make_letter(event=event, subject=subject, locale="pl")
    raw = render(letter)
    check_form(raw)
    message = parse(raw)
    assert message["Subject"] == one_line(subject)
    known = {"shop"}
    values = {"shop": "Käsehaus", "first_name": one_line(first), "order": one_line(order)}
    known |= {name for name in ("first_name", "order") if values[name]}
    content = content_of(letter, template_of(letter), "pl")
    pieces = list(body_of(content, "pl", frozenset(known)).text)
    pieces[1::2] = [values[name] for name in pieces[1::2]]
    text = message.get_body(("plain",))
    assert text is not None
    payload = cast(bytes, text.get_payload(decode=True)).decode()
    assert payload.replace("\r\n", "\n").rstrip("\n") == "".join(pieces).rstrip("\n")


@given(ONE_LINE, ONE_LINE)
def test_names_in_from_and_to_keep_their_addresses(name: str, shop: str) -> None:
    sender = EmailSender("hallo@kaesehaus.example", shop, "")
    event = make_event(first_name=name, last_name="")
    raw = render(make_letter(event=event, channel=make_channel(email_sender=sender)))
    check_form(raw)
    message = parse(raw)
    for header, spec in (("From", sender.address), ("To", "anna@example.com")):
        (address,) = message[header].addresses
        assert address.addr_spec == spec


@given(HOSTILE, HOSTILE)
def test_an_address_is_ascii_in_one_piece_or_refused(local: str, domain: str) -> None:
    for given_address in (f"{local}@{domain}", f"{local}@example.com", f"a@{domain}.example"):
        try:
            address = ascii_address(given_address)
        except RenderingFailed as error:
            assert "example" not in str(error)  # noqa: PT017
            continue
        assert address.isascii()
        assert address.isprintable()
        quoted = address.rpartition("@")[0].startswith('"')
        assert quoted or not set('<>" ,;:\\').intersection(address)


@given(st.text(max_size=60).map(lambda text: text.replace("@", "")))
def test_domains_never_hold_more_than_letters_digits_hyphens_and_dots(text: str) -> None:
    try:
        domain = ascii_address(f"a@{text}").rpartition("@")[2]
    except RenderingFailed:
        return
    assert all(c.isalnum() or c in "-." for c in domain)
