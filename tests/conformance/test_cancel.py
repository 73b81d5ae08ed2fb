"""Cancel: waiting invitations end, everything else is left as it is, truthfully."""

from __future__ import annotations

from core.bounds import CONTACT_INVITATIONS_MAX, DAY_MS, OUTCOME_RETENTION_MS
from core.model import Reason, State
from core.outcomes import Outcome
from core.ports import Stop
from core.records import BY_HAND, FLAG_STOPPED, member_of
from core.timer_records import unpack_facts
from core.timing_wheel.memory_store import MemoryStore
from core.timing_wheel.redis_store import RedisStore
from tests.conformance.kit import NOW, Hands, contact_key, item, key, plan

ORDER = key("order")


async def test_a_waiting_invitation_ends_as_told(hands: Hands) -> None:
    planned = await hands.plan(rule_number=8)
    states = await hands.cancel([planned.member], State.CANCELLED, Reason.BY_CLIENT, NOW + 5)
    assert states == [State.CANCELLED]
    ref = await hands.ref(planned.member)
    assert (ref.state, ref.reason, ref.settle_ms) == (State.CANCELLED, Reason.BY_CLIENT, NOW + 5)
    assert ref.due_ms == NOW
    assert await hands.outcomes() == [
        Outcome(planned.member, State.CANCELLED, Reason.BY_CLIENT, 8, NOW + 5, 0)
    ]
    counters = await hands.counters()
    assert (counters.planned, counters.scheduled) == (1, 0)
    assert counters.ended == {(State.CANCELLED, Reason.BY_CLIENT): 1}


async def test_whatever_does_not_wait_is_left_and_its_state_told(hands: Hands) -> None:
    sent, claimed, waiting = [(await hands.plan()).member for _ in range(3)]
    token = await hands.take(item(sent))
    await hands.settle(token, sent, State.SENT)
    await hands.take(item(claimed))
    unknown = member_of(contact_key(), 99, 1)
    stranger = member_of(contact_key("nobody"), 1, 1)
    states = await hands.cancel(
        [sent, stranger, waiting, claimed, unknown], State.CANCELLED, Reason.BY_CLIENT
    )
    assert states == [State.SENT, 0, State.CANCELLED, State.IN_FLIGHT, 0]
    assert await hands.store.contact(0, contact_key("nobody")) is None


async def test_cancelling_twice_counts_once(hands: Hands) -> None:
    planned = await hands.plan()
    for reason in (Reason.BY_CLIENT, Reason.RULE_STOPPED):
        assert await hands.cancel([planned.member], State.CANCELLED, reason) == [State.CANCELLED]
    assert await hands.state(planned.member) == (State.CANCELLED, Reason.BY_CLIENT)
    assert len(await hands.outcomes()) == 1


async def test_the_body_goes_with_the_last(hands: Hands) -> None:
    first, second = [p.member for p in (await hands.commit(plan(), plan())).plans]
    await hands.cancel([first], State.CANCELLED, Reason.RULE_STOPPED)
    assert await hands.body(second) == b"body"
    await hands.cancel([second], State.CANCELLED, Reason.RULE_STOPPED)
    assert await hands.body(second) == b""


async def test_what_a_client_cancelled_keeps_body_and_facts_until_it_is_swept(hands: Hands) -> None:
    """R44: it may be reinstated, also when nothing else of its event or contact waits."""
    planned = await hands.plan(order_key=ORDER)
    await hands.cancel([planned.member], State.CANCELLED, Reason.BY_CLIENT)
    await hands.commit(event_key=key("later"), body=b"fact", facts_key=ORDER)
    waiting = await hands.read(planned.member)
    assert waiting is not None
    assert waiting.body == b"body"
    assert [body for _, _, body in unpack_facts(waiting.facts)] == [b"fact"]
    again = (await hands.commit(plan(), event_key=key("new"))).plans[0]
    while await hands.store.sweep(0, NOW + OUTCOME_RETENTION_MS + 2 * DAY_MS):
        pass
    assert await hands.read(planned.member) is None
    kept = await hands.read(again.member)
    assert kept is not None
    assert kept.facts, "something waits"
    await hands.cancel([again.member], State.CANCELLED, Reason.RULE_STOPPED)
    gone = await hands.read(again.member)
    assert gone is not None
    assert (gone.body, gone.facts) == (b"", b"")


async def test_bodies_go_with_what_is_dropped_at_the_bound(hands: Hands) -> None:
    """R44: nothing is kept that nobody can reach."""
    first = (await hands.commit(plan(order_key=ORDER), event_key=key("first"))).plans[0]
    await hands.cancel([first.member], State.CANCELLED, Reason.BY_CLIENT)
    await hands.commit(event_key=key("later"), body=b"fact", facts_key=ORDER)
    # Another body at the same place would be this one's, so the record itself is looked at.
    ended = [plan(state=State.SKIPPED, reason=Reason.NO_CONSENT) for _ in range(64)]
    for number in range(CONTACT_INVITATIONS_MAX // 64):
        await hands.commit(*ended, event_key=key(f"many {number}"))
    assert all(ref.sequence != 1 for ref in (await hands.record()).references)
    seen = (await hands.commit(plan(), event_key=key("seen"))).plans[0]
    waiting = await hands.read(seen.member)
    assert waiting is not None
    assert waiting.facts == b""
    assert await kept_bodies(hands) == 1, "that of what waits"


async def kept_bodies(hands: Hands) -> int:
    """Return how many bodies the store keeps for the partition."""
    store = hands.store
    if isinstance(store, MemoryStore):
        return len(store._partitions[0].bodies)
    assert isinstance(store, RedisStore)
    return int(await store._link(0).call("HLEN", store._keys[0].bodies))


async def test_a_stop_flags_what_a_client_has_cancelled(hands: Hands) -> None:
    """R44: what would have ended it forbids reinstating it; of another rule or kind it does not."""
    answer = await hands.commit(
        plan(rule_number=7, order_key=ORDER, kinds=1), plan(rule_number=7, order_key=ORDER, kinds=2),
        plan(rule_number=8, order_key=ORDER, kinds=1), plan(rule_number=7, kinds=1),
    )  # fmt: skip
    members = [planned.member for planned in answer.plans]
    await hands.cancel(members, State.CANCELLED, Reason.BY_CLIENT)
    stop = Stop(ORDER, frozenset({7}), Reason.REVIEWED, kinds=1)
    for number in range(2):
        await hands.commit(event_key=key(f"stop {number}"), stops=(stop,))
    flagged = [bool((await hands.ref(member)).flags & FLAG_STOPPED) for member in members]
    assert flagged == [True, False, False, False]
    assert await hands.state(members[0]) == (State.CANCELLED, Reason.BY_CLIENT), "as it ended"


async def test_of_what_was_made_by_hand_only_review_requests_are_stopped(hands: Hands) -> None:
    """R39, R45."""
    answer = await hands.commit(
        plan(rule_number=BY_HAND, order_key=ORDER, kinds=1),
        plan(rule_number=BY_HAND, order_key=ORDER, kinds=0),
        plan(rule_number=5, order_key=ORDER, kinds=0),
    )  # fmt: skip
    stop = Stop(ORDER, frozenset({BY_HAND, 5}), Reason.ORDER_CANCELLED)
    stopped = await hands.commit(event_key=key("stop"), stops=(stop,))
    assert stopped.stopped == (answer.plans[0].sequence, answer.plans[2].sequence)
