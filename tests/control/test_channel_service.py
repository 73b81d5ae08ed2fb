"""ChannelService as a client sees it: channels and caps."""

from __future__ import annotations

import uuid
from typing import Any

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.field_mask_pb2 import FieldMask

from afterword.googleapis import date_pb2, timeofday_pb2
from afterword.v1 import channel_service_pb2 as pb2
from afterword.v1 import types_pb2
from core.bounds import DAY_MS
from tests.control.kit import (
    DAY_S,
    NOW_MS,
    PARENT,
    Shop,
    cap_pb,
    channel_pb,
    refused,
    unique,
    with_unknown_field,
)

pytestmark = pytest.mark.asyncio(loop_scope="module")


def create(channel: pb2.Channel | None = None, **fields: Any) -> pb2.CreateChannelRequest:
    given = {"parent": PARENT, "channel_id": unique("shop"), "channel": channel or channel_pb()}
    return pb2.CreateChannelRequest(**{**given, **fields})


def create_cap(cap: pb2.Cap | None = None, **fields: Any) -> pb2.CreateCapRequest:
    given = {"parent": PARENT, "cap_id": unique("cap"), "cap": cap or cap_pb()}
    return pb2.CreateCapRequest(**{**given, **fields})


def update(name: str, mask: list[str], **fields: Any) -> pb2.UpdateChannelRequest:
    return pb2.UpdateChannelRequest(
        channel=pb2.Channel(name=name, **fields), update_mask=FieldMask(paths=mask)
    )


# --- channels -------------------------------------------------------------------------------------


async def test_a_channel_is_created_read_changed_and_deleted(shop: Shop) -> None:
    """B6."""
    request = create(request_id=str(uuid.uuid4()))
    created = await shop.channels.CreateChannel(request)
    assert created.name == f"{PARENT}/channels/{request.channel_id}"
    assert created.create_time.ToMilliseconds() // DAY_MS == NOW_MS // DAY_MS
    assert created.email_sender == channel_pb().email_sender
    assert await shop.channels.CreateChannel(request) == created
    assert await shop.channels.GetChannel(pb2.GetChannelRequest(name=created.name)) == created
    changed = await shop.channels.UpdateChannel(
        update(
            created.name, ["email_sender.reply_to", "time_zone"],
            time_zone="Europe/Lisbon", display_name="not named in the mask",
            email_sender=pb2.EmailSender(reply_to="answers@shop.example"),
        )
    )  # fmt: skip
    assert changed.time_zone == "Europe/Lisbon"
    assert changed.display_name == created.display_name
    assert changed.email_sender.address == created.email_sender.address
    assert changed.email_sender.reply_to == "answers@shop.example"
    with refused() as refusal:
        await shop.channels.DeleteChannel(
            pb2.DeleteChannelRequest(name=created.name, etag=created.etag)
        )
    assert refusal.reason == "ETAG_MISMATCH"
    await shop.channels.DeleteChannel(
        pb2.DeleteChannelRequest(name=created.name, etag=changed.etag, validate_only=True)
    )
    await shop.channels.DeleteChannel(pb2.DeleteChannelRequest(name=created.name))
    with refused() as refusal:
        await shop.channels.GetChannel(pb2.GetChannelRequest(name=created.name))
    assert refusal.code is grpc.StatusCode.NOT_FOUND


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"display_name": ""}, "channel.display_name"),
        ({"display_name": "x" * 201}, "channel.display_name"),
        ({"display_name": "two\nlines"}, "channel.display_name"),
        ({"time_zone": ""}, "channel.time_zone"),
        ({"time_zone": "Europe/Atlantis"}, "channel.time_zone"),
        ({"time_zone": "europe/madrid"}, "channel.time_zone"),
        ({"locale": ""}, "channel.locale"),
        ({"locale": "spanish, please"}, "channel.locale"),
        ({"consent_mode": 9}, "channel.consent_mode"),
        ({"hours": [pb2.MediumHours()]}, "channel.hours[0].medium"),
        ({"region": "BY"}, "channel.region"),
        ({"order_statuses": {"paid": 0}}, "channel.order_statuses[paid]"),
        ({"email_sender": pb2.EmailSender()}, "channel.email_sender.address"),
        (
            {"email_sender": pb2.EmailSender(address="a@b.c\nBcc: d@e.f")},
            "channel.email_sender.address",
        ),
        (
            {"email_sender": pb2.EmailSender(address="a@b.c", display_name="Shop\r\nX: y")},
            "channel.email_sender.display_name",
        ),
        (
            {"email_sender": pb2.EmailSender(address="a@b.c", reply_to="nobody")},
            "channel.email_sender.reply_to",
        ),
        ({"branding": pb2.Branding(logo_url="http://a.example/")}, "channel.branding.logo_url"),
        ({"branding": pb2.Branding(shop_url="javascript:alert(1)")}, "channel.branding.shop_url"),
        ({"branding": pb2.Branding(accent_color="red")}, "channel.branding.accent_color"),
        ({"branding": pb2.Branding(imprint="a\r\nb")}, "channel.branding.imprint"),
        ({"branding": pb2.Branding(imprint="a\n" * 13)}, "channel.branding.imprint"),
        ({"branding": pb2.Branding(support_email="nobody")}, "channel.branding.support_email"),
    ],
)
async def test_a_bad_channel_is_refused_by_field(
    shop: Shop, fields: dict[str, Any], field: str
) -> None:
    with refused() as refusal:
        await shop.channels.CreateChannel(create(channel_pb(**fields)))
    assert refusal.code is grpc.StatusCode.INVALID_ARGUMENT
    assert refusal.field == field


