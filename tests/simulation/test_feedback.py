"""What is heard of messages after they were sent, and what follows: a shop on a clock moved by hand."""

from __future__ import annotations

from typing import Any

import pytest

from core.antispam import consent
from core.bounds import DAY_MS
from core.contact_ports import ConsentLine, FeedbackKind
from core.engine.consents import Statement
from core.engine.feedback import Outcome, Told
from core.engine.reach import Whom
from core.errors import Conflict, FailedPrecondition, NotFound
from core.model import (
    ConsentStatus,
    Contact,
    Evidence,
    Family,
    Medium,
    Purpose,
    Reason,
    Shipment,
    State,
    Suppression,
)
from core.ports import Store
from core.records import NO_KEY
from core.registry.diversion_parts import Diversion, PlatformKind, Weight
from core.registry.resources import Carrier, Platform
from core.registry.rule_parts import Action, Recipient, Step, Wait
from core.sending import Delivery
from senders.smtp_reply import Reply, Stage, delivery_of
from tests.support.rules import free_rule
from tests.support.shop import ACCOUNT, Shop, ms, new_channel, open_shop, review_rule

ANA = "ana@shop.example"
HARD, SOFT = FeedbackKind.HARD_BOUNCED, FeedbackKind.SOFT_BOUNCED
COMPLAINED, UNSUBSCRIBED = FeedbackKind.COMPLAINED, FeedbackKind.UNSUBSCRIBED
SENT_AT = "2026-03-08 09:00"
"""When the review request of a checkout on 1 March goes out: at 10:00 in Madrid."""


async def tell(shop: Shop, member: bytes, kind: int, **fields: Any) -> Outcome:
    """Tell one thing that must be taken."""
    (outcome,) = await shop.engine.feedback.record(ACCOUNT, [Told(member, kind, **fields)])
    assert outcome.error is None, outcome.error
    return outcome


def last_sent(shop: Shop) -> bytes:
    """Return the member of the newest message that went out."""
    return bytes.fromhex(shop.post.sent[-1][3])


