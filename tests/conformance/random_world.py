"""Random operations for stores: one seeded stream of calls, with its own small memory of the world.

The stream never looks into a store: what it needs to know (members, lanes, open claims) it takes
from the answers of the first store, which the others must match.
"""

from __future__ import annotations

import enum
import random
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec

from core.bounds import DAY_MS, HOUR_MS
from core.contact_ports import AddressItem, ConsentLine, Feedback, FeedbackKind
from core.errors import StaleRegistry
from core.gate import CapRule, ClaimAction, ClaimAnswer, ClaimCode, ClaimItem, Lane, Source
from core.model import ConsentStatus, Reason, State, Suppression, WaitReason
from core.ports import (
    Commit,
    EventMark,
    Guard,
    Move,
    OrderNote,
    Owner,
    Plan,
    Settlement,
    Stop,
    Store,
)
from core.records import FLAG_ELSEWHERE, FLAG_HOLD_UNKNOWN, NO_KEY
from tests.conformance.kit import (
    DEFERRED,
    FOR_EVER,
    NEAR,
    NOW,
    PARKED,
    TIMERS,
    Entry,
    cap,
    commit,
    consent_entry,
    contact_key,
    key,
    plan,
    timer,
)

PARTITIONS = (0, 1)
CONTACTS = [contact_key(name, number) for number in PARTITIONS for name in ("anna", "ben")]
ADDRESSES = [contact_key("a phone", number) for number in PARTITIONS]
ORDERS = [NO_KEY, *(key(f"order {number}") for number in range(4))]
MESSAGES = [*[NO_KEY] * 20, *(key(f"message {number}") for number in range(20))]
EVENTS = [key(f"event {number}") for number in range(300)]
CAPS = [
    cap(ledger=b"day1", window_ms=DAY_MS),
    cap(ledger=b"ord2", window_ms=3 * DAY_MS, limit=2, is_order_unit=True),
    cap(ledger=b"skip", window_ms=5 * DAY_MS, limit=3, is_skip=True),
    cap(ledger=b"long", window_ms=9 * DAY_MS, limit=4, longest_deferral_ms=4 * DAY_MS),
    cap(ledger=b"free", is_checked=False),
    cap(ledger=b"free", is_counted=False, limit=9),
    BEST := cap(ledger=b"best", window_ms=4 * DAY_MS, is_replace=True),
    cap(ledger=b"best", window_ms=6 * DAY_MS, limit=2, is_replace=True),
    cap(ledger=b"look", window_ms=2 * DAY_MS, limit=4, looks_again=True),
    NONE_AT_ALL := cap(ledger=b"none", limit=0),
]
STATUSES = [
    *[ConsentStatus.GRANTED] * 8, *[ConsentStatus.CONFIRMED] * 6, *[ConsentStatus.LIFTED] * 4,
    *[ConsentStatus.ASSUMED] * 4,
    ConsentStatus.DENIED, ConsentStatus.WITHDRAWN, ConsentStatus.PENDING, *Suppression,
]  # fmt: skip
LEASE_MS = 5 * HOUR_MS

Call = Callable[["Side"], Awaitable[Any]]


