"""One event, four messages: e-mail, SMS, WhatsApp and a webhook, from the API to the wire and back.

The daemon is real, and so are the servers it talks to; its clock is moved by hand.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration
from msgspec.structs import replace

from afterword.v1 import channel_service_pb2, event_pb2, event_service_pb2, types_pb2
from afterword.v1 import invitation_service_pb2 as inv
from afterword.v1 import rule_service_pb2 as rules_pb2
from afterword.v1 import sender_service_pb2 as pb2
from control.daemon import Daemon
from control.settings import Allow, Mail
from core.bounds import DAY_MS, HOUR_MS, MINUTE_MS
from core.clock import ManualClock
from senders.provider_sink import Form, Manner, ProviderSink, Reply, is_signed, sms_error
from senders.smtp_sink import SmtpSink
from tests.control.kit import (
    NOW_MS,
    PARENT,
    Client,
    event_pb,
    refused,
    settings_for,
    step_pb,
    unique,
)
from tests.support.providers import HOOK_SECRET, PHONE, TOKEN

pytestmark = [pytest.mark.integration, pytest.mark.asyncio]

Action, Kind, State = rules_pb2.Action, pb2.Sender, inv.Invitation
EMAIL, SMS = types_pb2.MEDIUM_EMAIL, types_pb2.MEDIUM_SMS
WHATSAPP, WEBHOOK = types_pb2.MEDIUM_WHATSAPP, types_pb2.MEDIUM_WEBHOOK
ADDRESS = "ana@example.com"


class World(Client):
    """A daemon, its clients, and everything it talks to."""

    def __init__(
        self, channel: grpc.aio.Channel, daemon: Daemon, clock: ManualClock, mail: SmtpSink,
        provider: ProviderSink,
    ) -> None:  # fmt: skip
        super().__init__(channel)
        self.daemon = daemon
        self.clock = clock
        self.mail = mail
        self.provider = provider

    async def create_sender(self, kind: int, sender_id: str = "", **fields: object) -> str:
        created = await self.senders.CreateSender(
            pb2.CreateSenderRequest(
                parent=PARENT, sender_id=sender_id or unique("sender"),
                sender=pb2.Sender(kind=kind, **fields),  # type: ignore[arg-type]
            )
        )  # fmt: skip
        return str(created.name)

    async def create_senders(self) -> dict[int, str]:
        url = self.provider.url
        return {
            SMS: await self.create_sender(
                Kind.KIND_SMS_TWILIO, provider_account="AC1", origin="+34910000000",
                credential="secret:token", endpoint=url,
            ),
            WHATSAPP: await self.create_sender(
                Kind.KIND_WHATSAPP_CLOUD, origin="1010", credential="secret:token", endpoint=url
            ),
            WEBHOOK: await self.create_sender(
                Kind.KIND_WEBHOOK, credential="secret:hook", endpoint=f"{url}/hook"
            ),
        }  # fmt: skip

    async def send(self, name: str, senders: dict[int, str]) -> None:
        """Let a channel send by these."""
        await self.channels.UpdateChannel(
            channel_service_pb2.UpdateChannelRequest(
                channel=channel_service_pb2.Channel(name=name, senders=named(senders)),
                update_mask={"paths": ["senders"]},
            )
        )

    async def publish(self, event: event_pb2.Event) -> list[str]:
        answer = await self.events.Publish(event_service_pb2.PublishRequest(event=event))
        return list(answer.result.invitations)

    async def states(self, invitations: list[str]) -> dict[int, inv.Invitation]:
        found = [
            await self.invitations.GetInvitation(inv.GetInvitationRequest(name=name))
            for name in invitations
        ]
        return {one.medium: one for one in found}

    async def after(self, span_ms: int) -> None:
        await self.daemon.engine.advance_to(self.clock.now_ms() + span_ms)

    def forms(self) -> list[Form]:
        return sorted((call.form for call in self.provider.accepted), key=lambda form: form.value)


def named(senders: dict[int, str]) -> list[channel_service_pb2.Channel.MediumSender]:
    return [
        channel_service_pb2.Channel.MediumSender(medium=medium, sender=sender)  # type: ignore[arg-type]
        for medium, sender in senders.items()
    ]


@pytest.fixture(autouse=True)
def secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AFTERWORD_SECRET_DEFAULT_TOKEN", TOKEN)
    monkeypatch.setenv("AFTERWORD_SECRET_DEFAULT_HOOK", HOOK_SECRET)


@contextlib.asynccontextmanager
async def open_world(folder: Path) -> AsyncIterator[World]:
    mail = SmtpSink(keep=100)
    provider = ProviderSink(
        sms_login=("AC1", TOKEN), whatsapp_token=TOKEN, webhook_secret=HOOK_SECRET
    )
    await mail.start()
    await provider.start()
    settings = replace(
        settings_for(folder), allow=Allow(private_endpoints=True),
        mail=Mail(host="127.0.0.1", port=mail.port),
    )  # fmt: skip
    clock = ManualClock(NOW_MS)
    daemon = Daemon(settings, clock=clock)
    await daemon.start()
    try:
        async with grpc.aio.insecure_channel(daemon.grpc_address) as channel:
            yield World(channel, daemon, clock, mail, provider)
    finally:
        await daemon.stop()
        await provider.close()
        await mail.close()


def late(*actions: Action, **fields: object) -> dict[str, object]:
    """Return the fields of a rule: a parcel is late, and everybody is told at once."""
    return {
        "family": rules_pb2.Rule.FAMILY_NOTIFICATION, "purpose": types_pb2.PURPOSE_TRANSACTIONAL,
        "trigger": rules_pb2.Trigger(event_type="shipment_delayed"),
        "steps": [
            step_pb(wait=rules_pb2.Wait(elapsed=Duration(seconds=0)), days=0, actions=actions)
        ],
        **fields,
    }  # fmt: skip


ALL = (
    Action(medium=EMAIL, subject="Your parcel {{order}}", body="It is late."),
    Action(
        medium=SMS, body="{{shop}}: parcel {{order}} is late. {{link}}",
        wait=rules_pb2.Wait(elapsed=Duration(seconds=3_600)),
    ),
    Action(
        medium=WHATSAPP, template="parcel_late", whatsapp_parameters=["{{first_name}}", "{{carrier}}"],
        wait=rules_pb2.Wait(elapsed=Duration(seconds=7_200)),
    ),
    Action(medium=WEBHOOK),
)  # fmt: skip


def delayed(channel: str, **fields: object) -> event_pb2.Event:
    shipment = event_pb2.Shipment(carrier="DHL", tracking_url="https://parcel.example/7")
    contact = event_pb2.Contact(email=ADDRESS, phone=PHONE, first_name="Ana")
    return event_pb(
        channel, **{"type": "shipment_delayed", "shipment": shipment, "contact": contact, **fields}
    )


async def test_c14_c16_one_event_makes_a_message_for_every_medium(tmp_path: Path) -> None:
    """C14, C16, C23, C26: each with its own key, state, timing and content."""
    async with open_world(tmp_path) as world:
        channel = await world.create_channel()
        await world.send(channel, await world.create_senders())
        await world.create_rule(channel, "late", **late(*ALL))
        invitations = await world.publish(delayed(channel))
        assert len(set(invitations)) == 4
        await world.after(MINUTE_MS)
        assert [m.recipients for m in world.mail.messages] == [(ADDRESS,)]
        assert world.forms() == [Form.WEBHOOK]
        found = await world.states(invitations)
        assert found[EMAIL].state == found[WEBHOOK].state == State.STATE_SENT
        assert found[SMS].state == found[WHATSAPP].state == State.STATE_SCHEDULED
        await world.after(2 * HOUR_MS)
        assert world.forms() == [Form.SMS, Form.WEBHOOK, Form.WHATSAPP]
        found = await world.states(invitations)
        assert {one.state for one in found.values()} == {State.STATE_SENT}
        assert found[SMS].settle_time.seconds - found[EMAIL].settle_time.seconds == 3_600
        assert found[WHATSAPP].settle_time.seconds - found[EMAIL].settle_time.seconds == 7_200
        calls = {call.form: call for call in world.provider.accepted}
        body = calls[Form.SMS].fields["Body"]
        assert body.startswith("Shop: parcel event-")
        assert body.endswith(" is late. https://parcel.example/7")
        (component,) = calls[Form.WHATSAPP].told["template"]["components"]
        assert [one["text"] for one in component["parameters"]] == ["Ana", "DHL"]
        assert is_signed(calls[Form.WEBHOOK], HOOK_SECRET)
        told = calls[Form.WEBHOOK].told
        assert told["rule"] == f"{PARENT}/rules/late"
        assert told["shipment"]["carrier"] == "DHL"
        assert told["invitation"] == found[WEBHOOK].name


async def test_c15_a_rule_is_switched_on_only_where_its_media_are_configured(
    tmp_path: Path,
) -> None:
    """C15: saving it is fine; taking the sender away from under it is not."""
    async with open_world(tmp_path) as world:
        channel = await world.create_channel()
        rule = await world.create_rule("", "late", **late(*ALL))
        activate = rules_pb2.ActivateRuleRequest(name=rule, channel=channel)
        senders = await world.create_senders()
        for medium in (SMS, WHATSAPP, WEBHOOK):
            await world.send(channel, {m: s for m, s in senders.items() if m != medium})
            with refused() as refusal:
                await world.rules.ActivateRule(activate)
            assert refusal.code is grpc.StatusCode.FAILED_PRECONDITION
            assert refusal.field == "channel.senders"
            assert channel in refusal.problem.message
        await world.send(channel, senders)
        await world.rules.ActivateRule(activate)
        with refused() as refusal:
            await world.send(channel, {SMS: senders[SMS]})
        assert refusal.code is grpc.StatusCode.FAILED_PRECONDITION
        with refused() as refusal:
            await world.senders.DeleteSender(pb2.DeleteSenderRequest(name=senders[SMS]))
        assert refusal.code is grpc.StatusCode.FAILED_PRECONDITION
        assert channel in refusal.problem.message


async def test_c15_what_is_due_without_a_sender_is_skipped(tmp_path: Path) -> None:
    """C15: the rule was switched off in time for the sender to go, and on again elsewhere."""
    async with open_world(tmp_path) as world:
        channel = await world.create_channel()
        senders = await world.create_senders()
        await world.send(channel, senders)
        rule = await world.create_rule(channel, "late", **late(*ALL))
        invitations = await world.publish(delayed(channel))
        await world.rules.DeactivateRule(
            rules_pb2.DeactivateRuleRequest(name=rule, channel=channel)
        )
        await world.send(channel, {})
        registry = world.daemon.registry
        present = registry.default_media
        registry.default_media = frozenset(types_pb2.Medium.values())  # type: ignore[arg-type]
        await world.rules.ActivateRule(rules_pb2.ActivateRuleRequest(name=rule, channel=channel))
        registry.default_media = present
        await world.after(3 * HOUR_MS)
        found = await world.states(invitations)
        for medium in (SMS, WHATSAPP, WEBHOOK):
            assert found[medium].state == State.STATE_SKIPPED
            assert found[medium].reason == State.REASON_MEDIUM_NOT_CONFIGURED
        assert found[EMAIL].state == State.STATE_SENT
        assert not world.provider.calls


async def test_r46_r48_outcomes_are_each_medium_s_own(tmp_path: Path) -> None:
    """R46, R48: an SMS whose outcome is unknown is held and never sent again; a webhook is tried again
    under the same id; a person without an e-mail address gets the rest."""
    async with open_world(tmp_path) as world:
        channel = await world.create_channel()
        await world.send(channel, await world.create_senders())
        await world.create_rule(channel, "late", **late(*ALL))
        dropped: list[str] = []

        def decide(call: object) -> Reply | None:
            form = call.form  # type: ignore[attr-defined]
            if form is Form.SMS or (form is Form.WEBHOOK and not dropped):
                dropped.append(form.value)
                return Reply(manner=Manner.DROP)
            return None

        world.provider.decide = decide
        contact = event_pb2.Contact(phone=PHONE, first_name="Ana")
        invitations = await world.publish(delayed(channel, contact=contact))
        await world.after(DAY_MS)
        found = await world.states(invitations)
        assert found[EMAIL].reason == State.REASON_NO_RECIPIENT
        assert found[SMS].state == State.STATE_UNKNOWN
        assert found[WEBHOOK].state == found[WHATSAPP].state == State.STATE_SENT
        assert dropped == ["webhook", "sms"]
        hooks = [call for call in world.provider.calls if call.form is Form.WEBHOOK]
        assert len(hooks) == 2
        assert len({call.headers["webhook-id"] for call in hooks}) == 1


async def test_a_provider_that_is_down_holds_up_nothing_else(tmp_path: Path) -> None:
    """Every SMS waits, uses up no attempt while the provider is left alone, and goes when it is back."""
    async with open_world(tmp_path) as world:
        channel = await world.create_channel()
        await world.send(channel, await world.create_senders())
        await world.create_rule(channel, "late", **late(ALL[0], Action(medium=SMS, body="Late.")))
        world.provider.decide = lambda _: sms_error(503, 20503)
        invitations: list[str] = []
        for number in range(40):
            contact = event_pb2.Contact(email=f"a{number}@example.com", phone=f"+349100{number:05}")
            invitations += await world.publish(delayed(channel, contact=contact))
        await world.after(MINUTE_MS)
        assert len(world.mail.messages) == 40
        tried = len(world.provider.calls)
        assert 0 < tried < 200
        world.provider.decide = lambda _: None
        await world.after(3 * HOUR_MS)
        sent = [call.fields["To"] for call in world.provider.accepted]
        assert len(sent) == len(set(sent)) == 40
        found = [
            await world.invitations.GetInvitation(inv.GetInvitationRequest(name=name))
            for name in invitations
        ]
        assert {one.state for one in found} == {State.STATE_SENT}


async def test_a_changed_sender_holds_for_what_has_not_gone_out(tmp_path: Path) -> None:
    async with open_world(tmp_path) as world:
        channel = await world.create_channel()
        senders = await world.create_senders()
        await world.send(channel, senders)
        await world.create_rule(channel, "late", **late(ALL[1]))
        await world.publish(delayed(channel))
        await world.after(HOUR_MS)
        await world.publish(delayed(channel))
        await world.senders.UpdateSender(
            pb2.UpdateSenderRequest(sender=pb2.Sender(name=senders[SMS], origin="Shop"))
        )
        await world.after(HOUR_MS)
        assert [call.fields["From"] for call in world.provider.accepted] == ["+34910000000", "Shop"]


async def test_c17_carriers_are_written_to_by_e_mail_and_sms(tmp_path: Path) -> None:
    """C5, C17, R49: answers go to the channel's address; no customer's address is told."""
    async with open_world(tmp_path) as world:
        sender = channel_service_pb2.EmailSender(
            address="hello@shop.example", reply_to="parcels@shop.example"
        )
        channel = await world.create_channel(email_sender=sender)
        await world.send(channel, await world.create_senders())
        await world.channels.CreateCarrier(
            channel_service_pb2.CreateCarrierRequest(
                parent=PARENT, carrier_id="dhl",
                carrier=channel_service_pb2.Carrier(
                    email="desk@dhl.example", phone="+4922812345678"
                ),
            )
        )  # fmt: skip
        to_carrier = [
            Action(
                medium=medium, recipient=Action.RECIPIENT_CARRIER, subject="Where is {{order}}?",
                body="Please look for {{order}}.",
            )
            for medium in (EMAIL, SMS)
        ]  # fmt: skip
        await world.create_rule(
            channel, "ask", **late(*to_carrier, purpose=types_pb2.PURPOSE_OPERATIONAL)
        )
        await world.publish(delayed(channel))
        await world.after(MINUTE_MS)
        (mail,) = world.mail.messages
        assert mail.recipients == ("desk@dhl.example",)
        assert b"Reply-To: parcels@shop.example" in mail.content
        assert ADDRESS.encode() not in mail.content
        (call,) = world.provider.accepted
        assert call.fields["To"] == "+4922812345678"
        assert call.fields["Body"].startswith("Please look for event-")
        assert "STOP" not in call.fields["Body"]


async def test_a_channel_may_have_a_mail_server_of_its_own(tmp_path: Path) -> None:
    async with open_world(tmp_path) as world:
        own = SmtpSink(keep=10)
        await own.start()
        channel, other = await world.create_channel(), await world.create_channel()
        smtp = await world.create_sender(
            Kind.KIND_SMTP, endpoint=f"smtp+plain://127.0.0.1:{own.port}"
        )
        await world.send(channel, {EMAIL: smtp})
        rule = await world.create_rule(channel, **late(ALL[0]))
        await world.rules.ActivateRule(rules_pb2.ActivateRuleRequest(name=rule, channel=other))
        for one in (channel, other):
            await world.publish(delayed(one))
        await world.after(MINUTE_MS)
        assert (len(own.messages), len(world.mail.messages)) == (1, 1)
        await own.close()


async def test_senders_of_private_networks_are_refused_without_leave(tmp_path: Path) -> None:
    """P25: when they are written down, and by the transport should one stand there all the same."""
    settings = settings_for(tmp_path)
    daemon = Daemon(settings, clock=ManualClock(NOW_MS))
    await daemon.start()
    try:
        async with grpc.aio.insecure_channel(daemon.grpc_address) as channel:
            client = Client(channel)
            for endpoint in (
                "https://127.0.0.1/", "https://10.0.0.1/x", "https://169.254.169.254/latest",
                "https://[::1]/", "https://127.1/", "https://0x7f.1/", "https://localhost/",
                "https://redis:6379/", "https://a.internal/", "http://shop.example/",
                "https://shop.example:22/", "https://user:pw@shop.example/", "ftp://shop.example/",
                "https://shop.example/#x", "https://shop.example/\nx", "shop.example", "https://",
                "https://shop.example:99999/", "https://2130706433/", "https://shop.example:0/",
            ):  # fmt: skip
                with refused() as refusal:
                    await client.senders.CreateSender(
                        pb2.CreateSenderRequest(
                            parent=PARENT, sender_id="hook",
                            sender=pb2.Sender(
                                kind=Kind.KIND_WEBHOOK, credential="secret:hook", endpoint=endpoint
                            ),
                        )
                    )  # fmt: skip
                assert refusal.code is grpc.StatusCode.INVALID_ARGUMENT, endpoint
                assert refusal.field == "sender.endpoint"
            for endpoint in ("smtp://10.0.0.1", "smtps://localhost:465", "smtp://mail.example:22"):
                with refused() as refusal:
                    await client.senders.CreateSender(
                        pb2.CreateSenderRequest(
                            parent=PARENT, sender_id="mail",
                            sender=pb2.Sender(kind=Kind.KIND_SMTP, endpoint=endpoint),
                        )
                    )  # fmt: skip
                assert refusal.field == "sender.endpoint"
    finally:
        await daemon.stop()
