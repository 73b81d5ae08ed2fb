"""Somebody known by a session turns out to be somebody with an address (D21, R4)."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from msgspec.structs import replace

from core.bounds import HOUR_MS
from core.engine.consents import Statement
from core.engine.reach import Whom
from core.errors import StoreUnavailable
from core.model import Cart, Contact, Disposition, Event, Medium, Purpose, Reason, State
from core.partitions import partition_of
from core.ports import Store
from core.records import ContactRecord
from core.registry.rule_parts import OncePer
from tests.support.automations import (
    ANA,
    BEN,
    PURCHASE_STOPS,
    abandoned_cart,
    anonymous,
    automation,
    cart_event,
    first_purchase,
    frequent_buyer,
    mail,
    marketing,
    timer_count,
    win_back,
)
from tests.support.shop import ACCOUNT, Shop, open_shop, review_rule

ONE = [mail()]
LATER = [mail(elapsed_ms=2 * HOUR_MS)]
"""A mail that waits as an invitation after the cart's timer has run out."""


NUMBERS = itertools.count()


def identify(shop: Shop, email: str = ANA, session: str = "s1", **contact: str) -> Event:
    """Return the event that says who a session is."""
    known = Contact(email=email, session_id=session, **contact)
    return shop.event("identify", id=f"identify {next(NUMBERS)}", contact=known)


def left(shop: Shop, id: str = "e1", cart: str = "c1", **fields: object) -> Event:
    """Return a cart of the session."""
    return cart_event(shop, id, cart, contact=anonymous(), **fields)


async def record(shop: Shop, contact: Contact) -> ContactRecord:
    """Return what the store knows of a contact."""
    key = shop.engine.identity.contact_key(ACCOUNT, contact)
    partition = partition_of(key, shop.engine.store.meta.partition_count)
    return await shop.engine.store.contact(partition, key) or ContactRecord()


async def test_nobody_is_written_to_while_nobody_is_known(store: Store) -> None:
    """D21: SKIPPED(UNIDENTIFIED) when due, and what comes later revives nothing."""
    async with open_shop(store, rules=[abandoned_cart()]) as shop:
        await shop.publish(left(shop))
        await shop.until("2026-03-05 00:00")
        assert await shop.ends() == {(State.SKIPPED, Reason.UNIDENTIFIED): 1}
        await shop.publish(identify(shop))
        await shop.until("2026-03-09 00:00")
        assert (shop.mails(), await shop.pending()) == ([], 0)


@pytest.mark.parametrize("at", ["2026-03-01 09:30", "2026-03-01 11:30"])
async def test_a_cart_goes_over_and_is_mailed_about_once(store: Store, at: str) -> None:
    """D21: as a timer, and as an invitation that waits; when it would have been due."""
    async with open_shop(store, rules=[abandoned_cart(steps=LATER)]) as shop:
        await shop.publish(left(shop))
        await shop.until(at)
        await shop.publish(identify(shop))
        await shop.until("2026-03-09 00:00")
        assert shop.mails() == [("2026-03-01 12:00", ANA, False)]


async def test_identified_a_minute_before_it_is_due(store: Store) -> None:
    """D21: what goes over within the hour that is loaded is not late."""
    async with open_shop(store, rules=[abandoned_cart(steps=ONE)]) as shop:
        await shop.until("2026-03-01 09:10")
        await shop.publish(left(shop))
        for at in ("2026-03-01 10:05", "2026-03-01 10:09"):
            await shop.until(at)
        await shop.publish(identify(shop))
        await shop.until("2026-03-01 10:10")
        assert shop.mails() == [("2026-03-01 10:10", ANA, False)]


async def test_the_first_step_of_the_checkout_identifies_too(store: Store) -> None:
    """D21: any event with an e-mail and the session."""
    async with open_shop(store, rules=[abandoned_cart(steps=ONE)]) as shop:
        await shop.publish(left(shop))
        known = Contact(email=ANA, session_id="s1")
        await shop.publish(shop.event("checkout_started", contact=known))
        await shop.until("2026-03-09 00:00")
        assert len(shop.mails()) == 1


