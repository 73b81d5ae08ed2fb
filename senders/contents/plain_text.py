"""The plain part of an e-mail, made from its HTML where a template has none.

Decides: which words of a page stay, where lines end, and that links show where they lead.
Never: what the words are: it works on the template, so that a message costs nothing more.

Tags and outputs of Liquid go through as they are, wherever text stands; those between the attributes of
an element are left out with it, but for the address of a link and the words of an image.
"""

from __future__ import annotations

import re
from html.parser import HTMLParser
from typing import Final

_LIQUID: Final = re.compile(r"\{\{.*?\}\}|\{%.*?%\}", re.DOTALL)
_OPEN, _CLOSE = "\ue000", "\ue001"
_KEPT: Final = re.compile(f"{_OPEN}(\\d+){_CLOSE}")
_UNSEEN: Final = frozenset({"style", "script", "head", "title"})
_PARAGRAPHS: Final = frozenset({
    "p", "h1", "h2", "h3", "h4", "h5", "h6", "table", "ul", "ol", "blockquote", "hr",
})  # fmt: skip
_LINES: Final = frozenset({"div", "br", "tr", "li", "section", "article", "header", "footer"})
_HIDDEN: Final = re.compile(r"display\s*:\s*none")
_VOID: Final = frozenset({"br", "hr", "img", "input", "link", "meta", "col", "area", "base", "wbr"})


def text_of(html: str) -> str:
    """Return the source of a plain part for the source of a page."""
    kept: list[str] = []

    def put_away(found: re.Match[str]) -> str:
        kept.append(found.group())
        return f"{_OPEN}{len(kept) - 1}{_CLOSE}"

    page = html.replace(_OPEN, "").replace(_CLOSE, "")
    reader = _Reader()
    reader.feed(_LIQUID.sub(put_away, page))
    reader.close()
    text = "".join(reader.parts)
    text = re.sub(r"[ \t]*\n[ \t]*", "\n", text)
    text = re.sub(r"\n{3,}", "\n\n", text).strip("\n ")
    return _KEPT.sub(lambda found: kept[int(found.group(1))], text) + "\n"


class _Reader(HTMLParser):
    """Collects the text of a page."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.parts: list[str] = []
        self._unseen: list[str] = []
        self._link = ""
        self._linked_at = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        told = dict(attrs)
        if self._unseen or tag in _UNSEEN or _HIDDEN.search(told.get("style") or ""):
            if tag not in _VOID:
                self._unseen.append(tag)
            return
        if tag == "a":
            self._link, self._linked_at = told.get("href") or "", len(self.parts)
        elif tag == "img":
            self.parts.append(told.get("alt") or "")
        elif tag == "li":
            self.parts.append("\n- ")
        elif tag in ("td", "th"):
            self.parts.append(" ")
        else:
            self._end_line(tag)

    def handle_endtag(self, tag: str) -> None:
        if self._unseen:
            if tag in self._unseen:
                while self._unseen.pop() != tag:
                    pass
            return
        if tag == "a" and self._link:
            label = "".join(self.parts[self._linked_at :]).strip()
            target = self._link.removeprefix("mailto:")
            if not label:
                self.parts.append(target)
            elif label != target:
                self.parts.append(f": {target} ")
            self._link = ""
        elif tag != "li":
            self._end_line(tag)

    def handle_data(self, data: str) -> None:
        if not self._unseen:
            self.parts.append(re.sub(r"\s+", " ", data))

    def _end_line(self, tag: str) -> None:
        if tag in _PARAGRAPHS:
            self.parts.append("\n\n")
        elif tag in _LINES:
            self.parts.append("\n")
