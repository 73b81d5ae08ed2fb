"""What systems of this kind get wrong, shown not to happen here: the whole engine, on both stores.

The list is tests/requirements/pitfalls.toml.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from typing import Any

import pytest

from core.bounds import DAY_MS, HOUR_MS, MINUTE_MS
from core.engine import claims
from core.engine.consents import Statement
from core.engine.engine import Engine
from core.engine.reach import Whom
from core.errors import FailedPrecondition, StoreUnavailable
from core.model import (
    Contact,
    Disposition,
    Evidence,
    Family,
    Medium,
    Purpose,
    Reason,
    State,
)
from core.ports import Store
from core.registry.resources import CapScope, CapUnit, OnCap, Rule
from core.registry.rule_parts import Action, Step, Wait
from senders.postbox import Postbox
from tests.architecture.repository import ROOT
from tests.support.configuration import with_texts
from tests.support.shop import (
    ACCOUNT,
    MADRID,
    Shop,
    ms,
    one_in_14_days,
    open_shop,
    review_rule,
)

ANA = "ana@shop.example"
PHONE = "+34600000001"


def one_step(*media: Medium, **wait: Any) -> list[Step]:
    """Return a single step; at once unless told otherwise."""
    actions = [Action(medium=medium) for medium in media or (Medium.EMAIL,)]
    return [Step(id="only", wait=Wait(**(wait or {"elapsed_ms": 0})), actions=actions)]


def free_rule(id: str, purpose: Purpose, **fields: Any) -> Rule:
    """Return an automation that writes at once."""
    values: dict[str, Any] = {
        "id": id, "family": Family.AUTOMATION, "purpose": purpose, "steps": one_step(),
        "stop_when": [],
    }  # fmt: skip
    return with_texts(review_rule(**{**values, **fields}))


def instants(shop: Shop) -> list[str]:
    """Return when mails went out, UTC."""
    return [at for at, _, _ in shop.mails()]


async def attempts(shop: Shop, members: Sequence[bytes]) -> list[int]:
    """Return how often each was handed over."""
    return [(await shop.engine.reader.get(ACCOUNT, m)).reference.attempts for m in members]


# --- caps -----------------------------------------------------------------------------------------


async def test_an_outage_of_several_windows_ends_in_one_send_each(store: Store) -> None:
    """pitfall:deferral-eats-attempts, R27, A31: deferral counts from the oldest send, and is free."""
    cap = one_in_14_days(window_ms=5 * DAY_MS)
    async with open_shop(store, caps=[cap], rule=review_rule(steps=one_step(days=7))) as shop:
        answers = await shop.publish(*(shop.event(order=str(n)) for n in range(3)))
        await shop.until("2026-03-09 00:00")
        assert instants(shop) == ["2026-03-08 09:00"]
        # Nobody looks for more than three windows: deferred entries lie in the past.
        shop.clock.move_to_ms(ms("2026-03-25 00:00"))
        await shop.until("2026-03-25 00:00")
        assert instants(shop)[1:] == ["2026-03-25 00:00"], "overdue goes at once, and one only"
        await shop.until("2026-05-01 00:00")
        assert instants(shop)[2:] == ["2026-03-30 00:00"]
        assert await attempts(shop, [a.members[0] for a in answers]) == [1, 1, 1]
        assert await shop.ends() == {(State.SENT, 0): 3}


async def test_a_full_cap_defers_to_the_oldest_send_and_its_window(store: Store) -> None:
    """pitfall:cap-defers-too-far, A31, R25: three a week is not three weeks."""
    cap = one_in_14_days(limit=3, window_ms=7 * DAY_MS)
    async with open_shop(store, caps=[cap], rule=review_rule(steps=one_step())) as shop:
        for day, hour in ((1, 9), (2, 15), (5, 11), (6, 8)):
            await shop.until(f"2026-03-{day:02} {hour:02}:00")
            await shop.publish(shop.event(order=str(day)))
            await shop.until(f"2026-03-{day:02} {hour:02}:01")
        await shop.until("2026-04-30 00:00")
        assert instants(shop) == [
            "2026-03-01 09:00", "2026-03-02 15:00", "2026-03-05 11:00", "2026-03-08 09:00",
        ]  # fmt: skip


@pytest.mark.parametrize(
    ("limit", "ends"),
    [
        (0, {(State.SKIPPED, Reason.CAPPED): 3}),
        (None, {(State.SENT, Reason.NONE): 3}),
        ("no cap", {(State.SENT, Reason.NONE): 3}),
    ],
)
async def test_no_limit_is_no_cap_and_zero_blocks(
    store: Store, limit: int | str | None, ends: dict[tuple[int, int], int]
) -> None:
    """pitfall:cap-of-zero, R24."""
    caps = [] if limit == "no cap" else [one_in_14_days(limit=limit)]
    async with open_shop(store, caps=caps, rule=review_rule(steps=one_step())) as shop:
        await shop.publish(*(shop.event(order=str(n)) for n in range(3)))
        await shop.until("2026-05-30 00:00")
        assert await shop.ends() == ends


async def test_each_medium_has_its_own_cap(store: Store) -> None:
    """pitfall:cap-of-another-medium, C14, R24: the e-mail's full cap holds no text message."""
    cap = one_in_14_days(scope=CapScope.MEDIUM, unit=CapUnit.MESSAGE, media=[Medium.EMAIL])
    rule = review_rule(steps=one_step(Medium.EMAIL, Medium.SMS))
    async with open_shop(store, caps=[cap], rule=rule) as shop:
        await shop.engine.stop()
        postbox = Postbox({Medium.EMAIL: shop.post, Medium.SMS: shop.post})
        shop.engine = Engine(store, shop.registry, postbox, shop.clock)
        await shop.engine.start()
        both = [
            Evidence(Purpose.REVIEW, medium, True, shop.clock.now_ms())
            for medium in (Medium.EMAIL, Medium.SMS)
        ]
        contact = Contact(email=ANA, phone=PHONE)
        await shop.publish(
            *(shop.event(order=str(n), contact=contact, consents=both) for n in range(2))
        )
        await shop.until("2026-03-01 09:01")
        assert Counter(to for _, to, _ in shop.mails()) == {ANA: 1, PHONE: 2}
        await shop.until("2026-04-30 00:00")
        assert Counter(to for _, to, _ in shop.mails()) == {ANA: 2, PHONE: 2}


