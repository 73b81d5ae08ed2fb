"""The default e-mails: what they say, in which language, and the substitution in a subject.

Decides: subject and body of a message that has no template of its own, and which variables a
subject may name.
Never: encoding (`senders/mime.py`).

Invariants:
1. A value is inserted once and never looked at again: what looks like a variable in a customer's
   name stays text.
2. A reminder says the same as the first message; only the subject differs (B19).
3. Review texts ask for any opinion, never for a good one (g8).

The substitution is logic-less on purpose: whoever may write a subject may not run anything.
"""

from __future__ import annotations

import html
import re
from collections.abc import Mapping
from functools import lru_cache

import msgspec

from core.bounds import SUBJECT_CHARS_MAX
from core.errors import InvalidField, RenderingFailed
from core.model import Family
from core.ports import Letter

FALLBACK_LANGUAGE = "en"
SUBJECT_VARIABLES = ("order", "first_name", "shop")
PRODUCTS_MAX = 3
"""Products a message names; a longer list reads like an invoice."""

URL_CHARS_MAX = 900
"""A header line holds 998 characters, the name of the header and the brackets included."""

_VARIABLE = re.compile(r"\{\{\s*(\w+)\s*\}\}")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_WEB_ADDRESS = re.compile(r"https?://[!#-;=?-Z\[\]_a-z~%]+")


class Copy(msgspec.Struct, frozen=True):
    """One message in one language."""

    subject: str
    reminder_subject: str
    paragraphs: tuple[str, ...]


class Language(msgspec.Struct, frozen=True):
    """All default texts of a language."""

    greeting: str
    greeting_unnamed: str
    closing: str
    tracking: str
    unsubscribe: str
    service: Copy
    product: Copy
    notification: Copy


class Body(msgspec.Struct, frozen=True):
    """The two parts of a message, each as literal, variable, literal, variable, ..., literal.

    Literals of the HTML part are markup; its variables must be escaped when inserted.
    """

    text: tuple[str, ...]
    html: tuple[str, ...]


