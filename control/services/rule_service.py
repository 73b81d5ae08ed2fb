"""RuleService: see rule_service.proto for the contract."""

from __future__ import annotations

from google.protobuf.empty_pb2 import Empty

from afterword.v1 import rule_service_pb2 as pb2
from control.conversion import checks, masks, names, pages, rules
from control.services.automation_methods import AutomationMethods
from control.services.rule_base import Context, channels_to_activate_on
from control.services.rule_verbs import RuleVerbs
from control.services.updates import caller, found, operation, update
from core.errors import FailedPrecondition, OutOfRange
from core.registry.resources import Activation, Rule


class RuleService(RuleVerbs, AutomationMethods):
    """Manages rules and switches them on and off per channel."""

    # Rules ------------------------------------------------------------------------------------

    async def CreateRule(self, request: pb2.CreateRuleRequest, context: Context) -> pb2.Rule:
        """Add a rule, active nowhere or where the request says."""
        op_id = operation(request, request.request_id)
        who = caller()
        names.parent_account(request.parent, who.account)
        activate_on = channels_to_activate_on(request.activate_on, who)
        rule_id = checks.resource_id(request.rule_id, "rule_id")
        own = self._own_templates(who.account)
        new = rules.rule_from_proto(request.rule, who.account, rule_id, self._conditions, own=own)
        created = await self._registry.create_rule(
            new, op_id, request.validate_only, actor=who.actor, activate_on=activate_on
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
        """Change a rule: a new revision, which what waits may have to follow."""
        op_id = operation(request, request.request_id)
        who = caller()
        name = request.rule.name
        rule_id = names.rule_id(name, who.account, "rule.name")
        activate_on = channels_to_activate_on(request.activate_on, who)
        apply_to = checks.choice(request.apply_to, "apply_to", pb2.UpdateRuleRequest.ApplyTo)
        is_for_pending = apply_to == pb2.UpdateRuleRequest.APPLY_TO_PENDING
        if is_for_pending and self._pending is None:
            raise FailedPrecondition(
                "apply_to APPLY_TO_PENDING is not possible on this server; leave it out",
                field="apply_to",
            )

        def present() -> Rule:
            return found(self._registry.snapshot.rule(who.account, rule_id), name)

        def changed(before: Rule) -> Rule:
            pb = masks.merged(
                self._to_proto(before), request.rule, request.update_mask, rules.OUTPUT_ONLY
            )
            # What it was made from is not the client's to say; the registry keeps it.
            own = self._own_templates(who.account)
            return rules.rule_from_proto(pb, who.account, rule_id, self._conditions, own=own)

        async def write(new: Rule, etag: str) -> Rule:
            return await self._registry.update_rule(
                new, etag, op_id, request.validate_only, actor=who.actor, activate_on=activate_on
            )

        written = await update(self._registry, request.rule.etag, present, changed, write)
        pb = self._to_proto(written)
        if is_for_pending:
            effect = await self._apply_to_pending(written, is_preview=request.validate_only)
            pb.pending_effect.CopyFrom(effect)
        return pb

    async def _apply_to_pending(self, rule: Rule, *, is_preview: bool) -> pb2.PendingEffect:
        assert self._pending is not None, "asked before the rule was written"
        if is_preview:
            effect = await self._pending.apply_to_pending(
                rule.account, rule.id, is_preview=True, rule=rule
            )
        else:
            effect = await self._pending.apply_to_pending(rule.account, rule.id, is_preview=False)
        return pb2.PendingEffect(
            moved_count=effect.moved,
            cancelled_count=effect.cancelled,
            unchanged_count=effect.unchanged,
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

    async def GetRuleRevision(
        self, request: pb2.GetRuleRevisionRequest, context: Context
    ) -> pb2.Rule:
        """Read a rule as it was in a revision."""
        account = caller().account
        rule_id = names.rule_id(request.name, account, "name")
        snapshot = self._registry.snapshot
        newest = found(snapshot.rule(account, rule_id), request.name)
        if not 1 <= request.revision <= newest.revision:
            raise OutOfRange(
                f"revision must be 1 to {newest.revision}, the newest", field="revision"
            )
        revision = snapshot.rule_revision(newest.number, request.revision)
        return self._to_proto(found(revision, f"revision {request.revision} of {request.name}"))

    async def GetRuleStats(
        self, request: pb2.GetRuleStatsRequest, context: Context
    ) -> pb2.RuleStats:
        """Count what came of a rule."""
        account = caller().account
        rule_id = names.rule_id(request.name, account, "name")
        rule = found(self._registry.snapshot.rule(account, rule_id), request.name)
        if self._counts is None:
            raise FailedPrecondition("this server does not count what comes of rules", field="name")
        sent, first_sent, reviewed, commented = await self._counts.stats(rule.number)
        return pb2.RuleStats(
            name=rule.name,
            sent_count=sent,
            first_sent_count=first_sent,
            reviewed_count=reviewed,
            commented_count=commented,
            response_rate=reviewed / first_sent if first_sent else 0.0,
            comment_rate=commented / reviewed if reviewed else 0.0,
        )

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
