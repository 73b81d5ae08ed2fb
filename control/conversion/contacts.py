"""What is known of a contact, as clients see it.

Decides: what an answer to a person's request contains and in which order (GDPR, article 15): everything
that is kept, as it is kept; keys of orders and events as the hashes they are.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import msgspec
from google.protobuf.message import Message

from afterword.v1 import consent_service_pb2, event_service_pb2
from afterword.v1 import contact_service_pb2 as pb2
from control.conversion import consents, names, times
from control.conversion.invitations import invitation_to_proto
from control.conversion.stored_events import contact_to_proto, event_to_proto
from core.antispam.consent import is_suppression
from core.engine import consent_views
from core.engine.consent_views import Said
from core.engine.dossier import Dossier, Links
from core.engine.reader import InvitationView
from core.model import Event, State
from core.records import HistoryKind, unpack48
from core.registry.documents import cap_name, rule_name
from core.registry.rule_events import SHARED_ORDER
from core.registry.snapshot import Snapshot
from core.timer_records import unpack_facts

NOTE_BYTES: Final = 17
PAGE_BYTES_MAX: Final = 1 << 20

Entry = tuple[str, Message]
"""A field of `ContactExport`, and one message more for it."""

_event = msgspec.msgpack.Decoder(Event)
_Export = pb2.ContactExport


class Told:
    """What can be told of a contact, under all its keys."""

    def __init__(
        self, account: str, snapshot: Snapshot, dossiers: Sequence[Dossier], links: Links,
        views: Mapping[bytes, InvitationView], now_ms: int,
    ) -> None:  # fmt: skip
        self._account = account
        self._snapshot = snapshot
        self._dossiers = dossiers
        self._links = links
        self._views = views
        self._now_ms = now_ms

    @property
    def name(self) -> str:
        """The contact's own name."""
        return names.contact_name(self._account, self._dossiers[0].contact_key)

    def summary(self) -> pb2.ContactSummary:
        """Return how much is known."""
        records = [dossier.record for dossier in self._dossiers]
        states = Counter(ref.state for record in records for ref in record.references)
        suppressions = [one for dossier in self._dossiers for one in self._suppressions(dossier)]
        pb = pb2.ContactSummary(
            name=self.name,
            linked_contacts=self._linked(),
            scheduled_count=states[State.SCHEDULED],
            in_flight_count=states[State.IN_FLIGHT],
            ended_count=sum(count for state, count in states.items() if state >= State.SENT),
            event_count=sum(len(record.events) for record in records),
            consent_count=sum(
                not is_suppression(entry.status) for record in records for entry in record.consents
            ),
            timer_count=sum(len(dossier.timers) for dossier in self._dossiers),
            purchase_count=sum(
                line.kind != HistoryKind.FIRED for record in records for line in record.history
            ),
            suppressed=bool(suppressions),
            suppressions=suppressions,
        )
        if self._dossiers[0].erase_ms:
            pb.erase_time.CopyFrom(times.timestamp(self._dossiers[0].erase_ms))
        return pb

    def page(self, after: int) -> tuple[pb2.ContactExport, int]:
        """Return a part of everything, from an entry on, and where the next begins, 0 for nowhere."""
        first = self._dossiers[0]
        pb = _Export(name=self.name, export_time=times.timestamp(self._now_ms))
        if not after:
            pb.linked_contacts.extend(self._linked())
            if first.erase_ms:
                pb.erase_time.CopyFrom(times.timestamp(first.erase_ms))
            if first.profile is not None:
                pb.profile.CopyFrom(contact_to_proto(first.profile))
        size = 0
        for number, (field, entry) in enumerate(self._entries()):
            if number < after:
                continue
            size += entry.ByteSize()
            if size > PAGE_BYTES_MAX and number > after:
                return pb, number
            getattr(pb, field).append(entry)
        return pb, 0

    def _linked(self) -> list[str]:
        return [
            names.contact_name(self._account, key) for key in self._links.own + self._links.shared
        ]

    # One list after the other -----------------------------------------------------------------------

    def _entries(self) -> Iterator[Entry]:
        for dossier in self._dossiers:
            contact = names.contact_name(self._account, dossier.contact_key)
            yield from self._consents(dossier, contact)
            yield from self._invitations(dossier)
            yield from self._events(dossier, contact)
            yield from self._timers(dossier, contact)
            yield from self._record(dossier, contact)

    def _consents(self, dossier: Dossier, contact: str) -> Iterator[Entry]:
        said, entries = Said(dossier.lines), dossier.record.consents
        channels = self._snapshot.channel_by_number
        key = dossier.contact_key
        for view in consent_views.consents(key, entries, said, channels, self._now_ms):
            yield "consents", consents.consent_to_proto(view, self._account)
        for one in self._suppressions(dossier):
            yield "suppressions", one
        for line in dossier.lines:
            channel = consent_views.channel_name_of(line.scope, line.scope_key, channels)
            told = consents.line_to_proto(line, channel, self._account)
            yield "consent_lines", _Export.LoggedLine(contact=contact, line=told)

    def _suppressions(self, dossier: Dossier) -> list[consent_service_pb2.Suppression]:
        channels, entries = self._snapshot.channel_by_number, dossier.record.consents
        said = Said(dossier.lines)
        return [
            consents.suppression_to_proto(one, self._account)
            for one in consent_views.suppressions(dossier.contact_key, entries, said, channels)
        ]

    def _invitations(self, dossier: Dossier) -> Iterator[Entry]:
        for one, detail in dossier.details():
            view = self._views.get(one.member)
            if view is None:
                continue
            subject, body = detail.content
            yield "invitations", _Export.SentOrPlanned(
                invitation=invitation_to_proto(view), address=detail.address,
                locale=detail.locale, subject=subject, body=body,
                cap_notes=self._notes(dossier.notes.get(one.member, b"")),
            )  # fmt: skip

    def _notes(self, raw: bytes) -> list[pb2.ContactExport.CapNote]:
        found = []
        for at in range(0, len(raw), NOTE_BYTES):
            until_ms = unpack48(raw[at + 6 : at + 12])
            note = _Export.CapNote(
                note_time=times.timestamp(unpack48(raw[at : at + 6])),
                cap=self._cap(raw[at + 12 : at + 16]),
            )
            if until_ms:
                note.until_time.CopyFrom(times.timestamp(until_ms))
            found.append(note)
        return found

    def _events(self, dossier: Dossier, contact: str) -> Iterator[Entry]:
        uses = _Export.KeptEvent
        kept: list[tuple[Any, bytes]] = [(uses.USE_INVITATION, body) for body in dossier.bodies()]
        kept += [(uses.USE_FACT, body) for _, _, body in unpack_facts(dossier.facts)]
        kept += [(uses.USE_TIMER, timer.body) for timer in dossier.timers]
        for use, body in kept:
            event = event_to_proto(_event.decode(body))
            yield "events", uses(contact=contact, use=use, event=event)

    def _timers(self, dossier: Dossier, contact: str) -> Iterator[Entry]:
        for timer in dossier.timers:
            rule = self._snapshot.rule_by_number(timer.rule_number)
            yield (
                "timers",
                _Export.Timer(
                    contact=contact,
                    rule=rule_name(self._account, rule.id) if rule is not None else "",
                    channel=self._channel(timer.channel_number),
                    due_time=times.timestamp(timer.due_ms),
                    event_time=times.timestamp(timer.time_ms),
                ),
            )

    def _record(self, dossier: Dossier, contact: str) -> Iterator[Entry]:
        record = dossier.record
        for line in record.history:
            is_fired = line.kind == HistoryKind.FIRED
            yield "purchases", _Export.Purchase(
                contact=contact, kind=_Export.Purchase.Kind.ValueType(line.kind),
                purchase_time=times.timestamp(line.time_ms),
                channel=self._channel(line.channel_number),
                order_hash="" if is_fired else line.key.hex(),
            )  # fmt: skip
        for end in (one for one in record.tombstones if one.event_type_number != SHARED_ORDER):
            yield (
                "ended_orders",
                _Export.EndedOrder(
                    contact=contact,
                    order_hash=end.order_key.hex(),
                    end_time=times.timestamp(end.time_ms),
                ),
            )
        for stamp in record.stamps:
            yield (
                "cap_stamps",
                _Export.CapStamp(
                    contact=contact,
                    cap=self._cap(stamp.ledger),
                    send_time=times.timestamp(stamp.time_ms),
                ),
            )
        for seen in record.events:
            yield "seen_events", _Export.SeenEvent(
                contact=contact, event_hash=seen.event_key.hex(),
                disposition=event_service_pb2.EventResult.Disposition.ValueType(seen.disposition),
                accept_time=times.timestamp(seen.time_ms),
            )  # fmt: skip

    def _cap(self, ledger: bytes) -> str:
        cap = self._snapshot.cap_by_ledger(ledger)
        return cap_name(self._account, cap.id) if cap is not None else ""

    def _channel(self, number: int) -> str:
        channel = self._snapshot.channel_by_number.get(number)
        return channel.name if channel is not None else ""
