"""What states, reasons and waits are called when the story of an invitation is told.

Decides: the words. There is a text for every reason; a test looks.
Never: what is told of one invitation (`core/engine/explain.py`).
"""

from __future__ import annotations

from datetime import UTC, datetime

from core.model import Reason, WaitReason
from core.records import KIND_PRODUCT, KIND_SERVICE
from core.rules.zones import clock as zone_clock

SUMMARIES = {
    Reason.NO_CONSENT: "not sent: there was no consent for this purpose and medium",
    Reason.CONSENT_WITHDRAWN: "not sent: the consent had been withdrawn",
    Reason.UNSUBSCRIBED: "not sent: the contact unsubscribed while it waited",
    Reason.SUPPRESSED: "not sent: the address is on a suppression list",
    Reason.CAPPED: "not sent: a frequency cap was full",
    Reason.REPLACED: "not sent: a better one took the freed place",
    Reason.UNIDENTIFIED: "not sent: nobody knew who the contact was when it fell due",
    Reason.NO_RECIPIENT: "not sent: the contact has no address for this medium",
    Reason.MEDIUM_NOT_CONFIGURED: "not sent: no transport is configured for this medium",
    Reason.FEATURE_OFF: "not sent: a feature that the rule needs is off in the channel",
    Reason.ENTITLEMENT: "not sent: the account has not booked this kind of message",
    Reason.CONDITION_FALSE: "not sent: by then the condition was false",
    Reason.PRODUCT_ALREADY_ASKED: "not sent: there is no product left to ask about",
    Reason.QUIET_HOURS: "not sent: it fell into closed hours, which the channel skips",
    Reason.DUPLICATE: "not sent: this order has its request of this kind already",
    Reason.BY_CLIENT: "not sent: a client cancelled it",
    Reason.RULE_INACTIVE: "not sent: the rule was off, with no other in its place, when it fell due",
    Reason.RULE_STOPPED: "not sent: the rule was stopped",
    Reason.RULE_DELETED: "not sent: the rule was deleted",
    Reason.EVENT_TYPE_INACTIVE: "not sent: the event type was off when it fell due",
    Reason.STEP_OFF: "not sent: the step was switched off",
    Reason.ORDER_CANCELLED: "not sent: the order was cancelled",
    Reason.RETURNED: "not sent: the goods went back",
    Reason.PURCHASED: "not sent: the purchase was made",
    Reason.REVIEWED: "not sent: the review had been written",
    Reason.PARENT_NOT_DELIVERED: "not sent: the message before it did not arrive",
    Reason.CONDITION_CHANGED: "not sent: an edit of the rule left no place for it",
    Reason.ERASED: "not sent: the contact was erased",
    Reason.NO_SLOT: "not sent: no permitted moment was left before its end",
    Reason.TOO_LATE: "not sent: its time had run out",
    Reason.LATE_EVENT: "not sent: the event came more than 72 hours after the message was due",
    Reason.PROVIDER_ERROR: "not sent: the transport failed for good",
    Reason.INVALID_RECIPIENT: "not delivered: the recipient's server refused the address",
    Reason.TEMPORARY_RECIPIENT_ERROR: "not delivered: the recipient's server refused it to the end",
    Reason.RENDERING_ERROR: "not sent: the message could not be made",
    Reason.INVALID_TEMPLATE: "not sent: the template is wrong",
    Reason.OUTCOME_UNKNOWN: "handed over, but no answer came; it is not sent again",
    Reason.INTERNAL_ERROR: "not sent: a bug in Afterword; the log of that time says where",
    Reason.CONTACT_FULL: "not sent: too many invitations waited for the contact already",
}
"""How it ended."""

WAITS = {
    WaitReason.NONE: "",
    WaitReason.CAPPED: ", held back by a frequency cap",
    WaitReason.RETRY: ", to be tried again",
    WaitReason.QUIET_HOURS: ", held back by closed hours",
    WaitReason.VOLUME: ", held back by a volume limit",
    WaitReason.FROZEN: ", held because its rule is frozen",
    WaitReason.COMPLAINTS: ", held because too many called messages of its channel unwanted",
}
"""Why it waits longer."""

ASKED = {
    0: "",
    KIND_SERVICE: ", which asks about the service",
    KIND_PRODUCT: ", which asks about the products",
    KIND_SERVICE | KIND_PRODUCT: ", which asks about service and products",
}
"""What a review request asks about."""

STOPS = frozenset({
    Reason.ORDER_CANCELLED, Reason.RETURNED, Reason.PURCHASED, Reason.REVIEWED,
    Reason.UNSUBSCRIBED, Reason.BY_CLIENT, Reason.SUPPRESSED, Reason.RULE_STOPPED,
    Reason.CONDITION_CHANGED, Reason.ERASED, Reason.REPLACED, Reason.PARENT_NOT_DELIVERED,
})  # fmt: skip
"""Reasons that come from somebody or something, at any time."""


def utc(ms: int) -> str:
    """Return an instant as people read it."""
    text = datetime.fromtimestamp(ms / 1_000, UTC).isoformat(sep=" ", timespec="milliseconds")
    return text.replace("+00:00", " UTC").replace(".000", "")


def local(ms: int, zone: str) -> str:
    """Return an instant on the clock of a zone, named."""
    offset_ms = zone_clock(zone).offset_ms(ms)
    shown = datetime.fromtimestamp((ms + offset_ms) / 1_000, UTC)
    return f"{shown.strftime('%Y-%m-%d %H:%M:%S')} {zone}".replace(":00 ", " ")


def span(ms: int) -> str:
    """Return a length of time in its largest whole unit."""
    for unit, name in ((86_400_000, "day"), (3_600_000, "hour"), (60_000, "minute")):
        if ms % unit == 0:
            count = ms // unit
            return f"{count} {name}{'s' if count != 1 else ''}"
    return f"{ms / 1_000:g} seconds"


def masked(address: str) -> str:
    """Return an address as far as it may be told: first letter and domain, or the last two digits."""
    name, at, domain = address.rpartition("@")
    if at:
        return f"{name[:1]}...@{domain}"
    return f"...{address[-2:]}" if address else ""


def plain(name: str, value: object) -> str:
    """Return a value that a condition read, as text; addresses are masked."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return masked(value) if _is_address(name) else value[:_VALUE_CHARS]
    return f"{value!r:.{_VALUE_CHARS}}"


def quoted(name: str, value: object) -> str:
    """Return the same as part of a sentence."""
    return repr(masked(str(value))) if _is_address(name) else f"{value!r:.{_VALUE_CHARS}}"


def _is_address(name: str) -> bool:
    return name.endswith((".email", ".phone"))


_VALUE_CHARS = 80