async def test_a_cap_holds_for_every_rule_but_not_for_what_must_be_told(store: Store) -> None:
    """pitfall:cap-by-category, A30, A32, B43, h6: over all rules, transactional excepted."""
    caps = [
        one_in_14_days(id="all", purposes=[], unit=CapUnit.MESSAGE),
        one_in_14_days(
            id="wide", purposes=[], unit=CapUnit.MESSAGE, limit=2, window_ms=60 * DAY_MS
        ),
    ]
    async with open_shop(store, caps=caps, rule=review_rule(steps=one_step())) as shop:
        for rule in (
            free_rule("thanks", Purpose.MARKETING),
            free_rule("more", Purpose.MARKETING),
            free_rule("paid", Purpose.TRANSACTIONAL),
            free_rule("late", Purpose.OPERATIONAL),
        ):
            await shop.registry.create_rule(rule)
            await shop.registry.activate(ACCOUNT, rule.id, "madrid", "test")
        consents = [
            Evidence(purpose, Medium.EMAIL, True, shop.clock.now_ms())
            for purpose in (Purpose.REVIEW, Purpose.MARKETING)
        ]
        await shop.publish(shop.event(consents=consents))
        await shop.until("2026-05-30 00:00")
        views = await shop.engine.reader.by_order(ACCOUNT, MADRID, "1")
        sent = {view.detail.rule for view in views if view.reference.state == State.SENT}
        # What may be marketing is skipped over the limit; what must be told is not even counted.
        assert sent == {"ask", "paid", "late"}
        assert await shop.ends() == {(State.SENT, 0): 3, (State.SKIPPED, Reason.CAPPED): 2}


