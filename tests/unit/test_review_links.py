"""Links to review platforms: what they may say, and that values cannot lead elsewhere (R47, g8)."""

from __future__ import annotations

import pytest

from core.engine.review_links import URL_CHARS_MAX, check_link, filled
from core.errors import AfterwordError
from core.model import Contact, Event, Order
from core.registry.resources import Channel

CHANNEL = Channel(account="a", id="es", time_zone="UTC", locale="es_ES", display_name="Café & Co")


def event(reference: str = "A 1/&#", first_name: str = "Zoë") -> Event:
    contact = Contact(email="x@y.example", first_name=first_name)
    return Event("1", "t", "checkout", "c", 0, contact, Order(reference=reference))


@pytest.mark.parametrize(
    ("template", "link"),
    [
        ("https://r.example/s?o={{order}}", "https://r.example/s?o=A%201%2F%26%23"),
        ("https://r.example/s?o={{ order_reference }}", "https://r.example/s?o=A%201%2F%26%23"),
        ("https://r.example/{{first_name}}/{{shop}}", "https://r.example/Zo%C3%AB/Caf%C3%A9%20%26%20Co"),
        ("https://r.example/?l={{locale}}#x", "https://r.example/?l=es_ES#x"),
        ("https://r.example", "https://r.example"),
    ],
)  # fmt: skip
def test_values_go_in_percent_encoded(template: str, link: str) -> None:
    assert check_link(template, "review_url", forwards_data=True) == template
    assert filled(template, event(), CHANNEL) == link


def test_a_value_that_looks_like_a_placeholder_or_a_host_stays_a_value() -> None:
    hostile = event("{{first_name}}", "@evil.example/..")
    link = filled("https://r.example/{{order}}/{{first_name}}", hostile, CHANNEL)
    assert link == "https://r.example/%7B%7Bfirst_name%7D%7D/%40evil.example%2F.."
    assert filled("https://r.example/{{order}}", event(), CHANNEL).count("/") == 3


@pytest.mark.parametrize(
    ("template", "says"),
    [
        ("http://r.example/", "https"),
        ("javascript:alert(1)", "https"),
        ("https://r.example/a b", "plain ASCII"),
        ("https://r.example/ü", "plain ASCII"),
        ("https://{{shop}}.example/", "behind the host"),
        ("https://r.example{{order}}/", "behind the host"),
        ("https://r.example/{{email}}", "known are {{order}}"),
        ("https://r.example/{{order", "https"),
        ("https://r.example/" + "a" * URL_CHARS_MAX, f"at most {URL_CHARS_MAX}"),
    ],
)
def test_what_is_no_link_is_refused(template: str, says: str) -> None:
    with pytest.raises(AfterwordError) as caught:
        check_link(template, "platform.review_url", forwards_data=True)
    assert caught.value.field == "platform.review_url"
    assert says in caught.value.message


@pytest.mark.parametrize("name", ["order", "order_reference", "first_name"])
def test_r47_a_link_that_tells_of_the_contact_takes_consent(name: str) -> None:
    """R47: whatever tells the platform of the contact is data forwarding."""
    template = f"https://r.example/?x={{{{{name}}}}}"
    check_link(template, "review_url", forwards_data=True)
    with pytest.raises(AfterwordError, match="takes the contact's consent"):
        check_link(template, "review_url", forwards_data=False)
    check_link("https://r.example/?x={{shop}}&l={{locale}}", "review_url", forwards_data=False)