async def test_branding_is_kept_changed_in_part_and_taken_away(shop: Shop) -> None:
    own = pb2.Branding(
        logo_url="https://shop.example/logo.png", accent_color="#2b5fd9", imprint="Shop\nTown\n",
        shop_url="https://shop.example/", support_email="help@shop.example",
    )  # fmt: skip
    created = await shop.channels.CreateChannel(create(channel_pb(branding=own)))
    assert created.branding == own
    changed = await shop.channels.UpdateChannel(
        update(created.name, ["branding.imprint"], branding=pb2.Branding(imprint="Other"))
    )
    assert changed.branding.imprint == "Other"
    assert changed.branding.logo_url == own.logo_url
    bare = await shop.channels.UpdateChannel(update(created.name, ["branding"]))
    assert not bare.HasField("branding")
    assert bare.email_sender == created.email_sender


async def test_hours_holidays_and_the_past_are_kept_and_changed(shop: Shop) -> None:
    """B6, B9, B15, B28, d3, R36, R37, R43: each with a mask of its own."""
    nine, eight = timeofday_pb2.TimeOfDay(hours=9), timeofday_pb2.TimeOfDay(hours=20)
    window = pb2.Window(start=nine, end=eight, weekdays=[types_pb2.WEEKDAY_MONDAY])
    channel = channel_pb(
        hours=[pb2.MediumHours(medium=types_pb2.MEDIUM_SMS, open=[window], closed_on_holidays=True)],
        country="DE", region="BY", closed_dates=[date_pb2.Date(year=2026, month=12, day=24)],
        product_exclusivity=pb2.Channel.PRODUCT_EXCLUSIVITY_PER_EVENT_TYPE, checkout_is_paid=False,
        history_scope=pb2.Channel.HISTORY_SCOPE_ACCOUNT,
        order_statuses={"Pagado": pb2.Channel.ORDER_MEANING_PAID}, features=["product-comments"],
        review_event_types_off=["delivery"], use_activation_date=True,
    )  # fmt: skip
    created = await shop.channels.CreateChannel(create(channel))
    channel.hours[0].on_closed = pb2.MediumHours.ON_CLOSED_HOLD
    for field, value in channel.ListFields():
        assert getattr(created, field.name) == value, field.name
    assert (await shop.channels.CreateChannel(create())).checkout_is_paid, "unless told otherwise"
    paths = ["hours", "order_statuses", "features", "closed_dates", "review_event_types_off"]
    emptied = await shop.channels.UpdateChannel(update(created.name, paths))
    assert not any(getattr(emptied, path) for path in paths)
    assert (emptied.country, emptied.checkout_is_paid) == ("DE", False)
    mapped = await shop.channels.UpdateChannel(
        update(created.name, [], order_statuses={"void": pb2.Channel.ORDER_MEANING_CANCELLED})
    )
    assert dict(mapped.order_statuses) == {"void": pb2.Channel.ORDER_MEANING_CANCELLED}


