"""Rows of tests/requirements/rows.toml as a client lives through them.

A real daemon, its embedded store, a virtual clock, and nothing but the API.
"""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest
import pytest_asyncio
from google.protobuf.duration_pb2 import Duration
from google.protobuf.field_mask_pb2 import FieldMask

from afterword.googleapis import expr_pb2, timeofday_pb2
from afterword.v1 import (
    channel_service_pb2,
    event_pb2,
    event_service_pb2,
    types_pb2,
)
from afterword.v1 import invitation_service_pb2 as inv
from afterword.v1 import rule_service_pb2 as pb2
from core.bounds import DAY_MS, MINUTE_MS
from tests.control.kit import (
    PARENT,
    Shop,
    cap_pb,
    event_pb,
    open_shop,
    refused,
    rule_pb,
    step_pb,
    unique,
)

pytestmark = pytest.mark.asyncio(loop_scope="module")
EMAIL = types_pb2.MEDIUM_EMAIL
State, Reason = inv.Invitation.State, inv.Invitation.Reason
Standing = pb2.Activation.State
Disposition = event_service_pb2.EventResult.Disposition
ON_ORDER: dict[str, Any] = {
    "family": pb2.Rule.FAMILY_NOTIFICATION,
    "purpose": types_pb2.PURPOSE_TRANSACTIONAL,
    "steps": [
        step_pb(days=0, actions=[pb2.Action(medium=EMAIL, subject="About {{order}}", body="Yes.")])
    ],
}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shop(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Shop]:
    """A shop of this file's own: its clock goes on."""
    async with open_shop(tmp_path_factory.mktemp("rows")) as opened:
        yield opened


# --- hands ----------------------------------------------------------------------------------------


async def publish(shop: Shop, channel: str, **fields: Any) -> event_service_pb2.EventResult:
    """Publish an event of now."""
    event = event_pb(channel, **fields)
    event.occur_time.FromMilliseconds(shop.clock.now_ms())
    request = event_service_pb2.PublishRequest(event=event)
    return (await shop.events.Publish(request)).result


async def order_of(shop: Shop, channel: str, reference: str, **fields: Any) -> list[str]:
    """Publish a checkout; the names of its invitations."""
    order = event_pb2.Order(reference=reference, items=[event_pb2.Item(sku="s", name="Shoe")])
    return list((await publish(shop, channel, order=order, **fields)).invitations)


async def days_pass(shop: Shop, days: float) -> None:
    await shop.daemon.engine.advance_to(shop.clock.now_ms() + int(days * DAY_MS))


async def read(shop: Shop, name: str) -> inv.Invitation:
    return await shop.invitations.GetInvitation(inv.GetInvitationRequest(name=name))


async def ends(shop: Shop, *names: str) -> list[tuple[int, int]]:
    """Return (state, reason) of invitations."""
    found = [await read(shop, name) for name in names]
    return [(one.state, one.reason) for one in found]


async def standing(shop: Shop, channel: str) -> dict[str, int]:
    """Return rule -> state on a channel."""
    listed = await shop.rules.ListActivations(pb2.ListActivationsRequest(parent=channel))
    return {one.rule: one.state for one in listed.activations}


async def get_rule(shop: Shop, name: str) -> pb2.Rule:
    return await shop.rules.GetRule(pb2.GetRuleRequest(name=name))


async def switch_type(shop: Shop, name: str, active: bool) -> None:
    await shop.events.UpdateEventType(
        event_service_pb2.UpdateEventTypeRequest(
            event_type=event_service_pb2.EventType(name=name, active=active),
            update_mask=FieldMask(paths=["active"]),
        )
    )


def at(days: int, hours: int, **fields: Any) -> pb2.Wait:
    return pb2.Wait(days=days, time_of_day=timeofday_pb2.TimeOfDay(hours=hours), **fields)


def product(**fields: Any) -> dict[str, Any]:
    return {"family": pb2.Rule.FAMILY_PRODUCT_REVIEW, **fields}


SENT = (State.STATE_SENT, Reason.REASON_UNSPECIFIED)


