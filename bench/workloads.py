"""What the benchmarks publish: events as a shop sends them, the same in every run."""

from __future__ import annotations

from afterword.v1 import event_pb2, event_service_pb2, types_pb2
from core.bounds import DAY_MS, HOUR_MS
from core.model import (
    Contact,
    Event,
    Evidence,
    Family,
    Item,
    Medium,
    Money,
    Order,
    Purpose,
)
from core.registry.resources import Cap, CapScope, CapSteps, CapUnit, Channel, Rule
from core.registry.rule_parts import Action, EmailSender, Step, Wait, WaitBase

ACCOUNT = "default"
CHANNEL = f"accounts/{ACCOUNT}/channels/shop"


def channel() -> Channel:
    """Return a shop."""
    return Channel(
        account=ACCOUNT, id="shop", display_name="Shop", time_zone="Europe/Madrid",
        locale="es_ES", email_sender=EmailSender("hello@shop.example"),
    )  # fmt: skip


def rule() -> Rule:
    """Return the usual rule: seven days after checkout at 10:00, a reminder after five more."""
    invite = Wait(days=7, time_of_day_ms=10 * HOUR_MS)
    remind = Wait(days=5, base=WaitBase.PREVIOUS_STEP_SENT)
    return Rule(
        account=ACCOUNT, id="ask", display_name="Ask", family=Family.SERVICE_REVIEW,
        purpose=Purpose.REVIEW, event_type="checkout",
        steps=[
            Step(id="invite", wait=invite, actions=[Action(medium=Medium.EMAIL)]),
            Step(id="remind", wait=remind, actions=[Action(medium=Medium.EMAIL)]),
        ],
        stop_when=["order_cancelled", "return", "review_submitted"],
    )  # fmt: skip


def caps() -> list[Cap]:
    """Return the default caps on review requests and on messages in all."""
    return [
        Cap(
            account=ACCOUNT, id="requests", scope=CapScope.ACCOUNT, limit=1,
            window_ms=14 * DAY_MS, purposes=[Purpose.REVIEW], steps=CapSteps.FIRST,
            unit=CapUnit.ORDER,
        ),
        Cap(account=ACCOUNT, id="messages", scope=CapScope.ACCOUNT, limit=5, window_ms=30 * DAY_MS),
    ]  # fmt: skip


def event(number: int, occur_ms: int) -> Event:
    """Return one checkout with consent, as core sees it."""
    return Event(
        id=f"evt-{number:08d}", source="bench", type="checkout", channel=CHANNEL,
        occur_ms=occur_ms,
        contact=Contact(
            email=f"customer{number:08d}@shop.example", first_name="Ana", last_name="García",
            locale="es_ES", country="ES",
        ),
        order=Order(
            reference=f"ord-{number:08d}", total=Money("EUR", 42, 500_000_000),
            items=[Item(sku=f"sku-{number % 997}", name="Canvas shoes, blue", quantity=1)],
        ),
        consents=[Evidence(Purpose.REVIEW, Medium.EMAIL, True, occur_ms)],
    )  # fmt: skip


def batch(sequence: int, first: int, count: int, occur_ms: int) -> bytes:
    """Return one stream message of `count` such checkouts, serialised."""
    events = [event_message(number, occur_ms) for number in range(first, first + count)]
    return event_service_pb2.PublishStreamRequest(
        batch=event_service_pb2.PublishStreamRequest.Batch(sequence=sequence, events=events)
    ).SerializeToString()


def event_message(number: int, occur_ms: int) -> event_pb2.Event:
    """Return the same checkout as a client sends it."""
    message = event_pb2.Event(
        id=f"evt-{number:08d}", source="bench", type="checkout", channel=CHANNEL,
        contact=event_pb2.Contact(
            email=f"customer{number:08d}@shop.example", first_name="Ana", last_name="García",
            locale="es_ES", country="ES",
        ),
        order=event_pb2.Order(
            reference=f"ord-{number:08d}",
            items=[event_pb2.Item(sku=f"sku-{number % 997}", name="Canvas shoes, blue", quantity=1)],
        ),
        consents=[
            event_pb2.ConsentEvidence(
                purpose=types_pb2.PURPOSE_REVIEW, medium=types_pb2.MEDIUM_EMAIL, given=True
            )
        ],
    )  # fmt: skip
    message.order.total.currency_code = "EUR"
    message.order.total.units = 42
    message.order.total.nanos = 500_000_000
    message.occur_time.FromMilliseconds(occur_ms)
    return message
