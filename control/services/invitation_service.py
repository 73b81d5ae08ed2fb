"""InvitationService: see invitation_service.proto for the contract."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import grpc

from afterword.v1 import invitation_service_pb2 as pb2
from control.conversion import checks, consents, names, pages, times
from control.conversion.explanations import explanation_to_proto
from control.conversion.feedback import result_to_proto, told_from_proto
from control.conversion.invitations import invitation_to_proto, wish_from_proto
from control.services.dead_letter_methods import DeadLetterMethods
from control.services.updates import caller, operation
from core import bounds
from core.clock import Clock
from core.engine.dead_letters import DeadLetters
from core.engine.explain import Explainer
from core.engine.feedback import FeedbackBook, Outcome, Told
from core.engine.identity import Identity
from core.engine.manual import ByHand
from core.engine.reader import InvitationView, Reader
from core.engine.reinstate import SecondThoughts
from core.errors import AfterwordError, FailedPrecondition, OutOfRange
from core.model import Reason, State
from core.registry.registry import Registry

Context = grpc.aio.ServicerContext[Any, Any]

WAITING_AHEAD_MS = 30 * bounds.DAY_MS
"""How far a list of what waits looks ahead if it does not say."""


class InvitationService(DeadLetterMethods):
    """Reads, cancels, adds and explains invitations."""

    def __init__(
        self, reader: Reader, explainer: Explainer, by_hand: ByHand,
        second_thoughts: SecondThoughts, dead_letters: DeadLetters, registry: Registry,
        feedback: FeedbackBook, identity: Identity, clock: Clock,
    ) -> None:  # fmt: skip
        self._reader = reader
        self._by_hand = by_hand
        self._second_thoughts = second_thoughts
        self._dead_letters = dead_letters
        self._registry = registry
        self._feedback = feedback
        self._explainer = explainer
        self._identity = identity
        self._clock = clock

    async def GetInvitation(
        self, request: pb2.GetInvitationRequest, context: Context
    ) -> pb2.Invitation:
        """Read an invitation."""
        account = caller().account
        member = names.member(request.name, account, "name")
        return invitation_to_proto(await self._reader.get(account, member))

    async def ListInvitations(
        self, request: pb2.ListInvitationsRequest, context: Context
    ) -> pb2.ListInvitationsResponse:
        """List invitations by contact, by order, or those waiting in a channel."""
        account = caller().account
        names.parent_account(request.parent, account)
        kind = request.WhichOneof("by")
        if kind == "due":
            return await self._waiting(request, account)
        if kind == "contact":
            key = consents.contact_key_of(request.contact, account, self._identity)
            views = await self._reader.by_contact(account, key)
            scope = f"contact {account} {key.hex()}"
        elif kind == "order":
            names.channel_id(request.order.channel, account, "order.channel")
            reference = checks.text(
                request.order.order_reference, "order.order_reference",
                bounds.REFERENCE_CHARS_MAX, is_required=True,
            )  # fmt: skip
            views = await self._reader.by_order(account, request.order.channel, reference)
            key = self._identity.order_key(account, request.order.channel, reference)
            scope = f"order {account} {key.hex()}"
        else:
            checks.missing("by", "contact, order or due")
        return _page(views, scope, request)

    async def _waiting(
        self, request: pb2.ListInvitationsRequest, account: str
    ) -> pb2.ListInvitationsResponse:
        due = request.due
        names.channel_id(due.channel, account, "due.channel")
        start_ms = times.optional_instant_ms(due, "start_time", "due")
        end_ms = self._clock.now_ms() + WAITING_AHEAD_MS
        if due.HasField("end_time"):
            end_ms = times.instant_ms(due.end_time, "due.end_time")
        if end_ms < start_ms:
            raise OutOfRange(
                "due.end_time must not lie before due.start_time", field="due.end_time"
            )
        # The end of an open list moves with the clock, so it is no part of which list it is.
        scope = f"due {account} {due.channel} {start_ms}"
        views, after = await self._reader.waiting(
            account, due.channel, start_ms, end_ms, pages.size(request.page_size),
            pages.after(request.page_token, scope),
        )  # fmt: skip
        return pb2.ListInvitationsResponse(
            invitations=[invitation_to_proto(view) for view in views],
            next_page_token=pages.token(scope, after),
        )

    async def CancelInvitation(
        self, request: pb2.CancelInvitationRequest, context: Context
    ) -> pb2.Invitation:
        """Cancel an invitation that still waits."""
        operation(request, request.request_id)
        account = caller().account
        member = names.member(request.name, account, "name")
        if not request.validate_only:
            view = await self._reader.cancel(account, member)
            await self._audit("cancel_invitation", member, request.request_id)
            return invitation_to_proto(view)
        view = await self._reader.get(account, member)
        ref = view.reference
        if ref.state != State.SCHEDULED and (ref.state, ref.reason) != (
            State.CANCELLED,
            Reason.BY_CLIENT,
        ):
            raise FailedPrecondition(
                f"only a waiting invitation can be cancelled; this one is {State(ref.state).name}",
                field="name",
            )
        return invitation_to_proto(view)

    async def CreateInvitation(
        self, request: pb2.CreateInvitationRequest, context: Context
    ) -> pb2.Invitation:
        """Add an invitation by hand."""
        checks.refuse_unknown_deeply(request)
        account = caller().account
        names.parent_account(request.parent, account)
        event, wish = wish_from_proto(request, account, self._clock.now_ms())
        view = await self._by_hand.create(account, event, wish, validate_only=request.validate_only)
        if not request.validate_only:
            await self._audit("create_invitation", view.member)
        return invitation_to_proto(view)

    async def ReinstateInvitation(
        self, request: pb2.ReinstateInvitationRequest, context: Context
    ) -> pb2.Invitation:
        """Let a cancelled invitation wait again."""
        operation(request, request.request_id)
        account = caller().account
        member = names.member(request.name, account, "name")
        view = await self._second_thoughts.reinstate(
            account, member, validate_only=request.validate_only
        )
        if not request.validate_only:
            reinstated_as = names.invitation_name(account, view.member)
            await self._audit(
                "reinstate_invitation", member, request.request_id, reinstated_as=reinstated_as
            )
        return invitation_to_proto(view)

    async def SendInvitationNow(
        self, request: pb2.SendInvitationNowRequest, context: Context
    ) -> pb2.Invitation:
        """Make a waiting invitation due now."""
        operation(request, request.request_id)
        account = caller().account
        member = names.member(request.name, account, "name")
        view = await self._second_thoughts.send_now(
            account, member, validate_only=request.validate_only
        )
        if not request.validate_only:
            await self._audit("send_invitation_now", member, request.request_id)
        return invitation_to_proto(view)

    async def RecordFeedback(
        self, request: pb2.RecordFeedbackRequest, context: Context
    ) -> pb2.RecordFeedbackResponse:
        """Take in what became of sent messages."""
        checks.refuse_unknown(request, "request")
        who = caller()
        names.parent_account(request.parent, who.account)
        if not request.feedback:
            checks.missing("feedback", f"1 to {bounds.EVENT_BATCH_MAX:,} entries")
        checks.count(len(request.feedback), "feedback", bounds.EVENT_BATCH_MAX)
        outcomes: list[Outcome] = []
        told: list[Told] = []
        for index, pb in enumerate(request.feedback):
            outcome = Outcome()
            try:
                told.append(told_from_proto(pb, who.account, f"feedback[{index}]"))
            except AfterwordError as error:
                outcome.error = error
            outcomes.append(outcome)
        answers = iter(
            await self._feedback.record(
                who.account, told, actor=who.actor, validate_only=request.validate_only
            )
        )
        return pb2.RecordFeedbackResponse(
            results=[
                result_to_proto(
                    who.account, index, next(answers) if outcome.error is None else outcome
                )
                for index, outcome in enumerate(outcomes)
            ]
        )

    async def ResolveInvitation(
        self, request: pb2.ResolveInvitationRequest, context: Context
    ) -> pb2.Invitation:
        """Say what became of a message of unknown outcome."""
        operation(request, request.request_id)
        who = caller()
        member = names.member(request.name, who.account, "name")
        kinds = pb2.ResolveInvitationRequest.Outcome
        outcome = checks.choice(request.outcome, "outcome", kinds, is_required=True)
        await self._feedback.resolve(
            who.account,
            member,
            was_sent=outcome == pb2.ResolveInvitationRequest.OUTCOME_SENT,
            actor=who.actor,
            validate_only=request.validate_only,
        )
        if not request.validate_only:
            told = kinds.Name(request.outcome)
            await self._audit("resolve_invitation", member, request.request_id, outcome=told)
        return invitation_to_proto(await self._reader.get(who.account, member))

    async def Explain(self, request: pb2.ExplainRequest, context: Context) -> pb2.ExplainResponse:
        """Tell every decision about an invitation or an event."""
        checks.refuse_unknown_deeply(request)
        account = caller().account
        names.parent_account(request.parent, account)
        kind, with_now = request.WhichOneof("subject"), request.with_now
        if kind == "invitation":
            member = names.member(request.invitation, account, "invitation")
            told = await self._explainer.invitation(account, member, with_now=with_now)
        elif kind == "event":
            if not request.event.id:
                checks.missing("event.id", "the id of the event, as published")
            told = await self._explainer.event(
                account, request.event.source, request.event.id, with_now=with_now
            )
        elif kind == "order":
            names.channel_id(request.order.channel, account, "order.channel")
            if not request.order.order_reference:
                checks.missing("order.order_reference", "the reference of the order")
            told = await self._explainer.order(
                account, request.order.channel, request.order.order_reference, with_now=with_now
            )
        else:
            checks.missing("subject", "an `invitation`, an `event` or an `order`")
        return explanation_to_proto(told, account)


def _page(
    views: Sequence[InvitationView], scope: str, request: pb2.ListInvitationsRequest
) -> pb2.ListInvitationsResponse:
    """Return one page of a list in the order of creation: it only grows at its end."""
    size_max, after = pages.size(request.page_size), pages.after(request.page_token, scope)
    start = 0
    if after:
        seen = [view.member.hex() for view in views]
        start = seen.index(after) + 1 if after in seen else 0
    shown = views[start : start + size_max]
    more = start + size_max < len(views)
    return pb2.ListInvitationsResponse(
        invitations=[invitation_to_proto(view) for view in shown],
        next_page_token=pages.token(scope, shown[-1].member.hex()) if more else "",
    )
