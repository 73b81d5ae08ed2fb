"""The variables of templates: what there is, and of which kind.

Decides: which paths a template may name. What has a URL in its name is a web address or nothing.
Never: what a variable holds for a message (`values.py`).
"""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from typing import Final, Union


class Leaf(enum.Enum):
    """What a path can end at."""

    TEXT = "text"
    NUMBER = "number"
    FLAG = "true or false"
    MONEY = "money"
    TIME = "time"
    ANY = "anything"
    """Not known before: of `attributes`, or made by a filter. May have any fields."""


Shape = Union[Leaf, "Fields", "ListOf"]


class Fields(dict[str, Shape]):
    """A variable with fields."""


class ListOf:
    """A list of things that are alike."""

    __slots__ = ("item",)

    def __init__(self, item: Shape) -> None:
        self.item = item


TEXT, NUMBER, FLAG = Leaf.TEXT, Leaf.NUMBER, Leaf.FLAG
MONEY, TIME, ANY = Leaf.MONEY, Leaf.TIME, Leaf.ANY

ITEM: Final = Fields(
    name=TEXT, sku=TEXT, gtin=TEXT, mpn=TEXT, brand=TEXT, category=TEXT, url=TEXT, image_url=TEXT,
    quantity=NUMBER, price=MONEY, tags=ListOf(TEXT),
)  # fmt: skip

VARIABLES: Final[Mapping[str, Shape]] = Fields(
    contact=Fields(
        first_name=TEXT, last_name=TEXT, name=TEXT, email=TEXT, phone=TEXT, reference=TEXT,
        country=TEXT, city=TEXT, postal_code=TEXT,
    ),
    order=Fields(
        reference=TEXT, status=TEXT, total=MONEY, ordered=TIME, items=ListOf(ITEM),
    ),
    cart=Fields(id=TEXT, url=TEXT, total=MONEY, items=ListOf(ITEM)),
    shipment=Fields(
        carrier=TEXT, method=TEXT, tracking_number=TEXT, tracking_url=TEXT, promised=TIME,
        delivered=TIME,
    ),
    shop=Fields(
        name=TEXT, id=TEXT, country=TEXT, url=TEXT, logo_url=TEXT, accent_color=TEXT,
        support_email=TEXT, imprint=ListOf(TEXT),
    ),
    event=Fields(type=TEXT, occurred=TIME),
    attributes=ANY,
    review_url=TEXT,
    unsubscribe_url=TEXT,
    locale=TEXT,
    is_reminder=FLAG,
    asks_about_service=FLAG,
    asks_about_products=FLAG,
)  # fmt: skip
"""Every variable, by name."""

_OF_LISTS: Final[Mapping[str, Leaf]] = {"size": NUMBER}
_MONEY: Final[Mapping[str, Leaf]] = {"amount": NUMBER, "currency": TEXT}


def step(shape: Shape, segment: object) -> Shape | None:
    """Return what is behind one segment of a path, None if there is nothing of this name.

    Args:
        segment: a name, an index, or None for one that is known only when a message is made.
    """
    if shape is ANY:
        return ANY
    if isinstance(shape, ListOf):
        if segment in ("first", "last") or isinstance(segment, int) or segment is None:
            return shape.item
        return _OF_LISTS.get(str(segment))
    if isinstance(shape, Fields):
        return ANY if segment is None else shape.get(str(segment))
    if shape is MONEY:
        return _MONEY.get(str(segment))
    return NUMBER if shape is TEXT and segment == "size" else None


def known_below(shape: Shape) -> Sequence[str]:
    """Return the names that may follow."""
    if isinstance(shape, ListOf):
        return ("first", "last", "size")
    if isinstance(shape, Fields):
        return tuple(shape)
    return tuple(_MONEY) if shape is MONEY else ()
