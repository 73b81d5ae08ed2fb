"""Changing the configuration: what is allowed, what it brings about, and that it happens once."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import msgspec
import pytest
import pytest_asyncio
from msgspec.structs import replace

from core.bounds import CAPS_PER_ACCOUNT_MAX
from core.clock import ManualClock
from core.errors import (
    AlreadyExists,
    Conflict,
    FailedPrecondition,
    InvalidField,
    LimitExceeded,
    NotFound,
    RevisionConflict,
    StoreUnavailable,
)
from core.model import ActivationState, Family, Medium, Reason, State
from core.registry import edits, rule_edits, writer
from core.registry.memory_store import MemoryRegistryStore
from core.registry.registry import Registry
from core.registry.resources import SHIPPED_EVENT_TYPES, CapScope
from core.registry.rule_parts import Condition
from core.registry.store import NO_AUDIT, AuditLines, Change
from tests.support.configuration import (
    ACCOUNT,
    EveryRuleMatches,
    cap,
    channel,
    event_type,
    rule,
    step,
)
from tests.support.registries import noted

NOW = 1_700_000_000_000
ES = "accounts/shop/channels/es"


class UnsteadyStore(MemoryRegistryStore):
    """Loses answers and lets others write in between, when told to."""

    def __init__(self) -> None:
        super().__init__(ManualClock(NOW))
        self.loses_answers = 0
        self.rival: Registry | None = None
        self.rival_writes = 0

    async def write(
        self,
        expected_revision: int,
        changes: Sequence[Change],
        op_id: str,
        op_result: bytes,
        audit: AuditLines = NO_AUDIT,
    ) -> int:
        rival, self.rival = self.rival, None
        if rival is not None and self.rival_writes:
            self.rival_writes -= 1
            await rival.create_channel(channel(f"rival-{expected_revision}"))
        self.rival = rival
        revision = await super().write(expected_revision, changes, op_id, op_result, audit)
        if self.loses_answers:
            self.loses_answers -= 1
            raise StoreUnavailable("the answer was lost")
        return revision


async def opened(store: MemoryRegistryStore) -> Registry:
    return await Registry.open(store, ManualClock(NOW), EveryRuleMatches)


@pytest.fixture
def store() -> UnsteadyStore:
    return UnsteadyStore()


@pytest_asyncio.fixture
async def config(store: UnsteadyStore) -> Registry:
    """Give a registry with an account and the channels `es` and `fr`."""
    config = await opened(store)
    await config.ensure_account(ACCOUNT)
    await config.create_channel(channel("es"))
    await config.create_channel(channel("fr"))
    return config


@pytest.fixture
def bites(config: Registry) -> list[int]:
    seen: list[int] = []

    async def bite(revision: int) -> None:
        assert config.snapshot.revision >= revision, "the own snapshot is not older"
        seen.append(revision)

    config.on_bite.append(bite)
    return seen


def active_on(config: Registry, channel_id: str) -> set[str]:
    return {
        each.rule
        for each in config.snapshot.activations(ACCOUNT, channel_id)
        if each.state == ActivationState.ACTIVE
    }


# --- accounts -------------------------------------------------------------------------------------


async def test_an_account_has_its_event_types_and_caps_from_the_first_day(
    config: Registry,
) -> None:
    """A10, h7."""
    found = config.snapshot.event_types(ACCOUNT)
    assert {each.id for each in found} == set(SHIPPED_EVENT_TYPES)
    assert all(each.active and each.shipped for each in found)
    assert len({each.number for each in found}) == len(SHIPPED_EVENT_TYPES)
    caps = [each.id for each in config.snapshot.caps(ACCOUNT)]
    assert caps == ["marketing-sms", "messages", "review-requests"]
    account = config.snapshot.account(ACCOUNT)
    assert account is not None
    assert account.create_ms == NOW


async def test_an_account_is_made_once_and_keeps_what_was_changed(config: Registry) -> None:
    """R24: the default caps are ordinary, deletable resources."""
    await config.delete_cap(ACCOUNT, "messages")
    revision = config.snapshot.revision
    await config.ensure_account(ACCOUNT)
    assert config.snapshot.revision == revision
    assert config.snapshot.cap(ACCOUNT, "messages") is None


async def test_an_account_may_come_without_caps(config: Registry) -> None:
    await config.ensure_account("bare", default_caps=False)
    assert config.snapshot.caps("bare") == ()
    assert len(config.snapshot.event_types("bare")) == len(SHIPPED_EVENT_TYPES)


async def test_an_account_gets_types_that_are_shipped_later(
    config: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(edits, "SHIPPED_EVENT_TYPES", (*SHIPPED_EVENT_TYPES, "brand-new"))
    await config.ensure_account(ACCOUNT)
    added = config.snapshot.event_type(ACCOUNT, "brand-new")
    assert added is not None
    assert added.number == len(SHIPPED_EVENT_TYPES) + 1


async def test_nothing_belongs_to_an_account_that_does_not_exist(config: Registry) -> None:
    for created in (
        config.create_channel(replace(channel(), account="nobody")),
        config.create_event_type(replace(event_type("x"), account="nobody")),
        config.create_cap(replace(cap("x"), account="nobody")),
        config.create_rule(replace(rule("x"), account="nobody")),
    ):
        with pytest.raises(NotFound, match="accounts/nobody"):
            await created


# --- resources ------------------------------------------------------------------------------------


async def test_created_resources_have_numbers_times_and_etags(config: Registry) -> None:
    es, fr = config.snapshot.channels(ACCOUNT)
    assert (es.number, fr.number) == (1, 2)
    assert es.create_ms == es.update_ms == NOW
    assert es.etag != fr.etag
    with pytest.raises(AlreadyExists, match="channels/es"):
        await config.create_channel(channel("es"))


async def test_numbers_are_never_given_twice(config: Registry) -> None:
    await config.delete_channel(ACCOUNT, "fr")
    assert (await config.create_channel(channel("fr"))).number == 3


async def test_event_types_are_numbered_within_their_account(config: Registry) -> None:
    """Tombstones have two bytes for them; with one counter 4,000 accounts would use it up."""
    await config.ensure_account("other")
    numbers = {each.number for each in config.snapshot.event_types("other")}
    assert numbers == set(range(1, len(SHIPPED_EVENT_TYPES) + 1))


async def test_an_update_needs_the_present_etag(config: Registry) -> None:
    es = config.snapshot.channels(ACCOUNT)[0]
    changed = await config.update_channel(replace(es, display_name="Tienda"), es.etag)
    assert changed.display_name == "Tienda"
    assert changed.etag != es.etag
    with pytest.raises(RevisionConflict):
        await config.update_channel(replace(es, display_name="Shop"), es.etag)
    assert (await config.update_channel(replace(es, display_name="Shop"))).number == es.number
    with pytest.raises(RevisionConflict):
        await config.delete_channel(ACCOUNT, "es", es.etag)


async def test_an_update_that_changes_nothing_is_none(config: Registry) -> None:
    es = config.snapshot.channels(ACCOUNT)[0]
    revision = config.snapshot.revision
    assert await config.update_channel(channel("es", number=99)) == es
    assert config.snapshot.revision == revision


async def test_what_does_not_exist_cannot_be_changed(config: Registry) -> None:
    for write in (
        config.update_channel(channel("no")), config.delete_channel(ACCOUNT, "no"),
        config.update_event_type(event_type("no")), config.delete_event_type(ACCOUNT, "no"),
        config.update_cap(cap("no")), config.delete_cap(ACCOUNT, "no"),
        config.update_rule(rule("no")), config.delete_rule(ACCOUNT, "no"),
        config.activate(ACCOUNT, "no", "es"), config.deactivate(ACCOUNT, "no", "es"),
    ):  # fmt: skip
        with pytest.raises(NotFound, match="no does not exist"):
            await write


async def test_bounds_are_kept(config: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    for index in range(CAPS_PER_ACCOUNT_MAX - 3):
        await config.create_cap(cap(f"c-{index}"))
    with pytest.raises(LimitExceeded, match="64 caps"):
        await config.create_cap(cap("one-more"))
    monkeypatch.setattr(edits, "CHANNELS_PER_ACCOUNT_MAX", 2)
    with pytest.raises(LimitExceeded, match="2 channels"):
        await config.create_channel(channel("third"))
    monkeypatch.setattr(rule_edits, "RULES_PER_ACCOUNT_MAX", 1)
    await config.create_rule(rule("a"))
    with pytest.raises(LimitExceeded, match="1 rules"):
        await config.create_rule(rule("b"))
    monkeypatch.setattr(edits, "EVENT_TYPE_NUMBER_MAX", len(SHIPPED_EVENT_TYPES))
    with pytest.raises(LimitExceeded, match="numbers of event_type/shop"):
        await config.create_event_type(event_type("own"))


async def test_event_types_that_are_in_use_or_shipped_stay(config: Registry) -> None:
    await config.create_event_type(event_type("own"))
    await config.create_rule(rule("a", event_type="own"))
    with pytest.raises(FailedPrecondition, match="shipped"):
        await config.delete_event_type(ACCOUNT, "checkout")
    with pytest.raises(FailedPrecondition, match="rules/a"):
        await config.delete_event_type(ACCOUNT, "own")
    await config.delete_rule(ACCOUNT, "a")
    await config.delete_event_type(ACCOUNT, "own")
    assert config.snapshot.event_type(ACCOUNT, "own") is None


async def test_nobody_makes_a_type_shipped(config: Registry) -> None:
    own = await config.create_event_type(replace(event_type("own"), shipped=True))
    assert not own.shipped
    off = await config.update_event_type(event_type("checkout", active=False))
    assert off.shipped


# --- rules ----------------------------------------------------------------------------------------


async def test_a_new_rule_is_inactive_everywhere(config: Registry) -> None:
    """A12, A33: defining and activating are separate."""
    created = await config.create_rule(rule("a", revision=7, is_deleted=True))
    assert (created.revision, created.is_deleted, created.number) == (1, False, 1)
    assert config.snapshot.activations_of(created) == ()
    assert active_on(config, "es") == set()


async def test_a_rule_names_event_types_that_exist(config: Registry) -> None:
    with pytest.raises(InvalidField) as caught:
        await config.create_rule(rule("a", event_type="unheard-of"))
    assert caught.value.field == "rule.trigger.event_type"
    with pytest.raises(InvalidField) as caught:
        await config.create_rule(rule("a", stop_when=["return", "unheard-of"]))
    assert caught.value.field == "rule.stop_when.event_types[1]"


async def test_an_update_makes_a_revision_and_keeps_those_before(config: Registry) -> None:
    """A27, R40."""
    first = await config.create_rule(rule("a"))
    second = await config.update_rule(replace(first, priority=5), first.etag)
    third = await config.update_rule(replace(second, priority=6, revision=99))
    assert [first.revision, second.revision, third.revision] == [1, 2, 3]
    view = (await opened(config._store)).snapshot
    assert [view.rule_revision(1, number) for number in (1, 2, 3)] == [first, second, third]
    assert view.rule(ACCOUNT, "a") == third


async def test_the_family_of_a_rule_is_fixed(config: Registry) -> None:
    await config.create_rule(rule("a"))
    with pytest.raises(InvalidField) as caught:
        await config.update_rule(rule("a", family=Family.PRODUCT_REVIEW))
    assert caught.value.field == "rule.family"


async def test_a_deleted_rule_leaves_a_tombstone(config: Registry) -> None:
    """d7, R9: what waits is still recognised; the id is not given to another rule."""
    created = await config.create_rule(rule("a"))
    await config.activate(ACCOUNT, "a", "es")
    await config.delete_rule(ACCOUNT, "a", actor="eva")
    assert config.snapshot.rule(ACCOUNT, "a") is None
    assert active_on(config, "es") == set()
    ended = config.snapshot.verdict(created.number, 1, 0, 1)
    assert ended == (State.CANCELLED, Reason.RULE_DELETED)
    with pytest.raises(AlreadyExists, match="was deleted"):
        await config.create_rule(rule("a"))
    for write in (config.update_rule(rule("a")), config.delete_rule(ACCOUNT, "a")):
        with pytest.raises(NotFound):
            await write


# --- activation -----------------------------------------------------------------------------------


async def test_activating_swaps_an_exclusive_slot(config: Registry) -> None:
    """A13, A25, B10, R37: one call switches from one rule to the other."""
    await config.create_rule(rule("a"))
    await config.create_rule(rule("b"))
    on, replaced = await config.activate(ACCOUNT, "a", "es", "eva")
    assert (on.state, on.actor, on.update_ms, replaced) == (ActivationState.ACTIVE, "eva", NOW, [])
    revision = config.snapshot.revision
    on, replaced = await config.activate(ACCOUNT, "b", "es", "bob")
    assert config.snapshot.revision == revision + 1, "one write"
    assert on.rule == "b"
    assert [(each.rule, each.state) for each in replaced] == [("a", ActivationState.SUPERSEDED)]
    assert active_on(config, "es") == {"b"}
    assert config.snapshot.verdict(1, 1, 0, 1) is None, "what the superseded one planned goes on"


async def test_service_is_exclusive_by_event_type_and_product_by_channel(config: Registry) -> None:
    """B10, B28, R37, h1, h2."""
    await config.create_rule(rule("s-checkout"))
    await config.create_rule(rule("s-delivery", event_type="delivery"))
    await config.create_rule(rule("p-checkout", family=Family.PRODUCT_REVIEW))
    await config.create_rule(
        rule("p-delivery", family=Family.PRODUCT_REVIEW, event_type="delivery")
    )
    for each in ("s-checkout", "s-delivery", "p-checkout"):
        assert (await config.activate(ACCOUNT, each, "es"))[1] == []
    _, replaced = await config.activate(ACCOUNT, "p-delivery", "es")
    assert [each.rule for each in replaced] == ["p-checkout"]
    assert active_on(config, "es") == {"s-checkout", "s-delivery", "p-delivery"}


async def test_channels_are_independent(config: Registry) -> None:
    """A26, B12: the same rule on all channels, or different rules on different ones."""
    await config.create_rule(rule("a"))
    await config.create_rule(rule("b"))
    await config.activate(ACCOUNT, "a", "es")
    await config.activate(ACCOUNT, "a", "fr")
    await config.activate(ACCOUNT, "b", "fr")
    assert (active_on(config, "es"), active_on(config, "fr")) == ({"a"}, {"b"})


async def test_free_families_are_active_side_by_side(config: Registry) -> None:
    """h1, C4: three mails at 20, 30 and 40 days may be three rules."""
    for each in ("a", "b", "c"):
        await config.create_rule(rule(each, family=Family.NOTIFICATION))
        assert (await config.activate(ACCOUNT, each, "es"))[1] == []
    assert active_on(config, "es") == {"a", "b", "c"}


async def test_activating_twice_changes_nothing(config: Registry) -> None:
    await config.create_rule(rule("a"))
    first = await config.activate(ACCOUNT, "a", "es", "eva")
    revision = config.snapshot.revision
    assert await config.activate(ACCOUNT, "a", "es", "bob") == first
    assert config.snapshot.revision == revision


async def test_deactivating_is_idempotent(config: Registry) -> None:
    """A24, C25."""
    await config.create_rule(rule("a"))
    never = await config.deactivate(ACCOUNT, "a", "es")
    assert never.state == ActivationState.INACTIVE
    assert config.snapshot.activations(ACCOUNT) == ()
    await config.activate(ACCOUNT, "a", "es")
    off = await config.deactivate(ACCOUNT, "a", "es", "eva")
    assert (off.state, off.actor) == (ActivationState.INACTIVE, "eva")
    assert await config.deactivate(ACCOUNT, "a", "es", "bob") == off
    ended = config.snapshot.verdict(1, 1, 0, 1)
    assert ended == (State.CANCELLED, Reason.RULE_INACTIVE)
    await config.activate(ACCOUNT, "a", "es")
    assert config.snapshot.verdict(1, 1, 0, 1) is None, "in time again"


async def test_email_needs_a_sender(config: Registry) -> None:
    await config.create_channel(channel("bare", email_sender=None))
    await config.create_rule(rule("a", steps=[step(medium=Medium.SMS), step("off", enabled=False)]))
    with pytest.raises(FailedPrecondition) as caught:
        await config.activate(ACCOUNT, "a", "bare")
    assert caught.value.field == "channel.email_sender"
    sms = await config.create_rule(rule("b", steps=[step(medium=Medium.SMS)]))
    await config.activate(ACCOUNT, "b", "bare")
    with pytest.raises(FailedPrecondition) as caught:
        await config.update_rule(replace(sms, steps=[step()]))
    assert caught.value.field == "channel.email_sender"
    await config.activate(ACCOUNT, "a", "es")
    with pytest.raises(FailedPrecondition) as caught:
        await config.update_channel(channel("es", email_sender=None))
    assert caught.value.field == "channel.email_sender"


async def test_an_active_rule_cannot_move_into_a_slot_that_is_held(config: Registry) -> None:
    """R37: never two in one slot, and the error names who holds it."""
    await config.create_rule(rule("a"))
    moving = await config.create_rule(rule("b", event_type="delivery"))
    await config.activate(ACCOUNT, "a", "es")
    await config.activate(ACCOUNT, "b", "es")
    with pytest.raises(FailedPrecondition, match="rules/a is active on accounts/shop/channels/es"):
        await config.update_rule(replace(moving, event_type="checkout"))
    await config.deactivate(ACCOUNT, "a", "es")
    await config.update_rule(replace(moving, event_type="checkout"))
    assert active_on(config, "es") == {"b"}


async def test_a_channel_goes_only_when_nothing_is_active_there(config: Registry) -> None:
    await config.create_rule(rule("a"))
    await config.create_rule(rule("b"))
    await config.activate(ACCOUNT, "a", "es")
    await config.activate(ACCOUNT, "b", "es")
    with pytest.raises(FailedPrecondition, match="accounts/shop/rules/b active"):
        await config.delete_channel(ACCOUNT, "es")
    await config.deactivate(ACCOUNT, "b", "es")
    await config.delete_channel(ACCOUNT, "es")
    assert config.snapshot.channel(ACCOUNT, "es") is None
    await config.create_channel(channel("es"))
    assert config.snapshot.activations(ACCOUNT) == (), "another channel, though of the same id"
    assert config.snapshot.verdict(1, 1, 0, 1) == (State.CANCELLED, Reason.RULE_INACTIVE)


# --- once, whoever else writes --------------------------------------------------------------------


async def test_a_write_starts_again_when_another_was_faster(
    config: Registry, store: UnsteadyStore
) -> None:
    store.rival, store.rival_writes = await opened(store), 3
    created = await config.create_channel(channel("late"))
    assert created.number == 6
    assert len(config.snapshot.channels(ACCOUNT)) == 6


async def test_a_write_gives_up_after_many_defeats(
    config: Registry, store: UnsteadyStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer, "WRITE_ATTEMPTS_MAX", 3)
    store.rival, store.rival_writes = await opened(store), 9
    with pytest.raises(Conflict, match="try again"):
        await config.create_channel(channel("late"))
    assert config.snapshot.channel(ACCOUNT, "late") is None


async def test_a_request_id_gives_the_first_answer_again(config: Registry) -> None:
    first = await config.create_rule(rule("a"), op_id="uuid")
    await config.update_rule(replace(first, priority=9))
    revision = config.snapshot.revision
    assert await config.create_rule(rule("a"), op_id="uuid") == first
    assert config.snapshot.revision == revision
    swap = await config.activate(ACCOUNT, "a", "es", "eva", "swap")
    assert await config.activate(ACCOUNT, "a", "es", "eva", "swap") == swap
    await config.delete_rule(ACCOUNT, "a", op_id="gone")
    await config.delete_rule(ACCOUNT, "a", op_id="gone")


async def test_a_request_id_belongs_to_one_request(config: Registry) -> None:
    await config.create_rule(rule("a"), op_id="uuid")
    with pytest.raises(InvalidField) as caught:
        await config.create_rule(rule("b"), op_id="uuid")
    assert caught.value.field == "request_id"


async def test_a_request_id_belongs_to_one_account(config: Registry) -> None:
    await config.ensure_account("other")
    await config.create_cap(cap("x"), op_id="uuid")
    other = await config.create_cap(replace(cap("x"), account="other"), op_id="uuid")
    assert other.account == "other"


async def test_an_update_without_effect_is_remembered_too(config: Registry) -> None:
    es = config.snapshot.channels(ACCOUNT)[0]
    await config.update_channel(es, op_id="uuid")
    newer = await config.update_channel(replace(es, display_name="Tienda"))
    assert (await config.update_channel(es, op_id="uuid")).display_name == es.display_name
    assert config.snapshot.channel(ACCOUNT, "es") == newer


async def test_the_same_request_at_the_same_time_happens_once(
    config: Registry, store: UnsteadyStore
) -> None:
    other = await opened(store)
    answers = await asyncio.gather(
        *(each.create_channel(channel("new"), op_id="uuid") for each in (config, other) * 3)
    )
    assert all(answer == answers[0] for answer in answers)


async def test_a_lost_answer_is_found_again(config: Registry, store: UnsteadyStore) -> None:
    store.loses_answers = 1
    with pytest.raises(StoreUnavailable):
        await config.create_rule(rule("a"), op_id="uuid")
    created = await config.create_rule(rule("a"), op_id="uuid")
    assert config.snapshot.rule(ACCOUNT, "a") == created


async def test_validate_only_changes_nothing(config: Registry, bites: list[int]) -> None:
    await config.create_rule(rule("a"))
    revision = config.snapshot.revision
    answer = await config.create_rule(rule("b"), "uuid", validate_only=True)
    assert answer.number == 2
    on, _ = await config.activate(ACCOUNT, "a", "es", validate_only=True)
    assert on.state == ActivationState.ACTIVE
    await config.delete_rule(ACCOUNT, "a", validate_only=True)
    with pytest.raises(AlreadyExists):
        await config.create_rule(rule("a"), validate_only=True)
    assert config.snapshot.revision == revision
    assert bites == []
    assert (await config.create_rule(rule("b"), "uuid")).id == "b", "the id is not used up"


async def test_refresh_sees_what_others_wrote(config: Registry, store: UnsteadyStore) -> None:
    other = await opened(store)
    assert not await other.refresh()
    await config.create_rule(rule("a"))
    assert other.snapshot.rule(ACCOUNT, "a") is None
    assert await other.refresh()
    assert other.snapshot.rule(ACCOUNT, "a") is not None
    assert other.snapshot.revision == config.snapshot.revision


async def test_own_writes_and_a_fresh_load_give_the_same(
    config: Registry, store: UnsteadyStore
) -> None:
    await config.create_rule(rule("a"))
    await config.activate(ACCOUNT, "a", "es")
    await config.update_rule(rule("a", priority=3))
    assert (await opened(store)).snapshot.state == config.snapshot.state == await store.load()


async def test_every_write_says_who_and_when(config: Registry) -> None:
    """R24, R44 and A33 ask for audit entries."""
    await config.create_rule(rule("a"), actor="eva")
    await config.activate(ACCOUNT, "a", "es", "bob")
    created, activated = (await noted(config))[-2:]
    assert (created.actor, created.time_ms) == ("eva", NOW)
    assert (created.method, created.resource) == ("create_rule", "accounts/shop/rules/a")
    assert activated.actor == "bob"
    assert activated.method == "activate"
    assert activated.resource == "accounts/shop/channels/es/activations/a"
    assert activated.revision == config.snapshot.revision


# --- what must bite at once -----------------------------------------------------------------------


async def test_what_must_bite_does_so_before_it_is_answered(
    config: Registry, bites: list[int]
) -> None:
    """R13: event type off, rule off, rule deleted, step off; and caps, which hold at once."""
    made = await config.create_rule(rule("a"))
    assert bites == []

    async def bite_of(write: object) -> None:
        before = len(bites)
        await write  # type: ignore[misc]
        assert bites[before:] == [config.snapshot.revision]

    await bite_of(config.activate(ACCOUNT, "a", "es"))
    await bite_of(config.update_event_type(event_type("checkout", active=False)))
    await bite_of(config.update_event_type(event_type("checkout", active=True)))
    await bite_of(config.update_rule(replace(made, steps=[step(enabled=False)])))
    await bite_of(config.deactivate(ACCOUNT, "a", "es"))
    await bite_of(config.delete_rule(ACCOUNT, "a"))
    await bite_of(config.create_cap(cap("tight", scope=CapScope.ACCOUNT)))
    await bite_of(config.update_cap(cap("tight", limit=0)))
    await bite_of(config.delete_cap(ACCOUNT, "tight"))


async def test_what_changes_nothing_that_waits_does_not_bite(
    config: Registry, bites: list[int]
) -> None:
    made = await config.create_rule(rule("a"))
    await config.update_rule(replace(made, priority=9, steps=[step(), step("second")]))
    await config.update_event_type(replace(event_type("checkout"), display_name="Order"))
    await config.update_channel(channel("es", display_name="Tienda"))
    await config.create_channel(channel("new"))
    assert bites == []


async def test_a_repetition_bites_again(config: Registry, store: UnsteadyStore) -> None:
    """The first time, the write arrived and the bite did not."""
    await config.create_rule(rule("a"))
    await config.activate(ACCOUNT, "a", "es")
    seen: list[int] = []

    async def bite(revision: int) -> None:
        seen.append(revision)
        if len(seen) % 2 == 1:
            raise StoreUnavailable("no partition answered")

    config.on_bite.append(bite)
    with pytest.raises(StoreUnavailable):
        await config.deactivate(ACCOUNT, "a", "es")
    await config.deactivate(ACCOUNT, "a", "es")
    assert seen == [config.snapshot.revision] * 2
    with pytest.raises(StoreUnavailable):
        await config.delete_rule(ACCOUNT, "a", op_id="uuid")
    await config.delete_rule(ACCOUNT, "a", op_id="uuid")
    assert seen[2:] == [config.snapshot.revision] * 2


async def test_conditions_survive_the_store(config: Registry, store: UnsteadyStore) -> None:
    tree = ["&&", [["==", ["field", "order.status"], "paid"], ["const", 2**53 + 1, 1.5, None]]]
    written = await config.create_rule(rule("a", condition=Condition("order.status", tree)))
    read = (await opened(store)).snapshot.rule(ACCOUNT, "a")
    assert read == written
    assert msgspec.json.encode(read) == msgspec.json.encode(written)
    revision = config.snapshot.revision
    with_tuples = Condition("order.status", [tree[0], tuple(tree[1])])
    again = await config.update_rule(rule("a", condition=with_tuples))
    assert (again.revision, config.snapshot.revision) == (1, revision)
