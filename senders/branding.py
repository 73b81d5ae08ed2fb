"""What a channel's branding puts into its e-mails: for the plain part as it is, for the HTML as markup.

Decides: which values there are, which colours go with the shop's own, and that what is no plain web
address is left out.
Never: where they stand (`senders/pages.py`), or encoding (`senders/mime.py`).

Names of values: `logo`, `accent`, `on_accent`, `edge`, `edge_dark`, `shop_url`, `shop_host`, `support`,
`support_link`, `imprint`.

Source: WCAG 2.2, 1.4.3 (contrast of text) and its definition of relative luminance.
"""

from __future__ import annotations

import html
from collections.abc import Mapping
from typing import Final
from urllib.parse import quote

from core.registry.branding import Branding
from senders.templates import is_web_address

ACCENT: Final = "#2b5fd9"
"""Of shops without one."""
WHITE, BLACK = "#ffffff", "#000000"
CARD: Final = WHITE
"""What the button stands on (`senders/layouts/data/letter.mjml`)."""
CARD_DARK: Final = "#1c1f22"

TEXT_CONTRAST_MIN: Final = 4.5
EDGE_CONTRAST_MIN: Final = 1.5
"""With less, the shape of a button is not seen on its ground, so it gets an edge that is."""

_MAILBOX: Final = "@.!#$'*+-/=^_`{|}~"


def values_of(branding: Branding) -> Mapping[str, tuple[str, str]]:
    """Return what there is by name, each as text and as markup."""
    found: dict[str, tuple[str, str]] = {}
    if branding.accent_color:
        found |= _twice(colors_of(branding.accent_color.lower()))
    links = {"logo": branding.logo_url, "shop_url": branding.shop_url}
    found |= _twice({name: url for name, url in links.items() if url and is_web_address(url)})
    if "shop_url" in found:
        host = branding.shop_url.partition("://")[2].rstrip("/")
        found |= _twice({"shop_host": host})
    if branding.support_email:
        link = f"mailto:{quote(branding.support_email, safe=_MAILBOX)}"
        found |= _twice({"support": branding.support_email, "support_link": link})
    lines = branding.imprint_lines
    if any(lines):
        found["imprint"] = "\n".join(lines), "<br>".join(map(html.escape, lines))
    return found


def _twice(values: Mapping[str, str]) -> dict[str, tuple[str, str]]:
    return {name: (text, html.escape(text)) for name, text in values.items()}


def colors_of(accent: str) -> dict[str, str]:
    """Return a shop's colour and those that go with it."""
    on_accent = WHITE if contrast(accent, WHITE) >= TEXT_CONTRAST_MIN else BLACK
    return {
        "accent": accent,
        "on_accent": on_accent,
        "edge": _edge(accent, on_accent, CARD),
        "edge_dark": _edge(accent, on_accent, CARD_DARK),
    }


def _edge(accent: str, on_accent: str, ground: str) -> str:
    return accent if contrast(accent, ground) >= EDGE_CONTRAST_MIN else on_accent


def contrast(one: str, other: str) -> float:
    """Return the ratio of contrast of two colours "#rrggbb", 1 to 21."""
    darker, lighter = sorted((_luminance(one), _luminance(other)))
    return (lighter + 0.05) / (darker + 0.05)


def _luminance(color: str) -> float:
    parts = [int(color[start : start + 2], 16) / 255 for start in (1, 3, 5)]
    red, green, blue = (
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue
