"""The words of the default text messages, in each language, and how they are stopped.

Decides: what they say. Review texts ask for any opinion, never for a good one (g8).
Never: where a value goes (`senders/message_texts.py`).

All characters are of the GSM alphabet, so that a message with plain values is one segment; that is why
Polish has no accents here, and Spanish and Portuguese only those of the alphabet, as text messages
commonly have.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import msgspec


class SmsWords(msgspec.Struct, frozen=True):
    """All default texts of a language."""

    service: str
    product: str
    both: str
    notification: str
    reminder: str
    """Stands before the text of a later step."""
    confirm: str
    """Asks to confirm a consent."""
    stop: str
    """Ends what people may stop; the word is one of `core.engine.stop_words`."""


SMS_WORDS: Final[Mapping[str, SmsWords]] = {
    "en": SmsWords(
        service="{{shop}}: how was your order {{order}}? Any opinion is welcome. {{link}}",
        product="{{shop}}: what do you think of what you bought? Any opinion helps. {{link}}",
        both="{{shop}}: how was your order {{order}}, and what you bought? {{link}}",
        notification="{{shop}}: there is news about your order {{order}}. {{link}}",
        reminder="Reminder. ",
        confirm="{{shop}}: please confirm that we may write to you: {{link}}",
        stop="Reply STOP to opt out.",
    ),
    "de": SmsWords(
        service="{{shop}}: Wie war Ihre Bestellung {{order}}? Jede Meinung ist willkommen. {{link}}",
        product="{{shop}}: Was halten Sie von Ihrem Einkauf? Jede Meinung hilft. {{link}}",
        both="{{shop}}: Wie waren Bestellung {{order}} und Einkauf? Jede Meinung hilft. {{link}}",
        notification="{{shop}}: Es gibt Neues zu Ihrer Bestellung {{order}}. {{link}}",
        reminder="Zur Erinnerung. ",
        confirm="{{shop}}: Bitte bestätigen Sie, dass wir Ihnen schreiben dürfen: {{link}}",
        stop="Ende mit STOPP.",
    ),
    "es": SmsWords(
        service="{{shop}}: ¿qué tal tu pedido {{order}}? Nos interesa toda opinion. {{link}}",
        product="{{shop}}: ¿qué te parece tu compra? Nos interesa toda opinion. {{link}}",
        both="{{shop}}: ¿qué tal el pedido {{order}} y tu compra? Toda opinion nos ayuda. {{link}}",
        notification="{{shop}}: hay noticias de tu pedido {{order}}. {{link}}",
        reminder="Recordatorio. ",
        confirm="{{shop}}: confirma que podemos escribirte: {{link}}",
        stop="Responde BAJA para no recibir nada.",
    ),
    "fr": SmsWords(
        service="{{shop}} : comment s'est passée votre commande {{order}} ? Tout avis compte. {{link}}",
        product="{{shop}} : que pensez-vous de votre achat ? Tout avis compte. {{link}}",
        both="{{shop}} : votre avis sur la commande {{order}} et vos achats ? {{link}}",
        notification="{{shop}} : du nouveau pour votre commande {{order}}. {{link}}",
        reminder="Rappel. ",
        confirm="{{shop}} : confirmez que nous pouvons vous écrire : {{link}}",
        stop="Répondez STOP pour ne plus rien recevoir.",
    ),
    "pl": SmsWords(
        service="{{shop}}: jak oceniasz zamowienie {{order}}? Liczy sie kazda opinia. {{link}}",
        product="{{shop}}: co sadzisz o swoim zakupie? Liczy sie kazda opinia. {{link}}",
        both="{{shop}}: jak oceniasz zamowienie {{order}} i zakupy? Liczy sie kazda opinia. {{link}}",
        notification="{{shop}}: sa wiadomosci o zamowieniu {{order}}. {{link}}",
        reminder="Przypomnienie. ",
        confirm="{{shop}}: potwierdz, ze mozemy do Ciebie pisac: {{link}}",
        stop="Rezygnacja: odpisz KONIEC.",
    ),
    "pt": SmsWords(
        service="{{shop}}: como correu a encomenda {{order}}? Qualquer opiniao conta. {{link}}",
        product="{{shop}}: o que acha da sua compra? Qualquer opiniao conta. {{link}}",
        both="{{shop}}: que nos diz da encomenda {{order}} e da compra? {{link}}",
        notification="{{shop}}: temos novidades da sua encomenda {{order}}. {{link}}",
        reminder="Lembrete. ",
        confirm="{{shop}}: confirme que podemos escrever-lhe: {{link}}",
        stop="Responda SAIR e deixa de receber.",
    ),
}
