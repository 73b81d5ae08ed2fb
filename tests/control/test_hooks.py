"""Hooks and review links over real sockets: a daemon, a stand-in for an SMS provider, and its calls.

Through a proxy that leaves the path as it is: `public.url` has one, and it is what providers sign.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import hmac
import html
import json
import os
import re
import signal
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

import grpc
import pytest
import pytest_asyncio
from msgspec.structs import replace

from afterword.v1 import (
    channel_service_pb2,
    consent_service_pb2,
    event_pb2,
    event_service_pb2,
    invitation_service_pb2,
    platform_service_pb2,
    review_service_pb2,
    review_service_pb2_grpc,
    rule_service_pb2,
    sender_service_pb2,
    sender_service_pb2_grpc,
    types_pb2,
)
from control.cli.main import main
from control.daemon import Daemon
from control.pace import Pace
from control.public.clicks import ReviewClicks
from control.public.hooks.desk import BODY_BYTES_MAX, HookDesk, hook_url
from control.public.request import Request
from control.settings import Allow, Public, SecretOptions, Unsubscribe
from core.bounds import DAY_MS
from core.clock import ManualClock
from core.gate import ClaimCode
from core.model import State
from core.partitions import partition_of
from core.ports import Settlement
from senders.credentials import Secrets
from tests.conformance.kit import far, item
from tests.control.kit import (
    NOW_MS,
    PARENT,
    Outbox,
    Shop,
    event_pb,
    refused,
    settings_for,
    step_pb,
    unique,
)

pytestmark = pytest.mark.asyncio(loop_scope="module")

BASE = "https://mail.shop.example/post"
TOKEN, APP_SECRET, VERIFY = "twilio-auth-token", "meta-app-secret", "v3rify"
KEY = b"0123456789abcdef0123456789abcdef"
NUMBER_ID = "106540352242922"
FORM = "application/x-www-form-urlencoded"
FAR_FUTURE_MS = 2**47
Invitation = invitation_service_pb2.Invitation
SECRETS = {
    "twilio": TOKEN, "hook-chat": APP_SECRET, "hook-chat-verify": VERIFY, "chat": "access-token",
    "hook-relay": "whsec_" + base64.b64encode(KEY).decode(),
}  # fmt: skip


class Reply(NamedTuple):
    """What came back."""

    status: int
    headers: dict[str, str]
    text: str


async def exchange(
    address: str, method: str, target: str, headers: dict[str, str], body: bytes = b""
) -> Reply:
    host, port = address.rsplit(":", 1)
    reader, writer = await asyncio.open_connection(host, int(port))
    given = {"Host": "mail.shop.example", **headers}
    if body:
        given = {"Content-Length": str(len(body)), **given}
    head = f"{method} {target} HTTP/1.1\r\n" + "".join(f"{n}: {v}\r\n" for n, v in given.items())
    try:
        writer.write(head.encode("latin-1") + b"\r\n" + body)
        async with asyncio.timeout(20):
            raw = await reader.read()
    finally:
        writer.close()
    head, _, text = raw.decode().partition("\r\n\r\n")
    line, *lines = head.split("\r\n")
    pairs = (each.partition(": ") for each in lines)
    return Reply(int(line.split(" ")[1]), {name.lower(): value for name, _, value in pairs}, text)


class Provider:
    """Takes text messages in the form of Twilio's API, and keeps them."""

    def __init__(self) -> None:
        self.forms: list[dict[str, str]] = []
        self.before_answer: Callable[[dict[str, str]], Any] | None = None
        self.url = ""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                size = next(
                    int(line.split(":")[1])
                    for line in head.split("\r\n")
                    if line.lower().startswith("content-length")
                )
                form = dict(parse_qsl((await reader.readexactly(size)).decode()))
                self.forms.append(form)
                if self.before_answer is not None:
                    await self.before_answer(form)
                answer = json.dumps(
                    {"sid": f"SM{len(self.forms):032x}", "status": "queued"}
                ).encode()
                writer.write(
                    b"HTTP/1.1 201 Created\r\nContent-Type: application/json\r\n"
                    b"Content-Length: %d\r\n\r\n%b" % (len(answer), answer)
                )
                await writer.drain()
        writer.close()


