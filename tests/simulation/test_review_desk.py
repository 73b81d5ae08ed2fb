"""Review links from the message to the review: where they lead, and what they bring back."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from core.bounds import DAY_MS
from core.contact_ports import FeedbackKind
from core.engine.feedback import Told
from core.errors import AfterwordError, FailedPrecondition, InvalidField, NotFound
from core.model import Contact, Event, Family, Item, Medium, Order, Purpose, Reason, Review, State
from core.ports import Store
from core.records import KIND_PRODUCT, KIND_SERVICE
from core.registry.diversion_parts import Diversion, PlatformKind, Weight
from core.registry.resources import Platform, Rule
from core.registry.rule_parts import Action, ProductTiming, ReviewSettings, Step, Wait
from core.sending import Letter
from tests.support.shop import ACCOUNT, MADRID, Shop, new_channel, open_shop, review_rule

BASE = "https://mail.shop.example/post"
PAGE = "https://shop.example/review?t={{token}}&x=1"
STRICT = ReviewSettings(questionnaire="extended", comment_required=True)
SENT, REMINDED = "2026-03-08 12:00", "2026-03-14 12:00"


async def sent(shop: Shop, until: str = SENT, base: str = BASE, **fields: Any) -> Letter:
    """Order, and wait for the request."""
    shop.engine.reviews.base = base
    await shop.publish(shop.event(**fields))
    await shop.until(until)
    return shop.post.letters[-1]


def token_of(letter: Letter) -> str:
    assert letter.review_url.startswith(f"{BASE}/r/")
    return letter.review_url.removeprefix(f"{BASE}/r/")


def written(shop: Shop, token: str, **fields: Any) -> Event:
    """Return a review that names nobody and no order, only its link."""
    review = {"link_token": token, **fields.pop("review", {})}
    given: dict[str, Any] = {"contact": Contact(), "order": None, "id": "review-1", **fields}
    return replace(shop.event("review_submitted", review=Review(**review)), **given)


async def refused(shop: Shop, event: Event) -> AfterwordError:
    (answer,) = await shop.engine.acceptor.accept(ACCOUNT, [event])
    assert answer.error is not None
    return answer.error


async def follow(shop: Shop, letter: Letter) -> str:
    """Click, and return where that leads."""
    reviews = shop.engine.reviews
    ticket = reviews.read(token_of(letter))
    assert ticket is not None
    target = await reviews.target(ticket, token_of(letter))
    await reviews.click(ticket)
    return target


async def states(shop: Shop, order: str = "1") -> list[tuple[State, Reason]]:
    views = await shop.engine.reader.by_order(ACCOUNT, MADRID, order)
    return [(State(v.reference.state), Reason(v.reference.reason)) for v in views]


async def stats(shop: Shop, rule: str = "ask") -> tuple[int, int, int, int]:
    found = shop.registry.snapshot.rule(ACCOUNT, rule)
    assert found is not None
    return await shop.engine.rule_counts.stats(found.number)


async def test_a_request_leads_to_the_page_of_the_shop(store: Store) -> None:
    """A21, B22."""
    async with open_shop(store, review_page_url=PAGE) as shop:
        letter = await sent(shop)
        token = token_of(letter)
        assert await follow(shop, letter) == PAGE.replace("{{token}}", token)
        direct = await sent(shop, "2026-03-22 12:00", base="", order="2", email="eva@shop.example")
        assert direct.review_url.startswith("https://shop.example/review?t=")
        assert direct.review_url.endswith("&x=1")


async def test_without_a_page_there_is_no_link(store: Store) -> None:
    """A21: whoever is asked replies to the message."""
    async with open_shop(store) as shop:
        assert (await sent(shop)).review_url == ""


async def test_only_requests_for_reviews_have_a_link(store: Store) -> None:
    steps = [Step(id="a", wait=Wait(days=7), actions=[Action(Medium.EMAIL, "s", body="x")])]
    note = Rule(
        account=ACCOUNT, id="note", display_name="Note", family=Family.NOTIFICATION,
        purpose=Purpose.TRANSACTIONAL, event_type="checkout", steps=steps,
    )  # fmt: skip
    async with open_shop(store, rules=[note], review_page_url=PAGE) as shop:
        assert (await sent(shop, "2026-03-09 12:00")).review_url == ""


async def test_a_link_tells_what_is_asked(store: Store) -> None:
    """A21, B22, B36: as the message said it, whatever the rule says by now."""
    rule = review_rule(review=STRICT)
    async with open_shop(store, rule=rule, review_page_url=PAGE) as shop:
        letter = await sent(shop)
        changed = replace(rule, review=ReviewSettings())
        await shop.registry.update_rule(changed)
        found = await shop.engine.reviews.resolve(ACCOUNT, token_of(letter))
        assert found.ticket.member == letter.member
        assert (found.ticket.questionnaire, found.ticket.kinds) == ("extended", KIND_SERVICE)
        assert found.ticket.comment_kinds == KIND_SERVICE
        assert (found.detail.order_reference, found.platform) == ("1", "own")
        assert (found.items, found.knows_items) == ((), True), "a service review has no goods"


def combined(**product: Any) -> list[Rule]:
    review = ReviewSettings(product_timing=ProductTiming.SAME_AS_SERVICE, **product)
    steps = [Step(id="p", wait=Wait(days=7), actions=[Action(medium=Medium.EMAIL)])]
    goods = review_rule(id="goods", family=Family.PRODUCT_REVIEW, review=review, steps=steps)
    return [review_rule(), goods]


async def test_a_combined_request_may_want_a_text_about_products_only(store: Store) -> None:
    """B36, R38."""
    rules = combined(comment_required=True)
    async with open_shop(store, rules=rules, review_page_url=PAGE) as shop:
        token = token_of(await sent(shop))
        found = await shop.engine.reviews.resolve(ACCOUNT, token)
        assert found.ticket.kinds == KIND_SERVICE | KIND_PRODUCT
        assert found.ticket.comment_kinds == KIND_PRODUCT
        assert [item.sku for item in found.items] == ["mug"]
        error = await refused(shop, written(shop, token, review={"kind": Family.PRODUCT_REVIEW}))
        assert error.field == "event.review.has_comment"
        assert (await refused(shop, written(shop, token))).field == "event.review.has_comment"
        await shop.publish(written(shop, token, review={"kind": Family.SERVICE_REVIEW}))
        about_goods = {"kind": Family.PRODUCT_REVIEW, "has_comment": True}
        await shop.publish(written(shop, token, id="review-2", review=about_goods))


async def test_a_review_is_about_what_its_link_asks(store: Store) -> None:
    """B36, R38: another kind would end the wrong reminder, and need no text."""
    rule = review_rule(review=STRICT)
    async with open_shop(store, rule=rule, review_page_url=PAGE) as shop:
        token = token_of(await sent(shop))
        error = await refused(shop, written(shop, token, review={"kind": Family.PRODUCT_REVIEW}))
        assert (isinstance(error, InvalidField), error.field) == (True, "event.review.kind")
        assert "SERVICE" in error.message
        assert (await states(shop))[1][0] == State.SCHEDULED


async def test_what_went_back_is_not_to_be_reviewed(store: Store) -> None:
    """R39."""
    async with open_shop(store, rules=combined(), review_page_url=PAGE) as shop:
        token = token_of(await sent(shop))
        found = await shop.engine.reviews.resolve(ACCOUNT, token)
        assert [item.sku for item in found.items] == ["mug"]
        gone = Order(reference="1", items=[Item(sku="mug", quantity=1)])
        await shop.publish(replace(shop.event("return"), order=gone))
        found = await shop.engine.reviews.resolve(ACCOUNT, token)
        assert (found.items, found.knows_items) == ((), True)


async def test_a_review_by_its_link_ends_the_reminder_and_is_counted(store: Store) -> None:
    """B20, B37: the event names neither order nor contact."""
    async with open_shop(store, review_page_url=PAGE) as shop:
        letter = await sent(shop)
        (answer,) = await shop.publish(
            written(shop, token_of(letter), review={"rating": 5, "has_comment": True})
        )
        assert answer.contact_key == letter.member[:8]
        assert (await states(shop))[1] == (State.CANCELLED, Reason.REVIEWED)
        assert await stats(shop) == (1, 1, 1, 1)
        view = await shop.engine.reader.get(ACCOUNT, letter.member)
        assert FeedbackKind.REVIEWED in view.heard
        await shop.until(REMINDED)
        assert len(shop.mails()) == 1


async def test_a_token_is_not_kept(store: Store) -> None:
    """Whoever reads stored events cannot open the link of somebody."""
    async with open_shop(store, review_page_url=PAGE) as shop:
        letter = await sent(shop)
        event, member = await shop.engine.reviews.complete(ACCOUNT, written(shop, token_of(letter)))
        assert member == letter.member
        assert event.review == Review(kind=Family.SERVICE_REVIEW)
        assert (event.order, event.contact.email) == (Order(reference="1"), "ana@shop.example")


async def test_a_review_that_is_published_again_counts_once(store: Store) -> None:
    """d8."""
    async with open_shop(store, review_page_url=PAGE) as shop:
        event = written(shop, token_of(await sent(shop)))
        await shop.publish(event)
        await shop.publish(event)
        assert await stats(shop) == (1, 1, 1, 0)


async def test_a_review_of_no_order_finds_its_request(store: Store) -> None:
    """B20: an event without an order was asked about."""
    async with open_shop(store, review_page_url=PAGE) as shop:
        letter = await sent(shop, order="", id="visit-1")
        (answer,) = await shop.publish(written(shop, token_of(letter)))
        assert answer.contact_key == letter.member[:8]
        await shop.until(REMINDED)
        assert len(shop.mails()) == 1


async def test_a_text_is_wanted_only_where_the_link_says_so(store: Store) -> None:
    """B36: refused, naming what is missing; nothing has happened."""
    rule = review_rule(review=STRICT)
    async with open_shop(store, rule=rule, review_page_url=PAGE) as shop:
        token = token_of(await sent(shop))
        error = await refused(shop, written(shop, token))
        assert isinstance(error, InvalidField)
        assert (error.field, "comment_required" in error.message) == (
            "event.review.has_comment",
            True,
        )
        assert await stats(shop) == (1, 1, 0, 0)
        await shop.publish(written(shop, token, review={"has_comment": True}))
        assert await stats(shop) == (1, 1, 1, 1)
    async with open_shop(review_page_url=PAGE) as shop:
        await shop.publish(written(shop, token_of(await sent(shop))))
    async with open_shop(rule=rule, review_page_url=PAGE) as shop:
        await sent(shop)
        # Without a link nobody says that a text is wanted: the review may come from anywhere.
        await shop.publish(shop.event("review_submitted"))


async def test_a_link_of_somebody_else_is_refused(store: Store) -> None:
    """Forged, another account's, another channel's, another order's."""
    async with open_shop(store, review_page_url=PAGE) as shop:
        token = token_of(await sent(shop))
        paris = await shop.add_channel("paris")
        for event, field in (
            (written(shop, token[:-1] + "A" if token[-1] != "A" else token[:-1] + "B"),
             "event.review.link_token"),
            (written(shop, "x"), "event.review.link_token"),
            (written(shop, token, channel=paris), "event.channel"),
            (written(shop, token, order=Order(reference="2")), "event.order.reference"),
            (replace(written(shop, token), type="delivery"), "event.review.link_token"),
        ):  # fmt: skip
            error = await refused(shop, event)
            assert (isinstance(error, InvalidField), error.field) == (True, field)
        for account in ("other", ""):
            with pytest.raises(InvalidField, match="token"):
                await shop.engine.reviews.resolve(account, token)
        assert (await states(shop))[1][0] == State.SCHEDULED