async def test_identified_again_nothing_more_happens(store: Store) -> None:
    """D21, d8: the same event, another of the same content, and a later one."""
    async with open_shop(store, rules=[abandoned_cart(steps=LATER)]) as shop:
        await shop.publish(left(shop))
        await shop.until("2026-03-01 11:30")
        first = identify(shop)
        for event in (first, first, replace(first, id="again"), identify(shop, ANA.upper())):
            await shop.publish(event)
            assert await shop.pending() == 1
        await shop.until("2026-03-09 00:00")
        await shop.publish(identify(shop))
        await shop.until("2026-04-09 00:00")
        assert len(shop.mails()) == 1


async def test_the_same_cart_on_both_sides_is_one_run(store: Store) -> None:
    """pitfall:merged-identity (R1): the newer change of the cart counts."""
    async with open_shop(store, rules=[abandoned_cart(steps=ONE)]) as shop:
        await shop.publish(left(shop))
        await shop.until("2026-03-01 09:30")
        await shop.publish(cart_event(shop, "e2", contact=Contact(email=ANA, session_id="s1")))
        await shop.until("2026-03-09 00:00")
        assert shop.mails() == [("2026-03-01 10:30", ANA, False)]


@pytest.mark.parametrize("once_per", [OncePer.CART, OncePer.CONTACT])
async def test_who_had_the_message_does_not_get_it_again(store: Store, once_per: OncePer) -> None:
    """pitfall:merged-identity (R1): once per cart and once per contact hold over the
    merge."""
    async with open_shop(store, rules=[abandoned_cart(steps=LATER, once_per=once_per)]) as shop:
        await shop.publish(cart_event(shop, "e1"))
        await shop.until("2026-03-01 12:00")
        assert len(shop.mails()) == 1
        await shop.publish(left(shop, "e2"))
        await shop.until("2026-03-01 13:30")
        await shop.publish(identify(shop))
        await shop.until("2026-03-09 00:00")
        assert len(shop.mails()) == 1
        assert (await shop.ends())[State.SKIPPED, Reason.DUPLICATE] == 1


@pytest.mark.parametrize("at", ["2026-03-01 09:30", "2026-03-01 11:30"])
@pytest.mark.parametrize("has_session", [True, False])
async def test_who_has_bought_gets_no_mail_about_the_session_s_cart(
    store: Store, at: str, has_session: bool
) -> None:
    """pitfall: cart mails after the purchase (D5, D21): the order names the session, or the session is
    identified after the order."""
    rule = abandoned_cart(steps=LATER, stops=PURCHASE_STOPS)
    async with open_shop(store, rules=[rule]) as shop:
        await shop.publish(left(shop))
        await shop.until(at)
        known = Contact(email=ANA, session_id="s1" if has_session else "")
        await shop.publish(shop.event(contact=known))
        await shop.publish(identify(shop))
        await shop.until("2026-03-09 00:00")
        assert (shop.mails(), await shop.pending()) == ([], 0)
        assert (State.SKIPPED, Reason.UNIDENTIFIED) not in await shop.ends()


async def test_an_order_of_the_session_s_cart_ends_it_by_the_cart(store: Store) -> None:
    """D5, D21: the identifying order stops what waited for the session, not only for its contact."""
    rule = abandoned_cart(steps=LATER, ends="by cart")
    async with open_shop(store, rules=[rule]) as shop:
        await shop.publish(left(shop), left(shop, "e2", "c2"))
        await shop.until("2026-03-01 11:30")
        known = Contact(email=ANA, session_id="s1")
        (answer,) = await shop.publish(shop.event(contact=known, cart=Cart(id="c1")))
        assert answer.disposition == Disposition.NO_MATCH
        await shop.until("2026-03-09 00:00")
        assert len(shop.mails()) == 1
        assert (await shop.ends())[State.CANCELLED, Reason.PURCHASED] == 1


async def test_evidence_of_the_session_counts_for_the_contact(store: Store) -> None:
    """D21, R17: for timers and for what waits; a no goes over as well."""
    rule = abandoned_cart(steps=LATER, purpose=Purpose.MARKETING)
    for at in ("2026-03-01 09:30", "2026-03-01 11:30"):
        async with open_shop(store if at.endswith("09:30") else None, rules=[rule]) as shop:
            await shop.publish(left(shop, consents=marketing(shop)))
            await shop.until(at)
            await shop.publish(identify(shop))
            await shop.until("2026-03-09 00:00")
            assert len(shop.mails()) == 1
    async with open_shop(rules=[rule]) as shop:
        await shop.publish(left(shop, consents=marketing(shop, given=False)))
        await shop.publish(identify(shop))
        await shop.until("2026-03-09 00:00")
        assert shop.mails() == []