class Town(Shop):
    """A daemon that sends text messages to a stand-in, and hears of them."""

    provider: Provider

    @property
    def address(self) -> str:
        return self.daemon.unsubscribe_address

    @property
    def hooks(self) -> dict[tuple[str, str], int]:
        return dict(self.daemon.engine.stats.hook_items)

    async def ask(self, method: str, target: str, body: bytes = b"", **headers: str) -> Reply:
        return await exchange(
            self.address, method, target, {n.replace("_", "-"): v for n, v in headers.items()}, body
        )

    # Twilio -----------------------------------------------------------------------------------

    async def twilio(self, url: str, token: str = TOKEN, **fields: str) -> Reply:
        """Call as the provider does, signed by its documentation."""
        text = url + "".join(name + fields[name] for name in sorted(fields))
        signed = base64.b64encode(hmac.new(token.encode(), text.encode(), hashlib.sha1).digest())
        path = url.removeprefix("https://mail.shop.example")
        return await self.ask(
            "POST", path, urlencode(fields).encode(), Content_Type=FORM,
            X_Twilio_Signature=signed.decode(),
        )  # fmt: skip

    # WhatsApp ---------------------------------------------------------------------------------

    async def meta(self, value: dict[str, Any], secret: str = APP_SECRET) -> Reply:
        metadata = {"metadata": {"phone_number_id": NUMBER_ID}}
        changes = [{"field": "messages", "value": {**metadata, **value}}]
        body = json.dumps({"entry": [{"id": "1", "changes": changes}]}).encode()
        signed = hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
        return await self.ask(
            "POST", f"/post/hooks/default/{SENDERS['chat']}/whatsapp", body,
            Content_Type="application/json", X_Hub_Signature_256=f"sha256={signed}",
        )  # fmt: skip

    # The plain form ---------------------------------------------------------------------------

    async def relay(
        self, *items: dict[str, str], key: bytes = KEY, at_s: float = 0, raw: bytes = b""
    ) -> Reply:
        body = raw or json.dumps({"feedback": items}).encode()
        stamp = str(int(at_s or time.time()))
        signed = hmac.new(key, f"id-1.{stamp}.".encode() + body, hashlib.sha256).digest()
        return await self.ask(
            "POST", "/post/hooks/default/relay/email", body, webhook_id="id-1",
            webhook_timestamp=stamp, webhook_signature="v1," + base64.b64encode(signed).decode(),
        )  # fmt: skip

    # Messages ---------------------------------------------------------------------------------

    async def shop(self, *media: int, reminds: bool = False, **fields: Any) -> str:
        """Open a channel that asks for reviews over these media; its name."""
        senders = [
            channel_service_pb2.Channel.MediumSender(
                medium=types_pb2.MEDIUM_SMS, sender=f"{PARENT}/senders/{SENDERS['sms']}"
            )
        ]
        channel = await self.create_channel(senders=senders, **fields)
        actions = [rule_service_pb2.Action(medium=medium) for medium in media]
        steps = [step_pb(actions=actions)]
        if reminds:
            base = rule_service_pb2.Wait.BASE_PREVIOUS_STEP_SENT
            wait = rule_service_pb2.Wait(days=5, base=base)
            steps.append(step_pb("again", wait=wait, actions=actions))
        await self.create_rule(channel, steps=steps)
        return channel

    async def order(self, channel: str, **contact: str) -> list[str]:
        """Publish a checkout; the names of its invitations."""
        event = event_pb(channel, contact=event_pb2.Contact(**contact))
        event.occur_time.FromMilliseconds(self.clock.now_ms())
        answer = await self.events.Publish(event_service_pb2.PublishRequest(event=event))
        return list(answer.result.invitations)

    async def week(self) -> None:
        await self.daemon.engine.advance_to(self.clock.now_ms() + 8 * DAY_MS)

    async def text(self, channel: str = "") -> tuple[str, str, dict[str, str]]:
        """Send a text message; the name of its invitation, the phone, and what the provider got."""
        channel = channel or await self.shop(types_pb2.MEDIUM_SMS)
        phone = a_phone()
        (name,) = await self.order(channel, phone=phone)
        await self.week()
        (form,) = [form for form in self.provider.forms if form["To"] == phone]
        return name, phone, form

    async def mail(self, channel: str = "") -> tuple[str, str]:
        """Send an e-mail; the name of its invitation, and to whom."""
        channel = channel or await self.shop(types_pb2.MEDIUM_EMAIL)
        email = f"{unique('ana')}@example.com"
        (name,) = await self.order(channel, email=email)
        await self.week()
        return name, email

    async def invitation(self, name: str) -> Invitation:
        request = invitation_service_pb2.GetInvitationRequest(name=name)
        found: Invitation = await self.invitations.GetInvitation(request)
        return found

    async def withdrawn(self, phone: str) -> set[tuple[int, int]]:
        """Return (purpose, medium) of what a phone has withdrawn."""
        who = consent_service_pb2.ContactSelector(contact=event_pb2.Contact(phone=phone))
        listed = await self.consents.ListConsents(
            consent_service_pb2.ListConsentsRequest(parent=PARENT, contact=who)
        )
        state = consent_service_pb2.Consent.STATE_WITHDRAWN
        return {(each.purpose, each.medium) for each in listed.consents if each.state == state}


SENDERS = {"sms": "sms", "chat": "chat"}


def a_phone() -> str:
    return f"+346{int(unique('p').split('-')[1]):08d}"


def delivery_of(name: str) -> str:
    return name.rpartition("/")[2]


@contextlib.asynccontextmanager
async def open_town(folder: Path) -> AsyncIterator[Town]:
    secrets = folder / "secrets" / "default"
    secrets.mkdir(parents=True)
    for name, text in SECRETS.items():
        (secrets / name).write_text(f"{text}\n")
    provider = Provider()
    server = await asyncio.start_server(provider.serve, "127.0.0.1", 0)
    provider.url = "http://127.0.0.1:%d" % server.sockets[0].getsockname()[1]
    settings = replace(
        settings_for(folder),
        public=Public(url=BASE),
        unsubscribe=Unsubscribe(listen="127.0.0.1:0"),
        secrets=SecretOptions(dir=str(folder / "secrets")),
        allow=Allow(private_endpoints=True),
    )
    clock = ManualClock(NOW_MS)
    daemon = Daemon(settings, clock=clock)
    await daemon.start()
    try:
        async with grpc.aio.insecure_channel(daemon.grpc_address) as channel:
            town = Town(channel, daemon, clock, Outbox())
            town.provider = provider
            stub = sender_service_pb2_grpc.SenderServiceStub(channel)
            kinds = sender_service_pb2.Sender
            for sender_id, sender in (
                (SENDERS["sms"], kinds(
                    kind=kinds.KIND_SMS_TWILIO, provider_account="AC1", origin="+34600000000",
                    credential="secret:twilio", endpoint=provider.url,
                )),
                (SENDERS["chat"], kinds(
                    kind=kinds.KIND_WHATSAPP_CLOUD, origin=NUMBER_ID, credential="secret:chat",
                )),
            ):  # fmt: skip
                await stub.CreateSender(
                    sender_service_pb2.CreateSenderRequest(
                        parent=PARENT, sender_id=sender_id, sender=sender
                    )
                )
            yield town
    finally:
        await daemon.stop()
        server.close()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def town(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Town]:
    async with open_town(tmp_path_factory.mktemp("town")) as opened:
        yield opened