# --- event types and switches ---------------------------------------------------------------------


async def test_an_event_type_of_the_account_is_switched_off_and_on(shop: Shop) -> None:
    """A10, A11, A13, A16, A17, C10: what the rule says of its type, and what becomes of events."""
    created = await shop.events.CreateEventType(
        event_service_pb2.CreateEventTypeRequest(
            parent=PARENT,
            event_type_id=unique("fitting"),
            event_type=event_service_pb2.EventType(display_name="Fitting", active=False),
        )
    )
    type_id = created.name.rpartition("/")[2]
    channel = await shop.create_channel()
    rule = await shop.create_rule(channel, trigger=pb2.Trigger(event_type=type_id))
    assert not (await get_rule(shop, rule)).event_type_active, "saved, and says it will not fire"
    off = await publish(shop, channel, type=type_id)
    assert (off.disposition, list(off.invitations)) == (Disposition.DISPOSITION_INACTIVE, [])
    await switch_type(shop, created.name, True)
    assert (await get_rule(shop, rule)).event_type_active
    kept, lost = (
        (await publish(shop, channel, type=type_id)).invitations[0],
        (await publish(shop, channel, type=type_id)).invitations[0],
    )
    await switch_type(shop, created.name, False)
    assert await ends(shop, kept) == [(State.STATE_SCHEDULED, 0)]
    await switch_type(shop, created.name, True)
    await days_pass(shop, 8)
    assert await ends(shop, kept, lost) == [SENT, SENT]
    late = (await publish(shop, channel, type=type_id)).invitations[0]
    await switch_type(shop, created.name, False)
    await days_pass(shop, 8)
    assert await ends(shop, late) == [
        (State.STATE_CANCELLED, Reason.REASON_EVENT_TYPE_INACTIVE)
    ]  # fmt: skip


async def test_one_switch_over_both_blocks_of_an_event_type(shop: Shop) -> None:
    """B1, B8, B9, B27: off, neither is asked for, and what waits ends; the other type goes on."""
    channel = await shop.create_channel()
    await shop.create_rule(channel)
    await shop.create_rule(channel, **product(steps=[step_pb(days=9)]))
    await shop.create_rule(channel, trigger=pb2.Trigger(event_type="delivery"))
    waiting = await order_of(shop, channel, unique("o"))
    assert len(waiting) == 2

    async def switch(*types: str) -> None:
        await shop.channels.UpdateChannel(
            channel_service_pb2.UpdateChannelRequest(
                channel=channel_service_pb2.Channel(name=channel, review_event_types_off=types),
                update_mask=FieldMask(paths=["review_event_types_off"]),
            )
        )

    await switch("checkout")
    assert await order_of(shop, channel, unique("o")) == []
    delivered = list((await publish(shop, channel, type="delivery")).invitations)
    await days_pass(shop, 10)
    inactive = (State.STATE_CANCELLED, Reason.REASON_RULE_INACTIVE)
    assert await ends(shop, *waiting, *delivered) == [inactive, inactive, SENT]
    await switch()
    assert len(await order_of(shop, channel, unique("o"))) == 2


async def test_rules_of_a_channel_take_turns_and_other_channels_keep_theirs(shop: Shop) -> None:
    """A24, A25, A26, A27, B10, B12, B40: what waits keeps the revision it was planned with."""
    here, there = [await shop.create_channel() for _ in range(2)]
    first = await shop.create_rule(here, steps=[step_pb(days=3)])
    await shop.rules.ActivateRule(pb2.ActivateRuleRequest(name=first, channel=there))
    second = await shop.create_rule(steps=[step_pb(days=1)])
    (before,) = await order_of(shop, here, unique("o"))
    await shop.rules.ActivateRule(pb2.ActivateRuleRequest(name=second, channel=here))
    (after,) = await order_of(shop, here, unique("o"))
    (elsewhere,) = await order_of(shop, there, unique("o"))
    assert [(await read(shop, name)).rule for name in (before, after, elsewhere)] == [
        first, second, first,
    ]  # fmt: skip
    assert await standing(shop, here) == {
        first: Standing.STATE_SUPERSEDED, second: Standing.STATE_ACTIVE,
    }  # fmt: skip
    await days_pass(shop, 1.1)
    assert [state for state, _ in await ends(shop, before, after)] == [
        State.STATE_SCHEDULED, State.STATE_SENT,
    ]  # fmt: skip
    await days_pass(shop, 2)
    assert await ends(shop, before, elsewhere) == [SENT, SENT]


