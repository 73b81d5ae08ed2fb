"""What `afterword apply` would do, found out without doing it.

Decides: that everything is tried in a world in memory first: the daemon's configuration is rebuilt
there and the file applied to it, by the code that serves the API. What then differs is what is to be
done, in the normal form in which the daemon answers; what the world refuses, the daemon would.

The daemon itself is asked too (`validate_only`), about every step that names nothing which another
step changes: those it can judge before anything is done.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence
from typing import Any, Final

import msgspec
import yaml
from google.protobuf import json_format
from google.protobuf.message import Message

from afterword.v1 import consent_service_pb2, rule_service_pb2, simulation_service_pb2
from control.simulation.config import ConfigFile
from control.simulation.configure import (
    Step,
    carry_out,
    configure,
    consent_steps,
    states_of,
    steps_to,
)
from control.simulation.kinds import KINDS, ApiCall
from control.simulation.reading import read, read_consents
from control.simulation.world import open_world
from core.clock import SystemClock
from core.errors import AfterwordError

Configuration = simulation_service_pb2.Configuration
Activation = rule_service_pb2.Activation
Consent = consent_service_pb2.Consent

NOTHING: Final = "(nothing)"
_EVENT_TYPES: Final = "/eventTypes/"
_CONTEXT_LINES: Final = 2


class Plan(msgspec.Struct):
    """What is to be done.

    Attributes:
        present: how the daemon is configured.
        after: how it will be.
        steps: the calls between, in order.
        notes: what the file says and nobody does.
    """

    present: Any
    after: Any
    steps: list[Step]
    notes: list[str]


async def make(call: ApiCall, config: ConfigFile, *, prune: bool) -> Plan:
    """Find out what is to be done.

    Raises:
        AfterwordError: the file cannot be applied; `field` is the place in it.
    """
    wanted = config.configuration
    present = await read(call, config.account)
    now_ms = SystemClock().now_ms()
    async with open_world(config.account, now_ms) as world:
        try:
            await configure(world.call, present)
        except AfterwordError as error:
            raise type(error)(
                f"what the daemon has cannot be tried out here: {error.message}"
            ) from None
        after = await configure(world.call, wanted, prune=prune)
    places = places_of(wanted)
    steps = [
        msgspec.structs.replace(step, place=places.get(step.name, ""))
        for step in steps_to(present, after, prune=True, order=list(places))
    ]
    consents = await read_consents(call, config.account, wanted.consents)
    steps += consent_steps(config.account, consents, wanted.consents, now_ms)
    notes = [
        f"consents[{index}]: stays withdrawn; only the contact's own word changes that"
        for index, (old, new) in enumerate(zip(consents, wanted.consents, strict=True))
        if old.state == Consent.STATE_WITHDRAWN and new.state != Consent.STATE_WITHDRAWN
    ]
    return Plan(present, after, steps, notes)


async def validate(call: ApiCall, steps: Sequence[Step]) -> int:
    """Ask the daemon about the steps that stand for themselves; return how many those are."""
    touched = [_touched(step) for step in steps]
    alone = [
        step
        for index, step in enumerate(steps)
        # What stands in the way of deleting something is not named by the call.
        if step.verb != "delete"
        and not mentions(step.request) & set().union(*touched[:index], *touched[index + 1 :])
    ]
    await carry_out(call, alone, validate_only=True)
    return len(alone)


async def remaining(call: ApiCall, plan: Plan) -> list[str]:
    """Return the names of what still differs."""
    now = await read(call, plan.after.account)
    return sorted({step.name for step in steps_to(now, plan.after, prune=True)})


def places_of(configuration: Configuration) -> dict[str, str]:
    """Return where a configuration says something of each name, in its order."""
    places = {
        resource.name: f"{kind.field}[{index}]"
        for kind in KINDS
        for index, resource in enumerate(getattr(configuration, kind.field))
    }
    for index, one in enumerate(configuration.activations):
        places[f"{one.rule} on {one.channel}"] = f"activations[{index}]"
    return places


def mentions(message: Message) -> set[str]:
    """Return every text in a message."""
    found: set[str] = set()
    for field, value in message.ListFields():
        values = value if field.is_repeated else [value]
        if field.message_type is None:
            found.update(one for one in values if isinstance(one, str))
        elif field.message_type.GetOptions().map_entry:
            found.update(str(key) for key in value)
        else:
            for one in values:
                found |= mentions(one)
    return found


def _touched(step: Step) -> set[str]:
    """Return the names under which other steps may mean what a step changes."""
    # A switch stands for the rule and the channel: neither can be judged before it is done.
    names = {step.name, *step.name.split(" on ")}
    if _EVENT_TYPES in step.name:
        names.add(step.name.rpartition("/")[2])
    return names


# --- as text ------------------------------------------------------------------------------------


def diff(plan: Plan, source: str) -> Iterator[str]:
    """Yield the lines of a unified diff, resource by resource, from the daemon to the file."""
    if plan.present.booked != plan.after.booked:
        name = f"accounts/{plan.after.account}"
        yield from _compared(name, plan.present.booked, plan.after.booked, source)
    for kind in KINDS:
        before, after = (
            {one.name: kind.essence(one) for one in getattr(configuration, kind.field)}
            for configuration in (plan.present, plan.after)
        )
        for name in dict.fromkeys([*after, *before]):
            if before.get(name) != after.get(name):
                yield from _compared(name, before.get(name), after.get(name), source)
    yield from _activations(plan, source)
    for step in plan.steps:
        if step.verb == "consent":
            yield from _compared(f"{step.method}, {step.place}", None, step.request, source)


def _activations(plan: Plan, source: str) -> Iterator[str]:
    before, after = states_of(plan.present), states_of(plan.after)
    for place in dict.fromkeys([*after, *before]):
        old, new = (
            _state(states.get(place, Activation.STATE_INACTIVE)) for states in (before, after)
        )
        # A rule that is gone, or was never switched on, is as good as off.
        if old != new and {old, new} != {"STATE_INACTIVE", "STATE_SUPERSEDED"}:
            name = f"{place[0]} on {place[1]}"
            yield from _lines(name, [f"state: {old}"], [f"state: {new}"], source)


def _state(number: int) -> str:
    return Activation.State.Name(Activation.State.ValueType(number))


def _compared(
    name: str, before: Message | None, after: Message | None, source: str
) -> Iterator[str]:
    yield from _lines(name, _yaml(before), _yaml(after), source)


def _lines(name: str, before: list[str], after: list[str], source: str) -> Iterator[str]:
    yield from difflib.unified_diff(
        before, after, f"{name} (daemon)" if before else NOTHING,
        f"{name} ({source})" if after else NOTHING, n=_CONTEXT_LINES, lineterm="",
    )  # fmt: skip


def _yaml(message: Message | None) -> list[str]:
    """Return a message as the file would have it."""
    if message is None:
        return []
    fields = json_format.MessageToDict(message, preserving_proto_field_name=True)
    text: str = yaml.safe_dump(fields, sort_keys=False, allow_unicode=True, width=1_000)
    return text.splitlines()
