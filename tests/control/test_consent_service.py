"""ConsentService as a client sees it: grant, withdraw, read."""

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
    types_pb2,
)
from afterword.v1 import consent_service_pb2 as pb2
from tests.control.kit import NOW_MS, PARENT, Shop, event_pb, refused, unique

pytestmark = pytest.mark.asyncio(loop_scope="module")
REVIEW, EMAIL = types_pb2.PURPOSE_REVIEW, types_pb2.MEDIUM_EMAIL
EVIDENCE = channel_service_pb2.Channel.CONSENT_MODE_REQUIRE_EVIDENCE


def somebody() -> pb2.ContactSelector:
    return pb2.ContactSelector(contact=event_pb2.Contact(email=f"{unique('who')}@example.com"))


def grant(who: pb2.ContactSelector | None = None, **fields: Any) -> pb2.GrantConsentRequest:
    given = {
        "parent": PARENT,
        "contact": who or somebody(),
        "purpose": REVIEW,
        "medium": EMAIL,
        "collection_point": "https://shop.example/checkout",
        "text_version": "v3",
    }
    return pb2.GrantConsentRequest(**{**given, **fields})


def withdraw(who: pb2.ContactSelector, **fields: Any) -> pb2.WithdrawConsentRequest:
    given = {"parent": PARENT, "contact": who, "purpose": REVIEW, "medium": EMAIL}
    return pb2.WithdrawConsentRequest(**{**given, **fields})


async def consents_of(shop: Shop, who: pb2.ContactSelector) -> list[pb2.Consent]:
    answer = await shop.consents.ListConsents(pb2.ListConsentsRequest(parent=PARENT, contact=who))
    return list(answer.consents)


async def test_a_consent_is_granted_with_its_evidence(shop: Shop) -> None:
    """R16, g1."""
    who = somebody()
    granted = await shop.consents.GrantConsent(grant(who))
    assert granted.name.endswith("/consents/-.review.email")
    assert granted.state == pb2.Consent.STATE_GRANTED
    assert granted.collection_point == "https://shop.example/checkout"
    assert (granted.text_version, granted.actor) == ("v3", "local")
    assert granted.evidence_time.ToMilliseconds() // 1_000 == NOW_MS // 1_000
    assert await shop.consents.GetConsent(pb2.GetConsentRequest(name=granted.name)) == granted
    assert await consents_of(shop, who) == [granted]
    assert await shop.consents.GrantConsent(grant(who)) == granted, "repeating changes nothing"


