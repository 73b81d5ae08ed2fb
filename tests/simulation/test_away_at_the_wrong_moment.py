"""The store goes away, the configuration changes or the process dies between two calls."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from typing import Any

import pytest
from msgspec.structs import replace

from core.bounds import HOUR_MS, MINUTE_MS
from core.clock import SystemClock
from core.engine import engine as engine_module
from core.engine import ownership as ownership_module
from core.engine.engine import Engine
from core.engine.judge import Fired
from core.engine.right_of_way import CALLS_MAX
from core.errors import OwnershipLost, StaleRegistry, StoreUnavailable
from core.model import Purpose, Reason, State
from core.partitions import partition_of
from core.ports import Store
from core.registry.resources import CapUnit
from core.registry.rule_parts import WaitOverride
from tests.conformance.kit import commit, plan
from tests.conformance.kit import key as event_key
from tests.support.automations import automation, mail
from tests.support.rules import condition
from tests.support.shop import ACCOUNT, Shop, one_in_14_days, open_shop, review_rule


async def _publish(shop: Shop, count: int) -> None:
    """Publish checkouts of as many people; all are asked on 8 March at 09:00 UTC."""
    events = [shop.event(order=str(n), email=f"c{n}@shop.example") for n in range(count)]
    await shop.publish(*events)


async def _all_calls(engine: Engine) -> AsyncExitStack:
    """Hold all calls at the store that rounds may make."""
    stack = AsyncExitStack()
    stack.enter_context(engine.dispatcher._way.first())
    for _ in range(CALLS_MAX):
        await engine.dispatcher._way._calls.acquire()
        stack.callback(engine.dispatcher._way._calls.release)
    return stack


async def _taken(shop: Shop) -> list[Fired]:
    """Take from the wheel whatever is due, as a round does."""
    horizon, now_ms, fired = shop.engine.horizon, shop.clock.now_ms(), []
    await horizon.extend(now_ms)
    while horizon.has_due(now_ms):
        fired += horizon.take(now_ms, 1_000)
    assert fired
    return fired


def _fail_once(store: Store, name: str, error: Exception | None = None) -> list[str]:
    """Let the next call of an operation fail; return where that is noted."""
    call, failed = getattr(store, name), []

    async def unreachable(*arguments: Any, **named: Any) -> Any:
        if failed:
            return await call(*arguments, **named)
        failed.append(name)
        raise error or StoreUnavailable("gone for a moment")

    setattr(store, name, unreachable)
    return failed


@pytest.mark.parametrize("operation", ["near_versions", "far_slots", "read_lanes"])
async def test_a_slot_that_could_not_be_read_is_read_again(store: Store, operation: str) -> None:
    """d1: nothing is late because the store was away when its hour was to be loaded."""
    async with open_shop(store) as shop:
        await _publish(shop, 5)
        await shop.until("2026-03-08 07:30")
        failed = _fail_once(store, operation)
        shop.clock.move_to_ms(shop.clock.now_ms() + 45 * MINUTE_MS)
        with pytest.raises(StoreUnavailable):
            await shop.engine.horizon.extend(shop.clock.now_ms())
        assert failed
        await shop.until("2026-03-08 12:00")
        assert {at for at, _, _ in shop.mails()} == {"2026-03-08 09:00"}
        assert len(shop.mails()) == 5


async def test_an_arrival_that_could_not_be_read_is_looked_for_again(store: Store) -> None:
    async with open_shop(store) as shop:
        shop.engine.acceptor._on_near = lambda *_: None
        await shop.publish(shop.event(at="2026-02-22 08:00"))
        _fail_once(store, "read_lanes")
        with pytest.raises(StoreUnavailable):
            await shop.engine.horizon.poll()
        assert await shop.engine.horizon.poll()


@pytest.mark.parametrize("verb", ["stop_rule", "freeze_rule"])
async def test_what_was_judged_before_a_change_is_not_claimed_after_it(
    store: Store, verb: str
) -> None:
    """R13: the claim names the configuration that the entry was judged by, not the newest one."""
    async with open_shop(store) as shop:
        await _publish(shop, 3)
        await shop.until("2026-03-08 08:59")
        engine = shop.engine
        calls = await _all_calls(engine)
        shop.clock.move_to_ms(shop.clock.now_ms() + MINUTE_MS)
        round_ = asyncio.create_task(engine.dispatcher.fire(await _taken(shop)))
        for _ in range(200):
            await asyncio.sleep(0.001)
        await getattr(shop.registry, verb)(ACCOUNT, "ask")
        await calls.aclose()
        await round_
        await shop.until("2026-03-08 12:00")
        assert shop.mails() == []


async def test_what_is_judged_frozen_while_it_is_resumed_is_not_held(store: Store) -> None:
    """R14: nobody would let it go again."""
    async with open_shop(store) as shop:
        await _publish(shop, 3)
        await shop.registry.freeze_rule(ACCOUNT, "ask")
        await shop.until("2026-03-08 08:59")
        engine = shop.engine
        calls = await _all_calls(engine)
        shop.clock.move_to_ms(shop.clock.now_ms() + MINUTE_MS)
        round_ = asyncio.create_task(engine.dispatcher.fire(await _taken(shop)))
        for _ in range(200):
            await asyncio.sleep(0.001)
        await shop.registry.resume_rule(ACCOUNT, "ask")
        await engine.tend()
        await calls.aclose()
        await round_
        await shop.until("2026-03-08 12:00")
        assert len(shop.mails()) == 3


async def test_a_start_takes_back_all_that_a_dead_daemon_had_claimed(store: Store) -> None:
    """d8: also of a partition with more claims than one call takes back."""
    async with open_shop(store) as shop:
        await _publish(shop, 160)
        await shop.until("2026-03-08 08:59")
        engine = shop.engine
        shop.clock.move_to_ms(shop.clock.now_ms() + MINUTE_MS)
        dispatcher = engine.dispatcher
        dispatcher.hand_over.deliver = _nothing  # type: ignore[method-assign]
        for entry in await _taken(shop):
            await dispatcher.fire([entry])
        await shop.restart()
        counters = await store.counters(range(store.meta.partition_count))
        assert sum(one.in_flight for one in counters.values()) == 0
        await shop.until("2026-03-08 12:00")
        assert len(shop.mails()) == 160


async def test_a_loop_outlives_what_it_did_not_expect(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """E17: recovery goes on after a partition was found to have another owner."""
    monkeypatch.setattr(engine_module, "_RECOVER_PAUSE_S", 0.001)
    async with open_shop(store) as shop:
        await _publish(shop, 1)
        await shop.until("2026-03-08 08:59")
        engine = shop.engine
        shop.clock.move_to_ms(shop.clock.now_ms() + MINUTE_MS)
        engine.dispatcher.hand_over.deliver = _nothing  # type: ignore[method-assign]
        await engine.dispatcher.fire(await _taken(shop))
        failed = _fail_once(store, "recover", OwnershipLost("partition 0 has another owner"))
        monkeypatch.setattr(SystemClock, "now_ms", lambda _: 2**45)
        loop = asyncio.create_task(engine._recover_loop())
        for _ in range(1_000):
            await asyncio.sleep(0.001)
            if engine.stats.reclaimed:
                break
        engine._stopping.set()
        await loop
        assert (failed, engine.stats.reclaimed, engine.stats.round_errors) == (["recover"], 1, 1)


async def test_a_refused_claim_costs_the_others_of_its_round_nothing(store: Store) -> None:
    """R12, R13: what another partition has let through is handed over, though the registry is away."""
    async with open_shop(store) as shop:
        await _publish(shop, 20)
        await shop.until("2026-03-08 08:59")
        engine = shop.engine
        shop.clock.move_to_ms(shop.clock.now_ms() + MINUTE_MS)
        fired = await _taken(shop)
        refused = _fail_once(store, "claim", StaleRegistry("demands a newer registry"))
        refresh, away = shop.registry.refresh, []

        async def unreachable() -> bool:
            if refused and not away:
                away.append(True)
                raise StoreUnavailable("gone for a moment")
            return await refresh()

        shop.registry.refresh = unreachable  # type: ignore[method-assign]
        await engine.dispatcher.fire(fired)
        await shop.until("2026-03-08 09:01")
        assert away
        assert len(shop.mails()) == 20


async def _commit_like(shop: Shop, member: bytes, name: str, **fields: Any) -> bytes:
    """Plant an invitation like another, for another order, as a damaged store would hold it."""
    partition = partition_of(member[:8], shop.engine.store.meta.partition_count)
    (found,) = (await shop.engine.store.read({partition: [member]}))[partition]
    assert found is not None
    ref = found.reference
    body, detail = fields.get("body", found.body), fields.get("detail", found.detail)
    planned = plan(
        due_ms=ref.due_ms, expire_ms=ref.expire_ms, rule_number=ref.rule_number, detail=detail,
        channel_number=ref.channel_number, order_key=ref.order_key,
    )  # fmt: skip
    event = commit(planned, contact_key=member[:8], event_key=event_key(name), body=body)
    answers = await shop.engine.store.commit({partition: [event]}, shop.clock.now_ms())
    return answers[partition][0].plans[0].member


async def test_what_cannot_be_understood_does_not_hold_up_the_others(store: Store) -> None:
    """d8: it waits, then fails; whatever is due beside it goes out, once."""
    async with open_shop(store, rule=review_rule(steps=review_rule().steps[:1])) as shop:
        answers = await shop.publish(
            shop.event(order="1"), shop.event(order="2", email="b@s.example")
        )
        await _commit_like(shop, answers[0].members[0], "damaged", detail=b"\xc1")
        await shop.until("2026-03-10 00:00")
        assert len(shop.mails()) == 2
        assert await shop.ends() == {
            (State.SENT, 0): 2, (State.FAILED, Reason.INTERNAL_ERROR): 1,
        }  # fmt: skip
        assert await shop.pending() == 0
        assert shop.engine.stats.round_errors > 0
        # What cannot be read is no line of the list, and does not break it.
        assert (await shop.engine.dead_letters.page(ACCOUNT, 9, ""))[0] == []


async def test_what_was_sent_is_settled_though_its_reminder_cannot_be_planned(
    store: Store,
) -> None:
    """d8: else its lease would bring it back, and it would be sent again every minute."""
    invite, remind = review_rule().steps
    always = condition('order.reference != ""')
    remind = replace(remind, wait_overrides=[WaitOverride(always, remind.wait)])
    async with open_shop(store, rule=review_rule(steps=[invite, remind])) as shop:
        answers = await shop.publish(shop.event(order="1"))
        await _commit_like(shop, answers[0].members[0], "damaged", body=b"\xc1")
        await shop.until("2026-03-09 00:00")
        assert len(shop.mails()) == 2
        assert await shop.ends() == {(State.SENT, 0): 2}
        assert (await shop.pending(), shop.engine.stats.round_errors) == (1, 1)


@pytest.mark.parametrize("ids", ["ab", "ba"])
async def test_of_two_due_at_once_the_one_of_higher_priority_takes_the_slot(
    store: Store, ids: str
) -> None:
    """R26: due time, then priority, then age."""
    low, high = ids
    cap = one_in_14_days(purposes=[Purpose.TRANSACTIONAL], unit=CapUnit.MESSAGE, limit=1)
    rules = [
        automation(low, event_type="checkout", priority=1, steps=[mail(days=1)]),
        automation(high, event_type="checkout", priority=9, steps=[mail(days=1)]),
    ]
    async with open_shop(store, rules=rules, caps=[cap]) as shop:
        await shop.publish(*(shop.event(order=str(n), email=f"c{n}@s.example") for n in range(5)))
        await shop.until("2026-03-03 00:00")
        assert len(shop.post.letters) == 5
        number = shop.registry.snapshot.rule(ACCOUNT, high).number  # type: ignore[union-attr]
        counts = [found.rules for found in (await store.counters(range(4))).values() if found.rules]
        sent = {rule for found in counts for rule, _ in found}
        assert sent == {number}


async def test_an_edit_that_is_still_going_on_does_not_undo_a_newer_one(store: Store) -> None:
    """R40: of two edits at once the newer revision counts for what waits, whoever comes last."""
    async with open_shop(store) as shop:
        await _publish(shop, 1)
        older = shop.registry.snapshot.rule(ACCOUNT, "ask")
        assert older is not None
        invite, remind = review_rule().steps
        later = replace(invite, wait=replace(invite.wait, time_of_day_ms=15 * HOUR_MS))
        newer = await shop.registry.update_rule(replace(older, steps=[later, remind]))
        assert (await shop.engine.pending.apply(newer)).moved == 1
        assert (await shop.engine.pending.apply(older)).moved == 0
        await shop.until("2026-03-09 00:00")
        assert [at for at, _, _ in shop.mails()] == ["2026-03-08 14:00"]


async def test_the_leases_are_kept_though_a_renewal_fails_strangely(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """E12: a daemon that stopped renewing would fall silent for good."""
    monkeypatch.setattr(ownership_module.bounds, "PARTITION_LEASE_MS", 3)
    async with open_shop(store) as shop:
        failed = _fail_once(store, "renew", RuntimeError("what nobody expected"))
        ownership = shop.engine.ownership
        for _ in range(500):
            await asyncio.sleep(0 if failed else 0.001)
        assert failed
        granted_ns = ownership._granted_ns
        for _ in range(500):
            await asyncio.sleep(0.001)
            if ownership._granted_ns != granted_ns:
                break
        assert ownership._granted_ns != granted_ns


async def test_a_lease_found_lost_while_it_is_renewed_is_lost_once(store: Store) -> None:
    """E12: a claim that is refused meanwhile must not make the renewal of the others fail."""
    async with open_shop(store) as shop:
        ownership, renew = shop.engine.ownership, store.renew
        await store.acquire(await store.owners([1]), b"somebody")

        async def lose_meanwhile(owned: Any) -> Any:
            answers = await renew(owned)
            ownership.lose(1)
            return answers

        store.renew = lose_meanwhile  # type: ignore[method-assign]
        granted_ns = ownership._granted_ns
        assert await ownership.renew() == []
        assert sorted(ownership.owned) == [0, 2, 3]
        assert ownership._granted_ns > granted_ns
        assert shop.engine.stats.leases_lost == 1


async def _nothing(claim: Any) -> None:
    """What a daemon does that died after the claim."""
