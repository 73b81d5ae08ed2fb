"""A letter as RFC 5322 bytes: what the e-mail transports put on the wire.

Decides: headers, their encoding, the MIME structure and the form of addresses.
Never: wording (`senders/templates.py`) or delivery.

Invariants:
1. No value can add a header or end one: CR, LF and NUL in a header value are `RenderingFailed`.
2. The bytes are 7-bit, every line ends in CRLF and has at most 998 characters, so any server takes
   them without an extension.
3. The same letter gives the same bytes; only a later `send_ms` changes the Date. The Message-ID
   hangs on the delivery id alone, so a receiver can drop a second copy.
4. No exception names an address.

Speed: the standard library's `EmailMessage` parses and folds what we already know, at over a
millisecond a message. Here all that does not change between two recipients is encoded once; a message is
a join of ready pieces and its encoded values. The tests read every message back with the standard
library's parser.

Source: RFC 5322, 2045-2047, 2046 5.1.4, 3834 (Auto-Submitted), 2369, 2919 and 8058 (one-click), 5891.
"""

from __future__ import annotations

import binascii
import email.utils
import html
import re
import unicodedata
from collections.abc import Callable, Mapping
from functools import lru_cache
from hashlib import blake2b

from core.bounds import EMAIL_CHARS_MAX
from core.errors import RenderingFailed
from core.model import Purpose
from core.registry.branding import Branding
from core.registry.rule_parts import EmailSender
from core.sending import Letter
from senders import branding, details, pages, templates

LINE_CHARS_MAX = 998
"""RFC 5322 2.1.1, without CRLF. A line that cannot be folded below it is refused or encoded."""

LINE_CHARS_WANTED = 78
"""RFC 5322 2.1.1: where we fold if there is a space to fold at."""

ENCODED_WORD_BYTES = 42
"""Text in one encoded word: 56 base64 characters and 12 of frame stay below the 75 of RFC 2047."""

PLAIN_WORD_CHARS_MAX = 900
"""A longer run without a space is cut into encoded words instead of folded."""

DOMAIN_CHARS_MAX = 253
LOCAL_PART_CHARS_MAX = 64

LIST_ID_CHARS_MAX = 255
"""RFC 2919 section 2."""

BOUNDARY = "=_afterword_part"
"""Deterministic. Quoted-printable text never contains `=_`, so no body can contain the boundary."""

_LINE_BREAKERS = re.compile(r"[\r\n\0]")
_PLAIN = re.compile(r"[ -~]*")
_ATOMS = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+(?:\.[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+)*")
_DOTTED = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~.-]+")
_QUOTED = re.compile(r'"(?:[ !#-\[\]-~]|\\[ -~])*"')
_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_DOMAIN = re.compile(rf"{_LABEL}(?:\.{_LABEL})*")

MULTIPART_END = f"--{BOUNDARY}--\r\n".encode()
"""After the last part."""

_Skeleton = tuple[tuple[bytes, ...], tuple[tuple[str, tuple[int, ...], tuple[int, ...]], ...]]
"""Ready pieces, some empty; and where values go: (name, indexes as it is, indexes escaped for HTML)."""


