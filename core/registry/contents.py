"""Templates that a shop writes itself: what a message says, per locale, in revisions.

Decides: the stored shape, and in which locale a recipient is written to (C22).
Never: whether a text is right, or what becomes of it (`senders/contents/`).

Every change is a new revision and those before stay readable, until there are too many or they take too
much room. A message says what the newest revision says when it is rendered (D1); a reminder of a review
request repeats the revision of the message before it (B19).
"""

from __future__ import annotations

import msgspec

from core.model import Family, Medium
from core.registry.resources import Resource


class EmailParts(msgspec.Struct, frozen=True, kw_only=True, tag="email"):
    """What an e-mail says; all but `reply_to` are Liquid."""

    subject: str
    html: str
    preheader: str = ""
    sender_name: str = ""
    """Replaces the name of the sender; empty: that of the action or channel."""
    reply_to: str = ""
    """An address; empty: that of the action or channel."""
    text: str = ""
    """The plain part; empty: made from the HTML."""


class SmsParts(msgspec.Struct, frozen=True, kw_only=True, tag="sms"):
    """What a text message says."""

    text: str


class WhatsAppParts(msgspec.Struct, frozen=True, kw_only=True, tag="whatsapp"):
    """Which approved template a WhatsApp message calls (g9)."""

    template_name: str
    language: str
    """As the provider has it: "en", "pt_BR"."""
    parameters: tuple[str, ...] = ()
    """Liquid, in the order in which the approved template takes them."""


Parts = EmailParts | SmsParts | WhatsAppParts


class Content(msgspec.Struct, frozen=True):
    """A message in one locale."""

    locale: str
    """As in the API: "de", "pt-BR"."""
    parts: Parts


class ContentTemplate(Resource, kw_only=True):
    """What the messages of some rules say over one medium (A20, C21)."""

    revision: int = 1
    medium: Medium
    families: tuple[Family, ...]
    """Of the rules that may name it."""
    contents: tuple[Content, ...]
    """One for each locale, at least one (C22)."""
    default_locale: str
    """The one of `contents` for those who read none of the others."""
    description: str = ""

    @property
    def name(self) -> str:
        """Full resource name."""
        return f"accounts/{self.account}/templates/{self.id}"


def content_for(template: ContentTemplate, *wanted: str) -> Content:
    """Return the content for a recipient (C22).

    For each wanted locale in turn the locale itself, then its language; else the template's default.

    Args:
        wanted: the recipient's locale, then the channel's; "" for none.
    """
    by_tag = {_tag(content.locale): content for content in template.contents}
    for locale in wanted:
        tag = _tag(locale)
        for candidate in (tag, tag.partition("-")[0]):
            if candidate in by_tag:
                return by_tag[candidate]
    return by_tag[_tag(template.default_locale)]


def _tag(locale: str) -> str:
    return locale.strip().lower().replace("_", "-")
