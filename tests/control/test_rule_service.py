"""RuleService as a client sees it: rules, and switching them on and off."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable
from typing import Any

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.field_mask_pb2 import FieldMask

from afterword.googleapis import expr_pb2, timeofday_pb2
from afterword.v1 import channel_service_pb2, types_pb2
from afterword.v1 import rule_service_pb2 as pb2
from tests.control.kit import (
    DAY_S,
    PARENT,
    Shop,
    refused,
    rule_pb,
    step_pb,
    unique,
    with_unknown_field,
)

pytestmark = pytest.mark.asyncio(loop_scope="module")
EMAIL = types_pb2.MEDIUM_EMAIL
TEN = timeofday_pb2.TimeOfDay(hours=10)


def create(rule: pb2.Rule, **fields: Any) -> pb2.CreateRuleRequest:
    given = {"parent": PARENT, "rule_id": unique("rule"), "rule": rule}
    return pb2.CreateRuleRequest(**{**given, **fields})


def one_step(**fields: Any) -> dict[str, Any]:
    return {"steps": [step_pb(**fields)]}


def waits(**fields: Any) -> dict[str, Any]:
    return one_step(wait=pb2.Wait(**fields))


def sends(*actions: pb2.Action) -> dict[str, Any]:
    return one_step(actions=actions)


async def test_a_rule_is_created_with_its_defaults(shop: Shop) -> None:
    request = create(
        rule_pb(condition=expr_pb2.Expr(expression='order.reference != ""')),
        request_id=str(uuid.uuid4()),
    )
    rule = await shop.rules.CreateRule(request)
    assert rule.purpose == types_pb2.PURPOSE_REVIEW
    assert list(rule.stop_when.event_types) == ["order_cancelled", "return", "review_submitted"]
    assert rule.steps[0].enabled
    assert rule.steps[0].wait.base == pb2.Wait.BASE_EVENT
    assert rule.condition.expression == 'order.reference != ""'
    assert rule.revision == 1
    assert rule.event_type_active
    assert not rule.active_channels
    assert await shop.rules.CreateRule(request) == rule
    assert await shop.rules.GetRule(pb2.GetRuleRequest(name=rule.name)) == rule


async def test_a_full_rule_comes_back_as_it_was(shop: Shop) -> None:
    rule = rule_pb(
        family=pb2.Rule.FAMILY_AUTOMATION,
        purpose=types_pb2.PURPOSE_MARKETING,
        steps=[
            step_pb(
                "ask", wait=pb2.Wait(days=3, time_of_day=TEN, span=Duration(seconds=7_200),
                                     if_passed=pb2.Wait.IF_PASSED_NOW),
                actions=[pb2.Action(medium=EMAIL, subject="{{first_name}}, about {{order}}"),
                         pb2.Action(medium=types_pb2.MEDIUM_SMS, body="x" * 161)],
            ),
            step_pb("again", wait=pb2.Wait(elapsed=Duration(seconds=90)), enabled=False),
        ],
        stop_when=pb2.StopWhen(event_types=["checkout"]),
        expire_after=Duration(seconds=DAY_S),
        priority=7,
    )  # fmt: skip
    created = await shop.rules.CreateRule(create(rule))
    first, second = created.steps
    assert first.wait.time_of_day == TEN
    assert first.wait.span.seconds == 7_200
    assert first.wait.if_passed == pb2.Wait.IF_PASSED_NOW
    assert [action.subject for action in first.actions] == ["{{first_name}}, about {{order}}", ""]
    assert second.wait.base == pb2.Wait.BASE_PREVIOUS_STEP_SENT
    assert second.wait.elapsed.seconds == 90
    assert not second.enabled
    assert list(created.stop_when.event_types) == ["checkout"]
    assert created.expire_after.seconds == DAY_S
    assert created.priority == 7
    assert any("SMS" in warning for warning in created.warnings)


async def test_an_empty_stop_when_is_not_the_default(shop: Shop) -> None:
    rule = await shop.rules.CreateRule(create(rule_pb(stop_when=pb2.StopWhen())))
    assert not rule.stop_when.event_types


BAD_RULES: list[tuple[dict[str, Any], str]] = [
    ({"display_name": ""}, "rule.display_name"),
    ({"family": 0}, "rule.family"),
    ({"family": 9}, "rule.family"),
    ({"purpose": types_pb2.PURPOSE_MARKETING}, "rule.purpose"),
    ({"family": pb2.Rule.FAMILY_NOTIFICATION}, "rule.purpose"),
    (
        {"family": pb2.Rule.FAMILY_AUTOMATION, "purpose": types_pb2.PURPOSE_REVIEW},
        "rule.purpose",
    ),
    (
        {"family": pb2.Rule.FAMILY_AUTOMATION, "purpose": types_pb2.PURPOSE_DATA_FORWARDING},
        "rule.purpose",
    ),
    ({"trigger": pb2.Trigger()}, "rule.trigger.event_type"),
    ({"trigger": pb2.Trigger(event_type="unheard_of")}, "rule.trigger.event_type"),
    (
        {"stop_when": pb2.StopWhen(event_types=["return", "unheard_of"])},
        "rule.stop_when.event_types[1]",
    ),
    ({"steps": []}, "rule.steps"),
    ({"steps": [step_pb(f"s{n}") for n in range(9)]}, "rule.steps"),
    ({"steps": [step_pb("same"), step_pb("same")]}, "rule.steps[1].id"),
    ({"steps": [step_pb("")]}, "rule.steps[0].id"),
    ({"steps": [step_pb("No Good")]}, "rule.steps[0].id"),
    (one_step(wait=None), "rule.steps[0].wait"),
    (waits(), "rule.steps[0].wait"),
    (waits(days=-1), "rule.steps[0].wait.days"),
    (waits(days=181), "rule.steps[0].wait.days"),
    (waits(elapsed=Duration(seconds=-60)), "rule.steps[0].wait.elapsed"),
    (waits(elapsed=Duration(seconds=180 * DAY_S + 1)), "rule.steps[0].wait.elapsed"),
    (
        waits(elapsed=Duration(seconds=60), time_of_day=TEN),
        "rule.steps[0].wait.time_of_day",
    ),
    (
        waits(days=1, time_of_day=timeofday_pb2.TimeOfDay(hours=24)),
        "rule.steps[0].wait.time_of_day",
    ),
    (
        waits(days=1, time_of_day=timeofday_pb2.TimeOfDay(minutes=-1)),
        "rule.steps[0].wait.time_of_day",
    ),
    (waits(days=1, span=Duration(seconds=60)), "rule.steps[0].wait.span"),
    (
        waits(days=1, time_of_day=TEN, span=Duration(seconds=DAY_S)),
        "rule.steps[0].wait.span",
    ),
    (waits(days=1, base=pb2.Wait.BASE_PREVIOUS_STEP_SENT), "rule.steps[0].wait.base"),
    (waits(days=1, base=9), "rule.steps[0].wait.base"),
    (waits(days=1, if_passed=9), "rule.steps[0].wait.if_passed"),
    (sends(), "rule.steps[0].actions"),
    (sends(pb2.Action()), "rule.steps[0].actions[0].medium"),
    (sends(pb2.Action(medium=99)), "rule.steps[0].actions[0].medium"),  # type: ignore[arg-type]
    (
        sends(pb2.Action(medium=EMAIL), pb2.Action(medium=EMAIL)),
        "rule.steps[0].actions[1].medium",
    ),
    (
        sends(pb2.Action(medium=EMAIL, subject="Hello\r\nBcc: all@example.com")),
        "rule.steps[0].actions[0].subject",
    ),
    (
        sends(pb2.Action(medium=EMAIL, subject="x" * 251)),
        "rule.steps[0].actions[0].subject",
    ),
    (
        sends(pb2.Action(medium=EMAIL, subject="{{password}}")),
        "rule.steps[0].actions[0].subject",
    ),
    ({"expire_after": Duration(seconds=59)}, "rule.expire_after"),
    ({"expire_after": Duration(seconds=181 * DAY_S)}, "rule.expire_after"),
    ({"priority": 101}, "rule.priority"),
    ({"priority": -1}, "rule.priority"),
    ({"condition": expr_pb2.Expr(expression="order.")}, "rule.condition.expression"),
    ({"condition": expr_pb2.Expr(expression="order.colour == 1")}, "rule.condition.expression"),
    ({"condition": expr_pb2.Expr(expression="order.reference")}, "rule.condition.expression"),
    ({"condition": expr_pb2.Expr(expression="review.rating > 3")}, "rule.condition.expression"),
    (
        {"trigger": pb2.Trigger(purchase=pb2.Trigger.Purchase(count=3))},
        "rule.trigger.purchase",
    ),
    (
        one_step(
            wait_overrides=[
                pb2.WaitOverride(
                    condition=expr_pb2.Expr(expression="order.colour == 1"), wait=pb2.Wait(days=1)
                )
            ]
        ),
        "rule.steps[0].wait_overrides[0].condition.expression",
    ),
    (
        {"stop_when": pb2.StopWhen(stops=[pb2.StopWhen.Stop(event_type="unheard_of")])},
        "rule.stop_when.stops[0].event_type",
    ),
    ({"review": pb2.ReviewSettings(product_timing=2)}, "rule.review.product_timing"),  # type: ignore[arg-type]
]


@pytest.mark.parametrize(("fields", "field"), BAD_RULES, ids=lambda value: str(value)[:60])
async def test_a_bad_rule_is_refused_by_field(
    shop: Shop, fields: dict[str, Any], field: str
) -> None:
    """A15, A16, A19, C12, C19, D14: the name, the event type, the waits, the condition."""
    for validate_only in (True, False):
        with refused() as refusal:
            await shop.rules.CreateRule(create(rule_pb(**fields), validate_only=validate_only))
        assert refusal.code is grpc.StatusCode.INVALID_ARGUMENT
        assert refusal.field == field
        assert refusal.problem.field_violations[0].description


@pytest.mark.parametrize(
    ("damage", "field"),
    [
        (lambda rule: with_unknown_field(rule), "rule"),
        (lambda rule: with_unknown_field(rule, "trigger"), "rule.trigger"),
    ],
)
async def test_unknown_fields_are_refused(
    shop: Shop, damage: Callable[[pb2.Rule], pb2.Rule], field: str
) -> None:
    with refused() as refusal:
        await shop.rules.CreateRule(create(damage(rule_pb())))
    assert (refusal.reason, refusal.field) == ("FIELD_UNKNOWN", field)
    assert "1000" in refusal.problem.message


async def test_unknown_fields_deep_inside_are_refused(shop: Shop) -> None:
    rule = rule_pb(steps=[step_pb("one"), with_unknown_field(step_pb("two"), "wait")])
    with refused() as refusal:
        await shop.rules.CreateRule(create(rule))
    assert (refusal.reason, refusal.field) == ("FIELD_UNKNOWN", "rule.steps[1].wait")


async def test_an_update_is_a_new_revision(shop: Shop) -> None:
    name = await shop.create_rule()
    changed = await shop.rules.UpdateRule(
        pb2.UpdateRuleRequest(
            rule=pb2.Rule(name=name, steps=[step_pb(days=3)]),
            update_mask=FieldMask(paths=["steps"]),
        )
    )
    assert changed.revision == 2
    assert changed.steps[0].wait.days == 3
    assert changed.display_name == rule_pb().display_name
    with refused() as refusal:
        await shop.rules.UpdateRule(
            pb2.UpdateRuleRequest(rule=pb2.Rule(name=name, family=pb2.Rule.FAMILY_PRODUCT_REVIEW))
        )
    assert refusal.field == "rule.family"
    with refused() as refusal:
        await shop.rules.UpdateRule(
            pb2.UpdateRuleRequest(
                rule=pb2.Rule(name=name, steps=[step_pb(days=500)]),
                update_mask=FieldMask(paths=["steps"]),
            )
        )
    assert refusal.field == "rule.steps[0].wait.days"
    with refused() as refusal:
        await shop.rules.UpdateRule(
            pb2.UpdateRuleRequest(
                rule=pb2.Rule(name=name), update_mask=FieldMask(paths=["steps.enabled"])
            )
        )
    assert refusal.field == "update_mask"
    with refused() as refusal:
        await shop.rules.UpdateRule(
            pb2.UpdateRuleRequest(rule=pb2.Rule(name=name, etag='"0"', priority=3))
        )
    assert refusal.reason == "ETAG_MISMATCH"


async def test_a_condition_is_cleared_by_its_mask(shop: Shop) -> None:
    rule = await shop.rules.CreateRule(
        create(rule_pb(condition=expr_pb2.Expr(expression="order.items.size() > 0")))
    )
    cleared = await shop.rules.UpdateRule(
        pb2.UpdateRuleRequest(
            rule=pb2.Rule(name=rule.name), update_mask=FieldMask(paths=["condition"])
        )
    )
    assert not cleared.HasField("condition")


async def test_concurrent_partial_updates_are_all_kept(shop: Shop) -> None:
    name = await shop.create_rule()
    await asyncio.gather(
        shop.rules.UpdateRule(pb2.UpdateRuleRequest(rule=pb2.Rule(name=name, priority=9))),
        shop.rules.UpdateRule(pb2.UpdateRuleRequest(rule=pb2.Rule(name=name, display_name="B"))),
        shop.rules.UpdateRule(
            pb2.UpdateRuleRequest(rule=pb2.Rule(name=name, expire_after=Duration(seconds=60)))
        ),
    )
    rule = await shop.rules.GetRule(pb2.GetRuleRequest(name=name))
    assert (rule.priority, rule.display_name, rule.expire_after.seconds) == (9, "B", 60)


async def test_rules_are_listed_by_id_with_their_names_at_once(shop: Shop) -> None:
    """A14, A22, C7, C9: what was saved is in the list, in an order that stays."""
    names = [await shop.create_rule(display_name=f"Rule {n}") for n in range(3)]
    request = pb2.ListRulesRequest(parent=PARENT, page_size=1_000)
    listed = list((await shop.rules.ListRules(request)).rules)
    assert [rule.name for rule in listed] == sorted(rule.name for rule in listed)
    shown = {rule.name: rule.display_name for rule in listed}
    assert [shown[name] for name in names] == ["Rule 0", "Rule 1", "Rule 2"]
    await shop.rules.UpdateRule(
        pb2.UpdateRuleRequest(rule=pb2.Rule(name=names[0], display_name="Other"))
    )
    again = (await shop.rules.ListRules(request)).rules
    assert [rule.name for rule in again] == [rule.name for rule in listed]


async def test_a_deleted_rule_is_gone(shop: Shop) -> None:
    name = await shop.create_rule()
    request = pb2.DeleteRuleRequest(name=name, request_id=str(uuid.uuid4()))
    await shop.rules.DeleteRule(request)
    await shop.rules.DeleteRule(request)
    with refused() as refusal:
        await shop.rules.GetRule(pb2.GetRuleRequest(name=name))
    assert refusal.code is grpc.StatusCode.NOT_FOUND
    listed = await shop.rules.ListRules(pb2.ListRulesRequest(parent=PARENT, page_size=1_000))
    assert name not in [rule.name for rule in listed.rules]


# --- activation -----------------------------------------------------------------------------------


async def test_activating_another_rule_of_the_family_swaps_them(shop: Shop) -> None:
    channel = await shop.create_channel()
    first, second = await shop.create_rule(channel), await shop.create_rule()
    answer = await shop.rules.ActivateRule(pb2.ActivateRuleRequest(name=second, channel=channel))
    assert answer.activation.state == pb2.Activation.STATE_ACTIVE
    assert answer.activation.rule == second
    assert answer.activation.actor == "local"
    assert [(one.rule, one.state) for one in answer.superseded] == [
        (first, pb2.Activation.STATE_SUPERSEDED)
    ]
    again = await shop.rules.ActivateRule(pb2.ActivateRuleRequest(name=second, channel=channel))
    assert not again.superseded
    listed = await shop.rules.ListActivations(pb2.ListActivationsRequest(parent=channel))
    assert {one.rule: one.state for one in listed.activations} == {
        first: pb2.Activation.STATE_SUPERSEDED,
        second: pb2.Activation.STATE_ACTIVE,
    }
    everywhere = await shop.rules.ListActivations(
        pb2.ListActivationsRequest(parent=f"{PARENT}/channels/-", page_size=1_000)
    )
    assert set(map(str, listed.activations)) <= set(map(str, everywhere.activations))
    rule = await shop.rules.GetRule(pb2.GetRuleRequest(name=second))
    assert list(rule.active_channels) == [channel]


async def test_concurrent_activations_leave_one_winner(shop: Shop) -> None:
    channel = await shop.create_channel()
    rules = [await shop.create_rule() for _ in range(8)]
    await asyncio.gather(*[
        shop.rules.ActivateRule(pb2.ActivateRuleRequest(name=rule, channel=channel))
        for rule in rules
    ])  # fmt: skip
    listed = await shop.rules.ListActivations(pb2.ListActivationsRequest(parent=channel))
    states = [one.state for one in listed.activations]
    assert sorted(states) == [pb2.Activation.STATE_ACTIVE] + [pb2.Activation.STATE_SUPERSEDED] * (
        len(rules) - 1
    )


async def test_switching_off_is_idempotent(shop: Shop) -> None:
    channel = await shop.create_channel()
    rule = await shop.create_rule(channel)
    request = pb2.DeactivateRuleRequest(name=rule, channel=channel, validate_only=True)
    await shop.rules.DeactivateRule(request)
    shown = await shop.rules.GetRule(pb2.GetRuleRequest(name=rule))
    assert list(shown.active_channels) == [channel], "validate_only changes nothing"
    request.validate_only = False
    for _ in range(2):
        answer = await shop.rules.DeactivateRule(request)
        assert answer.state == pb2.Activation.STATE_INACTIVE


async def test_a_channel_must_have_what_a_rule_needs(shop: Shop) -> None:
    answer = await shop.channels.CreateChannel(
        channel_service_pb2.CreateChannelRequest(
            parent=PARENT,
            channel_id=unique("silent"),
            channel=channel_service_pb2.Channel(
                display_name="Silent", time_zone="UTC", locale="en"
            ),
        )
    )
    rule = await shop.create_rule()
    with refused() as refusal:
        await shop.rules.ActivateRule(pb2.ActivateRuleRequest(name=rule, channel=answer.name))
    assert refusal.code is grpc.StatusCode.FAILED_PRECONDITION
    assert "email_sender" in refusal.problem.message


async def test_what_is_not_there_cannot_be_activated(shop: Shop) -> None:
    channel, rule = await shop.create_channel(), await shop.create_rule()
    for name, where in (
        (f"{PARENT}/rules/none", channel),
        (rule, f"{PARENT}/channels/none"),
        ("accounts/other/rules/none", channel),
        (rule, "accounts/other/channels/none"),
    ):
        with refused() as refusal:
            await shop.rules.ActivateRule(pb2.ActivateRuleRequest(name=name, channel=where))
        assert refusal.code is grpc.StatusCode.NOT_FOUND
    with refused() as refusal:
        await shop.rules.ListActivations(
            pb2.ListActivationsRequest(parent=f"{PARENT}/channels/none")
        )
    assert refusal.code is grpc.StatusCode.NOT_FOUND
