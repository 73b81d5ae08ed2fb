"""A rule edited while its invitations wait, and the edit applied to them; on both stores."""

from __future__ import annotations

from typing import Any

import pytest

from core import bounds
from core.bounds import HOUR_MS
from core.engine.pending import PendingEffect
from core.model import Contact, Family, Medium, Order, Reason, State, WaitReason
from core.ports import Store
from core.registry.resources import Rule
from core.registry.rule_parts import MediumHours, Wait, WaitOverride, Window
from core.sending import Delivery
from tests.support.rules import (
    TEN,
    change_rule,
    condition,
    follow_up,
    free_rule,
    product_rule,
    step,
    switch_on,
)
from tests.support.shop import ACCOUNT, MADRID, Shop, ms, one_in_14_days, open_shop, review_rule

ANA, BEN = "ana@shop.example", "ben@shop.example"
CHANGED = (State.CANCELLED, Reason.CONDITION_CHANGED)
SENT = (State.SENT, Reason.NONE)


def in_days(days: int, reminder: int = 5) -> dict[str, Any]:
    """Return the steps of the usual rule with other waits."""
    steps = review_rule().steps
    steps[0].wait.days, steps[1].wait.days = days, reminder
    return {"steps": steps}


async def applied(shop: Shop, rule: Rule) -> PendingEffect:
    """Preview an edit, apply it, and once more: the preview is right and the repetition idle."""
    preview = await shop.engine.pending.apply(rule, is_preview=True)
    before = await states(shop)
    assert before == await states(shop), "a preview changes nothing"
    effect = await shop.engine.pending.apply(rule)
    assert effect == preview
    again = await shop.engine.pending.apply(rule)
    assert (again.moved, again.cancelled) == (0, 0)
    assert again.unchanged == effect.moved + effect.unchanged
    return effect


async def states(shop: Shop, order: str = "1") -> list[tuple[int, int, int]]:
    views = await shop.engine.reader.by_order(ACCOUNT, MADRID, order)
    return [(v.reference.state, v.reference.due_ms, v.reference.wait) for v in views]


async def test_an_edit_is_for_those_who_come_later(store: Store) -> None:
    """R40, A27, d7: unless it is applied."""
    async with open_shop(store) as shop:
        await shop.publish(shop.event(order="1"))
        await change_rule(shop, **in_days(3, reminder=1))
        await shop.publish(shop.event(order="2", email=BEN))
        await shop.until("2026-04-30 00:00")
        assert shop.mails() == [
            ("2026-03-04 09:00", BEN, False),
            ("2026-03-05 09:00", BEN, True),
            ("2026-03-08 09:00", ANA, False),
            ("2026-03-13 09:00", ANA, True),
        ]


@pytest.mark.parametrize(("days", "at"), [(3, "2026-03-04 09:00"), (20, "2026-03-21 09:00")])
async def test_an_edit_applied_moves_what_waits(store: Store, days: int, at: str) -> None:
    """R40, d7: earlier or later, and its expiry with it."""
    async with open_shop(store) as shop:
        await shop.publish(shop.event())
        rule = await change_rule(shop, **in_days(days))
        assert await applied(shop, rule) == PendingEffect(moved=1)
        await shop.until("2026-03-30 00:00")
        assert shop.mails()[0] == (at, ANA, False)
        (first, *_) = await shop.engine.reader.by_order(ACCOUNT, MADRID, "1")
        assert first.reference.expire_ms == ms(at) + 30 * bounds.DAY_MS
        assert first.detail.revision == 2


async def test_what_is_due_in_the_past_by_an_edit_goes_now(store: Store) -> None:
    """R40: due = max(now, recomputed)."""
    async with open_shop(store) as shop:
        await shop.publish(shop.event())
        await shop.until("2026-03-06 15:30")
        rule = await change_rule(shop, **in_days(2))
        assert await applied(shop, rule) == PendingEffect(moved=1)
        assert (await states(shop))[0][1] == ms("2026-03-06 15:30")
        await shop.until("2026-03-07 00:00")
        assert shop.mails() == [("2026-03-06 15:30", ANA, False)]


