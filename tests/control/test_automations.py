"""The predefined automations: data that make rules, and rules that a client makes from them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf import json_format
from msgspec.structs import replace

from afterword.v1 import rule_service_pb2 as pb2
from afterword.v1 import types_pb2
from control.automations import catalogue
from control.automations.catalogue import Automations
from control.cel_frontend import ConditionFrontend
from control.conversion.contents import template_of
from control.settings import AutomationOptions, load
from core.errors import AfterwordError, InvalidField
from core.registry.resources import PURCHASE_TYPES, UNPAID_PURCHASE_TYPES
from core.registry.rule_parts import StopKey
from senders.languages import LANGUAGES
from tests.control.kit import PARENT, Shop, open_shop, refused, settings_for, unique

FRONTEND = ConditionFrontend()
SHIPPED = Automations.load("", FRONTEND)
IN_MODULE = pytest.mark.asyncio(loop_scope="module")

VISITS = pb2.Automation.CATEGORY_STORE_VISITS
PURCHASES = pb2.Automation.CATEGORY_STORE_PURCHASES
LOYALTY = pb2.Automation.CATEGORY_LOYALTY
NINE = {
    "abandoned-cart": (VISITS, 1),
    "abandoned-cart-advanced": (VISITS, 2),
    "payment-received": (PURCHASES, 1),
    "order-shipped": (PURCHASES, 1),
    "first-purchase-thanks": (LOYALTY, 1),
    "product-opinion": (LOYALTY, 1),
    "store-opinion": (LOYALTY, 1),
    "frequent-buyer": (LOYALTY, 1),
    "dormant-win-back": (LOYALTY, 2),
}
"""Automation -> (category, mails)."""


def get(automation_id: str) -> pb2.Automation:
    found = SHIPPED.get(automation_id)
    assert found is not None
    return found


def make(automation_id: str, **values: str) -> Any:
    named = {name.replace("_", "-"): value for name, value in values.items()}
    return SHIPPED.rule(get(automation_id), named, "", "shop", "r")


# --- the nine -------------------------------------------------------------------------------------


def test_the_nine_automations_are_there_by_category() -> None:
    """D4 to D13."""
    found = {
        each.name.removeprefix("automations/"): (each.category, len(each.rule.steps))
        for each in SHIPPED.listed()
    }
    assert found == NINE
    assert [each.category for each in SHIPPED.listed()] == sorted(
        category for category, _ in NINE.values()
    )
    assert {each.name for each in SHIPPED.listed(PURCHASES)} == {
        "automations/payment-received",
        "automations/order-shipped",
    }


@pytest.mark.parametrize("automation_id", NINE)
def test_every_mail_can_be_changed_in_all_its_parts(automation_id: str) -> None:
    """D2: waits, sender, subject, preheader and body of each step."""
    automation = get(automation_id)
    paths = {parameter.path for parameter in automation.parameters}
    for index in range(len(automation.rule.steps)):
        action = f"steps[{index}].actions[0]"
        for field in ("sender.address", "sender.display_name", "subject", "preheader", "body"):
            assert f"{action}.{field}" in paths
    waits = [path for path in paths if path.endswith((".elapsed", ".quiet_for"))]
    assert len(waits) == len(automation.rule.steps)


@pytest.mark.parametrize("automation_id", NINE)
def test_every_automation_is_complete_and_gives_no_warning(automation_id: str) -> None:
    """D22, R35: what is offered can be switched on as it is, in every language of ours."""
    rule = make(automation_id)
    assert not rule.warnings
    assert rule.automation == automation_id
    for step in rule.steps:
        (action,) = step.actions
        assert (action.subject, action.preheader, action.body) == ("", "", ""), "the template's"
        words = template_of(rule, action).words
        assert set(words) == set(LANGUAGES)
        assert all(each.subject and each.preheader and each.paragraphs for each in words.values())
        assert action.sender is None, "that of the channel"


def test_every_mail_of_an_automation_has_words_of_its_own() -> None:
    """D5 to D13: no two of the nine say the same."""
    said = [
        template_of(rule, step.actions[0]).id
        for rule in (make(automation_id) for automation_id in NINE)
        for step in rule.steps
    ]
    assert said == [
        "abandoned-cart", "abandoned-cart", "abandoned-cart-last", "payment-received",
        "order-shipped", "first-purchase-thanks", "standard-product-review",
        "standard-service-review", "frequent-buyer", "win-back", "win-back-last",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("automation_id", "keys"),
    [
        ("abandoned-cart", {StopKey.CART, StopKey.CONTACT}),
        ("abandoned-cart-advanced", {StopKey.CART, StopKey.CONTACT}),
        ("dormant-win-back", {StopKey.CONTACT}),
    ],
)
def test_a_purchase_ends_what_it_makes_needless(automation_id: str, keys: set[StopKey]) -> None:
    """D5, D6, D13, pitfall: purchased customers still get cart mails."""
    purchases = PURCHASE_TYPES | UNPAID_PURCHASE_TYPES
    stops = {(stop.event_type, stop.key) for stop in make(automation_id).stops}
    assert stops == {(event_type, key) for event_type in purchases for key in keys}


def test_triggers_are_as_the_rows_say() -> None:
    """D5, D7 to D13, R21."""
    cart = make("abandoned-cart")
    assert (cart.debounce.event_type, cart.debounce.quiet_ms) == ("cart_updated", 3_600_000)
    assert make("payment-received").event_type == "payment_received"
    assert make("order-shipped").event_type == "order_shipped"
    first = make("first-purchase-thanks").purchase
    assert (first.count, first.window_months, first.window_ms) == (1, 0, 0)
    frequent = make("frequent-buyer").purchase
    assert (frequent.count, frequent.window_months) == (3, 2)
    assert make("dormant-win-back").dormant.event_type == ""
    product = get("product-opinion").rule
    assert product.family == pb2.Rule.FAMILY_PRODUCT_REVIEW
    assert list(product.required_features) == ["product-comments"]
    assert get("store-opinion").rule.family == pb2.Rule.FAMILY_SERVICE_REVIEW
    assert make("product-opinion").steps[0].wait.elapsed_ms > (
        make("store-opinion").steps[0].wait.elapsed_ms
    ), "both may be on at once (B32)"


def test_requests_for_opinions_end_as_all_review_rules_do() -> None:
    """R39."""
    for automation_id in ("product-opinion", "store-opinion"):
        assert make(automation_id).stop_when == ["order_cancelled", "return", "review_submitted"]


# --- values ---------------------------------------------------------------------------------------


def test_values_take_the_place_of_defaults() -> None:
    """D14: minutes, hours or days."""
    rule = make("abandoned-cart-advanced", first_wait="90m", second_wait="4h", first_subject="Oh!")
    assert rule.debounce.quiet_ms == 90 * 60_000
    assert rule.steps[1].wait.elapsed_ms == 4 * 3_600_000
    assert rule.steps[0].actions[0].subject == "Oh!"
    assert (
        rule.steps[1].actions[0].subject
        == make("abandoned-cart-advanced").steps[1].actions[0].subject
    )
    assert make("dormant-win-back", first_wait="3d").dormant.after.elapsed_ms == 3 * 86_400_000
    named = make("payment-received", sender="a@b.example", sender_name="A").steps[0].actions[0]
    assert (named.sender.address, named.sender.display_name) == ("a@b.example", "A")
    assert make("frequent-buyer", purchases="5", months="1").purchase.count == 5
    assert make("abandoned-cart", preheader="").steps[0].actions[0].preheader == ""
    before = get("abandoned-cart").SerializeToString(deterministic=True)
    make("abandoned-cart", subject="Other")
    assert get("abandoned-cart").SerializeToString(deterministic=True) == before


@pytest.mark.parametrize(
    ("automation_id", "values", "field", "told"),
    [
        ("abandoned-cart", {"colour": "red"}, "parameters[colour]", "wait, sender"),
        ("abandoned-cart", {"wait": "soon"}, "parameters[wait]", "90m"),
        ("abandoned-cart", {"wait": "90"}, "parameters[wait]", "90m"),
        ("abandoned-cart", {"wait": "31d"}, "parameters[wait]", "1 minute to 30 days"),
        ("abandoned-cart", {"wait": ""}, "parameters[wait]", "1 minute to 30 days"),
        ("abandoned-cart", {"subject": "{{password}}"}, "parameters[subject]", "first_name"),
        ("abandoned-cart", {"sender": "nobody"}, "parameters[sender]", "name@domain"),
        ("abandoned-cart", {"sender-name": "A"}, "parameters[sender]", "required"),
        ("frequent-buyer", {"purchases": "many"}, "parameters[purchases]", "whole number"),
        ("frequent-buyer", {"purchases": "0"}, "parameters[purchases]", "1 to 100"),
        ("store-opinion", {"wait": "181d"}, "parameters[wait]", "180 days"),
    ],
)
def test_a_bad_value_is_named_by_its_parameter(
    automation_id: str, values: dict[str, str], field: str, told: str
) -> None:
    with pytest.raises(AfterwordError) as caught:
        SHIPPED.rule(get(automation_id), values, "", "shop", "r")
    assert caught.value.field == field
    assert told in caught.value.message


# --- further ones ---------------------------------------------------------------------------------

FILE = """
display_name: Hello
description: Says hello.
category: CATEGORY_STORE_VISITS
parameters:
  - {id: days, display_name: Wait, path: "steps[0].wait.days", default_value: 3d}
  - {id: at, display_name: At, path: "steps[0].wait.time_of_day", default_value: "10:00"}
  - {id: on, display_name: On, path: "steps[0].enabled", default_value: "true"}
