"""AuditService over gRPC: who changed what, with the document before and after."""

from __future__ import annotations

import asyncio
import json
import uuid
from pathlib import Path
from typing import Any

import grpc
import pytest

from afterword.v1 import audit_service_pb2 as pb2
from afterword.v1 import (
    channel_service_pb2,
    event_pb2,
    event_service_pb2,
    invitation_service_pb2,
    rule_service_pb2,
    types_pb2,
)
from afterword.v1 import consent_service_pb2 as consents_pb2
from control.cli.audit import difference
from control.conversion import pages
from control.daemon import Daemon
from core.clock import ManualClock
from core.model import Medium
from core.sending import Delivery
from senders.postbox import Postbox
from tests.control.kit import (
    NOW_MS,
    PARENT,
    Outbox,
    Shop,
    cap_pb,
    event_pb,
    open_shop,
    refused,
    settings_for,
    step_pb,
    unique,
    with_unknown_field,
)
from tests.control.test_dead_letters import fail
from tests.control.test_invitation_service import planned, wish

pytestmark = [pytest.mark.integration, pytest.mark.asyncio(loop_scope="module")]


def request(**fields: Any) -> pb2.ListAuditEntriesRequest:
    return pb2.ListAuditEntriesRequest(**{"parent": PARENT, **fields})


async def entries(shop: Shop, **fields: Any) -> list[pb2.AuditEntry]:
    return list((await shop.audit.ListAuditEntries(request(**fields))).entries)


async def test_a_change_is_told_with_before_and_after(shop: Shop) -> None:
    """A33, B5: actor, time, what it was and what it is."""
    channel = await shop.create_channel()
    name = await shop.create_rule(channel)
    await shop.rules.StopRule(rule_service_pb2.StopRuleRequest(name=name))
    found = await entries(shop, resource_prefix=name)
    assert [entry.method for entry in found] == ["stop_rule", "create_rule"]
    stopped, created = found
    assert created.resource == created.target == name
    assert (created.actor, created.change_time.ToMilliseconds()) == ("local", NOW_MS)
    assert (created.before_json, json.loads(created.after_json)["event_type"]) == ("", "checkout")
    place = f"{channel}/activations/{name.rpartition('/')[2]}"
    assert (stopped.resource, stopped.target) == (place, name)
    assert difference(stopped.before_json, stopped.after_json)[0] == "  state: active -> stopped"
    assert stopped.revision > created.revision > 0
    assert stopped.name.startswith(f"{PARENT}/auditEntries/")


async def test_pages_of_the_log(shop: Shop) -> None:
    ids = [unique("cap") for _ in range(5)]
    for cap_id in ids:
        await shop.channels.CreateCap(
            channel_service_pb2.CreateCapRequest(parent=PARENT, cap_id=cap_id, cap=cap_pb())
        )
    prefix = f"{PARENT}/caps/cap-"
    seen: list[str] = []
    token = ""
    while True:
        page = await shop.audit.ListAuditEntries(
            request(resource_prefix=prefix, page_size=2, page_token=token)
        )
        assert len(page.entries) <= 2
        seen += [entry.resource.rpartition("/")[2] for entry in page.entries]
        token = page.next_page_token
        if not token:
            break
    assert seen == ids[::-1]
    first = await shop.audit.ListAuditEntries(request(resource_prefix=prefix, page_size=2))
    with refused() as refusal:
        await shop.audit.ListAuditEntries(request(actor="eva", page_token=first.next_page_token))
    assert refusal.field == "page_token"


async def test_filters_by_time_and_actor(shop: Shop) -> None:
    await shop.create_channel()
    assert await entries(shop, actor="nobody") == []
    assert await entries(shop, actor="local", page_size=1)
    late = request(page_size=1)
    late.start_time.FromMilliseconds(NOW_MS + 1)
    assert not (await shop.audit.ListAuditEntries(late)).entries
    early = request(page_size=1)
    early.end_time.FromMilliseconds(NOW_MS + 1)
    assert (await shop.audit.ListAuditEntries(early)).entries


