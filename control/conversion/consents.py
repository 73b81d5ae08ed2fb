"""Consents and suppressions between protobuf and the engine."""

from __future__ import annotations

from typing import Protocol

from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from afterword.v1 import consent_service_pb2 as pb2
from afterword.v1 import types_pb2
from control.conversion import checks, events, names, times, wordings
from control.conversion.steps import medium_to_proto, purpose_to_proto
from core import bounds
from core.contact_ports import LoggedLine
from core.engine.consent_documents import ConsentDocument, check_basis, unpacked
from core.engine.consent_views import ConsentView, SuppressionView
from core.engine.consents import Statement
from core.engine.identity import Identity
from core.engine.reach import Whom
from core.errors import InvalidField, OutOfRange
from core.model import ConsentScope, ConsentStatus, LegalBasis, Medium, Purpose, Suppression
from core.records import NO_KEY

_PURPOSES = (Purpose.REVIEW, Purpose.MARKETING, Purpose.DATA_FORWARDING)
_SUPPRESSIBLE = (Purpose.REVIEW, Purpose.MARKETING, Purpose.TRANSACTIONAL, Purpose.OPERATIONAL)
_STATES = {
    ConsentStatus.GRANTED: pb2.Consent.STATE_GRANTED,
    ConsentStatus.CONFIRMED: pb2.Consent.STATE_GRANTED,
    ConsentStatus.ASSUMED: pb2.Consent.STATE_GRANTED,
    ConsentStatus.DENIED: pb2.Consent.STATE_DENIED,
    ConsentStatus.WITHDRAWN: pb2.Consent.STATE_WITHDRAWN,
    ConsentStatus.PENDING: pb2.Consent.STATE_PENDING,
}
_LINE_KINDS = {
    ConsentStatus.GRANTED: pb2.ConsentLine.KIND_GRANTED,
    ConsentStatus.CONFIRMED: pb2.ConsentLine.KIND_CONFIRMED,
    ConsentStatus.ASSUMED: pb2.ConsentLine.KIND_GRANTED,
    ConsentStatus.DENIED: pb2.ConsentLine.KIND_DENIED,
    ConsentStatus.WITHDRAWN: pb2.ConsentLine.KIND_WITHDRAWN,
    ConsentStatus.PENDING: pb2.ConsentLine.KIND_PENDING,
    ConsentStatus.LIFTED: pb2.ConsentLine.KIND_LIFTED,
}


class Scoped(Protocol):
    """A request about a purpose and medium, in a channel or the whole account."""

    @property
    def purpose(self) -> types_pb2.Purpose.ValueType:
        """Which purpose."""

    @property
    def medium(self) -> types_pb2.Medium.ValueType:
        """Which medium."""

    @property
    def channel(self) -> str:
        """Full name of the channel, "" for the account."""


# --- whom and what ----------------------------------------------------------------------------------


def contact_key_of(
    selector: pb2.ContactSelector, account: str, identity: Identity, field: str = "contact"
) -> bytes:
    """Return the key of the contact that a selector means; it need not be known yet."""
    whom = whom_of(selector, account, field)
    return whom.key if whom.contact is None else identity.contact_key(account, whom.contact)


def whom_of(selector: pb2.ContactSelector, account: str, field: str = "contact") -> Whom:
    """Return whom a selector means."""
    kind = selector.WhichOneof("by")
    if kind == "name":
        return Whom(names.contact_key(selector.name, account, f"{field}.name"))
    if kind == "contact":
        return Whom(NO_KEY, events.contact_from_proto(selector.contact, f"{field}.contact"))
    checks.missing(field, "the `name` of a contact, or a `contact` with email, phone or reference")


def check_scope(request: Scoped, account: str) -> None:
    """Refuse what a consent cannot be about; that the channel exists is asked by the engine."""
    purpose, medium = int(request.purpose), int(request.medium)
    right = "REVIEW, MARKETING or DATA_FORWARDING"
    if not purpose:
        checks.missing("purpose", right)
    if purpose not in _PURPOSES:
        raise InvalidField(f"purpose must be {right}", field="purpose")
    right = "EMAIL, SMS, WHATSAPP or WEBHOOK"
    if not medium and purpose != Purpose.DATA_FORWARDING:
        checks.missing("medium", right)
    if medium not in types_pb2.Medium.values():
        raise InvalidField(f"medium must be {right}", field="medium")
    if request.channel:
        names.channel_id(request.channel, account, "channel")


def check_wide_scope(request: Scoped, account: str) -> None:
    """Refuse what a suppression cannot be about: all purposes and media are possible."""
    purpose, medium = int(request.purpose), int(request.medium)
    if purpose and purpose not in _SUPPRESSIBLE:
        raise InvalidField(
            "purpose must be REVIEW, MARKETING, TRANSACTIONAL, OPERATIONAL or unset for all; "
            "DATA_FORWARDING is withdrawn instead",
            field="purpose",
        )
    if medium not in types_pb2.Medium.values():
        raise InvalidField(
            "medium must be EMAIL, SMS, WHATSAPP, WEBHOOK or unset for all", field="medium"
        )
    if request.channel:
        names.channel_id(request.channel, account, "channel")


