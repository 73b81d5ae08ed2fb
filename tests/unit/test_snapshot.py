"""The compiled view: what an event meets, what it stops, which caps hold, what falls due."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from msgspec.structs import replace

from core.antispam.caps import check, invitation_tag
from core.bounds import DAY_MS
from core.errors import StaleRegistry
from core.model import ActivationState, Family, Medium, Purpose, Reason, State
from core.records import Stamp
from core.registry.edits import default_caps
from core.registry.resources import CapScope, CapSteps, CapUnit, OnCap, Rule
from core.registry.rule_parts import StopKey
from core.registry.snapshot import Snapshot
from core.registry.store import RegistryState
from tests.support.configuration import (
    ACCOUNT,
    EveryRuleMatches,
    activation,
    cap,
    channel,
    event_type,
    rule,
    state_of,
    step,
)

ES = "accounts/shop/channels/es"
FR = "accounts/shop/channels/fr"
CHECKOUT = event_type("checkout", 1)
DELIVERY = event_type("delivery", 2)
CANCELLED = event_type("order_cancelled", 3)
RETURN = event_type("return", 4)
REVIEWED = event_type("review_submitted", 5)
COUNTERS = {"channel": 9, "rule": 9}
INACTIVE = (State.CANCELLED, Reason.RULE_INACTIVE)


def snapshot(state: RegistryState, before: Snapshot | None = None) -> Snapshot:
    return Snapshot(state, before, EveryRuleMatches)


def matched(view: Snapshot, channel_name: str, type_id: str) -> list[str]:
    matcher = view.matcher(channel_name, type_id)
    assert isinstance(matcher, EveryRuleMatches)
    return [found.id for found in matcher.rules]


# --- lookups --------------------------------------------------------------------------------------


def test_resources_are_found_by_name_and_number_and_listed_by_id() -> None:
    es, fr = channel("es", 1), channel("fr", 2)
    view = snapshot(state_of(fr, es, DELIVERY, CHECKOUT, rule("b", 2), rule("a", 1)))
    assert view.channel_by_name[ES] == view.channel_by_number[1] == view.channel(ACCOUNT, "es")
    assert view.channels(ACCOUNT) == (es, fr)
    assert view.event_types(ACCOUNT) == (CHECKOUT, DELIVERY)
    assert [found.id for found in view.rules(ACCOUNT)] == ["a", "b"]
    assert view.rule_by_number(2) == view.rule(ACCOUNT, "b")
    assert view.channels("another") == ()
    assert view.channel("another", "es") is None


def test_a_deleted_rule_is_found_by_its_number_only() -> None:
    view = snapshot(state_of(rule("gone", 1, is_deleted=True)))
    assert view.rule(ACCOUNT, "gone") is None
    assert view.rules(ACCOUNT) == ()
    found = view.rule_by_number(1)
    assert found is not None
    assert found.is_deleted


def test_earlier_revisions_stay_readable() -> None:
    """A27: what waits keeps the revision with which it was planned."""
    old, new = rule("a", 1, revision=1), rule("a", 1, revision=2, priority=7)
    view = snapshot(state_of(new, earlier=[old]))
    assert view.rule_revision(1, 1) == old
    assert view.rule_revision(1, 2) == new
    assert view.rule_revision(1, 3) is None


def test_activations_are_listed_by_channel_and_rule() -> None:
    view = snapshot(
        state_of(
            channel("fr", 2), channel("es", 1), rule("b", 2), rule("a", 1),
            activation("a", "fr"), activation("b", "es"), activation("a", "es"),
        )
    )  # fmt: skip
    found = [(each.channel, each.rule) for each in view.activations(ACCOUNT)]
    assert found == [("es", "a"), ("es", "b"), ("fr", "a")]
    assert [each.rule for each in view.activations(ACCOUNT, "es")] == ["a", "b"]
    assert view.activations(ACCOUNT, "nowhere") == ()
    assert [each.channel for each in view.activations_of(rule("a", 1))] == ["es", "fr"]


# --- what an event meets --------------------------------------------------------------------------


def test_only_active_rules_of_the_channel_and_type_are_matched() -> None:
    """A12, A13, A26, B12: rules exist without being active, and are active by channel."""
    view = snapshot(
        state_of(
            channel("es", 1), channel("fr", 2),
            rule("active", 1, Family.NOTIFICATION), rule("paused", 2, Family.NOTIFICATION),
            rule("other-type", 3, Family.NOTIFICATION, event_type="delivery"),
            rule("idle", 4, Family.NOTIFICATION), rule("second", 5, Family.NOTIFICATION),
            activation("second"), activation("active"), activation("other-type"),
            activation("paused", state=ActivationState.PAUSED),
            activation("idle", "fr"),
        )
    )  # fmt: skip
    assert matched(view, ES, "checkout") == ["active", "second"]
    assert matched(view, ES, "delivery") == ["other-type"]
    assert matched(view, FR, "checkout") == ["idle"]
    assert matched(view, ES, "unknown") == matched(view, "nowhere", "checkout") == []


def test_the_same_rules_are_compiled_once() -> None:
    compiled: list[Sequence[Rule]] = []

    def factory(rules: Sequence[Rule]) -> EveryRuleMatches:
        compiled.append(rules)
        return EveryRuleMatches(rules)

    es, fr, both = channel("es", 1), channel("fr", 2), rule("a", 1)
    state = state_of(es, fr, both, activation("a", "es"), activation("a", "fr"))
    first = Snapshot(state, None, factory)
    assert first.matcher(ES, "checkout") is first.matcher(ES, "checkout")
    assert first.matcher(FR, "checkout") is first.matcher(ES, "checkout")
    assert len(compiled) == 1

    renamed = state_of(es, fr, both, activation("a", "es"), activation("a", "fr"), CHECKOUT)
    second = Snapshot(renamed, first, factory)
    assert second.matcher(ES, "checkout") is first.matcher(ES, "checkout")
    assert len(compiled) == 1

    edited = state_of(es, fr, replace(both, revision=2), activation("a", "es"), earlier=[both])
    third = Snapshot(edited, second, factory)
    assert third.matcher(ES, "checkout") is not first.matcher(ES, "checkout")
    assert len(compiled) == 2


def test_what_has_not_changed_is_not_decoded_again() -> None:
    es, first = channel("es", 1), rule("a", 1)
    before = snapshot(state_of(es, first, CHECKOUT))
    after = snapshot(state_of(es, replace(first, revision=2), CHECKOUT), before)
    assert after.channel_by_name[ES] is before.channel_by_name[ES]
    assert after.rule_by_number(1) is not before.rule_by_number(1)


# --- what an event stops --------------------------------------------------------------------------


def test_stops_name_the_rules_whose_stop_when_names_the_type() -> None:
    """R39: every state counts, since what waits outlives its rule's activity."""
    stops = ["order_cancelled", "return", "review_submitted", "payment_received", "refund"]
    view = snapshot(
        state_of(
            channel("es", 1), channel("fr", 2),
            rule("a", 1, stop_when=stops), rule("b", 2, Family.PRODUCT_REVIEW, stop_when=stops[:1]),
            rule("never-here", 3, stop_when=stops),
            rule("gone", 4, stop_when=stops, is_deleted=True),
            activation("a", state=ActivationState.SUPERSEDED),
            activation("b", state=ActivationState.INACTIVE),
            activation("never-here", "fr"), activation("gone"),
        )
    )  # fmt: skip
    assert view.stops(ES, "order_cancelled") == (
        (1, StopKey.ORDER, Reason.ORDER_CANCELLED),
        (2, StopKey.ORDER, Reason.ORDER_CANCELLED),
    )
    reasons = {stop: view.stops(ES, stop)[0][2] for stop in stops}
    assert reasons == {
        "order_cancelled": Reason.ORDER_CANCELLED,
        "return": Reason.RETURNED,
        "review_submitted": Reason.REVIEWED,
        "payment_received": Reason.PURCHASED,
        "refund": Reason.ORDER_CANCELLED,
    }
    assert view.stops(ES, "checkout") == view.stops("nowhere", "return") == ()


