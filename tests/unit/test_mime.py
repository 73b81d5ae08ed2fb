from __future__ import annotations

import base64
import email
import re
from email.header import decode_header, make_header
from email.message import EmailMessage
from email.parser import BytesParser
from email.policy import SMTP
from typing import cast

import pytest

from core.errors import RenderingFailed
from core.model import Family, Purpose
from core.registry.rule_parts import EmailSender
from core.sending import Letter
from senders.mime import MimeRenderer, ascii_address, render
from tests.letters import make_channel, make_event, make_letter


def parse(raw: bytes) -> EmailMessage:
    return cast(EmailMessage, BytesParser(policy=SMTP).parsebytes(raw))


def part(message: EmailMessage, subtype: str) -> str:
    body = message.get_body((subtype,))
    assert body is not None
    return str(body.get_content()).replace("\r\n", "\n")


def test_a_letter_becomes_a_message() -> None:
    message = parse(render(make_letter()))
    assert message["From"] == "Käsehaus <hallo@kaesehaus.example>"
    assert message["Reply-To"] == "antwort@kaesehaus.example"
    assert message["To"].addresses[0].addr_spec == "anna@example.com"
    assert message["To"].addresses[0].display_name == "Anna Kowalska"
    assert message["Subject"] == "Wie war Ihre Bestellung 4711 bei Käsehaus?"
    assert message["Message-ID"] == "<d00000001@kaesehaus.example>"
    assert message["Date"].datetime.timestamp() == 1_760_000_000
    assert message["Auto-Submitted"] == "auto-generated"
    assert message["List-Unsubscribe"] is None
    assert message.get_content_type() == "multipart/alternative"
    assert [p.get_content_type() for p in message.iter_parts()] == ["text/plain", "text/html"]
    assert part(message, "plain").startswith("Guten Tag Anna,\n\nvielen Dank für Ihre Bestellung")
    assert "<p>Guten Tag Anna,</p>" in part(message, "html")
    assert not message.defects


def test_the_same_letter_gives_the_same_bytes_and_a_retry_the_same_message_id() -> None:
    assert render(make_letter()) == render(make_letter())
    later = make_letter(attempts=3, send_ms=make_letter().send_ms + 86_400_000)
    assert parse(render(later))["Message-ID"] == parse(render(make_letter()))["Message-ID"]


def test_the_bytes_are_seven_bit_with_crlf_ends() -> None:
    raw = render(make_letter(event=make_event(first_name="Zoë", order="Ü-1", items=("Käse" * 99,))))
    assert raw.isascii()
    assert raw.count(b"\r") == raw.count(b"\n") == raw.count(b"\r\n")
    assert raw.endswith(b"\r\n")
    assert max(map(len, raw.split(b"\r\n"))) <= 78


def test_html_is_escaped() -> None:
    event = make_event(first_name="<script>alert(1)</script>", items=('<img src=x onerror="y">',))
    message = parse(render(make_letter(event=event, family=Family.PRODUCT_REVIEW)))
    assert "<script" not in part(message, "html")
    assert "<img" not in part(message, "html")
    assert "&lt;script&gt;alert(1)" in part(message, "html")
    assert "<script>alert(1)</script>" in part(message, "plain")


def test_products_and_tracking_are_shown_where_they_belong() -> None:
    """C26."""
    event = make_event(tracking_url="https://track.example/?a=1&b=2")
    review = parse(render(make_letter(event=event, family=Family.PRODUCT_REVIEW, locale="en")))
    assert "\n\n- Gouda\n- Brie\n\n" in part(review, "plain")
    assert "track.example" not in part(review, "plain")
    news = parse(render(make_letter(event=event, family=Family.NOTIFICATION, locale="en")))
    assert "Track your parcel:\nhttps://track.example/?a=1&b=2\n" in part(news, "plain")
    assert '<a href="https://track.example/?a=1&amp;b=2"' in part(news, "html")


