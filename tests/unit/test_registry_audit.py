"""What the audit log tells of a change of the configuration, and what it leaves out."""

from __future__ import annotations

import json
from typing import Any

import pytest_asyncio
from msgspec.structs import replace

from core.registry import audit
from core.registry.audit import AuditEntry, AuditFilter
from core.registry.registry import Registry
from core.registry.resources import Carrier
from core.registry.rule_parts import Condition
from tests.support.configuration import ACCOUNT, cap, channel, event_type, rule
from tests.support.registries import NOW, noted, registry_with_channels

RULE = "accounts/shop/rules/a"
CONDITION = Condition("order.amount > 5.0", ["gt", ["field", "order", "amount"], 5.0])


@pytest_asyncio.fixture
async def config() -> Registry:
    return await registry_with_channels()


async def newest(config: Registry, count: int = 1) -> list[AuditEntry]:
    return (await noted(config))[-count:]


def document(text: str) -> Any:
    return json.loads(text)


async def test_a_change_has_its_before_and_after(config: Registry) -> None:
    """A33: who, when, which revision, what it was and what it is."""
    await config.create_rule(rule("a"), "one", actor="eva")
    await config.update_rule(rule("a", priority=7), "", "two", actor="bob")
    created, changed = await newest(config, 2)
    assert (created.actor, created.method, created.request_id) == ("eva", "create_rule", "one")
    assert (created.before, document(created.after)["revision"]) == ("", 1)
    assert (changed.actor, changed.method, changed.request_id) == ("bob", "update_rule", "two")
    assert (changed.resource, changed.target, changed.time_ms) == (RULE, RULE, NOW)
    assert changed.before == created.after
    assert document(changed.after)["priority"] == 7
    assert changed.revision == config.snapshot.revision


async def test_each_document_of_a_write_has_an_entry(config: Registry) -> None:
    """A25: who switches a rule on switches another off, and both are told."""
    await config.create_rule(rule("a"), activate_on=["es"])
    await config.create_rule(rule("b"))
    await config.activate(ACCOUNT, "b", "es", "eva")
    place = "accounts/shop/channels/es/activations"
    entries = await newest(config, 2)
    assert {entry.resource for entry in entries} == {f"{place}/a", f"{place}/b"}
    assert {(entry.target, entry.actor) for entry in entries} == {(f"{place}/b", "eva")}
    assert len({entry.revision for entry in entries}) == 1


async def test_every_kind_of_resource_is_told(config: Registry) -> None:
    """A33, B5."""
    await config.create_event_type(event_type("gift"))
    await config.create_cap(cap("c"))
    await config.create_carrier(Carrier(account=ACCOUNT, id="dhl", email="ops@dhl.example"))
    await config.update_channel(channel("es", features=("reviews",)))
    await config.delete_carrier(ACCOUNT, "dhl")
    told = [(entry.method, entry.resource.split("/", 2)[2]) for entry in await newest(config, 5)]
    assert told == [
        ("create_event_type", "eventTypes/gift"),
        ("create_cap", "caps/c"),
        ("create_carrier", "carriers/dhl"),
        ("update_channel", "channels/es"),
        ("delete_carrier", "carriers/dhl"),
    ]
    (deleted,) = await newest(config)
    assert (document(deleted.before)["email"], deleted.after) == ("ops@dhl.example", "")


async def test_a_new_account_tells_what_it_came_with(config: Registry) -> None:
    first = await noted(config)
    assert {entry.method for entry in first} == {"ensure_account", "create_channel"}
    assert "accounts/shop" in {entry.resource for entry in first}
    assert not {entry.resource for entry in first} & {"channel", "event_type/shop"}


async def test_compiled_conditions_are_left_out(config: Registry) -> None:
    steps = [replace(rule("a").steps[0], condition=CONDITION)]
    await config.create_rule(rule("a", condition=CONDITION, steps=steps))
    (entry,) = await newest(config)
    told = document(entry.after)
    assert told["condition"] == told["steps"][0]["condition"] == {"source": CONDITION.source}


