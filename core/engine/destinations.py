"""Where a review request leads: drawn when it is planned, looked at again when it is due (R47).

Decides: what a plan keeps of the draw; that a platform gets only what it takes; that without the
contact's consent to DATA_FORWARDING over the medium the request stays on the own platform, and its
reminder with it.
Never: the draw itself (`core/engine/diversion.py`), or whether and when a request goes out: wait,
consent, caps and reminders are those of its rule, wherever it leads (A28).

A consent that goes away between the look and the claim is caught by the gate: `forwards_data` makes it
answer LOOK_AGAIN, and the entry is judged anew.
"""

from __future__ import annotations

from typing import Final

import msgspec

from core.antispam import consent
from core.engine.diversion import NOT_DRAWN, draw, parse_shares, platform_of, unit_of
from core.engine.review_links import filled
from core.model import Event, Family, Medium, Purpose, State
from core.ports import Waiting
from core.records import (
    FLAG_FELL_BACK,
    KIND_PRODUCT,
    KIND_SERVICE,
    PlanDetail,
    Reference,
    unpack_contact,
)
from core.registry.diversion_parts import OWN_PLATFORM
from core.registry.resources import Channel, Platform
from core.registry.snapshot import Snapshot

HANDED_OVER: Final = frozenset({State.SENT, State.DELIVERED, State.NOT_DELIVERED, State.UNKNOWN})
"""States in which it is known where a request led."""


class Drawn(msgspec.Struct, frozen=True):
    """What a plan keeps of the draw; field meanings as in `core.records.PlanDetail`."""

    platform: str = ""
    bucket: int = NOT_DRAWN
    shares: str = ""
    salt_number: int = 0


NOTHING_DRAWN: Final = Drawn()


def drawn_for(
    snapshot: Snapshot, channel: Channel, order_reference: str, event_id: str, kinds: int
) -> Drawn:
    """Return the draw for a review request that is being planned; NOTHING_DRAWN if nothing is divided.

    A platform that does not take all that is asked about leaves the request on the own one; bucket and
    shares still say who was drawn.

    Args:
        kinds: what it asks about, as bits; 0 for what is no review request.
    """
    diversion = channel.diversion
    if not kinds or diversion is None or not diversion.weights:
        return NOTHING_DRAWN
    unit = unit_of(order_reference, event_id)
    drawn = draw(channel.account, channel.id, unit, diversion.salt, diversion.weights)
    platform = snapshot.platform(channel.account, drawn.platform)
    is_taken = platform is not None and takes(platform, kinds)
    return Drawn(
        drawn.platform if is_taken else "", drawn.bucket, drawn.shares, len(diversion.salts)
    )


def takes(platform: Platform, kinds: int) -> bool:
    """Return whether a platform takes reviews of everything that is asked about."""
    return all(
        not kinds & bit or Family(bit) in platform.review_types
        for bit in (KIND_SERVICE, KIND_PRODUCT)
    )


# When it is due ---------------------------------------------------------------------------------


class Destination(msgspec.Struct, frozen=True):
    """Where a request that is due leads."""

    platform: Platform | None = None
    """None: to the own platform."""
    fell_back: bool = False
    """It was meant for another one."""

    @property
    def id(self) -> str:
        """Id of the platform, "" for the own one."""
        return self.platform.id if self.platform is not None else ""

    @property
    def forwards_data(self) -> bool:
        """Whether the gate must find the consent to DATA_FORWARDING still there."""
        return self.platform is not None and self.platform.needs_data_forwarding

    def template(self, ref: Reference, detail: PlanDetail, of_rule: str) -> str:
        """Return the template of the message: a reminder has that of the message before (B19)."""
        if self.platform is None:
            return of_rule
        if detail.parent_sequence:
            return detail.platform_template
        return self.platform.templates.get(Medium(ref.medium), of_rule)

    def link(self, event: Event, channel: Channel) -> str:
        """Return where the review is written, "" for the own platform."""
        return "" if self.platform is None else filled(self.platform.review_url, event, channel)


OWN: Final = Destination()
FELL_BACK: Final = Destination(None, fell_back=True)


def destination(
    snapshot: Snapshot, waiting: Waiting, detail: PlanDetail, kinds: int, now_ms: int
) -> Destination:
    """Return where a request leads that is due now.

    What has fallen back once stays: a retry and a reminder lead to where the first attempt did.

    Args:
        kinds: what it asks about by now.
    """
    if not detail.platform:
        return OWN
    if waiting.reference.flags & FLAG_FELL_BACK:
        return FELL_BACK
    platform = snapshot.platform(detail.account, detail.platform)
    if platform is None or not takes(platform, kinds):
        return FELL_BACK
    if platform.needs_data_forwarding and not _may_forward(waiting, now_ms):
        return FELL_BACK
    return Destination(platform)


def _may_forward(waiting: Waiting, now_ms: int) -> bool:
    if not waiting.record:
        return False
    ref = waiting.reference
    entries = unpack_contact(waiting.record).consents
    allowed, _ = consent.decide(
        entries, ref.channel_number, ref.order_key, Purpose.DATA_FORWARDING, ref.medium, now_ms
    )
    return allowed


# Afterwards -------------------------------------------------------------------------------------


def platform_drawn(detail: PlanDetail) -> str:
    """Return the platform a request was planned for, "" if nothing was divided then."""
    if detail.platform:
        return detail.platform
    return "" if detail.bucket == NOT_DRAWN else OWN_PLATFORM


def platform_used(detail: PlanDetail, ref: Reference) -> str:
    """Return the platform a request led to, "" until it was handed over or if nothing was divided."""
    if ref.state not in HANDED_OVER:
        return ""
    return OWN_PLATFORM if ref.flags & FLAG_FELL_BACK else platform_drawn(detail)


def is_click_review(snapshot: Snapshot, detail: PlanDetail, ref: Reference) -> bool:
    """Return whether a click on the link counts as reviewed, so that no reminder follows (R47): the
    request led to a platform that does not tell who has reviewed. Whatever its state: who clicks on it
    has got it."""
    if not detail.platform or ref.flags & FLAG_FELL_BACK:
        return False
    platform = snapshot.platform(detail.account, detail.platform)
    return platform is not None and not platform.reports_reviews


def why(detail: PlanDetail, flags: int) -> str:
    """Return in words why a request leads where it does, "" where nothing was divided."""
    if detail.bucket == NOT_DRAWN:
        return ""
    drawn = platform_of(detail.bucket, parse_shares(detail.shares))
    told = f"bucket {detail.bucket:,} of 10,000 fell to {drawn} ({detail.shares})"
    if drawn != (detail.platform or OWN_PLATFORM):
        return f"{told}; {drawn} does not take what is asked about, so it stays on own"
    if flags & FLAG_FELL_BACK:
        return (
            f"{told}; when due, the consent to DATA_FORWARDING or the platform was gone, so it went "
            "to own"
        )
    return told
