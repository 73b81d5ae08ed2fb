"""The words of the one mail that asks to confirm a consent, in each language.

Decides: what it says. It holds no advertising (g3), and no name: forms are filled in for others.
Never: what was consented to in the shop's own words; the shop keeps those, and we their version.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import msgspec

from core.model import Medium, Purpose
from senders.languages import Copy
from senders.typography import typeset_all

MEDIA: Final[Mapping[str, str]] = {
    Medium.SMS.name: "SMS",
    Medium.WHATSAPP.name: "WhatsApp",
}
"""What media are called in every language of ours."""


class Confirmation(msgspec.Struct, frozen=True):
    """All texts of a language."""

    copy: Copy
    button: str
    """What stands before the link."""
    kinds: Mapping[str, str]
    """Name of a purpose -> what is consented to."""
    email: str = "e-mail"
    """What e-mail is called."""

    def kind(self, purpose: str, medium: str) -> str:
        """Return what is consented to, "" if there are no words for it."""
        kind = self.kinds.get(purpose, "")
        by = self.email if medium == Medium.EMAIL.name else MEDIA.get(medium, "")
        return f"{kind} ({by})" if kind and by else kind


def _kinds(review: str, marketing: str, forwarding: str) -> Mapping[str, str]:
    return {
        Purpose.REVIEW.name: review,
        Purpose.MARKETING.name: marketing,
        Purpose.DATA_FORWARDING.name: forwarding,
    }


_WRITTEN: Final[Mapping[str, Confirmation]] = {
    "en": Confirmation(
        copy=Copy(
            "Please confirm your consent for {{shop}}",
            "Please confirm your consent for {{shop}}",
            (
                "Please confirm your consent for {{shop}}: {{kind}}.",
                "If this was not you, there is nothing to do: without your confirmation it does not "
                "count.",
            ),
            preheader="It only counts once you confirm it. If this was not you, there is nothing to do.",
        ),
        button="Confirm",
        kinds=_kinds(
            "requests for a review", "offers and news", "passing data on to a review platform"
        ),
    ),
    "de": Confirmation(
        copy=Copy(
            "Bitte bestätigen Sie Ihre Einwilligung bei {{shop}}",
            "Bitte bestätigen Sie Ihre Einwilligung bei {{shop}}",
            (
                "bitte bestätigen Sie Ihre Einwilligung gegenüber {{shop}}: {{kind}}.",
                "Wenn Sie das nicht waren, müssen Sie nichts tun: Ohne Ihre Bestätigung gilt sie "
                "nicht.",
            ),
            preheader="Gültig erst mit Ihrer Bestätigung. "
            "Wenn Sie das nicht waren, müssen Sie nichts tun.",
        ),
        button="Bestätigen",
        kinds=_kinds(
            "Bitten um eine Bewertung",
            "Angebote und Neuigkeiten",
            "Weitergabe von Daten an eine Bewertungsplattform",
        ),
        email="E-Mail",
    ),
    "es": Confirmation(
        copy=Copy(
            "Confirma tu consentimiento para {{shop}}",
            "Confirma tu consentimiento para {{shop}}",
            (
                "Confirma tu consentimiento para {{shop}}: {{kind}}.",
                "Si no has sido tú, no tienes que hacer nada: sin tu confirmación no vale.",
            ),
            preheader="Solo vale si lo confirmas. Si no has sido tú, no tienes que hacer nada.",
        ),
        button="Confirmar",
        kinds=_kinds(
            "peticiones de opinión",
            "ofertas y novedades",
            "cesión de datos a una plataforma de opiniones",
        ),
        email="correo electrónico",
    ),
    "fr": Confirmation(
        copy=Copy(
            "Confirmez votre consentement auprès de {{shop}}",
            "Confirmez votre consentement auprès de {{shop}}",
            (
                "Veuillez confirmer votre consentement auprès de {{shop}} : {{kind}}.",
                "Si ce n'était pas vous, vous n'avez rien à faire : sans votre confirmation, il ne "
                "compte pas.",
            ),
            preheader="Il ne compte qu'une fois confirmé. "
            "Si ce n'était pas vous, vous n'avez rien à faire.",
        ),
        button="Confirmer",
        kinds=_kinds(
            "demandes d'avis",
            "offres et nouveautés",
            "transmission de données à une plateforme d'avis",
        ),
    ),
    "pl": Confirmation(
        copy=Copy(
            "Potwierdź swoją zgodę dla sklepu {{shop}}",
            "Potwierdź swoją zgodę dla sklepu {{shop}}",
            (
                "potwierdź swoją zgodę dla sklepu {{shop}}: {{kind}}.",
                "Jeśli to nie Ty, nie musisz nic robić: bez Twojego potwierdzenia zgoda się nie "
                "liczy.",
            ),
            preheader="Zgoda liczy się dopiero po potwierdzeniu. Jeśli to nie Ty, nie musisz nic robić.",
        ),
        button="Potwierdź",
        kinds=_kinds(
            "prośby o opinię", "oferty i nowości", "przekazanie danych platformie z opiniami"
        ),
    ),
    "pt": Confirmation(
        copy=Copy(
            "Confirme o seu consentimento para {{shop}}",
            "Confirme o seu consentimento para {{shop}}",
            (
                "Confirme o seu consentimento para {{shop}}: {{kind}}.",
                "Se não fez este pedido, não precisa de fazer nada: sem a sua confirmação, não conta.",
            ),
            preheader="Só conta depois de o confirmar. "
            "Se não fez este pedido, não precisa de fazer nada.",
        ),
        button="Confirmar",
        kinds=_kinds(
            "pedidos de avaliação",
            "ofertas e novidades",
            "transmissão de dados a uma plataforma de avaliações",
        ),
    ),
}

CONFIRMATIONS: Final[Mapping[str, Confirmation]] = {
    language: typeset_all(texts, language) for language, texts in _WRITTEN.items()
}
"""By language."""