@pytest.mark.parametrize("bad", ["a\rb", "a\nb", "a\r\nBcc: x@y.example", "a\0b"])
def test_a_line_break_in_a_header_value_is_refused(bad: str) -> None:
    letters = [
        make_letter(event=make_event(first_name=bad)),
        make_letter(event=make_event(last_name=bad)),
        make_letter(event=make_event(order=bad)),
        make_letter(subject=bad),
        make_letter(channel=make_channel(display_name=bad)),
        make_letter(channel=make_channel(email_sender=EmailSender("a@b.example", bad))),
        make_letter(channel=make_channel(email_sender=EmailSender(f"a@b.example{bad}"))),
        make_letter(channel=make_channel(email_sender=EmailSender("a@b.example", "", bad))),
        make_letter(address=f"anna@example.com{bad}"),
        make_letter(delivery_id=bad),
    ]
    for letter in letters:
        with pytest.raises(RenderingFailed) as raised:
            render(letter)
        assert "@" not in str(raised.value)
    unsubscribe = MimeRenderer(unsubscribe_url=lambda _: f"https://x.example/{bad}")
    with pytest.raises(RenderingFailed):
        unsubscribe.render(make_letter())


def test_what_is_not_unicode_is_refused_without_being_quoted() -> None:
    for letter in (
        make_letter(event=make_event(first_name="Anna\ud800")),
        make_letter(event=make_event(items=("Anna\ud800",)), family=Family.PRODUCT_REVIEW),
        make_letter(subject="Anna\ud800"),
    ):
        with pytest.raises(RenderingFailed) as raised:
            render(letter)
        assert "Anna" not in str(raised.value)
        assert raised.value.__cause__ is None


def test_a_channel_without_sender_cannot_write() -> None:
    with pytest.raises(RenderingFailed, match="no e-mail sender"):
        render(make_letter(channel=make_channel(email_sender=None)))


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("anna@example.com", "anna@example.com"),
        ("o'neil+tag@EXAMPLE.com", "o'neil+tag@EXAMPLE.com"),
        ("anna@käse.example", "anna@xn--kse-qla.example"),
        ("anna@straße.example", "anna@xn--strae-oqa.example"),
        ("anna@例え。テスト", "anna@xn--r8jz45g.xn--zckzah"),
        ("anna..b.@docomo.example", '"anna..b."@docomo.example'),
        ('"a b"@example.com', '"a b"@example.com'),
        ('"a@b"@example.com', '"a@b"@example.com'),
    ],
)
def test_addresses_become_ascii(given: str, expected: str) -> None:
    assert ascii_address(given) == expected


@pytest.mark.parametrize(
    "given",
    [
        *[
            "",
            "@",
            "anna",
            "@example.com",
            "anna@",
            "anna@-x.example",
            "anna@a..b",
            "a b@example.com",
        ],
        *["anna@example.com>", "<anna@example.com", "anna@example.com\n", "anna@[127.0.0.1]"],
        *["a,b@example.com", "anna@exa mple.com", "anna@ex\uff20mple.com", "anna@a\uff0fb.example"],
        *["a" * 65 + "@example.com", "anna@" + "a" * 64 + ".com", "anna@" + "a." * 124 + "example"],
        *["anna@a\u200db.example", 'a"b@example.com', '"a\r\nb"@example.com', '"ab@example.com'],
    ],
)
def test_what_is_no_mailbox_is_refused_without_being_quoted(given: str) -> None:
    with pytest.raises(RenderingFailed) as raised:
        ascii_address(given)
    assert "anna" not in str(raised.value)


def test_a_non_ascii_local_part_needs_smtputf8() -> None:
    with pytest.raises(RenderingFailed, match="needs SMTPUTF8"):
        ascii_address("käse@example.com")


@pytest.mark.parametrize(
    "subject",
    [
        "plain " * 30 + "end",
        "=?utf-8?b?SGFjaw==?=",
        "ä" * 250,
        "x" * 1_200,
        "😀" * 60,
        "tab\there",
        "x" * 69 + " y",
        "a" * 100 + " b",
    ],
)
def test_long_and_strange_subjects_survive(subject: str) -> None:
    raw = render(make_letter(subject=subject))
    assert parse(raw)["Subject"] == " ".join(subject.split())
    assert max(map(len, raw.split(b"\r\n"))) <= 998


@pytest.mark.parametrize(
    "name",
    [
        'Anna "die" K',
        "back\\slash",
        "a, b <x@y.example>",
        "=?utf-8?q?x?=",
        "Łukasz Ö.",
        "n" * 70,
    ],
)
def test_hostile_names_stay_names(name: str) -> None:
    message = parse(render(make_letter(event=make_event(first_name=name, last_name=""))))
    (to,) = message["To"].addresses
    assert (to.display_name, to.addr_spec) == (name, "anna@example.com")


