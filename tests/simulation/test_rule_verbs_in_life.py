"""Pause, freeze, stop, resume, switch off, supersede and delete, while things wait; on both stores."""

from __future__ import annotations

from typing import Any

import pytest

from core.model import ActivationState, Disposition, Reason, State, WaitReason
from core.ports import Store
from tests.support.rules import (
    change_channel,
    change_rule,
    follow_up,
    free_rule,
    product_rule,
    step,
    switch_off,
    switch_on,
    switch_type,
)
from tests.support.shop import ACCOUNT, MADRID, Shop, ms, one_in_14_days, open_shop, review_rule

ANA, BEN = "ana@shop.example", "ben@shop.example"
Key = tuple[State, Reason]
STOPPED: Key = (State.CANCELLED, Reason.RULE_STOPPED)
INACTIVE: Key = (State.CANCELLED, Reason.RULE_INACTIVE)
SENT: Key = (State.SENT, Reason.NONE)


async def waits(shop: Shop, order: str = "1") -> list[int]:
    """Return the wait reasons of what is scheduled for an order."""
    views = await shop.engine.reader.by_order(ACCOUNT, MADRID, order)
    return [v.reference.wait for v in views if v.reference.state == State.SCHEDULED]


async def test_pause_lets_what_waits_go_on(store: Store) -> None:
    """D16, R14, d7: the request, and then its reminder; nobody new."""
    async with open_shop(store) as shop:
        await shop.publish(shop.event())
        await shop.registry.pause_rule(ACCOUNT, "ask")
        (late,) = await shop.publish(shop.event(order="2", email=BEN))
        assert late.disposition == Disposition.NO_MATCH
        await shop.until("2026-04-30 00:00")
        assert shop.mails() == [("2026-03-08 09:00", ANA, False), ("2026-03-13 09:00", ANA, True)]
        await shop.registry.resume_rule(ACCOUNT, "ask")
        (again,) = await shop.publish(shop.event(order="3", email=BEN))
        assert again.disposition == Disposition.PLANNED


async def test_pause_keeps_the_slot_and_lets_deferrals_run_on(store: Store) -> None:
    """R14, D16."""
    async with open_shop(store, caps=[one_in_14_days()]) as shop:
        await shop.publish(shop.event(order="1"), shop.event(order="2"))
        await shop.until("2026-03-09 00:00")
        await shop.registry.pause_rule(ACCOUNT, "ask")
        await shop.until("2026-04-30 00:00")
        assert [at for at, _, again in shop.mails() if not again] == [
            "2026-03-08 09:00",
            "2026-03-22 09:00",
        ]


async def test_freeze_holds_and_resume_lets_go_at_once(store: Store) -> None:
    """d7, R14, D20: parked at its due time, sent at the resumption, the reminder counted from then."""
    async with open_shop(store) as shop:
        await shop.publish(shop.event())
        await shop.registry.freeze_rule(ACCOUNT, "ask")
        (late,) = await shop.publish(shop.event(order="2", email=BEN))
        assert late.disposition == Disposition.NO_MATCH
        await shop.until("2026-03-10 15:30")
        assert shop.mails() == []
        assert await waits(shop) == [WaitReason.FROZEN]
        await shop.registry.resume_rule(ACCOUNT, "ask")
        await shop.until("2026-04-30 00:00")
        assert shop.mails() == [("2026-03-10 15:30", ANA, False), ("2026-03-15 09:00", ANA, True)]


async def test_freeze_ended_before_the_due_time_is_not_noticed(store: Store) -> None:
    async with open_shop(store) as shop:
        await shop.publish(shop.event())
        await shop.registry.freeze_rule(ACCOUNT, "ask")
        await shop.until("2026-03-05 00:00")
        await shop.registry.resume_rule(ACCOUNT, "ask")
        await shop.until("2026-03-09 00:00")
        assert shop.mails() == [("2026-03-08 09:00", ANA, False)]


