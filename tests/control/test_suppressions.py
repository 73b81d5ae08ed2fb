"""Suppressions, stop words and block lists as a client sees them."""

from __future__ import annotations

import uuid
from typing import Any

import grpc
import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from afterword.v1 import (
    channel_service_pb2,
    event_pb2,
    event_service_pb2,
    invitation_service_pb2,
    rule_service_pb2,
    sender_service_pb2,
    types_pb2,
)
from afterword.v1 import consent_service_pb2 as pb2
from tests.control.kit import NOW_MS, PARENT, Shop, event_pb, refused, step_pb, unique

pytestmark = pytest.mark.asyncio(loop_scope="module")
REVIEW, EMAIL, SMS = types_pb2.PURPOSE_REVIEW, types_pb2.MEDIUM_EMAIL, types_pb2.MEDIUM_SMS
KIND = pb2.Suppression
PHONE = "+4930555001122"
Invitation = invitation_service_pb2.Invitation


def of(**known: Any) -> pb2.ContactSelector:
    return pb2.ContactSelector(contact=event_pb2.Contact(**known))


def somebody() -> pb2.ContactSelector:
    return of(email=f"{unique('who')}@example.com")


def suppress(who: pb2.ContactSelector, **fields: Any) -> pb2.SuppressContactRequest:
    return pb2.SuppressContactRequest(parent=PARENT, contact=who, **fields)


def lift(who: pb2.ContactSelector, **fields: Any) -> pb2.LiftSuppressionRequest:
    return pb2.LiftSuppressionRequest(**{
        "parent": PARENT, "contact": who, "reason": "asked to", **fields,
    })  # fmt: skip


async def suppressions_of(shop: Shop, who: pb2.ContactSelector) -> list[pb2.Suppression]:
    answer = await shop.consents.ListSuppressions(
        pb2.ListSuppressionsRequest(parent=PARENT, contact=who)
    )
    return list(answer.suppressions)


async def publish(shop: Shop, channel: str, **contact: Any) -> list[str]:
    event = event_pb(channel, contact=event_pb2.Contact(**contact))
    event.occur_time.FromMilliseconds(shop.clock.now_ms())
    answer = await shop.events.Publish(event_service_pb2.PublishRequest(event=event))
    return list(answer.result.invitations)


async def reason_of(shop: Shop, name: str) -> str:
    found = await shop.invitations.GetInvitation(
        invitation_service_pb2.GetInvitationRequest(name=name)
    )
    return Invitation.Reason.Name(found.reason).removeprefix("REASON_")


async def test_a_suppression_ends_what_waits_and_is_lifted(shop: Shop) -> None:
    """R10, R12, R18: SUPPRESSED, and named by its invitation."""
    channel, who = await shop.create_channel(), somebody()
    await shop.create_rule(channel)
    (name,) = await publish(shop, channel, email=who.contact.email)
    checked = await shop.consents.SuppressContact(suppress(who, validate_only=True))
    assert await suppressions_of(shop, who) == []
    answer = await shop.consents.SuppressContact(suppress(who, reason="asked by letter"))
    assert list(answer.ended_invitations) == [name]
    assert not answer.in_flight_invitations
    assert await reason_of(shop, name) == "SUPPRESSED"
    made = answer.suppression
    assert (made.kind, made.purpose, made.medium) == (KIND.KIND_BLOCKED, 0, 0)
    assert (made.proof.reason, made.proof.actor) == ("asked by letter", "local")
    assert checked.suppression.kind == made.kind
    assert checked.suppression.contact == made.contact
    assert await suppressions_of(shop, who) == [made]
    (later,) = await publish(shop, channel, email=who.contact.email)
    assert await reason_of(shop, later) == "SUPPRESSED"
    assert list((await shop.consents.LiftSuppression(lift(who, medium=EMAIL))).lifted) == []
    tried = await shop.consents.LiftSuppression(lift(who, validate_only=True))
    assert await suppressions_of(shop, who) == list(tried.lifted) == [made]
    assert list((await shop.consents.LiftSuppression(lift(who))).lifted) == [made]
    assert await suppressions_of(shop, who) == []
    (free,) = await publish(shop, channel, email=who.contact.email)
    assert await reason_of(shop, free) == "UNSPECIFIED"
    history = await shop.consents.ListConsentHistory(
        pb2.ListConsentHistoryRequest(parent=PARENT, contact=who)
    )
    kinds = [(line.kind, line.suppression) for line in history.lines if not line.order]
    assert (pb2.ConsentLine.KIND_SUPPRESSED, KIND.KIND_BLOCKED) in kinds
    assert kinds[-1][0] == pb2.ConsentLine.KIND_LIFTED


