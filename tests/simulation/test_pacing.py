"""Pace and quota of senders, what cannot be judged, and dead letters; on both stores."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from core.bounds import DAY_MS, MINUTE_MS
from core.engine.dead_letters import DAYS_MAX, DeadLetter
from core.engine.engine import Engine
from core.engine.puzzles import TRIES_MAX
from core.errors import FailedPrecondition, InvalidField
from core.model import Medium, Purpose, Reason, State
from core.ports import Store
from core.registry.resources import Cap, CapScope
from core.registry.rule_parts import OnCap
from core.registry.senders import Sender, SenderKind
from core.sending import Delivery
from senders.desk import SenderDesk
from senders.postbox import Postbox
from tests.support.rules import free_rule
from tests.support.shop import ACCOUNT, MADRID, Shop, ms, open_shop

SENT = (State.SENT, Reason.NONE)
NO = Delivery(Delivery.Kind.FAILED, "no", 0, False)


async def name_sender(shop: Shop, **fields: Any) -> None:
    """Let the shop's e-mails go out by a sender of its own."""
    values = {"kind": SenderKind.SMTP, "endpoint": "mail.example:587", **fields}
    await shop.registry.create_sender(Sender(account=ACCOUNT, id="mail", **values))
    channel = shop.registry.snapshot.channel(ACCOUNT, "madrid")
    assert channel is not None
    await shop.registry.update_channel(replace(channel, senders={Medium.EMAIL: "mail"}))
    await shop.engine.stop()
    desk = SenderDesk(lambda: shop.registry.snapshot, lambda sender: shop.post)
    postbox = Postbox({Medium.EMAIL: shop.post}, desk)
    shop.engine = Engine(shop.engine.store, shop.registry, postbox, shop.clock)
    await shop.engine.start()


async def checkouts(shop: Shop, count: int, first: int = 0) -> None:
    """Publish checkouts of as many contacts."""
    await shop.publish(*(
        shop.event(order=str(n), email=f"c{n}@shop.example") for n in range(first, first + count)
    ))  # fmt: skip


async def dead(shop: Shop, **fields: Any) -> list[DeadLetter]:
    """Return all dead letters, over all pages."""
    letters, token = await shop.engine.dead_letters.page(ACCOUNT, 2, "", **fields)
    while token:
        more, token = await shop.engine.dead_letters.page(ACCOUNT, 2, token, **fields)
        letters += more
    return letters


# --- pace and quota -------------------------------------------------------------------------------


async def test_a_sender_s_pace_is_kept_to_the_millisecond(store: Store) -> None:
    """R12: tokens are taken before the claim; what gets none waits unclaimed, as it was due."""
    async with open_shop(store, rule=free_rule("a")) as shop:
        await name_sender(shop, messages_per_second=2)
        first_ms = shop.clock.now_ms()
        await checkouts(shop, 6)
        await shop.engine.advance_to(first_ms + MINUTE_MS)
        assert [at - first_ms for at, *_ in shop.post.sent] == [0, 500, 1_000, 1_500, 2_000, 2_500]
        assert shop.engine.stats.claimed == 6
        assert await shop.ends() == {SENT: 6}


async def test_what_is_not_claimed_gives_its_token_back(store: Store) -> None:
    """R12, R29: the gate's no costs no token."""
    each = Cap(
        account=ACCOUNT, id="each", scope=CapScope.ACCOUNT, limit=1, window_ms=DAY_MS,
        purposes=[Purpose.TRANSACTIONAL], on_cap=OnCap.SKIP,
    )  # fmt: skip
    async with open_shop(store, rule=free_rule("a"), caps=[each]) as shop:
        await name_sender(shop, messages_per_second=20)
        first_ms = shop.clock.now_ms()
        await shop.publish(shop.event(order="1"), shop.event(order="2"))
        await shop.engine.advance_to(first_ms)
        assert await shop.ends() == {SENT: 1, (State.SKIPPED, Reason.CAPPED): 1}
        await checkouts(shop, 2, first=5)
        await shop.engine.advance_to(first_ms + MINUTE_MS)
        assert [at - first_ms for at, *_ in shop.post.sent] == [0, 0, 50]


