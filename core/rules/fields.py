"""Which fields a condition may name, and where `core.model` keeps them.

Decides: the closed table from field names of the API to attributes of the model. A name that is not
in it cannot be read by any condition, whatever a stored tree says.
Never: what is done with the values.

Unset fields read as protobuf's defaults: "" or 0, 1970 for an instant, a message of defaults.

Virtual fields: Money has no number that a condition could compare, so every message with a `total`
also has `amount` (a double) and `currency` (R42), which stand for `total`'s. `has()` of either says
whether there is a total.
"""

from __future__ import annotations

import enum
from typing import Any, NamedTuple

from core.errors import ExpressionInvalid
from core.model import (
    Address,
    Cart,
    Contact,
    Event,
    Evidence,
    Item,
    Money,
    Order,
    Review,
    Shipment,
)
from core.rules.cel_times import date_of, time_of
from core.rules.cel_types import Date, EvaluationError, in_words


class Kind(enum.Enum):
    """What a field holds, as conditions see it."""

    STRING = "string"
    INT = "int"
    DOUBLE = "double"
    BOOL = "bool"
    TIMESTAMP = "timestamp"
    MAP = "map"
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


FORMS: dict[str, str] = {
    "amount": "({0}.units + {0}.nanos / 1e9)",
    "activation_date": "date_of({0}.activation_date)",
}
"""How attributes that are not read as they are look in Python; {0} is their owner's name."""


def _strings(*names: str) -> dict[str, Field]:
    return {name: Field(Kind.STRING, name) for name in names}


def _time(attribute: str) -> Field:
    return Field(Kind.TIMESTAMP, attribute)


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
        "consents": Field(Kind.MESSAGES, "consents", "ConsentEvidence"),
        "occur_time": _time("occur_ms"),
        "requested_send_time": _time("requested_send_ms"),
        "activation_date": Field(Kind.MESSAGE, "activation_date", "Date"),
        "attributes": Field(Kind.MAP, "attributes"),
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
    "Order": {
        **_strings("reference", "status"),
        **_WITH_TOTAL,
        "order_time": _time("order_ms"),
    },
    "Cart": {**_strings("id", "url"), **_WITH_TOTAL},
    "Item": {
        **_strings("sku", "name", "url", "category", "brand", "gtin", "mpn", "image_url"),
        "quantity": Field(Kind.INT, "quantity"),
        "price": Field(Kind.MESSAGE, "price", "Money"),
        "tags": Field(Kind.STRINGS, "tags"),
    },
    "Shipment": {
        **_strings("carrier", "method", "tracking_number", "tracking_url"),
        "promised_time": _time("promised_ms"),
        "delivery_time": _time("delivered_ms"),
    },
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
    "ConsentEvidence": {
        "purpose": Field(Kind.INT, "purpose"),
        "medium": Field(Kind.INT, "medium"),
        "given": Field(Kind.BOOL, "given"),
        "evidence_time": _time("time_ms"),
        "collection_point": Field(Kind.STRING, "source"),
        "text_version": Field(Kind.STRING, "text_version"),
    },
    "Date": {name: Field(Kind.INT, name) for name in ("year", "month", "day")},
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
    "Date": Date(),
}
"""What an unset message reads as: the defaults of protobuf."""

_OWNERS: dict[type, str] = {
    **{type(value): message for message, value in EMPTY.items()},
    Event: "Event",
    Item: "Item",
    Evidence: "ConsentEvidence",
}


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
    if not names:
        return ()
    *owners, last = names
    above = resolve(message, tuple(owners))
    owner = above[-1].message if above else message
    field = FIELDS.get(owner, {}).get(last)
    if field is None or not field.alias:
        return names
    return (*owners, *(field.alias[:-1] if is_presence else field.alias))


def value_of(owner: Any, field: Field) -> Any:
    """Return a field of a message of the model as conditions see it, defaults included."""
    value = getattr(owner, field.attribute)
    if field.kind is Kind.TIMESTAMP:
        return time_of(value)
    if field.message == "Date":
        return date_of(value)
    return EMPTY[field.message] if value is None else value


def read(event: Event, names: tuple[str, ...]) -> Any:
    """Return a field's value as conditions see it, defaults included.

    Args:
        event: the event.
        names: from `expand`.
    """
    value: Any = event
    for field in resolve("Event", names):
        value = value_of(value, field)
    return value


def is_set(event: Event, names: tuple[str, ...]) -> bool:
    """Return whether a field is set, as `has()` tells it.

    Args:
        event: the event.
        names: from `expand` with `is_presence`.

    As protobuf says: a message if it is there, a list if it has elements, anything else if it is
    not the default. The model always has a contact, so a contact of defaults only is not set; nor is
    a map of attributes without any.
    """
    return _is_set(read(event, names[:-1]), resolve("Event", names)[-1])


def _is_set(owner: Any, field: Field) -> bool:
    value = getattr(owner, field.attribute)
    if field.kind is Kind.MESSAGE and field.message != "Date":
        return value is not None and value != EMPTY["Contact"]
    return bool(value)


def select(owner: Any, name: str) -> Any:
    """Return a field of a message that is known only when the condition runs."""
    value = owner
    for field in _steps(owner, (name,)):
        value = value_of(value, field)
    return value


def has(owner: Any, name: str) -> bool:
    """Return whether a field of a message that is known only when the condition runs is set."""
    message = _OWNERS.get(type(owner), "")
    *above, last = _steps(owner, expand_from(message, (name,), True) if message else (name,))
    for field in above:
        owner = value_of(owner, field)
    return _is_set(owner, last)


def _steps(owner: Any, names: tuple[str, ...]) -> tuple[Field, ...]:
    message = _OWNERS.get(type(owner))
    if message is None:
        raise EvaluationError(f"selecting {names[0]!r:.80} from {in_words(owner)}, which is no map")
    try:
        return resolve(message, names)
    except ExpressionInvalid:
        raise EvaluationError(f"no such field: {names[0]!r:.80}") from None
