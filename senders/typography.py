"""How words are printed in a language, where that is not how they are typed.

Decides: in French, apostrophes, and blanks that do not break before the signs that have one.
Never: what a shop or a customer wrote; only our own words are set.

Source: Lexique des règles typographiques en usage à l'Imprimerie nationale.
"""

from __future__ import annotations

import re
from typing import Any, Final, TypeVar

import msgspec

StructT = TypeVar("StructT", bound=msgspec.Struct)

APOSTROPHE: Final = "\u2019"
FIXED_BLANK: Final = "\u00a0"

_FRENCH_SIGNS: Final = re.compile(" (?=[?!:;])")


def typeset(text: str, language: str) -> str:
    """Return a text as it is printed."""
    if language != "fr":
        return text
    return _FRENCH_SIGNS.sub(FIXED_BLANK, text).replace("'", APOSTROPHE)


def typeset_all(words: StructT, language: str) -> StructT:
    """Return a structure with all texts in it as they are printed."""
    names = words.__struct_fields__
    return msgspec.structs.replace(
        words, **{name: _set(getattr(words, name), language) for name in names}
    )


def _set(value: Any, language: str) -> Any:
    if isinstance(value, str):
        return typeset(value, language)
    if isinstance(value, tuple):
        return tuple(_set(each, language) for each in value)
    if isinstance(value, dict):
        return {key: _set(each, language) for key, each in value.items()}
    return typeset_all(value, language) if isinstance(value, msgspec.Struct) else value