rule:
  family: FAMILY_NOTIFICATION
  purpose: PURPOSE_TRANSACTIONAL
  trigger: {event_type: checkout}
  steps:
    - id: one
      wait: {span: 3600s}
      actions: [{medium: MEDIUM_EMAIL, subject: Hello, body: Hello}]
"""


def write(folder: Path, text: str, name: str = "hello.yaml") -> str:
    (folder / name).write_text(text, encoding="utf-8")
    return str(folder)


def test_a_folder_adds_automations_without_a_release(tmp_path: Path) -> None:
    """D3."""
    write(tmp_path, "not taken", "README.md")
    found = Automations.load(write(tmp_path, FILE), FRONTEND)
    assert len(found.listed()) == len(NINE) + 1
    automation = found.get("hello")
    assert automation is not None
    wait = automation.rule.steps[0].wait
    assert (wait.days, wait.time_of_day.hours, automation.rule.display_name) == (3, 10, "Hello")
    values = {"days": "5", "at": "09:30", "on": "false"}
    (step,) = found.rule(automation, values, "Mine", "shop", "r").steps
    assert (step.wait.days, step.wait.time_of_day_ms, step.enabled) == (5, 34_200_000, False)


def test_the_page_about_automations_tells_what_is_there(tmp_path: Path) -> None:
    page = (Path(__file__).resolve().parents[2] / "docs/AUTOMATIONS.md").read_text("utf-8")
    assert set(re.findall(r"^\| `([a-z-]+)` \|", page, re.MULTILINE)) == set(NINE)
    (example,) = re.findall(r"^```yaml\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    assert Automations.load(write(tmp_path, example, "picked-up.yaml"), FRONTEND).get("picked-up")


def test_json_is_taken_too(tmp_path: Path) -> None:
    automation = get("order-shipped")
    name = '"automations/order-shipped"'
    automation_json = json_format.MessageToJson(automation).replace(
        name, name.replace("order-shipped", "shipped-too")
    )
    found = Automations.load(write(tmp_path, automation_json, "shipped-too.json"), FRONTEND)
    again = found.get("shipped-too")
    assert again is not None
    assert again.rule == automation.rule


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("display_name: Hello", "display_name: ''", "display_name is required"),
        ("CATEGORY_STORE_VISITS", "CATEGORY_NONSENSE", "CATEGORY_NONSENSE"),
        ("category: CATEGORY_STORE_VISITS", "", "category is required"),
        ("description: Says hello.", "", "description is required"),
        ("id: at", "id: days", "parameters[1].id"),
        ("id: at", "id: No Good", "parameters[1].id"),
        ("steps[0].wait.days", "steps[1].wait.days", "parameters[0].default_value"),
        ("steps[0].wait.days", "steps[0].wait.nonsense", "parameters[0].default_value"),
        ("steps[0].wait.days", "steps[0].wait", "name a field of it"),
        ("steps[0].wait.days", "steps.wait.days", "parameters[0].default_value"),
        ("steps[0].wait.days", "family", "parameters[0].default_value"),
        ('path: "steps[0].wait.days", ', "", "parameters[0].path"),
        ("default_value: 3d", "default_value: 3h", "parameters[0].default_value"),
        ("default_value: 3d", "default_value: 3", "default_value"),
        ('default_value: "10:00"', 'default_value: "25:00"', "parameters[1].default_value"),
        ('default_value: "true"', 'default_value: "maybe"', "parameters[2].default_value"),
        ("default_value: 3d", "default_value: 181d", "rule.steps[0].wait.days"),
        ("FAMILY_NOTIFICATION", "FAMILY_NONSENSE", "FAMILY_NONSENSE"),
        ("subject: Hello,", "subjekt: Hello,", "subjekt"),
        ("subject: Hello,", 'subject: "{{password}}",', "rule.steps[0].actions[0].subject"),
        ("trigger: {event_type: checkout}", "trigger: {}", "rule.trigger.event_type"),
        ("rule:", "rule: {}\nrule:", "line"),
        ("parameters:", "parameters: &anchor", "line"),
    ],
)
def test_a_bad_file_is_refused_by_name_and_field(
    tmp_path: Path, old: str, new: str, told: str
) -> None:
    assert old in FILE
    folder = write(tmp_path, FILE.replace(old, new, 1))
    with pytest.raises(InvalidField) as caught:
        Automations.load(folder, FRONTEND)
    assert caught.value.field == "automations.dir"
    assert str(tmp_path / "hello.yaml") in caught.value.message
    assert told in caught.value.message


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("- a list", "hello.yaml"),
        ("", "hello.yaml"),
        (FILE, "No Good.yaml"),
        (FILE, "abandoned-cart.yaml"),
        (f"name: automations/other\n{FILE}", "hello.yaml"),
        ("#" * (catalogue.FILE_BYTES_MAX + 1), "hello.yaml"),
    ],
    ids=["list", "empty", "bad id", "taken id", "other name", "too large"],
)
def test_other_files_are_refused_too(tmp_path: Path, text: str, name: str) -> None:
    with pytest.raises(InvalidField) as caught:
        Automations.load(write(tmp_path, text, name), FRONTEND)
    assert name in caught.value.message


def test_a_folder_that_is_not_there_is_refused_when_the_daemon_starts(tmp_path: Path) -> None:
    with pytest.raises(InvalidField) as caught:
        Automations.load(str(tmp_path / "nowhere"), FRONTEND)
    assert caught.value.field == "automations.dir"
    assert "nowhere" in caught.value.message


def test_the_folder_is_a_setting_like_the_others(tmp_path: Path) -> None:
    config = tmp_path / "afterword.toml"
    config.write_text('[automations]\ndir = "from-file"\n', encoding="utf-8")
    assert load(config_file=str(config)).automations.dir == "from-file"
    environment = {"AFTERWORD_AUTOMATIONS_DIR": "from-environment"}
    assert load(environment=environment).automations.dir == "from-environment"
    assert load({"automations.dir": "from-flag"}, environment).automations.dir == "from-flag"


# --- through the API ------------------------------------------------------------------------------


def from_automation(automation_id: str, **fields: Any) -> pb2.CreateRuleFromAutomationRequest:
    given: dict[str, Any] = {
        "parent": PARENT,
        "rule_id": unique("rule"),
        "automation": f"automations/{automation_id}",
    }
    return pb2.CreateRuleFromAutomationRequest(**{**given, **fields})


@IN_MODULE
async def test_automations_are_listed_by_page(shop: Shop) -> None:
    """D4."""
    listed: list[str] = []
    token = ""
    while True:
        answer = await shop.rules.ListAutomations(
            pb2.ListAutomationsRequest(page_size=4, page_token=token)
        )
        listed += [each.name for each in answer.automations]
        token = answer.next_page_token
        if not token:
            break
    assert listed == [each.name for each in SHIPPED.listed()]
    loyal = await shop.rules.ListAutomations(pb2.ListAutomationsRequest(category=LOYALTY))
    assert len(loyal.automations) == 5
    with refused() as refusal:
        await shop.rules.ListAutomations(pb2.ListAutomationsRequest(category=9))  # type: ignore[arg-type]
    assert refusal.field == "category"
    with refused() as refusal:
        await shop.rules.ListAutomations(
            pb2.ListAutomationsRequest(category=LOYALTY, page_token=answer.next_page_token or "x")
        )
    assert refusal.field == "page_token"


@IN_MODULE
async def test_an_automation_is_read(shop: Shop) -> None:
    shown = await shop.rules.GetAutomation(
        pb2.GetAutomationRequest(name="automations/abandoned-cart")
    )
    assert shown == get("abandoned-cart")
    for name, code in (
        ("automations/none", grpc.StatusCode.NOT_FOUND),
        ("abandoned-cart", grpc.StatusCode.INVALID_ARGUMENT),
        ("", grpc.StatusCode.INVALID_ARGUMENT),
    ):
        with refused() as refusal:
            await shop.rules.GetAutomation(pb2.GetAutomationRequest(name=name))
        assert refusal.code is code


@IN_MODULE
@pytest.mark.parametrize("automation_id", NINE)
async def test_every_automation_can_be_taken_and_switched_on_at_once(
    shop: Shop, automation_id: str
) -> None:
    """D15, D22."""
    channel = await shop.create_channel()
    rule = await shop.rules.CreateRuleFromAutomation(
        from_automation(automation_id, activate_on=[channel])
    )
    assert list(rule.active_channels) == [channel]
    assert rule.automation == f"automations/{automation_id}"
    assert rule.display_name == get(automation_id).display_name
    assert rule.event_type_active
    changed = await shop.rules.UpdateRule(
        pb2.UpdateRuleRequest(rule=pb2.Rule(name=rule.name, display_name="Mine"))
    )
    assert changed.automation == rule.automation
    assert changed.steps == rule.steps


@IN_MODULE
async def test_what_is_incomplete_stays_off(shop: Shop) -> None:
    """D22: it may be saved, and says what is missing when it is to be switched on."""
    channel = await shop.create_channel()
    rule = await shop.rules.CreateRuleFromAutomation(from_automation("abandoned-cart"))
    rule.steps[0].actions[0].template = ""
    rule = await shop.rules.UpdateRule(pb2.UpdateRuleRequest(rule=rule))
    with refused() as refusal:
        await shop.rules.ActivateRule(pb2.ActivateRuleRequest(name=rule.name, channel=channel))
    assert refusal.code is grpc.StatusCode.FAILED_PRECONDITION
    assert "subject" in refusal.problem.message


@IN_MODULE
async def test_bad_requests_are_refused_by_field(shop: Shop) -> None:
    for fields, field in (
        ({"parameters": {"wait": "soon"}}, "parameters[wait]"),
        ({"parameters": {"colour": "red"}}, "parameters[colour]"),
        ({"rule_id": "No Good"}, "rule_id"),
        ({"automation": ""}, "automation"),
        ({"parent": ""}, "parent"),
        ({"display_name": "two\nlines"}, "display_name"),
    ):
        with refused() as refusal:
            await shop.rules.CreateRuleFromAutomation(from_automation("abandoned-cart", **fields))
        assert refusal.field == field
    with refused() as refusal:
        await shop.rules.CreateRuleFromAutomation(from_automation("none"))
    assert refusal.code is grpc.StatusCode.NOT_FOUND
    checked = from_automation("abandoned-cart", validate_only=True, display_name="Mine")
    rule = await shop.rules.CreateRuleFromAutomation(checked)
    assert (rule.display_name, rule.purpose) == ("Mine", types_pb2.PURPOSE_MARKETING)
    with refused() as refusal:
        await shop.rules.GetRule(pb2.GetRuleRequest(name=rule.name))
    assert refusal.code is grpc.StatusCode.NOT_FOUND


@pytest.mark.integration
async def test_the_daemon_offers_those_of_its_folder(tmp_path: Path) -> None:
    """D3."""
    folder = tmp_path / "more"
    folder.mkdir()
    settings = replace(settings_for(tmp_path), automations=AutomationOptions(str(folder)))
    write(folder, FILE)
    async with open_shop(tmp_path, settings) as shop:
        rule = await shop.rules.CreateRuleFromAutomation(from_automation("hello"))
        assert rule.automation == "automations/hello"
    write(folder, "display_name: Alone")
    with pytest.raises(InvalidField):
        async with open_shop(tmp_path, settings):
            pass
