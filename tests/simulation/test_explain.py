"""Why it was sent, and why not, told for all that can be decided about an invitation."""

from __future__ import annotations

from core.bounds import HOUR_MS
from core.engine.explain import Explanation
from core.engine.explain_texts import ASKED, SUMMARIES, WAITS
from core.engine.reader import InvitationView
from core.model import Medium, Purpose, Reason, WaitReason
from core.ports import Store
from core.registry.rule_parts import MediumHours, Window
from tests.simulation.test_by_hand import (
    ASK,
    about,
    cancelled,
    later,
    make,
    planned,
    reinstate,
    send_now,
)
from tests.support.shop import ACCOUNT, Shop, open_shop


async def told(shop: Shop, view: InvitationView) -> Explanation:
    return await shop.engine.explainer.invitation(ACCOUNT, view.member)


def texts(story: Explanation, stage: str) -> list[str]:
    return [decision.text for decision in story.decisions if decision.stage == stage]


def test_every_reason_and_wait_has_words() -> None:
    """R9: none is told by its code alone."""
    assert SUMMARIES.keys() == set(Reason) - {Reason.NONE}
    assert WAITS.keys() == set(WaitReason)
    assert set(ASKED) == {0, 1, 2, 3}
    assert len(set(SUMMARIES.values())) == len(SUMMARIES), "and each its own"


async def test_one_by_hand_says_so(store: Store) -> None:
    """A3."""
    async with open_shop(store) as shop:
        view = await make(shop, about(shop), later(ASK, "2026-03-05 09:00"))
        story = await told(shop, view)
        assert texts(story, "accept") == ["event hand-1, order 1 was accepted"]
        (wish,) = texts(story, "rule")
        assert wish.startswith(
            "somebody wanted it by hand over EMAIL, which asks about the service"
        )
        (plan,) = texts(story, "plan")
        assert plan.startswith("it is first due 2026-03-05 10:00 Europe/Madrid")
        by_event = await shop.engine.explainer.event(ACCOUNT, "desk", "hand-1")
        assert [one.member for one in by_event.invitations] == [view.member]


async def test_what_came_back_is_told_with_its_event(store: Store) -> None:
    """R44."""
    async with open_shop(store) as shop:
        old = await cancelled(shop)
        new = await reinstate(shop, old)
        again = await reinstate(shop, await shop.engine.reader.cancel(ACCOUNT, new.member))
        by_event = await shop.engine.explainer.event(ACCOUNT, "test", "checkout-1")
        members = [view.member for view in by_event.invitations]
        assert members == [old.member, new.member, again.member]
        assert "reinstated 2 times" in texts(await told(shop, again), "plan")[0]
        assert "a client cancelled it" in (await told(shop, old)).summary


async def test_waits_and_hurry_are_told(store: Store) -> None:
    """R45, R14, R36."""
    hours = MediumHours(Medium.EMAIL, quiet=(Window(9 * HOUR_MS, 12 * HOUR_MS),))
    async with open_shop(store, hours=(hours,)) as shop:
        view = await send_now(shop, await planned(shop))
        await shop.until("2026-03-01 09:01")
        story = await told(shop, view)
        assert "closed hours" in story.summary
        assert any("sent now" in text for text in texts(story, "plan"))
        other = await planned(shop, order="2")
        await shop.registry.freeze_rule(ACCOUNT, "ask", "madrid")
        await shop.until("2026-03-08 12:00")
        assert "frozen" in (await told(shop, other)).summary


async def test_what_became_known_since_is_told(store: Store) -> None:
    """C3."""
    async with open_shop(store) as shop:
        view = await planned(shop)
        await shop.publish(shop.event("order_updated", id="news"))
        await shop.publish(shop.event("order_updated", order="9", id="other"))
        story = await told(shop, view)
        assert texts(story, "accept")[1:] == ["event news of type order_updated told more since"]


async def test_what_asks_for_no_review_says_so(store: Store) -> None:
    async with open_shop(store) as shop:
        tell = type(ASK)(0, Purpose.OPERATIONAL, Medium.EMAIL, "Hello", "There.")
        story = await told(shop, await make(shop, about(shop), tell))
        assert texts(story, "consent") == ["OPERATIONAL messages need no consent"]
        assert "asks about" not in texts(story, "rule")[0]