def test_tombstones_never_stop_what_the_same_type_triggered() -> None:
    """R39: a rule on returns that a return stops is planned all the same."""
    wanted = rule("a", 1, event_type="return", stop_when=["return", "review_submitted", "unknown"])
    view = snapshot(state_of(channel(), wanted, activation("a"), RETURN, REVIEWED))
    assert view.stop_numbers(wanted) == ((5,), (Reason.REVIEWED,))
    assert view.stops(ES, "return") == ((1, Family.SERVICE_REVIEW, Reason.RETURNED),)


# --- what falls due -------------------------------------------------------------------------------


def test_an_active_or_paused_rule_goes_on() -> None:
    for state in (ActivationState.ACTIVE, ActivationState.PAUSED):
        for family in Family:
            view = snapshot(
                state_of(channel(), CHECKOUT, rule("a", 1, family), activation("a", state=state))
            )
            assert view.verdict(1, 1, 0, 1) is None


def test_a_deleted_rule_ends_what_waits() -> None:
    """d7, R9: the tombstone answers for it, whatever else holds the slot."""
    view = snapshot(
        state_of(
            channel(), CHECKOUT, rule("gone", 1, is_deleted=True), rule("next", 2),
            activation("next"), activation("gone", state=ActivationState.INACTIVE),
        )
    )  # fmt: skip
    assert view.verdict(1, 1, 0, 1) == (State.CANCELLED, Reason.RULE_DELETED)
    assert view.verdict(2, 1, 0, 1) is None


