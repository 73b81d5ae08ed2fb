"""The predefined automations: rules ready to be taken, with what may be changed about them.

They are data (D3): one file for each, the JSON form of `afterword.v1.Automation`, written in YAML or
JSON; the name of the file is the id. Those that Afterword ships lie in `data/`; an operator may add
a folder of further ones (`automations.dir`), which needs no release.

Decides: that what is offered would be taken as a rule, values of parameters included, before the
daemon serves; and what is in the rule that somebody makes from it.
Never: whether its event types exist, or whether it may be active; as with every rule.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

from google.protobuf import json_format

from afterword.v1 import rule_service_pb2 as pb2
from control.automations import paths
from control.conversion import checks
from control.conversion.frame import Conditions, OwnTemplates, no_templates
from control.conversion.rules import automation_name, rule_from_proto
from control.simulation import yaml_tree
from core import bounds
from core.errors import AfterwordError, InvalidField
from core.registry.resources import Rule

SHIPPED: Final = Path(__file__).with_name("data")
SETTING: Final = "automations.dir"
SUFFIXES: Final = frozenset({".yaml", ".yml", ".json"})
FILES_MAX: Final = 1_000
FILE_BYTES_MAX: Final = 256 * 1024
PARAMETERS_MAX: Final = 64


class Automations:
    """The automations on offer. Values only: what it hands out must not be changed."""

    def __init__(self, found: Iterable[pb2.Automation], conditions: Conditions) -> None:
        """Use `Automations.load`."""
        self._conditions = conditions
        self._by_id = {_id(each): each for each in found}

    @classmethod
    def load(cls, folder: str, conditions: Conditions) -> Automations:
        """Return those that are shipped, and those of a folder; "" for none.

        Raises:
            InvalidField: the folder or a file of it cannot be taken; names the file and the field.
        """
        found: dict[str, pb2.Automation] = {}
        for place in (SHIPPED, Path(folder)) if folder else (SHIPPED,):
            for path in _files(place):
                automation = _read(path, conditions)
                if automation.name in found:
                    raise _wrong(path, f"{automation.name} is there already; rename the file")
                found[automation.name] = automation
        return cls(found.values(), conditions)

    def get(self, automation_id: str) -> pb2.Automation | None:
        """Return an automation."""
        return self._by_id.get(automation_id)

    def listed(self, category: int = 0) -> list[pb2.Automation]:
        """Return all, or those of a category, by category and id."""
        found = [each for each in self._by_id.values() if category in (0, each.category)]
        return sorted(found, key=place)

    def rule(
        self,
        automation: pb2.Automation,
        values: Mapping[str, str],
        display_name: str,
        account: str,
        rule_id: str,
        own: OwnTemplates = no_templates,
    ) -> Rule:
        """Return the rule that an automation makes.

        Args:
            values: parameter -> what it is to be instead of its default.
            display_name: "" for that of the automation.
            own: the shop's own templates; they may be named as in any rule.

        Raises:
            AfterwordError: as for a rule; the field of a value is "parameters[wait]".
        """
        pb = pb2.Rule()
        pb.CopyFrom(automation.rule)
        pb.display_name = display_name or pb.display_name
        known = {parameter.id: parameter.path for parameter in automation.parameters}
        for name, value in values.items():
            if name not in known:
                raise InvalidField(
                    f"parameters has no {name[:80]!r}; {automation.name} has: {', '.join(known)}",
                    field=f"parameters[{name[:80]}]",
                )
            paths.write(pb, known[name], value, f"parameters[{name}]")
        try:
            return rule_from_proto(
                pb, account, rule_id, self._conditions, automation=_id(automation), own=own
            )
        except AfterwordError as error:
            raise _named_by_parameter(error, known) from None


def place(automation: pb2.Automation) -> str:
    """Return what automations are listed by."""
    return f"{automation.category} {automation.name}"


def _named_by_parameter(error: AfterwordError, known: Mapping[str, str]) -> AfterwordError:
    """Return the error with the parameter in place of the field that it leads to."""
    for name, path in known.items():
        if error.field == f"rule.{path}":
            field = f"parameters[{name}]"
            message = error.message.replace(error.field, field)
            return type(error)(message, field=field, reason=error.reason)
    return error


def _id(automation: pb2.Automation) -> str:
    return automation.name.rpartition("/")[2]


# --- files --------------------------------------------------------------------------------------


def _wrong(path: Path, text: str) -> InvalidField:
    return InvalidField(f"{path}: {text}", field=SETTING)


def _files(folder: Path) -> list[Path]:
    try:
        found = sorted(path for path in folder.iterdir() if path.suffix in SUFFIXES)
    except OSError as error:
        raise _wrong(folder, f"cannot read the folder: {error.strerror}") from None
    if len(found) > FILES_MAX:
        raise _wrong(folder, f"has {len(found):,} automations; at most {FILES_MAX:,} are taken")
    return found


def _read(path: Path, conditions: Conditions) -> pb2.Automation:
    """Return the automation in a file, checked, with its defaults in its rule."""
    try:
        with path.open("rb") as file:
            text = file.read(FILE_BYTES_MAX + 1)
    except OSError as error:
        raise _wrong(path, f"cannot read it: {error.strerror}") from None
    if len(text) > FILE_BYTES_MAX:
        raise _wrong(path, f"has more than {FILE_BYTES_MAX:,} bytes")
    try:
        data = yaml_tree.parse(text).data
        if not isinstance(data, dict):
            raise InvalidField("must be a mapping: the JSON form of afterword.v1.Automation")
        automation = json_format.ParseDict(data, pb2.Automation())
        _check(automation, path.stem)
        for index, parameter in enumerate(automation.parameters):
            field = f"parameters[{index}].default_value"
            paths.write(automation.rule, parameter.path, parameter.default_value, field)
        rule_from_proto(automation.rule, "shipped", "shipped", conditions)
    except json_format.ParseError as error:
        raise _wrong(path, str(error)) from None
    except AfterwordError as error:
        told = error.message if error.field in error.message else f"{error.field}: {error.message}"
        raise _wrong(path, told) from None
    return automation


def _check(automation: pb2.Automation, stem: str) -> None:
    """Check all but the rule, and name what the file need not say."""
    checks.resource_id(stem, "name of the file")
    name = automation_name(stem)
    if automation.name not in ("", name):
        raise InvalidField(f"name must be {name!r}, as the file; or leave it out", field="name")
    automation.name = name
    automation.display_name = checks.text(
        automation.display_name, "display_name", bounds.NAME_CHARS_MAX, is_required=True
    )
    checks.text(automation.description, "description", bounds.TEXT_CHARS_MAX, is_required=True)
    checks.choice(automation.category, "category", pb2.Automation.Category, is_required=True)
    checks.count(len(automation.parameters), "parameters", PARAMETERS_MAX)
    known: set[str] = set()
    for index, parameter in enumerate(automation.parameters):
        field = f"parameters[{index}]"
        checks.resource_id(parameter.id, f"{field}.id")
        if parameter.id in known:
            raise InvalidField(
                f"{field}.id {parameter.id!r} is that of another parameter; each has its own",
                field=f"{field}.id",
            )
        known.add(parameter.id)
        checks.text(
            parameter.display_name, f"{field}.display_name", bounds.NAME_CHARS_MAX, is_required=True
        )
        if not parameter.path:
            checks.missing(f"{field}.path", "where it leads, for example steps[0].wait.elapsed")
    if not automation.HasField("rule"):
        checks.missing("rule", "the rule as it is made if nothing is changed")
    automation.rule.display_name = automation.rule.display_name or automation.display_name
