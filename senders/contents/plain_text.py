"""The plain part of an e-mail, made from its HTML where a template has none.

Decides: which words of a page stay, where lines end, and that links show where they lead.
Never: what the words are: it works on the template, so that a message costs nothing more.

Tags and outputs of Liquid go through as they are, wherever text stands; those between the attributes of
an element are left out with it, but for the address of a link and the words of an image.

Pages come from outside and are read where everything else waits, so they are read in one pass: no
pattern goes over the same characters twice. What begins an element, comment or script and never ends
takes the rest of the page with it, as in browsers.
"""

from __future__ import annotations

import re
from collections import Counter
from html import unescape
from typing import Final

_LIQUID: Final = re.compile(r"\{\{.*?\}\}|\{%.*?%\}", re.DOTALL)
_OPEN, _CLOSE = "\ue000", "\ue001"
_KEPT: Final = re.compile(f"{_OPEN}(\\d+){_CLOSE}")
_MARKUP: Final = re.compile(r"<(?=[a-zA-Z/!?])")
_NAME: Final = re.compile(r"[a-zA-Z][^\s/>]*+")
_ATTRIBUTE: Final = re.compile(
    r"""[\s/]*+(?:>|([^\s/>][^\s/>=]*+)(?:\s*+=\s*+(?:"([^"]*+)"|'([^']*+)'|([^\s>"'][^\s>]*+)))?+)"""
)
_RAW: Final = frozenset({"style", "script"})
_UNSEEN: Final = frozenset({"style", "script", "head", "title"})
_PARAGRAPHS: Final = frozenset({
    "p", "h1", "h2", "h3", "h4", "h5", "h6", "table", "ul", "ol", "blockquote", "hr",
})  # fmt: skip
_LINES: Final = frozenset({"div", "br", "tr", "li", "section", "article", "header", "footer"})
_HIDDEN: Final = re.compile(r"display\s*+:\s*+none")
_VOID: Final = frozenset({"br", "hr", "img", "input", "link", "meta", "col", "area", "base", "wbr"})


def text_of(html: str) -> str:
    """Return the source of a plain part for the source of a page. Cost: O(characters)."""
    kept: list[str] = []

    def put_away(found: re.Match[str]) -> str:
        kept.append(found.group())
        return f"{_OPEN}{len(kept) - 1}{_CLOSE}"

    page = html.replace(_OPEN, "").replace(_CLOSE, "")
    reader = _Reader()
    _read(_LIQUID.sub(put_away, page), reader)
    lines = "".join(reader.parts).split("\n")
    text = "\n".join(line.strip(" \t") for line in lines)
    text = re.sub(r"\n{3,}", "\n\n", text).strip("\n ")
    return _KEPT.sub(lambda found: kept[int(found.group(1))], text) + "\n"


def _read(page: str, reader: _Reader) -> None:
    """Tell a reader what a page consists of."""
    at = 0
    while at >= 0:
        begin = _MARKUP.search(page, at)
        reader.words(unescape(page[at : begin.start()] if begin is not None else page[at:]))
        if begin is None:
            return
        at = begin.end()
        if page[at] in "/!?":
            at = _close(page, at, reader)
        else:
            at = _element(page, at, reader)


def _close(page: str, at: int, reader: _Reader) -> int:
    """Pass over a comment or the end of an element; return what follows, -1 if it never ends."""
    is_comment = page.startswith("!--", at)
    end = page.find("-->" if is_comment else ">", at + 1)
    if end < 0:
        return -1
    name = _NAME.match(page, at + 1, end) if page[at] == "/" else None
    if name is not None:
        reader.end(name.group().lower())
    return end + (3 if is_comment else 1)


def _element(page: str, at: int, reader: _Reader) -> int:
    """Pass over the begin of an element, and what is no text; return as `_close`."""
    name = _NAME.match(page, at)
    assert name is not None, "it begins with a letter"
    tag, at = name.group().lower(), name.end()
    told: dict[str, str] = {}
    while True:
        found = _ATTRIBUTE.match(page, at)
        if found is None:
            return -1
        at = found.end()
        if found.group(1) is None:
            break
        value = next((one for one in found.groups()[1:] if one is not None), "")
        told.setdefault(found.group(1).lower(), unescape(value))
    if tag in _RAW:
        over = re.compile(f"</{tag}", re.IGNORECASE).search(page, at)
        end = page.find(">", over.end()) if over is not None else -1
        return end + 1 if end >= 0 else -1
    reader.begin(tag, told)
    return at


class _Reader:
    """Collects the text of a page."""

    def __init__(self) -> None:
        self.parts: list[str] = []
        self._unseen: list[str] = []
        self._unseen_counts: Counter[str] = Counter()
        self._link = ""
        self._linked_at = 0

    def begin(self, tag: str, told: dict[str, str]) -> None:
        """An element begins."""
        if tag == "body":
            # A head need not be ended.
            self._unseen.clear()
            self._unseen_counts.clear()
        if self._unseen or tag in _UNSEEN or _HIDDEN.search(told.get("style", "")):
            if tag not in _VOID:
                self._unseen.append(tag)
                self._unseen_counts[tag] += 1
            return
        if tag == "a":
            self._link, self._linked_at = told.get("href", ""), len(self.parts)
        elif tag == "img":
            self.parts.append(told.get("alt", ""))
        elif tag == "li":
            self.parts.append("\n- ")
        elif tag in ("td", "th"):
            self.parts.append(" ")
        else:
            self._end_line(tag)

    def end(self, tag: str) -> None:
        """An element ends."""
        if self._unseen:
            while self._unseen_counts[tag]:
                last = self._unseen.pop()
                self._unseen_counts[last] -= 1
                if last == tag:
                    break
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

    def words(self, text: str) -> None:
        """Text stands here."""
        if text and not self._unseen:
            self.parts.append(re.sub(r"\s+", " ", text))

    def _end_line(self, tag: str) -> None:
        if tag in _PARAGRAPHS:
            self.parts.append("\n\n")
        elif tag in _LINES:
            self.parts.append("\n")
