"""How something about consent was said: the evidence that is kept with each line of the log (g1).

Decides: what the evidence holds, which legal bases there are for
what, and as what a consent counts by its basis (g2).
Never: what follows from it for a message; that is decided on the entries (`core/antispam/consent.py`).
"""

from __future__ import annotations

import msgspec

from core.errors import InvalidField
from core.model import CONSENT_PURPOSES, ConsentStatus, LegalBasis, Medium

SOURCE_CONTACT = "contact"
"""On a phone's own record: said by a contact who has the phone; nobody else's consent."""
SOURCE_API = "api"
SOURCE_EVENT = "event"
SOURCE_IMPORT = "import"
SOURCE_LINK = "link"
SOURCE_MESSAGE = "message"

DOUBLE_OPT_IN = "double-opt-in"
"""Method of what was confirmed by its token."""


class ConsentDocument(msgspec.Struct, array_like=True, frozen=True):
    """Who said it, when, where, and exactly what they were told.

    Field order is the storage format: append only. Times epoch ms, 0 for not told.
    """

    collection_point: str = ""
    text_version: str = ""
    actor: str = ""
    method: str = ""
    """How it was said: "double-opt-in", "one-click", "page", "stop-word", or what a client tells."""
    source: str = ""
    """By which way it came: one of the `SOURCE_*` above."""
    invitation: bytes = b""
    """Member of the message whose link was used."""
    legal_basis: int = 0
    """A `LegalBasis`; 0 counts as CONSENT."""
    text_sha256: str = ""
    locale: str = ""
    ip_address: str = ""
    user_agent: str = ""
    request_ms: int = 0
    """When it was asked for, where it was confirmed afterwards."""
    confirm_ms: int = 0
    reason: str = ""
    request_id: str = ""
    """Of the call that asked for it: repeated, it is the same request."""
    account: str = ""
    """In which it was said: it tells whose contact it is, where no message or purchase does."""


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(ConsentDocument).decode


def packed(document: ConsentDocument) -> bytes:
    """Return a document as the log keeps it."""
    return _encode(document)


def unpacked(raw: bytes) -> ConsentDocument | None:
    """Return a document that was kept, None if none was."""
    return _decode(raw) if raw else None


def granted_as(legal_basis: int, *, is_proven: bool) -> ConsentStatus:
    """Return what a consent counts as. Only one with proof ends an unsubscribe (R18); being a customer
    is no word of theirs, so any withdrawal outweighs it (g2, g4)."""
    if legal_basis == LegalBasis.EXISTING_CUSTOMER:
        return ConsentStatus.ASSUMED
    return ConsentStatus.CONFIRMED if is_proven else ConsentStatus.GRANTED


def check_basis(
    basis: int, purpose: int, medium: int, collection_point: str, text_version: str, field: str = ""
) -> None:
    """Refuse a legal basis that cannot carry such a consent (g2).

    Args:
        field: path of what holds the fields, with the dot at its end; "" for the request itself.

    Raises:
        InvalidField: naming the field.
    """
    if basis == LegalBasis.CONTRACT:
        raise InvalidField(
            f"{field}legal_basis cannot be CONTRACT: REVIEW, MARKETING and DATA_FORWARDING need a "
            "consent; what a contract needs is sent as TRANSACTIONAL, which needs none",
            field=f"{field}legal_basis",
        )
    if basis != LegalBasis.EXISTING_CUSTOMER:
        return
    if medium != Medium.EMAIL or purpose not in CONSENT_PURPOSES:
        raise InvalidField(
            f"{field}legal_basis EXISTING_CUSTOMER is for REVIEW and MARKETING over EMAIL only; for "
            "anything else there must be a CONSENT",
            field=f"{field}legal_basis",
        )
    for name, value in (("collection_point", collection_point), ("text_version", text_version)):
        if not value:
            raise InvalidField(
                f"{field}{name} is required with EXISTING_CUSTOMER: where, and in which words, they "
                "were told when the address was collected",
                field=f"{field}{name}",
                reason="FIELD_REQUIRED",
            )
