"""E-mail, SMS and WhatsApp beside each other; on both stores."""

from __future__ import annotations

from typing import Any

import pytest

from core.bounds import HOUR_MS, MINUTE_MS
from core.engine.consents import Statement
from core.engine.reach import Whom
from core.model import Contact, Family, Medium, Purpose, Reason, State
from core.ports import Store
from core.registry.rule_parts import Action, Step, Wait, WaitOverride
from core.sending import Delivery
from tests.support.rules import (
    COMBINED,
    TEN,
    condition,
    consents,
    follow_up,
    free_rule,
    product_rule,
    step,
)
from tests.support.shop import Shop, one_in_14_days, open_shop, review_rule

ANA, PHONE = "ana@shop.example", "+48600000001"
BOTH = (Medium.EMAIL, Medium.SMS)
ALL = (*BOTH, Medium.WHATSAPP)
REACHABLE = Contact(email=ANA, phone=PHONE, country="PL")


def sent(shop: Shop) -> list[tuple[str, Medium]]:
    times = [at for at, *_ in shop.mails()]
    media = [Medium(letter.medium) for letter in shop.post.letters]
    return list(zip(times, media, strict=True))


def order(shop: Shop, contact: Contact = REACHABLE, **fields: Any) -> Any:
    told = consents(shop, Purpose.REVIEW, *ALL) + consents(shop, Purpose.MARKETING, *ALL)
    return shop.event(contact=contact, consents=told, **fields)


async def test_each_medium_has_a_wait_of_its_own(store: Store) -> None:
    """C11, C14, C16, R33: `action.wait` replaces the step's."""
    actions = [
        Action(medium=Medium.EMAIL),
        Action(medium=Medium.SMS, wait=Wait(elapsed_ms=90 * MINUTE_MS)),
        Action(medium=Medium.WHATSAPP, wait=Wait(days=2, time_of_day_ms=15 * HOUR_MS)),
    ]
    rule = free_rule("news", steps=[Step(id="s", wait=Wait(days=1), actions=actions)])
    async with open_shop(store, rule=rule, media=ALL) as shop:
        (answer,) = await shop.publish(order(shop))
        assert len(answer.members) == 3
        await shop.until("2026-03-10 00:00")
        assert sent(shop) == [
            ("2026-03-01 10:30", Medium.SMS),
            ("2026-03-02 09:00", Medium.EMAIL),
            ("2026-03-03 14:00", Medium.WHATSAPP),
        ]


@pytest.mark.parametrize(
    ("country", "at"), [("PL", "2026-03-03 09:00"), ("FR", "2026-03-11 09:00"), ("", "2026-03-08 09:00")]
)  # fmt: skip
async def test_a_country_has_a_wait_of_its_own(store: Store, country: str, at: str) -> None:
    """R34, d1.5: it replaces, and never adds; the first that passes counts."""
    first = step("invite", days=7, time_of_day_ms=TEN)
    first.wait_overrides = [
        WaitOverride(
            condition(f"contact.country == '{code}'", Family.SERVICE_REVIEW),
            Wait(days=days, time_of_day_ms=TEN),
        )
        for code, days in (("PL", 2), ("FR", 10), ("PL", 30))
    ]
    async with open_shop(store, rule=review_rule(steps=[first])) as shop:
        await shop.publish(shop.event(contact=Contact(email=ANA, country=country)))
        await shop.until("2026-04-30 00:00")
        assert [at for at, *_ in shop.mails()] == [at]


async def test_an_override_beats_the_wait_of_an_action(store: Store) -> None:
    """R34, C11: for every medium of the step, and for a follow-up too."""
    first = step("s", *BOTH, days=1)
    first.actions[1].wait = Wait(days=3)
    second = follow_up("t", days=4)
    for each, days in ((first, 2), (second, 1)):
        test = condition("contact.country == 'PL'")
        each.wait_overrides = [WaitOverride(test, Wait(days=days, base=each.wait.base))]
    rule = free_rule("news", steps=[first, second])
    async with open_shop(store, rule=rule, media=BOTH) as shop:
        await shop.publish(order(shop))
        await shop.until("2026-04-30 00:00")
        assert sorted(sent(shop)) == [
            ("2026-03-03 09:00", Medium.EMAIL),
            ("2026-03-03 09:00", Medium.SMS),
            ("2026-03-04 09:00", Medium.EMAIL),
        ]


