"""Three orders of the replay, explained by the daemon itself: sent, not sent, sent later.

Decides: which orders are worth showing. They are guessed from the story, newest first, and taken only
if the daemon's own account confirms the guess.
"""

from __future__ import annotations

import datetime
import zoneinfo
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Final

import grpc
import msgspec

from afterword.v1 import invitation_service_pb2 as api
from afterword.v1 import invitation_service_pb2_grpc
from control.demo.cdnow import Purchase
from control.demo.configuration import ANSWER_TIMEOUT_S, CAP_DAYS
from control.demo.story import ACCOUNT, has_consented, reference_of, review_time, shop_of

TRIES_MAX: Final = 50
ALONE_DAYS: Final = 60
"""After so long no earlier order can hold one back."""


class Line(msgspec.Struct, frozen=True):
    """One decision."""

    time: str
    stage: str
    text: str
    passed: bool


class Example(msgspec.Struct, frozen=True):
    """One explained order."""

    question: str
    order: str
    channel: str
    summary: str
    decisions: tuple[Line, ...]


def _is_sent_as_planned(invitation: api.Invitation) -> bool:
    return (
        invitation.state == api.Invitation.STATE_SENT
        and invitation.due_time == invitation.first_due_time
    )


def _is_without_consent(invitation: api.Invitation) -> bool:
    return invitation.reason == api.Invitation.REASON_NO_CONSENT


def _is_sent_later(invitation: api.Invitation) -> bool:
    return (
        invitation.state == api.Invitation.STATE_SENT
        and invitation.due_time.seconds > invitation.first_due_time.seconds
    )


async def explain(
    channel: grpc.aio.Channel,
    purchases: Sequence[Purchase],
    invitation_of_line: Mapping[int, str],
) -> list[Example]:
    """Return an example of each kind, as far as the replayed orders have one."""
    stub = invitation_service_pb2_grpc.InvitationServiceStub(channel)
    cases: tuple[tuple[str, Iterator[Purchase], Callable[[api.Invitation], bool]], ...] = (
        ("Why was it sent?", _alone(purchases), _is_sent_as_planned),
        ("Why was it not sent?", _without_consent(purchases), _is_without_consent),
        ("Why was it sent later?", _soon_again(purchases), _is_sent_later),
    )
    examples = []
    for question, candidates, confirms in cases:
        for purchase in islice(candidates, TRIES_MAX):
            request = api.ExplainRequest(
                parent=ACCOUNT, invitation=invitation_of_line.get(purchase.line, "")
            )
            if not request.invitation:
                continue
            answer = await stub.Explain(request, timeout=ANSWER_TIMEOUT_S)
            if answer.invitations and confirms(answer.invitations[0]):
                examples.append(_example(question, purchase, answer))
                break
    return examples


_Told = api.ExplainResponse
_ROUTINE = frozenset(
    set(_Told.Gate.values())
    - {
        _Told.GATE_EVENT, _Told.GATE_RULE, _Told.GATE_TIME, _Told.GATE_CONSENT, _Told.GATE_CLAIM,
        _Told.GATE_OUTCOME,
    }
)  # fmt: skip
"""Gates that an example tells of only if they said no: `afterword explain` tells all."""
_DULL = frozenset({_Told.VERDICT_PASSED, _Told.VERDICT_NOT_ASKED})


def _example(question: str, purchase: Purchase, answer: api.ExplainResponse) -> Example:
    shop = shop_of(purchase.customer)
    zone = zoneinfo.ZoneInfo(shop.time_zone)
    lines = []
    for decision in sorted(answer.decisions, key=lambda one: one.decide_time.ToMilliseconds()):
        if decision.gate in _ROUTINE and decision.verdict in _DULL:
            continue
        moment = decision.decide_time.ToDatetime(tzinfo=datetime.UTC).astimezone(zone)
        time = moment.strftime("%Y-%m-%d %H:%M:%S") if decision.HasField("decide_time") else ""
        lines.append(Line(time, decision.stage, decision.text, decision.passed))
    return Example(
        question=question,
        order=reference_of(purchase),
        channel=shop.id,
        summary=answer.summary,
        decisions=tuple(lines),
    )


def sure_to_be_asked(purchases: Sequence[Purchase]) -> str:
    """Return the order whose request for a review nothing should hold back, "" if there is none."""
    return next((reference_of(purchase) for purchase in _alone(purchases)), "")


# --- guesses ------------------------------------------------------------------------------------


def _newest_first(purchases: Sequence[Purchase]) -> list[Purchase]:
    return sorted(purchases, key=lambda purchase: (purchase.day, purchase.line), reverse=True)


def _gap_days(purchases: Sequence[Purchase]) -> dict[int, int | None]:
    """Return, for each line, the days since the customer's order before; None for the first."""
    gaps: dict[int, int | None] = {}
    last: dict[str, datetime.date] = {}
    for purchase in sorted(purchases, key=lambda purchase: (purchase.day, purchase.line)):
        before = last.get(purchase.customer)
        gaps[purchase.line] = None if before is None else (purchase.day - before).days
        last[purchase.customer] = purchase.day
    return gaps


def _alone(purchases: Sequence[Purchase]) -> Iterator[Purchase]:
    """Yield orders that nothing should hold back."""
    gaps = _gap_days(purchases)
    for purchase in _newest_first(purchases):
        gap = gaps[purchase.line]
        is_alone = gap is None or gap > ALONE_DAYS
        if is_alone and has_consented(purchase.customer) and review_time(purchase) is None:
            yield purchase


def _without_consent(purchases: Sequence[Purchase]) -> Iterator[Purchase]:
    for purchase in _newest_first(purchases):
        if not has_consented(purchase.customer):
            yield purchase


def _soon_again(purchases: Sequence[Purchase]) -> Iterator[Purchase]:
    """Yield orders that came soon after another one."""
    gaps = _gap_days(purchases)
    for purchase in _newest_first(purchases):
        gap = gaps[purchase.line]
        is_soon = gap is not None and 0 < gap < CAP_DAYS
        if is_soon and has_consented(purchase.customer) and review_time(purchase) is None:
            yield purchase
