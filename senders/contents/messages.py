"""Messages whose content is a shop's own template.

Decides: which locale is taken (C22), what an action overrides, and where the preheader and the way to
unsubscribe go.
Never: the form of headers and parts (`senders/mime.py`).

Compiled templates are kept for each revision and locale; an entry is found by the registry's own object,
so one that was changed is another one.
"""

from __future__ import annotations

import html
import re
from collections.abc import Callable
from functools import lru_cache
from typing import Final

import msgspec
from liquid import Markup

from core.errors import RenderingFailed
from core.registry.contents import (
    Content,
    ContentTemplate,
    EmailParts,
    SmsParts,
    WhatsAppParts,
    content_for,
)
from core.registry.rule_parts import EmailSender
from core.sending import Letter
from senders import mime, templates
from senders.contents import checking
from senders.contents.compiled import Program
from senders.contents.plain_text import text_of
from senders.contents.sandbox import Budget
from senders.contents.values import Scene, address
from senders.languages import LANGUAGES
from senders.whatsapp import TemplateCall

CACHE_SIZE: Final = 1_024
"""Texts of templates in use, one locale of a revision each."""

# Neither goes over the same characters twice: pages come from outside.
_BODY: Final = re.compile(r"<body(?:[^<>{]|\{\{[^{}]*+\}\})*+>", re.IGNORECASE)
_BODY_END: Final = re.compile(r"</body\s*+>", re.IGNORECASE)
_HIDDEN: Final = '<div style="display:none;max-height:0;overflow:hidden">'


class Mail:
    """Renders e-mails, those with shipped content as well.

    Args:
        unsubscribe_url: makes the recipient's one-click link, "" for none.
    """

    def __init__(self, *, unsubscribe_url: Callable[[Letter], str] | None = None) -> None:
        self._unsubscribe_url = unsubscribe_url
        self._shipped = mime.MimeRenderer(unsubscribe_url=unsubscribe_url)

    def render(self, letter: Letter) -> bytes:
        """Return the message, as `senders.mime.MimeRenderer`.

        Raises:
            RenderingFailed: the message says why.
        """
        if letter.content is None:
            return self._shipped.render(letter)
        try:
            return self._own(letter, letter.content)
        except UnicodeEncodeError:
            # The exception would quote the text, and with it the customer's name.
            raise RenderingFailed("a value is not valid Unicode") from None

    def _own(self, letter: Letter, template: ContentTemplate) -> bytes:
        link = self._unsubscribe_url(letter) if self._unsubscribe_url is not None else ""
        if link and not templates.is_web_address(link):
            raise RenderingFailed("the unsubscribe link is not a plain web address")
        content = chosen(letter, template)
        mail = compiled_mail(content)
        scene, budget = Scene(letter, content.locale, link), Budget()
        values = scene.values(mail.roots)

        def line(program: Program) -> str:
            return program.text(values, budget, scene.locale)

        subject = line(mail.subject)
        if letter.subject:
            language = templates.language_for(content.locale, "")
            subject = templates.subject_of(letter, language, templates.variables(letter, link))
        sender = letter.sender or letter.channel.email_sender
        if sender is None:
            raise RenderingFailed("the channel has no e-mail sender")
        shown = line(mail.sender_name) or sender.display_name or letter.channel.display_name
        writer = EmailSender(sender.address, shown.strip(), mail.reply_to or sender.reply_to)
        head = mime.head_of(letter, writer, subject.strip(), link)
        preheader = _own_words(letter, letter.preheader) or line(mail.preheader)
        values["_preheader"] = _hidden(preheader)
        values["_unsubscribe"] = _foot(link, content.locale, is_html=True)
        page = mail.html.encoded(values, budget, scene.locale)
        values["_unsubscribe"] = _foot(link, content.locale, is_html=False)
        text = mail.text.encoded(values, budget, scene.locale)
        return b"".join((head, mail.head, text, _BETWEEN, page, _END))


_BETWEEN: Final = b"\r\n" + mime.part_head("html")
_END: Final = b"\r\n" + mime.MULTIPART_END


def chosen(letter: Letter, template: ContentTemplate) -> Content:
    """Return the content in the recipient's locale (C22)."""
    return content_for(template, letter.locale, letter.channel.locale)


def sms_text(letter: Letter, template: ContentTemplate) -> str:
    """Return the text of a text message.

    Raises:
        RenderingFailed: the template is none for text messages, or cannot be run.
    """
    content = chosen(letter, template)
    if not isinstance(content.parts, SmsParts):
        raise RenderingFailed("the template is not for text messages")
    return _line_of(letter, content, content.parts.text, Budget()).strip()


