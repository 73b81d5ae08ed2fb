"""A shop's own look: what its branding may hold, where it stands, and that it can break nothing."""

from __future__ import annotations

import colorsys
import email
import email.policy
import itertools
import random
import re
from email.message import EmailMessage
from typing import cast

import msgspec
import pytest

from core.errors import InvalidField, OutOfRange
from core.model import Family, Medium, Purpose
from core.registry import branding as stored
from core.registry.branding import Branding
from core.registry.contents import Content, ContentTemplate, EmailParts
from core.registry.resources import Channel
from core.sending import Letter
from senders import branding, mime
from senders.catalogue.emails import EMAIL_TEMPLATES, EmailTemplate
from senders.contents import checking
from senders.contents.messages import Mail
from senders.languages import LANGUAGES
from tests.layouts import gallery
from tests.letters import make_channel, make_letter
from tests.unit.test_default_messages import EVERY, Page, contrast, one_line, part, render

FULL = gallery.BRANDING
IMPRINT = FULL.imprint.split("\n")
CARD, CARD_DARK = "#ffffff", "#1c1f22"
LEADING_TO_THE_SHOP = ("first-purchase-thanks", "frequent-buyer", "win-back", "win-back-last")


def branded(
    template: EmailTemplate | str, language: str = "en", own: Branding | None = FULL, **changes: object
) -> Letter:  # fmt: skip
    found = EMAIL_TEMPLATES[template] if isinstance(template, str) else template
    channel = gallery.channel(branding=own)
    return gallery.letter(found, language, channel=channel, **changes)  # type: ignore[arg-type]


def both(letter: Letter) -> tuple[str, str]:
    message = render(letter)
    return part(message, "plain"), part(message, "html")


# --- what it may hold -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "url",
    ["http://shop.example/", "javascript:alert(1)", "data:image/png;base64,AA", "//shop.example/a",
     "https://", "https://shop.example/a b", "https://shop.example/\n", "https://käse.example/",
     'https://shop.example/"onload=', "https://shop.example/<b>", "https://shop.example/{{order}}",
     "HTTPS://shop.example/", "https://me:secret@shop.example/", "https://shop.example:x/",
     "https://shop.example/" + "a" * 500],
)  # fmt: skip
def test_only_plain_https_addresses_are_taken(url: str) -> None:
    with pytest.raises((InvalidField, OutOfRange)) as refusal:
        stored.check_url(url, "channel.branding.logo_url")
    assert refusal.value.field == "channel.branding.logo_url"
    assert "channel.branding.logo_url" in refusal.value.message


@pytest.mark.parametrize(
    "url",
    ["", "https://shop.example", "https://shop.example:8443/a?b=c&d=%20#e", "https://1.2.3.4/"],
)
def test_https_addresses_and_none_are_taken_as_they_are(url: str) -> None:
    assert stored.check_url(url, "x") == url


@pytest.mark.parametrize(
    "color", ["red", "#fff", "2b5fd9", "#2b5fd", "#2b5fd9;}", "#2b5fdg", "#2b5fd9\n", "#2b5fd9ff"]
)
def test_only_colours_of_six_digits_are_taken(color: str) -> None:
    with pytest.raises(InvalidField, match="#2b5fd9"):
        stored.check_color(color, "channel.branding.accent_color")
    assert stored.check_color("#2B5fd9", "x") == "#2B5fd9"


@pytest.mark.parametrize(
    "imprint",
    [
        "a\rb",
        "a\r\nb",
        "a\x00",
        "a\tb",
        "a\x85b",
        "a\u2028b",
        "a\u202eb",
        "x" * 1_001,
        "a\n" * 12 + "b",
    ],
)
def test_an_imprint_is_plain_text_in_lines(imprint: str) -> None:
    with pytest.raises((InvalidField, OutOfRange)) as refusal:
        stored.check_imprint(imprint, "channel.branding.imprint")
    assert refusal.value.field == "channel.branding.imprint"


def test_an_imprint_may_end_as_files_end_it() -> None:
    given = "\n  Käsehaus   GmbH \n\n<Berlin>\n\n"
    assert stored.check_imprint(given, "x") == given
    assert stored.check_imprint("a\n" * 12, "x")
    assert Branding(imprint=given).imprint_lines == ("Käsehaus GmbH", "", "<Berlin>")


