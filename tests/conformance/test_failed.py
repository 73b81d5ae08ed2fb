"""What has failed may be replayed: what is kept of it, and what ends that (R8)."""

from __future__ import annotations

import pytest

from core.bounds import DAY_MS, OUTCOME_RETENTION_MS
from core.gate import ClaimAction
from core.model import Reason, State
from core.ports import Stop
from core.records import FLAG_STOPPED
from tests.conformance.kit import NOW, Hands, item, key, plan
from tests.conformance.test_cancel import kept_bodies

ORDER = key("order")
REASONS = (Reason.PROVIDER_ERROR, Reason.RENDERING_ERROR, Reason.INTERNAL_ERROR)


async def failed(hands: Hands, reason: Reason = Reason.PROVIDER_ERROR) -> bytes:
    """Return an invitation that failed when it was handed over."""
    member = (await hands.commit(plan(order_key=ORDER, rule_number=7))).plans[0].member
    token = await hands.take(item(member))
    await hands.settle(token, member, State.FAILED, reason=reason)
    return member


@pytest.mark.parametrize("reason", REASONS)
async def test_what_failed_keeps_its_event_until_it_is_swept(hands: Hands, reason: Reason) -> None:
    """R8: a replay needs it."""
    member = await failed(hands, reason)
    waiting = await hands.read(member)
    assert waiting is not None
    assert waiting.body == b"body"
    assert await hands.store.sweep(hands.partition, NOW + OUTCOME_RETENTION_MS + 2 * DAY_MS) == 1
    assert await kept_bodies(hands) == 0


async def test_what_fails_before_it_is_claimed_keeps_its_event(hands: Hands) -> None:
    """R8."""
    member = (await hands.plan()).member
    await hands.claim(
        item(member, action=ClaimAction.END, state=State.FAILED, reason=Reason.RENDERING_ERROR)
    )
    waiting = await hands.read(member)
    assert waiting is not None
    assert (waiting.reference.state, waiting.body) == (State.FAILED, b"body")


async def test_a_stop_flags_what_has_failed(hands: Hands) -> None:
    """R8: what an event would have ended is not replayed."""
    member = await failed(hands)
    stop = Stop(ORDER, frozenset({7}), Reason.ORDER_CANCELLED)
    await hands.commit(event_key=key("stop"), stops=(stop,))
    (ref,) = (await hands.record()).references
    assert (ref.state, ref.flags & FLAG_STOPPED) == (State.FAILED, FLAG_STOPPED), member.hex()


async def test_what_was_stopped_in_flight_and_fails_is_cancelled(hands: Hands) -> None:
    """R8: nothing is left to be replayed."""
    member = (await hands.commit(plan(order_key=ORDER, rule_number=7))).plans[0].member
    token = await hands.take(item(member))
    stop = Stop(ORDER, frozenset({7}), Reason.ORDER_CANCELLED)
    await hands.commit(event_key=key("stop"), stops=(stop,))
    await hands.settle(token, member, State.FAILED, reason=Reason.PROVIDER_ERROR)
    assert await hands.state(member) == (State.CANCELLED, Reason.ORDER_CANCELLED)
    assert await kept_bodies(hands) == 0


async def test_outcomes_of_one_state_are_read_alone(hands: Hands) -> None:
    sent, bad = (await hands.plan()).member, (await hands.plan()).member
    for member, state in ((sent, State.SENT), (bad, State.FAILED)):
        token = await hands.take(item(member))
        await hands.settle(token, member, state, reason=0 if state == State.SENT else 96)
    day, store = NOW // DAY_MS, hands.store
    assert len(await store.outcomes(hands.partition, day)) == 2
    assert [o.member for o in await store.outcomes(hands.partition, day, State.FAILED)] == [bad]
    assert await store.outcomes(hands.partition, day, State.EXPIRED) == []