async def test_a_link_leads_on_for_90_days(store: Store) -> None:
    """A review that was written in time may be told late."""
    async with open_shop(store, review_page_url=PAGE) as shop:
        letter = await sent(shop, REMINDED)
        reviews, token = shop.engine.reviews, token_of(letter)
        ticket = reviews.read(token)
        assert ticket is not None
        shop.clock.move_to_ms(ticket.expire_ms - 1)
        assert ticket.expire_ms - letter.send_ms > 90 * DAY_MS
        assert await reviews.target(ticket, token)
        shop.clock.move_to_ms(ticket.expire_ms)
        assert await reviews.target(ticket, token) == ""
        with pytest.raises(FailedPrecondition, match="expired"):
            await reviews.resolve(ACCOUNT, token)


async def test_a_link_of_somebody_erased_leads_to_nothing(store: Store) -> None:
    """R22."""
    async with open_shop(store, review_page_url=PAGE) as shop:
        token = token_of(await sent(shop))
        (key,) = {letter.member[:8] for letter in shop.post.letters}
        await shop.engine.eraser.erase(ACCOUNT, key)
        with pytest.raises(NotFound):
            await shop.engine.reviews.resolve(ACCOUNT, token)
        assert isinstance(await refused(shop, written(shop, token)), NotFound)


