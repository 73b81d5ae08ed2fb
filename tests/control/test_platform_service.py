"""PlatformService and the division of a channel's requests, as a client sees them."""

from __future__ import annotations

import asyncio
import csv
import uuid
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.field_mask_pb2 import FieldMask

from afterword.v1 import channel_service_pb2, event_pb2, event_service_pb2, types_pb2
from afterword.v1 import invitation_service_pb2 as inv
from afterword.v1 import platform_service_pb2 as pb2
from control.cli.main import main
from core.bounds import DAY_MS
from core.engine.diversion import bucket_of, parse_shares, platform_of
from tests.control.kit import PARENT, Shop, event_pb, refused, step_pb, unique, with_unknown_field

pytestmark = pytest.mark.asyncio(loop_scope="module")
SERVICE = inv.Invitation.REVIEW_TYPE_SERVICE
PRODUCT = inv.Invitation.REVIEW_TYPE_PRODUCT


def platform_pb(**fields: Any) -> pb2.Platform:
    given: dict[str, Any] = {
        "kind": pb2.Platform.KIND_TRUSTPILOT,
        "review_types": [SERVICE],
        "review_url": "https://reviews.example/shop?order={{order_reference}}",
    }
    return pb2.Platform(**{**given, **fields})


def create(platform_id: str = "", **fields: Any) -> pb2.CreatePlatformRequest:
    return pb2.CreatePlatformRequest(
        parent=PARENT, platform_id=platform_id or unique("trust"), platform=platform_pb(**fields)
    )


def weights(**percent: int) -> channel_service_pb2.Diversion:
    return channel_service_pb2.Diversion(
        weights=[
            channel_service_pb2.Diversion.Weight(platform=f"{PARENT}/platforms/{id}", percent=part)
            for id, part in percent.items()
        ]
    )


async def divide(
    shop: Shop, channel: str, diversion: channel_service_pb2.Diversion
) -> channel_service_pb2.Channel:
    return await shop.channels.UpdateChannel(
        channel_service_pb2.UpdateChannelRequest(
            channel=channel_service_pb2.Channel(name=channel, diversion=diversion),
            update_mask=FieldMask(paths=["diversion"]),
        )
    )


# --- platforms ------------------------------------------------------------------------------------


async def test_a_platform_is_created_read_changed_and_deleted(shop: Shop) -> None:
    """A29, R47."""
    request = create()
    request.request_id = str(uuid.uuid4())
    created = await shop.platforms.CreatePlatform(request)
    assert created.name == f"{PARENT}/platforms/{request.platform_id}"
    assert created.needs_data_forwarding, "unless said otherwise, data is forwarded"
    assert await shop.platforms.CreatePlatform(request) == created
    assert await shop.platforms.GetPlatform(pb2.GetPlatformRequest(name=created.name)) == created
    listed = await shop.platforms.ListPlatforms(pb2.ListPlatformsRequest(parent=PARENT))
    assert created in listed.platforms
    changed = await shop.platforms.UpdatePlatform(
        pb2.UpdatePlatformRequest(
            platform=pb2.Platform(name=created.name, reports_reviews=True),
        )
    )
    assert (changed.reports_reviews, changed.review_url) == (True, created.review_url)
    with refused() as refusal:
        await shop.platforms.DeletePlatform(
            pb2.DeletePlatformRequest(name=created.name, etag=created.etag)
        )
    assert refusal.reason == "ETAG_MISMATCH"
    await shop.platforms.DeletePlatform(pb2.DeletePlatformRequest(name=created.name))
    with refused() as refusal:
        await shop.platforms.GetPlatform(pb2.GetPlatformRequest(name=created.name))
    assert refusal.code is grpc.StatusCode.NOT_FOUND


@pytest.mark.parametrize(
    ("fields", "field", "says"),
    [
        ({"kind": 0}, "platform.kind", "KIND_TRUSTPILOT"),
        ({"review_types": []}, "platform.review_types", "REVIEW_TYPE_SERVICE"),
        (
            {"review_types": [inv.Invitation.REVIEW_TYPE_SERVICE_AND_PRODUCT]},
            "platform.review_types[0]", "list both",
        ),
        ({"review_url": ""}, "platform.review_url", "https address"),
        ({"review_url": "http://x.example"}, "platform.review_url", "https address"),
        ({"review_url": "https://x.example/{{rating}}"}, "platform.review_url", "{{first_name}}"),
        ({"needs_data_forwarding": False}, "platform.review_url", "{{order_reference}}"),
        (
            {"templates": [pb2.Platform.MediumTemplate(medium=types_pb2.MEDIUM_SMS, template="x")]},
            "platform.templates[0].template", "own template for SMS",
        ),
        (
            {"templates": [
                pb2.Platform.MediumTemplate(medium=types_pb2.MEDIUM_EMAIL, template="nothing")
            ]},
            "platform.templates[0].template", "standard-service-review",
        ),
        ({"display_name": "x\n"}, "platform.display_name", "one line"),
    ],
)  # fmt: skip
async def test_a_wrong_platform_is_refused_with_what_would_be_right(
    shop: Shop, fields: dict[str, Any], field: str, says: str
) -> None:
    with refused() as refusal:
        await shop.platforms.CreatePlatform(create(**fields))
    assert refusal.field == field
    assert says in refusal.problem.message


