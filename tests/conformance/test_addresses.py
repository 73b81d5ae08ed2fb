"""Addresses that several contacts share (R4): asked after the claim, as the last step."""

from __future__ import annotations

from typing import Any

import pytest

from core.bounds import DAY_MS
from core.contact_ports import AddressAnswer, AddressCode, AddressItem
from core.model import ConsentScope, ConsentStatus, Medium, Purpose, Reason, Suppression
from core.records import NO_KEY, Stamp
from tests.conformance.kit import NOW, Hands, cap, contact_key, key, line, plan
from tests.conformance.kit import item as claim_item

ADDRESS = contact_key("a phone of a household")
ORDER, OTHER = key("order"), key("other order")
PASSED = AddressAnswer(AddressCode.PASSED)
TWO_WEEKS = 14 * DAY_MS


def message(name: str = "message", **fields: Any) -> AddressItem:
    """Return a message on its way to the address."""
    given: dict[str, Any] = {
        "address_key": ADDRESS,
        "tag": key(name),
        "order_key": NO_KEY,
        "purpose": Purpose.REVIEW,
        "medium": Medium.SMS,
        "channel_number": 300,
        "expire_ms": NOW + 30 * DAY_MS,
        "caps": (cap(),),
    }
    return AddressItem(**(given | fields))


async def mark(hands: Hands, *items: AddressItem, now_ms: int = NOW) -> list[AddressAnswer]:
    return await hands.store.mark_addresses(hands.partition, items, now_ms)


async def release(hands: Hands, *items: AddressItem) -> None:
    await hands.store.release_addresses(hands.partition, items, NOW)


async def tell(hands: Hands, status: int, **fields: Any) -> None:
    """Write one line to the address' table."""
    await hands.write(line(status, **({"medium": Medium.SMS} | fields)), contact=ADDRESS)


# --- caps ---------------------------------------------------------------------------------------


async def test_a_cap_counts_per_address_over_all_contacts(hands: Hands) -> None:
    """R4, R25: of two contacts with one phone, the second waits until the window of the first ends."""
    answers = await mark(hands, message("of anna"), message("of ben"))
    assert answers == [PASSED, AddressAnswer(AddressCode.DEFERRED, due_ms=NOW + TWO_WEEKS)]
    assert (await hands.record(ADDRESS)).stamps == [Stamp(b"cap1", key("of anna"), NOW)]
    assert await mark(hands, message("of ben"), now_ms=NOW + TWO_WEEKS) == [PASSED]


async def test_a_repeated_tag_passes_and_is_not_counted_twice(hands: Hands) -> None:
    """R25: an answer that was lost is asked for again, also when the cap is full by it."""
    await mark(hands, message())
    assert await mark(hands, message(), message(), now_ms=NOW + 1) == [PASSED, PASSED]
    assert (await hands.record(ADDRESS)).stamps == [Stamp(b"cap1", key("message"), NOW)]


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"is_skip": True}, AddressAnswer(AddressCode.CAPPED, Reason.CAPPED)),
        ({"limit": 0}, AddressAnswer(AddressCode.CAPPED, Reason.CAPPED)),
        ({"window_ms": 31 * DAY_MS}, AddressAnswer(AddressCode.EXPIRED, Reason.NO_SLOT)),
        ({"longest_deferral_ms": DAY_MS}, AddressAnswer(AddressCode.EXPIRED, Reason.NO_SLOT)),
        ({"looks_again": True}, AddressAnswer(AddressCode.DEFERRED, due_ms=NOW + TWO_WEEKS)),
        ({"is_checked": False}, PASSED),
        ({"ledger": b"cap2"}, PASSED),
    ],
)
async def test_what_a_full_cap_says(
    hands: Hands, fields: dict[str, Any], expected: AddressAnswer
) -> None:
    """R4, R28: what is refused reserves nothing."""
    await mark(hands, message("before"))
    assert await mark(hands, message(caps=(cap(**fields),))) == [expected]
    count = 2 if expected == PASSED else 1
    assert len((await hands.record(ADDRESS)).stamps) == count


async def test_of_several_caps_all_must_have_room(hands: Hands) -> None:
    """R28: one that is full keeps the others from being reserved."""
    await mark(hands, message("before"))
    both = (cap(ledger=b"free", limit=5), cap())
    assert (await mark(hands, message(caps=both)))[0].code == AddressCode.DEFERRED
    assert {stamp.ledger for stamp in (await hands.record(ADDRESS)).stamps} == {b"cap1"}


