"""The life of an invitation, end to end, at exact instants."""

from __future__ import annotations

from typing import Any

import pytest

from core import bounds
from core.engine.consents import Statement
from core.engine.explain_parts import DUE_GATES, STAGES, Gate
from core.engine.reach import Whom
from core.engine.settlement import ATTEMPTS_MAX
from core.errors import EventIdReused, FailedPrecondition, InvalidField, NotFound
from core.model import (
    ConsentStatus,
    Contact,
    Disposition,
    Medium,
    Purpose,
    Reason,
    State,
)
from core.ports import Store
from core.sending import Delivery
from tests.support.shop import ACCOUNT, one_in_14_days, open_shop, review_rule

ANA, BEN = "ana@shop.example", "ben@shop.example"


async def test_a1_a19_b17_an_order_is_asked_about_and_reminded(store: Store) -> None:
    """A1, A4, A18, A19, B3, B17, B40, C20: 7 local days later at 10:00, with nobody's help."""
    async with open_shop(store) as shop:
        (answer,) = await shop.publish(shop.event())
        assert (answer.disposition, len(answer.members)) == (Disposition.PLANNED, 1)
        await shop.until("2026-03-08 08:59")
        assert shop.mails() == []
        await shop.until("2026-04-30 00:00")
        # 10:00 in Madrid is 09:00 UTC; five local days later likewise.
        assert shop.mails() == [
            ("2026-03-08 09:00", ANA, False),
            ("2026-03-13 09:00", ANA, True),
        ]
        assert await shop.ends() == {(State.SENT, 0): 2}
        assert await shop.pending() == 0


async def test_d2_daylight_saving_keeps_the_wall_time(store: Store) -> None:
    """A19, d2, pitfall:wrong-zone."""
    async with open_shop(store, start="2026-03-24 12:00") as shop:
        await shop.publish(shop.event())
        await shop.until("2026-04-20 00:00")
        assert [at for at, _, _ in shop.mails()] == ["2026-03-31 08:00", "2026-04-05 08:00"]


async def test_b20_a_review_stops_the_reminder(store: Store) -> None:
    async with open_shop(store) as shop:
        await shop.publish(shop.event())
        await shop.until("2026-03-09 00:00")
        (answer,) = await shop.publish(shop.event("review_submitted"))
        assert answer.stopped_count == 1
        await shop.until("2026-04-30 00:00")
        assert [again for _, _, again in shop.mails()] == [False]
        assert await shop.ends() == {
            (State.SENT, 0): 1,
            (State.CANCELLED, Reason.REVIEWED): 1,
        }


async def test_r5_e7_an_event_with_the_order_alone_finds_its_contact(store: Store) -> None:
    async with open_shop(store) as shop:
        await shop.publish(shop.event())
        (answer,) = await shop.publish(shop.event("order_cancelled", contact=Contact()))
        assert answer.stopped_count == 1
        await shop.until("2026-04-30 00:00")
        assert shop.mails() == []
        assert await shop.ends() == {(State.CANCELLED, Reason.ORDER_CANCELLED): 1}


async def test_e7_a_cancellation_that_comes_first_wins_all_the_same(store: Store) -> None:
    async with open_shop(store) as shop:
        await shop.publish(shop.event("order_cancelled", contact=Contact()))
        (answer,) = await shop.publish(shop.event())
        assert len(answer.members) == 1
        await shop.until("2026-04-30 00:00")
        assert shop.mails() == []
        assert await shop.ends() == {(State.CANCELLED, Reason.ORDER_CANCELLED): 1}


@pytest.mark.parametrize("consent", [None, False])
async def test_a2_r11_without_consent_nobody_is_asked(store: Store, consent: bool | None) -> None:
    """A2, B2."""
    async with open_shop(store) as shop:
        await shop.publish(shop.event(consent=consent))
        assert await shop.ends() == {(State.SKIPPED, Reason.NO_CONSENT): 1}
        await shop.until("2026-04-30 00:00")
        assert shop.mails() == []


async def test_r25_r27_what_a_cap_holds_back_goes_at_the_exact_moment_it_frees(
    store: Store,
) -> None:
    """A31, B18, B43, h6: and the reminder counts from the deferred send."""
    async with open_shop(store, caps=[one_in_14_days()]) as shop:
        await shop.publish(shop.event(order="1"))
        await shop.until("2026-03-02 15:00")
        await shop.publish(shop.event(order="2"))
        await shop.until("2026-04-30 00:00")
        assert shop.mails() == [
            ("2026-03-08 09:00", ANA, False),
            ("2026-03-13 09:00", ANA, True),
            ("2026-03-22 09:00", ANA, False),
            # Five local days at 10:00; the clock went forward in between.
            ("2026-03-27 09:00", ANA, True),
        ]