LANGUAGES: Mapping[str, Language] = {
    "en": Language(
        greeting="Hello {{first_name}},",
        greeting_unnamed="Hello,",
        closing="Kind regards",
        tracking="Track your parcel",
        unsubscribe="Unsubscribe",
        service=Copy(
            "How was your order {{order}} at {{shop}}?",
            "A reminder: how was your order {{order}} at {{shop}}?",
            (
                "thank you for your order {{order}} at {{shop}}.",
                "Did everything go as you expected? Whatever your opinion is, we would like to "
                "hear it. Simply reply to this message.",
            ),
        ),
        product=Copy(
            "What do you think of your purchase at {{shop}}?",
            "A reminder: what do you think of your purchase at {{shop}}?",
            (
                "you have had some time with what you bought at {{shop}}: {{products}}",
                "What do you like, and what not? Whatever your opinion is, it helps others to "
                "choose. Simply reply to this message.",
            ),
        ),
        notification=Copy(
            "News about your order {{order}} at {{shop}}",
            "A reminder about your order {{order}} at {{shop}}",
            (
                "there is news about your order {{order}} at {{shop}}.",
                "If you have any questions, simply reply to this message.",
            ),
        ),
    ),
    "de": Language(
        greeting="Guten Tag {{first_name}},",
        greeting_unnamed="Guten Tag,",
        closing="Freundliche Grüße",
        tracking="Sendung verfolgen",
        unsubscribe="Abmelden",
        service=Copy(
            "Wie war Ihre Bestellung {{order}} bei {{shop}}?",
            "Zur Erinnerung: Wie war Ihre Bestellung {{order}} bei {{shop}}?",
            (
                "vielen Dank für Ihre Bestellung {{order}} bei {{shop}}.",
                "Lief alles wie erwartet? Wie auch immer Ihre Meinung ausfällt, wir möchten sie "
                "gern hören. Antworten Sie einfach auf diese Nachricht.",
            ),
        ),
        product=Copy(
            "Was halten Sie von Ihrem Einkauf bei {{shop}}?",
            "Zur Erinnerung: Was halten Sie von Ihrem Einkauf bei {{shop}}?",
            (
                "Sie hatten nun etwas Zeit mit Ihrem Einkauf bei {{shop}}: {{products}}",
                "Was gefällt Ihnen, was nicht? Wie auch immer Ihre Meinung ausfällt, sie hilft "
                "anderen bei der Wahl. Antworten Sie einfach auf diese Nachricht.",
            ),
        ),
        notification=Copy(
            "Neuigkeiten zu Ihrer Bestellung {{order}} bei {{shop}}",
            "Zur Erinnerung: Ihre Bestellung {{order}} bei {{shop}}",
            (
                "es gibt Neuigkeiten zu Ihrer Bestellung {{order}} bei {{shop}}.",
                "Wenn Sie Fragen haben, antworten Sie einfach auf diese Nachricht.",
            ),
        ),
    ),
    "es": Language(
        greeting="Hola, {{first_name}}:",
        greeting_unnamed="Hola:",
        closing="Un saludo",
        tracking="Seguir el envío",
        unsubscribe="Darse de baja",
        service=Copy(
            "¿Qué tal tu pedido {{order}} en {{shop}}?",
            "Recordatorio: ¿qué tal tu pedido {{order}} en {{shop}}?",
            (
                "gracias por tu pedido {{order}} en {{shop}}.",
                "¿Ha ido todo como esperabas? Sea cual sea tu opinión, nos gustaría conocerla. "
                "Solo tienes que responder a este mensaje.",
            ),
        ),
        product=Copy(
            "¿Qué te parece tu compra en {{shop}}?",
            "Recordatorio: ¿qué te parece tu compra en {{shop}}?",
            (
                "ya has tenido tiempo de probar lo que compraste en {{shop}}: {{products}}",
                "¿Qué te gusta y qué no? Sea cual sea tu opinión, ayuda a otros a elegir. "
                "Solo tienes que responder a este mensaje.",
            ),
        ),
        notification=Copy(
            "Novedades sobre tu pedido {{order}} en {{shop}}",
            "Recordatorio sobre tu pedido {{order}} en {{shop}}",
            (
                "hay novedades sobre tu pedido {{order}} en {{shop}}.",
                "Si tienes alguna pregunta, responde a este mensaje.",
            ),
        ),
    ),
    "fr": Language(
        greeting="Bonjour {{first_name}},",
        greeting_unnamed="Bonjour,",
        closing="Cordialement",
        tracking="Suivre votre colis",
        unsubscribe="Se désabonner",
        service=Copy(
            "Comment s'est passée votre commande {{order}} chez {{shop}} ?",
            "Rappel : comment s'est passée votre commande {{order}} chez {{shop}} ?",
            (
                "merci pour votre commande {{order}} chez {{shop}}.",
                "Tout s'est-il passé comme prévu ? Quel que soit votre avis, nous aimerions le "
                "connaître. Il suffit de répondre à ce message.",
            ),
        ),
        product=Copy(
            "Que pensez-vous de votre achat chez {{shop}} ?",
            "Rappel : que pensez-vous de votre achat chez {{shop}} ?",
            (
                "vous avez eu le temps d'essayer votre achat chez {{shop}} : {{products}}",
                "Qu'est-ce qui vous plaît, qu'est-ce qui vous déplaît ? Quel que soit votre avis, "
                "il aide d'autres personnes à choisir. Il suffit de répondre à ce message.",
            ),
        ),
        notification=Copy(
            "Du nouveau pour votre commande {{order}} chez {{shop}}",
            "Rappel : votre commande {{order}} chez {{shop}}",
            (
                "il y a du nouveau pour votre commande {{order}} chez {{shop}}.",
                "Pour toute question, il suffit de répondre à ce message.",
            ),
        ),
    ),
    "pl": Language(
        greeting="Dzień dobry {{first_name}},",
        greeting_unnamed="Dzień dobry,",
        closing="Pozdrawiamy",
        tracking="Śledź przesyłkę",
        unsubscribe="Wypisz się",
        service=Copy(
            "Jak oceniasz zamówienie {{order}} w sklepie {{shop}}?",
            "Przypomnienie: jak oceniasz zamówienie {{order}} w sklepie {{shop}}?",
            (
                "dziękujemy za zamówienie {{order}} w sklepie {{shop}}.",
                "Czy wszystko przebiegło zgodnie z oczekiwaniami? Chętnie poznamy Twoją opinię, "
                "jakakolwiek jest. Wystarczy odpowiedzieć na tę wiadomość.",
            ),
        ),
        product=Copy(
            "Co sądzisz o swoich zakupach w sklepie {{shop}}?",
            "Przypomnienie: co sądzisz o swoich zakupach w sklepie {{shop}}?",
            (
                "minęło trochę czasu od zakupów w sklepie {{shop}}: {{products}}",
                "Co Ci się podoba, a co nie? Twoja opinia, jakakolwiek jest, pomoże innym w "
                "wyborze. Wystarczy odpowiedzieć na tę wiadomość.",
            ),
        ),
        notification=Copy(
            "Nowe informacje o zamówieniu {{order}} w sklepie {{shop}}",
            "Przypomnienie o zamówieniu {{order}} w sklepie {{shop}}",
            (
                "mamy nowe informacje o zamówieniu {{order}} w sklepie {{shop}}.",
                "W razie pytań wystarczy odpowiedzieć na tę wiadomość.",
            ),
        ),
    ),
    "pt": Language(
        greeting="Olá {{first_name}},",
        greeting_unnamed="Olá,",
        closing="Com os melhores cumprimentos",
        tracking="Seguir a encomenda",
        unsubscribe="Cancelar a subscrição",
        service=Copy(
            "Como correu a sua encomenda {{order}} em {{shop}}?",
            "Lembrete: como correu a sua encomenda {{order}} em {{shop}}?",
            (
                "obrigado pela sua encomenda {{order}} em {{shop}}.",
                "Correu tudo como esperava? Seja qual for a sua opinião, gostaríamos de a "
                "conhecer. Basta responder a esta mensagem.",
            ),
        ),
        product=Copy(
            "O que acha da sua compra em {{shop}}?",
            "Lembrete: o que acha da sua compra em {{shop}}?",
            (
                "já teve tempo de experimentar o que comprou em {{shop}}: {{products}}",
                "De que gosta e de que não gosta? Seja qual for a sua opinião, ajuda outras "
                "pessoas a escolher. Basta responder a esta mensagem.",
            ),
        ),
        notification=Copy(
            "Novidades sobre a sua encomenda {{order}} em {{shop}}",
            "Lembrete sobre a sua encomenda {{order}} em {{shop}}",
            (
                "há novidades sobre a sua encomenda {{order}} em {{shop}}.",
                "Se tiver alguma pergunta, basta responder a esta mensagem.",
            ),
        ),
    ),
}


