"""The clocks on the walls: which zone counts for somebody, and what its clock says when.

Decides: the zone of a recipient (d2), the zones it may be where it is not known, the local day of an
instant, the instant of a wall time. A wall time that a gap skips means the first instant after the
gap; one that comes twice means the first.
Never: when something is due; that is `core.rules.schedule`.

    told of the recipient             zone                 because of
    zone Asia/Tokyo, country PL       Asia/Tokyo           CONTACT
    country PL                        Europe/Warsaw        COUNTRY: one clock
    country US, region NY             America/New_York     REGION: one clock
    country US, region TX             that of the channel  CHANNEL: two clocks, none is told
    phone +48 501 501 501             Europe/Warsaw        PHONE: one clock
    nothing                           that of the channel  CHANNEL

The zone rules are those of the `tzdata` package, not of the machine, so that every process of a
deployment and every replay of a recorded run gives the same instants.

Units: `*_ms` epoch milliseconds. `wall_ms` is a wall time: ms since 1970-01-01 00:00 on the clock of
the zone. `day` counts local calendar days since 1970-01-01.

Invariants:
1. `instant_ms(wall)` shows the wall time `wall` on the zone's clock, unless a gap skips it.
2. No text of a user reaches the file system: only names from the package's own list are opened.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import cache, lru_cache
from importlib import resources
from zoneinfo import ZoneInfo

from core.bounds import DAY_MS, SECOND_MS
from core.errors import InvalidField
from core.rules.phone_countries import phone_country
from core.rules.region_zones import REGION_ZONES, region_code

CONTACT = "contact"
"""The recipient told a zone."""
COUNTRY = "country"
"""The recipient's country has one clock."""
REGION = "region"
"""The state or province in the recipient's address has one clock."""
PHONE = "phone"
"""The country of the recipient's phone number has one clock."""
CHANNEL = "channel"
"""The zone of the shop."""
FALLBACK = "utc"
"""Nobody told a zone that exists."""

CLOCK_DAYS_MAX = 4_096
"""Days one zone's clock remembers, about 100 bytes each; beyond it forgets all and starts again."""

_SAME_CLOCK_FROM = datetime(2025, 1, 1, tzinfo=UTC)
_SAME_CLOCK_WEEKS = 12 * 52
"""A country counts as one zone if all its zones agree week by week from here on; zones that differed
long ago only, as those of Germany or Argentina, are one for everything that is still to be sent."""

_EPOCH = datetime(1970, 1, 1)