# --- other platforms --------------------------------------------------------------------------------


async def divide(shop: Shop, *, reports_reviews: bool) -> None:
    await shop.registry.create_platform(
        Platform(
            account=ACCOUNT, id="stars", display_name="Stars", kind=PlatformKind.CUSTOM,
            review_types=(Family.SERVICE_REVIEW,),
            review_url="https://stars.example/{{order_reference}}?by={{first_name}}",
            reports_reviews=reports_reviews, needs_data_forwarding=True,
        )
    )  # fmt: skip
    everything = Diversion(weights=(Weight("stars", 100),))
    await shop.registry.update_channel(
        new_channel("madrid", diversion=everything, review_page_url=PAGE)
    )


async def forwarded(shop: Shop) -> Letter:
    shop.engine.reviews.base = BASE
    event = shop.event(
        order="A/1 ñ", contact=Contact(email="ana@shop.example", first_name="Ana&Eva")
    )
    consent = replace(event.consents[0], purpose=int(Purpose.DATA_FORWARDING))
    event.consents.append(consent)
    await shop.publish(event)
    await shop.until(SENT)
    return shop.post.letters[-1]


@pytest.mark.parametrize("reports_reviews", [False, True])
async def test_a_click_leads_to_the_platform_and_may_end_reminders(
    store: Store, reports_reviews: bool
) -> None:
    """R47: where nobody tells of reviews, the click counts."""
    async with open_shop(store) as shop:
        await divide(shop, reports_reviews=reports_reviews)
        letter = await forwarded(shop)
        assert letter.platform == "stars"
        target = await follow(shop, letter)
        assert target == "https://stars.example/A%2F1%20%C3%B1?by=Ana%26Eva"
        found = await shop.engine.reviews.resolve(ACCOUNT, token_of(letter))
        assert found.platform == "stars"
        view = await shop.engine.reader.get(ACCOUNT, letter.member)
        assert FeedbackKind.CLICKED in view.heard
        wanted = (State.SCHEDULED, Reason.NONE)
        if not reports_reviews:
            wanted = (State.CANCELLED, Reason.REVIEWED)
        assert (await states(shop, "A/1 ñ"))[1] == wanted


