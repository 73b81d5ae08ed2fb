"""Caps at the claim: reserve, defer, skip, expire (R23-R28, R30, E9)."""

from __future__ import annotations

import pytest

from core.bounds import DAY_MS
from core.gate import ClaimAnswer, ClaimCode
from core.model import Reason, State, WaitReason
from core.ports import DueEntry
from core.records import Stamp, pack48
from tests.conformance.kit import (
    DEFERRED,
    NOW,
    Hands,
    cap,
    contact_key,
    far,
    item,
    key,
    plan,
)

WINDOW_MS = 14 * DAY_MS
ORDER, ANOTHER_ORDER = key("order"), key("another order")


def tag(sequence: int) -> bytes:
    return bytes(2) + sequence.to_bytes(6, "big")


def ended(answer: ClaimAnswer) -> tuple[int, int]:
    assert answer.code == ClaimCode.ENDED
    return answer.state, answer.reason


async def stamps(hands: Hands) -> list[Stamp]:
    return (await hands.record()).stamps


async def test_r25_what_passes_reserves_with_the_claim_instant(hands: Hands) -> None:
    planned = await hands.plan()
    await hands.take(
        item(planned.member, caps=(cap(), cap(ledger=b"cap2"), cap(ledger=b"cap3", limit=5)))
    )
    assert await stamps(hands) == [
        Stamp(ledger, tag(1), NOW) for ledger in (b"cap1", b"cap2", b"cap3")
    ]


async def test_r25_the_second_is_deferred_to_the_exact_freed_instant(hands: Hands) -> None:
    """A31, R27, pitfall:cap-defers-too-far."""
    first, second = await hands.plan(), await hands.plan()
    await hands.take(item(first.member, caps=(cap(),)))
    now_ms = NOW + 1_234
    answer = (await hands.claim(item(second.member, caps=(cap(),)), now_ms=now_ms))[0]
    freed_ms = NOW + WINDOW_MS
    assert (answer.code, answer.due_ms) == (ClaimCode.DEFERRED, freed_ms)
    ref = await hands.ref(second.member)
    assert (ref.state, ref.wait, ref.due_ms) == (State.SCHEDULED, WaitReason.CAPPED, freed_ms)
    assert await hands.lane(DEFERRED) == [DueEntry(second.member, freed_ms)]
    note = pack48(now_ms) + pack48(freed_ms) + b"cap1" + bytes([1])
    assert await hands.store.notes(0, [first.member, second.member]) == [b"", note]
    early = await hands.claim(item(second.member, DEFERRED, caps=(cap(),)), now_ms=freed_ms - 1)
    assert early[0].code == ClaimCode.NOT_DUE
    await hands.take(item(second.member, DEFERRED, caps=(cap(),)), now_ms=freed_ms)


async def test_r26_of_one_batch_the_first_takes_the_slot(hands: Hands) -> None:
    first, second = await hands.plan(), await hands.plan()
    answers = await hands.claim(
        item(second.member, caps=(cap(),)), item(first.member, caps=(cap(),))
    )
    assert [answer.code for answer in answers] == [ClaimCode.CLAIMED, ClaimCode.DEFERRED]


async def test_notes_are_appended_oldest_first(hands: Hands) -> None:
    first, second = await hands.plan(), await hands.plan(expire_ms=NOW + 90 * DAY_MS)
    await hands.take(item(first.member, caps=(cap(),)))
    await hands.claim(item(second.member, caps=(cap(),)))
    later_ms = NOW + WINDOW_MS
    third = await hands.plan(due_ms=later_ms)
    await hands.take(item(third.member, far(later_ms), caps=(cap(),)), now_ms=later_ms)
    await hands.claim(item(second.member, DEFERRED, caps=(cap(is_skip=True),)), now_ms=later_ms)
    assert (await hands.store.notes(0, [second.member]))[0] == (
        pack48(NOW) + pack48(later_ms) + b"cap1" + bytes([1])
        + pack48(later_ms) + pack48(0) + b"cap1" + bytes([2])
    )  # fmt: skip


async def test_r28_a_full_cap_that_skips_ends_the_entry(hands: Hands) -> None:
    first, second = await hands.plan(), await hands.plan()
    caps = (cap(), cap(ledger=b"cap2", is_skip=True))
    await hands.take(item(first.member, caps=caps))
    answer = (await hands.claim(item(second.member, caps=caps)))[0]
    assert ended(answer) == (State.SKIPPED, Reason.CAPPED)
    note = pack48(NOW) + pack48(0) + b"cap2" + bytes([2])
    assert await hands.store.notes(0, [second.member]) == [note]


async def test_r24_a_limit_of_zero_blocks_for_ever(hands: Hands) -> None:
    """pitfall:cap-of-zero."""
    planned = await hands.plan()
    answer = (await hands.claim(item(planned.member, caps=(cap(limit=0),))))[0]
    assert ended(answer) == (State.SKIPPED, Reason.CAPPED)
    assert await stamps(hands) == []


