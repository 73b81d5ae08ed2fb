"""RuleService: see rule_service.proto for the contract."""

from __future__ import annotations

from typing import Any

import grpc
from google.protobuf.empty_pb2 import Empty

from afterword.v1 import rule_service_pb2 as pb2
from afterword.v1 import rule_service_pb2_grpc
from control.conversion import checks, masks, names, pages, rules
from control.conversion.rules import Conditions
from control.services.updates import caller, found, operation, update
from core.registry.registry import Registry
from core.registry.resources import Activation, Rule

Context = grpc.aio.ServicerContext[Any, Any]


class RuleService(rule_service_pb2_grpc.RuleServiceServicer):
    """Manages rules and switches them on and off per channel."""

    def __init__(self, registry: Registry, conditions: Conditions) -> None:
        self._registry = registry
        self._conditions = conditions

    def _to_proto(self, rule: Rule) -> pb2.Rule:
        return rules.rule_to_proto(rule, self._registry.snapshot)

    # Rules ------------------------------------------------------------------------------------

    async def CreateRule(self, request: pb2.CreateRuleRequest, context: Context) -> pb2.Rule:
        """Add a rule, inactive everywhere."""
        op_id = operation(request, request.request_id)
        who = caller()
        names.parent_account(request.parent, who.account)
        rule_id = checks.resource_id(request.rule_id, "rule_id")
        new = rules.rule_from_proto(request.rule, who.account, rule_id, self._conditions)
        created = await self._registry.create_rule(
            new, op_id, request.validate_only, actor=who.actor
        )
        return self._to_proto(created)

    async def GetRule(self, request: pb2.GetRuleRequest, context: Context) -> pb2.Rule:
        """Read a rule in its newest revision."""
        account = caller().account
        rule_id = names.rule_id(request.name, account, "name")
        return self._to_proto(found(self._registry.snapshot.rule(account, rule_id), request.name))

    async def ListRules(
        self, request: pb2.ListRulesRequest, context: Context
    ) -> pb2.ListRulesResponse:
        """List rules by id."""
        account = caller().account
        names.parent_account(request.parent, account)
        shown, token = pages.page(
            self._registry.snapshot.rules(account),
            lambda rule: rule.id,
            f"rules {account}",
            request.page_size,
            request.page_token,
        )
        return pb2.ListRulesResponse(
            rules=[self._to_proto(one) for one in shown], next_page_token=token
        )

    async def UpdateRule(self, request: pb2.UpdateRuleRequest, context: Context) -> pb2.Rule:
        """Change a rule: a new revision."""
        op_id = operation(request, request.request_id)
        who = caller()
        name = request.rule.name
        rule_id = names.rule_id(name, who.account, "rule.name")

        def present() -> Rule:
            return found(self._registry.snapshot.rule(who.account, rule_id), name)

        def changed(before: Rule) -> Rule:
            pb = masks.merged(
                self._to_proto(before), request.rule, request.update_mask, rules.OUTPUT_ONLY
            )
            return rules.rule_from_proto(pb, who.account, rule_id, self._conditions)

        async def write(new: Rule, etag: str) -> Rule:
            return await self._registry.update_rule(
                new, etag, op_id, request.validate_only, actor=who.actor
            )

        return self._to_proto(
            await update(self._registry, request.rule.etag, present, changed, write)
        )

    async def DeleteRule(self, request: pb2.DeleteRuleRequest, context: Context) -> Empty:
        """Delete a rule."""
        op_id = operation(request, request.request_id)
        who = caller()
        rule_id = names.rule_id(request.name, who.account, "name")
        await self._registry.delete_rule(
            who.account, rule_id, request.etag, op_id, request.validate_only, actor=who.actor
        )
        return Empty()

    # Activation -------------------------------------------------------------------------------

    async def ActivateRule(
        self, request: pb2.ActivateRuleRequest, context: Context
    ) -> pb2.ActivateRuleResponse:
        """Switch a rule on for one channel."""
        op_id = operation(request, request.request_id)
        who = caller()
        rule_id = names.rule_id(request.name, who.account, "name")
        channel_id = names.channel_id(request.channel, who.account, "channel")
        activation, superseded = await self._registry.activate(
            who.account, rule_id, channel_id, who.actor, op_id, request.validate_only
        )
        return pb2.ActivateRuleResponse(
            activation=rules.activation_to_proto(activation),
            superseded=[rules.activation_to_proto(one) for one in superseded],
        )

    async def DeactivateRule(
        self, request: pb2.DeactivateRuleRequest, context: Context
    ) -> pb2.Activation:
        """Switch a rule off for one channel."""
        op_id = operation(request, request.request_id)
        who = caller()
        rule_id = names.rule_id(request.name, who.account, "name")
        channel_id = names.channel_id(request.channel, who.account, "channel")
        activation = await self._registry.deactivate(
            who.account, rule_id, channel_id, who.actor, op_id, request.validate_only
        )
        return rules.activation_to_proto(activation)

    async def ListActivations(
        self, request: pb2.ListActivationsRequest, context: Context
    ) -> pb2.ListActivationsResponse:
        """List where rules are or were active."""
        account = caller().account
        channel_id = names.channel_id(request.parent, account, "parent")
        snapshot = self._registry.snapshot
        if channel_id == names.ANY:
            listed = snapshot.activations(account)
        else:
            found(snapshot.channel(account, channel_id), request.parent)
            listed = snapshot.activations(account, channel_id)
        shown, token = pages.page(
            listed, _place, f"activations {request.parent}", request.page_size, request.page_token
        )
        return pb2.ListActivationsResponse(
            activations=[rules.activation_to_proto(one) for one in shown], next_page_token=token
        )


def _place(activation: Activation) -> str:
    """Return what activations are listed by; a space sorts before every character of an id."""
    return f"{activation.channel} {activation.rule}"
