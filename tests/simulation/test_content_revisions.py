"""Which revision of a rule a message says, and that it is remembered (B19, D1, R40)."""

from __future__ import annotations

from msgspec.structs import replace

from core.ports import Store
from tests.support.shop import Shop, open_shop, review_rule


async def edit_subject(shop: Shop, subject: str) -> None:
    present = shop.registry.snapshot.rule("shop", "ask")
    assert present is not None
    first, second = present.steps
    first = replace(first, actions=[replace(first.actions[0], subject=subject)])
    await shop.registry.update_rule(replace(present, steps=[first, second]))


async def test_a_reminder_repeats_what_was_sent_not_what_was_planned(store: Store) -> None:
    """B19, D1: the request says what the rule says when it goes out, its reminder the same."""
    async with open_shop(store, rule=review_rule()) as shop:
        [answer] = await shop.publish(shop.event())
        await edit_subject(shop, "Second words")
        await shop.until("2026-03-09 00:00")
        await edit_subject(shop, "Third words")
        await shop.until("2026-04-01 00:00")
        assert [letter.revision for letter in shop.post.letters] == [2, 2]
        assert shop.post.letters[0].subject == "Second words"
        views = await shop.engine.reader.by_contact("shop", answer.contact_key)
        assert [view.detail.revision for view in views] == [1, 1]
        assert [view.reference.content_revision for view in views] == [2, 2]
        story = await shop.engine.explainer.invitation("shop", answer.members[0])
        assert "with the content of revision 2" in story.summary
