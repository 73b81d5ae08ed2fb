"""One event on its way through accept, and what it counts as.

Decides: which other types an event stands for by its order status, whether it is a purchase or takes one
back, and what ties it to runs. Values only.

Source: R39, R43, `Channel.order_statuses`.
"""

from __future__ import annotations

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
        "has_contact", "has_rivals", "is_import", "meant_type", "order_key", "stop_number",
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
        self.meant_type = meant_type(event, channel)
        self.alias_keys: tuple[bytes, ...] = ()
        """Who turns out to be this contact by it (D21): see `core/engine/adoption.py`."""
        self.has_rivals = False
        """One of them stood for another contact before."""
        self.stop_number = 0
        """Number of the tombstone that it leaves on its order, 0 for none."""

    @property
    def types(self) -> tuple[str, ...]:
        """The event types it counts as: its own, and what its order status means."""
        own = self.event.type
        return (own,) if self.meant_type in ("", own) else (own, self.meant_type)

    @property
    def is_purchase(self) -> bool:
        """True if it says that something was paid (R43)."""
        types = self.types
        if any(one in PURCHASE_TYPES for one in types):
            return True
        return self.channel.checkout_is_paid and types[0] in UNPAID_PURCHASE_TYPES

    @property
    def is_refund(self) -> bool:
        """True if it takes a purchase back."""
        return any(one in REFUND_TYPES for one in self.types)

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


def meant_type(event: Event, channel: Channel) -> str:
    """Return the event type that the event's order status stands for here, "" for none."""
    status = event.order.status if event.order is not None else ""
    meaning = channel.order_statuses.get(status) if status else None
    return MEANT_TYPES[meaning] if meaning is not None else ""
