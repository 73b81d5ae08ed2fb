"""From how an account is configured to how it should be: the steps between.

Decides: which calls of the API make the one of the other, and in which order:

    switch off   what must not stand in the way
    write        event types, platforms, senders, channels, carriers, caps, rules;
                 of one kind in the order of the file
    switch on    in the order of the file
    delete       what is not wanted any more, the dependent first
    consents     those that say something new

Never: a call by itself. The same steps go to a daemon and to a simulated world.

A file never gives back what a customer has withdrawn: a grant is only written where nobody has said
anything yet, or said no, or agreed earlier than the file says.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final

import msgspec
from google.protobuf.field_mask_pb2 import FieldMask

from afterword.v1 import (
    channel_service_pb2,
    consent_service_pb2,
    rule_service_pb2,
    simulation_service_pb2,
)
from control.conversion import names
from control.simulation.kinds import KINDS, ApiCall, Kind, has_method, request
from control.simulation.reading import read, read_consents
from core.errors import AfterwordError, FailedPrecondition, InvalidField

Configuration = simulation_service_pb2.Configuration
ContactConsent = simulation_service_pb2.ContactConsent
Activation = rule_service_pb2.Activation
Consent = consent_service_pb2.Consent

_OFF: Final = frozenset({
    Activation.STATE_UNSPECIFIED, Activation.STATE_INACTIVE, Activation.STATE_SUPERSEDED,
})  # fmt: skip
"""States of a rule that holds no place; a rule that never stood on a channel is in none."""
_WORDS: Final = tuple(Activation.State.keys()[1:])
_RESUMABLE: Final = ("PAUSED", "FROZEN", "STOPPED")
_VERBS: Final = {"PAUSED": "Pause", "FROZEN": "Freeze", "STOPPED": "Stop"}
_UPDATE_ACCOUNT: Final = "ChannelService/UpdateAccount"
Place = tuple[str, str]
"""(rule, channel), full names."""


class Step(msgspec.Struct, frozen=True):
    """One call."""

    verb: str
    """create, update, delete, switch, consent."""
    name: str
    """Of the resource; of an activation "rule on channel"."""
    method: str
    request: Any
    place: str = ""
    """Where the configuration says so: "rules[0]", "" where it does not."""
    singular: str = ""
    """What the error paths of the call begin with."""


# --- what is to be done -------------------------------------------------------------------------


def steps_to(
    present: Configuration, wanted: Configuration, *, prune: bool = False,
    order: Sequence[str] = (),
) -> list[Step]:  # fmt: skip
    """Return what makes one configuration of the other, without consents.

    Args:
        prune: also delete and switch off what is not wanted.
        order: names in the order in which they are to be written; those of `wanted` if not given.
    """
    before, after = states_of(present), states_of(wanted)
    moves = _moves(before, after, order)
    gone = {place for place, state in before.items() if state not in _OFF and place not in after}
    off = [step for step in moves if step.method == "RuleService/DeactivateRule"]
    if prune:
        off += [_switch("RuleService/DeactivateRule", place) for place in sorted(gone)]
    writes = _bookings(present, wanted)
    deletes: list[Step] = []
    for kind in KINDS:
        writes += _writes(kind, present, wanted, order)
        if prune:
            deletes[:0] = _deletes(kind, present, wanted)
    return [*off, *writes, *(step for step in moves if step not in off), *deletes]


def states_of(configuration: Configuration) -> dict[Place, int]:
    """Return how rules stand; an activation that says nothing of its state is on."""
    return {
        (one.rule, one.channel): one.state or Activation.STATE_ACTIVE
        for one in configuration.activations
    }


def by_name(configuration: Configuration, kind: Kind) -> dict[str, Any]:
    """Return the resources of a kind."""
    return {resource.name: resource for resource in getattr(configuration, kind.field)}


def _bookings(present: Configuration, wanted: Configuration) -> list[Step]:
    """Return the change of what the account has booked, if there is one."""
    if not wanted.HasField("booked"):
        return []
    if set(wanted.booked.entitlements) == set(present.booked.entitlements):
        return []
    name = f"accounts/{wanted.account}"
    new = channel_service_pb2.Account(name=name, entitlements=wanted.booked.entitlements)
    asked = request(_UPDATE_ACCOUNT, account=new, update_mask=FieldMask(paths=["*"]))
    return [Step("update", name, _UPDATE_ACCOUNT, asked, "booked", "account")]


def _writes(
    kind: Kind, present: Configuration, wanted: Configuration, order: Sequence[str]
) -> list[Step]:
    before = by_name(present, kind)
    steps = []
    for index, resource in enumerate(getattr(wanted, kind.field)):
        place, new = f"{kind.field}[{index}]", kind.essence(resource)
        old = before.get(resource.name)
        if old is None:
            parent, _, resource_id = resource.name.rsplit("/", 2)
            asked = request(
                kind.create, parent=parent,
                **{f"{kind.singular}_id": resource_id, kind.singular: new},
            )  # fmt: skip
            steps.append(Step("create", resource.name, kind.create, asked, place, kind.singular))
        elif kind.essence(old) != new:
            asked = request(kind.update, update_mask=FieldMask(paths=["*"]), **{kind.singular: new})
            steps.append(Step("update", resource.name, kind.update, asked, place, kind.singular))
    return _in_order(steps, order)


def _deletes(kind: Kind, present: Configuration, wanted: Configuration) -> list[Step]:
    if not has_method(kind.delete):
        return []
    kept = by_name(wanted, kind)
    return [
        Step("delete", name, kind.delete, request(kind.delete, name=name))
        for name, resource in by_name(present, kind).items()
        # What is shipped was there before the file and stays.
        if name not in kept and not getattr(resource, "shipped", False)
    ]


def _moves(before: dict[Place, int], after: dict[Place, int], order: Sequence[str]) -> list[Step]:
    steps: list[Step] = []
    for index, (place, state) in enumerate(after.items()):
        now = before.get(place, Activation.STATE_INACTIVE)
        if state not in Activation.State.values():
            where = f"activations[{index}].state"
            raise InvalidField(f"{where} must be {', '.join(_WORDS)}", field=where)
        if state == now or (state in _OFF and now in _OFF):
            continue
        if state == Activation.STATE_SUPERSEDED:
            # Switching on what replaces it does that.
            continue
        where = f"activations[{index}]"
        steps += [_switch(f"RuleService/{verb}", place, where) for verb in _verbs(now, state)]
    return _in_order(steps, order)


def _verbs(now: int, state: int) -> list[str]:
    """Return the methods that lead from one state of a rule on a channel to another."""
    was, word = (_word(one) for one in (now, state))
    if word == "INACTIVE":
        return ["DeactivateRule"]
    back = [] if was == "ACTIVE" else ["ResumeRule" if was in _RESUMABLE else "ActivateRule"]
    if word == "ACTIVE":
        return back
    # Which rules may be paused, frozen or stopped is said of ACTIVE ones.
    return [*back, f"{_VERBS[word]}Rule"]


def _word(state: int) -> str:
    return Activation.State.Name(Activation.State.ValueType(state)).removeprefix("STATE_")


def _switch(method: str, place: Place, where: str = "") -> Step:
    asked = request(method, name=place[0], channel=place[1])
    return Step("switch", f"{place[0]} on {place[1]}", method, asked, where)


def _in_order(steps: list[Step], order: Sequence[str]) -> list[Step]:
    rank = {name: index for index, name in enumerate(order)}
    return sorted(steps, key=lambda step: rank.get(step.name, len(rank)))


def consent_steps(
    account: str,
    present: Sequence[ContactConsent],
    wanted: Sequence[ContactConsent],
    now_ms: int | None = None,
) -> list[Step]:
    """Return the grants and withdrawals that say something new.

    Args:
        present: what stands in the place of each; see `read_consents`.
        now_ms: evidence from beyond it counts as from now, and so is not newer than what stands.
    """
    steps = []
    for index, (old, new) in enumerate(zip(present, wanted, strict=True)):
        place = f"consents[{index}]"
        verb = "Withdraw" if new.state == Consent.STATE_WITHDRAWN else "Grant"
        if verb == "Grant" and new.state not in (
            Consent.STATE_UNSPECIFIED, Consent.STATE_GRANTED
        ):  # fmt: skip
            raise FailedPrecondition(
                f"{place}: a consent is STATE_GRANTED or STATE_WITHDRAWN", field=f"{place}.state"
            )
        if old.state == Consent.STATE_WITHDRAWN or (
            verb == "Grant" and not _is_newer(old, new, now_ms)
        ):
            continue
        fields = {
            field.name: value
            for field, value in new.ListFields()
            if field.name not in ("contact", "state")
        }
        method = f"ConsentService/{verb}Consent"
        selector = consent_service_pb2.ContactSelector(contact=new.contact)
        asked = request(method, parent=f"accounts/{account}", contact=selector, **fields)
        steps.append(Step("consent", place, method, asked, place))
    return steps


def _is_newer(old: ContactConsent, new: ContactConsent, now_ms: int | None) -> bool:
    """Return whether a grant says more than what stands."""
    if old.state != Consent.STATE_GRANTED:
        return True
    evidence_ms = new.evidence_time.ToMilliseconds() if new.HasField("evidence_time") else 0
    is_past = now_ms is None or evidence_ms <= now_ms
    return is_past and evidence_ms > old.evidence_time.ToMilliseconds()


# --- doing it -----------------------------------------------------------------------------------


async def carry_out(call: ApiCall, steps: Iterable[Step], *, validate_only: bool = False) -> None:
    """Make the calls one after the other.

    Raises:
        AfterwordError: the first that was refused; `field` is its place in the configuration.
    """
    for step in steps:
        asked = step.request
        if validate_only:
            asked = type(asked)()
            asked.CopyFrom(step.request)
            asked.validate_only = True
        try:
            await call(step.method, asked)
        except AfterwordError as error:
            raise blamed(error, step) from None


def blamed(error: AfterwordError, step: Step) -> AfterwordError:
    """Return an error of a step with its place in the configuration."""
    head, _, rest = error.field.partition(".")
    field = step.place
    if rest and head == step.singular:
        field = f"{step.place}.{rest}" if step.place else error.field
    elif error.field and not step.singular:
        field = f"{step.place}.{error.field}"
    where = f"{step.place} ({step.name})" if step.place and step.singular else step.name
    return type(error)(f"{where}: {error.message}", field=field, reason=error.reason)


def check_places(present: Configuration, wanted: Configuration) -> None:
    """Refuse a configuration of which one part undoes another.

    Args:
        present: how things stand after all has been written.

    Raises:
        FailedPrecondition: naming the activation that did not stay as wanted.
    """
    stands = states_of(present)
    for index, (place, state) in enumerate(states_of(wanted).items()):
        now = stands.get(place, Activation.STATE_INACTIVE)
        if state != now and not (state in _OFF and now in _OFF):
            raise FailedPrecondition(
                f"activations[{index}]: {place[0]} on {place[1]} would be {_word(now)}, not "
                f"{_word(state)}: another activation of this configuration takes its place",
                field=f"activations[{index}]",
            )


def _check_names(wanted: Configuration) -> None:
    for kind in KINDS:
        for index, resource in enumerate(getattr(wanted, kind.field)):
            pattern = f"{kind.collection}/{{{kind.singular}}}"
            names.ids(resource.name, wanted.account, pattern, f"{kind.field}[{index}].name")


async def configure(call: ApiCall, wanted: Configuration, *, prune: bool = False) -> Configuration:
    """Bring whoever answers the calls to a configuration, and return how it then is configured.

    Raises:
        AfterwordError: `field` is the place in the configuration.
    """
    account = wanted.account
    _check_names(wanted)
    steps = steps_to(await read(call, account), wanted, prune=prune)
    await carry_out(call, steps)
    consents = await read_consents(call, account, wanted.consents)
    await carry_out(call, consent_steps(account, consents, wanted.consents))
    after = await read(call, account)
    check_places(after, wanted)
    return after
