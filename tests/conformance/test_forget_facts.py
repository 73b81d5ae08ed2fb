"""What was told of a shared order by somebody who is erased, on both stores (R22)."""

from __future__ import annotations

import pytest

from core.records import NO_KEY
from core.timer_records import split_facts
from tests.conformance.kit import NOW, Hands, contact_key, key

ORDER = key("order")


async def told(hands: Hands) -> tuple[bytes, list[bytes]]:
    """Tell a contact that waits of three events; return its member and the facts."""
    planned = await hands.plan(order_key=ORDER)
    for number, body in enumerate((b"one", b"two", b"three")):
        await hands.commit(
            event_key=key(f"fact {number}"), facts_key=ORDER, body=body, event_time_ms=NOW - number
        )
    return planned.member, await facts(hands, planned.member)


async def facts(hands: Hands, member: bytes) -> list[bytes]:
    waiting = await hands.read(member)
    assert waiting is not None
    return list(split_facts(waiting.facts))


async def test_only_those_given_are_forgotten(hands: Hands) -> None:
    """R22: whole, and once is enough."""
    member, known = await told(hands)
    for _ in range(2):
        await hands.store.forget_facts(hands.partition, contact_key(), [known[1], b"other"])
        assert await facts(hands, member) == [known[0], known[2]]
    await hands.store.forget_facts(hands.partition, contact_key(), known)
    assert await facts(hands, member) == []
    assert await hands.body(member) == b"body"


@pytest.mark.parametrize("known", [contact_key(), contact_key("nobody")])
async def test_whoever_has_none_has_none_to_forget(hands: Hands, known: bytes) -> None:
    member = (await hands.plan(order_key=NO_KEY)).member
    await hands.store.forget_facts(hands.partition, known, [b"fact"])
    assert await facts(hands, member) == []
