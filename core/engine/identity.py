"""Keys: what makes two events, contacts, orders or messages the same.

Decides: normalisation and hashing. Every key is an 8-byte keyed hash (BLAKE2b under the store's
secret), so nothing in a key can be read back, and it spreads evenly over partitions.
"""

from __future__ import annotations

from hashlib import blake2b

from core.errors import InvalidField
from core.model import Contact
from core.records import NO_KEY


def normal_email(email: str) -> str:
    """Return the form in which e-mail addresses are compared: trimmed, lower case, domain in
    IDNA; dots and plus signs stay (R4)."""
    email = email.strip().lower()
    if email.isascii():
        return email
    local, at, domain = email.rpartition("@")
    try:
        return local + at + domain.encode("idna").decode("ascii")
    except UnicodeError:
        return email


def normal_phone(phone: str) -> str:
    """Return the form in which phone numbers are compared: plus sign and digits."""
    return "".join(c for c in phone if c in "+0123456789")


class Identity:
    """Makes the keys of one store."""

    def __init__(self, secret: bytes) -> None:
        self._secret = secret[:64]

    def _hash(self, kind: str, *parts: str) -> bytes:
        # The API refuses control characters in all parts, so NUL separates them beyond doubt.
        text = f"{kind}\0" + "\0".join(parts)
        return blake2b(text.encode(), digest_size=8, key=self._secret).digest()

    def contact_key(self, account: str, contact: Contact) -> bytes:
        """Return who it is: by e-mail, else phone, the shop's reference or the session (R4, D21).

        Raises:
            InvalidField: it has none of them.
        """
        if contact.email:
            return self._hash("e", account, normal_email(contact.email))
        if contact.phone:
            return self._hash("p", account, normal_phone(contact.phone))
        if contact.reference:
            return self._hash("r", account, contact.reference.strip())
        if contact.session_id:
            return self._hash("s", account, contact.session_id.strip())
        raise InvalidField(
            "a contact needs an email, a phone, a reference or a session_id",
            field="contact",
            reason="FIELD_REQUIRED",
        )

    def event_key(self, account: str, source: str, event_id: str) -> bytes:
        """Return what a repeated event is recognised by (E6)."""
        return self._hash("v", account, source, event_id)

    def unnamed_event_key(self, account: str, channel: str, event_type: str, order: str) -> bytes:
        """Return the same for an event without id (R3)."""
        return self._hash("u", account, channel, event_type, order)

    def order_key(self, account: str, channel: str, reference: str) -> bytes:
        """Return which order it is; the channel by its full name."""
        return self._hash("o", account, channel, reference)

    def cart_key(self, account: str, channel: str, cart: str) -> bytes:
        """Return which cart it is; the channel by its id."""
        return self._hash("c", account, channel, cart)

    def alias_keys(self, account: str, contact: Contact) -> list[bytes]:
        """Return what else the contact may be found by: phone, reference and session, weakest last.

        They are keys of the order directory, where the contact they stand for is noted (R4). A session
        alone makes a contact of its own until somebody is identified by it (D21).
        """
        keys = []
        if contact.phone:
            keys.append(self._hash("p", account, normal_phone(contact.phone)))
        if contact.reference:
            keys.append(self._hash("r", account, contact.reference.strip()))
        if contact.session_id:
            keys.append(self._hash("s", account, contact.session_id.strip()))
        return keys

    def timer_id(self, rule_number: int, key: bytes, channel_number: int) -> bytes:
        """Return the id of a rule's timer for a run: one that is set already has the same."""
        head = self._short(key + rule_number.to_bytes(4, "little") + b"timer", 0)
        return head[:6] + channel_number.to_bytes(2, "big")

    def fired_key(self, member: bytes, due_ms: int) -> bytes:
        """Return the event key of a timer that ran out: repeated, it changes nothing."""
        return self._short(member + due_ms.to_bytes(6, "little") + b"fired", 0)

    def adopted_key(self, event_key: bytes, member: bytes) -> bytes:
        """Return the event key under which a contact takes over what waited for another."""
        return self._short(event_key + member + b"adopted", 0)

    def reinstated_key(self, member: bytes) -> bytes:
        """Return the event key under which what was cancelled or failed comes back: once (R44, R8)."""
        return self._short(member + b"reinstated", 0)

    def next_generation_key(self, message_key: bytes, generation: int) -> bytes:
        """Return the message key of an invitation that comes back: the cancelled one keeps its own."""
        return NO_KEY if message_key == NO_KEY else self._short(message_key, generation)

    def review_message_key(
        self, order_key: bytes, step: int, medium: int, generation: int
    ) -> bytes:
        """Return what makes a review request the same, whichever rule asks (R1, R2)."""
        return self._short(order_key + bytes((1, step, medium)), generation)

    def rule_message_key(
        self, run_key: bytes, rule_number: int, step: int, medium: int, generation: int
    ) -> bytes:
        """Return what makes another message the same: once per rule and run (R1)."""
        head = run_key + rule_number.to_bytes(4, "little") + bytes((2, step, medium))
        return self._short(head, generation)

    def _short(self, head: bytes, generation: int) -> bytes:
        data = head + generation.to_bytes(4, "little")
        return blake2b(data, digest_size=8, key=self._secret).digest()


def body_hash(body: bytes) -> bytes:
    """Return what tells a repetition from another event under the same id."""
    return blake2b(body, digest_size=8).digest()
