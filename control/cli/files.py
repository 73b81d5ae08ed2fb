"""Resources in files: proto JSON, written as JSON or as YAML."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TypeVar

from google.protobuf import json_format
from google.protobuf.message import Message

from control.cli.values import UsageError
from core.errors import AfterwordError

MessageT = TypeVar("MessageT", bound=Message)

FILE_HELP = "in proto JSON, written as JSON or YAML; '-' for standard input"


def read_message(path: str, message: MessageT) -> MessageT:
    """Return the message with what a file holds, "-" for standard input."""
    # Imported late: only who gives a file waits for it.
    from control.simulation import yaml_tree

    try:
        text = sys.stdin.read() if path == "-" else Path(path).read_text(encoding="utf-8")
        # JSON is YAML but for its tabs, and its own parser tells its mistakes better.
        is_json = text.lstrip().startswith("{")
        data = json.loads(text) if is_json else yaml_tree.parse(text.encode()).data
        if not isinstance(data, dict):
            raise UsageError(f"--file: {path}: it must be a mapping of fields")
        return json_format.ParseDict(data, message)
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"--file: {error}") from None
    except (json.JSONDecodeError, json_format.ParseError, AfterwordError) as error:
        raise UsageError(f"--file: {path}: {error}") from None


def changed_fields(before: Message, after: Message) -> list[str]:
    """Return the top-level fields in which two messages of one type differ."""
    return [
        field.name
        for field in before.DESCRIPTOR.fields
        if _without_others(before, field.name) != _without_others(after, field.name)
    ]


def replace_fields(message: Message, source: Message) -> None:
    """Overwrite every field that is set in `source`; repeated ones too, instead of appending."""
    for field, _ in source.ListFields():
        message.ClearField(field.name)
    message.MergeFrom(source)


def _without_others(message: Message, field: str) -> Message:
    copy = type(message)()
    copy.CopyFrom(message)
    for other in message.DESCRIPTOR.fields:
        if other.name != field:
            copy.ClearField(other.name)
    return copy
