"""SenderService, and what channels send by, as a client sees them (C15)."""

from __future__ import annotations

import asyncio
import uuid
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.field_mask_pb2 import FieldMask

from afterword.v1 import audit_service_pb2, channel_service_pb2, simulation_service_pb2, types_pb2
from afterword.v1 import sender_service_pb2 as pb2
from afterword.v1 import simulation_service_pb2_grpc as simulation_grpc
from control.cli.main import main
from tests.control.kit import PARENT, Shop, event_pb, refused, unique, with_unknown_field

pytestmark = pytest.mark.asyncio(loop_scope="module")
Kind = pb2.Sender

TWILIO: dict[str, Any] = {
    "kind": Kind.KIND_SMS_TWILIO, "provider_account": "AC12ab", "origin": "+34910000000",
    "credential": "secret:twilio",
}  # fmt: skip
WHATSAPP: dict[str, Any] = {
    "kind": Kind.KIND_WHATSAPP_CLOUD, "origin": "1010", "credential": "secret:meta",
}  # fmt: skip
HOOK: dict[str, Any] = {
    "kind": Kind.KIND_WEBHOOK, "endpoint": "https://erp.shop.example/hooks?x=1",
    "credential": "secret:hook",
}  # fmt: skip
SMTP: dict[str, Any] = {
    "kind": Kind.KIND_SMTP, "endpoint": "smtps://mail.shop.example:465", "provider_account": "u",
    "credential": "secret:mail",
}  # fmt: skip


def create(sender_id: str = "", **fields: Any) -> pb2.CreateSenderRequest:
    return pb2.CreateSenderRequest(
        parent=PARENT, sender_id=sender_id or unique("sender"), sender=pb2.Sender(**fields)
    )


def use(channel: str, medium: int, sender: str) -> channel_service_pb2.UpdateChannelRequest:
    named = [channel_service_pb2.Channel.MediumSender(medium=medium, sender=sender)]  # type: ignore[arg-type]
    return channel_service_pb2.UpdateChannelRequest(
        channel=channel_service_pb2.Channel(name=channel, senders=named if sender else []),
        update_mask=FieldMask(paths=["senders"]),
    )


@pytest.mark.parametrize("fields", [TWILIO, WHATSAPP, HOOK, SMTP])
async def test_a_sender_is_created_read_changed_and_deleted(
    shop: Shop, fields: dict[str, Any]
) -> None:
    """C15."""
    request = create(
        **fields, display_name="x", concurrency=7, messages_per_second=0.5, daily_quota=1_000
    )
    request.request_id = str(uuid.uuid4())
    created = await shop.senders.CreateSender(request)
    assert created.name == f"{PARENT}/senders/{request.sender_id}"
    assert await shop.senders.CreateSender(request) == created
    assert await shop.senders.GetSender(pb2.GetSenderRequest(name=created.name)) == created
    listed = await shop.senders.ListSenders(pb2.ListSendersRequest(parent=PARENT, page_size=1_000))
    assert created in listed.senders
    for name, value in fields.items():
        assert getattr(created, name) == value
    changed = await shop.senders.UpdateSender(
        pb2.UpdateSenderRequest(sender=pb2.Sender(name=created.name, daily_quota=2_000))
    )
    assert (changed.daily_quota, changed.messages_per_second) == (2_000, 0.5)
    assert changed.origin == created.origin
    with refused() as refusal:
        await shop.senders.DeleteSender(
            pb2.DeleteSenderRequest(name=created.name, etag=created.etag)
        )
    assert refusal.reason == "ETAG_MISMATCH"
    await shop.senders.DeleteSender(pb2.DeleteSenderRequest(name=created.name, validate_only=True))
    await shop.senders.DeleteSender(pb2.DeleteSenderRequest(name=created.name))
    with refused() as refusal:
        await shop.senders.GetSender(pb2.GetSenderRequest(name=created.name))
    assert refusal.code is grpc.StatusCode.NOT_FOUND


