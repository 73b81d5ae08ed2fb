"""RuleService as a client sees it: pausing, stopping, copying, and what a rule once was."""

from __future__ import annotations

import uuid
from typing import Any

import grpc
import pytest
from google.protobuf.field_mask_pb2 import FieldMask

from afterword.v1 import event_service_pb2, invitation_service_pb2
from afterword.v1 import rule_service_pb2 as pb2
from control.auth import CALLER, LOCAL
from control.cel_frontend import ConditionFrontend
from control.services.rule_service import RuleService
from core.errors import FailedPrecondition
from core.registry.resources import Rule
from tests.control.kit import DAY_S, PARENT, Shop, event_pb, refused, rule_pb, step_pb, unique

pytestmark = pytest.mark.asyncio(loop_scope="module")

State = pb2.Activation
REQUESTS: dict[str, Any] = {
    "PauseRule": pb2.PauseRuleRequest,
    "FreezeRule": pb2.FreezeRuleRequest,
    "StopRule": pb2.StopRuleRequest,
    "ResumeRule": pb2.ResumeRuleRequest,
}


async def switch(shop: Shop, verb: str, name: str, channel: str = "", **fields: Any) -> list[Any]:
    """Call a verb; return (channel, state) for each activation of the answer."""
    request = REQUESTS[verb](name=name, channel=channel, **fields)
    answer = await getattr(shop.rules, verb)(request)
    return [(one.name.rpartition("/activations/")[0], one.state) for one in answer.activations]


async def states(shop: Shop, name: str) -> dict[str, int]:
    """Return channel -> how a rule stands there."""
    request = pb2.ListActivationsRequest(parent=f"{PARENT}/channels/-", page_size=1_000)
    listed = await shop.rules.ListActivations(request)
    return {
        one.name.rpartition("/activations/")[0]: one.state
        for one in listed.activations
        if one.rule == name
    }


# --- the verbs ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("verb", "state"),
    [
        ("PauseRule", State.STATE_PAUSED),
        ("FreezeRule", State.STATE_FROZEN),
        ("StopRule", State.STATE_STOPPED),
    ],
)
async def test_a_verb_holds_on_one_channel_or_on_all(shop: Shop, verb: str, state: int) -> None:
    """D16, D17, D20, d7."""
    here, there = sorted([await shop.create_channel(), await shop.create_channel()])
    name = await shop.create_rule(here)
    await shop.rules.ActivateRule(pb2.ActivateRuleRequest(name=name, channel=there))
    assert await switch(shop, verb, name, here, validate_only=True) == [(here, state)]
    assert (await states(shop, name))[here] == State.STATE_ACTIVE, "validate_only changes nothing"
    assert await switch(shop, verb, name, here) == [(here, state)]
    assert await states(shop, name) == {here: state, there: State.STATE_ACTIVE}
    await switch(shop, verb, name)
    assert await states(shop, name) == {here: state, there: state}
    assert await switch(shop, "ResumeRule", name) == [
        (here, State.STATE_ACTIVE),
        (there, State.STATE_ACTIVE),
    ]
    assert await states(shop, name) == dict.fromkeys((here, there), State.STATE_ACTIVE)


async def test_a_verb_repeated_gives_the_first_answer_again(shop: Shop) -> None:
    channel = await shop.create_channel()
    name = await shop.create_rule(channel)
    request_id = str(uuid.uuid4())
    first = await switch(shop, "PauseRule", name, channel, request_id=request_id)
    await switch(shop, "ResumeRule", name, channel)
    assert await switch(shop, "PauseRule", name, channel, request_id=request_id) == first
    assert await states(shop, name) == {channel: State.STATE_ACTIVE}


async def test_whose_place_is_taken_cannot_be_resumed(shop: Shop) -> None:
    """A25, D20."""
    channel = await shop.create_channel()
    first = await shop.create_rule(channel)
    await switch(shop, "StopRule", first, channel)
    await shop.create_rule(channel)
    with refused() as refusal:
        await switch(shop, "ResumeRule", first, channel)
    assert refusal.code is grpc.StatusCode.FAILED_PRECONDITION


async def test_verbs_name_what_is_not_there(shop: Shop) -> None:
    channel, rule = await shop.create_channel(), await shop.create_rule()
    for verb in REQUESTS:
        for name, where in (
            (f"{PARENT}/rules/none", channel),
            (rule, f"{PARENT}/channels/none"),
            ("accounts/other/rules/none", ""),
        ):
            with refused() as refusal:
                await switch(shop, verb, name, where)
            assert refusal.code is grpc.StatusCode.NOT_FOUND, verb
        with refused() as refusal:
            await switch(shop, verb, "rules/none")
        assert refusal.field == "name"


