"""Saving rules: switched on in the same write, fully configured, booked, and with a trigger that is."""

from __future__ import annotations

from typing import Any

import pytest
import pytest_asyncio
from msgspec.structs import replace

from core.errors import FailedPrecondition, InvalidField, NotFound
from core.model import ActivationState, Family, Medium
from core.registry.registry import Registry
from core.registry.resources import Account, Entitlement, Rule
from core.registry.rule_parts import (
    Action,
    DebounceTrigger,
    DormantTrigger,
    EmailSender,
    PurchaseTrigger,
    StopEvent,
    Wait,
)
from tests.support.configuration import ACCOUNT, SENDER, channel, event_type, rule, step
from tests.support.registries import (
    active,
    active_on,
    registry_with_channels,
    stands,
    states,
    watch_bites,
)

DORMANT = DormantTrigger(after=Wait(days=90))


@pytest_asyncio.fixture
async def config() -> Registry:
    return await registry_with_channels()


async def booked(config: Registry, *entitlements: Entitlement) -> Account:
    return await config.update_account(Account(id=ACCOUNT, entitlements=entitlements))


# --- saved and switched on in one write -----------------------------------------------------------


async def test_a_save_switches_on_in_the_same_write(config: Registry) -> None:
    """B24: validates, persists and activates in one transaction, superseding."""
    await active(config, rule("old"))
    bites = watch_bites(config)
    revision = config.snapshot.revision
    made = await config.create_rule(rule("new"), activate_on=["es", "fr", "es"], actor="eva")
    assert config.snapshot.revision == revision + 1
    assert bites == [revision + 1]
    assert states(config) == {"new": "ACTIVE", "old": "SUPERSEDED"}
    assert states(config, "fr") == {"new": "ACTIVE"}
    assert stands(config, "new").actor == "eva"
    assert config.snapshot.rule(ACCOUNT, "new") == made


async def test_an_update_switches_on_where_it_is_told_to(config: Registry) -> None:
    """B24, R37: also into a slot that its new trigger brings it to."""
    await active(config, rule("a"))
    moving = await active(config, rule("b", event_type="delivery"))
    revision = config.snapshot.revision
    moved = await config.update_rule(replace(moving, event_type="checkout"), activate_on=["es"])
    assert (moved.revision, config.snapshot.revision) == (2, revision + 1)
    assert states(config) == {"a": "SUPERSEDED", "b": "ACTIVE"}
    again = await config.update_rule(moved, activate_on=["fr"])
    assert again == moved, "no new revision"
    assert active_on(config, "fr") == {"b"}


async def test_what_cannot_be_switched_on_is_not_saved(config: Registry) -> None:
    """B24: all or nothing."""
    await config.create_channel(channel("bare", email_sender=None))
    with pytest.raises(FailedPrecondition, match="channels/bare has no email_sender"):
        await config.create_rule(rule("a"), activate_on=["es", "bare"])
    with pytest.raises(NotFound, match="channels/no"):
        await config.create_rule(rule("a"), activate_on=["no"])
    assert config.snapshot.rule(ACCOUNT, "a") is None
    checked = await config.create_rule(rule("a"), validate_only=True, activate_on=["es"])
    assert checked.number == 1
    assert states(config) == {}


async def test_what_a_rule_was_made_from_stays(config: Registry) -> None:
    """Output only: an update cannot change it."""
    made = await config.create_rule(rule("a", automation="welcome"))
    changed = await config.update_rule(rule("a", automation="", copied_from="b", priority=2))
    assert (changed.automation, changed.copied_from) == ("welcome", "")
    assert made.automation == "welcome"


# --- booked ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("family", "needed"),
    [
        (Family.PRODUCT_REVIEW, Entitlement.PRODUCT_REVIEWS),
        (Family.NOTIFICATION, Entitlement.NOTIFICATIONS),
        (Family.AUTOMATION, Entitlement.AUTOMATIONS),
    ],
)
async def test_what_is_not_booked_cannot_be_switched_on(
    config: Registry, family: Family, needed: Entitlement
) -> None:
    """B26, C2: saved yes, but neither activated, nor resumed, nor saved to be active."""
    await active(config, rule("a", family=family))
    await config.stop_rule(ACCOUNT, "a", "es")
    await booked(config, *(each for each in Entitlement if each != needed))
    made = await config.create_rule(rule("b", family=family))
    for write in (
        config.activate(ACCOUNT, "b", "es"),
        config.resume_rule(ACCOUNT, "a"),
        config.create_rule(rule("c", family=family), activate_on=["es"]),
        config.update_rule(replace(made, priority=1), activate_on=["es"]),
    ):
        with pytest.raises(FailedPrecondition, match=f"^ENTITLEMENT {needed.name} ") as caught:
            await write
        assert caught.value.field == "account.entitlements"
    await booked(config, *Entitlement)
    await config.activate(ACCOUNT, "b", "es")


async def test_service_reviews_need_no_booking(config: Registry) -> None:
    """B26: and what is at work stays so when its entitlement goes; each message is looked at."""
    await active(config, rule("n", family=Family.NOTIFICATION))
    await booked(config)
    await active(config, rule("s"))
    assert active_on(config) == {"n", "s"}
    await config.update_rule(rule("n", family=Family.NOTIFICATION, priority=9))


