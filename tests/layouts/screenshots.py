"""Takes the pictures of docs/MESSAGES.md: `make screenshots`. Needs Chromium, and no network.

Run: `python -m tests.layouts.screenshots [--all FOLDER]`; with --all every message, in every language,
narrow, wide and dark, into a folder, to be looked at.

Units: widths in CSS pixels.
"""

from __future__ import annotations

import argparse
import email
import shutil
import subprocess
import sys
import tempfile
from email.policy import default as modern
from pathlib import Path
from typing import Final
from urllib.parse import quote

import msgspec

from core.model import CONSENT_PURPOSES
from core.sending import Letter
from senders.catalogue.emails import EMAIL_TEMPLATES
from senders.languages import LANGUAGES
from senders.mime import MimeRenderer
from tests.layouts import gallery

FOLDER: Final = Path(__file__).resolve().parents[2] / "docs" / "screenshots"
NARROW, WIDE = 375, 800
BROWSERS: Final = ("chromium", "chromium-browser", "google-chrome")
FLAGS: Final = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--hide-scrollbars", "--force-device-scale-factor=1",
)  # fmt: skip
PICTURES: Final = (
    "https://pictures.example/1.svg", "https://pictures.example/2.svg",
    "https://pictures.example/3.svg",
)  # fmt: skip
LOGO: Final = "data:image/svg+xml," + quote(
    "<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 172 48' width='172' height='48'>"
    "<path d='M4 38 L26 8 L48 38 Z' fill='#f2b705'/><circle cx='22' cy='31' r='3' fill='#fff'/>"
    "<circle cx='32' cy='33' r='2' fill='#fff'/><text x='58' y='33' font-family='Georgia, serif' "
    "font-size='28' fill='#3b2f1e'>Käsehaus</text></svg>"
)
DRAWN: Final = (
    gallery.picture("#fdf0d0", "<circle cx='36' cy='38' r='22' fill='#e9a820'/>"
                    "<circle cx='29' cy='33' r='4' fill='#f6c95c'/>"
                    "<circle cx='42' cy='44' r='5' fill='#f6c95c'/>"),
    gallery.picture("#eef2ea", "<path d='M14 50 L36 18 L58 50 Z' fill='#f4ead2' stroke='#b9ad8d'"
                    " stroke-width='2'/>"),
    gallery.picture("#eceff4", "<path d='M18 52 L46 24 L54 20 L50 28 L24 56 Z' fill='#8d99ab'/>"
                    "<path d='M14 58 L24 48 L28 52 L18 62 Z' fill='#8a5a33'/>"),
)  # fmt: skip


class Shot(msgspec.Struct, frozen=True):
    """One picture."""

    template: str
    language: str
    width: int
    is_dark: bool = False
    has_pictures: bool = False
    has_review_link: bool = True
    is_branded: bool = True
    """The shop has set its branding."""

    @property
    def name(self) -> str:
        """Its file, without ending."""
        dark = "-dark" if self.is_dark else ""
        return f"{self.template}-{self.language}-{self.width}{dark}"


CHOSEN: Final = (
    Shot("standard-service-review", "en", WIDE),
    Shot("standard-service-review", "de", NARROW, has_review_link=False, is_branded=False),
    Shot("standard-product-review", "de", WIDE, has_pictures=True),
    Shot("standard-product-review", "fr", NARROW, is_dark=True, has_pictures=True),
    Shot("combined-review", "es", NARROW, has_pictures=True),
    Shot("abandoned-cart", "en", NARROW, has_pictures=True),
    Shot("abandoned-cart", "en", WIDE, is_dark=True, has_pictures=True),
    Shot("abandoned-cart-last", "pl", NARROW),
    Shot("payment-received", "fr", NARROW, is_branded=False),
    Shot("order-shipped", "de", WIDE),
    Shot("order-shipped", "pt", NARROW, is_dark=True, is_branded=False),
    Shot("first-purchase-thanks", "es", NARROW),
    Shot("frequent-buyer", "pl", NARROW),
    Shot("win-back", "pt", NARROW),
    Shot("carrier-delay", "en", WIDE),
    Shot("confirm-consent", "de", NARROW),
)


