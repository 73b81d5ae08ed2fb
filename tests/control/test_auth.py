"""Who may call what: roles by method, accounts by credential, for every kind of handler."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import pytest
import pytest_asyncio
from google.protobuf import symbol_database
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message import Message
from grpc_health.v1 import health_pb2, health_pb2_grpc

from afterword.v1 import (
    audit_service_pb2,
    channel_service_pb2,
    consent_service_pb2,
    contact_service_pb2,
    event_pb2,
    event_service_pb2,
    invitation_service_pb2,
    platform_service_pb2,
    review_service_pb2,
    rule_service_pb2,
    sender_service_pb2,
    simulation_service_pb2,
    template_service_pb2,
    types_pb2,
)
from control.auth import ROLES, Credentials, Role
from control.error_table import Unauthenticated
from core.errors import InvalidField, PermissionDenied
from tests.control.kit import (
    PARENT,
    Shop,
    channel_pb,
    open_shop,
    refused,
    rule_pb,
    settings_for,
)

FILES = (
    audit_service_pb2,
    channel_service_pb2,
    consent_service_pb2,
    contact_service_pb2,
    event_service_pb2,
    invitation_service_pb2,
    platform_service_pb2,
    review_service_pb2,
    rule_service_pb2,
    sender_service_pb2,
    simulation_service_pb2,
    template_service_pb2,
)
BOTH = "/afterword.v1.RuleService/CopyRule"
"""Writes rules and switches them on: either role alone is not enough (A33)."""
METHODS: list[MethodDescriptor] = [
    method
    for file in FILES
    for service in file.DESCRIPTOR.services_by_name.values()
    for method in service.methods
]


def path_of(method: MethodDescriptor) -> str:
    return f"/{method.containing_service.full_name}/{method.name}"


def tokens(folder: Path, *entries: tuple[str, str, str]) -> str:
    """Write a tokens file of (token, account, roles) and return its path."""
    file = folder / "tokens.toml"
    file.write_text(
        "".join(
            f'[[token]]\nname = "{token}"\naccount = "{account}"\n'
            f"roles = {roles.split()!r}\n"
            f'sha256 = "{hashlib.sha256(token.encode()).hexdigest()}"\n'
            for token, account, roles in entries
        ),
        encoding="utf-8",
    )
    return str(file)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def guarded(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Shop]:
    """A daemon with a token for each role, one for all, and one of another account."""
    folder = tmp_path_factory.mktemp("guarded")
    file = tokens(
        folder,
        *((role.value, "default", role.value) for role in Role),
        ("all", "default", " ".join(Role)),
        ("other", "other", " ".join(Role)),
    )
    async with open_shop(folder, settings_for(folder, tokens_file=file)) as shop:
        yield shop


async def attempt(shop: Shop, method: MethodDescriptor, token: str) -> grpc.StatusCode:
    """Call a method with an empty request; return how it ended."""
    factory = symbol_database.Default().pool
    assert factory is not None
    request = _message(method.input_type.full_name)
    metadata = [("authorization", f"Bearer {token}")] if token else []
    make: Any = shop.channel.unary_unary
    if method.client_streaming:
        make = shop.channel.stream_stream
    call = make(
        path_of(method),
        request_serializer=type(request).SerializeToString,
        response_deserializer=bytes,
    )
    try:
        if method.client_streaming:
            stream = call(iter([request]), metadata=metadata)
            async for _ in stream:
                pass
        else:
            await call(request, metadata=metadata)
    except grpc.aio.AioRpcError as error:
        return error.code()
    return grpc.StatusCode.OK


def _message(full_name: str) -> Any:
    name = full_name.rpartition(".")[2]
    for file in FILES:
        if hasattr(file, name):
            return getattr(file, name)()
    raise AssertionError(full_name)


def test_every_method_has_a_role_and_every_role_a_method() -> None:
    assert set(ROLES) == {path_of(method) for method in METHODS}
    assert set(ROLES.values()) == set(Role)


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("method", METHODS, ids=path_of)
async def test_the_role_decides(guarded: Shop, method: MethodDescriptor) -> None:
    """A33, B5: writing rules and activating them need different roles."""
    for role in Role:
        code = await attempt(guarded, method, role.value)
        is_denied = code is grpc.StatusCode.PERMISSION_DENIED
        is_enough = ROLES[path_of(method)] is role and path_of(method) != BOTH
        assert is_denied != is_enough, (role, code)
        assert code is not grpc.StatusCode.INTERNAL
    assert await attempt(guarded, method, "all") is not grpc.StatusCode.PERMISSION_DENIED
    assert await attempt(guarded, method, "") is grpc.StatusCode.UNAUTHENTICATED
    assert await attempt(guarded, method, "wrong") is grpc.StatusCode.UNAUTHENTICATED


@pytest.mark.asyncio(loop_scope="module")
async def test_who_writes_rules_does_not_switch_them_on_by_that(guarded: Shop) -> None:
    """A33: definition and activation are separate permissions, also in one request."""

    def as_(token: str) -> list[tuple[str, str]]:
        return [("authorization", f"bearer {token}")]

    pb2 = rule_service_pb2
    there = [f"{PARENT}/channels/nowhere"]
    rule = rule_pb()
    made = await guarded.rules.CreateRule(
        pb2.CreateRuleRequest(parent=PARENT, rule_id="apart", rule=rule), metadata=as_("configure")
    )
    calls = (
        (guarded.rules.CreateRule, pb2.CreateRuleRequest(
            parent=PARENT, rule_id="apart-2", rule=rule, activate_on=there
        )),
        (guarded.rules.UpdateRule, pb2.UpdateRuleRequest(
            rule=pb2.Rule(name=made.name, priority=1), activate_on=there
        )),
        (guarded.rules.CreateRuleFromAutomation, pb2.CreateRuleFromAutomationRequest(
            parent=PARENT, rule_id="apart-3", automation="automations/order-shipped",
            activate_on=there,
        )),
    )  # fmt: skip
    for method, request in calls:
        with refused() as refusal:
            await method(request, metadata=as_("configure"))
        assert refusal.code is grpc.StatusCode.PERMISSION_DENIED
        assert "activate" in refusal.problem.message
        with refused() as refusal:
            await method(request, metadata=as_("all"))
        assert refusal.code is grpc.StatusCode.NOT_FOUND, "allowed, but there is no such channel"
    for token, code in (
        ("activate", grpc.StatusCode.PERMISSION_DENIED),
        ("configure", grpc.StatusCode.PERMISSION_DENIED),
        ("all", grpc.StatusCode.NOT_FOUND),
    ):
        with refused() as refusal:
            await guarded.rules.CopyRule(
                pb2.CopyRuleRequest(name=made.name, channels=there), metadata=as_(token)
            )
        assert refusal.code is code, token


@pytest.mark.asyncio(loop_scope="module")
async def test_the_account_comes_from_the_credential(guarded: Shop) -> None:
    """B5."""

    def as_(token: str) -> list[tuple[str, str]]:
        return [("authorization", f"bearer {token}")]

    created = await guarded.channels.CreateChannel(
        channel_service_pb2.CreateChannelRequest(
            parent=PARENT,
            channel_id="mine",
            channel=channel_service_pb2.Channel(display_name="Mine", time_zone="UTC", locale="en"),
        ),
        metadata=as_("configure"),
    )
    request = channel_service_pb2.GetChannelRequest(name=created.name)
    assert (await guarded.channels.GetChannel(request, metadata=as_("read"))).name == created.name
    with refused() as refusal:
        await guarded.channels.GetChannel(request, metadata=as_("other"))
    assert refusal.code is grpc.StatusCode.NOT_FOUND, "not theirs, so not there"
    with refused() as refusal:
        await guarded.channels.ListChannels(
            channel_service_pb2.ListChannelsRequest(parent=PARENT), metadata=as_("other")
        )
    assert refusal.code is grpc.StatusCode.NOT_FOUND
    listed = await guarded.channels.ListChannels(
        channel_service_pb2.ListChannelsRequest(parent="accounts/other"), metadata=as_("other")
    )
    assert not listed.channels
    types = await guarded.events.ListEventTypes(
        event_service_pb2.ListEventTypesRequest(parent="accounts/other"), metadata=as_("other")
    )
    assert types.event_types, "every account of the tokens file exists"


@pytest.mark.asyncio(loop_scope="module")
async def test_who_did_it_is_the_token_s_name(guarded: Shop) -> None:
    """B5."""
    metadata = [("authorization", "Bearer all")]
    rule = await guarded.rules.CreateRule(
        rule_service_pb2.CreateRuleRequest(
            parent=PARENT,
            rule_id="named",
            rule=rule_service_pb2.Rule(
                display_name="x",
                family=rule_service_pb2.Rule.FAMILY_NOTIFICATION,
                purpose=4,  # type: ignore[arg-type]
                trigger=rule_service_pb2.Trigger(event_type="delivery"),
                steps=[
                    rule_service_pb2.Step(
                        id="one",
                        wait=rule_service_pb2.Wait(days=0),
                        actions=[
                            rule_service_pb2.Action(
                                medium=types_pb2.MEDIUM_EMAIL, subject="x", body="x"
                            )
                        ],
                    )
                ],
            ),
        ),
        metadata=metadata,
    )
    await guarded.channels.CreateChannel(
        channel_service_pb2.CreateChannelRequest(
            parent=PARENT,
            channel_id="named",
            channel=channel_pb(),
        ),
        metadata=metadata,
    )
    answer = await guarded.rules.ActivateRule(
        rule_service_pb2.ActivateRuleRequest(name=rule.name, channel=f"{PARENT}/channels/named"),
        metadata=metadata,
    )
    assert answer.activation.actor == "all"


@pytest.mark.asyncio(loop_scope="module")
async def test_health_needs_no_credential(guarded: Shop) -> None:
    stub = health_pb2_grpc.HealthStub(guarded.channel)
    for service in ("", "afterword.v1.EventService"):
        answer = await stub.Check(health_pb2.HealthCheckRequest(service=service))
        assert answer.status == health_pb2.HealthCheckResponse.SERVING


# --- the tokens file ------------------------------------------------------------------------------


def test_credentials_without_a_file_let_everybody_in_as_the_default_account() -> None:
    credentials = Credentials.load("")
    assert credentials.accounts == ["default"]
    assert credentials.caller("").account == "default"


def test_only_whole_tokens_are_taken(tmp_path: Path) -> None:
    credentials = Credentials.load(tokens(tmp_path, ("secret", "a", "read")))
    method = "/afterword.v1.RuleService/GetRule"
    assert credentials.authorize(method, "Bearer secret").account == "a"
    for header in ("", "secret", "Basic secret", "Bearer", "Bearer  ", "Bearer secret2"):
        with pytest.raises(Unauthenticated):
            credentials.authorize(method, header)
    with pytest.raises(PermissionDenied):
        credentials.authorize("/afterword.v1.RuleService/CreateRule", "Bearer secret")
    with pytest.raises(PermissionDenied):
        credentials.authorize("/afterword.v1.RuleService/New", "Bearer secret")


@pytest.mark.parametrize(
    "text",
    [
        "not toml",
        'token = "x"',
        '[[token]]\nname = "x"',
        '[[token]]\nname="x"\naccount="a"\nroles=["emperor"]\nsha256="' + "0" * 64 + '"',
        '[[token]]\nname="x"\naccount="A/b"\nroles=["read"]\nsha256="' + "0" * 64 + '"',
        '[[token]]\nname="x"\naccount="a"\nroles=["read"]\nsha256="plain text"',
        '[[token]]\nname=""\naccount="a"\nroles=["read"]\nsha256="' + "0" * 64 + '"',
        ('[[token]]\nname="x"\naccount="a"\nroles=[]\nsha256="' + "0" * 64 + '"\n') * 2,
    ],
)
def test_a_bad_tokens_file_is_refused(tmp_path: Path, text: str) -> None:
    file = tmp_path / "tokens.toml"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(InvalidField) as caught:
        Credentials.load(str(file))
    assert caught.value.field == "auth.tokens_file"


def test_a_missing_tokens_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidField):
        Credentials.load(str(tmp_path / "none.toml"))


def _of_another_account(contact: str) -> list[tuple[str, Message]]:
    """Return requests of "other" about a contact of "default", named by its key."""
    name = contact.replace("/default/", "/other/")
    whom = consent_service_pb2.ContactSelector(name=name)
    told = {
        "parent": "accounts/other", "contact": whom, "purpose": types_pb2.PURPOSE_REVIEW,
        "medium": types_pb2.MEDIUM_EMAIL,
    }  # fmt: skip
    named = {"parent": "accounts/other", "contact": whom}
    pb2 = consent_service_pb2
    return [
        ("GetConsent", pb2.GetConsentRequest(name=f"{name}/consents/-.review.email")),
        ("ListConsents", pb2.ListConsentsRequest(**named)),
        ("ListConsentHistory", pb2.ListConsentHistoryRequest(**named)),
        ("ListSuppressions", pb2.ListSuppressionsRequest(**named)),
        ("GrantConsent", pb2.GrantConsentRequest(**told, collection_point="here")),
        ("WithdrawConsent", pb2.WithdrawConsentRequest(**told)),
        ("RequestConsent", pb2.RequestConsentRequest(**told, collection_point="here")),
        ("SuppressContact", pb2.SuppressContactRequest(**named)),
        ("LiftSuppression", pb2.LiftSuppressionRequest(**named, reason="a test")),
    ]


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("channel", ["isolated", ""])
async def test_nobody_touches_a_contact_of_another_account_by_its_key(
    guarded: Shop, channel: str
) -> None:
    """B5: a contact's key stands in the ids of the messages that it gets, so it is no secret."""
    ours = [("authorization", "bearer all")]
    theirs = [("authorization", "bearer other")]
    if channel:
        await guarded.channels.CreateChannel(
            channel_service_pb2.CreateChannelRequest(
                parent=PARENT, channel_id=channel, channel=channel_pb()
            ),
            metadata=ours,
        )
    who = consent_service_pb2.ContactSelector(
        contact=event_pb2.Contact(email=f"{channel or 'account-wide'}@example.com")
    )
    granted = await guarded.consents.GrantConsent(
        consent_service_pb2.GrantConsentRequest(
            parent=PARENT, contact=who, purpose=types_pb2.PURPOSE_REVIEW,
            medium=types_pb2.MEDIUM_EMAIL, collection_point="https://shop.example",
            channel=f"{PARENT}/channels/{channel}" if channel else "",
        ),
        metadata=ours,
    )  # fmt: skip
    contact = granted.name.partition("/consents/")[0]
    asked = consent_service_pb2.ListConsentHistoryRequest(parent=PARENT, contact=who)
    before = await guarded.consents.ListConsentHistory(asked, metadata=ours)
    for method, request in _of_another_account(contact):
        with refused() as refusal:
            await getattr(guarded.consents, method)(request, metadata=theirs)
        assert refusal.code is grpc.StatusCode.NOT_FOUND, method
    assert await guarded.consents.ListConsentHistory(asked, metadata=ours) == before
