"""Every gate is told, with what it saw when it decided (R9, R10)."""

from __future__ import annotations

import pytest

from control.cel_frontend import ConditionFrontend
from core.bounds import DAY_MS, HOUR_MS
from core.contact_ports import ConsentLine, FeedbackKind
from core.engine.explain import Explanation
from core.engine.explain_parts import DUE_GATES, GATE_OF, Decision, Gate, Verdict
from core.engine.feedback import Told
from core.model import (
    ConsentScope,
    ConsentStatus,
    Contact,
    Family,
    Medium,
    Purpose,
    Reason,
    State,
    Suppression,
)
from core.partitions import partition_of
from core.ports import Store
from core.registry.blocks import Block, BlockKind
from core.registry.resources import Cap, CapScope, OnCap
from core.registry.rule_parts import Action, MediumHours, OnClosed, Step, Wait, Window
from tests.support.shop import ACCOUNT, Shop, ms, one_in_14_days, open_shop, review_rule

FRONTEND = ConditionFrontend()
ASKED = [gate for gate in DUE_GATES if gate is not Gate.DIVERSION]
"""What is told where nothing is divided between platforms."""


async def told(shop: Shop, member: bytes, *, with_now: bool = False) -> Explanation:
    return await shop.engine.explainer.invitation(ACCOUNT, member, with_now=with_now)


async def planned(shop: Shop, order: str = "1", **fields: object) -> bytes:
    (answer,) = await shop.publish(shop.event(order=order, **fields))  # type: ignore[arg-type]
    return answer.members[0]


async def consent(shop: Shop, key: bytes, status: int, **fields: int) -> int:
    """Write a line about REVIEW over EMAIL for the account; return its number."""
    line = ConsentLine(
        ConsentScope.ACCOUNT,
        fields.get("purpose", Purpose.REVIEW),
        fields.get("medium", Medium.EMAIL),
        status,
        shop.clock.now_ms(),
        expire_ms=fields.get("expire_ms", 0),
    )
    store = shop.engine.store
    partition = partition_of(key, store.meta.partition_count)
    written = await store.write_consents(partition, key, [line], shop.clock.now_ms())
    return written.numbers[0]


def gate(lines: list[Decision], wanted: Gate) -> Decision:
    """Return the last line about a gate."""
    return [line for line in lines if line.gate is wanted][-1]


def decisive(lines: list[Decision]) -> list[Gate]:
    return [
        line.gate for line in lines if line.verdict is Verdict.REFUSED and line.gate in DUE_GATES
    ]


# --- the order ------------------------------------------------------------------------------------


async def test_what_was_sent_passed_every_gate_in_order(store: Store) -> None:
    """R10: rule and type state, stops, expiry, address, medium, feature, entitlement, suppression,
    consent, condition, hours, caps."""
    async with open_shop(store, caps=[one_in_14_days()]) as shop:
        member = await planned(shop)
        await shop.until("2026-03-09 00:00")
        story = await told(shop, member)
        assert [line.gate for line in story.decisions] == [
            Gate.EVENT, Gate.RULE, Gate.TIME, *ASKED, Gate.ATTEMPTS, Gate.OUTCOME,
        ]  # fmt: skip
        assert {line.verdict for line in story.decisions} == {Verdict.PASSED}
        assert all(line.passed and line.text and line.stage for line in story.decisions)
        assert {line.member for line in story.decisions} == {member}


async def test_the_rule_and_the_time_say_why(store: Store) -> None:
    """R10: which rule and revision, and how the time came about: zone, base, wait."""
    async with open_shop(store) as shop:
        member = await planned(shop, contact=Contact(email="ana@shop.example", country="PT"))
        story = await told(shop, member)
        values = dict(gate(story.decisions, Gate.RULE).values)
        assert values["rule.family"] == "SERVICE_REVIEW"
        assert (values["rule.revision"], values["rule.trigger"]) == ("1", "checkout")
        seen = gate(story.decisions, Gate.TIME).time
        assert seen is not None
        assert (seen.zone_source, seen.wait) == ("channel", "7 days at 10:00")
        assert (seen.base_ms, seen.due_ms) == (ms("2026-03-01 09:00"), ms("2026-03-08 09:00"))
        assert (seen.moved_from_ms, seen.expire_ms) == (0, seen.first_due_ms + 30 * DAY_MS)