async def test_what_changes_nothing_is_not_told(config: Registry) -> None:
    await config.create_rule(rule("a"), activate_on=["es"])
    before = await noted(config)
    await config.activate(ACCOUNT, "a", "es", "eva")
    await config.activate(ACCOUNT, "a", "es", "eva", "again")
    await config.update_rule(rule("a"), "", "same")
    await config.update_rule(rule("a", priority=9), validate_only=True)
    assert await noted(config) == before


async def test_a_repeated_request_is_told_once(config: Registry) -> None:
    await config.create_cap(cap("c"), "once", actor="eva")
    before = await noted(config)
    await config.create_cap(cap("c"), "once", actor="eva")
    assert await noted(config) == before


async def test_what_is_no_configuration_is_told_beside_it(config: Registry) -> None:
    revision = config.snapshot.revision
    contact = "accounts/shop/contacts/0123456789abcdef"
    await config.audit(ACCOUNT, "eva", "erase_contact", contact, "uuid")
    for prefix in ("accounts/shop/contacts", contact):
        found, _ = await config.audit_entries(ACCOUNT, AuditFilter(prefix), "", 10)
        (entry,) = [each.entry for each in found]
        assert entry == AuditEntry(NOW, "eva", "erase_contact", contact, contact, 0, "uuid")
    assert config.snapshot.revision == revision
    assert "erase_contact" not in {entry.method for entry in await noted(config)}, "a log apart"


async def test_a_search_goes_on_where_it_stopped(config: Registry, monkeypatch: Any) -> None:
    """A page looks at a bounded number of lines, whatever it finds."""
    monkeypatch.setattr(audit, "SCAN_MAX", 4)
    monkeypatch.setattr(audit, "_SCAN_STEP", 2)
    await config.create_cap(cap("wanted"), actor="eva")
    for index in range(9):
        await config.create_cap(cap(f"c-{index}"))
    wanted = AuditFilter(actor="eva")
    before, pages = "", []
    while True:
        found, before = await config.audit_entries(ACCOUNT, wanted, before, 10)
        pages.append([each.entry.resource for each in found])
        if not before:
            break
    assert [page for page in pages if page] == [["accounts/shop/caps/wanted"]]
    assert len(pages) > 2


async def test_a_page_is_bounded_in_bytes(config: Registry, monkeypatch: Any) -> None:
    """What one answer holds must fit into a message, however large the documents are."""
    for index in range(6):
        await config.create_cap(cap(f"c-{index}"))
    one = len((await newest(config))[0].after)
    monkeypatch.setattr(audit, "PAGE_BYTES_MAX", 2 * one)
    found, before = await config.audit_entries(ACCOUNT, AuditFilter(), "", 100)
    assert 0 < len(found) <= 3
    following, _ = await config.audit_entries(ACCOUNT, AuditFilter(), before, 1)
    assert following[0].id < found[-1].id


async def test_filters(config: Registry) -> None:
    await config.create_rule(rule("a"), activate_on=["es"], actor="eva")
    await config.stop_rule(ACCOUNT, "a", "", "bob")

    async def methods(**fields: Any) -> list[str]:
        found, _ = await config.audit_entries(ACCOUNT, AuditFilter(**fields), "", 100)
        return [each.entry.method for each in found]

    assert await methods(actor="bob") == ["stop_rule"]
    assert await methods(resource_prefix=RULE) == ["stop_rule", "create_rule", "create_rule"]
    assert await methods(resource_prefix="accounts/shop/channels/es/activations") == [
        "stop_rule", "create_rule",
    ]  # fmt: skip
    assert await methods(start_ms=NOW + 1) == await methods(end_ms=NOW) == []
    assert len(await methods(start_ms=NOW, end_ms=NOW + 1)) == len(await noted(config))
