"""The templates of e-mails.

Decides: which there are, for which rules, and what they say. An entry is all that a new template needs.
Never: which one a message gets (`choice.py`).

Invariant: the words of a template are there in every language of `senders.languages`, or in none: then
its text is that of the action.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from typing import Final

import msgspec

from core.model import Family, Purpose
from core.records import KIND_PRODUCT, KIND_SERVICE
from senders.catalogue import carts, loyalty, orders, reviews
from senders.catalogue.confirmation import CONFIRMATIONS
from senders.catalogue.shorter import SHORTER
from senders.languages import LANGUAGES, Copy
from senders.typography import typeset_all

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


class Shows(enum.IntEnum):
    """What a template shows of the event, below its words."""

    NOTHING = 0
    PRODUCTS = 1
    """What was ordered: names, and pictures where they are known."""
    CART = 2
    """What is in the cart, with its prices."""
    PAYMENT = 3
    """Order and amount."""
    PARCEL = 4
    """Carrier, number and date of the parcel."""
    DELAY = 5
    """The order, and the parcel as its carrier knows it, who reads it."""


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
    shows: Shows = Shows.NOTHING
    reason: str = ""
    """Why somebody gets it, as a field of `Reasons`; empty: by the purpose."""
    has_button: bool = True
    """Shows the link that the event brings; False: that link is about something else."""
    is_for_rules: bool = True
    """False: only messages that no rule sends have it."""
    is_for_carriers: bool = False
    """It goes to a carrier."""

    @property
    def languages(self) -> tuple[str, ...]:
        """Return the languages in which it can be sent."""
        return tuple(LANGUAGES)


def _printed(words: Mapping[str, Copy]) -> Mapping[str, Copy]:
    return {language: typeset_all(copy, language) for language, copy in words.items()}


def _review(
    id: str, kind: int, words: Mapping[str, Copy], display_name: str, description: str, *,
    shows: Shows = Shows.NOTHING, body: BodyUse = BodyUse.OPTIONAL,
) -> EmailTemplate:  # fmt: skip
    families = {
        KIND_SERVICE: (Family.SERVICE_REVIEW,),
        KIND_PRODUCT: (Family.PRODUCT_REVIEW,),
        KIND_BOTH: (Family.SERVICE_REVIEW, Family.PRODUCT_REVIEW),
    }
    return EmailTemplate(
        id=id, display_name=display_name, description=description, families=families[kind],
        purposes=(Purpose.REVIEW,), kinds=(kind,), body=body, words=_printed(words), shows=shows,
        reason="review",
    )  # fmt: skip


def _free(
    id: str, purpose: Purpose, words: Mapping[str, Copy], display_name: str, description: str, *,
    shows: Shows = Shows.NOTHING, reason: str = "", has_button: bool = True,
) -> EmailTemplate:  # fmt: skip
    return EmailTemplate(
        id=id, display_name=display_name, description=description, families=_FREE,
        purposes=(purpose,), kinds=(KIND_NONE,), body=BodyUse.OPTIONAL, words=_printed(words),
        shows=shows, reason=reason, has_button=has_button,
    )  # fmt: skip


STANDARD_SERVICE: Final = _review(
    "standard-service-review", KIND_SERVICE, reviews.SERVICE,
    "Service review, standard",
    "Thanks for the order and asks how everything went.",
)  # fmt: skip
STANDARD_PRODUCT: Final = _review(
    "standard-product-review", KIND_PRODUCT, reviews.PRODUCT,
    "Product review, standard",
    "Shows what was bought, up to three products with their pictures, and asks what is good and what "
    "is not.",
    shows=Shows.PRODUCTS,
)  # fmt: skip
COMBINED: Final = _review(
    "combined-review", KIND_BOTH, reviews.COMBINED,
    "Service and product review in one",
    "Thanks for the order, shows what was bought and asks about both. In force where a rule asks about "
    "products together with the service.",
    shows=Shows.PRODUCTS,
)  # fmt: skip
OPTIMISED_SERVICE: Final = _review(
    "optimised-service-review", KIND_SERVICE, SHORTER,
    "Service review, optimised",
    "One short question about the order, read at a glance on a telephone.",
    body=BodyUse.FIXED,
)  # fmt: skip
ABANDONED_CART: Final = _free(
    "abandoned-cart", Purpose.MARKETING, carts.FIRST,
    "Abandoned cart",
    "Shows what is in the cart and leads back to it.",
    shows=Shows.CART, reason="cart",
)  # fmt: skip
ABANDONED_CART_LAST: Final = _free(
    "abandoned-cart-last", Purpose.MARKETING, carts.LAST,
    "Abandoned cart, second and last",
    "Shows the cart once more, offers help, and says that it is the last message about it.",
    shows=Shows.CART, reason="cart",
)  # fmt: skip
PAYMENT_RECEIVED: Final = _free(
    "payment-received", Purpose.TRANSACTIONAL, orders.PAYMENT,
    "Payment received",
    "Confirms that the payment of an order has come, with its amount.",
    shows=Shows.PAYMENT, reason="order", has_button=False,
)  # fmt: skip
ORDER_SHIPPED: Final = _free(
    "order-shipped", Purpose.TRANSACTIONAL, orders.SHIPPED,
    "Order shipped",
    "Says that the order is on its way, with carrier, number and expected date of the parcel, and leads "
    "to its tracking page.",
    shows=Shows.PARCEL, reason="order",
)  # fmt: skip
FIRST_PURCHASE: Final = _free(
    "first-purchase-thanks", Purpose.MARKETING, loyalty.FIRST_PURCHASE,
    "Thanks for the first purchase",
    "Thanks a new customer and offers help.",
    reason="customer", has_button=False,
)  # fmt: skip
FREQUENT_BUYER: Final = _free(
    "frequent-buyer", Purpose.MARKETING, loyalty.FREQUENT_BUYER,
    "Frequent buyer",
    "Thanks for several purchases and offers a word about the next order. A benefit is named in a text "
    "of your own.",
    reason="customer", has_button=False,
)  # fmt: skip
WIN_BACK: Final = _free(
    "win-back", Purpose.MARKETING, loyalty.WIN_BACK,
    "Win back",
    "Invites a customer who has not bought for a long time to have a look.",
    reason="customer", has_button=False,
)  # fmt: skip
WIN_BACK_LAST: Final = _free(
    "win-back-last", Purpose.MARKETING, loyalty.WIN_BACK_LAST,
    "Win back, second and last",
    "Asks what could be done better, and says that it is the last message for now.",
    reason="customer", has_button=False,
)  # fmt: skip
CARRIER_DELAY: Final = EmailTemplate(
    id="carrier-delay",
    display_name="Shipment delayed, to the carrier",
    description="Asks the carrier where a delayed shipment is and when it will be delivered.",
    families=_FREE,
    purposes=(Purpose.OPERATIONAL,),
    kinds=(KIND_NONE,),
    body=BodyUse.OPTIONAL,
    words=_printed(orders.DELAY),
    shows=Shows.DELAY,
    reason="carrier",
    is_for_carriers=True,
)
NOTIFICATION: Final = EmailTemplate(
    id="notification",
    display_name="News about an order",
    description="Says that there is news about the order, with what is known of the parcel.",
    families=_FREE,
    purposes=(Purpose.TRANSACTIONAL, Purpose.OPERATIONAL),
    kinds=(KIND_NONE,),
    body=BodyUse.OPTIONAL,
    words=_printed(orders.NEWS),
    shows=Shows.PARCEL,
    reason="order",
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
    reason="consent",
    is_for_rules=False,
)

EMAIL_TEMPLATES: Final[Mapping[str, EmailTemplate]] = {
    each.id: each
    for each in (
        ABANDONED_CART, ABANDONED_CART_LAST, CARRIER_DELAY, COMBINED, CONFIRM_CONSENT, FIRST_PURCHASE,
        FREQUENT_BUYER, NOTIFICATION, OPTIMISED_SERVICE, ORDER_SHIPPED, PAYMENT_RECEIVED, PLAIN,
        STANDARD_PRODUCT, STANDARD_SERVICE, WIN_BACK, WIN_BACK_LAST,
    )
}  # fmt: skip
"""By id."""
