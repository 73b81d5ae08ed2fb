"""The sample reads as it is, and what it does not tell is always told the same."""

from __future__ import annotations

import datetime
import hashlib
import zoneinfo
from collections import Counter

import pytest

from control.demo import cdnow, story
from control.demo.cdnow import Purchase
from control.demo.replay import days, rounds


@pytest.fixture(scope="module")
def purchases() -> list[Purchase]:
    return cdnow.load()


@pytest.fixture(scope="module")
def happenings(purchases: list[Purchase]) -> list[story.Happening]:
    return story.tell(purchases)


def test_the_whole_sample_is_read(purchases: list[Purchase]) -> None:
    assert len(purchases) == 6_919
    assert len({purchase.customer for purchase in purchases}) == 2_357
    assert min(purchase.day for purchase in purchases) == datetime.date(1997, 1, 1)
    assert max(purchase.day for purchase in purchases) == datetime.date(1998, 6, 30)
    assert purchases[0] == Purchase(1, "0001", datetime.date(1997, 1, 1), 2, 2_933)
    assert purchases[-1].customer == "2357"


def test_full_duplicates_are_different_orders(purchases: list[Purchase]) -> None:
    written = Counter((p.customer, p.day, p.quantity, p.cents) for p in purchases)
    assert sum(count - 1 for count in written.values()) == 21
    assert [p.line for p in purchases] == list(range(1, 6_920))


def test_a_part_is_the_beginning_of_the_whole(purchases: list[Purchase]) -> None:
    assert cdnow.load(10) == purchases[:10]


@pytest.mark.parametrize(
    "line",
    [
        "00004 0001 19970101 2",
        "00004 0001 19971301 2 29.33",
        "00004 0001 19970101 two 29.33",
        "00004 0001 19970101 2 29",
        "00004 0001 19970101 2 29.3",
    ],
)
def test_a_line_that_is_no_purchase_is_named(line: str) -> None:
    with pytest.raises(ValueError, match="line 2"):
        cdnow.parse([" 00004 0001 19970101  2   29.33", line])


def test_no_two_events_have_the_same_id(happenings: list[story.Happening]) -> None:
    ids = {(happening.event.source, happening.event.id) for happening in happenings}
    assert len(ids) == len(happenings)


def test_the_story_is_always_the_same(happenings: list[story.Happening]) -> None:
    digest = hashlib.sha256()
    for happening in happenings:
        digest.update(happening.event.SerializeToString(deterministic=True))
    assert digest.hexdigest()[:16] == "9d2e7388d073fae1"


def test_the_shares_are_as_told(purchases: list[Purchase]) -> None:
    customers = sorted({purchase.customer for purchase in purchases})
    refusing = sum(not story.has_consented(customer) for customer in customers)
    assert refusing / len(customers) == pytest.approx(1 / 7, abs=0.02)
    madrid = sum(story.shop_of(customer).id == "madrid" for customer in customers)
    assert madrid / len(customers) == pytest.approx(1 / 2, abs=0.03)
    reviewed = sum(story.review_time(purchase) is not None for purchase in purchases)
    assert reviewed / len(purchases) == pytest.approx(1 / 4, abs=0.02)


def test_reviews_come_before_the_invitation_or_before_the_reminder(
    purchases: list[Purchase],
) -> None:
    gaps = Counter(
        (written.date() - purchase.day).days
        for purchase in purchases
        if (written := story.review_time(purchase)) is not None
    )
    assert set(gaps) == {2, 3, 4, 5, 8, 9, 10}
    early = sum(count for gap, count in gaps.items() if gap < 7)
    assert early / gaps.total() == pytest.approx(1 / 2, abs=0.05)


def test_orders_are_placed_in_the_day_of_their_shop(purchases: list[Purchase]) -> None:
    for purchase in purchases[::7]:
        placed = story.order_time(purchase)
        zone = zoneinfo.ZoneInfo(story.shop_of(purchase.customer).time_zone)
        assert placed.astimezone(zone).date() == purchase.day
        assert 8 <= placed.astimezone(zone).hour < 18


def test_parcels_are_told_of_before_their_messages_are_due(
    happenings: list[story.Happening],
) -> None:
    """They leave 1 or 2 days after the order; the day's end, UTC, is before 11:00 of the next day."""
    placed = {h.line: h for h in happenings if h.event.type == "checkout"}
    parcels = [h for h in happenings if h.event.type == "order_shipped"]
    assert len(parcels) / len(placed) == pytest.approx(1 / 6, abs=0.02)
    for parcel in parcels:
        shop = story.shop_of(parcel.customer)
        zone = zoneinfo.ZoneInfo(shop.time_zone)
        left = datetime.datetime.fromtimestamp(parcel.time_ms / 1_000, zone)
        ordered = datetime.datetime.fromtimestamp(placed[parcel.line].time_ms / 1_000, zone)
        assert (left.date() - ordered.date()).days in (1, 2)
        assert 12 <= left.hour < 18
        told_ms = (parcel.time_ms // 86_400_000 + 1) * 86_400_000
        told = datetime.datetime.fromtimestamp(told_ms / 1_000, zone)
        due_day = left.date() + datetime.timedelta(days=1)
        assert told < datetime.datetime.combine(due_day, datetime.time(11), zone)
        assert parcel.event.contact.phone == story.phone_of(parcel.customer) != ""


def test_no_two_customers_have_the_same_number(purchases: list[Purchase]) -> None:
    customers = {purchase.customer for purchase in purchases}
    phones = [phone for customer in customers if (phone := story.phone_of(customer))]
    assert len(phones) == len(set(phones))
    assert len(phones) / len(customers) == pytest.approx(1 / 6, abs=0.02)


def test_evidence_is_told_by_those_who_consented_only(happenings: list[story.Happening]) -> None:
    for happening in happenings:
        has_evidence = bool(happening.event.consents)
        is_order = happening.event.type == "checkout"
        assert has_evidence == (is_order and story.has_consented(happening.customer))


def test_days_end_after_their_events_and_keep_all_of_them(
    happenings: list[story.Happening],
) -> None:
    told = []
    for end_ms, day in days(happenings):
        assert all(0 < end_ms - happening.time_ms <= 86_400_000 for happening in day)
        for group in rounds(day):
            customers = [happening.customer for happening in group]
            assert len(customers) == len(set(customers))
        assert sorted(h.event.id for h in day) == sorted(
            h.event.id for group in rounds(day) for h in group
        )
        told += day
    assert told == happenings
