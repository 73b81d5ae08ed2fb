"""What becomes known while something waits (C3): kept for it, bounded, and gone with it."""

from __future__ import annotations

from core.bounds import CONTACT_FACTS_BYTES_MAX
from core.model import Reason, State
from core.ports import Stop
from core.records import NO_KEY
from core.timer_records import FACT_HEAD, unpack_facts
from tests.conformance.kit import NOW, Hands, item, key, plan

ORDER, OTHER = key("order"), key("other order")


async def facts(hands: Hands, member: bytes) -> list[tuple[bytes, int, bytes]]:
    waiting = await hands.read(member)
    assert waiting is not None
    return list(unpack_facts(waiting.facts))


async def learn(hands: Hands, of: bytes, body: bytes, at_ms: int = NOW) -> None:
    await hands.commit(facts_key=of, body=body, event_time_ms=at_ms)


async def test_facts_are_kept_in_the_order_told(hands: Hands) -> None:
    """C3, D21: of the order that waits, and of the contact; each with its own time."""
    member = (await hands.plan(order_key=ORDER)).member
    await learn(hands, ORDER, b"shipped", NOW + 7)
    await learn(hands, NO_KEY, b"identified", NOW + 3)
    assert await facts(hands, member) == [
        (ORDER, NOW + 7, b"shipped"), (NO_KEY, NOW + 3, b"identified"),
    ]  # fmt: skip


async def test_nothing_is_kept_for_nobody(hands: Hands) -> None:
    """E21: of an order that does not wait, and of a contact for whom nothing waits."""
    await learn(hands, ORDER, b"early")
    await learn(hands, NO_KEY, b"early")
    member = (await hands.plan(order_key=ORDER)).member
    await learn(hands, OTHER, b"of another order")
    assert await facts(hands, member) == []


async def test_the_event_that_plans_is_no_fact_of_its_own(hands: Hands) -> None:
    answer = await hands.commit(plan(order_key=ORDER), facts_key=ORDER)
    assert await facts(hands, answer.plans[0].member) == []


async def test_facts_go_with_the_last_that_waits(hands: Hands) -> None:
    """E21: kept while anything of the contact waits or is in flight, then forgotten."""
    first = (await hands.plan(order_key=ORDER)).member
    second = (await hands.plan(order_key=OTHER)).member
    await learn(hands, ORDER, b"fact")
    await hands.cancel([second], State.CANCELLED, Reason.RULE_STOPPED)
    assert len(await facts(hands, first)) == 1
    token = await hands.take(item(first))
    assert len(await facts(hands, first)) == 1
    await hands.settle(token, first, State.SENT)
    assert await facts(hands, first) == []
    third = (await hands.plan(order_key=ORDER)).member
    assert await facts(hands, third) == [], "they do not come back"


async def test_facts_are_bounded_the_oldest_go_first(hands: Hands) -> None:
    member = (await hands.plan(order_key=ORDER)).member
    size = CONTACT_FACTS_BYTES_MAX // 4 - FACT_HEAD.size
    for n in range(6):
        await learn(hands, ORDER, bytes([n]) * size)
    assert [body[0] for _, _, body in await facts(hands, member)] == [2, 3, 4, 5]
    await learn(hands, ORDER, b"x")
    assert [body[0] for _, _, body in await facts(hands, member)] == [3, 4, 5, ord("x")]


async def test_a_repeated_event_is_one_fact(hands: Hands) -> None:
    """d8."""
    member = (await hands.plan(order_key=ORDER)).member
    for _ in range(2):
        await hands.commit(event_key=key("e"), facts_key=ORDER, body=b"fact")
    assert len(await facts(hands, member)) == 1


async def test_a_stop_comes_before_the_fact(hands: Hands) -> None:
    """R39: what the event itself ends needs to know nothing more."""
    member = (await hands.plan(order_key=ORDER, rule_number=1)).member
    stop = Stop(ORDER, frozenset({1}), Reason.ORDER_CANCELLED)
    await hands.commit(stops=(stop,), facts_key=ORDER, body=b"cancelled")
    assert await facts(hands, member) == []