async def test_reminders_keep_their_base(store: Store) -> None:
    """R40, B18: they count from the send, not from the edit."""
    async with open_shop(store) as shop:
        await shop.publish(shop.event())
        await shop.until("2026-03-09 00:00")
        rule = await change_rule(shop, **in_days(1, reminder=9))
        assert await applied(shop, rule) == PendingEffect(moved=1)
        await shop.until("2026-03-30 00:00")
        assert shop.mails()[1] == ("2026-03-17 09:00", ANA, True)


async def test_a_condition_that_is_false_now_cancels(store: Store) -> None:
    """R40: on what is known by now of the order."""
    no_holds = condition("order.status != 'on-hold'", Family.SERVICE_REVIEW)
    async with open_shop(store) as shop:
        await shop.publish(shop.event(order="1"), shop.event(order="2", email=BEN))
        held = shop.event("order_updated", order="1")
        held.order = Order("1", status="on-hold")
        await shop.publish(held)
        rule = await change_rule(shop, condition=no_holds)
        assert await applied(shop, rule) == PendingEffect(cancelled=1, unchanged=1)
        await shop.until("2026-03-09 00:00")
        assert [to for _, to, _ in shop.mails()] == [BEN]
        assert (await shop.ends())[CHANGED] == 1


async def test_the_condition_of_the_edit_counts_when_due(store: Store) -> None:
    """R40, C3: it passed at the edit, and is asked again when something becomes known."""
    no_holds = condition("order.status != 'on-hold'", Family.SERVICE_REVIEW)
    async with open_shop(store) as shop:
        await shop.publish(shop.event())
        assert await applied(shop, await change_rule(shop, condition=no_holds)) == PendingEffect(
            unchanged=1
        )
        held = shop.event("order_updated")
        held.order = Order("1", status="on-hold")
        await shop.publish(held)
        await shop.until("2026-03-09 00:00")
        assert await shop.ends() == {(State.SKIPPED, Reason.CONDITION_FALSE): 1}


async def test_a_medium_or_step_taken_out_is_cancelled(store: Store) -> None:
    """R40."""
    both = (Medium.EMAIL, Medium.SMS)
    first = free_rule("ask", steps=[step("a", *both, days=2), step("b", days=3)])
    async with open_shop(store, rule=first, media=both) as shop:
        contact = Contact(email=ANA, phone="+48600000001", country="PL")
        await shop.publish(shop.event(contact=contact))
        rule = await change_rule(shop, steps=free_rule("x", steps=[step("a", days=2)]).steps)
        assert await applied(shop, rule) == PendingEffect(cancelled=2, unchanged=1)
        await shop.until("2026-03-30 00:00")
        assert await shop.ends() == {SENT: 1, CHANGED: 2}


async def test_steps_are_known_by_their_ids_not_their_places(store: Store) -> None:
    """R40: what waited as second step is the first now, and the new second follows it."""
    old = free_rule("ask", steps=[step("a", days=1), step("b", days=3), follow_up("c", days=1)])
    async with open_shop(store, rule=old) as shop:
        await shop.publish(shop.event())
        await shop.until("2026-03-03 00:00")
        steps = [step("b", days=4), follow_up("d", days=2)]
        rule = await change_rule(shop, steps=free_rule("x", steps=steps).steps)
        assert await applied(shop, rule) == PendingEffect(moved=1)
        await shop.until("2026-03-30 00:00")
        assert [at for at, *_ in shop.mails()] == [
            "2026-03-02 09:00", "2026-03-05 09:00", "2026-03-07 09:00",
        ]  # fmt: skip
        assert shop.engine.stats.round_errors == 0


async def test_what_a_cap_holds_back_is_not_brought_forward(store: Store) -> None:
    """R40, R27: and it still waits for that cap, to be woken when a place frees."""
    async with open_shop(store, caps=[one_in_14_days()]) as shop:
        await shop.publish(shop.event(order="1"), shop.event(order="2"))
        await shop.until("2026-03-09 00:00")
        rule = await change_rule(shop, **in_days(6))
        # One waits for the cap, one is the reminder.
        assert await applied(shop, rule) == PendingEffect(unchanged=2)
        (held,) = [
            one
            for order in "12"
            for one in await states(shop, order)
            if one[2] == WaitReason.CAPPED
        ]
        assert held[1] == ms("2026-03-22 09:00")
        rule = await change_rule(shop, **in_days(25))
        assert (await applied(shop, rule)).moved == 1, "later than the cap would let it"
        await shop.until("2026-04-30 00:00")
        firsts = [at for at, _, again in shop.mails() if not again]
        assert firsts == ["2026-03-08 09:00", "2026-03-26 09:00"]


