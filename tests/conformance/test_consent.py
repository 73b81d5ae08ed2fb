"""Consent: evidence, withdrawals, what they end, and the log (R17, R19, R11)."""

from __future__ import annotations

import pytest

from core.bounds import DAY_MS
from core.contact_ports import LoggedLine
from core.gate import ClaimCode
from core.model import (
    ConsentScope,
    ConsentStatus,
    Medium,
    Purpose,
    Reason,
    State,
    Suppression,
)
from core.records import NO_KEY, ConsentEntry
from tests.conformance.kit import (
    NOW,
    Hands,
    consent_entry,
    contact_key,
    far,
    item,
    key,
    line,
    plan,
)

ORDER = key("order")
CHANNEL = 300
CHANNEL_KEY = CHANNEL.to_bytes(8, "little")


async def test_a_grant_is_kept_and_ends_nothing(hands: Hands) -> None:
    planned = await hands.plan()
    entry = consent_entry(time_ms=NOW)
    assert await hands.write_consent(entry) == ([], [])
    assert (await hands.record()).consents == [ConsentEntry(*entry[:7])]
    assert await hands.state(planned.member) == (State.SCHEDULED, Reason.NONE)


async def test_a_grant_may_be_the_first_thing_known_of_a_contact(hands: Hands) -> None:
    stranger = contact_key("stranger")
    assert await hands.store.contact(0, stranger) is None
    await hands.write_consent(consent_entry(), stranger)
    record = await hands.record(stranger)
    assert (len(record.consents), record.next_sequence) == (1, 1)
    keys = {0: [contact_key("nobody"), stranger]}
    assert (await hands.store.contacts(keys))[0] == [None, record]


async def test_every_line_is_logged_in_order_and_numbered(hands: Hands) -> None:
    """g3: the log says what was told, each time; the table what counts."""
    assert await hands.log() == []
    first = await hands.write(
        line(ConsentStatus.GRANTED, time_ms=NOW - 5, expire_ms=NOW + 5, document=b"1"),
        line(ConsentStatus.WITHDRAWN, scope=1, scope_key=CHANNEL_KEY, document=b"\x00" * 300),
    )
    again = await hands.write(
        line(ConsentStatus.GRANTED, time_ms=NOW - 5, document=b""), now_ms=NOW + 7
    )
    assert (first.numbers, again.numbers) == ((1, 2), (3,))
    review = (Purpose.REVIEW, Medium.EMAIL)
    granted = (ConsentScope.ACCOUNT, *review, ConsentStatus.GRANTED, NO_KEY, NOW - 5)
    withdrawn = (ConsentScope.CHANNEL, *review, ConsentStatus.WITHDRAWN, CHANNEL_KEY, NOW - 1_000)
    assert await hands.log() == [
        LoggedLine(1, *granted, NOW + 5, NOW, b"1"),
        LoggedLine(2, *withdrawn, 0, NOW, bytes(300)),
        LoggedLine(3, *granted, 0, NOW + 7, b""),
    ]
    assert [one.number for one in await hands.log(after=1)] == [2, 3]
    assert [one.number for one in await hands.log(after=1, limit=1)] == [2]
    assert await hands.log(after=3) == []
    assert await hands.log(contact=contact_key("ben")) == []
    record = await hands.record()
    assert (record.consent_lines, len(record.consents)) == (3, 2)


async def test_the_log_holds_more_lines_than_one_call_reads(hands: Hands) -> None:
    lines = [line(ConsentStatus.GRANTED, time_ms=number) for number in range(300)]
    assert (await hands.write(*lines)).numbers == tuple(range(1, 301))
    assert [one.time_ms for one in await hands.log()] == list(range(300))


async def test_r17_evidence_of_events_is_logged_too_once(hands: Hands) -> None:
    told = consent_entry(time_ms=NOW - 9, expire_ms=NOW + DAY_MS, document=b"from the event")
    for _ in range(2):
        await hands.commit(consents=(told, consent_entry(medium=Medium.SMS)), event_key=key("one"))
    scope, purpose, medium, status, scope_key, time_ms, expire_ms, document = told
    logged = await hands.log()
    assert [one.medium for one in logged] == [Medium.EMAIL, Medium.SMS]
    assert logged[0] == LoggedLine(
        1, scope, purpose, medium, status, scope_key, time_ms, expire_ms, NOW, document
    )
    assert (await hands.record()).consents[0] == ConsentEntry(*told[:7])
    assert (await hands.write(line(ConsentStatus.DENIED))).numbers == (3,)


async def test_r17_nothing_was_said_later_than_it_is_written_down(hands: Hands) -> None:
    await hands.write(line(ConsentStatus.CONFIRMED, time_ms=NOW + DAY_MS))
    assert [entry.time_ms for entry in (await hands.record()).consents] == [NOW]
    assert [one.time_ms for one in await hands.log()] == [NOW]


