"""A configuration file: the YAML form of the API's resources.

Decides: how a file becomes a `Configuration`, and where in it a mistake is. Resources are written as in
proto JSON (`time_zone` or `timeZone`, "86400s", "2026-03-29T10:00:00Z"), each with an `id` or a `name`;
where another resource is named, its id will do.
Never: whether a resource is valid; the services of the API say so when it is applied.
"""

from __future__ import annotations

import difflib
import re
from typing import Any, Final

from google.protobuf import json_format
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message_factory import GetMessageClass

from afterword.v1 import simulation_service_pb2
from control.simulation.kinds import CONFIGURATION, KINDS
from control.simulation.yaml_tree import Path, Tree, parse
from core.errors import AfterwordError, InvalidField

Configuration = simulation_service_pb2.Configuration

_KINDS: Final = {kind.field: kind for kind in KINDS}
_NAMED: Final = {
    "activations": {"rule": "rules", "channel": "channels"},
    "consents": {"channel": "channels"},
}
"""Fields of entries without a name of their own that name resources -> their collection."""
_STEP = re.compile(r"([A-Za-z_]\w*)|\[(\d+)\]")


class ConfigFile:
    """One file, read.

    Attributes:
        configuration: what it says, with full names everywhere.
        account: whose it is.
    """

    def __init__(self, source: str, tree: Tree, account: str) -> None:
        """Read a parsed file.

        Args:
            source: the file's name, for messages.
            account: if the file names none.

        Raises:
            InvalidField: something in it has no place in a configuration.
        """
        self._source = source
        self._tree = tree
        data = tree.data
        if not isinstance(data, dict):
            self._fail((), f"a configuration is a mapping of {_listed(CONFIGURATION)}")
        given = data.get("account")
        if given is not None and not isinstance(given, str):
            self._fail(("account",), "the id of an account is a text")
        self.account: str = given or account
        self._check(data, CONFIGURATION, ())
        fields: dict[str, Any] = {}
        for key, value in data.items():
            name = _field(CONFIGURATION, key).name
            if name in fields:
                self._fail((key,), f"{name} is there in both spellings")
            fields[name] = value
        self.configuration = Configuration(account=self.account)
        for name, entries in fields.items():
            if entries is None or name == "account":
                continue
            if isinstance(entries, list):
                self._take(name, entries)
            else:
                json_format.ParseDict(entries, getattr(self.configuration, name))

    @classmethod
    def read(cls, source: str, text: bytes, account: str) -> ConfigFile:
        """Read the text of a file.

        Raises:
            InvalidField, LimitExceeded: naming the file, the line and the place.
        """
        try:
            tree = parse(text)
        except AfterwordError as error:
            raise type(error)(f"{source}: {error.message}") from None
        return cls(source, tree, account)

    def blame(self, error: AfterwordError) -> AfterwordError:
        """Return an error of applying the configuration with file and line.

        Args:
            error: its `field` is a path from the configuration down: "rules[0].steps[1].wait".
        """
        path = self._path(error.field)
        if not path:
            return type(error)(f"{self._source}: {error.message}", reason=error.reason)
        line = self._tree.line(path)
        return type(error)(f"{self._source}:{line}: {error.message}", reason=error.reason)

    # Reading ----------------------------------------------------------------------------------

    def _take(self, name: str, entries: list[dict[str, Any]]) -> None:
        target = getattr(self.configuration, name)
        for index, entry in enumerate(entries):
            place: Path = (self._key((), name), index)
            named = self._named(name, entry, place)
            try:
                json_format.ParseDict(named, target.add())
            except json_format.ParseError as error:
                self._fail(place, _plain(error))
        if name in _KINDS:
            self._refuse_twins(name, [resource.name for resource in target])

    def _named(self, name: str, entry: dict[str, Any], place: Path) -> dict[str, Any]:
        """Return an entry with full names."""
        named = dict(entry)
        for field, collection in _NAMED.get(name, {}).items():
            text = named.get(field)
            if isinstance(text, str) and text and "/" not in text:
                named[field] = f"accounts/{self.account}/{collection}/{text}"
        kind = _KINDS.get(name)
        if kind is None:
            return named
        resource_id, full = named.pop("id", None), named.get("name")
        if (resource_id is None) == (full is None):
            self._fail(place, "a resource has either an `id` or a `name`")
        for text in (resource_id, full):
            if text is not None and (not isinstance(text, str) or not text):
                self._fail(place, "the `id` or `name` of a resource is a text")
        if full is None or "/" not in full:
            named["name"] = kind.name_of(self.account, str(resource_id or full))
        elif full.rpartition("/")[0] != kind.name_of(self.account, "").rstrip("/"):
            self._fail(place, f"the name reads {kind.name_of(self.account, '<id>')}")
        return named

    def _refuse_twins(self, name: str, names: list[str]) -> None:
        seen: dict[str, int] = {}
        for index, one in enumerate(names):
            if one in seen:
                self._fail((self._key((), name), index), f"{one} is there twice")
            seen[one] = index

    # Checking ---------------------------------------------------------------------------------

    def _check(self, data: dict[str, Any], message: Descriptor, path: Path) -> None:
        """Refuse keys that are no fields, and values that do not fit theirs."""
        has_id = len(path) == 2 and self._kind_of(path) is not None
        for key, value in data.items():
            if has_id and key == "id":
                continue
            here = (*path, key)
            field = _field(message, key)
            if field is None:
                near = difflib.get_close_matches(key, [f.name for f in message.fields], 1)
                known = f"{'id, ' if has_id else ''}{_listed(message)}"
                hint = f"did you mean {near[0]!r}?" if near else f"there are {known}"
                self._fail(here, f"{key!r} is no field here; {hint}")
            if value is None:
                continue
            if _is_nested(field):
                self._check_nested(value, field, here)
            else:
                self._check_value(value, field, message, here)

    def _check_nested(self, value: Any, field: FieldDescriptor, path: Path) -> None:
        assert field.message_type is not None, "only messages are nested"
        if not field.is_repeated:
            if not isinstance(value, dict):
                self._fail(path, f"this is a mapping of {_listed(field.message_type)}")
            return self._check(value, field.message_type, path)
        if not isinstance(value, list):
            self._fail(path, "this is a list: begin each entry with a hyphen")
        for index, one in enumerate(value):
            if not isinstance(one, dict):
                self._fail((*path, index), f"this is a mapping of {_listed(field.message_type)}")
            self._check(one, field.message_type, (*path, index))
        return None

    def _check_value(
        self, value: Any, field: FieldDescriptor, message: Descriptor, path: Path
    ) -> None:
        try:
            json_format.ParseDict({field.name: value}, GetMessageClass(message)())
        except json_format.ParseError as error:
            right = ""
            if field.enum_type is not None:
                right = f"; it is one of {', '.join(v.name for v in field.enum_type.values)}"
            self._fail(path, f"{_plain(error)}{right}")

    # Places -----------------------------------------------------------------------------------

    def _kind_of(self, path: Path) -> object:
        field = _field(CONFIGURATION, str(path[0]))
        return None if field is None else _KINDS.get(field.name)

    def _fail(self, path: Path, text: str) -> Any:
        place = _written(path)
        where = f"{self._source}:{self._tree.line(path)}"
        raise InvalidField(
            f"{where}: {place}: {text}" if place else f"{where}: {text}", field=place
        )

    def _key(self, path: Path, field: str) -> str:
        """Return how the file writes a field below a path."""
        camel = re.sub(r"_(\w)", lambda match: match.group(1).upper(), field)
        return camel if (*path, camel) in self._tree.lines else field

    def _path(self, field: str) -> Path:
        """Return where the file says what an error's field path means."""
        path: Path = ()
        for match in _STEP.finditer(field):
            word, index = match.groups()
            path = (*path, self._key(path, word) if word else int(index))
        return path


def _field(message: Descriptor, key: str) -> Any:
    """Return the field that a key means, None if there is none."""
    return message.fields_by_name.get(key) or message.fields_by_camelcase_name.get(key)


def _is_nested(field: FieldDescriptor) -> bool:
    """Return whether a value is one or more messages that JSON writes as mappings of fields."""
    inner = field.message_type
    return (
        inner is not None
        and not inner.full_name.startswith("google.protobuf.")
        and not inner.GetOptions().map_entry
    )


def _listed(message: Descriptor) -> str:
    return ", ".join(field.name for field in message.fields)


def _written(path: Path) -> str:
    """Return a path as people write it: rules[0].steps[1].wait."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text


def _plain(error: json_format.ParseError) -> str:
    """Return what the JSON parser says, without the way to it, which is in our own words already."""
    text = str(error).rstrip(".")
    text = re.sub(r"^(?:Failed to parse \w+ field: )+", "", text)
    return re.sub(r" at [\w.\[\]\"]+$", "", text)