# --- saving and activating in one write -----------------------------------------------------------


async def test_a_rule_is_saved_and_activated_in_one_write(shop: Shop) -> None:
    """B24."""
    here, there = await shop.create_channel(), await shop.create_channel()
    before = await shop.create_rule(here)
    rule = await shop.rules.CreateRule(
        pb2.CreateRuleRequest(
            parent=PARENT, rule_id=unique("rule"), rule=rule_pb(), activate_on=[here, there]
        )
    )
    assert sorted(rule.active_channels) == sorted([here, there])
    assert (await states(shop, before))[here] == State.STATE_SUPERSEDED
    other = await shop.create_rule()
    updated = await shop.rules.UpdateRule(
        pb2.UpdateRuleRequest(
            rule=pb2.Rule(name=other, priority=5), activate_on=[here],
            update_mask=FieldMask(paths=["priority"]),
        )
    )  # fmt: skip
    assert (updated.priority, list(updated.active_channels)) == (5, [here])


async def test_what_cannot_be_activated_is_not_saved(shop: Shop) -> None:
    """B24: in one transaction."""
    channel, rule_id = await shop.create_channel(email_sender=None), unique("rule")
    for where, field in (
        ([channel], "channel.email_sender"),
        ([f"{PARENT}/channels/none"], None),
        (["channels/none"], "activate_on[0]"),
        ([channel, channel], "activate_on[1]"),
    ):
        with refused() as refusal:
            await shop.rules.CreateRule(
                pb2.CreateRuleRequest(
                    parent=PARENT, rule_id=rule_id, rule=rule_pb(), activate_on=where
                )
            )
        assert field is None or refusal.field == field
        with refused():
            await shop.rules.GetRule(pb2.GetRuleRequest(name=f"{PARENT}/rules/{rule_id}"))


# --- copies ---------------------------------------------------------------------------------------


async def test_a_duplicate_has_everything_but_its_activations(shop: Shop) -> None:
    """D18."""
    channel = await shop.create_channel()
    name = await shop.create_rule(channel, priority=7, steps=[step_pb("a"), step_pb("b")])
    original = await shop.rules.GetRule(pb2.GetRuleRequest(name=name))
    new_id = unique("copy")
    made = await shop.rules.DuplicateRule(
        pb2.DuplicateRuleRequest(name=name, rule_id=new_id, display_name="Copy")
    )
    assert made.name == f"{PARENT}/rules/{new_id}"
    assert (made.display_name, made.priority, made.revision) == ("Copy", 7, 1)
    assert made.steps == original.steps
    assert not made.active_channels
    assert list(original.active_channels) == [channel]
    kept = await shop.rules.DuplicateRule(
        pb2.DuplicateRuleRequest(name=name, rule_id=unique("copy"))
    )
    assert kept.display_name == original.display_name
    for fields, field in (
        ({"rule_id": ""}, "rule_id"),
        ({"rule_id": "No Good"}, "rule_id"),
        ({"rule_id": unique("copy"), "display_name": "two\nlines"}, "display_name"),
    ):
        with refused() as refusal:
            await shop.rules.DuplicateRule(pb2.DuplicateRuleRequest(name=name, **fields))
        assert refusal.field == field
    with refused() as refusal:
        await shop.rules.DuplicateRule(pb2.DuplicateRuleRequest(name=name, rule_id=new_id))
    assert refusal.code is grpc.StatusCode.ALREADY_EXISTS


async def test_a_copy_is_a_rule_of_each_channel_s_own(shop: Shop) -> None:
    """B11, B23, B29, B38, R41."""
    source, here, there = [await shop.create_channel() for _ in range(3)]
    name, rival = await shop.create_rule(source), await shop.create_rule(here)
    request = pb2.CopyRuleRequest(name=name, channels=[here, there], validate_only=True)
    preview = await shop.rules.CopyRule(request)
    assert [change.channel for change in preview.changes] == sorted([here, there])
    assert (await states(shop, rival))[here] == State.STATE_ACTIVE, "nothing was changed"
    request.validate_only = False
    answer = await shop.rules.CopyRule(request)
    by_channel = {change.channel: change for change in answer.changes}
    assert list(by_channel) == sorted([here, there])
    for channel, change in by_channel.items():
        assert change.created
        assert change.rule.copied_from == name
        assert change.rule.name != name
        assert change.activation.state == State.STATE_ACTIVE
        assert list(change.rule.active_channels) == [channel]
    assert [one.rule for one in by_channel[here].superseded] == [rival]
    assert not by_channel[there].superseded
    assert not (await shop.rules.CopyRule(request)).changes, "all are as they should be"
    await shop.rules.UpdateRule(
        pb2.UpdateRuleRequest(
            rule=pb2.Rule(name=name, steps=[step_pb(days=9)]),
            update_mask=FieldMask(paths=["steps"]),
        )
    )
    again = await shop.rules.CopyRule(request)
    assert [change.created for change in again.changes] == [False, False]
    assert {change.rule.name for change in again.changes} == {
        change.rule.name for change in answer.changes
    }
    assert {change.rule.steps[0].wait.days for change in again.changes} == {9}


