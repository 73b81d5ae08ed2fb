"""The pages of links as HTML, to unsubscribe, to confirm, and to go on to a review: one form at most,
nothing loaded from anywhere, and one script, by which the last tells that somebody has seen it.

Decides: its markup, and the headers that keep it to itself.
Never: shows an address or a name, or anything about whom a link belongs to.

A text of a shop is escaped like everything else. The form has no address of its own: it goes to where
the page came from.
"""

from __future__ import annotations

import base64
import html
from hashlib import sha256

from control.public.confirm_words import CONFIRM_WORDS
from control.public.review_words import REVIEW_WORDS
from control.public.words import WORDS, Words
from core.engine.unsubscribe import Choice
from core.model import Purpose

FIELD = "scope"
"""Of the form; a POST that has it comes from the page."""

CHOICES = {"account": Choice.ACCOUNT, "shop": Choice.CHANNEL, "everything": Choice.EVERYTHING}
"""What the field may hold."""

CONFIRM_FIELD, CONFIRM_VALUE = "confirm", "yes"
"""Of the form that confirms a consent."""

_STYLE = (
    "body{font:1.1em/1.5 sans-serif;max-width:34em;margin:2em auto;padding:0 1em;color:#111;"
    "background:#fff}"
    "fieldset{border:0;margin:0;padding:0}"
    "legend{padding:0 0 .5em;font-weight:bold}"
    "label{display:block;padding:.6em 0}"
    "button{font:inherit;padding:.7em 1.5em;margin:1em 0;color:#fff;background:#0b4a8f;border:0;"
    "border-radius:.3em}"
    "a{color:#0b4a8f}"
    "input:focus-visible,a:focus-visible,button:focus-visible{outline:3px solid #d97706;"
    "outline-offset:2px}"
)

CLICK_FIELD, CLICK_VALUE = "clicked", "yes"
"""Of what the page of a review link tells."""

_SCRIPT = (
    "function tell(){navigator.sendBeacon(location.href,"
    f'new URLSearchParams("{CLICK_FIELD}={CLICK_VALUE}"))}}'
    'if(document.prerendering)document.addEventListener("prerenderingchange",tell,{once:true});'
    "else tell()"
)


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(sha256(text.encode()).digest()).decode('ascii')}'"


HEADERS = (
    "Cache-Control: no-store\r\n"
    "Referrer-Policy: no-referrer\r\n"
    f"Content-Security-Policy: default-src 'none'; style-src {_hash(_STYLE)}; "
    f"script-src {_hash(_SCRIPT)}; connect-src 'self'; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'\r\n"
    "X-Content-Type-Options: nosniff\r\n"
    "X-Robots-Tag: noindex, nofollow\r\n"
)
"""Of every answer. The address of the page is its secret: nothing may keep it or pass it on."""


def question(
    language: str, purpose: int, medium: int, shop: str, default: Choice, done: Choice | None
) -> str:
    """Return the page of a valid link.

    Args:
        shop: name of the channel that wrote, "" if it is gone.
        default: what is chosen at first.
        done: what was withdrawn just now, None if nothing was.
    """
    words = WORDS[language]
    labels = _labels(words, purpose, shop)
    by = words.by[medium]
    first = done or (default if default in labels else Choice.ACCOUNT)
    lines = []
    if done is not None:
        lines += [
            f'<div role="status"><p><strong>{_escaped(words.done.format(by=by))}</strong></p>',
            f"<p>{_escaped(labels[done])}</p>",
            f"<p>{_escaped(words.on_the_way)}</p></div>",
        ]
    lines += ['<form method="post">', "<fieldset>"]
    lines.append(f"<legend>{_escaped(words.question.format(by=by))}</legend>")
    for value, choice in CHOICES.items():
        if choice in labels:
            checked = " checked" if choice is first else ""
            lines.append(
                f'<label><input type="radio" name="{FIELD}" value="{value}"{checked}> '
                f"{_escaped(labels[choice])}</label>"
            )
    lines += ["</fieldset>", f'<button type="submit">{_escaped(words.button)}</button>', "</form>"]
    lines.append(f"<p>{_escaped(words.kept)}</p>")
    return _page(language, lines)