async def test_bad_requests_are_refused(shop: Shop) -> None:
    for request, field, reason in (
        (create(channel_id=""), "channel_id", "FIELD_REQUIRED"),
        (create(channel_id="Upper"), "channel_id", "FIELD_INVALID"),
        (create(parent=""), "parent", "FIELD_REQUIRED"),
        (create(request_id="not a uuid"), "request_id", "FIELD_INVALID"),
        (create(with_unknown_field(channel_pb())), "channel", "FIELD_UNKNOWN"),
        (
            create(with_unknown_field(channel_pb(), "email_sender")),
            "channel.email_sender",
            "FIELD_UNKNOWN",
        ),
        (with_unknown_field(create()), "request", "FIELD_UNKNOWN"),
    ):
        with refused() as refusal:
            await shop.channels.CreateChannel(request)
        assert (refusal.field, refusal.reason) == (field, reason)


async def test_validate_only_creates_nothing(shop: Shop) -> None:
    request = create(validate_only=True)
    shown = await shop.channels.CreateChannel(request)
    with refused() as refusal:
        await shop.channels.GetChannel(pb2.GetChannelRequest(name=shown.name))
    assert refusal.code is grpc.StatusCode.NOT_FOUND
    with refused() as refusal:
        await shop.channels.CreateChannel(
            create(channel_pb(time_zone="nowhere"), validate_only=True)
        )
    assert refusal.field == "channel.time_zone"


async def test_a_request_id_is_good_for_one_request(shop: Shop) -> None:
    request = create(request_id=str(uuid.uuid4()))
    await shop.channels.CreateChannel(request)
    with refused() as refusal:
        await shop.channels.CreateChannel(create(request_id=request.request_id))
    assert refusal.field == "request_id"


async def test_resources_of_others_are_not_there(shop: Shop) -> None:
    with refused() as refusal:
        await shop.channels.GetChannel(pb2.GetChannelRequest(name="accounts/other/channels/es"))
    assert refusal.code is grpc.StatusCode.NOT_FOUND
    with refused() as refusal:
        await shop.channels.ListChannels(pb2.ListChannelsRequest(parent="accounts/other"))
    assert refusal.code is grpc.StatusCode.NOT_FOUND
    with refused() as refusal:
        await shop.channels.GetChannel(pb2.GetChannelRequest(name="channels/es"))
    assert (refusal.reason, refusal.field) == ("FIELD_INVALID", "name")


async def test_channels_are_listed_by_page(shop: Shop) -> None:
    for _ in range(3):
        await shop.create_channel()
    listed: list[str] = []
    token = ""
    while True:
        answer = await shop.channels.ListChannels(
            pb2.ListChannelsRequest(parent=PARENT, page_size=2, page_token=token)
        )
        listed += [channel.name for channel in answer.channels]
        token = answer.next_page_token
        if not token:
            break
    assert listed == sorted(listed)
    assert len(listed) >= 3
    with refused() as refusal:
        answer = await shop.channels.ListChannels(
            pb2.ListChannelsRequest(parent=PARENT, page_size=1)
        )
        await shop.channels.ListCaps(
            pb2.ListCapsRequest(parent=PARENT, page_token=answer.next_page_token)
        )
    assert refusal.field == "page_token", "a token is good for its own list only"


