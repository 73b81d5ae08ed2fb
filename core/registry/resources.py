"""What operators configure: channels, event types, caps, rules and where they are active.

Decides: the stored shape of each resource (JSON through msgspec) and its full name.
Never: whether a request is valid (control/) or what a rule does (core/rules, core/engine).

Every resource carries the `number` under which binary records name it, allocated once and never given
to another, and the registry revision that last changed it, from which its etag is made.

Units: `*_ms` milliseconds, instants since the epoch.
"""

from __future__ import annotations

import enum

import msgspec

from core.model import ActivationState, Family, Medium, Purpose
from core.registry.branding import Branding
from core.registry.breakers import BreakerSettings
from core.registry.diversion_parts import Diversion, PlatformKind
from core.registry.rule_parts import (
    Condition,
    DebounceTrigger,
    DormantTrigger,
    EmailSender,
    MediumHours,
    OnCap,
    OncePer,
    PurchaseTrigger,
    ReviewSettings,
    Step,
    StopEvent,
)


class ConsentMode(enum.IntEnum):
    """How the consent of a channel's customers is known (R20)."""

    REQUIRE_EVIDENCE = 1
    SHOP_ATTESTS = 2


class ProductExclusivity(enum.IntEnum):
    """How many product review rules one channel may have active (B28, R37)."""

    PER_CHANNEL = 1
    PER_EVENT_TYPE = 2


class HistoryScope(enum.IntEnum):
    """Whose purchases count together for triggers that look at the past (R43)."""

    CHANNEL = 1
    ACCOUNT = 2


class OrderMeaning(enum.IntEnum):
    """What a shop's own order status means."""

    PAID = 1
    CANCELLED = 2
    RETURNED = 3
    REFUNDED = 4


class Entitlement(enum.IntEnum):
    """What an account has booked (B26, C2)."""

    PRODUCT_REVIEWS = 1
    NOTIFICATIONS = 2
    AUTOMATIONS = 3


class CapScope(enum.IntEnum):
    """What a cap is counted per, beside the contact (R24)."""

    ACCOUNT = 1
    CHANNEL = 2
    PURPOSE = 3
    RULE = 4
    MEDIUM = 5
    PRODUCT = 6
    """Each product that requests ask about: what was asked about is left out (R28)."""


class CapUnit(enum.IntEnum):
    """What a cap counts as one (R23)."""

    MESSAGE = 1
    ORDER = 2


class CapSubject(enum.IntEnum):
    """Whose messages a cap counts together."""

    CONTACT = 1
    """Each contact's: a frequency limit."""
    ALL_CONTACTS = 2
    """Those to all: a volume limit (R29)."""


class DeferTo(enum.IntEnum):
    """To when a cap defers (R27)."""

    EXACT = 1
    NEXT_TIME_OF_DAY = 2


class CapSteps(enum.IntEnum):
    """Which steps of a rule a cap looks at."""

    ALL = 0
    FIRST = 1
    FOLLOW_UP = 2


class Resource(msgspec.Struct, kw_only=True):
    """What all resources share."""

    account: str
    id: str
    number: int = 0
    """Names the resource in binary records; allocated by the registry, never reused."""
    display_name: str = ""
    changed_revision: int = 0
    """The registry revision that wrote it last."""
    create_ms: int = 0
    update_ms: int = 0

    @property
    def etag(self) -> str:
        """Changes with every change (AIP-154: a quoted string)."""
        return f'"{self.changed_revision:x}"'


class EventType(Resource, kw_only=True):
    """A kind of happening (A10, A11)."""

    active: bool = True
    shipped: bool = False

    @property
    def name(self) -> str:
        """Full resource name."""
        return f"accounts/{self.account}/eventTypes/{self.id}"


class Channel(Resource, kw_only=True):
    """One shop or sales channel."""

    time_zone: str
    locale: str
    email_sender: EmailSender | None = None
    consent_mode: ConsentMode = ConsentMode.REQUIRE_EVIDENCE
    use_activation_date: bool = False
    hours: tuple[MediumHours, ...] = ()
    """At most one per medium; a medium without has the defaults of `core.rules.hours`."""
    country: str = ""
    """ISO 3166-1 alpha-2: whose public holidays count where the recipient's country is not told."""
    region: str = ""
    """ISO 3166-2 subdivision without the country, for holidays of a region."""
    closed_dates: tuple[str, ...] = ()
    """Further days "YYYY-MM-DD" that count as public holidays for everybody."""
    product_exclusivity: ProductExclusivity = ProductExclusivity.PER_CHANNEL
    checkout_is_paid: bool = True
    """A checkout or order_created counts as a purchase (R43)."""
    history_scope: HistoryScope = HistoryScope.CHANNEL
    order_statuses: dict[str, OrderMeaning] = {}
    """What the shop's order statuses mean; others mean nothing."""
    features: tuple[str, ...] = ()
    """What the shop has switched on, for rules that need it (D10)."""
    review_event_types_off: tuple[str, ...] = ()
    """Event types whose review requests are switched off here, service and product alike (B9)."""
    complaint_breaker: BreakerSettings = BreakerSettings()
    """When complaints hold back what it sends (g6)."""
    diversion: Diversion | None = None
    """Which of its review requests go to other platforms; None: none ever did (A29)."""
    senders: dict[Medium, str] = {}
    """Id of the sender of each medium; one that is not there has the daemon's own, if there is one."""
    review_page_url: str = ""
    """Where reviews are written that stay here, with the placeholder of `core.engine.review_links`; "":
    whoever is asked replies to the message."""
    branding: Branding | None = None
    """How its e-mails look, and its imprint; None: as Afterword ships them, without one."""

    @property
    def name(self) -> str:
        """Full resource name."""
        return f"accounts/{self.account}/channels/{self.id}"