async def test_an_older_entry_of_the_same_kind_is_ignored(hands: Hands) -> None:
    await hands.write_consent(consent_entry(time_ms=NOW))
    await hands.write_consent(consent_entry(ConsentStatus.DENIED, time_ms=NOW - 1))
    record = await hands.record()
    assert [(e.status, e.time_ms) for e in record.consents] == [(ConsentStatus.GRANTED, NOW)]


async def test_r19_a_withdrawal_ends_what_waits_and_names_what_was_claimed(hands: Hands) -> None:
    waiting, claimed, cancelled = [(await hands.plan()).member for _ in range(3)]
    other_purpose = (await hands.plan(purpose=Purpose.MARKETING)).member
    other_medium = (await hands.plan(medium=Medium.SMS)).member
    ben = (await hands.commit(plan(), contact_key=contact_key("ben"))).plans[0].member
    await hands.take(item(claimed))
    await hands.cancel([cancelled], State.CANCELLED, Reason.BY_CLIENT)
    withdrawal = consent_entry(ConsentStatus.WITHDRAWN, time_ms=NOW)
    assert await hands.write_consent(withdrawal, now_ms=NOW + 5) == ([waiting], [claimed])
    ref = await hands.ref(waiting)
    assert (ref.state, ref.reason) == (State.SKIPPED, Reason.UNSUBSCRIBED)
    assert ref.settle_ms == NOW + 5
    assert await hands.state(claimed) == (State.IN_FLIGHT, Reason.NONE)
    assert await hands.state(cancelled) == (State.CANCELLED, Reason.BY_CLIENT)
    for member in (other_purpose, other_medium, ben):
        assert await hands.state(member) == (State.SCHEDULED, Reason.NONE)
    assert (await hands.counters()).ended[State.SKIPPED, Reason.UNSUBSCRIBED] == 1
    assert [o.member for o in await hands.outcomes()] == [cancelled, waiting]
    assert await hands.body(waiting) == b""
    assert (await hands.claim(item(waiting)))[0].code == ClaimCode.GONE
    assert waiting not in [entry.member for entry in await hands.lane(far(NOW))]


@pytest.mark.parametrize(
    ("scope", "scope_key", "ended"),
    [
        (ConsentScope.ACCOUNT, NO_KEY, [0, 1, 2]),
        (ConsentScope.CHANNEL, CHANNEL_KEY, [1]),
        (ConsentScope.ORDER, ORDER, [2]),
        (ConsentScope.ORDER, NO_KEY, []),
    ],
)
async def test_r19_a_withdrawal_reaches_as_far_as_its_scope(
    hands: Hands, scope: ConsentScope, scope_key: bytes, ended: list[int]
) -> None:
    answer = await hands.commit(plan(), plan(channel_number=CHANNEL), plan(order_key=ORDER))
    members = [created.member for created in answer.plans]
    withdrawal = consent_entry(ConsentStatus.WITHDRAWN, scope=scope, scope_key=scope_key)
    assert await hands.write_consent(withdrawal) == ([members[index] for index in ended], [])


async def test_a_repeated_withdrawal_ends_nothing_twice(hands: Hands) -> None:
    planned = await hands.plan()
    withdrawal = consent_entry(ConsentStatus.WITHDRAWN)
    assert await hands.write_consent(withdrawal) == ([planned.member], [])
    before = await hands.record()
    assert await hands.write_consent(withdrawal) == ([], [])
    record = await hands.record()
    assert (record.consents, record.references) == (before.consents, before.references)
    assert (before.consent_lines, record.consent_lines) == (1, 2)
    assert len(await hands.outcomes()) == 1


async def test_r11_a_later_grant_revives_nothing(hands: Hands) -> None:
    planned = await hands.plan()
    await hands.write_consent(consent_entry(ConsentStatus.WITHDRAWN, time_ms=NOW))
    await hands.write_consent(consent_entry(time_ms=NOW + 1), now_ms=NOW + 1)
    assert await hands.state(planned.member) == (State.SKIPPED, Reason.UNSUBSCRIBED)
    assert (await hands.plan(needs_consent=True)).state == State.SCHEDULED


@pytest.mark.parametrize(
    ("granted_ms", "is_allowed"), [(NOW - 1, False), (NOW, False), (NOW + 1, True)]
)
async def test_r17_a_withdrawal_beats_evidence_up_to_its_millisecond(
    hands: Hands, granted_ms: int, is_allowed: bool
) -> None:
    await hands.write_consent(consent_entry(ConsentStatus.WITHDRAWN, time_ms=NOW))
    order = consent_entry(scope=ConsentScope.ORDER, scope_key=ORDER, time_ms=granted_ms)
    created = (await hands.commit(plan(order_key=ORDER), consents=(order,))).plans[0]
    answer = (await hands.claim(item(created.member, needs_consent=True)))[0]
    assert (answer.code == ClaimCode.CLAIMED) is is_allowed


