"""TemplateService: see template_service.proto for the contract."""

from __future__ import annotations

from typing import Any

import grpc
from msgspec.structs import replace

from afterword.v1 import event_pb2
from afterword.v1 import template_service_pb2 as pb2
from control.conversion import addresses, checks, contents, events, names, pages, steps, times
from control.conversion import templates as own_templates
from control.services import own_previews, previews
from control.services.previews import Scene
from control.services.template_methods import TemplateMethods
from control.services.updates import caller, found
from core.clock import Clock
from core.engine.reader import Reader
from core.errors import FailedPrecondition, InvalidField
from core.model import REVIEW_FAMILIES, ActivationState, Event, Family, Medium
from core.registry.contents import ContentTemplate
from core.registry.registry import Registry
from core.registry.resources import Channel, Rule
from core.registry.rule_content import as_said
from core.registry.rule_parts import Action, Step
from senders import templates
from senders.catalogue import choice
from senders.catalogue.emails import EMAIL_TEMPLATES, KIND_BOTH, BodyUse, EmailTemplate
from senders.catalogue.questionnaires import QUESTIONNAIRES
from senders.pages import said as said_at_the_end
from senders.sms import takes_answers_at

OWN_PREFIX = "accounts/"

Context = grpc.aio.ServicerContext[Any, Any]

_ALL = [contents.template_to_proto(each) for each in EMAIL_TEMPLATES.values()] + [
    contents.questionnaire_to_proto(each) for each in QUESTIONNAIRES.values()
]
_BY_NAME = {each.name: each for each in _ALL}


