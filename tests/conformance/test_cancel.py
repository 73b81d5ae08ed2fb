"""Cancel: waiting invitations end, everything else is left as it is, truthfully."""

from __future__ import annotations

from core.model import Reason, State
from core.records import Outcome, member_of
from tests.conformance.kit import NOW, Hands, contact_key, item, plan


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
    await hands.cancel([first], State.CANCELLED, Reason.BY_CLIENT)
    assert await hands.body(second) == b"body"
    await hands.cancel([second], State.CANCELLED, Reason.BY_CLIENT)
    assert await hands.body(second) == b""
