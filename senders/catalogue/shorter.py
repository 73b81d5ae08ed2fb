"""The words of the shorter request for a service review, in each language.

Decides: what it says. Like all review texts it asks for any opinion, never for a good one (g8).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from senders.languages import Copy

SHORTER: Final[Mapping[str, Copy]] = {
    "en": Copy(
        "Your order at {{shop}}: what do you say?",
        "A reminder: what do you say about your order at {{shop}}?",
        ("How did we do with your order {{order}}?",),
        reply="A word in reply is enough, whatever it is.",
        by_link="A minute is enough, whatever you think.",
    ),
    "de": Copy(
        "Ihre Bestellung bei {{shop}}: Was sagen Sie?",
        "Zur Erinnerung: Was sagen Sie zu Ihrer Bestellung bei {{shop}}?",
        ("wie war Ihre Bestellung {{order}}?",),
        reply="Ein Wort als Antwort genügt, wie auch immer es ausfällt.",
        by_link="Eine Minute genügt, was immer Sie denken.",
    ),
    "es": Copy(
        "Tu pedido en {{shop}}: ¿qué nos dices?",
        "Recordatorio: ¿qué nos dices de tu pedido en {{shop}}?",
        ("¿Qué tal tu pedido {{order}}?",),
        reply="Basta con una palabra como respuesta, sea cual sea tu opinión.",
        by_link="Basta con un minuto, sea cual sea tu opinión.",
    ),
    "fr": Copy(
        "Votre commande chez {{shop}} : qu'en dites-vous ?",
        "Rappel : que dites-vous de votre commande chez {{shop}} ?",
        ("Comment s'est passée votre commande {{order}} ?",),
        reply="Un mot en réponse suffit, quel que soit votre avis.",
        by_link="Une minute suffit, quel que soit votre avis.",
    ),
    "pl": Copy(
        "Zamówienie w sklepie {{shop}}: jak poszło?",
        "Przypomnienie: jak poszło z zamówieniem w sklepie {{shop}}?",
        ("jak oceniasz zamówienie {{order}}?",),
        reply="Wystarczy słowo odpowiedzi, jakiekolwiek ono będzie.",
        by_link="Wystarczy minuta, jakakolwiek jest Twoja opinia.",
    ),
    "pt": Copy(
        "A sua encomenda em {{shop}}: o que nos diz?",
        "Lembrete: o que nos diz da sua encomenda em {{shop}}?",
        ("Como correu a sua encomenda {{order}}?",),
        reply="Basta uma palavra em resposta, seja qual for a sua opinião.",
        by_link="Basta um minuto, seja qual for a sua opinião.",
    ),
}
