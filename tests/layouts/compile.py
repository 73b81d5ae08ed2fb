"""Compiles the layouts of e-mails from MJML into HTML: `make templates`.

The compiler is a tool of the build; what it makes is committed, so the product does without it. What our
own marks mean is told in `senders/layouts`.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

import mrml

from senders.layouts import DATA


def compiled(source: str) -> str:
    """Return the HTML of a layout.

    Raises:
        ValueError: the compiler has something to say against it.
    """
    options = mrml.RenderOptions(disable_comments=False, fonts={})
    made = mrml.to_html(source, mrml.ParserOptions(), options)
    if made.warnings:
        raise ValueError("; ".join(str(warning) for warning in made.warnings))
    # Its own tables have the role, those written out have not.
    page = re.sub(r"<table (?![^>]*role=)", '<table role="presentation" ', str(made.content))
    page = re.sub(r"[ \t]*\n\s*", "\n", page)
    return re.sub(r" {2,}", " ", page).strip() + "\n"


def sources() -> list[Path]:
    """Return all layouts."""
    return sorted(DATA.glob("*.mjml"))


def main() -> int:
    for source in sources():
        page = compiled(source.read_text(encoding="utf-8"))
        source.with_suffix(".html").write_text(page, encoding="utf-8")
        sys.stdout.write(f"{source.stem}: {len(page.encode())} bytes\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
