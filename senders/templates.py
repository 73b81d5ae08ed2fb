"""E-mails from their templates: the language, the variables, the subject.

Decides: the subject of a message, what its variables stand for, and which of them texts may name.
Never: which template is in force (`senders/catalogue/choice.py`), what stands around the words
(`senders/pages.py`), or encoding (`senders/mime.py`).

Invariants:
1. A value is inserted once and never looked at again: what looks like a variable in a customer's
   name stays text.
2. A reminder says the same as the first message; only the subject differs (B19).
3. Review texts ask for any opinion, never for a good one (g8).

The substitution is logic-less on purpose: whoever may write a subject may not run anything.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Final

from core.bounds import SUBJECT_CHARS_MAX, TEXT_CHARS_MAX
from core.errors import InvalidField, RenderingFailed
from core.model import Family
from core.sending import Letter
from senders.catalogue.choice import in_force, words_without_text
from senders.catalogue.confirmation import CONFIRMATIONS
from senders.catalogue.emails import EmailTemplate
from senders.languages import LANGUAGES, Copy

FALLBACK_LANGUAGE = "en"
SUBJECT_VARIABLES = ("order", "first_name", "shop", "carrier", "tracking_number")
TEXT_VARIABLES = (*SUBJECT_VARIABLES, "products", "link", "expected_date")
PRODUCTS_MAX = 3
"""Products a message names; a longer list reads like an invoice."""

URL_CHARS_MAX = 900
"""A header line holds 998 characters, the name of the header and the brackets included."""

VARIABLE: Final = re.compile(r"\{\{\s*(\w+)\s*\}\}")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_WEB_ADDRESS = re.compile(r"https?://[!#-;=?-Z\[\]_a-z~%]+")


def validate_subject(text: str, *, field: str = "subject") -> None:
    """Refuse a subject that could not be rendered; asked when a rule is saved.

    Raises:
        InvalidField: too long, not one line, or with a variable that does not exist.
    """
    if len(text) > SUBJECT_CHARS_MAX:
        raise InvalidField(f"a subject has at most {SUBJECT_CHARS_MAX} characters", field=field)
    if _CONTROL.search(text):
        raise InvalidField("a subject is one line without control characters", field=field)
    check_variables(text, field, SUBJECT_VARIABLES)


def validate_text(text: str, *, field: str) -> None:
    """Refuse a text that could not be rendered; asked when a rule is saved.

    Raises:
        InvalidField: too long, with control characters, or with a variable that does not exist.
    """
    if len(text) > TEXT_CHARS_MAX:
        raise InvalidField(f"a text has at most {TEXT_CHARS_MAX} characters", field=field)
    if _CONTROL.search(text.replace("\n", "")):
        raise InvalidField("a text has no control characters but line feeds", field=field)
    check_variables(text, field, TEXT_VARIABLES)


def check_variables(text: str, field: str, known: Sequence[str]) -> None:
    """Refuse a variable that is not among the known, and braces that are none; for texts of rules and of
    messages made by hand alike.

    Raises:
        InvalidField: names the field and the variables that there are.
    """
    listed = ", ".join("{{%s}}" % name for name in known)
    for name in VARIABLE.findall(text):
        if name not in known:
            raise InvalidField(
                f"{field} names the unknown variable {{{{{name[:80]}}}}}; known are {listed}",
                field=field,
            )
    rest = VARIABLE.sub("", text)
    if "{{" in rest or "}}" in rest:
        raise InvalidField(
            f"{field} has unpaired braces; a variable is one of {listed}", field=field
        )


@lru_cache(maxsize=1024)
def language_for(locale: str, channel_locale: str) -> str:
    """Return the language to write in: the recipient's, else the channel's, else English."""
    for wanted in (locale, channel_locale):
        tag = wanted.strip().lower().replace("_", "-")
        for candidate in (tag, tag.partition("-")[0]):
            if candidate in LANGUAGES:
                return candidate
    return FALLBACK_LANGUAGE


def variables(letter: Letter, unsubscribe_url: str = "") -> dict[str, str]:
    """Return what can be inserted, as it came; empty for what is not known.

    `link` is the parcel's tracking page or else the cart, which then is `cart` as well; for a review
    request the page of the platform that it leads to, which then is `review` as well.

    Raises:
        RenderingFailed: the link to the platform is too long, or no plain web address.
    """
    event = letter.event
    order, shipment = event.order, event.shipment
    items = order.items if order is not None else ()
    is_review = letter.family in (Family.SERVICE_REVIEW, Family.PRODUCT_REVIEW)
    review = letter.review_url if is_review else ""
    if review and not is_web_address(review):
        raise RenderingFailed("the link to the review platform is not a plain web address")
    link, cart = review, ""
    if letter.confirm_url:
        link = letter.confirm_url
    elif not is_review:
        link = shipment.tracking_url if shipment is not None else ""
        if not link and event.cart is not None:
            link = cart = event.cart.url
    return {
        "order": order.reference.strip(" ") if order is not None else "",
        "first_name": event.contact.first_name.strip(" "),
        "shop": letter.channel.display_name.strip(" ") or letter.channel.id,
        "products": ", ".join([item.name for item in items[:PRODUCTS_MAX] if item.name]),
        "link": link if is_web_address(link) else "",
        "carrier": shipment.carrier.strip(" ") if shipment is not None else "",
        "tracking_number": shipment.tracking_number.strip(" ") if shipment is not None else "",
        "review": review,
        "cart": cart,
        "unsubscribe": unsubscribe_url,
        "confirm": letter.confirm_url,
        "kind": _kind(letter) if letter.confirm_url else "",
    }


def _kind(letter: Letter) -> str:
    """Return what a consent is for that the message asks to confirm, "" if there are no words."""
    told = letter.event.attributes
    texts = CONFIRMATIONS[language_for(letter.locale, letter.channel.locale)]
    return texts.kind(str(told.get("consent_purpose")), str(told.get("consent_medium")))


def template_of(letter: Letter) -> EmailTemplate:
    """Return the template of ours that is in force.

    Raises:
        RenderingFailed: there is no such template.
    """
    return in_force(
        letter.template, letter.family, letter.kinds, has_text=bool(letter.text),
        to_carrier=bool(letter.carrier),
    )  # fmt: skip


def subject_of(letter: Letter, language: str, values: Mapping[str, str]) -> str:
    """Return the subject: the action's own, else that of the template.

    Raises:
        RenderingFailed: it names a variable that does not exist, or there is no such template.
    """
    text = letter.subject
    if not text:
        template = template_of(letter)
        words = template.words or words_without_text(letter.family, letter.kinds).words
        text = own_subject(words[language], is_follow_up=letter.is_follow_up)
    return _fill(parsed(text), values)


def own_subject(copy: Copy, *, is_follow_up: bool) -> str:
    """Return the subject of a template's words, placeholders not filled."""
    return copy.reminder_subject if is_follow_up else copy.subject