async def test_r26_of_two_due_at_once_one_goes_and_one_waits(store: Store) -> None:
    async with open_shop(store, caps=[one_in_14_days()]) as shop:
        await shop.publish(*(shop.event(order=str(n)) for n in range(3)))
        await shop.until("2026-04-30 00:00")
        firsts = [at for at, _, again in shop.mails() if not again]
        assert firsts == ["2026-03-08 09:00", "2026-03-22 09:00", "2026-04-05 09:00"]


async def test_r30_what_finds_no_slot_before_its_end_expires(store: Store) -> None:
    """A31, h6."""
    async with open_shop(store, caps=[one_in_14_days()]) as shop:
        await shop.publish(*(shop.event(order=str(n)) for n in range(5)))
        await shop.until("2026-06-30 00:00")
        ends = await shop.ends()
        # 30 days of life hold the windows of days 0, 14 and 28.
        assert ends[State.EXPIRED, Reason.NO_SLOT] == 2
        assert sum(ends.values()) == 5 + 3


async def test_d8_a_repeated_event_has_one_effect_and_the_same_answer(store: Store) -> None:
    """pitfall:re-entry."""
    async with open_shop(store) as shop:
        event = shop.event()
        (first,) = await shop.publish(event)
        (again,) = await shop.publish(event)
        assert again.disposition == Disposition.DUPLICATE
        assert again.members == first.members
        together = await shop.publish(event, shop.event(order="2"), shop.event(order="2"))
        assert [a.disposition for a in together[1:]].count(Disposition.PLANNED) >= 1
        await shop.until("2026-04-30 00:00")
        assert len([m for m in shop.mails() if not m[2]]) == 2


async def test_d8_the_same_id_with_another_body_is_refused(store: Store) -> None:
    async with open_shop(store) as shop:
        await shop.publish(shop.event())
        with pytest.raises(EventIdReused):
            await shop.publish(shop.event(email=BEN))


async def test_r3_only_some_types_may_come_without_an_id(store: Store) -> None:
    async with open_shop(store) as shop:
        (first,) = await shop.publish(shop.event(id=""))
        (again,) = await shop.publish(shop.event(id=""))
        assert (first.members, again.disposition) == (again.members, Disposition.DUPLICATE)
        with pytest.raises(InvalidField) as refused:
            await shop.publish(shop.event("delivery", id=""))
        assert refused.value.field == "event.id"


async def test_r2_the_same_order_is_never_asked_about_twice(store: Store) -> None:
    """A8, A30: over two rules and two event types."""
    async with open_shop(store) as shop:
        await shop.registry.create_rule(review_rule(id="later", event_type="delivery"))
        await shop.registry.activate(ACCOUNT, "later", "madrid", "test")
        await shop.publish(shop.event(), shop.event("delivery"))
        await shop.until("2026-04-30 00:00")
        assert [again for _, _, again in shop.mails()] == [False, True]
        assert (State.SKIPPED, Reason.DUPLICATE) in await shop.ends()


async def test_h5_a_rule_switched_off_is_looked_at_when_due(store: Store) -> None:
    """A24, B9, C25, pitfall:cap-of-another-medium: what a rule switched off has waiting is not sent."""
    async with open_shop(store) as shop:
        await shop.publish(shop.event(order="1", at="2026-03-01 09:00"))
        await shop.publish(shop.event(order="2", email=BEN, at="2026-03-01 09:00"))
        await shop.registry.deactivate(ACCOUNT, "ask", "madrid", "test")
        await shop.until("2026-03-05 00:00")
        await shop.registry.activate(ACCOUNT, "ask", "madrid", "test")
        await shop.until("2026-03-09 00:00")
        assert len(shop.mails()) == 2
        await shop.registry.deactivate(ACCOUNT, "ask", "madrid", "test")
        await shop.until("2026-04-30 00:00")
        assert len(shop.mails()) == 2
        assert (await shop.ends())[State.CANCELLED, Reason.RULE_INACTIVE] == 2


async def test_a27_what_waits_goes_on_under_the_rule_that_planned_it(store: Store) -> None:
    """A25, R14."""
    async with open_shop(store) as shop:
        await shop.publish(shop.event())
        quick = review_rule(id="quick", steps=[review_rule().steps[0]])
        await shop.registry.create_rule(quick)
        await shop.registry.activate(ACCOUNT, "quick", "madrid", "test")
        await shop.until("2026-04-30 00:00")
        assert [again for _, _, again in shop.mails()] == [False, True]


