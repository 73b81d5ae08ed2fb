"""Review requests on their way to other platforms, on both stores (A28, A29, B41, B42, R47)."""

from __future__ import annotations

import contextlib
import random
from collections.abc import AsyncIterator, Sequence
from typing import Any

import msgspec
import pytest

from core.bounds import HOUR_MS
from core.contact_ports import ConsentLine
from core.engine.destinations import is_click_review
from core.engine.diversion import bucket_of, parse_shares, platform_of, unit_of
from core.engine.diversion_audit import DrawnRequest
from core.engine.draw_check import fit
from core.engine.manual import Wish
from core.engine.reader import InvitationView
from core.gate import ClaimCode
from core.model import (
    ConsentScope,
    ConsentStatus,
    Contact,
    Event,
    Evidence,
    Family,
    Item,
    Medium,
    Money,
    Order,
    Purpose,
    Reason,
    State,
)
from core.partitions import partition_of
from core.ports import Store
from core.records import FLAG_FELL_BACK, KIND_SERVICE
from core.registry.diversion_parts import Diversion, PlatformKind, Weight
from core.registry.resources import Channel, Platform
from core.registry.rule_parts import Action, Step, Wait
from core.sending import Delivery
from tests.support.shop import ACCOUNT, MADRID, Shop, ms, one_in_14_days, open_shop, review_rule

LINK = "https://reviews.example/tienda?order={{order}}"
BOTH = (Family.SERVICE_REVIEW, Family.PRODUCT_REVIEW)


def platform(id: str = "trustpilot", **fields: Any) -> Platform:
    values: dict[str, Any] = {
        "kind": PlatformKind.TRUSTPILOT, "review_types": BOTH, "review_url": LINK,
        "templates": {Medium.EMAIL: "optimised-service-review"},
    }  # fmt: skip
    return Platform(account=ACCOUNT, id=id, **{**values, **fields})


def channel_of(shop: Shop) -> Channel:
    found = shop.registry.snapshot.channel(ACCOUNT, "madrid")
    assert found is not None
    return found


async def divide(shop: Shop, **percent: int) -> None:
    """Give platforms their part of what the shop in Madrid plans from now on."""
    weights = tuple(Weight(id, part) for id, part in percent.items())
    new = msgspec.structs.replace(channel_of(shop), diversion=Diversion(weights))
    await shop.registry.update_channel(new)


@contextlib.asynccontextmanager
async def divided_shop(
    store: Store | None,
    trustpilot: int = 100,
    *,
    of: Sequence[Platform] | None = None,
    **fields: Any,
) -> AsyncIterator[Shop]:
    """Open a shop that gives a part of its review requests to Trustpilot."""
    async with open_shop(store, **fields) as shop:
        for one in of or [platform()]:
            await shop.registry.create_platform(one)
        if trustpilot:
            await divide(shop, trustpilot=trustpilot)
        yield shop


def forwarding(given: bool | None) -> list[Evidence]:
    """Return the consents of a customer who may be told of to others, may not, or was not asked."""
    said = [Evidence(Purpose.REVIEW, Medium.EMAIL, True, 0)]
    if given is not None:
        said.append(Evidence(Purpose.DATA_FORWARDING, Medium.EMAIL, given, 0))
    return said


def checkout(shop: Shop, order: str = "1", *, may: bool | None = True, **fields: Any) -> Event:
    return shop.event(order=order, consents=forwarding(may), **fields)


async def views(shop: Shop, order: str = "1") -> list[InvitationView]:
    return await shop.engine.reader.by_order(ACCOUNT, MADRID, order)


async def say(shop: Shop, status: int, email: str = "ana@shop.example") -> None:
    """Write down a word about DATA_FORWARDING over e-mail, for the whole account."""
    key = shop.engine.identity.contact_key(ACCOUNT, Contact(email=email))
    now_ms = shop.clock.now_ms()
    line = ConsentLine(ConsentScope.ACCOUNT, Purpose.DATA_FORWARDING, Medium.EMAIL, status, now_ms)
    store = shop.engine.store
    await store.write_consents(partition_of(key, store.meta.partition_count), key, [line], now_ms)


