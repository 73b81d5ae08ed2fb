"""The complaint breaker in a shop's life (g6): when it trips, what it holds, and what lets go."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from core.bounds import DAY_MS
from core.clock import ManualClock
from core.contact_ports import FeedbackKind
from core.engine.breaker import ComplaintBreaker
from core.engine.feedback import FeedbackBook, Told
from core.errors import FailedPrecondition, NotFound, StoreUnavailable
from core.model import Contact, Medium, Purpose, Reason, State, WaitReason
from core.ports import Store
from core.registry.breakers import BreakerSettings
from core.registry.registry import Registry
from core.registry.rule_parts import Action, Step, Wait
from core.stats import Stats
from tests.support.rules import free_rule
from tests.support.shop import ACCOUNT, Shop, new_channel, open_shop, review_rule

TENTH = BreakerSettings(threshold_ppm=100_000, min_complaints=2)
"""Trips from one complaint in ten on, but not for one alone."""


def asks_at_once(**fields: Any) -> Any:
    """Return a rule that asks for a review at once, without reminder."""
    steps = [Step(id="ask", wait=Wait(elapsed_ms=0), actions=[Action(medium=Medium.EMAIL)])]
    return review_rule(steps=steps, **fields)


async def send(shop: Shop, count: int, name: str = "c", **fields: Any) -> list[bytes]:
    """Send a request to each of so many people; return the members."""
    before = len(shop.post.sent)
    for number in range(count):
        who = f"{name}{number}"
        await shop.publish(shop.event(order=who, email=f"{who}@shop.example", **fields))
    await shop.engine.advance_to(shop.clock.now_ms())
    assert len(shop.post.sent) == before + count
    return [bytes.fromhex(one[3]) for one in shop.post.sent[before:]]


async def complain(shop: Shop, members: Sequence[bytes]) -> None:
    for member in members:
        (outcome,) = await shop.engine.feedback.record(
            ACCOUNT, [Told(member, FeedbackKind.COMPLAINED)]
        )
        assert outcome.error is None


def tripped(shop: Shop, channel: str = "madrid") -> list[Medium]:
    found = shop.registry.snapshot.channel(ACCOUNT, channel)
    assert found is not None
    return [Medium(one.medium) for one in shop.registry.snapshot.tripped(found)]


async def buy(shop: Shop, who: str, **fields: Any) -> None:
    """Let somebody buy, and whatever is due go."""
    await shop.publish(shop.event(order=who, email=f"{who}@shop.example", **fields))
    await shop.engine.advance_to(shop.clock.now_ms())


async def stand(shop: Shop, who: str) -> tuple[State, Reason, WaitReason]:
    """Return how the last message to somebody stands."""
    key = shop.engine.identity.contact_key(ACCOUNT, Contact(email=f"{who}@shop.example"))
    ref = (await shop.engine.reader.by_contact(ACCOUNT, key))[-1].reference
    return State(ref.state), Reason(ref.reason), WaitReason(ref.wait)


HELD = (State.SCHEDULED, Reason.NONE, WaitReason.COMPLAINTS)
SENT = (State.SENT, Reason.NONE, WaitReason.NONE)


async def test_it_trips_at_the_threshold_and_not_before(store: Store) -> None:
    """g6: exactly one in ten, of twenty."""
    async with open_shop(store, rule=asks_at_once(), complaint_breaker=TENTH) as shop:
        members = await send(shop, 21)
        await complain(shop, members[:2])
        assert tripped(shop) == []
        await complain(shop, members[2:3])
        assert tripped(shop) == [Medium.EMAIL]
        (breaker,) = shop.registry.snapshot.breakers
        assert (breaker.sent_count, breaker.complaint_count) == (21, 3)
        assert breaker.trip_ms == shop.clock.now_ms()
        assert shop.engine.stats.breaker_trips == 1
        await complain(shop, members[3:5])
        assert shop.engine.stats.breaker_trips == 1


async def test_exactly_the_threshold_is_enough(store: Store) -> None:
    """g6."""
    async with open_shop(store, rule=asks_at_once(), complaint_breaker=TENTH) as shop:
        members = await send(shop, 20)
        await complain(shop, members[:1])
        assert tripped(shop) == []
        await complain(shop, members[:1])
        assert tripped(shop) == [], "the same complaint counts once"
        await complain(shop, members[1:2])
        assert tripped(shop) == [Medium.EMAIL]


async def test_few_complaints_are_never_too_many(store: Store) -> None:
    """g6: a shop that has sent three messages is not stopped by one."""
    async with open_shop(store, rule=asks_at_once(), complaint_breaker=TENTH) as shop:
        members = await send(shop, 3)
        await complain(shop, members[:1])
        assert tripped(shop) == []
        await complain(shop, members[1:2])
        assert tripped(shop) == [Medium.EMAIL]


async def test_it_can_be_switched_off_and_on(store: Store) -> None:
    """g6: off it counts and holds nothing; what it holds goes when it is switched off."""
    off = BreakerSettings(is_off=True, threshold_ppm=100_000, min_complaints=2)
    async with open_shop(store, rule=asks_at_once(), complaint_breaker=off) as shop:
        members = await send(shop, 4)
        await complain(shop, members[:3])
        assert tripped(shop) == []
        await shop.registry.update_channel(new_channel("madrid", complaint_breaker=TENTH))
        await complain(shop, members[3:])
        assert tripped(shop) == [Medium.EMAIL]
        await buy(shop, "ana")
        assert await stand(shop, "ana") == HELD
        assert shop.engine.stats.deferred == {WaitReason.COMPLAINTS: 1}
        await shop.registry.update_channel(new_channel("madrid", complaint_breaker=off))
        await shop.engine.advance_to(shop.clock.now_ms())
        assert await stand(shop, "ana") == SENT


async def test_reviews_and_marketing_wait_and_transactional_messages_go_on(store: Store) -> None:
    """g6, R21: of that channel; what it holds back goes when it is reset."""
    rules = [
        asks_at_once(),
        free_rule("news", Purpose.MARKETING, event_type="order_created"),
        free_rule("parcel", Purpose.TRANSACTIONAL, event_type="delivery"),
    ]
    async with open_shop(store, rules=rules, complaint_breaker=TENTH) as shop:
        porto = await shop.add_channel("porto", "ask", complaint_breaker=TENTH)
        await complain(shop, (await send(shop, 5))[:2])
        await buy(shop, "ana")
        await buy(shop, "bea", type="delivery", consent=None)
        await buy(shop, "cid", channel=porto)
        assert await stand(shop, "ana") == HELD
        assert await stand(shop, "bea") == SENT
        assert await stand(shop, "cid") == SENT
        assert tripped(shop, "porto") == []
        closed = await shop.engine.breaker.reset(ACCOUNT, "madrid", 0, actor="ann")
        assert [one.reset_ms for one in closed] == [shop.clock.now_ms()]
        assert await stand(shop, "ana") == (State.SCHEDULED, Reason.NONE, WaitReason.NONE)
        await shop.engine.advance_to(shop.clock.now_ms())
        assert await stand(shop, "ana") == SENT
        assert tripped(shop) == []
        assert (await shop.ends())[State.SENT, Reason.NONE] == 8
        assert await shop.pending() == 0


async def test_what_is_held_is_not_woken_by_other_changes(store: Store) -> None:
    """g6, R14: held for complaints or for a frozen rule, each is let go by its own end alone."""
    async with open_shop(store, rule=asks_at_once(), complaint_breaker=TENTH) as shop:
        await complain(shop, (await send(shop, 5))[:2])
        await buy(shop, "ana")
        await shop.registry.freeze_rule(ACCOUNT, "ask", "madrid")
        await shop.add_channel("porto")
        assert await shop.engine.pending.thaw() == 0
        await shop.engine.breaker.reset(ACCOUNT, "madrid", 0)
        await shop.engine.advance_to(shop.clock.now_ms())
        assert await stand(shop, "ana") == (State.SCHEDULED, Reason.NONE, WaitReason.FROZEN)
        await shop.registry.resume_rule(ACCOUNT, "ask", "madrid")
        await shop.engine.advance_to(shop.clock.now_ms())
        assert await stand(shop, "ana") == SENT


async def test_what_is_held_expires_in_its_time(store: Store) -> None:
    """g6, R30: it does not go out of date unsaid."""
    rule = asks_at_once(expire_after_ms=DAY_MS)
    async with open_shop(store, rule=rule, complaint_breaker=TENTH) as shop:
        await complain(shop, (await send(shop, 5))[:2])
        await buy(shop, "ana")
        assert await stand(shop, "ana") == HELD
        await shop.engine.advance_to(shop.clock.now_ms() + DAY_MS - 1)
        assert await stand(shop, "ana") == HELD
        await shop.engine.advance_to(shop.clock.now_ms() + 1)
        assert await stand(shop, "ana") == (State.EXPIRED, Reason.TOO_LATE, WaitReason.NONE)
        await shop.ends()
        assert await shop.pending() == 0


async def test_what_waits_long_is_held_when_it_falls_due(store: Store) -> None:
    """g6: it is judged when due; cancelled or stopped meanwhile it ends like anything that waits."""
    later = review_rule(steps=review_rule().steps[:1])
    async with open_shop(store, rule=later, complaint_breaker=TENTH) as shop:
        await shop.publish(shop.event(order="long", email="long@shop.example"))
        await shop.publish(shop.event(order="gone", email="gone@shop.example"))
        await shop.registry.create_rule(asks_at_once(id="now", event_type="delivery"))
        await shop.registry.activate(ACCOUNT, "now", "madrid", "test")
        given = shop.event().consents
        for number in range(5):
            who = f"c{number}"
            event = shop.event("delivery", order=who, email=f"{who}@shop.example")
            event.consents = given
            await shop.publish(event)
        await shop.engine.advance_to(shop.clock.now_ms())
        sent = [bytes.fromhex(one[3]) for one in shop.post.sent]
        await complain(shop, sent[:2])
        await shop.until("2026-03-08 12:00")
        assert await stand(shop, "long") == HELD
        await shop.publish(shop.event("order_cancelled", order="gone", email="gone@shop.example"))
        assert (await stand(shop, "gone"))[:2] == (State.CANCELLED, Reason.ORDER_CANCELLED)
        await shop.engine.breaker.reset(ACCOUNT, "madrid", Medium.EMAIL)
        await shop.engine.advance_to(shop.clock.now_ms())
        assert await stand(shop, "long") == SENT
        await shop.ends()


async def test_send_now_says_that_it_is_held(store: Store) -> None:
    """g6: whoever wants to hurry it hears why it waits."""
    async with open_shop(store, rule=asks_at_once(), complaint_breaker=TENTH) as shop:
        await complain(shop, (await send(shop, 5))[:2])
        await buy(shop, "ana")
        key = shop.engine.identity.contact_key(ACCOUNT, Contact(email="ana@shop.example"))
        (view,) = await shop.engine.reader.by_contact(ACCOUNT, key)
        with pytest.raises(FailedPrecondition, match="ResetComplaintBreaker"):
            await shop.engine.second_thoughts.send_now(ACCOUNT, view.member)


async def test_a_reset_forgives_and_new_complaints_trip_it_again(store: Store) -> None:
    """g6: complaints from before the reset count no more, those after it do."""
    async with open_shop(store, rule=asks_at_once(), complaint_breaker=TENTH) as shop:
        members = await send(shop, 10)
        await complain(shop, members[:2])
        await shop.engine.breaker.reset(ACCOUNT, "madrid", 0)
        await complain(shop, members[2:3])
        assert tripped(shop) == []
        await complain(shop, members[3:4])
        assert tripped(shop) == [Medium.EMAIL]
        assert shop.engine.stats.breaker_trips == 2
        await shop.engine.breaker.reset(ACCOUNT, "madrid", 0)
        await shop.engine.advance_to(shop.clock.now_ms() + 2 * DAY_MS)
        await complain(shop, members[4:5])
        assert tripped(shop) == []
        await complain(shop, members[5:6])
        assert tripped(shop) == [Medium.EMAIL]


async def test_only_the_last_days_count(store: Store) -> None:
    """g6: seven days, today included."""
    async with open_shop(store, rule=asks_at_once(), complaint_breaker=TENTH) as shop:
        old = await send(shop, 10, "old")
        await complain(shop, old[:1])
        await shop.engine.advance_to(shop.clock.now_ms() + 6 * DAY_MS)
        new = await send(shop, 20, "new")
        await complain(shop, new[:1])
        assert tripped(shop) == [], "two of thirty"
        await shop.engine.advance_to(shop.clock.now_ms() + DAY_MS)
        await complain(shop, new[1:2])
        assert tripped(shop) == [Medium.EMAIL], "two of twenty: the first day is over"


async def test_another_daemon_honours_it(store: Store) -> None:
    """g6, R13: one daemon hears the complaints, another sends, with a registry that is older."""
    async with open_shop(store, rule=asks_at_once(), complaint_breaker=TENTH) as shop:
        registry = await Registry.open(shop.registry._store, shop.clock)
        registry.on_bite.append(store.require_registry)
        stats = Stats()
        breaker = ComplaintBreaker(store, registry, shop.clock, stats)
        book = FeedbackBook(store, registry, shop.engine.identity, breaker, shop.clock, stats)
        members = await send(shop, 5)
        told = [Told(member, FeedbackKind.COMPLAINED) for member in members[:2]]
        await book.record(ACCOUNT, told)
        assert stats.breaker_trips == 1
        assert tripped(shop) == [], "the sending daemon has not heard of it"
        await buy(shop, "ana")
        assert await stand(shop, "ana") == HELD
        await breaker.reset(ACCOUNT, "madrid", 0)
        await shop.registry.refresh()
        await shop.engine.advance_to(shop.clock.now_ms())
        assert await stand(shop, "ana") == SENT


async def test_a_daemon_that_died_before_looking_looks_after_its_start(store: Store) -> None:
    """g6: the complaints are in the store, whoever counts them."""
    async with open_shop(store, rule=asks_at_once(), complaint_breaker=TENTH) as shop:
        members = await send(shop, 5)
        look, shop.engine.breaker.look = shop.engine.breaker.look, _not_now  # type: ignore[method-assign]
        await complain(shop, members[:2])
        shop.engine.breaker.look = look  # type: ignore[method-assign]
        assert tripped(shop) == []
        await shop.restart()
        await shop.engine.breaker.catch_up()
        assert tripped(shop) == [Medium.EMAIL]


class WallClock(ManualClock):
    """A clock that passes for the machine's."""

    is_virtual = False