async def test_a_copy_says_where_to(shop: Shop) -> None:
    channel = await shop.create_channel()
    name = await shop.create_rule(channel)
    for fields, field in (
        ({}, "channels"),
        ({"channels": [channel], "all_channels": True}, "channels"),
        ({"channels": [channel, channel]}, "channels[1]"),
        ({"channels": ["nowhere"]}, "channels[0]"),
    ):
        with refused() as refusal:
            await shop.rules.CopyRule(pb2.CopyRuleRequest(name=name, **fields))
        assert refusal.code is grpc.StatusCode.INVALID_ARGUMENT
        assert refusal.field == field


# --- what a rule once was -------------------------------------------------------------------------


async def test_every_revision_can_be_read(shop: Shop) -> None:
    """A27, D1: what waits follows the revision it was planned with."""
    name = await shop.create_rule()
    await shop.rules.UpdateRule(
        pb2.UpdateRuleRequest(
            rule=pb2.Rule(name=name, steps=[step_pb(days=2)]),
            update_mask=FieldMask(paths=["steps"]),
        )
    )
    days = [
        (await shop.rules.GetRuleRevision(pb2.GetRuleRevisionRequest(name=name, revision=revision)))
        .steps[0]
        .wait.days
        for revision in (1, 2)
    ]
    assert days == [7, 2]
    for revision in (0, 3, -1):
        with refused() as refusal:
            await shop.rules.GetRuleRevision(
                pb2.GetRuleRevisionRequest(name=name, revision=revision)
            )
        assert refusal.field == "revision"
    with refused() as refusal:
        await shop.rules.GetRuleRevision(
            pb2.GetRuleRevisionRequest(name=f"{PARENT}/rules/none", revision=1)
        )
    assert refusal.code is grpc.StatusCode.NOT_FOUND


async def test_an_unknown_apply_to_is_refused(shop: Shop) -> None:
    name = await shop.create_rule()
    with refused() as refusal:
        await shop.rules.UpdateRule(
            pb2.UpdateRuleRequest(rule=pb2.Rule(name=name, priority=1), apply_to=9)  # type: ignore[arg-type]
        )
    assert refusal.field == "apply_to"


# --- what others provide --------------------------------------------------------------------------


class Effect:
    moved, cancelled, unchanged = 3, 2, 1


