"""Unsubscribing by the link in a message, over real sockets.

Through a proxy that leaves the path as it is: `public.url` has one, and links are fetched from where
the daemon listens.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import os
import re
import signal
from collections.abc import AsyncIterator, Callable
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import SMTP
from html.parser import HTMLParser
from pathlib import Path
from typing import NamedTuple, cast
from urllib.parse import urlsplit

import grpc
import pytest
import pytest_asyncio
from msgspec.structs import replace

from afterword.v1 import (
    consent_service_pb2,
    event_pb2,
    event_service_pb2,
    invitation_service_pb2,
    rule_service_pb2,
    types_pb2,
)
from control import serve
from control.daemon import Daemon
from control.pace import Pace
from control.public.request import BODY_BYTES_MAX, DRAINED_BYTES_MAX
from control.public.server import CONNECTIONS_MAX, PublicServer
from control.public.words import WORDS, page_language
from control.settings import Mail, Public, Unsubscribe
from core.clock import ManualClock
from core.engine.consents import ConsentView
from core.engine.unsubscribe import Choice, Unsubscriber
from core.engine.unsubscribe_tokens import Ticket, UnsubscribeTokens
from core.model import ConsentStatus, Contact, Medium, Purpose
from core.partitions import partition_of
from core.records import member_of
from senders.languages import LANGUAGES
from senders.smtp_sink import SmtpSink
from tests.control.kit import NOW_MS, PARENT, Outbox, Shop, event_pb, settings_for, step_pb, unique

pytestmark = pytest.mark.asyncio(loop_scope="module")

BASE = "https://mail.shop.example/post"
DAY_MS = 86_400_000
REVIEW, MARKETING, EMAIL = int(Purpose.REVIEW), int(Purpose.MARKETING), int(Medium.EMAIL)
FORM = "Content-Type: application/x-www-form-urlencoded"
ONE_CLICK = b"List-Unsubscribe=One-Click"
Invitation = invitation_service_pb2.Invitation


class Reply(NamedTuple):
    """What came back."""

    status: int
    headers: dict[str, str]
    text: str


class Post(Shop):
    """A daemon that mails to a sink, and hands on its links."""

    sink: SmtpSink

    @property
    def address(self) -> str:
        return self.daemon.unsubscribe_address

    async def ask(
        self, method: str, target: str, body: bytes = b"", *headers: str, address: str = ""
    ) -> Reply:
        """Send one request, its body with a length unless a header says how it comes."""
        if body and not any(h.startswith(("Transfer-Encoding", "Content-Length")) for h in headers):
            headers = (*headers, f"Content-Length: {len(body)}")
        head = "\r\n".join((f"{method} {target} HTTP/1.1", "Host: mail.shop.example", *headers))
        return await exchange(address or self.address, head.encode() + b"\r\n\r\n" + body)

    async def post(self, target: str, body: bytes = ONE_CLICK, *headers: str) -> Reply:
        return await self.ask("POST", target, body, *(headers or (FORM,)))

    def ticket(
        self, channel: str, email: str, purpose: int = REVIEW, language: str = "en"
    ) -> Ticket:
        """Return what a message of a channel to somebody carries."""
        number = self.daemon.registry.snapshot.channel_by_name[channel].number
        member = member_of(self.key(email), 1, number)
        return Ticket("default", member, purpose, EMAIL, language)

    def link(self, channel: str, email: str, purpose: int = REVIEW, language: str = "en") -> str:
        return "/u/" + self.tokens.make(self.ticket(channel, email, purpose, language))

    @property
    def tokens(self) -> UnsubscribeTokens:
        return UnsubscribeTokens((self.daemon.engine.store.meta.secret,))

    def key(self, email: str) -> bytes:
        return self.daemon.engine.identity.contact_key("default", Contact(email=email))

    async def views(self, email: str) -> list[ConsentView]:
        return await self.daemon.engine.consents.list("default", self.key(email))

    async def withdrawn(self, email: str) -> set[tuple[str, int]]:
        """Return (channel name or "", purpose) of what somebody has withdrawn."""
        return {
            (view.channel_name, view.purpose)
            for view in await self.views(email)
            if view.status == ConsentStatus.WITHDRAWN
        }

    async def publish(self, channel: str, email: str) -> str:
        """Publish a checkout; the name of the invitation that it plans."""
        event = event_pb(channel, contact=event_pb2.Contact(email=email))
        event.occur_time.FromMilliseconds(self.clock.now_ms())
        answer = await self.events.Publish(event_service_pb2.PublishRequest(event=event))
        (name,) = answer.result.invitations
        return str(name)

    async def invitation(self, name: str) -> Invitation:
        found: Invitation = await self.invitations.GetInvitation(
            invitation_service_pb2.GetInvitationRequest(name=name)
        )
        return found

    def mails_to(self, email: str) -> list[EmailMessage]:
        return [
            cast(EmailMessage, message_from_bytes(m.content, policy=SMTP))
            for m in self.sink.messages
            if m.recipients == (email,)
        ]


async def exchange(address: str, request: bytes) -> Reply:
    host, port = address.rsplit(":", 1)
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        writer.write(request)
        async with asyncio.timeout(15):
            raw = await reader.read()
    finally:
        writer.close()
    raw = raw.removeprefix(b"HTTP/1.1 100 Continue\r\n\r\n")
    head, _, body = raw.partition(b"\r\n\r\n")
    line, *lines = head.decode("ascii").split("\r\n")
    names = [each.partition(": ")[0].lower() for each in lines]
    assert len(names) == len(set(names)), "a header came twice"
    headers = {each.partition(": ")[0].lower(): each.partition(": ")[2] for each in lines}
    assert {"location", "set-cookie", "www-authenticate"}.isdisjoint(headers)
    return Reply(int(line.split(" ")[1]), headers, body.decode())


@contextlib.asynccontextmanager
async def open_post(folder: Path, sink: SmtpSink, url: str = BASE) -> AsyncIterator[Post]:
    settings = replace(
        settings_for(folder),
        mail=Mail(host=sink.host, port=sink.port),
        public=Public(url=url),
        unsubscribe=Unsubscribe(listen="127.0.0.1:0"),
    )
    clock = ManualClock(NOW_MS)
    daemon = Daemon(settings, clock=clock)
    await daemon.start()
    try:
        async with grpc.aio.insecure_channel(daemon.grpc_address) as channel:
            post = Post(channel, daemon, clock, Outbox())
            post.sink = sink
            yield post
    finally:
        await daemon.stop()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def sink() -> AsyncIterator[SmtpSink]:
    opened = SmtpSink(keep=1_000)
    await opened.start()
    yield opened
    await opened.close()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def post(tmp_path_factory: pytest.TempPathFactory, sink: SmtpSink) -> AsyncIterator[Post]:
    async with open_post(tmp_path_factory.mktemp("post"), sink) as opened:
        yield opened


@contextlib.asynccontextmanager
async def own_server(
    post: Post, *, default: Choice = Choice.ACCOUNT, pace: Pace | None = None, **times: float
) -> AsyncIterator[str]:
    """A second listener of the same daemon, with times of its own."""
    engine = post.daemon.engine
    unsubscriber = Unsubscriber(post.tokens, engine.consents, post.daemon.registry, engine.stats)
    server = PublicServer("127.0.0.1:0", "", unsubscriber, default=default, pace=pace, **times)
    await server.start()
    try:
        yield server.address
    finally:
        await server.stop()
        await server.stop()


def somebody() -> str:
    return f"{unique('maria.muster')}@example.com"


# --- the whole way --------------------------------------------------------------------------------


async def notify(post: Post, channel: str) -> None:
    """A receipt: family and purpose that need no consent."""
    await post.create_rule(
        channel,
        family=rule_service_pb2.Rule.FAMILY_NOTIFICATION,
        purpose=types_pb2.PURPOSE_TRANSACTIONAL,
        steps=[
            step_pb(actions=[rule_service_pb2.Action(medium=EMAIL, subject="Paid", body="Yes.")])
        ],
        trigger=rule_service_pb2.Trigger(event_type="payment_received"),
    )


async def test_the_link_of_a_mail_works_to_the_end(post: Post) -> None:
    """A2, g5, R19, pitfall:one-click-target: what waits in another channel ends with the POST."""
    email = somebody()
    here = await post.create_channel(display_name="Käse & Co")
    there = await post.create_channel()
    for channel in (here, there):
        await post.create_rule(channel)
    sent = await post.publish(here, email)
    await post.daemon.engine.advance_to(post.clock.now_ms() + 8 * DAY_MS)
    waiting = await post.publish(there, email)
    (mail,) = post.mails_to(email)
    assert mail["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    shop = here.rpartition("/")[2]
    assert mail["List-Id"] == f"<review.{shop}.default.shop.example>"
    link = mail["List-Unsubscribe"].strip("<>")
    assert link.startswith(BASE + "/u/")
    plain = cast(EmailMessage, mail.get_body(("plain",))).get_content()
    assert link in plain, "and for those without a button"
    reply = await post.post(urlsplit(link).path)
    assert (reply.status, reply.headers["content-type"]) == (200, "text/plain; charset=utf-8")
    ended = await post.invitation(waiting)
    assert (ended.state, ended.reason) == (
        Invitation.STATE_SKIPPED, Invitation.REASON_UNSUBSCRIBED,
    )  # fmt: skip
    assert (await post.invitation(sent)).state == Invitation.STATE_SENT
    await post.daemon.engine.advance_to(post.clock.now_ms() + 8 * DAY_MS)
    assert len(post.mails_to(email)) == 1
    # Evidence (g1): who, how, and by which message.
    (view,) = [v for v in await post.views(email) if v.status == ConsentStatus.WITHDRAWN]
    assert (view.channel_name, view.purpose, view.medium) == ("", REVIEW, EMAIL)
    assert view.withdrawal is not None
    assert (view.withdrawal.actor, view.withdrawal.method) == ("recipient", "one-click")
    assert sent.endswith(view.withdrawal.invitation.hex())
    told = await post.consents.ListConsents(
        consent_service_pb2.ListConsentsRequest(
            parent=PARENT,
            contact=consent_service_pb2.ContactSelector(contact=event_pb2.Contact(email=email)),
        )
    )
    assert {c.actor for c in told.consents if c.name.endswith("/-.review.email")} == {"recipient"}


async def test_receipts_have_no_link_and_still_come(post: Post) -> None:
    """R16: unsubscribing from reviews must not block receipts."""
    email, channel = somebody(), await post.create_channel()
    await post.create_rule(channel)
    await notify(post, channel)
    assert (await post.post(post.link(channel, email), b"scope=everything")).status == 200
    event = event_pb(channel, contact=event_pb2.Contact(email=email), type="payment_received")
    event.occur_time.FromMilliseconds(post.clock.now_ms())
    await post.events.Publish(event_service_pb2.PublishRequest(event=event))
    await post.daemon.engine.advance_to(post.clock.now_ms() + 8 * DAY_MS)
    (mail,) = post.mails_to(email)
    for header in ("List-Unsubscribe", "List-Unsubscribe-Post", "List-Id"):
        assert mail[header] is None
    assert "/u/" not in mail.as_string()


async def test_marketing_is_a_stream_of_its_own(post: Post) -> None:
    """g5, g6: its link ends marketing, and the review request of the same order still comes."""
    email, channel = somebody(), await post.create_channel()
    await post.create_rule(channel)
    await post.create_rule(
        channel,
        family=rule_service_pb2.Rule.FAMILY_AUTOMATION,
        purpose=types_pb2.PURPOSE_MARKETING,
        trigger=rule_service_pb2.Trigger(event_type="checkout"),
        steps=[
            step_pb(f"step{days}", days, actions=[
                rule_service_pb2.Action(medium=EMAIL, subject="New", body="In our shop."),
            ])
            for days in (3, 30)
        ],
    )  # fmt: skip
    evidence = event_pb2.ConsentEvidence(purpose=MARKETING, medium=EMAIL, given=True)
    event = event_pb(channel, contact=event_pb2.Contact(email=email), consents=[evidence])
    event.occur_time.FromMilliseconds(post.clock.now_ms())
    await post.events.Publish(event_service_pb2.PublishRequest(event=event))
    await post.daemon.engine.advance_to(post.clock.now_ms() + 4 * DAY_MS)
    (mail,) = post.mails_to(email)
    shop = channel.rpartition("/")[2]
    assert mail["List-Id"] == f"<marketing.{shop}.default.shop.example>"
    link = mail["List-Unsubscribe"].strip("<>")
    assert (await post.post(urlsplit(link).path)).status == 200
    await post.daemon.engine.advance_to(post.clock.now_ms() + 40 * DAY_MS)
    streams = [each["List-Id"].partition(".")[0] for each in post.mails_to(email)]
    assert streams == ["<marketing", "<review"]


async def test_without_a_public_url_nothing_listens_and_no_link_is_made(
    tmp_path: Path, sink: SmtpSink
) -> None:
    async with open_post(tmp_path, sink, url="") as post:
        assert post.daemon.unsubscribe_address == ""
        assert not any("/u/" in line for line in serve.describe(post.daemon))
        email, channel = somebody(), await post.create_channel()
        await post.create_rule(channel)
        await post.publish(channel, email)
        await post.daemon.engine.advance_to(post.clock.now_ms() + 8 * DAY_MS)
        (mail,) = post.mails_to(email)
        assert mail["List-Unsubscribe"] is mail["List-Id"] is None


async def test_the_daemon_tells_where_links_are_answered(post: Post) -> None:
    assert f"links     {BASE}/u/ ({post.address})" in serve.describe(post.daemon)


# --- one click ------------------------------------------------------------------------------------

MULTIPART = (
    b'--x\r\nContent-Disposition: form-data; name="List-Unsubscribe"\r\n\r\nOne-Click\r\n--x--\r\n'
)
CHUNKED = b"5\r\nList-\r\n15;a=b\r\nUnsubscribe=One-Click\r\n0\r\nTrailer: x\r\n\r\n"


@pytest.mark.parametrize(
    ("body", "headers"),
    [
        (ONE_CLICK, (FORM,)),
        (ONE_CLICK, (FORM + "; charset=UTF-8",)),
        (MULTIPART, ("Content-Type: multipart/form-data; boundary=x",)),
        (CHUNKED, (FORM, "Transfer-Encoding: chunked")),
        (ONE_CLICK, (FORM, "Expect: 100-continue")),
        (ONE_CLICK, ("X-No: content type",)),
        (b"", ("Content-Length: 0",)),
        (b"", ()),
        (b"", (FORM,)),
        (b'{"scope": "shop"}', ("Content-Type: application/json",)),
        (b"\xff\x00%zz&&&===", (FORM,)),
        (b"&".join(b"a=%d" % n for n in range(100)), (FORM,)),
        (ONE_CLICK + b"&scope=shop", (FORM,)),
        (ONE_CLICK, (FORM, "Cookie: a=b", "Authorization: Basic eDp5", "Origin: null")),
    ],
    ids=lambda value: str(value)[:40],
)
async def test_every_post_is_a_click(post: Post, body: bytes, headers: tuple[str, ...]) -> None:
    """g5, pitfall:one-click-target."""
    email, channel = somebody(), await post.create_channel()
    link = post.link(channel, email)
    for _ in range(2):
        reply = await post.ask("POST", link, body, *headers)
        assert (reply.status, reply.text) == (200, "unsubscribed\n")
        assert await post.withdrawn(email) == {("", REVIEW)}
    (view,) = await post.views(email)
    assert view.withdrawal is not None
    assert (view.withdrawal.actor, view.withdrawal.method) == ("recipient", "one-click")


@pytest.mark.parametrize("target", ["{}", "/post{}", "{}?utm_source=mail&scope=shop"])
async def test_a_proxy_may_leave_the_path_and_others_may_add_a_query(
    post: Post, target: str
) -> None:
    email, channel = somebody(), await post.create_channel()
    assert (await post.post(target.format(post.link(channel, email)))).status == 200
    assert await post.withdrawn(email) == {("", REVIEW)}


async def test_a_body_too_long_is_ignored(post: Post) -> None:
    """Neither kept nor believed, and the click still counts."""
    channel = await post.create_channel()
    long = b"scope=shop&x=" + b"x" * BODY_BYTES_MAX
    chunks = b"8000\r\n" + b"x" * 0x8000 + b"\r\n"
    for body, headers in (
        (long, (FORM,)),
        (
            b"d\r\nscope=shop&x=\r\n" + 3 * chunks + b"0\r\n\r\n",
            (FORM, "Transfer-Encoding: chunked"),
        ),
        (b"x" * (DRAINED_BYTES_MAX // 2), (FORM, f"Content-Length: {DRAINED_BYTES_MAX // 2}")),
    ):
        email = somebody()
        reply = await post.ask("POST", post.link(channel, email), body, *headers)
        assert (reply.status, reply.text) == (200, "unsubscribed\n")
        assert await post.withdrawn(email) == {("", REVIEW)}
    # As long as may be is read.
    email = somebody()
    most = b"scope=shop&x=".ljust(BODY_BYTES_MAX, b"x")
    assert (await post.post(post.link(channel, email), most)).status == 200
    assert await post.withdrawn(email) == {(channel, REVIEW)}


async def test_clicks_at_once_all_count(post: Post) -> None:
    """Of one link and of many."""
    channel = await post.create_channel()
    emails = [somebody() for _ in range(40)]
    targets = [post.link(channel, email) for email in emails] + [post.link(channel, emails[0])] * 40
    replies = await asyncio.gather(*[post.post(target) for target in targets])
    assert {reply.status for reply in replies} == {200}
    for email in emails:
        assert await post.withdrawn(email) == {("", REVIEW)}


async def test_a_click_that_changes_nothing_is_not_kept_again(post: Post) -> None:
    """g1: a stranger with one link cannot fill the store; what was said since is ended all the same."""
    email, channel = somebody(), await post.create_channel()
    link, book = post.link(channel, email), post.daemon.engine.consents
    for body in (ONE_CLICK, ONE_CLICK, b"scope=account"):
        assert (await post.post(link, body)).status == 200
    assert len(await book.history(post.key(email), 0, 99)) == 2
    assert (await post.post(link, b"scope=shop")).status == 200
    assert (await post.post(link, b"scope=everything")).status == 200
    kept = len(await book.history(post.key(email), 0, 99))
    assert await post.withdrawn(email) == {("", REVIEW), ("", MARKETING), (channel, REVIEW)}
    post.clock.move_to_ms(post.clock.now_ms() + 1_000)
    who = consent_service_pb2.ContactSelector(contact=event_pb2.Contact(email=email))
    await post.consents.GrantConsent(
        consent_service_pb2.GrantConsentRequest(
            parent=PARENT, purpose=REVIEW, medium=EMAIL, collection_point="https://shop.example/",
            contact=who,
        )
    )  # fmt: skip
    assert ("", REVIEW) not in await post.withdrawn(email)
    assert (await post.post(link)).status == 200
    assert ("", REVIEW) in await post.withdrawn(email)
    assert len(await book.history(post.key(email), 0, 99)) == kept + 3


async def test_after_the_answer_no_later_event_plans_anything(post: Post) -> None:
    """R18: neither an order that the shop attests, nor a box that is ticked later, ends it."""
    email, channel = somebody(), await post.create_channel()
    await post.create_rule(channel)
    await post.publish(channel, email)
    assert (await post.post(post.link(channel, email))).status == 200
    later = await post.invitation(await post.publish(channel, email))
    assert (later.state, later.reason) == (
        Invitation.STATE_SKIPPED, Invitation.REASON_UNSUBSCRIBED,
    )  # fmt: skip
    post.clock.move_to_ms(post.clock.now_ms() + 1_000)
    ticked = await post.invitation(await post.publish(channel, email))
    assert (ticked.state, ticked.reason) == (
        Invitation.STATE_SKIPPED, Invitation.REASON_UNSUBSCRIBED,
    )  # fmt: skip


# --- looking changes nothing ----------------------------------------------------------------------


async def test_looking_changes_nothing(post: Post) -> None:
    """pitfall:unsubscribe-by-get: scanners follow links."""
    email, channel = somebody(), await post.create_channel()
    await post.create_rule(channel)
    name = await post.publish(channel, email)
    store, key = post.daemon.engine.store, post.key(email)
    partition = partition_of(key, store.meta.partition_count)
    before = await store.contact(partition, key)
    counters = await store.counters(range(store.meta.partition_count))
    link = post.link(channel, email)
    seen = set()
    for _ in range(10):
        shown = await post.ask("GET", link)
        headed = await post.ask("HEAD", link)
        assert (shown.status, headed.status, headed.text) == (200, 200, "")
        assert headed.headers == shown.headers
        seen.add(shown.text)
    assert len(seen) == 1
    # A GET is no POST because it has a body or says so.
    await post.ask("GET", link + "?scope=everything", ONE_CLICK, FORM, "X-HTTP-Method: POST")
    for method in ("PUT", "DELETE", "PATCH", "OPTIONS", "post"):
        refused = await post.ask(method, link, ONE_CLICK, FORM)
        assert (refused.status, refused.headers["allow"]) == (405, "GET, HEAD, POST")
    assert await store.contact(partition, key) == before
    assert await store.counters(range(store.meta.partition_count)) == counters
    assert (await post.invitation(name)).state == Invitation.STATE_SCHEDULED
    assert await post.withdrawn(email) == set()


# --- the page -------------------------------------------------------------------------------------


class Form(HTMLParser):
    """What a page offers."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.language = ""
        self.choices: dict[str, bool] = {}
        self.tags: list[str] = []
        self.attributes: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.tags.append(tag)
        self.attributes |= given.keys()
        if tag == "html":
            self.language = given["lang"] or ""
        if tag == "input":
            assert (given["type"], given["name"]) == ("radio", "scope")
            self.choices[given["value"] or ""] = "checked" in given


