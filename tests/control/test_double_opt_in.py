"""Double opt-in by gRPC, by the mail that asks and by its page, over real sockets."""

from __future__ import annotations

import re
import uuid
from collections.abc import AsyncIterator
from email.message import EmailMessage
from typing import Any, cast
from urllib.parse import urlsplit

import grpc
import pytest
import pytest_asyncio
from google.protobuf.duration_pb2 import Duration

from afterword.v1 import (
    channel_service_pb2,
    event_pb2,
    event_service_pb2,
    invitation_service_pb2,
    types_pb2,
)
from afterword.v1 import consent_service_pb2 as pb2
from control.public.confirm_words import CONFIRM_WORDS
from control.public.words import WORDS
from core.engine.consent_tokens import ConsentTokens
from senders.catalogue.confirmation import CONFIRMATIONS
from senders.languages import LANGUAGES
from senders.smtp_sink import SmtpSink
from tests.control.kit import PARENT, event_pb, refused, unique
from tests.control.test_unsubscribe import BASE, FORM, Post, open_post

pytestmark = pytest.mark.asyncio(loop_scope="module")

REVIEW, MARKETING = types_pb2.PURPOSE_REVIEW, types_pb2.PURPOSE_MARKETING
EMAIL = types_pb2.MEDIUM_EMAIL
EVIDENCE = channel_service_pb2.Channel.CONSENT_MODE_REQUIRE_EVIDENCE
Invitation = invitation_service_pb2.Invitation
HOUR_MS = 3_600_000
YES = b"confirm=yes"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def post(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Post]:
    sink = SmtpSink(keep=1_000)
    await sink.start()
    try:
        async with open_post(tmp_path_factory.mktemp("post"), sink) as opened:
            yield opened
    finally:
        await sink.close()


def somebody() -> str:
    return f"{unique('maria.muster')}@example.com"


def asking(email: str, **fields: Any) -> pb2.RequestConsentRequest:
    given: dict[str, Any] = {
        "parent": PARENT,
        "contact": pb2.ContactSelector(contact=event_pb2.Contact(email=email)),
        "purpose": REVIEW,
        "medium": EMAIL,
        "collection_point": "https://shop.example/newsletter",
        "text_version": "v3",
        "ip_address": "203.0.113.7",
        "user_agent": "Form/1.0",
    }
    return pb2.RequestConsentRequest(**{**given, **fields})


async def ask_for(post: Post, email: str, **fields: Any) -> pb2.RequestConsentResponse:
    answer: pb2.RequestConsentResponse = await post.consents.RequestConsent(asking(email, **fields))
    return answer


async def confirm(post: Post, token: str, **fields: Any) -> pb2.Consent:
    consent: pb2.Consent = await post.consents.ConfirmConsent(
        pb2.ConfirmConsentRequest(parent=PARENT, token=token, **fields)
    )
    return consent


async def consent_of(post: Post, email: str) -> pb2.Consent | None:
    answer = await post.consents.ListConsents(
        pb2.ListConsentsRequest(
            parent=PARENT,
            contact=pb2.ContactSelector(contact=event_pb2.Contact(email=email)),
        )
    )
    return next(iter(answer.consents), None)


def path(link: str) -> str:
    return urlsplit(link).path


# --- the whole way --------------------------------------------------------------------------------


