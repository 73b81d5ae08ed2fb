"""Purchases and refunds in the store, and whether the guard of a rule lets it fire (D9, D12, R43)."""

from __future__ import annotations

from typing import Any

import pytest

from core.bounds import CONTACT_HISTORY_MAX, DAY_MS
from core.model import Disposition
from core.ports import Guard
from core.records import HistoryKind
from core.timing_wheel.memory_history import fired_key
from tests.conformance.kit import NOW, Hands, contact_key, key, plan

THIRD, SHOP, OTHER = 3, 1, 2


def bought(order: str, at_ms: int, channel: int = SHOP) -> tuple[int, bytes, int, int]:
    return int(HistoryKind.PURCHASE), key(order), at_ms, channel


def refunded(order: str, at_ms: int = NOW) -> tuple[int, bytes, int, int]:
    return int(HistoryKind.REFUND), key(order), at_ms, SHOP


def guard(until_ms: int = NOW, **fields: Any) -> Guard:
    given: dict[str, Any] = {
        "rule_number": 1, "count": THIRD, "since_ms": until_ms - 100, "until_ms": until_ms,
        "quiet_since_ms": until_ms - 100,
    }  # fmt: skip
    return Guard(**(given | fields))


async def buy(
    hands: Hands, order: str, at_ms: int, *guards: Guard, channel: int = SHOP
) -> list[int]:
    """Tell of a purchase; return the numbers of the rules that have fired."""
    plans = [plan(rule_number=one.rule_number) for one in guards]
    answer = await hands.commit(*plans, history=(bought(order, at_ms, channel),), guards=guards)
    (planned,) = [tuple(answer.plans)]
    assert answer.disposition == (Disposition.PLANNED if planned else Disposition.NO_MATCH)
    return [(await hands.ref(one.member)).rule_number for one in planned]


async def purchases(hands: Hands) -> list[bytes]:
    record = await hands.record()
    return [line.key for line in record.history if line.kind == HistoryKind.PURCHASE]


async def test_an_order_counts_once_however_often_it_is_told(hands: Hands) -> None:
    """R43: checkout and payment of one order are one purchase; the first told stays."""
    await buy(hands, "1", NOW)
    await buy(hands, "1", NOW + 5)
    (line,) = (await hands.record()).history
    assert (line.kind, line.key, line.time_ms, line.channel_number) == bought("1", NOW)


@pytest.mark.parametrize("is_first", [True, False])
async def test_a_refund_takes_out_and_keeps_out(hands: Hands, is_first: bool) -> None:
    """R43, d8: whether it comes before or after the purchase, and however often."""
    await buy(hands, "kept", NOW)
    if not is_first:
        await buy(hands, "1", NOW)
    for _ in range(2):
        await hands.commit(history=(refunded("1"),))
    assert await buy(hands, "1", NOW, guard(count=2)) == []
    assert await purchases(hands) == [key("kept")]
    assert len((await hands.record()).history) == 2, "a refund is written once"


async def test_a_rule_fires_at_its_number_and_not_after_it(hands: Hands) -> None:
    """D12: from two to three; neither at two nor at four."""
    fired = [await buy(hands, str(n), NOW + n, guard(NOW + n)) for n in range(5)]
    assert fired == [[], [], [1], [], []]


async def test_the_window_is_exact(hands: Hands) -> None:
    """d9: what lies a full window back counts no more; a millisecond less and it does."""
    for contact, first_ms, expected in (("out", NOW - 100, []), ("in", NOW - 99, [1])):
        where = contact_key(contact)
        for order, at_ms in (("1", first_ms), ("2", NOW - 50)):
            await hands.commit(contact_key=where, history=(bought(order, at_ms),))
        answer = await hands.commit(
            plan(), contact_key=where, history=(bought("3", NOW),), guards=(guard(),)
        )
        assert [1 for _ in answer.plans] == expected


async def test_what_comes_after_the_event_does_not_count_for_it(hands: Hands) -> None:
    """d9: the window ends with the event, also if later purchases were told before."""
    await buy(hands, "1", NOW - 2)
    await buy(hands, "later", NOW + 1)
    assert await buy(hands, "2", NOW, guard()) == []
    assert await buy(hands, "3", NOW, guard()) == [1]