# --- what became of text messages -------------------------------------------------------------------


async def test_a_text_message_is_delivered_once_its_provider_says_so(town: Town) -> None:
    """g10: from the request to the provider, by its own callback address, to the state."""
    name, _, form = await town.text()
    assert (await town.invitation(name)).state == Invitation.STATE_SENT
    callback = form["StatusCallback"]
    assert callback == f"{BASE}/hooks/default/sms/twilio?message={delivery_of(name)}"
    before = town.hooks
    reply = await town.twilio(callback, MessageSid="SM1", MessageStatus="delivered", To=form["To"])
    assert (reply.status, reply.headers["content-type"]) == (200, "text/xml; charset=utf-8")
    assert reply.text.endswith("<Response/>\n"), "anything else would be sent as an answer"
    found = await town.invitation(name)
    assert found.state == Invitation.STATE_DELIVERED
    assert found.HasField("deliver_time")
    reply = await town.twilio(callback, MessageSid="SM1", MessageStatus="delivered", To=form["To"])
    assert reply.status == 200
    after = town.hooks
    assert after["twilio", "taken"] - before.get(("twilio", "taken"), 0) == 1
    assert after["twilio", "again"] - before.get(("twilio", "again"), 0) == 1


async def test_what_the_provider_did_not_sign_changes_nothing(town: Town) -> None:
    """g10: another token, another message in the address, another status, no signature."""
    name, _, form = await town.text()
    other, _, _ = await town.text()
    callback, fields = (
        form["StatusCallback"],
        {"MessageStatus": "undelivered", "ErrorCode": "30005"},
    )
    assert (await town.twilio(callback, "another-token", **fields)).status == 401
    body = urlencode(fields).encode()
    path = callback.removeprefix("https://mail.shop.example")
    assert (await town.ask("POST", path, body, Content_Type=FORM)).status == 401
    signed = await sign_then_alter(
        town, callback, callback.replace(*map(delivery_of, (name, other)))
    )
    assert signed.status == 401
    for each in (name, other):
        assert (await town.invitation(each)).state == Invitation.STATE_SENT
    assert town.hooks["twilio", "forged"] >= 3


async def sign_then_alter(town: Town, url: str, altered: str) -> Reply:
    text = f"{url}MessageStatusdelivered"
    signed = base64.b64encode(hmac.new(TOKEN.encode(), text.encode(), hashlib.sha1).digest())
    assert altered != url
    return await town.ask(
        "POST", altered.removeprefix("https://mail.shop.example"), b"MessageStatus=delivered",
        Content_Type=FORM, X_Twilio_Signature=signed.decode(),
    )  # fmt: skip


async def test_a_number_that_takes_nothing_gets_nothing_more(town: Town) -> None:
    """g10: the bounce suppresses, and what waits ends."""
    channel = await town.shop(types_pb2.MEDIUM_SMS)
    name, phone, form = await town.text(channel)
    (waiting,) = await town.order(channel, phone=phone)
    fields = {"MessageStatus": "undelivered", "ErrorCode": "30005"}
    assert (await town.twilio(form["StatusCallback"], **fields)).status == 200
    found = await town.invitation(name)
    assert found.state == Invitation.STATE_NOT_DELIVERED
    assert found.reason == Invitation.REASON_INVALID_RECIPIENT
    ended = await town.invitation(waiting)
    assert (ended.state, ended.reason) == (Invitation.STATE_SKIPPED, Invitation.REASON_SUPPRESSED)


async def test_a_callback_that_comes_before_the_answer_waits_for_it(town: Town) -> None:
    """R48: providers are quick; what they say of a message in flight must not be lost."""
    calls: list[asyncio.Task[Reply]] = []

    async def before(form: dict[str, str]) -> None:
        call = town.twilio(form["StatusCallback"], MessageStatus="delivered")
        calls.append(asyncio.create_task(call))
        await asyncio.sleep(0.2)

    town.provider.before_answer = before
    try:
        name, _, _ = await town.text()
    finally:
        town.provider.before_answer = None
    (call,) = calls
    assert (await call).status == 200
    assert (await town.invitation(name)).state == Invitation.STATE_DELIVERED


async def test_what_a_provider_says_of_other_messages_is_taken_and_counted(town: Town) -> None:
    """Else it would be said for ever."""
    before = town.hooks.get(("twilio", "unknown"), 0)
    url = f"{BASE}/hooks/default/sms/twilio"
    for query in ("", "?message=nonsense", f"?message={'0' * 32}"):
        assert (await town.twilio(url + query, MessageStatus="delivered")).status == 200
    assert town.hooks["twilio", "unknown"] - before == 3


async def test_a_message_whose_answer_was_lost_is_settled_by_its_callback(town: Town) -> None:
    """R48: what is unknown is held, not sent twice; its callback says what became of it."""

    async def hang_up(form: dict[str, str]) -> None:
        raise ConnectionResetError

    said = [
        ("sent", Invitation.STATE_SENT), ("delivered", Invitation.STATE_DELIVERED),
        ("failed", Invitation.STATE_NOT_DELIVERED),
    ]  # fmt: skip
    for status, state in said:
        town.provider.before_answer = hang_up
        try:
            name, _, form = await town.text()
        finally:
            town.provider.before_answer = None
        assert (await town.invitation(name)).state == Invitation.STATE_UNKNOWN
        assert (await town.twilio(form["StatusCallback"], MessageStatus=status)).status == 200
        assert (await town.invitation(name)).state == state


async def test_a_text_message_has_the_review_link(town: Town) -> None:
    """A21: short enough for one."""
    channel = await town.shop(types_pb2.MEDIUM_SMS, review_page_url=PAGE)
    _, _, form = await town.text(channel)
    assert f"{BASE}/r/" in form["Body"]