async def sent_request(shop: Shop, order: str = "1", **fields: Any) -> bytes:
    """Buy, and wait until the request for a review has gone out."""
    await shop.publish(shop.event(order=order, **fields))
    await shop.engine.advance_to(shop.clock.now_ms() + 7 * DAY_MS + DAY_MS // 4)
    return last_sent(shop)


async def state_of(shop: Shop, member: bytes) -> tuple[State, Reason]:
    ref = (await shop.engine.reader.get(ACCOUNT, member)).reference
    return State(ref.state), Reason(ref.reason)


async def states(shop: Shop, email: str = ANA) -> list[tuple[State, Reason]]:
    """Return how all messages of a contact stand, oldest first."""
    key = shop.engine.identity.contact_key(ACCOUNT, Contact(email=email))
    views = await shop.engine.reader.by_contact(ACCOUNT, key)
    return [(State(v.reference.state), Reason(v.reference.reason)) for v in views]


async def suppressions(shop: Shop, contact: Contact) -> set[tuple[int, int, int]]:
    """Return (status, purpose, medium) of what suppresses a contact."""
    key = shop.engine.identity.contact_key(ACCOUNT, contact)
    partition = shop.engine.feedback._partition(key)
    record = await shop.engine.store.contact(partition, key)
    return {
        (entry.status, entry.purpose, entry.medium)
        for entry in (record.consents if record is not None else ())
        if entry.status >= Suppression.UNSUBSCRIBED
    }


# --- bounces ----------------------------------------------------------------------------------------


async def test_a_hard_bounce_suppresses_the_address_and_ends_what_waits(store: Store) -> None:
    """R18, g10: NOT_DELIVERED, its reminder ends, whatever waits for the address ends, at once."""
    async with open_shop(store) as shop:
        member = await sent_request(shop)
        await shop.publish(shop.event(order="2"))
        outcome = await tell(shop, member, HARD)
        assert (outcome.state, outcome.is_new, len(outcome.ended)) == (State.NOT_DELIVERED, True, 2)
        assert await states(shop) == [
            (State.NOT_DELIVERED, Reason.INVALID_RECIPIENT),
            (State.CANCELLED, Reason.PARENT_NOT_DELIVERED),
            (State.SKIPPED, Reason.SUPPRESSED),
        ]
        assert await suppressions(shop, Contact(email=ANA)) == {
            (Suppression.HARD_BOUNCED, 0, Medium.EMAIL)
        }
        await shop.publish(shop.event(order="3"))
        assert (await states(shop))[-1] == (State.SKIPPED, Reason.SUPPRESSED)
        await shop.ends()
        assert await shop.pending() == 0


async def test_a_hard_bounce_stops_transactional_messages_too(store: Store) -> None:
    """R18: all purposes."""
    notice = free_rule("tell", Purpose.TRANSACTIONAL, event_type="delivery")
    async with open_shop(store, rules=[review_rule(), notice]) as shop:
        member = await sent_request(shop)
        await tell(shop, member, HARD)
        count = len(shop.post.sent)
        await shop.publish(shop.event("delivery", consent=None))
        await shop.engine.advance_to(shop.clock.now_ms() + DAY_MS)
        assert len(shop.post.sent) == count
        assert (await states(shop))[-1] == (State.SKIPPED, Reason.SUPPRESSED)


async def test_a_soft_bounce_ends_the_message_and_suppresses_nothing(store: Store) -> None:
    """g10, B18: it did not arrive, so it is not followed up; the next may go."""
    async with open_shop(store) as shop:
        member = await sent_request(shop)
        await tell(shop, member, SOFT)
        assert await state_of(shop, member) == (
            State.NOT_DELIVERED,
            Reason.TEMPORARY_RECIPIENT_ERROR,
        )
        assert await suppressions(shop, Contact(email=ANA)) == set()
        assert (await states(shop))[-1] == (State.CANCELLED, Reason.PARENT_NOT_DELIVERED)
        await sent_request(shop, order="2")
        assert len(shop.post.sent) == 2


async def test_what_is_told_again_changes_nothing(store: Store) -> None:
    """g10, R6: webhooks come twice; what an operator lifted meanwhile stays lifted."""
    async with open_shop(store) as shop:
        member = await sent_request(shop)
        await tell(shop, member, HARD)
        before = await shop.ends()
        again = await tell(shop, member, HARD)
        assert (again.is_new, again.state, again.ended) == (False, State.NOT_DELIVERED, ())
        assert await shop.ends() == before
        assert shop.engine.stats.feedback[HARD] == 1


# --- complaints and unsubscribes --------------------------------------------------------------------


async def test_a_complaint_ends_reviews_and_marketing_of_all_channels(store: Store) -> None:
    """R18: on that medium, account-wide; transactional messages go on."""
    async with open_shop(store) as shop:
        porto = await shop.add_channel("porto", "ask")
        member = await sent_request(shop)
        await shop.publish(shop.event(order="2", channel=porto))
        outcome = await tell(shop, member, COMPLAINED)
        assert outcome.state == State.SENT
        assert await suppressions(shop, Contact(email=ANA)) == {
            (Suppression.COMPLAINED, Purpose.REVIEW, Medium.EMAIL),
            (Suppression.COMPLAINED, Purpose.MARKETING, Medium.EMAIL),
        }
        assert (await states(shop))[1:] == [(State.SKIPPED, Reason.SUPPRESSED)] * 2
        assert await shop.pending() == 0
        await shop.ends()


async def test_an_unsubscribe_with_the_provider_is_one_by_the_link(store: Store) -> None:
    """R18, R19: a withdrawal and a suppression, of the purpose and medium of the message."""
    async with open_shop(store) as shop:
        member = await sent_request(shop)
        await tell(shop, member, UNSUBSCRIBED)
        assert await suppressions(shop, Contact(email=ANA)) == {
            (Suppression.UNSUBSCRIBED, Purpose.REVIEW, Medium.EMAIL)
        }
        await shop.publish(shop.event(order="2"))
        assert (await states(shop))[-1] == (State.SKIPPED, Reason.UNSUBSCRIBED)


# --- reviews and clicks -----------------------------------------------------------------------------


async def test_a_review_that_is_heard_of_ends_the_reminder(store: Store) -> None:
    """R38: of this order; d5: nobody who has reviewed is reminded."""
    async with open_shop(store) as shop:
        member = await sent_request(shop)
        outcome = await tell(shop, member, FeedbackKind.REVIEWED)
        assert (outcome.state, len(outcome.ended)) == (State.SENT, 1)
        assert (await states(shop))[-1] == (State.CANCELLED, Reason.REVIEWED)


@pytest.mark.parametrize("reports_reviews", [False, True])
async def test_a_click_counts_as_reviewed_where_a_platform_reports_no_reviews(
    store: Store, reports_reviews: bool
) -> None:
    """R47."""
    async with open_shop(store) as shop:
        await shop.registry.create_platform(
            Platform(
                account=ACCOUNT, id="stars", display_name="Stars", kind=PlatformKind.CUSTOM,
                review_types=(Family.SERVICE_REVIEW,), review_url="https://stars.example/shop",
                reports_reviews=reports_reviews, needs_data_forwarding=False,
            )
        )  # fmt: skip
        everything = Diversion(weights=(Weight("stars", 100),))
        await shop.registry.update_channel(new_channel("madrid", diversion=everything))
        member = await sent_request(shop)
        assert (await shop.engine.reader.get(ACCOUNT, member)).detail.platform == "stars"
        outcome = await tell(shop, member, FeedbackKind.CLICKED)
        last = (await states(shop))[-1]
        if reports_reviews:
            assert (outcome.ended, last[0]) == ((), State.SCHEDULED)
        else:
            assert (len(outcome.ended), last) == (1, (State.CANCELLED, Reason.REVIEWED))


async def test_a_click_on_the_own_platform_ends_nothing(store: Store) -> None:
    """R47: the own platform tells when a review was written."""
    async with open_shop(store) as shop:
        member = await sent_request(shop)
        outcome = await tell(shop, member, FeedbackKind.CLICKED)
        assert (outcome.ended, (await states(shop))[-1][0]) == ((), State.SCHEDULED)


async def test_the_times_are_told_of_the_message(store: Store) -> None:
    """R8: opened, clicked and reviewed are times, no states; the first time counts, never the future."""
    async with open_shop(store) as shop:
        member = await sent_request(shop)
        opened_ms = shop.clock.now_ms() - 5_000
        await tell(shop, member, FeedbackKind.OPENED, time_ms=opened_ms)
        await tell(shop, member, FeedbackKind.OPENED)
        await tell(shop, member, FeedbackKind.DELIVERED, time_ms=shop.clock.now_ms() + DAY_MS)
        view = await shop.engine.reader.get(ACCOUNT, member)
        assert view.reference.state == State.DELIVERED
        assert view.heard == {
            FeedbackKind.OPENED: opened_ms,
            FeedbackKind.DELIVERED: shop.clock.now_ms(),
        }


# --- unknown outcomes -------------------------------------------------------------------------------


async def unknown(shop: Shop) -> bytes:
    """Hand a request over without hearing whether it was taken."""
    shop.post.answers[ANA] = [Delivery(Delivery.Kind.UNKNOWN, was_handed_over=True)]
    await shop.publish(shop.event())
    await shop.until(SENT_AT)
    return last_sent(shop)


@pytest.mark.parametrize("was_sent", [True, False])
async def test_an_operator_resolves_an_unknown_outcome(store: Store, was_sent: bool) -> None:
    """R48: SENT or NOT_DELIVERED, once; no reminder either way."""
    async with open_shop(store, holds_unknown=True) as shop:
        member = await unknown(shop)
        assert (await state_of(shop, member))[0] == State.UNKNOWN
        for _ in range(2):
            await shop.engine.feedback.resolve(ACCOUNT, member, was_sent=was_sent)
        expected = State.SENT if was_sent else State.NOT_DELIVERED
        assert (await state_of(shop, member))[0] == expected
        with pytest.raises(FailedPrecondition, match="unknown outcome"):
            await shop.engine.feedback.resolve(ACCOUNT, member, was_sent=not was_sent)
        assert await shop.pending() == 0
        ends = await shop.ends()
        assert sum(ends.values()) == 1


async def test_only_an_unknown_outcome_is_resolved(store: Store) -> None:
    """R48."""
    async with open_shop(store) as shop:
        member = await sent_request(shop)
        with pytest.raises(FailedPrecondition, match="SENT"):
            await shop.engine.feedback.resolve(ACCOUNT, member, was_sent=False)
        assert (await state_of(shop, member))[0] == State.SENT


async def test_feedback_settles_an_unknown_outcome(store: Store) -> None:
    """R48: who has opened it has got it."""
    async with open_shop(store, holds_unknown=True) as shop:
        member = await unknown(shop)
        await tell(shop, member, FeedbackKind.OPENED)
        assert (await state_of(shop, member))[0] == State.DELIVERED
        await shop.ends()


# --- what is refused --------------------------------------------------------------------------------


async def test_nothing_is_heard_of_what_was_never_sent(store: Store) -> None:
    """Each is answered for itself: a bad one does not harm the others."""
    async with open_shop(store) as shop:
        member = await sent_request(shop)
        await shop.publish(shop.event(order="2"))
        key = shop.engine.identity.contact_key(ACCOUNT, Contact(email=ANA))
        waiting = (await shop.engine.reader.by_contact(ACCOUNT, key))[-1].member
        told = [Told(waiting, HARD), Told(bytes(16), HARD), Told(member, FeedbackKind.OPENED)]
        never, nobody, opened = await shop.engine.feedback.record(ACCOUNT, told)
        assert isinstance(never.error, FailedPrecondition)
        assert isinstance(nobody.error, NotFound)
        assert opened.error is None
        assert opened.is_new
        assert await suppressions(shop, Contact(email=ANA)) == set()
        (other,) = await shop.engine.feedback.record("other", [Told(member, HARD)])
        assert isinstance(other.error, NotFound)


async def test_delivery_is_not_told_of_what_is_on_its_way(store: Store) -> None:
    """What is tried again may be heard of too early."""
    async with open_shop(store) as shop:
        member = await unknown(shop)
        (outcome,) = await shop.engine.feedback.record(
            ACCOUNT, [Told(member, FeedbackKind.DELIVERED)]
        )
        assert isinstance(outcome.error, Conflict)


# --- phones and carriers ----------------------------------------------------------------------------


def sms_rule() -> Any:
    ask = Action(medium=Medium.SMS, body="Well?")
    return review_rule(steps=[Step(id="ask", wait=Wait(days=7), actions=[ask])])


async def test_a_phone_is_suppressed_for_whoever_else_has_it(store: Store) -> None:
    """R4, R18: a household shares a number; the number does not exist for either."""
    async with open_shop(store, rule=sms_rule(), media=(Medium.SMS,)) as shop:
        phone = "+34600111222"
        ana, phone_alone = Contact(email=ANA, phone=phone), Contact(phone=phone)
        given = [Evidence(Purpose.REVIEW, Medium.SMS, True, shop.clock.now_ms())]
        await shop.publish(shop.event(contact=ana, consents=given))
        await shop.until("2026-03-09 12:00")
        member = last_sent(shop)
        await tell(shop, member, HARD)
        bounced = {(Suppression.HARD_BOUNCED, 0, Medium.SMS)}
        assert await suppressions(shop, Contact(email=ANA)) == bounced
        assert await suppressions(shop, phone_alone) == bounced
        key = shop.engine.identity.contact_key(ACCOUNT, phone_alone)
        partition = shop.engine.feedback._partition(key)
        log = await shop.engine.store.consent_log(partition, key)
        await tell(shop, member, HARD)
        assert await shop.engine.store.consent_log(partition, key) == log, "told once"
        lifted = ConsentLine(0, 0, Medium.SMS, ConsentStatus.LIFTED, shop.clock.now_ms())
        await shop.engine.store.write_consents(partition, key, [lifted], shop.clock.now_ms())
        await tell(shop, member, HARD)
        assert await suppressions(shop, phone_alone) == set(), "what was lifted since stays so"


async def test_a_second_no_holds_for_whoever_else_has_the_phone(store: Store) -> None:
    """R4, R18: the first one was outdone by a confirmation; the phone's record hears of the second."""
    async with open_shop(store, rule=sms_rule(), media=(Medium.SMS,)) as shop:
        phone = "+34600111222"
        ana, phone_alone = Contact(email=ANA, phone=phone), Contact(phone=phone)
        key = shop.engine.identity.contact_key(ACCOUNT, phone_alone)
        partition = shop.engine.feedback._partition(key)

        async def refusal() -> Reason:
            record = await shop.engine.store.contact(partition, key)
            assert record is not None
            return consent.suppression(record.consents, 0, NO_KEY, Purpose.REVIEW, Medium.SMS)

        for order, day in (("1", "09"), ("2", "20")):
            proof = Statement(Purpose.REVIEW, Medium.SMS)
            await shop.engine.advance_to(shop.clock.now_ms() + 1)
            await shop.engine.consents.grant(ACCOUNT, Whom(contact=ana), proof)
            if order == "2":
                assert await refusal() is Reason.NONE
            await shop.publish(shop.event(order=order, contact=ana, consents=[]))
            await shop.until(f"2026-03-{day} 12:00")
            await tell(shop, last_sent(shop), UNSUBSCRIBED)
            assert await refusal() is Reason.UNSUBSCRIBED


async def test_a_bounce_from_a_carrier_says_nothing_about_the_customer(store: Store) -> None:
    """R49."""
    asked = Action(
        medium=Medium.EMAIL, recipient=Recipient.CARRIER, subject="Where is it?", body="{order}"
    )
    steps = [Step(id="ask", wait=Wait(elapsed_ms=0), actions=[asked])]
    rule = free_rule("late", Purpose.OPERATIONAL, event_type="shipment_delayed", steps=steps)
    async with open_shop(store, rule=rule) as shop:
        await shop.registry.create_carrier(
            Carrier(account=ACCOUNT, id="correos", email="desk@carrier.example")
        )
        parcel = Shipment(carrier="correos")
        await shop.publish(shop.event("shipment_delayed", consent=None, shipment=parcel))
        await shop.engine.advance_to(shop.clock.now_ms() + DAY_MS)
        assert [to for _, to, _ in shop.mails()] == ["desk@carrier.example"]
        await tell(shop, last_sent(shop), HARD)
        assert await suppressions(shop, Contact(email=ANA)) == set()


# --- what transports say ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("reply", "is_suppressed"),
    [
        (b"5.1.1 no such user", True),
        (b"5.2.1 disabled", True),
        (b"5.2.2 mailbox full", False),
        (b"no thanks", False),
        (b"5.7.1 policy", False),
    ],
)
async def test_an_address_refused_for_good_is_suppressed(
    store: Store, reply: bytes, is_suppressed: bool
) -> None:
    """g10: for statuses about the address; policies and full mailboxes do not bar it."""
    async with open_shop(store) as shop:
        shop.post.answers[ANA] = [delivery_of(Stage.RCPT, Reply(550, [reply]), 0)]
        await shop.publish(shop.event(), shop.event(order="2"))
        await shop.until(SENT_AT)
        expected = {(Suppression.HARD_BOUNCED, 0, Medium.EMAIL)} if is_suppressed else set()
        assert await suppressions(shop, Contact(email=ANA)) == expected
        await shop.publish(shop.event(order="3"))
        waits = (await states(shop))[-1][0] == State.SCHEDULED
        assert waits is not is_suppressed
        await shop.ends()


def test_the_start_is_what_the_tests_think() -> None:
    assert ms(SENT_AT) - ms("2026-03-01 09:00") == 7 * DAY_MS
