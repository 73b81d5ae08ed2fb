"""TemplateService: see template_service.proto for the contract."""

from __future__ import annotations

from typing import Any

import grpc
from msgspec.structs import replace

from afterword.v1 import event_pb2, template_service_pb2_grpc
from afterword.v1 import template_service_pb2 as pb2
from control.conversion import addresses, checks, contents, events, names, pages, steps, times
from control.services import previews
from control.services.previews import Scene
from control.services.updates import caller, found
from core.clock import Clock
from core.errors import InvalidField
from core.model import REVIEW_FAMILIES, ActivationState, Event, Family, Medium
from core.registry.registry import Registry
from core.registry.resources import Channel, Rule
from core.registry.rule_content import as_said
from core.registry.rule_parts import Action, Step
from senders import templates
from senders.catalogue import choice
from senders.catalogue.emails import EMAIL_TEMPLATES, KIND_BOTH, BodyUse, EmailTemplate
from senders.catalogue.questionnaires import QUESTIONNAIRES

Context = grpc.aio.ServicerContext[Any, Any]

_ALL = [contents.template_to_proto(each) for each in EMAIL_TEMPLATES.values()] + [
    contents.questionnaire_to_proto(each) for each in QUESTIONNAIRES.values()
]
_BY_NAME = {each.name: each for each in _ALL}


class TemplateService(template_service_pb2_grpc.TemplateServiceServicer):
    """Tells what can be said, and what is said.

    Args:
        public_url: base of the links in messages; "" for none.
    """

    def __init__(self, registry: Registry, clock: Clock, public_url: str = "") -> None:
        self._registry = registry
        self._clock = clock
        self._public_url = public_url

    async def ListTemplates(
        self, request: pb2.ListTemplatesRequest, context: Context
    ) -> pb2.ListTemplatesResponse:
        """List the templates."""
        checks.refuse_unknown_deeply(request)
        kind = checks.choice(request.kind, "kind", pb2.Template.Kind)
        family = checks.choice(request.family, "family", contents.FAMILIES)
        listed = [
            each
            for each in _ALL
            if kind in (0, each.kind) and (not family or family in each.families)
        ]
        shown, token = pages.page(
            listed, _place, f"templates {kind} {family}", request.page_size, request.page_token
        )
        return pb2.ListTemplatesResponse(templates=shown, next_page_token=token)

    async def GetTemplate(self, request: pb2.GetTemplateRequest, context: Context) -> pb2.Template:
        """Read a template."""
        checks.refuse_unknown_deeply(request)
        prefixes = (contents.TEMPLATES, contents.QUESTIONNAIRES_PREFIX)
        _check_name(request.name, "name", prefixes)
        return found(_BY_NAME.get(request.name), request.name)

    async def ListRuleTemplates(
        self, request: pb2.ListRuleTemplatesRequest, context: Context
    ) -> pb2.ListRuleTemplatesResponse:
        """Tell what a rule says."""
        checks.refuse_unknown_deeply(request)
        rule = self._rule(request.rule)
        locale = checks.locale(request.locale, "locale") if request.locale else ""
        language = templates.language_for(locale, "")
        return pb2.ListRuleTemplatesResponse(
            templates=[
                _rule_template(rule, step, action, language)
                for step in rule.steps
                for action in step.actions
            ],
            rule_revision=rule.revision,
        )

    async def PreviewTemplate(
        self, request: pb2.PreviewTemplateRequest, context: Context
    ) -> pb2.PreviewTemplateResponse:
        """Render an e-mail."""
        checks.refuse_unknown_deeply(request)
        if checks.choice(request.medium, "medium", contents.MEDIA) not in (0, Medium.EMAIL):
            raise InvalidField(
                "medium must be EMAIL: there are previews of e-mails", field="medium"
            )
        template = _email_template(request.template) if request.template else None
        if not request.rule:
            return self._of_template(request, template)
        rule = self._rule(request.rule)
        step, action = _email_of(rule, request.step)
        if template is not None:
            contents.check_fits(template.id, rule.family, rule.purpose, "template")
            action = replace(action, template=template.id)
        if request.combined and rule.family is not Family.SERVICE_REVIEW:
            raise InvalidField(
                "combined is for rules of the family SERVICE_REVIEW, whose content a combined "
                "request has; leave it out",
                field="combined",
            )
        scene = self._scene(request, rule)
        return previews.of_rule(scene, rule, step, action, is_combined=request.combined)

    def _of_template(
        self, request: pb2.PreviewTemplateRequest, template: EmailTemplate | None
    ) -> pb2.PreviewTemplateResponse:
        if template is None:
            checks.missing("rule", '"accounts/{account}/rules/{rule}", or name a `template`')
        for field in ("step", "combined"):
            if getattr(request, field):
                raise InvalidField(f"{field} needs a rule; leave it out", field=field)
        return previews.of_template(self._scene(request, None), template)

    def _rule(self, name: str) -> Rule:
        account = caller().account
        rule_id = names.rule_id(name, account, "rule")
        return found(self._registry.snapshot.rule(account, rule_id), name)

    # Scenes -----------------------------------------------------------------------------------

    def _scene(self, request: pb2.PreviewTemplateRequest, rule: Rule | None) -> Scene:
        channel = self._channel(request, rule)
        now_ms = self._clock.now_ms()
        event = previews.sample_event(channel, now_ms)
        if request.HasField("event"):
            event = _event(request.event, channel, now_ms)
        locale = checks.locale(request.locale, "locale") if request.locale else ""
        locale = locale or event.locale or event.contact.locale
        return Scene(channel, event, locale, now_ms, self._public_url)

    def _channel(self, request: pb2.PreviewTemplateRequest, rule: Rule | None) -> Channel:
        account, snapshot = caller().account, self._registry.snapshot
        for name, field in ((request.channel, "channel"), (request.event.channel, "event.channel")):
            if name:
                channel_id = names.channel_id(name, account, field)
                return found(snapshot.channel(account, channel_id), name)
        for activation in snapshot.activations_of(rule) if rule is not None else ():
            channel = snapshot.channel(account, activation.channel)
            if activation.state is ActivationState.ACTIVE and channel is not None:
                return channel
        return previews.sample_channel(account)


