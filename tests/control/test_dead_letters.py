"""Dead letters as a client sees them: listed, filtered, replayed by name and by filter."""

from __future__ import annotations

import uuid
from pathlib import Path

import grpc
import pytest

from afterword.v1 import invitation_service_pb2 as pb2
from core.bounds import DAY_MS
from core.sending import Delivery
from tests.control.kit import PARENT, Shop, open_shop, refused, with_unknown_field
from tests.control.test_invitation_service import get, planned

pytestmark = pytest.mark.asyncio


async def fail(shop: Shop, count: int, channel: str) -> list[str]:
    """Let as many invitations fail; return their names, newest first."""
    shop.outbox.answer = Delivery(Delivery.Kind.FAILED, "no")
    names = []
    for _ in range(count):
        names.append(await planned(shop, channel))
        due = (await get(shop, names[-1])).due_time.ToMilliseconds()
        await shop.daemon.engine.advance_to(max(due, shop.clock.now_ms()) + 5)
    shop.outbox.answer = Delivery(Delivery.Kind.ACCEPTED)
    return names[::-1]


async def listed(shop: Shop, **filter: object) -> list[str]:
    """Return the names of all dead letters, over all pages."""
    request = pb2.ListDeadLettersRequest(
        parent=PARENT, page_size=2,
        filter=pb2.DeadLetterFilter(**filter),  # type: ignore[arg-type]
    )  # fmt: skip
    found: list[str] = []
    while True:
        answer = await shop.invitations.ListDeadLetters(request)
        found += [letter.invitation.name for letter in answer.dead_letters]
        request.page_token = answer.next_page_token
        if not request.page_token:
            return found


async def test_what_failed_is_listed_and_replayed(tmp_path: Path) -> None:
    """R8: replayed by name, once; then by filter, each answered for itself."""
    async with open_shop(tmp_path) as shop:
        channel, other = await shop.create_channel(), await shop.create_channel()
        rule = await shop.create_rule(channel)
        names = await fail(shop, 3, channel)
        assert await listed(shop) == names
        assert await listed(shop, channel=channel) == names
        assert await listed(shop, channel=other) == []
        assert await listed(shop, reason=pb2.Invitation.REASON_PROVIDER_ERROR) == names
        assert await listed(shop, reason=pb2.Invitation.REASON_RENDERING_ERROR) == []

        again = pb2.ReplayInvitationRequest(name=names[0], request_id=str(uuid.uuid4()))
        dry = pb2.ReplayInvitationRequest(name=names[0], validate_only=True)
        assert (await shop.invitations.ReplayInvitation(dry)).name == names[0]
        back = await shop.invitations.ReplayInvitation(again)
        assert (back.generation, back.state) == (1, pb2.Invitation.STATE_SCHEDULED)
        assert (await shop.invitations.ReplayInvitation(again)).name == back.name
        assert await listed(shop) == names[1:]

        every = pb2.ReplayDeadLettersRequest(parent=PARENT, limit=1, validate_only=True)
        checked = await shop.invitations.ReplayDeadLetters(every)
        assert [(one.invitation, one.replayed_as) for one in checked.results] == [(names[1], "")]
        assert await listed(shop) == names[1:]
        every.validate_only = False
        done = await shop.invitations.ReplayDeadLetters(every)
        every.page_token = done.next_page_token
        rest = await shop.invitations.ReplayDeadLetters(every)
        assert [one.invitation for one in (*done.results, *rest.results)] == names[1:]
        sent = len(shop.outbox.letters)
        await shop.daemon.engine.advance_to(shop.clock.now_ms() + DAY_MS // 2)
        assert len(shop.outbox.letters) == sent + 3
        for one in (*done.results, *rest.results):
            assert (await get(shop, one.replayed_as)).state == pb2.Invitation.STATE_SENT
        assert await listed(shop) == []
        assert rule


async def test_bad_requests_name_the_field(tmp_path: Path) -> None:
    async with open_shop(tmp_path) as shop:
        channel = await shop.create_channel()
        await shop.create_rule(channel)
        waiting = await planned(shop, channel)
        for request, field, code in (
            (pb2.ListDeadLettersRequest(parent=PARENT, page_size=-1), "page_size", None),
            (pb2.ListDeadLettersRequest(parent=PARENT, page_token="x"), "page_token", None),
            (
                pb2.ListDeadLettersRequest(
                    parent=PARENT,
                    filter=pb2.DeadLetterFilter(channel=f"{PARENT}/channels/none"),
                ),
                "",
                grpc.StatusCode.NOT_FOUND,
            ),
        ):
            with refused() as refusal:
                await shop.invitations.ListDeadLetters(request)
            assert refusal.field == field
            assert code in (None, refusal.code)
        with refused() as refusal:
            await shop.invitations.ReplayInvitation(pb2.ReplayInvitationRequest(name=waiting))
        assert refusal.code is grpc.StatusCode.FAILED_PRECONDITION
        assert "SCHEDULED" in refusal.problem.message
        with refused() as refusal:
            await shop.invitations.ListDeadLetters(
                with_unknown_field(pb2.ListDeadLettersRequest(parent=PARENT))
            )
        assert refusal.code is grpc.StatusCode.INVALID_ARGUMENT