async def test_from_the_form_to_the_first_message(post: Post) -> None:
    """A2, g3, R11, R16: one mail asks, the page confirms, and only then is written to."""
    email = somebody()
    channel = await post.create_channel(display_name="Käse & Co", consent_mode=EVIDENCE)
    await post.create_rule(channel)
    typed = event_pb2.Contact(email=email, first_name="Cheap", last_name="watches.example")
    answer = await ask_for(
        post, email, channel=channel, send=True, locale="de_DE",
        contact=pb2.ContactSelector(contact=typed),
    )  # fmt: skip
    assert answer.consent.state == pb2.Consent.STATE_PENDING
    assert answer.link == f"{BASE}/c/{answer.token}"
    waiting = await post.publish(channel, email)
    await post.daemon.engine.advance_to(post.clock.now_ms() + HOUR_MS)
    (mail,) = post.mails_to(email)
    plain = cast(EmailMessage, mail.get_body(("plain",))).get_content()
    markup = cast(EmailMessage, mail.get_body(("html",))).get_content()
    assert mail["Subject"] == "Bitte bestätigen Sie Ihre Einwilligung bei Käse & Co"
    assert answer.link in plain
    assert re.search(f'<a href="{re.escape(answer.link)}"[^>]*>Bestätigen</a>', markup)
    assert "Bitten um eine Bewertung (E-Mail)" in plain
    assert "maria" not in plain, "no address"
    assert not {"Cheap", "watches"} & set(re.findall(r"\w+", mail.as_string())), "and no name"
    for header in ("List-Unsubscribe", "List-Id"):
        assert mail[header] is None
    shown = await post.ask("GET", path(answer.link))
    assert (shown.status, shown.headers["content-language"]) == (200, "de")
    found = await consent_of(post, email)
    assert found is not None
    assert found.state == pb2.Consent.STATE_PENDING, "looking changes nothing"
    done = await post.ask(
        "POST", path(answer.link), YES, FORM, "User-Agent: Fire\tfox", "Cookie: a=b"
    )
    assert done.status == 200
    assert CONFIRM_WORDS["de"].done in done.text
    consent = await consent_of(post, email)
    assert consent is not None
    assert (consent.state, consent.confirmed) == (pb2.Consent.STATE_GRANTED, True)
    proof = consent.proof
    assert (proof.method, proof.source, proof.actor) == ("double-opt-in", "link", "recipient")
    assert proof.request_time == answer.consent.evidence_time
    assert proof.confirm_time == consent.evidence_time
    assert proof.user_agent == "Fire fox"
    assert (proof.ip_address, proof.collection_point) == (
        "203.0.113.7", "https://shop.example/newsletter",
    )  # fmt: skip
    assert (await post.invitation(waiting)).state == Invitation.STATE_SCHEDULED
    await post.daemon.engine.advance_to(post.clock.now_ms() + 8 * 24 * HOUR_MS)
    assert (await post.invitation(waiting)).state == Invitation.STATE_SENT
    assert len(post.mails_to(email)) == 2
    mailed = await post.invitation(answer.invitation)
    assert (mailed.state, mailed.purpose) == (
        Invitation.STATE_SENT, types_pb2.PURPOSE_TRANSACTIONAL,
    )  # fmt: skip


@pytest.mark.parametrize("language", LANGUAGES)
async def test_mail_and_page_speak_the_language_of_the_form(post: Post, language: str) -> None:
    """g3, C22."""
    channel = await post.create_channel(display_name="Shop")
    for purpose in (REVIEW, MARKETING, types_pb2.PURPOSE_DATA_FORWARDING):
        email = somebody()
        answer = await ask_for(
            post, email, channel=channel, send=True, locale=language, purpose=purpose
        )
        await post.daemon.engine.advance_to(post.clock.now_ms() + HOUR_MS)
        (mail,) = post.mails_to(email)
        assert mail["Content-Language"] == language
        plain = cast(EmailMessage, mail.get_body(("plain",))).get_content()
        name = types_pb2.Purpose.Name(purpose).removeprefix("PURPOSE_")
        assert CONFIRMATIONS[language].kinds[name] in plain.replace("\n", " ")
        shown = await post.ask("GET", path(answer.link))
        assert shown.headers["content-language"] == language
        assert CONFIRM_WORDS[language].button in shown.text
        done = await post.ask("POST", path(answer.link), YES, FORM)
        assert CONFIRM_WORDS[language].done in done.text
        for text in (plain, shown.text, done.text):
            assert not re.search(r"[{}]", re.sub("<style>.*</style>", "", text)), "a gap"
            assert email not in text


# --- the page -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "body", "headers"),
    [
        ("GET", b"", ()),
        ("HEAD", b"", ()),
        ("GET", YES, (FORM,)),
        ("POST", b"", ()),
        ("POST", YES, ()),
        ("POST", YES, ("Content-Type: text/plain",)),
        ("POST", b"confirm=no", (FORM,)),
        ("POST", b"List-Unsubscribe=One-Click", (FORM,)),
        ("POST", b"confirm=yes&confirm=yes", (FORM,)),
        ("POST", b"&".join(b"a=%d" % n for n in range(100)), (FORM,)),
    ],
)
async def test_only_the_form_confirms(
    post: Post, method: str, body: bytes, headers: tuple[str, ...]
) -> None:
    """g3: scanners look at every link, and some post."""
    email = somebody()
    answer = await ask_for(post, email)
    reply = await post.ask(method, path(answer.link), body, *headers)
    assert reply.status == 200
    if method != "HEAD":
        assert WORDS["en"].review in reply.text
        assert {"location", "set-cookie"}.isdisjoint(reply.headers)
        assert "script" not in reply.text
        assert email not in reply.text
    consent = await consent_of(post, email)
    assert consent is not None
    assert consent.state == pb2.Consent.STATE_PENDING


