"""The words for those who bought once, often, or not for a long time, in each language.

Decides: what they say (D9, D12, D13). None promises what a shop may not give.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from senders.languages import Copy


def _once(subject: str, preheader: str, *paragraphs: str) -> Copy:
    """Return the words of a mail with one subject, whichever step it is."""
    return Copy(subject, subject, paragraphs, preheader=preheader)


FIRST_PURCHASE: Final[Mapping[str, Copy]] = {
    "en": _once(
        "Thank you for your first order at {{shop}}",
        "We are glad that you found us, and here if you need anything.",
        "This was your first order at {{shop}}, and we would like to thank you for it.",
        "If there is anything we can do for you, simply reply to this message.",
    ),
    "de": _once(
        "Danke für Ihre erste Bestellung bei {{shop}}",
        "Schön, dass Sie zu uns gefunden haben. Bei Fragen sind wir für Sie da.",
        "das war Ihre erste Bestellung bei {{shop}}, und dafür möchten wir Ihnen danken.",
        "Wenn wir etwas für Sie tun können, antworten Sie einfach auf diese Nachricht.",
    ),
    "es": _once(
        "Gracias por tu primer pedido en {{shop}}",
        "Nos alegra que nos hayas encontrado. Aquí estamos si necesitas algo.",
        "Este ha sido tu primer pedido en {{shop}} y queremos darte las gracias.",
        "Si podemos ayudarte en algo, responde a este mensaje.",
    ),
    "fr": _once(
        "Merci pour votre première commande chez {{shop}}",
        "Merci de votre confiance. Nous sommes là si vous avez besoin de nous.",
        "C'était votre première commande chez {{shop}}, et nous vous en remercions.",
        "Si nous pouvons faire quelque chose pour vous, il suffit de répondre à ce message.",
    ),
    "pl": _once(
        "Dziękujemy za pierwsze zamówienie w sklepie {{shop}}",
        "Cieszymy się, że jesteś z nami. W razie pytań chętnie pomożemy.",
        "to było Twoje pierwsze zamówienie w sklepie {{shop}}. Bardzo za nie dziękujemy.",
        "Jeśli możemy w czymś pomóc, wystarczy odpowiedzieć na tę wiadomość.",
    ),
    "pt": _once(
        "Agradecemos a sua primeira encomenda em {{shop}}",
        "Ficamos contentes por nos ter encontrado. Estamos aqui para ajudar.",
        "Esta foi a sua primeira encomenda em {{shop}} e queremos agradecer-lhe.",
        "Se pudermos ajudar em alguma coisa, basta responder a esta mensagem.",
    ),
}
"""Once in a lifetime (D9)."""

FREQUENT_BUYER: Final[Mapping[str, Copy]] = {
    "en": _once(
        "A thank-you from {{shop}}",
        "It is good to have you with us.",
        "You have bought at {{shop}} several times lately, and we would like to say thank you.",
        "If you would like to know what we can do for you on your next order, simply reply to this "
        "message.",
    ),
    "de": _once(
        "Ein Dankeschön von {{shop}}",
        "Schön, dass Sie uns treu sind.",
        "Sie haben in letzter Zeit mehrmals bei {{shop}} eingekauft, und dafür möchten wir Danke "
        "sagen.",
        "Wenn Sie wissen möchten, was wir bei Ihrer nächsten Bestellung für Sie tun können, antworten "
        "Sie einfach auf diese Nachricht.",
    ),
    "es": _once(
        "Un agradecimiento de {{shop}}",
        "Nos alegra que sigas con nosotros.",
        "Últimamente has comprado varias veces en {{shop}} y queremos darte las gracias.",
        "Si quieres saber qué podemos hacer por ti en tu próximo pedido, responde a este mensaje.",
    ),
    "fr": _once(
        "Un grand merci de la part de {{shop}}",
        "Merci de votre fidélité.",
        "Vous avez acheté plusieurs fois chez {{shop}} ces derniers temps, et nous tenons à vous "
        "dire merci.",
        "Pour savoir ce que nous pouvons faire pour vous lors de votre prochaine commande, il suffit de "
        "répondre à ce message.",
    ),
    "pl": _once(
        "Podziękowanie od sklepu {{shop}}",
        "Dobrze, że jesteś z nami.",
        "w ostatnim czasie mogliśmy zrealizować kilka Twoich zamówień w sklepie {{shop}}. Bardzo za nie "
        "dziękujemy.",
        "Jeśli chcesz wiedzieć, co możemy zrobić dla Ciebie przy następnym zamówieniu, wystarczy "
        "odpowiedzieć na tę wiadomość.",
    ),
    "pt": _once(
        "Um agradecimento de {{shop}}",
        "É bom contar consigo.",
        "Comprou várias vezes em {{shop}} nos últimos tempos e queremos agradecer-lhe.",
        "Se quiser saber o que podemos fazer por si na próxima encomenda, basta responder a esta "
        "mensagem.",
    ),
}
"""After several purchases in a short time (D12)."""

WIN_BACK: Final[Mapping[str, Copy]] = {
    "en": _once(
        "We have not seen you for a while",
        "We would be glad to see you again at {{shop}}.",
        "It has been some time since you last bought at {{shop}}.",
        "Come and have a look at what we have now. We would be glad to see you again.",
    ),
    "de": _once(
        "Wir haben uns eine Weile nicht gesehen",
        "Wir würden uns freuen, Sie bei {{shop}} wiederzusehen.",
        "seit Ihrem letzten Einkauf bei {{shop}} ist einige Zeit vergangen.",
        "Schauen Sie doch wieder vorbei und sehen Sie, was wir heute für Sie haben. Wir würden uns "
        "freuen, Sie wiederzusehen.",
    ),
    "es": _once(
        "Hace tiempo que no sabemos de ti",
        "Nos alegraría volver a verte en {{shop}}.",
        "Ha pasado un tiempo desde tu última compra en {{shop}}.",
        "Ven a echar un vistazo a lo que tenemos ahora. Nos alegraría volver a verte.",
    ),
    "fr": _once(
        "Sans nouvelles de vous depuis un moment",
        "Au plaisir de vous revoir chez {{shop}}.",
        "Un certain temps s'est écoulé depuis votre dernier achat chez {{shop}}.",
        "Venez jeter un œil à ce que nous proposons aujourd'hui. Cela nous ferait plaisir de vous "
        "revoir.",
    ),
    "pl": _once(
        "Dawno się nie widzieliśmy",
        "Będzie nam miło znów gościć Cię w sklepie {{shop}}.",
        "od Twoich ostatnich zakupów w sklepie {{shop}} minęło trochę czasu.",
        "Zajrzyj do nas i zobacz, co mamy teraz w ofercie. Będzie nam miło znów Cię gościć.",
    ),
    "pt": _once(
        "Há algum tempo que não nos visita",
        "Gostaríamos de voltar a contar consigo em {{shop}}.",
        "Já passou algum tempo desde a sua última compra em {{shop}}.",
        "Venha dar uma vista de olhos ao que temos agora. Gostaríamos de voltar a contar consigo.",
    ),
}
"""The first of two to those who stay away (D13)."""

WIN_BACK_LAST: Final[Mapping[str, Copy]] = {
    "en": _once(
        "Is there anything we could do better?",
        "We would like to know what you missed at {{shop}}.",
        "You have not been back to {{shop}} for a long time, and we wonder why.",
        "If we did something wrong, simply reply to this message. If you have not needed anything, "
        "there is nothing to do: this is our last message for now.",
    ),
    "de": _once(
        "Können wir etwas besser machen?",
        "Wir wüssten gern, was Ihnen bei {{shop}} gefehlt hat.",
        "Sie waren lange nicht mehr bei {{shop}}, und wir fragen uns, warum.",
        "Wenn wir etwas falsch gemacht haben, antworten Sie einfach auf diese Nachricht. Wenn Sie "
        "gerade nichts brauchen, müssen Sie nichts tun: Dies ist vorerst unsere letzte Nachricht.",
    ),
    "es": _once(
        "¿Podemos mejorar en algo?",
        "Nos gustaría saber qué echaste de menos en {{shop}}.",
        "Hace mucho que no compras en {{shop}} y nos preguntamos por qué.",
        "Si hicimos algo mal, responde a este mensaje. Si simplemente no necesitas nada, no tienes "
        "que hacer nada: por ahora este es nuestro último mensaje.",
    ),
    "fr": _once(
        "Pouvons-nous mieux faire ?",
        "Nous aimerions savoir ce qui vous a manqué chez {{shop}}.",
        "Votre dernière visite chez {{shop}} remonte à loin, et nous nous demandons pourquoi.",
        "Si nous avons commis une erreur, il suffit de répondre à ce message. Si vous n'avez besoin "
        "de rien, vous n'avez rien à faire : c'est notre dernier message pour le moment.",
    ),
    "pl": _once(
        "Czy możemy coś poprawić?",
        "Chcielibyśmy wiedzieć, czego zabrakło w sklepie {{shop}}.",
        "od dawna nie było Cię w sklepie {{shop}} i zastanawiamy się dlaczego.",
        "Jeśli zrobiliśmy coś źle, wystarczy odpowiedzieć na tę wiadomość. Jeśli po prostu niczego "
        "nie potrzebujesz, nie musisz nic robić: to na razie nasza ostatnia wiadomość.",
    ),
    "pt": _once(
        "Podemos fazer melhor?",
        "Gostaríamos de saber o que lhe faltou em {{shop}}.",
        "Há muito tempo que não volta a {{shop}} e gostaríamos de saber porquê.",
        "Se fizemos algo de errado, basta responder a esta mensagem. Se simplesmente não precisou de "
        "nada, não tem de fazer nada: por agora, esta é a nossa última mensagem.",
    ),
}
"""The second of two."""
