"""The account and what it has booked, carriers, and what of a channel bites."""

from __future__ import annotations

from typing import Any

import pytest
import pytest_asyncio
from msgspec.structs import replace

from core.errors import (
    AlreadyExists,
    FailedPrecondition,
    InvalidField,
    LimitExceeded,
    NotFound,
    RevisionConflict,
)
from core.model import Medium
from core.registry import edits
from core.registry.registry import Registry
from core.registry.resources import Account, Carrier, Entitlement, ProductExclusivity
from core.registry.rule_parts import MediumHours
from tests.support.configuration import ACCOUNT, channel, event_type
from tests.support.registries import NOW, noted, registry_with_channels, watch_bites


@pytest_asyncio.fixture
async def config() -> Registry:
    return await registry_with_channels()


# --- the account ----------------------------------------------------------------------------------


async def test_a_new_account_has_booked_everything(config: Registry) -> None:
    """B26, C2."""
    account = config.snapshot.account(ACCOUNT)
    assert account is not None
    assert account.entitlements == tuple(Entitlement)


async def test_entitlements_change_and_bite(config: Registry) -> None:
    """B26, R13: what is due next is looked at with what is booked by then."""
    before = config.snapshot.account(ACCOUNT)
    assert before is not None
    bites = watch_bites(config)
    wanted = (Entitlement.AUTOMATIONS, Entitlement.PRODUCT_REVIEWS, Entitlement.AUTOMATIONS)
    changed = await config.update_account(
        Account(id=ACCOUNT, entitlements=wanted), before.etag, actor="eva"
    )
    assert changed.entitlements == (Entitlement.PRODUCT_REVIEWS, Entitlement.AUTOMATIONS)
    assert (changed.create_ms, changed.etag != before.etag) == (NOW, True)
    assert bites == [config.snapshot.revision]
    assert config.snapshot.account(ACCOUNT) == changed
    assert (await noted(config))[-1].actor == "eva"
    with pytest.raises(RevisionConflict):
        await config.update_account(Account(id=ACCOUNT), before.etag)
    revision = config.snapshot.revision
    assert await config.update_account(replace(changed, create_ms=1)) == changed
    assert config.snapshot.revision == revision
    assert bites == [revision, revision], "again, in case the first time did not arrive"


async def test_an_account_that_does_not_exist_has_nothing_booked(config: Registry) -> None:
    with pytest.raises(NotFound, match="accounts/nobody"):
        await config.update_account(Account(id="nobody"))


async def test_ensuring_an_account_keeps_what_it_has_booked(config: Registry) -> None:
    await config.update_account(Account(id=ACCOUNT, entitlements=()))
    assert (await config.ensure_account(ACCOUNT)).entitlements == ()


# --- carriers -------------------------------------------------------------------------------------


def carrier(id: str, **fields: Any) -> Carrier:
    return Carrier(account=ACCOUNT, id=id, **fields)


async def test_carriers_are_kept_in_a_directory(config: Registry) -> None:
    """C5, C17, R49; a new address holds for all that has not gone out, so it bites (R13)."""
    bites = watch_bites(config)
    seur = await config.create_carrier(carrier("seur", email="help@seur.example", locale="es"))
    await config.create_carrier(carrier("dhl", phone="+4930000000"))
    assert (seur.number, seur.create_ms) == (1, NOW)
    assert [each.id for each in config.snapshot.carriers(ACCOUNT)] == ["dhl", "seur"]
    assert config.snapshot.carrier(ACCOUNT, "seur") == seur
    assert config.snapshot.carriers("another") == ()
    moved = await config.update_carrier(replace(seur, email="new@seur.example"), seur.etag)
    assert (moved.number, moved.email) == (1, "new@seur.example")
    with pytest.raises(RevisionConflict):
        await config.delete_carrier(ACCOUNT, "seur", seur.etag)
    await config.delete_carrier(ACCOUNT, "seur")
    assert config.snapshot.carrier(ACCOUNT, "seur") is None
    assert len(bites) == 4
    assert (await config.create_carrier(carrier("seur"))).number == 3, "never given twice"


async def test_a_carrier_is_created_once_and_changed_if_it_is_there(
    config: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    await config.create_carrier(carrier("seur"))
    with pytest.raises(AlreadyExists, match="accounts/shop/carriers/seur exists"):
        await config.create_carrier(carrier("seur"))
    with pytest.raises(NotFound, match="accounts/nobody"):
        await config.create_carrier(replace(carrier("x"), account="nobody"))
    for write in (config.update_carrier(carrier("no")), config.delete_carrier(ACCOUNT, "no")):
        with pytest.raises(NotFound, match="carriers/no does not exist"):
            await write
    monkeypatch.setattr(edits, "CARRIERS_PER_ACCOUNT_MAX", 1)
    with pytest.raises(LimitExceeded, match="1 carriers"):
        await config.create_carrier(carrier("dhl"))


# --- channels -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "does_bite"),
    [
        ({"features": ("product-comments",)}, True),
        ({"review_event_types_off": ("checkout",)}, True),
        ({"product_exclusivity": ProductExclusivity.PER_EVENT_TYPE}, True),
        ({"hours": (MediumHours(Medium.SMS, closed_on_holidays=True),)}, False),
        ({"country": "ES"}, False),
        ({"time_zone": "Europe/Paris"}, False),
    ],
)
async def test_what_ends_messages_that_fall_due_bites(
    config: Registry, fields: dict[str, Any], does_bite: bool
) -> None:
    """B9, D10, R13, R37: features, the switch over review requests, and wider or narrower slots."""
    es = config.snapshot.channel(ACCOUNT, "es")
    assert es is not None
    bites = watch_bites(config)
    await config.update_channel(replace(es, **fields))
    assert bites == ([config.snapshot.revision] if does_bite else [])


async def test_a_channel_switches_off_event_types_that_exist(config: Registry) -> None:
    """B1, B9."""
    off = channel("es", review_event_types_off=("checkout", "unheard-of"))
    for write in (config.update_channel(off), config.create_channel(replace(off, id="new"))):
        with pytest.raises(InvalidField) as caught:
            await write
        assert caught.value.field == "channel.review_event_types_off[1]"
    await config.create_event_type(event_type("own"))
    await config.update_channel(channel("es", review_event_types_off=("own",)))
    with pytest.raises(FailedPrecondition, match="is used by accounts/shop/channels/es"):
        await config.delete_event_type(ACCOUNT, "own")