async def test_caps_are_exact_beyond_a_hundred_messages() -> None:
    """pitfall:inexact-caps, R25: exactly the limit, and the next as soon as the oldest leaves."""
    limit = 150
    cap = one_in_14_days(limit=limit, unit=CapUnit.MESSAGE, on_cap=OnCap.DEFER)
    async with open_shop(caps=[cap], rule=review_rule(steps=one_step())) as shop:
        for n in range(limit + 5):
            await shop.publish(shop.event(order=str(n)))
            shop.clock.move_to_ms(shop.clock.now_ms() + MINUTE_MS)
            await shop.engine.advance_to(shop.clock.now_ms())
        assert len(shop.post.sent) == limit
        await shop.until("2026-03-20 00:00")
        at = [sent[0] for sent in shop.post.sent]
        assert at[limit:] == [instant + 14 * DAY_MS for instant in at[:5]]


# --- time -----------------------------------------------------------------------------------------


async def test_nothing_goes_a_millisecond_early(store: Store) -> None:
    """pitfall:sent-early, A5: waits from nothing to 180 days."""
    waits = [0, 1, 999, MINUTE_MS + 7, 36 * HOUR_MS + 1, 20 * DAY_MS + 13, 180 * DAY_MS]
    async with open_shop(store, rule=review_rule(steps=one_step())) as shop:
        start_ms = shop.clock.now_ms()
        for wait_ms in waits:
            rule = free_rule(
                f"w{wait_ms}", Purpose.TRANSACTIONAL, steps=one_step(elapsed_ms=wait_ms)
            )
            await shop.registry.create_rule(rule)
            await shop.registry.activate(ACCOUNT, rule.id, "madrid", "test")
        await shop.publish(shop.event(consent=None))
        for wait_ms in waits[1:]:
            await shop.engine.advance_to(start_ms + wait_ms - 1)
            assert len(shop.post.sent) == waits.index(wait_ms)
            await shop.engine.advance_to(start_ms + wait_ms)
            assert shop.post.sent[-1][0] == start_ms + wait_ms
        assert [at - start_ms for at, *_ in shop.post.sent] == waits


async def test_a_rule_without_wait_waits_for_nothing(store: Store) -> None:
    """pitfall:hidden-default, A5, C18: at once is the instant of the event."""
    async with open_shop(store, rule=review_rule(steps=one_step())) as shop:
        await shop.publish(shop.event())
        await shop.engine.advance_to(shop.clock.now_ms())
        assert shop.mails() == [("2026-03-01 09:00", ANA, False)]


@pytest.mark.parametrize(
    ("requested", "ends"),
    [
        ("2026-02-28 12:00", {(State.SENT, Reason.NONE): 1}),
        ("2026-02-26 09:00", {(State.SENT, Reason.NONE): 1}),
        ("2026-02-26 08:59", {(State.EXPIRED, Reason.LATE_EVENT): 1}),
    ],
)
async def test_a_send_time_that_has_passed_means_now_or_says_why_not(
    store: Store, requested: str, ends: dict[tuple[int, int], int]
) -> None:
    """pitfall:past-send-time, R30, R32: up to 72 hours late it goes now, later it ends visibly."""
    async with open_shop(store, rule=review_rule(steps=one_step(days=7))) as shop:
        await shop.publish(
            shop.event(at="2026-02-25 09:00", requested_send_ms=ms(requested), consent=True)
        )
        await shop.until("2026-03-01 09:00")
        assert await shop.ends() == ends
        assert instants(shop) == ["2026-03-01 09:00"] * ((State.SENT, 0) in ends)