async def test_r28_of_several_full_caps_the_latest_slot_counts(hands: Hands) -> None:
    """A32."""
    first, second = await hands.plan(), await hands.plan()
    caps = (
        cap(ledger=b"week", window_ms=7 * DAY_MS),
        cap(ledger=b"days", window_ms=20 * DAY_MS),
        cap(ledger=b"free", limit=2),
    )
    await hands.take(item(first.member, caps=caps))
    answer = (await hands.claim(item(second.member, caps=caps)))[0]
    assert answer.due_ms == NOW + 20 * DAY_MS
    assert (await hands.store.notes(0, [second.member]))[0][12:16] == b"days"
    assert len(await stamps(hands)) == 3, "what is refused reserves nothing"


@pytest.mark.parametrize(
    ("expire_after_ms", "longest_deferral_ms", "code"),
    [
        (WINDOW_MS + 1, 0, ClaimCode.DEFERRED),
        (WINDOW_MS, 0, ClaimCode.ENDED),
        (WINDOW_MS + 1, WINDOW_MS, ClaimCode.DEFERRED),
        (WINDOW_MS + 1, WINDOW_MS - 1, ClaimCode.ENDED),
    ],
)
async def test_r30_no_slot_before_expiry_or_within_the_longest_deferral(
    hands: Hands, expire_after_ms: int, longest_deferral_ms: int, code: ClaimCode
) -> None:
    first, second = await hands.plan(), await hands.plan(expire_ms=NOW + expire_after_ms)
    caps = (cap(longest_deferral_ms=longest_deferral_ms),)
    await hands.take(item(first.member, caps=caps))
    answer = (await hands.claim(item(second.member, caps=caps)))[0]
    assert answer.code == code
    if code == ClaimCode.ENDED:
        assert ended(answer) == (State.EXPIRED, Reason.NO_SLOT)
        assert (await hands.ref(second.member)).wait == WaitReason.NONE
    note = pack48(NOW) + pack48(NOW + WINDOW_MS) + b"cap1" + bytes([1])
    assert await hands.store.notes(0, [second.member]) == [note]


async def test_e9_an_entry_is_not_capped_by_its_own_reservation(hands: Hands) -> None:
    planned = await hands.plan()
    await hands.take(item(planned.member, caps=(cap(),)))
    await hands.recover()
    await hands.take(item(planned.member, DEFERRED, caps=(cap(),)), now_ms=NOW + 5)
    assert await stamps(hands) == [Stamp(b"cap1", tag(1), NOW)], "stamped once inside the window"


async def test_e9_outside_the_window_it_is_stamped_again(hands: Hands) -> None:
    planned = await hands.plan(expire_ms=NOW + 90 * DAY_MS)
    await hands.take(item(planned.member, caps=(cap(),)))
    await hands.recover()
    later_ms = NOW + WINDOW_MS
    await hands.take(item(planned.member, DEFERRED, caps=(cap(),)), now_ms=later_ms)
    assert Stamp(b"cap1", tag(1), later_ms) in await stamps(hands)


async def test_r23_all_messages_of_an_order_are_one_stamp(hands: Hands) -> None:
    caps = (cap(is_order_unit=True),)
    service, product = await hands.plan(order_key=ORDER), await hands.plan(order_key=ORDER)
    other = await hands.plan(order_key=ANOTHER_ORDER)
    await hands.take(item(service.member, caps=caps))
    await hands.take(item(product.member, caps=caps), now_ms=NOW + DAY_MS)
    assert await stamps(hands) == [Stamp(b"cap1", ORDER, NOW)]
    answer = (await hands.claim(item(other.member, caps=caps), now_ms=NOW + DAY_MS))[0]
    assert (answer.code, answer.due_ms) == (ClaimCode.DEFERRED, NOW + WINDOW_MS)


async def test_without_an_order_each_message_is_a_unit(hands: Hands) -> None:
    caps = (cap(is_order_unit=True),)
    first, second = await hands.plan(), await hands.plan()
    answers = await hands.claim(item(first.member, caps=caps), item(second.member, caps=caps))
    assert [answer.code for answer in answers] == [ClaimCode.CLAIMED, ClaimCode.DEFERRED]
    assert await stamps(hands) == [Stamp(b"cap1", tag(1), NOW)]


async def test_r24_exempt_but_counted_and_counted_not_but_checked(hands: Hands) -> None:
    first, exempt, uncounted = await hands.plan(), await hands.plan(), await hands.plan()
    await hands.take(item(first.member, caps=(cap(limit=2, is_counted=False),)))
    assert await stamps(hands) == []
    await hands.take(item(exempt.member, caps=(cap(limit=0, is_checked=False),)))
    assert await stamps(hands) == [Stamp(b"cap1", tag(2), NOW)]
    answer = (await hands.claim(item(uncounted.member, caps=(cap(is_counted=False),))))[0]
    assert answer.code == ClaimCode.DEFERRED


async def test_caps_of_another_contact_do_not_count(hands: Hands) -> None:
    first = await hands.plan()
    await hands.take(item(first.member, caps=(cap(),)))
    ben = (await hands.commit(plan(), contact_key=contact_key("ben"))).plans[0]
    await hands.take(item(ben.member, caps=(cap(),)))