# --- what people write back -------------------------------------------------------------------------


async def test_stop_by_text_message_withdraws(town: Town) -> None:
    """g7: and what waits ends."""
    channel = await town.shop(types_pb2.MEDIUM_SMS)
    _, phone, _ = await town.text(channel)
    (waiting,) = await town.order(channel, phone=phone)
    url = f"{BASE}/hooks/default/sms/twilio"
    assert (await town.twilio(url, From=phone, Body="Thank you, stop by again!")).status == 200
    assert await town.withdrawn(phone) == set()
    assert (await town.twilio(url, "wrong", From=phone, Body="STOP")).status == 401
    assert await town.withdrawn(phone) == set()
    reply = await town.twilio(
        url, MessageSid="SM9", From=phone, Body=" Stop. ", SmsStatus="received"
    )
    assert (reply.status, "<Response/>" in reply.text) == (200, True)
    sms = types_pb2.MEDIUM_SMS
    wanted = {(types_pb2.PURPOSE_REVIEW, sms), (types_pb2.PURPOSE_MARKETING, sms)}
    assert await town.withdrawn(phone) == wanted
    assert (await town.invitation(waiting)).reason == Invitation.REASON_UNSUBSCRIBED


async def test_a_stop_that_somebody_repeats_withdraws_once(town: Town) -> None:
    """g7: the form has no time, so a call that was kept could end a later consent."""
    phone, url = a_phone(), f"{BASE}/hooks/default/sms/twilio"
    stop = {"MessageSid": f"SM{phone[1:]}", "From": phone, "Body": "STOP"}
    assert (await town.twilio(url, **stop)).status == 200
    await town.week()
    review, sms = types_pb2.PURPOSE_REVIEW, types_pb2.MEDIUM_SMS
    await town.consents.GrantConsent(
        consent_service_pb2.GrantConsentRequest(
            parent=PARENT, purpose=review, medium=sms, collection_point="https://shop.example/",
            contact=consent_service_pb2.ContactSelector(contact=event_pb2.Contact(phone=phone)),
        )
    )  # fmt: skip
    assert await town.withdrawn(phone) == {(types_pb2.PURPOSE_MARKETING, sms)}
    assert (await town.twilio(url, **stop)).status == 200
    assert (review, sms) not in await town.withdrawn(phone)
    assert (await town.twilio(url, **stop | {"MessageSid": f"SN{phone[1:]}"})).status == 200
    assert (review, sms) in await town.withdrawn(phone)


async def test_stop_by_whatsapp_withdraws_both(town: Town) -> None:
    """g7, g9."""
    phone = a_phone()
    message = {"from": phone[1:], "timestamp": "1700000000", "text": {"body": "STOP"}}
    assert (await town.meta({"messages": [message]}, "wrong")).status == 401
    assert await town.withdrawn(phone) == set()
    assert (await town.meta({"messages": [message]})).status == 200
    media = (types_pb2.MEDIUM_SMS, types_pb2.MEDIUM_WHATSAPP)
    purposes = (types_pb2.PURPOSE_REVIEW, types_pb2.PURPOSE_MARKETING)
    assert await town.withdrawn(phone) == {(p, m) for p in purposes for m in media}


# --- WhatsApp ---------------------------------------------------------------------------------------


async def test_the_handshake_of_whatsapp(town: Town) -> None:
    query = {"hub.mode": "subscribe", "hub.verify_token": VERIFY, "hub.challenge": "115820"}
    path = "/hooks/default/chat/whatsapp?"
    reply = await town.ask("GET", path + urlencode(query))
    assert (reply.status, reply.text) == (200, "115820")
    query["hub.verify_token"] = "guess"
    assert (await town.ask("GET", path + urlencode(query))).status == 403
    assert (await town.ask("GET", path)).status == 403
    assert (await town.ask("GET", f"/hooks/default/sms/twilio?{urlencode(query)}")).status == 405
    for hook, allowed in (("chat/whatsapp", "GET, POST"), ("sms/twilio", "POST")):
        reply = await town.ask("HEAD", f"/hooks/default/{hook}")
        assert (reply.status, reply.headers["allow"]) == (405, allowed)


async def test_a_status_of_whatsapp_moves_its_message(town: Town) -> None:
    """g10: named by what we gave along with it."""
    name, _, _ = await town.text()
    told = {
        "id": "wamid.1",
        "biz_opaque_callback_data": delivery_of(name),
        "timestamp": "1700000000",
    }
    assert (await town.meta({"statuses": [{**told, "status": "read"}]})).status == 200
    found = await town.invitation(name)
    assert found.state == Invitation.STATE_DELIVERED
    assert found.HasField("open_time")
    garbage = await town.meta({"statuses": "x"})
    assert garbage.status == 200, "a part that cannot be read says nothing"


# --- e-mail -----------------------------------------------------------------------------------------


async def test_a_bounce_by_e_mail_suppresses(town: Town) -> None:
    """g10: told by the Message-ID, as a relay knows it."""
    channel = await town.shop(types_pb2.MEDIUM_EMAIL)
    name, email = await town.mail(channel)
    (waiting,) = await town.order(channel, email=email)
    message_id = f"<{delivery_of(name)}@shop.example>"
    reply = await town.relay({"message_id": message_id, "kind": "hard_bounced"})
    assert reply.status == 200
    assert json.loads(reply.text) == {"taken": 1, "again": 0, "unknown": 0, "ignored": 0}
    assert (await town.invitation(name)).reason == Invitation.REASON_INVALID_RECIPIENT
    assert (await town.invitation(waiting)).reason == Invitation.REASON_SUPPRESSED


