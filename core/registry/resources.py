"""What operators configure: channels, event types, caps, rules and where they are active.

Decides: the stored shape of each resource (JSON through msgspec) and its full name.
Never: whether a request is valid (control/) or what a rule does (core/rules, core/engine).

Every resource carries the `number` under which binary records name it, allocated once and never given
to another, and the registry revision that last changed it, from which its etag is made.

Units: `*_ms` milliseconds, instants since the epoch.
"""

from __future__ import annotations

import enum
from typing import Any

import msgspec

from core.model import ActivationState, Family, Medium, Purpose


class ConsentMode(enum.IntEnum):
    """How the consent of a channel's customers is known (R20)."""

    REQUIRE_EVIDENCE = 1
    SHOP_ATTESTS = 2


class WaitBase(enum.IntEnum):
    """From where a wait counts."""

    EVENT = 1
    PREVIOUS_STEP_SENT = 2


class IfPassed(enum.IntEnum):
    """What happens if days and time of day lie before the base (d1.3)."""

    NEXT_DAY = 1
    NOW = 2


class CapScope(enum.IntEnum):
    """What a cap is counted per, beside the contact (R24)."""

    ACCOUNT = 1
    CHANNEL = 2
    PURPOSE = 3
    RULE = 4
    MEDIUM = 5


class CapUnit(enum.IntEnum):
    """What a cap counts as one (R23)."""

    MESSAGE = 1
    ORDER = 2


class OnCap(enum.IntEnum):
    """What happens to a message over the limit (h6)."""

    BY_PURPOSE = 0
    SKIP = 1
    DEFER = 2


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


class EmailSender(msgspec.Struct):
    """Who an e-mail comes from."""

    address: str
    display_name: str = ""
    reply_to: str = ""


class Channel(Resource, kw_only=True):
    """One shop or sales channel."""

    time_zone: str
    locale: str
    email_sender: EmailSender | None = None
    consent_mode: ConsentMode = ConsentMode.REQUIRE_EVIDENCE
    use_activation_date: bool = False

    @property
    def name(self) -> str:
        """Full resource name."""
        return f"accounts/{self.account}/channels/{self.id}"


class Cap(Resource, kw_only=True):
    """A frequency cap (R23-R28)."""

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

    @property
    def name(self) -> str:
        """Full resource name."""
        return f"accounts/{self.account}/caps/{self.id}"


class Wait(msgspec.Struct):
    """When a step is due. Either `elapsed_ms` or `days` is set, never both."""

    elapsed_ms: int | None = None
    days: int | None = None
    time_of_day_ms: int | None = None
    """Local wall time as ms since midnight; only with `days`."""
    span_ms: int = 0
    base: WaitBase = WaitBase.EVENT
    if_passed: IfPassed = IfPassed.NEXT_DAY


class Action(msgspec.Struct):
    """One message over one medium."""

    medium: Medium
    subject: str = ""
    """Empty: the default subject of the family."""


class Step(msgspec.Struct):
    """One message, or one per medium, at one time."""

    id: str
    wait: Wait
    actions: list[Action]
    enabled: bool = True


class Condition(msgspec.Struct):
    """A CEL condition: its text, and the checked tree it was lowered from.

    The tree is nested lists as `core.rules.lowering` documents them, so that a stored rule can be
    compiled again without the CEL front end.
    """

    source: str
    tree: list[Any]


class Rule(Resource, kw_only=True):
    """What should follow from an event, in one revision."""

    revision: int = 1
    family: Family
    purpose: Purpose
    event_type: str
    condition: Condition | None = None
    steps: list[Step]
    stop_when: list[str] = []
    expire_after_ms: int | None = None
    priority: int = 0
    is_deleted: bool = False
    warnings: list[str] = []

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

    @property
    def name(self) -> str:
        """Full resource name."""
        return f"accounts/{self.account}/channels/{self.channel}/activations/{self.rule}"


class Account(msgspec.Struct, kw_only=True):
    """A tenant: exists once its event types and default caps have been written."""

    id: str
    create_ms: int = 0


SHIPPED_EVENT_TYPES = (
    "checkout", "checkout_started", "delivery", "return", "order_created", "order_updated",
    "order_cancelled", "payment_received", "refund", "order_shipped", "picked_up",
    "shipment_delayed", "cart_updated", "cart_abandoned", "store_visit", "review_submitted",
    "identify",
)  # fmt: skip
"""What every account has from its first day."""

DEFAULT_REVIEW_STOPS = ("order_cancelled", "return", "review_submitted")
"""stop_when of a review rule that sets none (R39)."""

ID_OPTIONAL_TYPES = frozenset({"checkout", "order_created", "order_cancelled"})
"""Types whose events may come without an id (R3)."""
