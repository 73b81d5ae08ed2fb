"""The methods of InvitationService that are about dead letters."""

from __future__ import annotations

from typing import Any

import grpc
import msgspec

from afterword.v1 import invitation_service_pb2 as pb2
from afterword.v1 import invitation_service_pb2_grpc
from control import error_table
from control.conversion import checks, names, pages, times
from control.conversion.invitations import invitation_to_proto
from control.services.updates import caller, operation
from core.engine.dead_letters import DeadLetter, DeadLetters
from core.engine.reinstate import SecondThoughts
from core.errors import NotFound
from core.model import Reason
from core.registry.registry import Registry

Context = grpc.aio.ServicerContext[Any, Any]


class DeadLetterMethods(invitation_service_pb2_grpc.InvitationServiceServicer):
    """Lists and replays what has failed."""

    _dead_letters: DeadLetters
    _second_thoughts: SecondThoughts
    _registry: Registry

    async def ListDeadLetters(
        self, request: pb2.ListDeadLettersRequest, context: Context
    ) -> pb2.ListDeadLettersResponse:
        """List invitations that failed, newest first."""
        checks.refuse_unknown_deeply(request)
        account = caller().account
        names.parent_account(request.parent, account)
        letters, token = await self._page(
            account, request.filter, request.page_size, request.page_token
        )
        return pb2.ListDeadLettersResponse(
            dead_letters=[
                pb2.DeadLetter(
                    invitation=invitation_to_proto(letter.view),
                    fail_time=times.timestamp(letter.fail_ms),
                )
                for letter in letters
            ],
            next_page_token=token,
        )

    async def ReplayInvitation(
        self, request: pb2.ReplayInvitationRequest, context: Context
    ) -> pb2.Invitation:
        """Let an invitation that failed wait again."""
        operation(request, request.request_id)
        account = caller().account
        member = names.member(request.name, account, "name")
        view = await self._second_thoughts.replay(
            account, member, validate_only=request.validate_only
        )
        if not request.validate_only:
            replayed_as = names.invitation_name(account, view.member)
            await self._audit(
                "replay_invitation", member, request.request_id, replayed_as=replayed_as
            )
        return invitation_to_proto(view)

    async def ReplayDeadLetters(
        self, request: pb2.ReplayDeadLettersRequest, context: Context
    ) -> pb2.ReplayDeadLettersResponse:
        """Replay a page of them; each is answered for itself."""
        checks.refuse_unknown_deeply(request)
        account = caller().account
        names.parent_account(request.parent, account)
        letters, token = await self._page(
            account, request.filter, request.limit, request.page_token
        )
        answers = await self._dead_letters.replay(
            account, letters, validate_only=request.validate_only
        )
        results = []
        for answer in answers:
            pb = pb2.ReplayResult(invitation=names.invitation_name(account, answer.member))
            if answer.error is not None:
                pb.status.CopyFrom(error_table.status_of(error_table.public(answer.error)))
            elif answer.new is not None and not request.validate_only:
                pb.replayed_as = names.invitation_name(account, answer.new.member)
                # For each, because each is asked about by itself.
                await self._audit("replay_dead_letters", answer.member, replayed_as=pb.replayed_as)
            results.append(pb)
        return pb2.ReplayDeadLettersResponse(results=results, next_page_token=token)

    async def _audit(
        self, method: str, member: bytes, request_id: str = "", **after: str
    ) -> None:  # fmt: skip
        """Note that somebody has done something to an invitation, and what came of it."""
        who = caller()
        await self._registry.audit(
            who.account, who.actor, method, names.invitation_name(who.account, member), request_id,
            msgspec.json.encode(after).decode() if after else "",
        )  # fmt: skip

    async def _page(
        self, account: str, wanted: pb2.DeadLetterFilter, size: int, page_token: str
    ) -> tuple[list[DeadLetter], str]:
        number = 0
        if wanted.channel:
            names.channel_id(wanted.channel, account, "filter.channel")
            channel = self._registry.snapshot.channel_by_name.get(wanted.channel)
            if channel is None:
                raise NotFound(
                    f'"{wanted.channel}" is no channel of this account', field="filter.channel"
                )
            number = channel.number
        reason = checks.choice(wanted.reason, "filter.reason", pb2.Invitation.Reason)
        scope = f"dead letters {account} {wanted.channel} {reason}"
        letters, after = await self._dead_letters.page(
            account, pages.size(size), pages.after(page_token, scope),
            channel_number=number, reason=Reason(reason),
        )  # fmt: skip
        return letters, pages.token(scope, after)