async def test_clicking_twice_is_harmless(post: Post) -> None:
    email = somebody()
    answer = await ask_for(post, email)
    before = post.daemon.engine.stats.consents_confirmed
    replies = [await post.ask("POST", path(answer.link), YES, FORM) for _ in range(2)]
    assert [reply.status for reply in replies] == [200, 200]
    assert replies[0].text == replies[1].text
    assert post.daemon.engine.stats.consents_confirmed == before + 2


async def test_a_link_that_holds_no_more_says_so(post: Post) -> None:
    """g3: 410, and nothing is written."""
    email = somebody()
    answer = await ask_for(post, email)
    contact = pb2.ContactSelector(contact=event_pb2.Contact(email=email))
    await post.consents.WithdrawConsent(
        pb2.WithdrawConsentRequest(parent=PARENT, contact=contact, purpose=REVIEW, medium=EMAIL)
    )
    reply = await post.ask("POST", path(answer.link), YES, FORM, "Accept-Language: fr")
    assert (reply.status, reply.headers["content-language"]) == (410, "fr")
    assert CONFIRM_WORDS["fr"].over.partition("'")[0] in reply.text
    consent = await consent_of(post, email)
    assert consent is not None
    assert consent.state == pb2.Consent.STATE_WITHDRAWN


async def test_no_altered_link_is_taken(post: Post) -> None:
    """g3: unguessable; and a link to unsubscribe confirms nothing."""
    email, channel = somebody(), await post.create_channel()
    link = path((await ask_for(post, email)).link)
    refused_before = post.daemon.engine.stats.unsubscribe_tokens_refused
    targets = [link[:-1], link + "A", link + "/", "/c/", "/c/x"]
    targets += [post.link(channel, email).replace("/u/", "/c/"), link.replace("/c/", "/u/")]
    for target in targets:
        reply = await post.ask("POST", target, YES, FORM)
        assert (reply.status, WORDS["en"].unknown.split(".")[0] in reply.text) == (404, True)
    refused_now = post.daemon.engine.stats.unsubscribe_tokens_refused
    assert refused_now == refused_before + len(targets)
    consent = await consent_of(post, email)
    assert consent is not None
    assert consent.state == pb2.Consent.STATE_PENDING


# --- by the API -----------------------------------------------------------------------------------


async def test_a_token_can_be_confirmed_by_the_shop(post: Post) -> None:
    """g1, g3."""
    email = somebody()
    tried = await ask_for(post, email, validate_only=True)
    assert (tried.consent.state, tried.token, tried.link) == (pb2.Consent.STATE_PENDING, "", "")
    assert await consent_of(post, email) is None
    answer = await ask_for(post, email, expire_after=Duration(seconds=3_600))
    assert answer.expire_time.ToMilliseconds() == post.clock.now_ms() + HOUR_MS
    assert answer.consent.expire_time == answer.expire_time
    assert not answer.invitation
    tried_consent = await confirm(post, answer.token, validate_only=True)
    assert tried_consent.confirmed
    found = await consent_of(post, email)
    assert found is not None
    assert found.state == pb2.Consent.STATE_PENDING
    consent = await confirm(post, answer.token, ip_address="2001:db8::9", user_agent="Firefox")
    assert (consent.state, consent.confirmed) == (pb2.Consent.STATE_GRANTED, True)
    assert (consent.proof.source, consent.proof.actor) == ("api", "local")
    assert (consent.proof.ip_address, consent.proof.user_agent) == ("2001:db8::9", "Firefox")
    assert await confirm(post, answer.token) == consent
    done = await ask_for(post, email)
    assert (done.consent, done.token) == (consent, "")


async def test_a_token_expires(post: Post) -> None:
    """g3: and what was pending is no consent any more."""
    email = somebody()
    answer = await ask_for(post, email, expire_after=Duration(seconds=3_600))
    await post.daemon.engine.advance_to(post.clock.now_ms() + HOUR_MS)
    with refused() as refusal:
        await confirm(post, answer.token)
    assert refusal.code is grpc.StatusCode.FAILED_PRECONDITION
    assert "expired" in refusal.problem.message
    consent = await consent_of(post, email)
    assert consent is not None
    assert consent.state == pb2.Consent.STATE_EXPIRED


