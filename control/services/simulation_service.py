"""SimulationService: see simulation_service.proto for the contract.

A simulation runs in a thread with a loop of its own, on a world of its own: all it reads of the daemon
is one snapshot of the registry. One runs at a time, and a few may wait: each costs a whole processor.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from typing import Any, Final

import grpc

from afterword.v1 import event_service_pb2, invitation_service_pb2, simulation_service_pb2_grpc
from afterword.v1 import simulation_service_pb2 as pb2
from control import error_table
from control.conversion import checks, names, times
from control.services.updates import caller
from control.simulation import current, outcomes, running
from control.simulation.outcomes import Line
from control.simulation.simulator import Cancelled, Result
from core.errors import AfterwordError, InvalidField, LimitExceeded
from core.model import Disposition, Medium, Reason, State
from core.registry.registry import Registry

Context = grpc.aio.ServicerContext[Any, Any]

EVENTS_MAX: Final = 10_000
WAITING_MAX: Final = 4
OUTCOMES_IN_PART: Final = 500
"""About 200 kB."""
REFUSED_MAX: Final = 100


class SimulationService(simulation_service_pb2_grpc.SimulationServiceServicer):
    """Simulates."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._turn = asyncio.Lock()
        self._waiting = 0

    async def Simulate(
        self, request: pb2.SimulateRequest, context: Context
    ) -> AsyncIterator[pb2.SimulateResponse]:
        """Simulate, and tell the outcomes in parts."""
        checks.refuse_unknown_deeply(request)
        account = caller().account
        names.parent_account(request.parent, account)
        if len(request.events) > EVENTS_MAX:
            raise LimitExceeded(
                f"events has {len(request.events):,} entries and may have {EVENTS_MAX:,}; "
                "`afterword simulate` has no such bound",
                field="events",
            )
        configuration = self._configuration(request, account)
        until_ms = times.optional_instant_ms(request, "until_time", "request") or None
        result = await self._simulated(configuration, request, until_ms)
        lines = result.lines
        for at in range(0, len(lines), OUTCOMES_IN_PART):
            part = [_outcome(line, account) for line in lines[at : at + OUTCOMES_IN_PART]]
            yield pb2.SimulateResponse(outcomes=part)
        yield pb2.SimulateResponse(summary=_summary(result))

    def _configuration(self, request: pb2.SimulateRequest, account: str) -> pb2.Configuration:
        configuration = pb2.Configuration()
        configuration.CopyFrom(request.configuration)
        if configuration.account not in ("", account):
            raise InvalidField(
                f'configuration.account must be "{account}" or empty',
                field="configuration.account",
            )
        if request.use_current_configuration:
            told = {field.name for field, _ in configuration.ListFields()}
            if told - {"account", "consents"}:
                raise InvalidField(
                    "with use_current_configuration only configuration.consents may be set",
                    field="configuration",
                )
            configuration.MergeFrom(current.configuration_of(self._registry.snapshot, account))
        configuration.account = account
        return configuration

    async def _simulated(
        self, configuration: pb2.Configuration, request: pb2.SimulateRequest, until_ms: int | None
    ) -> Result:
        """Wait for a turn, then run in a thread."""
        if self._waiting >= WAITING_MAX:
            raise LimitExceeded("other simulations wait for their turn already; call again soon")
        self._waiting += 1
        try:
            await self._turn.acquire()
        finally:
            self._waiting -= 1
        is_left = threading.Event()
        work = asyncio.create_task(
            asyncio.to_thread(running.run, configuration, request.events, until_ms, is_left.is_set)
        )
        # The turn ends with the thread, not with the call that began it.
        work.add_done_callback(self._ended)
        try:
            return await asyncio.shield(work)
        except asyncio.CancelledError:
            is_left.set()
            raise
        except AfterwordError as error:
            field = f"configuration.{error.field}" if error.field else ""
            raise type(error)(error.message, field=field, reason=error.reason) from None

    def _ended(self, work: asyncio.Task[Result]) -> None:
        self._turn.release()
        error = None if work.cancelled() else work.exception()
        if error is not None and not isinstance(error, (AfterwordError, Cancelled)):
            error_table.log_unexpected(error, "a simulation")


def _outcome(line: Line, account: str) -> pb2.SimulatedOutcome:
    of_account = f"accounts/{account}"
    pb = pb2.SimulatedOutcome(
        invitation=f"{of_account}/invitations/{line.invitation}",
        rule=f"{of_account}/rules/{line.rule}",
        step=line.step,
        channel=f"{of_account}/channels/{line.channel}",
        contact=f"{of_account}/contacts/{line.contact}",
        medium=Medium[line.medium].value,  # type: ignore[arg-type]
        state=State[line.state].value,  # type: ignore[arg-type]
        reason=_reason(line.reason),
        platform=line.platform,
    )
    pb.planned_time.FromJsonString(line.planned_time)
    if line.settle_time is not None:
        pb.settle_time.FromJsonString(line.settle_time)
    if isinstance(line.due_time, str):
        pb.due_time.FromJsonString(line.due_time)
    return pb


def _reason(word: str) -> invitation_service_pb2.Invitation.Reason.ValueType:
    return invitation_service_pb2.Invitation.Reason.ValueType(Reason[word] if word else 0)


def _summary(result: Result) -> pb2.SimulationSummary:
    summary = pb2.SimulationSummary(
        event_count=result.event_count,
        late_event_count=result.late_event_count,
        refused_count=len(result.refusals),
        end_time=times.timestamp(result.end_ms),
    )
    for word, count in result.dispositions.items():
        disposition = event_service_pb2.EventResult.Disposition.ValueType(Disposition[word])
        summary.dispositions.add(disposition=disposition, count=count)
    for (state, reason), count in outcomes.counted(result.lines).items():
        summary.outcomes.add(
            state=invitation_service_pb2.Invitation.State.ValueType(State[state]),
            reason=_reason(reason),
            count=count,
        )
    for refusal in result.refusals[:REFUSED_MAX]:
        status = error_table.status_of(error_table.public(refusal.error))
        summary.refused.add(index=refusal.index, status=status)
    return summary
