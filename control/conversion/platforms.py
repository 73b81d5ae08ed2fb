"""Review platforms, and how channels divide their requests among them, between protobuf and the
registry."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from afterword.v1 import channel_service_pb2, types_pb2
from afterword.v1 import invitation_service_pb2 as invitation_pb2
from afterword.v1 import platform_service_pb2 as pb2
from control.conversion import checks, contents, names, times
from control.conversion.frame import OwnTemplates, no_templates
from core import bounds
from core.engine.review_links import check_link
from core.errors import InvalidField, OutOfRange
from core.model import Family, Medium, Purpose
from core.registry.diversion_parts import OWN_PLATFORM, Diversion, PlatformKind, Weight
from core.registry.documents import platform_name
from core.registry.resources import Platform
from senders.catalogue import choice

OUTPUT_ONLY: Final = frozenset({"name", "etag", "create_time", "update_time"})
WEIGHTS_MAX: Final = 32
PERCENT_MAX: Final = 100

_REVIEW_TYPES: Final = {
    invitation_pb2.Invitation.REVIEW_TYPE_SERVICE: Family.SERVICE_REVIEW,
    invitation_pb2.Invitation.REVIEW_TYPE_PRODUCT: Family.PRODUCT_REVIEW,
}


def platform_from_proto(
    pb: pb2.Platform, account: str, platform_id: str, own: OwnTemplates = no_templates
) -> Platform:
    """Return a platform as a client wants it.

    Args:
        own: the shop's own templates.
    """
    kind = checks.choice(pb.kind, "platform.kind", pb2.Platform.Kind, is_required=True)
    if not pb.review_url:
        checks.missing("platform.review_url", "the https address where reviews are written")
    forwards = pb.needs_data_forwarding if pb.HasField("needs_data_forwarding") else True
    review_types = _review_types(pb.review_types)
    return Platform(
        account=account,
        id=platform_id,
        display_name=checks.text(pb.display_name, "platform.display_name", bounds.NAME_CHARS_MAX),
        kind=PlatformKind(kind),
        review_types=review_types,
        review_url=check_link(pb.review_url, "platform.review_url", forwards_data=forwards),
        templates=_templates(pb.templates, review_types, own),
        reports_reviews=pb.reports_reviews,
        needs_data_forwarding=forwards,
    )


def _review_types(found: Sequence[int]) -> tuple[Family, ...]:
    field = "platform.review_types"
    if not found:
        checks.missing(field, "REVIEW_TYPE_SERVICE, REVIEW_TYPE_PRODUCT or both")
    for index, one in enumerate(found):
        if one not in _REVIEW_TYPES:
            raise InvalidField(
                f"{field}[{index}] must be REVIEW_TYPE_SERVICE or REVIEW_TYPE_PRODUCT; for both, "
                "list both",
                field=f"{field}[{index}]",
            )
    return tuple(family for number, family in _REVIEW_TYPES.items() if number in found)


def _templates(
    found: Sequence[pb2.Platform.MediumTemplate],
    review_types: Sequence[Family],
    own: OwnTemplates,
) -> dict[Medium, str]:
    field = "platform.templates"
    templates: dict[Medium, str] = {}
    for index, one in enumerate(found):
        place = f"{field}[{index}]"
        wanted = checks.choice(one.medium, f"{place}.medium", types_pb2.Medium, is_required=True)
        medium = Medium(wanted)
        if medium in templates:
            raise InvalidField(
                f"{place}.medium has a template already: one for each medium",
                field=f"{place}.medium",
            )
        _check_template(one.template, medium, review_types, own, f"{place}.template")
        templates[medium] = one.template
    return templates


def _check_template(
    template: str, medium: Medium, review_types: Sequence[Family], own: OwnTemplates, field: str
) -> None:
    """Refuse a template that is not there, or not for what is reviewed on the platform."""
    found = own(template) if template else None
    if found is not None:
        for family in review_types:
            contents.check_own(found, medium, family, field)
        return
    if medium is not Medium.EMAIL:
        raise InvalidField(
            f"{field} must be the id of an own template for {medium.name}: those that are shipped are "
            "for EMAIL",
            field=field,
        )
    fitting = {
        each.id for family in review_types for each in choice.fitting(family, Purpose.REVIEW)
    }
    if template not in fitting:
        raise InvalidField(
            f"{field} is no template for what is reviewed there; it must be an own one or one of: "
            f"{', '.join(sorted(fitting))}",
            field=field,
        )


def platform_to_proto(platform: Platform) -> pb2.Platform:
    """Return a platform as clients see it."""
    return pb2.Platform(
        name=platform.name,
        display_name=platform.display_name,
        kind=pb2.Platform.Kind.ValueType(platform.kind),
        review_types=[
            number for number, family in _REVIEW_TYPES.items() if family in platform.review_types
        ],
        review_url=platform.review_url,
        templates=[
            pb2.Platform.MediumTemplate(medium=types_pb2.Medium.ValueType(medium), template=id)
            for medium, id in sorted(platform.templates.items())
        ],
        reports_reviews=platform.reports_reviews,
        needs_data_forwarding=platform.needs_data_forwarding,
        etag=platform.etag,
        create_time=times.timestamp(platform.create_ms),
        update_time=times.timestamp(platform.update_ms),
    )


# --- of a channel ---------------------------------------------------------------------------------


def diversion_from_proto(pb: channel_service_pb2.Channel, account: str) -> Diversion | None:
    """Return how a client wants a channel's requests divided, None if it says nothing of it.

    Salts are not a client's to say: the registry keeps those that there are.
    """
    if not pb.HasField("diversion"):
        return None
    field = "channel.diversion.weights"
    checks.count(len(pb.diversion.weights), field, WEIGHTS_MAX)
    weights: dict[str, Weight] = {}
    for index, one in enumerate(pb.diversion.weights):
        place = f"{field}[{index}]"
        (platform,) = names.ids(one.platform, account, "platforms/{platform}", f"{place}.platform")
        if platform == OWN_PLATFORM:
            raise InvalidField(
                f'{place}.platform must not be "{OWN_PLATFORM}": that gets what the others leave',
                field=f"{place}.platform",
            )
        if platform in weights:
            raise InvalidField(
                f"{place}.platform stands there already: each platform at most once",
                field=f"{place}.platform",
            )
        if not 1 <= one.percent <= PERCENT_MAX:
            raise OutOfRange(
                f"{place}.percent must be 1 to {PERCENT_MAX}; leave a platform out to give it "
                "nothing",
                field=f"{place}.percent",
            )
        weights[platform] = Weight(platform, one.percent)
    total = sum(weight.percent for weight in weights.values())
    if total > PERCENT_MAX:
        raise OutOfRange(
            f"{field} add up to {total} percent; at most {PERCENT_MAX}, and what they leave stays "
            "on the own platform",
            field=field,
        )
    return Diversion(tuple(weights.values()), renews_salt=pb.diversion.renew_salt)


def diversion_to_proto(
    diversion: Diversion | None, account: str
) -> channel_service_pb2.Diversion | None:
    """Return how a channel's requests are divided as clients see it."""
    if diversion is None or not diversion.weights:
        return None
    return channel_service_pb2.Diversion(
        weights=[
            channel_service_pb2.Diversion.Weight(
                platform=platform_name(account, weight.platform), percent=weight.percent
            )
            for weight in diversion.weights
        ]
    )
