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
        ("how did we do with your order {{order}}? A word in reply is enough, whatever it is.",),
    ),
    "de": Copy(
        "Ihre Bestellung bei {{shop}}: Was sagen Sie?",
        "Zur Erinnerung: Was sagen Sie zu Ihrer Bestellung bei {{shop}}?",
        (
            "wie war Ihre Bestellung {{order}}? Ein Wort als Antwort genügt, wie auch immer es "
            "ausfällt.",
        ),
    ),
    "es": Copy(
        "Tu pedido en {{shop}}: ¿qué nos dices?",
        "Recordatorio: ¿qué nos dices de tu pedido en {{shop}}?",
        (
            "¿qué tal tu pedido {{order}}? Basta con una palabra como respuesta, sea cual sea tu "
            "opinión.",
        ),
    ),
    "fr": Copy(
        "Votre commande chez {{shop}} : qu'en dites-vous ?",
        "Rappel : que dites-vous de votre commande chez {{shop}} ?",
        (
            "comment s'est passée votre commande {{order}} ? Un mot en réponse suffit, quel que soit "
            "votre avis.",
        ),
    ),
    "pl": Copy(
        "Zamówienie w sklepie {{shop}}: jak poszło?",
        "Przypomnienie: jak poszło z zamówieniem w sklepie {{shop}}?",
        (
            "jak oceniasz zamówienie {{order}}? Wystarczy słowo odpowiedzi, jakiekolwiek ono będzie.",
        ),
    ),
    "pt": Copy(
        "A sua encomenda em {{shop}}: o que nos diz?",
        "Lembrete: o que nos diz da sua encomenda em {{shop}}?",
        (
            "como correu a sua encomenda {{order}}? Basta uma palavra em resposta, seja qual for a "
            "sua opinião.",
        ),
    ),
}
