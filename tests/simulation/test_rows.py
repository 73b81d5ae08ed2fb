"""Rows of tests/requirements/rows.toml that are proved by a season of a shop, on both stores."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from control.cel_frontend import ConditionFrontend
from core.bounds import HOUR_MS, MINUTE_MS
from core.engine.consents import Statement
from core.engine.engine import Engine
from core.engine.reach import Whom
from core.errors import FailedPrecondition, InvalidField
from core.model import (
    Contact,
    Disposition,
    Event,
    Evidence,
    Family,
    Item,
    LegalBasis,
    Medium,
    Money,
    Order,
    Purpose,
    Reason,
    Review,
    Shipment,
    State,
)
from core.ports import Store
from core.registry.resources import Channel, ConsentMode, Rule
from core.registry.rule_parts import Action, EmailSender, Step, Wait, WaitBase
from senders.postbox import Postbox
from tests.support.configuration import with_texts
from tests.support.shop import ACCOUNT, MADRID, Shop, ms, one_in_14_days, open_shop, review_rule

ANA, BEN = "ana@shop.example", "ben@shop.example"
TEN = 10 * HOUR_MS
FRONTEND = ConditionFrontend()


def step(id: str = "only", *media: Medium, **wait: Any) -> Step:
    actions = [Action(medium=medium) for medium in media or (Medium.EMAIL,)]
    return Step(id=id, wait=Wait(**(wait or {"elapsed_ms": 0})), actions=actions)


def free_rule(id: str, purpose: Purpose = Purpose.TRANSACTIONAL, **fields: Any) -> Rule:
    values: dict[str, Any] = {
        "id": id, "family": Family.AUTOMATION, "purpose": purpose, "steps": [step()],
        "stop_when": [],
    }  # fmt: skip
    return with_texts(review_rule(**{**values, **fields}))


def product_rule(**fields: Any) -> Rule:
    steps = [
        step("invite", days=12, time_of_day_ms=18 * HOUR_MS),
        step("remind", days=3, base=WaitBase.PREVIOUS_STEP_SENT),
    ]
    values: dict[str, Any] = {"id": "products", "family": Family.PRODUCT_REVIEW, "steps": steps}
    return review_rule(**{**values, **fields})


async def switch_on(shop: Shop, *rules: Rule, channel: str = "madrid") -> None:
    for rule in rules:
        await shop.registry.create_rule(rule)
        await shop.registry.activate(ACCOUNT, rule.id, channel, "test")


async def switch_type(shop: Shop, id: str, active: bool) -> None:
    kind = shop.registry.snapshot.event_type(ACCOUNT, id)
    assert kind is not None
    kind = msgspec.structs.replace(kind, active=active)
    await shop.registry.update_event_type(kind)


def consents(shop: Shop, *purposes: Purpose, medium: Medium = Medium.EMAIL) -> list[Evidence]:
    return [Evidence(purpose, medium, True, shop.clock.now_ms()) for purpose in purposes]


# --- events and rules -------------------------------------------------------------------------------


async def test_each_event_type_has_its_own_wait(store: Store) -> None:
    """A6, A8, B8: two service rules, one on each type, side by side."""
    async with open_shop(store) as shop:
        await switch_on(
            shop, review_rule(id="arrived", event_type="delivery", steps=[step(days=2)])
        )
        await shop.publish(
            shop.event(order="1"),
            shop.event("delivery", order="2", email=BEN, consents=consents(shop, Purpose.REVIEW)),
        )
        await shop.until("2026-03-09 00:00")
        assert shop.mails() == [("2026-03-03 09:00", BEN, False), ("2026-03-08 09:00", ANA, False)]


async def test_a_return_ends_what_waits_and_sets_off_its_own(store: Store) -> None:
    """A9, R39: the request about the returned order is cancelled, the return's message goes."""
    async with open_shop(store) as shop:
        await switch_on(shop, free_rule("returned", event_type="return"))
        await shop.publish(shop.event(order="1"), shop.event(order="2"))
        (answer,) = await shop.publish(shop.event("return", order="1"))
        assert (answer.disposition, answer.stopped_count) == (Disposition.PLANNED, 1)
        await shop.until("2026-03-09 00:00")
        assert [at for at, *_ in shop.mails()] == ["2026-03-01 09:00", "2026-03-08 09:00"]
        assert (await shop.ends())[State.CANCELLED, Reason.RETURNED] == 1