async def test_a_retry_is_not_brought_forward(store: Store) -> None:
    """R40: a medium that asked for time has it."""
    async with open_shop(store) as shop:
        shop.post.answers[ANA] = [Delivery(Delivery.Kind.DEFERRED, "450", 6 * HOUR_MS, False)]
        await shop.publish(shop.event())
        await shop.until("2026-03-08 09:00")
        rule = await change_rule(shop, **in_days(6))
        assert await applied(shop, rule) == PendingEffect(unchanged=1)
        await shop.until("2026-03-09 00:00")
        assert [at for at, *_ in shop.mails()] == ["2026-03-08 15:00"]


async def test_an_edit_keeps_hours(store: Store) -> None:
    """R40, d3: what it moves into a closed time waits for the opening."""
    night = MediumHours(medium=Medium.EMAIL, quiet=(Window(22 * HOUR_MS, 6 * HOUR_MS),))
    async with open_shop(store, hours=(night,)) as shop:
        await shop.publish(shop.event())
        steps = [step("invite", days=7, time_of_day_ms=23 * HOUR_MS)]
        rule = await change_rule(shop, steps=steps)
        assert await applied(shop, rule) == PendingEffect(moved=1)
        await shop.until("2026-03-10 00:00")
        assert [at for at, *_ in shop.mails()] == ["2026-03-09 05:00"]


async def test_a_country_that_gets_a_wait_of_its_own(store: Store) -> None:
    """R40, R34."""
    async with open_shop(store) as shop:
        await shop.publish(
            shop.event(order="1", contact=Contact(email=ANA, country="PT")),
            shop.event(order="2", contact=Contact(email=BEN, country="ES")),
        )
        steps = review_rule().steps
        test = condition("contact.country == 'PT'", Family.SERVICE_REVIEW)
        steps[0].wait_overrides = [WaitOverride(test, Wait(days=9, time_of_day_ms=TEN))]
        rule = await change_rule(shop, steps=steps)
        assert await applied(shop, rule) == PendingEffect(moved=1, unchanged=1)
        await shop.until("2026-03-11 00:00")
        assert [at for at, *_ in shop.mails()] == ["2026-03-08 09:00", "2026-03-10 09:00"]


async def test_a_time_that_was_asked_for_stays(store: Store) -> None:
    """R40, R32."""
    async with open_shop(store) as shop:
        await shop.publish(shop.event(requested_send_ms=ms("2026-03-05 12:00")))
        assert await applied(shop, await change_rule(shop, **in_days(1))) == PendingEffect(
            unchanged=1
        )
        await shop.until("2026-03-06 00:00")
        assert [at for at, *_ in shop.mails()] == ["2026-03-05 12:00"]


async def test_only_the_rules_own_entries_are_touched(store: Store) -> None:
    """R40: not those of the product rule, nor what was sent or cancelled."""
    async with open_shop(store) as shop:
        await switch_on(shop, product_rule(steps=[step("invite", days=30)]))
        await shop.publish(shop.event(order="1"), shop.event(order="2", email=BEN))
        await shop.publish(shop.event("order_cancelled", order="2", email=BEN))
        rule = await change_rule(shop, **in_days(8))
        assert await applied(shop, rule) == PendingEffect(moved=1)
        await shop.until("2026-04-30 00:00")
        assert [at[:10] for at, *_ in shop.mails()] == ["2026-03-09", "2026-03-14", "2026-03-31"]


async def test_what_is_frozen_stays_frozen(store: Store) -> None:
    """R40, R14: an edit lets nothing go."""
    async with open_shop(store) as shop:
        await shop.publish(shop.event())
        await shop.registry.freeze_rule(ACCOUNT, "ask")
        await shop.until("2026-03-09 00:00")
        rule = await change_rule(shop, **in_days(6))
        await shop.engine.pending.apply(rule)
        await shop.until("2026-03-10 00:00")
        assert (shop.mails(), await shop.pending()) == ([], 1)
        await shop.registry.resume_rule(ACCOUNT, "ask")
        await shop.until("2026-03-11 00:00")
        assert [at for at, *_ in shop.mails()] == ["2026-03-10 00:00"]


