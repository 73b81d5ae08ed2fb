"""Another template while messages wait: who gets the new one, and who the old."""

from __future__ import annotations

from dataclasses import dataclass

from msgspec.structs import replace

from core.model import Medium, State
from core.ports import Store
from core.registry.rule_parts import Action, Step
from core.sending import Letter
from senders import mime
from tests.support.rules import change_rule, free_rule, step
from tests.support.shop import Shop, open_shop, review_rule

SHORT = "optimised-service-review"


@dataclass
class Said:
    template: str
    is_follow_up: bool
    raw: bytes


def watch(shop: Shop) -> list[Said]:
    """Render every letter as a real transport does, and keep it."""
    said: list[Said] = []
    prepare = shop.post.prepare

    def rendered(letter: Letter) -> bytes:
        said.append(Said(letter.template, letter.is_follow_up, mime.render(letter)))
        return prepare(letter)

    shop.post.prepare = rendered  # type: ignore[method-assign]
    return said


def with_template(steps: list[Step], template: str) -> list[Step]:
    """Return the steps, the first with another template."""
    (action,) = steps[0].actions
    return [replace(steps[0], actions=[replace(action, template=template)]), *steps[1:]]


async def test_another_template_holds_for_what_waits_and_not_for_the_reminder_of_what_went(
    store: Store,
) -> None:
    """D1, B19, R40: one order's invitation is out when the template changes, the other's is not."""
    async with open_shop(store) as shop:
        said = watch(shop)
        await shop.publish(shop.event(order="1", email="ana@shop.example"))
        await shop.until("2026-03-07 09:00")
        await shop.publish(shop.event(order="2", email="ben@shop.example"))
        await shop.until("2026-03-10 00:00")
        await change_rule(shop, steps=with_template(review_rule().steps, SHORT))
        await shop.until("2026-03-14 23:00")
        assert [to for _, to, _ in shop.mails()] == [
            "ana@shop.example", "ana@shop.example", "ben@shop.example",
        ]  # fmt: skip
        assert [(one.template, one.is_follow_up) for one in said] == [
            ("", False),
            ("", True),
            (SHORT, False),
        ]
        first, reminder, second = (one.raw for one in said)
        assert b"responder a este mensaje" in first.replace(b"=\r\n", b"")
        assert b"responder a este mensaje" in reminder.replace(b"=\r\n", b"")
        assert b"Basta con una palabra" in second.replace(b"=\r\n", b"")


async def test_a_reminder_has_the_template_of_its_invitation(store: Store) -> None:
    """B19: the rule names it once, at the first step; the subject is the reminder's own."""
    rule = review_rule(steps=with_template(review_rule().steps, SHORT))
    async with open_shop(store, rule=rule) as shop:
        said = watch(shop)
        await shop.publish(shop.event())
        await shop.until("2026-04-30 00:00")
        assert [(one.template, one.is_follow_up) for one in said] == [(SHORT, False), (SHORT, True)]
        first, second = (letter for letter in shop.post.letters)
        assert (first.subject, second.subject) == ("", "Still there?")


async def test_the_second_message_of_an_automation_says_what_is_newest(store: Store) -> None:
    """D1, R40: only reminders of review requests keep what was said before."""
    steps = [step("one", days=1), step("two", days=9)]
    async with open_shop(store, rules=[free_rule("news", steps=steps)]) as shop:
        said = watch(shop)
        await shop.publish(shop.event(consent=None))
        await shop.until("2026-03-05 00:00")
        own = Action(Medium.EMAIL, subject="News", template="plain", body="Changed.")
        await change_rule(shop, "news", steps=[replace(each, actions=[own]) for each in steps])
        await shop.until("2026-04-30 00:00")
        assert [one.template for one in said] == ["", "plain"]
        assert b"Changed." in said[1].raw


async def test_what_cannot_be_rendered_fails_and_is_not_sent_otherwise(store: Store) -> None:
    """D1: a rule written under another version names a template that is not here."""
    rule = review_rule(steps=with_template(review_rule().steps, "of-another-version"))
    async with open_shop(store, rule=rule) as shop:
        watch(shop)
        await shop.publish(shop.event())
        await shop.until("2026-04-30 00:00")
        assert shop.mails() == []
        assert {state: count for (state, _), count in (await shop.ends()).items()} == {
            State.FAILED: 1
        }