def sent_to(shop: Shop) -> list[str]:
    return [letter.platform or "own" for letter in shop.post.letters]


# The way out --------------------------------------------------------------------------------------


@pytest.mark.asyncio
async def test_a28_b19_a_request_and_its_reminder_lead_to_the_platform(store: Store) -> None:
    """A28, B19, R47: link and template are the platform's, and the reminder repeats them."""
    async with divided_shop(store) as shop:
        await shop.publish(checkout(shop, "A/1"))
        (waiting,) = await views(shop, "A/1")
        assert waiting.detail.platform == "trustpilot"
        assert waiting.detail.shares == "own=0 trustpilot=10000"
        await shop.until("2026-03-09 00:00")
        changed = platform(templates={Medium.EMAIL: "standard-service-review"})
        await shop.registry.update_platform(changed)
        await shop.until("2026-04-01 00:00")
        assert shop.mails() == [
            ("2026-03-08 09:00", "ana@shop.example", False),
            ("2026-03-13 09:00", "ana@shop.example", True),
        ]
        assert sent_to(shop) == ["trustpilot", "trustpilot"]
        links = {letter.review_url for letter in shop.post.letters}
        assert links == {"https://reviews.example/tienda?order=A%2F1"}
        templates = {letter.template for letter in shop.post.letters}
        assert templates == {"optimised-service-review"}
        assert [letter.subject for letter in shop.post.letters] == ["", "Still there?"]


@pytest.mark.asyncio
async def test_a29_without_weights_everything_stays_on_the_own_platform(store: Store) -> None:
    """A29: the default is 100 percent own, and nothing is drawn."""
    async with divided_shop(store, 0) as shop:
        await shop.publish(checkout(shop))
        await shop.until("2026-04-01 00:00")
        assert sent_to(shop) == ["own", "own"]
        first, _ = await views(shop)
        assert (first.detail.bucket, first.detail.shares) == (-1, "")
        assert {letter.review_url for letter in shop.post.letters} == {""}


@pytest.mark.asyncio
async def test_a28_b41_delays_consent_caps_and_reminders_hold_wherever_it_leads(
    store: Store,
) -> None:
    """A28, B41: the same events give the same mails at the same times and the same ends, whether
    nothing, half or everything is diverted."""
    outcomes = []
    for percent in (0, 50, 100):
        fresh = store if percent == 50 else None
        async with divided_shop(fresh, percent, caps=[one_in_14_days()]) as shop:
            await shop.publish(
                *[checkout(shop, str(n), email=f"c{n % 7}@shop.example") for n in range(20)],
                *[
                    shop.event(order=f"no-{n}", email=f"n{n}@shop.example", consent=False)
                    for n in range(5)
                ],
            )
            await shop.until("2026-03-10 00:00")
            await shop.publish(shop.event("order_cancelled", order="3"))
            await shop.until("2026-07-01 00:00")
            outcomes.append((sorted(shop.mails()), await shop.ends()))
            used = set(sent_to(shop))
            assert used == {0: {"own"}, 50: {"own", "trustpilot"}, 100: {"trustpilot"}}[percent]
    assert outcomes[0] == outcomes[1] == outcomes[2]
    ends = outcomes[0][1]
    assert ends[State.SKIPPED, Reason.NO_CONSENT] == 5
    assert len(outcomes[0][0]) > 20, "requests, deferred by the cap, and reminders"


@pytest.mark.asyncio
async def test_a3_what_is_made_by_hand_is_divided_like_the_rest(store: Store) -> None:
    """A3, A29: picking by hand must not be a way around the lots."""
    async with divided_shop(store) as shop:
        event = checkout(shop, "H", id="by-hand")
        view = await shop.engine.by_hand.create(
            ACCOUNT, event, Wish(KIND_SERVICE, Purpose.REVIEW, Medium.EMAIL)
        )
        salt = channel_of(shop).diversion.salt  # type: ignore[union-attr]
        bucket = bucket_of(ACCOUNT, "madrid", "order:H", salt)
        assert (view.detail.platform, view.detail.bucket) == ("trustpilot", bucket)
        await shop.until("2026-03-02 00:00")
        assert sent_to(shop) == ["trustpilot"]