def test_an_inactive_event_type_ends_what_waits_until_it_is_active_again() -> None:
    """A11, h4."""
    off = snapshot(
        state_of(channel(), replace(CHECKOUT, active=False), rule("a", 1), activation("a"))
    )
    assert off.verdict(1, 1, 0, 1) == (State.CANCELLED, Reason.EVENT_TYPE_INACTIVE)
    on = snapshot(state_of(channel(), CHECKOUT, rule("a", 1), activation("a")), off)
    assert on.verdict(1, 1, 0, 1) is None


def test_a_step_is_switched_off_in_the_newest_revision_also_for_older_ones() -> None:
    """R40: `enabled` is live and never pinned; all else is pinned."""
    old = rule("a", 1, steps=[step("first"), step("second"), step("third")])
    new = replace(old, revision=2, steps=[step("second", enabled=False), step("first")])
    view = snapshot(state_of(channel(), CHECKOUT, new, activation("a"), earlier=[old]))
    assert view.verdict(1, 1, 0, 1) is None
    assert view.verdict(1, 1, 1, 1) == (State.CANCELLED, Reason.STEP_OFF)
    assert view.verdict(1, 1, 2, 1) is None, "a step that was taken out is pinned"
    assert view.verdict(1, 2, 0, 1) == (State.CANCELLED, Reason.STEP_OFF)


def test_a_superseded_rule_goes_on_while_its_slot_is_held() -> None:
    """R14, h5: superseded runs on; once the slot is empty, what waits is cancelled."""
    superseded = activation("old", state=ActivationState.SUPERSEDED)
    for state, expected in {
        ActivationState.ACTIVE: None,
        ActivationState.PAUSED: None,
        ActivationState.INACTIVE: INACTIVE,
    }.items():
        view = snapshot(
            state_of(
                channel(), CHECKOUT, rule("old", 1), rule("new", 2), superseded,
                activation("new", state=state),
            )
        )  # fmt: skip
        assert view.verdict(1, 1, 0, 1) == expected


def test_a_rule_switched_off_goes_on_if_another_took_its_slot() -> None:
    """h5: RULE_INACTIVE is for rules without a successor."""
    off = activation("old", state=ActivationState.INACTIVE)
    alone = snapshot(state_of(channel(), CHECKOUT, rule("old", 1), off))
    assert alone.verdict(1, 1, 0, 1) == INACTIVE
    followed = snapshot(
        state_of(channel(), CHECKOUT, rule("old", 1), rule("new", 2), off, activation("new"))
    )
    assert followed.verdict(1, 1, 0, 1) is None


def test_a_slot_is_one_channel_and_event_type_and_family() -> None:
    """h1, R37: another type, channel or family holds another slot; products have one per channel."""
    service, product = rule("service", 1), rule("product", 2, Family.PRODUCT_REVIEW)
    base = [
        channel("es", 1), channel("fr", 2), CHECKOUT, DELIVERY, service, product,
        activation("service", state=ActivationState.SUPERSEDED),
        activation("product", state=ActivationState.SUPERSEDED),
    ]  # fmt: skip
    other_type = rule("x", 3, event_type="delivery")
    view = snapshot(state_of(*base, other_type, activation("x")))
    assert (view.verdict(1, 1, 0, 1), view.verdict(2, 1, 0, 1)) == (INACTIVE, INACTIVE)
    other_channel = rule("x", 3)
    view = snapshot(state_of(*base, other_channel, activation("x", "fr")))
    assert (view.verdict(1, 1, 0, 1), view.verdict(2, 1, 0, 1)) == (INACTIVE, INACTIVE)
    product_on_delivery = rule("x", 3, Family.PRODUCT_REVIEW, event_type="delivery")
    view = snapshot(state_of(*base, product_on_delivery, activation("x")))
    assert (view.verdict(1, 1, 0, 1), view.verdict(2, 1, 0, 1)) == (INACTIVE, None)