class TemplateService(TemplateMethods):
    """Tells what can be said, and what is said.

    Args:
        public_url: base of the links in messages; "" for none.
        reader: reads invitations; None: none can be previewed.
    """

    def __init__(
        self, registry: Registry, clock: Clock, public_url: str = "", reader: Reader | None = None
    ) -> None:
        super().__init__(registry)
        self._reader = reader
        self._clock = clock
        self._public_url = public_url

    async def ListTemplates(
        self, request: pb2.ListTemplatesRequest, context: Context
    ) -> pb2.ListTemplatesResponse:
        """List the templates."""
        checks.refuse_unknown_deeply(request)
        kind = checks.choice(request.kind, "kind", pb2.Template.Kind)
        family = checks.choice(request.family, "family", contents.FAMILIES)
        if request.parent:
            own, token = self.own_templates(request)
            return pb2.ListTemplatesResponse(templates=own, next_page_token=token)
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
        if request.name.startswith(OWN_PREFIX):
            own = self.own_template(request.name, request.revision, "name")
            return own_templates.template_to_proto(own)
        if request.revision:
            raise InvalidField(
                "revision is for own templates; what is shipped has none", field="revision"
            )
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
                self._own_rule_template(rule, step, action, locale)
                or _rule_template(rule, step, action, language)
                for step in rule.steps
                for action in step.actions
            ],
            rule_revision=rule.revision,
        )

    async def PreviewTemplate(
        self, request: pb2.PreviewTemplateRequest, context: Context
    ) -> pb2.PreviewTemplateResponse:
        """Render a message."""
        checks.refuse_unknown_deeply(request)
        medium = checks.choice(request.medium, "medium", contents.MEDIA)
        scene = await self._scene(request)
        own = self._own_preview(request, scene)
        if own is not None:
            return own
        if medium in (Medium.SMS, Medium.WHATSAPP):
            return self._of_text(request, scene, Medium(medium))
        if medium not in (0, Medium.EMAIL):
            raise InvalidField(
                "medium must be EMAIL, SMS or WHATSAPP: there are previews of those", field="medium"
            )
        template = _email_template(request.template) if request.template else None
        if not request.rule:
            return self._of_template(request, template, scene)
        rule = self._rule(request.rule)
        step, action = _action_of(rule, request.step, Medium.EMAIL)
        if template is not None:
            contents.check_fits(template.id, rule.family, rule.purpose, "template")
            action = replace(action, template=template.id)
        if request.combined and rule.family is not Family.SERVICE_REVIEW:
            raise InvalidField(
                "combined is for rules of the family SERVICE_REVIEW, whose content a combined "
                "request has; leave it out",
                field="combined",
            )
        return previews.of_rule(scene, rule, step, action, is_combined=request.combined)

    def _of_text(
        self, request: pb2.PreviewTemplateRequest, scene: Scene, medium: Medium
    ) -> pb2.PreviewTemplateResponse:
        """Return the preview of an SMS or WhatsApp message that a rule has the text of."""
        if not request.rule:
            checks.missing(
                "rule", '"accounts/{account}/rules/{rule}": such a message has the text of a rule'
            )
        if request.template:
            raise InvalidField(
                "template must be empty or an own one: those that are shipped are for EMAIL",
                field="template",
            )
        rule = self._rule(request.rule)
        step, action = _action_of(rule, request.step, medium)
        if medium is Medium.WHATSAPP:
            return previews.of_whatsapp(scene, rule, step, action, is_combined=request.combined)
        return previews.of_sms(
            scene, rule, step, action, is_combined=request.combined,
            takes_answers=self._takes_answers(scene),
        )  # fmt: skip

    def _takes_answers(self, scene: Scene) -> bool:
        sender = self._registry.snapshot.sender_of(scene.channel, Medium.SMS)
        return sender is None or takes_answers_at(sender.origin)

    def _of_template(
        self, request: pb2.PreviewTemplateRequest, template: EmailTemplate | None, scene: Scene
    ) -> pb2.PreviewTemplateResponse:
        if template is None:
            checks.missing("rule", '"accounts/{account}/rules/{rule}", or name a `template`')
        for field in ("step", "combined"):
            if getattr(request, field):
                raise InvalidField(f"{field} needs a rule; leave it out", field=field)
        return previews.of_template(scene, template)

    # Own templates ----------------------------------------------------------------------------

    def _own_preview(
        self, request: pb2.PreviewTemplateRequest, scene: Scene
    ) -> pb2.PreviewTemplateResponse | None:
        """Return the preview of an own template, None if the request is about a shipped one."""
        named = request.template if request.template.startswith(OWN_PREFIX) else ""
        own = self.own_template(named, request.template_revision, "template") if named else None
        rule, step, said = None, None, None
        if request.rule:
            rule = self._rule(request.rule)
            medium = Medium(request.medium or (own.medium if own is not None else Medium.EMAIL))
            step, action = _action_of(rule, request.step, medium)
            said = as_said(rule, step.id, action)
            if own is None and not request.template and said.template:
                own = self._own(said.template, request.template_revision)
        if own is None or (not named and own.medium != (request.medium or Medium.EMAIL)):
            return None
        if request.medium not in (0, own.medium):
            raise InvalidField(
                f"medium must be empty or {own.medium.name}: the template is for that",
                field="medium",
            )
        if rule is None and request.step:
            raise InvalidField("step needs a rule; leave it out", field="step")
        is_reminder = rule is not None and step is not None and step.id != rule.steps[0].id
        return own_previews.of_own(
            scene, own, rule, said, is_reminder=is_reminder, is_combined=request.combined,
            takes_answers=self._takes_answers(scene),
        )  # fmt: skip

    def _own(self, template: str, revision: int = 0) -> ContentTemplate | None:
        account, snapshot = caller().account, self._registry.snapshot
        if revision:
            return snapshot.template_revision(account, template, revision)
        return snapshot.template(account, template)

    def _own_rule_template(
        self, rule: Rule, step: Step, action: Action, locale: str
    ) -> pb2.RuleTemplate | None:
        """Return what an action says by an own template, None if it has none."""
        said = as_said(rule, step.id, action)
        own = self._own(said.template) if said.template else None
        if own is None or own.medium is not action.medium:
            return None
        return own_previews.rule_template(rule, step, said, own, locale)

    def _rule(self, name: str) -> Rule:
        account = caller().account
        rule_id = names.rule_id(name, account, "rule")
        return found(self._registry.snapshot.rule(account, rule_id), name)

    # Scenes -----------------------------------------------------------------------------------

    async def _scene(self, request: pb2.PreviewTemplateRequest) -> Scene:
        rule = self._rule(request.rule) if request.rule else None
        kept = await self._event_of(request) if request.invitation else None
        channel = self._channel(request, rule, kept)
        now_ms = self._clock.now_ms()
        if kept is not None:
            event = kept
        elif request.HasField("event"):
            event = _event(request.event, channel, now_ms)
        else:
            event = previews.sample_event(channel, now_ms)
        locale = checks.locale(request.locale, "locale") if request.locale else ""
        locale = locale or event.locale or event.contact.locale
        return Scene(channel, event, locale, now_ms, self._public_url)

    async def _event_of(self, request: pb2.PreviewTemplateRequest) -> Event:
        if request.HasField("event"):
            raise InvalidField(
                "event and invitation cannot both be set: either brings an event",
                field="invitation",
            )
        if self._reader is None:
            raise FailedPrecondition("no invitations are kept here", field="invitation")
        account = caller().account
        member = names.member(request.invitation, account, "invitation")
        return await self._reader.event_of(account, member)

    def _channel(
        self, request: pb2.PreviewTemplateRequest, rule: Rule | None, kept: Event | None
    ) -> Channel:
        """Return the shop that writes.

        Args:
            kept: the event of an invitation.
        """
        account, snapshot = caller().account, self._registry.snapshot
        for name, field in ((request.channel, "channel"), (request.event.channel, "event.channel")):
            if name:
                channel_id = names.channel_id(name, account, field)
                return found(snapshot.channel(account, channel_id), name)
        if kept is not None:
            channel_id = names.channel_id(kept.channel, account, "invitation")
            channel = snapshot.channel(account, channel_id)
            if channel is not None:
                return channel
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


def _action_of(rule: Rule, step_id: str, medium: Medium) -> tuple[Step, Action]:
    """Return the action of a step over a medium, "" being the first step."""
    step = next((each for each in rule.steps if step_id in ("", each.id)), None)
    if step is None:
        known = ", ".join(each.id for each in rule.steps)
        raise InvalidField(f"step must be empty or one of: {known}", field="step")
    for action in step.actions:
        if action.medium is medium:
            return step, action
    raise InvalidField(
        f"step {step.id!r} has no action over {medium.name}, so no preview", field="medium"
    )


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
        copy = template.words[language]
        pb.body = "\n\n".join(said_at_the_end(copy.paragraphs, copy.reply))
        pb.preheader = pb.preheader or copy.preheader
    return pb
