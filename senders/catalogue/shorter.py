"""The words of the shorter request for a service review, in each language.

Decides: what it says. Like all review texts it asks for any opinion, never for a good one (g8).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from senders.languages import Copy

SHORTER: Final[Mapping[str, Copy]] = {
    "en": Copy(
        "Your order at {{shop}}: how did we do?",
        "A reminder: how did we do at {{shop}}?",
        ("How did we do with your order {{order}}?",),
        reply="A word in reply is enough, whatever you think.",
        by_link="A minute is enough, whatever you think.",
        preheader="One short question, whatever your answer is.",
    ),
    "de": Copy(
        "Ihre Bestellung bei {{shop}}: Was sagen Sie?",
        "Zur Erinnerung: Wie war es bei {{shop}}?",
        ("wie war Ihre Bestellung {{order}}?",),
        reply="Ein Wort als Antwort genügt, wie auch immer es ausfällt.",
        by_link="Eine Minute genügt, was immer Sie denken.",
        preheader="Eine kurze Frage, wie auch immer Ihre Antwort ausfällt.",
    ),
    "es": Copy(
        "Tu pedido en {{shop}}: ¿qué nos dices?",
        "Recordatorio: ¿qué nos dices de tu pedido en {{shop}}?",
        ("¿Qué tal tu pedido {{order}}?",),
        reply="Basta con una palabra como respuesta, sea cual sea tu opinión.",
        by_link="Basta con un minuto, sea cual sea tu opinión.",
        preheader="Una pregunta breve, sea cual sea tu respuesta.",
    ),
    "fr": Copy(
        "Votre commande chez {{shop}} : qu'en dites-vous ?",
        "Rappel : votre commande chez {{shop}}, votre avis ?",
        ("Comment s'est passée votre commande {{order}} ?",),
        reply="Un mot en réponse suffit, quel que soit votre avis.",
        by_link="Une minute suffit, quel que soit votre avis.",
        preheader="Une courte question, quelle que soit votre réponse.",
    ),
    "pl": Copy(
        "Zamówienie w sklepie {{shop}}: jak poszło?",
        "Przypomnienie: jak poszło w sklepie {{shop}}?",
        ("jak oceniasz zamówienie {{order}}?",),
        reply="Wystarczy słowo odpowiedzi, jakiekolwiek ono będzie.",
        by_link="Wystarczy minuta, jakakolwiek jest Twoja opinia.",
        preheader="Jedno krótkie pytanie, jakakolwiek będzie odpowiedź.",
    ),
    "pt": Copy(
        "A sua encomenda em {{shop}}: o que nos diz?",
        "Lembrete: o que nos diz da sua encomenda em {{shop}}?",
        ("Como correu a sua encomenda {{order}}?",),
        reply="Basta uma palavra em resposta, seja qual for a sua opinião.",
        by_link="Basta um minuto, seja qual for a sua opinião.",
        preheader="Uma pergunta breve, seja qual for a sua resposta.",
    ),
}