# --- what is said -----------------------------------------------------------------------------------


def grant_from_proto(
    request: pb2.GrantConsentRequest, account: str, actor: str, source: str, now_ms: int, *,
    is_import: bool = False,
) -> tuple[Statement, int]:  # fmt: skip
    """Return (what is said, when it expires); but for an import it must be provable."""
    check_scope(request, account)
    time_ms = past_ms(request, "evidence_time", now_ms)
    collection_point = checks.text(
        request.collection_point, "collection_point", bounds.TEXT_CHARS_MAX,
        is_required=not is_import,
    )  # fmt: skip
    text_version = checks.text(request.text_version, "text_version", bounds.NAME_CHARS_MAX)
    basis = checks.choice(request.legal_basis, "legal_basis", types_pb2.LegalBasis)
    check_basis(basis, int(request.purpose), int(request.medium), collection_point, text_version)
    wordings.check(request)
    document = ConsentDocument(
        collection_point=collection_point, text_version=text_version, actor=actor,
        method=checks.text(request.method, "method", bounds.NAME_CHARS_MAX), source=source,
        legal_basis=basis or LegalBasis.CONSENT, text_sha256=request.text_sha256.lower(),
        locale=request.locale, ip_address=request.ip_address, user_agent=request.user_agent,
        request_ms=past_ms(request, "request_time", now_ms),
        confirm_ms=past_ms(request, "confirm_time", now_ms),
    )  # fmt: skip
    if document.request_ms > document.confirm_ms > 0:
        raise OutOfRange("request_time must not be after confirm_time", field="request_time")
    expire_ms = 0
    if request.HasField("expire_time"):
        expire_ms = times.instant_ms(request.expire_time, "expire_time")
        if expire_ms <= (time_ms or now_ms) or (expire_ms <= now_ms and not is_import):
            raise OutOfRange(
                "expire_time must be later than evidence_time and than now", field="expire_time"
            )
    return _statement(request, time_ms, document), expire_ms


def withdrawal_from_proto(
    request: pb2.WithdrawConsentRequest, account: str, actor: str, source: str, now_ms: int
) -> Statement:
    """Return what is said."""
    check_scope(request, account)
    document = ConsentDocument(
        actor=actor, method=checks.text(request.method, "method", bounds.NAME_CHARS_MAX),
        source=source, reason=checks.text(request.reason, "reason", bounds.TEXT_CHARS_MAX),
    )  # fmt: skip
    return _statement(request, past_ms(request, "withdraw_time", now_ms), document)


def suppression_from_proto(
    request: pb2.SuppressContactRequest, account: str, actor: str, source: str, now_ms: int,
    default: Suppression = Suppression.BLOCKED,
) -> tuple[Statement, int]:  # fmt: skip
    """Return (what is said, of which kind)."""
    check_wide_scope(request, account)
    kind = int(request.kind) or default
    if kind not in set(Suppression) - {Suppression.ERASED}:
        raise InvalidField(
            "kind must be UNSUBSCRIBED, COMPLAINED, HARD_BOUNCED, BLOCKED, IMPORTED or unset; "
            "ERASED comes of erasing a contact",
            field="kind",
        )
    document = ConsentDocument(
        actor=actor, source=source,
        reason=checks.text(request.reason, "reason", bounds.TEXT_CHARS_MAX),
    )  # fmt: skip
    return _statement(request, past_ms(request, "suppress_time", now_ms), document), kind


def lifting_from_proto(
    request: pb2.LiftSuppressionRequest, account: str, actor: str, source: str
) -> Statement:
    """Return what is said."""
    check_wide_scope(request, account)
    reason = checks.text(request.reason, "reason", bounds.TEXT_CHARS_MAX, is_required=True)
    return _statement(request, 0, ConsentDocument(actor=actor, source=source, reason=reason))


def request_from_proto(
    request: pb2.RequestConsentRequest, account: str, actor: str, source: str, request_id: str
) -> tuple[Statement, int]:
    """Return (what is asked for, for how long)."""
    check_scope(request, account)
    wordings.check(request)
    document = ConsentDocument(
        collection_point=checks.text(
            request.collection_point, "collection_point", bounds.TEXT_CHARS_MAX, is_required=True
        ),
        text_version=checks.text(request.text_version, "text_version", bounds.NAME_CHARS_MAX),
        actor=actor, source=source, legal_basis=LegalBasis.CONSENT,
        text_sha256=request.text_sha256.lower(), locale=request.locale,
        ip_address=request.ip_address, user_agent=request.user_agent, request_id=request_id,
    )  # fmt: skip
    expire_after_ms = bounds.OPT_IN_DEFAULT_MS
    if request.HasField("expire_after"):
        expire_after_ms = times.span_ms(
            request.expire_after, "expire_after", bounds.OPT_IN_MIN_MS, bounds.OPT_IN_MAX_MS,
            "1 hour to 30 days",
        )  # fmt: skip
    return _statement(request, 0, document), expire_after_ms