def whatsapp_call(letter: Letter, template: ContentTemplate) -> TemplateCall:
    """Return the approved template that a WhatsApp message calls, and what fills it.

    Raises:
        RenderingFailed: the template is none for WhatsApp, or cannot be run.
    """
    content = chosen(letter, template)
    parts, budget = content.parts, Budget()
    if not isinstance(parts, WhatsAppParts):
        raise RenderingFailed("the template is not for WhatsApp")
    filled = [_line_of(letter, content, source, budget) for source in parts.parameters]
    return TemplateCall(parts.template_name, parts.language, tuple(filled))


def _line_of(letter: Letter, content: Content, source: str, budget: Budget) -> str:
    program = _line_program(source)
    scene = Scene(letter, content.locale, "")
    return program.text(scene.values(program.roots), budget, scene.locale)


def preheader_of(letter: Letter, template: ContentTemplate) -> str:
    """Return what mail programs show behind the subject of an e-mail.

    Raises:
        RenderingFailed: it cannot be run.
    """
    content = chosen(letter, template)
    if letter.preheader or not isinstance(content.parts, EmailParts):
        return _own_words(letter, letter.preheader)
    return _line_of(letter, content, content.parts.preheader, Budget())


# --- compiled -----------------------------------------------------------------------------------


class CompiledMail(msgspec.Struct, frozen=True):
    """An e-mail's content in one locale, ready to be filled."""

    subject: Program
    sender_name: Program
    preheader: Program
    html: Program
    text: Program
    reply_to: str
    roots: frozenset[str]
    head: bytes
    """What stands between the headers of the recipient and the plain text."""


@lru_cache(maxsize=CACHE_SIZE)
def _line_program(source: str) -> Program:
    return Program(source)


@lru_cache(maxsize=CACHE_SIZE)
def compiled_mail(content: Content) -> CompiledMail:
    """Return the content of an e-mail, compiled.

    Raises:
        RenderingFailed: it is not for e-mails, or this version cannot read it.
    """
    parts = content.parts
    if not isinstance(parts, EmailParts):
        raise RenderingFailed("the template is not for e-mails")
    page = Program(page_source(parts.html), is_html=True, encode=mime.piece_of)
    text = Program(text_source(parts), encode=mime.piece_of)
    subject, sender_name, preheader = (
        _line_program(each) for each in (parts.subject, parts.sender_name, parts.preheader)
    )
    programs = (subject, sender_name, preheader, page, text)
    language = content.locale.replace("_", "-")
    return CompiledMail(
        subject, sender_name, preheader, page, text, parts.reply_to,
        frozenset[str]().union(*(program.roots for program in programs)),
        mime.multipart_head(language) + mime.part_head("plain"),
    )  # fmt: skip


def page_source(source: str) -> str:
    """Return a page with the places where preheader and unsubscribing go."""
    opened = _BODY.search(source)
    at = opened.end() if opened is not None else 0
    page = f"{source[:at]}{{{{ _preheader }}}}{source[at:]}"
    if _shows_link(source):
        return page
    ends = list(_BODY_END.finditer(page))
    end = ends[-1].start() if ends else len(page)
    return f"{page[:end]}{{{{ _unsubscribe }}}}{page[end:]}"


def text_source(parts: EmailParts) -> str:
    """Return the plain part, made from the page if there is none."""
    source = parts.text or text_of(parts.html)
    source = source if source.endswith("\n") else f"{source}\n"
    return source if _shows_link(source) else f"{source}{{{{ _unsubscribe }}}}"


def _shows_link(source: str) -> bool:
    """Return whether a template shows the way to unsubscribe itself; a comment about it is no link."""
    if "unsubscribe_url" not in source:
        return False
    try:
        return "unsubscribe_url" in checking.roots_of(checking.read(source, is_html=False))
    except checking.Mistake:
        # It cannot be compiled either, which says so better.
        return False


def _hidden(preheader: str) -> Markup:
    shown = html.escape(" ".join(preheader.split()))
    return Markup(f"{_HIDDEN}{shown}</div>" if shown else "")


def _own_words(letter: Letter, text: str) -> str:
    """Return the preheader of an action, its placeholders filled."""
    if not text:
        return ""
    values = templates.variables(letter)
    return re.sub(r"\{\{\s*(\w+)\s*\}\}", lambda found: values.get(found.group(1), ""), text)


def _foot(link: str, locale: str, *, is_html: bool) -> str:
    """Return the way to unsubscribe, for templates that do not show it themselves."""
    if address(link) is None:
        return ""
    label = LANGUAGES[templates.language_for(locale, "")].unsubscribe
    if not is_html:
        return f"\n{label}:\n{link}\n"
    shown = f'<a href="{html.escape(link)}">{html.escape(label)}</a>'
    return Markup(f"\n<p><small>{shown}</small></p>\n")
