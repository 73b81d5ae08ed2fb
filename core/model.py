"""The words of the domain: what happened, what follows, how it ended.

Decides: the vocabulary (enumerations with stable numbers, because they are stored and sent) and the
shapes that travel between the stages. Values only: nothing here waits, asks the time or does I/O.

Units: every `*_ms` is epoch milliseconds (an instant) or milliseconds (a span); the name says which.
"""

from __future__ import annotations

import enum
from typing import Any

import msgspec


class Medium(enum.IntEnum):
    """How a message reaches its recipient. Numbers as in the API."""

    UNSPECIFIED = 0
    EMAIL = 1
    SMS = 2
    WHATSAPP = 3
    WEBHOOK = 4


class Purpose(enum.IntEnum):
    """Why somebody is written to; decides consent, caps and quiet hours (R16, R21)."""

    UNSPECIFIED = 0
    REVIEW = 1
    MARKETING = 2
    TRANSACTIONAL = 3
    OPERATIONAL = 4
    DATA_FORWARDING = 5


CONSENT_PURPOSES = frozenset({Purpose.REVIEW, Purpose.MARKETING})
"""Purposes that need a consent before a message goes out."""


class Family(enum.IntEnum):
    """What kind of rule it is; review families are exclusive per channel (h1, R37)."""

    UNSPECIFIED = 0
    SERVICE_REVIEW = 1
    PRODUCT_REVIEW = 2
    NOTIFICATION = 3
    AUTOMATION = 4


REVIEW_FAMILIES = frozenset({Family.SERVICE_REVIEW, Family.PRODUCT_REVIEW})


class ActivationState(enum.IntEnum):
    """A rule on one channel (R14)."""

    UNSPECIFIED = 0
    INACTIVE = 1
    ACTIVE = 2
    PAUSED = 3
    FROZEN = 4
    STOPPED = 5
    SUPERSEDED = 6


class State(enum.IntEnum):
    """The life of an invitation (R8). SENT and later are ended."""

    UNSPECIFIED = 0
    SCHEDULED = 1
    IN_FLIGHT = 2
    SENT = 3
    DELIVERED = 4
    NOT_DELIVERED = 5
    SKIPPED = 6
    CANCELLED = 7
    EXPIRED = 8
    FAILED = 9
    UNKNOWN = 10

    @property
    def is_ended(self) -> bool:
        """True once no gate, clock or operator will send it any more."""
        return self >= State.SENT


class Reason(enum.IntEnum):
    """Why an invitation ended as it did (R9). NONE for those sent without remark."""

    NONE = 0
    # SKIPPED: a gate said no.
    NO_CONSENT = 1
    CONSENT_WITHDRAWN = 2
    UNSUBSCRIBED = 3
    SUPPRESSED = 4
    CAPPED = 5
    REPLACED = 6
    UNIDENTIFIED = 7
    NO_RECIPIENT = 8
    MEDIUM_NOT_CONFIGURED = 9
    FEATURE_OFF = 10
    ENTITLEMENT = 11
    CONDITION_FALSE = 12
    PRODUCT_ALREADY_ASKED = 13
    QUIET_HOURS = 14
    DUPLICATE = 15
    # CANCELLED: someone or an event ended it.
    BY_CLIENT = 32
    RULE_INACTIVE = 33
    RULE_STOPPED = 34
    RULE_DELETED = 35
    EVENT_TYPE_INACTIVE = 36
    STEP_OFF = 37
    ORDER_CANCELLED = 38
    RETURNED = 39
    PURCHASED = 40
    REVIEWED = 41
    PARENT_NOT_DELIVERED = 42
    CONDITION_CHANGED = 43
    ERASED = 44
    # EXPIRED: no time left.
    NO_SLOT = 64
    TOO_LATE = 65
    LATE_EVENT = 66
    # FAILED, NOT_DELIVERED and UNKNOWN: what the transport said.
    PROVIDER_ERROR = 96
    INVALID_RECIPIENT = 97
    TEMPORARY_RECIPIENT_ERROR = 98
    RENDERING_ERROR = 99
    INVALID_TEMPLATE = 100
    OUTCOME_UNKNOWN = 101
    INTERNAL_ERROR = 102
    CONTACT_FULL = 103


class WaitReason(enum.IntEnum):
    """Why a scheduled invitation waits longer than planned."""

    NONE = 0
    CAPPED = 1
    RETRY = 2
    QUIET_HOURS = 3
    VOLUME = 4
    FROZEN = 5
    COMPLAINTS = 6
    """Too many complaints about its channel and medium (g6)."""


class Disposition(enum.IntEnum):
    """What became of an event (R6: received = planned + the rest)."""

    UNSPECIFIED = 0
    PLANNED = 1
    NO_MATCH = 2
    INACTIVE = 3
    DUPLICATE = 4
    REFUSED = 5