async def test_an_early_word_about_an_e_mail_waits_for_its_outcome(town: Town) -> None:
    """R48: it may be handed over again, so nobody knows of which attempt it is said; then come again."""
    store, folder = town.daemon.engine.store, Path(town.daemon.settings.secrets.dir)
    desk = desk_of(town, folder, early_pauses_s=(0.05, 0.05))
    (name,) = await town.order(await town.shop(types_pb2.MEDIUM_EMAIL), email="eva@example.com")
    member = bytes.fromhex(delivery_of(name))
    partition = partition_of(member[:8], store.meta.partition_count)
    (waiting,) = (await store.read({partition: [member]}))[partition]
    assert waiting is not None
    now_ms = waiting.reference.due_ms
    token = os.urandom(16)
    (claimed,) = await store.claim(
        partition, town.daemon.engine.ownership.owned[partition], token,
        [item(member, far(now_ms))], now_ms, FAR_FUTURE_MS, town.daemon.registry.snapshot.revision,
    )  # fmt: skip
    assert claimed.code == ClaimCode.CLAIMED
    call = relayed({"delivery_id": delivery_of(name), "kind": "delivered"})
    assert (await desk.answer(call, "default/relay/email")).status == 503
    again = asyncio.create_task(desk.answer(call, "default/relay/email"))
    await asyncio.sleep(0.02)
    await store.settle(partition, token, [Settlement(member, State.SENT)], now_ms)
    assert (await again).status == 200
    assert (await town.invitation(name)).state == Invitation.STATE_DELIVERED


async def test_a_complaint_suppresses_what_needs_a_consent(town: Town) -> None:
    """g10, R18."""
    channel = await town.shop(types_pb2.MEDIUM_EMAIL)
    name, email = await town.mail(channel)
    (waiting,) = await town.order(channel, email=email)
    assert (
        await town.relay({"delivery_id": delivery_of(name), "kind": "complained"})
    ).status == 200
    assert (await town.invitation(waiting)).reason == Invitation.REASON_SUPPRESSED


async def test_a_batch_is_taken_whole_or_not_at_all(town: Town) -> None:
    name, _ = await town.mail()
    (waiting,) = await town.order(await town.shop(types_pb2.MEDIUM_EMAIL), email="eva@example.com")
    mine = {"delivery_id": delivery_of(name), "kind": "opened"}
    reply = await town.relay(mine, {**mine, "kind": "exploded"})
    assert (reply.status, "feedback[1].kind" in reply.text) == (400, True)
    assert not (await town.invitation(name)).HasField("open_time")
    unknown = {"message_id": "<1@other.example>", "kind": "delivered"}
    never_sent = {"delivery_id": delivery_of(waiting), "kind": "complained"}
    reply = await town.relay(mine, unknown, mine, never_sent, *[unknown] * 996)
    assert json.loads(reply.text) == {"taken": 1, "again": 1, "unknown": 997, "ignored": 1}
    assert (await town.relay(*[unknown] * 1_001)).status == 400


async def test_what_the_relay_did_not_sign_just_now_is_refused(town: Town) -> None:
    """A call that somebody has kept cannot be made again."""
    name, _ = await town.mail()
    mine = {"delivery_id": delivery_of(name), "kind": "opened"}
    assert (await town.relay(mine, key=KEY[::-1])).status == 401
    assert (await town.relay(mine, at_s=time.time() - 400)).status == 401
    assert (await town.relay(mine, at_s=time.time() + 400)).status == 401
    assert (await town.ask("POST", "/post/hooks/default/relay/email", b"{}")).status == 401
    assert not (await town.invitation(name)).HasField("open_time")
    assert (await town.relay(mine, at_s=time.time() - 200)).status == 200


# --- bounds -----------------------------------------------------------------------------------------


async def test_a_body_has_at_most_256_kib(town: Town) -> None:
    most = json.dumps({"feedback": [{"message_id": "x", "kind": "opened"}]}).encode()
    assert (await town.relay(raw=most.ljust(BODY_BYTES_MAX))).status == 200
    assert (await town.relay(raw=most.ljust(BODY_BYTES_MAX + 1))).status == 413
    assert (await town.relay(raw=most.ljust(2 * BODY_BYTES_MAX))).status == 413
    # The smaller bound of all other addresses stands.
    assert (await town.ask("POST", "/u/x", b"x" * BODY_BYTES_MAX)).status == 404


@pytest.mark.parametrize("path", [
    "/hooks/", "/hooks/default/sms", "/hooks/default/sms/twilio/x", "/hooks/default/nobody/twilio",
    "/hooks/other/sms/twilio", "/hooks/default/sms/whatsapp", "/hooks/default/sms/smoke",
    "/hooks/default/../twilio", "/hooks/Default/sms/twilio",
])  # fmt: skip
async def test_there_is_no_other_hook(town: Town, path: str) -> None:
    assert (await town.ask("POST", path, b"{}")).status == 404


async def test_a_hook_without_its_secret_takes_nothing(
    town: Town, caplog: pytest.LogCaptureFixture
) -> None:
    """A stranger does not learn whether there is a secret; the log says that there is none."""
    reply = await town.ask("POST", "/hooks/default/nothing/email", b"{}")
    assert reply.status == 401
    assert "secret:hook-nothing" in caplog.text
    assert (await town.ask("POST", "/hooks/another/nothing/email", b"{}")).status == 401
    assert (await town.ask("POST", f"/hooks/default/{'x' * 63}/email", b"{}")).status == 401


async def test_strangers_cannot_fill_the_log(town: Town, caplog: pytest.LogCaptureFixture) -> None:
    """Nobody has signed anything: once a minute is told what lacks a secret."""
    clock = ManualClock(NOW_MS)
    desk = desk_of(town, Path(town.daemon.settings.secrets.dir), clock=clock)
    for minute in (1, 2):
        clock.move_to_ms(NOW_MS + minute * 60_000)
        for number in range(20):
            place = f"default/nothing{number}/email"
            assert (await desk.answer(Request("POST", f"/hooks/{place}", {}), place)).status == 401
        assert caplog.text.count("cannot be checked") == minute