async def test_what_is_wrong_is_named(shop: Shop) -> None:
    backwards = request()
    backwards.start_time.FromMilliseconds(NOW_MS)
    backwards.end_time.FromMilliseconds(NOW_MS)
    for wrong, field in (
        (request(parent=""), "parent"),
        (request(resource_prefix="rules/ask"), "resource_prefix"),
        (request(resource_prefix="accounts/other/rules"), "resource_prefix"),
        (request(page_size=-1), "page_size"),
        (request(page_token="x"), "page_token"),
        (request(page_token=pages.token(f"audit   0 {2**62}", "nowhere")), "page_token"),
        (backwards, "end_time"),
    ):
        with refused() as refusal:
            await shop.audit.ListAuditEntries(wrong)
        assert refusal.field == field, wrong
    with refused() as refusal:
        await shop.audit.ListAuditEntries(request(parent="accounts/other"))
    assert refusal.code is grpc.StatusCode.NOT_FOUND
    with refused():
        await shop.audit.ListAuditEntries(with_unknown_field(request()))


# --- what was done to contacts ----------------------------------------------------------------------


def grant(who: consents_pb2.ContactSelector, **fields: Any) -> consents_pb2.GrantConsentRequest:
    return consents_pb2.GrantConsentRequest(**{
        "contact": who, "purpose": types_pb2.PURPOSE_REVIEW, "medium": types_pb2.MEDIUM_EMAIL,
        "collection_point": "old shop", **fields,
    })  # fmt: skip


def of(**known: str) -> consents_pb2.ContactSelector:
    return consents_pb2.ContactSelector(contact=event_pb2.Contact(**known))


def told(found: list[pb2.AuditEntry]) -> list[tuple[str, str, str]]:
    return [(entry.method, entry.actor, entry.after_json) for entry in found]


async def test_an_import_has_one_entry_with_its_counts(shop: Shop) -> None:
    """A33: not one a line, and nothing of a trial; nobody by address."""
    item = consents_pb2.ImportConsentsRequest.Item
    withdrawal = consents_pb2.WithdrawConsentRequest(
        contact=of(email="b@example.com"), purpose=types_pb2.PURPOSE_REVIEW,
        medium=types_pb2.MEDIUM_EMAIL,
    )  # fmt: skip
    suppression = consents_pb2.SuppressContactRequest(contact=of(email="c@example.com"))
    batches = [
        [item(grant=grant(of(email="a@example.com"))), item(withdrawal=withdrawal), item()],
        [item(grant=grant(of(email="d@example.com"))), item(suppression=suppression)],
    ]

    async def run(**fields: Any) -> None:
        requests = [
            consents_pb2.ImportConsentsRequest(parent=PARENT, items=items, **fields)
            for items in batches
        ]
        assert len([one async for one in shop.consents.ImportConsents(iter(requests))]) == 2

    before = await entries(shop, resource_prefix=f"{PARENT}/contacts")
    await run(validate_only=True)
    assert await entries(shop, resource_prefix=f"{PARENT}/contacts") == before
    await run()
    found = await entries(shop, resource_prefix=f"{PARENT}/contacts")
    assert found[1:] == before
    counts = {"grants": 2, "refused": 1, "suppressions": 1, "withdrawals": 1}
    assert told(found[:1]) == [
        ("import_consents", "local", json.dumps(counts, separators=(",", ":")))
    ]
    assert found[0].resource == found[0].target == f"{PARENT}/contacts"
    assert "example.com" not in str(found[0])


async def test_an_import_that_breaks_off_is_told_too(shop: Shop) -> None:
    """What it had written is written."""
    item = consents_pb2.ImportConsentsRequest.Item(grant=grant(of(email="a@example.com")))
    good = consents_pb2.ImportConsentsRequest(parent=PARENT, items=[item])
    bad = consents_pb2.ImportConsentsRequest(parent="accounts/other", items=[item])
    with refused():
        async for _ in shop.consents.ImportConsents(iter([good, bad])):
            pass
    (found, *_) = await entries(shop, resource_prefix=f"{PARENT}/contacts")
    assert told([found]) == [("import_consents", "local", '{"grants":1}')]
    call = shop.consents.ImportConsents()
    await call.write(good)
    await call.write(good)
    for _ in range(2):
        assert (await call.read()).results
    call.cancel()
    async with asyncio.timeout(10):
        while (newest := await entries(shop, resource_prefix=f"{PARENT}/contacts"))[0] == found:
            pass
    assert told(newest[:1]) == [("import_consents", "local", '{"grants":2}')]


