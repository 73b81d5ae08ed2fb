"""What the shops of the demo have set up: a plain client of the API that runs before the first event.

Decides: the cap, the rules and the senders, and how one message is told from another.

    ask-for-a-review    both shops      e-mail 7 days after the order at 10:00, a reminder 5 days later
    parcel-by-sms       New York        the day after the parcel has left at 11:00
    parcel-by-whatsapp  Madrid          the same
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import grpc
from google.protobuf import duration_pb2

from afterword.googleapis import timeofday_pb2
from afterword.v1 import (
    channel_service_pb2,
    channel_service_pb2_grpc,
    rule_service_pb2,
    rule_service_pb2_grpc,
    sender_service_pb2,
    sender_service_pb2_grpc,
    types_pb2,
)
from control.demo.sink import INVITATION_SUBJECT, PROVIDER_ACCOUNT, PROVIDER_TOKEN, REMINDER_SUBJECT
from control.demo.story import ACCOUNT, SHOPS, Shop

ANSWER_TIMEOUT_S: Final = 60.0
"""Far beyond any answer of a daemon that works; a demo must not hang."""

PUBLIC_URL: Final = "https://post.shop.example"
"""Base of the links in mails; nobody follows them."""

RULE: Final = "ask-for-a-review"
PARCEL_RULES: Final = {
    types_pb2.MEDIUM_SMS: "parcel-by-sms",
    types_pb2.MEDIUM_WHATSAPP: "parcel-by-whatsapp",
}
CAP: Final = "one-review-request"
SECRET: Final = "providers"
SEND_AT: Final = timeofday_pb2.TimeOfDay(hours=10)
PARCEL_AT: Final = timeofday_pb2.TimeOfDay(hours=11)
INVITATION_DAYS: Final = 7
REMINDER_DAYS: Final = 5
CAP_DAYS: Final = 14
DAY_S: Final = 86_400


def write_secrets(folder: Path) -> None:
    """Put the secret of the senders where the daemon looks for it."""
    account = folder / ACCOUNT.rpartition("/")[2]
    account.mkdir(parents=True)
    account.joinpath(SECRET).write_text(PROVIDER_TOKEN, encoding="ascii")


async def set_up(channel: grpc.aio.Channel, provider_url: str) -> None:
    """Create the senders, the shops, the one cap and the rules, and switch the rules on.

    Args:
        provider_url: where SMS and WhatsApp messages are taken.
    """
    await _create_senders(channel, provider_url)
    shops = channel_service_pb2_grpc.ChannelServiceStub(channel)
    for shop in SHOPS:
        await shops.CreateChannel(
            channel_service_pb2.CreateChannelRequest(
                parent=ACCOUNT, channel_id=shop.id, channel=the_channel(shop)
            ),
            timeout=ANSWER_TIMEOUT_S,
        )
    await shops.CreateCap(
        channel_service_pb2.CreateCapRequest(parent=ACCOUNT, cap_id=CAP, cap=the_cap()),
        timeout=ANSWER_TIMEOUT_S,
    )
    rules = rule_service_pb2_grpc.RuleServiceStub(channel)
    everywhere = [shop.name for shop in SHOPS]
    await _create_rule(rules, RULE, the_rule(), everywhere)
    for medium, rule_id in PARCEL_RULES.items():
        where = [shop.name for shop in SHOPS if shop.medium == medium]
        await _create_rule(rules, rule_id, the_parcel_rule(medium), where)


async def sent_by_medium(channel: grpc.aio.Channel) -> dict[int, int]:
    """Return how many SMS and WhatsApp messages the daemon has sent by its own count."""
    rules = rule_service_pb2_grpc.RuleServiceStub(channel)
    sent = {}
    for medium, rule_id in PARCEL_RULES.items():
        request = rule_service_pb2.GetRuleStatsRequest(name=f"{ACCOUNT}/rules/{rule_id}")
        sent[int(medium)] = (await rules.GetRuleStats(request, timeout=ANSWER_TIMEOUT_S)).sent_count
    return sent


async def _create_senders(channel: grpc.aio.Channel, provider_url: str) -> None:
    senders = sender_service_pb2_grpc.SenderServiceStub(channel)
    sender = sender_service_pb2.Sender
    credential = f"secret:{SECRET}"
    for medium, resource in (
        (
            types_pb2.MEDIUM_SMS,
            sender(
                kind=sender.KIND_SMS_TWILIO, provider_account=PROVIDER_ACCOUNT,
                origin="+12125550000", credential=credential, endpoint=provider_url,
            ),
        ),
        (
            types_pb2.MEDIUM_WHATSAPP,
            sender(
                kind=sender.KIND_WHATSAPP_CLOUD, origin="106540352242922",
                credential=credential, endpoint=provider_url,
            ),
        ),
    ):  # fmt: skip
        await senders.CreateSender(
            sender_service_pb2.CreateSenderRequest(
                parent=ACCOUNT, sender_id=_sender_id(medium), sender=resource
            ),
            timeout=ANSWER_TIMEOUT_S,
        )


def _sender_id(medium: types_pb2.Medium.ValueType) -> str:
    return types_pb2.Medium.Name(medium).removeprefix("MEDIUM_").lower()


async def _create_rule(
    rules: rule_service_pb2_grpc.RuleServiceAsyncStub,
    rule_id: str,
    rule: rule_service_pb2.Rule,
    channels: list[str],
) -> None:
    await rules.CreateRule(
        rule_service_pb2.CreateRuleRequest(
            parent=ACCOUNT, rule_id=rule_id, rule=rule, activate_on=channels
        ),
        timeout=ANSWER_TIMEOUT_S,
    )


def the_channel(shop: Shop) -> channel_service_pb2.Channel:
    """Return a shop, with what sends for it and its page for reviews."""
    sender = f"{ACCOUNT}/senders/{_sender_id(shop.medium)}"
    return channel_service_pb2.Channel(
        display_name=shop.display_name,
        time_zone=shop.time_zone,
        locale=shop.locale,
        email_sender=channel_service_pb2.EmailSender(
            address=f"{shop.id}@shop.example", display_name=shop.display_name
        ),
        senders=[channel_service_pb2.Channel.MediumSender(medium=shop.medium, sender=sender)],
        review_page_url=f"https://{shop.id}.shop.example/review?of={{{{token}}}}",
    )


def the_cap() -> channel_service_pb2.Cap:
    """Return the demo's only cap: one order asked about in 14 days; reminders are exempt."""
    cap = channel_service_pb2.Cap
    return cap(
        display_name="One review request in 14 days",
        scope=cap.SCOPE_ACCOUNT,
        purposes=[types_pb2.PURPOSE_REVIEW],
        steps=cap.STEPS_FIRST,
        unit=cap.UNIT_ORDER,
        limit=1,
        window=duration_pb2.Duration(seconds=CAP_DAYS * DAY_S),
        on_cap=cap.ON_CAP_DEFER,
    )