async def test_a_type_switched_off_plans_nothing_and_holds_what_waits(store: Store) -> None:
    """A11, R15, h4: looked at when due; on again in time, nothing is lost."""
    async with open_shop(store) as shop:
        await shop.publish(shop.event(order="1"))
        await switch_type(shop, "checkout", False)
        (answer,) = await shop.publish(shop.event(order="2"))
        assert (answer.disposition, answer.members) == (Disposition.INACTIVE, ())
        await shop.until("2026-03-02 09:00")
        await switch_type(shop, "checkout", True)
        await shop.publish(shop.event(order="3", email=BEN))
        await shop.until("2026-03-08 12:00")
        assert shop.mails() == [("2026-03-08 09:00", ANA, False)]
        await switch_type(shop, "checkout", False)
        await shop.until("2026-03-20 00:00")
        assert len(shop.mails()) == 1
        ends = await shop.ends()
        assert ends[State.CANCELLED, Reason.EVENT_TYPE_INACTIVE] == 2, "the request, the reminder"


async def test_what_happened_before_the_activation_starts_nothing(store: Store) -> None:
    """D15, A12, A27, B40: no back-fill."""
    async with open_shop(store) as shop:
        await shop.registry.create_rule(free_rule("thanks"))
        await shop.registry.deactivate(ACCOUNT, "ask", "madrid", "test")
        (before,) = await shop.publish(shop.event(order="1"))
        assert before.disposition == Disposition.NO_MATCH
        await shop.registry.activate(ACCOUNT, "thanks", "madrid", "test")
        await shop.until("2026-03-02 00:00")
        assert shop.mails() == []
        (after,) = await shop.publish(shop.event(order="2", email=BEN))
        assert len(after.members) == 1
        await shop.until("2026-03-03 00:00")
        assert [to for _, to, _ in shop.mails()] == [BEN]


async def test_several_waits_after_one_event(store: Store) -> None:
    """C4, C20, D14, R1, h1: 20, 30 and 40 days after the delivery, as steps and as rules."""
    async with open_shop(store) as shop:
        await switch_on(
            shop,
            *(free_rule(f"d{n}", event_type="delivery", steps=[step(days=n)]) for n in (20, 30)),
            free_rule(
                "all",
                event_type="delivery",
                steps=[step("one", days=40), step("two", elapsed_ms=50 * HOUR_MS)],
            ),
        )
        await shop.publish(shop.event("delivery"))
        await shop.until("2026-05-30 00:00")
        assert [at for at, *_ in shop.mails()] == [
            "2026-03-03 11:00", "2026-03-21 09:00", "2026-03-31 09:00", "2026-04-10 09:00",
        ]  # fmt: skip


async def test_a_deleted_rule_ends_what_waits_and_its_history_stays(store: Store) -> None:
    """D19, d7."""
    async with open_shop(store) as shop:
        await shop.publish(shop.event(order="1"))
        await shop.until("2026-03-09 00:00")
        await shop.publish(shop.event(order="2"))
        await shop.registry.deactivate(ACCOUNT, "ask", "madrid", "test")
        await shop.registry.delete_rule(ACCOUNT, "ask")
        await shop.until("2026-04-30 00:00")
        assert len(shop.mails()) == 1
        assert await shop.ends() == {
            (State.SENT, 0): 1,
            (State.CANCELLED, Reason.RULE_DELETED): 2,
        }
        (sent, *_) = await shop.engine.reader.by_order(ACCOUNT, MADRID, "1")
        assert (sent.reference.state, sent.detail.rule) == (State.SENT, "ask")
        told = await shop.engine.explainer.invitation(ACCOUNT, sent.member)
        assert told.summary.startswith("sent 2026-03-08")


@pytest.mark.parametrize(("told", "count"), [(None, 1), (False, 0)])
async def test_a_shop_may_attest_consent_but_a_no_is_a_no(
    store: Store, told: bool | None, count: int
) -> None:
    """R20."""
    async with open_shop(store, consent_mode=ConsentMode.SHOP_ATTESTS) as shop:
        await shop.publish(shop.event(consent=told))
        await shop.until("2026-03-09 00:00")
        assert len(shop.mails()) == count