async def test_evidence_from_the_future_counts_as_now(shop: Shop) -> None:
    ahead = Timestamp(seconds=NOW_MS // 1_000 + 10**9)
    granted = await shop.consents.GrantConsent(grant(evidence_time=ahead))
    assert granted.evidence_time.ToMilliseconds() == shop.clock.now_ms()


async def test_a_consent_of_one_channel(shop: Shop) -> None:
    channel = await shop.create_channel()
    who = somebody()
    granted = await shop.consents.GrantConsent(grant(who, channel=channel))
    assert granted.channel == channel
    assert granted.name.endswith(f"/consents/{channel.rpartition('/')[2]}.review.email")
    everywhere = await shop.consents.GrantConsent(grant(who))
    found = await consents_of(shop, who)
    assert [one.name for one in found] == [everywhere.name, granted.name]
    page = await shop.consents.ListConsents(
        pb2.ListConsentsRequest(parent=PARENT, contact=who, page_size=1)
    )
    rest = await shop.consents.ListConsents(
        pb2.ListConsentsRequest(
            parent=PARENT, contact=who, page_size=1, page_token=page.next_page_token
        )
    )
    assert [*page.consents, *rest.consents] == found
    assert not rest.next_page_token


async def test_a_withdrawal_ends_what_waits(shop: Shop) -> None:
    """A2, B2, R19."""
    channel = await shop.create_channel(consent_mode=EVIDENCE)
    await shop.create_rule(channel)
    event = event_pb(channel)
    who = pb2.ContactSelector(contact=event.contact)
    await shop.consents.GrantConsent(grant(who))
    published = await shop.events.Publish(event_service_pb2.PublishRequest(event=event))
    (name,) = published.result.invitations
    checked = await shop.consents.WithdrawConsent(withdraw(who, validate_only=True))
    assert checked.consent.state == pb2.Consent.STATE_WITHDRAWN
    assert (await consents_of(shop, who))[0].state == pb2.Consent.STATE_GRANTED
    shop.clock.move_to_ms(shop.clock.now_ms() + 1)
    answer = await shop.consents.WithdrawConsent(withdraw(who, request_id=str(uuid.uuid4())))
    assert answer.consent.state == pb2.Consent.STATE_WITHDRAWN
    assert answer.consent.HasField("withdraw_time")
    assert list(answer.ended_invitations) == [name]
    assert not answer.in_flight_invitations
    invitation = await shop.invitations.GetInvitation(
        invitation_service_pb2.GetInvitationRequest(name=name)
    )
    assert invitation.state == invitation_service_pb2.Invitation.STATE_SKIPPED
    assert invitation.reason == invitation_service_pb2.Invitation.REASON_UNSUBSCRIBED
    again = await shop.consents.WithdrawConsent(withdraw(who))
    assert not again.ended_invitations


async def test_consents_of_an_event_hold_for_its_order(shop: Shop) -> None:
    """R17."""
    channel = await shop.create_channel(consent_mode=EVIDENCE)
    evidence = event_pb2.ConsentEvidence(purpose=REVIEW, medium=EMAIL, given=False)
    event = event_pb(channel, consents=[evidence])
    await shop.events.Publish(event_service_pb2.PublishRequest(event=event))
    (found,) = await consents_of(shop, pb2.ContactSelector(contact=event.contact))
    assert ".review.email.order-" in found.name
    assert found.state == pb2.Consent.STATE_DENIED
    assert await shop.consents.GetConsent(pb2.GetConsentRequest(name=found.name)) == found


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"purpose": 0}, "purpose"),
        ({"purpose": types_pb2.PURPOSE_TRANSACTIONAL}, "purpose"),
        ({"medium": 0}, "medium"),
        ({"medium": 77}, "medium"),
        ({"contact": pb2.ContactSelector()}, "contact"),
        ({"contact": pb2.ContactSelector(contact=event_pb2.Contact())}, "contact.contact"),
        (
            {"contact": pb2.ContactSelector(contact=event_pb2.Contact(email="x\n@y.z"))},
            "contact.contact.email",
        ),
        ({"contact": pb2.ContactSelector(name="contacts/1")}, "contact.name"),
        ({"collection_point": ""}, "collection_point"),
        ({"collection_point": "x" * 2_001}, "collection_point"),
        ({"text_version": "x" * 201}, "text_version"),
        ({"evidence_time": Timestamp(seconds=-1)}, "evidence_time"),
        ({"request_id": "1"}, "request_id"),
        ({"parent": ""}, "parent"),
    ],
)
async def test_a_bad_grant_is_refused_by_field(
    shop: Shop, fields: dict[str, Any], field: str
) -> None:
    with refused() as refusal:
        await shop.consents.GrantConsent(grant(**fields))
    assert refusal.code is grpc.StatusCode.INVALID_ARGUMENT
    assert refusal.field == field


async def test_what_is_not_there(shop: Shop) -> None:
    none = f"{PARENT}/channels/none"
    for validate_only in (True, False):
        with refused() as refusal:
            await shop.consents.GrantConsent(grant(channel=none, validate_only=validate_only))
        assert refusal.code is grpc.StatusCode.NOT_FOUND
        with refused() as refusal:
            await shop.consents.WithdrawConsent(
                withdraw(somebody(), channel=none, validate_only=validate_only)
            )
        assert refusal.code is grpc.StatusCode.NOT_FOUND
    for name in (
        f"{PARENT}/contacts/0011223344556677/consents/-.review.email",
        f"{PARENT}/contacts/zz/consents/-.review.email",
        "accounts/other/contacts/0011223344556677/consents/-.review.email",
    ):
        with refused() as refusal:
            await shop.consents.GetConsent(pb2.GetConsentRequest(name=name))
        assert refusal.code is grpc.StatusCode.NOT_FOUND
    assert await consents_of(shop, somebody()) == []
