"""The CDNOW sample: real purchases, one a line.

Decides: how a line reads. The file is shipped beside this module; `data/README.md` says where it is
from.
Never: anything that the file does not say (`control/demo/story.py` does).

Some lines are full duplicates: only its line number tells an order from another.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterable
from importlib import resources

import msgspec

COLUMN_COUNT = 5


class Purchase(msgspec.Struct, frozen=True):
    """One order.

    Units: `cents` are US cents.
    """

    line: int
    """In the file, from 1."""
    customer: str
    """Id in the sample, four digits."""
    day: datetime.date
    quantity: int
    """How many CDs."""
    cents: int


def load(order_count: int | None = None) -> list[Purchase]:
    """Return the shipped purchases in the order of the file: by customer, then by day.

    Args:
        order_count: only the first so many lines.
    """
    text = resources.files("control.demo").joinpath("data/cdnow_sample.txt").read_text("ascii")
    return parse(text.splitlines()[:order_count])


def parse(lines: Iterable[str]) -> list[Purchase]:
    """Read lines as the sample has them.

    Raises:
        ValueError: a line is not a purchase; the message names it.
    """
    return [_parse_line(line, number) for number, line in enumerate(lines, start=1)]


def _parse_line(line: str, number: int) -> Purchase:
    columns = line.split()
    if len(columns) != COLUMN_COUNT:
        raise ValueError(f"line {number}: {len(columns)} columns instead of {COLUMN_COUNT}")
    _, customer, day, quantity, dollars = columns
    units, point, cents = dollars.partition(".")
    try:
        if not point or len(cents) != 2:
            raise ValueError(f"'{dollars}' is not an amount with cents")
        return Purchase(
            line=number,
            customer=customer,
            day=datetime.datetime.strptime(day, "%Y%m%d").date(),
            quantity=int(quantity),
            cents=int(units) * 100 + int(cents),
        )
    except ValueError as error:
        raise ValueError(f"line {number}: {error}") from None