@pytest.mark.parametrize("attests", [True, False])
async def test_r18_no_receipt_and_no_being_a_customer_ends_a_withdrawal(
    store: Store, attests: bool
) -> None:
    """R18, R20, g4: a later ticked box does; nobody has ticked these."""
    mode = ConsentMode.SHOP_ATTESTS if attests else ConsentMode.REQUIRE_EVIDENCE

    async with open_shop(store, consent_mode=mode) as shop:

        def buys(order: str, basis: LegalBasis) -> Event:
            one = Evidence(Purpose.REVIEW, Medium.EMAIL, True, legal_basis=basis)
            is_told = basis is LegalBasis.CONSENT or not attests
            return shop.event(order=order, consents=[one] if is_told else [])

        await shop.publish(buys("1", LegalBasis.EXISTING_CUSTOMER))
        await shop.until("2026-03-09 00:00")
        assert len(shop.mails()) == 1
        said, whom = Statement(Purpose.REVIEW, Medium.EMAIL), Whom(contact=Contact(email=ANA))
        await shop.engine.consents.withdraw(ACCOUNT, whom, said)
        await shop.until("2026-03-10 00:00")
        await shop.publish(buys("2", LegalBasis.EXISTING_CUSTOMER))
        await shop.until("2026-03-20 00:00")
        assert len(shop.mails()) == 1
        await shop.publish(buys("3", LegalBasis.CONSENT))
        await shop.until("2026-03-30 00:00")
        assert len(shop.mails()) == 2


async def test_r17_a_no_at_the_checkout_stands_when_the_delivery_is_attested(store: Store) -> None:
    """R17, R20: a no for the order, whichever event asks."""
    rule = review_rule(event_type="delivery")
    async with open_shop(store, rule=rule, consent_mode=ConsentMode.SHOP_ATTESTS) as shop:
        await shop.publish(shop.event(consent=False))
        await shop.publish(shop.event("delivery", consent=None))
        await shop.publish(shop.event("delivery", order="2", consent=None))
        await shop.until("2026-03-09 00:00")
        assert len(shop.mails()) == 1


# --- conditions -------------------------------------------------------------------------------------


CASES: list[tuple[str, dict[str, Any]]] = [
    ("order.amount > 100.0 && order.currency == 'EUR'",
     {"order": Order("o", total=Money("EUR", 120))}),
    ("contact.country == 'ES'", {"contact": Contact(email=ANA, country="ES")}),
    ("shipment.method == 'express'", {"shipment": Shipment(method="express")}),
    ("order.items.exists(i, i.category == 'consumable')",
     {"order": Order("o", items=[Item(category="shoe"), Item(category="consumable")])}),
    ("order.items.size() > 0 && order.items.all(i, i.quantity >= 2)",
     {"order": Order("o", items=[Item(quantity=2), Item(quantity=3)])}),
    ("event.attributes.vip == true", {"attributes": {"vip": True}}),
]  # fmt: skip


@pytest.mark.parametrize(("source", "fields"), CASES, ids=[source for source, _ in CASES])
async def test_event_and_condition_must_both_hold(
    store: Store, source: str, fields: dict[str, Any]
) -> None:
    """C1, C3, C6, C12, C13, R42: what is missing is false."""
    rule = free_rule(
        "thanks", Purpose.MARKETING, condition=FRONTEND.compile(source, Family.AUTOMATION)
    )
    async with open_shop(store) as shop:
        await shop.registry.deactivate(ACCOUNT, "ask", "madrid", "test")
        await switch_on(shop, rule)
        told = {"consents": consents(shop, Purpose.MARKETING)}
        plain = shop.event(id="1", order="o", **told)
        events = (
            plain,
            msgspec.structs.replace(plain, id="2", **fields),
            msgspec.structs.replace(plain, id="3", type="delivery", **fields),
        )
        answers = [(await shop.publish(event))[0].disposition for event in events]
        assert answers == [Disposition.NO_MATCH, Disposition.PLANNED, Disposition.NO_MATCH]
        await shop.until("2026-03-02 00:00")
        assert len(shop.mails()) == 1