def test_what_waits_belongs_to_the_slot_in_which_it_was_planned() -> None:
    """R14: a rule that has moved to another event type leaves its earlier runs in the old slot."""
    old = rule("moved", 1)
    new = replace(old, revision=2, event_type="delivery")
    base = [channel(), CHECKOUT, DELIVERY, new, rule("on-delivery", 2, event_type="delivery")]
    off = activation("moved", state=ActivationState.SUPERSEDED)
    view = snapshot(state_of(*base, off, activation("on-delivery"), earlier=[old]))
    assert view.verdict(1, 1, 0, 1) == INACTIVE
    assert view.verdict(1, 2, 0, 1) is None


def test_a_free_family_stands_for_itself() -> None:
    """h1: there is no successor where any number may be active."""
    view = snapshot(
        state_of(
            channel(), CHECKOUT, rule("a", 1, Family.AUTOMATION), rule("b", 2, Family.AUTOMATION),
            activation("a", state=ActivationState.INACTIVE), activation("b"),
        )
    )  # fmt: skip
    assert view.verdict(1, 1, 0, 1) == INACTIVE
    assert view.verdict(2, 1, 0, 1) is None


def test_what_was_planned_with_something_newer_is_not_judged() -> None:
    view = snapshot(state_of(channel(), CHECKOUT, rule("a", 1), activation("a"), counters=COUNTERS))
    for unknown in ((10, 1, 0, 1), (1, 2, 0, 1), (1, 1, 0, 10)):
        with pytest.raises(StaleRegistry):
            view.verdict(*unknown)


def test_what_waits_for_a_deleted_channel_is_cancelled() -> None:
    view = snapshot(state_of(CHECKOUT, rule("a", 1), counters=COUNTERS))
    assert view.verdict(1, 1, 0, 5) == INACTIVE


# --- caps -----------------------------------------------------------------------------------------


def caps_for(
    view: Snapshot,
    purpose: Purpose = Purpose.REVIEW,
    medium: Medium = Medium.EMAIL,
    is_follow_up: bool = False,
    channel_number: int = 1,
    rule_number: int = 1,
) -> list[str]:
    rules = view.caps_for(ACCOUNT, channel_number, rule_number, purpose, medium, is_follow_up).gate
    found = [view.cap_by_ledger(each.ledger) for each in rules]
    return [each.id for each in found if each is not None]


def default_view() -> Snapshot:
    caps = [
        replace(each, number=number) for number, each in enumerate(default_caps(ACCOUNT), start=1)
    ]
    return snapshot(state_of(*caps))


def test_default_caps_look_at_what_they_should() -> None:
    """h7, R23: a reminder is no second request, but it is a message."""
    view = default_view()
    assert caps_for(view) == ["messages", "review-requests"]
    assert caps_for(view, is_follow_up=True) == ["messages"]
    assert caps_for(view, Purpose.MARKETING) == ["messages"]
    assert caps_for(view, Purpose.MARKETING, Medium.SMS) == ["marketing-sms", "messages"]
    assert caps_for(view, Purpose.TRANSACTIONAL) == []
    assert caps_for(view, Purpose.OPERATIONAL) == []


def test_default_caps_are_those_of_the_ruling() -> None:
    """h6, h7, R23: what defers, what skips, what counts an order once."""
    view = default_view()
    messages, requests = view.caps_for(ACCOUNT, 1, 1, Purpose.REVIEW, Medium.EMAIL, False).gate
    assert (requests.limit, requests.window_ms, requests.is_order_unit) == (1, 14 * DAY_MS, True)
    assert (messages.limit, messages.window_ms, messages.is_order_unit) == (5, 30 * DAY_MS, False)
    assert not requests.is_skip
    assert not messages.is_skip
    sms, messages = view.caps_for(ACCOUNT, 1, 1, Purpose.MARKETING, Medium.SMS, False).gate
    assert (sms.limit, sms.window_ms, sms.is_skip) == (1, DAY_MS, True)
    assert messages.is_skip