class MimeRenderer:
    """Renders letters.

    Args:
        unsubscribe_url: makes the recipient's opaque one-click link, "" for none. With a link the
            message carries it in the header (RFC 8058) and at its foot, and the name of its stream.
    """

    def __init__(self, *, unsubscribe_url: Callable[[Letter], str] | None = None) -> None:
        self._unsubscribe_url = unsubscribe_url

    def render(self, letter: Letter) -> bytes:
        """Return the message, ready for the wire but for dot-stuffing.

        Raises:
            RenderingFailed: the message says why.
        """
        try:
            return self._render(letter)
        except UnicodeEncodeError:
            # The exception would quote the text, and with it the customer's name.
            raise RenderingFailed("a value is not valid Unicode") from None

    def _render(self, letter: Letter) -> bytes:
        sender = letter.sender or letter.channel.email_sender
        if sender is None:
            raise RenderingFailed("the channel has no e-mail sender")
        shop = letter.channel.display_name
        unsubscribe = self._unsubscribe_url(letter) if self._unsubscribe_url is not None else ""
        if unsubscribe and not templates.is_web_address(unsubscribe):
            raise RenderingFailed("the unsubscribe link is not a plain web address")
        values = templates.variables(letter, unsubscribe)
        language = templates.language_for(letter.locale, letter.channel.locale)
        template = templates.template_of(letter)
        values |= details.values_of(letter, template.shows, language)
        subject = templates.subject_of(letter, language, values)
        writer = EmailSender(sender.address, sender.display_name or shop, sender.reply_to)
        head = head_of(letter, writer, subject, unsubscribe)
        known = frozenset([key for key, value in values.items() if value and not value.isspace()])
        content = pages.content_of(letter, template, language)
        return head + _fill(_branded(content, language, known, letter.channel.branding), values)


def head_of(letter: Letter, sender: EmailSender, subject: str, unsubscribe: str) -> bytes:
    """Return the headers of a message that tell who writes to whom about what.

    Args:
        sender: as it is shown.
        unsubscribe: a plain web address, "" for none.

    Raises:
        RenderingFailed: a value cannot stand in a header.
    """
    contact = letter.event.contact
    # A carrier is not called by the customer's name.
    name = "" if letter.carrier else f"{contact.first_name} {contact.last_name}"
    head = _sender_head(sender.address, sender.display_name, sender.reply_to)
    domain = ascii_address(sender.address).rpartition("@")[2]
    if not _ATOMS.fullmatch(letter.delivery_id):
        raise RenderingFailed("the delivery id cannot stand in a Message-ID")
    lines = [
        head,
        f"To: {mailbox(name, letter.address)}\r\n"
        f"Subject: {_text(subject, len('Subject: '))}\r\n"
        f"Date: {_date(letter.send_ms // 1_000)}\r\n"
        f"Message-ID: <{letter.delivery_id}@{domain}>\r\n",
    ]
    if unsubscribe:
        lines.append(
            f"List-Unsubscribe: <{unsubscribe}>\r\n"
            "List-Unsubscribe-Post: List-Unsubscribe=One-Click\r\n"
            f"List-Id: <{list_id(letter, domain)}>\r\n"
        )
    return "".join(lines).encode("ascii")


def list_id(letter: Letter, domain: str) -> str:
    """Return what names the stream of messages that a letter belongs to: one per account, channel
    and purpose, below the sender's domain (RFC 2919)."""
    stream = (Purpose(letter.purpose).name.lower(), letter.channel.id, letter.channel.account)
    named = ".".join(re.sub("[^a-z0-9-]", "-", part.lower()) for part in stream)
    full = f"{named}.{domain}"
    if len(full) <= LIST_ID_CHARS_MAX:
        return full
    return f"{blake2b(named.encode(), digest_size=8).hexdigest()}.{domain}"


render = MimeRenderer().render
"""Rendering without an unsubscribe link."""


# --- addresses ----------------------------------------------------------------------------------


def ascii_address(address: str) -> str:
    """Return the address as it goes into an envelope or header: pure ASCII, no name.

    Raises:
        RenderingFailed: it is not a mailbox, or only a server with SMTPUTF8 could take it.
    """
    local, at, domain = address.rpartition("@")
    if not at or not local or len(address) > EMAIL_CHARS_MAX:
        raise RenderingFailed("the address is not a mailbox")
    if not local.isascii():
        raise RenderingFailed("the address needs SMTPUTF8")
    if not _ATOMS.fullmatch(local):
        if _DOTTED.fullmatch(local):
            # Dots at the ends or in a row: some providers gave such addresses out.
            local = f'"{local}"'
        elif not _QUOTED.fullmatch(local):
            raise RenderingFailed("the address is not a mailbox")
    if len(local) > LOCAL_PART_CHARS_MAX:
        raise RenderingFailed("the address is not a mailbox")
    full = f"{local}@{ascii_domain(domain)}"
    if len(full) > EMAIL_CHARS_MAX:
        raise RenderingFailed("the address is not a mailbox")
    return full


