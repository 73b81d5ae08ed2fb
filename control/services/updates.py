"""What the writes of all resources share.

Decides: how an update that names only some fields meets other writers: it is computed against one
revision and written only if the resource is still the same, else computed again. A client that sends
an etag hears of the conflict instead.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Protocol, TypeVar

from google.protobuf.message import Message

from control.auth import CALLER, Caller, Role
from control.conversion import checks
from core.errors import NotFound, PermissionDenied, RevisionConflict
from core.registry.registry import Registry


class Versioned(Protocol):
    """A resource that tells one state of itself from another."""

    @property
    def etag(self) -> str:
        """Changes with every change."""


ResourceT = TypeVar("ResourceT")
VersionedT = TypeVar("VersionedT", bound=Versioned)

ATTEMPTS_MAX = 16


class Mutation(Protocol):
    """A request that changes something."""

    @property
    def request_id(self) -> str:
        """Names the request for 24 hours."""

    @property
    def validate_only(self) -> bool:
        """Check everything, change nothing."""


def caller() -> Caller:
    """Return who calls."""
    return CALLER.get()


def require(who: Caller, role: Role, wish: str) -> None:
    """Refuse a caller who lacks a role that a request needs beside that of its method.

    Args:
        wish: what of the request needs it, "activate_on".
    """
    if role not in who.roles:
        raise PermissionDenied(
            f"{wish} needs the role {role.value!r} too, which the credential does not have"
        )


def operation(request: Message, request_id: str) -> str:
    """Check what all requests that change something share; return the operation's id."""
    checks.refuse_unknown_deeply(request)
    return checks.request_id(request_id)


def found(resource: ResourceT | None, name: str) -> ResourceT:
    """Return a resource, or say that there is none."""
    if resource is None:
        raise NotFound(f"{name[:200]} does not exist", field="name")
    return resource


async def update(
    registry: Registry,
    etag: str,
    present: Callable[[], VersionedT],
    changed: Callable[[VersionedT], VersionedT],
    write: Callable[[VersionedT, str], Awaitable[VersionedT]],
) -> VersionedT:
    """Read, change and write a resource.

    Args:
        etag: of the request, "" if the client does not care who else writes.
        present: reads the resource from the newest snapshot.
        changed: returns it as it will be.
        write: writes it if its etag is still the one given.
    """
    for attempt in range(ATTEMPTS_MAX):
        await registry.refresh()
        before = present()
        try:
            return await write(changed(before), etag or before.etag)
        except RevisionConflict:
            if etag or attempt == ATTEMPTS_MAX - 1:
                raise
    raise AssertionError("the last attempt returns or raises")
