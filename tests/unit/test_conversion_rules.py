"""Rules from and to protobuf: what goes in comes out, and what is wrong is named."""

from __future__ import annotations

from typing import Any

import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from hypothesis import given
from hypothesis import strategies as st

from afterword.googleapis.expr_pb2 import Expr
from afterword.googleapis.timeofday_pb2 import TimeOfDay
from afterword.v1 import channel_service_pb2, types_pb2
from afterword.v1 import rule_service_pb2 as pb2
from control.cel_frontend import ConditionFrontend
from control.conversion.rules import rule_from_proto, rule_to_proto
from core.bounds import DAY_MS, HOUR_MS, MINUTE_MS, TEXT_CHARS_MAX
from core.errors import AfterwordError, InvalidField, OutOfRange
from core.model import Family, Medium, Purpose
from core.registry.catalogue import Catalogue
from core.registry.resources import DEFAULT_REVIEW_STOPS, Rule
from core.registry.rule_parts import (
    Action,
    Condition,
    DebounceTrigger,
    DormantTrigger,
    EmailSender,
    IfPassed,
    OncePer,
    ProductTiming,
    PurchaseTrigger,
    Rearm,
    Recipient,
    ReviewSettings,
    Step,
    StopEvent,
    StopKey,
    Wait,
    WaitBase,
    WaitOverride,
)
from tests.support.configuration import event_type, state_of

FRONTEND = ConditionFrontend()
CATALOGUE = Catalogue(state_of(event_type("checkout")))
TEN = TimeOfDay(hours=10)


def read(pb: pb2.Rule) -> Rule:
    return rule_from_proto(pb, "shop", "r", FRONTEND)


def again(rule: Rule) -> Rule:
    """Return the rule after a journey to the client and back."""
    wire = rule_to_proto(rule, CATALOGUE).SerializeToString()
    return rule_from_proto(
        pb2.Rule.FromString(wire), "shop", "r", FRONTEND, automation=rule.automation
    )


def condition(source: str, family: Family = Family.AUTOMATION) -> Condition:
    return FRONTEND.compile(source, family)


def automation(**fields: Any) -> Rule:
    given: dict[str, Any] = {
        "display_name": "A", "family": Family.AUTOMATION, "purpose": Purpose.MARKETING,
        "event_type": "checkout",
        "steps": [Step(id="one", wait=Wait(days=1), actions=[Action(medium=Medium.EMAIL)])],
    }  # fmt: skip
    return Rule(account="shop", id="r", **{**given, **fields})


def one_step(wait: Wait, *actions: Action, **fields: Any) -> dict[str, Any]:
    found = list(actions) or [Action(medium=Medium.EMAIL)]
    return {"steps": [Step(id="one", wait=wait, actions=found, **fields)]}


EMAIL = Action(medium=Medium.EMAIL)
BY_CONTACT = [StopEvent("payment_received", StopKey.CONTACT)]