async def test_r15_an_inactive_type_plans_nothing_and_still_stops(store: Store) -> None:
    async with open_shop(store) as shop:
        await shop.publish(shop.event())
        kind = shop.registry.snapshot.event_type(ACCOUNT, "order_cancelled")
        assert kind is not None
        kind = type(kind)(account=ACCOUNT, id=kind.id, active=False)
        await shop.registry.update_event_type(kind)
        (answer,) = await shop.publish(shop.event("order_cancelled"))
        assert (answer.disposition, answer.stopped_count) == (Disposition.INACTIVE, 1)


async def test_r30_an_event_that_comes_too_late_is_not_written_about(store: Store) -> None:
    async with open_shop(store) as shop:
        await shop.publish(shop.event(order="1", at="2026-02-18 09:00"))
        await shop.publish(shop.event(order="2", email=BEN, at="2026-02-20 09:00"))
        await shop.until("2026-03-01 10:00")
        assert [to for _, to, _ in shop.mails()] == [BEN]
        assert (await shop.ends())[State.EXPIRED, Reason.LATE_EVENT] == 1


async def test_a_recipient_without_address_is_skipped(store: Store) -> None:
    """C17, R9."""
    async with open_shop(store) as shop:
        await shop.publish(shop.event(contact=Contact(phone="+34600000000")))
        await shop.until("2026-04-30 00:00")
        assert await shop.ends() == {(State.SKIPPED, Reason.NO_RECIPIENT): 1}


async def test_cancel_is_truthful(store: Store) -> None:
    """pitfall:untruthful-cancel."""
    async with open_shop(store) as shop:
        (answer,) = await shop.publish(shop.event())
        (member,) = answer.members
        view = await shop.engine.reader.cancel(ACCOUNT, member)
        assert (view.reference.state, view.reference.reason) == (
            State.CANCELLED,
            Reason.BY_CLIENT,
        )
        await shop.engine.reader.cancel(ACCOUNT, member)
        with pytest.raises(NotFound):
            await shop.engine.reader.get("somebody-else", member)
        await shop.until("2026-04-30 00:00")
        assert shop.mails() == []
        (sent,) = await shop.publish(shop.event(order="2"))
        await shop.until("2026-05-10 00:00")
        with pytest.raises(FailedPrecondition):
            await shop.engine.reader.cancel(ACCOUNT, sent.members[0])


DEFERRED = Delivery(Delivery.Kind.DEFERRED, "450 later", 60_000, False)
REJECTED = Delivery(Delivery.Kind.REJECTED, "550 no", 0, False)
UNKNOWN = Delivery(Delivery.Kind.UNKNOWN, "", 0, True)


async def test_a_deferred_delivery_is_tried_again_with_the_same_id(store: Store) -> None:
    async with open_shop(store, caps=[one_in_14_days()]) as shop:
        shop.post.answers[ANA] = [DEFERRED, DEFERRED]
        await shop.publish(shop.event())
        await shop.until("2026-03-09 00:00")
        assert shop.mails() == [("2026-03-08 09:02", ANA, False)]
        views = await shop.engine.reader.by_order(ACCOUNT, "accounts/shop/channels/madrid", "1")
        assert views[0].reference.attempts == 3


async def test_r25_a_refused_recipient_gives_its_reservation_back(store: Store) -> None:
    async with open_shop(store, caps=[one_in_14_days()]) as shop:
        shop.post.answers[ANA] = [REJECTED]
        await shop.publish(shop.event(order="1"), shop.event(order="2"))
        await shop.until("2026-03-09 00:00")
        assert [m[0] for m in shop.mails()] == ["2026-03-08 09:00"]
        assert (await shop.ends())[State.NOT_DELIVERED, Reason.INVALID_RECIPIENT] == 1


async def test_r48_a_held_unknown_outcome_ends_and_plans_no_reminder(store: Store) -> None:
    """B17."""
    async with open_shop(store, holds_unknown=True) as shop:
        shop.post.answers[ANA] = [UNKNOWN]
        await shop.publish(shop.event())
        await shop.until("2026-04-30 00:00")
        assert await shop.ends() == {(State.UNKNOWN, Reason.OUTCOME_UNKNOWN): 1}


async def test_r48_an_unknown_outcome_that_cannot_be_tried_again_is_no_failure(
    store: Store,
) -> None:
    """R48: it may have arrived: "not sent" would be wrong, and a dead letter could be replayed."""
    async with open_shop(store) as shop:
        shop.post.answers[ANA] = [UNKNOWN] * ATTEMPTS_MAX
        await shop.publish(shop.event())
        await shop.until("2026-04-30 00:00")
        assert await shop.ends() == {(State.UNKNOWN, Reason.OUTCOME_UNKNOWN): 1}


