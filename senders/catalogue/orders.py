"""The words of what belongs to an order, in each language: payment, parcel, delay.

Decides: what they say. They hold no advertising: nobody can object to them (g2).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from senders.languages import Copy

NEWS: Final[Mapping[str, Copy]] = {
    "en": Copy(
        "News about your order {{order}} at {{shop}}",
        "A reminder about your order {{order}} at {{shop}}",
        (
            "There is news about your order {{order}} at {{shop}}.",
            "If you have any questions, simply reply to this message.",
        ),
        preheader="Here is where things stand.",
    ),
    "de": Copy(
        "Neuigkeiten zu Ihrer Bestellung {{order}} bei {{shop}}",
        "Zur Erinnerung: Ihre Bestellung {{order}} bei {{shop}}",
        (
            "es gibt Neuigkeiten zu Ihrer Bestellung {{order}} bei {{shop}}.",
            "Wenn Sie Fragen haben, antworten Sie einfach auf diese Nachricht.",
        ),
        preheader="So steht es um Ihre Bestellung.",
    ),
    "es": Copy(
        "Novedades sobre tu pedido {{order}} en {{shop}}",
        "Recordatorio sobre tu pedido {{order}} en {{shop}}",
        (
            "Hay novedades sobre tu pedido {{order}} en {{shop}}.",
            "Si tienes alguna pregunta, responde a este mensaje.",
        ),
        preheader="Así va ahora tu pedido en {{shop}}.",
    ),
    "fr": Copy(
        "Du nouveau pour votre commande {{order}} chez {{shop}}",
        "Rappel : votre commande {{order}} chez {{shop}}",
        (
            "Il y a du nouveau pour votre commande {{order}} chez {{shop}}.",
            "Pour toute question, il suffit de répondre à ce message.",
        ),
        preheader="Voici où en est votre commande.",
    ),
    "pl": Copy(
        "Nowe informacje o Twoim zamówieniu {{order}}",
        "Przypomnienie o zamówieniu {{order}} w sklepie {{shop}}",
        (
            "mamy nowe informacje o zamówieniu {{order}} w sklepie {{shop}}.",
            "W razie pytań wystarczy odpowiedzieć na tę wiadomość.",
        ),
        preheader="Oto co dzieje się z Twoim zamówieniem.",
    ),
    "pt": Copy(
        "Novidades sobre a sua encomenda {{order}} em {{shop}}",
        "Lembrete sobre a sua encomenda {{order}} em {{shop}}",
        (
            "Há novidades sobre a sua encomenda {{order}} em {{shop}}.",
            "Se tiver alguma pergunta, basta responder a esta mensagem.",
        ),
        preheader="Saiba em que ponto está a sua encomenda.",
    ),
}
"""Of anything about an order."""

PAYMENT: Final[Mapping[str, Copy]] = {
    "en": Copy(
        "We have received the payment for your order {{order}}",
        "We have received the payment for your order {{order}}",
        (
            "We have received the payment for your order {{order}} at {{shop}}. Thank you!",
            "We are now getting your order ready. If you have any questions, simply reply to this "
            "message.",
        ),
        preheader="Thank you! We are now getting your order ready.",
    ),
    "de": Copy(
        "Zahlung erhalten für Ihre Bestellung {{order}}",
        "Zahlung erhalten für Ihre Bestellung {{order}}",
        (
            "wir haben die Zahlung für Ihre Bestellung {{order}} bei {{shop}} erhalten. Vielen Dank!",
            "Wir bereiten Ihre Bestellung nun vor. Wenn Sie Fragen haben, antworten Sie einfach auf "
            "diese Nachricht.",
        ),
        preheader="Vielen Dank! Wir bereiten Ihre Bestellung nun vor.",
    ),
    "es": Copy(
        "Hemos recibido el pago de tu pedido {{order}}",
        "Hemos recibido el pago de tu pedido {{order}}",
        (
            "Hemos recibido el pago de tu pedido {{order}} en {{shop}}. ¡Gracias!",
            "Ya estamos preparando tu pedido. Si tienes alguna pregunta, responde a este mensaje.",
        ),
        preheader="¡Gracias! Ya estamos preparando tu pedido.",
    ),
    "fr": Copy(
        "Paiement reçu pour votre commande {{order}}",
        "Paiement reçu pour votre commande {{order}}",
        (
            "Nous avons bien reçu le paiement de votre commande {{order}} chez {{shop}}. Merci !",
            "Nous préparons maintenant votre commande. Pour toute question, il suffit de répondre à "
            "ce message.",
        ),
        preheader="Merci ! Nous préparons maintenant votre commande.",
    ),
    "pl": Copy(
        "Otrzymaliśmy płatność za zamówienie {{order}}",
        "Otrzymaliśmy płatność za zamówienie {{order}}",
        (
            "otrzymaliśmy płatność za zamówienie {{order}} w sklepie {{shop}}. Dziękujemy!",
            "Przygotowujemy teraz Twoje zamówienie. W razie pytań wystarczy odpowiedzieć na tę "
            "wiadomość.",
        ),
        preheader="Dziękujemy! Przygotowujemy teraz Twoje zamówienie.",
    ),
    "pt": Copy(
        "Recebemos o pagamento da sua encomenda {{order}}",
        "Recebemos o pagamento da sua encomenda {{order}}",
        (
            "Recebemos o pagamento da sua encomenda {{order}} em {{shop}}, que agradecemos.",
            "Estamos agora a preparar a sua encomenda. Se tiver alguma pergunta, basta responder a "
            "esta mensagem.",
        ),
        preheader="Agradecemos. Estamos agora a preparar a sua encomenda.",
    ),
}
"""The payment has come (D7)."""

SHIPPED: Final[Mapping[str, Copy]] = {
    "en": Copy(
        "Your order {{order}} is on its way",
        "A reminder: your order {{order}} is on its way",
        (
            "Good news: your order {{order}} has left {{shop}} and is on its way to you.",
            "If anything about the delivery is not as it should be, simply reply to this message.",
        ),
        preheader="The parcel has left {{shop}}.",
    ),
    "de": Copy(
        "Ihre Bestellung {{order}} ist unterwegs",
        "Zur Erinnerung: Ihre Bestellung {{order}} ist unterwegs",
        (
            "gute Nachrichten: Ihre Bestellung {{order}} hat {{shop}} verlassen und ist auf dem Weg "
            "zu Ihnen.",
            "Wenn mit der Lieferung etwas nicht stimmt, antworten Sie einfach auf diese Nachricht.",
        ),
        preheader="Das Paket hat {{shop}} verlassen.",
    ),
    "es": Copy(
        "Tu pedido {{order}} está en camino",
        "Recordatorio: tu pedido {{order}} está en camino",
        (
            "Buenas noticias: tu pedido {{order}} ha salido de {{shop}} y va de camino hacia ti.",
            "Si algo no va bien con la entrega, responde a este mensaje.",
        ),
        preheader="El paquete ha salido de {{shop}}.",
    ),
    "fr": Copy(
        "Votre commande {{order}} est en route",
        "Rappel : votre commande {{order}} est en route",
        (
            "Bonne nouvelle : votre commande {{order}} a quitté {{shop}} et est en route vers "
            "vous.",
            "Si quelque chose ne va pas avec la livraison, il suffit de répondre à ce message.",
        ),
        preheader="Le colis a quitté {{shop}}.",
    ),
    "pl": Copy(
        "Zamówienie {{order}} jest w drodze",
        "Przypomnienie: zamówienie {{order}} jest w drodze",
        (
            "dobra wiadomość: zamówienie {{order}} ze sklepu {{shop}} jest już w drodze do Ciebie.",
            "Jeśli z dostawą będzie coś nie tak, wystarczy odpowiedzieć na tę wiadomość.",
        ),
        preheader="Paczka ze sklepu {{shop}} już wyruszyła.",
    ),
    "pt": Copy(
        "A sua encomenda {{order}} está a caminho",
        "Lembrete: a sua encomenda {{order}} está a caminho",
        (
            "Boas notícias: a sua encomenda {{order}} saiu de {{shop}} e está a caminho.",
            "Se algo não correr bem com a entrega, basta responder a esta mensagem.",
        ),
        preheader="O pacote já saiu de {{shop}}.",
    ),
}
"""The parcel has left (D8)."""

DELAY: Final[Mapping[str, Copy]] = {
    "en": Copy(
        "Delayed: shipment {{tracking_number}} from {{shop}}",
        "A reminder: shipment {{tracking_number}} from {{shop}}",
        (
            "A shipment that {{shop}} handed over to you is delayed.",
            "Where is it now, what is holding it up, and when will it be delivered? Please reply to "
            "this message so that we can tell the person who is waiting for it.",
        ),
        preheader="Where is it now, and when will it be delivered?",
        button="Open the tracking page",
    ),
    "de": Copy(
        "Verspätet: Sendung {{tracking_number}} von {{shop}}",
        "Zur Erinnerung: Sendung {{tracking_number}} von {{shop}}",
        (
            "eine Sendung, die {{shop}} Ihnen übergeben hat, ist verspätet.",
            "Wo ist sie gerade, was hält sie auf, und wann wird sie zugestellt? Bitte antworten Sie "
            "auf diese Nachricht, damit wir Auskunft geben können.",
        ),
        preheader="Wo ist sie gerade, und wann wird sie zugestellt?",
        button="Sendungsverfolgung öffnen",
    ),
    "es": Copy(
        "Con retraso: envío {{tracking_number}} de {{shop}}",
        "Recordatorio: envío {{tracking_number}} de {{shop}}",
        (
            "Un envío que {{shop}} les entregó va con retraso.",
            "¿Dónde está ahora, qué lo retiene y cuándo se entregará? Por favor, respondan a este "
            "mensaje para que podamos informar a quien espera el envío.",
        ),
        preheader="¿Dónde está ahora y cuándo se entregará?",
        button="Abrir el seguimiento",
    ),
    "fr": Copy(
        "En retard : envoi {{tracking_number}} de {{shop}}",
        "Rappel : envoi {{tracking_number}} de {{shop}}",
        (
            "Un envoi que {{shop}} vous a confié est en retard.",
            "Où se trouve-t-il, qu'est-ce qui le retient et quand sera-t-il livré ? Merci de répondre "
            "à ce message pour que nous puissions informer la personne qui l'attend.",
        ),
        preheader="Où se trouve-t-il, et quand sera-t-il livré ?",
        button="Ouvrir le suivi",
    ),
    "pl": Copy(
        "Opóźniona przesyłka {{tracking_number}} ze sklepu {{shop}}",
        "Przypomnienie: przesyłka {{tracking_number}} ({{shop}})",
        (
            "przesyłka, którą przekazał Państwu sklep {{shop}}, jest opóźniona.",
            "Gdzie jest teraz, co ją zatrzymuje i kiedy zostanie doręczona? Prosimy o odpowiedź na "
            "tę wiadomość, abyśmy mogli poinformować osobę, która na nią czeka.",
        ),
        preheader="Gdzie jest teraz i kiedy zostanie doręczona?",
        button="Otwórz śledzenie",
    ),
    "pt": Copy(
        "Com atraso: envio {{tracking_number}} de {{shop}}",
        "Lembrete: envio {{tracking_number}} de {{shop}}",
        (
            "Um envio que {{shop}} vos entregou está atrasado.",
            "Onde está agora, o que o retém e quando será entregue? Por favor, respondam a esta "
            "mensagem, para podermos informar quem espera pela encomenda.",
        ),
        preheader="Onde está agora e quando será entregue?",
        button="Abrir o seguimento",
    ),
}
"""Where is it? To the carrier, who replies to the shop (C5). It names no customer."""