def is_web_address(text: str) -> bool:
    """Return whether `text` may stand in a link and in a header: http(s), plain ASCII, bounded."""
    return len(text) <= URL_CHARS_MAX and _WEB_ADDRESS.fullmatch(text) is not None


def variables_in(text: str) -> list[str]:
    """Return the names of the variables of a text."""
    return [str(name) for name in VARIABLE.findall(text)]


def without_unknown(paragraph: str, known: frozenset[str]) -> str:
    """Leave out variables without a value, with the space, or colon and space, before them."""
    for name in VARIABLE.findall(paragraph):
        if name not in known and name != "shop":
            paragraph = re.sub(r"([ \u00a0]?: | )\{\{%s\}\}" % name, "", paragraph)
            paragraph = paragraph if paragraph[-1] in ".?!" else paragraph + "."
    return paragraph


@lru_cache(maxsize=4096)
def parsed(text: str) -> tuple[str, ...]:
    """Return literal, variable, literal, ...: a split by a pattern with one group is just that."""
    return tuple(VARIABLE.split(text))


def _fill(pieces: tuple[str, ...], values: Mapping[str, str]) -> str:
    filled = list(pieces)
    for index in range(1, len(pieces), 2):
        if pieces[index] not in SUBJECT_VARIABLES:
            raise RenderingFailed("the subject names a variable that does not exist")
        filled[index] = values[pieces[index]]
        if not filled[index]:
            # "your order {{order}}?" must not become "your order ?".
            filled[index - 1] = filled[index - 1].rstrip(" ")
    return "".join(filled)