@lru_cache(maxsize=4096)
def ascii_domain(domain: str) -> str:
    """Return the domain in its ASCII form.

    Raises:
        RenderingFailed: it is not a domain name.
    """
    try:
        labels = [domain] if domain.isascii() else [_ascii_label(x) for x in _labels(domain)]
    except UnicodeError:
        raise RenderingFailed("the domain of the address is not valid") from None
    text = ".".join(labels)
    if len(text) > DOMAIN_CHARS_MAX or not _DOMAIN.fullmatch(text):
        raise RenderingFailed("the domain of the address is not valid")
    return text


def _labels(domain: str) -> list[str]:
    return re.split("[.\u3002\uff0e\uff61]", domain)


def _ascii_label(label: str) -> str:
    """Return one label in punycode.

    The codec of the standard library follows IDNA 2003, which turns two letters into others and so
    names somebody else's domain; those labels are encoded as IDNA 2008 has it.
    """
    if "\u200c" in label or "\u200d" in label:
        raise UnicodeError("joiners need the context rules of IDNA 2008")
    if "\u00df" in label or "\u03c2" in label:
        plain = unicodedata.normalize("NFKC", label.lower())
        return "xn--" + plain.encode("punycode").decode("ascii")
    return label.encode("idna").decode("ascii")


def mailbox(name: str, address: str) -> str:
    """Return name and address for an address header; folded, the first line being at most 998."""
    spec = ascii_address(address)
    _refuse_line_breakers(name)
    name = " ".join(name.split())
    if not name:
        return spec
    if not _is_plain(name) or len(name) > LINE_CHARS_WANTED:
        return f"{_encoded_words(name)}\r\n <{spec}>"
    quoted = name.replace("\\", "\\\\").replace('"', '\\"')
    fold = "\r\n " if len(quoted) + len(spec) > LINE_CHARS_WANTED - len('Reply-To: "" <>') else " "
    return f'"{quoted}"{fold}<{spec}>'


# --- headers ------------------------------------------------------------------------------------


@lru_cache(maxsize=1024)
def _sender_head(address: str, display_name: str, reply_to: str) -> str:
    head = f"From: {mailbox(display_name, address)}\r\n"
    return head + (f"Reply-To: {ascii_address(reply_to)}\r\n" if reply_to else "")


def _text(text: str, used_chars: int) -> str:
    """Return unstructured text for a header, encoded only where it must be."""
    _refuse_line_breakers(text)
    text = " ".join(text.split())
    if not _is_plain(text):
        return _encoded_words(text)
    if used_chars + len(text) <= LINE_CHARS_WANTED:
        return text
    words = text.split(" ")
    if max(map(len, words)) > PLAIN_WORD_CHARS_MAX:
        return _encoded_words(text)
    lines = [words[0]]
    for word in words[1:]:
        if used_chars + len(lines[-1]) + 1 + len(word) > LINE_CHARS_WANTED:
            lines.append(word)
            used_chars = 1
        else:
            lines[-1] += f" {word}"
    return "\r\n ".join(lines)


def _refuse_line_breakers(text: str) -> None:
    if _LINE_BREAKERS.search(text):
        raise RenderingFailed("a header value holds a line break or NUL")


def _is_plain(text: str) -> bool:
    """Whether it may stand as it is; what looks like an encoded word would be read as one."""
    return _PLAIN.fullmatch(text) is not None and "=?" not in text


def _encoded_words(text: str) -> str:
    """Return RFC 2047 encoded words, one a line; no character is split between two (5.3)."""
    raw, start, words = text.encode(), 0, []
    while start < len(raw):
        end = start + ENCODED_WORD_BYTES
        while end < len(raw) and raw[end] & 0xC0 == 0x80:
            # In the middle of a character: cut before its first byte.
            end -= 1
        word = binascii.b2a_base64(raw[start:end], newline=False).decode()
        words.append(f"=?utf-8?b?{word}?=")
        start = end
    return "\r\n ".join(words)