async def test_hours_that_moved_a_time_are_told(store: Store) -> None:
    """R36: from when to when."""
    quiet = MediumHours(Medium.EMAIL, quiet=(Window(9 * HOUR_MS, 12 * HOUR_MS),))
    async with open_shop(store, hours=(quiet,)) as shop:
        story = await told(shop, await planned(shop))
        line = gate(story.decisions, Gate.TIME)
        assert line.time is not None
        assert line.time.moved_from_ms == ms("2026-03-08 09:00")
        assert line.time.first_due_ms == ms("2026-03-08 11:00")
        assert "moved by closed hours from 2026-03-08 10:00 Europe/Madrid" in line.text


# --- the gate that said no --------------------------------------------------------------------------


async def test_one_gate_says_no_and_those_after_it_are_not_asked(store: Store) -> None:
    """R9, R10: no consent, told at birth; nothing later was asked."""
    async with open_shop(store) as shop:
        story = await told(shop, await planned(shop, consent=False))
        assert decisive(story.decisions) == [Gate.CONSENT]
        line = gate(story.decisions, Gate.CONSENT)
        assert "NO_CONSENT" in line.text
        (seen,) = line.consents
        assert (seen.status, seen.scope) == (ConsentStatus.DENIED, ConsentScope.ORDER)
        assert (seen.number, seen.decided, line.passed) == (1, True, False)
        after = [line for line in story.decisions if Gate.CONSENT < line.gate <= Gate.CONTENT]
        assert {line.verdict for line in after} == {Verdict.NOT_ASKED}


async def test_what_ends_an_order_is_told_with_its_time(store: Store) -> None:
    """R10: stops come before consent; nobody was asked about anything else."""
    async with open_shop(store) as shop:
        member = await planned(shop)
        await shop.publish(shop.event("order_cancelled", at="2026-03-01 08:00"))
        story = await told(shop, member)
        assert decisive(story.decisions) == [Gate.STOPS]
        line = gate(story.decisions, Gate.STOPS)
        assert line.values == (("order.order_cancelled", "2026-03-01 08:00:00 UTC"),)
        assert gate(story.decisions, Gate.CONSENT).verdict is Verdict.NOT_ASKED


async def test_a_duplicate_names_who_has_the_place(store: Store) -> None:
    """R2."""
    async with open_shop(store) as shop:
        first = await planned(shop)
        second = await planned(shop, id="again")
        story = await told(shop, second)
        assert decisive(story.decisions) == [Gate.ONCE]
        assert gate(story.decisions, Gate.ONCE).values == (("invitation", first.hex()),)


async def test_a_condition_tells_what_it_read(store: Store) -> None:
    """C3, C13: at accept, and again when due, with what became known since; addresses are masked."""
    text = 'contact.email != "" && event.attributes.tier == "gold"'
    ask = review_rule(condition=FRONTEND.compile(text, Family.SERVICE_REVIEW))
    async with open_shop(store, rule=ask) as shop:
        member = await planned(shop, attributes={"tier": "gold"})
        story = await told(shop, member)
        assert dict(gate(story.decisions, Gate.CONDITION).values) == {
            "contact.email": "a...@shop.example", "event.attributes.tier": "gold",
        }  # fmt: skip
        await shop.publish(shop.event("order_updated", id="news", attributes={"tier": "none"}))
        await shop.until("2026-03-09 00:00")
        story = await told(shop, member)
        assert decisive(story.decisions) == [Gate.CONDITION]
        assert "CONDITION_FALSE" in gate(story.decisions, Gate.CONDITION).text
        assert gate(story.decisions, Gate.CONSENT).verdict is Verdict.PASSED
        assert gate(story.decisions, Gate.CAPS).verdict is Verdict.NOT_ASKED