@pytest.mark.parametrize("stands", ["in line", "aside"])
async def test_who_has_an_earlier_message_waiting_does_not_pass_it(
    store: Store, monkeypatch: pytest.MonkeyPatch, stands: str
) -> None:
    """R26, R12: of two of one contact the earlier takes the slot of their cap, though its sender had
    no place when it was due, and has one when the other is."""
    each = Cap(
        account=ACCOUNT, id="each", scope=CapScope.ACCOUNT, limit=1, window_ms=DAY_MS,
        purposes=[Purpose.TRANSACTIONAL], on_cap=OnCap.SKIP,
    )  # fmt: skip
    async with open_shop(store, rule=free_rule("a"), caps=[each]) as shop:
        fire, horizon = shop.engine.dispatcher.fire, shop.engine.horizon
        await shop.publish(shop.event(order="1"))
        shop.clock.move_to_ms(shop.clock.now_ms() + 1)
        await shop.publish(shop.event(order="2"))
        monkeypatch.setattr(type(shop.clock), "is_virtual", False)
        monkeypatch.setattr(shop.post, "free", lambda: 0)
        horizon.gather(shop.clock.now_ms())
        both = horizon.take(shop.clock.now_ms(), 9)
        later = both.pop()
        await fire(both)
        assert len(horizon.lines) == 1
        horizon.insert(later[2][0], later[2][1], later[1], later[0])
        horizon.gather(shop.clock.now_ms())
        taken = horizon.take(shop.clock.now_ms(), 9)
        assert taken == [later]
        monkeypatch.undo()
        monkeypatch.setattr(type(shop.clock), "is_virtual", False)
        if stands == "aside":
            # Places come free, and it is called, before the other is read.
            assert horizon.take_light(9) == []
        await fire(taken)
        assert await shop.ends() == {}
        monkeypatch.undo()
        while fired := horizon.take(shop.clock.now_ms(), 9):
            await fire(fired)
        assert [letter.event.order.reference for letter in shop.post.letters] == ["1"]
        assert await shop.ends() == {SENT: 1, (State.SKIPPED, Reason.CAPPED): 1}
        horizon.lines.disperse()
        assert len(horizon.lines) == 0


async def test_a_daily_quota_is_never_exceeded(store: Store) -> None:
    """At most the quota in any 24 hours, whoever shares the sender; none is lost."""
    async with open_shop(store, rule=free_rule("a")) as shop:
        await name_sender(shop, daily_quota=3)
        await checkouts(shop, 4)
        await shop.engine.advance_to(shop.clock.now_ms() + MINUTE_MS)
        await checkouts(shop, 4, first=4)
        await shop.until("2026-03-05 00:00")
        times = [at for at, *_ in shop.post.sent]
        assert len(times) == 8
        assert max(sum(0 <= other - one < DAY_MS for other in times) for one in times) == 3
        assert times[3] == times[0] + DAY_MS


# --- what cannot be judged ------------------------------------------------------------------------