async def test_suppressions_stand_beside_each_other(shop: Shop) -> None:
    channel, who = await shop.create_channel(), somebody()
    early = Timestamp(seconds=NOW_MS // 1_000 - 86_400)
    for fields in (
        {"kind": KIND.KIND_HARD_BOUNCED, "medium": EMAIL, "suppress_time": early},
        {"kind": KIND.KIND_COMPLAINED, "medium": EMAIL, "purpose": REVIEW},
        {"channel": channel, "purpose": types_pb2.PURPOSE_TRANSACTIONAL},
    ):
        await shop.consents.SuppressContact(suppress(who, **fields))
    found = await suppressions_of(shop, who)
    assert [one.kind for one in found] == [
        KIND.KIND_HARD_BOUNCED, KIND.KIND_COMPLAINED, KIND.KIND_BLOCKED,
    ]  # fmt: skip
    assert found[0].suppress_time == early
    assert found[2].channel == channel
    page = await shop.consents.ListSuppressions(
        pb2.ListSuppressionsRequest(parent=PARENT, contact=who, page_size=2)
    )
    rest = await shop.consents.ListSuppressions(
        pb2.ListSuppressionsRequest(
            parent=PARENT, contact=who, page_size=2, page_token=page.next_page_token
        )
    )
    assert [*page.suppressions, *rest.suppressions] == found


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"kind": KIND.KIND_ERASED}, "kind"),
        ({"kind": 3}, "kind"),
        ({"purpose": types_pb2.PURPOSE_DATA_FORWARDING}, "purpose"),
        ({"medium": 77}, "medium"),
        ({"channel": "madrid"}, "channel"),
        ({"reason": "a\nb"}, "reason"),
        ({"reason": "x" * 2_001}, "reason"),
        ({"contact": pb2.ContactSelector()}, "contact"),
        ({"parent": ""}, "parent"),
        ({"request_id": "1"}, "request_id"),
    ],
)
async def test_a_bad_suppression_is_refused_by_field(
    shop: Shop, fields: dict[str, Any], field: str
) -> None:
    request = suppress(somebody())
    request.MergeFrom(pb2.SuppressContactRequest(**fields))
    if "contact" in fields or "parent" in fields:
        request = pb2.SuppressContactRequest(**{
            "parent": PARENT, "contact": somebody(), **fields,
        })  # fmt: skip
    with refused() as refusal:
        await shop.consents.SuppressContact(request)
    assert refusal.code is grpc.StatusCode.INVALID_ARGUMENT
    assert refusal.field == field


async def test_lifting_says_why(shop: Shop) -> None:
    with refused() as refusal:
        await shop.consents.LiftSuppression(lift(somebody(), reason=""))
    assert refusal.field == "reason"
    with refused() as refusal:
        await shop.consents.LiftSuppression(lift(somebody(), channel=f"{PARENT}/channels/none"))
    assert refusal.code is grpc.StatusCode.NOT_FOUND


# --- stop words -----------------------------------------------------------------------------------


def receive(phone: str, text: str, **fields: Any) -> pb2.ReceiveMessageRequest:
    return pb2.ReceiveMessageRequest(parent=PARENT, phone=phone, text=text, **fields)


async def test_g7_a_stop_word_unsubscribes_the_phone(shop: Shop) -> None:
    """g7, R18: SMS of both kinds, once confirmed."""
    action = pb2.ReceiveMessageResponse
    texts = await shop.senders.CreateSender(
        sender_service_pb2.CreateSenderRequest(
            parent=PARENT,
            sender_id=unique("texts"),
            sender=sender_service_pb2.Sender(
                kind=sender_service_pb2.Sender.KIND_SMS_TWILIO, provider_account="AC12ab",
                origin="+34910000000", credential="secret:texts",
            ),
        )
    )  # fmt: skip
    channel = await shop.create_channel(
        senders=[channel_service_pb2.Channel.MediumSender(medium=SMS, sender=texts.name)]
    )
    await shop.create_rule(
        channel,
        steps=[step_pb(actions=[rule_service_pb2.Action(medium=SMS, body="Reply STOP to end.")])],
    )
    phone = "+4930123456"
    (name,) = await publish(shop, channel, phone=phone)
    nothing = await shop.consents.ReceiveMessage(receive(phone, "Where is it?"))
    assert nothing == action(action=action.ACTION_NONE)
    tried = await shop.consents.ReceiveMessage(receive(phone, "stop", validate_only=True))
    assert tried.may_confirm
    assert await reason_of(shop, name) == "UNSPECIFIED"
    done = await shop.consents.ReceiveMessage(receive(phone, "Stop.", channel=channel))
    assert done.action == action.ACTION_UNSUBSCRIBED
    assert done.may_confirm
    assert list(done.ended_invitations) == [name]
    assert await reason_of(shop, name) == "UNSUBSCRIBED"
    found = await suppressions_of(shop, pb2.ContactSelector(name=done.contacts[0]))
    assert [(one.kind, one.purpose, one.medium) for one in found] == [
        (KIND.KIND_UNSUBSCRIBED, purpose, SMS) for purpose in (REVIEW, types_pb2.PURPOSE_MARKETING)
    ]
    proof = found[0].proof
    assert (proof.method, proof.reason, proof.source) == ("stop-word", "stop", "message")
    assert (proof.actor, proof.collection_point) == ("recipient", channel)
    again = await shop.consents.ReceiveMessage(receive(phone, "STOP"))
    assert (again.action, again.may_confirm) == (action.ACTION_UNSUBSCRIBED, False)