@pytest.mark.parametrize("type", ["payment_received", "order_shipped"])
async def test_what_must_be_told_needs_no_consent_and_no_room(store: Store, type: str) -> None:
    """D7, D8, C18: transactional messages ask no consent and no cap of others, unless told to."""
    blocked = one_in_14_days(limit=0, purposes=[])
    async with open_shop(store, caps=[blocked]) as shop:
        await switch_on(shop, free_rule("tell", event_type=type))
        await shop.publish(shop.event(type))
        await shop.engine.advance_to(shop.clock.now_ms())
        assert shop.mails() == [("2026-03-01 09:00", ANA, False)]


async def test_marketing_needs_its_own_consent_and_obeys_caps(store: Store) -> None:
    """C6, R16: consent to review requests is no consent to marketing."""
    cap = one_in_14_days(purposes=[Purpose.MARKETING])
    async with open_shop(store, caps=[cap]) as shop:
        await shop.registry.deactivate(ACCOUNT, "ask", "madrid", "test")
        await switch_on(shop, free_rule("thanks", Purpose.MARKETING))
        await shop.publish(shop.event(order="1"))
        assert await shop.ends() == {(State.SKIPPED, Reason.NO_CONSENT): 1}
        for order in "23":
            await shop.publish(shop.event(order=order, consents=consents(shop, Purpose.MARKETING)))
            await shop.engine.advance_to(shop.clock.now_ms())
        assert await shop.ends() == {
            (State.SKIPPED, Reason.NO_CONSENT): 1,
            (State.SENT, 0): 1,
            (State.SKIPPED, Reason.CAPPED): 1,
        }


# --- channels and media -----------------------------------------------------------------------------


async def open_lisbon(shop: Shop) -> str:
    created = await shop.registry.create_channel(
        Channel(
            account=ACCOUNT, id="lisbon", display_name="Loja", time_zone="Europe/Lisbon",
            locale="pt_PT", email_sender=EmailSender("ola@shop.example"),
        )
    )  # fmt: skip
    return created.name


async def test_one_recipient_is_asked_once_over_all_channels(store: Store) -> None:
    """A26, A30, A31, B43: one rule on both channels, one cap over both."""
    async with open_shop(store, caps=[one_in_14_days()]) as shop:
        lisbon = await open_lisbon(shop)
        await shop.registry.activate(ACCOUNT, "ask", "lisbon", "test")
        await shop.publish(shop.event(order="1"), shop.event(order="2", id="other", channel=lisbon))
        await shop.until("2026-03-30 00:00")
        firsts = [at for at, _, again in shop.mails() if not again]
        assert firsts == ["2026-03-08 09:00", "2026-03-22 09:00"]


async def test_channels_have_settings_of_their_own(store: Store) -> None:
    """A24, A26, B6, B12: another rule on the other channel, in its own zone."""
    async with open_shop(store) as shop:
        lisbon = await open_lisbon(shop)
        await switch_on(
            shop,
            review_rule(id="soon", steps=[step(days=1, time_of_day_ms=TEN)]),
            channel="lisbon",
        )
        await shop.publish(shop.event(order="1"), shop.event(order="2", email=BEN, channel=lisbon))
        await shop.until("2026-03-09 00:00")
        assert shop.mails() == [("2026-03-02 10:00", BEN, False), ("2026-03-08 09:00", ANA, False)]


async def test_each_medium_is_a_message_of_its_own(store: Store) -> None:
    """C14, C17, R46: with a phone only, the e-mail is skipped and the text message goes."""
    rule = review_rule(steps=[step("only", Medium.EMAIL, Medium.SMS)])
    async with open_shop(store, rule=rule) as shop:
        await shop.engine.stop()
        postbox = Postbox({Medium.EMAIL: shop.post, Medium.SMS: shop.post})
        shop.engine = Engine(store, shop.registry, postbox, shop.clock)
        await shop.engine.start()
        told = consents(shop, Purpose.REVIEW)
        told += consents(shop, Purpose.REVIEW, medium=Medium.SMS)
        phone = "+34600000001"
        (answer,) = await shop.publish(shop.event(consents=told, contact=Contact(phone=phone)))
        assert len(answer.members) == 2
        await shop.until("2026-03-12 00:00")
        assert [to for _, to, _ in shop.mails()] == [phone]
        assert await shop.ends() == {
            (State.SENT, 0): 1,
            (State.SKIPPED, Reason.NO_RECIPIENT): 1,
        }


