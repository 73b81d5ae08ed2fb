"""AuditService over gRPC: who changed what, with the document before and after."""

from __future__ import annotations

import json
from typing import Any

import grpc
import pytest

from afterword.v1 import audit_service_pb2 as pb2
from afterword.v1 import channel_service_pb2, rule_service_pb2
from control.cli.audit import difference
from control.conversion import pages
from tests.control.kit import (
    NOW_MS,
    PARENT,
    Shop,
    cap_pb,
    refused,
    unique,
    with_unknown_field,
)

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