class ConsentStatus(enum.IntEnum):
    """What one consent entry says."""

    UNSPECIFIED = 0
    GRANTED = 1
    DENIED = 2
    WITHDRAWN = 3
    PENDING = 4
    """Asked for by double opt-in, not confirmed yet (R11)."""
    CONFIRMED = 5
    """Granted with proof: by a call, or by a confirmed double opt-in. Ends unsubscribes too (R18)."""
    LIFTED = 6
    """An operator took suppressions away."""
    ASSUMED = 7
    """By the shop (R20, g2), until the contact says anything; never outweighs a withdrawal."""


class Suppression(enum.IntEnum):
    """Why an address or contact is not written to (R18, R22). Statuses beside `ConsentStatus`."""

    UNSUBSCRIBED = 16
    COMPLAINED = 17
    HARD_BOUNCED = 18
    BLOCKED = 19
    IMPORTED = 20
    ERASED = 21


LASTING_SUPPRESSIONS = frozenset({Suppression.HARD_BOUNCED, Suppression.BLOCKED})
"""What no consent ends: about the address itself, or an operator's word."""


class LegalBasis(enum.IntEnum):
    """Why writing is lawful (g2). Numbers as in the API."""

    UNSPECIFIED = 0
    CONSENT = 1
    EXISTING_CUSTOMER = 2
    """Own customers, told of it when the address was collected, and in each message."""
    CONTRACT = 3


class ConsentScope(enum.IntEnum):
    """What a consent entry covers; the most specific evidence wins (R17)."""

    ACCOUNT = 0
    CHANNEL = 1
    ORDER = 2


# --- what happened ------------------------------------------------------------------------------


class Money(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """An amount. `units` and `nanos` as in google.type.Money; `amount` is both as a double."""

    currency: str = ""
    units: int = 0
    nanos: int = 0

    @property
    def amount(self) -> float:
        """The amount as a double, for conditions."""
        return self.units + self.nanos / 1e9


class Item(msgspec.Struct, array_like=True, gc=False):
    """One line of an order or cart."""

    sku: str = ""
    name: str = ""
    url: str = ""
    category: str = ""
    brand: str = ""
    gtin: str = ""
    mpn: str = ""
    image_url: str = ""
    quantity: int = 0
    price: Money | None = None
    tags: list[str] = []


class Address(msgspec.Struct, array_like=True, gc=False):
    """A postal address; only what rules and templates use."""

    lines: list[str] = []
    city: str = ""
    region: str = ""
    postal_code: str = ""


class Contact(msgspec.Struct, array_like=True, gc=False):
    """Who it concerns. E-mail first, then phone, then the shop's reference identify it (R4)."""

    email: str = ""
    phone: str = ""
    reference: str = ""
    first_name: str = ""
    last_name: str = ""
    locale: str = ""
    time_zone: str = ""
    country: str = ""
    session_id: str = ""
    address: Address | None = None


class Order(msgspec.Struct, array_like=True, gc=False):
    """The order, as far as the shop tells it."""

    reference: str = ""
    status: str = ""
    total: Money | None = None
    order_ms: int = 0
    items: list[Item] = []


class Cart(msgspec.Struct, array_like=True, gc=False):
    """A cart that may be abandoned."""

    id: str = ""
    url: str = ""
    total: Money | None = None
    items: list[Item] = []


class Shipment(msgspec.Struct, array_like=True, gc=False):
    """A parcel on its way. Times in epoch ms, 0 for not told."""

    carrier: str = ""
    method: str = ""
    tracking_number: str = ""
    tracking_url: str = ""
    promised_ms: int = 0
    delivered_ms: int = 0


class Review(msgspec.Struct, array_like=True, gc=False):
    """A review that was written. `kind` is a Family value, 0 for any; `link_token` is not kept."""

    kind: int = 0
    rating: int = 0
    product_sku: str = ""
    has_comment: bool = False
    link_token: str = ""


class Evidence(msgspec.Struct, array_like=True, gc=False):
    """Consent carried on an event: evidence for that order (R17). `time_ms` 0: the event's time."""

    purpose: int = 0
    medium: int = 0
    given: bool = False
    time_ms: int = 0
    source: str = ""
    text_version: str = ""
    legal_basis: int = 0
    """A `LegalBasis`; 0: consent."""
    expire_ms: int = 0
    """0: never."""
    locale: str = ""
    text_sha256: str = ""
    """Of the wording shown, hexadecimal."""
    ip_address: str = ""
    user_agent: str = ""


class Event(msgspec.Struct, array_like=True, gc=False):
    """What happened in a shop. This shape, as msgpack, is the stored body of an event.

    Units: `*_ms` epoch milliseconds. `activation_date` is a civil date "YYYY-MM-DD" or "".
    Field order is the storage format: append only.
    """

    id: str
    source: str
    type: str
    channel: str
    occur_ms: int
    contact: Contact
    order: Order | None = None
    cart: Cart | None = None
    shipment: Shipment | None = None
    review: Review | None = None
    consents: list[Evidence] = []
    activation_date: str = ""
    requested_send_ms: int = 0
    locale: str = ""
    system: str = ""
    system_version: str = ""
    attributes: dict[str, Any] = {}