# --- product reviews ------------------------------------------------------------------------------


async def test_product_rules_are_one_a_channel_or_one_an_event_type(shop: Shop) -> None:
    """B28, B29: as the channel chooses, which cannot be narrowed while two are active."""
    per = channel_service_pb2.Channel.ProductExclusivity
    channel = await shop.create_channel()
    ordered = await shop.create_rule(channel, **product(steps=[step_pb(days=2)]))
    arrived = await shop.create_rule(
        channel, **product(trigger=pb2.Trigger(event_type="delivery"), steps=[step_pb(days=1)])
    )
    assert await standing(shop, channel) == {
        ordered: Standing.STATE_SUPERSEDED, arrived: Standing.STATE_ACTIVE,
    }  # fmt: skip

    async def choose(exclusivity: int) -> None:
        await shop.channels.UpdateChannel(
            channel_service_pb2.UpdateChannelRequest(
                channel=channel_service_pb2.Channel(
                    name=channel,
                    product_exclusivity=exclusivity,  # type: ignore[arg-type]
                )
            )
        )

    await choose(per.PRODUCT_EXCLUSIVITY_PER_EVENT_TYPE)
    await shop.rules.ActivateRule(pb2.ActivateRuleRequest(name=ordered, channel=channel))
    assert set((await standing(shop, channel)).values()) == {Standing.STATE_ACTIVE}
    (of_order,) = await order_of(shop, channel, unique("o"))
    (of_delivery,) = await order_of(shop, channel, unique("o"), type="delivery")
    with refused() as refusal:
        await choose(per.PRODUCT_EXCLUSIVITY_PER_CHANNEL)
    assert refusal.code is grpc.StatusCode.FAILED_PRECONDITION
    assert refusal.field == "channel.product_exclusivity"
    assert ordered in refusal.problem.message
    assert arrived in refusal.problem.message
    await days_pass(shop, 3)
    assert await ends(shop, of_order, of_delivery) == [SENT, SENT]


async def test_products_are_asked_about_later_or_together(shop: Shop) -> None:
    """B31, B32, B36: a wait that is not longer is not saved; combined is one message, one cap unit."""
    channel = await shop.create_channel()
    service = await shop.create_rule(channel, steps=[step_pb(days=5)])
    request = pb2.CreateRuleRequest(
        parent=PARENT, rule_id=unique("rule"), activate_on=[channel],
        rule=rule_pb(**product(steps=[step_pb(days=5)])),
    )  # fmt: skip
    with refused() as refusal:
        await shop.rules.CreateRule(request)
    assert refusal.code is grpc.StatusCode.FAILED_PRECONDITION
    assert refusal.field == "rule.steps[0].wait"
    with refused():
        await get_rule(shop, f"{PARENT}/rules/{request.rule_id}")
    together = pb2.ReviewSettings(
        product_timing=pb2.ReviewSettings.PRODUCT_TIMING_SAME_AS_SERVICE, comment_required=True
    )
    request.rule.review.CopyFrom(together)
    await shop.rules.CreateRule(request)
    cap = await shop.channels.CreateCap(
        channel_service_pb2.CreateCapRequest(
            parent=PARENT, cap_id=unique("cap"),
            cap=cap_pb(window=Duration(seconds=30 * 86_400), purposes=[types_pb2.PURPOSE_REVIEW]),
        )
    )  # fmt: skip
    (both,) = await order_of(shop, channel, unique("o"))
    found = await read(shop, both)
    assert found.review_type == inv.Invitation.REVIEW_TYPE_SERVICE_AND_PRODUCT
    assert found.rule == service
    assert found.comment_required
    await days_pass(shop, 6)
    assert await ends(shop, both) == [SENT]
    await shop.channels.DeleteCap(channel_service_pb2.DeleteCapRequest(name=cap.name))


