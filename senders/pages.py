"""The body of a default e-mail: its words put into the layout, and the same as plain text.

Decides: what stands where, and what is left out for want of a value.
Never: what the words are (`senders/catalogue/`, `senders/languages.py`), which values there are
(`senders/templates.py`, `senders/details.py`, `senders/branding.py`), or encoding (`senders/mime.py`).

Invariants:
1. The plain part says what the HTML part says, with every link of it.
2. A value is never part of what is made here; it goes in once, later, and is escaped then.
3. Whoever may object to a message is told so in it (g2).
4. What asks to confirm a consent says nothing else: no logo, no link to the shop (g3).

All of it is made once for messages that differ in their values only.
"""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Final

import msgspec

from core.errors import RenderingFailed
from core.model import Purpose
from core.sending import Letter
from senders.branding import ACCENT, WHITE
from senders.catalogue.choice import kinds_of
from senders.catalogue.confirmation import CONFIRMATIONS
from senders.catalogue.emails import BodyUse, EmailTemplate, Shows
from senders.details import FACTS, ITEMS_MAX
from senders.languages import LANGUAGES, Language
from senders.layouts import layout
from senders.templates import parsed, variables_in, without_unknown

_REASONS: Final[Mapping[int, str]] = {
    Purpose.REVIEW: "review",
    Purpose.MARKETING: "marketing",
}
_OBJECTIONABLE: Final = frozenset({"review", "marketing", "cart", "customer"})
_LEADS_TO_SHOP: Final = frozenset({"cart", "customer"})
"""Reasons of messages whose button leads to the shop if it leads nowhere else."""
_NOT_FOR_CUSTOMERS: Final = frozenset({"carrier", "consent"})
"""Reasons of messages without a link to the shop."""


class Content(msgspec.Struct, frozen=True):
    """What a message says in one language, values not filled: all that two messages share."""

    paragraphs: tuple[str, ...]
    preheader: str = ""
    button: str = ""
    """On the button; empty: by what its link leads to."""
    has_button: bool = True
    shows: Shows = Shows.NOTHING
    reason: str = "order"
    """Why somebody gets it, as a field of `Reasons`."""
    greets_by_name: bool = True


class Body(msgspec.Struct, frozen=True):
    """The two parts of a message, each as literal, variable, literal, variable, ..., literal.

    Literals of the HTML part are markup; its variables must be escaped when inserted.
    """

    text: tuple[str, ...]
    html: tuple[str, ...]


def content_of(letter: Letter, template: EmailTemplate, language: str) -> Content:
    """Return what a letter says: the action's own text where the template takes one, else its words.

    Args:
        template: the one in force.

    Raises:
        RenderingFailed: the template needs a text of the action, and there is none.
    """
    copy = template.words.get(language)
    shows, button, preheader = template.shows, "", ""
    if letter.text and template.body is not BodyUse.FIXED:
        parts = [part.strip() for part in letter.text.split("\n\n")]
        paragraphs = tuple([part for part in parts if part])
        if shows in (Shows.PRODUCTS, Shows.CART) and "products" in variables_in(letter.text):
            shows = Shows.NOTHING
    elif copy is None:
        raise RenderingFailed("the template needs a text of the action, which has none")
    else:
        is_by_link = bool(letter.review_url)
        paragraphs = said(copy.paragraphs, copy.by_link if is_by_link else copy.reply)
        button, preheader = copy.button, copy.preheader
    return Content(
        paragraphs, letter.preheader or preheader, button, template.has_button, shows,
        _reason(letter, template), not letter.carrier and not template.is_for_carriers,
    )  # fmt: skip


@lru_cache(maxsize=256)
def said(paragraphs: tuple[str, ...], ending: str) -> tuple[str, ...]:
    """Return the paragraphs, the last going on with the ending."""
    return (*paragraphs[:-1], f"{paragraphs[-1]} {ending}".rstrip())


def _reason(letter: Letter, template: EmailTemplate) -> str:
    if letter.carrier:
        return "carrier"
    if template.reason:
        return template.reason
    purpose = letter.purpose or (Purpose.REVIEW if kinds_of(letter.family) else 0)
    return _REASONS.get(purpose, "order")


