"""What a webhook is told of a message: docs/SENDERS.md is this page for receivers.

Decides: the fields and their names. What is not known is left out.
Never: a secret, or what the contact has consented to.
"""

from __future__ import annotations

from typing import Any, Final

from core.model import Event, Family, Purpose
from core.sending import Letter
from senders import templates

TYPE: Final = "afterword.message.due"
VERSION: Final = 1


def payload_of(letter: Letter) -> dict[str, Any]:
    """Return what is told, ready for JSON.

    Raises:
        RenderingFailed: the link to the platform is no plain web address.
    """
    account = letter.channel.account
    known = templates.variables(letter)
    return _told({
        "type": TYPE,
        "version": VERSION,
        "delivery_id": letter.delivery_id,
        "invitation": f"accounts/{account}/invitations/{letter.delivery_id}",
        "channel": letter.channel.name,
        "shop": known["shop"],
        "rule": f"accounts/{account}/rules/{letter.rule}" if letter.rule else "",
        "rule_revision": letter.revision,
        "step": letter.step,
        "family": Family(letter.family).name,
        "purpose": Purpose(letter.purpose).name,
        "kind": "reminder" if letter.is_follow_up else "first",
        "attempt": letter.attempts + 1,
        "send_time_ms": letter.send_ms,
        "locale": letter.locale,
        "text": letter.text,
        "platform": letter.platform or "own",
        "review_url": letter.review_url,
        "links": _told({"tracking": _tracking(letter.event), "confirm": letter.confirm_url}),
        **_event(letter.event),
    })  # fmt: skip


def _tracking(event: Event) -> str:
    return event.shipment.tracking_url if event.shipment is not None else ""


def _event(event: Event) -> dict[str, Any]:
    contact, order, shipment = event.contact, event.order, event.shipment
    told: dict[str, Any] = {
        "event": _told({"id": event.id, "type": event.type, "occur_time_ms": event.occur_ms}),
        "contact": _told({
            "email": contact.email, "phone": contact.phone, "reference": contact.reference,
            "first_name": contact.first_name, "last_name": contact.last_name,
            "country": contact.country,
        }),
    }  # fmt: skip
    if order is not None:
        told["order"] = _told({
            "reference": order.reference,
            "items": [
                _told({"sku": item.sku, "name": item.name, "quantity": item.quantity})
                for item in order.items
            ],
        })  # fmt: skip
    if shipment is not None:
        told["shipment"] = _told({
            "carrier": shipment.carrier, "tracking_number": shipment.tracking_number,
            "promised_time_ms": shipment.promised_ms,
        })  # fmt: skip
    return told


def _told(fields: dict[str, Any]) -> dict[str, Any]:
    """Return the fields that say something."""
    return {name: value for name, value in fields.items() if value not in ("", 0, None, {}, [])}