async def test_an_explicit_send_time_beats_the_wait(store: Store) -> None:
    """R32."""
    async with open_shop(store, rule=review_rule(steps=one_step(days=7))) as shop:
        await shop.publish(shop.event(requested_send_ms=ms("2026-03-03 17:21")))
        await shop.until("2026-04-30 00:00")
        assert instants(shop) == ["2026-03-03 17:21"]


@pytest.mark.parametrize(
    ("start", "told", "sent"),
    [
        # Brazil gave up daylight saving in 2019: 10:00 is 12:00 UTC before, 13:00 UTC since.
        ("2018-12-01 15:00", {"time_zone": "America/Sao_Paulo"}, "2018-12-08 12:00"),
        ("2019-12-01 15:00", {"time_zone": "America/Sao_Paulo"}, "2019-12-08 13:00"),
        ("2026-03-25 15:00", {"time_zone": "America/New_York"}, "2026-04-01 14:00"),
        ("2026-03-25 15:00", {"country": "IN"}, "2026-04-01 04:30"),
        ("2026-03-25 15:00", {}, "2026-04-01 08:00"),
    ],
)
async def test_wall_times_are_the_recipients(
    store: Store, start: str, told: dict[str, str], sent: str
) -> None:
    """pitfall:wrong-zone, A19, d2: never UTC, never the machine's, with the zone's real history."""
    rule = review_rule(steps=one_step(days=7, time_of_day_ms=10 * HOUR_MS))
    async with open_shop(store, start=start, rule=rule) as shop:
        await shop.publish(shop.event(contact=Contact(email=ANA, **told)))
        await shop.engine.advance_to(shop.clock.now_ms() + 20 * DAY_MS)
        assert instants(shop) == [sent]


FUZZED = """
import json, time
from core.registry.rule_parts import Wait
from core.rules.schedule import due_ms
time.tzset()
waits = [Wait(elapsed_ms=5_400_000), Wait(days=3), Wait(days=0, time_of_day_ms=36_000_000),
         Wait(days=7, time_of_day_ms=9_000_000, span_ms=7_200_000)]
zones = ["Europe/Madrid", "America/Sao_Paulo", "Australia/Lord_Howe", "Asia/Kolkata", "UTC"]
bases = [1_740_000_000_000 + n * 6_789_123_457 for n in range(24)]
print(json.dumps([[due_ms(w, b, z, b"key"), due_ms(w, b, z, b"", "2026-03-29")]
                  for w in waits for z in zones for b in bases]), time.localtime(0).tm_hour)
"""


def test_the_machines_time_zone_changes_nothing() -> None:
    """pitfall:server-local-time, d2: the same due times under any TZ."""
    told, hours = set(), set()
    for name in ("UTC", "America/Los_Angeles", "Asia/Kathmandu", "XYZ-13:30"):
        done = subprocess.run(
            [sys.executable, "-c", FUZZED],
            cwd=ROOT, env={**os.environ, "TZ": name}, capture_output=True, text=True, check=True,
        )  # fmt: skip
        dues, _, hour = done.stdout.strip().rpartition(" ")
        told.add(dues)
        hours.add(hour)
    assert len(hours) == 4, "the zones of the machine really differed"
    assert len(told) == 1
    assert len(json.loads(told.pop())) == 4 * 5 * 24