async def test_a_message_told_again_is_not_heard_again(shop: Shop) -> None:
    """g7, R17: known by its request id, so that what was agreed to since stands; under another id it is
    another message."""
    who, stop = of(phone=PHONE), receive(PHONE, "stop", request_id=str(uuid.uuid4()))
    stop.receive_time.FromMilliseconds(NOW_MS - 3_600_000)
    await shop.consents.ReceiveMessage(stop)
    agreed = pb2.GrantConsentRequest(
        parent=PARENT, contact=who, purpose=REVIEW, medium=SMS, collection_point="the shop",
    )  # fmt: skip
    agreed.evidence_time.FromMilliseconds(NOW_MS - 1_800_000)
    name = (await shop.consents.GrantConsent(agreed)).name
    stop.ClearField("receive_time")
    states = []
    for request_id in (stop.request_id, stop.request_id.upper(), str(uuid.uuid4())):
        stop.request_id = request_id
        done = await shop.consents.ReceiveMessage(stop)
        assert done.action == pb2.ReceiveMessageResponse.ACTION_UNSUBSCRIBED
        consent = await shop.consents.GetConsent(pb2.GetConsentRequest(name=name))
        states.append(pb2.Consent.State.Name(consent.state).removeprefix("STATE_"))
    assert states == ["GRANTED", "GRANTED", "WITHDRAWN"]


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"phone": ""}, "phone"),
        ({"phone": "030123"}, "phone"),
        ({"text": "x" * 2_001}, "text"),
        ({"medium": EMAIL}, "medium"),
        ({"channel": "x"}, "channel"),
    ],
)
async def test_a_bad_message_is_refused_by_field(
    shop: Shop, fields: dict[str, Any], field: str
) -> None:
    given = {"phone": "+4930123456", "text": "stop", **fields}
    with refused() as refusal:
        await shop.consents.ReceiveMessage(pb2.ReceiveMessageRequest(parent=PARENT, **given))
    assert refusal.field == field


async def test_a_message_may_have_lines(shop: Shop) -> None:
    """g7: people write as they like."""
    done = await shop.consents.ReceiveMessage(receive("+4930123457", "hello\r\nthere\x00"))
    assert done.action == pb2.ReceiveMessageResponse.ACTION_NONE
    done = await shop.consents.ReceiveMessage(receive("+4930123457", "\nSTOP\r\n"))
    assert done.action == pb2.ReceiveMessageResponse.ACTION_UNSUBSCRIBED


# --- block lists ----------------------------------------------------------------------------------


def block(**fields: Any) -> pb2.CreateBlockRequest:
    block_id = fields.pop("block_id", None) or unique("block")
    given = {"kind": pb2.Block.KIND_DOMAIN, "value": f"{unique('rival')}.example"}
    return pb2.CreateBlockRequest(
        parent=PARENT, block_id=block_id, block=pb2.Block(**{**given, **fields})
    )