def plain(value: Any) -> Any:
    """Return a value in which only content counts: no struct types, no list or tuple.

    The due time in the answer on an entry that has ended says nothing, so it is left out.
    """
    if isinstance(value, ClaimAnswer) and value.code == ClaimCode.ENDED:
        value = msgspec.structs.replace(value, due_ms=0)
    if isinstance(value, msgspec.Struct):
        return {name: plain(getattr(value, name)) for name in value.__struct_fields__}
    if isinstance(value, dict):
        return {plain(k) if isinstance(k, tuple) else k: plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return tuple(plain(element) for element in value)
    return int(value) if isinstance(value, enum.IntEnum) else value


class Side:
    """One store and this daemon's ownership in it; epochs differ from store to store."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.owned: dict[int, Owner] = {}
        self._versions: dict[int, int] = {}

    async def own(self) -> None:
        """Take the partitions of the test."""
        observed = await self.store.owners(PARTITIONS)
        for number, owner in (await self.store.acquire(observed, b"one side")).items():
            assert owner is not None
            self.owned[number] = owner

    async def gains(self) -> dict[int, bool]:
        """Return which partitions' fixed lanes have gained since the last call."""
        versions = await self.store.near_versions(PARTITIONS)
        gains = {number: versions[number] > self._versions.get(number, 0) for number in PARTITIONS}
        self._versions = versions
        return gains

    async def lanes(self, until_ms: int = FOR_EVER) -> dict[tuple[int, int, int], Any]:
        """Return every lane that holds something: (partition, lane, slot) to its entries."""
        slots = await self.store.far_slots(PARTITIONS, until_ms)
        sources = [
            (number, source)
            for number in PARTITIONS
            for source in (
                NEAR,
                DEFERRED,
                PARKED,
                *(Source(Lane.FAR, slot) for slot in slots[number]),
            )
        ]
        entries = await self.store.read_lanes(sources, until_ms, 10_000)
        return {
            (number, source.lane, source.slot): tuple((e.member, e.due_ms) for e in held)
            for (number, source), held in zip(sources, entries, strict=True)
            if held
        }

    async def everything(self, now_ms: int) -> dict[str, Any]:
        """Return all that the port shows of the partitions."""
        days = range(NOW // DAY_MS - 1, now_ms // DAY_MS + 1)
        shown: dict[str, Any] = {"lanes": await self.lanes()}
        for number in PARTITIONS:
            mine = [one for one in (*CONTACTS, *ADDRESSES) if one[1] == number]
            shown[f"records {number}"] = (await self.store.contacts({number: mine}))[number]
            shown[f"consents {number}"] = [
                await self.store.consent_log(number, contact) for contact in mine
            ]
            timers = await self.store.timers(number, mine)
            # By id: a store may keep them in any order once they have moved.
            shown[f"timers {number}"] = [sorted(held, key=lambda t: t.id) for held in timers]
            due = await self.store.read_lane(number, TIMERS, FOR_EVER, 10_000)
            shown[f"timer dues {number}"] = due
            shown[f"counters {number}"] = (await self.store.counters([number]))[number]
            shown[f"details {number}"] = sorted(
                (await self.store.scan_details(number, 0, 10_000))[1]
            )
            shown[f"channels {number}"] = await self.store.channel_counts([number], days)
            shown[f"outcomes {number}"] = [await self.store.outcomes(number, day) for day in days]
        return {name: plain(value) for name, value in shown.items()}


class World:
    """The stream of operations. `step` names the next call; `heard` tells it the answer."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.now_ms = NOW
        self.members: list[bytes] = []
        self.entries: list[tuple[int, bytes, Source]] = []
        self.claims: dict[bytes, tuple[int, list[ClaimItem], int]] = {}
        self.claimed: dict[bytes, list[ClaimItem]] = {}
        self.claim_count = 0
        self.required_revision = 0

    # What is asked -------------------------------------------------------------------------------

    def step(self) -> tuple[str, Call]:
        """Return the next operation: its name and how to ask it of a store."""
        steps: list[tuple[int, Callable[[], tuple[str, Call]]]] = [
            (6, self._commit), (9, self._claim), (8, self._settle), (9, self._wait),
            (2, self._open), (2, self._recover), (2, self._mark_sending), (3, self._consent),
            (3, self._cancel), (1, self._mark_events), (1, self._note_orders), (2, self._read),
            (1, self._drop_empty), (2, self._move), (1, self._drop_timers),
            (1, self._require_registry), (3, self._mark_addresses), (1, self._release_addresses),
            (4, self._feedback), (0.4, self._erase), (0.3, self._finish_erasure), (1, self._forget),
        ]  # fmt: skip
        weights, choices = zip(*steps, strict=True)
        return self.random.choices(choices, weights)[0]()

    def _plan(self) -> Plan:
        pick = self.random.choice
        due_ms = self.now_ms + pick([-HOUR_MS, 0, 1, HOUR_MS, DAY_MS, 3 * DAY_MS])
        stop_types = pick([(), (), (2,), (2, 3)])
        is_born_ended = self.random.random() < 0.05
        return plan(
            medium=pick([1, 1, 1, 2]), purpose=pick([1, 1, 1, 2, 3]), step=pick([0, 1]),
            channel_number=pick([1, 1, 300]), rule_number=pick([0, 1, 2, 70_000]), due_ms=due_ms,
            expire_ms=due_ms + pick([HOUR_MS, 6 * DAY_MS, *[30 * DAY_MS] * 6]),
            order_key=pick(ORDERS),
            message_key=pick(MESSAGES), detail=self.random.randbytes(pick([0, 5])),
            flags=pick([0, 0, FLAG_HOLD_UNKNOWN, FLAG_ELSEWHERE]), priority=pick([0, 5]),
            kinds=pick([0, 0, 1, 2, 3]), needs_consent=pick([True, False, False]), stop_types=stop_types,
            stop_reasons=tuple(range(38, 38 + len(stop_types))),
            **({"state": State.EXPIRED, "reason": Reason.LATE_EVENT} if is_born_ended else {}),
        )  # fmt: skip

    def _entry(self) -> Entry:
        pick = self.random.choice
        scope = pick([0, 1, 2])
        scope_key = {0: NO_KEY, 1: pick([1, 300]).to_bytes(8, "little"), 2: pick(ORDERS)}[scope]
        status = pick(STATUSES)
        is_stop = status == ConsentStatus.LIFTED or status in list(Suppression)
        return consent_entry(
            status, scope=scope, scope_key=scope_key,
            purpose=pick([0, 1, 2, 5] if is_stop else [1, 1, 2, 5]),
            medium=pick([0, 1, 1, 2] if is_stop else [1, 1, 2]),
            time_ms=self.now_ms - pick([0, 0, 1, HOUR_MS, DAY_MS]),
            expire_ms=pick([0, 0, 0, self.now_ms + HOUR_MS, self.now_ms + 3 * DAY_MS]),
            document=self.random.randbytes(pick([0, 4, 300])),
        )  # fmt: skip

    def _line(self) -> ConsentLine:
        scope, purpose, medium, status, scope_key, time_ms, expire_ms, document = self._entry()
        time_ms += self.random.choice([0, 0, 5])
        return ConsentLine(scope, purpose, medium, status, time_ms, scope_key, expire_ms, document)

    def _one_commit(self, contact: bytes) -> Commit:
        pick = self.random.choice
        rules = [frozenset({1}), frozenset({0, 1, 2, 70_000})]
        return commit(
            *(self._plan() for _ in range(pick([0, 1, 1, 2, 3]))),
            event_key=pick(EVENTS),
            contact_key=contact,
            body=self.random.randbytes(3),
            event_time_ms=self.now_ms - pick([0, 7]),
            stops=tuple(
                Stop(
                    pick(ORDERS),
                    pick(rules),
                    pick([40, Reason.REVIEWED]),
                    pick([1, 2, 3]),
                    pick([True, False]),
                    pick([0, 0, 1, 2]),
                )
                for _ in range(pick([0, 0, 0, 1, 2]))
            ),
            history=tuple(
                (pick([1, 1, 1, 2]), pick(ORDERS[1:]), self.now_ms - pick([0, 9]), pick([1, 300]))
                for _ in range(pick([0, 0, 1]))
            ),
            guards=tuple(
                Guard(
                    number,
                    pick([1, 2]),
                    self.now_ms - pick([0, DAY_MS, 9 * DAY_MS]),
                    self.now_ms,
                    pick([0, 1, 300]),
                    pick([True, False]),
                    self.now_ms - pick([0, 3 * DAY_MS]),
                )
                for number in pick([(), (), (1,), (1, 2)])
            ),
            timers=tuple(
                timer(
                    pick(["a", "b", "c"]),
                    rule_number=pick([1, 2, 70_000]),
                    key=pick(ORDERS),
                    due_ms=self.now_ms + pick([1, DAY_MS]),
                    time_ms=self.now_ms - pick([0, 5, DAY_MS]),
                )
                for _ in range(pick([0, 0, 1, 2]))
            ),
            fires=pick([None] * 6 + [(key(pick("abc")), self.now_ms + pick([0, 1]))]),
            facts_key=pick([None, None, *ORDERS]),
            stamps=tuple(
                (pick([b"day1", b"best"]), pick([key("elsewhere"), *ORDERS[1:]]), self.now_ms - ago)
                for ago in pick([(), (), (), (0,), (9, DAY_MS, 400 * DAY_MS)])
            ),
            consents=tuple(self._entry() for _ in range(pick([0, 1]))),
            tombstone_order=pick([NO_KEY] * 4 + ORDERS),
            tombstone_type=pick([0, 2, 3]),
            is_primary=pick([True, True, False]),
        )

    def _commit(self) -> tuple[str, Call]:
        commits: dict[int, list[Commit]] = {}
        for _ in range(self.random.randint(1, 4)):
            contact = self.random.choice(CONTACTS)
            commits.setdefault(contact[1], []).append(self._one_commit(contact))
        now_ms = self.now_ms
        return f"commit {commits}", lambda side: side.store.commit(commits, now_ms)

    def _item(self, member: bytes, source: Source) -> ClaimItem:
        pick = self.random.choice
        several = self.random.sample(CAPS[:-1], pick([0, 1, 2, 3]))
        caps: tuple[CapRule, ...] = tuple(pick([*[several] * 12, *[[BEST]] * 7, [NONE_AT_ALL]]))
        action = pick(
            [ClaimAction.GATE] * 8 + [ClaimAction.END, ClaimAction.DEFER, ClaimAction.PARK]
        )
        is_parked = action == ClaimAction.PARK
        return ClaimItem(
            member, source, needs_consent=pick([True, *[False] * 5]), caps=caps, action=action,
            state=State.CANCELLED, reason=Reason.STEP_OFF,
            due_ms=self.now_ms + pick([HOUR_MS, DAY_MS]),
            wait=pick([0, WaitReason.COMPLAINTS] if is_parked else [3, WaitReason.VOLUME]),
            heeds_suppression=pick([True, *[False] * 3]), forwards_data=pick([True, *[False] * 9]),
            fell_back=pick([True, False]),
        )  # fmt: skip

    def _claim(self) -> tuple[str, Call]:
        if self.claims and self.random.random() < 0.1:
            token = self.random.choice(list(self.claims))
            number, items, deadline_ms = self.claims[token]
        else:
            number = self.random.choice(PARTITIONS)
            held = [entry for entry in self.entries if entry[0] == number]
            chosen = self.random.sample(held, min(len(held), self.random.randint(0, 6)))
            items = [self._item(member, source) for _, member, source in chosen]
            token, deadline_ms = self.random.randbytes(16), self.now_ms + LEASE_MS
            self.claims[token] = (number, items, deadline_ms)
            self.claim_count += 1
        now_ms = self.now_ms
        revision = self.required_revision - self.random.choice([*[0] * 9, 1])

        async def claim(side: Side) -> list[ClaimAnswer]:
            owner = side.owned[number]
            try:
                return await side.store.claim(
                    number, owner, token, items, now_ms, deadline_ms, revision
                )
            except StaleRegistry:
                return []

        return f"claim {token.hex()} {revision} {items}", claim

    def _require_registry(self) -> tuple[str, Call]:
        revision = self.required_revision + self.random.choice([-1, 1])
        self.required_revision = max(self.required_revision, revision)
        return f"require_registry {revision}", lambda side: side.store.require_registry(revision)

    def _settlement(self, item: ClaimItem) -> Settlement:
        state, reason = self.random.choice([
            (State.SENT, 0), (State.SENT, 0), (State.FAILED, 96), (State.NOT_DELIVERED, 97),
            (State.UNKNOWN, 101), (State.SKIPPED, 12), (State.SCHEDULED, 96),
        ])  # fmt: skip
        is_sent = state == State.SENT
        return Settlement(
            item.member, state, reason,
            due_ms=self.now_ms + self.random.choice([1, HOUR_MS]) if state == 1 else 0,
            releases_caps=not is_sent and self.random.random() < 0.7,
            next_plans=(self._plan(),) if is_sent and self.random.random() < 0.5 else (),
            content_revision=self.random.choice([0, 0, 7, 2**16 + 1]),
            template_mark=self.random.choice([0, 1, 5, 6, 255]),
        )  # fmt: skip

    def _some_claim(self) -> tuple[int, bytes, list[ClaimItem]]:
        if not self.claimed:
            return 0, bytes(16), []
        token = self.random.choice(list(self.claimed))
        items = self.claimed[token]
        some = self.random.sample(items, self.random.randint(min(1, len(items)), len(items)))
        return self.claims[token][0], token, some

    def _settle(self) -> tuple[str, Call]:
        number, token, items = self._some_claim()
        settlements = [self._settlement(item) for item in items]
        now_ms = self.now_ms
        return f"settle {token.hex()} {settlements}", lambda side: side.store.settle(
            number, token, settlements, now_ms
        )

    def _mark_sending(self) -> tuple[str, Call]:
        number, token, items = self._some_claim()
        now_ms = self.now_ms
        return f"mark_sending {token.hex()} {items}", lambda side: side.store.mark_sending(
            number, token, items, now_ms
        )

    def _wait(self) -> tuple[str, Call]:
        self.now_ms += self.random.choice([0, 1, 1, HOUR_MS, HOUR_MS, 7 * HOUR_MS, DAY_MS])
        until_ms = self.now_ms + 1
        return f"wait until {self.now_ms}", lambda side: side.lanes(until_ms)

    def _open(self) -> tuple[str, Call]:
        until_ms = self.now_ms + self.random.choice([0, HOUR_MS, 2 * DAY_MS])
        return f"open until {until_ms}", lambda side: side.store.open_slots(side.owned, until_ms)

    def _recover(self) -> tuple[str, Call]:
        now_ms = self.now_ms

        async def recover(side: Side) -> dict[int, list[Any]]:
            recovered: dict[int, list[Any]] = {number: [] for number in PARTITIONS}
            for _ in range(self.claim_count // 16 + 1):  # a call may take back a part
                answer = await side.store.recover(side.owned, now_ms, now_ms)
                for number, entries in answer.items():
                    recovered[number] += entries
            return recovered

        return f"recover {now_ms}", recover

    def _consent(self) -> tuple[str, Call]:
        contact, now_ms = self.random.choice(CONTACTS), self.now_ms
        lines = [self._line() for _ in range(self.random.choice([1, 1, 2, 3]))]
        return f"write_consents {contact.hex()} {lines}", lambda side: side.store.write_consents(
            contact[1], contact, lines, now_ms
        )

    def _some_members(self, count_max: int) -> tuple[int, list[bytes]]:
        number = self.random.choice(PARTITIONS)
        mine = [member for member in self.members if member[1] == number]
        chosen = self.random.sample(mine, min(len(mine), self.random.randint(1, count_max)))
        return number, chosen or [contact_key("nobody", number) + bytes(8)]

    def _cancel(self) -> tuple[str, Call]:
        number, members = self._some_members(2)
        reason = self.random.choice([Reason.BY_CLIENT, Reason.BY_CLIENT, Reason.RULE_STOPPED])
        now_ms = self.now_ms
        return f"cancel {members} {reason.name}", lambda side: side.store.cancel(
            number, members, State.CANCELLED, reason, now_ms
        )

    def _address_item(self, address: bytes) -> AddressItem:
        pick = self.random.choice
        return AddressItem(
            address, key(pick("tuvw")), pick(ORDERS), pick([1, 1, 2]), pick([1, 2]), pick([1, 300]),
            self.now_ms + pick([HOUR_MS, 9 * DAY_MS]),
            tuple(self.random.sample(CAPS, pick([0, 1, 1, 2]))),
        )  # fmt: skip

    def _address_items(self) -> tuple[int, list[AddressItem]]:
        address = self.random.choice([*ADDRESSES, *ADDRESSES, *CONTACTS])
        return address[1], [self._address_item(address) for _ in range(self.random.choice([1, 3]))]

    def _mark_addresses(self) -> tuple[str, Call]:
        (number, items), now_ms = self._address_items(), self.now_ms
        return f"mark_addresses {items}", lambda side: side.store.mark_addresses(
            number, items, now_ms
        )

    def _release_addresses(self) -> tuple[str, Call]:
        (number, items), now_ms = self._address_items(), self.now_ms
        return f"release_addresses {items}", lambda side: side.store.release_addresses(
            number, items, now_ms
        )

    def _feedback(self) -> tuple[str, Call]:
        pick = self.random.choice
        number, members = self._some_members(4)
        feedback = [
            Feedback(
                member, pick(list(FeedbackKind)[1:]), self.now_ms - pick([0, 5, -5]),
                pick([0, 0, Reason.PROVIDER_ERROR]),
                tuple(self._line() for _ in range(pick([0, 0, 1, 2]))),
            )
            for member in members * pick([1, 2])
        ]  # fmt: skip
        now_ms = self.now_ms
        return f"record_feedback {feedback}", lambda side: side.store.record_feedback(
            number, feedback, now_ms
        )

    def _erase(self) -> tuple[str, Call]:
        contact, now_ms = self.random.choice([*CONTACTS, *ADDRESSES]), self.now_ms
        return f"erase {contact.hex()}", lambda side: side.store.erase_contact(
            contact[1], contact, now_ms
        )

    def _finish_erasure(self) -> tuple[str, Call]:
        contact = self.random.choice([*CONTACTS, *ADDRESSES])
        return f"finish_erasure {contact.hex()}", lambda side: side.store.finish_erasure(
            contact[1], contact
        )

    def _forget(self) -> tuple[str, Call]:
        events, orders = self.random.sample(EVENTS, 20), self.random.sample(ORDERS[1:], 2)
        contact, now_ms = self.random.choice(CONTACTS), self.now_ms

        async def forget(side: Side) -> None:
            await side.store.forget_events({0: events}, now_ms)
            await side.store.forget_orders({1: orders}, contact, now_ms)

        return f"forget {events} {orders} {contact.hex()}", forget

    def _read(self) -> tuple[str, Call]:
        number, members = self._some_members(5)

        async def read(side: Side) -> Any:
            waiting = await side.store.read({number: members})
            return waiting, await side.store.notes(number, members)

        return f"read {members}", read

    def _mark_events(self) -> tuple[str, Call]:
        marks = [
            EventMark(self.random.choice(EVENTS), key(str(self.random.randint(0, 1))), contact)
            for contact in self.random.sample(CONTACTS, 2)
        ]
        now_ms = self.now_ms
        return f"mark_events {marks}", lambda side: side.store.mark_events({0: marks}, now_ms)

    def _note_orders(self) -> tuple[str, Call]:
        pick = self.random.choice
        notes = [
            OrderNote(pick(ORDERS[1:]), pick([NO_KEY, *CONTACTS]), pick([0, 0, 2, 3]), self.now_ms)
            for _ in range(3)
        ]
        now_ms = self.now_ms
        return f"note_orders {notes}", lambda side: side.store.note_orders({1: notes}, now_ms)

    def _move(self) -> tuple[str, Call]:
        pick = self.random.choice
        number = pick(PARTITIONS)
        held = [entry for entry in self.entries if entry[0] == number]
        # Each member once: whoever moves has read it from one lane.
        chosen = self.random.sample(held, min(len(held), 2))
        moves = [
            Move(
                member, source, self.now_ms + pick([0, HOUR_MS]),
                pick([0, 0, self.now_ms + HOUR_MS]), pick([b"", b"new"]),
            )
            for member, source in {member: source for _, member, source in chosen}.items()
        ]  # fmt: skip
        now_ms = self.now_ms
        return f"move {moves}", lambda side: side.store.move(number, moves, now_ms)

    def _drop_timers(self) -> tuple[str, Call]:
        contact = self.random.choice(CONTACTS)
        members = [contact + key(self.random.choice("abc"))]
        return f"drop_timers {members}", lambda side: side.store.drop_timers(contact[1], members)

    def _drop_empty(self) -> tuple[str, Call]:
        slots = list(range(NOW // HOUR_MS - 5, self.now_ms // HOUR_MS + 5))
        return "drop_empty_slots", lambda side: side.store.drop_empty_slots(
            dict.fromkeys(PARTITIONS, slots)
        )

    # What was answered ---------------------------------------------------------------------------

    def heard(self, name: str, answer: Any) -> None:
        """Remember what the next steps need of an answer."""
        if name.startswith("commit"):
            for answers in answer.values():
                self.members += [p.member for a in answers if not a.is_duplicate for p in a.plans]
        elif name.startswith("claim"):
            token = bytes.fromhex(name.split()[1])
            items = self.claims[token][1]
            taken = [
                item
                for item, one in zip(items, answer, strict=bool(answer))
                if one.code == ClaimCode.CLAIMED
            ]
            if taken:
                self.claimed[token] = taken
        elif name.startswith("settle"):
            self.members += [p.member for one in answer for p in one.next_plans]
            token = bytes.fromhex(name.split()[1])
            if self.random.random() < 0.8:  # else they are settled again later
                self.claimed.pop(token, None)
        elif name.startswith("wait"):
            fresh = [
                (number, member, Source(lane, slot))
                for (number, lane, slot), held in answer.items()
                for member, _ in held
            ]
            # Some entries of the last look stay: a daemon may hold what others have moved.
            stale = self.random.sample(self.entries, min(len(self.entries), 2))
            self.entries = fresh + [entry for entry in stale if entry not in fresh]