def _place(template: pb2.Template) -> str:
    return f"{template.kind} {template.name}"


def _check_name(name: str, field: str, prefixes: tuple[str, ...]) -> str:
    """Return the id in the name of a template."""
    right = " or ".join(f'"{prefix}{{{prefix[:-2]}}}"' for prefix in prefixes)
    if not name:
        checks.missing(field, right)
    prefix, _, template_id = name.partition("/")
    if f"{prefix}/" not in prefixes or not template_id or "/" in template_id:
        raise InvalidField(f"{field} must be {right}", field=field)
    return template_id


def _email_template(name: str) -> EmailTemplate:
    template_id = _check_name(name, "template", (contents.TEMPLATES,))
    return found(EMAIL_TEMPLATES.get(template_id), name)


def _email_of(rule: Rule, step_id: str) -> tuple[Step, Action]:
    """Return the e-mail of a step, "" being the first."""
    step = next((each for each in rule.steps if step_id in ("", each.id)), None)
    if step is None:
        known = ", ".join(each.id for each in rule.steps)
        raise InvalidField(f"step must be empty or one of: {known}", field="step")
    for action in step.actions:
        if action.medium is Medium.EMAIL:
            return step, action
    raise InvalidField(f"step {step.id!r} has no action over EMAIL, so no preview", field="medium")


def _event(pb: event_pb2.Event, channel: Channel, now_ms: int) -> Event:
    """Return the event of a request, with what it need not say."""
    given = event_pb2.Event(id="preview", type="checkout", channel=channel.name)
    given.occur_time.CopyFrom(times.timestamp(now_ms))
    given.MergeFrom(pb)
    return events.event_from_proto(given, now_ms)


def _rule_template(rule: Rule, step: Step, action: Action, language: str) -> pb2.RuleTemplate:
    said = as_said(rule, step.id, action)
    review = rule.review
    pb = pb2.RuleTemplate(
        step=step.id,
        medium=steps.medium_to_proto(action.medium),
        subject=said.subject,
        preheader=said.preheader,
        body=said.body,
        sender=addresses.sender_to_proto(said.sender),
    )
    if rule.family in REVIEW_FAMILIES:
        pb.questionnaire = contents.questionnaire_name(review.questionnaire if review else "")
        pb.comment_required = review is not None and review.comment_required
    if action.medium is not Medium.EMAIL:
        return pb
    template = contents.template_of(rule, said)
    pb.template = contents.template_name(template)
    if rule.family is Family.SERVICE_REVIEW:
        pb.combined_template = contents.template_name(contents.template_of(rule, said, KIND_BOTH))
    words = template.words or choice.words_without_text(rule.family, 0).words
    is_follow_up = step.id != rule.steps[0].id
    pb.subject = pb.subject or templates.own_subject(words[language], is_follow_up=is_follow_up)
    if template.words and (not pb.body or template.body is BodyUse.FIXED):
        pb.body = "\n\n".join(template.words[language].paragraphs)
    return pb