@pytest.mark.parametrize("character", ["ä", "ł", "例", "😀"])
def test_no_character_is_split_between_two_encoded_words(character: str) -> None:
    for shift in range(4):
        raw = render(make_letter(subject="x" * shift + character * 60))
        words = re.findall(rb"=\?utf-8\?b\?([^?]*)\?=", raw.partition(b"Subject: ")[2])
        assert len(words) > 2
        for word in words:
            assert len(word) <= 75 - len("=?utf-8?b??=")
            base64.b64decode(word, validate=True).decode()


@pytest.mark.parametrize("name", ["Łukasz" * 30, "n" * 300, "😀" * 40])
def test_long_names_are_whole_once_the_words_are_joined(name: str) -> None:
    raw = render(make_letter(event=make_event(first_name=name, last_name="")))
    # The standard library's address parser, unlike its decoder of headers and unlike RFC 2047 6.2,
    # leaves the blanks between two encoded words in.
    header = email.message_from_bytes(raw)["To"]
    assert str(make_header(decode_header(header))) == f"{name} <anna@example.com>"


def test_a_letter_without_name_has_a_bare_address() -> None:
    event = make_event(first_name=" ", last_name="")
    message = parse(render(make_letter(event=event)))
    assert message["To"] == "anna@example.com"
    assert part(message, "plain").startswith("Guten Tag,\n")


def test_one_click_unsubscribe() -> None:
    """g5."""

    def link(letter: Letter) -> str:
        return f"https://u.example/{letter.delivery_id}"

    message = parse(MimeRenderer(unsubscribe_url=link).render(make_letter()))
    assert message["List-Unsubscribe"] == "<https://u.example/d00000001>"
    assert message["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    assert message["List-Id"] == "<unspecified.shop-de.acme.kaesehaus.example>"
    assert "Abmelden:\nhttps://u.example/d00000001\n" in part(message, "plain")
    assert re.search(
        '<a href="https://u.example/d00000001"[^>]*>Abmelden</a>', part(message, "html")
    )


def test_a_stream_has_a_name_of_its_own() -> None:
    """g6: per account, channel and purpose, below the sender's domain, whatever the ids are."""
    renderer = MimeRenderer(unsubscribe_url=lambda _: "https://u.example/x")

    def stream(purpose: Purpose = Purpose.REVIEW, sender: str = "a@shop.example", **of: str) -> str:
        channel = make_channel(email_sender=EmailSender(sender), **of)
        letter = make_letter(channel=channel, purpose=int(purpose))
        return str(parse(renderer.render(letter))["List-Id"])

    assert stream() == "<review.shop-de.acme.shop.example>"
    assert stream(Purpose.MARKETING, id="fr") == "<marketing.fr.acme.shop.example>"
    assert stream(account="Ä_b.c") == "<review.shop-de.--b-c.shop.example>"
    long = f"a@{'.'.join(['d' * 60] * 3)}.example"
    names = {stream(sender=long, account="x" * 63, id=c * 63) for c in "yz"}
    assert len(names) == 2
    assert all(len(name) <= 257 for name in names)


def test_the_standard_parser_of_old_reads_it_too() -> None:
    assert not email.message_from_bytes(render(make_letter())).defects


def test_what_a_rule_says_replaces_what_the_family_says() -> None:
    """D2: sender, subject, preheader and content are the action's own."""
    letter = make_letter(
        family=Family.AUTOMATION,
        subject="Your cart at {{shop}}",
        text="You left {{products}} behind, {{first_name}}.\n\nIt is still there & waiting: {{link}}",
        preheader="Still <there> for {{first_name}}",
        sender=EmailSender("cart@kaesehaus.example", "Cart", "help@kaesehaus.example"),
    )
    message = parse(render(letter))
    assert message["From"] == "Cart <cart@kaesehaus.example>"
    assert message["Reply-To"] == "help@kaesehaus.example"
    assert message["Subject"] == "Your cart at Käsehaus"
    plain, page = part(message, "plain"), part(message, "html")
    assert "You left Gouda, Brie behind, Anna.\n\nIt is still there & waiting" in plain
    assert "Still" not in plain
    assert "<p>It is still there &amp; waiting" in page
    assert 0 < page.index("Still &lt;there&gt; for Anna</div>") < page.index("<p>")
    assert "vielen Dank" not in plain


def test_a_combined_request_asks_about_service_and_products() -> None:
    """B31: one message, which names the products after the service."""
    plain = part(parse(render(make_letter(kinds=3))), "plain")
    assert "vielen Dank für Ihre Bestellung 4711" in plain
    assert "- Gouda\n- Brie" in plain
    assert "Gouda" not in part(parse(render(make_letter(kinds=1))), "plain")