async def test_it_looks_once_a_second_and_misses_nothing(store: Store) -> None:
    """g6: a thousand complaints in a second are not a thousand sums over all partitions."""
    async with open_shop(store, rule=asks_at_once(), complaint_breaker=TENTH) as shop:
        clock, stats = WallClock(shop.clock.now_ms()), Stats()
        breaker = ComplaintBreaker(store, shop.registry, clock, stats)
        book = FeedbackBook(store, shop.registry, shop.engine.identity, breaker, clock, stats)
        sums, count = [], store.channel_counts

        async def counted(*asked: Any) -> Any:
            sums.append(asked)
            return await count(*asked)

        store.channel_counts = counted  # type: ignore[method-assign]
        members = await send(shop, 30)
        for member in members[:3]:
            await book.record(ACCOUNT, [Told(member, FeedbackKind.COMPLAINED)])
        assert (len(sums), tripped(shop)) == (1, [])
        clock.move_to_ms(clock.now_ms() + 999)
        breaker._is_fresh = False
        await breaker.catch_up()
        assert (len(sums), tripped(shop)) == (1, [])
        clock.move_to_ms(clock.now_ms() + 1)
        await breaker.catch_up()
        assert (len(sums), tripped(shop)) == (2, [Medium.EMAIL])
        await breaker.catch_up()
        assert len(sums) == 2