def _statement(request: Scoped, time_ms: int, document: ConsentDocument) -> Statement:
    return Statement(int(request.purpose), int(request.medium), request.channel, time_ms, document)


def past_ms(request: Message, name: str, now_ms: int) -> int:
    """Return an instant, of the future now; 0 if it is not told."""
    if not request.HasField(name):
        return 0
    # 0 means not told, and the first millisecond of 1970 is as past as the second.
    return min(max(times.instant_ms(getattr(request, name), name), 1), now_ms)


# --- as clients see them ----------------------------------------------------------------------------


def consent_id(view: ConsentView) -> str:
    """Return the last part of a consent's name."""
    channel = view.channel_name.rpartition("/")[2] or names.ANY
    base = f"{channel}.{Purpose(view.purpose).name.lower()}.{Medium(view.medium).name.lower()}"
    return f"{base}.order-{view.scope_key.hex()}" if view.scope == ConsentScope.ORDER else base


def consent_name(view: ConsentView, account: str) -> str:
    """Return the full name of a consent."""
    return f"{names.contact_name(account, view.contact_key)}/consents/{consent_id(view)}"


def consent_to_proto(view: ConsentView, account: str) -> pb2.Consent:
    """Return a consent as clients see it."""
    state = _STATES.get(ConsentStatus(view.status), pb2.Consent.STATE_UNSPECIFIED)
    proof, withdrawal = view.proof or ConsentDocument(), view.withdrawal
    is_withdrawn = view.status == ConsentStatus.WITHDRAWN and withdrawal is not None
    pb = pb2.Consent(
        name=consent_name(view, account),
        purpose=purpose_to_proto(view.purpose),
        medium=medium_to_proto(view.medium),
        channel=view.channel_name,
        state=pb2.Consent.STATE_EXPIRED if view.is_expired else state,
        evidence_time=_instant(view.evidence_ms),
        withdraw_time=_instant(view.withdraw_ms),
        collection_point=proof.collection_point,
        text_version=proof.text_version,
        actor=withdrawal.actor if is_withdrawn and withdrawal is not None else proof.actor,
        confirmed=view.status == ConsentStatus.CONFIRMED,
        expire_time=_instant(view.expire_ms),
        proof=proof_to_proto(view.proof, account),
        withdrawal=proof_to_proto(withdrawal, account),
    )
    return pb


def suppression_to_proto(view: SuppressionView, account: str) -> pb2.Suppression:
    """Return a suppression as clients see it."""
    return pb2.Suppression(
        contact=names.contact_name(account, view.contact_key),
        kind=pb2.Suppression.Kind.ValueType(view.kind),
        purpose=purpose_to_proto(view.purpose),
        medium=medium_to_proto(view.medium),
        channel=view.channel_name,
        suppress_time=_instant(view.time_ms),
        proof=proof_to_proto(view.proof, account),
    )


def line_to_proto(line: LoggedLine, channel_name: str, account: str) -> pb2.ConsentLine:
    """Return a line of the history as clients see it."""
    is_suppression = line.status in set(Suppression)
    return pb2.ConsentLine(
        number=line.number,
        kind=pb2.ConsentLine.KIND_SUPPRESSED
        if is_suppression
        else _LINE_KINDS.get(ConsentStatus(line.status), pb2.ConsentLine.KIND_UNSPECIFIED),
        suppression=pb2.Suppression.Kind.ValueType(line.status if is_suppression else 0),
        purpose=purpose_to_proto(line.purpose),
        medium=medium_to_proto(line.medium),
        channel=channel_name,
        order=line.scope_key.hex() if line.scope == ConsentScope.ORDER else "",
        evidence_time=_instant(line.time_ms),
        write_time=_instant(line.write_ms),
        expire_time=_instant(line.expire_ms),
        proof=proof_to_proto(unpacked(line.document), account),
    )


def proof_to_proto(document: ConsentDocument | None, account: str) -> pb2.ConsentProof | None:
    """Return how something was said as clients see it."""
    if document is None:
        return None
    return pb2.ConsentProof(
        legal_basis=types_pb2.LegalBasis.ValueType(document.legal_basis),
        collection_point=document.collection_point,
        text_version=document.text_version,
        text_sha256=document.text_sha256,
        locale=document.locale,
        ip_address=document.ip_address,
        user_agent=document.user_agent,
        method=document.method,
        source=document.source,
        actor=document.actor,
        request_time=_instant(document.request_ms),
        confirm_time=_instant(document.confirm_ms),
        invitation=names.invitation_name(account, document.invitation)
        if document.invitation
        else "",
        reason=document.reason,
    )


def _instant(time_ms: int) -> Timestamp | None:
    return times.timestamp(time_ms) if time_ms else None
