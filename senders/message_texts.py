"""What text messages and the parameters of WhatsApp templates say.

Decides: the text of an SMS with its stop hint, the language of a WhatsApp template, and what fills the
placeholders of both (C23, C26).
Never: how long a text may be (`senders/sms_text.py`), or where it goes.

A value is inserted once and never looked at again: what looks like a placeholder in a customer's name
stays text. A placeholder without a value goes, with the blank before it.
"""

from __future__ import annotations

import re
from datetime import datetime
from typing import Final
from zoneinfo import ZoneInfo

from core.bounds import SECOND_MS
from core.errors import RenderingFailed
from core.model import CONSENT_PURPOSES
from core.records import KIND_PRODUCT, KIND_SERVICE
from core.sending import Letter
from senders import templates
from senders.catalogue.choice import kinds_of
from senders.contents import messages as own
from senders.sms_words import SMS_WORDS, SmsWords
from senders.whatsapp import TemplateCall

VARIABLES: Final = templates.TEXT_VARIABLES
"""What the text of an SMS and a parameter may name."""

_GAPS: Final = re.compile(r"[ \t\x00-\x09\x0b-\x1f\x7f-\x9f]+")

# The languages that the provider has in regional forms only, or in them too where they differ.
_REGIONAL: Final = frozenset({"pt_BR", "pt_PT", "en_GB", "en_US", "es_AR", "es_ES", "es_MX"})
_ONLY_REGIONAL: Final = {"pt": "pt_PT"}


def values_of(letter: Letter) -> dict[str, str]:
    """Return what can be inserted, "" for what is not known; each on one line.

    Raises:
        RenderingFailed: the link to the platform is no plain web address.
    """
    known = templates.variables(letter)
    shipment = letter.event.shipment
    values = {name: known.get(name, "") for name in templates.TEXT_VARIABLES}
    values["carrier"] = shipment.carrier if shipment is not None else ""
    values["expected_date"] = _expected_date(letter)
    return {name: " ".join(_GAPS.sub(" ", value).split()) for name, value in values.items()}


def _expected_date(letter: Letter) -> str:
    shipment = letter.event.shipment
    if shipment is None or not shipment.promised_ms:
        return ""
    zone = ZoneInfo(letter.channel.time_zone)
    return datetime.fromtimestamp(shipment.promised_ms / SECOND_MS, zone).date().isoformat()


def filled(text: str, values: dict[str, str]) -> str:
    """Return a text with its placeholders filled.

    Raises:
        RenderingFailed: it names a placeholder that does not exist.
    """
    pieces = templates.VARIABLE.split(text)
    for index in range(1, len(pieces), 2):
        value = values.get(pieces[index])
        if value is None:
            raise RenderingFailed("the text names a placeholder that does not exist")
        if not value:
            pieces[index - 1] = pieces[index - 1].rstrip(" ")
        pieces[index] = value
    return "".join(pieces).strip()


# --- SMS ------------------------------------------------------------------------------------------


def sms_text(letter: Letter, takes_answers: bool) -> str:
    """Return the text of an SMS: that of the shop's own template, the action's, else the default of the
    family; where people may stop such messages and can answer, it ends by saying how (g7).

    Raises:
        RenderingFailed: see `filled`.
    """
    if letter.content is not None:
        content = own.chosen(letter, letter.content)
        words = SMS_WORDS[templates.language_for(content.locale, "")]
        text = own.sms_text(letter, letter.content)
    else:
        words = SMS_WORDS[templates.language_for(letter.locale, letter.channel.locale)]
        text = filled(letter.text or _default(letter, words), values_of(letter))
    if takes_answers and letter.purpose in CONSENT_PURPOSES and not letter.confirm_url:
        return f"{text} {words.stop}"
    return text


def _default(letter: Letter, words: SmsWords) -> str:
    if letter.confirm_url:
        return words.confirm
    kinds = letter.kinds or kinds_of(letter.family)
    by_kinds = {
        KIND_SERVICE: words.service, KIND_PRODUCT: words.product,
        KIND_SERVICE | KIND_PRODUCT: words.both,
    }  # fmt: skip
    text = by_kinds.get(kinds, words.notification)
    return words.reminder + text if letter.is_follow_up else text


# --- WhatsApp -------------------------------------------------------------------------------------


def whatsapp_call(letter: Letter) -> TemplateCall:
    """Return the approved template that a message is made from, and what fills it.

    Raises:
        RenderingFailed: the action names no template, or see `filled`.
    """
    if letter.content is not None:
        return own.whatsapp_call(letter, letter.content)
    name, _, language = letter.template.partition("/")
    if not name:
        raise RenderingFailed("the action names no approved template")
    values = values_of(letter)
    parameters = tuple(filled(text, values) for text in letter.parameters)
    return TemplateCall(name, language or whatsapp_language(letter), parameters)


def whatsapp_language(letter: Letter) -> str:
    """Return the language of the recipient, else that of the channel, as the provider writes it."""
    for locale in (letter.locale, letter.channel.locale):
        parts = locale.strip().replace("-", "_").split("_")
        code = parts[0].lower()
        if not code:
            continue
        regional = f"{code}_{parts[-1].upper()}"
        if code in _ONLY_REGIONAL:
            return regional if regional in _REGIONAL else _ONLY_REGIONAL[code]
        return code
    return templates.FALLBACK_LANGUAGE