async def test_a_thaw_goes_through_every_gate(store: Store) -> None:
    """R14, d3, A31: caps are asked again, so of three held for one contact one goes."""
    async with open_shop(store, caps=[one_in_14_days()]) as shop:
        await shop.publish(*(shop.event(order=str(n)) for n in range(3)))
        await shop.registry.freeze_rule(ACCOUNT, "ask")
        await shop.until("2026-03-09 12:00")
        assert shop.mails() == []
        await shop.registry.resume_rule(ACCOUNT, "ask")
        await shop.until("2026-03-09 12:00")
        assert [at for at, *_ in shop.mails()] == ["2026-03-09 12:00"]
        assert await shop.pending() == 3, "two wait for the cap, one is the reminder"


async def test_expiry_stands_while_frozen(store: Store) -> None:
    """R14, R30, d7."""
    async with open_shop(store) as shop:
        await shop.publish(shop.event())
        await shop.registry.freeze_rule(ACCOUNT, "ask")
        await shop.until("2026-04-07 08:59")
        assert await shop.pending() == 1
        await shop.until("2026-04-07 09:00")
        assert await shop.ends() == {(State.EXPIRED, Reason.TOO_LATE): 1}
        await shop.registry.resume_rule(ACCOUNT, "ask")
        await shop.until("2026-04-30 00:00")
        assert shop.mails() == []


async def test_an_order_cancelled_while_frozen_stays_cancelled(store: Store) -> None:
    """R14, R39."""
    async with open_shop(store) as shop:
        await shop.publish(shop.event())
        await shop.registry.freeze_rule(ACCOUNT, "ask")
        await shop.until("2026-03-10 00:00")
        (answer,) = await shop.publish(shop.event("order_cancelled"))
        assert answer.stopped_count == 1
        await shop.registry.resume_rule(ACCOUNT, "ask")
        await shop.until("2026-04-30 00:00")
        assert shop.mails() == []


@pytest.mark.parametrize("verb", ["freeze_rule", "stop_rule"])
async def test_a_verb_that_bites_beats_a_claim_under_way(
    store: Store, monkeypatch: pytest.MonkeyPatch, verb: str
) -> None:
    """R13, R14, D17: judged before the verb, claimed after it: the claim is refused and judged anew."""
    claim = store.claim
    async with open_shop(store) as shop:
        await shop.publish(shop.event())
        done: list[str] = []

        async def claim_after_the_verb(*arguments: Any) -> Any:
            if not done:
                done.append(verb)
                await getattr(shop.registry, verb)(ACCOUNT, "ask")
            return await claim(*arguments)

        monkeypatch.setattr(store, "claim", claim_after_the_verb)
        await shop.until("2026-03-20 00:00")
        assert (done, shop.mails()) == ([verb], [])
        if verb == "freeze_rule":
            assert await waits(shop) == [WaitReason.FROZEN]
        else:
            assert await shop.ends() == {STOPPED: 1}


async def test_stop_ends_all_that_waits_and_nothing_comes_back(store: Store) -> None:
    """D17, D20, R14: requests and reminders; what is planned after the resumption goes."""
    async with open_shop(store) as shop:
        await shop.publish(shop.event(order="1"))
        await shop.until("2026-03-09 00:00")
        await shop.publish(shop.event(order="2", email=BEN))
        await shop.registry.stop_rule(ACCOUNT, "ask")
        await shop.until("2026-03-09 00:01")
        assert await shop.ends() == {SENT: 1, STOPPED: 2}
        await shop.registry.resume_rule(ACCOUNT, "ask")
        await shop.until("2026-03-09 00:02")
        await shop.publish(shop.event(order="3", email=BEN))
        await shop.until("2026-05-30 00:00")
        assert [to for _, to, _ in shop.mails()] == [ANA, BEN, BEN]
        assert await shop.ends() == {SENT: 3, STOPPED: 2}