ROUND_TRIPS: dict[str, Rule] = {
    "once per": automation(once_per=OncePer.CART),
    "features": automation(required_features=["product-comments", "loyalty"]),
    "purchase in months": automation(
        event_type="", purchase=PurchaseTrigger(3, window_months=2, rearm=Rearm.EACH_MULTIPLE)
    ),
    "purchase in a time": automation(
        event_type="", purchase=PurchaseTrigger(2, window_ms=36 * HOUR_MS, rearm=Rearm.AFTER_WINDOW)
    ),
    "first purchase": automation(event_type="", purchase=PurchaseTrigger(1, rearm=Rearm.NEVER)),
    "dormant": automation(
        event_type="", dormant=DormantTrigger(Wait(elapsed_ms=730 * DAY_MS)), stops=BY_CONTACT
    ),
    "dormant at an hour": automation(
        event_type="",
        dormant=DormantTrigger(
            Wait(days=90, time_of_day_ms=10 * HOUR_MS, span_ms=HOUR_MS), "store_visit"
        ),
        stops=BY_CONTACT,
    ),
    "debounce": automation(
        event_type="", debounce=DebounceTrigger("cart_updated", 90 * MINUTE_MS),
        stops=[StopEvent("checkout", StopKey.CART), StopEvent("return", StopKey.ORDER), *BY_CONTACT],
        stop_when=["order_cancelled"],
    ),
    "activation date": automation(**one_step(Wait(days=3, base=WaitBase.ACTIVATION_DATE))),
    "span in days": automation(
        **one_step(Wait(days=3, time_of_day_ms=9 * HOUR_MS, span_days=30, if_passed=IfPassed.NOW))
    ),
    "wait of an action": automation(
        **one_step(
            Wait(days=1), EMAIL, Action(medium=Medium.SMS, wait=Wait(elapsed_ms=4 * HOUR_MS)),
        ),
    ),
    "all media": automation(
        **one_step(
            Wait(days=1), EMAIL, Action(medium=Medium.SMS, body="Grüße €{{carrier}}" * 12),
            Action(medium=Medium.WHATSAPP, template="parcel_late/en_US",
                   whatsapp_parameters=["{{first_name}}", "{{expected_date}}"]),
            Action(medium=Medium.WEBHOOK),
        ),
    ),
    "wait of an action that follows": automation(
        steps=[
            Step(id="one", wait=Wait(days=1), actions=[EMAIL]),
            Step(
                id="two",
                wait=Wait(days=1, base=WaitBase.PREVIOUS_STEP_SENT),
                actions=[
                    Action(
                        medium=Medium.EMAIL,
                        wait=Wait(days=2, base=WaitBase.PREVIOUS_STEP_SENT),
                    )
                ],
            ),
        ]
    ),
    "content": automation(
        **one_step(
            Wait(elapsed_ms=0),
            Action(
                medium=Medium.EMAIL, subject="Hi {{first_name}}", template="plain",
                sender=EmailSender("a@b.example", "A", "c@d.example"), preheader="About {{order}}",
                body="One {{shop}}.\n\nTwo.",
            ),
        )
    ),
    "carrier": automation(
        family=Family.NOTIFICATION, purpose=Purpose.OPERATIONAL,
        **one_step(Wait(elapsed_ms=0), Action(medium=Medium.EMAIL, recipient=Recipient.CARRIER)),
    ),
    "conditions": automation(
        condition=condition('event.type == "checkout"'),
        **one_step(
            Wait(days=7),
            condition=condition('order.reference == "1"'),
            wait_overrides=[
                WaitOverride(condition('contact.country == "PL"'), Wait(days=14)),
                WaitOverride(condition('contact.country == "DE"'), Wait(elapsed_ms=HOUR_MS)),
            ],
        ),
    ),
    "switched off": automation(**one_step(Wait(days=1), enabled=False)),
    "bounds": automation(priority=100, expire_after_ms=MINUTE_MS),
    "made from": automation(automation="abandoned-cart"),
    "service review": automation(
        family=Family.SERVICE_REVIEW, purpose=Purpose.REVIEW, stop_when=list(DEFAULT_REVIEW_STOPS),
        review=ReviewSettings(questionnaire="extended", comment_required=True),
    ),
    "product review": automation(
        family=Family.PRODUCT_REVIEW, purpose=Purpose.REVIEW, stop_when=[],
        review=ReviewSettings(product_timing=ProductTiming.SAME_AS_SERVICE),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", ROUND_TRIPS)
def test_a_rule_comes_back_as_it_was(name: str) -> None:
    """Every field: A18, A19, B13, B22, B31, B36, B39, C11, C16, C17, D2, D12-D14, R34."""
    assert again(ROUND_TRIPS[name]) == ROUND_TRIPS[name]


LENGTHS = st.one_of(
    st.builds(Wait, elapsed_ms=st.integers(0, 180 * DAY_MS)),
    st.builds(
        Wait,
        days=st.integers(0, 180),
        time_of_day_ms=st.integers(0, DAY_MS - 1),
        span_ms=st.integers(0, DAY_MS - 1),
        span_days=st.integers(0, 30),
        base=st.sampled_from([WaitBase.EVENT, WaitBase.ACTIVATION_DATE]),
        if_passed=st.sampled_from(IfPassed),
    ),
)


@given(LENGTHS)
def test_every_wait_comes_back_as_it_was(wait: Wait) -> None:
    assert again(automation(**one_step(wait))).steps[0].wait == wait


# --- what is left out ---------------------------------------------------------------------------


def rule_pb(**fields: Any) -> pb2.Rule:
    given: dict[str, Any] = {
        "display_name": "A",
        "family": pb2.Rule.FAMILY_AUTOMATION,
        "purpose": types_pb2.PURPOSE_MARKETING,
        "trigger": pb2.Trigger(event_type="checkout"),
        "steps": [step_pb()],
    }
    return pb2.Rule(**{**given, **fields})


def step_pb(**fields: Any) -> pb2.Step:
    given: dict[str, Any] = {
        "id": "one",
        "wait": pb2.Wait(days=1),
        "actions": [pb2.Action(medium=types_pb2.MEDIUM_EMAIL)],
    }
    return pb2.Step(**{**given, **fields})


def review_pb(**fields: Any) -> pb2.Rule:
    return rule_pb(**{
        "family": pb2.Rule.FAMILY_SERVICE_REVIEW, "purpose": types_pb2.PURPOSE_UNSPECIFIED, **fields
    })  # fmt: skip


def test_defaults_of_triggers_depend_on_the_window() -> None:
    """R43, D12: once the window has passed; never again without a window."""
    purchase = pb2.Trigger.Purchase(count=3, months=2)
    windowed = read(rule_pb(trigger=pb2.Trigger(purchase=purchase))).purchase
    assert windowed is not None
    assert windowed.rearm == Rearm.AFTER_WINDOW
    purchase.ClearField("months")
    ever = read(rule_pb(trigger=pb2.Trigger(purchase=purchase))).purchase
    assert ever is not None
    assert ever.rearm == Rearm.NEVER


def test_a_wait_that_replaces_counts_from_where_the_step_does() -> None:
    """C11, R34."""
    again_after = pb2.WaitOverride(condition=Expr(expression="true"), wait=pb2.Wait(days=9))
    slow = pb2.Action(medium=types_pb2.MEDIUM_SMS, wait=pb2.Wait(days=8))
    second = step_pb(id="two", actions=[slow], wait_overrides=[again_after])
    rule = read(rule_pb(steps=[step_pb(), second]))
    assert rule.steps[1].wait.base == WaitBase.PREVIOUS_STEP_SENT
    assert rule.steps[1].wait_overrides[0].wait.base == WaitBase.PREVIOUS_STEP_SENT
    assert rule.steps[1].actions[0].wait is not None
    assert rule.steps[1].actions[0].wait.base == WaitBase.PREVIOUS_STEP_SENT


def test_a_review_rule_has_the_default_stops_unless_it_sets_its_own() -> None:
    """R39."""
    assert read(review_pb()).stop_when == ["order_cancelled", "return", "review_submitted"]
    assert read(review_pb(stop_when=pb2.StopWhen())).stop_when == []
    assert read(rule_pb()).stop_when == []


def test_a_rule_tells_whether_its_event_types_are_on() -> None:
    """A17: of a trigger on purchases, any type that may be one."""
    off = Catalogue(state_of(event_type("checkout", 1, active=False), event_type("return", 2)))
    for rule, is_on in (
        (automation(), False),
        (automation(event_type="return"), True),
        (ROUND_TRIPS["first purchase"], False),
        (ROUND_TRIPS["debounce"], False),
    ):
        assert rule_to_proto(rule, off).event_type_active is is_on
    on = Catalogue(state_of(event_type("order_created", 1)))
    assert rule_to_proto(ROUND_TRIPS["first purchase"], on).event_type_active
    assert rule_to_proto(ROUND_TRIPS["dormant"], on).event_type_active
    assert not rule_to_proto(ROUND_TRIPS["dormant at an hour"], on).event_type_active


def test_a_rule_tells_what_it_was_made_from() -> None:
    """B11, D2; what a client says about it is not read."""
    pb = rule_to_proto(automation(automation="abandoned-cart", copied_from="other"), CATALOGUE)
    assert pb.automation == "automations/abandoned-cart"
    assert pb.copied_from == "accounts/shop/rules/other"
    assert (read(pb).automation, read(pb).copied_from) == ("", "")


def test_line_ends_of_a_body_are_made_one_kind() -> None:
    action = pb2.Action(medium=types_pb2.MEDIUM_EMAIL, body="a\r\n\r\nb")
    assert read(rule_pb(steps=[step_pb(actions=[action])])).steps[0].actions[0].body == "a\n\nb"


# --- warnings -----------------------------------------------------------------------------------


def debounce(*stops: pb2.StopWhen.Stop, **fields: Any) -> pb2.Rule:
    trigger = pb2.Trigger.Debounce(event_type="cart_updated", quiet_for=Duration(seconds=3_600))
    return rule_pb(
        trigger=pb2.Trigger(debounce=trigger), stop_when=pb2.StopWhen(stops=stops), **fields
    )


def test_mails_that_no_purchase_ends_are_warned_about() -> None:
    """D5, D13, pitfall: purchased customers still get cart mails."""
    stop = pb2.StopWhen.Stop
    by_contact = stop(event_type="order_created", key=pb2.StopWhen.KEY_CONTACT)
    by_order = stop(event_type="order_created", key=pb2.StopWhen.KEY_ORDER)
    assert not read(debounce(by_contact)).warnings
    for rule in (
        debounce(),
        debounce(by_order),
        debounce(stop(event_type="return", key=pb2.StopWhen.KEY_CONTACT)),
        rule_pb(
            trigger=pb2.Trigger(
                dormant=pb2.Trigger.Dormant(after=pb2.Wait(elapsed=Duration(seconds=3_600)))
            )
        ),
    ):
        (warning,) = read(rule).warnings
        assert warning.startswith("no purchase ends what waits")


def test_a_time_of_day_without_a_span_is_warned_about() -> None:
    """R35: everything at the same minute; a span of hours or of days spreads it."""

    def warned(**fields: Any) -> bool:
        wait = pb2.Wait(days=1, time_of_day=TEN, **fields)
        return bool(read(rule_pb(steps=[step_pb(wait=wait)])).warnings)

    assert warned()
    assert warned(span_days=1)
    assert not warned(span_days=2)
    assert not warned(span=Duration(seconds=60))
    slow = pb2.Action(medium=types_pb2.MEDIUM_EMAIL, wait=pb2.Wait(days=1, time_of_day=TEN))
    assert read(rule_pb(steps=[step_pb(actions=[slow])])).warnings


def test_warnings_of_conditions_of_steps_name_the_step() -> None:
    """R42."""
    dear = Expr(expression="order.amount > 100.0")
    rule = read(rule_pb(condition=dear, steps=[step_pb(condition=dear)]))
    assert any(warning.startswith("step 'one': ") for warning in rule.warnings)
    assert any(not warning.startswith("step ") for warning in rule.warnings)


# --- what is refused ----------------------------------------------------------------------------

STEP = "rule.steps[0]"
WAIT, ACTION = f"{STEP}.wait", f"{STEP}.actions[0]"
OVERRIDE = f"{STEP}.wait_overrides[0]"


def purchase(**fields: Any) -> pb2.Rule:
    return rule_pb(trigger=pb2.Trigger(purchase=pb2.Trigger.Purchase(**fields)))


def dormant(**fields: Any) -> pb2.Rule:
    return rule_pb(trigger=pb2.Trigger(dormant=pb2.Trigger.Dormant(after=pb2.Wait(**fields))))


def quiet(seconds: int | None, event_type: str = "cart_updated") -> pb2.Rule:
    length = None if seconds is None else Duration(seconds=seconds)
    trigger = pb2.Trigger.Debounce(event_type=event_type, quiet_for=length)
    return rule_pb(trigger=pb2.Trigger(debounce=trigger))


def action(**fields: Any) -> pb2.Rule:
    found = pb2.Action(**{"medium": types_pb2.MEDIUM_EMAIL, **fields})
    return rule_pb(steps=[step_pb(actions=[found])])


def override(**fields: Any) -> pb2.Rule:
    given: dict[str, Any] = {"condition": Expr(expression="true"), "wait": pb2.Wait(days=1)}
    return rule_pb(steps=[step_pb(wait_overrides=[pb2.WaitOverride(**{**given, **fields})])])


def stops(**fields: Any) -> pb2.Rule:
    return rule_pb(stop_when=pb2.StopWhen(stops=[pb2.StopWhen.Stop(**fields)]))


DAY_S = 86_400
SECONDS = Duration(seconds=1)
REFUSALS: list[tuple[pb2.Rule, str]] = [
    # R21: a review request must not choose its customers.
    (review_pb(trigger=purchase(count=1).trigger), "rule.trigger.purchase"),
    (review_pb(trigger=dormant(days=30).trigger), "rule.trigger.dormant"),
    (review_pb(trigger=quiet(3_600).trigger), "rule.trigger.debounce"),
    (purchase(count=0), "rule.trigger.purchase.count"),
    (purchase(count=101), "rule.trigger.purchase.count"),
    (purchase(count=3, months=0), "rule.trigger.purchase.months"),
    (purchase(count=3, months=25), "rule.trigger.purchase.months"),
    (purchase(count=3, duration=SECONDS), "rule.trigger.purchase.duration"),
    (purchase(count=3, duration=Duration(seconds=731 * DAY_S)), "rule.trigger.purchase.duration"),
    (purchase(count=3, rearm=9), "rule.trigger.purchase.rearm"),
    (purchase(count=3, rearm=Rearm.AFTER_WINDOW), "rule.trigger.purchase.rearm"),
    (rule_pb(trigger=pb2.Trigger(dormant=pb2.Trigger.Dormant())), "rule.trigger.dormant.after"),
    (dormant(), "rule.trigger.dormant.after"),
    (dormant(days=0), "rule.trigger.dormant.after.days"),
    (dormant(days=731), "rule.trigger.dormant.after.days"),
    (dormant(elapsed=SECONDS), "rule.trigger.dormant.after.elapsed"),
    (dormant(days=30, base=WaitBase.EVENT), "rule.trigger.dormant.after.base"),
    (dormant(days=30, span=SECONDS), "rule.trigger.dormant.after.span"),
    (quiet(59), "rule.trigger.debounce.quiet_for"),
    (quiet(30 * DAY_S + 1), "rule.trigger.debounce.quiet_for"),
    (quiet(None), "rule.trigger.debounce.quiet_for"),
    (quiet(3_600, ""), "rule.trigger.debounce.event_type"),
    (stops(key=StopKey.CART), "rule.stop_when.stops[0].event_type"),
    (stops(event_type="checkout", key=9), "rule.stop_when.stops[0].key"),
    (rule_pb(stop_when=pb2.StopWhen(event_types=[""])), "rule.stop_when.event_types[0]"),
    (
        rule_pb(stop_when=pb2.StopWhen(stops=[pb2.StopWhen.Stop(event_type="x")] * 65)),
        "rule.stop_when.stops",
    ),
    # R31: in review families the channel's switch decides on the activation date.
    (
        review_pb(steps=[step_pb(wait=pb2.Wait(days=1, base=pb2.Wait.BASE_ACTIVATION_DATE))]),
        f"{WAIT}.base",
    ),
    (rule_pb(steps=[step_pb(wait=pb2.Wait(days=1, span_days=2))]), f"{WAIT}.span_days"),
    (
        rule_pb(steps=[step_pb(wait=pb2.Wait(days=1, time_of_day=TEN, span_days=31))]),
        f"{WAIT}.span_days",
    ),
    (
        rule_pb(steps=[step_pb(wait=pb2.Wait(days=1, time_of_day=TEN, span_days=-1))]),
        f"{WAIT}.span_days",
    ),
    (action(wait=pb2.Wait(days=1, base=WaitBase.PREVIOUS_STEP_SENT)), f"{ACTION}.wait.base"),
    (action(wait=pb2.Wait(days=1, base=WaitBase.ACTIVATION_DATE)), f"{ACTION}.wait.base"),
    (action(wait=pb2.Wait(days=181)), f"{ACTION}.wait.days"),
    (action(wait=pb2.Wait()), f"{ACTION}.wait"),
    (action(recipient=9), f"{ACTION}.recipient"),
    # C17: carriers are business partners, written to about operations only.
    (action(recipient=Recipient.CARRIER), f"{ACTION}.recipient"),
    (
        review_pb(steps=action(recipient=Recipient.CARRIER).steps),
        f"{ACTION}.recipient",
    ),
    (action(template="No Good"), f"{ACTION}.template"),
    (action(sender=channel_service_pb2.EmailSender()), f"{ACTION}.sender.address"),
    (
        action(sender=channel_service_pb2.EmailSender(address="a@b.c", reply_to="x")),
        f"{ACTION}.sender.reply_to",
    ),
    (action(preheader="two\nlines"), f"{ACTION}.preheader"),
    (action(preheader="x" * 251), f"{ACTION}.preheader"),
    (action(preheader="{{password}}"), f"{ACTION}.preheader"),
    (action(body="x" * (TEXT_CHARS_MAX + 1)), f"{ACTION}.body"),
    (action(body="bell\x07"), f"{ACTION}.body"),
    (action(body="{{first_name"), f"{ACTION}.body"),
    (action(body="{{password}}"), f"{ACTION}.body"),
    # R34
    (override(condition=None), f"{OVERRIDE}.condition"),
    (override(condition=Expr(expression="order.")), f"{OVERRIDE}.condition.expression"),
    (override(wait=None), f"{OVERRIDE}.wait"),
    (override(wait=pb2.Wait(days=181)), f"{OVERRIDE}.wait.days"),
    (override(wait=pb2.Wait(days=1, base=2)), f"{OVERRIDE}.wait.base"),
    (
        rule_pb(steps=[step_pb(wait_overrides=[*override().steps[0].wait_overrides] * 17)]),
        f"{STEP}.wait_overrides",
    ),
    (
        rule_pb(steps=[step_pb(condition=Expr(expression="order.colour == 1"))]),
        f"{STEP}.condition.expression",
    ),
    (
        review_pb(steps=[step_pb(condition=Expr(expression="review.rating > 3"))]),
        f"{STEP}.condition.expression",
    ),
    (rule_pb(once_per=9), "rule.once_per"),
    (review_pb(once_per=OncePer.CONTACT), "rule.once_per"),
    (rule_pb(review=pb2.ReviewSettings(comment_required=True)), "rule.review"),
    (
        review_pb(review=pb2.ReviewSettings(product_timing=ProductTiming.OWN)),
        "rule.review.product_timing",
    ),
    (review_pb(review=pb2.ReviewSettings(questionnaire="No Good")), "rule.review.questionnaire"),
    (rule_pb(required_features=["No Good"]), "rule.required_features[0]"),
    (rule_pb(required_features=[f"f{n}" for n in range(9)]), "rule.required_features"),
]


@pytest.mark.parametrize(("pb", "field"), REFUSALS, ids=lambda value: str(value)[:40])
def test_what_is_wrong_is_named(pb: pb2.Rule, field: str) -> None:
    """R21, R31, R34, C17, D12, D13: the field, and what would be right."""
    with pytest.raises(AfterwordError) as caught:
        read(pb)
    assert caught.value.field == field
    assert caught.value.message


@pytest.mark.parametrize(
    "pb",
    [
        purchase(count=100, months=24),
        purchase(count=1),
        purchase(count=3, rearm=Rearm.EACH_MULTIPLE),
        dormant(days=730),
        dormant(elapsed=Duration(seconds=60)),
        quiet(60),
        quiet(30 * DAY_S),
        # C19: "after N hours or days".
        rule_pb(steps=[step_pb(wait=pb2.Wait(elapsed=Duration(seconds=3_600)))]),
        rule_pb(steps=[step_pb(wait=pb2.Wait(days=180))]),
        # A5, C18: at once.
        rule_pb(steps=[step_pb(wait=pb2.Wait(days=0))]),
    ],
    ids=lambda value: str(value)[:40],
)
def test_what_lies_at_the_bounds_is_taken(pb: pb2.Rule) -> None:
    assert again(read(pb)) == read(pb)


def test_the_size_of_a_text_message_is_told_and_bounded_when_a_rule_is_saved() -> None:
    """C23: segments are counted before placeholders are filled."""
    long = "x" * 200 + " {{first_name}}"
    assert read(action(medium=types_pb2.MEDIUM_SMS, body=long)).warnings == [
        "step 'one': the SMS takes 2 segments (GSM-7) before its placeholders are filled"
    ]
    (told,) = read(action(medium=types_pb2.MEDIUM_SMS, body="ż" * 71)).warnings
    assert "2 segments (UCS-2, for characters outside GSM-7)" in told
    assert not read(action(medium=types_pb2.MEDIUM_SMS, body="x" * 160)).warnings
    with pytest.raises(OutOfRange, match="11 segments") as caught:
        read(action(medium=types_pb2.MEDIUM_SMS, body="ż" * 671))
    assert caught.value.field == f"{ACTION}.body"


@pytest.mark.parametrize(
    ("fields", "field", "says"),
    [
        ({"medium": types_pb2.MEDIUM_SMS, "template": "hello"}, "template", "none for SMS"),
        ({"medium": types_pb2.MEDIUM_SMS, "body": "{{rating}}"}, "body", "{{expected_date}}"),
        ({"medium": types_pb2.MEDIUM_SMS, "body": "a\0b"}, "body", "control characters"),
        ({"medium": types_pb2.MEDIUM_WHATSAPP, "template": "Über"}, "template", "order_review/en_US"),
        ({"medium": types_pb2.MEDIUM_WHATSAPP, "template": "a/../b"}, "template", "approved"),
        (
            {"medium": types_pb2.MEDIUM_WHATSAPP, "whatsapp_parameters": ["a", ""]},
            "whatsapp_parameters[1]", "required",
        ),
        (
            {"medium": types_pb2.MEDIUM_WHATSAPP, "whatsapp_parameters": ["a\nb"]},
            "whatsapp_parameters[0]", "one line",
        ),
        (
            {"medium": types_pb2.MEDIUM_WHATSAPP, "whatsapp_parameters": ["{{nobody}}"]},
            "whatsapp_parameters[0]", "{{first_name}}",
        ),
        (
            {"medium": types_pb2.MEDIUM_WHATSAPP, "whatsapp_parameters": ["a"] * 21},
            "whatsapp_parameters", "at most 20",
        ),
        (
            {"medium": types_pb2.MEDIUM_SMS, "whatsapp_parameters": ["a"]},
            "whatsapp_parameters", "must be empty",
        ),
    ],
)  # fmt: skip
def test_wrong_messages_of_other_media_are_refused_by_field(
    fields: dict[str, Any], field: str, says: str
) -> None:
    """C16, C23."""
    with pytest.raises((InvalidField, OutOfRange)) as caught:
        read(action(**fields))
    assert caught.value.field == f"{ACTION}.{field}"
    assert says in caught.value.message


def test_messages_are_unharmed_by_reading() -> None:
    """What a client sent is also what its answer is compared with."""
    pb = override()
    before: Message = pb2.Rule.FromString(pb.SerializeToString())
    read(pb)
    assert pb == before
