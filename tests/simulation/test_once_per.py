"""What makes two events one: ids, orders and the runs of a rule (R1, R2, R3, R5, E6)."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from core.errors import EventIdReused, InvalidField
from core.model import Cart, Contact, Disposition, Medium, Order, Purpose, Reason, State
from core.ports import Store
from core.registry.rule_parts import OncePer
from tests.support.automations import ANA, BEN, anonymous, automation, mail
from tests.support.shop import ACCOUNT, open_shop, review_rule

VISIT = {"event_type": "store_visit", "purpose": Purpose.TRANSACTIONAL}

ENTRIES = {
    "the same event": {},
    "another event of the order": {"id": "2"},
    "another order of the cart": {"id": "2", "order": "B"},
    "another cart": {"id": "2", "order": "B", "cart": Cart(id="c2")},
    "another contact": {"id": "2", "order": "B", "cart": Cart(id="c2"), "email": BEN},
}
"""The second entry, each less like the first."""
MAILS = {
    OncePer.EVENT: (1, 2, 2, 2, 2),
    OncePer.ORDER: (1, 1, 2, 2, 2),
    OncePer.CART: (1, 1, 1, 2, 2),
    OncePer.CONTACT: (1, 1, 1, 1, 2),
}
MATRIX = [
    (once_per, entry, mails[place])
    for once_per, mails in MAILS.items()
    for place, entry in enumerate(ENTRIES)
]


@pytest.mark.parametrize(("once_per", "entry", "mails"), MATRIX)
@pytest.mark.parametrize("at", ["2026-03-01 09:00", "2026-03-01 09:30", "2026-06-01 09:00"])
async def test_whoever_enters_again(
    store: Store, once_per: OncePer, entry: str, mails: int, at: str
) -> None:
    """pitfall: duplicate event and re-entry policy (R1): at once, while the first waits and long
    after it went; a second run is never stuck: it is sent, or ends DUPLICATE."""
    rule = automation("visit", once_per=once_per, steps=[mail(elapsed_ms=3_600_000)], **VISIT)
    async with open_shop(store, rules=[rule]) as shop:
        first = shop.event("store_visit", order="A", cart=Cart(id="c1"), id="1")
        (begun,) = await shop.publish(first)
        await shop.until(at)
        fields = {"order": "A", "cart": Cart(id="c1"), "id": "1", **ENTRIES[entry]}
        second = shop.event("store_visit", **fields) if ENTRIES[entry] else first  # type: ignore[arg-type]
        (answer,) = await shop.publish(second)
        assert (answer.members == begun.members) == (second is first)
        await shop.until("2026-09-01 00:00")
        assert len(shop.mails()) == mails
        ends = await shop.ends()
        assert ends.get((State.SKIPPED, Reason.DUPLICATE), 0) == (second is not first) + 1 - mails
        assert await shop.pending() == 0


async def test_without_an_order_or_cart_each_event_is_a_run(store: Store) -> None:
    """R1: there is nothing else that could be written about twice."""
    rules = [automation(f"per-{o.name.lower()}", once_per=o, **VISIT) for o in OncePer]
    async with open_shop(store, rules=rules) as shop:
        for n in range(2):
            event = shop.event("store_visit", id=str(n))
            await shop.publish(replace(event, order=None))
        await shop.until("2026-03-02 00:00")
        assert len(shop.mails()) == 3 * 2 + 1, "once for the contact"


async def test_the_same_order_is_asked_about_once(store: Store) -> None:
    """R2: by checkout and by delivery; the first planned takes the key."""
    rules = [review_rule(), review_rule(id="arrived", event_type="delivery")]
    async with open_shop(store, rules=rules) as shop:
        first, second = shop.event(order="1"), shop.event("delivery", order="1")
        second.consents = first.consents
        await shop.publish(first)
        await shop.publish(second)
        await shop.until("2026-04-30 00:00")
        assert [again for *_, again in shop.mails()] == [False, True]
        assert (await shop.ends())[State.SKIPPED, Reason.DUPLICATE] == 1


async def test_one_message_for_each_medium_and_step(store: Store) -> None:
    """R1: the key names both."""
    rule = automation(
        "visit", steps=[mail("a", Medium.EMAIL, Medium.SMS), mail("b", days=1)],
        once_per=OncePer.CONTACT, **VISIT,
    )  # fmt: skip
    async with open_shop(store, rules=[rule], media=[Medium.EMAIL, Medium.SMS]) as shop:
        known = Contact(email=ANA, phone="+34600000001")
        for n in range(2):
            await shop.publish(shop.event("store_visit", order=str(n), contact=known))
        await shop.until("2026-03-09 00:00")
        assert sorted(to for _, to, _ in shop.mails()) == ["+34600000001", ANA, ANA]


@pytest.mark.parametrize("kind", ["checkout", "order_created", "order_cancelled"])
async def test_orders_may_come_without_an_id(store: Store, kind: str) -> None:
    """R3: then type, channel and order are the id: again is a duplicate, another content a mistake."""
    async with open_shop(store, rules=[automation("told", event_type=kind)]) as shop:
        event = shop.event(kind, order="1", id="")
        await shop.publish(event)
        (again,) = await shop.publish(event)
        assert again.disposition == Disposition.DUPLICATE
        with pytest.raises(EventIdReused, match="another content"):
            await shop.publish(replace(event, locale="de_DE"))
        await shop.publish(replace(event, order=Order(reference="2")))
        outlet = await shop.add_channel("outlet", "told")
        await shop.publish(replace(event, channel=outlet))
        await shop.until("2026-03-02 00:00")
        assert len(shop.mails()) == 3


@pytest.mark.parametrize("kind", ["payment_received", "delivery", "refund", "cart_updated"])
async def test_all_other_events_need_an_id(store: Store, kind: str) -> None:
    """R3: its absence is refused, naming the field."""
    async with open_shop(store, rules=[automation("told", event_type=kind)]) as shop:
        (answer,) = await shop.engine.acceptor.accept(ACCOUNT, [shop.event(kind, id="")])
        assert isinstance(answer.error, InvalidField)
        assert answer.error.field == "event.id"


async def test_an_id_belongs_to_its_source(store: Store) -> None:
    """E6: the same id from another source is another event; with another contact it is a mistake."""
    async with open_shop(store, rules=[automation("visit", **VISIT)]) as shop:
        event = shop.event("store_visit", id="1")
        await shop.publish(event, replace(event, source="till"))
        with pytest.raises(EventIdReused):
            await shop.publish(replace(event, contact=Contact(email=BEN)))
        await shop.until("2026-03-02 00:00")
        assert len(shop.mails()) == 2


async def test_an_event_that_names_only_the_order_finds_its_contacts(store: Store) -> None:
    """R5, E7: by whichever contact the order was known, and whichever comes first."""
    async with open_shop(store, rules=[review_rule()]) as shop:
        await shop.publish(shop.event(order="1"), shop.event(order="2", contact=anonymous()))
        nobody = {"contact": Contact()}
        early = shop.event("order_cancelled", order="3", **nobody)
        (first, second, _) = await shop.publish(
            *(shop.event("order_cancelled", order=order, **nobody) for order in ("1", "2")), early
        )
        assert (first.stopped_count, second.stopped_count) == (1, 1)
        await shop.publish(shop.event(order="3"))
        await shop.until("2026-04-01 00:00")
        assert await shop.ends() == {(State.CANCELLED, Reason.ORDER_CANCELLED): 3}
