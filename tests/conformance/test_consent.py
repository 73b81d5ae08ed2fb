"""Consent: evidence, withdrawals and what they end (R17, R19, R11)."""

from __future__ import annotations

import pytest

from core.gate import ClaimCode
from core.model import ConsentScope, ConsentStatus, Medium, Purpose, Reason, State
from core.records import NO_KEY, ConsentEntry, consent_id
from tests.conformance.kit import NOW, Hands, consent_entry, contact_key, far, item, key, plan

ORDER = key("order")
CHANNEL = 300
CHANNEL_KEY = CHANNEL.to_bytes(8, "little")


async def test_a_grant_is_kept_and_ends_nothing(hands: Hands) -> None:
    planned = await hands.plan()
    entry = consent_entry(time_ms=NOW)
    assert await hands.write_consent(entry) == ([], [])
    assert (await hands.record()).consents == [ConsentEntry(*entry)]
    assert await hands.state(planned.member) == (State.SCHEDULED, Reason.NONE)


async def test_a_grant_may_be_the_first_thing_known_of_a_contact(hands: Hands) -> None:
    stranger = contact_key("stranger")
    assert await hands.store.contact(0, stranger) is None
    await hands.write_consent(consent_entry(), stranger)
    record = await hands.record(stranger)
    assert (len(record.consents), record.next_sequence) == (1, 1)
    keys = {0: [contact_key("nobody"), stranger]}
    assert (await hands.store.contacts(keys))[0] == [None, record]


async def test_documents_are_read_back_by_id(hands: Hands) -> None:
    assert await hands.store.consent_documents(0, contact_key()) == {}
    account, channel = consent_entry(), consent_entry(scope=1, scope_key=CHANNEL_KEY)
    again = consent_entry(ConsentStatus.WITHDRAWN, time_ms=NOW)
    for entry, text in ((account, b"1"), (channel, b"2"), (again, b"3")):
        document = (consent_id(ConsentEntry(*entry)), text)
        await hands.store.write_consent(0, contact_key(), entry, document, NOW)
    documents = await hands.store.consent_documents(0, contact_key())
    assert documents == {
        consent_id(ConsentEntry(*account)): b"3",
        consent_id(ConsentEntry(*channel)): b"2",
    }
    assert await hands.store.consent_documents(0, contact_key("ben")) == {}


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
    assert await hands.record() == before
    assert len(await hands.outcomes()) == 1


async def test_r11_a_later_grant_revives_nothing(hands: Hands) -> None:
    planned = await hands.plan()
    await hands.write_consent(consent_entry(ConsentStatus.WITHDRAWN, time_ms=NOW))
    await hands.write_consent(consent_entry(time_ms=NOW + 1))
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