@pytest.mark.parametrize(
    ("scope", "purposes", "is_of_channel"),
    [
        ("account", {REVIEW}, False),
        ("shop", {REVIEW}, True),
        ("everything", {REVIEW, MARKETING}, False),
        ("nonsense", {REVIEW}, False),
        ("", {REVIEW}, False),
    ],
)
async def test_the_page_offers_choices_and_tells_what_was_done(
    post: Post, scope: str, purposes: set[int], is_of_channel: bool
) -> None:
    """R19."""
    email, channel = somebody(), await post.create_channel(display_name="<b>Käse & Co</b>")
    other = await post.create_channel()
    for each in (channel, other):
        await post.create_rule(each)
    names = [await post.publish(each, email) for each in (channel, other)]
    link = post.link(channel, email)
    shown = await post.ask("GET", link)
    form = Form(shown.text)
    assert form.choices == {"account": True, "shop": False, "everything": False}
    assert "role=" not in shown.text
    assert shown.text.count("&lt;b&gt;Käse &amp; Co&lt;/b&gt;") == 1
    reply = await post.post(link, f"scope={scope}".encode())
    assert (reply.status, reply.headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert 'role="status"' in reply.text
    assert "Done." in reply.text
    assert reply.text.count("&lt;b&gt;Käse &amp; Co&lt;/b&gt;") == 1 + is_of_channel
    wanted = channel if is_of_channel else ""
    assert await post.withdrawn(email) == {(wanted, purpose) for purpose in purposes}
    withdrawn = [v.withdrawal for v in await post.views(email) if v.withdrawal is not None]
    methods = {document.method for document in withdrawn}
    assert methods == {"page"}
    states = [(await post.invitation(name)).state for name in names]
    here, there = Invitation.STATE_SKIPPED, Invitation.STATE_SKIPPED
    assert states == [here, Invitation.STATE_SCHEDULED if is_of_channel else there]


async def test_the_scope_of_one_click_is_a_setting(post: Post) -> None:
    """R19: `unsubscribe.scope = channel`."""
    email, channel = somebody(), await post.create_channel()
    link = post.link(channel, email)
    gone = replace(post.ticket(channel, email), member=post.key(email) + bytes(6) + b"\xff\xfe")
    async with own_server(post, default=Choice.CHANNEL) as address:
        form = Form((await post.ask("GET", link, address=address)).text)
        assert form.choices == {"account": False, "shop": True, "everything": False}
        assert (await post.ask("POST", link, ONE_CLICK, FORM, address=address)).status == 200
        assert await post.withdrawn(email) == {(channel, REVIEW)}
        target = "/u/" + post.tokens.make(gone)
        form = Form((await post.ask("GET", target, address=address)).text)
        assert form.choices == {"account": True, "everything": False}
        assert (await post.ask("POST", target, address=address)).status == 200
        assert await post.withdrawn(email) == {(channel, REVIEW), ("", REVIEW)}


async def test_a_link_of_marketing_leaves_reviews_alone(post: Post) -> None:
    """R16, R19."""
    email, channel = somebody(), await post.create_channel()
    await post.create_rule(channel)
    name = await post.publish(channel, email)
    link = post.link(channel, email, MARKETING)
    assert "Offers and news" in (await post.ask("GET", link)).text
    assert (await post.post(link)).status == 200
    assert await post.withdrawn(email) == {("", MARKETING)}
    assert (await post.invitation(name)).state == Invitation.STATE_SCHEDULED


async def test_a_link_outlives_its_channel(post: Post) -> None:
    email, channel = somebody(), await post.create_channel()
    ticket = post.ticket(channel, email)
    gone = replace(ticket, member=ticket.member[:14] + b"\xff\xfe")
    link = "/u/" + post.tokens.make(gone)
    assert Form((await post.ask("GET", link)).text).choices.keys() == {"account", "everything"}
    assert (await post.post(link, b"scope=shop")).status == 200
    assert await post.withdrawn(email) == {("", REVIEW)}


@pytest.mark.parametrize(
    ("known", "accepted", "language"),
    [
        ("pl", "de", "pl"),
        ("", "de-AT,de;q=0.9,en;q=0.8", "de"),
        ("", "it, fr;q=0.5, es;q=0.7", "es"),
        ("", "it, pt-BR", "pt"),
        ("", "fr;q=0, *", "en"),
        ("", "de;q=9, ;;q=, \x00, " + "x" * 5_000, "en"),
        ("", "", "en"),
        ("", "xx," * 20 + "de", "en"),
    ],
)
async def test_the_page_speaks_the_language_of_its_reader(
    post: Post, known: str, accepted: str, language: str
) -> None:
    email, channel = somebody(), await post.create_channel()
    link = post.link(channel, email, language=known)
    if "\x00" not in accepted:
        shown = await post.ask("GET", link, b"", f"Accept-Language: {accepted}")
        assert Form(shown.text).language == shown.headers["content-language"] == language
        assert WORDS[language].button in shown.text
    assert page_language(known, accepted) == language


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("purpose", [REVIEW, MARKETING])
async def test_the_page_is_whole_in_every_language(post: Post, language: str, purpose: int) -> None:
    email, channel = somebody(), await post.create_channel(display_name="Shop")
    link = post.link(channel, email, purpose, language)
    pages = [await post.ask("GET", link)]
    pages += [
        await post.post(link, f"scope={s}".encode()) for s in ("account", "shop", "everything")
    ]
    for shown in pages:
        form = Form(shown.text)
        assert form.language == language
        assert not re.search(r"[{}]", re.sub("<style>.*</style>", "", shown.text)), "a gap"
        assert len(form.choices) == form.tags.count("label") == 3
        assert {"legend", "h1", "title", "button", "main"} <= set(form.tags)
        assert {"script", "img", "link", "a", "iframe"}.isdisjoint(form.tags)
        assert not {a for a in form.attributes if a.startswith("on")} | {"style"} & form.attributes
        assert 'name="viewport"' in shown.text
        assert email not in shown.text
        assert "maria" not in shown.text
    assert len({shown.text for shown in pages}) == 4, "each tells something else"


async def test_every_answer_keeps_itself_to_itself(post: Post) -> None:
    email, channel = somebody(), await post.create_channel()
    link = post.link(channel, email)
    shown = await post.ask("GET", link)
    (style,) = re.findall("<style>(.*)</style>", shown.text)
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    for reply in (
        shown,
        await post.post(link),
        await post.post(link, b"scope=shop"),
        await post.ask("GET", "/u/x"),
        await post.ask("GET", "/elsewhere"),
        await post.ask("PUT", link),
    ):
        assert reply.headers["cache-control"] == "no-store"
        assert reply.headers["referrer-policy"] == "no-referrer"
        assert reply.headers["x-content-type-options"] == "nosniff"
        policy = reply.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert f"style-src 'sha256-{digest}'" in policy
        assert "form-action 'self'" in policy
        assert "frame-ancestors 'none'" in policy
        assert reply.headers["connection"] == "close"


# --- strangers ------------------------------------------------------------------------------------


async def test_no_altered_token_is_taken(post: Post) -> None:
    """Every character, by its neighbour in the alphabet and by another."""
    email, channel = somebody(), await post.create_channel()
    link = post.link(channel, email)
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    targets = []
    for place in range(len("/u/"), len(link)):
        at = alphabet.index(link[place])
        targets += [
            link[:place] + alphabet[(at + step) % 64] + link[place + 1 :]
            for step in (1, 16, 32, 63)
        ]
    targets += [
        link[:-1],
        link + "A",
        link + "=",
        link + "/",
        link + "%00",
        "/u/",
        "/u//",
        "/u/../u/",
    ]
    targets += ["/u/" + UnsubscribeTokens((b"other",)).make(post.ticket(channel, email))]
    refused = post.daemon.engine.stats.unsubscribe_tokens_refused
    for start in range(0, len(targets), 50):
        some = targets[start : start + 50]
        replies = await asyncio.gather(*[post.post(target) for target in some])
        assert {reply.status for reply in replies} == {404}
        assert len({reply.text for reply in replies}) == 1
    assert post.daemon.engine.stats.unsubscribe_tokens_refused == refused + len(targets)
    assert await post.views(email) == []
    shown = await post.ask("GET", link[:-1], b"", "Accept-Language: de")
    assert (shown.status, shown.headers["content-type"]) == (404, "text/html; charset=utf-8")
    assert WORDS["de"].unknown in shown.text
    assert "form" not in Form(shown.text).tags


async def test_only_links_are_served_here_and_no_link_elsewhere(post: Post) -> None:
    """The metrics stay inside."""
    email, channel = somebody(), await post.create_channel()
    link = post.link(channel, email)
    for path in ("/metrics", "/healthz", "/readyz", "/", "/u", "//u/x", "*", f"http://x{link}"):
        assert (await post.ask("GET", path)).text == "Not Found\n"
    inside = await post.ask("GET", link, address=post.daemon.http_address)
    assert inside.status == 404
    assert (await post.ask("POST", link, address=post.daemon.http_address)).status == 405
    assert await post.withdrawn(email) == set()


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"POST\r\n\r\n", 400),
        (b"POST {link} SMTP\r\n\r\n", 400),
        (b"POST {link} HTTP/1.1\r\nno colon\r\n\r\n", 400),
        (b"POST {link} HTTP/1.1 \r\n\r\n", 400),
        (b"POST {link} HTTP/1.10\r\n\r\n", 400),
        (b"POST {link} HTTP/1.1\r\nX: a\n\nB: c\r\n\r\n", 400),
        (b"POST {link} HTTP/1.1\r\nX: a\rContent-Length: 9\r\n\r\n", 400),
        (b"POST {link} HTTP/1.1\r\nX: a\0b\r\n\r\n", 400),
        (b"POST {link} HTTP/1.1\r\nX: a\r\n folded\r\n\r\n", 400),
        (
            b"POST {link} HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"
            + b"1\r\nx\r\n" * 30_000
            + b"0\r\n\r\n",
            400,
        ),
        (
            b"POST {link} HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"
            + (b"1;" + b"e" * 4_000 + b"\r\nx\r\n") * 30
            + b"0\r\n\r\n",
            400,
        ),
        (b"POST {link} HTTP/1.1\r\nContent-Length : 1\r\n\r\nx", 400),
        (b"POST {link} HTTP/1.1\r\nContent-Length: -1\r\n\r\n", 400),
        (b"POST {link} HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\nx", 400),
        (b"POST {link} HTTP/1.1\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
        (b"POST {link} HTTP/1.1\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", 400),
        (b"POST {link} HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n", 400),
        (b"POST {link} HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nabc\r\n", 400),
        (b"POST {link} HTTP/1.1\r\nX: " + b"x" * 20_000, 431),
    ],
    ids=lambda value: str(value)[:60],
)
async def test_rubbish_is_refused_and_does_nothing(
    post: Post, request_: bytes, status: int
) -> None:
    email, channel = somebody(), await post.create_channel()
    link = post.link(channel, email).encode()
    try:
        reply = await exchange(post.address, request_.replace(b"{link}", link))
    except (ConnectionResetError, BrokenPipeError):
        is_endless = status == 431 or len(request_) > 50_000
        assert is_endless, "only who sends on and on may lose its answer"
    else:
        assert reply.status == status
    assert await post.withdrawn(email) == set()


