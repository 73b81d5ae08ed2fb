"""RuleService: the predefined automations, and rules made from them."""

from __future__ import annotations

from afterword.v1 import rule_service_pb2 as pb2
from control.automations import catalogue
from control.conversion import checks, names, pages
from control.services.rule_base import Context, RuleServiceBase, channels_to_activate_on
from control.services.updates import caller, found, operation
from core import bounds
from core.errors import InvalidField

_PREFIX = "automations/"


class AutomationMethods(RuleServiceBase):
    """The methods about automations."""

    async def ListAutomations(
        self, request: pb2.ListAutomationsRequest, context: Context
    ) -> pb2.ListAutomationsResponse:
        """List the automations by category and id."""
        category = checks.choice(request.category, "category", pb2.Automation.Category)
        shown, token = pages.page(
            self._automations.listed(category),
            catalogue.place,
            f"automations {category}",
            request.page_size,
            request.page_token,
        )
        return pb2.ListAutomationsResponse(automations=shown, next_page_token=token)

    async def GetAutomation(
        self, request: pb2.GetAutomationRequest, context: Context
    ) -> pb2.Automation:
        """Read an automation."""
        return self._automation(request.name, "name")

    async def CreateRuleFromAutomation(
        self, request: pb2.CreateRuleFromAutomationRequest, context: Context
    ) -> pb2.Rule:
        """Add a rule made from an automation."""
        op_id = operation(request, request.request_id)
        who = caller()
        names.parent_account(request.parent, who.account)
        activate_on = channels_to_activate_on(request.activate_on, who)
        rule_id = checks.resource_id(request.rule_id, "rule_id")
        new = self._automations.rule(
            self._automation(request.automation, "automation"),
            request.parameters,
            checks.text(request.display_name, "display_name", bounds.NAME_CHARS_MAX),
            who.account,
            rule_id,
            self._own_templates(who.account),
        )
        created = await self._registry.create_rule(
            new, op_id, request.validate_only, actor=who.actor, activate_on=activate_on
        )
        return self._to_proto(created)

    def _automation(self, name: str, field: str) -> pb2.Automation:
        right = '"automations/{automation}"'
        if not name:
            checks.missing(field, right)
        automation_id = name.removeprefix(_PREFIX)
        if automation_id == name or "/" in automation_id:
            raise InvalidField(f"{field} must be {right}", field=field)
        return found(self._automations.get(automation_id), name)
