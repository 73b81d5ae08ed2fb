"""Which transport a letter takes, when it is made, and when another takes its place."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest
from msgspec.structs import replace

from core.errors import FailedPrecondition, InvalidField
from core.model import Medium
from core.registry.registry import Registry
from core.registry.resources import Channel
from core.registry.senders import Sender, SenderKind
from core.sending import Delivery, Letter
from senders.desk import SENDERS_MAX, SenderDesk
from senders.postbox import NO_TRANSPORT, Postbox
from tests.letters import make_letter
from tests.support.configuration import ACCOUNT
from tests.support.registries import registry_with_channels, watch_bites

pytestmark = pytest.mark.asyncio
SMS = Medium.SMS


class Small:
    """A transport that tells who it is, and waits for leave to close."""

    holds_unknown = True

    def __init__(self, sender: Sender, places: int = 3) -> None:
        self.sender = sender
        self.places = places
        self.may_close = asyncio.Event()
        self.is_closed = False

    def free(self) -> int:
        return self.places

    def prepare(self, letter: Letter) -> bytes:
        return self.sender.origin.encode()

    async def send(self, letters: Sequence[tuple[Letter, bytes]]) -> list[Delivery]:
        return [Delivery(Delivery.Kind.ACCEPTED, self.sender.origin) for _ in letters]

    async def close(self) -> None:
        await self.may_close.wait()
        self.is_closed = True


def texts(id: str = "texts", **fields: object) -> Sender:
    values = {
        "kind": SenderKind.SMS_TWILIO, "provider_account": "AC1", "origin": "+1",
        "credential": "secret:x", **fields,
    }  # fmt: skip
    return Sender(account=ACCOUNT, id=id, **values)  # type: ignore[arg-type]


class Desk:
    """A registry whose channel `es` sends SMS by `texts`, and a postbox upon it."""

    def __init__(self, config: Registry) -> None:
        self.config = config
        self.made: list[Small] = []
        self.desk = SenderDesk(lambda: config.snapshot, self._make)
        self.postbox = Postbox({}, self.desk)

    def _make(self, sender: Sender) -> Small:
        if sender.origin == "broken":
            raise InvalidField("no", field="x")
        self.made.append(Small(sender))
        return self.made[-1]

    def channel(self, id: str = "es") -> Channel:
        found = self.config.snapshot.channel(ACCOUNT, id)
        assert found is not None
        return found

    def letter(self, id: str = "es") -> Letter:
        return make_letter(1, medium=SMS, channel=self.channel(id))


async def opened() -> Desk:
    config = await registry_with_channels()
    await config.create_sender(texts())
    desk = Desk(config)
    await config.update_channel(replace(desk.channel(), senders={SMS: "texts"}))
    return desk


# --- the registry ---------------------------------------------------------------------------------


async def test_c15_senders_in_the_registry() -> None:
    """C15: a change bites, one that a channel names stays, its kind too; numbers are given once."""
    config = (await opened()).config
    bites = watch_bites(config)
    changed = await config.update_sender(texts(origin="+2"))
    assert bites
    assert config.snapshot.senders(ACCOUNT) == (changed,)
    assert changed.medium is SMS
    with pytest.raises(FailedPrecondition, match="channels/es"):
        await config.delete_sender(ACCOUNT, "texts")
    with pytest.raises(InvalidField, match="SMS_TWILIO and stays so"):
        await config.update_sender(texts(kind=SenderKind.WEBHOOK))
    channel = config.snapshot.channel(ACCOUNT, "es")
    assert channel is not None
    with pytest.raises(InvalidField, match="sends SMS, not WHATSAPP"):
        await config.update_channel(replace(channel, senders={Medium.WHATSAPP: "texts"}))
    await config.update_channel(replace(channel, senders={}))
    await config.delete_sender(ACCOUNT, "texts")
    assert (await config.create_sender(texts())).number == 2


# --- which transport ------------------------------------------------------------------------------


async def test_a_transport_is_made_once_and_shared_by_channels() -> None:
    one = await opened()
    await one.config.update_channel(replace(one.channel("fr"), senders={SMS: "texts"}))
    letters = [(one.letter(id), b"") for id in ("es", "fr", "es")]
    assert not one.made
    assert [d.detail for d in await one.postbox.send(letters)] == ["+1"] * 3
    assert len(one.made) == 1


async def test_a_change_makes_another_and_the_old_one_ends_its_letters() -> None:
    one = await opened()
    assert one.postbox.prepare(one.letter()) == b"+1"
    await one.config.update_sender(texts(origin="+2"))
    assert one.postbox.prepare(one.letter()) == b"+2"
    old, new = one.made
    await asyncio.sleep(0)
    assert not old.is_closed
    closing = asyncio.create_task(one.postbox.close())
    await asyncio.sleep(0)
    assert not closing.done(), "what is under way ends first"
    old.may_close.set()
    new.may_close.set()
    await closing
    await one.postbox.close()
    assert (old.is_closed, new.is_closed) == (True, True)


async def test_media_are_supported_by_channel() -> None:
    one = await opened()
    assert one.postbox.supports(SMS, one.channel("es"))
    assert not one.postbox.supports(SMS, one.channel("fr"))
    assert not one.postbox.supports(SMS)
    assert (one.postbox.free(SMS, one.channel("es")), one.postbox.free(SMS)) == (3, 0)
    assert [one.postbox.holds_unknown(medium) for medium in range(1, 5)] == [
        False,
        True,
        True,
        False,
    ]
    assert await one.postbox.send([(one.letter("fr"), b"")]) == [NO_TRANSPORT]


async def test_a_sender_that_cannot_be_made_is_not_supported_until_it_is_mended() -> None:
    one = await opened()
    await one.config.update_sender(texts(origin="broken"))
    assert not one.postbox.supports(SMS, one.channel())
    await one.config.update_sender(texts(origin="+3"))
    assert one.postbox.prepare(one.letter()) == b"+3"


async def test_a_channel_whose_sender_is_gone_does_not_fall_back_to_the_daemon_s() -> None:
    """Who has chosen a sender does not want another."""
    one = await opened()
    stale = replace(one.channel(), senders={SMS: "gone"})
    postbox = Postbox({SMS: Small(texts(origin="daemon"))}, one.desk)
    assert not postbox.supports(SMS, stale)
    assert postbox.supports(SMS, one.channel("fr"))


async def test_transports_that_were_not_used_for_longest_are_closed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import senders.desk as module

    assert SENDERS_MAX >= 1_000
    monkeypatch.setattr(module, "SENDERS_MAX", 1)
    one = await opened()
    await one.config.create_sender(texts("more", origin="+9"))
    await one.config.update_channel(replace(one.channel("fr"), senders={SMS: "more"}))
    one.postbox.prepare(one.letter("es"))
    one.postbox.prepare(one.letter("fr"))
    one.made[0].may_close.set()
    await asyncio.sleep(0.01)
    assert [made.is_closed for made in one.made] == [True, False]