async def test_content_that_is_gone_is_said_to_be_gone(store: Store) -> None:
    condition = FRONTEND.compile('order.reference != ""', Family.SERVICE_REVIEW)
    async with open_shop(store, rule=review_rule(condition=condition)) as shop:
        story = await told(shop, await planned(shop, consent=False))
        line = gate(story.decisions, Gate.CONDITION)
        assert (line.values, "no longer kept" in line.text) == ((), True)


async def test_skipped_hours_and_lacking_features_have_their_gates(store: Store) -> None:
    hours = MediumHours(
        Medium.EMAIL, quiet=(Window(9 * HOUR_MS, 12 * HOUR_MS),), on_closed=OnClosed.SKIP
    )
    async with open_shop(store, hours=(hours,)) as shop:
        member = await planned(shop)
        await shop.until("2026-03-09 00:00")
        story = await told(shop, member)
        assert decisive(story.decisions) == [Gate.HOURS]
        assert dict(gate(story.decisions, Gate.HOURS).values)["time_zone"] == "Europe/Madrid"
    async with open_shop(rule=review_rule(required_features=["loyalty"])) as shop:
        member = await planned(shop)
        await shop.until("2026-03-09 00:00")
        assert decisive((await told(shop, member)).decisions) == [Gate.FEATURES]


# --- as of the decision -----------------------------------------------------------------------------


async def test_a_later_grant_does_not_change_the_story(store: Store) -> None:
    """R11: a later plain grant revives nothing, and the story tells what was known then."""
    async with open_shop(store) as shop:
        member = await planned(shop, consent=None)
        await shop.until("2026-03-01 10:00")
        await consent(shop, member[:8], ConsentStatus.CONFIRMED)
        line = gate((await told(shop, member)).decisions, Gate.CONSENT)
        assert (line.consents, line.verdict) == ((), Verdict.REFUSED)
        assert "nobody has told of a consent" in line.text


async def test_a_later_withdrawal_does_not_change_the_story(store: Store) -> None:
    """R17: what was sent was sent with consent."""
    async with open_shop(store) as shop:
        member = await planned(shop)
        await shop.until("2026-03-09 00:00")
        await consent(shop, member[:8], ConsentStatus.WITHDRAWN)
        line = gate((await told(shop, member)).decisions, Gate.CONSENT)
        assert [seen.status for seen in line.consents] == [ConsentStatus.GRANTED]
        assert (line.verdict, line.consents[0].decided) == (Verdict.PASSED, True)


async def test_the_line_that_ended_it_is_named(store: Store) -> None:
    """R18, R19: an unsubscribe, with its number in the consent log."""
    async with open_shop(store) as shop:
        member = await planned(shop)
        number = await consent(shop, member[:8], Suppression.UNSUBSCRIBED, purpose=0, medium=0)
        story = await told(shop, member)
        assert story.invitations[0].reference.reason == Reason.UNSUBSCRIBED
        assert decisive(story.decisions) == [Gate.SUPPRESSION]
        (seen,) = gate(story.decisions, Gate.SUPPRESSION).consents
        assert (seen.number, seen.status, seen.decided) == (number, Suppression.UNSUBSCRIBED, True)
        assert (seen.purpose, seen.medium) == (0, 0)


async def test_a_withdrawal_that_ended_it_is_named(store: Store) -> None:
    """R17, R19: it ends as unsubscribing does, and the line says that it was a withdrawal."""
    async with open_shop(store) as shop:
        member = await planned(shop)
        shop.clock.move_to_ms(ms("2026-03-01 10:00"))
        number = await consent(shop, member[:8], ConsentStatus.WITHDRAWN)
        story = await told(shop, member)
        assert story.invitations[0].reference.reason == Reason.UNSUBSCRIBED
        assert decisive(story.decisions) == [Gate.CONSENT]
        seen = [one for one in gate(story.decisions, Gate.CONSENT).consents if one.decided]
        assert [(one.number, one.status) for one in seen] == [(number, ConsentStatus.WITHDRAWN)]