async def test_what_can_never_be_judged_fails_in_the_end(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Poison does not circle for ever, and harms nothing beside it."""
    async with open_shop(store, rule=free_rule("a")) as shop:
        judge, looks = shop.engine.dispatcher.judge.judge, 0

        def poisoned(snapshot: Any, fired: Any, waiting: Any, *rest: Any) -> Any:
            nonlocal looks
            if b"poison" in waiting.body:
                looks += 1
                raise RuntimeError("a defect")
            return judge(snapshot, fired, waiting, *rest)

        monkeypatch.setattr(shop.engine.dispatcher.judge, "judge", poisoned)
        await shop.publish(shop.event(order="1"), shop.event(order="2", email="poison@s.example"))
        await shop.until("2026-03-02 09:00")
        assert await shop.ends() == {SENT: 1, (State.FAILED, Reason.INTERNAL_ERROR): 1}
        assert TRIES_MAX < looks <= TRIES_MAX + 2
        assert [letter.view.detail.order_reference for letter in await dead(shop)] == ["2"]


# --- dead letters ---------------------------------------------------------------------------------


async def test_what_failed_is_listed_newest_first_and_replayed_once(store: Store) -> None:
    """R8: a replay is a new generation, due now, and goes through all gates."""
    async with open_shop(store, rule=free_rule("a")) as shop:
        for n in range(5):
            shop.post.answers[f"c{n}@shop.example"] = [NO]
            await checkouts(shop, 1, first=n)
            await shop.engine.advance_to(shop.clock.now_ms() + 1 + n % 2 * DAY_MS)
        await checkouts(shop, 1, first=9)
        await shop.engine.advance_to(shop.clock.now_ms() + 40 * DAY_MS)
        found = await dead(shop)
        assert [one.view.detail.order_reference for one in found] == ["4", "3", "2", "1", "0"]
        newest = found[0].view
        again = await shop.engine.second_thoughts.replay(ACCOUNT, newest.member)
        assert (again.detail.generation, again.reference.due_ms) == (1, shop.clock.now_ms())
        life_ms = newest.reference.expire_ms - newest.detail.first_due_ms
        assert again.reference.expire_ms == shop.clock.now_ms() + life_ms
        assert (await shop.engine.second_thoughts.replay(ACCOUNT, newest.member)).member == (
            again.member
        )
        await shop.engine.advance_to(shop.clock.now_ms() + 1)
        assert [mail[1] for mail in shop.mails()][-1] == "c4@shop.example"
        assert len(shop.mails()) == 2
        assert [one.view.detail.order_reference for one in await dead(shop)] == ["3", "2", "1", "0"]
        counters = await shop.engine.store.counters(range(4))
        assert all(one.imbalance == 0 for one in counters.values())


async def test_what_failed_at_midnight_is_listed_once(store: Store) -> None:
    """A page ends with a day, and the next one begins with the day before."""
    async with open_shop(store, rule=free_rule("a")) as shop:
        shop.post.answers["c0@shop.example"] = shop.post.answers["c1@shop.example"] = [NO, NO]
        await shop.until("2026-03-01 23:00")
        await checkouts(shop, 1)
        await shop.until("2026-03-02 00:00")
        await checkouts(shop, 1, first=1)
        await shop.engine.advance_to(ms("2026-03-02 00:00") + (DAYS_MAX - 1) * DAY_MS)
        assert [one.view.detail.order_reference for one in await dead(shop)] == ["1", "0"]


async def test_a_filter_says_which(store: Store) -> None:
    async with open_shop(store, rule=free_rule("a")) as shop:
        shop.post.answers["c0@shop.example"] = [NO]
        await checkouts(shop, 1)
        await shop.engine.advance_to(shop.clock.now_ms() + 1)
        channel = shop.registry.snapshot.channel(ACCOUNT, "madrid")
        assert channel is not None
        assert len(await dead(shop, channel_number=channel.number)) == 1
        assert await dead(shop, channel_number=channel.number + 1) == []
        assert len(await dead(shop, reason=Reason.PROVIDER_ERROR)) == 1
        assert await dead(shop, reason=Reason.RENDERING_ERROR) == []
        with pytest.raises(InvalidField, match="no token of this list"):
            await shop.engine.dead_letters.page(ACCOUNT, 2, "nonsense")


async def test_what_may_not_be_replayed_says_why(store: Store) -> None:
    """R8, R44: a sent one, one whose order was cancelled since, one whose contact was erased."""
    async with open_shop(store) as shop:
        for n in (1, 2):
            shop.post.answers[f"c{n}@shop.example"] = [NO]
        await checkouts(shop, 3)
        await shop.until("2026-03-08 10:00")
        sent = (await shop.engine.reader.by_order(ACCOUNT, MADRID, "0"))[0]
        with pytest.raises(FailedPrecondition, match="only an invitation that has failed"):
            await shop.engine.second_thoughts.replay(ACCOUNT, sent.member)
        await shop.publish(shop.event(order="1", email="c1@shop.example", type="order_cancelled"))
        letters = await dead(shop)
        assert len(letters) == 2
        answers = await shop.engine.dead_letters.replay(ACCOUNT, letters)
        told = {one.member: one.error.message if one.error else "" for one in answers}
        by_order = {one.view.detail.order_reference: told[one.view.member] for one in letters}
        assert "has ended its order" in by_order["1"]
        assert by_order["2"] == ""


async def test_a_replay_asks_every_gate_again(store: Store) -> None:
    """R8, R12: who has withdrawn meanwhile gets nothing."""
    async with open_shop(store) as shop:
        shop.post.answers["c1@shop.example"] = [NO]
        await checkouts(shop, 1, first=1)
        await shop.until("2026-03-08 10:00")
        (letter,) = await dead(shop)
        await shop.registry.stop_rule(ACCOUNT, "ask")
        with pytest.raises(FailedPrecondition, match="RULE_STOPPED"):
            await shop.engine.second_thoughts.replay(ACCOUNT, letter.view.member)
        assert shop.mails() == []
        assert ms("2026-03-08 10:00") == shop.clock.now_ms()
