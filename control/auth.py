"""Who calls, for which account, and what they may do.

Decides: the role each method needs, and whether a bearer token gives it. The account comes from the
credential, never from the request.
Never: keeps a token: only their SHA-256, which is enough because tokens are random, not chosen.

The tokens file is TOML:

    [[token]]
    name = "checkout of the shop"     # who; shown as `actor`
    account = "default"
    roles = ["publish", "read"]
    sha256 = "9f86d0..."              # printf %s "$TOKEN" | sha256sum

Without one there is one account, "default", everything is allowed, and the daemon listens on this
machine only (`control/settings.py` sees to it).
"""

from __future__ import annotations

import enum
import hashlib
import re
import tomllib
from collections.abc import Mapping
from contextvars import ContextVar
from pathlib import Path
from typing import Final

import msgspec

from control.error_table import Unauthenticated
from core.errors import InvalidField, PermissionDenied

DEFAULT_ACCOUNT: Final = "default"
LOCAL_ACTOR: Final = "local"
ACCOUNT_ID: Final = re.compile(r"[a-z][a-z0-9-]{0,62}")
_SHA256: Final = re.compile(r"[0-9a-f]{64}")
_SCHEME: Final = "bearer "


class Role(enum.StrEnum):
    """What a credential may do."""

    PUBLISH = "publish"
    """Publish events, tell what became of messages, ask what review links are about, and cancel what
    waits."""
    READ = "read"
    """Read everything of the account."""
    CONFIGURE = "configure"
    """Write channels, senders, caps, event types and rules."""
    ACTIVATE = "activate"
    """Switch rules on and off, apart from writing them (A33), and let go what complaints hold back."""
    CONSENT = "consent"
    """Grant, ask for, withdraw and import consents; suppress, lift and block."""
    PRIVACY = "privacy"
    """Give out all that is known of a person, and erase it (GDPR, articles 15 and 17)."""
    OPERATE = "operate"
    """Say what the account has booked, and what became of messages of unknown outcome."""


_SERVICES: Final[Mapping[str, Mapping[str, Role]]] = {
    "EventService": {
        "Publish": Role.PUBLISH,
        "BatchPublish": Role.PUBLISH,
        "PublishStream": Role.PUBLISH,
        "ImportHistory": Role.PUBLISH,
        "ListEventTypes": Role.READ,
        "GetEventType": Role.READ,
        "CreateEventType": Role.CONFIGURE,
        "UpdateEventType": Role.CONFIGURE,
        "DeleteEventType": Role.CONFIGURE,
    },
    "ChannelService": {
        "CreateChannel": Role.CONFIGURE,
        "GetChannel": Role.READ,
        "ListChannels": Role.READ,
        "UpdateChannel": Role.CONFIGURE,
        "DeleteChannel": Role.CONFIGURE,
        "ResetComplaintBreaker": Role.ACTIVATE,
        "GetAccount": Role.READ,
        "UpdateAccount": Role.OPERATE,
        "CreateCarrier": Role.CONFIGURE,
        "GetCarrier": Role.READ,
        "ListCarriers": Role.READ,
        "UpdateCarrier": Role.CONFIGURE,
        "DeleteCarrier": Role.CONFIGURE,
        "CreateCap": Role.CONFIGURE,
        "GetCap": Role.READ,
        "ListCaps": Role.READ,
        "UpdateCap": Role.CONFIGURE,
        "DeleteCap": Role.CONFIGURE,
    },
    "PlatformService": {
        "CreatePlatform": Role.CONFIGURE,
        "GetPlatform": Role.READ,
        "ListPlatforms": Role.READ,
        "UpdatePlatform": Role.CONFIGURE,
        "DeletePlatform": Role.CONFIGURE,
        "ExportDiversion": Role.READ,
    },
    "ReviewService": {
        "ResolveReviewLink": Role.PUBLISH,
    },
    "SenderService": {
        "CreateSender": Role.CONFIGURE,
        "GetSender": Role.READ,
        "ListSenders": Role.READ,
        "UpdateSender": Role.CONFIGURE,
        "DeleteSender": Role.CONFIGURE,
    },
    "RuleService": {
        "CreateRule": Role.CONFIGURE,
        "GetRule": Role.READ,
        "ListRules": Role.READ,
        "UpdateRule": Role.CONFIGURE,
        "DeleteRule": Role.CONFIGURE,
        "ActivateRule": Role.ACTIVATE,
        "DeactivateRule": Role.ACTIVATE,
        "PauseRule": Role.ACTIVATE,
        "FreezeRule": Role.ACTIVATE,
        "StopRule": Role.ACTIVATE,
        "ResumeRule": Role.ACTIVATE,
        "DuplicateRule": Role.CONFIGURE,
        "CopyRule": Role.ACTIVATE,
        "GetRuleRevision": Role.READ,
        "GetRuleStats": Role.READ,
        "ListAutomations": Role.READ,
        "GetAutomation": Role.READ,
        "CreateRuleFromAutomation": Role.CONFIGURE,
        "ListActivations": Role.READ,
    },
    "ConsentService": {
        "GrantConsent": Role.CONSENT,
        "WithdrawConsent": Role.CONSENT,
        "GetConsent": Role.READ,
        "ListConsents": Role.READ,
        "ListConsentHistory": Role.READ,
        "RequestConsent": Role.CONSENT,
        "ConfirmConsent": Role.CONSENT,
        "SuppressContact": Role.CONSENT,
        "LiftSuppression": Role.CONSENT,
        "ListSuppressions": Role.READ,
        "ReceiveMessage": Role.CONSENT,
        "ImportConsents": Role.CONSENT,
        "CreateBlock": Role.CONSENT,
        "GetBlock": Role.READ,
        "ListBlocks": Role.READ,
        "DeleteBlock": Role.CONSENT,
    },
    "ContactService": {
        "GetContact": Role.READ,
        "ExportContact": Role.PRIVACY,
        "EraseContact": Role.PRIVACY,
    },
    "InvitationService": {
        "GetInvitation": Role.READ,
        "ListInvitations": Role.READ,
        "CancelInvitation": Role.PUBLISH,
        "CreateInvitation": Role.PUBLISH,
        "ReinstateInvitation": Role.PUBLISH,
        "ListDeadLetters": Role.READ,
        "ReplayInvitation": Role.PUBLISH,
        "ReplayDeadLetters": Role.OPERATE,
        "SendInvitationNow": Role.PUBLISH,
        "RecordFeedback": Role.PUBLISH,
        "ResolveInvitation": Role.OPERATE,
        "Explain": Role.READ,
    },
    "AuditService": {
        "ListAuditEntries": Role.READ,
    },
    "TemplateService": {
        "ListTemplates": Role.READ,
        "GetTemplate": Role.READ,
        "CreateTemplate": Role.CONFIGURE,
        "UpdateTemplate": Role.CONFIGURE,
        "DeleteTemplate": Role.CONFIGURE,
        "ListTemplateRevisions": Role.READ,
        "ListRuleTemplates": Role.READ,
        "PreviewTemplate": Role.READ,
    },
    "SimulationService": {
        "Simulate": Role.READ,
    },
}