async def test_a_block_is_made_listed_and_deleted(shop: Shop) -> None:
    request = block(value="*.Käse.Example", media=[SMS, EMAIL], purposes=[REVIEW], reason="rival")
    request.validate_only = True
    await shop.consents.CreateBlock(request)
    request.validate_only = False
    made = await shop.consents.CreateBlock(request)
    assert made.value == "*.xn--kse-qla.example"
    assert list(made.media) == [EMAIL, SMS]
    assert made.name == f"{PARENT}/blocks/{request.block_id}"
    assert await shop.consents.GetBlock(pb2.GetBlockRequest(name=made.name)) == made
    listed = await shop.consents.ListBlocks(pb2.ListBlocksRequest(parent=PARENT, page_size=1_000))
    assert made in listed.blocks
    with refused() as refusal:
        await shop.consents.CreateBlock(request)
    assert refusal.code is grpc.StatusCode.ALREADY_EXISTS
    with refused() as refusal:
        await shop.consents.DeleteBlock(pb2.DeleteBlockRequest(name=made.name, etag='"0"'))
    assert refusal.reason == "ETAG_MISMATCH"
    await shop.consents.DeleteBlock(pb2.DeleteBlockRequest(name=made.name, etag=made.etag))
    with refused() as refusal:
        await shop.consents.GetBlock(pb2.GetBlockRequest(name=made.name))
    assert refusal.code is grpc.StatusCode.NOT_FOUND


async def test_a_blocked_address_gets_nothing(shop: Shop) -> None:
    """R10, R13."""
    channel = await shop.create_channel()
    await shop.create_rule(channel)
    domain = f"{unique('rival')}.example"
    (blocked,) = await publish(shop, channel, email=f"{unique('a')}@{domain}")
    (free,) = await publish(shop, channel, email=f"{unique('a')}@other.example")
    pattern = f"a-[0-9]+@{domain.replace('.', '[.]')}"
    await shop.consents.CreateBlock(block(kind=pb2.Block.KIND_PATTERN, value=pattern))
    await shop.daemon.engine.advance_to(shop.clock.now_ms() + 8 * 86_400_000)
    assert await reason_of(shop, blocked) == "SUPPRESSED"
    assert await reason_of(shop, free) == "UNSPECIFIED"
    assert domain not in {letter.address.rpartition("@")[2] for letter in shop.outbox.letters}


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"kind": 0}, "block.kind"),
        ({"value": ""}, "block.value"),
        ({"value": "a b"}, "block.value"),
        ({"value": "maria@rival.example"}, "block.value"),
        ({"value": "*rival.example"}, "block.value"),
        ({"value": "x" * 251}, "block.value"),
        ({"kind": pb2.Block.KIND_PATTERN, "value": "("}, "block.value"),
        ({"kind": pb2.Block.KIND_PATTERN, "value": "a)|(b"}, "block.value"),
        ({"media": [EMAIL, 77]}, "block.media[1]"),
        ({"purposes": [types_pb2.PURPOSE_DATA_FORWARDING]}, "block.purposes[0]"),
        ({"reason": "a\nb"}, "block.reason"),
        ({"block_id": "Rival"}, "block_id"),
    ],
)
async def test_a_bad_block_is_refused_by_field(
    shop: Shop, fields: dict[str, Any], field: str
) -> None:
    with refused() as refusal:
        await shop.consents.CreateBlock(block(**fields))
    assert refusal.code is grpc.StatusCode.INVALID_ARGUMENT
    assert refusal.field == field


# --- import ---------------------------------------------------------------------------------------

