"""Changes to caps, and to what steps say about them.

Decides: which are allowed, so that every contact's record can count exactly, and no step names a cap
that is not there.
Never: reads or writes a store, asks the time, or checks what a request can be checked for by itself
(`control/` does, before). How edits work: `core/registry/drafts.py`.
"""

from __future__ import annotations

from collections.abc import Iterator

from core.bounds import CAP_LIMITS_MAX, CAPS_PER_ACCOUNT_MAX
from core.errors import FailedPrecondition, InvalidField, LimitExceeded
from core.registry.cap_rules import stamps_needed
from core.registry.catalogue import Catalogue
from core.registry.documents import CAP_COUNTER, cap_name
from core.registry.drafts import (
    FOUR_BYTES_MAX,
    Draft,
    check_count,
    check_etag,
    edited,
    found,
    names,
    require_account,
    require_free,
)
from core.registry.resources import Cap, CapSubject, Rule
from core.registry.rule_parts import Step
from core.registry.store import Kind


def create_cap(draft: Draft, new: Cap) -> Cap:
    """Add a cap; it holds from the next send on, so it bites."""
    require_account(draft.base, new.account)
    require_free(draft.base.cap(new.account, new.id), new.name)
    check_count(draft.base.caps(new.account), CAPS_PER_ACCOUNT_MAX, "caps")
    _check_sum(draft.base, new)
    draft.bites = True
    number = draft.next_number(CAP_COUNTER, FOUR_BYTES_MAX)
    return draft.create(Kind.CAP, new.name, new, number)


def update_cap(draft: Draft, new: Cap, etag: str) -> Cap:
    """Change a cap; what was sent before counts against the new limit, from the next send on."""
    present = found(draft.base.cap(new.account, new.id), new.name)
    changed = edited(draft, present, new, etag)
    if changed is present:
        return present
    _check_sum(draft.base, changed)
    if changed.subject is CapSubject.ALL_CONTACTS:
        users = _steps_that_name(draft.base, changed, in_counted=True)
        if users:
            raise FailedPrecondition(
                f"{names(users)} name {changed.name} in not_counted_by_caps, and a volume limit counts "
                "what it lets pass; take it out there first",
                field="cap.subject",
            )
    draft.bites = True
    draft.put(Kind.CAP, changed.name, changed)
    return changed


def delete_cap(draft: Draft, account: str, cap: str, etag: str) -> None:
    """Remove a cap that no step names; a later one with this id starts with empty ledgers."""
    name = cap_name(account, cap)
    present = found(draft.base.cap(account, cap), name)
    check_etag(present, etag)
    users = _steps_that_name(draft.base, present)
    if users:
        raise FailedPrecondition(
            f"{name} is named by {names(users)}; take it out of exempt_from_caps and "
            "not_counted_by_caps there first"
        )
    draft.drop(Kind.CAP, name)
    draft.bites = True


def check_named_caps(base: Catalogue, rule: Rule) -> None:
    """Refuse steps that name caps which the account does not have, or volume limits as not counting."""
    for index, step in enumerate(rule.steps):
        for field, ids in _named(step):
            for place, cap_id in enumerate(ids):
                path = f"rule.steps[{index}].{field}[{place}]"
                cap = base.cap(rule.account, cap_id)
                if cap is None:
                    raise InvalidField(
                        f"{path}: {cap_name(rule.account, cap_id)} does not exist; list caps with "
                        "ListCaps, or add it with CreateCap",
                        field=path,
                    )
                if field == _NOT_COUNTED and cap.subject is CapSubject.ALL_CONTACTS:
                    raise InvalidField(
                        f"{path}: {cap.name} is a volume limit, which counts what it lets pass; name it "
                        f"in {_EXEMPT} instead",
                        field=path,
                    )


_EXEMPT, _NOT_COUNTED = "exempt_from_caps", "not_counted_by_caps"


def _named(step: Step) -> Iterator[tuple[str, list[str]]]:
    """Yield the fields of a step that name caps, with what they name."""
    yield _EXEMPT, step.exempt_from_caps
    yield _NOT_COUNTED, step.not_counted_by_caps


def _steps_that_name(base: Catalogue, cap: Cap, *, in_counted: bool = False) -> list[str]:
    """Return "<rule>, step <id>" of each step that names a cap, anywhere or as one that does not count
    it."""
    return [
        f"{rule.name} (step {step.id!r})"
        for rule in base.rules(cap.account)
        for step in rule.steps
        if cap.id in step.not_counted_by_caps
        or (not in_counted and cap.id in step.exempt_from_caps)
    ]


def _check_sum(base: Catalogue, cap: Cap) -> None:
    """Refuse limits that together ask for more than a contact's record can count."""
    others = [other for other in base.caps(cap.account) if other.id != cap.id]
    own, rest = stamps_needed([cap]), stamps_needed(others)
    if own and own + rest > CAP_LIMITS_MAX:
        raise LimitExceeded(
            f"the caps counted per contact would have a limit of {own + rest:,} together, this one "
            f"{own:,} of it (once for each purpose or medium that it counts for itself); at most "
            f"{CAP_LIMITS_MAX} can be counted exactly: lower cap.limit, or that of another cap",
            field="cap.limit",
        )