async def test_a_newer_request_supersedes(post: Post) -> None:
    """g3; the same one, by its id, does not, and sends no second mail."""
    email, channel = somebody(), await post.create_channel()
    same = str(uuid.uuid4())
    first = await ask_for(post, email, channel=channel, send=True, request_id=same)
    await post.daemon.engine.advance_to(post.clock.now_ms() + HOUR_MS)
    again = await ask_for(post, email, channel=channel, send=True, request_id=same)
    assert again == first
    await post.daemon.engine.advance_to(post.clock.now_ms() + HOUR_MS)
    assert len(post.mails_to(email)) == 1
    newer = await ask_for(post, email, channel=channel, send=True, request_id=str(uuid.uuid4()))
    assert newer.token != first.token
    await post.daemon.engine.advance_to(post.clock.now_ms() + HOUR_MS)
    assert len(post.mails_to(email)) == 2
    with refused() as refusal:
        await confirm(post, first.token)
    assert "superseded" in refusal.problem.message
    assert (await confirm(post, newer.token)).confirmed


async def test_a_consent_of_one_channel_is_confirmed_for_it(post: Post) -> None:
    email, channel = somebody(), await post.create_channel()
    answer = await ask_for(post, email, channel=channel)
    consent = await confirm(post, answer.token)
    assert consent.channel == channel
    assert consent.name.endswith(f"/{channel.rpartition('/')[2]}.review.email")


async def test_a_form_cannot_pester(post: Post) -> None:
    """g3."""
    email = somebody()
    for _ in range(5):
        post.clock.move_to_ms(post.clock.now_ms() + 1)
        await ask_for(post, email)
    with refused() as refusal:
        await ask_for(post, email)
    assert refusal.code is grpc.StatusCode.RESOURCE_EXHAUSTED


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"purpose": types_pb2.PURPOSE_TRANSACTIONAL}, "purpose"),
        ({"medium": 0}, "medium"),
        ({"collection_point": ""}, "collection_point"),
        ({"text_sha256": "x"}, "text_sha256"),
        ({"locale": "x y"}, "locale"),
        ({"ip_address": "x"}, "ip_address"),
        ({"expire_after": Duration(seconds=3_599)}, "expire_after"),
        ({"expire_after": Duration(seconds=30 * 86_400 + 1)}, "expire_after"),
        ({"send": True}, "sender_channel"),
        ({"sender_channel": "madrid"}, "sender_channel"),
        (
            {
                "send": True,
                "contact": pb2.ContactSelector(contact=event_pb2.Contact(phone="+4930123")),
            },
            "contact",
        ),
        ({"contact": pb2.ContactSelector()}, "contact"),
        ({"request_id": "x"}, "request_id"),
        ({"parent": ""}, "parent"),
    ],
)
async def test_a_bad_request_is_refused_by_field(
    post: Post, fields: dict[str, Any], field: str
) -> None:
    with refused() as refusal:
        await ask_for(post, somebody(), **fields)
    assert refusal.code is grpc.StatusCode.INVALID_ARGUMENT
    assert refusal.field == field


async def test_a_token_of_somebody_else_is_none(post: Post) -> None:
    """g3: forged, cut off, of another use or another account."""
    email, channel = somebody(), await post.create_channel()
    answer = await ask_for(post, email)
    tokens = ConsentTokens((post.daemon.engine.store.meta.secret,))
    ticket = tokens.read(answer.token)
    assert ticket is not None
    ticket = type(ticket)(**{
        **{name: getattr(ticket, name) for name in ticket.__struct_fields__}, "account": "other",
    })  # fmt: skip
    for token in ("", "x", answer.token[:-1], post.link(channel, email)[3:], tokens.make(ticket)):
        with refused() as refusal:
            await confirm(post, token)
        assert (refusal.code, refusal.field) == (grpc.StatusCode.INVALID_ARGUMENT, "token")


async def test_without_links_no_mail_can_be_sent(tmp_path: Any) -> None:
    """The token still works."""
    sink = SmtpSink(keep=10)
    await sink.start()
    try:
        async with open_post(tmp_path, sink, url="") as post:
            channel, email = await post.create_channel(), somebody()
            with refused() as refusal:
                await ask_for(post, email, channel=channel, send=True)
            assert refusal.code is grpc.StatusCode.FAILED_PRECONDITION
            assert "public.url" in refusal.problem.message
            assert await consent_of(post, email) is None
            answer = await ask_for(post, email, channel=channel)
            assert answer.link == ""
            event = event_pb(channel, contact=event_pb2.Contact(email=email))
            await post.events.Publish(event_service_pb2.PublishRequest(event=event))
            assert (await confirm(post, answer.token)).confirmed
    finally:
        await sink.close()
