"""Phones that several contacts share (R4): suppressions and caps hold per number; on both stores."""

from __future__ import annotations

from typing import Any

from core.bounds import DAY_MS, HOUR_MS
from core.contact_ports import ConsentLine
from core.model import (
    ConsentScope,
    Contact,
    Event,
    Evidence,
    Medium,
    Purpose,
    Reason,
    Shipment,
    State,
    Suppression,
)
from core.partitions import partition_of
from core.ports import Store
from core.registry.resources import Cap, CapScope, Carrier
from core.registry.rule_parts import OnCap, Recipient
from core.sending import Delivery
from tests.support.rules import free_rule, step
from tests.support.shop import ACCOUNT, MADRID, Shop, ms, open_shop

SENT = (State.SENT, Reason.NONE)
PHONE = "+34600000001"
MEDIA = (Medium.EMAIL, Medium.SMS)


def sms_cap(**fields: Any) -> Cap:
    """Return a cap of one transactional SMS a day, which defers."""
    values: dict[str, Any] = {
        "id": "sms", "scope": CapScope.MEDIUM, "limit": 1, "window_ms": DAY_MS,
        "purposes": [Purpose.TRANSACTIONAL], "on_cap": OnCap.DEFER,
    }  # fmt: skip
    return Cap(account=ACCOUNT, **{**values, **fields})


def sms_rule(**fields: Any) -> Any:
    return free_rule("sms", **{"steps": [step("only", Medium.SMS)], **fields})


def member(shop: Shop, n: int, email: str | None = None, **fields: Any) -> Event:
    """Return a checkout of the n-th member of a household."""
    contact = Contact(email=f"m{n}@home.example" if email is None else email, phone=PHONE)
    return shop.event(order=str(n), contact=contact, **fields)


def phone_key(shop: Shop) -> bytes:
    return shop.engine.identity.contact_key(ACCOUNT, Contact(phone=PHONE))


async def suppress(shop: Shop, status: int) -> None:
    key = phone_key(shop)
    line = ConsentLine(
        scope=int(ConsentScope.ACCOUNT), purpose=0, medium=int(Medium.SMS), status=status,
        time_ms=shop.clock.now_ms(),
    )  # fmt: skip
    store = shop.engine.store
    partition = partition_of(key, store.meta.partition_count)
    await store.write_consents(partition, key, [line], shop.clock.now_ms())


async def attempts(shop: Shop, n: int) -> tuple[int, int]:
    (view,) = await shop.engine.reader.by_order(ACCOUNT, MADRID, str(n))
    return view.reference.state, view.reference.attempts


async def test_a_cap_of_a_medium_counts_per_number_too(store: Store) -> None:
    """R4, R27: one SMS a day to the number, whoever it is meant for; exact, and no attempt used up."""
    async with open_shop(store, rule=sms_rule(), caps=[sms_cap()], media=MEDIA) as shop:
        await shop.publish(*(member(shop, n) for n in range(4)))
        start_ms = shop.clock.now_ms()
        await shop.engine.advance_to(start_ms)
        assert len(shop.post.sent) == 1
        waiting = [await attempts(shop, n) for n in range(4)]
        assert sorted(waiting) == [(State.SCHEDULED, 0)] * 3 + [(State.SENT, 1)]
        await shop.until("2026-03-04 08:59")
        assert [at - start_ms for at, *_ in shop.post.sent] == [0, DAY_MS, 2 * DAY_MS]
        assert shop.engine.stats.round_errors == 0


async def test_a_contact_known_by_the_number_alone_shares_its_ledger(store: Store) -> None:
    """R4."""
    async with open_shop(store, rule=sms_rule(), caps=[sms_cap()], media=MEDIA) as shop:
        await shop.publish(shop.event(order="0", contact=Contact(phone=PHONE)))
        await shop.engine.advance_to(shop.clock.now_ms())
        await shop.publish(member(shop, 1))
        await shop.engine.advance_to(shop.clock.now_ms())
        assert len(shop.post.sent) == 1
        await shop.until("2026-03-03 00:00")
        assert len(shop.post.sent) == 2


async def test_a_cap_of_the_account_counts_per_contact_only(store: Store) -> None:
    """R4: only each medium's cap counts per address: two people of a household are two contacts."""
    caps = [sms_cap(scope=CapScope.ACCOUNT)]
    async with open_shop(store, rule=sms_rule(), caps=caps, media=MEDIA) as shop:
        await shop.publish(member(shop, 0), member(shop, 1))
        await shop.engine.advance_to(shop.clock.now_ms())
        assert len(shop.post.sent) == 2


async def test_a_cap_with_chosen_media_counts_per_number_too(store: Store) -> None:
    caps = [sms_cap(scope=CapScope.ACCOUNT, media=[Medium.SMS], on_cap=OnCap.SKIP)]
    async with open_shop(store, rule=sms_rule(), caps=caps, media=MEDIA) as shop:
        await shop.publish(member(shop, 0), member(shop, 1))
        await shop.engine.advance_to(shop.clock.now_ms())
        assert await shop.ends() == {SENT: 1, (State.SKIPPED, Reason.CAPPED): 1}