async def test_consents_say_which_of_several_decided(store: Store) -> None:
    """R17: the order's evidence beats that of the account."""
    async with open_shop(store) as shop:
        first = await planned(shop, order="0")
        await consent(shop, first[:8], ConsentStatus.DENIED)
        member = await planned(shop)
        await shop.until("2026-03-09 00:00")
        line = gate((await told(shop, member)).decisions, Gate.CONSENT)
        assert [(seen.scope, seen.decided) for seen in line.consents] == [
            (ConsentScope.ACCOUNT, False), (ConsentScope.ORDER, True),
        ]  # fmt: skip
        assert line.verdict is Verdict.PASSED


async def test_caps_tell_what_they_counted_and_when_they_free(store: Store) -> None:
    """R23, R25, R27: cap, limit, window, the ledger with times and orders, the moment it frees."""
    async with open_shop(store, caps=[one_in_14_days()]) as shop:
        first, held = await planned(shop), await planned(shop, order="2")
        await shop.until("2026-03-10 00:00")
        (seen,) = gate((await told(shop, held)).decisions, Gate.CAPS).caps
        assert (seen.name, seen.limit) == ("accounts/shop/caps/requests", 1)
        assert (seen.window_ms, seen.is_full) == (14 * DAY_MS, True)
        (entry,) = seen.entries
        assert (entry.time_ms, entry.order_reference) == (ms("2026-03-08 09:00"), "1")
        assert seen.free_ms == ms("2026-03-22 09:00")
        await shop.until("2026-03-23 00:00")
        story = await told(shop, held)
        lines = [line for line in story.decisions if line.gate is Gate.CAPS]
        assert [line.verdict for line in lines] == [Verdict.WAITS, Verdict.PASSED]
        assert lines[0].caps == (seen,), "the story of then stays"
        assert lines[1].caps[0].entries == ()
        (of_first,) = gate((await told(shop, first)).decisions, Gate.CAPS).caps
        assert of_first.entries == (), "what was sent after it did not count then"


async def test_a_cap_that_skips_names_the_messages_it_counted(store: Store) -> None:
    """R24: counted by message, the ledger names the invitations."""
    cap = Cap(
        account=ACCOUNT, id="one", scope=CapScope.ACCOUNT, window_ms=DAY_MS, limit=1,
        on_cap=OnCap.SKIP,
    )  # fmt: skip
    async with open_shop(store, caps=[cap]) as shop:
        first, second = await planned(shop), await planned(shop, order="2")
        await shop.until("2026-03-09 00:00")
        story = await told(shop, second)
        assert decisive(story.decisions) == [Gate.CAPS]
        (seen,) = gate(story.decisions, Gate.CAPS).caps
        assert [entry.member for entry in seen.entries] == [first]


async def test_what_was_heard_since_is_told_last(store: Store) -> None:
    """R8, R48: feedback are times on it; what follows from a bounce was not known when it was sent."""
    async with open_shop(store) as shop:
        member = await planned(shop)
        await shop.until("2026-03-09 00:00")
        for kind, at in (
            (FeedbackKind.OPENED, "2026-03-08 12:00"),
            (FeedbackKind.HARD_BOUNCED, "2026-03-08 13:00"),
        ):
            await shop.engine.feedback.record(ACCOUNT, [Told(member, kind, ms(at))])
        for story in (
            await told(shop, member),
            await shop.engine.explainer.event(ACCOUNT, "test", "checkout-1"),
        ):
            heard = [line for line in story.decisions if line.gate is Gate.FEEDBACK]
            assert [(line.values[0][0], line.time_ms) for line in heard] == [
                ("opened", ms("2026-03-08 12:00")), ("hard_bounced", ms("2026-03-08 13:00")),
            ]  # fmt: skip
            own = [line for line in story.decisions if line.member == member]
            assert own[-1].gate is Gate.FEEDBACK
            line = gate(own, Gate.SUPPRESSION)
            assert (line.consents, line.verdict) == ((), Verdict.PASSED)
            assert "INVALID_RECIPIENT" in story.summary
        (reminder,) = [line for line in story.decisions if line.stage == "stop"]
        assert "PARENT_NOT_DELIVERED" in reminder.text


