"""The account between protobuf and the registry."""

from __future__ import annotations

from msgspec.structs import replace

from afterword.v1 import channel_service_pb2 as pb2
from afterword.v1 import types_pb2
from control.conversion import checks
from core.registry.resources import Account, Entitlement

OUTPUT_ONLY = frozenset({"name", "etag"})


def account_from_proto(pb: pb2.Account, before: Account) -> Account:
    """Return an account as a client wants it, with what clients cannot say from before."""
    for index, entitlement in enumerate(pb.entitlements):
        checks.choice(
            entitlement, f"account.entitlements[{index}]", types_pb2.Entitlement, is_required=True
        )
    found = sorted({int(entitlement) for entitlement in pb.entitlements})
    return replace(before, entitlements=tuple(Entitlement(number) for number in found))


def account_to_proto(account: Account) -> pb2.Account:
    """Return an account as clients see it."""
    return pb2.Account(
        name=account.name,
        entitlements=[types_pb2.Entitlement.ValueType(each) for each in account.entitlements],
        etag=account.etag,
    )