async def test_it_fires_again_once_the_window_has_passed(hands: Hands) -> None:
    """R43, re-arm AFTER_WINDOW: three more within the quiet time do not, three after it do."""
    for n in range(3):
        await buy(hands, f"a{n}", NOW, guard())
    again = NOW + 60
    await hands.commit(history=(refunded("a0"),))
    assert await buy(hands, "b", again, guard(again)) == [], "the crossing comes back too soon"
    later = NOW + 100
    fired = [await buy(hands, f"c{n}", later, guard(later)) for n in range(3)]
    assert fired == [[], [1], []], "b and two more; the first three are a window back"


async def test_never_again_means_never(hands: Hands) -> None:
    """R43, re-arm NEVER: quiet since the beginning of time."""
    fired = []
    for year in range(3):
        at_ms = NOW + year * 400 * DAY_MS
        fired.append(await buy(hands, f"{year}", at_ms, guard(at_ms, count=1, quiet_since_ms=0)))
    assert fired == [[1], [], []]


async def test_each_multiple_fires(hands: Hands) -> None:
    """R43, re-arm EACH_MULTIPLE."""
    never_quiet = {"is_multiple": True, "quiet_since_ms": 2**47, "count": 2}
    fired = [await buy(hands, str(n), NOW + n, guard(NOW + n, **never_quiet)) for n in range(6)]
    assert fired == [[], [1], [], [1], [], [1]]


async def test_purchases_count_by_channel_or_all_together(hands: Hands) -> None:
    """R43: history per channel unless the account is asked about."""
    await buy(hands, "1", NOW, channel=OTHER)
    alone = guard(count=2, rule_number=1, channel_number=SHOP)
    together = guard(count=2, rule_number=2)
    assert await buy(hands, "2", NOW, alone, together) == [2]
    assert await buy(hands, "3", NOW, alone, together) == [1]


async def test_only_a_new_purchase_fires(hands: Hands) -> None:
    """R43: neither the payment of an order that was counted, nor an event that is none."""
    assert await buy(hands, "1", NOW, guard(count=2)) == []
    assert await buy(hands, "1", NOW, guard(count=1)) == []
    answer = await hands.commit(plan(), guards=(guard(count=1),))
    assert (answer.disposition, answer.plans) == (Disposition.NO_MATCH, ())


async def test_a_repetition_neither_counts_nor_fires(hands: Hands) -> None:
    """d8: the same event once more gives the first answer."""
    told = {"event_key": key("e"), "history": (bought("1", NOW),), "guards": (guard(count=1),)}
    first = await hands.commit(plan(), **told)
    again = await hands.commit(plan(), **told)
    assert (again.is_duplicate, [p.member for p in again.plans]) == (
        True, [p.member for p in first.plans],
    )  # fmt: skip
    assert len((await hands.record()).history) == 2, "the purchase, and that it fired"


async def test_all_plans_of_a_guarded_rule_go_together_and_others_stay(hands: Hands) -> None:
    """R7: a guard is asked once for all plans of its rule; without plans nothing is kept."""
    two = [plan(rule_number=1, step=step) for step in (0, 1)]
    answer = await hands.commit(
        *two, plan(rule_number=2), history=(bought("1", NOW),), guards=(guard(),)
    )
    assert [(await hands.ref(p.member)).rule_number for p in answer.plans] == [2]
    answer = await hands.commit(*two, history=(bought("2", NOW),), guards=(guard(count=2),))
    assert len(answer.plans) == 2
    fired = [line for line in (await hands.record()).history if line.kind == HistoryKind.FIRED]
    assert [line.key for line in fired] == [fired_key(1)]
    assert [await hands.body(p.member) for p in answer.plans] == [b"body", b"body"]


async def test_rules_remember_their_firings_apart(hands: Hands) -> None:
    """D9, D12: one that has fired does not keep another quiet."""
    assert await buy(hands, "1", NOW, guard(count=1, rule_number=1)) == [1]
    assert await buy(hands, "2", NOW, guard(count=2, rule_number=513)) == [513]


async def test_the_history_of_a_contact_is_bounded(hands: Hands) -> None:
    """The oldest lines go first."""
    lines = tuple(bought(str(n), NOW + n) for n in range(200))
    await hands.commit(history=lines)
    await hands.commit(history=tuple(bought(str(n), NOW + n) for n in range(200, 300)))
    held = await purchases(hands)
    assert len(held) == CONTACT_HISTORY_MAX
    assert held[-1] == key("299")