async def test_a_later_step_of_a_stopped_run_never_revives(store: Store) -> None:
    """D17, D20: handed over while it was stopped; its next step belongs to the stopped run."""
    async with open_shop(store) as shop:
        await shop.publish(shop.event())
        send = shop.post.send

        async def stopped_meanwhile(letters: Any) -> Any:
            await shop.registry.stop_rule(ACCOUNT, "ask")
            await shop.registry.resume_rule(ACCOUNT, "ask")
            return await send(letters)

        shop.post.send = stopped_meanwhile  # type: ignore[method-assign]
        await shop.until("2026-04-30 00:00")
        assert [again for *_, again in shop.mails()] == [False]
        assert await shop.ends() == {SENT: 1, STOPPED: 1}


async def test_a_stop_looks_behind_what_it_moves(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """D17: more waits in one slot than is read at once."""
    from core import bounds

    monkeypatch.setattr(bounds, "SLOT_READ_MAX", 4)
    async with open_shop(store) as shop:
        await shop.publish(
            *(shop.event(order=str(n), email=f"c{n}@shop.example") for n in range(50))
        )
        await shop.registry.stop_rule(ACCOUNT, "ask")
        await shop.until("2026-03-01 09:01")
        assert await shop.ends() == {STOPPED: 50}


async def test_a_restart_keeps_what_is_frozen(store: Store) -> None:
    """A4, D16, R14: parked, restarted, expired or resumed as if nothing had been."""
    async with open_shop(store) as shop:
        await shop.publish(shop.event(order="1"), shop.event(order="2", email=BEN))
        await shop.registry.freeze_rule(ACCOUNT, "ask")
        await shop.until("2026-03-09 00:00")
        await shop.restart()
        await shop.until("2026-03-10 00:00")
        assert (shop.mails(), await shop.pending()) == ([], 2)
        await shop.engine.stop()
        await shop.registry.resume_rule(ACCOUNT, "ask")
        await shop.restart()
        await shop.until("2026-03-11 00:00")
        assert [at for at, *_ in shop.mails()] == ["2026-03-10 00:00"] * 2


async def test_a_restart_after_a_stop_ends_what_was_parked(store: Store) -> None:
    """D17, A4."""
    async with open_shop(store) as shop:
        await shop.publish(shop.event())
        await shop.registry.freeze_rule(ACCOUNT, "ask")
        await shop.until("2026-03-09 00:00")
        await shop.engine.stop()
        await shop.registry.stop_rule(ACCOUNT, "ask")
        await shop.restart()
        await shop.until("2026-03-10 00:00")
        assert await shop.ends() == {STOPPED: 1}


async def test_switched_off_and_on_again_loses_nothing(store: Store) -> None:
    """C25, h5, B9, pitfall:cap-of-another-medium: looked at when it is due."""
    async with open_shop(store) as shop:
        await shop.publish(shop.event(order="1"))
        await switch_off(shop, "ask")
        await shop.until("2026-03-05 00:00")
        await shop.registry.activate(ACCOUNT, "ask", "madrid")
        await shop.until("2026-03-09 00:00")
        assert [to for _, to, _ in shop.mails()] == [ANA]
        await switch_off(shop, "ask")
        await shop.until("2026-04-30 00:00")
        assert await shop.ends() == {SENT: 1, INACTIVE: 1}


async def test_a_superseded_rule_goes_on_while_its_slot_is_held(store: Store) -> None:
    """A25, A27, R14, h5: the request and its reminder by the old rule's own texts; then the slot is
    empty."""
    async with open_shop(store) as shop:
        await shop.publish(shop.event(order="1"))
        await switch_on(shop, review_rule(id="new", steps=[step("invite", days=1)]))
        await shop.until("2026-03-01 09:01")
        await shop.publish(shop.event(order="2", email=BEN))
        await shop.until("2026-04-30 00:00")
        assert shop.mails() == [
            ("2026-03-02 09:01", BEN, False),
            ("2026-03-08 09:00", ANA, False),
            ("2026-03-13 09:00", ANA, True),
        ]
        assert shop.post.letters[-1].subject == "Still there?"


async def test_a_superseded_rule_ends_once_its_slot_is_empty(store: Store) -> None:
    """R14, h5: the reminder too."""
    async with open_shop(store) as shop:
        await shop.publish(shop.event(order="1"))
        await switch_on(shop, review_rule(id="new", steps=[step("invite", days=1)]))
        await shop.until("2026-03-09 00:00")
        await shop.publish(shop.event(order="2", email=BEN))
        await switch_off(shop, "new")
        await shop.until("2026-04-30 00:00")
        assert [to for _, to, _ in shop.mails()] == [ANA]
        assert await shop.ends() == {SENT: 1, INACTIVE: 2}


async def test_stopping_the_successor_ends_its_own_runs_and_empties_the_slot(store: Store) -> None:
    """R14, D17: "stop and delete end only the named rule's own entries"."""
    async with open_shop(store) as shop:
        await shop.publish(shop.event(order="1"))
        await switch_on(shop, review_rule(id="new", steps=[step("invite", days=9)]))
        await shop.publish(shop.event(order="2", email=BEN))
        await shop.registry.stop_rule(ACCOUNT, "new")
        await shop.until("2026-03-01 09:01")
        assert await shop.ends() == {STOPPED: 1}
        await shop.registry.resume_rule(ACCOUNT, "new")
        await shop.until("2026-03-09 00:00")
        assert [to for _, to, _ in shop.mails()] == [ANA]


async def test_automations_know_no_slot(store: Store) -> None:
    """D16, D17, D19: stop and delete of one leave the other alone."""
    rules = [
        free_rule("one", steps=[step("a", elapsed_ms=0), follow_up("b")]),
        free_rule("two", steps=[step("a", elapsed_ms=0), follow_up("b")]),
    ]
    async with open_shop(store, rules=rules) as shop:
        await shop.publish(shop.event())
        await shop.engine.advance_to(shop.clock.now_ms())
        assert len(shop.mails()) == 2
        await shop.registry.stop_rule(ACCOUNT, "one")
        await shop.until("2026-03-30 00:00")
        assert (len(shop.mails()), await shop.ends()) == (3, {SENT: 3, STOPPED: 1})


async def test_a_deleted_rule_ends_its_runs(store: Store) -> None:
    """D19, d7, R14: frozen ones too, and at once known as such when due."""
    async with open_shop(store) as shop:
        await shop.publish(shop.event())
        await shop.registry.freeze_rule(ACCOUNT, "ask")
        await shop.until("2026-03-09 00:00")
        await shop.registry.delete_rule(ACCOUNT, "ask")
        await shop.until("2026-03-10 00:00")
        assert await shop.ends() == {(State.CANCELLED, Reason.RULE_DELETED): 1}


async def test_an_event_type_off_and_on_again_before_the_due_time(store: Store) -> None:
    """A11, h4, R15, A17."""
    async with open_shop(store) as shop:
        await shop.publish(shop.event())
        await switch_type(shop, "checkout", False)
        await shop.until("2026-03-07 00:00")
        await switch_type(shop, "checkout", True)
        await shop.until("2026-03-09 00:00")
        assert len(shop.mails()) == 1
        await switch_type(shop, "checkout", False)
        await shop.until("2026-04-30 00:00")
        assert await shop.ends() == {SENT: 1, (State.CANCELLED, Reason.EVENT_TYPE_INACTIVE): 1}


async def test_one_switch_over_service_and_product(store: Store) -> None:
    """B9, B27: both blocks of an event type, and nothing else; on again in time, nothing is lost."""
    rules = [
        review_rule(),
        product_rule(),
        free_rule("thanks", steps=[step(days=7)]),
    ]
    async with open_shop(store, rules=rules) as shop:
        await shop.publish(shop.event())
        await change_channel(shop, review_event_types_off=("checkout",))
        (off,) = await shop.publish(shop.event(order="2", email=BEN))
        assert len(off.members) == 1, "the thanks"
        await shop.until("2026-03-08 12:00")
        assert (await shop.ends())[INACTIVE] == 1
        await change_channel(shop, review_event_types_off=())
        await shop.until("2026-03-14 00:00")
        products = [letter for letter in shop.post.letters if letter.kinds]
        assert [letter.kinds for letter in products] == [2]


async def test_a_step_is_live(store: Store) -> None:
    """R40, d5, B17: a reminder switched off ends when due, one switched on in time is planned."""
    rule = review_rule()
    rule.steps[1].enabled = False
    async with open_shop(store, rule=rule) as shop:
        await shop.publish(shop.event(order="1"), shop.event(order="2", email=BEN))
        await change_rule(shop, steps=review_rule().steps)
        await shop.until("2026-03-09 00:00")
        assert await shop.pending() == 2, "the reminders"
        off = review_rule().steps
        off[1].enabled = False
        await change_rule(shop, steps=off)
        await shop.until("2026-04-30 00:00")
        assert await shop.ends() == {SENT: 2, (State.CANCELLED, Reason.STEP_OFF): 2}


async def test_what_a_frozen_rule_holds_is_no_longer_superseded(store: Store) -> None:
    """R14: another takes the slot; the frozen rule's runs stay held all the same."""
    async with open_shop(store) as shop:
        await shop.publish(shop.event())
        await shop.registry.freeze_rule(ACCOUNT, "ask")
        await switch_on(shop, review_rule(id="new"))
        frozen = shop.registry.snapshot.activation(ACCOUNT, "madrid", "ask")
        assert frozen is not None
        assert frozen.state == ActivationState.FROZEN
        await shop.until("2026-03-10 00:00")
        assert (shop.mails(), await waits(shop)) == ([], [WaitReason.FROZEN])
        assert shop.clock.now_ms() == ms("2026-03-10 00:00")


async def test_a_duplicate_has_no_runs_and_no_counts(store: Store) -> None:
    """D18: what waits under the one it was made from is not its own."""
    async with open_shop(store) as shop:
        await shop.publish(shop.event())
        await shop.registry.duplicate_rule(ACCOUNT, "ask", "twin")
        await shop.registry.activate(ACCOUNT, "twin", "madrid")
        await shop.registry.stop_rule(ACCOUNT, "twin")
        await shop.registry.resume_rule(ACCOUNT, "twin")
        await shop.until("2026-03-09 00:00")
        twin = shop.registry.snapshot.rule(ACCOUNT, "twin")
        assert twin is not None
        assert await shop.engine.rule_counts.stats(twin.number) == (0, 0, 0, 0)
        assert len(shop.mails()) == 1


async def test_a_thaw_of_many_goes_in_rounds(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """R14, R12: paced by what can be handed over; none twice, none lost."""
    from core.engine import engine

    monkeypatch.setattr(engine, "ROUND_MAX", 16)
    async with open_shop(store) as shop:
        count, batches = 100, []
        send = shop.post.send

        async def counted(letters: Any) -> Any:
            batches.append(len(letters))
            return await send(letters)

        shop.post.send = counted  # type: ignore[method-assign]
        await shop.publish(
            *(shop.event(order=str(n), email=f"c{n}@shop.example") for n in range(count))
        )
        await shop.registry.freeze_rule(ACCOUNT, "ask")
        await shop.until("2026-03-09 00:00")
        await shop.registry.resume_rule(ACCOUNT, "ask")
        await shop.until("2026-03-09 00:00")
        assert len({to for _, to, _ in shop.mails()}) == len(shop.mails()) == count
        assert max(batches) <= 16
