"""What is heard of a message after it was sent (R48, g10), and the counts of channels (g6)."""

from __future__ import annotations

from typing import Any

import pytest

from core.bounds import CHANNEL_COUNT_DAYS, DAY_MS
from core.contact_ports import NOTE_FEEDBACK, Feedback, FeedbackAnswer, FeedbackKind
from core.model import (
    ConsentScope,
    Disposition,
    Medium,
    Purpose,
    Reason,
    State,
    Suppression,
    WaitReason,
)
from core.ports import RuleCount
from core.records import FLAG_FOLLOW_UP, FLAG_HOLD_UNKNOWN, pack48
from tests.conformance.kit import DEFERRED, NOW, Hands, cap, contact_key, item, line, plan

LATER = NOW + 5_000
ENDED = {
    State.SENT: Reason.NONE,
    State.UNKNOWN: Reason.OUTCOME_UNKNOWN,
    State.FAILED: Reason.PROVIDER_ERROR,
}


async def ended(hands: Hands, state: State = State.SENT, **fields: Any) -> bytes:
    """Return an invitation that was handed over and ended in a state."""
    member = (await hands.plan(**fields)).member
    token = await hands.take(item(member))
    await hands.settle(
        token, member, state, reason=ENDED[state], content_revision=7, template_mark=9
    )
    return member


async def hear(hands: Hands, member: bytes, kind: int, **fields: Any) -> FeedbackAnswer:
    now_ms = fields.pop("now_ms", LATER)
    feedback = Feedback(member, kind, **({"time_ms": LATER - 1} | fields))
    return (await hands.store.record_feedback(hands.partition, [feedback], now_ms))[0]


