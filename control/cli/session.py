"""One conversation with a daemon: where it is, who asks, and for which account.

Decides: how calls are made, and how short ids become resource names.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import grpc

from afterword.v1 import (
    audit_service_pb2_grpc,
    channel_service_pb2_grpc,
    consent_service_pb2,
    consent_service_pb2_grpc,
    contact_service_pb2_grpc,
    event_service_pb2_grpc,
    invitation_service_pb2_grpc,
    platform_service_pb2_grpc,
    review_service_pb2_grpc,
    rule_service_pb2_grpc,
    sender_service_pb2_grpc,
    template_service_pb2_grpc,
)
from control.cli.values import UsageError

if TYPE_CHECKING:
    from google.protobuf.message import Message

CALL_TIMEOUT_S = 10.0
"""Long for any single call; a daemon that needs longer is not well."""

PAGE_SIZE = 1_000
"""The most the API gives at once."""

_Request = TypeVar("_Request")
_Answer = TypeVar("_Answer")
_Page = TypeVar("_Page", bound="Message")


def _connect(address: str, ca_path: str) -> grpc.Channel:
    if not ca_path:
        return grpc.insecure_channel(address)
    try:
        authorities = Path(ca_path).read_bytes()
    except OSError as error:
        raise UsageError(f"--tls-ca: {error}") from None
    return grpc.secure_channel(address, grpc.ssl_channel_credentials(authorities))


class Session:
    """Calls one daemon. Use it as a context manager."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.account: str = options.account
        self._channel = _connect(options.address, options.tls_ca)
        token = options.token
        self._metadata = (("authorization", f"Bearer {token}"),) if token else ()

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *_: object) -> None:
        self._channel.close()

    @cached_property
    def channels(self) -> channel_service_pb2_grpc.ChannelServiceStub:
        """Channels and caps."""
        return channel_service_pb2_grpc.ChannelServiceStub(self._channel)

    @cached_property
    def rules(self) -> rule_service_pb2_grpc.RuleServiceStub:
        """Rules and where they are active."""
        return rule_service_pb2_grpc.RuleServiceStub(self._channel)

    @cached_property
    def events(self) -> event_service_pb2_grpc.EventServiceStub:
        """Events and their types."""
        return event_service_pb2_grpc.EventServiceStub(self._channel)

    @cached_property
    def consents(self) -> consent_service_pb2_grpc.ConsentServiceStub:
        """Consents."""
        return consent_service_pb2_grpc.ConsentServiceStub(self._channel)

    @cached_property
    def contacts(self) -> contact_service_pb2_grpc.ContactServiceStub:
        """What is known of people."""
        return contact_service_pb2_grpc.ContactServiceStub(self._channel)

    @cached_property
    def invitations(self) -> invitation_service_pb2_grpc.InvitationServiceStub:
        """Invitations and explanations."""
        return invitation_service_pb2_grpc.InvitationServiceStub(self._channel)

    @cached_property
    def audit(self) -> audit_service_pb2_grpc.AuditServiceStub:
        """Who changed what."""
        return audit_service_pb2_grpc.AuditServiceStub(self._channel)

    @cached_property
    def platforms(self) -> platform_service_pb2_grpc.PlatformServiceStub:
        """Review platforms and how they were drawn."""
        return platform_service_pb2_grpc.PlatformServiceStub(self._channel)

    @cached_property
    def reviews(self) -> review_service_pb2_grpc.ReviewServiceStub:
        """What review links are about."""
        return review_service_pb2_grpc.ReviewServiceStub(self._channel)

    @cached_property
    def senders(self) -> sender_service_pb2_grpc.SenderServiceStub:
        """What takes messages out."""
        return sender_service_pb2_grpc.SenderServiceStub(self._channel)

    @cached_property
    def templates(self) -> template_service_pb2_grpc.TemplateServiceStub:
        """Templates and previews."""
        return template_service_pb2_grpc.TemplateServiceStub(self._channel)

    def call(
        self, method: grpc.UnaryUnaryMultiCallable[_Request, _Answer], request: _Request
    ) -> _Answer:
        """Make one call, with the credential and a bound on its time."""
        return method(request, timeout=CALL_TIMEOUT_S, metadata=self._metadata)

    def stream(
        self,
        method: grpc.StreamStreamMultiCallable[_Request, _Answer],
        requests: Iterator[_Request],
    ) -> Iterator[_Answer]:
        """Open a stream; it has no bound on its time."""
        answers: Iterator[_Answer] = method(requests, metadata=self._metadata)
        return answers

    def read_stream(
        self, method: grpc.UnaryStreamMultiCallable[_Request, _Answer], request: _Request
    ) -> Iterator[_Answer]:
        """Make one call that is answered in parts; it has no bound on its time."""
        answers: Iterator[_Answer] = method(request, metadata=self._metadata)
        return answers

    def all_pages(self, fetch: Callable[[str], _Page], whole: _Page) -> _Page:
        """Merge every page of a list into `whole`, its token cleared.

        Args:
            fetch: gets the page with this token.
            whole: an empty answer of the list call.
        """
        token = ""
        while True:
            page = fetch(token)
            whole.MergeFrom(page)
            token = getattr(page, "next_page_token", "")
            if not token:
                whole.ClearField("next_page_token")
                return whole

    # Names -----------------------------------------------------------------------------------

    @property
    def parent(self) -> str:
        """The account's resource name."""
        return f"accounts/{self.account}"

    def name(self, collection: str, text: str) -> str:
        """Return a full resource name; `text` may be one already, or only the id."""
        if not text or text.startswith("accounts/"):
            return text
        return f"{self.parent}/{collection}/{text}"

    def contact(self, text: str) -> consent_service_pb2.ContactSelector:
        """Return whom people mean by an e-mail address, a phone number or a contact's name."""
        selector = consent_service_pb2.ContactSelector()
        if text.startswith("accounts/"):
            selector.name = text
        elif "@" in text:
            selector.contact.email = text
        elif text.startswith("+"):
            selector.contact.phone = text
        elif text:
            selector.contact.reference = text
        else:
            raise UsageError("a contact is an e-mail address, a +phone number or a reference")
        return selector