async def test_the_id_own_and_fields_nobody_knows_are_refused(shop: Shop) -> None:
    with refused() as refusal:
        await shop.platforms.CreatePlatform(create("own"))
    assert refusal.field == "platform_id"
    with refused() as refusal:
        await shop.platforms.CreatePlatform(with_unknown_field(create(), "platform"))
    assert refusal.reason == "FIELD_UNKNOWN"


# --- the division ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "field", "says"),
    [
        ({"one": 0}, "channel.diversion.weights[0].percent", "1 to 100"),
        ({"one": 101}, "channel.diversion.weights[0].percent", "1 to 100"),
        ({"one": 60, "two": 41}, "channel.diversion.weights", "101 percent"),
        ({"own": 60}, "channel.diversion.weights[0].platform", "what the others leave"),
        ({"nobody": 60}, "channel.diversion.weights[0].platform", "does not exist"),
    ],
)
async def test_a29_wrong_weights_are_refused(
    shop: Shop, given: dict[str, int], field: str, says: str
) -> None:
    """A29: percentages that add up to at most 100."""
    listed = await shop.platforms.ListPlatforms(pb2.ListPlatformsRequest(parent=PARENT))
    there = {one.name.rpartition("/")[2] for one in listed.platforms}
    for id in {"one", "two"} - there:
        await shop.platforms.CreatePlatform(create(id))
    channel = await shop.create_channel()
    with refused() as refusal:
        await divide(shop, channel, weights(**given))
    assert refusal.field == field
    assert says in refusal.problem.message


async def test_a29_weights_come_and_go_and_the_salt_stays(shop: Shop) -> None:
    """A29, d6: output only, and no other update of the channel touches it."""
    await shop.platforms.CreatePlatform(create("stays"))
    channel = await shop.create_channel()
    with_salt = await divide(shop, channel, weights(stays=10))
    assert len(with_salt.diversion_salt) == 32
    renamed = await shop.channels.UpdateChannel(
        channel_service_pb2.UpdateChannelRequest(
            channel=channel_service_pb2.Channel(
                name=channel, display_name="Other", diversion_salt="0" * 32
            ),
            update_mask=FieldMask(paths=["display_name", "diversion_salt"]),
        )
    )
    assert renamed.diversion == with_salt.diversion
    assert renamed.diversion_salt == with_salt.diversion_salt
    gone = await divide(shop, channel, channel_service_pb2.Diversion())
    assert not gone.HasField("diversion")
    assert gone.diversion_salt == with_salt.diversion_salt
    with refused() as refusal:
        both = weights(stays=10)
        both.weights.append(both.weights[0])
        await divide(shop, channel, both)
    assert refusal.field == "channel.diversion.weights[1].platform"
    asked = weights(stays=10)
    asked.renew_salt = True
    renewed = await divide(shop, channel, asked)
    assert renewed.diversion_salt not in ("", with_salt.diversion_salt)
    assert not renewed.diversion.renew_salt
    with refused() as refusal:
        await shop.platforms.DeletePlatform(
            pb2.DeletePlatformRequest(name=f"{PARENT}/platforms/stays")
        )
    assert refusal.code is grpc.StatusCode.FAILED_PRECONDITION
    assert channel in refusal.problem.message


# --- from the order to the audit ------------------------------------------------------------------


def order(channel: str, number: int, may: bool) -> event_pb2.Event:
    event = event_pb(channel)
    event.order.reference = f"N {number}"
    event.consents.add(
        purpose=types_pb2.PURPOSE_DATA_FORWARDING, medium=types_pb2.MEDIUM_EMAIL, given=may
    )
    return event


