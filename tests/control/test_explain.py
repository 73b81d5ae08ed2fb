"""Explain over gRPC and on the command line: every gate with what it saw, as typed fields."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import grpc
import pytest

from afterword.v1 import (
    channel_service_pb2,
    consent_service_pb2,
    event_pb2,
    event_service_pb2,
    rule_service_pb2,
    types_pb2,
)
from afterword.v1 import invitation_service_pb2 as pb2
from control.cli.main import main
from core.bounds import DAY_MS
from tests.control.kit import (
    DAY_S,
    NOW_MS,
    PARENT,
    Shop,
    cap_pb,
    event_pb,
    open_shop,
    refused,
    with_unknown_field,
)

pytestmark = [pytest.mark.integration, pytest.mark.asyncio]

Told = pb2.ExplainResponse
ANN = event_pb2.Contact(email="ann@shop.example")


async def bought(shop: Shop, channel: str, order: str) -> str:
    """Publish a checkout of Ann's; return the invitation that follows."""
    event = event_pb(
        channel, id=f"{order}-ordered", contact=ANN, order=event_pb2.Order(reference=order)
    )
    answer = await shop.events.Publish(event_service_pb2.PublishRequest(event=event))
    return answer.result.invitations[0]


async def explain(shop: Shop, name: str, **fields: Any) -> pb2.ExplainResponse:
    return await shop.invitations.Explain(
        pb2.ExplainRequest(parent=PARENT, invitation=name, **fields)
    )


def about(lines: Any, gate: int) -> Any:
    return [line for line in lines if line.gate == gate][-1]


async def open_for(shop: Shop) -> str:
    channel = await shop.create_channel("madrid")
    await shop.create_rule(channel, "ask")
    cap = cap_pb(
        unit=channel_service_pb2.Cap.UNIT_ORDER, on_cap=channel_service_pb2.Cap.ON_CAP_DEFER
    )
    cap.window.seconds = 14 * DAY_S
    await shop.channels.CreateCap(
        channel_service_pb2.CreateCapRequest(parent=PARENT, cap_id="requests", cap=cap)
    )
    return channel


async def test_gates_consents_caps_and_times_are_typed(tmp_path: Path) -> None:
    """R10: the answer of each gate, the ids of consent lines, the ledger of a cap."""
    async with open_shop(tmp_path) as shop:
        channel = await open_for(shop)
        sent, held = await bought(shop, channel, "1"), await bought(shop, channel, "2")
        await shop.daemon.engine.advance_to(NOW_MS + 8 * DAY_MS)
        told = await explain(shop, sent)
        gates = [line.gate for line in told.decisions]
        assert gates == sorted(gates)
        assert {line.verdict for line in told.decisions} == {Told.VERDICT_PASSED}
        assert {line.invitation for line in told.decisions} == {sent}
        (seen,) = about(told.decisions, Told.GATE_CONSENT).consents
        contact = told.invitations[0].contact
        assert seen.line == f"{contact}/consentLines/1"
        history = await shop.consents.ListConsentHistory(
            consent_service_pb2.ListConsentHistoryRequest(
                parent=PARENT, contact=consent_service_pb2.ContactSelector(name=contact)
            )
        )
        (line, _) = history.lines
        assert (line.number, line.kind) == (1, seen.kind)
        assert (seen.decided, seen.for_order, seen.purpose) == (
            True,
            True,
            types_pb2.PURPOSE_REVIEW,
        )
        time = about(told.decisions, Told.GATE_TIME).time
        assert (time.time_zone, time.time_zone_source) == ("Europe/Madrid", "channel")
        assert (time.base_time.ToMilliseconds(), time.wait) == (NOW_MS, "7 days")

        told = await explain(shop, held)
        capped = about(told.decisions, Told.GATE_CAPS)
        assert (capped.verdict, capped.passed) == (Told.VERDICT_WAITS, False)
        (cap,) = capped.caps
        assert (cap.cap, cap.limit) == (f"{PARENT}/caps/requests", 1)
        assert (cap.window.seconds, cap.full) == (14 * DAY_S, True)
        sent_ms = NOW_MS + 7 * DAY_MS
        assert cap.free_time.ToMilliseconds() == sent_ms + 14 * DAY_MS
        (entry,) = cap.entries
        assert (entry.send_time.ToMilliseconds(), entry.order_reference) == (sent_ms, "1")


