"""Which entry of a consent table counts (R16-R18, R11, R22), and how an entry joins the table."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import pytest

from core.antispam.consent import (
    channel_scope_key,
    covering,
    decide,
    erase_ms,
    is_covering,
    merge,
    refusal,
    suppression,
)
from core.model import (
    LASTING_SUPPRESSIONS,
    ConsentScope,
    ConsentStatus,
    Medium,
    Purpose,
    Reason,
    Suppression,
)
from core.records import NO_KEY, ConsentEntry

ORDER, OTHER_ORDER = b"an order", b"an other"
CHANNEL, OTHER_CHANNEL = 300, 44
GRANTED, DENIED = ConsentStatus.GRANTED, ConsentStatus.DENIED
WITHDRAWN, PENDING = ConsentStatus.WITHDRAWN, ConsentStatus.PENDING
CONFIRMED, LIFTED = ConsentStatus.CONFIRMED, ConsentStatus.LIFTED
ASSUMED = ConsentStatus.ASSUMED
UNSUBSCRIBED, BLOCKED = Suppression.UNSUBSCRIBED, Suppression.BLOCKED
NOW = 1_000

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
    expire_ms: int = 0,
) -> ConsentEntry:
    return ConsentEntry(scope, purpose, medium, status, scope_key, time_ms, expire_ms)


def asked(
    *entries: ConsentEntry, order_key: bytes = ORDER, at_birth: bool = False
) -> tuple[bool, Reason]:
    return decide(
        entries,
        CHANNEL,
        order_key,
        Purpose.REVIEW,
        Medium.EMAIL,
        NOW,
        is_pending_enough=at_birth,
    )


def stopped(*entries: ConsentEntry, order_key: bytes = ORDER) -> Reason:
    return suppression(entries, CHANNEL, order_key, Purpose.REVIEW, Medium.EMAIL)


def test_without_evidence_the_answer_is_no() -> None:
    assert asked() == NO_CONSENT


@pytest.mark.parametrize("scope", [account, channel, order])
@pytest.mark.parametrize(
    ("status", "at_claim", "at_birth"),
    [
        (GRANTED, ALLOWED, ALLOWED),
        (CONFIRMED, ALLOWED, ALLOWED),
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
    statuses = (GRANTED, CONFIRMED, WITHDRAWN, BLOCKED)
    table = [account(status, 100) for status in statuses]
    for status in (DENIED, *statuses):
        assert merge(table, account(status, 99)) == table
    asked_for = [account(PENDING, 100)]
    assert merge(asked_for, account(PENDING, 99)) == asked_for


def test_merge_keeps_a_confirmation_beside_other_evidence() -> None:
    """R18: it goes on ending what it has ended, whatever is answered later."""
    confirmed = account(CONFIRMED, 100)
    for status in (GRANTED, DENIED, PENDING):
        assert merge([confirmed], account(status, 200)) == [confirmed, account(status, 200)]
    newer = account(CONFIRMED, 200)
    assert merge([account(PENDING, 100), confirmed], newer) == [account(PENDING, 100), newer]


@pytest.mark.parametrize(
    ("status", "time_ms", "expected"),
    [
        (PENDING, 100, ALLOWED),
        (PENDING, 99, ALLOWED),
        (PENDING, 101, ALLOWED),
        (DENIED, 99, ALLOWED),
        (DENIED, 101, NO_CONSENT),
        (GRANTED, 101, ALLOWED),
    ],
)
def test_of_one_place_the_newest_evidence_counts(
    status: int, time_ms: int, expected: Answer
) -> None:
    for shown in itertools.permutations((account(CONFIRMED, 100), account(status, time_ms))):
        assert asked(*shown) == expected


def test_evidence_that_names_the_medium_goes_before_evidence_about_all() -> None:
    """R47: DATA_FORWARDING may be told without a medium; a withdrawal without one holds for all."""
    for shown in itertools.permutations((account(GRANTED, 200, medium=0), account(DENIED, 100))):
        assert asked(*shown) == NO_CONSENT
    assert asked(account(GRANTED, 100, medium=0)) == ALLOWED
    assert asked(account(DENIED, 100), channel(GRANTED, 100)) == ALLOWED
    assert asked(account(GRANTED, 100), account(WITHDRAWN, 100, medium=0)) == CONSENT_WITHDRAWN


@pytest.mark.parametrize("scope", [account, channel, order])
def test_r18_a_withdrawal_outweighs_whatever_nobody_has_said(scope: Scope) -> None:
    """R18, R20, g2, g4: only a ticked box ends a withdrawal, no receipt and no being a customer."""
    assert asked(scope(ASSUMED, 200)) == ALLOWED
    assert asked(account(WITHDRAWN, 100), scope(ASSUMED, 200)) == CONSENT_WITHDRAWN
    for status, expected in ((GRANTED, ALLOWED), (CONFIRMED, ALLOWED), (DENIED, NO_CONSENT)):
        table = (account(WITHDRAWN, 100), account(status, 150), scope(ASSUMED, 200))
        for shown in itertools.permutations(table):
            assert asked(*shown) == expected


def test_r20_a_no_for_an_order_stands_when_the_shop_attests_it_later() -> None:
    table = merge([order(DENIED, 100)], order(ASSUMED, 200))
    assert table == [order(DENIED, 100), order(ASSUMED, 200)]
    for shown in itertools.permutations(table):
        assert asked(*shown) == NO_CONSENT
    assert asked(order(GRANTED, 100, key=OTHER_ORDER), order(ASSUMED, 200)) == ALLOWED


# --- expiry ---------------------------------------------------------------------------------------


def test_r11_a_question_takes_no_consent_away() -> None:
    """g3: who is asked again goes on getting what they agreed to, also when the link has run out."""
    table = merge([account(GRANTED, 100)], account(PENDING, 200, expire_ms=NOW))
    assert asked(*table) == ALLOWED
    waits = account(PENDING, 200)
    for no in (account(DENIED, 100), account(WITHDRAWN, 100)):
        assert asked(no, waits) == NO_CONSENT
        assert asked(no, waits, at_birth=True) == ALLOWED
    for no, reason in (
        (account(DENIED, 200), NO_CONSENT),
        (account(WITHDRAWN, 200), CONSENT_WITHDRAWN),
    ):
        assert asked(no, waits, at_birth=True) == reason


@pytest.mark.parametrize("status", [GRANTED, CONFIRMED, DENIED])
@pytest.mark.parametrize(("expire_ms", "counts"), [(0, True), (NOW + 1, True), (NOW, False)])
def test_evidence_that_has_expired_is_none(status: int, expire_ms: int, counts: bool) -> None:
    wider = account(DENIED if status != DENIED else GRANTED)
    narrow = entry(ConsentScope.ORDER, ORDER, status, 100, expire_ms=expire_ms)
    decisive = narrow if counts else wider
    assert asked(wider, narrow, at_birth=True) == asked(
        entry(ConsentScope.ACCOUNT, NO_KEY, decisive.status, 100), at_birth=True
    )
    alone = asked(narrow, at_birth=True)
    assert counts or alone == NO_CONSENT


def test_a_withdrawal_does_not_expire() -> None:
    assert asked(account(WITHDRAWN, 100, expire_ms=101)) == CONSENT_WITHDRAWN
    expired = account(GRANTED, 200, expire_ms=NOW)
    assert asked(account(WITHDRAWN, 100), expired) == CONSENT_WITHDRAWN


# --- suppressions -----------------------------------------------------------------------------------


def test_suppressions_are_no_evidence() -> None:
    assert asked(*(account(status, 900) for status in Suppression)) == NO_CONSENT
    assert asked(account(GRANTED, 100), *(account(s, 900) for s in Suppression)) == ALLOWED
    assert stopped(account(GRANTED), account(DENIED), account(WITHDRAWN)) == Reason.NONE


@pytest.mark.parametrize("status", list(Suppression))
@pytest.mark.parametrize("scope", [account, channel, order])
def test_r18_a_suppression_in_any_covering_scope_stands(scope: Scope, status: int) -> None:
    expected = Reason.UNSUBSCRIBED if status == UNSUBSCRIBED else Reason.SUPPRESSED
    assert stopped(scope(status, 100), account(GRANTED, 200)) == expected


def test_suppressions_that_do_not_cover_the_invitation_say_nothing() -> None:
    foreign = (
        channel(BLOCKED, number=OTHER_CHANNEL),
        order(BLOCKED, key=OTHER_ORDER),
        account(BLOCKED, purpose=Purpose.MARKETING),
        account(BLOCKED, medium=Medium.SMS),
        account(BLOCKED, purpose=0, medium=Medium.SMS),
    )
    assert stopped(*foreign) == Reason.NONE
    for wide in ({"purpose": 0}, {"medium": 0}, {"purpose": 0, "medium": 0}):
        assert stopped(*foreign, account(BLOCKED, **wide)) == Reason.SUPPRESSED


def test_r10_unsubscribed_goes_before_other_suppressions() -> None:
    table = (account(BLOCKED), order(UNSUBSCRIBED), channel(BLOCKED))
    for shown in itertools.permutations(table):
        assert stopped(*shown) == Reason.UNSUBSCRIBED
    confirmed = account(CONFIRMED, 101)
    for shown in itertools.permutations((*table, confirmed)):
        assert stopped(*shown) == Reason.SUPPRESSED, "what lasts still stands"


@pytest.mark.parametrize("status", list(Suppression))
@pytest.mark.parametrize(("confirm_ms", "is_newer"), [(99, False), (100, False), (101, True)])
@pytest.mark.parametrize("scope", [account, channel, order])
def test_r18_a_newer_confirmation_ends_what_does_not_last(
    scope: Scope, status: Suppression, confirm_ms: int, is_newer: bool
) -> None:
    has_ended = is_newer and status not in LASTING_SUPPRESSIONS
    for shown in itertools.permutations((account(status, 100), scope(CONFIRMED, confirm_ms))):
        assert (stopped(*shown) == Reason.NONE) is has_ended


def test_r18_only_a_confirmation_that_covers_the_invitation_ends_anything() -> None:
    others = (
        account(GRANTED, 200),
        account(CONFIRMED, 200, purpose=Purpose.MARKETING),
        account(CONFIRMED, 200, medium=Medium.SMS),
        channel(CONFIRMED, 200, number=OTHER_CHANNEL),
        order(CONFIRMED, 200, key=OTHER_ORDER),
    )
    assert stopped(account(UNSUBSCRIBED), *others) == Reason.UNSUBSCRIBED
    assert stopped(account(UNSUBSCRIBED), *others, order_key=OTHER_ORDER) == Reason.NONE


def test_what_a_confirmation_has_ended_stays_ended_when_it_expires() -> None:
    table = (account(UNSUBSCRIBED, 100), account(CONFIRMED, 200, expire_ms=300))
    assert stopped(*table) == Reason.NONE
    assert asked(*table) == NO_CONSENT


def test_r10_the_suppression_is_asked_before_the_consent() -> None:
    table = (account(UNSUBSCRIBED), account(WITHDRAWN))
    about = (CHANNEL, ORDER, Purpose.REVIEW, Medium.EMAIL, NOW)
    assert refusal(table, *about) == Reason.UNSUBSCRIBED
    assert refusal(table, *about, heeds_suppression=False) == Reason.CONSENT_WITHDRAWN
    assert refusal(table, *about, needs_consent=False) == Reason.UNSUBSCRIBED
    assert refusal(table, *about, heeds_suppression=False, needs_consent=False) == Reason.NONE
    pending = (account(PENDING),)
    assert refusal(pending, *about) == Reason.NO_CONSENT
    assert refusal(pending, *about, is_pending_enough=True) == Reason.NONE


@pytest.mark.parametrize("status", list(Suppression))
def test_each_suppression_stands_once_and_is_replaced_by_a_newer_one(status: int) -> None:
    table = [account(other, 100) for other in Suppression]
    newer = account(status, 101)
    merged = merge(table, newer)
    assert merged == [newer if entry.status == status else entry for entry in table]
    wider = account(status, 101, purpose=0)
    assert merge(table, wider) == [*table, wider]


def test_lifting_takes_away_all_suppressions_of_exactly_that_place() -> None:
    kept = [
        account(GRANTED), account(WITHDRAWN), channel(BLOCKED), account(BLOCKED, purpose=0),
        account(BLOCKED, medium=0),
    ]  # fmt: skip
    table = [account(BLOCKED, 999), *kept, account(UNSUBSCRIBED)]
    assert merge(table, account(LIFTED)) == kept
    assert merge(kept, account(LIFTED)) == kept
    assert merge([], account(LIFTED)) == []


def test_r22_the_newest_erasure_counts() -> None:
    assert erase_ms(()) == erase_ms((account(BLOCKED), account(GRANTED))) == -1
    table = (account(Suppression.ERASED, 7), account(Suppression.ERASED, 9, medium=0))
    assert erase_ms(table) == 9


def test_covering_takes_zero_as_all() -> None:
    for purpose, medium in itertools.product((0, 1, 2), repeat=2):
        one = account(BLOCKED, purpose=purpose, medium=medium)
        assert covering(one, CHANNEL, ORDER, 1, 1) is (purpose < 2 and medium < 2)
