"""Events as they are kept, back to protobuf: for those whom they concern.

Decides: nothing; `event_from_proto` reads back what is written here.

The fields of both are called alike, but for times, which end in `_ms` here and in `_time` there.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec
from google.protobuf.message import Message

from afterword.v1 import event_pb2
from control.conversion import times
from core.model import Contact, Event, Evidence, Item, Money, Shipment

_NAMES: Final = {
    (Evidence, "source"): "collection_point",
    (Evidence, "time_ms"): "evidence_time",
    (Money, "currency"): "currency_code",
    (Shipment, "delivered_ms"): "delivery_time",
}


def event_to_proto(event: Event) -> event_pb2.Event:
    """Return an event as it was published, with what became known of its contact."""
    pb = event_pb2.Event()
    _fill(pb, event)
    return pb


def contact_to_proto(contact: Contact) -> event_pb2.Contact:
    """Return what is known of a contact."""
    pb = event_pb2.Contact()
    _fill(pb, contact)
    return pb


def item_to_proto(item: Item) -> event_pb2.Item:
    """Return one line of an order."""
    pb = event_pb2.Item()
    _fill(pb, item)
    return pb


def _fill(pb: Message, part: msgspec.Struct) -> None:
    """Write a part of an event into its message; what is not told stays unset."""
    pb.SetInParent()
    for name in part.__struct_fields__:
        value: Any = getattr(part, name)
        is_part = isinstance(value, msgspec.Struct)
        if not (value or is_part):
            continue
        field = _NAMES.get((type(part), name)) or name.removesuffix("_ms")
        if name.endswith("_ms"):
            field = field if field.endswith("_time") else f"{field}_time"
            getattr(pb, field).CopyFrom(times.timestamp(value))
        elif field in pb.DESCRIPTOR.fields_by_name:
            _set(pb, field, value)


def _set(pb: Message, field: str, value: Any) -> None:
    if isinstance(value, msgspec.Struct):
        _fill(getattr(pb, field), value)
    elif isinstance(value, dict):
        getattr(pb, field).update(value)
    elif isinstance(value, list):
        target = getattr(pb, field)
        for one in value:
            if isinstance(one, msgspec.Struct):
                _fill(target.add(), one)
            else:
                target.append(one)
    elif field == "activation_date":
        getattr(pb, field).CopyFrom(times.date(value))
    else:
        setattr(pb, field, value)