# What keeps the draw ------------------------------------------------------------------------------


@pytest.mark.asyncio
async def test_d6_changed_weights_change_only_new_plans(store: Store) -> None:
    """d6: what waits, its retries and its reminder keep their platform; a repeated event too."""
    async with divided_shop(store) as shop:
        event = checkout(shop, "old")
        await shop.publish(event)
        await divide(shop)
        await shop.publish(event, checkout(shop, "new", email="bo@shop.example"))
        shop.post.answers["ana@shop.example"] = [
            Delivery(Delivery.Kind.DEFERRED, "busy", 60_000),
            Delivery(Delivery.Kind.DEFERRED, "busy", 60_000),
        ]
        await shop.restart()
        await shop.until("2026-04-01 00:00")
        told = {(letter.address[:2], letter.platform) for letter in shop.post.letters}
        assert told == {("an", "trustpilot"), ("bo", "")}
        assert len(shop.post.letters) == 4
        old, reminder = await views(shop, "old")
        assert old.reference.attempts == 3
        assert reminder.detail.bucket == old.detail.bucket
        assert reminder.detail.shares == old.detail.shares


@pytest.mark.asyncio
async def test_r47_requests_of_one_order_share_a_draw_and_a_type_it_lacks_stays_on_own(
    store: Store,
) -> None:
    """R47: the product request stays on own, where the platform takes service reviews only; its bucket
    is the order's all the same."""
    later = Step(id="ask", wait=Wait(days=9), actions=[Action(medium=Medium.EMAIL)])
    product = review_rule(id="products", family=Family.PRODUCT_REVIEW, steps=[later])
    rules = [review_rule(steps=review_rule().steps[:1]), product]
    only_service = platform(review_types=(Family.SERVICE_REVIEW,))
    async with divided_shop(store, rules=rules, of=[only_service]) as shop:
        await shop.publish(checkout(shop))
        by_kind = {view.reference.kinds: view.detail for view in await views(shop)}
        service, products = by_kind[1], by_kind[2]
        assert (service.platform, products.platform) == ("trustpilot", "")
        assert (service.bucket, service.shares) == (products.bucket, products.shares)
        await shop.until("2026-03-20 00:00")
        assert sorted(sent_to(shop)) == ["own", "trustpilot"]


# Consent to data forwarding -----------------------------------------------------------------------


@pytest.mark.asyncio
async def test_r47_without_the_consent_a_request_and_its_reminder_stay_on_own(store: Store) -> None:
    """R47: recorded, and the reminder stays even if the consent comes in between."""
    async with divided_shop(store) as shop:
        await shop.publish(
            checkout(shop, may=None), checkout(shop, "no", may=False, email="b@x.example")
        )
        await shop.until("2026-03-09 00:00")
        await say(shop, ConsentStatus.CONFIRMED)
        await shop.until("2026-04-01 00:00")
        assert sent_to(shop) == ["own"] * 4
        for view in await views(shop):
            assert view.detail.platform == "trustpilot"
            assert view.reference.flags & FLAG_FELL_BACK
            assert view.reference.state == State.SENT


@pytest.mark.asyncio
async def test_d6_a_retry_of_what_fell_back_stays_on_own(store: Store) -> None:
    """d6, R47: the first attempt may have arrived, so the second leads to the same place."""
    async with divided_shop(store) as shop:
        await shop.publish(checkout(shop, may=None))
        shop.post.answers["ana@shop.example"] = [
            Delivery(Delivery.Kind.DEFERRED, "busy", 3 * HOUR_MS)
        ]
        await shop.until("2026-03-08 10:00")
        assert not sent_to(shop)
        await say(shop, ConsentStatus.CONFIRMED)
        await shop.until("2026-03-09 00:00")
        assert sent_to(shop) == ["own"]
        assert (await views(shop))[0].reference.attempts == 2


@pytest.mark.asyncio
async def test_r47_a_consent_taken_back_before_the_reminder_turns_that_one_alone(
    store: Store,
) -> None:
    """R47: the consent is asked for again each time something is due."""
    async with divided_shop(store) as shop:
        await shop.publish(checkout(shop))
        await shop.until("2026-03-09 00:00")
        await say(shop, ConsentStatus.WITHDRAWN)
        await shop.until("2026-04-01 00:00")
        assert sent_to(shop) == ["trustpilot", "own"]