def validate_subject(text: str, *, field: str = "subject") -> None:
    """Refuse a subject that could not be rendered; asked when a rule is saved.

    Raises:
        InvalidField: too long, not one line, or with a variable that does not exist.
    """
    if len(text) > SUBJECT_CHARS_MAX:
        raise InvalidField(f"a subject has at most {SUBJECT_CHARS_MAX} characters", field=field)
    if _CONTROL.search(text):
        raise InvalidField("a subject is one line without control characters", field=field)
    known = ", ".join("{{%s}}" % name for name in SUBJECT_VARIABLES)
    for name in _VARIABLE.findall(text):
        if name not in SUBJECT_VARIABLES:
            raise InvalidField(f"unknown variable {{{{{name}}}}}; known are {known}", field=field)
    rest = _VARIABLE.sub("", text)
    if "{{" in rest or "}}" in rest:
        raise InvalidField(f"unpaired braces; a variable is one of {known}", field=field)


@lru_cache(maxsize=1024)
def language_for(locale: str, channel_locale: str) -> str:
    """Return the language to write in: the recipient's, else the channel's, else English."""
    for wanted in (locale, channel_locale):
        tag = wanted.strip().lower().replace("_", "-")
        for candidate in (tag, tag.partition("-")[0]):
            if candidate in LANGUAGES:
                return candidate
    return FALLBACK_LANGUAGE


