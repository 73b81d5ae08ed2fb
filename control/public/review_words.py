"""The words of the page that leads on from a review link, in the languages of the e-mails.

Decides: what the page says. It is seen for a moment, or longer where a browser does not go on by itself.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from senders.languages import LANGUAGES
from senders.typography import typeset_all


class ReviewWords(msgspec.Struct, frozen=True):
    """All texts of a language."""

    title: str
    wait: str
    button: str
    over: str


_WRITTEN: Mapping[str, ReviewWords] = {
    "en": ReviewWords(
        title="Your review",
        wait="One moment, please. If nothing happens:",
        button="Go on to the review",
        over="This link is not valid, or not any more. It may have been cut off: please open it again "
        "from the message.",
    ),
    "de": ReviewWords(
        title="Ihre Bewertung",
        wait="Einen Moment, bitte. Falls nichts geschieht:",
        button="Weiter zur Bewertung",
        over="Dieser Link ist nicht oder nicht mehr gültig. Vielleicht wurde er abgeschnitten: Bitte "
        "öffnen Sie ihn noch einmal aus der Nachricht.",
    ),
    "es": ReviewWords(
        title="Tu opinión",
        wait="Un momento, por favor. Si no pasa nada:",
        button="Continuar a la opinión",
        over="Este enlace no es válido o ya no lo es. Puede que esté cortado: ábrelo otra vez desde el "
        "mensaje.",
    ),
    "fr": ReviewWords(
        title="Votre avis",
        wait="Un instant, s'il vous plaît. Si rien ne se passe :",
        button="Continuer vers l'avis",
        over="Ce lien n'est pas valide, ou ne l'est plus. Il est peut-être incomplet : ouvrez-le de "
        "nouveau depuis le message.",
    ),
    "pl": ReviewWords(
        title="Twoja opinia",
        wait="Chwileczkę. Jeśli nic się nie dzieje:",
        button="Przejdź do opinii",
        over="Ten link jest nieprawidłowy lub już nie działa. Być może został ucięty: otwórz go jeszcze "
        "raz z wiadomości.",
    ),
    "pt": ReviewWords(
        title="A sua avaliação",
        wait="Um momento, por favor. Se nada acontecer:",
        button="Continuar para a avaliação",
        over="Esta ligação não é válida ou já não o é. Pode ter sido cortada: abra-a de novo a partir "
        "da mensagem.",
    ),
}

REVIEW_WORDS: Mapping[str, ReviewWords] = {
    language: typeset_all(words, language) for language, words in _WRITTEN.items()
}

assert REVIEW_WORDS.keys() == LANGUAGES.keys(), "the page speaks what the e-mails speak"