async def test_a_restart_finds_what_waits_and_what_was_deferred(store: Store) -> None:
    """A4, B3."""
    async with open_shop(store, caps=[one_in_14_days()]) as shop:
        await shop.publish(*(shop.event(order=str(n)) for n in range(2)))
        await shop.until("2026-03-10 00:00")
        assert len(shop.mails()) == 1
        from core.engine.engine import Engine
        from core.model import Medium
        from senders.postbox import Postbox

        await shop.engine.stop()
        shop.engine = Engine(store, shop.registry, Postbox({Medium.EMAIL: shop.post}), shop.clock)
        await shop.engine.start()
        await shop.until("2026-04-30 00:00")
        assert len(shop.mails()) == 4


async def test_explain_tells_the_whole_story(store: Store) -> None:
    async with open_shop(store, caps=[one_in_14_days()]) as shop:
        answers = await shop.publish(
            shop.event(order="1"), shop.event(order="2"), shop.event(order="3", consent=False)
        )
        await shop.until("2026-03-10 00:00")
        told = await shop.engine.explainer.invitation(ACCOUNT, answers[0].members[0])
        assert told.summary.startswith("sent 2026-03-08 10:00 Europe/Madrid")
        stages = [d.stage for d in told.decisions]
        assert stages[:3] == ["accept", "rule", "plan"]
        gates = [STAGES[gate] for gate in DUE_GATES if gate is not Gate.DIVERSION]
        assert stages[3:] == [*gates, "attempts", "send"]
        held = await shop.engine.explainer.invitation(ACCOUNT, answers[1].members[0])
        assert "waits until 2026-03-22 10:00 Europe/Madrid" in held.summary
        assert "cap requests (1 in 14 days) was full" in next(
            d.text for d in held.decisions if d.stage == "cap"
        )
        refused = await shop.engine.explainer.event(ACCOUNT, "test", "checkout-3")
        assert "no consent" in refused.summary
        await shop.publish(shop.event("store_visit", order="9"))
        nothing = await shop.engine.explainer.event(ACCOUNT, "test", "store_visit-9")
        assert nothing.disposition == Disposition.NO_MATCH
        assert "no active rule" in nothing.summary


async def test_waiting_invitations_are_listed_by_channel_and_due_time(store: Store) -> None:
    async with open_shop(store) as shop:
        for n in range(20):
            await shop.publish(
                shop.event(order=str(n), email=f"c{n}@shop.example", at=f"2026-03-01 0{n % 9}:00")
            )
        seen: list[bytes] = []
        token = ""
        while True:
            views, token = await shop.engine.reader.waiting(
                ACCOUNT, "accounts/shop/channels/madrid", 0, 2**45, 3, token
            )
            seen += [view.member for view in views]
            if not token:
                break
        assert len(seen) == len(set(seen)) == 20


async def test_an_event_without_anybody_is_refused(store: Store) -> None:
    async with open_shop(store) as shop:
        with pytest.raises(InvalidField) as refused:
            await shop.publish(shop.event("store_visit", order="", contact=Contact()))
        assert refused.value.field == "event.contact"


async def test_e4_a_claim_that_waited_looks_at_the_consent_once_more(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A2, B2."""
    monkeypatch.setattr(bounds, "HAND_OVER_MS", -1)
    claim = store.claim
    async with open_shop(store) as shop:
        (answer,) = await shop.publish(shop.event())

        async def claim_then_withdraw(*arguments: Any) -> Any:
            verdicts = await claim(*arguments)
            await shop.engine.consents.withdraw(
                ACCOUNT, Whom(answer.contact_key), Statement(Purpose.REVIEW, Medium.EMAIL)
            )
            return verdicts

        monkeypatch.setattr(store, "claim", claim_then_withdraw)
        await shop.until("2026-04-30 00:00")
        assert shop.mails() == []
        assert await shop.ends() == {(State.SKIPPED, Reason.CONSENT_WITHDRAWN): 1}


async def test_r19_a_withdrawal_ends_what_waits_and_a_grant_revives_nothing(store: Store) -> None:
    """A2, R11."""
    async with open_shop(store) as shop:
        (answer,) = await shop.publish(shop.event())
        book, key = shop.engine.consents, answer.contact_key
        asked = (ACCOUNT, Whom(key), Statement(Purpose.REVIEW, Medium.EMAIL))
        view, written = await book.withdraw(*asked)
        assert (written.ended, written.in_flight) == (list(answer.members), [])
        shop.clock.move_to_ms(shop.clock.now_ms() + 1)
        granted = await book.grant(*asked)
        assert (view.status, granted.status) == (ConsentStatus.WITHDRAWN, ConsentStatus.CONFIRMED)
        await shop.until("2026-04-30 00:00")
        assert shop.mails() == []
        assert await shop.ends() == {(State.SKIPPED, Reason.UNSUBSCRIBED): 1}
        await shop.publish(shop.event(order="2", consent=None))
        await shop.until("2026-06-30 00:00")
        assert len(shop.mails()) == 2
