"""Hours in the life of a shop: what falls due while a medium is closed, on both stores.

Madrid is an hour ahead of UTC until 29 March 2026, two hours after. 8 March 2026 is a Sunday.
"""

from __future__ import annotations

from typing import Any

import pytest

from core.bounds import DAY_MS, HOUR_MS, MINUTE_MS
from core.model import Address, Contact, Medium, Purpose, Reason, State, WaitReason
from core.ports import Store
from core.registry.resources import CapUnit, OnCap
from core.registry.rule_parts import MediumHours, OnClosed, Window
from tests.support.rules import change_channel, consents, follow_up, free_rule, step
from tests.support.shop import ACCOUNT, MADRID, ms, one_in_14_days, open_shop, review_rule

ANA = "ana@shop.example"
PHONE = "+34600000001"
NIGHT = Window(start_ms=22 * HOUR_MS, end_ms=6 * HOUR_MS)
BOTH = (Medium.EMAIL, Medium.SMS)


def mail_hours(*quiet: Window, **fields: Any) -> dict[str, Any]:
    return {"hours": (MediumHours(medium=Medium.EMAIL, quiet=quiet, **fields),)}


def after(hours: int, purpose: Purpose = Purpose.MARKETING, **fields: Any) -> Any:
    return free_rule("news", purpose, steps=[step(elapsed_ms=hours * HOUR_MS)], **fields)


@pytest.mark.parametrize(
    ("hours", "sent"),
    [
        # Published at 10:00 in Madrid.
        (11, "2026-03-01 20:00"),
        (12, "2026-03-02 05:00"),
        (14, "2026-03-02 05:00"),
        (19, "2026-03-02 05:00"),
        (20, "2026-03-02 05:00"),
        (21, "2026-03-02 06:00"),
    ],
)
async def test_a_night_is_held_to_its_end(store: Store, hours: int, sent: str) -> None:
    """d3, R36, C18, pitfall:overnight-window, pitfall:outside-schedule-dropped: 22-06 in Madrid is
    21-05 UTC; the start is inside, the end is not."""
    async with open_shop(store, rule=after(hours), **mail_hours(NIGHT)) as shop:
        await shop.publish(shop.event(consents=consents(shop, Purpose.MARKETING)))
        await shop.until("2026-03-03 00:00")
        assert [at for at, *_ in shop.mails()] == [sent]


@pytest.mark.parametrize("purpose", [Purpose.TRANSACTIONAL, Purpose.OPERATIONAL])
async def test_what_must_be_told_is_told_at_night(store: Store, purpose: Purpose) -> None:
    """R36, C18, d3."""
    async with open_shop(store, rule=after(14, purpose), **mail_hours(NIGHT)) as shop:
        await shop.publish(shop.event())
        await shop.until("2026-03-03 00:00")
        assert [at for at, *_ in shop.mails()] == ["2026-03-01 23:00"]


async def test_the_night_is_the_recipients(store: Store) -> None:
    """d3, d2: 22-06 in Tokyo ends at 21:00 UTC."""
    async with open_shop(store, rule=after(5), **mail_hours(NIGHT)) as shop:
        told = consents(shop, Purpose.MARKETING)
        contact = Contact(email=ANA, time_zone="Asia/Tokyo")
        await shop.publish(shop.event(contact=contact, consents=told))
        await shop.until("2026-03-03 00:00")
        assert [at for at, *_ in shop.mails()] == ["2026-03-01 21:00"]


async def test_open_on_weekdays_only(store: Store) -> None:
    """d3: due on Sunday 8 March at 10:00, open Monday to Friday from 8:00."""
    office = Window(8 * HOUR_MS, 18 * HOUR_MS, weekdays=(1, 2, 3, 4, 5))
    async with open_shop(store, **mail_hours(open=(office,))) as shop:
        (answer,) = await shop.publish(shop.event())
        view = await shop.engine.reader.get(ACCOUNT, answer.members[0])
        assert view.detail.first_due_ms == ms("2026-03-09 07:00")
        await shop.until("2026-03-10 00:00")
        assert [at for at, *_ in shop.mails()] == ["2026-03-09 07:00"]


@pytest.mark.parametrize(
    ("contact", "sent"),
    [
        # Due on Monday 6 April 2026, Easter Monday: a holiday in France, not in all of Spain.
        (Contact(email=ANA, country="FR"), "2026-04-06 22:00"),
        (Contact(email=ANA), "2026-04-06 08:00"),
    ],
)
async def test_holidays_are_those_of_the_recipients_country(
    store: Store, contact: Contact, sent: str
) -> None:
    """R36: else the channel's."""
    hours = mail_hours(closed_on_holidays=True)
    async with open_shop(store, start="2026-03-30 09:00", country="ES", **hours) as shop:
        await shop.publish(shop.event(contact=contact))
        await shop.until("2026-04-09 00:00")
        assert [at for at, *_ in shop.mails()] == [sent]


