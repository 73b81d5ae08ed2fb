"""Templates through the API: the catalogue, what rules may name, what they say, and previews."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import grpc
import pytest

from afterword.v1 import (
    channel_service_pb2,
    event_pb2,
    event_service_pb2,
    rule_service_pb2,
    types_pb2,
)
from afterword.v1 import template_service_pb2 as pb2
from afterword.v1.template_service_pb2_grpc import TemplateServiceStub
from control.cli.main import main
from control.services.previews import Scene, of_rule, sample_channel, sample_event
from core.model import Family, Medium, Purpose
from core.registry.resources import Rule
from core.registry.rule_parts import Action, Step, Wait
from tests.control.kit import (
    DAY_S,
    NOW_MS,
    PARENT,
    Shop,
    event_pb,
    refused,
    rule_pb,
    step_pb,
    unique,
)

pytestmark = pytest.mark.asyncio(loop_scope="module")

FAMILY = rule_service_pb2.Rule
EMAIL = types_pb2.MEDIUM_EMAIL
EMAILS = [
    "templates/abandoned-cart",
    "templates/abandoned-cart-last",
    "templates/carrier-delay",
    "templates/combined-review",
    "templates/confirm-consent",
    "templates/first-purchase-thanks",
    "templates/frequent-buyer",
    "templates/notification",
    "templates/optimised-service-review",
    "templates/order-shipped",
    "templates/payment-received",
    "templates/plain",
    "templates/standard-product-review",
    "templates/standard-service-review",
    "templates/win-back",
    "templates/win-back-last",
]
NAMES = [
    *EMAILS,
    "questionnaires/extended",
    "questionnaires/optimised",
    "questionnaires/standard",
]


def templates_of(shop: Shop) -> Any:
    return TemplateServiceStub(shop.channel)


def saying(step_id: str = "first", medium: int = EMAIL, **content: Any) -> rule_service_pb2.Step:
    days = 7 if step_id == "first" else 3
    action = rule_service_pb2.Action(medium=medium, **content)  # type: ignore[arg-type]
    return step_pb(step_id, days, actions=[action])


FREE = {
    "family": FAMILY.FAMILY_AUTOMATION,
    "purpose": types_pb2.PURPOSE_MARKETING,
}


# --- the catalogue --------------------------------------------------------------------------------


async def test_the_catalogue_is_listed_with_descriptions(shop: Shop) -> None:
    """A23, B44: e-mails first, each kind by id."""
    listed = await templates_of(shop).ListTemplates(pb2.ListTemplatesRequest())
    assert [each.name for each in listed.templates] == NAMES
    assert all(each.display_name and each.description for each in listed.templates)
    assert not listed.next_page_token
    for each in listed.templates:
        assert await templates_of(shop).GetTemplate(pb2.GetTemplateRequest(name=each.name)) == each


async def test_the_catalogue_is_listed_by_kind_and_family(shop: Shop) -> None:
    """A20, A21, B21, B22: what a drop-down offers."""

    async def names(**fields: Any) -> list[str]:
        answer = await templates_of(shop).ListTemplates(pb2.ListTemplatesRequest(**fields))
        return [each.name.partition("/")[2] for each in answer.templates]

    assert await names(kind=pb2.Template.KIND_QUESTIONNAIRE) == [
        "extended",
        "optimised",
        "standard",
    ]
    emails = pb2.Template.KIND_EMAIL
    assert await names(kind=emails, family=FAMILY.FAMILY_SERVICE_REVIEW) == [
        "combined-review", "optimised-service-review", "plain", "standard-service-review",
    ]  # fmt: skip
    assert await names(kind=emails, family=FAMILY.FAMILY_PRODUCT_REVIEW) == [
        "combined-review", "plain", "standard-product-review",
    ]  # fmt: skip
    assert await names(family=FAMILY.FAMILY_NOTIFICATION) == [
        "abandoned-cart", "abandoned-cart-last", "carrier-delay", "first-purchase-thanks",
        "frequent-buyer", "notification", "order-shipped", "payment-received", "plain", "win-back",
        "win-back-last",
    ]  # fmt: skip


async def test_the_catalogue_comes_in_pages(shop: Shop) -> None:
    found, token = [], ""
    while True:
        request = pb2.ListTemplatesRequest(page_size=4, page_token=token)
        answer = await templates_of(shop).ListTemplates(request)
        found += [each.name for each in answer.templates]
        token = answer.next_page_token
        if not token:
            break
    assert found == NAMES
    first = await templates_of(shop).ListTemplates(pb2.ListTemplatesRequest(page_size=4))
    with refused() as refusal:
        await templates_of(shop).ListTemplates(
            pb2.ListTemplatesRequest(kind=pb2.Template.KIND_EMAIL, page_token=first.next_page_token)
        )
    assert refusal.field == "page_token"


async def test_a_template_tells_what_it_is_for(shop: Shop) -> None:
    """A21, A23, B22, B39."""

    async def get(name: str) -> pb2.Template:
        found: pb2.Template = await templates_of(shop).GetTemplate(
            pb2.GetTemplateRequest(name=name)
        )
        return found

    product = await get("templates/standard-product-review")
    assert list(product.default_for) == [FAMILY.FAMILY_PRODUCT_REVIEW]
    assert list(product.purposes) == [types_pb2.PURPOSE_REVIEW]
    assert set(product.languages) == {"de", "en", "es", "fr", "pl", "pt"}
    assert (await get("templates/plain")).body == pb2.Template.BODY_REQUIRED
    extended = await get("questionnaires/extended")
    standard = await get("questionnaires/standard")
    assert len(extended.questions) > len(standard.questions) > 0
    assert list(standard.default_for) == [
        FAMILY.FAMILY_SERVICE_REVIEW, FAMILY.FAMILY_PRODUCT_REVIEW,
    ]  # fmt: skip
    assert not list(extended.default_for)
    assert standard.can_require_comment


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("", grpc.StatusCode.INVALID_ARGUMENT),
        ("plain", grpc.StatusCode.INVALID_ARGUMENT),
        ("templates/", grpc.StatusCode.INVALID_ARGUMENT),
        ("templates/plain/x", grpc.StatusCode.INVALID_ARGUMENT),
        ("templates/standard", grpc.StatusCode.NOT_FOUND),
        ("questionnaires/plain", grpc.StatusCode.NOT_FOUND),
    ],
)
async def test_a_template_that_is_not_there(shop: Shop, name: str, code: grpc.StatusCode) -> None:
    with refused() as refusal:
        await templates_of(shop).GetTemplate(pb2.GetTemplateRequest(name=name))
    assert refusal.code == code
    is_unknown = code == grpc.StatusCode.NOT_FOUND
    assert (name if is_unknown else '"templates/{template}"') in refusal.problem.message


# --- what a rule may name -------------------------------------------------------------------------

FIRST = "rule.steps[0].actions[0]"


@pytest.mark.parametrize(
    ("fields", "field", "told"),
    [
        (
            {"steps": [saying(template="shiny")]},
            f"{FIRST}.template",
            "combined-review, optimised-service-review, plain, standard-service-review",
        ),
        (
            {"steps": [saying(template="notification")]},
            f"{FIRST}.template",
            "standard-service-review",
        ),
        (
            {**FREE, "steps": [saying(template="standard-service-review")]},
            f"{FIRST}.template",
            "plain",
        ),
        (
            {**FREE, "steps": [saying(template="notification")]},
            f"{FIRST}.template",
            "MARKETING; it must be empty or one of: abandoned-cart, abandoned-cart-last, "
            "first-purchase-thanks, frequent-buyer, plain, win-back, win-back-last",
        ),
        (
            {"steps": [saying(medium=types_pb2.MEDIUM_SMS, template="plain", body="Hello.")]},
            f"{FIRST}.template",
            "none for SMS",
        ),
        ({"steps": [saying(template="plain")]}, f"{FIRST}.body", "no text of its own"),
        (
            {**FREE, "steps": [saying(template="plain", body="Hello.")]},
            f"{FIRST}.subject",
            "no subject of its own",
        ),
        (
            {"steps": [saying(template="optimised-service-review", body="Hello.")]},
            f"{FIRST}.body",
            "has a fixed text",
        ),
        (
            {"steps": [saying(template="optimised-service-review"), saying("again", body="Hi.")]},
            "rule.steps[1].actions[0].body",
            "has a fixed text",
        ),
        (
            {"review": rule_service_pb2.ReviewSettings(questionnaire="long")},
            "rule.review.questionnaire",
            "extended, optimised, standard",
        ),
        (
            {
                "review": rule_service_pb2.ReviewSettings(
                    questionnaire="optimised", comment_required=True
                )
            },
            "rule.review.comment_required",
            "extended, standard",
        ),
    ],
)
async def test_a_rule_names_what_there_is_for_it(
    shop: Shop, fields: dict[str, Any], field: str, told: str
) -> None:
    """A20, A21, B4, B21, B22, B36: refused at save, with the field and what would be right."""
    name = await shop.create_rule()
    for write in ("create", "update"):
        with refused() as refusal:
            if write == "create":
                await shop.create_rule(**fields)
            else:
                await shop.rules.UpdateRule(
                    rule_service_pb2.UpdateRuleRequest(rule=rule_pb(name=name, **fields))
                )
        assert refusal.field == field, refusal
        assert told in refusal.problem.message


async def test_a_rule_keeps_the_templates_it_names(shop: Shop) -> None:
    """A20, A21, B21, B22: and they go out with its messages."""
    channel = await shop.create_channel()
    name = await shop.create_rule(
        channel,
        steps=[saying(template="optimised-service-review")],
        review=rule_service_pb2.ReviewSettings(questionnaire="extended"),
    )
    rule = await shop.rules.GetRule(rule_service_pb2.GetRuleRequest(name=name))
    assert rule.steps[0].actions[0].template == "optimised-service-review"
    assert rule.review.questionnaire == "extended"
    event = event_pb(channel)
    await shop.events.Publish(event_service_pb2.PublishRequest(event=event))
    await shop.daemon.engine.advance_to(NOW_MS + 8 * DAY_S * 1_000)
    letter = next(one for one in shop.outbox.letters if one.address == event.contact.email)
    assert (letter.template, letter.questionnaire) == ("optimised-service-review", "extended")


# --- what a rule says -----------------------------------------------------------------------------


async def said_by(shop: Shop, locale: str = "", **fields: Any) -> list[pb2.RuleTemplate]:
    name = await shop.create_rule(**fields)
    request = pb2.ListRuleTemplatesRequest(rule=name, locale=locale)
    answer = await templates_of(shop).ListRuleTemplates(request)
    assert answer.rule_revision == 1
    return list(answer.templates)


async def test_a_rule_without_templates_says_what_is_default(shop: Shop) -> None:
    """A20, A21, B39, C24: a product rule inherits, a service rule has both of its defaults."""
    service, reminder = await said_by(shop, "de_AT", steps=[saying(), saying("again")])
    assert service.template == "templates/standard-service-review"
    assert service.combined_template == "templates/combined-review"
    assert service.questionnaire == "questionnaires/standard"
    assert service.subject == "Wie war Ihre Bestellung {{order}} bei {{shop}}?"
    assert service.body.startswith("vielen Dank für Ihre Bestellung {{order}}")
    assert reminder.subject.startswith("Zur Erinnerung")
    assert reminder.body == service.body
    (product,) = await said_by(shop, family=FAMILY.FAMILY_PRODUCT_REVIEW, steps=[step_pb(days=14)])
    assert product.template == "templates/standard-product-review"
    assert product.questionnaire == "questionnaires/standard"
    assert product.subject == "What do you think of your purchase at {{shop}}?"
    assert not product.combined_template


async def test_a_rule_tells_every_step_and_medium(shop: Shop) -> None:
    """B19, C24: with what is inherited."""
    own = channel_service_pb2.EmailSender(address="ops@shop.example", display_name="Ops")
    first = rule_service_pb2.Action(
        medium=EMAIL, template="plain", subject="One", preheader="Two", body="Three.", sender=own
    )
    message = rule_service_pb2.Action(medium=types_pb2.MEDIUM_SMS, body="In short.")
    found = await said_by(
        shop,
        steps=[step_pb(actions=[first, message]), saying("again", subject="Still?")],
        review=rule_service_pb2.ReviewSettings(questionnaire="extended", comment_required=True),
    )
    mail, text, reminder = found
    assert (mail.step, mail.medium, mail.template) == ("first", EMAIL, "templates/plain")
    assert (mail.subject, mail.preheader, mail.body, mail.sender) == ("One", "Two", "Three.", own)
    assert mail.questionnaire == "questionnaires/extended"
    assert mail.comment_required
    assert (text.medium, text.template, text.body) == (types_pb2.MEDIUM_SMS, "", "In short.")
    assert (reminder.step, reminder.template, reminder.subject) == (
        "again", "templates/plain", "Still?",
    )  # fmt: skip
    assert (reminder.preheader, reminder.body) == ("Two", "Three.")
    (automation,) = await said_by(
        shop, **FREE, steps=[saying(subject="News", body="We have news.")]
    )
    assert (automation.template, automation.body) == ("templates/plain", "We have news.")
    assert not automation.questionnaire


@pytest.mark.parametrize(
    ("rule", "code"),
    [
        ("", grpc.StatusCode.INVALID_ARGUMENT),
        (f"{PARENT}/rules/nowhere", grpc.StatusCode.NOT_FOUND),
        ("accounts/other/rules/ask", grpc.StatusCode.NOT_FOUND),
    ],
)
async def test_a_rule_that_is_not_there(shop: Shop, rule: str, code: grpc.StatusCode) -> None:
    for call, request in (
        (templates_of(shop).ListRuleTemplates, pb2.ListRuleTemplatesRequest(rule=rule)),
        (templates_of(shop).PreviewTemplate, pb2.PreviewTemplateRequest(rule=rule)),
    ):
        with refused() as refusal:
            await call(request)
        assert refusal.code == code
        assert f"{rule} does not exist" in refusal.problem.message or refusal.field == "rule"


# --- previews -------------------------------------------------------------------------------------


async def preview(shop: Shop, **fields: Any) -> pb2.PreviewTemplateResponse:
    found: pb2.PreviewTemplateResponse = await templates_of(shop).PreviewTemplate(
        pb2.PreviewTemplateRequest(**fields)
    )
    return found


async def test_every_template_has_a_preview_in_every_language(shop: Shop) -> None:
    """A23, B44."""
    seen = set()
    for name in EMAILS:
        for locale in ("de", "en", "es_MX", "fr", "pl", "pt_BR"):
            found = await preview(shop, template=name, locale=locale)
            assert (found.template, found.language) == (name, locale[:2])
            for part in (found.subject, found.text, found.html):
                assert part
                assert "{{" not in part
            assert found.html.lower().startswith("<!doctype html>")
            seen.add(found.text)
    assert len(seen) == 6 * len(EMAILS)


async def test_a_rule_is_shown_as_its_channel_sends_it(shop: Shop) -> None:
    """B44: the name, sender and language of the shop on which it is active."""
    channel = await shop.create_channel(display_name="Tienda Uno")
    rule = await shop.create_rule(channel, steps=[saying(preheader="Una pregunta")])
    found = await preview(shop, rule=rule)
    assert found.language == "es"
    assert found.sender == "Tienda Uno <hello@shop.example>"
    assert found.subject == "¿Qué tal tu pedido 100-2345 en Tienda Uno?"
    assert found.text.startswith("Hola, Maria:\n\nGracias por tu pedido 100-2345")
    assert "Una pregunta" in found.html
    assert "unsubscribe" not in found.html, "this server sends no such links"
    nowhere = await shop.create_rule()
    assert "Your shop" in (await preview(shop, rule=nowhere)).text


async def test_a_preview_tells_the_event_it_is_given(shop: Shop) -> None:
    """B44: the same event gives the message that would go out."""
    channel = await shop.create_channel(display_name="Sklep", locale="pl")
    rule = await shop.create_rule()
    event = event_pb2.Event(
        channel=channel,
        contact=event_pb2.Contact(first_name="Ola <b>", email="ola@example.com"),
        order=event_pb2.Order(reference="77", items=[event_pb2.Item(name="Kubek")]),
    )
    found = await preview(shop, rule=rule, event=event)
    assert (found.language, found.subject) == ("pl", "Jak oceniasz zamówienie 77 w sklepie Sklep?")
    assert "Ola &lt;b&gt;" in found.html
    event.contact.locale = "fr"
    assert (await preview(shop, rule=rule, event=event)).language == "fr"
    found = await preview(shop, rule=rule, event=event, locale="de", combined=True)
    assert (found.language, found.template) == ("de", "templates/combined-review")
    assert "Kubek" in found.text


async def test_a_preview_of_a_reminder_and_of_another_template(shop: Shop) -> None:
    """B19, B44: try before it is saved."""
    rule = await shop.create_rule(steps=[saying(), saying("again")])
    first = await preview(shop, rule=rule, locale="en")
    reminder = await preview(shop, rule=rule, step="again", locale="en")
    assert reminder.subject.startswith("A reminder:")
    assert (reminder.text, reminder.html) == (first.text, first.html)
    other = await preview(shop, rule=rule, template="templates/optimised-service-review")
    assert len(other.text) < len(first.text)


PLAIN = "templates/plain"


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"step": "second"}, "step"),
        ({"medium": types_pb2.MEDIUM_SMS}, "medium"),
        ({"template": "plain"}, "template"),
        ({"template": "questionnaires/standard"}, "template"),
        ({"template": "templates/notification"}, "template"),
        ({"channel": "nowhere"}, "channel"),
        ({"event": {"channel": "nowhere"}}, "event.channel"),
        ({"event": {"contact": {"email": "no address"}}}, "event.contact.email"),
        ({"locale": "Deutsch"}, "locale"),
        ({"rule": ""}, "rule"),
        ({"rule": "", "template": PLAIN, "step": "first"}, "step"),
        ({"rule": "", "template": PLAIN, "combined": True}, "combined"),
    ],
)
async def test_a_preview_that_cannot_be(shop: Shop, fields: dict[str, Any], field: str) -> None:
    rule = await shop.create_rule()
    with refused() as refusal:
        await preview(shop, **{"rule": rule, **fields})
    assert refusal.field == field, refusal


@pytest.mark.parametrize(
    "fields",
    [
        {"template": "templates/nothing"},
        {"channel": f"{PARENT}/channels/nowhere"},
        {"event": {"channel": f"{PARENT}/channels/nowhere"}},
    ],
)
async def test_a_preview_of_what_is_not_there(shop: Shop, fields: dict[str, Any]) -> None:
    rule = await shop.create_rule()
    with refused() as refusal:
        await preview(shop, rule=rule, **fields)
    assert refusal.code == grpc.StatusCode.NOT_FOUND
    assert "/noth" in refusal.problem.message or "/nowhere" in refusal.problem.message


async def test_a_preview_says_why_a_message_could_not_be_made(shop: Shop) -> None:
    """B44: a template in place of the rule's that needs a text, a shop without a sender."""
    rule = await shop.create_rule()
    with refused() as refusal:
        await preview(shop, rule=rule, template=PLAIN)
    assert refusal.code == grpc.StatusCode.FAILED_PRECONDITION
    assert "needs a text" in refusal.problem.message
    silent = await shop.create_channel(email_sender=None)
    with refused() as refusal:
        await preview(shop, rule=rule, channel=silent)
    assert "no e-mail sender" in refusal.problem.message


