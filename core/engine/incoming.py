"""One event on its way through accept, and what it counts as.

Decides: which other types an event stands for by its order status, whether it is a purchase or takes one
back, and what ties it to runs. Values only.

Source: R39, R43, `Channel.order_statuses`.
"""

from __future__ import annotations

from functools import lru_cache

from core.engine.identity import Identity
from core.model import Event
from core.records import NO_KEY
from core.registry.resources import (
    PURCHASE_TYPES,
    UNPAID_PURCHASE_TYPES,
    Channel,
    EventType,
    OrderMeaning,
)

MEANT_TYPES = {
    OrderMeaning.PAID: "payment_received",
    OrderMeaning.CANCELLED: "order_cancelled",
    OrderMeaning.RETURNED: "return",
    OrderMeaning.REFUNDED: "refund",
}
"""The shipped event type that an order status stands for."""

IDENTIFY = "identify"
REFUND_TYPES = frozenset({"refund", "order_cancelled"})
"""What takes a purchase back."""


class Incoming:
    """One event, with the keys it is filed under."""

    __slots__ = (
        "alias_keys", "body", "channel", "contact_key", "event", "event_key", "event_type",
        "has_contact", "has_rivals", "is_import", "is_purchase", "is_refund", "order_key",
        "stop_number", "types",
    )  # fmt: skip

    def __init__(
        self, event: Event, channel: Channel, event_type: EventType, event_key: bytes,
        contact_key: bytes, has_contact: bool, order_key: bytes, body: bytes,
        is_import: bool = False,
    ) -> None:  # fmt: skip
        self.event = event
        self.channel = channel
        self.event_type = event_type
        self.event_key = event_key
        self.contact_key = contact_key
        """The contact named; without one, the order itself stands for the unknown contact."""
        self.has_contact = has_contact
        self.order_key = order_key
        self.body = body
        self.is_import = is_import
        """Recorded, but nothing follows from it."""
        counts = counts_as(event.type, meant_type(event, channel), channel.checkout_is_paid)
        self.types, self.is_purchase, self.is_refund = counts
        self.alias_keys: tuple[bytes, ...] = ()
        """Who turns out to be this contact by it (D21): see `core/engine/adoption.py`."""
        self.has_rivals = False
        """One of them stood for another contact before."""
        self.stop_number = 0
        """Number of the tombstone that it leaves on its order, 0 for none."""

    @property
    def is_partial_return(self) -> bool:
        """True if goods went back, but perhaps not all: the return lists which (R39). What an event of
        another type lists is the order."""
        order = self.event.order
        return self.event.type == "return" and order is not None and bool(order.items)

    def cart_key(self, identity: Identity) -> bytes:
        """Return which cart it is about, `NO_KEY` for none."""
        cart = self.event.cart
        if cart is None or not cart.id:
            return NO_KEY
        return identity.cart_key(self.channel.account, self.channel.id, cart.id)


@lru_cache(maxsize=4_096)
def counts_as(
    event_type: str, meant: str, checkout_is_paid: bool
) -> tuple[tuple[str, ...], bool, bool]:
    """Return what an event counts as.

    Args:
        event_type: its own.
        meant: the type that its order status stands for, "" for none.
        checkout_is_paid: of the channel.

    Returns:
        (the types, its own first; whether it says that something was paid, R43; whether it takes a
        purchase back).
    """
    types = (event_type,) if meant in ("", event_type) else (event_type, meant)
    is_paid = any(one in PURCHASE_TYPES for one in types)
    is_purchase = is_paid or (checkout_is_paid and event_type in UNPAID_PURCHASE_TYPES)
    return types, is_purchase, any(one in REFUND_TYPES for one in types)


def meant_type(event: Event, channel: Channel) -> str:
    """Return the event type that the event's order status stands for here, "" for none."""
    status = event.order.status if event.order is not None else ""
    meaning = channel.order_statuses.get(status) if status else None
    return MEANT_TYPES[meaning] if meaning is not None else ""
