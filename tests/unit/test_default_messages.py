"""Every default e-mail in every language, read as a mail program reads it: nothing is missing, nothing
left open, nothing only for those who see."""

from __future__ import annotations

import email
import email.policy
import itertools
import re
from email.message import EmailMessage
from html.parser import HTMLParser
from typing import cast

import pytest

from core.model import CONSENT_PURPOSES, REVIEW_FAMILIES, Cart, Contact, Family, Purpose, Shipment
from core.sending import Letter
from senders.catalogue import choice
from senders.catalogue.emails import EMAIL_TEMPLATES, EmailTemplate, Shows
from senders.languages import LANGUAGES
from senders.mime import MimeRenderer
from tests.layouts import gallery
from tests.letters import make_channel, make_event, make_letter

PICTURES = tuple(f"https://pictures.example/{n}.jpg?size=72&v=2" for n in range(3))
HTML_BYTES_MAX = 40_960
LINE_CHARS_MAX = 998
SUBJECT_CHARS_WANTED = 60
"""More is cut off by mail programs."""

PREHEADER_CHARS_WANTED = 90
"""Telephones show less."""

USUAL_SHOP, USUAL_ORDER = "Teekontor Nord", "100-2345"
"""As long as names of shops and references of orders usually are."""

EVERY = [
    pytest.param(template, language, id=f"{template.id}-{language}")
    for template, language in itertools.product(gallery.templates(), LANGUAGES)
]


class Page(HTMLParser):
    """What somebody gets from an HTML part: texts, links, pictures, and whether it is well-formed."""

    VOID = frozenset({"meta", "img", "br", "link"})

    def __init__(self, source: str) -> None:
        super().__init__()
        self.texts: list[str] = []
        self.links: dict[str, str] = {}
        self.pictures: list[dict[str, str | None]] = []
        self.tables: list[dict[str, str | None]] = []
        self.addresses: set[str] = set()
        self._open: list[str] = []
        self._link = ""
        self.feed(source)
        self.close()
        assert not self._open, self._open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        self.addresses |= {
            found[name] or "" for name in ("href", "src", "background") if name in found
        }
        if tag == "img":
            self.pictures.append(found)
        if tag == "table":
            self.tables.append(found)
        if tag == "a":
            self._link = found.get("href") or ""
            self.links[self._link] = ""
        if tag not in self.VOID:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag in self.VOID:
            return
        assert self._open.pop() == tag
        self._link = "" if tag == "a" else self._link

    def handle_data(self, data: str) -> None:
        if set(self._open) & {"style", "title"}:
            return
        self.texts.append(data)
        if self._link:
            self.links[self._link] += data

    @property
    def words(self) -> str:
        return " ".join(" ".join(self.texts).split())


def render(letter: Letter, unsubscribe: str = gallery.UNSUBSCRIBE_URL) -> EmailMessage:
    def link(letter: Letter) -> str:
        return unsubscribe if letter.purpose in CONSENT_PURPOSES else ""

    raw = MimeRenderer(unsubscribe_url=link).render(letter)
    assert max(map(len, raw.split(b"\r\n"))) <= LINE_CHARS_MAX
    message = cast(EmailMessage, email.message_from_bytes(raw, policy=email.policy.default))
    assert not message.defects
    return message


def part(message: EmailMessage, subtype: str) -> str:
    body = message.get_body((subtype,))
    assert body is not None
    assert not body.defects
    return str(body.get_content()).replace("\r\n", "\n")


def one_line(text: str) -> str:
    return " ".join(text.split())


# --- all of them ----------------------------------------------------------------------------------