async def test_a_store_that_is_away_is_asked_again(store: Store) -> None:
    """g6: the feedback is taken all the same."""
    async with open_shop(store, rule=asks_at_once(), complaint_breaker=TENTH) as shop:
        members = await send(shop, 5)
        await complain(shop, members[:1])
        count = store.channel_counts

        async def away(*asked: Any) -> Any:
            raise StoreUnavailable("away")

        store.channel_counts = away  # type: ignore[method-assign]
        await complain(shop, members[1:2])
        assert tripped(shop) == []
        store.channel_counts = count  # type: ignore[method-assign]
        await shop.engine.breaker.catch_up()
        assert tripped(shop) == [Medium.EMAIL]


async def _not_now(channel_number: int, medium: int) -> None:
    return


async def test_a_channel_that_goes_takes_its_breaker_along(store: Store) -> None:
    """A later channel of that id has a clean record."""
    async with open_shop(store, rule=asks_at_once(), complaint_breaker=TENTH) as shop:
        await complain(shop, (await send(shop, 5))[:2])
        await shop.registry.deactivate(ACCOUNT, "ask", "madrid", "test")
        await shop.registry.delete_channel(ACCOUNT, "madrid")
        assert shop.registry.snapshot.breakers == ()
        with pytest.raises(NotFound):
            await shop.engine.breaker.reset(ACCOUNT, "madrid", 0)
        await shop.registry.create_channel(new_channel("madrid"))
        assert tripped(shop) == []
