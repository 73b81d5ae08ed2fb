"""`afterword audit`: who changed what, with what is different since."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from typing import Any, Final

from afterword.v1 import audit_service_pb2 as api
from afterword.v1 import rule_service_pb2, types_pb2
from control.cli.output import print_json, time_text
from control.cli.parsers import SubParsers, add_verb
from control.cli.session import PAGE_SIZE, Session
from control.cli.values import INSTANT_HELP, EnumType, UsageError, instant, word

_KEPT_BY_THE_DAEMON: Final = frozenset({
    "account", "changed_revision", "create_ms", "id", "number", "update_ms",
})  # fmt: skip
"""Fields that nobody asked to change: they follow from the change."""

_NOTHING: Final = object()
_WORDS: Final[dict[str, tuple[EnumType[Any], str]]] = {
    "state": (rule_service_pb2.Activation.State, "STATE_"),
    "stopped_from": (rule_service_pb2.Activation.State, "STATE_"),
    "family": (rule_service_pb2.Rule.Family, "FAMILY_"),
    "purpose": (types_pb2.Purpose, "PURPOSE_"),
    "purposes": (types_pb2.Purpose, "PURPOSE_"),
    "medium": (types_pb2.Medium, "MEDIUM_"),
    "media": (types_pb2.Medium, "MEDIUM_"),
    "entitlements": (types_pb2.Entitlement, "ENTITLEMENT_"),
}
"""Field -> the enumeration of the API that its numbers are of, and the prefix of its names."""
LIMIT_DEFAULT: Final = 50


def add_parser(nouns: SubParsers) -> None:
    """Add the command."""
    audit = add_verb(
        nouns,
        "audit",
        run_audit,
        "tell who changed rules, channels, caps and the rest, newest first",
        "audit --resource rules/ask --since now-7d",
    )
    audit.add_argument(
        "--resource",
        metavar="NAME",
        default="",
        help="only what begins so: rules, channels/madrid, contacts",
    )
    audit.add_argument(
        "--actor", metavar="NAME", default="", help="only changes by this credential"
    )
    audit.add_argument("--since", type=instant, metavar="INSTANT", help=INSTANT_HELP)
    audit.add_argument("--until", type=instant, metavar="INSTANT", help="before this")
    audit.add_argument(
        "--limit",
        type=int,
        default=LIMIT_DEFAULT,
        metavar="N",
        help=f"show at most so many ({LIMIT_DEFAULT})",
    )


def run_audit(session: Session, options: argparse.Namespace) -> None:
    """Print changes, newest first."""
    if options.limit < 1:
        raise UsageError("--limit must be at least 1")
    prefix = options.resource
    if prefix and not prefix.startswith("accounts/"):
        prefix = f"{session.parent}/{prefix}"
    whole = api.ListAuditEntriesResponse()
    while len(whole.entries) < options.limit:
        page = session.call(
            session.audit.ListAuditEntries,
            api.ListAuditEntriesRequest(
                parent=session.parent,
                resource_prefix=prefix,
                actor=options.actor,
                start_time=options.since,
                end_time=options.until,
                page_size=min(PAGE_SIZE, options.limit - len(whole.entries)),
                page_token=whole.next_page_token,
            ),
        )
        whole.entries.extend(page.entries)
        whole.next_page_token = page.next_page_token
        if not page.next_page_token:
            break
    if options.json:
        return print_json(whole)
    for entry in whole.entries:
        _show(entry)
    if whole.next_page_token:
        print(f"there is more; the newest {len(whole.entries)} are shown: --limit shows more")


def _show(entry: api.AuditEntry) -> None:
    who = entry.actor or "the daemon"
    told = entry.resource.split("/", 2)[2] if entry.resource.count("/") > 1 else entry.resource
    revision = f"  (revision {entry.revision})" if entry.revision else ""
    print(f"{time_text(entry.change_time)}  {who}  {entry.method}  {told}{revision}")
    for line in difference(entry.before_json, entry.after_json):
        print(f"    {line}")


def difference(before_json: str, after_json: str) -> list[str]:
    """Return a line for each field that differs between two documents, by its path."""
    before, after = _fields(before_json), _fields(after_json)
    lines = []
    if before_json and not after_json:
        return ["removed"]
    for path in dict.fromkeys((*before, *after)):
        old, new = before.get(path, _NOTHING), after.get(path, _NOTHING)
        if old == new or (_is_empty(old) and _is_empty(new)):
            continue
        if old is _NOTHING:
            lines.append(f"+ {path}: {_value(path, new)}")
        elif new is _NOTHING:
            lines.append(f"- {path}: {_value(path, old)}")
        else:
            lines.append(f"  {path}: {_value(path, old)} -> {_value(path, new)}")
    return lines


def _fields(document: str) -> dict[str, Any]:
    return dict(_leaves(json.loads(document), "")) if document else {}


def _leaves(value: Any, path: str) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        for key, each in value.items():
            if path or key not in _KEPT_BY_THE_DAEMON:
                yield from _leaves(each, f"{path}.{key}" if path else key)
    elif isinstance(value, list):
        for index, each in enumerate(value):
            yield from _leaves(each, f"{path}[{index}]")
    else:
        yield path, value


def _is_empty(value: Any) -> bool:
    """Return whether a value says no more than a field that is not there."""
    return value is _NOTHING or value is None or value is False or value == ""


def _value(path: str, value: Any) -> str:
    """Return a value as people write it: documents have the numbers of the API for its words."""
    field = path.rpartition(".")[2].partition("[")[0]
    words = _WORDS.get(field)
    if words is not None and isinstance(value, int) and value:
        return word(*words, value)
    return json.dumps(value, ensure_ascii=False)
