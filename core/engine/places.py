"""Places at senders: no more is claimed than they take now, at their pace (R12).

Decides: who of a round gets the places and tokens that a sender has at this moment: those called from
its line, then channel by channel in turn; the others stand in line, without being claimed and without a
write, or are put off in the store where the line is full. Nothing passes an earlier entry of its contact
in the same line. And which quota counts a letter.
Never: how a sender is spoken to, nor what is left of its quota (`core/engine/volume.py`).

So a sender that is slow, full, resting or down holds back what goes by it, and nothing else. What waits
uses up no attempt.

Invariant: places and tokens are taken before the claim, and each `Place` is left once: when the
transport has the letter and counts it itself, or when it is known that nothing goes.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Final

import msgspec

from core.bounds import DAY_MS, MINUTE_MS, SECOND_MS
from core.clock import Clock
from core.engine.due_case import Place, Ready
from core.engine.horizon import Horizon
from core.engine.lines import LINE_MAX
from core.engine.pace import Pace
from core.gate import ClaimAction, ClaimItem
from core.model import Medium, WaitReason
from core.registry.cap_rules import VolumeRule
from core.registry.resources import Channel
from core.registry.senders import Sender
from core.registry.snapshot import Snapshot
from core.sending import Letter, Postbox
from core.stats import Stats

LOOK_MS: Final = 100
"""How often a sender without a place is asked again; its own hand-overs tell at once."""
PUT_OFF_MS: Final = MINUTE_MS
"""How long at least what does not fit in the line waits in the store."""
PER_SECOND: Final = 32
"""The pace at which what was put off comes back to a sender that names none."""


class SenderState(msgspec.Struct, frozen=True):
    """How one sender stands."""

    name: str
    """Full name, or the medium for one of the daemon's own."""
    waiting: int
    """Entries in line."""
    room: int
    """Letters it takes now; 0 while it is full, out of tokens, resting or down."""


class _Post(msgspec.Struct):
    """One sender, as the last letter for it was sent."""

    medium: int
    channel: Channel
    pace: Pace | None
    admitted: int = 0
    """Letters that have a place, and of which the transport does not know yet."""