class Cap(Resource, kw_only=True):
    """A frequency cap (R23-R28), or, for the subject ALL_CONTACTS, a volume limit (R29)."""

    scope: CapScope
    window_ms: int
    limit: int | None = None
    """None: no cap. 0: blocks everything."""
    purposes: list[Purpose] = []
    """Empty: all but TRANSACTIONAL and OPERATIONAL."""
    media: list[Medium] = []
    """Empty: all."""
    steps: CapSteps = CapSteps.ALL
    unit: CapUnit = CapUnit.MESSAGE
    on_cap: OnCap = OnCap.BY_PURPOSE
    longest_deferral_ms: int = 0
    """0: bounded by the invitation's expiry alone."""
    defer_to: DeferTo = DeferTo.EXACT
    subject: CapSubject = CapSubject.CONTACT

    @property
    def name(self) -> str:
        """Full resource name."""
        return f"accounts/{self.account}/caps/{self.id}"


class Rule(Resource, kw_only=True):
    """What should follow from an event, in one revision."""

    revision: int = 1
    family: Family
    purpose: Purpose
    event_type: str
    """What sets it off; "" for a rule with another trigger."""
    condition: Condition | None = None
    steps: list[Step]
    stop_when: list[str] = []
    """Event types that end what waits for the same order."""
    expire_after_ms: int | None = None
    priority: int = 0
    is_deleted: bool = False
    warnings: list[str] = []
    purchase: PurchaseTrigger | None = None
    dormant: DormantTrigger | None = None
    debounce: DebounceTrigger | None = None
    stops: list[StopEvent] = []
    """Event types that end what waits by another key than the order."""
    once_per: OncePer = OncePer.EVENT
    review: ReviewSettings | None = None
    required_features: list[str] = []
    """Features a channel must have when a message falls due, else FEATURE_OFF (D10)."""
    copied_from: str = ""
    """Id of the rule it was copied from, for one channel."""
    copied_for: str = ""
    """Id of that channel: a later copy to it brings this rule up to date instead (R41)."""
    automation: str = ""
    """Id of the predefined automation it was made from."""

    @property
    def name(self) -> str:
        """Full resource name."""
        return f"accounts/{self.account}/rules/{self.id}"


class Activation(msgspec.Struct, kw_only=True):
    """A rule on one channel. No document: never active there."""

    account: str
    channel: str
    """Id of the channel."""
    rule: str
    """Id of the rule."""
    state: ActivationState
    actor: str = ""
    update_ms: int = 0
    stop_revision: int = 0
    """What was planned under this registry revision or an earlier one was stopped (D17, D20)."""
    stopped_from: ActivationState = ActivationState.UNSPECIFIED
    """How it stood when it was stopped; only in the state STOPPED."""

    @property
    def name(self) -> str:
        """Full resource name."""
        return f"accounts/{self.account}/channels/{self.channel}/activations/{self.rule}"


class Account(msgspec.Struct, kw_only=True):
    """A tenant: exists once its event types and default caps have been written."""

    id: str
    create_ms: int = 0
    entitlements: tuple[Entitlement, ...] = tuple(Entitlement)
    changed_revision: int = 0

    @property
    def name(self) -> str:
        """Full resource name."""
        return f"accounts/{self.id}"

    @property
    def etag(self) -> str:
        """Changes with every change."""
        return f'"{self.changed_revision:x}"'


class Carrier(Resource, kw_only=True):
    """A carrier that shipments name, and how it is written to (C5, R49)."""

    email: str = ""
    phone: str = ""
    locale: str = ""

    @property
    def name(self) -> str:
        """Full resource name."""
        return f"accounts/{self.account}/carriers/{self.id}"


class Platform(Resource, kw_only=True):
    """A place where reviews are written, other than the own one (A28, A29, R47)."""

    kind: PlatformKind
    review_types: tuple[Family, ...]
    """Of SERVICE_REVIEW and PRODUCT_REVIEW, what it takes."""
    review_url: str
    """Where reviews are written, with placeholders (`core.engine.review_links`)."""
    templates: dict[Medium, str] = {}
    """Id of the template of messages that lead there, where it is not the rule's."""
    reports_reviews: bool = False
    """It tells when somebody has reviewed; else a click on the link counts as that (R47)."""
    needs_data_forwarding: bool = True
    """Leading there takes the contact's consent to DATA_FORWARDING."""

    @property
    def name(self) -> str:
        """Full resource name."""
        return f"accounts/{self.account}/platforms/{self.id}"


SHIPPED_EVENT_TYPES = (
    "checkout", "checkout_started", "delivery", "return", "order_created", "order_updated",
    "order_cancelled", "payment_received", "refund", "order_shipped", "picked_up",
    "shipment_delayed", "cart_updated", "cart_abandoned", "store_visit", "review_submitted",
    "identify",
)  # fmt: skip
"""What every account has from its first day."""

PURCHASE_TYPES = frozenset({"payment_received"})
UNPAID_PURCHASE_TYPES = frozenset({"checkout", "order_created"})
"""Purchases where `Channel.checkout_is_paid` says so (R43)."""

DEFAULT_REVIEW_STOPS = ("order_cancelled", "return", "review_submitted")
"""stop_when of a review rule that sets none (R39)."""

ID_OPTIONAL_TYPES = frozenset({"checkout", "order_created", "order_cancelled"})
"""Types whose events may come without an id (R3)."""