async def test_what_is_written_of_a_setting_is_counted(shop: Shop) -> None:
    """B20, B36, B37: two asked, one review with a text; the reminder of that one does not go."""
    channel = await shop.create_channel()
    rule = await shop.create_rule(
        channel,
        review=pb2.ReviewSettings(comment_required=True),
        steps=[
            step_pb(days=1),
            step_pb("again", wait=pb2.Wait(days=2)),
        ],
    )
    orders = [unique("o") for _ in range(2)]
    people = [event_pb2.Contact(email=f"{order}@example.com") for order in orders]
    for order, contact in zip(orders, people, strict=True):
        await order_of(shop, channel, order, contact=contact)
    await days_pass(shop, 1.1)
    await publish(
        shop, channel, type="review_submitted", contact=people[0],
        order=event_pb2.Order(reference=orders[0]),
        review=event_pb2.Review(kind=event_pb2.Review.KIND_SERVICE, has_comment=True),
    )  # fmt: skip
    await days_pass(shop, 5)
    stats = await shop.rules.GetRuleStats(pb2.GetRuleStatsRequest(name=rule))
    assert (stats.first_sent_count, stats.sent_count) == (2, 3)
    assert (stats.reviewed_count, stats.commented_count) == (1, 1)
    assert (stats.response_rate, stats.comment_rate) == (0.5, 1.0)


# --- copies ---------------------------------------------------------------------------------------


async def test_a_setting_goes_to_all_channels_or_to_none(tmp_path_factory: Any) -> None:
    """B11, B23, B38: one channel that cannot send keeps all as they are; the answer lists changes."""
    async with open_shop(tmp_path_factory.mktemp("copies")) as shop:
        source, other = [await shop.create_channel() for _ in range(2)]
        mute, targets = await shop.create_channel(email_sender=None), [other]
        for fields in ({}, product(steps=[step_pb(days=9)])):
            rule = await shop.create_rule(source, **fields)
            request = pb2.CopyRuleRequest(name=rule, all_channels=True)
            with refused() as refusal:
                await shop.rules.CopyRule(request)
            assert refusal.code is grpc.StatusCode.FAILED_PRECONDITION
            assert mute in refusal.problem.message
            assert rule not in await standing(shop, other)
            assert len(await standing(shop, other)) == (1 if fields else 0)
            await shop.channels.UpdateChannel(
                channel_service_pb2.UpdateChannelRequest(
                    channel=channel_service_pb2.Channel(
                        name=mute,
                        email_sender=channel_service_pb2.EmailSender(address="a@shop.example"),
                    )
                )
            )
            answer = await shop.rules.CopyRule(request)
            targets.append(mute)
            assert [change.channel for change in answer.changes] == sorted(targets)
            # The second setting is for products: a channel that cannot send comes anew.
            mute = await shop.create_channel(email_sender=None)


# --- life of an automation ------------------------------------------------------------------------


