"""From events on the wire to answers on the wire, whichever method they came by."""

from __future__ import annotations

from collections.abc import Sequence

from afterword.v1 import event_pb2
from afterword.v1 import event_service_pb2 as pb2
from control import error_table
from control.conversion import names
from control.conversion.events import event_from_proto
from core import bounds
from core.clock import Clock
from core.engine.accept import Acceptor, EventAnswer
from core.errors import AfterwordError, InvalidField, OutOfRange
from core.model import Disposition, Event
from core.stats import Stats


class Publisher:
    """Takes batches of events. A bad event is answered for itself and does not harm the others."""

    def __init__(self, acceptor: Acceptor, clock: Clock, stats: Stats) -> None:
        self._acceptor = acceptor
        self._clock = clock
        self._stats = stats

    async def publish(
        self,
        account: str,
        batch: Sequence[event_pb2.Event],
        *,
        validate_only: bool = False,
        is_import: bool = False,
    ) -> list[EventAnswer]:
        """Return one answer for each event, in order.

        Args:
            is_import: it happened before Afterword came: it is recorded, and nothing follows.

        Raises:
            StoreUnavailable: publish the same events again.
        """
        now_ms = self._clock.now_ms()
        answers: list[EventAnswer | None] = []
        events: list[Event] = []
        for pb in batch:
            try:
                events.append(event_from_proto(pb, now_ms))
                answers.append(None)
            except AfterwordError as error:
                answers.append(EventAnswer(error=error))
            except Exception as error:
                # A bug must cost the event that met it, not its whole batch.
                error_table.log_unexpected(error, "reading an event")
                answers.append(EventAnswer(error=error_table.public(error)))
        if not validate_only:
            refused = len(batch) - len(events)
            self._stats.events_received += refused
            self._stats.events_refused += refused
        accepted = iter(
            await self._acceptor.accept(
                account, events, validate_only=validate_only, is_import=is_import
            )
            if events
            else ()
        )
        return [next(accepted) if answer is None else answer for answer in answers]


def check_size(count: int, field: str) -> None:
    """Refuse a batch that is empty or too large, whole."""
    if not count:
        raise InvalidField(
            f"{field} must have 1 to {bounds.EVENT_BATCH_MAX:,} events",
            field=field,
            reason="FIELD_REQUIRED",
        )
    if count > bounds.EVENT_BATCH_MAX:
        raise OutOfRange(
            f"{field} has {count:,} events and may have {bounds.EVENT_BATCH_MAX:,}; nothing was done",
            field=field,
        )


def result(account: str, index: int, answer: EventAnswer) -> pb2.EventResult:
    """Return what became of one event, for the client."""
    error = answer.error
    if error is not None:
        return pb2.EventResult(index=index, status=error_table.status_of(error_table.public(error)))
    disposition = answer.disposition
    if disposition == Disposition.REFUSED:
        disposition = Disposition.UNSPECIFIED
    return pb2.EventResult(
        index=index,
        disposition=pb2.EventResult.Disposition.ValueType(disposition),
        invitations=[names.invitation_name(account, member) for member in answer.members],
        contact=names.contact_name(account, answer.contact_key),
        stopped_count=answer.stopped_count,
    )
