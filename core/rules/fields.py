"""Which fields a condition may name, and where `core.model` keeps them.

Decides: the closed table from field names of the API to attributes of the model. A name that is not
in it cannot be read by any condition, whatever a stored tree says.
Never: what is done with the values.

Virtual fields: Money has no number that a condition could compare, so every message with a `total`
also has `amount` (a double) and `currency` (R42), which stand for `total`'s. `has()` of either says
whether there is a total.
"""

from __future__ import annotations

import enum
from typing import Any, NamedTuple

from core.errors import ExpressionInvalid
from core.model import Address, Cart, Contact, Event, Money, Order, Review, Shipment


class Kind(enum.Enum):
    """What a field holds, as conditions see it."""

    STRING = "string"
    INT = "int"
    DOUBLE = "double"
    BOOL = "bool"
    MESSAGE = "message"
    MESSAGES = "list of messages"
    STRINGS = "list of strings"


class Field(NamedTuple):
    """One field of the table."""

    kind: Kind
    attribute: str = ""
    """Its attribute in `core.model`."""
    message: str = ""
    """The message of a MESSAGE, or of the elements of MESSAGES."""
    alias: tuple[str, ...] = ()
    """For a virtual field: the names it stands for."""


def _strings(*names: str) -> dict[str, Field]:
    return {name: Field(Kind.STRING, name) for name in names}


_WITH_TOTAL = {
    "total": Field(Kind.MESSAGE, "total", "Money"),
    "items": Field(Kind.MESSAGES, "items", "Item"),
    "amount": Field(Kind.DOUBLE, alias=("total", "amount")),
    "currency": Field(Kind.STRING, alias=("total", "currency_code")),
}

FIELDS: dict[str, dict[str, Field]] = {
    "Event": {
        **_strings("id", "source", "type", "locale", "system", "system_version"),
        "contact": Field(Kind.MESSAGE, "contact", "Contact"),
        "order": Field(Kind.MESSAGE, "order", "Order"),
        "cart": Field(Kind.MESSAGE, "cart", "Cart"),
        "shipment": Field(Kind.MESSAGE, "shipment", "Shipment"),
        "review": Field(Kind.MESSAGE, "review", "Review"),
    },
    "Contact": {
        **_strings("email", "phone", "reference", "first_name", "last_name", "locale"),
        **_strings("time_zone", "country", "session_id"),
        "address": Field(Kind.MESSAGE, "address", "PostalAddress"),
    },
    "PostalAddress": {
        "lines": Field(Kind.STRINGS, "lines"),
        **_strings("city", "region", "postal_code"),
    },
    "Order": {**_strings("reference", "status"), **_WITH_TOTAL},
    "Cart": {**_strings("id", "url"), **_WITH_TOTAL},
    "Item": {
        **_strings("sku", "name", "url", "category", "brand", "gtin", "mpn", "image_url"),
        "quantity": Field(Kind.INT, "quantity"),
        "price": Field(Kind.MESSAGE, "price", "Money"),
        "tags": Field(Kind.STRINGS, "tags"),
    },
    "Shipment": _strings("carrier", "method", "tracking_number", "tracking_url"),
    "Review": {
        "kind": Field(Kind.INT, "kind"),
        "rating": Field(Kind.INT, "rating"),
        "product_sku": Field(Kind.STRING, "product_sku"),
        "has_comment": Field(Kind.BOOL, "has_comment"),
    },
    "Money": {
        "currency_code": Field(Kind.STRING, "currency"),
        "units": Field(Kind.INT, "units"),
        "nanos": Field(Kind.INT, "nanos"),
        "amount": Field(Kind.DOUBLE, "amount"),
    },
}

ROOTS = ("event", "contact", "order", "shipment", "cart", "review")
"""The variables of a condition; all but `event` are its fields."""

EMPTY: dict[str, Any] = {
    "Contact": Contact(),
    "Order": Order(),
    "Cart": Cart(),
    "Shipment": Shipment(),
    "Review": Review(),
    "Money": Money(),
    "PostalAddress": Address(),
}
"""What an unset message reads as: the defaults of protobuf."""


def resolve(message: str, names: tuple[str, ...]) -> tuple[Field, ...]:
    """Return the fields that a path of names goes through, virtual ones replaced.

    Raises:
        ExpressionInvalid: the table has no such field.
    """
    fields: list[Field] = []
    for name in names:
        field = FIELDS.get(message, {}).get(name)
        if field is None:
            raise ExpressionInvalid(f"{message} has no field {name!r:.80} for conditions")
        steps = resolve(message, field.alias) if field.alias else (field,)
        fields.extend(steps)
        message = steps[-1].message if steps[-1].kind is Kind.MESSAGE else ""
    return tuple(fields)


def expand(root: str, names: tuple[str, ...], *, is_presence: bool = False) -> tuple[str, ...]:
    """Return the path from the event for a path from any variable, virtual fields replaced.

    Args:
        root: one of `ROOTS`.
        names: the path from there.
        is_presence: for `has()`: a virtual field is there if the message it is taken from is.
    """
    return expand_from("Event", names if root == "event" else (root, *names), is_presence)


def expand_from(message: str, names: tuple[str, ...], is_presence: bool) -> tuple[str, ...]:
    """Return a path from a message with virtual fields replaced; see `expand`."""
    *owners, last = names
    above = resolve(message, tuple(owners))
    owner = above[-1].message if above else message
    field = FIELDS.get(owner, {}).get(last)
    if field is None or not field.alias:
        return names
    return (*owners, *(field.alias[:-1] if is_presence else field.alias))


def read(event: Event, names: tuple[str, ...]) -> Any:
    """Return a field's value as conditions see it, defaults included.

    Args:
        event: the event.
        names: from `expand`.
    """
    value: Any = event
    for field in resolve("Event", names):
        value = getattr(value, field.attribute)
        if value is None:
            value = EMPTY[field.message]
    return value


def is_set(event: Event, names: tuple[str, ...]) -> bool:
    """Return whether a field is set, as `has()` tells it.

    Args:
        event: the event.
        names: from `expand` with `is_presence`.

    As protobuf says: a message if it is there, a list if it has elements, anything else if it is
    not the default. The model always has a contact, so a contact of defaults only is not set.
    """
    value = getattr(read(event, names[:-1]), resolve("Event", names)[-1].attribute)
    return bool(value) and value != EMPTY["Contact"]