async def test_mails_of_a_household_are_not_counted_together(store: Store) -> None:
    rule = free_rule("mail")
    async with open_shop(store, rule=rule, caps=[sms_cap()], media=MEDIA) as shop:
        await shop.publish(member(shop, 0), member(shop, 1))
        await shop.engine.advance_to(shop.clock.now_ms())
        assert len(shop.post.sent) == 2


async def test_a_suppressed_number_gets_nothing_from_anybody(store: Store) -> None:
    """R4, R18: and what the contact's own caps had reserved is given back."""
    async with open_shop(store, rule=sms_rule(), caps=[sms_cap()], media=MEDIA) as shop:
        await suppress(shop, int(Suppression.BLOCKED))
        await shop.publish(member(shop, 0))
        await shop.engine.advance_to(shop.clock.now_ms())
        assert shop.post.sent == []
        assert await shop.ends() == {(State.SKIPPED, Reason.SUPPRESSED): 1}
        key = shop.engine.identity.contact_key(ACCOUNT, Contact(email="m0@home.example"))
        partition = partition_of(key, store.meta.partition_count)
        record = await store.contact(partition, key)
        assert record is not None
        assert record.stamps == []


async def test_a_number_that_unsubscribed_says_so(store: Store) -> None:
    async with open_shop(store, rule=sms_rule(), media=MEDIA) as shop:
        await suppress(shop, int(Suppression.UNSUBSCRIBED))
        await shop.publish(member(shop, 0))
        await shop.engine.advance_to(shop.clock.now_ms())
        assert await shop.ends() == {(State.SKIPPED, Reason.UNSUBSCRIBED): 1}


async def test_what_cannot_wait_for_the_number_expires(store: Store) -> None:
    """R30: EXPIRED (NO_SLOT)."""
    rule = sms_rule(expire_after_ms=HOUR_MS)
    async with open_shop(store, rule=rule, caps=[sms_cap()], media=MEDIA) as shop:
        await shop.publish(member(shop, 0), member(shop, 1))
        await shop.engine.advance_to(shop.clock.now_ms())
        assert await shop.ends() == {SENT: 1, (State.EXPIRED, Reason.NO_SLOT): 1}


async def test_what_certainly_did_not_go_frees_the_number(store: Store) -> None:
    """R25: the reservation of a message that was not handed over is returned there, too."""
    async with open_shop(store, rule=sms_rule(), caps=[sms_cap()], media=MEDIA) as shop:
        shop.post.answers[PHONE] = [Delivery(Delivery.Kind.FAILED, "no", 0, False)]
        await shop.publish(member(shop, 0))
        await shop.engine.advance_to(shop.clock.now_ms())
        await shop.publish(member(shop, 1))
        await shop.engine.advance_to(shop.clock.now_ms())
        assert len(shop.post.sent) == 1


async def test_what_is_tried_again_passes_by_its_own_reservation(store: Store) -> None:
    """E9: handed over with unknown outcome, tried again within the window."""
    async with open_shop(store, rule=sms_rule(), caps=[sms_cap()], media=MEDIA) as shop:
        shop.post.answers[PHONE] = [Delivery(Delivery.Kind.UNKNOWN, "lost", 0, True)]
        await shop.publish(member(shop, 0))
        await shop.until("2026-03-01 10:00")
        assert await shop.ends() == {SENT: 1}
        assert len(shop.post.sent) == 2


async def test_a_carriers_number_is_nobodys_address(store: Store) -> None:
    """R49: suppressions of a contact do not hold for a carrier."""
    to_carrier = step("only", Medium.SMS)
    to_carrier.actions[0].recipient = Recipient.CARRIER
    rule = free_rule(
        "carrier", Purpose.OPERATIONAL, steps=[to_carrier], event_type="shipment_delayed"
    )
    async with open_shop(store, rule=rule, media=MEDIA) as shop:
        await shop.registry.create_carrier(Carrier(account=ACCOUNT, id="dhl", phone=PHONE))
        await suppress(shop, int(Suppression.BLOCKED))
        event = shop.event("shipment_delayed")
        event.shipment = Shipment(carrier="dhl")
        await shop.publish(event)
        await shop.engine.advance_to(shop.clock.now_ms())
        assert [to for _, to, *_ in shop.post.sent] == [PHONE]


async def test_marketing_over_a_shared_number_obeys_hours_after_a_deferral(store: Store) -> None:
    """R27: what the number defers honours quiet hours where it falls due."""
    consents = [Evidence(Purpose.MARKETING, Medium.SMS, True, ms("2026-03-02 18:00"))]
    cap = sms_cap(purposes=[Purpose.MARKETING], window_ms=4 * HOUR_MS)
    rule = sms_rule(purpose=Purpose.MARKETING)
    async with open_shop(
        store, rule=rule, caps=[cap], media=MEDIA, start="2026-03-02 18:00"
    ) as shop:
        await shop.publish(*(member(shop, n, consents=consents) for n in range(2)))
        await shop.until("2026-03-03 12:00")
        first, second = shop.mails()
        assert first[0] == "2026-03-02 18:00"
        # Free at 22:00 UTC, 23:00 in Madrid: quiet.
        assert second[0].startswith("2026-03-03 0")
