"""Block lists: which addresses a domain or pattern means."""

from __future__ import annotations

import time
from typing import Any

import pytest

from core.engine.blocked import block_of
from core.model import Medium, Purpose
from core.registry.blocks import Block, BlockKind, BlockList, anchored
from core.rules.cel_values import EvaluationError

REVIEW, EMAIL, SMS = int(Purpose.REVIEW), int(Medium.EMAIL), int(Medium.SMS)


def block(value: str, **fields: Any) -> Block:
    kind = fields.pop("kind", BlockKind.DOMAIN)
    return Block(account="shop", id="b", kind=kind, value=value, **fields)


def pattern(value: str, **fields: Any) -> Block:
    return block(value, kind=BlockKind.PATTERN, **fields)


@pytest.mark.parametrize(
    ("value", "address", "is_meant"),
    [
        ("example.com", "a@example.com", True),
        ("example.com", "a@mail.example.com", False),
        ("example.com", "a@notexample.com", False),
        ("*.example.com", "a@mail.example.com", True),
        ("*.example.com", "a@b.mail.example.com", True),
        ("*.example.com", "a@example.com", True),
        ("*.example.com", "a@notexample.com", False),
        ("*.com", "a@example.com", True),
        ("example.com", "example.com@other.org", False),
    ],
)
def test_a_domain_means_its_addresses(value: str, address: str, is_meant: bool) -> None:
    found = BlockList([block(value)]).find(address, REVIEW, EMAIL)
    assert (found is not None) is is_meant
    assert BlockList([block(value)]).find(address, REVIEW, SMS) is None


@pytest.mark.parametrize(
    ("value", "address", "medium", "is_meant"),
    [
        ("test.*@example\\.com", "test1@example.com", EMAIL, True),
        ("test.*@example\\.com", "a.test1@example.com", EMAIL, False),
        ("test.*@example\\.com", "test1@example.com.org", EMAIL, False),
        ("a|b@c", "b@c", EMAIL, True),
        ("a|b@c", "xb@c", EMAIL, False),
        ("\\+1900.*", "+19001234567", SMS, True),
        ("\\+1900.*", "+4919001234567", SMS, False),
    ],
)
def test_a_pattern_matches_whole_addresses(
    value: str, address: str, medium: int, is_meant: bool
) -> None:
    found = BlockList([pattern(value)]).find(address, REVIEW, medium)
    assert (found is not None) is is_meant


@pytest.mark.parametrize("value", ["(", "a)|(b", "*", "[", "(?=a)", "\\1", "(a{1000}){1000}"])
def test_what_re2_does_not_take_is_refused(value: str) -> None:
    """Also what would reach out of the frame that makes it match whole addresses."""
    with pytest.raises(EvaluationError):
        anchored(value)


def test_a_block_may_be_for_some_purposes_and_media() -> None:
    blocks = BlockList([pattern(".*", media=(Medium.SMS,), purposes=(Purpose.MARKETING,))])
    asked = [(purpose, medium) for purpose in (1, 2) for medium in (EMAIL, SMS)]
    found = [each for each in asked if blocks.find("x", *each) is not None]
    assert found == [(int(Purpose.MARKETING), SMS)]


def test_a_full_list_costs_little() -> None:
    """A thousand patterns are looked at in a few milliseconds."""
    blocks = BlockList([pattern(f".*x{n}@(a|b)[0-9]{{2,4}}\\.example") for n in range(1_000)])
    blocks.find("maria@example.com", REVIEW, EMAIL)
    start_s = time.perf_counter()
    assert blocks.find("maria@example.com", REVIEW, EMAIL) is None
    assert time.perf_counter() - start_s < 0.2
    assert blocks.find("maria.x999@a22.example", REVIEW, EMAIL) is not None


def test_an_address_is_looked_for_as_it_is_compared() -> None:
    class OfOne:
        def block_list(self, account: str) -> BlockList:
            assert account == "shop"
            return BlockList([block("xn--ksehaus-5wa.example"), pattern("\\+491", media=())])

    snapshot: Any = OfOne()
    assert block_of(snapshot, "shop", " Maria@KÄSEHAUS.example ", REVIEW, EMAIL)
    assert block_of(snapshot, "shop", "+49 1", REVIEW, SMS)
    assert not block_of(snapshot, "shop", "maria@other.example", REVIEW, EMAIL)