def test_no_limit_is_no_cap_and_zero_blocks() -> None:
    """R24."""
    view = snapshot(state_of(cap("none", 1, limit=None), cap("block", 2, limit=0)))
    assert caps_for(view) == ["block"]
    rules = view.caps_for(ACCOUNT, 1, 1, Purpose.REVIEW, Medium.EMAIL, False).gate
    verdict = check([], rules, invitation_tag(1), bytes(8), 0, DAY_MS).verdict
    assert verdict.name == "SKIP"


def test_selectors_narrow_a_cap() -> None:
    view = snapshot(
        state_of(
            cap("first", 1, steps=CapSteps.FIRST), cap("later", 2, steps=CapSteps.FOLLOW_UP),
            cap("sms", 3, media=[Medium.SMS]), cap("transactional", 4, purposes=[Purpose.TRANSACTIONAL]),
        )
    )  # fmt: skip
    assert caps_for(view) == ["first"]
    assert caps_for(view, is_follow_up=True) == ["later"]
    assert caps_for(view, medium=Medium.SMS) == ["first", "sms"]
    assert caps_for(view, Purpose.TRANSACTIONAL) == ["transactional"]


@pytest.mark.parametrize("scope", [one for one in CapScope if one is not CapScope.PRODUCT])
def test_a_scope_decides_what_shares_a_ledger(scope: CapScope) -> None:
    """R24: each channel, purpose, rule or medium for itself, or all together."""
    view = snapshot(state_of(cap("a", 1, scope=scope)))
    base = {"channel_number": 1, "rule_number": 1, "purpose": 1, "medium": 1}
    varied = {"channel_number": CapScope.CHANNEL, "rule_number": CapScope.RULE,
              "purpose": CapScope.PURPOSE, "medium": CapScope.MEDIUM}  # fmt: skip

    def ledger(**values: int) -> bytes:
        (found,) = view.caps_for(ACCOUNT, is_follow_up=False, **values).gate
        return found.ledger

    assert len(ledger(**base)) == 4
    for name, own_scope in varied.items():
        assert (ledger(**base) != ledger(**{**base, name: 2})) == (scope == own_scope)


def test_two_caps_never_share_a_ledger() -> None:
    view = snapshot(state_of(cap("a", 1), cap("b", 2)))
    rules = view.caps_for(ACCOUNT, 1, 1, Purpose.REVIEW, Medium.EMAIL, False).gate
    assert len({each.ledger for each in rules}) == 2


@pytest.mark.parametrize("scope", [one for one in CapScope if one is not CapScope.PRODUCT])
def test_a_ledger_leads_back_to_its_cap_in_another_process(scope: CapScope) -> None:
    state = state_of(channel("es", 1), rule("a", 1), cap("a", 1, scope=scope), cap("b", 2))
    (written, _) = snapshot(state).caps_for(ACCOUNT, 1, 1, Purpose.REVIEW, Medium.EMAIL, False).gate
    found = snapshot(state).cap_by_ledger(written.ledger)
    assert found is not None
    assert found.id == "a"
    assert snapshot(state).cap_by_ledger(b"none") is None


def test_an_order_is_one_review_request() -> None:
    """R23: service, product, both media and the reminder of one order are one unit."""
    view = snapshot(
        state_of(cap("a", 1, unit=CapUnit.ORDER, on_cap=OnCap.DEFER, window_ms=14 * DAY_MS))
    )
    rules = view.caps_for(ACCOUNT, 1, 1, Purpose.REVIEW, Medium.EMAIL, False).gate
    sent = [Stamp(rules[0].ledger, b"order--1", 0)]
    same = check(sent, rules, invitation_tag(2), b"order--1", DAY_MS, 30 * DAY_MS)
    other = check(sent, rules, invitation_tag(2), b"order--2", DAY_MS, 30 * DAY_MS)
    assert same.verdict.name == "PASS"
    assert (other.verdict.name, other.until_ms) == ("DEFER", 14 * DAY_MS)