async def test_a_channel_with_active_rules_stays(shop: Shop) -> None:
    channel = await shop.create_channel()
    await shop.create_rule(channel)
    with refused() as refusal:
        await shop.channels.DeleteChannel(pb2.DeleteChannelRequest(name=channel))
    assert refusal.code is grpc.StatusCode.FAILED_PRECONDITION


# --- caps -----------------------------------------------------------------------------------------


async def test_a_cap_is_created_changed_and_deleted(shop: Shop) -> None:
    """A32, R24."""
    created = await shop.channels.CreateCap(
        create_cap(cap_pb(purposes=[types_pb2.PURPOSE_MARKETING], media=[types_pb2.MEDIUM_SMS]))
    )
    assert created.limit == 1
    assert created.window.seconds == DAY_S
    changed = await shop.channels.UpdateCap(
        pb2.UpdateCapRequest(
            cap=pb2.Cap(name=created.name, longest_deferral=Duration(seconds=3_600)),
        )
    )
    assert changed.longest_deferral.seconds == 3_600
    assert changed.limit == 1
    assert await shop.channels.GetCap(pb2.GetCapRequest(name=created.name)) == changed
    assert changed.name in [
        cap.name for cap in (await shop.channels.ListCaps(pb2.ListCapsRequest(parent=PARENT))).caps
    ]
    await shop.channels.DeleteCap(pb2.DeleteCapRequest(name=created.name))
    with refused() as refusal:
        await shop.channels.GetCap(pb2.GetCapRequest(name=created.name))
    assert refusal.code is grpc.StatusCode.NOT_FOUND


async def test_a_limit_of_zero_is_not_the_same_as_none(shop: Shop) -> None:
    """R24, pitfall:cap-of-zero, pitfall:magic-number."""
    cap = cap_pb()
    cap.limit = 0
    created = await shop.channels.CreateCap(create_cap(cap))
    assert created.HasField("limit")
    unset = await shop.channels.UpdateCap(
        pb2.UpdateCapRequest(cap=pb2.Cap(name=created.name), update_mask=FieldMask(paths=["limit"]))
    )
    assert not unset.HasField("limit"), "an unset limit is no cap, and must not become 0"
    await shop.channels.DeleteCap(pb2.DeleteCapRequest(name=created.name))


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"scope": 0}, "cap.scope"),
        ({"scope": 77}, "cap.scope"),
        ({"limit": -1}, "cap.limit"),
        ({"limit": 1_001}, "cap.limit"),
        ({"window": None}, "cap.window"),
        ({"window": Duration(seconds=0)}, "cap.window"),
        ({"window": Duration(seconds=367 * DAY_S)}, "cap.window"),
        ({"window": Duration(seconds=-5)}, "cap.window"),
        ({"purposes": [types_pb2.PURPOSE_DATA_FORWARDING]}, "cap.purposes[0]"),
        ({"media": [types_pb2.MEDIUM_EMAIL, 0]}, "cap.media[1]"),
        ({"steps": 9}, "cap.steps"),
        ({"unit": 9}, "cap.unit"),
        ({"on_cap": 9}, "cap.on_cap"),
        ({"longest_deferral": Duration(seconds=-1)}, "cap.longest_deferral"),
    ],
)
async def test_a_bad_cap_is_refused_by_field(
    shop: Shop, fields: dict[str, Any], field: str
) -> None:
    cap = cap_pb()
    for name, value in fields.items():
        cap.ClearField(name)  # type: ignore[arg-type]
        cap.MergeFrom(pb2.Cap(**{name: value}))  # type: ignore[arg-type]
    with refused() as refusal:
        await shop.channels.CreateCap(create_cap(cap))
    assert refusal.code is grpc.StatusCode.INVALID_ARGUMENT
    assert refusal.field == field