async def test_an_automation_is_paused_stopped_and_started_again(shop: Shop) -> None:
    """D15, D16, D17, D18, D19, D20: over its whole life, as the store's owner sees it."""
    channel = await shop.create_channel()
    rule = await shop.create_rule(channel, **{**ON_ORDER, "steps": [
        step_pb(days=2, actions=[pb2.Action(medium=EMAIL, subject="a", body="b")])
    ]})  # fmt: skip
    (waits,) = await order_of(shop, channel, unique("o"))
    await shop.rules.PauseRule(pb2.PauseRuleRequest(name=rule))
    assert await order_of(shop, channel, unique("o")) == []
    await days_pass(shop, 2.1)
    assert await ends(shop, waits) == [SENT], "what waited went on"
    await shop.rules.ResumeRule(pb2.ResumeRuleRequest(name=rule))
    (stopped,) = await order_of(shop, channel, unique("o"))
    await shop.rules.StopRule(pb2.StopRuleRequest(name=rule))
    await shop.rules.ResumeRule(pb2.ResumeRuleRequest(name=rule))
    (anew,) = await order_of(shop, channel, unique("o"))
    copy = await shop.rules.DuplicateRule(
        pb2.DuplicateRuleRequest(name=rule, rule_id=unique("rule"))
    )
    await days_pass(shop, 3)
    assert await ends(shop, stopped, anew) == [
        (State.STATE_CANCELLED, Reason.REASON_RULE_STOPPED), SENT,
    ]  # fmt: skip
    assert not (await get_rule(shop, copy.name)).active_channels
    assert (await shop.rules.GetRuleStats(pb2.GetRuleStatsRequest(name=rule))).sent_count == 2
    copied = await shop.rules.GetRuleStats(pb2.GetRuleStatsRequest(name=copy.name))
    assert copied.sent_count == 0
    (last,) = await order_of(shop, channel, unique("o"))
    await shop.rules.DeleteRule(pb2.DeleteRuleRequest(name=rule))
    await days_pass(shop, 3)
    assert await ends(shop, last, anew) == [
        (State.STATE_CANCELLED, Reason.REASON_RULE_DELETED), SENT,
    ]  # fmt: skip
    assert (await read(shop, anew)).rule == rule, "history stays"


async def test_content_is_edited_while_messages_wait(shop: Shop) -> None:
    """D1: what is not rendered yet says the new words; each message keeps what revision it said."""
    channel = await shop.create_channel()
    rule = await shop.create_rule(channel, **ON_ORDER)
    contact = event_pb2.Contact(email=f"{unique('reader')}@example.com")
    (early,) = await order_of(shop, channel, unique("o"), contact=contact)
    await days_pass(shop, 0.1)
    (late,) = await order_of(shop, channel, unique("o"), contact=contact)
    steps = [step_pb(days=0, actions=[pb2.Action(medium=EMAIL, subject="Changed", body="b")])]
    await shop.rules.UpdateRule(
        pb2.UpdateRuleRequest(
            rule=pb2.Rule(name=rule, steps=steps), update_mask=FieldMask(paths=["steps"])
        )
    )
    await days_pass(shop, 0.1)
    said = [one.subject for one in shop.outbox.letters if one.address == contact.email]
    assert said == ["About {{order}}", "Changed"]
    assert [(await read(shop, name)).content_revision for name in (early, late)] == [1, 2]
    assert [(await read(shop, name)).rule_revision for name in (early, late)] == [1, 1]


async def test_a_session_becomes_a_contact(shop: Shop) -> None:
    """D21: nobody is known when the cart is left; the first step of the checkout tells who it is."""
    channel = await shop.create_channel()
    cart = pb2.Trigger.Debounce(event_type="cart_updated", quiet_for=Duration(seconds=3_600))
    await shop.create_rule(channel, **{**ON_ORDER, "trigger": pb2.Trigger(debounce=cart)})
    address = f"{unique('session')}@example.com"
    for told in (True, False):
        session = unique("session")
        left = event_pb2.Cart(id=session)
        visitor = event_pb2.Contact(session_id=session)
        await publish(shop, channel, type="cart_updated", contact=visitor, cart=left)
        if told:
            known = event_pb2.Contact(session_id=session, email=address)
            await publish(shop, channel, type="checkout_started", contact=known, cart=left)
    sent = len(shop.outbox.letters)
    await days_pass(shop, 0.2)
    assert [one.address for one in shop.outbox.letters[sent:]] == [address]