@pytest.mark.parametrize(
    ("fields", "field", "says"),
    [
        ({**TWILIO, "kind": 0}, "sender.kind", "KIND_SMTP"),
        ({**TWILIO, "provider_account": ""}, "sender.provider_account", "AC"),
        ({**TWILIO, "provider_account": "AC/../x"}, "sender.provider_account", "letters or digits"),
        ({**TWILIO, "origin": ""}, "sender.origin", "+4930123456"),
        ({**TWILIO, "origin": "12345"}, "sender.origin", "messaging service"),
        ({**TWILIO, "origin": "Much too long"}, "sender.origin", "11 letters"),
        ({**TWILIO, "origin": "a\r\nb"}, "sender.origin", "number"),
        ({**TWILIO, "credential": ""}, "sender.credential", "secret:<name>"),
        ({**TWILIO, "credential": "hunter2"}, "sender.credential", "does not tell it"),
        ({**TWILIO, "credential": "env:PATH"}, "sender.credential", "secret:<name>"),
        ({**TWILIO, "credential": "file:/etc/passwd"}, "sender.credential", "secret:<name>"),
        ({**TWILIO, "credential": "secret:../other/x"}, "sender.credential", "secret:<name>"),
        ({**TWILIO, "endpoint": "https://api.example/?a=b"}, "sender.endpoint", "no query"),
        ({**TWILIO, "endpoint": "https://10.1.1.1"}, "sender.endpoint", "private network"),
        ({**WHATSAPP, "origin": "+34910000000"}, "sender.origin", "digits"),
        ({**WHATSAPP, "provider_account": "x"}, "sender.provider_account", "empty"),
        ({**HOOK, "endpoint": ""}, "sender.endpoint", "https"),
        ({**HOOK, "origin": "x"}, "sender.origin", "empty"),
        ({**SMTP, "endpoint": ""}, "sender.endpoint", "mail server"),
        ({**SMTP, "endpoint": "smtp+plain://mail.shop.example"}, "sender.endpoint", "TLS"),
        ({**SMTP, "provider_account": ""}, "sender.credential", "provider_account"),
        ({**SMTP, "concurrency": 65}, "sender.concurrency", "64"),
        ({**TWILIO, "concurrency": -1}, "sender.concurrency", "256"),
        ({**TWILIO, "messages_per_second": float("nan")}, "sender.messages_per_second", "10,000"),
        ({**TWILIO, "daily_quota": -1}, "sender.daily_quota", "0 to"),
        ({**TWILIO, "display_name": "x" * 201}, "sender.display_name", "200"),
    ],
)
async def test_a_wrong_sender_is_refused_with_what_would_be_right(
    shop: Shop, fields: dict[str, Any], field: str, says: str
) -> None:
    with refused() as refusal:
        await shop.senders.CreateSender(create(**fields))
    assert refusal.code in (grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.OUT_OF_RANGE)
    assert refusal.field == field
    assert says in refusal.problem.message
    assert "hunter2" not in refusal.problem.message


async def test_the_kind_stays_and_unknown_fields_are_refused(shop: Shop) -> None:
    created = await shop.senders.CreateSender(create(**TWILIO))
    with refused() as refusal:
        await shop.senders.UpdateSender(
            pb2.UpdateSenderRequest(
                sender=pb2.Sender(name=created.name, **HOOK),
                update_mask=FieldMask(paths=["*"]),
            )
        )
    assert refusal.field == "sender.kind"
    with refused() as refusal:
        request = with_unknown_field(create(**TWILIO), "sender")
        await shop.senders.CreateSender(request)
    assert (refusal.reason, refusal.field) == ("FIELD_UNKNOWN", "sender")
    with refused() as refusal:
        await shop.senders.CreateSender(create(created.name.rpartition("/")[2], **TWILIO))
    assert refusal.code is grpc.StatusCode.ALREADY_EXISTS
    with refused() as refusal:
        await shop.senders.GetSender(pb2.GetSenderRequest(name="accounts/other/senders/x"))
    assert refusal.code is grpc.StatusCode.NOT_FOUND


async def test_a_channel_names_senders_that_are_there_and_fit(shop: Shop) -> None:
    """C15: and one that is named is not deleted."""
    channel = await shop.create_channel()
    texts = (await shop.senders.CreateSender(create(**TWILIO))).name
    with refused() as refusal:
        await shop.channels.UpdateChannel(use(channel, types_pb2.MEDIUM_SMS, f"{PARENT}/senders/x"))
    assert refusal.field == "channel.senders[0].sender"
    assert "does not exist" in refusal.problem.message
    with refused() as refusal:
        await shop.channels.UpdateChannel(use(channel, types_pb2.MEDIUM_WHATSAPP, texts))
    assert "sends SMS, not WHATSAPP" in refusal.problem.message
    with refused() as refusal:
        await shop.channels.UpdateChannel(use(channel, 0, texts))
    assert refusal.field == "channel.senders[0].medium"
    with refused() as refusal:
        await shop.channels.UpdateChannel(
            use(channel, types_pb2.MEDIUM_SMS, "accounts/other/senders/x")
        )
    assert refusal.code is grpc.StatusCode.NOT_FOUND
    changed = await shop.channels.UpdateChannel(use(channel, types_pb2.MEDIUM_SMS, texts))
    assert [(one.medium, one.sender) for one in changed.senders] == [(types_pb2.MEDIUM_SMS, texts)]
    with refused() as refusal:
        await shop.senders.DeleteSender(pb2.DeleteSenderRequest(name=texts))
    assert refusal.code is grpc.StatusCode.FAILED_PRECONDITION
    assert channel in refusal.problem.message
    await shop.channels.UpdateChannel(use(channel, types_pb2.MEDIUM_SMS, ""))
    await shop.senders.DeleteSender(pb2.DeleteSenderRequest(name=texts))


