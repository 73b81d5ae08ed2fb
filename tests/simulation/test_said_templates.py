"""Which revision of the shop's own template was sent, told afterwards; on both stores (D1, B19)."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from core.contact_ports import Feedback, FeedbackKind
from core.engine.manual import Wish
from core.engine.reader import InvitationView
from core.engine.said_template import said_template
from core.model import Contact, Event, Evidence, Family, Medium, Order, Purpose, State
from core.partitions import partition_of
from core.ports import Store
from core.records import KIND_SERVICE
from core.registry.contents import Content, ContentTemplate, EmailParts
from core.registry.registry import Registry
from core.registry.rule_parts import Step
from core.sending import Delivery
from tests.simulation.test_diversion_in_life import divide, platform
from tests.support.rules import change_rule, free_rule, step
from tests.support.shop import ACCOUNT, MADRID, Shop, open_shop, review_rule

ANA = "ana@shop.example"
KINDLY = "kindly"
SHORT = "optimised-service-review"
"""A shipped one."""
REVISIONS = 254
"""After so many edits a mark comes round."""


def own(subject: str = "First", id: str = KINDLY) -> ContentTemplate:
    parts = EmailParts(subject=subject, html="<p>Hola</p>")
    return ContentTemplate(
        account=ACCOUNT, id=id, medium=Medium.EMAIL, contents=(Content("es", parts),),
        families=(Family.SERVICE_REVIEW, Family.PRODUCT_REVIEW, Family.AUTOMATION), default_locale="es",
    )  # fmt: skip


def saying(steps: list[Step], template: str = KINDLY) -> list[Step]:
    """Return the steps, each with a template."""
    return [
        msgspec.structs.replace(
            one,
            actions=[msgspec.structs.replace(a, template=template, body="") for a in one.actions],
        )
        for one in steps
    ]


async def open_node(shop: Shop) -> Registry:
    """Return the configuration as another daemon of the same shop reads and writes it."""
    return await Registry.open(shop.registry._store, shop.clock)


async def edit(shop: Shop, subject: str, where: Registry | None = None) -> None:
    await (where or shop.registry).update_template(own(subject))


async def start(shop: Shop, rule: str = "ask") -> None:
    """Let the rule say what the shop has written."""
    await shop.registry.create_template(own())
    present = shop.registry.snapshot.rule(ACCOUNT, rule)
    assert present is not None
    await change_rule(shop, rule, steps=saying(present.steps))


async def views(shop: Shop, **fields: Any) -> list[InvitationView]:
    """Return all invitations of a customer, oldest first."""
    key = shop.engine.identity.contact_key(ACCOUNT, Contact(email=ANA))
    return await shop.engine.reader.by_contact(ACCOUNT, key)


async def told(shop: Shop) -> list[tuple[str, int] | None]:
    """Return template and revision of each of them, None for what is shipped or was not sent."""
    return [(v.said.id, v.said.revision) if v.said else None for v in await views(shop)]


def sent(shop: Shop) -> list[int]:
    """Return the revisions that went out, 0 for what is shipped."""
    return [letter.content.revision if letter.content else 0 for letter in shop.post.letters]


async def hear(shop: Shop, kind: FeedbackKind) -> None:
    (view,) = await views(shop)
    partition = partition_of(view.member, shop.engine.store.meta.partition_count)
    feedback = [Feedback(view.member, kind, shop.clock.now_ms())]
    await shop.engine.store.record_feedback(partition, feedback, shop.clock.now_ms())


async def test_edits_after_the_send_change_nothing(store: Store) -> None:
    """D1, B19: the request says what is newest when it goes, its reminder repeats it."""
    async with open_shop(store) as shop:
        await start(shop)
        await shop.publish(shop.event())
        assert await told(shop) == [None], "nothing was sent yet"
        await edit(shop, "Second")
        await shop.until("2026-03-08 12:00")
        await edit(shop, "Third")
        assert await told(shop) == [(KINDLY, 2), None]
        await shop.until("2026-03-20 00:00")
        await edit(shop, "Fourth")
        assert sent(shop) == [2, 2]
        assert await told(shop) == [(KINDLY, 2), (KINDLY, 2)]


async def test_what_a_lagging_node_sent_is_told_as_it_was_sent(store: Store) -> None:
    """D1: whoever sends may not know an edit yet; the time alone would tell the wrong revision."""
    async with open_shop(store) as shop:
        await start(shop)
        other = await open_node(shop)
        await shop.publish(shop.event())
        await edit(shop, "Second", other)
        await shop.until("2026-03-08 12:00")
        await edit(shop, "Third", other)
        await shop.registry.refresh()
        assert sent(shop) == [1]
        assert await told(shop) == [(KINDLY, 1), None]
        await shop.until("2026-03-20 00:00")
        assert await told(shop) == [(KINDLY, 1), (KINDLY, 1)]


async def test_a_lagging_node_tells_the_second_message_of_an_automation(store: Store) -> None:
    """D1, R40: each message for itself."""
    rule = free_rule("news", steps=[step("one", days=1), step("two", days=9)])
    async with open_shop(store, rules=[rule]) as shop:
        await start(shop, "news")
        other = await open_node(shop)
        await shop.publish(shop.event(consent=None))
        await edit(shop, "Second", other)
        await shop.until("2026-03-03 00:00")
        await shop.registry.refresh()
        await edit(shop, "Third", other)
        await shop.until("2026-04-30 00:00")
        await shop.registry.refresh()
        assert sent(shop) == [1, 2]
        assert await told(shop) == [(KINDLY, 1), (KINDLY, 2)]


@pytest.mark.parametrize(("is_late", "edits"), [(False, 0), (True, 0), (False, REVISIONS - 2)])
async def test_what_is_shipped_stays_so_when_an_own_one_takes_its_id(
    store: Store, is_late: bool, edits: int
) -> None:
    """C21, D1: also where whoever sent did not know the own one yet."""
    rule = review_rule(steps=saying(review_rule().steps[:1], SHORT))
    async with open_shop(store, rule=rule) as shop:
        other = await open_node(shop)
        await shop.publish(shop.event())
        if is_late:
            await shop.until("2026-03-08 12:00")
        await other.create_template(own(id=SHORT))
        for number in range(edits):
            await other.update_template(own(f"Edit {number}", SHORT))
        await shop.until("2026-03-20 00:00")
        await shop.registry.refresh()
        assert sent(shop) == [0]
        assert await told(shop) == [None]


@pytest.mark.parametrize(
    "kind", [FeedbackKind.DELIVERED, FeedbackKind.HARD_BOUNCED, FeedbackKind.SOFT_BOUNCED]
)
async def test_what_is_heard_later_does_not_change_what_was_said(
    store: Store, kind: FeedbackKind
) -> None:
    """D1, R48: what arrived and what bounced said the same."""
    rule = review_rule(steps=review_rule().steps[:1])
    async with open_shop(store, rule=rule) as shop:
        await start(shop)
        await shop.publish(shop.event())
        await edit(shop, "Second")
        await shop.until("2026-03-09 00:00")
        await edit(shop, "Third")
        await hear(shop, kind)
        (view,) = await views(shop)
        assert view.reference.state in (State.DELIVERED, State.NOT_DELIVERED)
        assert view.reference.content_revision == 2, "of the rule"
        assert await told(shop) == [(KINDLY, 2)]


@pytest.mark.parametrize("was_sent", [True, False])
async def test_what_may_have_been_sent_tells_it_once_it_is_known(
    store: Store, was_sent: bool
) -> None:
    """D1, E17: and nothing, where an operator says that it did not go."""
    rule = review_rule(steps=review_rule().steps[:1])
    async with open_shop(store, rule=rule, holds_unknown=True) as shop:
        await start(shop)
        shop.post.answers[ANA] = [Delivery(Delivery.Kind.UNKNOWN, "", 0, True)]
        await shop.publish(shop.event())
        await shop.until("2026-03-09 00:00")
        await edit(shop, "Second")
        (view,) = await views(shop)
        assert (view.reference.state, view.said) == (State.UNKNOWN, None)
        await shop.engine.feedback.resolve(ACCOUNT, view.member, was_sent=was_sent)
        assert await told(shop) == [(KINDLY, 1) if was_sent else None]


async def test_a_replay_tells_its_own_revision(store: Store) -> None:
    """D1, R8: what failed said nothing to anybody."""
    rule = review_rule(steps=review_rule().steps[:1])
    async with open_shop(store, rule=rule) as shop:
        await start(shop)
        shop.post.answers[ANA] = [Delivery(Delivery.Kind.FAILED)]
        await shop.publish(shop.event())
        await shop.until("2026-03-09 00:00")
        await edit(shop, "Second")
        (failed,) = await views(shop)
        assert (failed.reference.state, failed.said) == (State.FAILED, None)
        again = await shop.engine.second_thoughts.replay(ACCOUNT, failed.member)
        await shop.until("2026-03-10 00:00")
        await edit(shop, "Third")
        view = await shop.engine.reader.get(ACCOUNT, again.member)
        assert view.said is not None
        assert (sent(shop), view.said.revision) == ([2], 2)


async def test_a_step_that_the_rule_has_no_more_tells_what_it_said(store: Store) -> None:
    """R40, D1: what waits goes as it was planned."""
    async with open_shop(store) as shop:
        await start(shop)
        await shop.publish(shop.event())
        (first, _) = saying(review_rule().steps)
        renamed = msgspec.structs.replace(first, id="another")
        await change_rule(shop, steps=[renamed])
        await shop.until("2026-03-09 00:00")
        assert (sent(shop), (await told(shop))[0]) == ([1], (KINDLY, 1))


async def test_a_request_by_hand_tells_the_template_of_its_platform(store: Store) -> None:
    """A3, A28, D1: it has no rule that could say."""
    leads = platform(templates={Medium.EMAIL: KINDLY})
    async with open_shop(store) as shop:
        await shop.registry.create_template(own())
        await shop.registry.create_platform(leads)
        await divide(shop, trustpilot=100)
        given = [
            Evidence(each, Medium.EMAIL, True) for each in (Purpose.REVIEW, Purpose.DATA_FORWARDING)
        ]
        event = Event(
            id="hand", source="desk", type="", channel=MADRID, occur_ms=0,
            contact=Contact(email=ANA), order=Order(reference="1"), consents=given,
        )  # fmt: skip
        wish = Wish(KIND_SERVICE, Purpose.REVIEW, Medium.EMAIL)
        await shop.engine.by_hand.create(ACCOUNT, event, wish)
        await shop.until("2026-03-01 10:00")
        await edit(shop, "Second")
        assert sent(shop) == [1]
        assert await told(shop) == [(KINDLY, 1)]


# --- what is not known any more -----------------------------------------------------------------


async def sent_by(shop: Shop) -> None:
    """Send the first revision."""
    await start(shop, "news")
    await shop.publish(shop.event(consent=None))
    await shop.until("2026-03-03 00:00")
    assert await told(shop) == [(KINDLY, 1)]


async def test_a_revision_that_is_not_kept_is_not_taken_for_a_newer_one() -> None:
    """D1: the mark comes round, and the time says so."""
    async with open_shop(rules=[free_rule("news")]) as shop:
        await sent_by(shop)
        for number in range(REVISIONS - 1):
            await edit(shop, f"Edit {number}")
        assert await told(shop) == [None], "it is not kept"
        await edit(shop, "The one with the same mark")
        assert shop.registry.snapshot.template(ACCOUNT, KINDLY).revision == REVISIONS + 1  # type: ignore[union-attr]
        assert await told(shop) == [None]
        await shop.publish(shop.event(order="2", consent=None))
        await shop.until("2026-03-04 00:00")
        assert await told(shop) == [None, (KINDLY, REVISIONS + 1)]


async def test_another_template_of_the_same_id_was_not_sent() -> None:
    """D1: it was deleted, and made anew."""
    async with open_shop(rules=[free_rule("news")]) as shop:
        await sent_by(shop)
        await change_rule(shop, "news", steps=saying([step()], "plain"))
        await shop.registry.delete_template(ACCOUNT, KINDLY)
        assert await told(shop) == [None]
        await shop.registry.create_template(own("Another"))
        assert await told(shop) == [None]


async def test_of_what_was_sent_before_there_were_marks_the_times_tell(store: Store) -> None:
    """D1: records are not written again for it."""
    async with open_shop(store) as shop:
        await start(shop)
        await shop.publish(shop.event())
        await edit(shop, "Second")
        await shop.until("2026-03-20 00:00")
        await edit(shop, "Third")
        for view in await views(shop):
            ref = msgspec.structs.replace(view.reference, template_mark=0)
            said = said_template(shop.registry.snapshot, ref, view.detail)
            assert said is not None
            assert said.revision == 2


async def test_what_was_sent_is_known_although_no_next_step_could_be_planned(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """D1, E4: what is known of a send is recorded whatever else goes wrong."""

    def fail(*args: object) -> None:
        raise RuntimeError("no plan")

    async with open_shop(store) as shop:
        await start(shop)
        await shop.publish(shop.event())
        monkeypatch.setattr("core.engine.settlement.next_plans", fail)
        await shop.until("2026-03-09 00:00")
        await edit(shop, "Second")
        assert await told(shop) == [(KINDLY, 1)]