async def test_b41_b42_orders_are_divided_sent_and_audited(shop: Shop, tmp_path: Path) -> None:
    """A28, B41, B42, R47: over gRPC from the weights to the file of an auditor."""
    await shop.platforms.CreatePlatform(create("trustpilot"))
    channel = await shop.create_channel()
    salt = (await divide(shop, channel, weights(trustpilot=40))).diversion_salt
    await shop.create_rule(channel, steps=[step_pb()])
    orders = [order(channel, number, may=number % 4 > 0) for number in range(60)]
    for event in orders:
        event.occur_time.FromMilliseconds(shop.clock.now_ms())
        await shop.events.Publish(event_service_pb2.PublishRequest(event=event))
    await shop.daemon.engine.advance_to(shop.clock.now_ms() + 9 * DAY_MS)
    lines = [
        line
        async for line in shop.platforms.ExportDiversion(
            pb2.ExportDiversionRequest(parent=PARENT, channel=channel)
        )
    ]
    channel_id = channel.rpartition("/")[2]
    assert sorted(line.unit for line in lines) == sorted(f"order:N {n}" for n in range(60))
    letters = {letter.delivery_id: letter for letter in shop.outbox.letters}
    for line in lines:
        assert line.salt == salt
        assert bucket_of("default", channel_id, line.unit, line.salt) == line.bucket
        drawn = platform_of(line.bucket, parse_shares(line.shares))
        assert line.platform == drawn
        number = int(line.unit.removeprefix("order:N "))
        assert line.platform_used == ("own" if number % 4 == 0 else drawn)
        read = await shop.invitations.GetInvitation(inv.GetInvitationRequest(name=line.invitation))
        assert (read.platform, read.platform_used) == (drawn, line.platform_used)
        assert read.diversion_bucket == line.bucket
        letter = letters[read.delivery_id]
        assert (letter.platform or "own") == line.platform_used
        is_there = line.platform_used == "trustpilot"
        link = f"https://reviews.example/shop?order=N%20{number}" if is_there else ""
        assert letter.review_url == link
    assert {line.platform_used for line in lines} == {"own", "trustpilot"}

    file = tmp_path / "draws.csv"
    command = [
        "--address", shop.daemon.grpc_address, "platforms", "audit", channel, "--out", str(file),
    ]  # fmt: skip
    assert await asyncio.to_thread(main, command) == 0
    with file.open(encoding="utf-8", newline="") as opened:
        rows = list(csv.DictReader(opened))
    assert len(rows) == 60
    assert {row["drawn_again"] for row in rows} == {"same"}


async def test_an_invitation_of_an_undivided_channel_names_no_platform(shop: Shop) -> None:
    channel = await shop.create_channel()
    await shop.create_rule(channel)
    event = event_pb(channel)
    event.occur_time.FromMilliseconds(shop.clock.now_ms())
    published = await shop.events.Publish(event_service_pb2.PublishRequest(event=event))
    (name,) = published.result.invitations
    read = await shop.invitations.GetInvitation(inv.GetInvitationRequest(name=name))
    assert (read.platform, read.platform_used) == ("", "")
    assert not read.HasField("diversion_bucket")


async def test_the_export_names_what_is_wrong(shop: Shop) -> None:
    async def export(**fields: Any) -> None:
        request = pb2.ExportDiversionRequest(**{"parent": PARENT, **fields})
        async for _ in shop.platforms.ExportDiversion(request):
            pass

    with refused() as refusal:
        await export(channel=f"{PARENT}/channels/nobody")
    assert refusal.code is grpc.StatusCode.NOT_FOUND
    with refused() as refusal:
        await export()
    assert refusal.field == "channel"
    request = pb2.ExportDiversionRequest(channel=await shop.create_channel())
    request.start_time.seconds, request.end_time.seconds = 2_000, 1_000
    with refused() as refusal:
        await export(
            channel=request.channel, start_time=request.start_time, end_time=request.end_time
        )
    assert refusal.field == "end_time"


async def test_the_command_line_divides_and_tells(
    shop: Shop, capsys: pytest.CaptureFixture[str]
) -> None:
    async def run(*words: str) -> tuple[int, str]:
        code = await asyncio.to_thread(main, ["--address", shop.daemon.grpc_address, *words])
        return code, capsys.readouterr().out

    channel = await shop.create_channel()
    code, out = await run(
        "platforms", "create", "shelf", "--kind", "google", "--type", "service", "--type",
        "product", "--review-url", "https://g.example/x", "--needs-consent", "no",
    )  # fmt: skip
    assert code == 0
    assert "service, product" in out
    assert (await run("platforms", "update", "shelf", "--display-name", "Shelf"))[0] == 0
    code, out = await run("platforms", "list")
    assert "Shelf" in out
    code, out = await run("platforms", "divide", channel, "shelf=25")
    assert code == 0
    assert "own 75%, shelf 25%" in out
    assert (await run("platforms", "divide", channel, "shelf"))[0] == 2
    code, out = await run("platforms", "audit", channel)
    assert code == 0
    assert "0 first review requests" in out
    assert (await run("platforms", "divide", channel))[0] == 0
    assert (await run("platforms", "delete", "shelf"))[0] == 0