async def test_a_double_opt_in_is_told_of_both_sides(shop: Shop) -> None:
    """A33: who asked and who confirmed; of what was only tried nothing."""
    ask = consents_pb2.RequestConsentRequest(
        parent=PARENT, contact=of(email=f"{unique('who')}@example.com"),
        purpose=types_pb2.PURPOSE_MARKETING, medium=types_pb2.MEDIUM_EMAIL,
        collection_point="https://shop.example", request_id=str(uuid.uuid4()), validate_only=True,
    )  # fmt: skip
    tried = (await shop.consents.RequestConsent(ask)).consent
    contact = tried.name.rpartition("/consents/")[0]
    assert await entries(shop, resource_prefix=contact) == []
    ask.validate_only = False
    asked = await shop.consents.RequestConsent(ask)
    confirm = consents_pb2.ConfirmConsentRequest(
        parent=PARENT, token=asked.token, validate_only=True
    )
    await shop.consents.ConfirmConsent(confirm)
    confirm.validate_only = False
    await shop.consents.ConfirmConsent(confirm)
    # It stands, so that nothing is asked.
    ask.request_id = ""
    assert not (await shop.consents.RequestConsent(ask)).token
    confirmed, requested = await entries(shop, resource_prefix=contact)
    assert (confirmed.method, requested.method) == ("confirm_consent", "request_consent")
    assert {confirmed.resource, requested.resource} == {asked.consent.name}
    assert (requested.actor, len(requested.request_id)) == ("local", 36)


async def test_a_stop_word_is_told_for_everybody_it_is_written_for(shop: Shop) -> None:
    """A33, R18: who looks for one of a household finds it there."""
    phone, mail = "+4930998877", f"{unique('who')}@example.com"
    channel = await shop.create_channel()
    known = event_pb(channel, type="identify", contact=event_pb2.Contact(email=mail, phone=phone))
    known.ClearField("order")
    await shop.events.Publish(event_service_pb2.PublishRequest(event=known))
    message = consents_pb2.ReceiveMessageRequest(parent=PARENT, phone=phone, text="Where is it?")
    before = await entries(shop, resource_prefix=f"{PARENT}/contacts")
    await shop.consents.ReceiveMessage(message)
    message.text, message.validate_only = "stop", True
    await shop.consents.ReceiveMessage(message)
    assert await entries(shop, resource_prefix=f"{PARENT}/contacts") == before
    message.validate_only = False
    done = await shop.consents.ReceiveMessage(message)
    assert len(done.contacts) == 2
    for name in done.contacts:
        assert told(await entries(shop, resource_prefix=name)) == [("receive_message", "local", "")]


