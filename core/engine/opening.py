"""When a message may go, as far as hours decide: from a channel and a recipient to the kernel's terms.

Decides: whose clock, country and holidays count for one message (R36, d3).
Never: what an hour is (`core.rules.hours`) or what becomes of a message that must wait.
"""

from __future__ import annotations

import msgspec

from core.model import Contact
from core.registry.resources import Channel
from core.registry.rule_parts import MediumHours, OnClosed
from core.rules.hours import hours_for, obeys_hours, opening_ms
from core.rules.public_holidays import holiday_place
from core.rules.zones import country_of, zones_to_hold


class Hours:
    """The hours of one message.

    Args:
        zone: the resolved zone of the recipient, with its source.
        is_hurried: its windows do not hold it back, only quiet hours and closed days (R45).
    """

    __slots__ = ("_hours", "_place", "_zones")

    def __init__(
        self, channel: Channel, contact: Contact, medium: int, zone: str, zone_source: str,
        *, is_hurried: bool = False,
    ) -> None:  # fmt: skip
        country = (
            country_of(contact.country, contact.phone) if contact.country or contact.phone else ""
        )
        region = contact.address.region if contact.address is not None else ""
        hours = hours_for(channel.hours, medium, country, region)
        if is_hurried and hours is not None:
            hours = msgspec.structs.replace(hours, open=())
        self._hours: MediumHours | None = hours
        self._zones = zones_to_hold(zone, zone_source, country, region)
        self._place = holiday_place(country, region, channel.country, channel.region)

    @property
    def skips(self) -> bool:
        """True if a message that falls due while closed is not sent at all."""
        return self._hours is not None and self._hours.on_closed is OnClosed.SKIP

    def opening_ms(self, at_ms: int, closed_dates: tuple[str, ...]) -> int | None:
        """Return the first instant from `at_ms` on at which it may go; None: not within the horizon."""
        country, region = self._place
        return opening_ms(self._hours, at_ms, self._zones, country, region, closed_dates)


def may_be_closed(channel: Channel, purpose: int, medium: int) -> bool:
    """Return whether hours can matter at all: most e-mail needs no look at the recipient."""
    return obeys_hours(purpose) and (bool(channel.hours) or medium in _MEDIA_WITH_DEFAULTS)


_MEDIA_WITH_DEFAULTS = frozenset({2, 3})
"""SMS and WhatsApp."""