@pytest.mark.parametrize("read_at_once", [4, 7, 4_096])
async def test_no_entry_is_passed_over_or_counted_twice(
    store: Store, monkeypatch: pytest.MonkeyPatch, read_at_once: int
) -> None:
    """R40: however many wait in one slot, and although moving them takes them out of it."""
    monkeypatch.setattr(bounds, "SLOT_READ_MAX", read_at_once)
    async with open_shop(store) as shop:
        count = 60
        await shop.publish(
            *(shop.event(order=str(n), email=f"c{n}@shop.example") for n in range(count))
        )
        rule = await change_rule(shop, **in_days(9))
        assert await applied(shop, rule) == PendingEffect(moved=count)
        await shop.registry.freeze_rule(ACCOUNT, "ask")
        await shop.until("2026-03-10 12:00")
        await shop.registry.resume_rule(ACCOUNT, "ask")
        await shop.until("2026-03-10 12:00")
        assert [at for at, *_ in shop.mails()] == ["2026-03-10 12:00"] * count


async def test_words_are_those_of_the_day_but_a_reminder_repeats_its_request(
    store: Store,
) -> None:
    """R40, D1, B19, d7: an edit of the text needs no applying; a review reminder is pinned."""
    async with open_shop(store) as shop:
        await shop.publish(shop.event())
        steps = review_rule().steps
        steps[0].actions[0].subject, steps[1].actions[0].subject = "New", "Newer"
        await change_rule(shop, steps=steps)
        await shop.until("2026-03-09 00:00")
        steps = review_rule().steps
        steps[0].actions[0].subject, steps[1].actions[0].subject = "Last", "Latest"
        await change_rule(shop, steps=steps)
        await shop.until("2026-04-30 00:00")
        assert [one.subject for one in shop.post.letters] == ["New", "Newer"]


async def test_a_second_step_outside_of_reviews_says_what_is_newest(store: Store) -> None:
    """R40, D1."""
    rule = free_rule("ask", steps=[step("a"), follow_up("b")])
    async with open_shop(store, rule=rule) as shop:
        await shop.publish(shop.event())
        await shop.engine.advance_to(shop.clock.now_ms())
        steps = free_rule("x", steps=[step("a"), follow_up("b")]).steps
        steps[1].actions[0].body = "Another text."
        await change_rule(shop, steps=steps)
        await shop.until("2026-04-30 00:00")
        assert [one.text for one in shop.post.letters] == ["About your order.", "Another text."]


async def test_an_edit_after_a_restart(store: Store) -> None:
    """R40, A4."""
    async with open_shop(store) as shop:
        await shop.publish(shop.event())
        await shop.restart()
        rule = await change_rule(shop, **in_days(3))
        assert await applied(shop, rule) == PendingEffect(moved=1)
        await shop.restart()
        await shop.until("2026-03-05 00:00")
        assert [at for at, *_ in shop.mails()] == ["2026-03-04 09:00"]


async def test_a_cancellation_beats_an_edit_under_way(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """R40, pitfall:untruthful-cancel: cancelled between reading and moving, it stays so."""
    move = store.move
    async with open_shop(store) as shop:
        await shop.publish(shop.event())

        async def cancelled_meanwhile(*arguments: Any) -> Any:
            await shop.publish(shop.event("order_cancelled"))
            return await move(*arguments)

        monkeypatch.setattr(store, "move", cancelled_meanwhile)
        await shop.engine.pending.apply(await change_rule(shop, **in_days(3)))
        await shop.until("2026-04-30 00:00")
        assert await shop.ends() == {(State.CANCELLED, Reason.ORDER_CANCELLED): 1}


async def test_an_edit_during_dispatch_loses_nothing(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """R40, pitfall:configuration-during-dispatch: applied between reading and claiming."""
    claim = store.claim
    async with open_shop(store) as shop:
        await shop.publish(
            *(shop.event(order=str(n), email=f"c{n}@shop.example") for n in range(20))
        )
        done: list[int] = []

        async def edited_meanwhile(*arguments: Any) -> Any:
            if not done:
                done.append(1)
                await shop.engine.pending.apply(await change_rule(shop, **in_days(8)))
            return await claim(*arguments)

        monkeypatch.setattr(store, "claim", edited_meanwhile)
        await shop.until("2026-03-10 00:00")
        assert len(shop.mails()) == 20
        assert len({to for _, to, _ in shop.mails()}) == 20
