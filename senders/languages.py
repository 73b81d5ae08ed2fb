"""The words of the default e-mails, in each language.

Decides: what they say. Review texts ask for any opinion, never for a good one (g8).
Never: where a word goes (`senders/templates.py`).
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec


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
    review: str
    unsubscribe: str
    service: Copy
    product: Copy
    notification: Copy


LANGUAGES: Mapping[str, Language] = {
    "en": Language(
        greeting="Hello {{first_name}},",
        greeting_unnamed="Hello,",
        closing="Kind regards",
        tracking="Track your parcel",
        review="Write your review",
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
        review="Bewertung schreiben",
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
        review="Escribir tu opinión",
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
        review="Donner votre avis",
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
        review="Napisz opinię",
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
        review="Escrever a sua avaliação",
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
