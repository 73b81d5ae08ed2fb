"""What is counted of hand-overs, and how a histogram reads it."""

from __future__ import annotations

from msgspec.structs import replace

from core.model import Medium
from core.sending import Delivery
from core.stats import OTHER, SENDERS_MAX, Histogram, Stats
from tests.letters import make_channel, make_letter

KIND = Delivery.Kind
ACCEPTED, REFUSED = Delivery(KIND.ACCEPTED), Delivery(KIND.REJECTED)


def test_a_span_lies_within_the_bound_that_it_reaches() -> None:
    told = Histogram((5, 10))
    for span_ms in (0, 5, 5.1, 10, 11, 1_000):
        told.add(span_ms)
    assert (told.counts, told.sum_ms) == ([2, 2, 2], 1_031.1)


def test_hand_overs_are_counted_by_sender_and_outcome() -> None:
    """Each letter of a call counts, with the time that the call took."""
    stats = Stats()
    channel = replace(make_channel(), senders={Medium.SMS: "twilio"})
    letters = [(make_letter(channel=channel, medium=Medium.SMS), b"")] * 3
    stats.count_hand_overs(letters, [ACCEPTED, REFUSED, ACCEPTED], 40_000_000)
    name = f"accounts/{channel.account}/senders/twilio"
    assert stats.hand_overs[Medium.SMS, name] == {KIND.ACCEPTED: 2, KIND.REJECTED: 1}
    spans = stats.hand_over_spans[Medium.SMS]
    assert (sum(spans.counts), spans.sum_ms) == (3, 120.0)
    assert not stats.hand_overs[Medium.SMS, "SMS"]
    stats.count_hand_overs([(make_letter(channel=channel), b"")], [ACCEPTED], 1)
    assert stats.hand_overs[Medium.EMAIL, "EMAIL"] == {KIND.ACCEPTED: 1}, "it names none for it"


def test_names_of_senders_are_bounded() -> None:
    """A sender that came too late for a name of its own is counted, and those that have one go on."""
    stats = Stats()
    for number in range(2 * SENDERS_MAX):
        channel = replace(make_channel(), senders={Medium.EMAIL: f"mail-{number}"})
        for _ in range(2):
            stats.count_hand_overs([(make_letter(channel=channel), b"")], [ACCEPTED], 1)
    assert len(stats.hand_overs) <= SENDERS_MAX + len(Medium)
    counts = {name: told[KIND.ACCEPTED] for (_, name), told in stats.hand_overs.items() if told}
    assert sum(counts.values()) == 4 * SENDERS_MAX
    others = counts.pop(OTHER)
    assert others == 4 * SENDERS_MAX - 2 * len(counts)
    assert set(counts.values()) == {2}
