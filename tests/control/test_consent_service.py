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


# --- what proves a consent ------------------------------------------------------------------------

FULL = {
    "text_sha256": "AB" * 32,
    "locale": "de_DE",
    "ip_address": "2001:db8::7",
    "user_agent": "Mozilla/5.0 (X11)",
    "method": "paper form",
    "request_time": Timestamp(seconds=NOW_MS // 1_000 - 7_200),
    "confirm_time": Timestamp(seconds=NOW_MS // 1_000 - 3_600),
    "expire_time": Timestamp(seconds=NOW_MS // 1_000 + 86_400 * 365),
}


async def history_of(shop: Shop, who: pb2.ContactSelector, **fields: Any) -> Any:
    return await shop.consents.ListConsentHistory(
        pb2.ListConsentHistoryRequest(parent=PARENT, contact=who, **fields)
    )


async def test_all_evidence_of_a_grant_is_kept(shop: Shop) -> None:
    """g1: who, when, how, and exactly what they were told."""
    who = somebody()
    preview = await shop.consents.GrantConsent(grant(who, validate_only=True, **FULL))
    assert await consents_of(shop, who) == []
    granted = await shop.consents.GrantConsent(grant(who, **FULL))
    assert granted.confirmed
    proof = granted.proof
    assert proof.legal_basis == types_pb2.LEGAL_BASIS_CONSENT
    assert proof.text_sha256 == "ab" * 32
    assert (proof.locale, proof.ip_address) == ("de_DE", "2001:db8::7")
    assert (proof.user_agent, proof.method) == ("Mozilla/5.0 (X11)", "paper form")
    assert (proof.source, proof.actor) == ("api", "local")
    assert (proof.collection_point, proof.text_version) == ("https://shop.example/checkout", "v3")
    assert proof.request_time == FULL["request_time"]
    assert proof.confirm_time == FULL["confirm_time"]
    assert granted.expire_time == FULL["expire_time"]
    assert not granted.HasField("withdrawal")
    preview.evidence_time.CopyFrom(granted.evidence_time)
    assert preview == granted
    (line,) = (await history_of(shop, who)).lines
    assert (line.number, line.kind, line.proof) == (1, pb2.ConsentLine.KIND_CONFIRMED, proof)
    assert line.expire_time == FULL["expire_time"]


async def test_a_withdrawal_tells_how(shop: Shop) -> None:
    """g1: withdrawal and grant stand beside each other."""
    who = somebody()
    granted = await shop.consents.GrantConsent(grant(who))
    shop.clock.move_to_ms(shop.clock.now_ms() + 1_000)
    answer = await shop.consents.WithdrawConsent(
        withdraw(who, method="phone call", reason="too many")
    )
    consent = answer.consent
    assert consent.state == pb2.Consent.STATE_WITHDRAWN
    assert not consent.confirmed
    assert (consent.withdrawal.method, consent.withdrawal.reason) == ("phone call", "too many")
    assert consent.proof == granted.proof
    assert consent.evidence_time == granted.evidence_time
    early = Timestamp(seconds=NOW_MS // 1_000 - 86_400)
    who = somebody()
    answer = await shop.consents.WithdrawConsent(withdraw(who, withdraw_time=early))
    assert answer.consent.withdraw_time == early


async def test_the_history_comes_in_pages(shop: Shop) -> None:
    """g1: append-only; repeated calls are lines of their own."""
    channel, who = await shop.create_channel(), somebody()
    for _ in range(3):
        await shop.consents.GrantConsent(grant(who, channel=channel))
    await shop.consents.WithdrawConsent(withdraw(who))
    lines, token = [], ""
    while True:
        page = await history_of(shop, who, page_size=3, page_token=token)
        lines += page.lines
        token = page.next_page_token
        if not token:
            break
    assert [line.number for line in lines] == [1, 2, 3, 4]
    assert [line.channel for line in lines] == [channel] * 3 + [""]
    assert lines[3].kind == pb2.ConsentLine.KIND_WITHDRAWN
    assert lines[0].HasField("write_time")
    with refused() as refusal:
        await history_of(shop, somebody(), page_token=(await history_of(
            shop, who, page_size=1)).next_page_token)  # fmt: skip
    assert refusal.field == "page_token"
    assert not (await history_of(shop, somebody())).lines


async def test_being_a_customer_is_a_basis_of_its_own(shop: Shop) -> None:
    """g2: told of it when the address was collected, for e-mail only; never a consent with proof."""
    basis = types_pb2.LEGAL_BASIS_EXISTING_CUSTOMER
    granted = await shop.consents.GrantConsent(grant(legal_basis=basis))
    assert (granted.state, granted.confirmed) == (pb2.Consent.STATE_GRANTED, False)
    assert granted.proof.legal_basis == basis


@pytest.mark.parametrize(
    ("fields", "field", "told"),
    [
        (
            {"legal_basis": types_pb2.LEGAL_BASIS_CONTRACT},
            "legal_basis",
            "TRANSACTIONAL, which needs none",
        ),
        ({"legal_basis": 77}, "legal_basis", "CONTRACT"),
        (
            {"legal_basis": types_pb2.LEGAL_BASIS_EXISTING_CUSTOMER, "medium": 2},
            "legal_basis",
            "over EMAIL only",
        ),
        (
            {"legal_basis": types_pb2.LEGAL_BASIS_EXISTING_CUSTOMER, "purpose": 5},
            "legal_basis",
            "over EMAIL only",
        ),
        (
            {"legal_basis": types_pb2.LEGAL_BASIS_EXISTING_CUSTOMER, "text_version": ""},
            "text_version",
            "in which words",
        ),
        ({"text_sha256": "ab"}, "text_sha256", "64 hexadecimal digits"),
        ({"locale": "de DE"}, "locale", "language"),
        ({"ip_address": "here"}, "ip_address", "IPv4 or IPv6"),
        ({"ip_address": "fe80::1%eth0"}, "ip_address", "IPv4 or IPv6"),
        ({"user_agent": "x" * 2_001}, "user_agent", "2,000"),
        ({"user_agent": "a\nb"}, "user_agent", "one line"),
        ({"method": "x" * 201}, "method", "200"),
        ({"expire_time": Timestamp(seconds=1)}, "expire_time", "later than"),
        (
            {
                "request_time": Timestamp(seconds=NOW_MS // 1_000 - 60),
                "confirm_time": Timestamp(seconds=NOW_MS // 1_000 - 61),
            },
            "request_time",
            "not be after",
        ),
    ],
)
async def test_evidence_that_proves_nothing_is_refused(
    shop: Shop, fields: dict[str, Any], field: str, told: str
) -> None:
    """g1, g2."""
    with refused() as refusal:
        await shop.consents.GrantConsent(grant(**fields))
    assert refusal.code is grpc.StatusCode.INVALID_ARGUMENT
    assert refusal.field == field
    assert told in refusal.problem.message


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"legal_basis": types_pb2.LEGAL_BASIS_CONTRACT}, "legal_basis"),
        ({"legal_basis": types_pb2.LEGAL_BASIS_EXISTING_CUSTOMER}, "collection_point"),
        ({"text_sha256": "x"}, "text_sha256"),
        ({"locale": "x"}, "locale"),
        ({"ip_address": "x"}, "ip_address"),
        ({"user_agent": "x" * 2_001}, "user_agent"),
        ({"expire_time": Timestamp(seconds=-1)}, "expire_time"),
    ],
)
async def test_evidence_on_an_event_is_held_to_the_same(
    shop: Shop, fields: dict[str, Any], field: str
) -> None:
    """g1, g2."""
    channel = await shop.create_channel()
    evidence = event_pb2.ConsentEvidence(purpose=REVIEW, medium=EMAIL, given=True, **fields)
    with refused() as refusal:
        await shop.events.Publish(
            event_service_pb2.PublishRequest(event=event_pb(channel, consents=[evidence]))
        )
    assert refusal.field == f"event.consents[0].{field}"


async def test_evidence_on_an_event_is_kept_whole(shop: Shop) -> None:
    """g1, R17, R20: and what a shop attests is recorded as that."""
    channel = await shop.create_channel()
    await shop.create_rule(channel)
    evidence = event_pb2.ConsentEvidence(
        purpose=REVIEW, medium=EMAIL, given=True, legal_basis=types_pb2.LEGAL_BASIS_CONSENT,
        expire_time=Timestamp(seconds=NOW_MS // 1_000 + 86_400), locale="es",
        text_sha256="AB" * 32, ip_address="203.0.113.7", user_agent="Mozilla/5.0",
    )  # fmt: skip
    event = event_pb(channel, consents=[evidence])
    await shop.events.Publish(event_service_pb2.PublishRequest(event=event))
    (found,) = await consents_of(shop, pb2.ContactSelector(contact=event.contact))
    assert not found.confirmed
    assert (found.proof.source, found.proof.text_sha256) == ("event", "ab" * 32)
    assert found.expire_time.seconds == NOW_MS // 1_000 + 86_400
    event = event_pb(channel)
    await shop.events.Publish(event_service_pb2.PublishRequest(event=event))
    (found,) = await consents_of(shop, pb2.ContactSelector(contact=event.contact))
    assert (found.proof.source, found.proof.method) == ("event", "attested by the shop")