@pytest.mark.parametrize(
    ("purpose", "has_link"), [(Purpose.REVIEW, True), (Purpose.TRANSACTIONAL, False)]
)
async def test_a_preview_has_a_link_that_names_nobody(purpose: Purpose, has_link: bool) -> None:
    channel = sample_channel("default")
    event = sample_event(channel, NOW_MS)
    scene = Scene(channel, event, "", NOW_MS, "https://mail.shop.example/")
    family = Family.SERVICE_REVIEW if has_link else Family.NOTIFICATION
    step = Step(id="first", wait=Wait(days=1), actions=[Action(Medium.EMAIL, body="Text.")])
    rule = Rule(account="default", id="r", family=family, purpose=purpose,
                event_type="checkout", steps=[step])  # fmt: skip
    found = of_rule(scene, rule, step, step.actions[0], is_combined=False)
    assert ("https://mail.shop.example/u/preview" in found.html) is has_link


# --- the command line -----------------------------------------------------------------------------


async def test_the_command_line_shows_templates_and_previews(
    shop: Shop, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A23, B44, C24."""

    async def cli(*words: str) -> str:
        # The address stands before the noun, as with every command.
        arguments = ["--address", shop.daemon.grpc_address, "templates", *words]
        code = await asyncio.to_thread(main, arguments)
        told = capsys.readouterr()
        assert code == 0, told.err
        return told.out

    listed = await cli("list", "--family", "service-review")
    assert "optimised-service-review" in listed
    assert "notification" not in listed
    shown = await cli("show", "questionnaires/extended")
    assert "would-recommend" in shown
    assert "may be mandatory" in shown
    assert "default for" in await cli("show", "standard-product-review")
    rule = unique("ask")
    await shop.create_rule(rule_id=rule, steps=[saying(preheader="Before"), saying("again")])
    told = await cli("of-rule", rule, "--locale", "de")
    assert told.count("standard-service-review") == 2
    assert "Before" in told
    page = tmp_path / "preview.html"
    printed = await cli("preview", "--rule", rule, "--locale", "de", "--html", str(page))
    assert "Wie war Ihre Bestellung 100-2345 bei Your shop?" in printed
    assert "Guten Tag Maria," in page.read_text(encoding="utf-8")
    event = tmp_path / "event.yaml"
    event.write_text("order: {reference: '9'}\n", encoding="utf-8")
    assert "order 9" in await cli("preview", "--rule", rule, "--event", str(event))
    assert "News about your order" in await cli("preview", "notification")