@pytest.mark.parametrize(("template", "language"), EVERY)
def test_every_message_is_whole(template: EmailTemplate, language: str) -> None:
    """A20, B21, B44, D2, g5: what it needs is there, nothing is left open, it is small enough."""
    for is_follow_up in (False, True):
        message = render(
            gallery.letter(template, language, images=PICTURES, is_follow_up=is_follow_up)
        )
        text, page = part(message, "plain"), part(message, "html")
        subject = str(message["Subject"])
        assert len(subject) >= 10
        for told in (subject, text, page):
            assert not re.search(r"\{\{|\}\}|\[\[|\]\]|if:|each:|end:", told)
        assert len(page.encode()) <= HTML_BYTES_MAX
        assert f'<html lang="{language}"' in page
        assert message["Content-Language"] == language
        found = Page(page)
        assert found.words.count("Käsehaus") >= 3
        assert text.startswith(LANGUAGES[language].greeting_unnamed.rstrip(",:"))


@pytest.mark.parametrize(("template", "language"), EVERY)
def test_subjects_and_what_follows_them_can_be_read_at_a_glance(
    template: EmailTemplate, language: str
) -> None:
    """B19, D2: no subject is cut off, and what mail programs show behind it does not repeat it."""
    for is_follow_up in (False, True):
        letter = gallery.letter(template, language, is_follow_up=is_follow_up)
        letter.channel = make_channel(display_name=USUAL_SHOP)
        if letter.event.order is not None:
            letter.event.order.reference = USUAL_ORDER
        message = render(letter)
        subject = str(message["Subject"])
        assert len(subject) <= SUBJECT_CHARS_WANTED
        if template.words:
            (shown,) = re.findall(r"overflow:hidden\">([^<]+)</div>", part(message, "html"))
            assert 20 <= len(shown) <= PREHEADER_CHARS_WANTED
            assert shown != subject


@pytest.mark.parametrize(("template", "language"), EVERY)
def test_the_plain_part_says_what_the_html_part_says(
    template: EmailTemplate, language: str
) -> None:
    message = render(gallery.letter(template, language, images=PICTURES))
    text, page = part(message, "plain"), Page(part(message, "html"))
    colon = LANGUAGES[language].colon
    for link, label in page.links.items():
        assert f"{label}{colon}\n{link}\n" in text
    hidden = template.words[language].preheader if template.words else ""
    said = one_line(text)
    for words in page.texts:
        words = one_line(words)
        if words and words != one_line(hidden.replace("{{shop}}", "Käsehaus")):
            assert words in said
    for line in text.split("\n"):
        line = one_line(line.removeprefix("- ").removesuffix(colon))
        pieces = (
            re.split(": |, ", line.replace(" : ", ": "))
            if line and line not in page.addresses
            else []
        )
        assert all(piece in page.words for piece in pieces), line


@pytest.mark.parametrize("template", gallery.templates(), ids=lambda each: each.id)
def test_every_page_can_be_read_narrow_dark_and_aloud(template: EmailTemplate) -> None:
    page = part(render(gallery.letter(template, "de", images=PICTURES)), "html")
    assert '<meta name="viewport" content="width=device-width, initial-scale=1"' in page
    assert '<meta name="color-scheme" content="light dark"' in page
    assert "@media (prefers-color-scheme: dark)" in page
    assert "@media (max-width: 479px)" in page
    found = Page(page)
    assert all(table.get("role") == "presentation" for table in found.tables)
    assert all("alt" in picture for picture in found.pictures)
    assert found.addresses <= {*found.links, *PICTURES}, "nothing of ours is fetched"
    assert "@import" not in page
    assert "url(" not in page


def test_a_button_is_a_link_in_a_coloured_cell_high_enough_for_a_thumb() -> None:
    page = part(render(gallery.letter(EMAIL_TEMPLATES["order-shipped"], "en")), "html")
    cell = re.search(r'<td align="center" bgcolor="(#[0-9a-f]{6})"[^>]*><a href="[^>]*>', page)
    assert cell is not None
    style = cell[0]
    (above,) = re.findall(r"padding:(\d+)px \d+px;mso-padding-alt", style)
    (height,) = re.findall(r"line-height:(\d+)px", style)
    assert 2 * int(above) + int(height) >= 44
    assert contrast(cell[1], "#ffffff") >= 4.5
    for ink, paper in (
        ("#1f2328", "#ffffff"), ("#57606a", "#ffffff"), ("#57606a", "#f3f4f6"),
        ("#e6e8ea", "#1c1f22"), ("#a5abb2", "#1c1f22"), ("#a5abb2", "#0f1113"),
    ):  # fmt: skip
        assert ink in page
        assert paper in page
        assert contrast(ink, paper) >= 4.5


