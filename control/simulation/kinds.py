"""The kinds of resources that a configuration holds, and how each is read and written.

Decides: their order, which is that of their dependencies. All else follows from the API's conventions
(AIP-131 to 135): the methods, requests and fields of a kind are found by its name in the descriptors.
A new kind is a field of `Configuration` and a line here.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Final

import msgspec
from google.protobuf import descriptor_pool, message_factory
from google.protobuf.descriptor import ServiceDescriptor
from google.protobuf.message import Message

from afterword.v1 import simulation_service_pb2
from control.conversion import caps, carriers, channels, platforms, rules, senders, templates
from core.errors import AfterwordError

PACKAGE: Final = "afterword.v1"

ApiCall = Callable[[str, Message], Awaitable[Any]]
"""Calls a method of the API, "ChannelService/CreateCap", and returns its answer.

Raises:
    Unserved: there is no such method on the other side.
    AfterwordError: the call was refused.
"""


class Unserved(AfterwordError):
    """The other side does not know the method: it is older, or the method is still to come."""

    reason = "FAILED_PRECONDITION"


class Kind(msgspec.Struct, frozen=True):
    """One kind of resource."""

    field: str
    """Of `Configuration`, and of the answer of List."""
    singular: str
    """Field of the requests, and what error paths begin with."""
    collection: str
    """In resource names."""
    service: str
    output_only: frozenset[str]

    @property
    def word(self) -> str:
        """The name in method names: "EventType"."""
        return "".join(part.capitalize() for part in self.singular.split("_"))

    @property
    def create(self) -> str:
        """The method that adds one."""
        return f"{self.service}/Create{self.word}"

    @property
    def update(self) -> str:
        """The method that changes one."""
        return f"{self.service}/Update{self.word}"

    @property
    def delete(self) -> str:
        """The method that removes one; it need not exist."""
        return f"{self.service}/Delete{self.word}"

    @property
    def list(self) -> str:
        """The method that lists them; its name is the plural."""
        plural = "".join(part.capitalize() for part in self.field.split("_"))
        return f"{self.service}/List{plural}"

    def name_of(self, account: str, resource_id: str) -> str:
        """Return the full name of one."""
        return f"accounts/{account}/{self.collection}/{resource_id}"

    def essence(self, resource: Message) -> Message:
        """Return a copy with nothing but its name and what clients can set."""
        copy = type(resource)()
        copy.CopyFrom(resource)
        for field in self.output_only - {"name"}:
            copy.ClearField(field)
        return copy


KINDS: Final = (
    Kind("event_types", "event_type", "eventTypes", "EventService",
         channels.EVENT_TYPE_OUTPUT_ONLY),
    Kind("templates", "template", "templates", "TemplateService", templates.OUTPUT_ONLY),
    Kind("platforms", "platform", "platforms", "PlatformService", platforms.OUTPUT_ONLY),
    Kind("senders", "sender", "senders", "SenderService", senders.OUTPUT_ONLY),
    Kind("channels", "channel", "channels", "ChannelService", channels.OUTPUT_ONLY),
    Kind("carriers", "carrier", "carriers", "ChannelService", carriers.OUTPUT_ONLY),
    Kind("caps", "cap", "caps", "ChannelService", caps.OUTPUT_ONLY),
    Kind("rules", "rule", "rules", "RuleService", rules.OUTPUT_ONLY),
)  # fmt: skip
"""Each after those that it may name."""

CONFIGURATION: Final = simulation_service_pb2.Configuration.DESCRIPTOR


def service_of(method: str) -> ServiceDescriptor:
    """Return the service of a method, "ChannelService/CreateCap"."""
    name = method.partition("/")[0]
    return descriptor_pool.Default().FindServiceByName(f"{PACKAGE}.{name}")


def has_method(method: str) -> bool:
    """Return whether the API has a method."""
    return method.partition("/")[2] in service_of(method).methods_by_name


def request(method: str, **fields: Any) -> Any:
    """Return the request of a method; fields that it does not have are left out."""
    wanted = service_of(method).methods_by_name[method.partition("/")[2]].input_type
    known = {name: value for name, value in fields.items() if name in wanted.fields_by_name}
    return message_factory.GetMessageClass(wanted)(**known)
