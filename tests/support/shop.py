"""A whole shop in a test: an engine on a real store, a clock moved by hand, letters that are kept."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime
from typing import Any

from core.bounds import DAY_MS, HOUR_MS
from core.clock import ManualClock
from core.engine.accept import EventAnswer
from core.engine.engine import Engine
from core.model import Contact, Event, Evidence, Family, Item, Medium, Order, Purpose, Review
from core.ports import Store
from core.registry.memory_store import MemoryRegistryStore
from core.registry.registry import Registry
from core.registry.resources import Cap, CapScope, CapSteps, CapUnit, Channel, Rule
from core.registry.rule_parts import Action, EmailSender, Step, Wait, WaitBase
from core.sending import Delivery, Letter
from core.timing_wheel.memory_store import MemoryStore
from senders.postbox import Postbox

ACCOUNT = "shop"
MADRID = "accounts/shop/channels/madrid"


def ms(text: str) -> int:
    """Return epoch ms of "2026-03-01 09:00" (UTC)."""
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1_000)


class KeepingTransport:
    """A transport that keeps what it is given and answers as told.

    `answers` maps a recipient to the deliveries of its letters, in order; else ACCEPTED.
    """

    def __init__(self, clock: ManualClock, *, holds_unknown: bool = False) -> None:
        self.holds_unknown = holds_unknown
        self.sent: list[tuple[int, str, bool, str]] = []
        """(instant, recipient, is follow-up, delivery id) of everything handed over."""
        self.letters: list[Letter] = []
        """The same, whole."""
        self.answers: dict[str, list[Delivery]] = {}
        self._clock = clock

    def free(self) -> int:
        return 10_000

    def prepare(self, letter: Letter) -> bytes:
        return letter.address.encode()

    async def send(self, letters: Sequence[tuple[Letter, bytes]]) -> list[Delivery]:
        deliveries: list[Delivery] = []
        for letter, _ in letters:
            told = self.answers.get(letter.address)
            delivery = told.pop(0) if told else Delivery(Delivery.Kind.ACCEPTED, "", 0, True)
            if delivery.was_handed_over:
                self.sent.append(
                    (self._clock.now_ms(), letter.address, letter.is_follow_up, letter.delivery_id)
                )
                self.letters.append(letter)
            deliveries.append(delivery)
        return deliveries

    async def close(self) -> None:
        return


def review_rule(**fields: Any) -> Rule:
    """Return the usual rule: 7 days after checkout at 10:00, reminder 5 days later."""
    ten = 10 * HOUR_MS
    steps = [
        Step(
            id="invite",
            wait=Wait(days=7, time_of_day_ms=ten),
            actions=[Action(medium=Medium.EMAIL)],
        ),
        Step(
            id="remind",
            wait=Wait(days=5, base=WaitBase.PREVIOUS_STEP_SENT),
            actions=[Action(medium=Medium.EMAIL, subject="Still there?")],
        ),
    ]
    values: dict[str, Any] = {
        "id": "ask", "display_name": "Ask", "family": Family.SERVICE_REVIEW,
        "purpose": Purpose.REVIEW, "event_type": "checkout", "steps": steps,
        "stop_when": ["order_cancelled", "return", "review_submitted"],
    }  # fmt: skip
    return Rule(account=ACCOUNT, **{**values, **fields})


def one_in_14_days(**fields: Any) -> Cap:
    """Return the cap of h7: one request per order unit in 14 days, reminders exempt."""
    values: dict[str, Any] = {
        "id": "requests", "scope": CapScope.ACCOUNT, "limit": 1, "window_ms": 14 * DAY_MS,
        "purposes": [Purpose.REVIEW], "steps": CapSteps.FIRST, "unit": CapUnit.ORDER,
    }  # fmt: skip
    return Cap(account=ACCOUNT, **{**values, **fields})


class Shop:
    """One channel, one rule, one engine."""

    def __init__(
        self, engine: Engine, registry: Registry, clock: ManualClock, post: KeepingTransport,
        media: Sequence[Medium] = (Medium.EMAIL,),
    ) -> None:  # fmt: skip
        self.engine = engine
        self.registry = registry
        self.clock = clock
        self.post = post
        self.media = tuple(media)

    def event(
        self, type: str = "checkout", order: str = "1", email: str = "ana@shop.example",
        consent: bool | None = True, at: str | None = None, **fields: Any,
    ) -> Event:  # fmt: skip
        """Return an event; its id follows from type and order unless given."""
        occur_ms = ms(at) if at else self.clock.now_ms()
        consents = (
            [] if consent is None else [Evidence(Purpose.REVIEW, Medium.EMAIL, consent, occur_ms)]
        )
        # A return that lists goods is a partial one.
        items = [] if type == "return" else [Item(sku="mug", name="Mug")]
        values: dict[str, Any] = {
            "id": f"{type}-{order}", "source": "test", "channel": MADRID,
            "contact": Contact(email=email), "order": Order(reference=order, items=items),
            "consents": consents if type == "checkout" else [],
            "review": Review() if type == "review_submitted" else None,
        }  # fmt: skip
        return Event(type=type, occur_ms=occur_ms, **{**values, **fields})

    async def publish(self, *events: Event, is_import: bool = False) -> list[EventAnswer]:
        """Accept events; all must be taken."""
        answers = await self.engine.acceptor.accept(ACCOUNT, list(events), is_import=is_import)
        for answer in answers:
            if answer.error is not None:
                raise answer.error
        return answers

    async def restart(self) -> None:
        """Let another engine go on with the same store, as after a restart of the daemon."""
        await self.engine.stop()
        postbox = Postbox(dict.fromkeys(self.media, self.post))
        self.engine = Engine(self.engine.store, self.registry, postbox, self.clock)
        await self.engine.start()

    async def add_channel(self, id: str, *rules: str, **fields: Any) -> str:
        """Open another channel with these rules switched on; return its full name."""
        await self.registry.create_channel(new_channel(id, **fields))
        for rule in rules:
            await self.registry.activate(ACCOUNT, rule, id, "test")
        return f"accounts/{ACCOUNT}/channels/{id}"

    async def until(self, text: str) -> None:
        """Let time pass."""
        await self.engine.advance_to(ms(text))

    def mails(self) -> list[tuple[str, str, bool]]:
        """Return (UTC time, recipient, is reminder) of what went out, in order."""
        return [
            (datetime.fromtimestamp(at / 1_000, UTC).strftime("%Y-%m-%d %H:%M"), to, again)
            for at, to, again, _ in self.post.sent
        ]

    async def ends(self) -> dict[tuple[int, int], int]:
        """Return (state, reason) -> count over all partitions, and check the conservation law."""
        total: dict[tuple[int, int], int] = {}
        everything = range(self.engine.store.meta.partition_count)
        for counters in (await self.engine.store.counters(everything)).values():
            assert counters.imbalance == 0
            for key, count in counters.ended.items():
                total[key] = total.get(key, 0) + count
        return total

    async def pending(self) -> int:
        """Return how many invitations wait or are in flight."""
        everything = range(self.engine.store.meta.partition_count)
        found = (await self.engine.store.counters(everything)).values()
        return sum(c.scheduled + c.in_flight for c in found)


def new_channel(id: str, **fields: Any) -> Channel:
    """Return a shop in Madrid."""
    values: dict[str, Any] = {
        "time_zone": "Europe/Madrid", "locale": "es_ES", "display_name": "Tienda",
        "email_sender": EmailSender("hola@shop.example"),
    }  # fmt: skip
    return Channel(account=ACCOUNT, id=id, **{**values, **fields})


@contextlib.asynccontextmanager
async def open_shop(
    store: Store | None = None, *, start: str = "2026-03-01 09:00", rule: Rule | None = None,
    rules: Sequence[Rule] = (), caps: Sequence[Cap] = (), holds_unknown: bool = False,
    media: Sequence[Medium] = (Medium.EMAIL,), **channel: Any,
) -> AsyncIterator[Shop]:  # fmt: skip
    """Open a shop in Madrid with one active rule, or those given, on the store given or one in
    memory."""
    clock = ManualClock(ms(start))
    store = store or MemoryStore.create(partition_count=4)
    registry = await Registry.open(MemoryRegistryStore(), clock)
    await registry.ensure_account(ACCOUNT, default_caps=False)
    await registry.create_channel(new_channel("madrid", **channel))
    for cap in caps:
        await registry.create_cap(cap)
    for each in rules or [rule or review_rule()]:
        created = await registry.create_rule(each)
        await registry.activate(ACCOUNT, created.id, "madrid", "test")
    post = KeepingTransport(clock, holds_unknown=holds_unknown)
    engine = Engine(store, registry, Postbox(dict.fromkeys(media, post)), clock)
    registry.on_bite.append(store.require_registry)
    await engine.start()
    shop = Shop(engine, registry, clock, post, media)
    try:
        yield shop
    finally:
        await shop.engine.stop()