ROLES: Final[Mapping[str, Role]] = {
    f"/afterword.v1.{service}/{method}": role
    for service, methods in _SERVICES.items()
    for method, role in methods.items()
}
"""Full method name -> the role it needs. A method that is not here is refused."""

OPEN_PREFIXES: Final = ("/grpc.health.v1.Health/", "/grpc.reflection.")
"""Answered without a credential: health must be, and what reflection tells is published anyway."""


class Caller(msgspec.Struct, frozen=True):
    """Who calls."""

    account: str
    actor: str
    roles: frozenset[Role]


LOCAL: Final = Caller(DEFAULT_ACCOUNT, LOCAL_ACTOR, frozenset(Role))
CALLER: Final[ContextVar[Caller]] = ContextVar("caller")
"""The caller of the call in hand; set by the interceptor."""


class _Token(msgspec.Struct, forbid_unknown_fields=True):
    name: str
    account: str
    roles: list[Role]
    sha256: str


class _TokensFile(msgspec.Struct, forbid_unknown_fields=True):
    token: list[_Token]


class Credentials:
    """The callers that are let in."""

    def __init__(self, callers: Mapping[bytes, Caller] | None) -> None:
        """Use `Credentials.load`; None lets everybody in as `LOCAL`."""
        self._callers = callers

    @classmethod
    def load(cls, tokens_file: str) -> Credentials:
        """Read a tokens file; "" lets everybody in.

        Raises:
            InvalidField: it cannot be read, or does not have the form shown above.
        """
        if not tokens_file:
            return cls(None)
        field = "auth.tokens_file"
        try:
            raw = tomllib.loads(Path(tokens_file).read_text(encoding="utf-8"))
            parsed = msgspec.convert(raw, _TokensFile)
        except OSError as error:
            raise InvalidField(
                f"cannot read {tokens_file}: {error.strerror}", field=field
            ) from None
        except (tomllib.TOMLDecodeError, UnicodeDecodeError, msgspec.ValidationError) as error:
            raise InvalidField(f"{tokens_file}: {error}", field=field) from None
        callers: dict[bytes, Caller] = {}
        for index, token in enumerate(parsed.token):
            place = f"{field}: token[{index}]"
            if not ACCOUNT_ID.fullmatch(token.account):
                raise InvalidField(
                    f"{place}.account must be a lower-case letter, then up to 62 lower-case "
                    "letters, digits or hyphens",
                    field=field,
                )
            digest = token.sha256.lower()
            if not _SHA256.fullmatch(digest):
                raise InvalidField(f"{place}.sha256 must be 64 hexadecimal digits", field=field)
            if not token.name:
                raise InvalidField(f"{place}.name must say who it is", field=field)
            if bytes.fromhex(digest) in callers:
                raise InvalidField(f"{place}.sha256 is that of another token", field=field)
            callers[bytes.fromhex(digest)] = Caller(
                token.account, token.name, frozenset(token.roles)
            )
        return cls(callers)

    @property
    def accounts(self) -> list[str]:
        """Return every account that somebody can be."""
        if self._callers is None:
            return [DEFAULT_ACCOUNT]
        return sorted({caller.account for caller in self._callers.values()})

    def caller(self, authorization: str) -> Caller:
        """Return who sent a header "authorization".

        Raises:
            Unauthenticated: nobody we know.
        """
        if self._callers is None:
            return LOCAL
        found = None
        if authorization[: len(_SCHEME)].lower() == _SCHEME:
            token = authorization[len(_SCHEME) :].strip()
            # What a lookup may tell by its time is about the hash, from which no token follows.
            found = self._callers.get(hashlib.sha256(token.encode()).digest())
        if found is None:
            raise Unauthenticated('send a valid token as metadata: "authorization: Bearer <token>"')
        return found

    def authorize(self, method: str, authorization: str) -> Caller:
        """Return who calls a method and may do so.

        Raises:
            Unauthenticated, PermissionDenied: they may not.
        """
        caller = self.caller(authorization)
        role = ROLES.get(method)
        if role is None or role not in caller.roles:
            needed = f"the role {role.value!r}" if role is not None else "a role that nobody has"
            raise PermissionDenied(
                f"this method needs {needed}, which the credential does not have"
            )
        return caller