async def test_no_address_is_told_in_full(store: Store) -> None:
    async with open_shop(store, caps=[one_in_14_days()]) as shop:
        member = await planned(shop)
        for until in ("2026-03-01 10:00", "2026-03-09 00:00"):
            await shop.until(until)
            story = await told(shop, member, with_now=True)
            assert "ana@shop.example" not in repr((story.decisions, story.now))
            assert "a...@shop.example" in repr(story.decisions + story.now)


# --- what would happen now --------------------------------------------------------------------------


def outcome(lines: list[Decision]) -> Decision:
    assert lines[-1].gate is Gate.OUTCOME
    return lines[-1]


async def freeze(shop: Shop, member: bytes) -> None:
    await shop.registry.freeze_rule(ACCOUNT, "ask", "madrid")


async def switch_off(shop: Shop, member: bytes) -> None:
    await shop.registry.deactivate(ACCOUNT, "ask", "madrid")


async def tell_more(shop: Shop, member: bytes) -> None:
    await shop.publish(shop.event("order_updated", id="news", attributes={"tier": "none"}))


async def send_another(shop: Shop, member: bytes) -> None:
    gold = {"tier": "gold"}
    await planned(shop, order="0", id="earlier", at="2026-02-22 10:00", attributes=gold)
    await shop.engine.advance_to(shop.clock.now_ms() + HOUR_MS)


async def block(shop: Shop, member: bytes) -> None:
    new = Block(account=ACCOUNT, id="no", kind=BlockKind.DOMAIN, value="shop.example")
    await shop.registry.create_block(new)


async def nothing(shop: Shop, member: bytes) -> None:
    pass


TIER = FRONTEND.compile('event.attributes.tier == "gold"', Family.SERVICE_REVIEW)
QUIET = MediumHours(Medium.EMAIL, quiet=(Window(20 * HOUR_MS, 9 * HOUR_MS),))


@pytest.mark.parametrize(
    ("happens", "at", "wanted", "verdict"),
    [
        (nothing, "2026-03-08 09:00", State.SENT, Verdict.PASSED),
        (freeze, "2026-03-08 09:00", State.SCHEDULED, Verdict.WAITS),
        (switch_off, "2026-03-08 09:00", State.CANCELLED, Verdict.REFUSED),
        (tell_more, "2026-03-08 09:00", State.SKIPPED, Verdict.REFUSED),
        (block, "2026-03-08 09:00", State.SKIPPED, Verdict.REFUSED),
        (send_another, "2026-03-08 09:00", State.SCHEDULED, Verdict.WAITS),
        (nothing, "2026-03-08 23:00", State.SCHEDULED, Verdict.WAITS),
        (nothing, "2026-05-08 09:00", State.EXPIRED, Verdict.REFUSED),
    ],
)  # fmt: skip
async def test_what_is_said_of_now_is_what_happens(
    store: Store, happens: object, at: str, wanted: State, verdict: Verdict
) -> None:
    """R10, R12: the dry run and the real one agree, and the dry run changes nothing."""
    ask = review_rule(condition=TIER)
    async with open_shop(store, rule=ask, caps=[one_in_14_days()], hours=(QUIET,)) as shop:
        member = await planned(shop, attributes={"tier": "gold"})
        await happens(shop, member)  # type: ignore[operator]
        shop.clock.move_to_ms(ms(at))
        before = await state_of(shop, member)
        said = (await told(shop, member, with_now=True)).now
        assert await state_of(shop, member) == before
        assert [line.gate for line in said] == [*ASKED, Gate.OUTCOME]
        assert outcome(said).verdict is verdict
        await shop.engine.advance_to(ms(at))
        ref = (await told(shop, member)).invitations[0].reference
        assert ref.state == wanted
        if verdict is Verdict.REFUSED:
            assert dict(outcome(said).values) == {
                "state": State(ref.state).name, "reason": Reason(ref.reason).name,
            }  # fmt: skip
            assert decisive(said)[0] is GATE_OF[Reason(ref.reason)]


