"""Rules on purchases against a naive log: everything told is kept for ever and counted again (R43).

The log knows no guards and no lines that come and go: it is a list of what was told, and each time the
whole story is told from the start.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from core.ports import Guard
from core.records import ContactRecord, HistoryKind, pack_contact, unpack_contact
from core.registry.rule_parts import Rearm
from core.timing_wheel import memory_history as history

WINDOW_MS = 20
ORDERS = [bytes([n]) * 8 for n in range(1, 9)]


class Told(msgspec.Struct, frozen=True):
    """One event: a purchase or its refund."""

    is_refund: bool
    order: bytes
    time_ms: int
    channel: int


class Wanted(msgspec.Struct, frozen=True):
    """One rule."""

    count: int
    rearm: Rearm
    window_ms: int
    """0: for ever."""
    channel: int
    """0: all."""


TOLD = st.lists(
    st.builds(
        Told,
        is_refund=st.sampled_from([False, False, False, True]),
        order=st.sampled_from(ORDERS),
        time_ms=st.integers(1_000, 1_060),
        channel=st.integers(1, 2),
    ),
    max_size=30,
)
RULES = st.lists(
    st.builds(
        Wanted,
        count=st.integers(1, 4),
        rearm=st.sampled_from(Rearm),
        window_ms=st.sampled_from([0, WINDOW_MS]),
        channel=st.integers(0, 2),
    ),
    min_size=1,
    max_size=3,
)


def counted(story: Sequence[Told], rule: Wanted, until_ms: int) -> int:
    """Return how many orders of a story count for a rule: told as bought, never as refunded; each as
    it was told first."""
    refunded = {one.order for one in story if one.is_refund}
    first: dict[bytes, Told] = {}
    for one in story:
        if not one.is_refund and one.order not in refunded:
            first.setdefault(one.order, one)
    since_ms = until_ms - rule.window_ms if rule.window_ms else 0
    return sum(
        since_ms < one.time_ms <= until_ms and rule.channel in (0, one.channel)
        for one in first.values()
    )


def naive_firings(story: Sequence[Told], rule: Wanted) -> list[int]:
    """Return at which places of a story the rule fires."""
    places: list[int] = []
    for place, now in enumerate(story):
        before = story[:place]
        if now.is_refund or any(one.order == now.order for one in before):
            continue
        count = counted(story[: place + 1], rule, now.time_ms)
        if rule.rearm is Rearm.EACH_MULTIPLE:
            fires = count > 0 and count % rule.count == 0
        else:
            is_for_ever = rule.rearm is Rearm.NEVER or not rule.window_ms
            quiet_ms = 0 if is_for_ever else now.time_ms - rule.window_ms
            is_quiet = any(story[fired].time_ms > quiet_ms for fired in places)
            fires = count == rule.count and not is_quiet
        if fires:
            places.append(place)
    return places


def guard(number: int, rule: Wanted, now: Told) -> Guard:
    since_ms = now.time_ms - rule.window_ms if rule.window_ms else 0
    quiet_ms = {Rearm.NEVER: 0, Rearm.AFTER_WINDOW: since_ms, Rearm.EACH_MULTIPLE: 2**47}
    return Guard(
        number, rule.count, since_ms, now.time_ms, rule.channel,
        rule.rearm is Rearm.EACH_MULTIPLE, quiet_ms[rule.rearm],
    )  # fmt: skip


@settings(max_examples=400)
@given(story=TOLD, rules=RULES)
def test_rules_fire_where_the_log_says(story: list[Told], rules: list[Wanted]) -> None:
    """D9, D12, R43: refunds before and after, orders told again, times in any order, several rules."""
    record = ContactRecord()
    fired: dict[int, list[int]] = {number: [] for number in range(len(rules))}
    for place, now in enumerate(story):
        kind = HistoryKind.REFUND if now.is_refund else HistoryKind.PURCHASE
        is_new = history.note(record, [(kind, now.order, now.time_ms, now.channel)])
        guards = [guard(number, rule, now) for number, rule in enumerate(rules)]
        closed = history.closed_rules(record, guards, is_new)
        for number in fired.keys() - closed:
            fired[number].append(place)
        assert unpack_contact(pack_contact(record)).history == record.history
    assert fired == {number: naive_firings(story, rule) for number, rule in enumerate(rules)}


@given(story=TOLD)
def test_what_is_left_does_not_depend_on_the_order_of_refunds(story: list[Told]) -> None:
    """d8: all refunds first, or all last: the same purchases stand."""
    told = [one for one in story if not one.is_refund]
    refunds = [one for one in story if one.is_refund]
    left = []
    for events in (refunds + told, told + refunds, story):
        record = ContactRecord()
        for one in events:
            kind = HistoryKind.REFUND if one.is_refund else HistoryKind.PURCHASE
            history.note(record, [(kind, one.order, one.time_ms, one.channel)])
        left.append({line.key for line in record.history if line.kind == HistoryKind.PURCHASE})
    assert left[0] == left[1] == left[2]