async def test_a_withdrawal_of_the_contact_beats_the_session_s_evidence(store: Store) -> None:
    """R4, R17, B2: on a merge the stricter wins."""
    async with open_shop(
        store, rules=[abandoned_cart(steps=ONE, purpose=Purpose.MARKETING)]
    ) as shop:
        await shop.publish(left(shop, consents=marketing(shop)))
        await shop.until("2026-03-01 09:10")
        key = shop.engine.identity.contact_key(ACCOUNT, Contact(email=ANA))
        await shop.engine.consents.withdraw(
            ACCOUNT, Whom(key), Statement(Purpose.MARKETING, Medium.EMAIL)
        )
        await shop.until("2026-03-01 09:30")
        await shop.publish(identify(shop))
        await shop.until("2026-03-09 00:00")
        assert shop.mails() == []
        assert (await shop.ends())[State.SKIPPED, Reason.CONSENT_WITHDRAWN] == 1


async def test_later_events_of_the_session_are_the_contact_s(store: Store) -> None:
    """D21: an active session is enough to be reached, for as long as the alias is known."""
    async with open_shop(store, rules=[abandoned_cart(steps=ONE)]) as shop:
        await shop.publish(identify(shop))
        await shop.until("2026-03-02 09:00")
        (answer,) = await shop.publish(left(shop))
        assert answer.contact_key == shop.engine.identity.contact_key(ACCOUNT, Contact(email=ANA))
        await shop.until("2026-03-09 00:00")
        assert shop.mails() == [("2026-03-02 10:00", ANA, False)]


async def test_a_repeated_event_of_the_session_stays_the_same_event(store: Store) -> None:
    """E6, d8: what is added to it by then is not its content."""
    async with open_shop(store, rules=[abandoned_cart(steps=ONE)]) as shop:
        event = left(shop)
        await shop.publish(event)
        await shop.publish(identify(shop, first_name="Ana"))
        for _ in range(2):
            (answer,) = await shop.publish(event)
            assert answer.disposition == Disposition.DUPLICATE
        await shop.publish(identify(shop, first_name="Anna"))
        await shop.publish(event)
        await shop.until("2026-03-09 00:00")
        assert len(shop.mails()) == 1


async def test_how_a_contact_is_reached_is_forgotten_with_the_alias(store: Store) -> None:
    """D21: a year after the session was last heard of with an address; until then it is kept."""
    async with open_shop(store, rules=[abandoned_cart(steps=ONE)]) as shop:
        await shop.publish(identify(shop))
        assert await timer_count(shop) == 1
        for at in ("2026-08-01 00:00", "2026-09-01 00:00"):
            await shop.until(at)
            await shop.publish(identify(shop))
        assert await timer_count(shop) == 1
        await shop.until("2027-08-31 00:00")
        await shop.publish(left(shop))
        await shop.until("2027-10-01 00:00")
        assert [to for _, to, _ in shop.mails()] == [ANA]
        assert (await timer_count(shop), shop.engine.stats.round_errors) == (0, 0)
        await shop.publish(left(shop, "e2", "c2"))
        await shop.until("2027-11-01 00:00")
        assert len(shop.mails()) == 1


@pytest.mark.parametrize("alias", ["phone", "reference", "session_id"])
async def test_an_identify_event_links_phone_and_reference_too(store: Store, alias: str) -> None:
    """R4: what comes with the phone, the shop's reference or the session alone is the contact's."""
    told = {alias: "+34600000001"}
    async with open_shop(store, rules=[automation("hi", event_type="store_visit")]) as shop:
        await shop.publish(shop.event("identify", contact=Contact(email=ANA, **told)))
        await shop.publish(shop.event("store_visit", contact=Contact(**told)))
        await shop.until("2026-03-02 00:00")
        assert [to for _, to, _ in shop.mails()] == [ANA]


async def test_a_phone_alone_links_nobody(store: Store) -> None:
    """R4: two people with one phone are two; only an identify event says otherwise."""
    phone = "+34600000001"
    async with open_shop(store, rules=[automation("hi", event_type="store_visit")]) as shop:
        await shop.publish(
            *(
                shop.event("store_visit", email, contact=Contact(email=email, phone=phone))
                for email in (ANA, BEN)
            )
        )
        (answer,) = await shop.publish(shop.event("store_visit", contact=Contact(phone=phone)))
        keys = [shop.engine.identity.contact_key(ACCOUNT, Contact(email=e)) for e in (ANA, BEN)]
        assert answer.contact_key not in keys