async def test_the_same_time_of_day_is_spread_over_its_span(store: Store) -> None:
    """pitfall:herd, B13, R35: even within the span, and the same for a message every time."""
    rule = review_rule(steps=one_step(days=1, time_of_day_ms=10 * HOUR_MS, span_ms=2 * HOUR_MS))
    count = 400
    async with open_shop(store, rule=rule) as shop:
        await shop.publish(
            *(shop.event(order=str(n), email=f"c{n}@shop.example") for n in range(count))
        )
        await shop.until("2026-03-03 00:00")
        first_ms = ms("2026-03-02 09:00")
        offsets = [at - first_ms for at, *_ in shop.post.sent]
        assert min(offsets) >= 0
        assert max(offsets) < 2 * HOUR_MS
        eighths = Counter(offset // (15 * MINUTE_MS) for offset in offsets)
        assert len(eighths) == 8
        assert max(eighths.values()) < 2 * count / 8
        assert len(set(offsets)) > count * 0.9


async def test_what_is_deferred_only_moves_on_and_not_for_ever(store: Store) -> None:
    """pitfall:endless-replan, R26: each deferral is strictly later, and there are few of them."""
    moves: list[tuple[int, int]] = []
    claim = store.claim

    async def watched(partition: int, owner: Any, token: bytes, items: Any, *rest: Any) -> Any:
        answers = await claim(partition, owner, token, items, *rest)
        moves.extend((rest[0], a.due_ms) for a in answers if a.code == 3)
        return answers

    store.claim = watched  # type: ignore[method-assign]
    cap = one_in_14_days(window_ms=3 * DAY_MS)
    orders = 8
    async with open_shop(store, caps=[cap], start="2026-03-20 09:00") as shop:
        await shop.publish(*(shop.event(order=str(n)) for n in range(orders)))
        await shop.until("2026-07-30 00:00")
        assert len([1 for _, _, again in shop.mails() if not again]) == orders
        assert moves
        assert all(now_ms < due_ms for now_ms, due_ms in moves)
        assert len(moves) <= orders * (orders - 1) // 2, "each waits at most for all before it"


# --- once, and truthfully ---------------------------------------------------------------------------


async def test_a_repeated_event_is_one_and_another_event_another_run(store: Store) -> None:
    """pitfall:re-entry, R1, R2: by event for automations, by order for review requests."""
    async with open_shop(store, rule=review_rule(steps=one_step())) as shop:
        await shop.registry.create_rule(free_rule("paid", Purpose.TRANSACTIONAL))
        await shop.registry.activate(ACCOUNT, "paid", "madrid", "test")
        event = shop.event(id="first")
        again = shop.event(id="second")
        told = [
            (await shop.publish(one))[0].disposition for one in (event, event, again, event, again)
        ]
        assert told.count(Disposition.DUPLICATE) == 3
        await shop.until("2026-04-30 00:00")
        assert await shop.ends() == {(State.SENT, 0): 3, (State.SKIPPED, Reason.DUPLICATE): 1}
        assert len(shop.mails()) == 3, "one review request, two confirmations"


async def test_two_dispatchers_hand_over_once(store: Store) -> None:
    """pitfall:two-workers, E3: who was overtaken claims nothing more."""
    async with open_shop(store) as shop:
        answers = await shop.publish(
            *(shop.event(order=str(n), email=f"c{n}@shop.example") for n in range(60))
        )
        await shop.until("2026-03-08 08:00")
        await shop.engine.horizon.extend(shop.clock.now_ms())
        assert len(shop.engine.horizon.wheel) == 60
        other = Engine(store, shop.registry, Postbox({Medium.EMAIL: shop.post}), shop.clock)
        await other.start()
        assert other.ownership.owned
        assert shop.engine.ownership.owned, "the first does not know yet"
        await asyncio.gather(
            shop.engine.advance_to(ms("2026-03-08 10:00")), other.advance_to(ms("2026-03-08 10:00"))
        )
        assert not shop.engine.ownership.owned
        ids = [id for *_, id in shop.post.sent]
        assert sorted(ids) == sorted(a.members[0].hex() for a in answers)
        await other.stop()


async def test_configuration_written_during_dispatch_loses_nothing(store: Store) -> None:
    """pitfall:configuration-during-dispatch, R13: a stale claim is refused, looked at anew, and goes."""
    async with open_shop(store, rule=review_rule(steps=one_step(days=7))) as shop:
        await shop.publish(
            *(shop.event(order=str(n), email=f"c{n}@shop.example") for n in range(40))
        )
        claim, edits = store.claim, iter(range(3))

        async def edit_then_claim(*arguments: Any) -> Any:
            edit = next(edits, None)
            if edit == 0:
                await shop.registry.create_cap(one_in_14_days(limit=5))
            elif edit == 1:
                await shop.registry.deactivate(ACCOUNT, "ask", "madrid", "test")
                await shop.registry.activate(ACCOUNT, "ask", "madrid", "test")
            elif edit == 2:
                await shop.registry.update_rule(review_rule(steps=one_step(days=9)))
            return await claim(*arguments)

        store.claim = edit_then_claim  # type: ignore[method-assign]
        await shop.until("2026-03-09 00:00")
        assert next(edits, None) is None, "all edits were made"
        assert len({to for _, to, _ in shop.mails()}) == len(shop.mails()) == 40
        assert set(instants(shop)) == {"2026-03-08 09:00"}


async def test_a_cancellation_tells_whether_it_came_in_time(store: Store) -> None:
    """pitfall:untruthful-cancel, R12: ahead of the claim it wins, after it it is refused."""
    async with open_shop(store, rule=review_rule(steps=one_step())) as shop:
        (early,) = await shop.publish(shop.event(order="1"))
        (late,) = await shop.publish(shop.event(order="2", email="ben@shop.example"))
        claim, send = store.claim, shop.post.send
        told: list[str] = []

        async def cancel_then_claim(*arguments: Any) -> Any:
            await shop.engine.reader.cancel(ACCOUNT, early.members[0])
            return await claim(*arguments)

        async def cancel_then_send(letters: Any) -> Any:
            with pytest.raises(FailedPrecondition) as refused:
                await shop.engine.reader.cancel(ACCOUNT, late.members[0])
            told.append(str(refused.value))
            return await send(letters)

        store.claim = cancel_then_claim  # type: ignore[method-assign]
        shop.post.send = cancel_then_send  # type: ignore[method-assign]
        await shop.until("2026-03-01 10:00")
        assert "IN_FLIGHT" in told[0]
        assert [to for _, to, _ in shop.mails()] == ["ben@shop.example"]
        assert await shop.ends() == {
            (State.CANCELLED, Reason.BY_CLIENT): 1,
            (State.SENT, Reason.NONE): 1,
        }


@pytest.mark.parametrize("seed", range(3))
async def test_of_cancellation_and_dispatch_exactly_one_wins(store: Store, seed: int) -> None:
    """pitfall:untruthful-cancel: whatever the order, the answer and the mailbox agree."""
    chance = random.Random(seed)
    async with open_shop(store, rule=review_rule(steps=one_step())) as shop:
        answers = await shop.publish(
            *(shop.event(order=str(n), email=f"c{n}@shop.example") for n in range(60))
        )
        members = [answer.members[0] for answer in answers]

        async def cancel(member: bytes) -> bool:
            for _ in range(chance.randrange(chance.choice((1, 4, 16, 64)))):
                await asyncio.sleep(0)
            while member in members[-5:] and not shop.post.sent:  # noqa: ASYNC110
                await asyncio.sleep(0)
            try:
                await shop.engine.reader.cancel(ACCOUNT, member)
            except FailedPrecondition:
                return False
            return True

        # The dispatch begins among the cancellations, not ahead of all of them.
        early, late = members[:20], members[20:]
        results = await asyncio.gather(
            *map(cancel, early), shop.engine.advance_to(shop.clock.now_ms()), *map(cancel, late)
        )
        cancelled = [result for result in results if result is not None]
        assert 0 < sum(cancelled) < len(members), f"no race at seed {seed}"
        await shop.until("2026-03-02 00:00")
        sent = {id for *_, id in shop.post.sent}
        assert [member.hex() not in sent for member in members] == cancelled, f"seed {seed}"
        assert len(shop.post.sent) == len(sent)


async def test_a_switch_is_a_switch(store: Store) -> None:
    """pitfall:magic-number, R40: a step is off because it is disabled, whatever its numbers say."""
    async with open_shop(store) as shop:
        await shop.publish(shop.event())
        await shop.until("2026-03-09 00:00")
        off = review_rule()
        off.steps[1].enabled = False
        await shop.registry.update_rule(off)
        await shop.until("2026-04-30 00:00")
        assert len(shop.mails()) == 1
        assert (await shop.ends())[State.CANCELLED, Reason.STEP_OFF] == 1
        # And the wait is as it was: on again, reminders come.
        await shop.registry.update_rule(review_rule())
        await shop.publish(shop.event(order="2"))
        await shop.until("2026-06-30 00:00")
        assert [again for _, _, again in shop.mails()[1:]] == [False, True]


# --- the store ------------------------------------------------------------------------------------


async def test_looking_for_what_is_due_reads_what_is_due(store: Store) -> None:
    """pitfall:full-scan: however much waits for later, it is not looked at."""
    async with open_shop(store, rule=review_rule(steps=one_step(days=90))) as shop:
        for start in range(0, 2_000, 500):
            await shop.publish(
                *(
                    shop.event(order=str(n), email=f"c{n}@shop.example")
                    for n in range(start, start + 500)
                )
            )
        await shop.publish(shop.event(order="now", requested_send_ms=ms("2026-03-02 09:00")))
        seen = Counter[str]()
        read, read_lanes, read_lane = store.read, store.read_lanes, store.read_lane

        async def counted_read(members: Any) -> Any:
            seen["plans"] += sum(map(len, members.values()))
            return await read(members)

        async def counted_lanes(lanes: Any, until_ms: int, limit: int) -> Any:
            found = await read_lanes(lanes, until_ms, limit)
            seen["entries"] += sum(map(len, found))
            return found

        async def counted_lane(*arguments: Any) -> Any:
            found = await read_lane(*arguments)
            seen["entries"] += len(found)
            return found

        store.read, store.read_lanes, store.read_lane = (  # type: ignore[method-assign]
            counted_read, counted_lanes, counted_lane,
        )  # fmt: skip
        await shop.until("2026-03-20 00:00")
        assert len(shop.mails()) == 1
        assert 0 < seen["plans"] + seen["entries"] < 20
        await shop.until("2026-06-30 00:00")
        assert len(shop.mails()) == 2_001


async def test_without_an_answer_from_the_store_nobody_is_written_to(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """pitfall:fail-open, pitfall:stuck-after-reconnect: it waits, and goes on by itself."""
    monkeypatch.setattr(claims, "PATIENCE_MS", 30)
    async with open_shop(store, rule=review_rule(steps=one_step(days=7))) as shop:
        await shop.publish(
            *(shop.event(order=str(n), email=f"c{n}@shop.example") for n in range(10))
        )
        (gone,) = await shop.publish(shop.event(order="x", email="gone@shop.example"))
        claim, failures = store.claim, iter(range(30))
        sent_meanwhile: list[object] = []

        async def unreachable(*arguments: Any) -> Any:
            if next(failures, None) is not None:
                sent_meanwhile.extend(shop.mails())
                raise StoreUnavailable("gone for a moment")
            return await claim(*arguments)

        store.claim = unreachable  # type: ignore[method-assign]
        await shop.engine.consents.withdraw(
            ACCOUNT, Whom(gone.contact_key), Statement(Purpose.REVIEW, Medium.EMAIL)
        )
        await shop.until("2026-03-09 00:00")
        assert next(failures, None) is None
        assert sent_meanwhile == []
        assert shop.engine.stats.round_errors == 0
        assert {to for _, to, _ in shop.mails()} == {f"c{n}@shop.example" for n in range(10)}
