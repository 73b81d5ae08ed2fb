"""What rules say by SMS and WhatsApp: which texts, templates and parameters they may have (C23).

Decides: that a text fits a message before its placeholders are filled, and what is said of its size.
Never: how a size is counted (`senders/sms_text.py`).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from control.conversion import checks
from core import bounds
from core.errors import InvalidField, OutOfRange
from core.model import Medium
from core.registry.rule_parts import Step
from senders.message_texts import VARIABLES
from senders.sms_text import SEGMENTS_MAX, Encoding, size_of
from senders.templates import VARIABLE, check_variables
from senders.whatsapp import PARAMETER_CHARS_MAX

PARAMETERS_MAX: Final = 20

_TEMPLATE: Final = re.compile(r"[a-z0-9_]{1,512}(/[a-z]{2,3}(_[A-Z]{2})?)?")


def body(text: str, field: str, known: Sequence[str]) -> str:
    """Return a text of several lines, each ended by a line feed, with placeholders among the known."""
    if len(text) > bounds.TEXT_CHARS_MAX:
        raise OutOfRange(f"{field} has at most {bounds.TEXT_CHARS_MAX:,} characters", field=field)
    lines = text.replace("\r\n", "\n")
    if any(checks.has_control(line) for line in lines.split("\n")):
        raise InvalidField(f"{field} is text without control characters", field=field)
    check_variables(lines, field, known)
    return lines


def sms_body(text: str, field: str) -> str:
    """Return the text of an SMS, its lines ended by line feeds."""
    lines = body(text, field, VARIABLES)
    size = size_of(VARIABLE.sub("", lines))
    if size.segments > SEGMENTS_MAX:
        raise OutOfRange(
            f"{field} takes {size.segments} segments of an SMS ({size.encoding.value}) before its "
            f"placeholders are filled; at most {SEGMENTS_MAX}",
            field=field,
        )
    return lines


def whatsapp_template(value: str, field: str) -> str:
    """Return the name of a template that the provider has approved, with a language or without."""
    if _TEMPLATE.fullmatch(value) is None:
        raise InvalidField(
            f"{field} must be the name of an approved template: lower-case letters, digits and "
            'underscores, with a language for all recipients or without, such as "order_review/en_US"',
            field=field,
        )
    return value


def whatsapp_parameters(found: Sequence[str], medium: Medium, field: str) -> list[str]:
    """Return what fills an approved template."""
    if found and medium is not Medium.WHATSAPP:
        raise InvalidField(f"{field} must be empty: they are for WHATSAPP", field=field)
    checks.count(len(found), field, PARAMETERS_MAX)
    for index, text in enumerate(found):
        path = f"{field}[{index}]"
        checks.text(text, path, PARAMETER_CHARS_MAX, is_required=True)
        check_variables(text, path, VARIABLES)
    return list(found)


def sms_warnings(step: Step) -> list[str]:
    """Return what is worth knowing of the texts of a step: what costs more than one segment."""
    warnings: list[str] = []
    for action in step.actions:
        if action.medium is not Medium.SMS:
            continue
        size = size_of(VARIABLE.sub("", action.body))
        if size.segments > 1:
            because = ", for characters outside GSM-7" if size.encoding is Encoding.UCS_2 else ""
            warnings.append(
                f"step {step.id!r}: the SMS takes {size.segments} segments ({size.encoding.value}"
                f"{because}) before its placeholders are filled"
            )
    return warnings