def test_a_channel_from_before_there_was_branding_is_read_as_one_without() -> None:
    raw = msgspec.json.encode(make_channel(branding=FULL))
    before = msgspec.json.decode(raw)
    assert before.pop("branding")["accent_color"] == FULL.accent_color
    found = msgspec.json.decode(msgspec.json.encode(before), type=Channel)
    assert found.branding is None
    assert msgspec.json.decode(raw, type=Channel).branding == FULL


# --- where it stands ------------------------------------------------------------------------------


@pytest.mark.parametrize(("template", "language"), EVERY)
def test_every_message_says_who_writes_in_both_parts(
    template: EmailTemplate, language: str
) -> None:
    text, html = both(branded(template, language))
    page = Page(html)
    assert "\n\n" + FULL.imprint + "\n\n" in text
    assert "<br>".join(IMPRINT) in html
    assert FULL.support_email in text
    assert page.links[f"mailto:{FULL.support_email}"] == FULL.support_email
    for told in (text, html):
        assert not re.search(r"\{\{|\}\}|\[\[|\]\]|if:|each:|end:", told)
        assert "  " not in told.replace("\n", "")
    assert all(table.get("role") == "presentation" for table in page.tables)


@pytest.mark.parametrize(("template", "language"), EVERY)
def test_the_plain_part_has_every_link_and_word_of_a_branded_page(
    template: EmailTemplate, language: str
) -> None:
    text, html = both(branded(template, language))
    page = Page(html)
    for link, label in page.links.items():
        assert link.removeprefix("mailto:") in text
        host = FULL.shop_url.removeprefix("https://").rstrip("/")
        assert label in text or label == host
    hidden = re.findall(r"overflow:hidden\">([^<]+)</div>", html)
    for words in page.texts:
        assert one_line(words) in one_line(text) or words in hidden


@pytest.mark.parametrize("template", gallery.templates(), ids=lambda each: each.id)
def test_customers_are_led_to_the_shop_and_others_are_not(template: EmailTemplate) -> None:
    """g3: what asks to confirm a consent says nothing else; a carrier does not shop."""
    text, html = both(branded(template))
    is_for_customers = template.id not in ("carrier-delay", "confirm-consent")
    assert (FULL.shop_url in Page(html).links) is is_for_customers
    assert (f"\n{FULL.shop_url}\n" in text) is is_for_customers
    pictures = [each for each in Page(html).pictures if each["src"] == FULL.logo_url]
    assert len(pictures) == (template.id != "confirm-consent")
    assert all(each["alt"] == "Käsehaus" for each in pictures)


@pytest.mark.parametrize(
    ("template", "language"), list(itertools.product(LEADING_TO_THE_SHOP, LANGUAGES))
)
def test_what_wins_customers_back_has_a_button_to_the_shop(template: str, language: str) -> None:
    """D9, D12, D13."""
    texts = LANGUAGES[language]
    text, html = both(branded(template, language))
    assert f"{texts.visit}{texts.colon}\n{FULL.shop_url}\n" in text
    assert f">{texts.visit}</a>" in html
    text, html = both(branded(template, language, None))
    assert texts.visit not in text
    assert f">{texts.visit}<" not in html


def test_a_cart_without_an_address_leads_to_the_shop_and_one_with_it_to_the_cart() -> None:
    """D5."""
    letter = branded("abandoned-cart")
    text, _ = both(letter)
    assert f"{LANGUAGES['en'].cart}:\n{gallery.CART_URL}\n" in text
    assert LANGUAGES["en"].visit not in text
    assert letter.event.cart is not None
    letter.event.cart.url = ""
    text, _ = both(letter)
    assert f"{LANGUAGES['en'].visit}:\n{FULL.shop_url}\n" in text


def test_a_text_of_ones_own_has_no_button_that_it_did_not_ask_for() -> None:
    letter = branded("plain", purpose=Purpose.MARKETING)
    _, html = both(letter)
    assert f">{LANGUAGES['en'].visit}<" not in html
    assert FULL.shop_url in Page(html).links