async def test_what_is_done_to_invitations_by_hand_is_told(shop: Shop) -> None:
    """A3, A33: who cancelled, brought back, hurried and added one; nothing of what was refused or
    tried."""
    channel = await shop.create_channel()
    await shop.create_rule(channel)
    name = await planned(shop, channel)
    pb, calls, request_id = invitation_service_pb2, shop.invitations, str(uuid.uuid4())
    with refused():
        await calls.ReinstateInvitation(pb.ReinstateInvitationRequest(name=name))
    await calls.CancelInvitation(pb.CancelInvitationRequest(name=name, validate_only=True))
    assert await entries(shop, resource_prefix=name) == []
    await calls.CancelInvitation(pb.CancelInvitationRequest(name=name, request_id=request_id))
    again = pb.ReinstateInvitationRequest(name=name, validate_only=True)
    await calls.ReinstateInvitation(again)
    again.validate_only = False
    back = (await calls.ReinstateInvitation(again)).name
    hurry = pb.SendInvitationNowRequest(name=back, validate_only=True)
    await calls.SendInvitationNow(hurry)
    hurry.validate_only = False
    await calls.SendInvitationNow(hurry)
    asked = wish(channel, validate_only=True)
    await calls.CreateInvitation(asked)
    asked.validate_only = False
    made = (await calls.CreateInvitation(asked)).name
    reinstated, cancelled = await entries(shop, resource_prefix=name)
    assert told([reinstated, cancelled]) == [
        (
            "reinstate_invitation",
            "local",
            json.dumps({"reinstated_as": back}, separators=(",", ":")),
        ),
        ("cancel_invitation", "local", ""),
    ]
    assert (cancelled.request_id, cancelled.resource, cancelled.target) == (request_id, name, name)
    hurried = await entries(shop, resource_prefix=back)
    assert told(hurried) == [("send_invitation_now", "local", "")]
    created = await entries(shop, resource_prefix=made)
    assert told(created) == [("create_invitation", "local", "")]
    assert {one.resource for one in await entries(shop)}.isdisjoint({name, back, made})


async def test_replays_are_told_for_each(tmp_path: Path) -> None:
    """A33, R8: by name or by filter, with what came back."""
    async with open_shop(tmp_path) as shop:
        channel = await shop.create_channel()
        await shop.create_rule(channel)
        pb, calls, names = invitation_service_pb2, shop.invitations, await fail(shop, 3, channel)
        every = pb.ReplayDeadLettersRequest(parent=PARENT, validate_only=True)
        await calls.ReplayDeadLetters(every)
        one = pb.ReplayInvitationRequest(name=names[0], validate_only=True)
        await calls.ReplayInvitation(one)
        assert await entries(shop, resource_prefix=f"{PARENT}/invitations") == []
        one.validate_only = False
        back = (await calls.ReplayInvitation(one)).name
        every.validate_only = False
        done = await calls.ReplayDeadLetters(every)
        came = {names[0]: back} | {each.invitation: each.replayed_as for each in done.results}
        assert came.keys() == set(names)
        for name in names:
            (found,) = await entries(shop, resource_prefix=name)
            method = "replay_invitation" if name == names[0] else "replay_dead_letters"
            assert (found.method, found.actor) == (method, "local")
            assert json.loads(found.after_json) == {"replayed_as": came[name]}


class Holding(Outbox):
    """A transport that never hears whether a message was taken."""

    holds_unknown = True


async def test_what_an_operator_resolves_is_told(tmp_path: Path) -> None:
    """A33, R48: beside the contacts, not among the configuration."""
    clock, outbox = ManualClock(NOW_MS), Holding()
    outbox.answer = Delivery(Delivery.Kind.UNKNOWN, was_handed_over=True)
    daemon = Daemon(settings_for(tmp_path), clock=clock, postbox=Postbox({Medium.EMAIL: outbox}))
    await daemon.start()
    try:
        async with grpc.aio.insecure_channel(daemon.grpc_address) as channel:
            shop = Shop(channel, daemon, clock, outbox)
            place = await shop.create_channel()
            await shop.create_rule(place, steps=[step_pb(days=0)])
            answer = await shop.events.Publish(
                event_service_pb2.PublishRequest(event=event_pb(place))
            )
            await daemon.engine.advance_to(clock.now_ms())
            (name,) = answer.result.invitations
            request_ = invitation_service_pb2.ResolveInvitationRequest(
                name=name, validate_only=True,
                outcome=invitation_service_pb2.ResolveInvitationRequest.OUTCOME_SENT,
            )  # fmt: skip
            await shop.invitations.ResolveInvitation(request_)
            assert await entries(shop, resource_prefix=name) == []
            request_.validate_only = False
            await shop.invitations.ResolveInvitation(request_)
            (found,) = await entries(shop, resource_prefix=name)
            assert told([found]) == [("resolve_invitation", "local", '{"outcome":"OUTCOME_SENT"}')]
            assert (found.resource, found.target) == (name, name)
            assert found not in await entries(shop)
    finally:
        await daemon.stop()