async def test_now_is_told_only_if_asked_for(tmp_path: Path) -> None:
    """R12: the same gates, as they would answer this moment, for an invitation and for an event."""
    async with open_shop(tmp_path) as shop:
        channel = await open_for(shop)
        name = await bought(shop, channel, "1")
        assert not (await explain(shop, name)).now
        now = (await explain(shop, name, with_now=True)).now
        assert {line.verdict for line in now} == {Told.VERDICT_PASSED}
        await shop.rules.FreezeRule(rule_service_pb2.FreezeRuleRequest(name=f"{PARENT}/rules/ask"))
        now = (await explain(shop, name, with_now=True)).now
        state = about(now, Told.GATE_STATE)
        assert state.verdict == Told.VERDICT_WAITS
        assert {one.name: one.value for one in state.values}["activation.state"] == "FROZEN"
        assert about(now, Told.GATE_OUTCOME).verdict == Told.VERDICT_WAITS
        key = pb2.ExplainRequest.EventKey(id="1-ordered")
        told = await shop.invitations.Explain(
            pb2.ExplainRequest(parent=PARENT, event=key, with_now=True)
        )
        first, *rest = told.now
        assert (first.invitation, first.text) == (
            "",
            "nothing would be planned by the rules of today",
        )
        assert {line.invitation for line in rest} == {name}


async def test_an_order_is_told_as_a_whole(tmp_path: Path) -> None:
    """R7: Explain takes an order too, also one about which nothing was planned."""
    async with open_shop(tmp_path) as shop:
        channel = await open_for(shop)
        name = await bought(shop, channel, "1")
        quiet = await shop.create_channel("quiet")
        await shop.events.Publish(event_service_pb2.PublishRequest(event=event_pb(
            quiet, contact=ANN, order=event_pb2.Order(reference="7")
        )))  # fmt: skip

        async def told(on: str, reference: str) -> pb2.ExplainResponse:
            order = pb2.ListInvitationsRequest.ByOrder(channel=on, order_reference=reference)
            request = pb2.ExplainRequest(parent=PARENT, order=order, with_now=True)
            return await shop.invitations.Explain(request)

        story = await told(channel, "1")
        assert [one.name for one in story.invitations] == [name]
        assert {line.invitation for line in (*story.decisions, *story.now)} == {name}
        nothing = await told(quiet, "7")
        assert (list(nothing.invitations), len(nothing.decisions)) == ([], 1)
        assert "no rule wanted" in nothing.summary
        for on, reference, field in (
            ("shops/1", "1", "order.channel"), (channel, "", "order.order_reference"),
        ):  # fmt: skip
            with refused() as refusal:
                await told(on, reference)
            assert refusal.field == field
        with refused() as refusal:
            await told(channel, "never")
        assert refusal.code is grpc.StatusCode.NOT_FOUND


async def test_suppressions_are_told_with_their_line(tmp_path: Path) -> None:
    """R18: what ended it, by the number of its line."""
    async with open_shop(tmp_path) as shop:
        name = await bought(shop, await open_for(shop), "1")
        await shop.consents.SuppressContact(
            consent_service_pb2.SuppressContactRequest(
                parent=PARENT,
                contact=consent_service_pb2.ContactSelector(contact=ANN),
                reason="asked by phone",
            )
        )
        told = await explain(shop, name)
        line = about(told.decisions, Told.GATE_SUPPRESSION)
        assert line.verdict == Told.VERDICT_REFUSED
        (seen,) = line.consents
        assert seen.kind == consent_service_pb2.ConsentLine.KIND_SUPPRESSED
        assert seen.suppression == consent_service_pb2.Suppression.KIND_BLOCKED
        assert seen.line.endswith("/consentLines/2")
        assert "ann@shop.example" not in str(told)