async def test_a_medium_without_transport_is_skipped(store: Store) -> None:
    """C15, R9."""
    async with open_shop(store, rule=free_rule("tell", steps=[step("s", Medium.WHATSAPP)])) as shop:
        await shop.publish(shop.event(contact=Contact(email=ANA, phone="+34600000001")))
        await shop.until("2026-03-12 00:00")
        assert await shop.ends() == {(State.SKIPPED, Reason.MEDIUM_NOT_CONFIGURED): 1}


# --- product reviews --------------------------------------------------------------------------------


async def test_products_are_asked_about_at_their_own_time(store: Store) -> None:
    """B7, B25, B30, B35, R23: service and product side by side, each with its own reminder, one cap
    unit together."""
    async with open_shop(store, caps=[one_in_14_days()]) as shop:
        await switch_on(shop, product_rule())
        await shop.publish(shop.event())
        await shop.until("2026-04-30 00:00")
        assert shop.mails() == [
            ("2026-03-08 09:00", ANA, False),
            ("2026-03-13 09:00", ANA, True),
            ("2026-03-13 17:00", ANA, False),
            ("2026-03-16 17:00", ANA, True),
        ]


async def test_a_review_ends_requests_of_its_own_kind(store: Store) -> None:
    """B20, B35, R38: a review of the product leaves the service's reminder alone."""
    async with open_shop(store) as shop:
        await switch_on(shop, product_rule())
        await shop.publish(shop.event())
        await shop.until("2026-03-09 00:00")
        await shop.publish(
            shop.event("review_submitted", review=Review(kind=Family.PRODUCT_REVIEW))
        )
        await shop.until("2026-04-30 00:00")
        assert [at for at, *_ in shop.mails()] == ["2026-03-08 09:00", "2026-03-13 09:00"]
        assert (await shop.ends())[State.CANCELLED, Reason.REVIEWED] == 1


async def test_products_are_switched_apart_from_the_service(store: Store) -> None:
    """B9, B27: off for products, on for the service."""
    async with open_shop(store) as shop:
        await switch_on(shop, product_rule(steps=[step(days=9)]))
        await shop.registry.deactivate(ACCOUNT, "products", "madrid", "test")
        await shop.publish(shop.event(order="1"))
        await shop.registry.activate(ACCOUNT, "products", "madrid", "test")
        await shop.publish(shop.event(order="2", email=BEN))
        await shop.until("2026-03-12 00:00")
        assert [to for _, to, _ in shop.mails()].count(ANA) == 1
        assert [to for _, to, _ in shop.mails()].count(BEN) == 2


async def test_one_product_rule_a_channel(store: Store) -> None:
    """B28, R37, h2: also on another event type, activation swaps."""
    async with open_shop(store) as shop:
        await switch_on(
            shop, product_rule(steps=[step(days=12)]),
            product_rule(id="arrived", event_type="delivery", steps=[step()]),
        )  # fmt: skip
        told = {"consents": consents(shop, Purpose.REVIEW)}
        checkout, delivery = await shop.publish(
            shop.event(order="1", **told), shop.event("delivery", order="2", **told)
        )
        assert len(checkout.members) == 1, "the service's"
        assert len(delivery.members) == 1


# --- activation date --------------------------------------------------------------------------------


def dated(shop: Shop, order: str, day: str, **fields: Any) -> Event:
    return shop.event(order=order, email=f"c{order}@shop.example", activation_date=day, **fields)


async def test_waits_count_from_the_activation_date_where_the_channel_says_so(
    store: Store,
) -> None:
    """B14, B15, B34, R31: one switch, service and product; a past date counts as the event's."""
    async with open_shop(store, use_activation_date=True) as shop:
        await switch_on(shop, product_rule(steps=[step(days=12, time_of_day_ms=18 * HOUR_MS)]))
        await shop.publish(dated(shop, "1", "2026-06-10"), dated(shop, "2", "2026-02-10"))
        await shop.until("2026-07-30 00:00")
        firsts = [(at, to[:2]) for at, to, again in shop.mails() if not again]
        assert firsts == [
            ("2026-03-08 09:00", "c2"), ("2026-03-13 17:00", "c2"),
            ("2026-06-17 08:00", "c1"), ("2026-06-22 16:00", "c1"),
        ]  # fmt: skip
    assert shop.engine.stats.round_errors == 0