async def test_a_click_on_the_own_platform_ends_no_reminder(store: Store) -> None:
    """R47: the shop tells of its reviews."""
    async with open_shop(store, review_page_url=PAGE) as shop:
        letter = await sent(shop)
        await follow(shop, letter)
        assert (await states(shop))[1][0] == State.SCHEDULED
        view = await shop.engine.reader.get(ACCOUNT, letter.member)
        assert FeedbackKind.CLICKED in view.heard


async def test_a_platform_is_reached_after_its_order_is_forgotten(store: Store) -> None:
    """What is not known any more is left empty."""
    async with open_shop(store) as shop:
        await divide(shop, reports_reviews=False)
        letter = await forwarded(shop)
        await follow(shop, letter)
        # The reminder has ended, so nobody needs the event any more.
        assert await follow(shop, letter) == "https://stars.example/A%2F1%20%C3%B1?by="


async def test_a_platform_that_is_gone_leads_nowhere(store: Store) -> None:
    async with open_shop(store) as shop:
        await divide(shop, reports_reviews=True)
        letter = await forwarded(shop)
        await shop.registry.update_channel(new_channel("madrid", diversion=Diversion()))
        await shop.registry.delete_platform(ACCOUNT, "stars")
        assert await follow(shop, letter) == ""


async def test_a_click_settles_what_is_unknown(store: Store) -> None:
    """R48."""
    async with open_shop(store, review_page_url=PAGE) as shop:
        letter = await sent(shop)
        told = Told(letter.member, FeedbackKind.CLICKED)
        (outcome,) = await shop.engine.feedback.record(ACCOUNT, [told])
        assert (outcome.state, outcome.is_new) == (State.SENT, True)
        ticket = shop.engine.reviews.read(token_of(letter))
        assert ticket is not None
        await shop.engine.reviews.click(ticket)
        (outcome,) = await shop.engine.feedback.record(ACCOUNT, [told])
        assert outcome.is_new is False
