"""Rules that ask for reviews may not look at how content somebody is (h8).

Decides: which parts of a condition would tell a rating, a sentiment or a complaint: the field itself,
attributes by their names, and the roads by which either could be read without naming it.
Never: whether a condition is valid otherwise.

Names are looked at, values are not: that an attribute called "group" holds a rating cannot be seen.
Roads closed besides: a key made at run time, the whole review or the whole of `event.attributes` as
a value, words for ratings in a loop over attributes, and going through the keys of a map, which errs
when the condition runs.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from core.rules.fields import expand

SENTIMENT_WORDS = frozenset(
    {"rating", "ratings", "star", "stars", "score", "scores", "sentiment", "satisfaction"}
    | {"nps", "csat", "complaint", "complaints", "promoter", "detractor"}
)
"""Words that tell an attribute to be about how content somebody is."""

_WORD = re.compile(r"[A-Z]?[a-z]+|[A-Z]+")
_WHY = (
    "cannot be used in a rule that asks for reviews: everybody has to be asked alike, however content; "
    "use facts of the order such as its status, country or products"
)
_ATTRIBUTES = ["attribute"]


def guard(tree: list[Any]) -> tuple[list[Any], list[tuple[list[Any], str]]]:
    """Return the condition as a review rule may have it, and what is wrong in it.

    Returns:
        (the tree, in which loops over attributes take lists only; the parts that are refused, each
        with the reason).
    """
    wrong = list(_visit(tree, False))
    return _lists_only(tree), [(part, f"{text} {_WHY}") for part, text in wrong]


def _visit(tree: list[Any], is_in_loop: bool) -> Iterator[tuple[list[Any], str]]:
    """Yield what is wrong; `is_in_loop` inside a loop over what came from attributes."""
    match tree:
        case ["const", str()] | ["call", "string_add", *_] if is_in_loop and _is_telling(
            _text(tree)
        ):
            yield tree, f"`{_text(tree):.80}`, compared with attributes,"
        case ["field" | "has" as kind, str() as root, *names]:
            path = expand(root, tuple(names), is_presence=kind == "has")
            if path[:2] == ("review", "rating"):
                yield tree, "`review.rating`"
            elif path == ("review",) and kind == "field":
                yield tree, "the whole `review` as a value"
        case ["attribute" | "has_attribute", *keys]:
            yield from ((tree, f"the attribute `{key:.80}`") for key in keys if _is_telling(key))
            if tree == _ATTRIBUTES:
                yield tree, "the whole of `event.attributes` as a value"
        case ["map", *parts]:
            for key in parts[::2]:
                if key[0] != "const" or _is_telling(key[1]):
                    yield key, f"`{key[1]:.80}` as a key" if key[0] == "const" else "this key"
            yield from _visit_all(parts, is_in_loop)
        case ["select" | "has_select", value, name]:
            if _is_telling(name):
                yield tree, f"the attribute `{name:.80}`"
            yield from _visit(value, is_in_loop)
        case ["call", *_]:
            yield from _visit_call(tree, is_in_loop)
        case [_, source, body] if tree[0] in ("exists", "all", "exists_one", "filter", "transform"):
            yield from _visit(source, is_in_loop)
            yield from _visit(body, is_in_loop or _is_of_attributes(source))
        case ["list", *parts]:
            yield from _visit_all(parts, is_in_loop)


def _visit_call(tree: list[Any], is_in_loop: bool) -> Iterator[tuple[list[Any], str]]:
    _, op, *parts = tree
    if op == "dyn_size" and parts == [_ATTRIBUTES]:
        return
    if op in ("index", "dyn_in"):
        key, owner = parts if op == "dyn_in" else parts[::-1]
        if key[0] == "const":
            if _is_telling(key[1]):
                yield key, f"the attribute `{key[1]:.80}`"
            if op == "dyn_in" and owner == _ATTRIBUTES:
                return
        elif not _is_list(owner) and not _is_told(key):
            yield key, "an attribute whose name is known only when the rule runs"
    yield from _visit_all(parts, is_in_loop)


def _visit_all(parts: list[Any], is_in_loop: bool) -> Iterator[tuple[list[Any], str]]:
    for part in parts:
        yield from _visit(part, is_in_loop)


def _is_list(owner: list[Any]) -> bool:
    """Return whether a value is a list for certain, which has no keys."""
    is_field = owner[0] == "field" and len(owner) > 2
    return is_field or owner[0] in ("list", "filter", "transform")


def _text(tree: list[Any]) -> str:
    """Return a constant text, in one piece or joined from several; else ""."""
    match tree:
        case ["const", str() as text]:
            return text
        case ["call", "string_add", first, second]:
            return _text(first) + _text(second)
    return ""


def _is_told(key: list[Any]) -> bool:
    """Return whether a key is a field of the event, and so not made up to spell a rating."""
    return key[0] == "field" and len(key) > 2


def _is_telling(text: Any) -> bool:
    return isinstance(text, str) and bool(
        {word.lower() for word in _WORD.findall(text)} & SENTIMENT_WORDS
    )


def _is_of_attributes(tree: Any) -> bool:
    """Return whether a value may have come from attributes; a loop's own elements may."""
    if not isinstance(tree, list) or not tree:
        return False
    if tree[0] in ("attribute", "has_attribute"):
        return True
    return any(_is_of_attributes(part) for part in tree[1:])


def _lists_only(tree: list[Any]) -> list[Any]:
    made = [_lists_only(part) if isinstance(part, list) else part for part in tree]
    is_loop = made[:2] == ["call", "elements"] and made[2][0] != "map"
    return ["call", "list_elements", made[2]] if is_loop else made
