"""The conservation law (R6): planned = scheduled + in flight + ended, whatever happens."""

from __future__ import annotations

from core.bounds import DAY_MS
from core.gate import ClaimAction
from core.model import ConsentStatus, Disposition, Reason, State
from core.ports import Counters, RuleCount, Store
from core.records import FLAG_HOLD_UNKNOWN
from tests.conformance.kit import DEFERRED, NOW, Hands, cap, consent_entry, item, key, plan


async def test_a_new_partition_has_counted_nothing(store: Store) -> None:
    counters = await store.counters([0, 3])
    assert counters == {0: Counters(), 3: Counters()}


async def test_r6_the_law_holds_through_every_way_an_invitation_goes(hands: Hands) -> None:
    async def holds() -> Counters:
        counters = await hands.counters()
        assert counters.imbalance == 0
        return counters

    order = key("order")
    answer = await hands.commit(
        plan(), plan(flags=FLAG_HOLD_UNKNOWN), plan(order_key=order, rule_number=2), plan(),
        plan(), plan(), plan(), plan(state=State.SKIPPED, reason=Reason.NO_RECIPIENT),
        plan(expire_ms=NOW),
    )  # fmt: skip
    members = [created.member for created in answer.plans]
    assert (await holds()).planned == 9
    token = await hands.take(*(item(members[index], caps=(cap(limit=9),)) for index in (0, 1)))
    await holds()
    await hands.settle(token, members[0], State.SCHEDULED, due_ms=NOW, releases_caps=True)
    await holds()
    await hands.recover()
    await holds()
    await hands.claim(
        item(members[8]),
        item(members[3], action=ClaimAction.END, state=State.CANCELLED, reason=Reason.STEP_OFF),
        item(members[4], action=ClaimAction.DEFER, due_ms=NOW + 1, wait=3),
        item(members[5], needs_consent=True),
    )
    await holds()
    token = await hands.take(item(members[0], DEFERRED))
    await hands.settle(token, members[0], State.SENT, next_plans=(plan(purpose=2),))
    await holds()
    await hands.cancel([members[6]], State.CANCELLED, Reason.BY_CLIENT)
    await hands.write_consent(consent_entry(ConsentStatus.WITHDRAWN))
    final = await holds()
    assert final == Counters(
        planned=10,
        scheduled=1,
        in_flight=0,
        ended={
            (State.SENT, Reason.NONE): 1,
            (State.UNKNOWN, Reason.OUTCOME_UNKNOWN): 1,
            (State.SKIPPED, Reason.NO_RECIPIENT): 1,
            (State.EXPIRED, Reason.TOO_LATE): 1,
            (State.CANCELLED, Reason.STEP_OFF): 1,
            (State.SKIPPED, Reason.NO_CONSENT): 1,
            (State.CANCELLED, Reason.BY_CLIENT): 1,
            (State.SKIPPED, Reason.UNSUBSCRIBED): 2,
        },
        events={Disposition.PLANNED: 1},
        rules={(1, RuleCount.SENT): 1, (1, RuleCount.FIRST_SENT): 1},
    )


async def test_every_disposition_is_counted_by_itself(hands: Hands) -> None:
    await hands.commit(plan(), event_key=key("planned"))
    for name in ("a", "b"):
        await hands.commit(event_key=key(name))
    await hands.commit(event_key=key("off"), disposition=Disposition.INACTIVE)
    await hands.commit(event_key=key("off"), disposition=Disposition.INACTIVE)
    assert (await hands.counters()).events == {
        Disposition.PLANNED: 1,
        Disposition.NO_MATCH: 2,
        Disposition.INACTIVE: 1,
        Disposition.DUPLICATE: 1,
    }


async def test_outcomes_are_kept_by_the_day_of_the_ending(hands: Hands) -> None:
    members = [created.member for created in (await hands.commit(plan(), plan(), plan())).plans]
    midnight = NOW - NOW % DAY_MS + DAY_MS
    for member, now_ms in zip(members, (midnight - 1, midnight, midnight + DAY_MS), strict=True):
        await hands.cancel([member], State.CANCELLED, Reason.BY_CLIENT, now_ms)
    for day, member in enumerate(members):
        outcomes = await hands.store.outcomes(0, midnight // DAY_MS - 1 + day)
        assert [outcome.member for outcome in outcomes] == [member]
    assert await hands.store.outcomes(0, midnight // DAY_MS + 9) == []
