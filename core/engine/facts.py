"""What is known by now of an order and its customer, beside the event that an invitation came from.

Decides: how later events change the earlier one (C3), and which goods went back (R39).

Each fact tells a part: what it does not tell stays as it was, and what happened later counts, in
whichever order it came. Facts of another order do not count; those without an order tell of the contact.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any, TypeVar

import msgspec

from core.model import Contact, Event, Item, Order, Shipment
from core.records import NO_KEY
from core.timer_records import unpack_facts

_event = msgspec.msgpack.Decoder(Event)

PartT = TypeVar("PartT", bound=msgspec.Struct)

RETURN = "return"
_ALL = 2**31
"""How much went back if a return does not say."""


class Known:
    """An event with all that became known since."""

    __slots__ = ("event", "is_changed", "returned")

    def __init__(self, body: bytes, facts: bytes, order_key: bytes) -> None:
        self.event = _event.decode(body)
        self.is_changed = False
        """True if another event has told something."""
        self.returned: Counter[str] = Counter()
        """How much went back, by sku, where a return has listed it."""
        told = [
            (time_ms, _event.decode(fact))
            for key, time_ms, fact in sorted(unpack_facts(facts), key=lambda fact: fact[1])
            if key in (NO_KEY, order_key)
        ]
        told = [(time_ms, one) for time_ms, one in told if not self._is_itself(one)]
        if not told:
            return
        self.is_changed = True
        occur_ms = self.event.occur_ms
        older = [one for time_ms, one in told if time_ms < occur_ms]
        newer = [one for time_ms, one in told if time_ms >= occur_ms]
        self._learn([*older, self.event, *newer])

    def _is_itself(self, other: Event) -> bool:
        return (other.id, other.type) == (self.event.id, self.event.type)

    def _learn(self, tellings: Sequence[Event]) -> None:
        """Take from events, in the order in which they happened, what each tells."""
        contact, order, shipment = Contact(), None, None
        attributes: dict[str, Any] = {}
        for one in tellings:
            is_list = one.type == RETURN and one.order is not None and bool(one.order.items)
            if is_list and one is not self.event:
                self._take_back(one)
                continue
            contact = _updated(contact, one.contact)
            if one.order is not None:
                order = _updated(order or Order(), one.order)
            if one.shipment is not None:
                shipment = _updated(shipment or Shipment(), one.shipment)
            attributes |= one.attributes
        event = self.event
        event.contact, event.order, event.shipment = contact, order, shipment
        event.attributes = attributes

    def _take_back(self, event: Event) -> None:
        for item in event.order.items if event.order is not None else ():
            self.returned[item.sku or item.name] += item.quantity or _ALL

    @property
    def kept_items(self) -> list[Item]:
        """What was ordered and did not go back."""
        order = self.event.order
        items = order.items if order is not None else []
        return [
            item for item in items if max(item.quantity, 1) > self.returned[item.sku or item.name]
        ]

    @property
    def is_all_returned(self) -> bool:
        """True if nothing of the order is left."""
        return bool(self.returned) and not self.kept_items

    @property
    def event_of_kept(self) -> Event:
        """The event with the goods that did not go back."""
        order = self.event.order
        if order is None or not self.returned:
            return self.event
        order = msgspec.structs.replace(order, items=self.kept_items)
        return msgspec.structs.replace(self.event, order=order)


def _updated(part: PartT, later: PartT) -> PartT:
    """Return a part of an event with what a later one tells of it."""
    told = {name: value for name in later.__struct_fields__ if (value := getattr(later, name))}
    return msgspec.structs.replace(part, **told)