async def test_a_session_that_changes_hands_goes_to_the_last(store: Store) -> None:
    """D21: whoever was identified last has it; what was Ana's stays hers."""
    async with open_shop(store, rules=[abandoned_cart(steps=LATER)]) as shop:
        await shop.publish(left(shop, "e1", "c1"))
        for minute, email in enumerate((ANA, BEN)):
            await shop.until(f"2026-03-01 09:0{minute}")
            await shop.publish(identify(shop, email))
        await shop.publish(left(shop, "e2", "c2"))
        await shop.until("2026-03-01 09:05")
        await shop.publish(identify(shop, ANA))
        await shop.publish(left(shop, "e3", "c3"))
        await shop.until("2026-03-09 00:00")
        assert sorted(to for _, to, _ in shop.mails()) == [ANA, ANA, BEN]


async def test_purchases_of_the_session_count_for_the_contact(store: Store) -> None:
    """D9, D12, R4: histories unite, each order once, with nothing waiting too."""
    async with open_shop(store, rules=[first_purchase(), frequent_buyer()]) as shop:
        await shop.publish(shop.event(order="0", email=ANA))
        await shop.publish(shop.event(order="1", contact=anonymous()))
        await shop.publish(identify(shop))
        await shop.publish(identify(shop))
        lines = (await record(shop, Contact(email=ANA))).history
        assert sum(line.kind == 1 for line in lines) == 2
        await shop.until("2026-03-02 09:00")
        await shop.publish(shop.event(order="2", email=ANA))
        await shop.until("2026-03-09 00:00")
        assert [(at, to) for at, to, _ in shop.mails()] == [
            ("2026-03-01 09:00", ANA), ("2026-03-02 09:00", ANA),
        ]  # fmt: skip


async def test_a_dormant_timer_goes_over_and_stays_one(store: Store) -> None:
    """D13, D21: the newer of the two sides counts."""
    async with open_shop(store, rules=[win_back(steps=ONE)]) as shop:
        await shop.publish(shop.event(order="1", email=ANA))
        await shop.until("2026-03-05 09:00")
        await shop.publish(shop.event(order="2", contact=anonymous()))
        await shop.publish(identify(shop))
        await shop.until("2026-12-31 00:00")
        assert shop.mails() == [("2026-05-04 09:00", ANA, False)]


async def test_a_repeated_event_is_about_whom_it_was_about(store: Store) -> None:
    """d8, E6: what was SKIPPED for the session does not go to the contact when it is told again."""
    async with open_shop(store, rules=[automation("hi", event_type="store_visit")]) as shop:
        event = shop.event("store_visit", contact=anonymous())
        await shop.publish(event)
        await shop.until("2026-03-02 00:00")
        await shop.publish(identify(shop))
        (answer,) = await shop.publish(event)
        assert answer.disposition == Disposition.DUPLICATE
        await shop.until("2026-03-03 00:00")
        assert await shop.ends() == {(State.SKIPPED, Reason.UNIDENTIFIED): 1}


async def test_a_review_request_goes_over(store: Store) -> None:
    """D21, A2: an order of a session; the consent of its checkout counts."""
    async with open_shop(store, rules=[review_rule()]) as shop:
        await shop.publish(shop.event(contact=anonymous()))
        await shop.until("2026-03-03 09:00")
        await shop.publish(identify(shop))
        await shop.until("2026-04-01 00:00")
        assert [(to, again) for _, to, again in shop.mails()] == [(ANA, False), (ANA, True)]


