"""The words of the two mails about a cart that was left behind, in each language (D5, D6).

Decides: what they say. What is in the cart stands below, with the way back to it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from senders.languages import Copy

FIRST: Final[Mapping[str, Copy]] = {
    "en": Copy(
        "You left something in your cart",
        "A reminder: you left something in your cart",
        (
            "What you chose at {{shop}} is still in your cart.",
            "Whenever you are ready, pick up where you left off. If anything was unclear, simply reply "
            "to this message.",
        ),
        preheader="Your cart at {{shop}} is still there.",
    ),
    "de": Copy(
        "In Ihrem Warenkorb liegt noch etwas",
        "Zur Erinnerung: In Ihrem Warenkorb liegt noch etwas",
        (
            "was Sie bei {{shop}} ausgesucht haben, liegt noch in Ihrem Warenkorb.",
            "Machen Sie weiter, wann immer Sie möchten. Wenn etwas unklar war, antworten Sie einfach "
            "auf diese Nachricht.",
        ),
        preheader="Ihr Warenkorb bei {{shop}} ist noch da.",
    ),
    "es": Copy(
        "Te has dejado algo en el carrito",
        "Recordatorio: te has dejado algo en el carrito",
        (
            "Lo que elegiste en {{shop}} sigue en el carrito.",
            "Cuando quieras, continúa donde lo dejaste. Si algo no quedó claro, responde a este "
            "mensaje.",
        ),
        preheader="Tu carrito en {{shop}} sigue ahí.",
    ),
    "fr": Copy(
        "Votre panier vous attend",
        "Rappel : votre panier vous attend",
        (
            "Ce que vous avez choisi chez {{shop}} est toujours dans votre panier.",
            "Reprenez quand vous le souhaitez. Si quelque chose n'était pas clair, il suffit de "
            "répondre à ce message.",
        ),
        preheader="Votre panier chez {{shop}} est toujours là.",
    ),
    "pl": Copy(
        "W Twoim koszyku coś zostało",
        "Przypomnienie: w Twoim koszyku coś zostało",
        (
            "to, co udało Ci się wybrać w sklepie {{shop}}, nadal jest w koszyku.",
            "Możesz wrócić do zakupów, kiedy zechcesz. Jeśli coś było niejasne, wystarczy "
            "odpowiedzieć na tę wiadomość.",
        ),
        preheader="Twój koszyk w sklepie {{shop}} wciąż czeka.",
    ),
    "pt": Copy(
        "Deixou algo no seu carrinho",
        "Lembrete: deixou algo no seu carrinho",
        (
            "O que escolheu em {{shop}} continua no seu carrinho.",
            "Quando quiser, continue onde ficou. Se algo não ficou claro, basta responder a esta "
            "mensagem.",
        ),
        preheader="O seu carrinho em {{shop}} continua lá.",
    ),
}
"""The only one, or the first of two."""

_LAST_SUBJECTS: Final = {
    "en": "Your cart at {{shop}} is still waiting for you",
    "de": "Ihr Warenkorb bei {{shop}} wartet noch",
    "es": "Tu carrito en {{shop}} sigue esperando",
    "fr": "Votre panier chez {{shop}} est encore là",
    "pl": "Twój koszyk w sklepie {{shop}} wciąż czeka",
    "pt": "O seu carrinho em {{shop}} ainda está à espera",
}
"""It is a second mail by itself, so it has one subject."""


def _last(language: str, preheader: str, *paragraphs: str) -> Copy:
    subject = _LAST_SUBJECTS[language]
    return Copy(subject, subject, paragraphs, preheader=preheader)


LAST: Final[Mapping[str, Copy]] = {
    "en": _last(
        "en",
        "Is there a question we can answer? This is our last message about it.",
        "A little while ago you filled a cart at {{shop}} but did not check out.",
        "If you have a question, simply reply to this message and we will help. If you have changed "
        "your mind, there is nothing to do: this is our last message about it.",
    ),
    "de": _last(
        "de",
        "Ist noch eine Frage offen? Dies ist unsere letzte Nachricht dazu.",
        "vor Kurzem haben Sie bei {{shop}} einen Warenkorb gefüllt, aber nicht bestellt.",
        "Wenn Sie eine Frage haben, antworten Sie einfach auf diese Nachricht, wir helfen gern. Wenn "
        "Sie es sich anders überlegt haben, müssen Sie nichts tun: Dies ist unsere letzte Nachricht "
        "dazu.",
    ),
    "es": _last(
        "es",
        "¿Te ha quedado alguna duda? Este es nuestro último mensaje al respecto.",
        "Hace poco llenaste un carrito en {{shop}}, pero no terminaste la compra.",
        "Si tienes alguna duda, responde a este mensaje y te ayudaremos. Si has cambiado de idea, no "
        "tienes que hacer nada: este es nuestro último mensaje al respecto.",
    ),
    "fr": _last(
        "fr",
        "Une question ? C'est notre dernier message à ce sujet.",
        "Il y a peu, vous avez rempli un panier chez {{shop}} sans passer commande.",
        "Si vous avez une question, répondez à ce message et nous vous aiderons. Si vous avez changé "
        "d'avis, vous n'avez rien à faire : c'est notre dernier message à ce sujet.",
    ),
    "pl": _last(
        "pl",
        "Masz pytanie? To nasza ostatnia wiadomość w tej sprawie.",
        "w sklepie {{shop}} wciąż czeka koszyk z Twoich niedokończonych zakupów.",
        "Jeśli masz pytanie, odpowiedz na tę wiadomość, chętnie pomożemy. Jeśli to już nieaktualne, "
        "nie musisz nic robić: to nasza ostatnia wiadomość w tej sprawie.",
    ),
    "pt": _last(
        "pt",
        "Ficou alguma dúvida? Esta é a nossa última mensagem sobre o assunto.",
        "Há pouco tempo encheu um carrinho em {{shop}}, mas não concluiu a compra.",
        "Se tiver alguma dúvida, responda a esta mensagem e teremos gosto em ajudar. Se mudou de "
        "ideias, não precisa de fazer nada: esta é a nossa última mensagem sobre o assunto.",
    ),
}
"""The second of two."""
