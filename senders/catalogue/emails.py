"""The templates of e-mails.

Decides: which there are, for which rules, and what they say. An entry is all that a new template needs.
Never: which one a message gets (`choice.py`).

Invariant: the words of a template are there in every language of `senders.languages`, or in none: then
its text is that of the action.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Mapping
from typing import Final

import msgspec

from core.model import Family, Purpose
from core.records import KIND_PRODUCT, KIND_SERVICE
from senders.catalogue.confirmation import CONFIRMATIONS
from senders.catalogue.shorter import SHORTER
from senders.languages import LANGUAGES, Copy, Language

KIND_NONE: Final = 0
KIND_BOTH: Final = KIND_SERVICE | KIND_PRODUCT

_FREE: Final = (Family.NOTIFICATION, Family.AUTOMATION)


class BodyUse(enum.IntEnum):
    """What a template does with the text of the action."""

    OPTIONAL = 1
    """The text takes the place of the template's own."""
    REQUIRED = 2
    """The template has no text of its own."""
    FIXED = 3
    """The template takes none."""


class EmailTemplate(msgspec.Struct, frozen=True, kw_only=True):
    """A template of an e-mail."""

    id: str
    display_name: str
    description: str
    families: tuple[Family, ...]
    """Of the rules that may name it."""
    purposes: tuple[Purpose, ...]
    """Of the rules that may name it."""
    kinds: tuple[int, ...]
    """What the messages ask about that it has words for, as bits of `core.records`."""
    body: BodyUse
    words: Mapping[str, Copy]
    """Language -> what it says; empty if it has no words of its own."""
    is_for_rules: bool = True
    """False: only messages that no rule sends have it."""

    @property
    def languages(self) -> tuple[str, ...]:
        """Return the languages in which it can be sent."""
        return tuple(LANGUAGES)


def _words(copy: Callable[[Language], Copy]) -> Mapping[str, Copy]:
    return {language: copy(texts) for language, texts in LANGUAGES.items()}


def _combined(texts: Language) -> Copy:
    """Return the words about both: the thanks for the order, then the question about the products."""
    service = texts.service
    paragraphs = (*service.paragraphs[:1], *texts.product.paragraphs)
    return Copy(service.subject, service.reminder_subject, paragraphs)


STANDARD_SERVICE: Final = EmailTemplate(
    id="standard-service-review",
    display_name="Service review, standard",
    description="Thanks for the order and asks how everything went.",
    families=(Family.SERVICE_REVIEW,),
    purposes=(Purpose.REVIEW,),
    kinds=(KIND_SERVICE,),
    body=BodyUse.OPTIONAL,
    words=_words(lambda texts: texts.service),
)
STANDARD_PRODUCT: Final = EmailTemplate(
    id="standard-product-review",
    display_name="Product review, standard",
    description="Names what was bought, up to three products, and asks what is good and what is not.",
    families=(Family.PRODUCT_REVIEW,),
    purposes=(Purpose.REVIEW,),
    kinds=(KIND_PRODUCT,),
    body=BodyUse.OPTIONAL,
    words=_words(lambda texts: texts.product),
)
COMBINED: Final = EmailTemplate(
    id="combined-review",
    display_name="Service and product review in one",
    description=(
        "Thanks for the order, names what was bought and asks about both. In force where a rule asks "
        "about products together with the service."
    ),
    families=(Family.SERVICE_REVIEW, Family.PRODUCT_REVIEW),
    purposes=(Purpose.REVIEW,),
    kinds=(KIND_BOTH,),
    body=BodyUse.OPTIONAL,
    words=_words(_combined),
)
OPTIMISED_SERVICE: Final = EmailTemplate(
    id="optimised-service-review",
    display_name="Service review, optimised",
    description="One short question about the order, read at a glance on a telephone.",
    families=(Family.SERVICE_REVIEW,),
    purposes=(Purpose.REVIEW,),
    kinds=(KIND_SERVICE,),
    body=BodyUse.FIXED,
    words=SHORTER,
)
NOTIFICATION: Final = EmailTemplate(
    id="notification",
    display_name="News about an order",
    description="Says that there is news about the order, with the link to the parcel if it is known.",
    families=_FREE,
    purposes=(Purpose.TRANSACTIONAL, Purpose.OPERATIONAL),
    kinds=(KIND_NONE,),
    body=BodyUse.OPTIONAL,
    words=_words(lambda texts: texts.notification),
)
PLAIN: Final = EmailTemplate(
    id="plain",
    display_name="Your own text",
    description="Greeting and closing in the customer's language; what stands between is the action's.",
    families=(Family.SERVICE_REVIEW, Family.PRODUCT_REVIEW, *_FREE),
    purposes=(Purpose.REVIEW, Purpose.MARKETING, Purpose.TRANSACTIONAL, Purpose.OPERATIONAL),
    kinds=(KIND_NONE, KIND_SERVICE, KIND_PRODUCT, KIND_BOTH),
    body=BodyUse.REQUIRED,
    words={},
)
CONFIRM_CONSENT: Final = EmailTemplate(
    id="confirm-consent",
    display_name="Please confirm your consent",
    description=(
        "Asks to confirm a consent by a link and says nothing else. In force for RequestConsent; no "
        "rule can name it."
    ),
    families=(Family.NOTIFICATION,),
    purposes=(Purpose.TRANSACTIONAL,),
    kinds=(KIND_NONE,),
    body=BodyUse.FIXED,
    words={language: texts.copy for language, texts in CONFIRMATIONS.items()},
    is_for_rules=False,
)

EMAIL_TEMPLATES: Final[Mapping[str, EmailTemplate]] = {
    each.id: each
    for each in (
        COMBINED, CONFIRM_CONSENT, NOTIFICATION, OPTIMISED_SERVICE, PLAIN, STANDARD_PRODUCT,
        STANDARD_SERVICE,
    )
}  # fmt: skip
"""By id."""