def page(shot: Shot) -> str:
    """Return the HTML part of a message, as a mail program would show it."""
    template = EMAIL_TEMPLATES[shot.template]
    letter = gallery.letter(
        template, shot.language, images=PICTURES if shot.has_pictures else ("", "", ""),
        channel=gallery.channel(branding=gallery.BRANDING if shot.is_branded else None),
    )  # fmt: skip
    if not shot.has_review_link:
        letter.review_url = ""

    def link(letter: Letter) -> str:
        return gallery.UNSUBSCRIBE_URL if letter.purpose in CONSENT_PURPOSES else ""

    raw = MimeRenderer(unsubscribe_url=link).render(letter)
    part = email.message_from_bytes(raw, policy=modern).get_body(("html",))
    assert part is not None
    made = str(part.get_content())
    for address, drawn in zip(PICTURES, DRAWN, strict=True):
        made = made.replace(address, drawn)
    made = made.replace(gallery.LOGO_URL, LOGO)
    if shot.is_dark:
        # What a reader with a dark screen gets, without one.
        made = made.replace("@media (prefers-color-scheme: dark)", "@media all")
    return made


def take(shot: Shot, browser: str, folder: Path) -> Path:
    """Take a picture, as high as the message."""
    target = folder / f"{shot.name}.png"
    with tempfile.TemporaryDirectory() as scratch:
        source = Path(scratch, "message.html")
        # The browser has no window narrower than 500, so the page stands in a frame of its width.
        source.write_text(page(shot), encoding="utf-8")
        frame = Path(scratch, "frame.html")
        frame.write_text(
            f"<!DOCTYPE html><style>body{{margin:0}}iframe{{display:block;border:0;width:{shot.width}px;"
            "height:2400px}</style><iframe src='message.html'></iframe>"
            "<script>onload=()=>{const f=document.querySelector('iframe');"
            "const h=f.contentDocument.documentElement;f.style.height='10px';"
            "document.title=h.scrollHeight;f.style.height=h.scrollHeight+'px'}</script>",
            encoding="utf-8",
        )
        profile = f"--user-data-dir={scratch}/profile"
        base = [browser, *FLAGS, profile, "--allow-file-access-from-files"]
        dumped = subprocess.run(
            [*base, f"--window-size={shot.width},900", "--dump-dom", frame.as_uri()],
            check=True, capture_output=True, text=True, timeout=60,
        ).stdout  # fmt: skip
        height = int(dumped.partition("<title>")[2].partition("</title>")[0])
        subprocess.run(
            [*base, f"--window-size={shot.width},{height}", f"--screenshot={target}", frame.as_uri()],
            check=True, capture_output=True, timeout=60,
        )  # fmt: skip
    return target


def everything() -> list[Shot]:
    """Return all pictures there could be."""
    return [
        Shot(template, language, width, is_dark, has_pictures=True)
        for template in EMAIL_TEMPLATES
        for language in LANGUAGES
        for width, is_dark in ((NARROW, False), (WIDE, False), (NARROW, True))
    ]


def main() -> int:
    parser = argparse.ArgumentParser(description="Take pictures of the default e-mails.")
    parser.add_argument("--all", type=Path, metavar="FOLDER", help="all of them, into a folder")
    chosen = parser.parse_args().all
    browser = next((found for name in BROWSERS if (found := shutil.which(name))), None)
    if browser is None:
        sys.stderr.write(
            f"none of {', '.join(BROWSERS)} is installed: the pictures stay as they are\n"
        )
        return 0
    folder = chosen or FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    for shot in everything() if chosen else CHOSEN:
        sys.stdout.write(f"{take(shot, browser, folder).name}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