def contrast(one: str, other: str) -> float:
    """WCAG 2 contrast ratio of two colours."""

    def light(colour: str) -> float:
        parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
        linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    bright, dark = sorted((light(one), light(other)), reverse=True)
    return (bright + 0.05) / (dark + 0.05)


# --- what they say --------------------------------------------------------------------------------

SWAYING = re.compile(
    r"\b(5|five|fünf|cinco|cinq|pięć) ?-?(stars?|sterne?|estrellas?|étoiles?|gwiazd\w*|estrelas?)"
    r"|discount|voucher|rabatt|gutschein|descuento|cupón|réduction|bon d'achat|zniżk|kupon|desconto"
    r"|positive|happy|zufrieden|satisfech|satisfait|zadowol|satisfeit",
    re.IGNORECASE,
)


@pytest.mark.parametrize(("template", "language"), EVERY)
def test_requests_for_reviews_sway_nobody(template: EmailTemplate, language: str) -> None:
    """g8: any opinion is asked for, never a good one, and nothing is promised for it."""
    if template.id == "plain" or not set(template.families) <= REVIEW_FAMILIES:
        return
    for url in ("", gallery.REVIEW_URL):
        text = part(render(gallery.letter(template, language, review_url=url)), "plain")
        assert not SWAYING.search(text)
        any_opinion = "whatever|wie auch immer|was immer|sea cual sea|quel que soit|jakakolwiek|"
        assert re.search(any_opinion + "jakiekolwiek|seja qual for", text, re.IGNORECASE)


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_request_asks_for_a_reply_only_where_no_button_leads_to_the_review(language: str) -> None:
    """A28, D11."""
    template = EMAIL_TEMPLATES["standard-service-review"]
    reply = template.words[language].reply
    with_link = part(render(gallery.letter(template, language)), "plain")
    without = part(render(gallery.letter(template, language, review_url="")), "plain")
    assert reply not in with_link
    assert LANGUAGES[language].review in with_link
    assert reply in without
    assert LANGUAGES[language].review not in without


@pytest.mark.parametrize(("template", "language"), EVERY)
def test_who_may_object_is_told_so_each_time_and_others_are_not(
    template: EmailTemplate, language: str
) -> None:
    """g2, g5: by a link if there is one, else by a reply; what belongs to an order has no such line."""
    texts = LANGUAGES[language]
    letter = gallery.letter(template, language)
    by_link, by_reply = (part(render(letter, url), "plain") for url in ("https://u.example/x", ""))
    may_object = letter.purpose in CONSENT_PURPOSES
    assert (
        f"{texts.objection}\n\n{texts.unsubscribe}{texts.colon}\nhttps://u.example/x" in by_link
    ) is may_object
    assert (f"{texts.objection} {texts.objection_by_reply}" in by_reply) is may_object
    assert (texts.objection in by_reply) is may_object


@pytest.mark.parametrize(("template", "language"), EVERY)
def test_everybody_is_told_why_they_are_written_to(template: EmailTemplate, language: str) -> None:
    reasons = LANGUAGES[language].reasons
    expected = getattr(reasons, template.reason or "order").replace("{{shop}}", "Käsehaus")
    assert expected in part(render(gallery.letter(template, language)), "plain")