async def test_slow_clients_are_cut_off(post: Post) -> None:
    email, channel = somebody(), await post.create_channel()
    link = post.link(channel, email)
    async with own_server(post, read_s=0.3) as address:
        for sent in (
            b"",
            f"POST {link} HTTP/1.1\r\nHost".encode(),
            f"POST {link} HTTP/1.1\r\nContent-Length: 30\r\n\r\nList-".encode(),
            f"POST {link} HTTP/1.1\r\nContent-Length: 99999\r\n\r\nList-".encode(),
            f"POST {link} HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nList-".encode(),
        ):
            assert (await exchange(address, sent)).status == 408
        assert await post.withdrawn(email) == set(), "half a request asks for nothing"
        assert (await post.ask("POST", link, address=address)).status == 200


async def test_connections_are_bounded(post: Post) -> None:
    email, channel = somebody(), await post.create_channel()
    link = post.link(channel, email)
    async with own_server(post, read_s=5) as address:
        host, port = address.rsplit(":", 1)
        idle = [await asyncio.open_connection(host, int(port)) for _ in range(CONNECTIONS_MAX)]
        reader, writer = await asyncio.open_connection(host, int(port))
        assert await reader.read() == b""
        for _, each in [*idle, (reader, writer)]:
            each.close()
        await asyncio.gather(*[w.wait_closed() for _, w in idle], return_exceptions=True)
        async with asyncio.timeout(5):
            while True:
                with contextlib.suppress(ConnectionError, IndexError):
                    if (await post.ask("POST", link, address=address)).status == 200:
                        break


