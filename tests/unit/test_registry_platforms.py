"""Review platforms in the registry, and how channels divide their requests (A29, R47)."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from core.errors import FailedPrecondition, InvalidField
from core.model import Family
from core.registry.diversion_parts import Diversion, PlatformKind, Weight
from core.registry.registry import Registry
from core.registry.resources import Channel, Platform
from tests.support.configuration import ACCOUNT
from tests.support.registries import registry_with_channels, watch_bites


def platform(id: str = "trustpilot", **fields: object) -> Platform:
    values = {
        "kind": PlatformKind.TRUSTPILOT, "review_types": (Family.SERVICE_REVIEW,),
        "review_url": "https://r.example/",
    }  # fmt: skip
    return Platform(account=ACCOUNT, id=id, **{**values, **fields})  # type: ignore[arg-type]


async def divided(config: Registry, *weights: Weight, renew: bool = False) -> Channel:
    present = config.snapshot.channel(ACCOUNT, "es")
    assert present is not None
    return await config.update_channel(
        replace(present, diversion=Diversion(weights, renews_salt=renew))
    )


@pytest.mark.asyncio
async def test_a_platform_is_created_read_changed_and_deleted() -> None:
    config = await registry_with_channels()
    bites = watch_bites(config)
    created = await config.create_platform(platform())
    assert created.number == 1
    assert config.snapshot.platforms(ACCOUNT) == (created,)
    assert not bites
    changed = await config.update_platform(replace(created, review_url="https://s.example/"))
    assert config.snapshot.platform(ACCOUNT, "trustpilot") == changed
    assert changed.number == 1
    assert bites, "a new link holds for all that has not gone out"
    await config.delete_platform(ACCOUNT, "trustpilot", changed.etag)
    assert not config.snapshot.platforms(ACCOUNT)
    assert (await config.create_platform(platform())).number == 2


@pytest.mark.asyncio
async def test_the_own_platform_is_built_in() -> None:
    config = await registry_with_channels()
    with pytest.raises(InvalidField, match="built in"):
        await config.create_platform(platform("own"))


@pytest.mark.asyncio
async def test_a29_a_platform_that_a_channel_names_is_not_deleted() -> None:
    """A29: and a channel names none that is not there."""
    config = await registry_with_channels()
    with pytest.raises(InvalidField, match="platforms/trustpilot does not exist") as caught:
        await divided(config, Weight("trustpilot", 10))
    assert caught.value.field == "channel.diversion.weights[0].platform"
    await config.create_platform(platform())
    await divided(config, Weight("trustpilot", 10))
    with pytest.raises(FailedPrecondition, match="channels/es"):
        await config.delete_platform(ACCOUNT, "trustpilot")
    await divided(config)
    await config.delete_platform(ACCOUNT, "trustpilot")


@pytest.mark.asyncio
async def test_d6_the_salt_is_made_once_and_never_changes_unless_asked() -> None:
    """d6: with the first weights; weights that change, go and come back leave it."""
    config = await registry_with_channels()
    for id in ("trustpilot", "google"):
        await config.create_platform(platform(id))
    first = await divided(config)
    assert first.diversion is None
    salt = (await divided(config, Weight("trustpilot", 10))).diversion.salt  # type: ignore[union-attr]
    assert len(salt) == 32
    for weights in ([Weight("google", 5)], [], [Weight("trustpilot", 99), Weight("google", 1)]):
        changed = await divided(config, *weights)
        assert changed.diversion is not None
        assert changed.diversion.salts == (salt,)
        assert changed.diversion.weights == tuple(weights)
    renewed = await divided(config, Weight("google", 5), renew=True)
    assert renewed.diversion is not None
    assert renewed.diversion.salts[0] == salt != renewed.diversion.salt
    assert not renewed.diversion.renews_salt
    again = await divided(config, Weight("google", 5))
    assert again.changed_revision == renewed.changed_revision, "nothing changed"


@pytest.mark.asyncio
async def test_every_channel_has_a_salt_of_its_own() -> None:
    config = await registry_with_channels()
    await config.create_platform(platform())
    salts = set()
    for id in ("es", "fr"):
        present = config.snapshot.channel(ACCOUNT, id)
        assert present is not None
        weights = Diversion((Weight("trustpilot", 10),))
        changed = await config.update_channel(replace(present, diversion=weights))
        assert changed.diversion is not None
        salts.add(changed.diversion.salt)
    assert len(salts) == 2


@pytest.mark.asyncio
async def test_weights_do_not_bite() -> None:
    """Weights hold for what is planned from now on, so nobody must wait for them (R13)."""
    config = await registry_with_channels()
    await config.create_platform(platform())
    bites = watch_bites(config)
    await divided(config, Weight("trustpilot", 10))
    assert not bites