async def test_without_the_switch_the_event_counts(store: Store) -> None:
    """B15."""
    async with open_shop(store) as shop:
        await shop.publish(dated(shop, "1", "2026-06-10"))
        await shop.until("2026-03-09 00:00")
        assert [at for at, *_ in shop.mails()] == ["2026-03-08 09:00"]


async def test_a_date_nearly_two_years_ahead_is_kept(store: Store) -> None:
    """B16, d1: held as one entry in a slot of its own, and sent to the minute."""
    async with open_shop(store, use_activation_date=True) as shop:
        await shop.publish(dated(shop, "1", "2028-02-20"))
        await shop.until("2028-02-27 08:59")
        assert shop.mails() == []
        assert await shop.pending() == 1
        await shop.until("2028-02-27 09:00")
        assert [at for at, *_ in shop.mails()] == ["2028-02-27 09:00"]


# --- reminders --------------------------------------------------------------------------------------


async def test_a_reminder_counts_from_the_day_of_the_real_send(store: Store) -> None:
    """B17, B18, R33: the invitation went two days late, and so does its reminder."""
    async with open_shop(store) as shop:
        await shop.publish(shop.event())
        assert await shop.pending() == 1, "no reminder before the invitation is sent"
        shop.clock.move_to_ms(ms("2026-03-10 15:30"))
        await shop.until("2026-03-10 15:30")
        assert await shop.pending() == 1
        await shop.until("2026-04-30 00:00")
        assert shop.mails() == [("2026-03-10 15:30", ANA, False), ("2026-03-15 09:00", ANA, True)]


async def test_a_review_at_the_last_moment_still_ends_the_reminder(store: Store) -> None:
    """B20, d5: a minute before it is due."""
    async with open_shop(store) as shop:
        await shop.publish(shop.event())
        await shop.until("2026-03-13 08:59")
        await shop.publish(shop.event("review_submitted"))
        await shop.until("2026-04-30 00:00")
        assert [again for *_, again in shop.mails()] == [False]


async def test_a_reminder_repeats_the_invitation_under_another_subject(store: Store) -> None:
    """B19: same language, channel and event; the reminder's subject."""
    async with open_shop(store) as shop:
        letters: list[tuple[Any, ...]] = []
        prepare = shop.post.prepare

        def watched(letter: Any) -> bytes:
            letters.append((letter.locale, letter.channel.id, letter.body, letter.subject))
            return prepare(letter)

        shop.post.prepare = watched  # type: ignore[method-assign]
        await shop.publish(shop.event(contact=Contact(email=ANA, locale="pt_BR")))
        await shop.until("2026-04-30 00:00")
        first, second = letters
        assert first[:3] == second[:3]
        assert first[0] == "pt_BR"
        assert (first[3], second[3]) == ("", "Still there?")


# --- what is refused --------------------------------------------------------------------------------


async def test_a_rule_names_an_event_type_that_is_there() -> None:
    """A16, B4."""
    async with open_shop() as shop:
        with pytest.raises((InvalidField, FailedPrecondition)) as refused:
            await shop.registry.create_rule(review_rule(id="x", event_type="unheard_of"))
        assert "event_type" in refused.value.field


async def test_waits_come_in_minutes_hours_and_days(store: Store) -> None:
    """D14, A18."""
    waits = {"minutes": 90 * MINUTE_MS, "hours": 7 * HOUR_MS}
    async with open_shop(store) as shop:
        await switch_on(
            shop,
            *(free_rule(id, steps=[step(elapsed_ms=span)]) for id, span in waits.items()),
            free_rule("days", steps=[step(days=2)]),
        )
        await shop.publish(shop.event(consent=None))
        await shop.until("2026-03-07 00:00")
        assert [at for at, *_ in shop.mails()] == [
            "2026-03-01 10:30", "2026-03-01 16:00", "2026-03-03 09:00",
        ]  # fmt: skip
