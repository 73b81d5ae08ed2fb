"""Consents, suppressions, double opt-in, stop words and blocks in the life of a shop, on both stores."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from core.bounds import DAY_MS
from core.engine.consent_documents import ConsentDocument, unpacked
from core.engine.consents import Statement
from core.engine.double_opt_in import Request, Requested
from core.engine.reach import Whom
from core.errors import FailedPrecondition, InvalidField, LimitExceeded, NotFound
from core.model import (
    ConsentStatus,
    Contact,
    Event,
    Evidence,
    LegalBasis,
    Medium,
    Purpose,
    Reason,
    State,
    Suppression,
)
from core.partitions import partition_of
from core.ports import Store
from core.registry.blocks import Block, BlockKind
from core.registry.rule_parts import Action, Step, Wait
from tests.support.shop import ACCOUNT, MADRID, Shop, ms, open_shop, review_rule

ANA, PHONE = "ana@shop.example", "+34600000001"
REVIEW, MARKETING = int(Purpose.REVIEW), int(Purpose.MARKETING)
EMAIL, SMS, WHATSAPP = int(Medium.EMAIL), int(Medium.SMS), int(Medium.WHATSAPP)
BOTH = (Medium.EMAIL, Medium.SMS)
BY_EMAIL = Whom(contact=Contact(email=ANA))
BY_PHONE = Whom(contact=Contact(phone=PHONE))
PROOF = ConsentDocument(collection_point="https://shop.example/form", text_version="v1")
UNSUBSCRIBED = (State.SKIPPED, Reason.UNSUBSCRIBED)
SUPPRESSED = (State.SKIPPED, Reason.SUPPRESSED)


def said(purpose: int = REVIEW, medium: int = EMAIL, **fields: object) -> Statement:
    return Statement(purpose, medium, **fields)  # type: ignore[arg-type]


def both_media(**fields: object) -> object:
    wait = Wait(days=7, time_of_day_ms=10 * 3_600_000)
    actions = [Action(medium=Medium.EMAIL), Action(medium=Medium.SMS, body="Reply STOP to end.")]
    return review_rule(steps=[Step(id="invite", wait=wait, actions=actions)], **fields)


async def state_of(shop: Shop, member: bytes) -> tuple[int, int]:
    view = await shop.engine.reader.get(ACCOUNT, member)
    assert view is not None
    return view.reference.state, view.reference.reason


def order(shop: Shop, reference: str, email: str = ANA, phone: str = "") -> Event:
    """A checkout with boxes ticked for e-mail and SMS."""
    now_ms = shop.clock.now_ms()
    return shop.event(
        order=reference, contact=Contact(email=email, phone=phone),
        consents=[Evidence(REVIEW, medium, True, now_ms) for medium in (EMAIL, SMS)],
    )  # fmt: skip


# --- evidence ---------------------------------------------------------------------------------------


async def test_what_an_event_tells_is_kept_whole(store: Store) -> None:
    """g1, B2: with its expiry, as a line of the log."""
    async with open_shop(store) as shop:
        at = shop.clock.now_ms()
        told = Evidence(
            REVIEW, EMAIL, True, at, "https://shop.example/checkout", "v7", LegalBasis.CONSENT,
            at + DAY_MS, "es", "ab" * 32, "203.0.113.7", "Mozilla/5.0",
        )  # fmt: skip
        (answer,) = await shop.publish(shop.event(consents=[told]))
        (line,) = await shop.engine.consents.history(answer.contact_key, 0, 10)
        assert (line.number, line.status, line.time_ms) == (1, ConsentStatus.GRANTED, at)
        assert line.expire_ms == at + DAY_MS
        assert unpacked(line.document) == ConsentDocument(
            collection_point="https://shop.example/checkout", text_version="v7", source="event",
            legal_basis=LegalBasis.CONSENT, text_sha256="ab" * 32, locale="es",
            ip_address="203.0.113.7", user_agent="Mozilla/5.0",
            account=ACCOUNT,
        )  # fmt: skip
        (view,) = await shop.engine.consents.list(ACCOUNT, answer.contact_key)
        assert (view.is_expired, view.proof) == (False, unpacked(line.document))
        await shop.until("2026-03-03 09:00")
        (view,) = await shop.engine.consents.list(ACCOUNT, answer.contact_key)
        assert view.is_expired
        await shop.until("2026-03-20 09:00")
        assert shop.mails() == []
        assert await shop.ends() == {(State.SKIPPED, Reason.NO_CONSENT): 1}


async def test_the_log_only_grows_and_is_read_in_pages(store: Store) -> None:
    """g1: append-only."""
    async with open_shop(store) as shop:
        book = shop.engine.consents
        view = await book.grant(ACCOUNT, BY_EMAIL, said(document=PROOF))
        key = view.contact_key
        first = await book.history(key, 0, 10)
        await book.withdraw(ACCOUNT, BY_EMAIL, said())
        await book.suppress(ACCOUNT, BY_EMAIL, said(0, 0), Suppression.BLOCKED)
        await book.lift(ACCOUNT, BY_EMAIL, said(0, 0))
        lines = await book.history(key, 0, 10)
        assert lines[:1] == first
        assert [line.number for line in lines] == [1, 2, 3, 4]
        assert [line.status for line in lines] == [
            ConsentStatus.CONFIRMED, ConsentStatus.WITHDRAWN, Suppression.BLOCKED,
            ConsentStatus.LIFTED,
        ]  # fmt: skip
        assert await book.history(key, 1, 2) == lines[1:3]
        assert await book.history(key, 4, 2) == []


async def test_what_was_said_in_the_future_was_said_now(store: Store) -> None:
    """R17: a clock that is fast must not win for ever."""
    async with open_shop(store) as shop:
        book, now_ms = shop.engine.consents, shop.clock.now_ms()
        view = await book.grant(ACCOUNT, BY_EMAIL, said(time_ms=now_ms + DAY_MS, document=PROOF))
        assert view.evidence_ms == now_ms
        view, _ = await book.withdraw(ACCOUNT, BY_EMAIL, said(time_ms=now_ms + 1))
        assert (view.withdraw_ms, view.status) == (now_ms, ConsentStatus.WITHDRAWN)


# --- unsubscribing ----------------------------------------------------------------------------------


async def test_r18_a_ticked_box_ends_a_withdrawal_but_no_unsubscribe(store: Store) -> None:
    """R18, A2: the same with an unsubscribe and with a mere withdrawal."""
    async with open_shop(store) as shop:
        book, other = shop.engine.consents, Whom(contact=Contact(email="eva@shop.example"))
        await shop.publish(shop.event(), shop.event(order="2", email="eva@shop.example"))
        await book.unsubscribe(ACCOUNT, BY_EMAIL, [said()])
        await book.withdraw(ACCOUNT, other, said())
        assert await shop.ends() == {UNSUBSCRIBED: 2}
        await shop.until("2026-03-02 09:00")
        await shop.publish(shop.event(order="3"), shop.event(order="4", email="eva@shop.example"))
        await shop.until("2026-03-09 23:00")
        assert [to for _, to, _ in shop.mails()] == ["eva@shop.example"]
        assert (await shop.ends())[UNSUBSCRIBED] == 3


async def test_r18_a_grant_with_evidence_ends_an_unsubscribe(store: Store) -> None:
    """R18; but what it ended does not come back (R11)."""
    async with open_shop(store) as shop:
        book = shop.engine.consents
        await shop.publish(shop.event())
        await book.unsubscribe(ACCOUNT, BY_EMAIL, [said()])
        await shop.until("2026-03-02 09:00")
        view = await book.grant(ACCOUNT, BY_EMAIL, said(document=PROOF))
        assert view.status == ConsentStatus.CONFIRMED
        await shop.publish(shop.event(order="2"))
        await shop.until("2026-03-12 09:00")
        assert len(shop.mails()) == 1
        assert (await shop.ends())[UNSUBSCRIBED] == 1


async def test_being_a_customer_ends_no_unsubscribe(store: Store) -> None:
    """g2, g4: an objection is absolute; the notice to customers is no new consent."""
    async with open_shop(store) as shop:
        book = shop.engine.consents
        customer = ConsentDocument(
            collection_point="checkout", text_version="v1",
            legal_basis=LegalBasis.EXISTING_CUSTOMER,
        )  # fmt: skip
        view = await book.grant(ACCOUNT, BY_EMAIL, said(document=customer))
        assert view.status == ConsentStatus.ASSUMED
        await shop.publish(shop.event(consent=None))
        assert await shop.pending() == 1, "it is enough to be written to"
        await book.unsubscribe(ACCOUNT, BY_EMAIL, [said()])
        await shop.until("2026-03-02 09:00")
        await book.grant(ACCOUNT, BY_EMAIL, said(document=customer))
        await shop.publish(shop.event(order="2", consent=None))
        await shop.until("2026-03-12 09:00")
        assert shop.mails() == []
        assert await shop.ends() == {UNSUBSCRIBED: 2}


async def test_an_unsubscribe_is_one_write(store: Store) -> None:
    """R18, R19: all purposes asked for, withdrawal and suppression, in one step."""
    async with open_shop(store) as shop:
        written = await shop.engine.consents.unsubscribe(
            ACCOUNT, BY_EMAIL, [said(REVIEW), said(MARKETING)]
        )
        lines = await shop.engine.consents.history(written.contact_keys[0], 0, 10)
        assert [(line.purpose, line.status) for line in lines] == [
            (REVIEW, ConsentStatus.WITHDRAWN), (REVIEW, Suppression.UNSUBSCRIBED),
            (MARKETING, ConsentStatus.WITHDRAWN), (MARKETING, Suppression.UNSUBSCRIBED),
        ]  # fmt: skip
        assert len({line.write_ms for line in lines}) == 1


# --- suppressions -----------------------------------------------------------------------------------


async def test_a_suppression_ends_what_it_covers_and_nothing_else(store: Store) -> None:
    """R10, R12, g10: and what comes later is skipped, consent or not."""
    async with open_shop(store) as shop:
        book = shop.engine.consents
        other = await shop.add_channel("sevilla", "ask")
        await shop.publish(shop.event(), shop.event(order="2", channel=other))
        view, written = await book.suppress(
            ACCOUNT, BY_EMAIL, said(channel_name=MADRID, document=ConsentDocument(reason="asked")),
            Suppression.BLOCKED,
        )  # fmt: skip
        assert (view.channel_name, view.kind) == (MADRID, Suppression.BLOCKED)
        assert view.proof is not None
        assert view.proof.reason == "asked"
        assert len(written.ended) == 1
        assert await state_of(shop, written.ended[0]) == SUPPRESSED
        (answer,) = await shop.publish(shop.event(order="3"))
        assert await state_of(shop, answer.members[0]) == SUPPRESSED
        await shop.until("2026-03-09 23:00")
        assert len(shop.mails()) == 1


async def test_only_lifting_ends_a_block(store: Store) -> None:
    """R18: a block lasts, whatever is consented to; a complaint does not."""
    async with open_shop(store) as shop:
        book = shop.engine.consents
        await book.suppress(ACCOUNT, BY_EMAIL, said(REVIEW, 0), Suppression.COMPLAINED)
        await book.suppress(ACCOUNT, BY_EMAIL, said(0, 0), Suppression.BLOCKED)
        await shop.until("2026-03-02 09:00")
        await book.grant(ACCOUNT, BY_EMAIL, said(document=PROOF))
        (answer,) = await shop.publish(shop.event(consent=None))
        assert await state_of(shop, answer.members[0]) == SUPPRESSED
        assert await book.lift(ACCOUNT, BY_EMAIL, said(REVIEW, EMAIL)) == []
        (lifted,) = await book.lift(ACCOUNT, BY_EMAIL, said(0, 0))
        assert lifted.kind == Suppression.BLOCKED
        (left,) = await book.suppressions(answer.contact_key)
        assert left.kind == Suppression.COMPLAINED
        await shop.publish(shop.event(order="2", consent=None))
        await shop.until("2026-03-12 09:00")
        assert len(shop.mails()) == 1, "the consent had ended the complaint"


async def test_nothing_of_another_account_can_be_named(store: Store) -> None:
    async with open_shop(store) as shop:
        book = shop.engine.consents
        for name in ("accounts/other/channels/madrid", "accounts/shop/channels/none"):
            with pytest.raises(NotFound):
                await book.suppress(ACCOUNT, BY_EMAIL, said(channel_name=name), Suppression.BLOCKED)
        with pytest.raises(NotFound):
            await book.suppress("other", BY_EMAIL, said(channel_name=MADRID), Suppression.BLOCKED)


# --- phones -----------------------------------------------------------------------------------------


async def identified(shop: Shop, email: str = ANA) -> bytes:
    """Tell the shop whose phone it is."""
    event = shop.event(
        type="identify", order=email, contact=Contact(email=email, phone=PHONE), consent=None,
        at=None,
    )  # fmt: skip
    event.order = None
    (answer,) = await shop.publish(event)
    return answer.contact_key


@pytest.mark.parametrize(
    ("text", "medium", "ended"), [("STOP!", SMS, 1), ("Stop", WHATSAPP, 1), ("go on", SMS, 0)]
)
async def test_g7_a_stop_word_ends_what_waits_for_the_phone(
    store: Store, text: str, medium: int, ended: int
) -> None:
    """g7, R4, R18: for whoever the phone belongs to; their e-mails go on."""
    rule = both_media()
    async with open_shop(store, rule=rule, media=BOTH) as shop:  # type: ignore[arg-type]
        key = await identified(shop)
        (answer,) = await shop.publish(order(shop, "1", phone=PHONE))
        assert len(answer.members) == 2
        done = await shop.engine.inbox.receive(ACCOUNT, PHONE, text, medium, MADRID)
        phone_key = shop.engine.identity.contact_key(ACCOUNT, Contact(phone=PHONE))
        assert (done.written.contact_keys if done.written else []) == [phone_key, key][: 2 * ended]
        assert (await shop.ends()).get(UNSUBSCRIBED, 0) == ended
        media = {SMS, WHATSAPP} if medium == WHATSAPP else {SMS}
        for each in (phone_key, key):
            views = await shop.engine.consents.suppressions(each)
            assert {(view.purpose, view.medium) for view in views} == (
                {(purpose, each) for purpose in (REVIEW, MARKETING) for each in media}
                if ended
                else set()
            )
        assert done.may_confirm is bool(ended)
        again = await shop.engine.inbox.receive(ACCOUNT, PHONE, text, medium, MADRID)
        assert not again.may_confirm, "once"
        await shop.until("2026-03-08 23:00")
        assert [letter.medium for letter in shop.post.letters] == [EMAIL, SMS][: 2 - ended]


async def test_g7_a_stop_word_that_is_told_again_unsubscribes_once(store: Store) -> None:
    """g7, R17: known by its id, so that what was said since stands; another message is another word."""
    async with open_shop(store) as shop:
        key = await identified(shop)
        book, inbox = shop.engine.consents, shop.engine.inbox
        for _ in range(2):
            done = await inbox.receive(ACCOUNT, PHONE, "stop", SMS, message_id="SM1")
            assert done.written is not None
            assert len(done.written.contact_keys) == 2
        phone_key = done.written.contact_keys[0]
        assert len(await book.history(phone_key, 0, 99)) == 4, "told once, kept once"
        await shop.until("2026-03-02 12:00")
        await book.grant(ACCOUNT, BY_EMAIL, said(medium=SMS, document=PROOF))
        again = await inbox.receive(ACCOUNT, PHONE, "stop", SMS, message_id="SM1")
        assert (again.word, again.may_confirm) == ("stop", False)
        review = [view for view in await book.list(ACCOUNT, key) if view.purpose == REVIEW]
        assert [view.status for view in review] == [ConsentStatus.CONFIRMED]
        await inbox.receive(ACCOUNT, PHONE, "stop", SMS, message_id="SM2")
        review = [view for view in await book.list(ACCOUNT, key) if view.purpose == REVIEW]
        assert [view.status for view in review] == [ConsentStatus.WITHDRAWN]


async def test_g7_a_stop_word_that_was_written_in_part_is_finished(store: Store) -> None:
    """g7, R4: the daemon died between the phone and who has it; the provider comes again."""
    async with open_shop(store) as shop:
        key = await identified(shop)
        book, inbox = shop.engine.consents, shop.engine.inbox
        document = ConsentDocument(method="stop-word", request_id="SM1")
        told = said(medium=SMS, document=document)
        phone_key = book.reach.phone_key(ACCOUNT, PHONE)
        lines = [book.line(ACCOUNT, ConsentStatus.WITHDRAWN, told)]
        partition = partition_of(phone_key, store.meta.partition_count)
        await store.write_consents(partition, phone_key, lines, shop.clock.now_ms())
        await inbox.receive(ACCOUNT, PHONE, "stop", SMS, message_id="SM1", validate_only=True)
        assert await book.suppressions(key) == []
        await inbox.receive(ACCOUNT, PHONE, "stop", SMS, message_id="SM1")
        assert {view.purpose for view in await book.suppressions(key)} == {REVIEW, MARKETING}


async def test_who_stops_by_e_mail_has_stopped_for_their_phone(store: Store) -> None:
    """R4: a withdrawal of SMS by e-mail reaches the phone's own record, and the household; one of
    e-mail does not."""
    async with open_shop(store, rule=both_media(), media=BOTH) as shop:  # type: ignore[arg-type]
        ana, eva = await identified(shop), await identified(shop, "eva@shop.example")
        book = shop.engine.consents
        phone = shop.engine.identity.contact_key(ACCOUNT, Contact(phone=PHONE))
        _, by_mail = await book.withdraw(ACCOUNT, BY_EMAIL, said(medium=EMAIL))
        assert by_mail.contact_keys == [ana]
        _, by_sms = await book.withdraw(ACCOUNT, BY_EMAIL, said(medium=SMS))
        assert by_sms.contact_keys == [ana, phone, eva]
        for key in (ana, phone, eva):
            withdrawn = {view.medium for view in await book.list(ACCOUNT, key) if view.withdraw_ms}
            assert withdrawn == ({EMAIL, SMS} if key == ana else {SMS})


async def test_suppressing_a_phone_leaves_the_e_mail_of_its_household(store: Store) -> None:
    """R4: all media of who is meant, phone media of the others; lifting likewise."""
    async with open_shop(store) as shop:
        ana, eva = await identified(shop), await identified(shop, "eva@shop.example")
        book = shop.engine.consents
        phone = shop.engine.identity.contact_key(ACCOUNT, Contact(phone=PHONE))
        await book.suppress(ACCOUNT, BY_PHONE, said(0, 0), Suppression.BLOCKED)
        found = {key: await book.suppressions(key) for key in (ana, eva, phone)}
        assert [view.medium for view in found[eva]] == [0], "whoever the phone stands for last"
        assert [view.medium for view in found[ana]] == [SMS, WHATSAPP]
        assert [view.medium for view in found[phone]] == [SMS, WHATSAPP]
        await book.lift(ACCOUNT, BY_PHONE, said(0, 0))
        for key in (ana, eva, phone):
            assert await book.suppressions(key) == []


async def test_a_grant_by_phone_is_for_whom_it_stands_for(store: Store) -> None:
    """R4: as an event with that phone is."""
    async with open_shop(store) as shop:
        ana = await identified(shop)
        view = await shop.engine.consents.grant(ACCOUNT, BY_PHONE, said(medium=SMS, document=PROOF))
        assert view.contact_key == ana


# --- double opt-in ----------------------------------------------------------------------------------


async def asked(
    shop: Shop, *, days: int = 7, purpose: int = REVIEW, medium: int = EMAIL, channel: str = "",
    validate_only: bool = False, **fields: object,
) -> Requested:  # fmt: skip
    statement = said(purpose, medium, channel_name=channel, document=PROOF)
    request = Request(BY_EMAIL, statement, days * DAY_MS, "es", **fields)  # type: ignore[arg-type]
    return await shop.engine.opt_in.request(ACCOUNT, request, validate_only=validate_only)


async def confirm(shop: Shop, token: str) -> int:
    ticket = shop.engine.opt_in.read(token)
    assert ticket is not None
    return (await shop.engine.opt_in.confirm(ticket, user_agent="Mozilla/5.0")).status


async def test_r11_what_is_pending_is_planned_and_decided_when_due(store: Store) -> None:
    """R11, g3, A2: confirmed in time it goes out, else it ends NO_CONSENT."""
    for is_confirmed in (True, False):
        async with open_shop(rule=review_rule(steps=review_rule().steps[:1])) as shop:
            done = await asked(shop, days=30)
            assert done.view.status == ConsentStatus.PENDING
            await shop.publish(shop.event(consent=None))
            assert await shop.pending() == 1
            await shop.until("2026-03-05 09:00")
            if is_confirmed:
                assert await confirm(shop, done.token) == ConsentStatus.CONFIRMED
            await shop.until("2026-03-20 09:00")
            assert len(shop.mails()) == is_confirmed
            if not is_confirmed:
                assert await shop.ends() == {(State.SKIPPED, Reason.NO_CONSENT): 1}


async def test_g3_a_confirmation_keeps_both_times_and_the_wording(store: Store) -> None:
    """g1, g3."""
    async with open_shop(store) as shop:
        start_ms = shop.clock.now_ms()
        done = await asked(shop)
        assert done.expire_ms == start_ms + 7 * DAY_MS
        await shop.until("2026-03-02 09:00")
        for _ in range(2):
            assert await confirm(shop, done.token) == ConsentStatus.CONFIRMED
            await shop.until("2026-03-20 09:00")
        (view,) = await shop.engine.consents.list(ACCOUNT, done.view.contact_key)
        assert view.proof is not None
        assert view.evidence_ms == ms("2026-03-02 09:00")
        assert view.expire_ms == 0, "the request had a time, the consent has none"
        assert (view.proof.request_ms, view.proof.confirm_ms) == (
            start_ms, ms("2026-03-02 09:00"),
        )  # fmt: skip
        assert (view.proof.method, view.proof.actor) == ("double-opt-in", "recipient")
        assert view.proof.collection_point == PROOF.collection_point
        assert view.proof.user_agent == "Mozilla/5.0"
        lines = await shop.engine.consents.history(done.view.contact_key, 0, 10)
        assert len(lines) == 2, "confirming twice writes nothing"
        assert (await asked(shop)).token == "", "there is nothing left to ask"


async def test_g3_a_token_holds_for_its_request_only(store: Store) -> None:
    """g3: expired, superseded, withdrawn, denied or unsubscribed since: nothing is written."""

    async def expired(shop: Shop) -> None:
        await shop.until("2026-03-08 09:00")

    async def superseded(shop: Shop) -> None:
        await shop.until("2026-03-02 09:00")
        await asked(shop)

    async def withdrawn(shop: Shop) -> None:
        await shop.engine.consents.withdraw(ACCOUNT, BY_EMAIL, said())

    async def unsubscribed(shop: Shop) -> None:
        await shop.engine.consents.unsubscribe(ACCOUNT, BY_EMAIL, [said(), said(MARKETING)])

    async def blocked(shop: Shop) -> None:
        await shop.engine.consents.suppress(ACCOUNT, BY_EMAIL, said(0, 0), Suppression.COMPLAINED)

    async def denied(shop: Shop) -> None:
        await shop.until("2026-03-02 09:00")
        line = shop.engine.consents.line(ACCOUNT, ConsentStatus.DENIED, said())
        await shop.engine.consents.write(ACCOUNT, BY_EMAIL, [line])

    for spoil in (expired, superseded, withdrawn, unsubscribed, blocked, denied):
        async with open_shop() as shop:
            done = await asked(shop)
            await spoil(shop)
            before = await shop.engine.consents.history(done.view.contact_key, 0, 100)
            with pytest.raises(FailedPrecondition):
                await confirm(shop, done.token)
            after = await shop.engine.consents.history(done.view.contact_key, 0, 100)
            assert after == before, spoil.__name__


async def test_a_withdrawal_for_something_else_leaves_the_token(store: Store) -> None:
    async with open_shop(store) as shop:
        done = await asked(shop)
        await shop.engine.consents.withdraw(ACCOUNT, BY_EMAIL, said(MARKETING))
        await shop.engine.consents.withdraw(ACCOUNT, BY_EMAIL, said(channel_name=MADRID))
        assert await confirm(shop, done.token) == ConsentStatus.CONFIRMED


async def test_after_a_withdrawal_it_can_be_asked_for_again(store: Store) -> None:
    """R18: and the confirmation ends the unsubscribe."""
    async with open_shop(store) as shop:
        first = await asked(shop)
        await confirm(shop, first.token)
        await shop.engine.consents.unsubscribe(ACCOUNT, BY_EMAIL, [said()])
        await shop.until("2026-03-02 09:00")
        again = await asked(shop)
        assert again.token not in ("", first.token)
        await shop.until("2026-03-02 10:00")
        with pytest.raises(FailedPrecondition):
            await confirm(shop, first.token)
        await confirm(shop, again.token)
        await shop.publish(shop.event(consent=None))
        await shop.until("2026-03-12 09:00")
        assert len(shop.mails()) == 1


async def test_g3_one_mail_asks_to_confirm_and_advertises_nothing(store: Store) -> None:
    """g3, R16: it is transactional, goes out although nothing is consented to, and once a request."""
    async with open_shop(store, consent_mode=1) as shop:
        shop.engine.opt_in.link_of = lambda token: f"https://mail.shop.example/c/{token}"
        done = await asked(shop, channel=MADRID, sends=True)
        await shop.until("2026-03-01 10:00")
        (letter,) = shop.post.letters
        assert (letter.template, letter.purpose) == ("confirm-consent", Purpose.TRANSACTIONAL)
        assert letter.confirm_url == done.link
        assert done.link.endswith(done.token)
        assert (letter.address, letter.event.contact.first_name) == (ANA, "")
        assert letter.delivery_id == done.member.hex()
        assert letter.subject == letter.text == ""


async def test_a_mail_needs_a_link_and_a_sender(store: Store) -> None:
    async with open_shop(store) as shop:
        with pytest.raises(InvalidField) as refusal:
            await asked(shop, sends=True)
        assert refusal.value.field == "sender_channel"
        with pytest.raises(FailedPrecondition, match=r"public\.url"):
            await asked(shop, sends=True, sender_name=MADRID)
        assert await shop.engine.consents.list(ACCOUNT, (await asked(shop)).view.contact_key)


async def test_forms_cannot_be_used_to_pester(store: Store) -> None:
    """g3: five requests in 24 hours, then no more until the first is a day old."""
    async with open_shop(store) as shop:
        for hour in range(5):
            await asked(shop)
            await shop.until(f"2026-03-01 {10 + hour}:00")
        with pytest.raises(LimitExceeded):
            await asked(shop)
        await shop.until("2026-03-02 09:00")
        await asked(shop)


async def test_no_choice_of_scopes_pesters_more(store: Store) -> None:
    """g3: whoever is written to has chosen neither purpose nor channel; a medium of its own has its own
    five, but mails go to one address."""
    async with open_shop(store) as shop:
        shop.engine.opt_in.link_of = lambda token: f"https://mail.shop.example/c/{token}"
        forms = ["", *[await shop.add_channel(f"form-{number}") for number in range(3)]]
        places = [(purpose, form) for purpose in (REVIEW, MARKETING) for form in forms]
        for purpose, form in places[:5]:
            await asked(shop, purpose=purpose, channel=form)
        for purpose, form in places:
            for validate_only in (True, False):
                with pytest.raises(LimitExceeded, match="for this medium 5 times"):
                    await asked(shop, purpose=purpose, channel=form, validate_only=validate_only)
        key = await shop.engine.consents.reach.contact_key(ACCOUNT, BY_EMAIL)
        assert len(await shop.engine.consents.history(key, 0, 100)) == 5, "a refusal writes nothing"
        await asked(shop, medium=SMS)
        with pytest.raises(LimitExceeded, match="5 times"):
            await asked(shop, medium=SMS, sends=True, sender_name=MADRID)
        await shop.until("2026-03-02 09:00")
        await asked(shop, medium=SMS, sends=True, sender_name=MADRID)


async def test_requests_of_one_instant_are_all_counted(store: Store) -> None:
    """g3: a form that is sent a hundred times at once."""
    async with open_shop(store) as shop:
        answers = await asyncio.gather(
            *(asked(shop, purpose=(REVIEW, MARKETING)[n % 2]) for n in range(20)),
            return_exceptions=True,
        )
        refused = [answer for answer in answers if isinstance(answer, LimitExceeded)]
        assert (len(refused), len(answers)) == (15, 20)
        assert sum(isinstance(answer, Requested) for answer in answers) == 5


async def test_the_same_request_is_made_once(store: Store) -> None:
    """Its id is kept with it: the same token, and no second line or mail."""
    async with open_shop(store) as shop:
        shop.engine.opt_in.link_of = lambda token: f"https://mail.shop.example/c/{token}"
        document = ConsentDocument(collection_point="form", request_id="one")
        request = Request(
            BY_EMAIL, said(document=document, channel_name=MADRID), DAY_MS, sends=True
        )
        first = await shop.engine.opt_in.request(ACCOUNT, request)
        await shop.until("2026-03-01 11:00")
        again = await shop.engine.opt_in.request(ACCOUNT, request)
        assert (again.token, again.member) == (first.token, first.member)
        assert len(await shop.engine.consents.history(first.view.contact_key, 0, 10)) == 1
        await shop.until("2026-03-01 12:00")
        assert len(shop.post.letters) == 1


# --- blocks -----------------------------------------------------------------------------------------


async def test_a_block_holds_from_the_next_send_on(store: Store) -> None:
    """R10, R13: what waits is skipped when it is due; others are not concerned."""
    async with open_shop(store) as shop:
        await shop.publish(
            shop.event(), shop.event(order="2", email="eva@mail.rival.example"),
            shop.event(order="3", email="tom@rival.example"),
        )  # fmt: skip
        block = Block(
            account=ACCOUNT, id="rival", kind=BlockKind.DOMAIN, value="*.rival.example",
            purposes=(Purpose.REVIEW,),
        )  # fmt: skip
        await shop.registry.create_block(block)
        await shop.until("2026-03-08 23:00")
        assert [to for _, to, _ in shop.mails()] == [ANA]
        assert (await shop.ends())[SUPPRESSED] == 2
        await shop.registry.delete_block(ACCOUNT, "rival")
        await shop.publish(shop.event(order="4", email="tom@rival.example"))
        await shop.until("2026-03-20 23:00")
        assert "tom@rival.example" in {to for _, to, _ in shop.mails()}


async def test_a_change_of_blocks_bites(store: Store) -> None:
    """R13: before the call returns, no daemon may claim with an older configuration."""
    async with open_shop(store) as shop:
        bitten: list[int] = []

        async def bite(revision: int) -> None:
            bitten.append(revision)

        shop.registry.on_bite.append(bite)
        block = Block(account=ACCOUNT, id="one", kind=BlockKind.DOMAIN, value="rival.example")
        await shop.registry.create_block(block)
        assert bitten == [shop.registry.snapshot.revision]
        await shop.registry.delete_block(ACCOUNT, "one")
        assert bitten[1:] == [shop.registry.snapshot.revision]
        with pytest.raises(NotFound):
            await shop.registry.delete_block(ACCOUNT, "one")


async def test_r12_what_was_claimed_is_named(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """R12: a no that comes while the transport has the message names it, and ends the reminder."""
    async with open_shop(store) as shop:
        (answer,) = await shop.publish(shop.event())
        (waiting,) = await shop.publish(shop.event(order="2", at="2026-03-01 08:00", id="later"))
        send, told = shop.post.send, []

        async def send_slowly(letters: Any) -> Any:
            book = shop.engine.consents
            if not told:
                _, by_withdrawal = await book.withdraw(ACCOUNT, BY_EMAIL, said())
                _, by_block = await book.suppress(
                    ACCOUNT, BY_EMAIL, said(0, 0), Suppression.BLOCKED
                )
                told.extend((by_withdrawal, by_block))
            return await send(letters)

        monkeypatch.setattr(shop.post, "send", send_slowly)
        await shop.until("2026-04-30 00:00")
        flying = set(told[0].in_flight)
        assert flying
        assert flying <= {answer.members[0], waiting.members[0]}
        assert set(told[1].in_flight) == flying
        assert flying | set(told[0].ended) == {answer.members[0], waiting.members[0]}
        assert {letter.delivery_id for letter in shop.post.letters} == {
            member.hex() for member in flying
        }, "and nothing else has gone out, no reminder either"


# --- reading back ---------------------------------------------------------------------------------


async def test_evidence_is_looked_for_from_the_newest_line_on(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A log grows with every statement that is repeated; what stands is read without all of it."""
    async with open_shop(store) as shop:
        book = shop.engine.consents
        old = ConsentDocument(collection_point="the first form")
        await book.grant(ACCOUNT, BY_EMAIL, said(MARKETING, document=old))
        lines = [
            book.line(
                ACCOUNT, ConsentStatus.CONFIRMED, said(document=ConsentDocument(method=f"{n}"))
            )
            for n in range(2_500)
        ]
        for at in range(0, len(lines), 100):
            await book.write(ACCOUNT, BY_EMAIL, lines[at : at + 100])
        key = await book.reach.contact_key(ACCOUNT, BY_EMAIL)
        read = 0
        consent_log = store.consent_log

        async def counted(*args: Any, **kwargs: Any) -> Any:
            nonlocal read
            found = await consent_log(*args, **kwargs)
            read += len(found)
            return found

        monkeypatch.setattr(store, "consent_log", counted)
        view = await book.one(ACCOUNT, key, lines[0])
        assert (view.proof and view.proof.method, read) == ("2499", 100), "of several the newest"
        await book.suppress(ACCOUNT, BY_EMAIL, said(document=old), Suppression.BLOCKED)
        assert read == 200
        # What was said long ago is found as well, each line read once.
        read = 0
        views = {view.purpose: view for view in await book.list(ACCOUNT, key)}
        told = views[MARKETING].proof
        assert told is not None
        assert (told.collection_point, read) == ("the first form", 2_502)
