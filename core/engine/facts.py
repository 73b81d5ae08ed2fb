"""What is known by now of an order and its customer, beside the event that an invitation came from.

Decides: how later events change the earlier one (C3), and which goods went back (R39).

Each fact tells a part: what it does not tell stays as it was. Facts of another order do not count; those
without an order tell of the contact.
"""

from __future__ import annotations

from typing import TypeVar

import msgspec

from core.model import Event, Order
from core.records import NO_KEY
from core.timer_records import unpack_facts

_event = msgspec.msgpack.Decoder(Event)

PartT = TypeVar("PartT", bound=msgspec.Struct)

RETURN = "return"


class Known:
    """An event with all that became known since."""

    __slots__ = ("event", "is_changed", "returned")

    def __init__(self, body: bytes, facts: bytes, order_key: bytes) -> None:
        self.event = _event.decode(body)
        self.is_changed = False
        """True if a later event has told something."""
        self.returned: set[str] = set()
        """What went back, by sku, where a return has listed it."""
        for key, _, later in sorted(unpack_facts(facts), key=lambda fact: fact[1]):
            if key in (NO_KEY, order_key):
                self._learn(_event.decode(later))

    def _learn(self, later: Event) -> None:
        event = self.event
        if later.id == event.id and later.type == event.type:
            return
        self.is_changed = True
        if later.type == RETURN and later.order is not None and later.order.items:
            self.returned |= {item.sku or item.name for item in later.order.items}
            return
        event.contact = _updated(event.contact, later.contact)
        if later.order is not None:
            event.order = _updated(event.order or Order(), later.order)
        if later.shipment is not None:
            event.shipment = (
                later.shipment
                if event.shipment is None
                else _updated(event.shipment, later.shipment)
            )
        if later.attributes:
            event.attributes = {**event.attributes, **later.attributes}

    @property
    def kept_items(self) -> list[str]:
        """What was ordered and did not go back, by sku."""
        order = self.event.order
        items = order.items if order is not None else []
        return [name for item in items if (name := item.sku or item.name) not in self.returned]

    @property
    def is_all_returned(self) -> bool:
        """True if nothing of the order is left."""
        return bool(self.returned) and not self.kept_items


def _updated(part: PartT, later: PartT) -> PartT:
    """Return a part of an event with what a later one tells of it."""
    told = {name: value for name in later.__struct_fields__ if (value := getattr(later, name))}
    return msgspec.structs.replace(part, **told)
