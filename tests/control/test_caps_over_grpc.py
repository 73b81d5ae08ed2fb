"""Caps as a client sets them: what is taken, what is refused and by which field, and what then happens.

A real daemon, its embedded store, a virtual clock, and nothing but the API.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest
import pytest_asyncio
from google.protobuf.duration_pb2 import Duration
from google.protobuf.field_mask_pb2 import FieldMask

from afterword.googleapis import timeofday_pb2
from afterword.v1 import channel_service_pb2 as pb2
from afterword.v1 import event_pb2, event_service_pb2, rule_service_pb2, types_pb2
from afterword.v1 import invitation_service_pb2 as inv
from core.bounds import DAY_MS, HOUR_MS
from tests.control.kit import (
    PARENT,
    Shop,
    cap_pb,
    event_pb,
    open_shop,
    refused,
    step_pb,
    unique,
)

pytestmark = pytest.mark.asyncio(loop_scope="module")
Cap = pb2.Cap
State, Reason = inv.Invitation.State, inv.Invitation.Reason
TRANSACTIONAL = types_pb2.PURPOSE_TRANSACTIONAL
ALL = Cap.SUBJECT_ALL_CONTACTS


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shop(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Shop]:
    async with open_shop(tmp_path_factory.mktemp("caps")) as opened:
        yield opened


def at_once(**fields: Any) -> dict[str, Any]:
    """Return the fields of a rule that tells of an order at once."""
    told = rule_service_pb2.Action(
        medium=types_pb2.MEDIUM_EMAIL, subject="About {{order}}", body="Yes."
    )
    steps = [step_pb(days=0, actions=[told], **fields)]
    return {
        "family": rule_service_pb2.Rule.FAMILY_NOTIFICATION, "purpose": TRANSACTIONAL,
        "steps": steps,
    }  # fmt: skip


async def create(shop: Shop, cap_id: str = "", **fields: Any) -> Cap:
    request = pb2.CreateCapRequest(
        parent=PARENT, cap_id=cap_id or unique("cap"), cap=cap_pb(**fields)
    )
    return await shop.channels.CreateCap(request)


async def delete(shop: Shop, *caps: Cap) -> None:
    for cap in caps:
        await shop.channels.DeleteCap(pb2.DeleteCapRequest(name=cap.name))


async def order(shop: Shop, channel: str, **fields: Any) -> str:
    """Publish a checkout of now; the name of its only invitation."""
    event = event_pb(channel, **fields)
    event.occur_time.FromMilliseconds(shop.clock.now_ms())
    answer = await shop.events.Publish(event_service_pb2.PublishRequest(event=event))
    (name,) = answer.result.invitations
    return str(name)


async def read(shop: Shop, name: str) -> inv.Invitation:
    return await shop.invitations.GetInvitation(inv.GetInvitationRequest(name=name))


async def pass_time(shop: Shop, span_ms: int) -> None:
    await shop.daemon.engine.advance_to(shop.clock.now_ms() + span_ms)


# --- what is taken ---------------------------------------------------------------------------------


async def test_what_goes_in_comes_out(shop: Shop) -> None:
    """A32, R24, R27-R29."""
    product = await create(shop, scope=Cap.SCOPE_PRODUCT)
    assert (product.unit, product.on_cap, product.subject) == (
        Cap.UNIT_ORDER, Cap.ON_CAP_UNSPECIFIED, Cap.SUBJECT_CONTACT,
    )  # fmt: skip
    volume = await create(shop, subject=ALL, limit=100_000_000, scope=Cap.SCOPE_MEDIUM)
    assert (volume.limit, volume.unit) == (100_000_000, Cap.UNIT_MESSAGE)
    replacing = await create(
        shop, on_cap=Cap.ON_CAP_REPLACE, defer_to=Cap.DEFER_TO_NEXT_TIME_OF_DAY
    )
    assert replacing.on_cap == Cap.ON_CAP_REPLACE
    assert replacing.defer_to == Cap.DEFER_TO_NEXT_TIME_OF_DAY
    for cap in (product, volume, replacing):
        # What a client reads it may write back whole.
        same = await shop.channels.UpdateCap(
            pb2.UpdateCapRequest(cap=cap, update_mask=FieldMask(paths=["*"]))
        )
        assert same == cap
    await delete(shop, product, volume, replacing)


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"limit": 257}, "cap.limit"),
        ({"subject": 9}, "cap.subject"),
        ({"defer_to": 9}, "cap.defer_to"),
        ({"on_cap": 4}, "cap.on_cap"),
        ({"subject": ALL, "limit": 100_000_001}, "cap.limit"),
        ({"subject": ALL, "scope": Cap.SCOPE_PRODUCT}, "cap.scope"),
        ({"subject": ALL, "unit": Cap.UNIT_ORDER}, "cap.unit"),
        ({"subject": ALL, "on_cap": Cap.ON_CAP_SKIP}, "cap.on_cap"),
        ({"subject": ALL, "on_cap": Cap.ON_CAP_REPLACE}, "cap.on_cap"),
        ({"subject": ALL, "longest_deferral": Duration(seconds=60)}, "cap.longest_deferral"),
        ({"subject": ALL, "defer_to": Cap.DEFER_TO_NEXT_TIME_OF_DAY}, "cap.defer_to"),
        ({"scope": Cap.SCOPE_PRODUCT, "unit": Cap.UNIT_MESSAGE}, "cap.unit"),
        ({"scope": Cap.SCOPE_PRODUCT, "steps": Cap.STEPS_FIRST}, "cap.steps"),
        ({"scope": Cap.SCOPE_PRODUCT, "on_cap": Cap.ON_CAP_SKIP}, "cap.on_cap"),
        ({"scope": Cap.SCOPE_PRODUCT, "purposes": [TRANSACTIONAL]}, "cap.purposes"),
        (
            {"scope": Cap.SCOPE_PRODUCT, "defer_to": Cap.DEFER_TO_NEXT_TIME_OF_DAY},
            "cap.defer_to",
        ),
    ],
)  # fmt: skip
async def test_what_makes_no_sense_is_refused_by_field(
    shop: Shop, fields: dict[str, Any], field: str
) -> None:
    with refused() as refusal:
        await create(shop, **fields)
    assert refusal.code is grpc.StatusCode.INVALID_ARGUMENT
    assert refusal.field == field


async def test_limits_beyond_what_a_record_counts_are_refused(shop: Shop) -> None:
    """A31, pitfall:inexact-caps."""
    caps = [await create(shop, limit=256), await create(shop, limit=250)]
    with refused() as refusal:
        await create(shop, limit=7)
    assert refusal.reason == "LIMIT_EXCEEDED"
    assert refusal.field == "cap.limit"
    await delete(shop, *caps)


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"exempt_from_caps": ["no-such"]}, "exempt_from_caps[0]"),
        ({"not_counted_by_caps": ["mine", "mine"]}, "not_counted_by_caps[1]"),
        ({"exempt_from_caps": ["Not An Id"]}, "exempt_from_caps[0]"),
        ({"exempt_from_caps": ["mine"] * 65}, "exempt_from_caps"),
        ({"on_cap": 7}, "on_cap"),
    ],
)
async def test_what_a_step_cannot_say_of_caps_is_refused_by_field(
    shop: Shop, fields: dict[str, Any], field: str
) -> None:
    cap = await create(shop, "mine")
    with refused() as refusal:
        await shop.create_rule(**at_once(**fields))
    assert refusal.field == f"rule.steps[0].{field}"
    await delete(shop, cap)


async def test_a_step_says_of_caps_what_it_was_told(shop: Shop) -> None:
    """R24: and a cap it names stays until it does not."""
    first, second = await create(shop, "first"), await create(shop, "second")
    said = {
        "exempt_from_caps": ["first", "second"], "not_counted_by_caps": ["second"],
        "on_cap": Cap.ON_CAP_REPLACE,
    }  # fmt: skip
    name = await shop.create_rule(**at_once(**said))
    rule = await shop.rules.GetRule(rule_service_pb2.GetRuleRequest(name=name))
    (step,) = rule.steps
    assert list(step.exempt_from_caps) == ["first", "second"]
    assert list(step.not_counted_by_caps) == ["second"]
    assert step.on_cap == Cap.ON_CAP_REPLACE
    with refused() as refusal:
        await delete(shop, second)
    assert refusal.code is grpc.StatusCode.FAILED_PRECONDITION
    assert name in str(refusal)
    await shop.rules.DeleteRule(rule_service_pb2.DeleteRuleRequest(name=name))
    await delete(shop, first, second)


# --- what then happens -----------------------------------------------------------------------------


async def test_a_volume_limit_holds_for_all_contacts(shop: Shop) -> None:
    """R29, A32: the third waits, and says so; later it goes."""
    volume = await create(shop, subject=ALL, limit=2, purposes=[TRANSACTIONAL])
    channel = await shop.create_channel()
    await shop.create_rule(channel, **at_once())
    names = [await order(shop, channel) for _ in range(3)]
    await pass_time(shop, 0)
    states = [(await read(shop, name)).state for name in names]
    assert sorted(states) == [State.STATE_SCHEDULED, State.STATE_SENT, State.STATE_SENT]
    waits = await read(shop, names[states.index(State.STATE_SCHEDULED)])
    assert waits.wait_reason == inv.Invitation.WAIT_REASON_VOLUME
    await pass_time(shop, DAY_MS)
    assert (await read(shop, waits.name)).state == State.STATE_SENT
    await delete(shop, volume)


async def test_products_that_were_asked_about_are_left_out(shop: Shop) -> None:
    """R28: PRODUCT_ALREADY_ASKED when nothing is left."""
    cap = await create(shop, scope=Cap.SCOPE_PRODUCT, window=Duration(seconds=86_400 * 60))
    channel = await shop.create_channel()
    await shop.create_rule(
        channel, family=rule_service_pb2.Rule.FAMILY_PRODUCT_REVIEW, steps=[step_pb(days=1)]
    )
    contact = event_pb2.Contact(email=f"{unique('c')}@example.com")
    names = []
    for skus in (["mug"], ["mug", "pan"], ["pan"]):
        items = [event_pb2.Item(sku=sku, name=sku) for sku in skus]
        told = event_pb2.Order(reference=unique("order"), items=items)
        names.append(await order(shop, channel, contact=contact, order=told))
        await pass_time(shop, 2 * DAY_MS)
    found = [await read(shop, name) for name in names]
    assert [one.state for one in found] == [
        State.STATE_SENT, State.STATE_SENT, State.STATE_SKIPPED,
    ]  # fmt: skip
    assert found[2].reason == Reason.REASON_PRODUCT_ALREADY_ASKED
    asked = [letter for letter in shop.outbox.letters if letter.address == contact.email]
    assert [[item.sku for item in one.event.order.items] for one in asked if one.event.order] == [
        ["mug"], ["pan"],
    ]  # fmt: skip
    await delete(shop, cap)


async def test_an_exempt_step_goes_and_the_others_wait_for_a_time_of_day(shop: Shop) -> None:
    """R24, R27."""
    cap = await create(
        shop, "exact", on_cap=Cap.ON_CAP_DEFER, purposes=[TRANSACTIONAL],
        window=Duration(seconds=3_600), defer_to=Cap.DEFER_TO_NEXT_TIME_OF_DAY,
    )  # fmt: skip
    channel = await shop.create_channel()
    wait = rule_service_pb2.Wait(days=1, time_of_day=timeofday_pb2.TimeOfDay(hours=10))
    await shop.create_rule(channel, **at_once(exempt_from_caps=["exact"]))
    urgent = event_pb2.Contact(email=f"{unique('c')}@example.com")
    names = [await order(shop, channel, contact=urgent) for _ in range(2)]
    await pass_time(shop, 0)
    assert [(await read(shop, name)).state for name in names] == [State.STATE_SENT] * 2
    other = await shop.create_channel()
    fields = at_once()
    fields["steps"][0].wait.CopyFrom(wait)
    await shop.create_rule(other, **fields)
    later = event_pb2.Contact(email=f"{unique('c')}@example.com")
    held = [await order(shop, other, contact=later) for _ in range(2)]
    await pass_time(shop, 4 * DAY_MS)
    times = sorted([(await read(shop, name)).settle_time.ToMilliseconds() for name in held])
    assert times[1] - times[0] == 24 * HOUR_MS
    rules = (await shop.rules.ListRules(rule_service_pb2.ListRulesRequest(parent=PARENT))).rules
    for rule in rules:
        await shop.rules.DeleteRule(rule_service_pb2.DeleteRuleRequest(name=rule.name))
    await delete(shop, cap)