class Clock:
    """The clock of one zone, with the days it was asked about.

    Cost: one dictionary look-up a call once a day is known; 1 to 5 us the first time, and on the
    days on which the offset changes.
    """

    __slots__ = ("_offsets", "_steps", "zone")

    def __init__(self, zone: ZoneInfo) -> None:
        self.zone = zone
        self._steps: dict[int, tuple[int, int] | None] = {}
        """By UTC day: (instant of its local midnight, local day before it). None: look closely."""
        self._offsets: dict[int, int | None] = {}
        """By local day: offset in ms. None: it changes on that day."""

    def local_day(self, instant_ms: int) -> int:
        """Return the local day on which `instant_ms` falls, in days since 1970-01-01."""
        utc_day = instant_ms // DAY_MS
        try:
            step = self._steps[utc_day]
        except KeyError:
            step = self._learn_step(utc_day)
        if step is None:
            return (instant_ms + self.offset_ms(instant_ms)) // DAY_MS
        midnight_ms, day = step
        return day if instant_ms < midnight_ms else day + 1

    def instant_ms(self, wall_ms: int) -> int:
        """Return the first instant at which the clock shows `wall_ms`, or the end of its gap."""
        day = wall_ms // DAY_MS
        try:
            offset_ms = self._offsets[day]
        except KeyError:
            offset_ms = self._learn_offset(day)
        if offset_ms is None:
            return self._search_ms(wall_ms)
        return wall_ms - offset_ms

    def offset_ms(self, instant_ms: int) -> int:
        """Return how far the clock is ahead of UTC at an instant."""
        seconds, rest_ms = divmod(instant_ms, SECOND_MS)
        moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds, milliseconds=rest_ms)
        return _milliseconds(moment.astimezone(self.zone).utcoffset())

    def stretches(self, utc_day: int) -> tuple[tuple[int, int, int], ...]:
        """Return a day of UTC cut where the offset changes: (start_ms, end_ms, offset in ms).

        Returns:
            One stretch, or two on a day of change, in order; together they are the whole day.

        Cost: 3 us, 40 us on a day of change; nothing is remembered.
        """
        start_ms, end_ms = utc_day * DAY_MS, (utc_day + 1) * DAY_MS
        first_ms, last_ms = self.offset_ms(start_ms), self.offset_ms(end_ms - 1)
        if first_ms == last_ms:
            return ((start_ms, end_ms, first_ms),)
        change_ms = self._change_ms(start_ms, end_ms - 1, first_ms)
        return ((start_ms, change_ms, first_ms), (change_ms, end_ms, last_ms))

    def _change_ms(self, low_ms: int, high_ms: int, before_ms: int) -> int:
        """Return the first instant after `low_ms` with another offset; there is one by `high_ms`."""
        while high_ms - low_ms > 1:
            middle_ms = (low_ms + high_ms) // 2
            if self.offset_ms(middle_ms) == before_ms:
                low_ms = middle_ms
            else:
                high_ms = middle_ms
        return high_ms

    def _learn_step(self, utc_day: int) -> tuple[int, int] | None:
        start_ms = utc_day * DAY_MS
        offset_ms = self.offset_ms(start_ms)
        step = None
        if offset_ms == self.offset_ms(start_ms + DAY_MS):
            day = (start_ms + offset_ms) // DAY_MS
            step = ((day + 1) * DAY_MS - offset_ms, day)
        if len(self._steps) >= CLOCK_DAYS_MAX:
            self._steps.clear()
        self._steps[utc_day] = step
        return step

    def _learn_offset(self, day: int) -> int | None:
        first, last = day * DAY_MS, (day + 1) * DAY_MS - 1
        offsets = {self._wall_offset_ms(wall, fold) for wall in (first, last) for fold in (0, 1)}
        offset_ms = offsets.pop() if len(offsets) == 1 else None
        if len(self._offsets) >= CLOCK_DAYS_MAX:
            self._offsets.clear()
        self._offsets[day] = offset_ms
        return offset_ms

    def _wall_offset_ms(self, wall_ms: int, fold: int) -> int:
        moment = (_EPOCH + timedelta(milliseconds=wall_ms)).replace(tzinfo=self.zone, fold=fold)
        return _milliseconds(moment.utcoffset())

    def _search_ms(self, wall_ms: int) -> int:
        """Resolve a wall time on a day on which the offset changes.

        PEP 495: with fold 0 an ambiguous or skipped time has the offset from before the change, with
        fold 1 the one from after it. A skipped time has the smaller offset first; the change then lies
        between the two readings, and bisection finds it.
        """
        before_ms, after_ms = (self._wall_offset_ms(wall_ms, fold) for fold in (0, 1))
        if before_ms >= after_ms:
            return wall_ms - before_ms
        return self._change_ms(wall_ms - after_ms - 1, wall_ms - before_ms, before_ms)


def resolve_zone(
    contact_zone: str, contact_country: str, channel_zone: str, phone: str = "", region: str = ""
) -> tuple[str, str]:
    """Return the zone that counts for a recipient, and why it does (d2).

    Args:
        contact_zone: what the recipient's contact tells, or "".
        contact_country: ISO 3166-1 alpha-2, or "".
        channel_zone: the shop's zone.
        phone: E.164, or ""; looked at only where neither zone nor country is told.
        region: the state or province of the address, or ""; looked at only where the country has
            several clocks.

    Returns:
        (IANA key, source): the recipient's own zone, else that of a country, state or phone number
        with one clock, else the shop's, else UTC. A key that does not exist is passed over. The source
        is one of `CONTACT`, `COUNTRY`, `REGION`, `PHONE`, `CHANNEL` and `FALLBACK`, and is stored with
        the invitation.

    Cost: O(1); no allocation but the answer. 0.2 us, with a phone or a state 1 us.
    """
    if contact_zone and is_zone(contact_zone):
        return contact_zone, CONTACT
    if contact_country:
        key, source = country_zone(contact_country), COUNTRY
        if key is None and region:
            key, source = _only(possible_zones(contact_country, region)), REGION
    else:
        key, source = country_zone(phone_country(phone)) if phone else None, PHONE
    if key is not None:
        return key, source
    if is_zone(channel_zone):
        return channel_zone, CHANNEL
    return "UTC", FALLBACK