def test_a_text_of_ones_own_says_why_by_its_purpose() -> None:
    reasons = LANGUAGES["en"].reasons
    for purpose, reason in (
        (Purpose.MARKETING, reasons.marketing), (Purpose.TRANSACTIONAL, reasons.order),
        (Purpose.OPERATIONAL, reasons.order),
    ):  # fmt: skip
        letter = make_letter(family=Family.AUTOMATION, purpose=purpose, locale="en", text="News.")
        assert reason.replace("{{shop}}", "Käsehaus") in part(render(letter), "plain")


# --- what they show -------------------------------------------------------------------------------


def shown(template: str, **changes: object) -> tuple[str, Page]:
    fields = {"language": "en", "images": PICTURES, **changes}
    message = render(gallery.letter(EMAIL_TEMPLATES[template], **fields))  # type: ignore[arg-type]
    return part(message, "plain"), Page(part(message, "html"))


def test_products_are_shown_with_their_pictures_three_at_most() -> None:
    """B21, D10."""
    items = [*gallery.items("en", PICTURES), *gallery.items("en", PICTURES)]
    event = make_event()
    assert event.order is not None
    event.order.items = items
    text, page = shown("standard-product-review", body=event)
    assert "\n\n- Aged Gouda, 500 g\n- Brie de Meaux\n- Cheese knife, olive wood\n\n" in text
    assert [picture["src"] for picture in page.pictures] == list(PICTURES)
    event.order.items = items[:1]
    event.order.items[0].image_url = "javascript:alert(1)"
    text, page = shown("standard-product-review", body=event)
    assert "\n\n- Aged Gouda, 500 g\n\n" in text
    assert page.pictures == []
    event.order.items = []
    assert "\n- " not in shown("standard-product-review", body=event)[0]


@pytest.mark.parametrize("template", ["abandoned-cart", "abandoned-cart-last"])
def test_a_cart_is_shown_with_its_prices_and_the_way_back(template: str) -> None:
    """D5, D6."""
    text, page = shown(template)
    assert "- Aged Gouda, 500 g, 2 × €12.90\n- Brie de Meaux, €7.45\n" in text  # noqa: RUF001
    assert "Total: €57.25" in text
    assert page.links[gallery.CART_URL] == LANGUAGES["en"].cart
    event = gallery.event(EMAIL_TEMPLATES[template], "en")
    event.shipment = Shipment(tracking_url="https://track.example/of-an-older-order")
    assert gallery.CART_URL in shown(template, body=event)[1].links
    event.cart = Cart(id="c", items=gallery.items("en"))
    text, page = shown(template, body=event)
    assert LANGUAGES["en"].cart not in text


@pytest.mark.parametrize(
    ("locale", "date", "amount"),
    [
        ("en-GB", "14 March 2026", "€57.25"),
        ("de-DE", "14. März 2026", "57,25 €"),
        ("es-ES", "14 de marzo de 2026", "57,25 €"),
        ("fr-FR", "14 mars 2026", "57,25 €"),
        ("pl-PL", "14 marca 2026", "57,25 €"),
        ("pt-PT", "14 de março de 2026", "57,25 €"),
        ("pt", "14 de março de 2026", "57,25 €"),
    ],
)
def test_dates_and_amounts_are_written_as_the_recipient_writes_them(
    locale: str, date: str, amount: str
) -> None:
    """C26, D7, D8."""
    language = locale[:2]
    labels, colon = LANGUAGES[language].labels, LANGUAGES[language].colon
    text, _ = shown("order-shipped", language=language, locale=locale)
    assert f"{labels.carrier}{colon} DHL\n{labels.tracking_number}{colon} JD014600003828\n" in text
    assert f"{labels.expected_date}{colon} {date}\n" in text
    text, _ = shown("payment-received", language=language, locale=locale)
    assert f"{labels.order}{colon} 4711\n{labels.amount}{colon} {amount}\n" in re.sub(
        r"(?<=\d)\xa0", " ", text
    )