class Waiting:
    """What plans again what waits; notes what it was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, bool, int | None]] = []

    async def apply_to_pending(
        self, account: str, rule_id: str, *, is_preview: bool, rule: Rule | None = None
    ) -> Effect:
        self.asked.append((rule_id, is_preview, None if rule is None else rule.priority))
        return Effect()


class Counts:
    def __init__(self, *counts: int) -> None:
        self.counts = counts

    async def stats(self, rule_number: int) -> tuple[int, int, int, int]:
        assert rule_number > 0
        sent, first_sent, reviewed, commented = self.counts
        return sent, first_sent, reviewed, commented


def service(shop: Shop, **parts: Any) -> RuleService:
    """Return a service with parts that the daemon takes from its engine."""
    return RuleService(shop.daemon.registry, ConditionFrontend(), **parts)


async def call(method: Any, request: Any) -> Any:
    token = CALLER.set(LOCAL)
    try:
        return await method(request, None)
    finally:
        CALLER.reset(token)


async def test_an_edit_can_hold_for_what_waits(shop: Shop) -> None:
    """R40: the answer tells what became of it, a check what would."""
    name, waiting = await shop.create_rule(), Waiting()
    request = pb2.UpdateRuleRequest(
        rule=pb2.Rule(name=name, priority=4),
        apply_to=pb2.UpdateRuleRequest.APPLY_TO_PENDING,
        validate_only=True,
    )
    edited = service(shop, pending=waiting).UpdateRule
    rule = await call(edited, request)
    effect = rule.pending_effect
    assert (effect.moved_count, effect.cancelled_count, effect.unchanged_count) == (3, 2, 1)
    request.validate_only = False
    assert (await call(edited, request)).HasField("pending_effect")
    request.apply_to = pb2.UpdateRuleRequest.APPLY_TO_NEW
    assert not (await call(edited, request)).HasField("pending_effect")
    rule_id = name.rpartition("/")[2]
    assert waiting.asked == [(rule_id, True, 4), (rule_id, False, None)]


async def test_without_what_plans_again_nothing_is_written(shop: Shop) -> None:
    name = await shop.create_rule()
    request = pb2.UpdateRuleRequest(
        rule=pb2.Rule(name=name, priority=4), apply_to=pb2.UpdateRuleRequest.APPLY_TO_PENDING
    )
    with pytest.raises(FailedPrecondition, match="APPLY_TO_PENDING") as caught:
        await call(service(shop).UpdateRule, request)
    assert caught.value.field == "apply_to"
    assert (await shop.rules.GetRule(pb2.GetRuleRequest(name=name))).revision == 1


async def test_rates_are_of_first_messages_and_of_reviews(shop: Shop) -> None:
    """B37."""
    name = await shop.create_rule()
    request = pb2.GetRuleStatsRequest(name=name)
    stats = await call(service(shop, counts=Counts(14, 10, 4, 1)).GetRuleStats, request)
    assert (stats.sent_count, stats.first_sent_count) == (14, 10)
    assert (stats.reviewed_count, stats.commented_count) == (4, 1)
    assert (stats.response_rate, stats.comment_rate) == (0.4, 0.25)
    nothing = await call(service(shop, counts=Counts(0, 0, 0, 0)).GetRuleStats, request)
    assert (nothing.response_rate, nothing.comment_rate) == (0.0, 0.0)


async def test_what_waits_follows_an_edit_that_says_so(shop: Shop) -> None:
    """R40, pitfall: edits and waiting messages. The preview tells the same and moves nothing."""
    channel = await shop.create_channel()
    name = await shop.create_rule(channel, steps=[step_pb(days=7)])
    event = event_pb(channel)
    (invitation,) = (
        await shop.events.Publish(event_service_pb2.PublishRequest(event=event))
    ).result.invitations

    async def due_s() -> int:
        request = invitation_service_pb2.GetInvitationRequest(name=invitation)
        return int((await shop.invitations.GetInvitation(request)).due_time.seconds)

    planned_s = await due_s()
    request = pb2.UpdateRuleRequest(
        rule=pb2.Rule(name=name, steps=[step_pb(days=9)]),
        update_mask=FieldMask(paths=["steps"]),
        apply_to=pb2.UpdateRuleRequest.APPLY_TO_PENDING,
        validate_only=True,
    )
    preview = (await shop.rules.UpdateRule(request)).pending_effect
    assert (preview.moved_count, preview.cancelled_count, preview.unchanged_count) == (1, 0, 0)
    assert await due_s() == planned_s
    request.apply_to = pb2.UpdateRuleRequest.APPLY_TO_NEW
    request.validate_only = False
    assert not (await shop.rules.UpdateRule(request)).HasField("pending_effect")
    assert await due_s() == planned_s, "what waits keeps the revision it was planned with"
    request.apply_to = pb2.UpdateRuleRequest.APPLY_TO_PENDING
    assert (await shop.rules.UpdateRule(request)).pending_effect == preview
    assert await due_s() == planned_s + 2 * DAY_S


async def test_what_was_sent_is_counted(shop: Shop) -> None:
    """B37."""
    channel = await shop.create_channel()
    name = await shop.create_rule(channel, steps=[step_pb(days=0)])
    await shop.events.Publish(event_service_pb2.PublishRequest(event=event_pb(channel)))
    await shop.daemon.engine.advance_to(shop.clock.now_ms() + 60_000)
    stats = await shop.rules.GetRuleStats(pb2.GetRuleStatsRequest(name=name))
    assert (stats.name, stats.sent_count, stats.first_sent_count) == (name, 1, 1)
    assert (stats.reviewed_count, stats.response_rate) == (0, 0.0)


async def test_carriers_are_written_to_by_an_operational_rule(shop: Shop) -> None:
    """C17: recipient and purpose go together."""
    action = pb2.Action(
        medium=1, recipient=pb2.Action.RECIPIENT_CARRIER, subject="Late", body="Where is it?",  # type: ignore[arg-type]
    )  # fmt: skip
    fields: dict[str, Any] = {
        "family": pb2.Rule.FAMILY_NOTIFICATION,
        "trigger": pb2.Trigger(event_type="shipment_delayed"),
        "steps": [step_pb(actions=[action])],
    }
    name = await shop.create_rule(await shop.create_channel(), purpose=4, **fields)
    rule = await shop.rules.GetRule(pb2.GetRuleRequest(name=name))
    assert rule.steps[0].actions[0].recipient == pb2.Action.RECIPIENT_CARRIER
    with refused() as refusal:
        await shop.create_rule(purpose=3, **fields)
    assert refusal.field == "rule.steps[0].actions[0].recipient"