async def test_what_cannot_be_understood_is_garbage(town: Town) -> None:
    assert (await town.relay(raw=b"{")).status == 400
    url = f"{BASE}/hooks/default/sms/twilio"
    assert (await town.twilio(url, Nothing="here")).status == 400
    bad = await town.ask("POST", "/hooks/default/sms/twilio", b"\xff", Content_Type=FORM)
    assert bad.status == 400


def desk_of(town: Town, folder: Path, **fields: Any) -> HookDesk:
    engine = town.daemon.engine
    return HookDesk(
        BASE, town.daemon.registry, Secrets(folder), engine.feedback, engine.inbox, engine.stats,
        **fields,
    )  # fmt: skip


def relayed(*items: dict[str, str]) -> Request:
    body = json.dumps({"feedback": items}).encode()
    stamp = str(int(time.time()))
    signed = hmac.new(KEY, f"i.{stamp}.".encode() + body, hashlib.sha256).digest()
    headers = {
        "webhook-id": "i", "webhook-timestamp": stamp,
        "webhook-signature": "v1," + base64.b64encode(signed).decode(),
    }  # fmt: skip
    return Request("POST", "/hooks/default/relay/email", headers, body)


async def test_only_so_many_calls_a_second_are_taken(town: Town) -> None:
    """What is not signed does not count: strangers cannot keep a provider out."""
    folder = Path(town.daemon.settings.secrets.dir)
    desk = desk_of(town, folder, pace=Pace(1, 2, lambda: 0.0))
    call = relayed({"message_id": "x", "kind": "opened"})
    forged = replace(call, body=call.body + b" ")
    for _ in range(5):
        assert (await desk.answer(forged, "default/relay/email")).status == 401
    statuses = [(await desk.answer(call, "default/relay/email")).status for _ in range(3)]
    assert statuses == [200, 200, 503]


async def test_while_the_store_is_away_a_hook_says_come_again(town: Town) -> None:
    """503 with Retry-After; having come again, it is done."""
    name, _ = await town.mail()
    call = relayed({"delivery_id": delivery_of(name), "kind": "delivered"})
    folder = Path(town.daemon.settings.secrets.dir)
    desk = desk_of(town, folder, work_s=0.3)
    embedded = town.daemon.embedded
    assert embedded is not None
    assert embedded.pid is not None
    os.kill(embedded.pid, signal.SIGSTOP)
    try:
        answer = await desk.answer(call, "default/relay/email")
    finally:
        os.kill(embedded.pid, signal.SIGCONT)
    assert (answer.status, answer.header) == (503, "Retry-After: 30\r\n")
    assert (await desk.answer(call, "default/relay/email")).status == 200
    assert (await town.invitation(name)).state == Invitation.STATE_DELIVERED


async def test_what_hooks_say_is_counted(town: Town) -> None:
    """By form and outcome, nothing that a client chooses."""
    await town.ask("POST", "/hooks/default/relay/email", b"{}")
    scraped = await exchange(town.daemon.http_address, "GET", "/metrics", {})
    assert 'afterword_hook_items_total{form="email",outcome="forged"}' in scraped.text
    assert "afterword_review_clicks_total" in scraped.text


async def test_where_nobody_reaches_us_no_provider_is_told_to_call() -> None:
    assert hook_url("", "a", "b", "twilio") == ""
    assert hook_url(BASE + "/", "a", "b", "twilio") == f"{BASE}/hooks/a/b/twilio"


# --- review links -----------------------------------------------------------------------------------

PAGE = "https://shop.example/review?t={{token}}"


async def link_of(town: Town, name: str) -> str:
    """Return the path of the review link in an e-mail, as it stands there."""
    folder = Path(town.daemon.settings.store.data_dir) / "outbox"
    needle = f"{BASE}/r/"
    for path in folder.rglob("*.eml"):
        text = path.read_text()
        if f"Message-ID: <{delivery_of(name)}@" in text:
            flat = text.replace("=\n", "").replace("=3D", "=")
            rest = flat.split(needle, 1)[1]
            end = next(at for at, char in enumerate(rest) if not (char.isalnum() or char in "-_"))
            return "/post/r/" + rest[:end]
    raise AssertionError("no such mail")


def led_to(reply: Reply) -> str:
    """Return where the page of a review link goes on by itself; its link leads there too."""
    (target,) = re.findall('<meta http-equiv="refresh" content="0; url=([^"]*)">', reply.text)
    assert re.findall('<a href="([^"]*)">', reply.text) == [target]
    assert (reply.status, "location" in reply.headers) == (200, False)
    return html.unescape(target)


async def click(town: Town, path: str, body: bytes = b"clicked=yes", **headers: str) -> Reply:
    """Tell what the script of the page tells."""
    return await town.ask("POST", path, body, Content_Type=f"{FORM};charset=UTF-8", **headers)


async def resolved(town: Town, token: str) -> review_service_pb2.ResolveReviewLinkResponse:
    stub = review_service_pb2_grpc.ReviewServiceStub(town.channel)
    request = review_service_pb2.ResolveReviewLinkRequest(parent=PARENT, token=token)
    return await stub.ResolveReviewLink(request)