@pytest.mark.parametrize("field", Branding.__struct_fields__)
def test_every_field_stands_by_itself(field: str) -> None:
    own = Branding(**{field: getattr(FULL, field)})
    plain = both(branded("win-back", own=None))
    text, html = both(branded("win-back", own=own))
    page = Page(html)
    assert (text, html) != plain
    assert (FULL.logo_url in page.addresses) is (field == "logo_url")
    assert (FULL.accent_color in html) is (field == "accent_color")
    if field == "accent_color":
        assert branding.ACCENT not in html
    assert (FULL.shop_url in page.addresses) is (field == "shop_url")
    assert (IMPRINT[0] in text) is (IMPRINT[0] in html) is (field == "imprint")
    assert (FULL.support_email in text) is (field == "support_email")


def test_without_branding_nothing_of_it_is_left() -> None:
    for own in (None, Branding(), Branding(imprint=" \n ")):
        text, html = both(branded("order-shipped", own=own))
        assert (text, html) == both(branded("order-shipped", own=None))
    assert "border-top:none" in html
    assert set(Page(html).links) == {gallery.TRACKING_URL}


# --- what it cannot break -------------------------------------------------------------------------


def test_an_imprint_is_text_whatever_it_looks_like() -> None:
    nasty = '<script>alert(1)</script> & "Söhne" {{order}} [[greeting]]\n<!-- end:address -->\n=_x'
    letter = branded("order-shipped", own=Branding(imprint=nasty))
    text, html = both(letter)
    assert "\n\n" + nasty in text
    assert "<script" not in html
    assert "<!-- end" not in html
    assert "&lt;script&gt;alert(1)&lt;/script&gt; &amp; &quot;Söhne&quot; {{order}}" in html
    for line in nasty.split("\n"):
        assert line in Page(html).words


def test_a_line_of_an_imprint_is_never_a_header_or_the_end_of_a_message() -> None:
    own = Branding(imprint="X\n.\nBcc: all@example.com\n--=_afterword_part--\nFrom me")
    raw = mime.render(branded("order-shipped", own=own))
    head, _, body = raw.partition(b"\r\n\r\n")
    assert b"Bcc" not in head
    assert body.count(b"--=_afterword_part--") == 1
    assert max(map(len, raw.split(b"\r\n"))) <= 76 + len("Content-Transfer-Encoding")
    text, _ = both(branded("order-shipped", own=own))
    assert own.imprint in text


@pytest.mark.parametrize("url", ["javascript:alert(1)", "https://x/ y", 'https://x/"o=', "x\n"])
def test_an_address_that_is_none_is_left_out_even_if_it_was_stored(url: str) -> None:
    own = Branding(logo_url=url, shop_url=url, support_email="a@b.example")
    text, html = both(branded("win-back", own=own))
    assert Page(html).addresses == {gallery.UNSUBSCRIBE_URL, "mailto:a@b.example"}
    assert url not in text
    assert ">Käsehaus</" in html


def test_links_and_names_are_escaped() -> None:
    own = Branding(shop_url="https://x.example/?a=1&lt=2'", support_email="o'x&\"?cc=y@b.example")
    text, html = both(branded("win-back", own=own))
    page = Page(html)
    assert own.shop_url in page.links
    assert own.shop_url in text
    assert page.links["mailto:o'x%26%22%3Fcc=y@b.example"] == own.support_email
    channel = gallery.channel(branding=FULL, display_name='"><script>')
    _, html = both(gallery.letter(EMAIL_TEMPLATES["win-back"], "en", channel=channel))
    assert Page(html).pictures[0]["alt"] == '"><script>'


def test_a_shop_never_sees_the_branding_of_another() -> None:
    """The skeletons are shared by all shops, what is filled in is not."""
    others = [
        Branding(
            accent_color=f"#{number:06x}", imprint=f"Shop {number}", shop_url="https://x.example/"
        )
        for number in range(3)
    ]
    for number in (0, 1, 2, 1, 0):
        text, html = both(branded("win-back", own=others[number]))
        assert re.findall(r"Shop \d", text) == re.findall(r"Shop \d", html) == [f"Shop {number}"]
        assert set(re.findall(r"bgcolor=\"(#\w+)\"", html)) - {CARD} == {f"#{number:06x}"}


# --- colours --------------------------------------------------------------------------------------