async def test_withdrawals_are_paced(post: Post) -> None:
    channel = await post.create_channel()
    now_s = [100.0]
    async with own_server(post, pace=Pace(2, 3, lambda: now_s[0])) as address:

        async def click(body: bytes = b"", *headers: str) -> Reply:
            link = post.link(channel, somebody())
            return await post.ask("POST", link, body, *headers, address=address)

        assert [(await click()).status for _ in range(4)] == [200, 200, 200, 503]
        refused = await click(b"scope=shop", FORM, "Accept-Language: fr")
        assert (refused.status, refused.headers["retry-after"]) == (503, "30")
        assert WORDS["en"].away in refused.text
        now_s[0] += 0.5
        assert [(await click()).status for _ in range(2)] == [200, 503]
        now_s[0] += 1_000
        assert [(await click()).status for _ in range(4)] == [200, 200, 200, 503]


# --- when the store is away -----------------------------------------------------------------------


@pytest.fixture
def frozen_store(post: Post) -> Callable[[], contextlib.AbstractContextManager[None]]:
    """Stop the store for the length of a block."""

    @contextlib.contextmanager
    def freeze() -> object:  # type: ignore[misc]
        assert post.daemon.embedded is not None
        assert post.daemon.embedded.pid is not None
        pid = post.daemon.embedded.pid
        os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(pid, signal.SIGCONT)

    return freeze  # type: ignore[return-value]


