"""The words of the page on which a consent is confirmed, in the languages of the e-mails.

Decides: what the page says. What is consented to has its words from the unsubscribe page
(`control/public/words.py`), so that both call it the same.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from senders.languages import LANGUAGES
from senders.typography import typeset_all


class ConfirmWords(msgspec.Struct, frozen=True):
    """All texts of a language. {by} is how messages come, {kind} which, {shop} who asks."""

    title: str
    question: str
    question_of_shop: str
    forwarding: str
    """What is consented to, for DATA_FORWARDING."""
    button: str
    done: str
    revoke: str
    over: str


_WRITTEN: Mapping[str, ConfirmWords] = {
    "en": ConfirmWords(
        title="Confirm your consent",
        question="Would you like to receive this {by}?",
        question_of_shop="Would you like to receive this from {shop} {by}?",
        forwarding="May your data be passed on to a review platform?",
        button="Yes, I confirm",
        done="Thank you. Your consent is confirmed.",
        revoke="You can withdraw it at any time.",
        over="This link is no longer valid. It has expired, or there is a newer one. If you still want "
        "to, please sign up again.",
    ),
    "de": ConfirmWords(
        title="Einwilligung bestätigen",
        question="Möchten Sie dies {by} erhalten?",
        question_of_shop="Möchten Sie dies von {shop} {by} erhalten?",
        forwarding="Dürfen Ihre Daten an eine Bewertungsplattform weitergegeben werden?",
        button="Ja, ich bestätige",
        done="Vielen Dank. Ihre Einwilligung ist bestätigt.",
        revoke="Sie können sie jederzeit widerrufen.",
        over="Dieser Link gilt nicht mehr. Er ist abgelaufen, oder es gibt einen neueren. Wenn Sie noch "
        "möchten, melden Sie sich bitte noch einmal an.",
    ),
    "es": ConfirmWords(
        title="Confirma tu consentimiento",
        question="¿Quieres recibir esto {by}?",
        question_of_shop="¿Quieres recibir esto de {shop} {by}?",
        forwarding="¿Pueden cederse tus datos a una plataforma de opiniones?",
        button="Sí, confirmo",
        done="Gracias. Tu consentimiento está confirmado.",
        revoke="Puedes retirarlo en cualquier momento.",
        over="Este enlace ya no es válido. Ha caducado o hay uno más nuevo. Si todavía quieres, "
        "apúntate otra vez.",
    ),
    "fr": ConfirmWords(
        title="Confirmer votre consentement",
        question="Souhaitez-vous recevoir ceci {by} ?",
        question_of_shop="Souhaitez-vous recevoir ceci de {shop} {by} ?",
        forwarding="Vos données peuvent-elles être transmises à une plateforme d'avis ?",
        button="Oui, je confirme",
        done="Merci. Votre consentement est confirmé.",
        revoke="Vous pouvez le retirer à tout moment.",
        over="Ce lien n'est plus valide. Il a expiré, ou il en existe un plus récent. Si vous le "
        "souhaitez encore, veuillez vous inscrire de nouveau.",
    ),
    "pl": ConfirmWords(
        title="Potwierdź zgodę",
        question="Czy chcesz to otrzymywać {by}?",
        question_of_shop="Czy chcesz to otrzymywać od sklepu {shop} {by}?",
        forwarding="Czy Twoje dane mogą zostać przekazane platformie z opiniami?",
        button="Tak, potwierdzam",
        done="Dziękujemy. Twoja zgoda została potwierdzona.",
        revoke="Możesz ją wycofać w każdej chwili.",
        over="Ten link już nie działa. Wygasł albo jest nowszy. Jeśli nadal chcesz, zapisz się jeszcze "
        "raz.",
    ),
    "pt": ConfirmWords(
        title="Confirmar o seu consentimento",
        question="Deseja receber isto {by}?",
        question_of_shop="Deseja receber isto de {shop} {by}?",
        forwarding="Os seus dados podem ser transmitidos a uma plataforma de avaliações?",
        button="Sim, confirmo",
        done="Feito. O seu consentimento está confirmado.",
        revoke="Pode retirá-lo a qualquer momento.",
        over="Esta ligação já não é válida. Expirou, ou há uma mais recente. Se ainda quiser, "
        "inscreva-se de novo.",
    ),
}

CONFIRM_WORDS: Mapping[str, ConfirmWords] = {
    language: typeset_all(words, language) for language, words in _WRITTEN.items()
}

assert CONFIRM_WORDS.keys() == LANGUAGES.keys(), "the page speaks what the e-mails speak"