@pytest.mark.asyncio
async def test_r47_a_withdrawal_between_the_look_and_the_claim_turns_the_message(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """R47: rendered for the platform, it is judged anew and leads to own: nothing is forwarded."""
    async with divided_shop(store) as shop:
        await shop.publish(checkout(shop))
        claim, codes, prepared = shop.engine.store.claim, [], []

        async def late(*args: Any, **more: Any) -> Any:
            if not codes:
                await say(shop, ConsentStatus.WITHDRAWN)
            answers = await claim(*args, **more)
            codes.extend(answer.code for answer in answers)
            return answers

        monkeypatch.setattr(shop.engine.store, "claim", late)
        prepare = shop.post.prepare
        monkeypatch.setattr(
            shop.post,
            "prepare",
            lambda letter: (prepared.append(letter.platform), prepare(letter))[1],
        )
        await shop.until("2026-03-09 00:00")
        assert (prepared[0], prepared[-1]) == ("trustpilot", "")
        assert codes[0] == ClaimCode.LOOK_AGAIN
        assert codes.count(ClaimCode.CLAIMED) == 1
        assert sent_to(shop) == ["own"]
        (first, *_) = await views(shop)
        assert first.reference.flags & FLAG_FELL_BACK


@pytest.mark.asyncio
async def test_r47_a_platform_that_gets_no_data_needs_no_consent(store: Store) -> None:
    """R47: a plain link to a page tells nobody anything."""
    plain = platform(needs_data_forwarding=False, review_url="https://reviews.example/tienda")
    async with divided_shop(store, of=[plain]) as shop:
        await shop.publish(checkout(shop, may=False))
        await shop.until("2026-04-01 00:00")
        assert sent_to(shop) == ["trustpilot", "trustpilot"]


@pytest.mark.asyncio
async def test_what_waits_for_a_platform_that_is_deleted_stays_on_own(store: Store) -> None:
    async with divided_shop(store) as shop:
        await shop.publish(checkout(shop))
        await divide(shop)
        await shop.registry.delete_platform(ACCOUNT, "trustpilot")
        await shop.until("2026-04-01 00:00")
        assert sent_to(shop) == ["own", "own"]


@pytest.mark.asyncio
async def test_r47_a_click_counts_as_reviewed_only_where_reviews_are_not_reported(
    store: Store,
) -> None:
    """R47: and only for what led there."""
    async with divided_shop(store) as shop:
        await shop.publish(checkout(shop), checkout(shop, "2", may=False, email="b@shop.example"))
        await shop.until("2026-03-09 00:00")
        (led, _), (fell, _) = await views(shop), await views(shop, "2")
        snapshot = shop.registry.snapshot
        assert is_click_review(snapshot, led.detail, led.reference)
        assert not is_click_review(snapshot, fell.detail, fell.reference)
        await shop.registry.update_platform(platform(reports_reviews=True))
        snapshot = shop.registry.snapshot
        assert not is_click_review(snapshot, led.detail, led.reference)


# Neutrality ---------------------------------------------------------------------------------------


@pytest.mark.asyncio
async def test_g8_no_trait_of_customer_or_order_moves_a_draw(store: Store) -> None:
    """g8, d6: two shops get the same orders with everything about them shuffled: who, what, for how
    much, when, from where. Every order falls to the same platform."""
    seed = 20_261_122
    print(f"seed {seed}")
    lots = random.Random(seed)
    traits = [
        (
            f"c{n}@shop.example", lots.choice(["Ana", "Bo", "Zoë"]), lots.choice(["ES", "DE", "US"]),
            Money("EUR", lots.randrange(1, 5_000)), lots.choice(["mug", "car", "ring"]),
            lots.choice(["es_ES", "de_DE"]),
        )
        for n in range(60)
    ]  # fmt: skip
    found = []
    for shuffled in (traits, lots.sample(traits, len(traits))):
        fresh = store if not found else None
        async with divided_shop(fresh, 50) as shop:
            for n, (email, name, country, total, sku, locale) in enumerate(shuffled):
                event = checkout(shop, str(n), locale=locale)
                event.contact = Contact(email=email, first_name=name, country=country)
                event.order = Order(reference=str(n), total=total, items=[Item(sku=sku)])
                await shop.publish(event)
            details = [(await views(shop, str(n)))[0].detail for n in range(60)]
            found.append([(one.platform, one.bucket, one.shares) for one in details])
    assert found[0] == found[1]
    assert {platform for platform, _, _ in found[0]} == {"", "trustpilot"}


@pytest.mark.asyncio
async def test_b42_the_export_lets_anybody_draw_again(store: Store) -> None:
    """B42, A29, g8: every first request once, reminders not; each draw comes out again from what is
    told, over changed weights and a changed salt, and the counts fit."""
    async with divided_shop(store, 30) as shop:
        for start in range(0, 300, 50):
            await shop.publish(*[
                checkout(shop, str(n), email=f"c{n}@shop.example", may=n % 3 > 0)
                for n in range(start, start + 50)
            ])  # fmt: skip
        new = Diversion((Weight("trustpilot", 70),), renews_salt=True)
        await shop.registry.update_channel(msgspec.structs.replace(channel_of(shop), diversion=new))
        await shop.publish(*[
            checkout(shop, str(n), email=f"c{n}@shop.example") for n in range(300, 400)
        ])  # fmt: skip
        await shop.until("2026-04-01 00:00")
        lines = [line async for line in shop.engine.diversion_audit.requests(ACCOUNT, MADRID)]
    assert len(lines) == len({line.member for line in lines}) == 400
    stretches: dict[tuple[str, str], dict[str, int]] = {}
    for line in lines:
        drawn = _again(line)
        counts = stretches.setdefault((line.salt, line.shares), {})
        counts[drawn] = counts.get(drawn, 0) + 1
        is_lacking = line.unit.removeprefix("order:").isdecimal() and (
            int(line.unit.removeprefix("order:")) < 300
            and int(line.unit.removeprefix("order:")) % 3 == 0
        )
        assert line.platform == drawn
        assert line.platform_used == ("own" if is_lacking else drawn)
        assert ("DATA_FORWARDING" in line.why) == (is_lacking and drawn != "own")
    assert {shares for _, shares in stretches} == {
        "own=7000 trustpilot=3000", "own=3000 trustpilot=7000",
    }  # fmt: skip
    assert len({salt for salt, _ in stretches}) == 2
    for (_, shares), counts in stretches.items():
        assert fit(counts, parse_shares(shares)).p_value > 0.001


def _again(line: DrawnRequest) -> str:
    """Draw again, as somebody outside would."""
    assert bucket_of("shop", "madrid", line.unit, line.salt) == line.bucket
    return platform_of(line.bucket, parse_shares(line.shares))


@pytest.mark.asyncio
async def test_b42_the_export_keeps_to_its_channel_and_time(store: Store) -> None:
    """B42: planned in [start, end); requests only, no other messages; also what was never divided."""
    async with divided_shop(store, 0) as shop:
        berlin = await shop.add_channel("berlin", "ask")
        await shop.publish(checkout(shop, "1"), checkout(shop, "2", channel=berlin))
        await shop.until("2026-03-02 12:00")
        await shop.publish(checkout(shop, "3"))
        audit = shop.engine.diversion_audit

        async def units(channel: str = MADRID, start: int = 0, end: int | None = None) -> list[str]:
            found = audit.requests(ACCOUNT, channel, start, end)
            return sorted([line.unit async for line in found])

        assert await units() == ["order:1", "order:3"]
        assert await units(berlin) == ["order:2"]
        assert await units(start=ms("2026-03-02 12:00")) == ["order:3"]
        assert await units(end=ms("2026-03-02 12:00")) == ["order:1"]
        lines = [line async for line in audit.requests(ACCOUNT, MADRID)]
        assert {(line.bucket, line.platform, line.why) for line in lines} == {
            (-1, "", "nothing was divided")
        }
        assert unit_of("1", "") == "order:1"