async def test_while_the_store_is_away_nobody_is_told_that_it_is_done(
    post: Post, frozen_store: Callable[[], contextlib.AbstractContextManager[None]]
) -> None:
    """503 says come again; having come again, it is done."""
    email, channel = somebody(), await post.create_channel()
    await post.create_rule(channel)
    name = await post.publish(channel, email)
    link = post.link(channel, email, language="de")
    async with own_server(post, withdraw_s=0.3) as address:
        with frozen_store():
            clicked = await post.ask("POST", link, ONE_CLICK, FORM, address=address)
            assert (clicked.status, clicked.headers["retry-after"]) == (503, "30")
            chosen = await post.ask("POST", link, b"scope=everything", FORM, address=address)
            assert (chosen.status, chosen.headers["retry-after"]) == (503, "30")
            assert WORDS["de"].away in chosen.text
            looked = await post.ask("GET", link, address=address)
            assert looked.status == 200, "the page needs no store"
        assert (await post.ask("POST", link, ONE_CLICK, FORM, address=address)).status == 200
    assert ("", REVIEW) in await post.withdrawn(email)
    assert (await post.invitation(name)).reason == Invitation.REASON_UNSUBSCRIBED


async def test_a_bug_is_no_success_and_tells_nothing_of_its_inside(
    post: Post, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def broken(*_: object, **__: object) -> None:
        raise KeyError("maria@example.com")

    monkeypatch.setattr(post.daemon.engine.consents, "unsubscribe", broken)
    reply = await post.post(post.link(await post.create_channel(), somebody()))
    assert (reply.status, reply.text) == (500, "Internal Server Error\n")
    assert "KeyError" in caplog.text
    assert "maria" not in caplog.text


async def test_a_store_that_comes_back_at_once_is_waited_for(
    tmp_path: Path, sink: SmtpSink
) -> None:
    async with open_post(tmp_path, sink) as post:
        email, channel = somebody(), await post.create_channel()
        embedded = post.daemon.embedded
        assert embedded is not None
        assert embedded.pid is not None
        os.kill(embedded.pid, signal.SIGKILL)
        assert (await post.post(post.link(channel, email))).status == 200
        assert await post.withdrawn(email) == {("", REVIEW)}
        assert embedded.restarts == 1


async def test_who_has_asked_is_answered_though_the_daemon_stops(
    tmp_path: Path, sink: SmtpSink
) -> None:
    async with open_post(tmp_path, sink) as post:
        email, channel = somebody(), await post.create_channel()
        host, port = post.address.rsplit(":", 1)
        reader, writer = await asyncio.open_connection(host, int(port))
        link = post.link(channel, email)
        writer.write(f"POST {link} HTTP/1.1\r\nContent-Length: 4\r\n\r\n".encode())
        await writer.drain()
        await asyncio.sleep(0)
        # The connection is taken before the next one is.
        assert (await post.ask("GET", link)).status == 200
        stop = asyncio.create_task(post.daemon.stop())
        writer.write(b"done")
        assert (await reader.read()).startswith(b"HTTP/1.1 200 ")
        writer.close()
        await stop
    async with open_post(tmp_path, sink) as post:
        assert await post.withdrawn(email) == {("", REVIEW)}, "and links outlive the process"
        assert (await post.ask("GET", link)).status == 200


# --- counting -------------------------------------------------------------------------------------


async def test_metrics_count_unsubscribes_by_way(post: Post) -> None:
    async def counts() -> dict[str, float]:
        reply = await post.ask("GET", "/metrics", address=post.daemon.http_address)
        found = re.findall(r"^(afterword_unsub\S+) (\S+)$", reply.text, re.MULTILINE)
        return {name: float(value) for name, value in found}

    before = await counts()
    link = post.link(await post.create_channel(), somebody())
    await post.post(link)
    await post.post(link)
    await post.post(link, b"scope=everything")
    await post.ask("GET", link + "x")
    await post.ask("GET", link)
    after = await counts()
    assert {name: after[name] - before[name] for name in after} == {
        'afterword_unsubscribes_total{way="one_click"}': 2,
        'afterword_unsubscribes_total{way="page"}': 1,
        "afterword_unsubscribe_tokens_refused_total": 1,
    }