@lru_cache(maxsize=1024)
def body_of(content: Content, language: str, known: frozenset[str]) -> Body:
    """Return the body of a message that has values for `known`."""
    texts = LANGUAGES[language]
    is_named = content.greets_by_name and "first_name" in known
    greeting = texts.greeting if is_named else texts.greeting_unnamed
    paragraphs = [without_unknown(text, known) for text in content.paragraphs]
    items = _items(content, known)
    facts = _facts(content, texts, known)
    button, link = _button(content, language, known)
    foot = _foot(content, texts, known)
    has_home = "shop_url" in known and content.reason not in _NOT_FOR_CUSTOMERS
    page = layout("letter").page(
        {
            "language": language,
            "preheader": html.escape(without_unknown(content.preheader, known)),
            "greeting": html.escape(greeting),
            "paragraphs": [{"paragraph": _breaks(html.escape(text))} for text in paragraphs],
            "items": items,
            "has_images": "yes" if any(item["image"] for item in items) else "",
            "facts": [{name: html.escape(text) for name, text in fact.items()} for fact in facts],
            "button": html.escape(button),
            "link": link,
            "closing": html.escape(texts.closing),
            "foot": [{"line": html.escape(line)} for line in foot],
            "unsubscribe": html.escape(texts.unsubscribe) if "unsubscribe" in known else "",
            **_brand(content, known, has_home=has_home),
        }
    )
    text = [greeting, *paragraphs]
    text += _lines([f"- {_joined(item['name'], item['note'])}" for item in items])
    text += _lines([f"{fact['label']}{texts.colon} {fact['value']}" for fact in facts])
    text += [f"{button}{texts.colon}\n{link}"] if button else []
    text.append(f"{texts.closing}\n{{{{shop}}}}")
    text += _lines(foot)
    leave = f"{texts.unsubscribe}{texts.colon}\n{{{{unsubscribe}}}}"
    text += [leave] if "unsubscribe" in known else []
    text += ["{{imprint}}"] if "imprint" in known else []
    text += _lines(["{{shop_url}}"] * has_home + ["{{support}}"] * ("support" in known))
    return Body(text=parsed("\n\n".join(text) + "\n"), html=parsed(page))


def _items(content: Content, known: frozenset[str]) -> list[dict[str, str]]:
    if content.shows not in (Shows.PRODUCTS, Shows.CART):
        return []

    def value(name: str) -> str:
        return f"{{{{{name}}}}}" if name in known else ""

    names = [f"item_{number}" for number in range(1, ITEMS_MAX + 1)]
    return [
        {"name": value(name), "image": value(f"{name}_image"), "note": value(f"{name}_note")}
        for name in names
        if name in known
    ]


def _facts(content: Content, texts: Language, known: frozenset[str]) -> list[dict[str, str]]:
    return [
        {"label": getattr(texts.labels, name), "value": f"{{{{{name}}}}}"}
        for name in FACTS[content.shows]
        if name in known
    ]


def _button(content: Content, language: str, known: frozenset[str]) -> tuple[str, str]:
    """Return what stands on the button and where it leads, ("", "") for no button."""
    texts, link = LANGUAGES[language], "{{link}}"
    if "link" not in known or not content.has_button:
        if "shop_url" in known and content.reason in _LEADS_TO_SHOP:
            return texts.visit, "{{shop_url}}"
        return "", ""
    if "confirm" in known:
        return CONFIRMATIONS[language].button, link
    if content.button:
        return content.button, link
    if "review" in known:
        return texts.review, link
    return (texts.cart if "cart" in known else texts.tracking), link


def _brand(content: Content, known: frozenset[str], *, has_home: bool) -> dict[str, str]:
    """Return the words for what the shop has of its own."""
    names = ("accent", "on_accent", "edge", "edge_dark")
    own = {name: f"{{{{{name}}}}}" for name in names if name in known}
    has_logo = "logo" in known and content.reason != "consent"
    return {
        "accent": ACCENT, "on_accent": WHITE, "edge": ACCENT, "edge_dark": ACCENT, **own,
        "bar": f"4px solid {own['accent']}" if "accent" in own else "none",
        "logo": "yes" if has_logo else "",
        "home": "yes" if has_home else "",
        "imprint": "yes" if "imprint" in known else "",
        "support": "yes" if "support" in known else "",
        "address": "yes" if has_home or not known.isdisjoint({"imprint", "support"}) else "",
    }  # fmt: skip


def _foot(content: Content, texts: Language, known: frozenset[str]) -> list[str]:
    """Return why somebody gets it, and how to object."""
    lines = [str(getattr(texts.reasons, content.reason))]
    if content.reason in _OBJECTIONABLE:
        how = "" if "unsubscribe" in known else f" {texts.objection_by_reply}"
        lines.append(f"{texts.objection}{how}")
    return lines


def _lines(lines: Sequence[str]) -> list[str]:
    return ["\n".join(lines)] if lines else []


def _joined(*parts: str) -> str:
    return ", ".join(part for part in parts if part)


def _breaks(markup: str) -> str:
    return markup.replace("\n", "<br>")