def zones_to_hold(zone: str, source: str, country: str, region: str = "") -> tuple[str, ...]:
    """Return the zones in all of which hours must hold: the strictest is safe (g7).

    Args:
        zone: what `resolve_zone` gave.
        source: why.
        country: the recipient's, as `country_of` gives it, or "".
        region: the state or province of the recipient's address, or "".

    Returns:
        The recipient's own zone where it is known; else all that their country or state has; else
        `zone`. At most a dozen.
    """
    if source in (CONTACT, COUNTRY, REGION, PHONE):
        return (zone,)
    return possible_zones(country, region) or (zone,)


def country_of(contact_country: str, phone: str) -> str:
    """Return the recipient's country in capitals: what is told if it exists, else by the phone.

    Args:
        contact_country: ISO 3166-1 alpha-2 in any case, or "".
        phone: E.164, or "".
    """
    country = contact_country.strip().upper()
    if country in _country_keys():
        return country
    return phone_country(phone) if phone else ""


def is_zone(key: str) -> bool:
    """Return whether `key` names a zone, spelt as IANA spells it."""
    return key in _zone_keys()


@cache
def clock(key: str) -> Clock:
    """Return the clock of a zone; the same one every time.

    Raises:
        InvalidField: there is no such zone.
    """
    if not is_zone(key):
        raise InvalidField(
            f"time zone {key!r:.80} is not known; use an IANA name such as Europe/Warsaw"
        )
    path = resources.files("tzdata").joinpath("zoneinfo", *key.split("/"))
    with path.open("rb") as data:
        return Clock(ZoneInfo.from_file(data, key=key))


@lru_cache(maxsize=1024)
def country_zone(country: str) -> str | None:
    """Return the zone of a country all of whose clocks agree, else None.

    Args:
        country: ISO 3166-1 alpha-2, in any case.
    """
    return _only(possible_zones(country))


def possible_zones(country: str, region: str = "") -> tuple[str, ...]:
    """Return zones for all the clocks of a country or state, each clock once.

    Args:
        country: ISO 3166-1 alpha-2, in any case.
        region: a code of `core.rules.region_zones`, or anything else, which narrows nothing down.

    Returns:
        IANA keys in the order of zone.tab, the first for zones that agree; none for a country that
        does not exist.

    Cost: 1 ms for each zone of the country the first time, then three look-ups.
    """
    country = country.upper()
    keys = _country_keys().get(country, ())
    if region and country in REGION_ZONES:
        keys = REGION_ZONES[country].get(region_code(country, region), keys)
    return keys if len(keys) < 2 else _clocks_apart(keys)


@lru_cache(maxsize=1024)
def _clocks_apart(keys: tuple[str, ...]) -> tuple[str, ...]:
    """Return the zones without those whose clock an earlier one shows, week by week."""
    weeks = (_SAME_CLOCK_FROM + timedelta(weeks=week) for week in range(_SAME_CLOCK_WEEKS))
    moments = [int(moment.timestamp()) * SECOND_MS for moment in weeks]
    clocks: dict[tuple[int, ...], str] = {}
    for key in keys:
        offset_ms = clock(key).offset_ms
        clocks.setdefault(tuple(offset_ms(moment) for moment in moments), key)
    return tuple(clocks.values())


def _only(keys: tuple[str, ...]) -> str | None:
    return keys[0] if len(keys) == 1 else None


@cache
def _zone_keys() -> frozenset[str]:
    text = resources.files("tzdata").joinpath("zones").read_text(encoding="utf-8")
    return frozenset(text.split()) - {"Factory"}


@cache
def _country_keys() -> dict[str, tuple[str, ...]]:
    """Zones by country, in the order of zone.tab."""
    path = resources.files("tzdata").joinpath("zoneinfo", "zone.tab")
    keys: dict[str, tuple[str, ...]] = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        if line and not line.startswith("#"):
            country, _, key = line.split("\t")[:3]
            keys[country] = (*keys.get(country, ()), key)
    return keys


def _milliseconds(offset: timedelta | None) -> int:
    assert offset is not None, "a zone always has an offset"
    return offset // timedelta(milliseconds=1)
