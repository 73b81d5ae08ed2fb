"""How rounds end when something in them goes wrong: a defect, the store, the configuration."""

from __future__ import annotations

import asyncio
import time
from typing import Any

from msgspec.structs import fields, replace

from core.bounds import MINUTE_MS
from core.engine.engine import Engine
from core.engine.horizon import TIMERS
from core.errors import StaleRegistry, StoreUnavailable
from core.gate import ClaimAnswer, ClaimCode
from core.ports import Store
from tests.simulation.test_away_at_the_wrong_moment import _fail_once, _publish, _taken
from tests.support.shop import Shop, open_shop


async def _due(shop: Shop, count: int) -> Engine:
    await _publish(shop, count)
    await shop.until("2026-03-08 08:59")
    shop.clock.move_to_ms(shop.clock.now_ms() + MINUTE_MS)
    return shop.engine


async def test_a_round_ends_after_its_last_delivery_though_another_failed(store: Store) -> None:
    """drain() waits for rounds: what a round leaves behind is cut off in the middle of a send."""
    async with open_shop(store) as shop:
        engine = await _due(shop, 40)
        fired = await _taken(shop)
        deliver, begun, done = engine.dispatcher.hand_over.deliver, [], []

        async def slow(claim: Any) -> None:
            begun.append(claim)
            if len(begun) == 1:
                raise RuntimeError("a defect")
            await asyncio.sleep(0.05)
            await deliver(claim)
            done.append(claim)

        engine.dispatcher.hand_over.deliver = slow  # type: ignore[method-assign]
        await engine.dispatcher.fire(fired)
        assert len(begun) > 1
        assert len(done) == len(begun) - 1
        await asyncio.sleep(0.1)


async def test_a_round_claims_nothing_after_its_end(store: Store) -> None:
    """R26: contacts are given free when the round is over, so it must be over."""
    async with open_shop(store) as shop:
        engine = await _due(shop, 40)
        fired = await _taken(shop)
        claim, begun, done = store.claim, [], []

        async def strange(*arguments: Any) -> Any:
            begun.append(1)
            if len(begun) == 1:
                raise RuntimeError("what nobody expected")
            await asyncio.sleep(0.05)
            answer = await claim(*arguments)
            done.append(1)
            return answer

        store.claim = strange  # type: ignore[method-assign]
        await engine.dispatcher.fire(fired)
        ended = (len(begun), len(done))
        await asyncio.sleep(0.3)
        assert (len(begun), len(done)) == ended, "calls went on after the round's end"


async def test_timers_come_back_from_any_error(store: Store) -> None:
    """Nothing is lost: a bug or a stale registry in timers must not drop them from memory."""
    async with open_shop(store) as shop:
        engine = shop.engine
        member = bytes(16)
        engine.horizon.insert(0, TIMERS, member, shop.clock.now_ms())

        async def broken(_: Any) -> None:
            raise StaleRegistry("demands a newer registry")

        engine.dispatcher._timers.fire = broken  # type: ignore[method-assign]
        fired = engine.horizon.take(shop.clock.now_ms(), 9)
        assert [one[1] for one in fired] == [member]
        await engine.dispatcher.fire(fired)
        assert engine.horizon.wheel.payload_of(member) is not None


async def test_a_claimed_letter_keeps_its_token_though_the_rest_cannot_be_judged_anew(
    store: Store,
) -> None:
    """R12: `vacate` gives the tokens of letters back that are on their way out."""
    async with open_shop(store) as shop:
        engine = await _due(shop, 12)
        fired = await _taken(shop)
        claim, read = store.claim, store.read
        given_back: list[bool] = []
        leave = engine.dispatcher.places.leave

        def noted(key: str, *, is_spent: bool) -> None:
            given_back.append(not is_spent)
            leave(key, is_spent=is_spent)

        engine.dispatcher.places.leave = noted  # type: ignore[method-assign]
        calls = []

        async def one_again(*arguments: Any) -> Any:
            if not calls:
                calls.append(1)
                # As if all of this batch had been judged by something that is not so any more.
                items = arguments[3]
                return [replace(a, code=ClaimCode.LOOK_AGAIN) for a in await _dry(items)]
            return await claim(*arguments)

        async def _dry(items: Any) -> Any:
            empty = {field.name: 0 for field in fields(ClaimAnswer) if field.required}
            return [ClaimAnswer(**empty) for _ in items]

        reads = []

        async def away(*arguments: Any) -> Any:
            reads.append(1)
            if len(reads) > 1:
                raise StoreUnavailable("gone for a moment")
            return await read(*arguments)

        # The address desk, say, takes its time.
        past = engine.dispatcher.hand_over._past_addresses

        async def slowly(*arguments: Any) -> Any:
            await asyncio.sleep(0.05)
            return await past(*arguments)

        engine.dispatcher.hand_over._past_addresses = slowly  # type: ignore[method-assign]
        store.claim = one_again  # type: ignore[method-assign]
        store.read = away  # type: ignore[method-assign]
        await engine.dispatcher.fire(fired)
        assert len(shop.mails()) > 0
        again = 12 - len(shop.mails())
        assert given_back.count(True) == again, "only what did not go gives its token back"