async def test_several_messages_follow_one_event(shop: Shop) -> None:
    """C3, C4, C6, C9, C11, C13, C20: two waits beside each other, for consumables over an amount; what
    is not told is false."""
    channel = await shop.create_channel()
    condition = expr_pb2.Expr(
        expression="order.items.exists(i, i.category == 'consumable') && "
        "order.amount > 100.0 && order.currency == 'EUR'"
    )
    for days in (20, 30):
        await shop.create_rule(channel, condition=condition, **{**ON_ORDER, "steps": [
            step_pb(days=days, actions=[pb2.Action(medium=EMAIL, subject=f"{days}", body="b")])
        ]}, trigger=pb2.Trigger(event_type="delivery"))  # fmt: skip

    async def delivered(**order: Any) -> event_service_pb2.EventResult:
        full = event_pb2.Order(reference=unique("o"), **order)
        return await publish(shop, channel, type="delivery", order=full)

    consumable = [event_pb2.Item(sku="a", category="shoe"), event_pb2.Item(category="consumable")]
    dear = {"currency_code": "EUR", "units": 101}
    both = await delivered(items=consumable, total=dear)
    assert len(both.invitations) == 2
    for order in ({}, {"items": consumable}, {"items": consumable[:1], "total": dear},
                  {"items": consumable, "total": {"currency_code": "USD", "units": 101}}):  # fmt: skip
        assert (await delivered(**order)).disposition == Disposition.DISPOSITION_NO_MATCH
    first, second = both.invitations
    await days_pass(shop, 21)
    assert [state for state, _ in await ends(shop, first, second)] == [
        State.STATE_SENT, State.STATE_SCHEDULED,
    ]  # fmt: skip
    await days_pass(shop, 10)
    assert await ends(shop, second) == [SENT]


async def test_a_late_parcel_is_told_to_its_carrier(shop: Shop) -> None:
    """C1, C5, C16, C17: without the customer's consent, to the address in the directory, answers to the
    shop; an unknown carrier is nobody."""
    sender = channel_service_pb2.EmailSender(address="a@shop.example", reply_to="desk@shop.example")
    channel = await shop.create_channel(
        email_sender=sender,
        consent_mode=channel_service_pb2.Channel.CONSENT_MODE_REQUIRE_EVIDENCE,
    )
    carrier = unique("carrier")
    await shop.channels.CreateCarrier(
        channel_service_pb2.CreateCarrierRequest(
            parent=PARENT, carrier_id=carrier,
            carrier=channel_service_pb2.Carrier(email=f"{carrier}@carrier.example"),
        )
    )  # fmt: skip
    action = pb2.Action(
        medium=EMAIL, subject="Late", body="Where?", recipient=pb2.Action.RECIPIENT_CARRIER
    )
    await shop.create_rule(channel, **{
        **ON_ORDER, "purpose": types_pb2.PURPOSE_OPERATIONAL,
        "steps": [step_pb(days=0, actions=[action])],
        "trigger": pb2.Trigger(event_type="shipment_delayed"),
    })  # fmt: skip
    sent = len(shop.outbox.letters)
    found = []
    for name in (carrier, "unheard-of"):
        shipment = event_pb2.Shipment(carrier=name, tracking_number="T1")
        late = await publish(shop, channel, type="shipment_delayed", shipment=shipment)
        found += late.invitations
    await days_pass(shop, 0.1)
    assert await ends(shop, *found) == [
        SENT, (State.STATE_SKIPPED, Reason.REASON_NO_RECIPIENT),
    ]  # fmt: skip
    (letter,) = shop.outbox.letters[sent:]
    assert letter.address == f"{carrier}@carrier.example"
    assert (letter.sender or letter.channel.email_sender).reply_to == "desk@shop.example"


async def test_quiet_hours_hold_marketing_and_nothing_else(shop: Shop) -> None:
    """C18: at once means at once for what must be told; advertising waits for the morning."""
    days = shop.clock.now_ms() // DAY_MS
    await shop.daemon.engine.advance_to((days + 1) * DAY_MS + 60 * MINUTE_MS)
    hours = channel_service_pb2.MediumHours(medium=EMAIL)
    hours.quiet.add(start=timeofday_pb2.TimeOfDay(hours=0), end=timeofday_pb2.TimeOfDay(hours=8))
    channel = await shop.create_channel(time_zone="UTC", hours=[hours])
    for purpose in (types_pb2.PURPOSE_TRANSACTIONAL, types_pb2.PURPOSE_MARKETING):
        await shop.create_rule(channel, **{**ON_ORDER, "purpose": purpose})
    told = event_pb2.ConsentEvidence(purpose=types_pb2.PURPOSE_MARKETING, medium=EMAIL, given=True)
    found = await order_of(shop, channel, unique("o"), consents=[told])
    await days_pass(shop, 0.01)
    purposes = {(await read(shop, name)).purpose: await read(shop, name) for name in found}
    assert purposes[types_pb2.PURPOSE_TRANSACTIONAL].state == State.STATE_SENT
    held = purposes[types_pb2.PURPOSE_MARKETING]
    assert held.state == State.STATE_SCHEDULED
    await days_pass(shop, 0.4)
    settled = await read(shop, held.name)
    assert settled.state == State.STATE_SENT
    assert settled.settle_time.ToMilliseconds() == (days + 1) * DAY_MS + 8 * 60 * MINUTE_MS


