"""The words that all default e-mails share, in each language: greeting, closing, labels and foot.

Decides: what they say.
Never: what a message says between greeting and closing (`senders/catalogue/`), or where a word goes
(`senders/templates.py`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import msgspec

from senders.typography import typeset_all


class Copy(msgspec.Struct, frozen=True):
    """One message in one language."""

    subject: str
    reminder_subject: str
    """Of all steps but the first."""
    paragraphs: tuple[str, ...]
    preheader: str = ""
    """What mail programs show behind the subject, unless the action has its own."""
    reply: str = ""
    """Goes on in the last paragraph where no button leads to the answer."""
    by_link: str = ""
    """Goes on in the last paragraph where one does."""
    button: str = ""
    """On the button, if not what is usual for its link."""


class Labels(msgspec.Struct, frozen=True):
    """What stands before a value."""

    order: str
    amount: str
    total: str
    carrier: str
    tracking_number: str
    expected_date: str
    promised_date: str
    """To a carrier, who promised it."""
    method: str
    """What the carrier calls a service."""


class Reasons(msgspec.Struct, frozen=True):
    """Why somebody gets a message: the first line of the foot."""

    review: str
    marketing: str
    cart: str
    customer: str
    order: str
    carrier: str
    consent: str


class Language(msgspec.Struct, frozen=True):
    """All texts of a language that belong to no one message."""

    greeting: str
    greeting_unnamed: str
    closing: str
    tracking: str
    review: str
    cart: str
    visit: str
    unsubscribe: str
    objection: str
    """That such messages can be objected to, and at what cost (g2)."""
    objection_by_reply: str
    """How, where there is no link."""
    labels: Labels
    reasons: Reasons
    colon: str = ":"
    """Behind a label."""


_WRITTEN: Final[Mapping[str, Language]] = {
    "en": Language(
        greeting="Hello {{first_name}},",
        greeting_unnamed="Hello,",
        closing="Kind regards",
        tracking="Track your parcel",
        review="Write your review",
        cart="Back to your cart",
        visit="Visit the shop",
        unsubscribe="Unsubscribe",
        objection="You can object to such messages at any time and free of charge.",
        objection_by_reply="A short reply is enough.",
        labels=Labels(
            order="Order",
            amount="Amount",
            total="Total",
            carrier="Carrier",
            tracking_number="Tracking number",
            expected_date="Expected delivery",
            promised_date="Promised for",
            method="Service",
        ),
        reasons=Reasons(
            review="You are receiving this message because you ordered from {{shop}}.",
            marketing="You are receiving this message because you are a customer of {{shop}} or "
            "asked to hear from us.",
            cart="You are receiving this message because you filled a cart at {{shop}}.",
            customer="You are receiving this message because you have bought from {{shop}}.",
            order="This message is about your order at {{shop}}.",
            carrier="You are receiving this message because you are carrying this shipment for "
            "{{shop}}.",
            consent="You are receiving this message because this address was entered at {{shop}}.",
        ),
    ),
    "de": Language(
        greeting="Guten Tag {{first_name}},",
        greeting_unnamed="Guten Tag,",
        closing="Freundliche Grüße",
        tracking="Sendung verfolgen",
        review="Bewertung schreiben",
        cart="Zurück zum Warenkorb",
        visit="Zum Shop",
        unsubscribe="Abmelden",
        objection="Sie können der Verwendung Ihrer Adresse für solche Nachrichten jederzeit "
        "widersprechen, ohne dass dafür andere als die Übermittlungskosten nach den Basistarifen "
        "entstehen.",
        objection_by_reply="Eine kurze Antwort genügt.",
        labels=Labels(
            order="Bestellung",
            amount="Betrag",
            total="Summe",
            carrier="Versand durch",
            tracking_number="Sendungsnummer",
            expected_date="Voraussichtliche Zustellung",
            promised_date="Zugesagt für",
            method="Versandart",
        ),
        reasons=Reasons(
            review="Sie erhalten diese Nachricht, weil Sie bei {{shop}} bestellt haben.",
            marketing="Sie erhalten diese Nachricht, weil Sie bei {{shop}} eingekauft haben oder von "
            "uns hören wollten.",
            cart="Sie erhalten diese Nachricht, weil Sie bei {{shop}} einen Warenkorb gefüllt haben.",
            customer="Sie erhalten diese Nachricht, weil Sie bei {{shop}} eingekauft haben.",
            order="Diese Nachricht gehört zu Ihrer Bestellung bei {{shop}}.",
            carrier="Sie erhalten diese Nachricht, weil Sie diese Sendung für {{shop}} befördern.",
            consent="Sie erhalten diese Nachricht, weil diese Adresse bei {{shop}} eingetragen wurde.",
        ),
    ),
    "es": Language(
        greeting="Hola, {{first_name}}:",
        greeting_unnamed="Hola:",
        closing="Un saludo",
        tracking="Seguir el envío",
        review="Escribir tu opinión",
        cart="Volver al carrito",
        visit="Ir a la tienda",
        unsubscribe="Darse de baja",
        objection="Puedes oponerte a recibir estos mensajes en cualquier momento y sin coste.",
        objection_by_reply="Basta con una breve respuesta.",
        labels=Labels(
            order="Pedido",
            amount="Importe",
            total="Total",
            carrier="Transportista",
            tracking_number="Número de seguimiento",
            expected_date="Entrega prevista",
            promised_date="Entrega prometida",
            method="Servicio",
        ),
        reasons=Reasons(
            review="Recibes este mensaje porque hiciste un pedido en {{shop}}.",
            marketing="Recibes este mensaje porque eres cliente de {{shop}} o pediste recibir "
            "noticias nuestras.",
            cart="Recibes este mensaje porque llenaste un carrito en {{shop}}.",
            customer="Recibes este mensaje porque has comprado en {{shop}}.",
            order="Este mensaje está relacionado con tu pedido en {{shop}}.",
            carrier="Reciben este mensaje porque transportan este envío para {{shop}}.",
            consent="Recibes este mensaje porque alguien indicó esta dirección en {{shop}}.",
        ),
    ),
    "fr": Language(
        greeting="Bonjour {{first_name}},",
        greeting_unnamed="Bonjour,",
        closing="Cordialement",
        tracking="Suivre votre colis",
        review="Donner votre avis",
        cart="Retrouver votre panier",
        visit="Visiter la boutique",
        unsubscribe="Se désabonner",
        objection="Vous pouvez vous opposer à ces messages à tout moment et sans frais.",
        objection_by_reply="Une courte réponse suffit.",
        labels=Labels(
            order="Commande",
            amount="Montant",
            total="Total",
            carrier="Transporteur",
            tracking_number="Numéro de suivi",
            expected_date="Livraison prévue",
            promised_date="Livraison promise le",
            method="Service",
        ),
        reasons=Reasons(
            review="Vous recevez ce message parce que vous avez commandé chez {{shop}}.",
            marketing="Vous recevez ce message parce que vous avez acheté chez {{shop}} ou souhaité "
            "avoir de nos nouvelles.",
            cart="Vous recevez ce message parce que vous avez rempli un panier chez {{shop}}.",
            customer="Vous recevez ce message parce que vous avez acheté chez {{shop}}.",
            order="Ce message concerne votre commande chez {{shop}}.",
            carrier="Vous recevez ce message parce que vous transportez cet envoi pour {{shop}}.",
            consent="Vous recevez ce message parce que cette adresse a été saisie chez {{shop}}.",
        ),
        colon=" :",
    ),
    "pl": Language(
        greeting="Dzień dobry {{first_name}},",
        greeting_unnamed="Dzień dobry,",
        closing="Pozdrawiamy",
        tracking="Śledź przesyłkę",
        review="Napisz opinię",
        cart="Wróć do koszyka",
        visit="Przejdź do sklepu",
        unsubscribe="Wypisz się",
        objection="Z takich wiadomości możesz zrezygnować w każdej chwili i bezpłatnie.",
        objection_by_reply="Wystarczy krótka odpowiedź.",
        labels=Labels(
            order="Zamówienie",
            amount="Kwota",
            total="Razem",
            carrier="Przewoźnik",
            tracking_number="Numer przesyłki",
            expected_date="Przewidywana dostawa",
            promised_date="Obiecany termin",
            method="Usługa",
        ),
        reasons=Reasons(
            review="Otrzymujesz tę wiadomość po zakupach w sklepie {{shop}}.",
            marketing="Otrzymujesz tę wiadomość, bo kupujesz w sklepie {{shop}} lub chcesz "
            "dostawać od nas wiadomości.",
            cart="Otrzymujesz tę wiadomość, bo w sklepie {{shop}} czeka Twój koszyk.",
            customer="Otrzymujesz tę wiadomość po zakupach w sklepie {{shop}}.",
            order="Ta wiadomość dotyczy Twojego zamówienia w sklepie {{shop}}.",
            carrier="Otrzymują Państwo tę wiadomość, ponieważ przewożą Państwo tę przesyłkę dla "
            "sklepu {{shop}}.",
            consent="Otrzymujesz tę wiadomość, bo ten adres podano w sklepie {{shop}}.",
        ),
    ),
    "pt": Language(
        greeting="Olá {{first_name}},",
        greeting_unnamed="Olá,",
        closing="Com os melhores cumprimentos",
        tracking="Seguir a encomenda",
        review="Escrever a sua avaliação",
        cart="Voltar ao carrinho",
        visit="Visitar a loja",
        unsubscribe="Cancelar a subscrição",
        objection="Pode opor-se a estas mensagens a qualquer momento e sem custos.",
        objection_by_reply="Basta uma breve resposta.",
        labels=Labels(
            order="Encomenda",
            amount="Montante",
            total="Total",
            carrier="Transportadora",
            tracking_number="Número de seguimento",
            expected_date="Entrega prevista",
            promised_date="Entrega prometida",
            method="Serviço",
        ),
        reasons=Reasons(
            review="Recebe esta mensagem porque fez uma encomenda em {{shop}}.",
            marketing="Recebe esta mensagem porque é cliente de {{shop}} ou pediu para receber "
            "notícias nossas.",
            cart="Recebe esta mensagem porque deixou artigos num carrinho em {{shop}}.",
            customer="Recebe esta mensagem porque fez compras em {{shop}}.",
            order="Esta mensagem diz respeito à sua encomenda em {{shop}}.",
            carrier="Recebem esta mensagem porque transportam este envio para {{shop}}.",
            consent="Recebe esta mensagem porque este endereço foi indicado em {{shop}}.",
        ),
    ),
}

LANGUAGES: Final[Mapping[str, Language]] = {
    language: typeset_all(texts, language) for language, texts in _WRITTEN.items()
}
"""By language."""