async def test_messages_of_one_order_are_one_unit(hands: Hands) -> None:
    """R23: the second mail of the order passes, the next order waits."""
    caps = (cap(is_order_unit=True),)
    answers = await mark(
        hands,
        message("first", order_key=ORDER, caps=caps),
        message("second", order_key=ORDER, caps=caps),
        message("third", order_key=OTHER, caps=caps),
    )
    assert [answer.code for answer in answers] == [0, 0, AddressCode.DEFERRED]
    stamps = [s for s in (await hands.record(ADDRESS)).stamps if s.ledger == b"cap1"]
    assert stamps == [Stamp(b"cap1", ORDER, NOW)]


async def test_what_was_not_handed_over_comes_back(hands: Hands) -> None:
    """R25: the next passes; returning twice, or what nobody took, changes nothing."""
    await release(hands, message())
    await mark(hands, message("a"))
    await release(hands, message("b"))
    assert (await mark(hands, message("c")))[0].code == AddressCode.DEFERRED
    await release(hands, message("a"), message("a"))
    assert await mark(hands, message("c")) == [PASSED]


async def test_the_unit_of_an_order_comes_back_with_its_last_message(hands: Hands) -> None:
    """R23, R25: while one message of the order counts, its unit stays."""
    caps = (cap(is_order_unit=True), cap(ledger=b"each", limit=9))
    first, second = (message(name, order_key=ORDER, caps=caps) for name in ("first", "second"))
    other = message("other", order_key=OTHER, caps=caps)
    await mark(hands, first, second)
    await release(hands, second)
    assert (await mark(hands, other))[0].code == AddressCode.DEFERRED
    await release(hands, second, first)
    assert (await hands.record(ADDRESS)).stamps == []
    assert await mark(hands, other) == [PASSED]


async def test_the_unit_of_an_order_stays_while_the_contact_itself_uses_it(hands: Hands) -> None:
    """R23: the address may be a contact, whose own message of the order is on its way."""
    caps = (cap(is_order_unit=True),)
    answer = await hands.commit(plan(order_key=ORDER), contact_key=ADDRESS)
    await hands.take(claim_item(answer.plans[0].member, caps=caps))
    theirs = message(order_key=ORDER, caps=caps)
    assert await mark(hands, theirs) == [PASSED]
    await release(hands, theirs)
    assert (await hands.record(ADDRESS)).stamps == [Stamp(b"cap1", ORDER, NOW)]


# --- what was said about the address ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        (Suppression.UNSUBSCRIBED, Reason.UNSUBSCRIBED),
        (Suppression.COMPLAINED, Reason.SUPPRESSED),
        (Suppression.HARD_BOUNCED, Reason.SUPPRESSED),
        (Suppression.ERASED, Reason.SUPPRESSED),
        (ConsentStatus.WITHDRAWN, Reason.UNSUBSCRIBED),
    ],
)
async def test_a_suppressed_address_gets_nothing(hands: Hands, status: int, reason: Reason) -> None:
    """R4, R18: whoever of the household said stop, the number is not written to."""
    await tell(hands, status)
    assert await mark(hands, message()) == [AddressAnswer(AddressCode.SUPPRESSED, reason)]
    assert (await hands.record(ADDRESS)).stamps == []


@pytest.mark.parametrize(
    "fields",
    [
        {"medium": Medium.WHATSAPP},
        {"purpose": Purpose.MARKETING},
        {"scope": ConsentScope.CHANNEL, "scope_key": (1).to_bytes(8, "little")},
        {"scope": ConsentScope.ORDER, "scope_key": OTHER},
    ],
)
@pytest.mark.parametrize("status", [Suppression.UNSUBSCRIBED, ConsentStatus.WITHDRAWN])
async def test_what_was_said_of_something_else_is_in_nobodys_way(
    hands: Hands, status: int, fields: dict[str, Any]
) -> None:
    """R16, R18: another medium, purpose, channel or order."""
    await tell(hands, status, **fields)
    assert await mark(hands, message(order_key=ORDER)) == [PASSED]


async def test_a_newer_confirmation_opens_the_address_again(hands: Hands) -> None:
    """R18: but not for what was said of the address itself."""
    await tell(hands, Suppression.UNSUBSCRIBED)
    await tell(hands, ConsentStatus.WITHDRAWN)
    await tell(hands, ConsentStatus.CONFIRMED, time_ms=NOW - 1)
    assert await mark(hands, message()) == [PASSED]
    await tell(hands, Suppression.HARD_BOUNCED, time_ms=NOW - 9_000)
    assert (await mark(hands, message("next"), now_ms=NOW + TWO_WEEKS))[0].code == 1


async def test_an_address_without_a_word_needs_no_consent_of_its_own(hands: Hands) -> None:
    """R4: the consent is the contact's; asking without caps leaves no trace."""
    assert await mark(hands, message(caps=())) == [PASSED]
    assert await hands.store.contact(hands.partition, ADDRESS) is None