class Places:
    """The places of all senders of one process."""

    def __init__(self, horizon: Horizon, postbox: Postbox, clock: Clock, stats: Stats) -> None:
        self._horizon = horizon
        self._lines = horizon.lines
        self._lines.room_of = self.room
        self._postbox = postbox
        self._clock = clock
        self._stats = stats
        self._posts: dict[str, _Post] = {}

    def room(self, key: str) -> int:
        """Return how many more letters a sender takes now."""
        post = self._posts[key]
        free = self._postbox.free(post.medium, post.channel) - post.admitted
        if post.pace is not None:
            free = min(free, post.pace.free(self._clock.now_ms()))
        return max(0, free - self._lines.kept(key))

    def wake_ms(self, now_ms: int) -> int | None:
        """Return when to look again at what stands in line, None if nothing does."""
        instants = [self._ready_ms(self._posts[key], now_ms) for key in self._lines.waiting_at()]
        return min(instants, default=None)

    def _ready_ms(self, post: _Post, now_ms: int) -> int:
        if post.pace is not None and post.pace.free(now_ms) == 0:
            return post.pace.ready_ms(0, now_ms)
        return now_ms + LOOK_MS

    def states(self) -> list[SenderState]:
        """Return how the senders stand that anything has gone to, those with the longest line first."""
        found = [SenderState(key, self._lines.length(key), self.room(key)) for key in self._posts]
        return sorted(found, key=lambda state: (-state.waiting, state.name))

    # Admission ----------------------------------------------------------------------------------

    def admit(self, snapshot: Snapshot, ready: Sequence[Ready], now_ms: int) -> list[Ready]:
        """Give out places; return who goes on to the claim. The others stand in line.

        Args:
            ready: in turn; what is not to pass the gate goes on in any case.
        """
        called = self._lines.arrived(one.item.member for one in ready)
        turned_away: dict[str, int] = {}
        staying: set[int] = set()
        for one in _by_channel(ready, called):
            letter = one.letter
            assert letter is not None
            sender = snapshot.sender_of(letter.channel, letter.medium)
            one.quota = _quota_of(sender)
            key = self._key(sender, letter, now_ms)
            post = self._posts[key]
            if one.item.member not in called and self._gives_way(key, one):
                staying.add(id(one))
                continue
            if key not in turned_away and self.room(key) > 0:
                if post.pace is not None:
                    post.pace.take(1, now_ms)
                post.admitted += 1
                one.place = Place(self, key)
                continue
            number = turned_away[key] = turned_away.get(key, -1) + 1
            if self._turn_away(one, key, number, now_ms):
                staying.add(id(one))
        return [one for one in ready if id(one) not in staying]

    def leave(self, key: str, *, is_spent: bool) -> None:
        """Take a letter out of the count. See `Place.leave`."""
        post = self._posts[key]
        post.admitted -= 1
        if not is_spent and post.pace is not None:
            post.pace.give_back(1)

    def _key(self, sender: Sender | None, letter: Letter, now_ms: int) -> str:
        """Return the name of the sender that takes a letter, and know it from now on."""
        key = Medium(letter.medium).name if sender is None else sender.name
        post = self._posts.get(key)
        if post is None:
            post = self._posts[key] = _Post(letter.medium, letter.channel, None)
        post.channel = letter.channel
        post.pace = _pace_of(sender, post.pace, now_ms)
        return key

    def _gives_way(self, key: str, one: Ready) -> bool:
        """Let an entry wait for an earlier one of its contact that had no place before, and has not
        gone yet: that one comes first (R26). False if there is none."""
        entry = one.due_ms, one.item.member, one.where
        if self._lines.has_before(key, entry):
            self._horizon.hold(key, entry)
        elif self._lines.has_aside(entry):
            # Once this round is over, both wait by channel.
            self._horizon.insert(one.where[0], one.where[1], one.item.member, one.due_ms)
        else:
            return False
        self._stats.turned_away += 1
        return True

    def _turn_away(self, one: Ready, key: str, number: int, now_ms: int) -> bool:
        """Let an entry stand in line and return True; put it off where the line is full."""
        self._stats.turned_away += 1
        due_ms, member, (partition, source) = one.due_ms, one.item.member, one.where
        if self._clock.is_virtual:
            # Such a clock is moved from instant to instant: it must know this one.
            self._horizon.insert(partition, source, member, self._promise_ms(key, number, now_ms))
            return True
        if self._lines.length(key) < LINE_MAX:
            self._horizon.hold(key, (due_ms, member, one.where))
            return True
        post = self._posts[key]
        pace = PER_SECOND if post.pace is None else post.pace.per_second
        wait_ms = PUT_OFF_MS + int((LINE_MAX + number) * SECOND_MS / pace)
        one.item = ClaimItem(
            member, source, ClaimAction.DEFER, one.item.needs_consent, due_ms=now_ms + wait_ms,
            wait=WaitReason.RETRY, heeds_suppression=one.item.heeds_suppression,
        )  # fmt: skip
        return False

    def _promise_ms(self, key: str, number: int, now_ms: int) -> int:
        pace = self._posts[key].pace
        if pace is None or pace.free(now_ms) > 0:
            return now_ms + SECOND_MS * (1 + number // PER_SECOND)
        return pace.ready_ms(number, now_ms)


def _by_channel(ready: Iterable[Ready], called: set[bytes]) -> list[Ready]:
    """Return what asks for a place: those called, then one of each channel after the other; but nothing
    before an earlier entry of its contact (R26)."""
    first: list[Ready] = []
    ranks: list[tuple[int, Ready]] = []
    seen: Counter[str] = Counter()
    latest: dict[bytes, int] = {}
    for one in ready:
        if one.letter is None or one.item.action != ClaimAction.GATE:
            continue
        contact = one.item.member[:8]
        if one.item.member in called and contact not in latest:
            first.append(one)
            continue
        name = one.letter.channel.name
        rank = latest[contact] = max(seen[name], latest.get(contact, 0))
        ranks.append((rank, one))
        seen[name] += 1
    if len(seen) > 1:
        ranks.sort(key=lambda ranked: ranked[0])
    return first + [one for _, one in ranks]


def _quota_of(sender: Sender | None) -> VolumeRule | None:
    """Return the quota of a sender: what it may send in any 24 hours, all daemons together."""
    if sender is None or sender.daily_quota <= 0:
        return None
    ledger = hashlib.blake2b(sender.name.encode(), digest_size=16).digest()
    return VolumeRule(ledger, sender.daily_quota, DAY_MS)


def _pace_of(sender: Sender | None, known: Pace | None, now_ms: int) -> Pace | None:
    """Return the pace of a sender as it is configured now."""
    per_second = 0.0 if sender is None else sender.messages_per_second
    if per_second <= 0:
        return None
    if known is not None and known.per_second == per_second:
        return known
    return Pace(per_second, now_ms)
