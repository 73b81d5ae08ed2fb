"""Invitations by hand, second thoughts about others, and how both pass the gates (A3, R44, R45)."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from core.bounds import DAY_MS, HOUR_MS
from core.engine.manual import Wish
from core.engine.reader import InvitationView
from core.errors import EventIdReused, FailedPrecondition, InvalidField, NotFound
from core.model import (
    Contact,
    Event,
    Evidence,
    Family,
    Item,
    Medium,
    Order,
    Purpose,
    Reason,
    Review,
    State,
    WaitReason,
)
from core.ports import Store
from core.records import KIND_PRODUCT, KIND_SERVICE
from core.registry.resources import CapScope, ConsentMode, OnCap
from core.registry.rule_parts import (
    Action,
    MediumHours,
    OnClosed,
    Step,
    StopEvent,
    StopKey,
    Wait,
    Window,
)
from tests.support.configuration import with_texts
from tests.support.shop import ACCOUNT, MADRID, Shop, ms, one_in_14_days, open_shop, review_rule

ANA = "ana@shop.example"
ASK = Wish(KIND_SERVICE, Purpose.REVIEW, Medium.EMAIL)
TELL = Wish(0, Purpose.TRANSACTIONAL, Medium.EMAIL, "Your parcel", "It is late.")
ADVERTISE = Wish(0, Purpose.MARKETING, Medium.EMAIL, "News", "Look here.")


def about(
    shop: Shop, order: str = "1", *, consent: Purpose | None = Purpose.REVIEW, **fields: Any
) -> Event:
    given = [] if consent is None else [Evidence(consent, Medium.EMAIL, True)]
    values: dict[str, Any] = {
        "id": f"hand-{order}", "source": "desk", "type": "", "channel": MADRID, "occur_ms": 0,
        "contact": Contact(email=ANA), "consents": given,
        "order": Order(reference=order, items=[Item(sku="mug", name="Mug")]),
    }  # fmt: skip
    return Event(**{**values, **fields})


async def make(shop: Shop, event: Event, wish: Wish = ASK, **how: bool) -> InvitationView:
    return await shop.engine.by_hand.create(ACCOUNT, event, wish, **how)


def later(wish: Wish, text: str) -> Wish:
    return msgspec.structs.replace(wish, due_ms=ms(text))


async def now(shop: Shop, view: InvitationView) -> InvitationView:
    return await shop.engine.reader.get(ACCOUNT, view.member)


def stands(view: InvitationView) -> tuple[State, Reason]:
    return State(view.reference.state), Reason(view.reference.reason)


async def planned(shop: Shop, **fields: Any) -> InvitationView:
    """Publish a checkout that the rule asks about, seven days later at 10:00."""
    answer = (await shop.publish(shop.event(**fields)))[0]
    return await shop.engine.reader.get(ACCOUNT, answer.members[0])


async def cancelled(shop: Shop, **fields: Any) -> InvitationView:
    view = await planned(shop, **fields)
    return await shop.engine.reader.cancel(ACCOUNT, view.member)


async def reinstate(shop: Shop, view: InvitationView) -> InvitationView:
    return await shop.engine.second_thoughts.reinstate(ACCOUNT, view.member)


async def send_now(shop: Shop, view: InvitationView) -> InvitationView:
    return await shop.engine.second_thoughts.send_now(ACCOUNT, view.member)


# --- create -------------------------------------------------------------------------------------


async def test_one_by_hand_goes_out_now_and_nothing_follows(store: Store) -> None:
    """A3, R45: due now unless given, without a rule, without a reminder."""
    async with open_shop(store) as shop:
        view = await make(shop, about(shop))
        assert stands(view) == (State.SCHEDULED, Reason.NONE)
        assert (view.detail.mode, view.detail.rule, view.reference.rule_number) == (2, "", 0)
        assert view.reference.due_ms == ms("2026-03-01 09:00")
        assert view.reference.expire_ms == ms("2026-03-31 09:00")
        await shop.until("2026-05-01 09:00")
        assert shop.mails() == [("2026-03-01 09:00", ANA, False)]
        assert await shop.pending() == 0
        assert await shop.ends() == {(State.SENT, 0): 1}


async def test_one_by_hand_waits_for_its_time(store: Store) -> None:
    """A3: due when it says; a time that has passed is now."""
    async with open_shop(store) as shop:
        await make(shop, about(shop), later(ASK, "2026-04-02 17:30"))
        await make(shop, about(shop, "2"), later(TELL, "2020-01-01 00:00"))
        await shop.until("2026-05-01 09:00")
        assert shop.mails() == [
            ("2026-03-01 09:00", ANA, False),
            ("2026-04-02 17:30", ANA, False),
        ]


async def test_the_same_call_makes_one_and_another_is_refused(store: Store) -> None:
    """R45, R2: idempotent by the id of the event."""
    async with open_shop(store) as shop:
        first = await make(shop, about(shop))
        assert (await make(shop, about(shop))).member == first.member
        await shop.until("2026-03-02 09:00")
        again = await make(shop, about(shop))
        assert (again.member, stands(again)) == (first.member, (State.SENT, Reason.NONE))
        for event, wish in (
            (about(shop, contact=Contact(email="other@shop.example")), ASK),
            (about(shop), later(ASK, "2026-03-09 09:00")),
            (about(shop), msgspec.structs.replace(ASK, text="Tell us.")),
        ):
            for validate_only in (True, False):
                with pytest.raises(EventIdReused) as caught:
                    await make(shop, event, wish, validate_only=validate_only)
                assert caught.value.field == "event.id"
        assert (await make(shop, about(shop), validate_only=True)).member == first.member
        assert len(shop.mails()) == 1


async def test_an_id_that_was_published_is_not_taken_by_hand(store: Store) -> None:
    """R45: and the reverse."""
    async with open_shop(store) as shop:
        event = shop.event()
        await shop.publish(event)
        with pytest.raises(EventIdReused):
            await make(shop, event)
        await make(shop, about(shop, "2"))
        answer = await shop.engine.acceptor.accept(
            ACCOUNT, [about(shop, "2", type="checkout", occur_ms=shop.clock.now_ms())]
        )
        assert isinstance(answer[0].error, EventIdReused)


async def test_an_order_is_asked_once_by_rule_or_by_hand(store: Store) -> None:
    """R2, R45: the first takes the key, whoever asks; allow_repeat lifts it, and nothing else."""
    async with open_shop(store) as shop:
        await planned(shop)
        second = await make(shop, about(shop))
        assert stands(second) == (State.SKIPPED, Reason.DUPLICATE)
        product = Wish(KIND_PRODUCT, Purpose.REVIEW, Medium.EMAIL)
        assert stands(await make(shop, about(shop, id="p"), product))[0] is State.SCHEDULED
        repeat = msgspec.structs.replace(ASK, allows_repeat=True)
        third = await make(shop, about(shop, id="again"), repeat)
        assert stands(third) == (State.SCHEDULED, Reason.NONE)
        no_consent = about(shop, "3", id="no", consent=None)
        assert stands(await make(shop, no_consent, repeat)) == (State.SKIPPED, Reason.NO_CONSENT)


async def test_one_by_hand_keeps_rules_from_asking_again(store: Store) -> None:
    """R2: also one that would have been allowed to repeat."""
    async with open_shop(store) as shop:
        repeat = msgspec.structs.replace(ASK, allows_repeat=True)
        for order, wish in (("1", ASK), ("2", repeat)):
            await make(shop, about(shop, order), wish)
            assert stands(await planned(shop, order=order)) == (State.SKIPPED, Reason.DUPLICATE)


async def test_consent_decides_on_those_by_hand(store: Store) -> None:
    """A3, R11, R17, R45: at accept, and again when it is due."""
    async with open_shop(store) as shop:
        none = await make(shop, about(shop, consent=None))
        assert stands(none) == (State.SKIPPED, Reason.NO_CONSENT)
        marketing = about(shop, "2", consent=Purpose.REVIEW)
        assert stands(await make(shop, marketing, ADVERTISE)) == (State.SKIPPED, Reason.NO_CONSENT)
        told = await make(shop, about(shop, "3", consent=None), TELL)
        assert stands(told)[0] is State.SCHEDULED, "needs none"
        waits = await make(shop, about(shop, "4"), later(ASK, "2026-03-10 09:00"))
        no = [Evidence(Purpose.REVIEW, Medium.EMAIL, False, ms("2026-03-01 09:00"))]
        await shop.publish(shop.event(type="picked_up", order="4", consents=no))
        await shop.until("2026-03-11 09:00")
        assert stands(await now(shop, waits)) == (State.SKIPPED, Reason.NO_CONSENT)


async def test_a_shop_may_attest_for_those_by_hand(store: Store) -> None:
    """R20."""
    async with open_shop(store, consent_mode=ConsentMode.SHOP_ATTESTS) as shop:
        await make(shop, about(shop, consent=None))
        await shop.until("2026-03-01 09:01")
        assert len(shop.mails()) == 1


@pytest.mark.parametrize("on_cap", [OnCap.BY_PURPOSE, OnCap.DEFER, OnCap.SKIP])
async def test_caps_defer_those_by_hand_whatever_the_purpose(store: Store, on_cap: OnCap) -> None:
    """R45, R28: by default; a cap that says skip skips."""
    cap = one_in_14_days(purposes=[Purpose.MARKETING], on_cap=on_cap, window_ms=2 * DAY_MS)
    async with open_shop(store, caps=[cap]) as shop:
        for order in ("1", "2"):
            await make(shop, about(shop, order, consent=Purpose.MARKETING), ADVERTISE)
        await shop.until("2026-03-20 09:00")
        times = [at for at, _, _ in shop.mails()]
        if on_cap is OnCap.SKIP:
            assert times == ["2026-03-01 09:00"]
            assert await shop.ends() == {(State.SENT, 0): 1, (State.SKIPPED, Reason.CAPPED): 1}
        else:
            assert times == ["2026-03-01 09:00", "2026-03-03 09:00"]


async def test_caps_per_rule_do_not_look_at_those_by_hand(store: Store) -> None:
    """R45: they have no rule that they could share one with."""
    cap = one_in_14_days(scope=CapScope.RULE)
    async with open_shop(store, caps=[cap]) as shop:
        for order in ("1", "2"):
            await make(shop, about(shop, order))
        await shop.until("2026-03-01 09:01")
        assert len(shop.mails()) == 2


async def test_hours_hold_those_by_hand(store: Store) -> None:
    """R45, d3: the windows of the channel count for them like for all."""
    hours = MediumHours(Medium.EMAIL, open=(Window(14 * HOUR_MS, 16 * HOUR_MS),))
    async with open_shop(store, hours=(hours,)) as shop:
        view = await make(shop, about(shop))
        assert view.detail.first_due_ms == ms("2026-03-01 13:00"), "planned for the opening"
        await make(shop, about(shop, "2"), TELL)
        await shop.until("2026-03-02 09:00")
        assert [at for at, _, _ in shop.mails()] == ["2026-03-01 09:00", "2026-03-01 13:00"]


async def test_events_end_review_requests_by_hand_and_nothing_else(store: Store) -> None:
    """R39: before and after they are made."""
    async with open_shop(store) as shop:
        ask = await make(shop, about(shop), later(ASK, "2026-03-10 09:00"))
        tell = await make(shop, about(shop, id="tell"), later(TELL, "2026-03-10 09:00"))
        await shop.publish(shop.event(type="order_cancelled"))
        assert stands(await now(shop, ask)) == (State.CANCELLED, Reason.ORDER_CANCELLED)
        assert stands(await now(shop, tell))[0] is State.SCHEDULED
        late = await make(shop, about(shop, id="late"))
        assert stands(late) == (State.CANCELLED, Reason.ORDER_CANCELLED)
        product = Wish(KIND_PRODUCT, Purpose.REVIEW, Medium.EMAIL)
        for wish, name in ((ASK, "s"), (product, "p")):
            await make(shop, about(shop, "2", id=name), later(wish, "2026-03-12 09:00"))
        review = shop.event(type="review_submitted", order="2", review=Review(kind=1))
        await shop.publish(review)
        await shop.until("2026-03-20 09:00")
        assert [at for at, _, _ in shop.mails()] == ["2026-03-10 09:00", "2026-03-12 09:00"]
        assert (await shop.ends())[State.CANCELLED, Reason.REVIEWED] == 1


async def test_checking_a_wish_changes_nothing(store: Store) -> None:
    """A3: validate_only answers what it would be, without a name."""
    async with open_shop(store) as shop:
        for event, wish, expected in (
            (about(shop), ASK, (State.SCHEDULED, Reason.NONE)),
            (about(shop, consent=None), ASK, (State.SKIPPED, Reason.NO_CONSENT)),
        ):
            would_be = await make(shop, event, wish, validate_only=True)
            assert (stands(would_be), would_be.reference.sequence) == (expected, 0)
        await planned(shop)
        would_be = await make(shop, about(shop), validate_only=True)
        assert stands(would_be) == (State.SKIPPED, Reason.DUPLICATE)
        await shop.publish(shop.event(type="order_cancelled"))
        would_be = await make(shop, about(shop), validate_only=True)
        assert stands(would_be) == (State.CANCELLED, Reason.ORDER_CANCELLED)
        assert await shop.pending() == 0
        # The id is still free.
        await make(shop, about(shop, contact=Contact(email="ben@shop.example")))


async def test_what_a_wish_must_say(store: Store) -> None:
    async with open_shop(store) as shop:
        for event, error, field in (
            (about(shop, id=""), InvalidField, "event.id"),
            (about(shop, contact=Contact()), InvalidField, "event.contact"),
            (about(shop, type="nonsense"), InvalidField, "event.type"),
            (about(shop, channel="accounts/shop/channels/paris"), NotFound, "event.channel"),
        ):
            for validate_only in (True, False):
                with pytest.raises(error) as caught:
                    await make(shop, event, validate_only=validate_only)
                assert caught.value.field == field


# --- reinstate ----------------------------------------------------------------------------------


async def test_a_cancelled_invitation_waits_again(store: Store) -> None:
    """R44, un-cancelled: of the next generation, with its event, reminder and all."""
    async with open_shop(store) as shop:
        old = await cancelled(shop)
        await shop.until("2026-03-04 09:00")
        new = await reinstate(shop, old)
        assert stands(new) == (State.SCHEDULED, Reason.NONE)
        assert new.member != old.member
        assert (new.detail.generation, new.detail.rule) == (1, "ask")
        assert new.reference.due_ms == old.detail.first_due_ms
        assert (await reinstate(shop, old)).member == new.member, "once"
        assert stands(await now(shop, old)) == (State.CANCELLED, Reason.BY_CLIENT)
        again = await reinstate(shop, await shop.engine.reader.cancel(ACCOUNT, new.member))
        assert again.detail.generation == 2
        assert stands(await planned(shop, id="again")) == (State.SKIPPED, Reason.DUPLICATE)
        await shop.until("2026-04-20 09:00")
        assert shop.mails() == [("2026-03-08 09:00", ANA, False), ("2026-03-13 09:00", ANA, True)]


async def test_a_reinstated_invitation_knows_what_was_told_meanwhile(store: Store) -> None:
    """R44, R39: all goods of the order went back while it was cancelled, as a return that lists them."""
    async with open_shop(store) as shop:
        old = await cancelled(shop)
        goods = Order(reference="1", items=[Item(sku="mug", name="Mug")])
        at_ms = shop.clock.now_ms() + 1
        await shop.publish(
            Event("back", "test", "return", MADRID, at_ms, Contact(email=ANA), goods)
        )
        new = await reinstate(shop, old)
        await shop.until("2026-04-20 09:00")
        assert stands(await now(shop, new)) == (State.CANCELLED, Reason.RETURNED)


async def test_a_stop_that_leaves_no_tombstone_forbids_too(store: Store) -> None:
    """R44: a purchase that ends a run by contact, while the invitation of the run was cancelled."""
    news = with_texts(
        review_rule(
            id="news", family=Family.AUTOMATION, purpose=Purpose.TRANSACTIONAL,
            event_type="picked_up", stop_when=[],
            steps=[Step("only", Wait(days=7), [Action(Medium.EMAIL)])],
            stops=[StopEvent("payment_received", StopKey.CONTACT)],
        )
    )  # fmt: skip
    async with open_shop(store, rule=news) as shop:
        fine = await cancelled(shop, type="picked_up", order="1", email="ben@shop.example")
        old = await cancelled(shop, type="picked_up", order="2")
        await shop.publish(shop.event(type="payment_received", order="9"))
        assert "ended its order or run" in await refused_to_reinstate(shop, old)
        assert stands(await reinstate(shop, fine))[0] is State.SCHEDULED


async def test_the_gates_look_at_what_comes_back(store: Store) -> None:
    """R44: all gates again."""
    async with open_shop(store) as shop:
        old = await cancelled(shop)
        no = [Evidence(Purpose.REVIEW, Medium.EMAIL, False, shop.clock.now_ms() + 1)]
        await shop.until("2026-03-02 09:00")
        await shop.publish(shop.event(type="picked_up", consents=no))
        assert stands(await reinstate(shop, old)) == (State.SKIPPED, Reason.NO_CONSENT)


async def test_one_by_hand_can_be_reinstated_too(store: Store) -> None:
    """R44."""
    async with open_shop(store) as shop:
        view = await make(shop, about(shop), later(ASK, "2026-03-10 09:00"))
        old = await shop.engine.reader.cancel(ACCOUNT, view.member)
        new = await reinstate(shop, old)
        assert (new.detail.mode, new.detail.generation) == (2, 1)
        await shop.until("2026-03-20 09:00")
        assert shop.mails() == [("2026-03-10 09:00", ANA, False)]


async def refused_to_reinstate(shop: Shop, view: InvitationView) -> str:
    with pytest.raises(FailedPrecondition) as caught:
        await reinstate(shop, view)
    assert caught.value.field == "name"
    assert await shop.pending() == 0
    return caught.value.message


async def test_what_does_not_come_back(store: Store) -> None:
    """R44: FAILED_PRECONDITION names which it was."""
    async with open_shop(store) as shop:
        waiting = await planned(shop)
        with pytest.raises(FailedPrecondition, match="SCHEDULED"):
            await reinstate(shop, waiting)
        await shop.engine.reader.cancel(ACCOUNT, waiting.member)
        await shop.publish(shop.event(type="order_cancelled"))
        assert "ORDER_CANCELLED" in await refused_to_reinstate(shop, waiting)
        skipped = await planned(shop, order="2", consent=None)
        told = await refused_to_reinstate(shop, skipped)
        assert "SKIPPED (NO_CONSENT)" in told
        assert "CreateInvitation" in told
        late = await cancelled(shop, order="3")
        await shop.until("2026-03-08 09:00")
        assert "first due" in await refused_to_reinstate(shop, late)
        with pytest.raises(NotFound):
            await shop.engine.second_thoughts.reinstate(ACCOUNT, bytes(16))
        with pytest.raises(NotFound):
            await shop.engine.second_thoughts.reinstate("other", late.member)


@pytest.mark.parametrize("verb", ["stop", "delete"])
async def test_a_stopped_or_deleted_rule_brings_nothing_back(store: Store, verb: str) -> None:
    """R44, D17."""
    async with open_shop(store) as shop:
        old = await cancelled(shop)
        if verb == "stop":
            await shop.registry.stop_rule(ACCOUNT, "ask", "madrid")
            await shop.registry.activate(ACCOUNT, "ask", "madrid", "test")
            assert "RULE_STOPPED" in await refused_to_reinstate(shop, old)
        else:
            await shop.registry.deactivate(ACCOUNT, "ask", "madrid", "test")
            await shop.registry.delete_rule(ACCOUNT, "ask")
            assert "RULE_DELETED" in await refused_to_reinstate(shop, old)


async def test_what_was_asked_otherwise_does_not_come_back(store: Store) -> None:
    """R44, R2: the same order is not asked twice."""
    async with open_shop(store) as shop:
        old = await cancelled(shop)
        repeat = msgspec.structs.replace(ASK, allows_repeat=True)
        await make(shop, about(shop), repeat)
        await shop.until("2026-03-01 10:00")
        assert "DUPLICATE" in await refused_to_reinstate(shop, old)


# --- send now -----------------------------------------------------------------------------------


async def test_a_waiting_invitation_goes_now(store: Store) -> None:
    """R45: the reminder follows as from any other send."""
    async with open_shop(store) as shop:
        view = await planned(shop)
        await shop.until("2026-03-02 12:34")
        moved = await send_now(shop, view)
        assert (moved.member, moved.reference.due_ms) == (view.member, ms("2026-03-02 12:34"))
        assert moved.detail.first_due_ms == view.detail.first_due_ms
        assert moved.reference.expire_ms == view.reference.expire_ms
        assert (await send_now(shop, view)).member == view.member
        await shop.until("2026-03-02 12:35")
        assert shop.mails() == [("2026-03-02 12:34", ANA, False)]
        assert stands(await send_now(shop, view)) == (State.SENT, Reason.NONE), "it was, by this"
        await shop.until("2026-03-30 09:00")
        assert shop.mails()[1:] == [("2026-03-07 09:00", ANA, True)]
        assert await shop.pending() == 0


async def test_windows_do_not_hold_back_what_is_sent_now_quiet_hours_do(store: Store) -> None:
    """R45."""
    hours = MediumHours(
        Medium.EMAIL, open=(Window(14 * HOUR_MS, 16 * HOUR_MS),),
        quiet=(Window(20 * HOUR_MS, 9 * HOUR_MS),),
    )  # fmt: skip
    async with open_shop(store, hours=(hours,)) as shop:
        await send_now(shop, await planned(shop))
        await shop.until("2026-03-01 22:00")
        assert shop.mails() == [("2026-03-01 09:00", ANA, False)]
        view = await send_now(shop, await planned(shop, order="2"))
        await shop.until("2026-03-01 22:01")
        waits = (await now(shop, view)).reference
        assert (waits.state, waits.wait) == (State.SCHEDULED, WaitReason.QUIET_HOURS)
        await shop.until("2026-03-02 09:00")
        assert shop.mails()[1:] == [("2026-03-02 08:00", ANA, False)]


async def test_what_is_sent_now_may_be_skipped_by_quiet_hours(store: Store) -> None:
    """R45: of a channel that skips what falls into them."""
    quiet = (Window(8 * HOUR_MS, 12 * HOUR_MS),)
    hours = MediumHours(Medium.EMAIL, quiet=quiet, on_closed=OnClosed.SKIP)
    async with open_shop(store, hours=(hours,)) as shop:
        view = await send_now(shop, await planned(shop))
        await shop.until("2026-03-01 09:01")
        assert stands(await now(shop, view)) == (State.SKIPPED, Reason.QUIET_HOURS)


async def test_caps_and_consent_hold_back_what_is_sent_now(store: Store) -> None:
    """R45."""
    async with open_shop(store, caps=[one_in_14_days()]) as shop:
        views = [await planned(shop, order=order) for order in ("1", "2")]
        for view in views:
            await send_now(shop, view)
        await shop.until("2026-03-01 09:01")
        assert len(shop.mails()) == 1
        capped = await now(shop, views[1])
        assert capped.reference.wait == WaitReason.CAPPED
        assert capped.reference.due_ms == ms("2026-03-15 09:00")
        await send_now(shop, capped)
        await shop.until("2026-03-01 09:02")
        assert (await now(shop, views[1])).reference.due_ms == ms("2026-03-15 09:00")
        other = await planned(shop, order="3", email="ben@shop.example")
        await shop.until("2026-03-02 09:00")
        no = [Evidence(Purpose.REVIEW, Medium.EMAIL, False, shop.clock.now_ms())]
        ben = Contact(email="ben@shop.example")
        await shop.publish(shop.event(type="picked_up", order="3", consents=no, contact=ben))
        await send_now(shop, other)
        await shop.until("2026-03-02 09:01")
        assert stands(await now(shop, other)) == (State.SKIPPED, Reason.NO_CONSENT)


async def test_what_cannot_be_sent_now(store: Store) -> None:
    """R45, R14: what is frozen, off or ended stays as it is; the error says how it stands."""
    async with open_shop(store) as shop:
        view = await planned(shop)

        async def refusal() -> str:
            with pytest.raises(FailedPrecondition) as caught:
                await send_now(shop, view)
            assert caught.value.field == "name"
            assert (await now(shop, view)).reference.due_ms == view.reference.due_ms
            return caught.value.message

        await shop.registry.freeze_rule(ACCOUNT, "ask", "madrid")
        assert "FROZEN" in await refusal()
        await shop.registry.resume_rule(ACCOUNT, "ask", "madrid")
        await shop.registry.deactivate(ACCOUNT, "ask", "madrid", "test")
        assert "RULE_INACTIVE" in await refusal()
        await shop.engine.reader.cancel(ACCOUNT, view.member)
        assert "CANCELLED (BY_CLIENT)" in await refusal()
