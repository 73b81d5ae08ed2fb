"""Which entry of a consent table counts (R16, R17, R11), and how an entry joins the table."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import pytest

from core.antispam.consent import channel_scope_key, decide, is_covering, merge
from core.model import ConsentScope, ConsentStatus, Medium, Purpose, Reason
from core.records import NO_KEY, ConsentEntry

ORDER, OTHER_ORDER = b"an order", b"an other"
CHANNEL, OTHER_CHANNEL = 300, 44
GRANTED, DENIED = ConsentStatus.GRANTED, ConsentStatus.DENIED
WITHDRAWN, PENDING = ConsentStatus.WITHDRAWN, ConsentStatus.PENDING

Scope = Callable[[int, int], ConsentEntry]
Answer = tuple[bool, Reason]

ALLOWED = (True, Reason.NONE)
NO_CONSENT = (False, Reason.NO_CONSENT)
CONSENT_WITHDRAWN = (False, Reason.CONSENT_WITHDRAWN)


def account(status: int, time_ms: int = 100, **fields: int) -> ConsentEntry:
    return entry(ConsentScope.ACCOUNT, NO_KEY, status, time_ms, **fields)


def channel(status: int, time_ms: int = 100, number: int = CHANNEL) -> ConsentEntry:
    return entry(ConsentScope.CHANNEL, channel_scope_key(number), status, time_ms)


def order(status: int, time_ms: int = 100, key: bytes = ORDER) -> ConsentEntry:
    return entry(ConsentScope.ORDER, key, status, time_ms)


def entry(
    scope: int,
    scope_key: bytes,
    status: int,
    time_ms: int,
    purpose: int = Purpose.REVIEW,
    medium: int = Medium.EMAIL,
) -> ConsentEntry:
    return ConsentEntry(scope, purpose, medium, status, scope_key, time_ms)


def asked(
    *entries: ConsentEntry, order_key: bytes = ORDER, at_birth: bool = False
) -> tuple[bool, Reason]:
    return decide(
        entries,
        CHANNEL,
        order_key,
        Purpose.REVIEW,
        Medium.EMAIL,
        is_pending_enough=at_birth,
    )


def test_without_evidence_the_answer_is_no() -> None:
    assert asked() == NO_CONSENT


@pytest.mark.parametrize("scope", [account, channel, order])
@pytest.mark.parametrize(
    ("status", "at_claim", "at_birth"),
    [
        (GRANTED, ALLOWED, ALLOWED),
        (DENIED, NO_CONSENT, NO_CONSENT),
        (PENDING, NO_CONSENT, ALLOWED),
        (WITHDRAWN, CONSENT_WITHDRAWN, CONSENT_WITHDRAWN),
    ],
)
def test_r11_r17_one_entry_in_any_covering_scope(
    scope: Scope, status: int, at_claim: Answer, at_birth: Answer
) -> None:
    assert asked(scope(status, 100)) == at_claim
    assert asked(scope(status, 100), at_birth=True) == at_birth


@pytest.mark.parametrize("status", [GRANTED, WITHDRAWN])
def test_entries_that_do_not_cover_the_invitation_say_nothing(status: int) -> None:
    foreign = (
        channel(status, number=OTHER_CHANNEL),
        order(status, key=OTHER_ORDER),
        account(status, purpose=Purpose.MARKETING),
        account(status, medium=Medium.SMS),
    )
    assert asked(*foreign) == NO_CONSENT
    assert asked(*foreign, account(GRANTED)) == ALLOWED


def test_r16_marketing_does_not_cover_review() -> None:
    assert asked(account(GRANTED, purpose=Purpose.MARKETING)) == NO_CONSENT


@pytest.mark.parametrize("times", list(itertools.permutations((10, 20, 30))))
@pytest.mark.parametrize("statuses", list(itertools.product((GRANTED, DENIED), repeat=3)))
def test_r17_the_most_specific_evidence_decides_whatever_is_newer(
    times: tuple[int, ...], statuses: tuple[int, ...]
) -> None:
    table = [
        scope(status, time_ms)
        for scope, status, time_ms in zip((account, channel, order), statuses, times, strict=True)
    ]
    for shown in itertools.permutations(table):
        assert asked(*shown) == (ALLOWED if statuses[2] == GRANTED else NO_CONSENT)
    assert asked(*table[:2]) == (ALLOWED if statuses[1] == GRANTED else NO_CONSENT)


@pytest.mark.parametrize("scope", [account, channel, order])
@pytest.mark.parametrize(
    ("withdrawn_ms", "answer"),
    [(99, ALLOWED), (100, CONSENT_WITHDRAWN), (101, CONSENT_WITHDRAWN)],
)
def test_r17_a_withdrawal_in_any_covering_scope_beats_older_or_same_time_evidence(
    scope: Scope, withdrawn_ms: int, answer: Answer
) -> None:
    assert asked(order(GRANTED, 100), scope(WITHDRAWN, withdrawn_ms)) == answer
    assert asked(scope(WITHDRAWN, withdrawn_ms), order(GRANTED, 100)) == answer


def test_r17_the_newest_withdrawal_counts() -> None:
    older, newer = channel(WITHDRAWN, 50), account(WITHDRAWN, 150)
    assert asked(older, newer, order(GRANTED, 100)) == CONSENT_WITHDRAWN
    assert asked(newer, older, order(GRANTED, 100)) == CONSENT_WITHDRAWN
    assert asked(newer, older, order(GRANTED, 151)) == ALLOWED


def test_r17_newer_evidence_of_a_wider_scope_does_not_end_a_withdrawal() -> None:
    table = (order(GRANTED, 100), channel(WITHDRAWN, 150), account(GRANTED, 200))
    assert asked(*table) == CONSENT_WITHDRAWN
    assert asked(*table, order_key=OTHER_ORDER) == ALLOWED


def test_r17_a_newer_no_is_no_consent_and_an_older_one_withdrawn() -> None:
    assert asked(account(WITHDRAWN, 100), order(DENIED, 101)) == NO_CONSENT
    assert asked(account(WITHDRAWN, 100), order(DENIED, 100)) == CONSENT_WITHDRAWN


def test_no_order_is_no_order_anybody_consented_to() -> None:
    assert asked(order(GRANTED, key=NO_KEY), order_key=NO_KEY) == NO_CONSENT
    assert not is_covering(ConsentScope.ORDER, NO_KEY, CHANNEL, NO_KEY)


def test_the_scope_key_of_a_channel_is_its_number_little_endian() -> None:
    assert channel_scope_key(0x0102) == b"\x02\x01" + bytes(6)


def test_merge_appends_what_is_new_and_leaves_its_input_alone() -> None:
    table: list[ConsentEntry] = []
    for added in (account(GRANTED), account(WITHDRAWN), channel(GRANTED), order(GRANTED)):
        before = list(table)
        merged = merge(table, added)
        assert table == before
        assert merged == [*before, added]
        table = merged


@pytest.mark.parametrize("scope", [account, channel, order])
def test_merge_replaces_in_place_what_is_older_or_of_the_same_time(scope: Scope) -> None:
    table = [scope(GRANTED, 100), scope(WITHDRAWN, 100)]
    for time_ms in (100, 101):
        denied = scope(DENIED, time_ms)
        assert merge(table, denied) == [denied, table[1]]
        withdrawn = scope(WITHDRAWN, time_ms)
        assert merge(table, withdrawn) == [table[0], withdrawn]


def test_merge_ignores_what_is_older() -> None:
    table = [account(GRANTED, 100), account(WITHDRAWN, 100)]
    assert merge(table, account(DENIED, 99)) == table
    assert merge(table, account(WITHDRAWN, 99)) == table