async def test_r17_the_most_specific_evidence_decides_at_the_claim(hands: Hands) -> None:
    channel = {"scope": ConsentScope.CHANNEL, "scope_key": CHANNEL_KEY}
    order = {"scope": ConsentScope.ORDER, "scope_key": ORDER}
    await hands.write_consent(consent_entry(time_ms=NOW))
    await hands.write_consent(consent_entry(ConsentStatus.DENIED, **channel, time_ms=NOW - 1))
    await hands.write_consent(consent_entry(**order, time_ms=NOW - 2))
    answer = await hands.commit(
        plan(),
        plan(channel_number=CHANNEL),
        plan(channel_number=CHANNEL, order_key=ORDER),
    )
    items = [item(created.member, needs_consent=True) for created in answer.plans]
    codes = [answer.code for answer in await hands.claim(*items)]
    assert codes == [ClaimCode.CLAIMED, ClaimCode.ENDED, ClaimCode.CLAIMED]


@pytest.mark.parametrize("status", [ConsentStatus.GRANTED, ConsentStatus.CONFIRMED])
async def test_evidence_counts_until_the_millisecond_it_expires(
    hands: Hands, status: ConsentStatus
) -> None:
    await hands.write(line(status, expire_ms=NOW + 5))
    in_time, late = await hands.plan(), await hands.plan()
    assert (await hands.plan(needs_consent=True, now_ms=NOW + 4)).state == State.SCHEDULED
    born = await hands.plan(needs_consent=True, now_ms=NOW + 5)
    assert (born.state, born.reason) == (State.SKIPPED, Reason.NO_CONSENT)
    await hands.take(item(in_time.member, needs_consent=True), now_ms=NOW + 4)
    answer = (await hands.claim(item(late.member, needs_consent=True), now_ms=NOW + 5))[0]
    assert (answer.code, answer.reason) == (ClaimCode.ENDED, Reason.NO_CONSENT)


async def test_r11_an_open_opt_in_is_planned_while_it_can_be_confirmed(hands: Hands) -> None:
    """B2: what is pending is decided when it is due."""
    await hands.write(line(ConsentStatus.PENDING, expire_ms=NOW + DAY_MS))
    planned = await hands.plan(needs_consent=True, due_ms=NOW + 2 * DAY_MS)
    early = await hands.plan(needs_consent=True)
    assert (planned.state, early.state) == (State.SCHEDULED, State.SCHEDULED)
    answer = (await hands.claim(item(early.member, needs_consent=True)))[0]
    assert (answer.state, answer.reason) == (State.SKIPPED, Reason.NO_CONSENT)
    late = await hands.plan(needs_consent=True, now_ms=NOW + DAY_MS)
    assert (late.state, late.reason) == (State.SKIPPED, Reason.NO_CONSENT)
    await hands.write(line(ConsentStatus.CONFIRMED, time_ms=NOW + 9), now_ms=NOW + 9)
    due_ms = planned.due_ms
    await hands.take(item(planned.member, far(due_ms), needs_consent=True), now_ms=due_ms)


async def test_expired_evidence_of_an_order_leaves_the_word_to_wider_evidence(
    hands: Hands,
) -> None:
    of_order = {"scope": ConsentScope.ORDER, "scope_key": ORDER}
    await hands.write(
        line(ConsentStatus.GRANTED), line(ConsentStatus.DENIED, **of_order, expire_ms=NOW + 1)
    )
    before = await hands.plan(needs_consent=True, order_key=ORDER)
    after = await hands.plan(needs_consent=True, order_key=ORDER, now_ms=NOW + 1)
    assert (before.state, after.state) == (State.SKIPPED, State.SCHEDULED)


async def test_r47_a_withdrawal_of_forwarding_ends_nothing(hands: Hands) -> None:
    planned = await hands.plan(purpose=Purpose.DATA_FORWARDING)
    forwarding = {"purpose": Purpose.DATA_FORWARDING}
    written = await hands.write(
        line(ConsentStatus.WITHDRAWN, **forwarding), line(Suppression.UNSUBSCRIBED, **forwarding)
    )
    assert (written.ended, written.in_flight) == ((), ())
    assert await hands.state(planned.member) == (State.SCHEDULED, Reason.NONE)


async def test_an_old_withdrawal_that_newer_evidence_has_outdone_ends_nothing(
    hands: Hands,
) -> None:
    await hands.write(line(ConsentStatus.GRANTED, time_ms=NOW - 5))
    planned = await hands.plan()
    assert (await hands.write(line(ConsentStatus.WITHDRAWN, time_ms=NOW - 6))).ended == ()
    written = await hands.write(line(ConsentStatus.WITHDRAWN, time_ms=NOW - 5))
    assert written.ended == (planned.member,)
