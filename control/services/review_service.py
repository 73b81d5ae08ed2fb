"""ReviewService: see review_service.proto for the contract."""

from __future__ import annotations

from typing import Any

import grpc

from afterword.v1 import event_pb2, review_service_pb2_grpc, template_service_pb2
from afterword.v1 import review_service_pb2 as pb2
from control.conversion import checks, contents, names, times
from control.conversion.stored_events import item_to_proto
from control.services.updates import caller
from core.engine.review_desk import ReviewDesk, ReviewRequest
from core.engine.review_tokens import ReviewTicket
from core.engine.signed_tokens import TOKEN_CHARS_MAX
from core.records import KIND_PRODUCT, KIND_SERVICE
from core.registry.diversion_parts import OWN_PLATFORM
from senders.catalogue.questionnaires import DEFAULT, QUESTIONNAIRES, QuestionKind

Context = grpc.aio.ServicerContext[Any, Any]


class ReviewService(review_service_pb2_grpc.ReviewServiceServicer):
    """Says what review links are about."""

    def __init__(self, reviews: ReviewDesk) -> None:
        self._reviews = reviews

    async def ResolveReviewLink(
        self, request: pb2.ResolveReviewLinkRequest, context: Context
    ) -> pb2.ResolveReviewLinkResponse:
        """Say what a review link is about."""
        checks.refuse_unknown_deeply(request)
        account = caller().account
        names.parent_account(request.parent, account)
        token = checks.text(request.token, "token", TOKEN_CHARS_MAX, is_required=True)
        return _to_proto(await self._reviews.resolve(account, token))


def _to_proto(found: ReviewRequest) -> pb2.ResolveReviewLinkResponse:
    ticket, detail = found.ticket, found.detail
    account, platform = detail.account, found.platform
    return pb2.ResolveReviewLinkResponse(
        invitation=names.invitation_name(account, ticket.member),
        channel=f"accounts/{account}/channels/{detail.channel}",
        order_reference=detail.order_reference,
        items=[item_to_proto(item) for item in found.items],
        items_known=found.knows_items,
        questionnaire=contents.questionnaire_name(ticket.questionnaire),
        questions=_questions(ticket),
        kinds=_kinds(ticket.kinds),
        comment_required_kinds=_kinds(ticket.comment_kinds),
        platform="" if platform == OWN_PLATFORM else f"accounts/{account}/platforms/{platform}",
        locale=detail.locale,
        expire_time=times.timestamp(ticket.expire_ms),
    )


def _questions(ticket: ReviewTicket) -> list[template_service_pb2.Question]:
    """Return the questions about what is asked about; a text that must be there is required."""
    questionnaire = QUESTIONNAIRES.get(ticket.questionnaire or DEFAULT)
    if questionnaire is None:
        return []
    asked = contents.questionnaire_to_proto(questionnaire).questions
    told: list[template_service_pb2.Question] = []
    for question, pb in zip(questionnaire.questions, asked, strict=True):
        if question.about & ticket.kinds:
            is_text = question.kind is QuestionKind.TEXT
            pb.required |= is_text and bool(question.about & ticket.comment_kinds)
            told.append(pb)
    return told


def _kinds(bits: int) -> list[event_pb2.Review.Kind.ValueType]:
    kinds = event_pb2.Review.Kind
    return [kinds.ValueType(bit) for bit in (KIND_SERVICE, KIND_PRODUCT) if bits & bit]