# --- what all writes share ------------------------------------------------------------------------


Write = tuple[Any, Any]
"""A method and a request that is right."""


async def writes(shop: Shop) -> list[Write]:
    """Return a write of every method that takes a request id, each on resources of its own."""
    channel, other = [await shop.create_channel() for _ in range(2)]
    kind = (
        await shop.events.CreateEventType(
            event_service_pb2.CreateEventTypeRequest(
                parent=PARENT, event_type_id=unique("kind"),
                event_type=event_service_pb2.EventType(active=True),
            )
        )
    ).name  # fmt: skip
    carrier, cap = unique("carrier"), unique("cap")
    ch, ev, rules = channel_service_pb2, event_service_pb2, shop.rules
    await shop.channels.CreateCarrier(
        ch.CreateCarrierRequest(parent=PARENT, carrier_id=carrier, carrier=ch.Carrier())
    )
    await shop.channels.CreateCap(
        ch.CreateCapRequest(parent=PARENT, cap_id=cap, cap=cap_pb(limit=90))
    )

    async def rule(on: str = channel) -> str:
        return await shop.create_rule(on, **ON_ORDER)

    return [
        (shop.channels.CreateChannel, ch.CreateChannelRequest(
            parent=PARENT, channel_id=unique("shop"),
            channel=ch.Channel(display_name="x", time_zone="UTC", locale="en"),
        )),
        (shop.channels.UpdateChannel, ch.UpdateChannelRequest(
            channel=ch.Channel(name=other, display_name="Changed")
        )),
        (shop.channels.UpdateAccount, ch.UpdateAccountRequest(
            account=ch.Account(name=PARENT, entitlements=[2, 3]),  # type: ignore[list-item]
            update_mask=FieldMask(paths=["entitlements"]),
        )),
        (shop.channels.CreateCarrier, ch.CreateCarrierRequest(
            parent=PARENT, carrier_id=unique("carrier"), carrier=ch.Carrier()
        )),
        (shop.channels.UpdateCarrier, ch.UpdateCarrierRequest(
            carrier=ch.Carrier(name=f"{PARENT}/carriers/{carrier}", email="b@carrier.example")
        )),
        (shop.channels.DeleteCarrier, ch.DeleteCarrierRequest(name=f"{PARENT}/carriers/{carrier}")),
        (shop.channels.UpdateCap, ch.UpdateCapRequest(
            cap=ch.Cap(name=f"{PARENT}/caps/{cap}", limit=91)
        )),
        (shop.channels.DeleteCap, ch.DeleteCapRequest(name=f"{PARENT}/caps/{cap}")),
        (shop.events.UpdateEventType, ev.UpdateEventTypeRequest(
            event_type=ev.EventType(name=kind, display_name="Changed")
        )),
        (shop.events.DeleteEventType, ev.DeleteEventTypeRequest(name=kind)),
        (rules.CreateRule, pb2.CreateRuleRequest(
            parent=PARENT, rule_id=unique("rule"), rule=rule_pb(**ON_ORDER), activate_on=[channel]
        )),
        (rules.UpdateRule, pb2.UpdateRuleRequest(
            rule=pb2.Rule(name=await rule(), priority=9), activate_on=[other]
        )),
        (rules.DeleteRule, pb2.DeleteRuleRequest(name=await rule())),
        (rules.ActivateRule, pb2.ActivateRuleRequest(name=await rule(), channel=other)),
        (rules.DeactivateRule, pb2.DeactivateRuleRequest(name=await rule(), channel=channel)),
        (rules.PauseRule, pb2.PauseRuleRequest(name=await rule())),
        (rules.FreezeRule, pb2.FreezeRuleRequest(name=await rule())),
        (rules.StopRule, pb2.StopRuleRequest(name=await rule())),
        (rules.DuplicateRule, pb2.DuplicateRuleRequest(name=await rule(), rule_id=unique("rule"))),
        (rules.CopyRule, pb2.CopyRuleRequest(name=await rule(), channels=[other])),
        (rules.CreateRuleFromAutomation, pb2.CreateRuleFromAutomationRequest(
            parent=PARENT, rule_id=unique("rule"), automation="automations/order-shipped",
            activate_on=[other],
        )),
    ]  # fmt: skip