def test_a_parcel_has_a_button_to_its_tracking_page_and_only_what_is_known() -> None:
    """C26, D8."""
    _, page = shown("order-shipped")
    assert page.links == {gallery.TRACKING_URL: LANGUAGES["en"].tracking}
    event = gallery.event(EMAIL_TEMPLATES["order-shipped"], "en")
    event.shipment = Shipment(tracking_number="X1")
    text, page = shown("order-shipped", body=event)
    assert "Tracking number: X1\n" in text
    assert "Carrier:" not in text
    assert page.links == {}


def test_the_message_to_a_carrier_names_no_customer_and_is_answered_to_the_shop() -> None:
    """C5: and the address of the customer is nowhere in it."""
    letter = gallery.letter(EMAIL_TEMPLATES["carrier-delay"], "en", address="ops@dhl.example")
    parcel = letter.event.shipment
    assert parcel is not None
    parcel.method = "Express 12:00"
    message = render(letter)
    told = part(message, "plain")
    for line in ("Order: 4711", "Tracking number: JD014600003828", "Service: Express 12:00",
                 "Promised for: 14 March 2026", gallery.TRACKING_URL):  # fmt: skip
        assert f"{line}\n" in told, "what a carrier needs to look for it"
    assert message["To"] == "ops@dhl.example"
    assert message["Reply-To"] == "antwort@kaesehaus.example"
    assert message["Subject"] == "Delayed: shipment JD014600003828 from Käsehaus"
    for subtype in ("plain", "html"):
        told = part(message, subtype)
        assert "Anna" not in told
        assert "Kowalska" not in told
        assert "anna@" not in told
    own = make_letter(
        family=Family.NOTIFICATION, purpose=Purpose.OPERATIONAL, text="Where is it?", locale="en",
        carrier="dhl",
    )  # fmt: skip
    assert part(render(own), "plain").startswith("Hello,\n\nWhere is it?\n\n")


def test_what_is_about_something_else_has_no_button_to_it() -> None:
    """D9, D12, D13: an old parcel is not what a win-back mail is about."""
    for template in ("first-purchase-thanks", "frequent-buyer", "win-back", "win-back-last"):
        event = make_event(tracking_url="https://track.example/of-an-older-order")
        text, page = shown(template, body=event)
        assert "track.example" not in text
        assert set(page.links) == {gallery.UNSUBSCRIBE_URL}


def test_a_text_of_the_shop_that_names_the_products_has_no_list_of_them() -> None:
    """D2, D23."""
    template = EMAIL_TEMPLATES["abandoned-cart"]
    own = gallery.letter(template, "en", text="You left {{products}}.", preheader="For you")
    text = part(render(own), "plain")
    assert "- Aged Gouda" not in text
    listed = gallery.letter(template, "en", text="You left something.")
    assert "You left something.\n\n- Aged Gouda" in part(render(listed), "plain")
    assert "Total: €57.25" in part(render(listed), "plain")


def test_values_are_text_whatever_they_look_like() -> None:
    nasty = '<b onclick="x">{{shop}} & [[greeting]]</b>'
    event = gallery.event(EMAIL_TEMPLATES["abandoned-cart"], "en", PICTURES)
    assert event.cart is not None
    event.cart.items[0].name = nasty
    event.contact = Contact(email="a@b.example", first_name=nasty)
    channel = make_channel(display_name=nasty)
    letter = gallery.letter(EMAIL_TEMPLATES["abandoned-cart"], "en", body=event, channel=channel)
    message = render(letter)
    assert f"Hello {nasty},\n" in part(message, "plain")
    page = part(message, "html")
    assert "<b onclick" not in page
    assert Page(page).words.count(nasty) > 4


def test_no_family_is_without_words_for_what_it_shows() -> None:
    """A20, B39: every default fits its family, every template can be listed with a description."""
    for template in EMAIL_TEMPLATES.values():
        assert len(template.description) > 20
        assert template.shows in Shows
    assert choice.in_force("", Family.NOTIFICATION, 0, has_text=False).id == "notification"
    asked = choice.in_force("", Family.NOTIFICATION, 0, has_text=False, to_carrier=True)
    assert asked.id == "carrier-delay"
