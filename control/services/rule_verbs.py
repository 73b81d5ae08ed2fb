"""RuleService: pausing, freezing, stopping, resuming, and making one rule from another."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from afterword.v1 import rule_service_pb2 as pb2
from control.auth import Role
from control.conversion import checks, names, rules
from control.services.rule_base import (
    Context,
    RuleServiceBase,
    activations_to_proto,
    channel_ids,
)
from control.services.updates import caller, operation, require
from core import bounds
from core.errors import InvalidField
from core.registry.documents import channel_name
from core.registry.resources import Activation

Switch = Callable[[str, str, str, str, str, bool], Awaitable[list[Activation]]]
"""A method of the registry: account, rule, channel, actor, operation id, whether only to check."""

Verb = pb2.PauseRuleRequest | pb2.FreezeRuleRequest | pb2.StopRuleRequest | pb2.ResumeRuleRequest


class RuleVerbs(RuleServiceBase):
    """The verbs of rules that are or were active."""

    async def PauseRule(
        self, request: pb2.PauseRuleRequest, context: Context
    ) -> pb2.PauseRuleResponse:
        """Start no new runs; what waits goes on."""
        stands = await _switched(self._registry.pause_rule, request)
        return pb2.PauseRuleResponse(activations=stands)

    async def FreezeRule(
        self, request: pb2.FreezeRuleRequest, context: Context
    ) -> pb2.FreezeRuleResponse:
        """Start no new runs and hold what waits."""
        stands = await _switched(self._registry.freeze_rule, request)
        return pb2.FreezeRuleResponse(activations=stands)

    async def StopRule(
        self, request: pb2.StopRuleRequest, context: Context
    ) -> pb2.StopRuleResponse:
        """End all runs."""
        stands = await _switched(self._registry.stop_rule, request)
        return pb2.StopRuleResponse(activations=stands)

    async def ResumeRule(
        self, request: pb2.ResumeRuleRequest, context: Context
    ) -> pb2.ResumeRuleResponse:
        """Make a rule active again."""
        stands = await _switched(self._registry.resume_rule, request)
        return pb2.ResumeRuleResponse(activations=stands)

    async def DuplicateRule(self, request: pb2.DuplicateRuleRequest, context: Context) -> pb2.Rule:
        """Make a copy under another id, inactive everywhere."""
        op_id = operation(request, request.request_id)
        who = caller()
        rule_id = names.rule_id(request.name, who.account, "name")
        new_id = checks.resource_id(request.rule_id, "rule_id")
        display_name = checks.text(request.display_name, "display_name", bounds.NAME_CHARS_MAX)
        made = await self._registry.duplicate_rule(
            who.account,
            rule_id,
            new_id,
            display_name,
            actor=who.actor,
            op_id=op_id,
            validate_only=request.validate_only,
        )
        return self._to_proto(made)

    async def CopyRule(
        self, request: pb2.CopyRuleRequest, context: Context
    ) -> pb2.CopyRuleResponse:
        """Give channels rules of their own that are copies of this one, active there."""
        who = caller()
        # It writes rules and switches them on, so either role alone is not enough (A33).
        require(who, Role.CONFIGURE, "CopyRule")
        op_id = operation(request, request.request_id)
        rule_id = names.rule_id(request.name, who.account, "name")
        if request.all_channels == bool(request.channels):
            raise InvalidField(
                "channels must name the channels, or all_channels be true: exactly one of both",
                field="channels",
            )
        wanted = channel_ids(request.channels, who.account, "channels")
        changes = await self._registry.copy_rule(
            who.account,
            rule_id,
            None if request.all_channels else wanted,
            actor=who.actor,
            op_id=op_id,
            validate_only=request.validate_only,
        )
        return pb2.CopyRuleResponse(
            changes=[
                pb2.CopyRuleResponse.Change(
                    channel=channel_name(who.account, change.channel),
                    rule=self._to_proto(change.rule),
                    created=change.created,
                    activation=rules.activation_to_proto(change.activation),
                    superseded=activations_to_proto(change.superseded),
                )
                for change in changes
            ]
        )


async def _switched(switch: Switch, request: Verb) -> list[pb2.Activation]:
    """Carry out a verb on a channel, or wherever it is possible; return how the rule stands there."""
    who = caller()
    rule_id = names.rule_id(request.name, who.account, "name")
    channel_id = (
        names.channel_id(request.channel, who.account, "channel") if request.channel else ""
    )
    op_id = operation(request, request.request_id)
    found = await switch(who.account, rule_id, channel_id, who.actor, op_id, request.validate_only)
    return activations_to_proto(found)