async def test_a_broken_hand_over_is_healed_by_the_same_event(store: Store) -> None:
    """d8, D21: the store goes away when the contact has it already and the session still has it."""
    async with open_shop(store, rules=[abandoned_cart(steps=LATER)]) as shop:
        await shop.publish(left(shop, "e1", "c1", consents=marketing(shop)))
        await shop.until("2026-03-01 10:30")
        await shop.publish(left(shop, "e2", "c2"))
        cancel, event = store.cancel, identify(shop)

        async def unreachable(*arguments: Any) -> Any:
            raise StoreUnavailable("gone for a moment")

        store.cancel = unreachable  # type: ignore[method-assign]
        with pytest.raises(StoreUnavailable):
            await shop.publish(event)
        store.cancel = cancel  # type: ignore[method-assign]
        assert await shop.pending() == 2, "on both sides"
        await shop.publish(event)
        assert (await shop.pending(), await timer_count(shop)) == (1, 2), "a cart, and the profile"
        await shop.until("2026-03-09 00:00")
        assert [(at, to) for at, to, _ in shop.mails()] == [
            ("2026-03-01 12:00", ANA), ("2026-03-01 13:30", ANA),
        ]  # fmt: skip


async def test_a_cancelled_order_stays_cancelled(store: Store) -> None:
    """E7, D21: cancelled by its reference alone, before it goes over and after it."""
    for first in ("cancel", "identify"):
        async with open_shop(store if first == "cancel" else None) as shop:
            await shop.publish(shop.event(contact=anonymous()))
            cancel = shop.event("order_cancelled", contact=Contact())
            for event in (
                (cancel, identify(shop)) if first == "cancel" else (identify(shop), cancel)
            ):
                await shop.publish(event)
            await shop.until("2026-04-01 00:00")
            assert shop.mails() == []


async def test_an_import_identifies_nobody(store: Store) -> None:
    """D9, D21: history changes nothing that waits."""
    async with open_shop(store, rules=[abandoned_cart(steps=ONE)]) as shop:
        await shop.publish(left(shop))
        await shop.publish(identify(shop, time_zone="Asia/Tokyo"), is_import=True)
        await shop.until("2026-03-09 00:00")
        assert shop.mails() == []


# --- the zone of a profile (d2) -----------------------------------------------------------------------


TOKYO = {"session": "", "time_zone": "Asia/Tokyo"}


async def test_a_profile_with_another_zone_moves_what_waits_once(store: Store) -> None:
    """d2, pitfall: endless rescheduling: told ten times it moves once, and goes out once."""
    async with open_shop(store) as shop:
        await shop.publish(shop.event())
        moved = []
        for n in range(10):
            before = await _lanes(shop)
            await shop.publish(replace(identify(shop, **TOKYO), id=str(n)))
            moved.append(await _lanes(shop) != before)
        assert moved == [True] + [False] * 9
        await shop.until("2026-03-09 00:00")
        assert [at for at, *_ in shop.mails()] == ["2026-03-08 01:00"], "10:00 in Tokyo"


async def test_there_and_back_again(store: Store) -> None:
    """d2: each change moves it; at home it is due as before."""
    async with open_shop(store) as shop:
        await shop.publish(shop.event())
        await shop.publish(identify(shop, **TOKYO))
        await shop.until("2026-03-02 09:00")
        await shop.publish(identify(shop, session="", time_zone="Europe/Madrid"))
        await shop.until("2026-03-09 00:00")
        assert [at for at, *_ in shop.mails()] == ["2026-03-08 09:00"]


async def test_a_zone_that_makes_it_late_sends_now_and_never_earlier(store: Store) -> None:
    """d2: due time passed there already: at once, monotone."""
    async with open_shop(store) as shop:
        await shop.publish(shop.event())
        await shop.until("2026-03-08 05:00")
        await shop.publish(identify(shop, **TOKYO))
        await shop.until("2026-03-08 05:01")
        assert [at for at, *_ in shop.mails()] == ["2026-03-08 05:00"]


async def test_what_goes_over_follows_the_zone_of_the_contact(store: Store) -> None:
    """d2, D21: identified and told the zone in one event."""
    rule = abandoned_cart(steps=[mail(days=1, time_of_day_ms=10 * HOUR_MS)])
    async with open_shop(store, rules=[rule]) as shop:
        await shop.publish(left(shop))
        await shop.until("2026-03-01 10:30")
        await shop.publish(identify(shop, time_zone="Asia/Tokyo"))
        await shop.until("2026-03-09 00:00")
        assert [at for at, *_ in shop.mails()] == ["2026-03-02 01:00"]


async def _lanes(shop: Shop) -> list[tuple[int, int]]:
    """Return (state, due) of all invitations of Ana."""
    refs = (await record(shop, Contact(email=ANA))).references
    return [(ref.state, ref.due_ms) for ref in refs]
