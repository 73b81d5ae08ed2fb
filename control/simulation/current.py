"""How an account is configured, as a configuration that can be simulated.

Decides: what of a snapshot is configuration: all but what has been deleted. Nothing is read but the
snapshot, so nothing waits.
"""

from __future__ import annotations

from afterword.v1 import rule_service_pb2, simulation_service_pb2
from control.conversion import (
    accounts,
    caps,
    carriers,
    channels,
    platforms,
    rules,
    senders,
    templates,
)
from core.registry.documents import channel_name, rule_name
from core.registry.snapshot import Snapshot


def configuration_of(snapshot: Snapshot, account: str) -> simulation_service_pb2.Configuration:
    """Return the configuration of an account, without consents: those are its contacts'."""
    present = snapshot.account(account)
    return simulation_service_pb2.Configuration(
        booked=None if present is None else accounts.account_to_proto(present),
        event_types=[channels.event_type_to_proto(one) for one in snapshot.event_types(account)],
        channels=[channels.channel_to_proto(one) for one in snapshot.channels(account)],
        carriers=[carriers.carrier_to_proto(one) for one in snapshot.carriers(account)],
        platforms=[platforms.platform_to_proto(one) for one in snapshot.platforms(account)],
        templates=[templates.template_to_proto(one) for one in snapshot.templates(account)],
        senders=[senders.sender_to_proto(one) for one in snapshot.senders(account)],
        caps=[caps.cap_to_proto(one) for one in snapshot.caps(account)],
        rules=[rules.rule_to_proto(one, snapshot) for one in snapshot.rules(account)],
        activations=[
            simulation_service_pb2.RuleActivation(
                rule=rule_name(one.account, one.rule),
                channel=channel_name(one.account, one.channel),
                state=rule_service_pb2.Activation.State.ValueType(one.state),
            )
            for one in snapshot.activations(account)
        ],
    )
