"""Whom the link of a message speaks for, from the event to the letter; on both stores."""

from __future__ import annotations

from core.model import Evidence, Medium, Purpose, Shipment
from core.ports import Store
from core.registry.resources import Carrier
from core.registry.rule_parts import Action, Recipient, Step, Wait
from tests.support.rules import free_rule
from tests.support.shop import ACCOUNT, open_shop

ANA, DESK = "ana@shop.example", "desk@dhl.example"


async def test_only_the_contact_speaks_for_the_contact(store: Store) -> None:
    """R19: a carrier that unsubscribes must not unsubscribe the customer of the parcel."""
    rules = [
        free_rule(
            recipient.name.lower(),
            Purpose.MARKETING,
            event_type="shipment_delayed",
            steps=[
                Step(
                    id="tell",
                    wait=Wait(elapsed_ms=0),
                    actions=[
                        Action(
                            medium=Medium.EMAIL, recipient=recipient, subject="Late", body="Very."
                        )
                    ],
                )
            ],
        )
        for recipient in (Recipient.CUSTOMER, Recipient.CARRIER)
    ]
    async with open_shop(store, rules=rules) as shop:
        await shop.registry.create_carrier(Carrier(account=ACCOUNT, id="dhl", email=DESK))
        given = [Evidence(Purpose.MARKETING, Medium.EMAIL, True)]
        shipment = Shipment(carrier="DHL")
        await shop.publish(shop.event("shipment_delayed", shipment=shipment, consents=given))
        await shop.engine.advance_to(shop.clock.now_ms())
        letters = {letter.address: letter for letter in shop.post.letters}
        assert letters.keys() == {ANA, DESK}
        assert letters[DESK].member == b""
        assert letters[ANA].member.hex() == letters[ANA].delivery_id
        assert letters[ANA].purpose == Purpose.MARKETING