# --- fully configured -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("action", "field"),
    [
        (Action(Medium.EMAIL), "subject"),
        (Action(Medium.EMAIL, body="Hello."), "subject"),
        (Action(Medium.EMAIL, subject="Hello"), "body"),
        (Action(Medium.SMS), "body"),
        (Action(Medium.WHATSAPP, body="Hello."), "template"),
        (Action(Medium.WHATSAPP, template="hello"), ""),
        (Action(Medium.EMAIL, subject="Hello", body="Hello."), ""),
        (Action(Medium.EMAIL, template="hello"), ""),
        (Action(Medium.SMS, body="Hello."), ""),
        (Action(Medium.WEBHOOK), ""),
    ],
)
async def test_an_automation_is_switched_on_once_it_says_something(
    config: Registry, action: Action, field: str
) -> None:
    """D22, C23: also the steps that are off at the moment."""
    off = replace(step("later", enabled=False), actions=[action])
    steps = [step(subject="Hello", body="Hello."), off]
    made = await config.create_rule(rule("a", family=Family.AUTOMATION, steps=steps))
    if not field:
        await config.activate(ACCOUNT, "a", "es")
        return
    path = f"rule.steps[1].actions[0].{field}"
    with pytest.raises(FailedPrecondition, match="not fully configured") as caught:
        await config.activate(ACCOUNT, "a", "es")
    assert caught.value.field == path
    await config.update_rule(replace(made, steps=steps[:1]), activate_on=["es"])
    with pytest.raises(FailedPrecondition) as caught:
        await config.update_rule(made)
    assert caught.value.field == path, "and stays so"


async def test_review_requests_have_texts_of_their_own(config: Registry) -> None:
    """A20, A21: default templates are provided."""
    await active(config, rule("s"))
    assert active_on(config) == {"s"}


async def test_an_action_may_bring_its_sender(config: Registry) -> None:
    """D2, D22."""
    await config.create_channel(channel("bare", email_sender=None))
    own = Action(Medium.EMAIL, sender=EmailSender("me@shop.example"))
    await active(config, rule("a", steps=[replace(step(), actions=[own])]), "bare")
    mixed = [replace(step(), actions=[own]), step("second")]
    with pytest.raises(FailedPrecondition) as caught:
        await config.update_rule(rule("a", steps=mixed))
    assert caught.value.field == "channel.email_sender"
    await config.update_channel(channel("bare", email_sender=SENDER))
    await config.update_rule(rule("a", steps=mixed))


# --- triggers and stops ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"event_type": "unheard-of"}, "rule.trigger.event_type"),
        ({"dormant": DormantTrigger(Wait(days=9), "unheard-of")},
         "rule.trigger.dormant.event_type"),
        ({"debounce": DebounceTrigger("unheard-of", 60_000)}, "rule.trigger.debounce.event_type"),
        ({"event_type": "", "purchase": PurchaseTrigger(3), "stop_when": ["unheard-of"]},
         "rule.stop_when.event_types[0]"),
        ({"stops": [StopEvent("checkout"), StopEvent("unheard-of")]},
         "rule.stop_when.stops[1].event_type"),
        ({"event_type": ""}, "rule.trigger"),
    ],
)  # fmt: skip
async def test_every_event_type_that_a_rule_names_exists(
    config: Registry, fields: dict[str, Any], field: str
) -> None:
    """A16."""
    new = rule("a", family=Family.AUTOMATION, **fields)
    with pytest.raises(InvalidField) as caught:
        await config.create_rule(new)
    assert caught.value.field == field
    await config.create_rule(rule("a", family=Family.AUTOMATION))
    with pytest.raises(InvalidField) as caught:
        await config.update_rule(new)
    assert caught.value.field == field


@pytest.mark.parametrize(
    "fields",
    [
        {"purchase": PurchaseTrigger(1)},
        {"dormant": DORMANT},
        {"debounce": DebounceTrigger("cart_updated", 60_000)},
        {"event_type": ""},
        {"event_type": "", "dormant": DORMANT},
    ],
)
@pytest.mark.parametrize("family", [Family.SERVICE_REVIEW, Family.PRODUCT_REVIEW])
async def test_reviews_are_asked_for_by_events_of_one_type(
    config: Registry, family: Family, fields: dict[str, Any]
) -> None:
    """R21: other triggers would select whom to ask."""
    with pytest.raises(InvalidField, match="only trigger") as caught:
        await config.create_rule(rule("a", family=family, **fields))
    assert caught.value.field == "rule.trigger"


async def test_an_event_type_that_a_timer_or_stop_names_stays(config: Registry) -> None:
    def free(id: str, **fields: Any) -> Rule:
        return rule(id, family=Family.AUTOMATION, **fields)

    users = (
        free("stops", stops=[StopEvent("own")]),
        free("quiet", event_type="", debounce=DebounceTrigger("own", 60_000)),
        free("gone", event_type="", dormant=DormantTrigger(Wait(days=9), "own")),
    )
    await config.create_event_type(event_type("own"))
    for user in users:
        await config.create_rule(user)
        with pytest.raises(FailedPrecondition, match=user.name):
            await config.delete_event_type(ACCOUNT, "own")
        await config.delete_rule(ACCOUNT, user.id)
    await config.delete_event_type(ACCOUNT, "own")


async def test_the_trigger_of_a_rule_at_work_may_become_another_kind(config: Registry) -> None:
    """A new revision: what waits keeps the old one (A27)."""
    made = await active(config, rule("a", family=Family.AUTOMATION))
    bites = watch_bites(config)
    changed = await config.update_rule(replace(made, event_type="", dormant=DORMANT))
    assert (changed.revision, stands(config, "a").state) == (2, ActivationState.ACTIVE)
    assert bites == [config.snapshot.revision]


async def test_a_feature_that_a_rule_requires_bites(config: Registry) -> None:
    """D10, R13."""
    made = await active(config, rule("a"))
    bites = watch_bites(config)
    await config.update_rule(replace(made, required_features=["product-comments"]))
    assert bites == [config.snapshot.revision]