async def counts(hands: Hands, *days: int) -> dict[tuple[int, int], dict[str, int]]:
    return await hands.store.channel_counts([hands.partition], days or [NOW // DAY_MS])


# --- moves --------------------------------------------------------------------------------------

STAYS = (
    FeedbackKind.COMPLAINED,
    FeedbackKind.OPENED,
    FeedbackKind.CLICKED,
    FeedbackKind.REVIEWED,
    FeedbackKind.UNSUBSCRIBED,
)
BOUNCED = (State.NOT_DELIVERED, Reason.INVALID_RECIPIENT)
NOT_NOW = (State.NOT_DELIVERED, Reason.TEMPORARY_RECIPIENT_ERROR)
ARRIVED = (State.DELIVERED, Reason.NONE)
SENT = (State.SENT, Reason.NONE)


@pytest.mark.parametrize(
    ("state", "kind", "expected"),
    [
        (State.SENT, FeedbackKind.DELIVERED, ARRIVED),
        (State.SENT, FeedbackKind.HARD_BOUNCED, BOUNCED),
        (State.SENT, FeedbackKind.SOFT_BOUNCED, NOT_NOW),
        *((State.SENT, kind, SENT) for kind in STAYS),
        (State.UNKNOWN, FeedbackKind.DELIVERED, ARRIVED),
        (State.UNKNOWN, FeedbackKind.HARD_BOUNCED, BOUNCED),
        (State.UNKNOWN, FeedbackKind.SOFT_BOUNCED, NOT_NOW),
        *((State.UNKNOWN, kind, ARRIVED) for kind in STAYS),
        (State.UNKNOWN, FeedbackKind.RESOLVED_SENT, SENT),
        (
            State.UNKNOWN,
            FeedbackKind.RESOLVED_NOT_SENT,
            (State.NOT_DELIVERED, Reason.OUTCOME_UNKNOWN),
        ),
        *((State.FAILED, kind, (State.FAILED, Reason.PROVIDER_ERROR)) for kind in STAYS),
        (State.FAILED, FeedbackKind.HARD_BOUNCED, (State.FAILED, Reason.PROVIDER_ERROR)),
    ],
)
async def test_feedback_moves_what_was_handed_over(
    hands: Hands, state: State, kind: FeedbackKind, expected: tuple[int, int]
) -> None:
    """R6, R48: counts move among the ended; when it ended stays."""
    member = await ended(hands, state)
    assert await hear(hands, member, kind) == FeedbackAnswer(expected[0], True)
    assert await hands.state(member) == expected
    ref = await hands.ref(member)
    assert (ref.settle_ms, ref.template_mark) == (NOW, 9)
    # D1: of what did not go after all nothing is told.
    is_sent = state != State.FAILED and expected != (State.NOT_DELIVERED, Reason.OUTCOME_UNKNOWN)
    assert (ref.was_sent, ref.content_revision) == (is_sent, 7 if is_sent else 0)
    counters = await hands.counters()
    assert counters.ended == {expected: 1}
    assert len(await hands.outcomes()) == 1


async def test_a_move_may_say_its_reason(hands: Hands) -> None:
    member = await ended(hands)
    await hear(hands, member, FeedbackKind.SOFT_BOUNCED, reason=Reason.PROVIDER_ERROR)
    assert await hands.state(member) == (State.NOT_DELIVERED, Reason.PROVIDER_ERROR)


async def test_a_delivered_message_may_bounce_later_but_not_the_reverse(hands: Hands) -> None:
    """R48: a bounce is the last word."""
    member = await ended(hands)
    await hear(hands, member, FeedbackKind.DELIVERED)
    await hear(hands, member, FeedbackKind.HARD_BOUNCED)
    other = await ended(hands)
    await hear(hands, other, FeedbackKind.HARD_BOUNCED)
    assert await hear(hands, other, FeedbackKind.DELIVERED) == FeedbackAnswer(BOUNCED[0], True)
    assert [await hands.state(one) for one in (member, other)] == [BOUNCED, BOUNCED]


async def test_each_kind_is_heard_once_and_noted(hands: Hands) -> None:
    """R48: providers repeat themselves; what was said when is kept as a note."""
    member = await ended(hands)
    lines = (line(Suppression.COMPLAINED, medium=0),)
    for is_new in (True, False):
        answer = await hear(hands, member, FeedbackKind.COMPLAINED, lines=lines)
        assert answer == FeedbackAnswer(State.SENT, is_new)
    await hear(hands, member, FeedbackKind.OPENED, time_ms=LATER + 99)
    assert len(await hands.log()) == 1
    assert (await counts(hands))[1, Medium.EMAIL]["complained"] == 1
    notes = (await hands.store.notes(hands.partition, [member]))[0]
    assert [notes[at : at + 17] for at in range(0, len(notes), 17)] == [
        pack48(LATER - 1) + bytes(10) + bytes([NOTE_FEEDBACK + FeedbackKind.COMPLAINED]),
        pack48(LATER) + bytes(10) + bytes([NOTE_FEEDBACK + FeedbackKind.OPENED]),
    ]


async def test_what_waits_for_a_cap_still_shows_for_which(hands: Hands) -> None:
    """R28: the gate finds rivals by the ledger of their last note."""
    await hands.take(item((await hands.plan()).member, caps=(cap(),)))
    waiting = (await hands.plan()).member
    await hands.claim(item(waiting, caps=(cap(),)))
    await hear(hands, waiting, FeedbackKind.OPENED)
    notes = (await hands.store.notes(hands.partition, [waiting]))[0]
    assert (len(notes), notes[-5:-1]) == (34, b"cap1")


@pytest.mark.parametrize("kind", [FeedbackKind.RESOLVED_SENT, FeedbackKind.RESOLVED_NOT_SENT])
async def test_only_an_unknown_outcome_can_be_resolved(hands: Hands, kind: FeedbackKind) -> None:
    """R48: the answer is the truth; nothing is noted."""
    member = await ended(hands)
    assert await hear(hands, member, kind) == FeedbackAnswer(State.SENT)
    unknown = await ended(hands, State.UNKNOWN)
    await hear(hands, unknown, kind)
    assert not (await hear(hands, unknown, kind)).is_new
    assert (await hands.store.notes(hands.partition, [member]))[0] == b""


@pytest.mark.parametrize("kind", [FeedbackKind.DELIVERED, FeedbackKind.SOFT_BOUNCED])
async def test_what_comes_before_the_outcome_may_be_said_again(
    hands: Hands, kind: FeedbackKind
) -> None:
    """R48: a provider may be faster than the settlement."""
    member = (await hands.plan()).member
    assert await hear(hands, member, kind) == FeedbackAnswer(State.SCHEDULED)
    token = await hands.take(item(member))
    assert await hear(hands, member, kind) == FeedbackAnswer(State.IN_FLIGHT)
    await hands.settle(token, member, State.SENT)
    assert (await hear(hands, member, kind)).is_new


@pytest.mark.parametrize(
    ("kind", "settled", "expected"),
    [
        (FeedbackKind.HARD_BOUNCED, State.SENT, BOUNCED),
        (FeedbackKind.HARD_BOUNCED, State.UNKNOWN, BOUNCED),
        (FeedbackKind.HARD_BOUNCED, State.FAILED, (State.FAILED, Reason.PROVIDER_ERROR)),
        *((kind, State.SENT, SENT) for kind in STAYS),
        *((kind, State.UNKNOWN, ARRIVED) for kind in STAYS),
    ],
)
async def test_what_was_heard_in_flight_is_not_undone_by_the_outcome(
    hands: Hands, kind: FeedbackKind, settled: State, expected: tuple[int, int]
) -> None:
    """R48: as if it had been heard afterwards; it is heard once, so nobody says it again."""
    member = (await hands.plan()).member
    token = await hands.take(item(member))
    assert await hear(hands, member, kind) == FeedbackAnswer(State.IN_FLIGHT, True)
    await hands.settle(token, member, settled, now_ms=LATER, reason=ENDED[settled])
    assert await hands.state(member) == expected
    assert await hear(hands, member, kind) == FeedbackAnswer(expected[0])
    counters = await hands.counters()
    assert counters.ended == {expected: 1}
    assert counters.rules.get((1, RuleCount.SENT), 0) == (settled != State.FAILED)
    assert len(await hands.outcomes()) == 1


@pytest.mark.parametrize("settled", [State.SENT, State.UNKNOWN, None])
@pytest.mark.parametrize(
    ("kind", "expected"),
    [(FeedbackKind.DELIVERED, ARRIVED), (FeedbackKind.SOFT_BOUNCED, NOT_NOW)],
)
async def test_of_what_is_handed_over_once_all_is_heard_at_once(
    hands: Hands, kind: FeedbackKind, expected: tuple[int, int], settled: State | None
) -> None:
    """E17, R48: it can only be said of this attempt; providers are quick, and may say it but once."""
    member = (await hands.plan(flags=FLAG_HOLD_UNKNOWN)).member
    assert await hear(hands, member, kind) == FeedbackAnswer(State.SCHEDULED)
    token = await hands.take(item(member))
    assert await hear(hands, member, kind) == FeedbackAnswer(State.IN_FLIGHT, True)
    if settled is None:
        await hands.recover()
    else:
        await hands.settle(token, member, settled, reason=ENDED[settled])
    assert await hands.state(member) == expected


@pytest.mark.parametrize("is_bounced", [True, False])
async def test_no_reminder_follows_what_bounced_in_flight(hands: Hands, is_bounced: bool) -> None:
    """d5, R48: and the event is forgotten with it."""
    member = (await hands.plan()).member
    token = await hands.take(item(member))
    kind = FeedbackKind.HARD_BOUNCED if is_bounced else FeedbackKind.OPENED
    await hear(hands, member, kind)
    reminder = plan(step=1, flags=FLAG_FOLLOW_UP, due_ms=NOW + DAY_MS)
    answer = await hands.settle(token, member, State.SENT, next_plans=(reminder,))
    (follower,) = answer.next_plans
    wanted = (State.CANCELLED, Reason.PARENT_NOT_DELIVERED)
    assert await hands.state(follower.member) == (
        wanted if is_bounced else (State.SCHEDULED, Reason.NONE)
    )
    assert bool(await hands.body(member)) is not is_bounced
    counters = await hands.counters()
    assert (counters.scheduled, counters.in_flight) == (not is_bounced, 0)


@pytest.mark.parametrize("flags", [0, FLAG_HOLD_UNKNOWN])
@pytest.mark.parametrize(
    ("kind", "expected"),
    [(FeedbackKind.HARD_BOUNCED, BOUNCED), *((kind, ARRIVED) for kind in STAYS)],
)
async def test_what_was_heard_of_is_not_sent_again_by_whoever_takes_it_over(
    hands: Hands, kind: FeedbackKind, expected: tuple[int, int], flags: int
) -> None:
    """E2, E17, R48: its daemon died after handing it over, as what was heard of it shows."""
    member = (await hands.plan(flags=flags)).member
    await hands.take(item(member))
    await hear(hands, member, kind)
    (taken_back,) = await hands.recover()
    assert taken_back[:2] == (member, expected[0])
    assert await hands.state(member) == expected
    counters = await hands.counters()
    assert (counters.scheduled, counters.in_flight, counters.ended) == (0, 0, {expected: 1})
    assert (await counts(hands))[1, Medium.EMAIL]["sent"] == 1
    assert await hands.body(member) == b""
    assert len(await hands.lane(DEFERRED)) == 0


async def test_what_is_tried_again_remembers_what_was_heard(hands: Hands) -> None:
    """R48: of whichever attempt it was said."""
    member = (await hands.plan()).member
    token = await hands.take(item(member))
    await hear(hands, member, FeedbackKind.HARD_BOUNCED)
    await hands.settle(token, member, State.SCHEDULED, due_ms=LATER)
    token = await hands.take(item(member, source=DEFERRED), now_ms=LATER)
    await hands.settle(token, member, State.SENT, now_ms=LATER)
    assert await hands.state(member) == BOUNCED


async def test_nothing_is_heard_of_an_invitation_that_is_not_there(hands: Hands) -> None:
    nobody = contact_key("nobody") + bytes(8)
    lines = (line(Suppression.COMPLAINED),)
    assert await hear(hands, nobody, FeedbackKind.COMPLAINED, lines=lines) == FeedbackAnswer(0)
    assert await hands.store.contact(hands.partition, contact_key("nobody")) is None


# --- caps ---------------------------------------------------------------------------------------


async def unknown_with_cap(hands: Hands) -> tuple[bytes, bytes]:
    """Return an invitation of unknown outcome, and one that waits for its cap."""
    member = (await hands.plan(flags=FLAG_HOLD_UNKNOWN)).member
    await hands.take(item(member, caps=(cap(),)))
    waiting = (await hands.plan()).member
    await hands.claim(item(waiting, caps=(cap(),)))
    await hands.recover()
    assert await hands.state(member) == (State.UNKNOWN, Reason.OUTCOME_UNKNOWN)
    return member, waiting


async def test_what_was_not_sent_after_all_returns_its_caps(hands: Hands) -> None:
    """R25, R48: and the next that waited for room is due at once."""
    member, waiting = await unknown_with_cap(hands)
    version = await hands.near_version()
    await hear(hands, member, FeedbackKind.RESOLVED_NOT_SENT)
    assert (await hands.record()).stamps == []
    ref = await hands.ref(waiting)
    assert (ref.due_ms, ref.wait) == (LATER, WaitReason.NONE)
    assert [entry.due_ms for entry in await hands.lane(DEFERRED)] == [LATER]
    assert await hands.near_version() > version


@pytest.mark.parametrize(
    "kind", [FeedbackKind.RESOLVED_SENT, FeedbackKind.HARD_BOUNCED, FeedbackKind.DELIVERED]
)
async def test_what_was_sent_keeps_its_caps(hands: Hands, kind: FeedbackKind) -> None:
    """d4, R48: also what bounced."""
    member, waiting = await unknown_with_cap(hands)
    await hear(hands, member, kind)
    assert len((await hands.record()).stamps) == 1
    assert (await hands.ref(waiting)).wait == WaitReason.CAPPED


# --- what follows -------------------------------------------------------------------------------


async def sent_with_reminder(hands: Hands, **fields: Any) -> tuple[bytes, bytes]:
    """Return a sent message, and a message that was planned when it was sent."""
    member = (await hands.plan()).member
    token = await hands.take(item(member))
    given: dict[str, Any] = {"step": 1, "flags": FLAG_FOLLOW_UP, "due_ms": NOW + DAY_MS}
    follower = plan(**(given | fields))
    answer = await hands.settle(token, member, State.SENT, next_plans=(follower,))
    return member, answer.next_plans[0].member


@pytest.mark.parametrize("kind", [FeedbackKind.HARD_BOUNCED, FeedbackKind.SOFT_BOUNCED])
async def test_reminders_of_what_did_not_arrive_end(hands: Hands, kind: FeedbackKind) -> None:
    """d5, R48: the parent bounced."""
    member, reminder = await sent_with_reminder(hands)
    answer = await hear(hands, member, kind)
    assert answer == FeedbackAnswer(State.NOT_DELIVERED, True, (reminder,))
    assert await hands.state(reminder) == (State.CANCELLED, Reason.PARENT_NOT_DELIVERED)
    assert await hands.body(reminder) == b""


@pytest.mark.parametrize(
    "fields",
    [
        {"step": 0},
        {"flags": 0},
        {"rule_number": 2},
        {"channel_number": 2},
        {"medium": Medium.SMS},
    ],
)
async def test_what_is_no_reminder_of_it_stays(hands: Hands, fields: dict[str, Any]) -> None:
    """d5: another medium, rule or channel is another run."""
    member, other = await sent_with_reminder(hands, **fields)
    unrelated = (await hands.plan(step=1, flags=FLAG_FOLLOW_UP)).member
    assert (await hear(hands, member, FeedbackKind.HARD_BOUNCED)).ended == ()
    for one in (other, unrelated):
        assert (await hands.ref(one)).state == State.SCHEDULED


async def test_a_reminder_stays_when_the_message_arrived(hands: Hands) -> None:
    member, reminder = await sent_with_reminder(hands)
    for kind in (FeedbackKind.DELIVERED, FeedbackKind.OPENED, FeedbackKind.CLICKED):
        await hear(hands, member, kind)
    assert (await hands.ref(reminder)).state == State.SCHEDULED


async def test_suppressions_are_written_in_the_same_step(hands: Hands) -> None:
    """g10, R18: a complaint ends what waits on that medium, and names what is in flight."""
    member = await ended(hands)
    waiting = (await hands.plan()).member
    by_text = (await hands.plan(medium=Medium.SMS)).member
    flying = (await hands.plan()).member
    await hands.take(item(flying))
    lines = tuple(
        line(Suppression.COMPLAINED, purpose=purpose, time_ms=LATER + 99, document=b"why")
        for purpose in (Purpose.REVIEW, Purpose.MARKETING)
    )
    answer = await hear(hands, member, FeedbackKind.COMPLAINED, lines=lines)
    assert answer == FeedbackAnswer(State.SENT, True, (waiting,), (flying,))
    assert await hands.state(waiting) == (State.SKIPPED, Reason.SUPPRESSED)
    assert (await hands.ref(by_text)).state == State.SCHEDULED
    logged = await hands.log()
    assert [(one.number, one.purpose, one.time_ms, one.document) for one in logged] == [
        (1, Purpose.REVIEW, LATER, b"why"),
        (2, Purpose.MARKETING, LATER, b"why"),
    ]
    table = (await hands.record()).consents
    assert [(entry.status, entry.scope) for entry in table] == [
        (Suppression.COMPLAINED, ConsentScope.ACCOUNT)
    ] * 2
    assert (await hands.commit(plan(needs_consent=True))).plans[0].reason == Reason.SUPPRESSED


async def test_a_complaint_about_a_message_that_is_tried_again_ends_it(hands: Hands) -> None:
    """g10: it was evidently sent; whatever its state, the suppression is written."""
    member = (await hands.plan()).member
    lines = (line(Suppression.COMPLAINED),)
    answer = await hear(hands, member, FeedbackKind.COMPLAINED, lines=lines)
    assert answer == FeedbackAnswer(State.SKIPPED, True, (member,))


async def test_a_batch_is_heard_in_order(hands: Hands) -> None:
    """Of two of one kind the first counts, also within a call of more than a script takes."""
    member, other = await ended(hands), await ended(hands)
    batch = [Feedback(other, FeedbackKind.OPENED, NOW)] * 130 + [
        Feedback(member, FeedbackKind.DELIVERED, NOW),
        Feedback(member, FeedbackKind.DELIVERED, NOW),
        Feedback(member, FeedbackKind.HARD_BOUNCED, NOW),
    ]
    answers = await hands.store.record_feedback(hands.partition, batch, LATER)
    assert [answer.is_new for answer in answers] == [True, *[False] * 129, True, False, True]
    assert await hands.state(member) == BOUNCED


# --- counts -------------------------------------------------------------------------------------


async def test_channels_count_what_was_sent_and_what_was_heard(hands: Hands) -> None:
    """g6: by channel, medium and the day on which it happened."""
    first = await ended(hands)
    await ended(hands, channel_number=300, medium=Medium.SMS)
    await ended(hands, channel_number=300, medium=Medium.SMS)
    await ended(hands, State.FAILED)
    assert await counts(hands) == {
        (1, Medium.EMAIL): {"sent": 1, "complained": 0, "hard_bounced": 0},
        (300, Medium.SMS): {"sent": 2, "complained": 0, "hard_bounced": 0},
    }
    await hear(hands, first, FeedbackKind.COMPLAINED, now_ms=NOW + DAY_MS)
    await hear(hands, first, FeedbackKind.HARD_BOUNCED, now_ms=NOW + DAY_MS)
    assert await counts(hands, NOW // DAY_MS + 1) == {
        (1, Medium.EMAIL): {"sent": 0, "complained": 1, "hard_bounced": 1}
    }
    both = await counts(hands, NOW // DAY_MS, NOW // DAY_MS + 1)
    assert both[1, Medium.EMAIL] == {"sent": 1, "complained": 1, "hard_bounced": 1}
    assert await counts(hands, NOW // DAY_MS + 2) == {}


@pytest.mark.parametrize(
    ("kind", "sent"),
    [
        (FeedbackKind.RESOLVED_SENT, 1),
        (FeedbackKind.DELIVERED, 1),
        (FeedbackKind.HARD_BOUNCED, 1),
        (FeedbackKind.RESOLVED_NOT_SENT, 0),
    ],
)
async def test_an_unknown_outcome_counts_as_sent_when_it_is_known(
    hands: Hands, kind: FeedbackKind, sent: int
) -> None:
    """R48, B37: in the counts of channel and rule."""
    member = await ended(hands, State.UNKNOWN)
    await hear(hands, member, kind)
    await hear(hands, member, FeedbackKind.OPENED)
    assert (await counts(hands)).get((1, Medium.EMAIL), {}).get("sent", 0) == sent
    rules = (await hands.counters()).rules
    assert rules.get((1, RuleCount.SENT), 0) == rules.get((1, RuleCount.FIRST_SENT), 0) == sent


async def test_counts_of_channels_are_swept(hands: Hands) -> None:
    """g6: they are kept as long as anybody asks, and are no part of the law."""
    await ended(hands)
    for days, kept in ((CHANNEL_COUNT_DAYS, 1), (CHANNEL_COUNT_DAYS + 1, 0)):
        await hands.store.sweep(hands.partition, NOW + days * DAY_MS)
        assert len(await counts(hands)) == kept
    assert (await hands.counters()).ended == {SENT: 1}


async def test_events_are_counted_apart_from_channels(hands: Hands) -> None:
    """R6: what feedback counts is not taken for a disposition."""
    member = await ended(hands)
    await hear(hands, member, FeedbackKind.COMPLAINED)
    assert (await hands.counters()).events == {Disposition.PLANNED: 1}