async def test_unknown_fields_are_refused(tmp_path: Path) -> None:
    async with open_shop(tmp_path) as shop:
        with refused():
            await shop.invitations.Explain(with_unknown_field(pb2.ExplainRequest(parent=PARENT)))


async def test_what_is_done_to_contacts_is_audited(tmp_path: Path) -> None:
    """A33: who granted, withdrew, suppressed, lifted and erased; nobody by address."""
    from afterword.v1 import audit_service_pb2, contact_service_pb2, contact_service_pb2_grpc

    async with open_shop(tmp_path) as shop:
        who = consent_service_pb2.ContactSelector(contact=ANN)
        about_ann: dict[str, Any] = {
            "parent": PARENT, "contact": who, "purpose": types_pb2.PURPOSE_REVIEW,
            "medium": types_pb2.MEDIUM_EMAIL,
        }  # fmt: skip
        api, consents = consent_service_pb2, shop.consents
        grant = api.GrantConsentRequest(**about_ann, collection_point="https://shop.example")
        await consents.GrantConsent(grant)
        grant.validate_only = True
        await consents.GrantConsent(grant)
        await consents.WithdrawConsent(api.WithdrawConsentRequest(**about_ann))
        whom: dict[str, Any] = {"parent": PARENT, "contact": who, "reason": "asked by phone"}
        await consents.SuppressContact(api.SuppressContactRequest(**whom))
        await consents.LiftSuppression(api.LiftSuppressionRequest(**whom))
        contacts = contact_service_pb2_grpc.ContactServiceStub(shop.channel)
        erased = await contacts.EraseContact(
            contact_service_pb2.EraseContactRequest(parent=PARENT, contact=who)
        )
        request = audit_service_pb2.ListAuditEntriesRequest(
            parent=PARENT, resource_prefix=f"{PARENT}/contacts"
        )
        entries = (await shop.audit.ListAuditEntries(request)).entries
        assert [entry.method for entry in entries] == [
            "erase_contact", "lift_suppression", "suppress_contact", "withdraw_consent",
            "grant_consent",
        ]  # fmt: skip
        assert {entry.actor for entry in entries} == {"local"}
        assert all(entry.resource.startswith(erased.name) for entry in entries)
        assert not any(entry.before_json or entry.after_json for entry in entries)
        request.resource_prefix = ""
        others = (await shop.audit.ListAuditEntries(request)).entries
        assert not any("/contacts/" in entry.resource for entry in others)


async def test_the_command_line_tells_gates_and_changes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One gate a line, details below it; and who changed what, field by field."""
    async with open_shop(tmp_path) as shop:
        channel = await open_for(shop)
        await bought(shop, channel, "1")
        await bought(shop, channel, "2")
        await shop.daemon.engine.advance_to(NOW_MS + 8 * DAY_MS)
        rule = await shop.rules.GetRule(rule_service_pb2.GetRuleRequest(name=f"{PARENT}/rules/ask"))
        rule.steps[0].wait.days = 9
        await shop.rules.UpdateRule(rule_service_pb2.UpdateRuleRequest(rule=rule))

        async def run(*words: str) -> str:
            assert (
                await asyncio.to_thread(main, ["--address", shop.daemon.grpc_address, *words]) == 0
            )
            return capsys.readouterr().out

        told = await run("explain", "--event", "2-ordered", "--now")
        assert "cap      later   cap requests (1 in 14 days) was full" in told
        assert "requests: 1 of 1 in 14d, free 2024-10-25" in told
        assert "if it happened now" in told
        assert "entitlement  yes" in told
        assert "if it happened now" not in await run("explain", "--event", "2-ordered")
        changes = await run("audit", "--resource", "rules", "--limit", "1")
        assert "local  update_rule  rules/ask" in changes
        assert "steps[0].wait.days: 7 -> 9" in changes
        assert "there is more" in changes
        assert await run("audit", "--actor", "nobody") == ""
        whole = await run("explain", "--order", "2", "--channel", "madrid")
        assert "cap      later" in whole
