"""Pushing a rule to other channels: "apply these settings to all my channels" (B11, B23, B38, R41).

Decides: which rule a channel gets as its copy, and when a copy made earlier is brought up to date.
Never: reads or writes a store, or asks the time. How edits work: `core/registry/drafts.py`.

A copy is a rule of its own: it can be edited, switched off and deleted without the others. It remembers
of which rule and for which channel it was made (`Rule.copied_from`, `Rule.copied_for`), and by that it
is found when the same rule is pushed to the same channel again, whatever it has become meanwhile.
Sharing one rule among channels needs no copies: it is switched on for each.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b

import msgspec
from msgspec.structs import replace

from core.bounds import ID_CHARS_MAX
from core.model import ActivationState
from core.registry.activation_edits import switch_on
from core.registry.catalogue import STANDING
from core.registry.documents import channel_name, rule_name
from core.registry.drafts import Draft, found
from core.registry.resources import Activation, Channel, Rule
from core.registry.rule_edits import add, check_room, check_where_at_work, revise


class CopyChange(msgspec.Struct, kw_only=True):
    """What pushing a rule did to one channel."""

    channel: str
    """Id of the channel."""
    rule: Rule
    created: bool
    """False: a copy made earlier was brought to the same content, or switched on again."""
    activation: Activation
    superseded: list[Activation]


def copy_rule(
    draft: Draft, account: str, rule_id: str, channel_ids: Sequence[str] | None
) -> list[CopyChange]:
    """Give channels a copy of a rule, active there; None means all channels (R41).

    A channel on which the rule itself is ACTIVE, PAUSED or FROZEN is left alone: it has the content
    already, and what somebody paused there stays paused.

    Returns:
        One entry for each channel that will not be as it was, by channel.

    Cost: O(rules and channels of the account + activations on the channels).
    """
    source = found(draft.base.rule(account, rule_id), rule_name(account, rule_id))
    channels = [
        channel
        for channel in _targets(draft, account, channel_ids)
        if draft.activation(account, channel.id, source.id).state not in STANDING
    ]
    copies = {
        rule.copied_for: rule for rule in draft.base.rules(account) if rule.copied_from == source.id
    }
    check_room(draft.base, account, sum(channel.id not in copies for channel in channels))
    changes = (_copy(draft, source, channel, copies.get(channel.id)) for channel in channels)
    return [change for change in changes if change is not None]


def _targets(draft: Draft, account: str, channel_ids: Sequence[str] | None) -> list[Channel]:
    if channel_ids is None:
        return list(draft.base.channels(account))
    return [
        found(draft.base.channel(account, channel_id), channel_name(account, channel_id))
        for channel_id in sorted(set(channel_ids))
    ]


def _copy(draft: Draft, source: Rule, channel: Channel, present: Rule | None) -> CopyChange | None:
    if present is None:
        new_id = _free_id(draft, source.account, f"{source.id}-{channel.id}")
        new = replace(source, id=new_id, copied_from=source.id, copied_for=channel.id)
        copy = add(draft, new)
    else:
        copy = revise(draft, present, replace(source, id=present.id), "")
        stands = draft.activation(source.account, channel.id, copy.id)
        if copy is present and stands.state == ActivationState.ACTIVE:
            return None
    activation, superseded = switch_on(draft, copy, channel)
    if present is not None:
        # Somebody may have switched it on for other channels too.
        check_where_at_work(draft, copy)
    return CopyChange(
        channel=channel.id,
        rule=copy,
        created=present is None,
        activation=activation,
        superseded=superseded,
    )


def _free_id(draft: Draft, account: str, wanted: str) -> str:
    """Return an id that no rule has or had: the wanted one, cut and numbered where need be."""
    mark = ""
    if len(wanted) > ID_CHARS_MAX:
        # What is cut off tells channels apart, so something must stand for it.
        mark = "-" + blake2b(wanted.encode(), digest_size=4).hexdigest()
    number = 1
    while True:
        tail = mark if number == 1 else f"{mark}-{number}"
        free = wanted[: ID_CHARS_MAX - len(tail)] + tail
        if draft.rule(account, free) is None and draft.base.deleted_rule(account, free) is None:
            return free
        number += 1
