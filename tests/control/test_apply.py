"""`afterword apply`: a daemon comes to what a file says, and only by that."""

from __future__ import annotations

import asyncio
import io
import json
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import pytest_asyncio

from afterword.v1 import (
    consent_service_pb2,
    event_pb2,
    rule_service_pb2,
    types_pb2,
)
from control.cli import config_plan
from control.cli.main import main
from control.simulation import reading
from control.simulation.config import ConfigFile
from control.simulation.configure import carry_out
from control.simulation.kinds import KINDS, Unserved, has_method
from control.simulation.world import World, open_world
from core.errors import OutOfRange
from tests.control.kit import PARENT, Shop, open_shop

pytestmark = [pytest.mark.integration, pytest.mark.asyncio(loop_scope="module")]

EXAMPLE = Path(__file__).parents[2] / "docs" / "examples" / "shop.yaml"
MADRID = f"{PARENT}/channels/madrid"


class Done(NamedTuple):
    code: int
    out: str
    err: str


Apply = Callable[..., Awaitable[Done]]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shop(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Shop]:
    async with open_shop(tmp_path_factory.mktemp("apply")) as opened:
        yield opened


@pytest.fixture
def apply(
    shop: Shop, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Apply:
    """Return what applies a text to the daemon, in a thread: the command blocks."""

    async def run(text: str, *options: str) -> Done:
        file = tmp_path / "shop.yaml"
        file.write_text(text, encoding="utf-8")
        monkeypatch.setattr(sys, "stdin", io.StringIO())
        capsys.readouterr()
        command = ["apply", "-f", str(file), "--address", shop.daemon.grpc_address, *options]
        code = await asyncio.to_thread(main, command)
        told = capsys.readouterr()
        return Done(code, told.out, told.err.replace(str(file), "shop.yaml"))

    return run


def example() -> str:
    # The daemon's clock stands in 2024, and nobody can agree later than now.
    return EXAMPLE.read_text(encoding="utf-8").replace("2026-01-10T", "2024-01-10T")


async def present(shop: Shop) -> Any:
    """Return how the daemon is configured, without what changes by itself."""

    async def call(method: str, request: Any) -> Any:
        service, _, name = method.partition("/")
        stub = {
            "ChannelService": shop.channels, "RuleService": shop.rules,
            "EventService": shop.events, "ConsentService": shop.consents,
        }[service]  # fmt: skip
        return await getattr(stub, name)(request)

    return await reading.read(call, "default")


async def revision(shop: Shop) -> int:
    await shop.daemon.registry.refresh()
    return shop.daemon.registry.snapshot.revision


async def test_a_file_is_applied_after_a_diff_and_the_second_time_changes_nothing(
    shop: Shop, apply: Apply
) -> None:
    """D3: the file is all that is needed; applying it again is safe."""
    before = await revision(shop)
    tried = await apply(example(), "--dry-run")
    assert tried.code == 0, tried.err
    assert "+++ accounts/default/rules/ask (" in tried.out
    assert "+time_zone: Europe/Madrid" in tried.out
    assert tried.out.endswith("14 changes to make; nothing was changed\n")
    assert await revision(shop) == before

    first = await apply(example(), "--yes")
    assert first.code == 0, first.err
    assert "created accounts/default/rules/ask\n" in first.out
    assert first.out.endswith("14 changes made\n")
    done = await revision(shop)
    second = await apply(example(), "--yes")
    assert (second.code, second.out) == (0, "nothing to change\n")
    assert await revision(shop) == done

    rule = await shop.rules.GetRule(rule_service_pb2.GetRuleRequest(name=f"{PARENT}/rules/ask"))
    assert sorted(rule.active_channels) == [MADRID, f"{PARENT}/channels/new-york"]
    selector = consent_service_pb2.ContactSelector(
        contact=event_pb2.Contact(email="ana@shop.example")
    )
    listed = await shop.consents.ListConsents(
        consent_service_pb2.ListConsentsRequest(parent=PARENT, contact=selector)
    )
    assert [one.state for one in listed.consents] == [consent_service_pb2.Consent.STATE_GRANTED]


async def test_a_change_is_shown_line_by_line_and_only_that_is_written(
    shop: Shop, apply: Apply
) -> None:
    assert (await apply(example(), "--yes")).code == 0
    text = example().replace(
        "days: 7, time_of_day: {hours: 10}", "days: 8, time_of_day: {hours: 11}"
    )
    done = await apply(text, "--yes")
    lines = done.out.splitlines()
    assert [line for line in lines if line[:1] in "+-" and line[:3] not in ("+++", "---")] == [
        "-    days: 7", "+    days: 8", "-      hours: 10", "+      hours: 11",
    ]  # fmt: skip
    assert lines[-2:] == ["changed accounts/default/rules/ask", "1 change made"]
    assert (await apply(example(), "--yes", "--json")).out == json.dumps(
        {"changes": [{"verb": "update", "name": "accounts/default/rules/ask"}], "made": 1}, indent=2
    ) + "\n"


async def test_what_the_file_does_not_name_stays_unless_it_is_pruned(
    shop: Shop, apply: Apply
) -> None:
    assert (await apply(example(), "--yes")).code == 0
    channel = await shop.create_channel("lisbon")
    rule = await shop.create_rule(channel, "mine")
    assert (await apply(example(), "--yes")).out == "nothing to change\n"
    dry = await apply(example(), "--dry-run", "--prune")
    assert "--- accounts/default/rules/mine (daemon)" in dry.out
    done = await apply(example(), "--yes", "--prune")
    assert done.code == 0, done.err
    assert done.out.splitlines()[-4:] == [
        f"switched {rule} on {channel}", f"deleted {rule}", f"deleted {channel}", "3 changes made",
    ]  # fmt: skip
    assert (await apply(example(), "--yes", "--prune")).out == "nothing to change\n"


async def test_nothing_is_half_applied_when_something_is_invalid(shop: Shop, apply: Apply) -> None:
    """The last rule of the file is wrong: the channel before it is not created either."""
    before = await revision(shop)
    text = example().replace("  - id: new-york", "  - id: boston").replace(
        "channel: new-york", "channel: boston"
    )  # fmt: skip
    wrong = text.replace("wait: {days: 60", "wait: {days: 600")
    done = await apply(wrong, "--yes")
    line = 1 + wrong[: wrong.index("days: 600")].count("\n")
    assert done.code == 1
    assert done.err.startswith(f"afterword: shop.yaml:{line}: rules[2]")
    assert await revision(shop) == before


async def test_an_activation_may_depend_on_what_the_file_creates(shop: Shop, apply: Apply) -> None:
    """A10: the event type, the rule on it and its activation come in one file."""
    text = example().replace(
        "  - id: ask-about-products", "  - id: ask-after\n    display_name: After\n"
        "    family: FAMILY_SERVICE_REVIEW\n    trigger: {event_type: warranty_extended}\n"
        "    steps:\n      - {id: one, wait: {days: 1}, actions: [{medium: MEDIUM_EMAIL}]}\n\n"
        "  - id: ask-about-products", 1,
    ).replace(
        "activations:", "activations:\n  - {rule: ask-after, channel: madrid}\n#", 1
    ).replace(
        "event_types:", "event_types:\n  - {id: warranty_extended, active: true}", 1
    )  # fmt: skip
    done = await apply(text, "--yes")
    assert done.code == 0, done.err
    assert (
        "switched accounts/default/rules/ask-after on accounts/default/channels/madrid" in done.out
    )


async def test_a_rule_in_place_of_another_is_switched_by_one_call(shop: Shop, apply: Apply) -> None:
    """A25: the rival is superseded, not switched off first."""
    assert (await apply(example(), "--yes", "--prune")).code == 0
    rival = example().replace("rule: ask, channel: madrid", "rule: ask-two, channel: madrid").replace(
        "  - id: ask-about-products", "  - id: ask-two\n    display_name: Two\n"
        "    family: FAMILY_SERVICE_REVIEW\n    trigger: {event_type: checkout}\n"
        "    steps:\n      - {id: one, wait: {days: 1}, actions: [{medium: MEDIUM_EMAIL}]}\n\n"
        "  - id: ask-about-products", 1,
    )  # fmt: skip
    done = await apply(rival, "--yes")
    assert "-state: STATE_ACTIVE\n+state: STATE_SUPERSEDED" in done.out
    assert done.out.splitlines()[-3:] == [
        "created accounts/default/rules/ask-two",
        "switched accounts/default/rules/ask-two on accounts/default/channels/madrid",
        "2 changes made",
    ]
    assert (await apply(rival, "--yes")).out == "nothing to change\n"
    off = rival.replace(
        "{rule: ask-two, channel: madrid}",
        "{rule: ask-two, channel: madrid, state: STATE_INACTIVE}",
    )
    done = await apply(off, "--yes")
    assert "-state: STATE_ACTIVE\n+state: STATE_INACTIVE" in done.out
    assert (await apply(off, "--yes")).out == "nothing to change\n"


async def test_a_file_never_gives_back_what_a_customer_has_withdrawn(
    shop: Shop, apply: Apply
) -> None:
    """R17, R18."""
    assert (await apply(example(), "--yes", "--prune")).code == 0
    await shop.consents.WithdrawConsent(
        consent_service_pb2.WithdrawConsentRequest(
            parent=PARENT,
            contact=consent_service_pb2.ContactSelector(
                contact=event_pb2.Contact(email="ana@shop.example")
            ),
            purpose=types_pb2.PURPOSE_MARKETING,
            medium=types_pb2.MEDIUM_EMAIL,
        )
    )
    done = await apply(example(), "--yes")
    assert (done.code, done.out) == (0, "nothing to change\n")
    assert "consents[0]: stays withdrawn" in done.err


async def test_nobody_to_ask_means_no(shop: Shop, apply: Apply) -> None:
    before = await revision(shop)
    done = await apply(example().replace("Discos Madrid", "Otro nombre"))
    assert done.code == 2
    assert "give --yes" in done.err
    assert await revision(shop) == before


async def test_what_the_daemon_refuses_is_told_with_its_line(
    shop: Shop, apply: Apply, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The trial in memory may know less than the daemon: it is asked before anything is done."""
    assert (await apply(example(), "--yes", "--prune")).code == 0
    before = await revision(shop)

    async def refuse(*arguments: Any, **fields: Any) -> Any:
        raise OutOfRange("rule.steps is too late for us", field="rule.steps[0].wait.time_of_day")

    monkeypatch.setattr(shop.daemon.registry, "update_rule", refuse)
    # The channel comes first, and would be written if nobody had asked about the rule.
    text = example().replace("locale: es_ES", "locale: pt_PT").replace("hours: 17", "hours: 18")
    done = await apply(text, "--yes")
    line = 1 + text[: text.index("hours: 18")].count("\n")
    assert (done.code, done.err.splitlines()[-1]) == (
        1, f"afterword: shop.yaml:{line}: rules[1] (accounts/default/rules/ask-about-products): "
        "rule.steps is too late for us",
    )  # fmt: skip
    assert await revision(shop) == before


# --- the steps, in a world of their own -------------------------------------------------------------


async def bring(world: World, text: str, *, prune: bool = False) -> list[str]:
    """Bring a world to a file; return the methods called."""
    config = ConfigFile.read("shop.yaml", text.encode(), "default")
    plan = await config_plan.make(world.call, config, prune=prune)
    await carry_out(world.call, plan.steps)
    return [step.method.partition("/")[2] for step in plan.steps]


@pytest.mark.parametrize("state", ["PAUSED", "FROZEN", "STOPPED"])
async def test_every_state_of_a_rule_can_be_reached_and_left(state: str) -> None:
    """R14."""
    if not has_method("RuleService/PauseRule"):
        pytest.skip("no such states yet")
    verb = {"PAUSED": "PauseRule", "FROZEN": "FreezeRule", "STOPPED": "StopRule"}[state]
    held = example().replace(
        "{rule: ask, channel: madrid}", f"{{rule: ask, channel: madrid, state: STATE_{state}}}"
    )
    async with open_world("default", 1_772_000_000_000) as world:
        await bring(world, example())
        assert await bring(world, held) == [verb]
        assert await bring(world, held) == []
        assert await bring(world, example()) == ["ResumeRule"]
    async with open_world("default", 1_772_000_000_000) as world:
        methods = await bring(world, held)
        assert methods.count("ActivateRule") == 5
        assert methods[methods.index(verb) - 1] == "ActivateRule"


async def test_what_is_booked_is_part_of_a_configuration() -> None:
    text = "booked: {entitlements: [ENTITLEMENT_PRODUCT_REVIEWS]}\n"
    async with open_world("default", 1_772_000_000_000) as world:
        assert await bring(world, text) == ["UpdateAccount"]
        assert await bring(world, text) == []
        assert await bring(world, "booked: {entitlements: []}\n") == ["UpdateAccount"]


async def test_every_kind_can_be_created_changed_and_deleted() -> None:
    values = {
        "event_types": ("display_name: One, active: true", "display_name: Two, active: true"),
        "platforms": tuple(
            f"kind: KIND_CUSTOM, review_types: [REVIEW_TYPE_SERVICE], review_url: 'https://{name}.example/'"
            for name in ("one", "two")
        ),
        "senders": tuple(
            f"display_name: {name}, kind: KIND_SMS_TWILIO, provider_account: {'AC' + '0' * 32}, "
            "origin: '+15005550006', credential: 'secret:texts'"
            for name in ("One", "Two")
        ),
        "templates": tuple(
            "kind: KIND_SMS, families: [FAMILY_NOTIFICATION], default_locale: en, "
            f"contents: [{{locale: en, sms: {{text: '{name}'}}}}]"
            for name in ("One", "Two")
        ),
        "channels": ("display_name: One, time_zone: UTC, locale: en",
                     "display_name: Two, time_zone: UTC, locale: en"),
        "carriers": ("display_name: One, email: one@carrier.example",
                     "display_name: Two, email: one@carrier.example"),
        "caps": ("scope: SCOPE_ACCOUNT, limit: 1, window: 60s",
                 "scope: SCOPE_ACCOUNT, limit: 2, window: 60s"),
        "rules": tuple(
            f"display_name: {name}, family: FAMILY_SERVICE_REVIEW, trigger: {{event_type: checkout}}, "
            "steps: [{id: one, wait: {days: 1}, actions: [{medium: MEDIUM_EMAIL}]}]"
            for name in ("One", "Two")
        ),
    }  # fmt: skip
    assert values.keys() == {kind.field for kind in KINDS}
    for kind in KINDS:
        async with open_world("default", 1_772_000_000_000) as world:
            one, two = (f"{kind.field}: [{{id: some-id, {text}}}]" for text in values[kind.field])
            assert await bring(world, one) == [f"Create{kind.word}"]
            assert await bring(world, two) == [f"Update{kind.word}"]
            assert await bring(world, two) == []
            gone = [f"Delete{kind.word}"] if has_method(kind.delete) else []
            methods = await bring(world, "account: default", prune=True)
            assert methods == gone


async def test_a_server_without_a_kind_is_read_all_the_same() -> None:
    async with open_world("default", 1_772_000_000_000) as world:
        await bring(world, example())

        async def older(method: str, request: Any) -> Any:
            if "Carriers" in method or "Account" in method:
                raise Unserved(method)
            return await world.call(method, request)

        found = await reading.read(older, "default")
        assert len(found.rules) == 3
        assert not found.HasField("booked")


async def test_caps_and_what_steps_say_of_them_are_applied_once() -> None:
    """A32, R24: written in an order that works, and nothing is left to do the second time."""
    text = """
caps:
  - {id: products, scope: SCOPE_PRODUCT, limit: 1, window: 5184000s}
  - {id: volume, scope: SCOPE_ACCOUNT, subject: SUBJECT_ALL_CONTACTS, limit: 100000, window: 3600s}
  - {id: daily, scope: SCOPE_ACCOUNT, limit: 1, window: 86400s, on_cap: ON_CAP_REPLACE,
     defer_to: DEFER_TO_NEXT_TIME_OF_DAY}
rules:
  - id: ask
    display_name: Ask
    family: FAMILY_PRODUCT_REVIEW
    trigger: {event_type: checkout}
    steps:
      - id: one
        wait: {days: 14}
        actions: [{medium: MEDIUM_EMAIL}]
        exempt_from_caps: [volume]
        not_counted_by_caps: [daily]
        on_cap: ON_CAP_SKIP
"""
    async with open_world("default", 1_772_000_000_000) as world:
        assert await bring(world, text) == ["CreateCap"] * 3 + ["CreateRule"]
        assert await bring(world, text) == []
        methods = await bring(world, "account: default", prune=True)
        assert methods == ["DeleteRule"] + ["DeleteCap"] * 3