@lru_cache(maxsize=256)
def _date(seconds: int) -> str:
    return email.utils.formatdate(seconds)


# --- body ---------------------------------------------------------------------------------------


@lru_cache(maxsize=1024)
def _skeleton(content: pages.Content, language: str, known: frozenset[str]) -> _Skeleton:
    """Return the rest of a message after the recipient's headers, all but the values encoded."""
    body = pages.body_of(content, language, known)
    pieces = [multipart_head(language)]
    slots: dict[str, tuple[list[int], list[int]]] = {}
    for subtype, part in (("plain", body.text), ("html", body.html)):
        pieces.append(part_head(subtype))
        for literal, name in zip(part[::2], part[1::2], strict=False):
            # A soft line break on each side of a value lets both be encoded apart.
            pieces.append(piece_of(literal))
            slots.setdefault(name, ([], []))[subtype == "html"].append(len(pieces))
            pieces.append(b"")
        pieces.append(_quoted_printable(part[-1]) + b"\r\n")
    pieces.append(MULTIPART_END)
    return tuple(pieces), tuple(
        (name, tuple(plain), tuple(page)) for name, (plain, page) in slots.items()
    )


def multipart_head(language: str) -> bytes:
    """Return the headers of a message with a plain and an HTML part."""
    return (
        "Auto-Submitted: auto-generated\r\n"
        f"Content-Language: {language}\r\n"
        "MIME-Version: 1.0\r\n"
        f'Content-Type: multipart/alternative; boundary="{BOUNDARY}"\r\n\r\n'
    ).encode()


def part_head(subtype: str) -> bytes:
    """Return what begins a part, "plain" or "html"; its encoded text and CRLF follow."""
    return (
        f"--{BOUNDARY}\r\n"
        f'Content-Type: text/{subtype}; charset="utf-8"\r\n'
        "Content-Transfer-Encoding: quoted-printable\r\n\r\n"
    ).encode()


def piece_of(text: str) -> bytes:
    """Return a piece of a part, encoded and ended by a soft line break, so that pieces can be joined."""
    return _quoted_printable(text) + b"=\r\n" if text else b""


@lru_cache(maxsize=4096)
def _branded(
    content: pages.Content, language: str, known: frozenset[str], own: Branding | None
) -> _Skeleton:
    """Return a skeleton with what the channel puts in; its other pieces are those of all channels."""
    brand = _brand(own)
    pieces, slots = _skeleton(content, language, known.union(brand))
    filled = list(pieces)
    for name, *places in slots:
        for indexes, ready in zip(places, brand.get(name, ()), strict=False):
            for index in indexes:
                filled[index] = ready
    return tuple(filled), tuple(slot for slot in slots if slot[0] not in brand)


@lru_cache(maxsize=1024)
def _brand(own: Branding | None) -> Mapping[str, tuple[bytes, bytes]]:
    """Return what a channel puts into its messages, encoded for the plain part and for the HTML."""
    found = branding.values_of(own) if own is not None else {}
    return {name: (piece_of(text), piece_of(markup)) for name, (text, markup) in found.items()}


def _fill(skeleton: _Skeleton, values: dict[str, str]) -> bytes:
    pieces, slots = skeleton
    filled = list(pieces)
    for name, plain, page in slots:
        text = " ".join(values[name].split())
        ready = _quoted_printable(text) + b"=\r\n"
        for index in plain:
            filled[index] = ready
        if page:
            escaped = html.escape(text)
            if escaped != text:
                ready = _quoted_printable(escaped) + b"=\r\n"
            for index in page:
                filled[index] = ready
    return b"".join(filled)


def _quoted_printable(text: str) -> bytes:
    """Return the text encoded, its line ends as CRLF; no line is longer than 75 characters.

    One short of the 76 allowed, but for soft breaks inside, so that `=` can follow.
    """
    return binascii.b2a_qp(text.encode(), istext=True).replace(b"\n", b"\r\n")