async def test_without_a_country_the_channels_holidays_count(store: Store) -> None:
    """R36: Good Friday 3 April 2026, then a closed date of the shop's own."""
    hours = mail_hours(closed_on_holidays=True)
    closed = ("2026-04-04",)
    async with open_shop(
        store, start="2026-03-27 09:00", country="ES", closed_dates=closed, **hours
    ) as shop:
        await shop.publish(shop.event())
        await shop.until("2026-04-09 00:00")
        assert [at for at, *_ in shop.mails()] == ["2026-04-04 22:00"]


async def test_a_closed_medium_may_skip(store: Store) -> None:
    """d3, R9: `on_closed` SKIP ends it, when it is due and not before."""
    hours = mail_hours(NIGHT, on_closed=OnClosed.SKIP)
    async with open_shop(store, rule=after(14), **hours) as shop:
        (answer,) = await shop.publish(shop.event(consents=consents(shop, Purpose.MARKETING)))
        await shop.until("2026-03-01 22:59")
        view = await shop.engine.reader.get(ACCOUNT, answer.members[0])
        assert view.reference.state == State.SCHEDULED
        await shop.until("2026-03-03 00:00")
        assert await shop.ends() == {(State.SKIPPED, Reason.QUIET_HOURS): 1}


async def test_consent_speaks_before_the_hours(store: Store) -> None:
    """R10: withdrawn by a later order event; in the night the reason is still the consent."""
    hours = mail_hours(NIGHT, on_closed=OnClosed.SKIP)
    async with open_shop(store, rule=after(14), **hours) as shop:
        await shop.publish(shop.event(consents=consents(shop, Purpose.MARKETING)))
        await shop.until("2026-03-01 10:00")
        no = consents(shop, Purpose.MARKETING, given=False)
        await shop.publish(shop.event("order_updated", consents=no))
        await shop.until("2026-03-03 00:00")
        assert await shop.ends() == {(State.SKIPPED, Reason.NO_CONSENT): 1}


async def test_without_an_opening_it_expires(store: Store) -> None:
    """d3, R30: closed for 14 days and more; known when it is planned."""
    never = MediumHours(
        medium=Medium.EMAIL, open=(Window(9 * HOUR_MS, 10 * HOUR_MS),), closed_on_holidays=True
    )
    closed = tuple(f"2026-03-{day:02}" for day in range(2, 32))
    async with open_shop(store, hours=(never,), closed_dates=closed) as shop:
        await shop.publish(shop.event())
        assert await shop.ends() == {(State.EXPIRED, Reason.NO_SLOT): 1}


async def test_closed_for_good_while_it_waited(store: Store) -> None:
    """d3, R30: the channel closes after the plan; at its due time there is no opening in 14 days."""
    async with open_shop(store) as shop:
        await shop.publish(shop.event())
        closed = tuple(f"2026-03-{day:02}" for day in range(2, 32))
        await change_channel(shop, closed_dates=closed, **mail_hours(closed_on_holidays=True))
        await shop.until("2026-03-09 00:00")
        assert await shop.ends() == {(State.EXPIRED, Reason.NO_SLOT): 1}


async def test_a_freed_cap_in_the_night_waits_for_the_morning_and_is_checked_again(
    store: Store,
) -> None:
    """R27, R25, d3: nothing is reserved meanwhile, so another may take the place."""
    # 9:30 to 11:30 in Madrid: the place that frees at 10:00 frees in quiet hours.
    quiet = Window(570 * MINUTE_MS, 690 * MINUTE_MS, weekdays=(2, 3, 4, 5, 6, 7))
    cap = one_in_14_days(
        purposes=[Purpose.MARKETING, Purpose.OPERATIONAL], window_ms=DAY_MS, on_cap=OnCap.DEFER,
        unit=CapUnit.MESSAGE,
    )  # fmt: skip
    rules = [after(0), free_rule("late", Purpose.OPERATIONAL, event_type="delivery")]
    async with open_shop(
        store, start="2026-03-02 09:00", rules=rules, caps=[cap], **mail_hours(quiet)
    ) as shop:
        told = consents(shop, Purpose.MARKETING)
        await shop.publish(shop.event(order="1", consents=told))
        await shop.engine.advance_to(shop.clock.now_ms())
        (held,) = await shop.publish(shop.event(order="2", consents=told))
        await shop.until("2026-03-03 09:00")
        view = await shop.engine.reader.get(ACCOUNT, held.members[0])
        assert (view.reference.wait, view.reference.due_ms) == (
            WaitReason.QUIET_HOURS,
            ms("2026-03-03 10:30"),
        )
        await shop.until("2026-03-03 10:00")
        # It obeys no hours, but counts.
        await shop.publish(shop.event("delivery", order="3"))
        await shop.until("2026-03-05 00:00")
        assert [at for at, *_ in shop.mails()] == [
            "2026-03-02 09:00", "2026-03-03 10:00", "2026-03-04 10:30",
        ]  # fmt: skip


