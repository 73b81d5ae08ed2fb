"""How a daemon's messages leave, from its settings."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any, cast

import pytest

from control.settings import load
from control.transports import make_postbox
from core.model import Medium
from core.registry.senders import Sender, SenderKind
from core.sending import Delivery
from senders.outbox import PLACES
from senders.postbox import Postbox
from tests.letters import make_letter

NAME = "mail.shop.example"


def postbox_of(tmp_path: Path, **mail: Any) -> Postbox:
    """Return the way out of a daemon that has no links in its messages, and no channels."""
    chosen = {f"mail.{name}": value for name, value in mail.items()}
    options = {**chosen, "store.data_dir": str(tmp_path), "allow.private_endpoints": True}
    return make_postbox(load(options), cast(Any, None), cast(Any, None))


async def test_the_daemon_s_own_way_out_has_a_pace_if_it_is_told_one(tmp_path: Path) -> None:
    free = postbox_of(tmp_path)
    assert free.free(Medium.EMAIL) == PLACES
    paced = postbox_of(tmp_path, messages_per_second=0.01)
    assert paced.free(Medium.EMAIL) == 1
    letter = make_letter()
    (delivery,) = await paced.send([(letter, paced.prepare(letter))])
    assert delivery.kind is Delivery.Kind.ACCEPTED
    assert paced.free(Medium.EMAIL) == 0
    assert paced.holds_unknown(Medium.EMAIL) is False
    await paced.close()
    await free.close()
    assert paced.free(Medium.EMAIL) == 0


@pytest.mark.parametrize("is_sender", [True, False])
async def test_mail_servers_are_told_the_name_of_this_machine(
    tmp_path: Path, is_sender: bool
) -> None:
    said: list[bytes] = []

    async def listen(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 x\r\n")
        said.append(await reader.readline())
        writer.close()

    server = await asyncio.start_server(listen, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    letter = make_letter()
    postbox = postbox_of(tmp_path, host="127.0.0.1", port=port, helo_name=NAME)
    if is_sender:
        assert postbox._desk is not None
        endpoint = f"smtp+plain://127.0.0.1:{port}"
        sender = Sender(account="acme", id="relay", kind=SenderKind.SMTP, endpoint=endpoint)
        postbox = Postbox({Medium.EMAIL: postbox._desk._make(sender)})
    (delivery,) = await postbox.send([(letter, postbox.prepare(letter))])
    assert delivery.kind is Delivery.Kind.DEFERRED
    assert said == [f"EHLO {NAME}\r\n".encode()]
    await postbox.close()
    server.close()