async def everything(shop: Shop) -> str:
    """Return all that is configured, as text."""
    ch, page = channel_service_pb2, {"parent": PARENT, "page_size": 1_000}
    return "\n".join(
        map(
            str,
            [
                await shop.channels.ListChannels(ch.ListChannelsRequest(**page)),
                await shop.channels.ListCaps(ch.ListCapsRequest(**page)),
                await shop.channels.ListCarriers(ch.ListCarriersRequest(**page)),
                await shop.channels.GetAccount(ch.GetAccountRequest(name=PARENT)),
                await shop.events.ListEventTypes(event_service_pb2.ListEventTypesRequest(**page)),
                await shop.rules.ListRules(pb2.ListRulesRequest(**page)),
                await shop.rules.ListActivations(
                    pb2.ListActivationsRequest(parent=f"{PARENT}/channels/-", page_size=1_000)
                ),
            ],
        )
    )


async def test_checking_changes_nothing_and_repeating_answers_the_same(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    """A33, B5, B24: every write can be checked first, and repeated under its request id; an id of
    another request is refused."""
    async with open_shop(tmp_path_factory.mktemp("writes")) as shop:
        last_id = ""
        for call, request in await writes(shop):
            before = await everything(shop)
            request.validate_only = True
            await call(request)
            assert await everything(shop) == before, f"{request.DESCRIPTOR.name} was only checked"
            request.validate_only, request.request_id = False, str(uuid.uuid4())
            first = await call(request)
            after = await everything(shop)
            assert after != before, request.DESCRIPTOR.name
            assert await call(request) == first, request.DESCRIPTOR.name
            assert await everything(shop) == after, f"{request.DESCRIPTOR.name} was repeated"
            request.request_id, last_id = last_id, request.request_id
            if request.request_id:
                with refused() as refusal:
                    await call(request)
                assert refusal.field == "request_id", request.DESCRIPTOR.name
            request.request_id = "not a UUID"
            with refused() as refusal:
                await call(request)
            assert refusal.field == "request_id", request.DESCRIPTOR.name


async def test_who_writes_over_another_s_change_hears_of_it(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    """B5: an etag that is not the present one is answered, and nothing is written."""
    async with open_shop(tmp_path_factory.mktemp("etags")) as shop:
        seen = 0
        for call, request in await writes(shop):
            resource: Any = request
            for field in ("channel", "account", "carrier", "cap", "event_type", "rule"):
                inside = getattr(request, field, "")
                resource = inside if hasattr(inside, "etag") else resource
            is_update = type(request).__name__.startswith("Update")
            if not (is_update or type(request).__name__.startswith("Delete")):
                continue
            seen += 1
            before = await everything(shop)
            resource.etag = '"0"'
            for validate_only in (True, False):
                request.validate_only = validate_only
                with refused() as refusal:
                    await call(request)
                assert refusal.reason == "ETAG_MISMATCH", request.DESCRIPTOR.name
                assert refusal.code is grpc.StatusCode.ABORTED
            assert await everything(shop) == before
        assert seen == 10