async def test_lag_into_the_night_waits_for_the_morning(store: Store) -> None:
    """d3: due at 21:30 in Madrid, the daemon comes back at 23:00."""
    rule = review_rule(steps=[step("invite", days=1, time_of_day_ms=43 * HOUR_MS // 2)])
    async with open_shop(store, rule=rule, **mail_hours(NIGHT)) as shop:
        (answer,) = await shop.publish(shop.event())
        shop.clock.move_to_ms(ms("2026-03-02 22:00"))
        await shop.until("2026-03-02 22:00")
        assert shop.mails() == []
        view = await shop.engine.reader.get(ACCOUNT, answer.members[0])
        assert view.reference.wait == WaitReason.QUIET_HOURS
        assert shop.engine.stats.deferred == {WaitReason.QUIET_HOURS: 1}
        await shop.until("2026-03-04 00:00")
        assert [at for at, *_ in shop.mails()] == ["2026-03-03 05:00"]


async def test_hours_are_those_of_the_medium(store: Store) -> None:
    """R36: SMS has nights by default, 20-09; e-mail has none."""
    rule = free_rule("news", Purpose.MARKETING, steps=[step("s", *BOTH, elapsed_ms=11 * HOUR_MS)])
    async with open_shop(store, rule=rule, media=BOTH, start="2026-03-02 09:00") as shop:
        await shop.publish(
            shop.event(
                contact=Contact(email=ANA, phone=PHONE, country="PL"),
                consents=consents(shop, Purpose.MARKETING, *BOTH),
            )
        )
        await shop.until("2026-03-04 00:00")
        assert [(at, to) for at, to, _ in shop.mails()] == [
            ("2026-03-02 20:00", ANA),
            ("2026-03-03 08:00", PHONE),
        ]


async def test_where_only_the_country_is_known_all_its_clocks_must_agree(store: Store) -> None:
    """R36, d2: an SMS to the United States waits for Hawaii, one to New York for New York."""
    rule = free_rule("news", Purpose.MARKETING, steps=[step("s", Medium.SMS)])
    async with open_shop(store, rule=rule, media=BOTH, start="2026-03-03 14:30") as shop:
        told = consents(shop, Purpose.MARKETING, Medium.SMS)
        anywhere = Contact(phone="+12025550111", country="US")
        new_york = Contact(phone="+12125550112", country="US", address=Address(region="NY"))
        await shop.publish(
            shop.event(order="1", contact=anywhere, consents=told),
            shop.event(order="2", contact=new_york, consents=told),
        )
        await shop.until("2026-03-05 00:00")
        at = {to: at for at, to, _ in shop.mails()}
        assert at[new_york.phone] == "2026-03-03 14:30"
        assert at[anywhere.phone] > "2026-03-03 18:00"


async def test_a_reminder_keeps_hours_too(store: Store) -> None:
    """d5, R33: five days after the send is a Sunday."""
    sunday = Window(start_ms=0, end_ms=23 * HOUR_MS, weekdays=(7,))
    rule = review_rule(
        steps=[step("invite", days=3, time_of_day_ms=10 * HOUR_MS), follow_up("remind", days=4)]
    )
    async with open_shop(store, rule=rule, **mail_hours(sunday)) as shop:
        await shop.publish(shop.event())
        await shop.until("2026-03-20 00:00")
        # 4 March, and 8 March is the Sunday.
        assert [at for at, *_ in shop.mails()] == ["2026-03-04 09:00", "2026-03-08 22:00"]


async def test_hours_written_while_it_waits_hold(store: Store) -> None:
    """d3: all gates are asked again when it is due."""
    async with open_shop(store) as shop:
        await shop.publish(shop.event())
        await change_channel(shop, **mail_hours(Window(9 * HOUR_MS, 12 * HOUR_MS)))
        await shop.until("2026-03-09 00:00")
        assert [at for at, *_ in shop.mails()] == ["2026-03-08 11:00"]
        (view,) = [
            one
            for one in await shop.engine.reader.by_order(ACCOUNT, MADRID, "1")
            if one.reference.step == 0
        ]
        assert view.reference.state == State.SENT


async def test_what_is_told_late_at_night_waits_for_the_morning(store: Store) -> None:
    """d3, R30: due in the afternoon, accepted at night; the morning is its first due time."""
    async with open_shop(
        store, start="2026-03-02 23:00", rule=after(1), **mail_hours(NIGHT)
    ) as shop:
        told = consents(shop, Purpose.MARKETING)
        (answer,) = await shop.publish(shop.event(consents=told, at="2026-03-02 12:00"))
        view = await shop.engine.reader.get(ACCOUNT, answer.members[0])
        assert view.detail.first_due_ms == view.reference.due_ms == ms("2026-03-03 05:00")
        await shop.until("2026-03-04 00:00")
        assert [at for at, *_ in shop.mails()] == ["2026-03-03 05:00"]