def variables(letter: Letter, unsubscribe_url: str = "") -> dict[str, str]:
    """Return what can be inserted, as it came; empty for what is not known.

    `link` is the parcel's tracking page and only there for a notification.
    """
    event = letter.event
    order, shipment = event.order, event.shipment
    items = order.items if order is not None else ()
    is_review = letter.family in (Family.SERVICE_REVIEW, Family.PRODUCT_REVIEW)
    link = shipment.tracking_url if shipment is not None and not is_review else ""
    return {
        "order": order.reference.strip(" ") if order is not None else "",
        "first_name": event.contact.first_name.strip(" "),
        "shop": letter.channel.display_name.strip(" ") or letter.channel.id,
        "products": ", ".join([item.name for item in items[:PRODUCTS_MAX] if item.name]),
        "link": link if is_web_address(link) else "",
        "unsubscribe": unsubscribe_url,
    }


def subject_of(letter: Letter, language: str, values: Mapping[str, str]) -> str:
    """Return the subject: the action's own, else the default of the family.

    Raises:
        RenderingFailed: it names a variable that does not exist.
    """
    text = letter.subject
    if not text:
        default = _copy_of(LANGUAGES[language], letter.family)
        text = default.reminder_subject if letter.is_follow_up else default.subject
    return _fill(_parse(text), values)


@lru_cache(maxsize=1024)
def body_of(family: int, language: str, known: frozenset[str]) -> Body:
    """Return the default body of a family for a message that has values for `known`."""
    texts = LANGUAGES[language]
    lines = [texts.greeting if "first_name" in known else texts.greeting_unnamed]
    lines += [_without_unknown(text, known) for text in _copy_of(texts, family).paragraphs]
    text, markup = list(lines), [f"<p>{html.escape(line)}</p>" for line in lines]
    if "link" in known:
        text.append(f"{texts.tracking}:\n{{{{link}}}}")
        markup.append(f'<p><a href="{{{{link}}}}">{html.escape(texts.tracking)}</a></p>')
    text.append(f"{texts.closing}\n{{{{shop}}}}")
    markup.append(f"<p>{html.escape(texts.closing)}<br>{{{{shop}}}}</p>")
    if "unsubscribe" in known:
        text.append(f"{texts.unsubscribe}:\n{{{{unsubscribe}}}}")
        label = html.escape(texts.unsubscribe)
        markup.append(f'<p><small><a href="{{{{unsubscribe}}}}">{label}</a></small></p>')
    page = "\n".join(markup)
    page = f'<!DOCTYPE html>\n<html lang="{language}">\n<body>\n{page}\n</body>\n</html>\n'
    return Body(text=_parse("\n\n".join(text) + "\n"), html=_parse(page))


def is_web_address(text: str) -> bool:
    """Return whether `text` may stand in a link and in a header: http(s), plain ASCII, bounded."""
    return len(text) <= URL_CHARS_MAX and _WEB_ADDRESS.fullmatch(text) is not None


def _copy_of(texts: Language, family: int) -> Copy:
    if family == Family.SERVICE_REVIEW:
        return texts.service
    return texts.product if family == Family.PRODUCT_REVIEW else texts.notification


def _without_unknown(paragraph: str, known: frozenset[str]) -> str:
    """Leave out variables without a value, with the space, or colon and space, before them."""
    for name in _VARIABLE.findall(paragraph):
        if name not in known and name != "shop":
            paragraph = re.sub(r"( ?: | )\{\{%s\}\}" % name, "", paragraph)
            paragraph = paragraph if paragraph[-1] in ".?!" else paragraph + "."
    return paragraph


@lru_cache(maxsize=4096)
def _parse(text: str) -> tuple[str, ...]:
    """Return literal, variable, literal, ...: a split by a pattern with one group is just that."""
    return tuple(_VARIABLE.split(text))


def _fill(pieces: tuple[str, ...], values: Mapping[str, str]) -> str:
    filled = list(pieces)
    for index in range(1, len(pieces), 2):
        if pieces[index] not in SUBJECT_VARIABLES:
            raise RenderingFailed("the subject names a variable that does not exist")
        filled[index] = values[pieces[index]]
        if not filled[index]:
            # "your order {{order}}?" must not become "your order ?".
            filled[index - 1] = filled[index - 1].rstrip(" ")
    return "".join(filled)
