"""The words of the unsubscribe page, in the languages of the e-mails.

Decides: what the page says, and which language somebody reads.
Never: where a word goes (`control/public/page.py`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import msgspec

from senders.languages import LANGUAGES
from senders.templates import FALLBACK_LANGUAGE
from senders.typography import typeset_all

_RANGES_MAX = 16
_RANGE = re.compile(
    r"\s*([A-Za-z]{1,8})[A-Za-z0-9-]*\s*(?:;\s*q\s*=\s*([01](?:\.[0-9]{0,3})?)\s*)?"
)


class Words(msgspec.Struct, frozen=True):
    """All texts of a language. {by} is how they came, {kind} the messages meant, {shop} its name."""

    title: str
    question: str
    by: Mapping[int, str]
    review: str
    marketing: str
    other: str
    from_account: str
    from_shop: str
    everything: str
    button: str
    done: str
    on_the_way: str
    kept: str
    unknown: str
    away: str


_WRITTEN: Mapping[str, Words] = {
    "en": Words(
        title="Unsubscribe",
        question="What would you like to stop receiving {by}?",
        by={1: "by e-mail", 2: "by SMS", 3: "by WhatsApp"},
        review="Requests for a review",
        marketing="Offers and news",
        other="Messages of this kind",
        from_account="{kind}, from all shops of this sender",
        from_shop="{kind}, from {shop} only",
        everything="Everything: requests for a review, offers and news, from all shops of this sender",
        button="Unsubscribe",
        done="Done. You will no longer receive {by}:",
        on_the_way="A message that is already on its way may still arrive.",
        kept="Messages that belong to an order, such as delivery notices, are not affected.",
        unknown="This link is not valid. It may have been cut off: please open it again from the "
        "message.",
        away="That did not work just now. Please try again in a minute.",
    ),
    "de": Words(
        title="Abmelden",
        question="Was möchten Sie {by} nicht mehr erhalten?",
        by={1: "per E-Mail", 2: "per SMS", 3: "per WhatsApp"},
        review="Bitten um eine Bewertung",
        marketing="Angebote und Neuigkeiten",
        other="Nachrichten dieser Art",
        from_account="{kind}, von allen Shops dieses Absenders",
        from_shop="{kind}, nur von {shop}",
        everything="Alles: Bitten um eine Bewertung, Angebote und Neuigkeiten, von allen Shops "
        "dieses Absenders",
        button="Abmelden",
        done="Erledigt. Sie erhalten {by} nicht mehr:",
        on_the_way="Eine Nachricht, die schon unterwegs ist, kann noch ankommen.",
        kept="Nachrichten zu einer Bestellung, etwa zur Lieferung, sind davon nicht betroffen.",
        unknown="Dieser Link ist nicht gültig. Vielleicht wurde er abgeschnitten: Bitte öffnen Sie "
        "ihn noch einmal aus der Nachricht.",
        away="Das hat gerade nicht geklappt. Bitte versuchen Sie es in einer Minute noch einmal.",
    ),
    "es": Words(
        title="Darse de baja",
        question="¿Qué ya no quieres recibir {by}?",
        by={1: "por correo electrónico", 2: "por SMS", 3: "por WhatsApp"},
        review="Peticiones de opinión",
        marketing="Ofertas y novedades",
        other="Mensajes de este tipo",
        from_account="{kind}, de todas las tiendas de este remitente",
        from_shop="{kind}, solo de {shop}",
        everything="Todo: peticiones de opinión, ofertas y novedades, de todas las tiendas de este "
        "remitente",
        button="Darme de baja",
        done="Hecho. Ya no recibirás {by}:",
        on_the_way="Un mensaje que ya está en camino todavía puede llegar.",
        kept="Esto no afecta a los mensajes sobre un pedido, como los avisos de entrega.",
        unknown="Este enlace no es válido. Puede que esté cortado: ábrelo otra vez desde el mensaje.",
        away="No ha funcionado. Inténtalo de nuevo dentro de un minuto.",
    ),
    "fr": Words(
        title="Se désabonner",
        question="Que ne souhaitez-vous plus recevoir {by} ?",
        by={1: "par e-mail", 2: "par SMS", 3: "par WhatsApp"},
        review="Demandes d'avis",
        marketing="Offres et nouveautés",
        other="Messages de ce type",
        from_account="{kind}, de toutes les boutiques de cet expéditeur",
        from_shop="{kind}, uniquement de {shop}",
        everything="Tout : demandes d'avis, offres et nouveautés, de toutes les boutiques de cet "
        "expéditeur",
        button="Me désabonner",
        done="C'est fait. Vous ne recevrez plus {by} :",
        on_the_way="Un message déjà en route peut encore arriver.",
        kept="Les messages liés à une commande, comme les avis de livraison, ne sont pas concernés.",
        unknown="Ce lien n'est pas valide. Il est peut-être incomplet : ouvrez-le de nouveau depuis "
        "le message.",
        away="Cela n'a pas fonctionné. Veuillez réessayer dans une minute.",
    ),
    "pl": Words(
        title="Wypisz się",
        question="Czego nie chcesz już otrzymywać {by}?",
        by={1: "e-mailem", 2: "SMS-em", 3: "przez WhatsApp"},
        review="Prośby o opinię",
        marketing="Oferty i nowości",
        other="Wiadomości tego rodzaju",
        from_account="{kind}, ze wszystkich sklepów tego nadawcy",
        from_shop="{kind}, tylko ze sklepu {shop}",
        everything="Wszystko: prośby o opinię, oferty i nowości, ze wszystkich sklepów tego nadawcy",
        button="Wypisz mnie",
        done="Gotowe. Nie otrzymasz już {by}:",
        on_the_way="Wiadomość, która jest już w drodze, może jeszcze dotrzeć.",
        kept="Nie dotyczy to wiadomości o zamówieniu, na przykład o dostawie.",
        unknown="Ten link jest nieprawidłowy. Być może został ucięty: otwórz go jeszcze raz "
        "z wiadomości.",
        away="Nie udało się. Spróbuj ponownie za minutę.",
    ),
    "pt": Words(
        title="Cancelar a subscrição",
        question="O que já não deseja receber {by}?",
        by={1: "por e-mail", 2: "por SMS", 3: "por WhatsApp"},
        review="Pedidos de avaliação",
        marketing="Ofertas e novidades",
        other="Mensagens deste tipo",
        from_account="{kind}, de todas as lojas deste remetente",
        from_shop="{kind}, apenas de {shop}",
        everything="Tudo: pedidos de avaliação, ofertas e novidades, de todas as lojas deste "
        "remetente",
        button="Cancelar a subscrição",
        done="Feito. Já não receberá {by}:",
        on_the_way="Uma mensagem que já vai a caminho ainda pode chegar.",
        kept="As mensagens sobre uma encomenda, como avisos de entrega, não são afetadas.",
        unknown="Esta ligação não é válida. Pode ter sido cortada: abra-a de novo a partir da "
        "mensagem.",
        away="Não funcionou. Tente novamente dentro de um minuto.",
    ),
}

WORDS: Mapping[str, Words] = {
    language: typeset_all(words, language) for language, words in _WRITTEN.items()
}

assert WORDS.keys() == LANGUAGES.keys(), "the page speaks what the e-mails speak"


def known_language(*locales: str) -> str:
    """Return the language of the first locale that names one of ours, "" if none does."""
    for locale in locales:
        code = re.split("[-_]", locale.strip().lower())[0]
        if code in WORDS:
            return code
    return ""


def page_language(known: str, accepted: str) -> str:
    """Return the language of a page.

    Args:
        known: of the contact, "" if not known.
        accepted: the header Accept-Language.
    """
    if known in WORDS:
        return known
    best, best_weight = FALLBACK_LANGUAGE, 0.0
    for part in accepted.split(",", _RANGES_MAX)[:_RANGES_MAX]:
        match = _RANGE.fullmatch(part)
        if match is None:
            continue
        code, weight = match.group(1).lower(), float(match.group(2) or 1)
        if code in WORDS and weight > best_weight:
            best, best_weight = code, weight
    return best