def confirmation(language: str, purpose: int, medium: int, shop: str, *, is_done: bool) -> str:
    """Return the page of a link of double opt-in.

    Args:
        shop: name of the channel that asked, "" for none in particular.
    """
    words, others = CONFIRM_WORDS[language], WORDS[language]
    by = others.by.get(medium, "")
    kinds = {Purpose.REVIEW: others.review, Purpose.MARKETING: others.marketing}
    kind = kinds.get(Purpose(purpose), words.forwarding)
    if is_done:
        lines = [
            f'<div role="status"><p><strong>{_escaped(words.done)}</strong></p>',
            f"<p>{_escaped(kind)}</p>",
            f"<p>{_escaped(words.revoke)}</p></div>",
        ]
        return _page(language, lines, words.title)
    question = words.question_of_shop if shop else words.question
    lines = [f"<p>{_escaped(question.format(by=by, shop=shop))}</p>"] if by else []
    lines += [
        f"<p><strong>{_escaped(kind)}</strong></p>",
        '<form method="post">',
        f'<input type="hidden" name="{CONFIRM_FIELD}" value="{CONFIRM_VALUE}">',
        f'<button type="submit">{_escaped(words.button)}</button>',
        "</form>",
        f"<p>{_escaped(words.revoke)}</p>",
    ]
    return _page(language, lines, words.title)


def over(language: str) -> str:
    """Return the page of a link of double opt-in that does not hold any more."""
    words = CONFIRM_WORDS[language]
    return _page(language, [f'<p role="alert">{_escaped(words.over)}</p>'], words.title)


def unknown(language: str) -> str:
    """Return the page of a link that was not made here."""
    return _page(language, [f"<p>{_escaped(WORDS[language].unknown)}</p>"])


def onward(language: str, target: str) -> str:
    """Return the page of a review link: it tells that somebody looks at it, and goes on at once.

    Without scripts it goes on all the same, and without that there is a link.
    """
    words = REVIEW_WORDS[language]
    lines = [
        f"<p>{_escaped(words.wait)}</p>",
        f'<p><a href="{_escaped(target)}">{_escaped(words.button)}</a></p>',
        f"<script>{_SCRIPT}</script>",
    ]
    refresh = f'<meta http-equiv="refresh" content="0; url={_escaped(target)}">\n'
    return _page(language, lines, words.title, refresh)


def no_page(language: str) -> str:
    """Return the page of a review link that leads nowhere, or nowhere any more."""
    words = REVIEW_WORDS[language]
    return _page(language, [f"<p>{_escaped(words.over)}</p>"], words.title)


def away(language: str) -> str:
    """Return the page for when nothing can be written down just now."""
    return _page(language, [f'<p role="alert">{_escaped(WORDS[language].away)}</p>'])


def _labels(words: Words, purpose: int, shop: str) -> dict[Choice, str]:
    """Return what each choice says, in the order of the page."""
    kinds = {Purpose.REVIEW: words.review, Purpose.MARKETING: words.marketing}
    kind = kinds.get(Purpose(purpose), words.other)
    labels = {Choice.ACCOUNT: words.from_account.format(kind=kind)}
    if shop:
        labels[Choice.CHANNEL] = words.from_shop.format(kind=kind, shop=shop)
    return labels | {Choice.EVERYTHING: words.everything}


def _page(language: str, lines: list[str], title: str = "", head: str = "") -> str:
    title = _escaped(title or WORDS[language].title)
    body = "\n".join(lines)
    return (
        f'<!DOCTYPE html>\n<html lang="{language}">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"{head}<title>{title}</title>\n<style>{_STYLE}</style>\n</head>\n"
        f"<body>\n<main>\n<h1>{title}</h1>\n{body}\n</main>\n</body>\n</html>\n"
    )


def _escaped(text: str) -> str:
    return html.escape(text)