async def test_who_changed_a_sender_is_noted(shop: Shop) -> None:
    created = await shop.senders.CreateSender(create(**TWILIO))
    found = await shop.audit.ListAuditEntries(
        audit_service_pb2.ListAuditEntriesRequest(parent=PARENT, page_size=1)
    )
    (entry,) = found.entries
    assert entry.resource == created.name
    assert "secret:twilio" in str(entry), "the name of the secret, which is all that is stored"


FILE = """
senders:
  - id: texts
    kind: KIND_SMS_TWILIO
    provider_account: AC1
    origin: "+34910000000"
    credential: secret:twilio
channels:
  - id: cadiz
    display_name: Cadiz
    time_zone: Europe/Madrid
    locale: es_ES
    email_sender: {address: hola@shop.example}
    consent_mode: CONSENT_MODE_SHOP_ATTESTS
    senders: [{medium: MEDIUM_SMS, sender: accounts/default/senders/texts}]
rules:
  - id: text-in-cadiz
    display_name: Text
    family: FAMILY_NOTIFICATION
    purpose: PURPOSE_TRANSACTIONAL
    trigger: {event_type: checkout}
    steps: [{id: one, wait: {days: 0}, actions: [{medium: MEDIUM_SMS, body: Thanks.}]}]
activations:
  - {rule: text-in-cadiz, channel: cadiz}
"""


@pytest.mark.integration
async def test_senders_are_applied_simulated_and_pruned(
    shop: Shop, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """C15: a file without the sender is refused before anything is written."""

    async def run(*words: str) -> tuple[int, str]:
        command = [*words, "--address", shop.daemon.grpc_address]
        code = await asyncio.to_thread(main, command)
        told = capsys.readouterr()
        return code, told.out + told.err

    async def apply(text: str, *options: str) -> tuple[int, str]:
        file = tmp_path / "shop.yaml"
        file.write_text(text, encoding="utf-8")
        return await run("apply", "-f", str(file), "--yes", *options)

    lines = FILE.splitlines(keepends=True)
    code, told = await apply("".join(line for line in lines if "senders: [{" not in line))
    assert (code, "has no sender for it" in told) == (1, True), told
    assert (await apply(FILE))[0] == 0
    assert "nothing to change" in (await apply(FILE))[1]
    stub = simulation_grpc.SimulationServiceStub(shop.channel)
    event = event_pb(f"{PARENT}/channels/cadiz")
    event.contact.phone = "+34611111111"
    request = simulation_service_pb2.SimulateRequest(
        parent=PARENT, use_current_configuration=True, events=[event]
    )
    outcomes = [one async for part in stub.Simulate(request) for one in part.outcomes]
    assert [one.medium for one in outcomes] == [types_pb2.MEDIUM_SMS]
    code, told = await apply(FILE[FILE.index("channels:") :].split("    senders:")[0], "--prune")
    assert code == 0, told
    listed = await shop.senders.ListSenders(pb2.ListSendersRequest(parent=PARENT))
    assert not listed.senders


@pytest.mark.integration
async def test_the_command_line_manages_senders(
    shop: Shop, capsys: pytest.CaptureFixture[str]
) -> None:
    """C15."""

    async def run(*words: str) -> tuple[int, str]:
        command = ["senders", *words, "--address", shop.daemon.grpc_address]
        code = await asyncio.to_thread(main, command)
        told = capsys.readouterr()
        return code, told.out + told.err

    channel = (await shop.create_channel()).rpartition("/")[2]
    code, told = await run(
        "create", "cli-texts", "--kind", "sms-twilio", "--provider-account", "AC1", "--origin",
        "Shop", "--credential", "secret:twilio", "--messages-per-second", "2.5",
    )  # fmt: skip
    assert code == 0, told
    assert "2.5" in told
    assert (await run("update", "cli-texts", "--origin", "+34910000000"))[0] == 0
    assert "+34910000000" in (await run("get", "cli-texts"))[1]
    assert "secret:twilio" in (await run("list"))[1]
    assert "sms=cli-texts" in (await run("use", channel, "sms=cli-texts"))[1]
    code, told = await run("use", channel, "smoke=cli-texts")
    assert (code, "MEDIUM=SENDER" in told) == (2, True)
    code, told = await run("delete", "cli-texts")
    assert (code, channel in told) == (1, True)
    assert (await run("use", channel))[0] == 0
    code, told = await run("create", "bad", "--kind", "webhook", "--credential", "hunter2")
    assert (code, "sender.credential" in told) == (1, True)
    assert (await run("delete", "cli-texts"))[0] == 0
