"""What caps say of a message that is due, before the gate is asked.

Decides: which caps look at it, by its step as the rule has it now (R24, R28); which products a request
leaves out, because they have been asked about (R28); and the time of day for which what came back from a
cap still waits (R27).
Never: whether there is room for the message itself; the claim decides. What is decided here by the
contact as it was read, the claim looks at again: `CapRule.looks_again`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from core.antispam.caps import Verdict, check, invitation_tag
from core.engine.plans import step_index, wait_for
from core.gate import CapRule
from core.model import Event, Item, WaitReason
from core.ports import Waiting
from core.records import FLAG_FOLLOW_UP, NO_KEY, PlanDetail, Reference, Stamp, unpack_contact
from core.registry.cap_rules import MessageCaps, product_rule
from core.registry.resources import Cap, DeferTo, Rule
from core.registry.rule_parts import Action, Step, Wait, WaitBase
from core.registry.snapshot import Snapshot
from core.rules.schedule import due_ms, follow_up_wait

_NEVER_MS = 2**47


def step_now(snapshot: Snapshot, ref: Reference, planned: Step) -> Step:
    """Return a step as the newest revision of its rule has it, as it was planned if that has it no
    more. What it says about caps holds at once, as caps do."""
    rule = snapshot.rule_by_number(ref.rule_number)
    index = -1 if rule is None else step_index(rule, planned.id, -1)
    return planned if rule is None or index < 0 else rule.steps[index]


def caps_of(snapshot: Snapshot, ref: Reference, detail: PlanDetail, step: Step) -> MessageCaps:
    """Return the caps that look at a message.

    Args:
        step: from `step_now`.
    """
    return snapshot.caps_for(
        detail.account, ref.channel_number, ref.rule_number, ref.purpose, ref.medium,
        bool(ref.flags & FLAG_FOLLOW_UP), step,
    )  # fmt: skip


# Products (R28) ---------------------------------------------------------------------------------


def product_of(item: Item) -> str:
    """Return what names a product: its SKU, or its name where it has none."""
    return item.sku or item.name


def not_asked_yet(
    caps: Sequence[Cap], step: Step, items: Sequence[Item], record: bytes, ref: Reference, now_ms: int
) -> tuple[list[Item], tuple[CapRule, ...]]:  # fmt: skip
    """Return the items that a request may ask about, and the rules by which the gate counts them.

    What the same order has asked about stands in nobody's way: a reminder repeats its request, and
    nothing more, though other products may be free by now.

    Args:
        caps: those that count each product for itself, at least one.
        record: of the contact, as it was read; empty for none.

    Cost: O(items * caps + stamps).
    """
    by_ledger: dict[bytes, list[Stamp]] = {}
    for stamp in unpack_contact(record).stamps if record else ():
        by_ledger.setdefault(stamp.ledger, []).append(stamp)
    tag, order_key = invitation_tag(ref.sequence), ref.order_key
    own = order_key if order_key != NO_KEY else tag
    rules = {
        name: [product_rule(cap, name, step) for cap in caps] for name in map(product_of, items)
    }
    free: set[str] = set()
    repeated: set[str] = set()
    for name, its_rules in rules.items():
        found = [by_ledger.get(rule.ledger, []) for rule in its_rules]
        if all(
            check(stamps, (rule,), tag, order_key, now_ms, _NEVER_MS).verdict is Verdict.PASS
            for stamps, rule in zip(found, its_rules, strict=True)
        ):
            free.add(name)
            if any(stamp.tag == own for stamps in found for stamp in stamps):
                repeated.add(name)
    if repeated and ref.flags & FLAG_FOLLOW_UP:
        free = repeated
    kept = [item for item in items if product_of(item) in free]
    return kept, tuple(rule for name in rules if name in free for rule in rules[name])


# Time of day (R27) ------------------------------------------------------------------------------


def capped_members(snapshot: Snapshot, entries: Iterable[Waiting | None]) -> list[bytes]:
    """Return the members of entries that come back from a cap, where a cap of their account defers to a
    time of day."""
    found: list[bytes] = []
    for waiting in entries:
        if waiting is None or waiting.reference.wait != WaitReason.CAPPED:
            continue
        channel = snapshot.channel_by_number.get(waiting.reference.channel_number)
        if channel is not None and any(
            cap.defer_to is DeferTo.NEXT_TIME_OF_DAY for cap in snapshot.caps(channel.account)
        ):
            found.append(waiting.member)
    return found


def last_ledger(notes: bytes) -> bytes:
    """Return the ledger of the cap that the gate has noted last of an entry, empty if there is none."""
    return notes[-5:-1]


def next_time_of_day_ms(
    planned: Rule, step: Step, ref: Reference, detail: PlanDetail, event: Event
) -> int:
    """Return when a message goes whose cap has freed and defers to a time of day: the first instant
    from its due time on at which its step goes out, with its span.

    Counted from the due time, not from now, so that what has come to its time of day is not sent on to
    the next one. Without a time of day: its due time.
    """
    wait = wait_for(step, _action(step, ref.medium), event)
    if wait.base is WaitBase.PREVIOUS_STEP_SENT:
        wait = follow_up_wait(wait, planned.steps[0].wait)
    if wait.time_of_day_ms is None:
        return ref.due_ms
    daily = Wait(days=0, time_of_day_ms=wait.time_of_day_ms, span_ms=wait.span_ms)
    return due_ms(daily, ref.due_ms, detail.zone, ref.message_key)


def _action(step: Step, medium: int) -> Action:
    return next((one for one in step.actions if one.medium == medium), step.actions[0])