async def state_of(shop: Shop, member: bytes) -> object:
    store, key = shop.engine.store, member[:8]
    partition = partition_of(key, store.meta.partition_count)
    return (
        await store.contact(partition, key),
        await store.notes(partition, [member]),
        await store.counters([partition]),
        await shop.registry.refresh(),
    )


async def test_a_block_is_named_now_and_afterwards(store: Store) -> None:
    """R10: suppressions and block lists are one gate."""
    async with open_shop(store) as shop:
        member = await planned(shop)
        await block(shop, member)
        said = gate((await told(shop, member, with_now=True)).now, Gate.SUPPRESSION)
        assert (said.verdict, dict(said.values)["block"]) == (
            Verdict.REFUSED, "accounts/shop/blocks/no",
        )  # fmt: skip
        await shop.until("2026-03-09 00:00")
        line = gate((await told(shop, member)).decisions, Gate.SUPPRESSION)
        assert (line.verdict, line.values) == (said.verdict, said.values)
        assert "SUPPRESSED" in line.text


async def test_now_of_what_has_ended_is_nothing(store: Store) -> None:
    async with open_shop(store) as shop:
        member = await planned(shop)
        assert (await told(shop, member)).now == []
        await shop.until("2026-03-09 00:00")
        (line,) = (await told(shop, member, with_now=True)).now
        assert line.text == "nothing is left to decide: it has ended"


async def test_now_tells_of_consent_that_went_away(store: Store) -> None:
    """R10, R17: evidence that has expired by now."""
    async with open_shop(store) as shop:
        first = await planned(shop, order="0", consent=None)
        end_ms = ms("2026-03-05 00:00")
        await consent(shop, first[:8], ConsentStatus.GRANTED, expire_ms=end_ms)
        member = await planned(shop, consent=None)
        line = outcome((await told(shop, member, with_now=True)).now)
        assert line.verdict is Verdict.PASSED
        await shop.until("2026-03-05 00:00")
        said = (await told(shop, member, with_now=True)).now
        assert dict(outcome(said).values)["reason"] == "NO_CONSENT"
        (seen,) = gate(said, Gate.CONSENT).consents
        assert (seen.expire_ms, seen.decided) == (end_ms, False)


async def test_now_of_an_event_is_told_by_the_rules_of_today(store: Store) -> None:
    """R7: also of one that led to nothing; and nothing is planned by asking."""
    ask = review_rule(condition=TIER)
    async with open_shop(store, rule=ask) as shop:
        await shop.publish(shop.event(attributes={"tier": "none"}))
        errors = shop.engine.stats.condition_errors
        explain = shop.engine.explainer.event
        said = (await explain(ACCOUNT, "test", "checkout-1", with_now=True)).now
        assert [line.verdict for line in said] == [Verdict.REFUSED] * 2
        assert dict(said[0].values) == {"event.attributes.tier": "none"}
        later = [Step("invite", Wait(days=9), [Action(medium=Medium.EMAIL)])]
        await shop.registry.update_rule(review_rule(steps=later))
        again = await explain(ACCOUNT, "test", "checkout-1", with_now=True)
        (line,) = again.now
        assert line.time is not None
        assert line.time.due_ms == ms("2026-03-10 09:00")
        assert "rule ask (revision 2) would plan step invite" in line.text
        assert (again.invitations, shop.engine.stats.condition_errors) == ([], errors)


async def test_an_event_without_content_cannot_be_planned_again(store: Store) -> None:
    async with open_shop(store) as shop:
        await shop.publish(shop.event(consent=False))
        explain = shop.engine.explainer.event
        said = (await explain(ACCOUNT, "test", "checkout-1", with_now=True)).now
        assert "not kept" in said[0].text
        assert said[0].verdict is Verdict.NOT_ASKED
