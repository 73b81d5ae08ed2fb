"""The parts that rules and channels are made of: waits, actions, steps, triggers, hours.

Decides: the stored shape of each part. Values only.
Never: whether a part makes sense (control/) or what it does (core/rules, core/engine).

Units: `*_ms` milliseconds; a time of day is ms since local midnight.
"""

from __future__ import annotations

import enum
from typing import Any

import msgspec

from core.model import Medium


class WaitBase(enum.IntEnum):
    """From where a wait counts."""

    EVENT = 1
    PREVIOUS_STEP_SENT = 2
    ACTIVATION_DATE = 3
    """The event's activation date if that is later, else the event (R31)."""


class IfPassed(enum.IntEnum):
    """What happens if days and time of day lie before the base (d1.3)."""

    NEXT_DAY = 1
    NOW = 2


class OnClosed(enum.IntEnum):
    """What happens to a message that falls due while its medium may not be used."""

    HOLD = 1
    """It waits for the next opening."""
    SKIP = 2
    """It ends SKIPPED (QUIET_HOURS)."""


class OnCap(enum.IntEnum):
    """What happens to a message over the limit (h6)."""

    BY_PURPOSE = 0
    SKIP = 1
    DEFER = 2
    REPLACE = 3
    """As DEFER, but of all that waits for the cap only the best stays (R28)."""


class Rearm(enum.IntEnum):
    """When a rule on a number of purchases fires for the same contact again (D12, R43)."""

    NEVER = 1
    AFTER_WINDOW = 2
    """Once the window since the last time has passed."""
    EACH_MULTIPLE = 3
    """At two, three, ... times the number within the window, too."""


class OncePer(enum.IntEnum):
    """For what a rule of a free family sends the same step at most once (R1)."""

    EVENT = 1
    ORDER = 2
    CART = 3
    CONTACT = 4


class StopKey(enum.IntEnum):
    """What ties an event that stops to the run it stops."""

    ORDER = 1
    CART = 2
    CONTACT = 3


class Recipient(enum.IntEnum):
    """To whom an action goes (C17)."""

    CUSTOMER = 1
    CARRIER = 2


class ProductTiming(enum.IntEnum):
    """When products are asked about (B31, B32)."""

    OWN = 1
    """In an invitation of their own, after that for the service."""
    SAME_AS_SERVICE = 2
    """Together with the service, in one invitation."""


class EmailSender(msgspec.Struct):
    """Who an e-mail comes from."""

    address: str
    display_name: str = ""
    reply_to: str = ""


class Window(msgspec.Struct, frozen=True):
    """A stretch of the day, [start, end), on the wall clock; one that ends before it starts goes on
    past midnight, one that ends where it starts is off (d3)."""

    start_ms: int
    """ms since midnight, 0 to less than 24 hours."""
    end_ms: int
    weekdays: tuple[int, ...] = ()
    """1 Monday to 7 Sunday, of the day on which it starts; empty: every day."""


class MediumHours(msgspec.Struct, frozen=True):
    """When a medium may be used for messages that obey hours: REVIEW and MARKETING (R36)."""

    medium: Medium
    open: tuple[Window, ...] = ()
    """Only inside one of these; empty: at any time."""
    quiet: tuple[Window, ...] = ()
    """Never inside one of these."""
    closed_on_holidays: bool = False
    on_closed: OnClosed = OnClosed.HOLD


class Wait(msgspec.Struct):
    """When a step is due. Either `elapsed_ms` or `days` is set, never both."""

    elapsed_ms: int | None = None
    days: int | None = None
    time_of_day_ms: int | None = None
    """Local wall time as ms since midnight; only with `days`."""
    span_ms: int = 0
    base: WaitBase = WaitBase.EVENT
    if_passed: IfPassed = IfPassed.NEXT_DAY
    span_days: int = 0
    """Spreads over this many whole days, each at the time of day (R35); 0 and 1 are one day."""


class Condition(msgspec.Struct, dict=True):
    """A CEL condition: its text, and the checked tree it was lowered from. What is compiled of it may be
    kept beside it.

    The tree is nested lists as `core.rules.tree` documents them, so that a stored rule can be
    compiled again without the CEL front end.
    """

    source: str
    tree: list[Any]


class Action(msgspec.Struct):
    """One message over one medium."""

    medium: Medium
    subject: str = ""
    """Empty: the default subject of the family."""
    recipient: Recipient = Recipient.CUSTOMER
    wait: Wait | None = None
    """Replaces the step's wait (C11)."""
    template: str = ""
    """Id of a template; empty: the default of the family."""
    sender: EmailSender | None = None
    """Replaces the channel's (D2)."""
    preheader: str = ""
    body: str = ""
    """Text of the message where the template leaves it open."""
    whatsapp_parameters: list[str] = []
    """What fills the body of an approved WhatsApp template, in order; with placeholders."""


class WaitOverride(msgspec.Struct):
    """Another wait for events that pass a test (R34)."""

    condition: Condition
    wait: Wait


class Step(msgspec.Struct):
    """One message, or one per medium, at one time."""

    id: str
    wait: Wait
    actions: list[Action]
    enabled: bool = True
    condition: Condition | None = None
    """Looked at when the step is due, on what is known by then."""
    wait_overrides: list[WaitOverride] = []
    """The first that passes replaces the wait."""
    exempt_from_caps: list[str] = []
    """Ids of caps that do not hold it back (R24)."""
    not_counted_by_caps: list[str] = []
    """Ids of caps in which it does not count."""
    on_cap: OnCap = OnCap.BY_PURPOSE
    """Over what caps say, unless BY_PURPOSE (R28)."""


class StopEvent(msgspec.Struct, frozen=True):
    """An event type that ends what waits, and what ties them together."""

    event_type: str
    key: StopKey = StopKey.ORDER


class PurchaseTrigger(msgspec.Struct, frozen=True):
    """The n-th purchase within a time; the first one of all with count 1 and no window (D9, D12)."""

    count: int
    window_months: int = 0
    """Calendar months; 0: see `window_ms`."""
    window_ms: int = 0
    """0 with no months: all purchases ever."""
    rearm: Rearm = Rearm.AFTER_WINDOW


class DormantTrigger(msgspec.Struct, frozen=True):
    """No purchase, or no event of a type, for a time (D13)."""

    after: Wait
    event_type: str = ""
    """Empty: purchases."""


class DebounceTrigger(msgspec.Struct, frozen=True):
    """So long after the last of a series of events: the abandoned cart (D5)."""

    event_type: str
    quiet_ms: int


class ReviewSettings(msgspec.Struct, frozen=True):
    """What only rules that ask for reviews have."""

    questionnaire: str = ""
    """Id of a questionnaire template; empty: the default."""
    comment_required: bool = False
    """Carried to the questionnaire, no condition of sending (B36)."""
    product_timing: ProductTiming = ProductTiming.OWN