async def test_a_review_link_from_the_mail_to_the_review(town: Town) -> None:
    """A21, B20, B36, B37: click, page, review without and with a text, no reminder."""
    channel = await town.shop(types_pb2.MEDIUM_EMAIL, reminds=True, review_page_url=PAGE)
    (rule,) = await rules_on(town, channel)
    rule.review.comment_required = True
    rule.review.questionnaire = "extended"
    await town.rules.UpdateRule(rule_service_pb2.UpdateRuleRequest(rule=rule))
    name, email = await town.mail(channel)
    path = await link_of(town, name)
    opened = await town.ask("GET", path)
    token = path.removeprefix("/post/r/")
    assert led_to(opened) == PAGE.replace("{{token}}", token)
    assert opened.headers["referrer-policy"] == "no-referrer"
    assert (await click(town, path)).text == "noted\n"
    found = await resolved(town, token)
    assert (found.invitation, found.channel, found.platform) == (name, channel, "")
    assert (found.questionnaire, found.items) == ("questionnaires/extended", [])
    assert (
        list(found.kinds) == list(found.comment_required_kinds) == [event_pb2.Review.KIND_SERVICE]
    )
    asked = {question.id: question.required for question in found.questions}
    assert asked["service-rating"]
    assert asked["service-comment"]
    assert not asked["delivery-rating"]
    assert "product-rating" not in asked
    invitation = await town.invitation(name)
    assert invitation.HasField("click_time")
    assert found.order_reference == invitation.order_reference
    review = event_pb(channel, type="review_submitted", review=event_pb2.Review(link_token=token))
    review.ClearField("contact")
    review.ClearField("order")
    review.occur_time.FromMilliseconds(town.clock.now_ms())
    with refused() as refusal:
        await town.events.Publish(event_service_pb2.PublishRequest(event=review))
    assert refusal.code == grpc.StatusCode.INVALID_ARGUMENT
    assert refusal.field == "event.review.has_comment"
    review.review.has_comment = True
    answer = await town.events.Publish(event_service_pb2.PublishRequest(event=review))
    assert answer.result.stopped_count == 1
    assert (await town.invitation(name)).HasField("review_time")
    request = rule_service_pb2.GetRuleStatsRequest(name=rule.name)
    stats = await town.rules.GetRuleStats(request)
    assert (stats.reviewed_count, stats.commented_count) == (1, 1)
    del email


async def rules_on(town: Town, channel: str) -> list[rule_service_pb2.Rule]:
    listed = await town.rules.ListActivations(
        rule_service_pb2.ListActivationsRequest(parent=channel)
    )
    return [
        await town.rules.GetRule(rule_service_pb2.GetRuleRequest(name=each.rule))
        for each in listed.activations
    ]


async def divided(town: Town) -> str:
    """Open a channel all of whose requests lead to a platform that tells of no reviews; its name."""
    platform = unique("stars")
    api = platform_service_pb2
    await town.platforms.CreatePlatform(
        api.CreatePlatformRequest(
            parent=PARENT, platform_id=platform,
            platform=api.Platform(
                display_name="Stars", kind=api.Platform.KIND_CUSTOM,
                review_types=[Invitation.REVIEW_TYPE_SERVICE],
                review_url="https://stars.example/shop?s={{shop}}", needs_data_forwarding=False,
            ),
        )
    )  # fmt: skip
    weight = channel_service_pb2.Diversion.Weight(
        platform=f"{PARENT}/platforms/{platform}", percent=100
    )
    return await town.shop(
        types_pb2.MEDIUM_EMAIL, reminds=True,
        diversion=channel_service_pb2.Diversion(weights=[weight]),
    )  # fmt: skip


async def reminders(town: Town, name: str) -> list[tuple[int, int]]:
    """Return (state, reason) of the other invitations of the order."""
    first = await town.invitation(name)
    by = invitation_service_pb2.ListInvitationsRequest.ByOrder(
        channel=first.channel, order_reference=first.order_reference
    )
    listed = await town.invitations.ListInvitations(
        invitation_service_pb2.ListInvitationsRequest(parent=PARENT, order=by)
    )
    return [(each.state, each.reason) for each in listed.invitations if each.name != name]


async def test_a_click_leads_to_the_platform_and_ends_the_reminder(town: Town) -> None:
    """R47: once its page was seen."""
    name, _ = await town.mail(await divided(town))
    path = await link_of(town, name)
    assert led_to(await town.ask("GET", path)) == "https://stars.example/shop?s=Shop"
    before = town.daemon.engine.stats.review_clicks
    assert (await click(town, path)).status == 200
    assert town.daemon.engine.stats.review_clicks == before + 1
    assert (await town.invitation(name)).HasField("click_time")
    wanted = [(Invitation.STATE_CANCELLED, Invitation.REASON_REVIEWED)]
    assert await reminders(town, name) == wanted


async def test_looking_at_a_review_link_is_no_click(town: Town) -> None:
    """R47: programs that look for bad links open all of them, and cost nobody a reminder."""
    name, _ = await town.mail(await divided(town))
    path = await link_of(town, name)
    page = await town.ask("GET", path, User_Agent="Mozilla/5.0 (Windows NT 10.0; Win64; x64)")
    for _ in range(3):
        assert (await town.ask("GET", path)).text == page.text
        headed = await town.ask("HEAD", path)
        assert (headed.status, headed.headers, headed.text) == (200, page.headers, "")
    await town.ask("GET", f"{path}?clicked=yes", b"clicked=yes", Content_Type=FORM)
    for body in (b"", b"clicked=no", b"List-Unsubscribe=One-Click", b"clicked=yes&clicked=yes"):
        assert (await click(town, path, body)).text == page.text
    assert (await town.ask("POST", path, b"clicked=yes")).text == page.text, "no form"
    for ahead in (
        {"Purpose": "prefetch"}, {"Sec_Purpose": "prefetch;prerender"}, {"X_Moz": "prefetch"},
        {"X_Purpose": "preview"}, {"Sec_Purpose": "Prefetch;Anonymous"},
    ):  # fmt: skip
        assert (await click(town, path, **ahead)).text == page.text
    assert not (await town.invitation(name)).HasField("click_time")
    assert await reminders(town, name) == [(Invitation.STATE_SCHEDULED, 0)]


