"""Which template is in force for a message.

Decides: the default of each family (A20, B39), and what stands in where a template does not fit what a
request asks about by the time it goes out (R38).
Never: whether a rule may name a template; that is asked when it is saved.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from core.errors import RenderingFailed
from core.model import REVIEW_FAMILIES, Family, Purpose
from core.records import KIND_PRODUCT, KIND_SERVICE
from senders.catalogue.emails import (
    CARRIER_DELAY,
    COMBINED,
    EMAIL_TEMPLATES,
    KIND_BOTH,
    KIND_NONE,
    NOTIFICATION,
    PLAIN,
    STANDARD_PRODUCT,
    STANDARD_SERVICE,
    EmailTemplate,
)

_BY_KINDS: Final[Mapping[int, EmailTemplate]] = {
    KIND_NONE: NOTIFICATION,
    KIND_SERVICE: STANDARD_SERVICE,
    KIND_PRODUCT: STANDARD_PRODUCT,
    KIND_BOTH: COMBINED,
}
_KINDS: Final[Mapping[int, int]] = {
    Family.SERVICE_REVIEW: KIND_SERVICE,
    Family.PRODUCT_REVIEW: KIND_PRODUCT,
}


def in_force(
    wanted: str, family: int, kinds: int, *, has_text: bool, to_carrier: bool = False
) -> EmailTemplate:
    """Return the template of a message.

    A template without words for what is asked about gives way to the default: a request about service
    and products that is about the service alone in the end says nothing of products.

    Args:
        wanted: id; "" for the default.
        kinds: what is asked about, as bits of `core.records`; 0 for what the family asks about.
        has_text: the action has a text. That of a free family is then the whole message.
        to_carrier: it goes to a carrier.

    Raises:
        RenderingFailed: there is no such template in this version.
    """
    kinds = kinds or kinds_of(family)
    if not wanted:
        if kinds:
            return _BY_KINDS[kinds]
        return PLAIN if has_text else _without_text(to_carrier)
    template = EMAIL_TEMPLATES.get(wanted)
    if template is None:
        raise RenderingFailed("the rule names a template that this version does not have")
    return template if kinds in template.kinds else _BY_KINDS[kinds]


def _without_text(to_carrier: bool) -> EmailTemplate:
    return CARRIER_DELAY if to_carrier else NOTIFICATION


def words_without_text(family: int, kinds: int) -> EmailTemplate:
    """Return whose subject a message has if neither its action nor its template brings one."""
    return _BY_KINDS[kinds or kinds_of(family)]


def kinds_of(family: int) -> int:
    """Return what a rule of the family asks about by itself, as bits of `core.records`."""
    return _KINDS.get(family, KIND_NONE)


def default_of(family: int) -> EmailTemplate:
    """Return the template of an action that names none."""
    return in_force("", family, KIND_NONE, has_text=family not in REVIEW_FAMILIES)


def fitting(family: Family, purpose: Purpose) -> Sequence[EmailTemplate]:
    """Return the templates that a rule may name, by id."""
    return [
        each
        for each in EMAIL_TEMPLATES.values()
        if each.is_for_rules and family in each.families and purpose in each.purposes
    ]
