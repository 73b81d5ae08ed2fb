"""`afterword reviews`: what review links are about."""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterable
from typing import Final

from afterword.v1 import event_pb2, template_service_pb2
from afterword.v1 import review_service_pb2 as api
from control.cli.output import print_fields, print_json, short, time_text
from control.cli.parsers import SubParsers, add_noun, add_verb
from control.cli.session import Session
from control.cli.values import word

_IN_LINK: Final = re.compile(r"https?://.*/r/([A-Za-z0-9_-]+)(?:[?#].*)?")


def add_parser(nouns: SubParsers) -> None:
    """Add the noun and its verb."""
    verbs = add_noun(nouns, "reviews", "the links by which reviews are written")
    resolve = add_verb(
        verbs, "resolve", run_resolve,
        "tell what a review link is about: order, goods, questions; changes nothing",
        "reviews resolve https://mail.shop.example/r/AdmQ...",
    )  # fmt: skip
    resolve.add_argument("token", help="the token in the address of the page, or the link itself")


def run_resolve(session: Session, options: argparse.Namespace) -> None:
    """Tell what one link is about."""
    found = _IN_LINK.fullmatch(options.token.strip())
    token = found.group(1) if found else options.token
    request = api.ResolveReviewLinkRequest(parent=session.parent, token=token)
    answer = session.call(session.reviews.ResolveReviewLink, request)
    if options.json:
        return print_json(answer)
    print_fields(
        (
            ("invitation", answer.invitation),
            ("channel", answer.channel),
            ("order", answer.order_reference),
            ("asks about", _kinds(answer.kinds)),
            ("text required", _kinds(answer.comment_required_kinds)),
            ("goods", _goods(answer)),
            ("platform", answer.platform),
            ("questionnaire", short(answer.questionnaire)),
            ("questions", "\n".join(_question(each) for each in answer.questions)),
            ("locale", answer.locale),
            ("expires", time_text(answer.expire_time)),
        )
    )


def _kinds(kinds: Iterable[event_pb2.Review.Kind.ValueType]) -> str:
    return ", ".join(word(event_pb2.Review.Kind, "KIND_", kind) for kind in kinds)


def _goods(answer: api.ResolveReviewLinkResponse) -> str:
    if event_pb2.Review.KIND_PRODUCT not in answer.kinds:
        return ""
    if not answer.items_known:
        return "forgotten, as nothing of the order waits any more: look them up by its reference"
    lines = (" ".join((item.sku, item.name)).strip() for item in answer.items)
    return "\n".join(lines) or "all went back"


def _question(question: template_service_pb2.Question) -> str:
    return question.id + (" (required)" if question.required else "")