def the_rule() -> rule_service_pb2.Rule:
    """Return the rule: a request 7 days after the order, a reminder 5 days after the request."""
    wait, step, action = rule_service_pb2.Wait, rule_service_pb2.Step, rule_service_pb2.Action
    email = types_pb2.MEDIUM_EMAIL
    return rule_service_pb2.Rule(
        display_name="Ask for a review",
        family=rule_service_pb2.Rule.FAMILY_SERVICE_REVIEW,
        trigger=rule_service_pb2.Trigger(event_type="checkout"),
        steps=[
            step(
                id="invitation",
                wait=wait(days=INVITATION_DAYS, time_of_day=SEND_AT),
                actions=[action(medium=email, subject=INVITATION_SUBJECT)],
            ),
            step(
                id="reminder",
                wait=wait(
                    days=REMINDER_DAYS, time_of_day=SEND_AT, base=wait.BASE_PREVIOUS_STEP_SENT
                ),
                actions=[action(medium=email, subject=REMINDER_SUBJECT)],
            ),
        ],
    )


def the_parcel_rule(medium: types_pb2.Medium.ValueType) -> rule_service_pb2.Rule:
    """Return the rule that tells over a medium of a parcel that has left the day before."""
    action = rule_service_pb2.Action
    told = action(medium=medium, body="{{shop}}: order {{order}} is on its way. {{link}}")
    if medium == types_pb2.MEDIUM_WHATSAPP:
        told = action(
            medium=medium,
            template="parcel_on_its_way",
            whatsapp_parameters=["{{order}}", "{{carrier}}", "{{link}}"],
        )
    return rule_service_pb2.Rule(
        display_name="The parcel is on its way",
        family=rule_service_pb2.Rule.FAMILY_NOTIFICATION,
        purpose=types_pb2.PURPOSE_TRANSACTIONAL,
        trigger=rule_service_pb2.Trigger(event_type="order_shipped"),
        once_per=rule_service_pb2.Rule.ONCE_PER_ORDER,
        steps=[
            rule_service_pb2.Step(
                id="parcel",
                wait=rule_service_pb2.Wait(days=1, time_of_day=PARCEL_AT),
                actions=[told],
            )
        ],
    )