async def test_with_a_phone_only_the_text_message_goes(store: Store) -> None:
    """R46, C17: gates hold for each medium by itself; then by the follow-up over the same medium."""
    steps = [step("invite", *BOTH, days=7, time_of_day_ms=TEN), follow_up("remind", *BOTH)]
    async with open_shop(store, rule=review_rule(steps=steps), media=BOTH) as shop:
        await shop.publish(order(shop, Contact(phone=PHONE, country="PL")))
        await shop.until("2026-04-30 00:00")
        assert [medium for _, medium in sent(shop)] == [Medium.SMS, Medium.SMS]
        assert await shop.ends() == {
            (State.SENT, 0): 2,
            (State.SKIPPED, Reason.NO_RECIPIENT): 1,
        }


async def test_each_medium_needs_its_own_consent(store: Store) -> None:
    """R46, R16, C14."""
    rule = review_rule(steps=[step("invite", *BOTH, days=7, time_of_day_ms=TEN)])
    async with open_shop(store, rule=rule, media=BOTH) as shop:
        told = consents(shop, Purpose.REVIEW, Medium.SMS)
        await shop.publish(shop.event(contact=REACHABLE, consents=told))
        await shop.until("2026-03-10 00:00")
        assert [medium for _, medium in sent(shop)] == [Medium.SMS]
        assert (await shop.ends())[State.SKIPPED, Reason.NO_CONSENT] == 1


async def test_a_follow_up_stays_on_its_medium(store: Store) -> None:
    """R33: what was refused over one medium is not followed up there."""
    steps = [step("a", *BOTH, days=1), follow_up("b", *BOTH, days=2)]
    async with open_shop(store, rule=free_rule("news", steps=steps), media=BOTH) as shop:
        refused = Delivery(Delivery.Kind.REJECTED, "550 no", 0, False)
        shop.post.answers[ANA] = [refused]
        await shop.publish(order(shop))
        await shop.until("2026-04-30 00:00")
        assert [medium for _, medium in sent(shop)] == [Medium.SMS, Medium.SMS]


async def test_a_follow_up_over_another_medium_follows_whatever_went_first(store: Store) -> None:
    """R33: once, not once for each."""
    steps = [step("a", *BOTH, days=1), follow_up("b", Medium.WHATSAPP, days=2)]
    steps[0].actions[1].wait = Wait(days=3)
    async with open_shop(store, rule=free_rule("news", steps=steps), media=ALL) as shop:
        await shop.publish(order(shop))
        await shop.until("2026-04-30 00:00")
        assert sent(shop) == [
            ("2026-03-02 09:00", Medium.EMAIL),
            ("2026-03-04 09:00", Medium.SMS),
            ("2026-03-04 09:00", Medium.WHATSAPP),
        ]


async def test_one_order_over_two_media_is_one_request(store: Store) -> None:
    """R23, C14: one unit of the cap on requests, and one for each in a cap on messages."""
    rule = review_rule(steps=[step("invite", *BOTH, days=7, time_of_day_ms=TEN)])
    requests = one_in_14_days()
    async with open_shop(store, rule=rule, media=BOTH, caps=[requests]) as shop:
        await shop.publish(order(shop))
        await shop.until("2026-03-10 00:00")
        assert len(sent(shop)) == 2


async def test_a_combined_request_over_two_media(store: Store) -> None:
    """B31, C14: one message over each, each about both."""
    rules = [
        review_rule(steps=[step("invite", *BOTH, days=7, time_of_day_ms=TEN)]),
        product_rule(review=COMBINED),
    ]
    async with open_shop(store, rules=rules, media=BOTH) as shop:
        await shop.publish(order(shop))
        await shop.until("2026-03-30 00:00")
        assert [letter.kinds for letter in shop.post.letters] == [3, 3]


async def test_a_medium_without_a_transport_leaves_the_others_alone(store: Store) -> None:
    """C15, R9."""
    rule = free_rule("news", steps=[step("s", *ALL, days=1)])
    async with open_shop(store, rule=rule, media=BOTH) as shop:
        await shop.publish(order(shop))
        await shop.until("2026-03-10 00:00")
        assert sorted(medium for _, medium in sent(shop)) == [Medium.EMAIL, Medium.SMS]
        assert (await shop.ends())[State.SKIPPED, Reason.MEDIUM_NOT_CONFIGURED] == 1


async def test_withdrawing_one_medium_leaves_the_other(store: Store) -> None:
    """R19, R46."""
    rule = review_rule(steps=[step("invite", *BOTH, days=7, time_of_day_ms=TEN)])
    async with open_shop(store, rule=rule, media=BOTH) as shop:
        (answer,) = await shop.publish(order(shop))
        await shop.engine.consents.withdraw(
            "shop", Whom(answer.contact_key), Statement(Purpose.REVIEW, Medium.SMS)
        )
        await shop.until("2026-03-10 00:00")
        assert [medium for _, medium in sent(shop)] == [Medium.EMAIL]
