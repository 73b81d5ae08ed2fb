from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from core.errors import RenderingFailed
from core.model import Medium
from core.sending import Delivery, Letter
from senders import outbox as module
from senders.counting import CountingTransport
from senders.outbox import OutboxTransport
from senders.postbox import Postbox
from tests.letters import make_letter

pytestmark = pytest.mark.integration

Kind = Delivery.Kind


def prepared(transport: OutboxTransport, *letters: Letter) -> list[tuple[Letter, bytes]]:
    return [(letter, transport.prepare(letter)) for letter in letters]


def names_in(folder: Path) -> list[str]:
    return os.listdir(folder)


async def test_each_letter_is_a_file_that_only_the_owner_reads(tmp_path: Path) -> None:
    transport = OutboxTransport(tmp_path / "a" / "b")
    sent = prepared(transport, make_letter(1), make_letter(2))
    deliveries = await transport.send(sent)
    assert [d.kind for d in deliveries] == [Kind.ACCEPTED] * 2
    for letter, message in sent:
        path = tmp_path / "a" / "b" / f"{letter.delivery_id}.eml"
        assert path.read_bytes() == message
        assert path.stat().st_mode & 0o077 == 0
    assert len(names_in(tmp_path / "a" / "b")) == 2
    assert transport.free() == module.PLACES
    await transport.close()
    await transport.close()
    assert transport.free() == 0
    assert [d.kind for d in await transport.send(sent)] == [Kind.DEFERRED] * 2


async def test_a_second_hand_over_changes_nothing(tmp_path: Path) -> None:
    transport = OutboxTransport(tmp_path)
    letter = make_letter()
    await transport.send([(letter, b"first")])
    assert [d.kind for d in await transport.send([(letter, b"second")])] == [Kind.ACCEPTED]
    assert (tmp_path / "d00000001.eml").read_bytes() == b"first"


@pytest.mark.parametrize("name", ["../x", "a/b", "", ".hidden", "a\0b", "x" * 300])
async def test_a_delivery_id_cannot_leave_the_folder(tmp_path: Path, name: str) -> None:
    transport = OutboxTransport(tmp_path / "box")
    good = make_letter()
    deliveries = await transport.send([(make_letter(delivery_id=name), b"x"), (good, b"y")])
    assert [d.kind for d in deliveries] == [Kind.FAILED, Kind.ACCEPTED]
    assert names_in(tmp_path / "box") == ["d00000001.eml"]


async def test_a_folder_that_cannot_be_made_defers(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    transport = OutboxTransport(tmp_path / "file")
    (delivery,) = await transport.send([(make_letter(), b"x")])
    assert delivery.kind is Kind.DEFERRED
    assert not delivery.was_handed_over
    assert delivery.retry_after_ms > 0
    assert str(tmp_path) not in delivery.detail


async def test_a_full_disk_leaves_no_trace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(descriptor: int) -> None:
        del descriptor
        raise OSError(28, "No space left on device", str(tmp_path))

    transport = OutboxTransport(tmp_path)
    monkeypatch.setattr(os, "fsync", fail)
    (delivery,) = await transport.send([(make_letter(), b"x")])
    assert (delivery.kind, delivery.detail) == (Kind.DEFERRED, "outbox: ENOSPC")
    assert names_in(tmp_path) == []


# --- the postbox, on small transports ---------------------------------------------------------------


class Broken(CountingTransport):
    holds_unknown = True

    async def send(self, letters: object) -> list[Delivery]:
        raise RuntimeError("anna@example.com")

    async def close(self) -> None:
        raise RuntimeError("no")


async def test_the_postbox_routes_by_medium_and_keeps_the_order(tmp_path: Path) -> None:
    emails, texts = OutboxTransport(tmp_path), CountingTransport()
    postbox = Postbox({Medium.EMAIL: emails, Medium.SMS: texts})
    media = [Medium.SMS, Medium.EMAIL, Medium.WHATSAPP, Medium.EMAIL, Medium.SMS]
    letters = [make_letter(n, medium=medium) for n, medium in enumerate(media)]
    deliveries = await postbox.send([(letter, b"xy") for letter in letters])
    assert [d.detail for d in deliveries] == [
        "counted", "written", "no transport for this medium", "written", "counted",
    ]  # fmt: skip
    assert deliveries[2].kind is Kind.FAILED
    assert not deliveries[2].was_handed_over
    assert (texts.letters, texts.message_bytes) == (2, 4)
    assert await postbox.send([]) == []
    assert [postbox.supports(m) for m in (1, 2, 3)] == [True, True, False]
    assert postbox.free(Medium.EMAIL) == module.PLACES
    assert postbox.free(Medium.WHATSAPP) == 0
    assert postbox.prepare(letters[1]).startswith(b"From: ")
    with pytest.raises(RenderingFailed):
        postbox.prepare(letters[2])
    await postbox.close()
    await postbox.close()


async def test_a_broken_transport_does_not_cost_the_others_their_outcomes() -> None:
    counting, broken = CountingTransport(), Broken()
    postbox = Postbox({Medium.EMAIL: counting, Medium.SMS: broken})
    letters = [make_letter(n, medium=n) for n in (Medium.EMAIL, Medium.SMS)]
    deliveries = await postbox.send([(letter, b"") for letter in letters])
    assert [d.kind for d in deliveries] == [Kind.ACCEPTED, Kind.UNKNOWN]
    assert "@" not in deliveries[1].detail
    assert [postbox.holds_unknown(m) for m in (1, 2, 3)] == [False, True, False]
    with pytest.raises(RuntimeError, match="no"):
        await postbox.close()


async def test_close_waits_for_what_is_being_written(tmp_path: Path) -> None:
    transport = OutboxTransport(tmp_path)
    sending = asyncio.create_task(transport.send([(make_letter(n), b"x") for n in range(20)]))
    await asyncio.sleep(0)
    await transport.close()
    assert len(names_in(tmp_path)) == 20
    await sending