async def test_the_page_of_a_review_link_runs_its_own_script_alone(town: Town) -> None:
    """Nothing is loaded; the script is named by its hash, and may tell nobody but us."""
    name, _ = await town.mail(await divided(town))
    page = await town.ask("GET", await link_of(town, name), Accept_Language="de")
    (script,) = re.findall("<script>(.*)</script>", page.text)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = page.headers["content-security-policy"].split("; ")
    assert {"default-src 'none'", f"script-src 'sha256-{digest}'", "connect-src 'self'"} <= set(
        policy
    )
    assert not re.search(r"\bsrc=|\bon\w+=|<iframe|<img|<form", page.text)
    assert page.text.index(script) > 0
    assert "Weiter zur Bewertung" in page.text
    assert page.headers["content-language"] == "de"


async def test_a_click_that_cannot_be_noted_leads_on(town: Town) -> None:
    """The page needs no store where the configuration says everything; the click is lost."""
    channel = await town.shop(types_pb2.MEDIUM_EMAIL, reminds=True, review_page_url=PAGE)
    name, _ = await town.mail(channel)
    path = await link_of(town, name)
    engine = town.daemon.engine
    clicks = ReviewClicks(engine.reviews, engine.stats, lambda: False)
    token = path.removeprefix("/post/r/")
    told = Request("POST", path, {"content-type": FORM}, b"clicked=yes")
    answer = await clicks.answer(told, token)
    assert (answer.status, answer.header) == (503, "Retry-After: 30\r\n")
    answer = await clicks.answer(replace(told, method="GET"), token)
    assert (answer.status, token in answer.body) == (200, True)
    assert not (await town.invitation(name)).HasField("click_time")


async def test_nothing_of_the_request_says_where_a_click_leads(town: Town) -> None:
    """No open redirect."""
    name, _ = await town.mail(await divided(town))
    path = await link_of(town, name)
    evil = quote("https://evil.example/", safe="")
    for asked, headers in (
        (f"{path}?url={evil}&next={evil}", {}),
        (path, {"Host": "evil.example", "X-Forwarded-Host": "evil.example"}),
        (path, {"Referer": "https://evil.example/", "X-Original-URL": "https://evil.example/"}),
    ):
        reply = await exchange(town.address, "GET", asked, headers)
        assert led_to(reply) == "https://stars.example/shop?s=Shop"
        assert "evil" not in reply.text
    further = f"{path}/https://evil.example/"
    for wrong in (f"{path}x", path[:-1], further, "/post/r/", "/r//evil.example"):
        reply = await town.ask("GET", wrong)
        assert (reply.status, "refresh" in reply.text) == (404, False)
        assert (await click(town, wrong)).status == 404
    assert (await town.ask("PUT", path, b"x=1")).status == 405
    assert urlsplit(path).path == path


async def test_a_link_is_resolved_by_hand(town: Town, capsys: pytest.CaptureFixture[str]) -> None:
    """A21, B36: by the token or the whole link; goods as long as a message about the order waits."""
    channel = await town.create_channel(review_page_url=PAGE)
    previous = rule_service_pb2.Wait(days=5, base=rule_service_pb2.Wait.BASE_PREVIOUS_STEP_SENT)
    await town.create_rule(
        channel, family=rule_service_pb2.Rule.FAMILY_PRODUCT_REVIEW,
        steps=[step_pb(), step_pb("again", wait=previous)],
    )  # fmt: skip
    event = event_pb(channel)
    event.order.items.add(sku="mug", name="A mug", quantity=1)
    event.occur_time.FromMilliseconds(town.clock.now_ms())
    answer = await town.events.Publish(event_service_pb2.PublishRequest(event=event))
    (name,) = answer.result.invitations
    await town.week()
    link = BASE + (await link_of(town, name)).removeprefix("/post")

    async def run(*arguments: str) -> tuple[int, str, str]:
        at = ("--address", town.daemon.grpc_address, "reviews", "resolve", *arguments)
        code = await asyncio.to_thread(main, at)
        return (code, *capsys.readouterr())

    code, shown, _ = await run(link)
    assert code == 0
    for told in (name, channel, event.order.reference, "product", "mug A mug", "product-rating"):
        assert told in shown
    code, as_json, _ = await run(link.rpartition("/")[2], "--json")
    assert (code, json.loads(as_json)["items"][0]["sku"]) == (0, "mug")
    await town.week()
    code, shown, _ = await run(f"{link}?utm_source=mail")
    assert (code, "goods" in shown, "forgotten" in shown) == (0, True, True)
    code, _, complaint = await run(link[:-1])
    assert (code, "token" in complaint) == (1, True)


async def test_a_link_is_no_link_of_another_kind(town: Town) -> None:
    """A review link unsubscribes nobody, and the reverse leads nowhere."""
    name, email = await town.mail(await divided(town))
    token = (await link_of(town, name)).removeprefix("/post/r/")
    assert (await town.ask("POST", f"/u/{token}", b"List-Unsubscribe=One-Click")).status == 404
    assert (await town.ask("GET", f"/c/{token}")).status == 404
    with refused() as refusal:
        await resolved(town, token[:-1])
    assert (refusal.code, refusal.field) == (grpc.StatusCode.INVALID_ARGUMENT, "token")
    del email


@pytest.mark.parametrize("url", [
    "http://shop.example/?t={{token}}", "https://shop.example/", "https://{{token}}.example/",
    "https://shop.example/{{token}}/{{token}}", "https://shop.example/{{token}}?o={{order}}",
    "https://shop.example/{{token}}\n", "//shop.example/{{token}}", "javascript:{{token}}",
])  # fmt: skip
async def test_a_page_that_cannot_be_led_to_is_refused(town: Town, url: str) -> None:
    """A21: naming what would be right."""
    with refused() as refusal:
        await town.create_channel(review_page_url=url)
    assert refusal.field == "channel.review_page_url"
    assert "{{token}}" in refusal.problem.message
