"""The questionnaires that the review links of requests lead to.

Decides: which there are and what they ask (A21). They are carried, not shown: whoever opens the link is
shown the questionnaire by the review platform.
Never: what a request says, or how an answer is judged.

Invariants:
1. No questionnaire asks for a good opinion, or leads those who have one elsewhere (g8).
2. Each asks about the service and about a product; a request uses the questions it is about.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from typing import Final

import msgspec

from core.model import REVIEW_FAMILIES, Family
from core.records import KIND_PRODUCT, KIND_SERVICE

DEFAULT: Final = "standard"
"""Of rules that name none."""


class QuestionKind(enum.IntEnum):
    """How a question is answered."""

    RATING = 1
    """One to five stars."""
    TEXT = 2
    """In one's own words."""
    YES_NO = 3


class Question(msgspec.Struct, frozen=True, kw_only=True):
    """One question."""

    id: str
    kind: QuestionKind
    about: int
    """KIND_SERVICE or KIND_PRODUCT of `core.records`."""
    text: str
    """In English."""
    is_required: bool = False


class Questionnaire(msgspec.Struct, frozen=True, kw_only=True):
    """What a review link leads to."""

    id: str
    display_name: str
    description: str
    questions: tuple[Question, ...]
    can_require_comment: bool
    """Whether a rule may take reviews only with a text (B36)."""

    @property
    def families(self) -> tuple[Family, ...]:
        """Return the families of the rules that may name it."""
        return tuple(sorted(REVIEW_FAMILIES))


_SERVICE_STARS: Final = Question(
    id="service-rating", kind=QuestionKind.RATING, about=KIND_SERVICE, is_required=True,
    text="How was your order as a whole?",
)  # fmt: skip
_SERVICE_TEXT: Final = Question(
    id="service-comment", kind=QuestionKind.TEXT, about=KIND_SERVICE,
    text="What went well, and what did not?",
)  # fmt: skip
_PRODUCT_STARS: Final = Question(
    id="product-rating", kind=QuestionKind.RATING, about=KIND_PRODUCT, is_required=True,
    text="How do you rate this product?",
)  # fmt: skip
_PRODUCT_TEXT: Final = Question(
    id="product-comment", kind=QuestionKind.TEXT, about=KIND_PRODUCT,
    text="What do you like about it, and what not?",
)  # fmt: skip

_FOUND: Final = (
    Questionnaire(
        id="extended",
        display_name="Extended",
        description=(
            "Stars and a comment as in the standard questionnaire, then questions about delivery, "
            "goods, customer service and fit. More to learn, and more to fill in."
        ),
        questions=(
            _SERVICE_STARS,
            _SERVICE_TEXT,
            Question(
                id="delivery-rating", kind=QuestionKind.RATING, about=KIND_SERVICE,
                text="How was the delivery?",
            ),
            Question(
                id="goods-rating", kind=QuestionKind.RATING, about=KIND_SERVICE,
                text="Did the goods match their description?",
            ),
            Question(
                id="customer-service-rating", kind=QuestionKind.RATING, about=KIND_SERVICE,
                text="If you had contact with customer service: how was it?",
            ),
            Question(
                id="would-recommend", kind=QuestionKind.YES_NO, about=KIND_SERVICE,
                text="Would you recommend the shop?",
            ),
            _PRODUCT_STARS,
            _PRODUCT_TEXT,
            Question(
                id="value-rating", kind=QuestionKind.RATING, about=KIND_PRODUCT,
                text="How is its value for money?",
            ),
            Question(
                id="would-buy-again", kind=QuestionKind.YES_NO, about=KIND_PRODUCT,
                text="Would you buy it again?",
            ),
        ),
        can_require_comment=True,
    ),
    Questionnaire(
        id="optimised",
        display_name="Optimised",
        description=(
            "The stars alone, one tap each: most answers, no texts. A comment cannot be mandatory."
        ),
        questions=(_SERVICE_STARS, _PRODUCT_STARS),
        can_require_comment=False,
    ),
    Questionnaire(
        id="standard",
        display_name="Standard",
        description="Stars and a comment for the order, and the same for each product.",
        questions=(_SERVICE_STARS, _SERVICE_TEXT, _PRODUCT_STARS, _PRODUCT_TEXT),
        can_require_comment=True,
    ),
)  # fmt: skip

QUESTIONNAIRES: Final[Mapping[str, Questionnaire]] = {each.id: each for each in _FOUND}
"""By id."""