def accents() -> list[str]:
    wheel = [
        colorsys.hsv_to_rgb(hue / 24, s, v) for hue in range(24) for s in (0.4, 1) for v in (0.5, 1)
    ]
    random_ones = random.Random(7)
    return [
        "#000000", "#ffffff", "#767676", "#777777", "#f2b705", "#2b5fd9", CARD_DARK,
        *("#%02x%02x%02x" % tuple(round(part * 255) for part in color) for color in wheel),
        *(f"#{random_ones.randrange(1 << 24):06x}" for _ in range(200)),
    ]  # fmt: skip


def test_what_is_written_on_a_button_can_be_read_and_its_shape_seen() -> None:
    """WCAG 2.2, 1.4.3: whatever the shop's colour is, on a light screen and on a dark one."""
    for accent in accents():
        colors = branding.colors_of(accent)
        assert contrast(accent, colors["on_accent"]) >= 4.5, accent
        for edge, ground in ((colors["edge"], CARD), (colors["edge_dark"], CARD_DARK)):
            assert contrast(edge, ground) >= 1.5, accent
    assert branding.colors_of("#2b5fd9")["on_accent"] == "#ffffff"
    assert branding.colors_of("#f2b705")["on_accent"] == "#000000"


@pytest.mark.parametrize("accent", ["#f2b705", "#0B1020", "#ffffff"])
def test_a_button_has_the_shops_colour_and_words_that_go_with_it(accent: str) -> None:
    _, html = both(branded("order-shipped", own=Branding(accent_color=accent)))
    found = re.search(r'bgcolor="(#\w{6})"[^>]*style="border:1px solid (#\w{6});[^>]*><a [^>]*style="'
                      r"display:inline-block;background:(#\w{6});color:(#\w{6});", html)  # fmt: skip
    assert found is not None
    assert found[1] == found[3] == accent.lower()
    assert contrast(found[3], found[4]) >= 4.5
    assert contrast(found[2], CARD) >= 1.5
    dark = re.search(r"prefers-color-scheme: dark\) \{(.*?)\}</style>", html, re.DOTALL)
    assert dark is not None
    edge = re.search(r"\.wide td \{ border-color: (#\w{6}) !important; \}", dark[1])
    assert edge is not None
    assert contrast(edge[1], CARD_DARK) >= 1.5
    assert ".logo img { background-color: #ffffff !important" in dark[1]
    assert f"border-top:4px solid {accent.lower()}" in html


# --- templates of shops ---------------------------------------------------------------------------


SOURCE = (
    '<a href="{{ shop.url }}"><img src="{{ shop.logo_url }}"></a>'
    '<i style="color:{{ shop.accent_color }}">'
    "{% for line in shop.imprint %}({{ line }}){% endfor %}{{ shop.support_email }}</i>"
)


def own_page(own: Branding | None) -> str:
    content = Content(locale="en", parts=EmailParts(subject="S", html=f"<body>{SOURCE}</body>"))
    template = ContentTemplate(
        account="acme", id="t", medium=Medium.EMAIL, families=(Family.SERVICE_REVIEW,),
        default_locale="en", contents=(content,),
    )  # fmt: skip
    letter = make_letter(channel=make_channel(branding=own), content=template, locale="en")
    message = email.message_from_bytes(Mail().render(letter), policy=email.policy.default)
    body = cast(EmailMessage, message).get_body(("html",))
    assert body is not None
    return str(body.get_content())


def test_own_templates_have_it_too_escaped_and_nil_where_it_is_not_set() -> None:
    """C21."""
    checking.parsed(SOURCE, field="html", is_html=True, chars_max=1_000)
    page = own_page(msgspec.structs.replace(FULL, imprint="A & B\n<i>"))
    assert f'href="{FULL.shop_url}"' in page
    assert f'src="{FULL.logo_url}"' in page
    assert f"color:{FULL.accent_color}" in page
    assert "(A &amp; B)(&lt;i&gt;)hilfe@kaesehaus.example" in page
    bad = Branding(shop_url="javascript:alert(1)", logo_url="javascript:alert(1)")
    for own in (None, Branding(), bad):
        page = own_page(own)
        assert '<a href=""><img src=""></a><i style="color:"></i>' in page
