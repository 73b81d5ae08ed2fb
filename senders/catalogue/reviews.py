"""The words of the requests for reviews, in each language.

Decides: what they say. They ask for any opinion, never for a good one, and promise nothing for it (g8).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from senders.languages import Copy

SERVICE: Final[Mapping[str, Copy]] = {
    "en": Copy(
        "How was your order {{order}} at {{shop}}?",
        "A reminder: how was your order {{order}}?",
        (
            "Thank you for your order {{order}} at {{shop}}.",
            "Did everything go as you expected? Whatever your opinion is, we would like to hear it.",
        ),
        preheader="Whatever your opinion is, we would like to hear it.",
        reply="Simply reply to this message.",
    ),
    "de": Copy(
        "Wie war Ihre Bestellung {{order}} bei {{shop}}?",
        "Zur Erinnerung: Wie war Ihre Bestellung {{order}}?",
        (
            "vielen Dank für Ihre Bestellung {{order}} bei {{shop}}.",
            "Lief alles wie erwartet? Wie auch immer Ihre Meinung ausfällt, wir möchten sie gern "
            "hören.",
        ),
        preheader="Wie auch immer Ihre Meinung ausfällt, wir möchten sie gern hören.",
        reply="Antworten Sie einfach auf diese Nachricht.",
    ),
    "es": Copy(
        "¿Qué tal tu pedido {{order}} en {{shop}}?",
        "Recordatorio: ¿qué tal tu pedido {{order}}?",
        (
            "Gracias por tu pedido {{order}} en {{shop}}.",
            "¿Ha ido todo como esperabas? Sea cual sea tu opinión, nos gustaría conocerla.",
        ),
        preheader="Sea cual sea tu opinión, nos gustaría conocerla.",
        reply="Solo tienes que responder a este mensaje.",
    ),
    "fr": Copy(
        "Votre commande {{order}} chez {{shop}} : votre avis ?",
        "Rappel : votre avis sur votre commande {{order}} ?",
        (
            "Merci pour votre commande {{order}} chez {{shop}}.",
            "Tout s'est-il passé comme prévu ? Quel que soit votre avis, nous aimerions le "
            "connaître.",
        ),
        preheader="Quel que soit votre avis, nous aimerions le connaître.",
        reply="Il suffit de répondre à ce message.",
    ),
    "pl": Copy(
        "Jak oceniasz zamówienie {{order}} w sklepie {{shop}}?",
        "Przypomnienie: jak oceniasz zamówienie {{order}}?",
        (
            "dziękujemy za zamówienie {{order}} w sklepie {{shop}}.",
            "Czy wszystko przebiegło zgodnie z oczekiwaniami? Chętnie poznamy Twoją opinię, "
            "jakakolwiek jest.",
        ),
        preheader="Chętnie poznamy Twoją opinię, jakakolwiek jest.",
        reply="Wystarczy odpowiedzieć na tę wiadomość.",
    ),
    "pt": Copy(
        "Como correu a sua encomenda {{order}} em {{shop}}?",
        "Lembrete: como correu a sua encomenda {{order}}?",
        (
            "Agradecemos a sua encomenda {{order}} em {{shop}}.",
            "Correu tudo como esperava? Seja qual for a sua opinião, gostaríamos de a conhecer.",
        ),
        preheader="Seja qual for a sua opinião, gostaríamos de a conhecer.",
        reply="Basta responder a esta mensagem.",
    ),
}
"""About the order."""

PRODUCT: Final[Mapping[str, Copy]] = {
    "en": Copy(
        "What do you think of your purchase at {{shop}}?",
        "A reminder: what do you think of your purchase?",
        (
            "It has been a little while since your purchase at {{shop}}.",
            "What do you like, and what do you not like? Whatever your opinion is, it helps others to "
            "choose.",
        ),
        preheader="What do you like, and what do you not like?",
        reply="Simply reply to this message.",
    ),
    "de": Copy(
        "Was halten Sie von Ihrem Einkauf bei {{shop}}?",
        "Zur Erinnerung: Was halten Sie von Ihrem Einkauf?",
        (
            "Ihr Einkauf bei {{shop}} liegt nun ein wenig zurück.",
            "Was gefällt Ihnen, was nicht? Wie auch immer Ihre Meinung ausfällt, sie hilft anderen "
            "bei der Wahl.",
        ),
        preheader="Was gefällt Ihnen, was nicht?",
        reply="Antworten Sie einfach auf diese Nachricht.",
    ),
    "es": Copy(
        "¿Qué te parece tu compra en {{shop}}?",
        "Recordatorio: ¿qué te parece tu compra?",
        (
            "Ha pasado un tiempo desde tu compra en {{shop}}.",
            "¿Qué te gusta y qué no? Sea cual sea tu opinión, ayuda a otras personas a elegir.",
        ),
        preheader="¿Qué te gusta y qué no?",
        reply="Solo tienes que responder a este mensaje.",
    ),
    "fr": Copy(
        "Que pensez-vous de votre achat chez {{shop}} ?",
        "Rappel : que pensez-vous de votre achat ?",
        (
            "Quelque temps s'est écoulé depuis votre achat chez {{shop}}.",
            "Qu'est-ce qui vous plaît, qu'est-ce qui vous déplaît ? Quel que soit votre avis, il "
            "aide d'autres personnes à choisir.",
        ),
        preheader="Qu'est-ce qui vous plaît, qu'est-ce qui vous déplaît ?",
        reply="Il suffit de répondre à ce message.",
    ),
    "pl": Copy(
        "Co sądzisz o swoich zakupach w sklepie {{shop}}?",
        "Przypomnienie: co sądzisz o swoich zakupach?",
        (
            "od Twoich zakupów w sklepie {{shop}} minęło już trochę czasu.",
            "Co Ci się podoba, a co nie? Twoja opinia, jakakolwiek jest, pomoże innym w wyborze.",
        ),
        preheader="Co Ci się podoba, a co nie?",
        reply="Wystarczy odpowiedzieć na tę wiadomość.",
    ),
    "pt": Copy(
        "O que acha da sua compra em {{shop}}?",
        "Lembrete: o que acha da sua compra?",
        (
            "Já passou algum tempo desde a sua compra em {{shop}}.",
            "De que gosta e de que não gosta? Seja qual for a sua opinião, ajuda outras pessoas a "
            "escolher.",
        ),
        preheader="De que gosta e de que não gosta?",
        reply="Basta responder a esta mensagem.",
    ),
}
"""About what was bought, which is named below."""

COMBINED: Final[Mapping[str, Copy]] = {
    "en": Copy(
        SERVICE["en"].subject,
        SERVICE["en"].reminder_subject,
        (
            "Thank you for your order {{order}} at {{shop}}.",
            "How did the order go, and what do you think of what you bought? Whatever your opinion "
            "is, it helps us, and it helps others to choose.",
        ),
        preheader=SERVICE["en"].preheader,
        reply="Simply reply to this message.",
    ),
    "de": Copy(
        SERVICE["de"].subject,
        SERVICE["de"].reminder_subject,
        (
            "vielen Dank für Ihre Bestellung {{order}} bei {{shop}}.",
            "Wie lief die Bestellung, und was halten Sie von Ihrem Einkauf? Wie auch immer Ihre "
            "Meinung ausfällt, sie hilft uns weiter und erleichtert anderen die Wahl.",
        ),
        preheader=SERVICE["de"].preheader,
        reply="Antworten Sie einfach auf diese Nachricht.",
    ),
    "es": Copy(
        SERVICE["es"].subject,
        SERVICE["es"].reminder_subject,
        (
            "Gracias por tu pedido {{order}} en {{shop}}.",
            "¿Qué tal fue el pedido y qué te parece lo que compraste? Sea cual sea tu opinión, nos "
            "resulta útil y ayuda a otras personas a elegir.",
        ),
        preheader=SERVICE["es"].preheader,
        reply="Solo tienes que responder a este mensaje.",
    ),
    "fr": Copy(
        SERVICE["fr"].subject,
        SERVICE["fr"].reminder_subject,
        (
            "Merci pour votre commande {{order}} chez {{shop}}.",
            "Comment s'est passée la commande, et que pensez-vous de votre achat ? Quel que soit "
            "votre avis, il nous est utile et aide d'autres personnes à choisir.",
        ),
        preheader=SERVICE["fr"].preheader,
        reply="Il suffit de répondre à ce message.",
    ),
    "pl": Copy(
        SERVICE["pl"].subject,
        SERVICE["pl"].reminder_subject,
        (
            "dziękujemy za zamówienie {{order}} w sklepie {{shop}}.",
            "Jak przebiegło zamówienie i co sądzisz o swoich zakupach? Twoja opinia, jakakolwiek "
            "jest, przyda się nam i pomoże innym w wyborze.",
        ),
        preheader=SERVICE["pl"].preheader,
        reply="Wystarczy odpowiedzieć na tę wiadomość.",
    ),
    "pt": Copy(
        SERVICE["pt"].subject,
        SERVICE["pt"].reminder_subject,
        (
            "Agradecemos a sua encomenda {{order}} em {{shop}}.",
            "Como correu a encomenda e o que acha do que comprou? Seja qual for a sua opinião, é "
            "útil para nós e ajuda outras pessoas a escolher.",
        ),
        preheader=SERVICE["pt"].preheader,
        reply="Basta responder a esta mensagem.",
    ),
}
"""About both in one."""
