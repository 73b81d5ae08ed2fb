"""A contact's consents and suppressions as they stand: the table with the log's evidence beside it.

Decides: how entries and lines become views. Values only.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from core.antispam.consent import GIVEN, is_suppression, rank
from core.contact_ports import LoggedLine
from core.engine.consent_documents import ConsentDocument, unpacked
from core.model import ConsentScope, ConsentStatus
from core.records import ConsentEntry
from core.registry.resources import Channel

Place = tuple[int, int, int, bytes]
"""(scope, purpose, medium, scope key)."""


class ConsentView(msgspec.Struct):
    """One consent as it stands: entries and evidence together. Times epoch ms, 0 for never."""

    contact_key: bytes
    scope: int
    scope_key: bytes
    channel_name: str
    """Full name for CHANNEL scope, else ""."""
    purpose: int
    medium: int
    status: int
    evidence_ms: int = 0
    expire_ms: int = 0
    is_expired: bool = False
    withdraw_ms: int = 0
    proof: ConsentDocument | None = None
    withdrawal: ConsentDocument | None = None


class SuppressionView(msgspec.Struct):
    """One suppression. Purpose and medium 0: all."""

    contact_key: bytes
    scope: int
    scope_key: bytes
    channel_name: str
    purpose: int
    medium: int
    kind: int
    time_ms: int
    proof: ConsentDocument | None = None


class Said:
    """What the log says of each entry: the newest line that wrote it.

    Args:
        log: all of it, or its newest part, oldest first.
    """

    def __init__(self, log: Sequence[LoggedLine] = ()) -> None:
        self._documents: dict[tuple[object, ...], bytes] = {}
        self.add_older(log)

    def add_older(self, log: Sequence[LoggedLine]) -> None:
        """Add the part of the log before what is here, oldest first."""
        for line in reversed(log):
            key = (line.scope, line.purpose, line.medium, line.scope_key, line.status, line.time_ms)
            self._documents.setdefault(key, line.document)

    def knows(self, entry: ConsentEntry) -> bool:
        """Return whether the line of an entry is here."""
        return (*place_of(entry), entry.status, entry.time_ms) in self._documents

    def of(self, entry: ConsentEntry) -> ConsentDocument | None:
        """Return the evidence of an entry, None if none is kept."""
        key = (*place_of(entry), entry.status, entry.time_ms)
        return unpacked(self._documents.get(key, b""))


def place_of(entry: ConsentEntry) -> Place:
    """Return what an entry speaks about."""
    return entry.scope, entry.purpose, entry.medium, entry.scope_key


def channel_name_of(scope: int, scope_key: bytes, channels: Mapping[int, Channel]) -> str:
    """Return the full name of the channel that an entry covers, "" for none or one that is gone."""
    if scope != ConsentScope.CHANNEL:
        return ""
    channel = channels.get(int.from_bytes(scope_key, "little"))
    return channel.name if channel is not None else ""


def consents(
    contact_key: bytes, entries: Sequence[ConsentEntry], said: Said,
    channels: Mapping[int, Channel], now_ms: int,
) -> list[ConsentView]:  # fmt: skip
    """Return the consents in a table, by scope, purpose and medium."""
    views: dict[Place, ConsentView] = {}
    shown: dict[Place, ConsentEntry] = {}
    for entry in entries:
        if is_suppression(entry.status):
            continue
        place = place_of(entry)
        view = views.get(place)
        if view is None:
            view = views[place] = ConsentView(
                contact_key, entry.scope, entry.scope_key,
                channel_name_of(entry.scope, entry.scope_key, channels), entry.purpose,
                entry.medium, ConsentStatus.UNSPECIFIED,
            )  # fmt: skip
        if entry.status == ConsentStatus.WITHDRAWN:
            view.withdraw_ms, view.withdrawal = entry.time_ms, said.of(entry)
        elif place not in shown or _is_rather_shown(entry, shown[place], now_ms):
            shown[place] = entry
            view.status, view.evidence_ms = entry.status, entry.time_ms
            view.expire_ms, view.proof = entry.expire_ms, said.of(entry)
            view.is_expired = 0 < entry.expire_ms <= now_ms
    for view in views.values():
        # A withdrawal beats evidence that is older or of the same millisecond (R17), and assumptions.
        is_assumed = view.status == ConsentStatus.ASSUMED
        if view.withdraw_ms and (is_assumed or view.withdraw_ms >= view.evidence_ms):
            view.status, view.is_expired = ConsentStatus.WITHDRAWN, False
    return [views[place] for place in sorted(views)]


def _is_rather_shown(entry: ConsentEntry, shown: ConsentEntry, now_ms: int) -> bool:
    """Return whether this evidence of a place is shown rather than that: the one that counts, or else
    the newest. A question is shown until it runs out, unless the answer is a consent."""
    is_good, was_good = (not 0 < one.expire_ms <= now_ms for one in (entry, shown))
    if is_good != was_good:
        return is_good
    for one, other, answer in ((entry, shown, False), (shown, entry, True)):
        if one.status == ConsentStatus.PENDING and other.status in GIVEN:
            return answer
    return rank(entry) > rank(shown)


def suppressions(
    contact_key: bytes, entries: Sequence[ConsentEntry], said: Said, channels: Mapping[int, Channel]
) -> list[SuppressionView]:
    """Return the suppressions in a table, by scope, purpose, medium and kind."""
    found = [
        SuppressionView(
            contact_key, entry.scope, entry.scope_key,
            channel_name_of(entry.scope, entry.scope_key, channels), entry.purpose, entry.medium,
            entry.status, entry.time_ms, said.of(entry),
        )
        for entry in entries
        if is_suppression(entry.status)
    ]  # fmt: skip
    return sorted(found, key=lambda v: (v.scope, v.scope_key, v.purpose, v.medium, v.kind))