Item = pb2.ImportConsentsRequest.Item
EARLY = Timestamp(seconds=NOW_MS // 1_000 - 30 * 86_400)


async def imported(shop: Shop, *batches: list[Item], **fields: Any) -> list[list[Any]]:
    requests = [
        pb2.ImportConsentsRequest(parent=PARENT, items=batch, **fields) for batch in batches
    ]
    return [list(answer.results) async for answer in shop.consents.ImportConsents(iter(requests))]


def told(who: pb2.ContactSelector, **fields: Any) -> dict[str, Any]:
    return {"contact": who, "purpose": REVIEW, "medium": EMAIL, **fields}


async def test_what_was_said_elsewhere_is_imported_with_its_times(shop: Shop) -> None:
    """g1, R17: with proof or without; each line says where it comes from."""
    proven, bare, gone, bounced, ahead = (somebody() for _ in range(5))
    late = Timestamp(seconds=NOW_MS // 1_000 + 10**8)
    (first, second) = await imported(
        shop,
        [
            Item(grant=pb2.GrantConsentRequest(
                **told(proven, collection_point="old shop", evidence_time=EARLY))),
            Item(grant=pb2.GrantConsentRequest(**told(bare, evidence_time=EARLY))),
            Item(withdrawal=pb2.WithdrawConsentRequest(**told(gone, withdraw_time=EARLY))),
            Item(suppression=pb2.SuppressContactRequest(contact=bounced, suppress_time=EARLY,
                kind=KIND.KIND_HARD_BOUNCED)),
        ],
        [
            Item(grant=pb2.GrantConsentRequest(
                **told(ahead, collection_point="old shop", evidence_time=late))),
            Item(suppression=pb2.SuppressContactRequest(contact=bare)),
        ],
    )  # fmt: skip
    assert [result.status.code for result in first + second] == [0] * 6
    assert [result.confirmed for result in first] == [True, False, False, False]
    (consent,) = (await consents(shop, proven)).consents
    assert (consent.confirmed, consent.evidence_time) == (True, EARLY)
    assert (consent.proof.source, consent.proof.actor) == ("import", "local")
    (consent,) = (await consents(shop, bare)).consents
    assert (consent.state, consent.confirmed) == (pb2.Consent.STATE_GRANTED, False)
    (consent,) = (await consents(shop, gone)).consents
    assert (consent.state, consent.withdraw_time) == (pb2.Consent.STATE_WITHDRAWN, EARLY)
    (stands,) = await suppressions_of(shop, bounced)
    assert (stands.kind, stands.suppress_time) == (KIND.KIND_HARD_BOUNCED, EARLY)
    (stands,) = await suppressions_of(shop, bare)
    assert stands.kind == KIND.KIND_IMPORTED
    (consent,) = (await consents(shop, ahead)).consents
    assert consent.evidence_time.ToMilliseconds() == shop.clock.now_ms(), "capped"


async def consents(shop: Shop, who: pb2.ContactSelector) -> pb2.ListConsentsResponse:
    answer: pb2.ListConsentsResponse = await shop.consents.ListConsents(
        pb2.ListConsentsRequest(parent=PARENT, contact=who)
    )
    return answer


async def test_a_bad_item_harms_no_other(shop: Shop) -> None:
    good, other = somebody(), somebody()
    (results,) = await imported(shop, [
        Item(),
        Item(grant=pb2.GrantConsentRequest(**told(good, purpose=0))),
        Item(grant=pb2.GrantConsentRequest(**told(good, ip_address="x"))),
        Item(grant=pb2.GrantConsentRequest(**told(good, channel=f"{PARENT}/channels/none"))),
        Item(grant=pb2.GrantConsentRequest(**told(good, validate_only=True))),
        Item(grant=pb2.GrantConsentRequest(**told(good, parent="accounts/other"))),
        Item(suppression=pb2.SuppressContactRequest(contact=good, kind=KIND.KIND_ERASED)),
        Item(withdrawal=pb2.WithdrawConsentRequest(**told(other))),
    ])  # fmt: skip
    assert [result.index for result in results] == list(range(8))
    assert [result.status.code for result in results] == [3, 3, 3, 5, 3, 5, 3, 0]
    fields = [field for result in results for field in _fields(result)]
    assert fields == [
        "items[0]", "items[1].grant.purpose", "items[2].grant.ip_address",
        "items[4].grant.validate_only", "items[6].suppression.kind",
    ]  # fmt: skip
    assert not (await consents(shop, good)).consents
    assert len((await consents(shop, other)).consents) == 1


def _fields(result: Any) -> list[str]:
    from afterword.googleapis import error_details_pb2

    found = []
    for detail in result.status.details:
        bad = error_details_pb2.BadRequest()
        if detail.Unpack(bad):
            found += [violation.field for violation in bad.field_violations]
    return found


async def test_items_about_one_contact_are_applied_in_order(shop: Shop) -> None:
    """R12: and the first tells what they ended."""
    channel, who = await shop.create_channel(), somebody()
    await shop.create_rule(channel)
    await publish(shop, channel, email=who.contact.email)
    items = [
        Item(withdrawal=pb2.WithdrawConsentRequest(**told(who))),
        Item(suppression=pb2.SuppressContactRequest(contact=who)),
        Item(withdrawal=pb2.WithdrawConsentRequest(**told(somebody()))),
    ]
    (checked,) = await imported(shop, items, validate_only=True)
    assert [result.ended_count for result in checked] == [0, 0, 0]
    assert not await suppressions_of(shop, who)
    (results,) = await imported(shop, items)
    assert [result.ended_count for result in results] == [1, 0, 0]
    history = await shop.consents.ListConsentHistory(
        pb2.ListConsentHistoryRequest(parent=PARENT, contact=who)
    )
    assert [line.kind for line in history.lines][-2:] == [
        pb2.ConsentLine.KIND_WITHDRAWN, pb2.ConsentLine.KIND_SUPPRESSED,
    ]  # fmt: skip


async def test_a_batch_has_a_size(shop: Shop) -> None:
    item = Item(withdrawal=pb2.WithdrawConsentRequest(**told(somebody())))
    assert len((await imported(shop, [item] * 1_000))[0]) == 1_000
    for items in ([], [item] * 1_001):
        with refused() as refusal:
            await imported(shop, items)
        assert refusal.field == "items"
