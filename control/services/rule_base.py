"""What all parts of RuleService share: the registry, and how rules are answered."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any, Protocol

import grpc

from afterword.v1 import rule_service_pb2 as pb2
from afterword.v1 import rule_service_pb2_grpc
from control.auth import Caller, Role
from control.automations.catalogue import Automations
from control.conversion import names, rules
from control.conversion.frame import Conditions, OwnTemplates
from control.services.updates import require
from core.errors import InvalidField
from core.registry.registry import Registry
from core.registry.resources import Activation, Rule

Context = grpc.aio.ServicerContext[Any, Any]


class PendingEffect(Protocol):
    """What an edit did to what waits, or would do."""

    @property
    def moved(self) -> int:
        """Due at another time."""

    @property
    def cancelled(self) -> int:
        """Ended, because the condition is false now or the step is gone."""

    @property
    def unchanged(self) -> int:
        """Due as before."""


class PendingEdits(Protocol):
    """What plans again what waits: `core.engine.edits`."""

    async def apply_to_pending(
        self, account: str, rule_id: str, *, is_preview: bool, rule: Rule | None = None
    ) -> PendingEffect:
        """Plan what waits because of a rule again, by its newest revision.

        Args:
            is_preview: only say what would become of it.
            rule: with a preview, the rule as it would be; it is not written.
        """


class RuleCounts(Protocol):
    """What counts the outcomes of rules."""

    async def stats(self, rule_number: int) -> tuple[int, int, int, int]:
        """Return (sent, first messages sent, reviewed, of these with a text)."""


class RuleServiceBase(rule_service_pb2_grpc.RuleServiceServicer):
    """The parts of the service that its methods share.

    Args:
        automations: None: there are none.
        pending: None: edits cannot be applied to what waits.
        counts: None: nothing is counted.
    """

    def __init__(
        self,
        registry: Registry,
        conditions: Conditions,
        automations: Automations | None = None,
        pending: PendingEdits | None = None,
        counts: RuleCounts | None = None,
    ) -> None:
        self._registry = registry
        self._conditions = conditions
        self._automations = automations or Automations((), conditions)
        self._pending = pending
        self._counts = counts

    def _own_templates(self, account: str) -> OwnTemplates:
        """Return the account's own templates as they are now."""
        return partial(self._registry.snapshot.template, account)

    def _to_proto(self, rule: Rule) -> pb2.Rule:
        return rules.rule_to_proto(rule, self._registry.snapshot)


def channels_to_activate_on(found: Sequence[str], who: Caller) -> tuple[str, ...]:
    """Return the ids of the channels that a write is to activate its rule on.

    Raises:
        PermissionDenied: whoever may write rules may not switch them on by that (A33).
    """
    if found:
        require(who, Role.ACTIVATE, "activate_on")
    return channel_ids(found, who.account, "activate_on")


def channel_ids(found: Sequence[str], account: str, field: str) -> tuple[str, ...]:
    """Return the ids in channels' names, each once."""
    ids: list[str] = []
    for index, name in enumerate(found):
        channel_id = names.channel_id(name, account, f"{field}[{index}]")
        if channel_id in ids:
            raise InvalidField(
                f"{field}[{index}] is there twice; name each channel once",
                field=f"{field}[{index}]",
            )
        ids.append(channel_id)
    return tuple(ids)


def activations_to_proto(found: Iterable[Activation]) -> list[pb2.Activation]:
    """Return how a rule stands on several channels, by channel."""
    by_channel = sorted(found, key=lambda activation: activation.channel)
    return [rules.activation_to_proto(activation) for activation in by_channel]
