"""Volume limits and daily quotas of senders on the way out: tokens are taken before the claim, and what
finds none waits (R29, E16).

Decides: who of a round gets the tokens that there are: the first by turn; and which tokens go back.
Never: how many there are; the store counts, for all daemons together.

A token is spent unless it is certain that nothing went out for it: the gate refused, the entry was gone,
or the transport did not get the message. A claim without an answer may have gone through, so its tokens
stay spent. So a limit is never exceeded, and at worst less is sent than it allows.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Sequence
from functools import partial

from core.engine.due_case import Grant, Ready
from core.engine.patience import patiently
from core.errors import StoreUnavailable
from core.gate import ClaimAction, ClaimItem
from core.model import WaitReason
from core.ports import Store
from core.registry.cap_rules import VolumeRule
from core.stats import Stats

PATIENCE_MS = 1_800
"""How long the store is asked for tokens; then the round's entries wait for the next look."""


class VolumeDesk:
    """Takes tokens for one dispatcher's rounds."""

    def __init__(self, store: Store, stats: Stats) -> None:
        self._store = store
        self._stats = stats

    async def take(self, ready: Sequence[Ready], now_ms: int) -> None:
        """Take the tokens that entries need before the gate is asked; those that get none are to be
        deferred instead. An entry under several limits goes only if each has room (R28).

        Args:
            ready: in turn.

        Raises:
            StoreUnavailable: the store stayed away; what was taken is given back.
        """
        asking = [one for one in ready if one.item.action == ClaimAction.GATE and volumes_of(one)]
        if not asking:
            return
        rules = {rule.ledger: rule for one in asking for rule in volumes_of(one)}
        grants: list[Grant] = []
        try:
            for rule in rules.values():
                grant = Grant(rule.ledger, secrets.token_bytes(16))
                grants.append(grant)
                await self._take(rule, grant, asking, now_ms)
        except StoreUnavailable:
            _forgo(asking)
            raise
        finally:
            await self._return(grants)

    async def _take(
        self, rule: VolumeRule, grant: Grant, asking: Sequence[Ready], now_ms: int
    ) -> None:
        wanting = [
            one
            for one in asking
            if one.item.action == ClaimAction.GATE
            and any(other.ledger == rule.ledger for other in volumes_of(one))
        ]
        if not wanting:
            return
        answer = await patiently(
            # The same token gives the first answer again, so a lost reply costs nothing.
            partial(
                self._store.take_volume, rule.ledger, grant.token, len(wanting), rule.limit,
                rule.window_ms, now_ms,
            ),
            self._stats,
            PATIENCE_MS,
        )  # fmt: skip
        for one in wanting[: answer.granted]:
            one.grants.append(grant)
        for index, one in enumerate(wanting[answer.granted :]):
            wakes = answer.wakes
            _refuse(one, wakes[index] if index < len(wakes) else now_ms + rule.window_ms)

    async def give_back(self, unsent: Iterable[Ready]) -> None:
        """Return the tokens of entries for which certainly nothing goes out. Repeated, it returns no
        more."""
        await self._return(_forgo(unsent))

    async def _return(self, grants: Iterable[Grant]) -> None:
        for grant in grants:
            if not grant.unused:
                continue
            try:
                await self._store.give_back_volume(grant.ledger, grant.token, grant.unused)
            except StoreUnavailable:
                # They stay spent until their window has passed: less goes out, never more.
                self._stats.store_errors += 1


def volumes_of(one: Ready) -> tuple[VolumeRule, ...]:
    """Return what counts an entry together with those of all contacts."""
    volumes = one.caps.volumes if one.caps is not None else ()
    return volumes if one.quota is None else (*volumes, one.quota)


def _refuse(one: Ready, wake_ms: int) -> None:
    """Let an entry wait for room; what other limits gave it is not used."""
    item = one.item
    one.item = ClaimItem(
        item.member, item.source, ClaimAction.DEFER, item.needs_consent, due_ms=wake_ms,
        wait=WaitReason.VOLUME, heeds_suppression=item.heeds_suppression,
    )  # fmt: skip
    _forgo([one])


def _forgo(unsent: Iterable[Ready]) -> list[Grant]:
    """Count the tokens of entries as unused; return the grants they come from."""
    touched: dict[bytes, Grant] = {}
    for one in unsent:
        for grant in one.grants:
            grant.unused += 1
            touched[grant.token] = grant
        one.grants = []
    return list(touched.values())


def keep(entries: Iterable[Ready]) -> None:
    """Let the tokens of entries be spent: they may have gone out."""
    for one in entries:
        one.grants = []