async def test_the_earlier_of_a_contact_goes_first_though_the_store_was_away(
    store: Store,
) -> None:
    """R26: what could not be read is out of sight until it is put back; its contact must not be free."""
    async with open_shop(store) as shop:
        engine = await _due(shop, 1)
        shop.clock.__class__ = type("Real", (shop.clock.__class__,), {"is_virtual": False})
        (early,) = await _taken(shop)
        due_ms, member, where = early
        later = (due_ms + 1, member[:8] + bytes(6) + member[14:], where)
        engine.horizon.lines.add(later)
        _fail_once(store, "read")
        round_ = asyncio.create_task(engine.dispatcher.fire([early]))
        await asyncio.sleep(0.05)
        assert not round_.done(), "it waits a little before it is put back"
        taken = engine.horizon.lines.take(9, due_ms + 5)
        round_.cancel()
        assert taken == [], "the later one goes while the earlier is nowhere"


async def test_a_shard_that_is_away_does_not_hold_back_the_settlements_of_others(
    store: Store,
) -> None:
    """A send that is not settled before its lease ends is sent again: settlements must not queue
    behind claims that wait for a shard to come back."""
    async with open_shop(store) as shop:
        engine = await _due(shop, 60)
        fired = await _taken(shop)
        healthy = fired[0][2][0]
        dead = [entry for entry in fired if entry[2][0] != healthy]
        claim = store.claim

        async def shard(partition: int, *arguments: Any) -> Any:
            if partition != healthy:
                raise StoreUnavailable("its shard is away")
            return await claim(partition, *arguments)

        store.claim = shard  # type: ignore[method-assign]
        with engine.dispatcher._way.first():
            # From now on calls are few at a time.
            pass
        rounds = [asyncio.create_task(engine.dispatcher.fire(dead))]
        await asyncio.sleep(0.05)
        began = time.perf_counter()
        await engine.dispatcher.fire([entry for entry in fired if entry[2][0] == healthy])
        took = time.perf_counter() - began
        for round_ in rounds:
            round_.cancel()
        assert took < 1, f"{took:.1f} s"


async def test_a_delivery_ends_after_its_last_sender_though_another_failed(store: Store) -> None:
    """What one sender has taken is settled, whatever becomes of another's letters: and while that is
    going on, drain() must know of it."""
    async with open_shop(store) as shop:
        engine = await _due(shop, 40)
        hand_over, places = engine.dispatcher.hand_over, engine.dispatcher.places
        fired = await _taken(shop)
        fired = [entry for entry in fired if entry[2][0] == fired[0][2][0]]
        send, deliver, ended = hand_over._send, hand_over.deliver, []

        async def slow(claim: Any, entries: Any) -> None:
            if not ended:
                ended.append("failed")
                raise RuntimeError("a defect")
            await asyncio.sleep(0.05)
            await send(claim, entries)
            ended.append("settled")

        async def two_senders(claim: Any) -> None:
            for n, one in enumerate(claim.entries):
                one.place.key += str(n % 2)
                places._posts.setdefault(one.place.key, places._posts["EMAIL"])
            await deliver(claim)

        hand_over._send = slow  # type: ignore[method-assign]
        hand_over.deliver = two_senders  # type: ignore[method-assign]
        await engine.dispatcher.fire(fired)
        assert ended == ["failed", "settled"], "letters were under way after the delivery's end"
        await asyncio.sleep(0.1)
