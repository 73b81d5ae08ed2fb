"""A shop's own templates between protobuf and the registry.

Decides: that every text in one can be read, names only what there is, and can be rendered (C22, C23).
Never: what a template may cost (`senders/contents/sandbox.py`), or which rules may name it
(`contents.py`).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Final

import msgspec

from afterword.v1 import rule_service_pb2
from afterword.v1 import template_service_pb2 as pb2
from control.conversion import checks, times
from core import bounds
from core.errors import InvalidField, RenderingFailed
from core.model import Family, Medium
from core.registry.contents import (
    Content,
    ContentTemplate,
    EmailParts,
    Parts,
    SmsParts,
    WhatsAppParts,
)
from senders.contents import checking, plain_text, trial

OUTPUT_ONLY: Final = frozenset({
    "name", "etag", "create_time", "update_time", "revision", "purposes", "default_for", "body",
    "languages", "questions", "can_require_comment",
})  # fmt: skip

_MEDIA: Final = {
    pb2.Template.KIND_EMAIL: Medium.EMAIL,
    pb2.Template.KIND_SMS: Medium.SMS,
    pb2.Template.KIND_WHATSAPP: Medium.WHATSAPP,
}
_PARTS: Final = {Medium.EMAIL: "email", Medium.SMS: "sms", Medium.WHATSAPP: "whatsapp"}
_APPROVED: Final = re.compile(r"[a-z0-9_]{1,512}")
_CODE: Final = re.compile(r"[a-z]{2,3}(?:_[A-Z]{2})?")
_FIELD: Final = "template.contents"


def template_from_proto(pb: pb2.Template, account: str, template_id: str) -> ContentTemplate:
    """Return a template as a client wants it."""
    medium = _MEDIA.get(pb.kind)
    if medium is None:
        raise InvalidField(
            "template.kind must be KIND_EMAIL, KIND_SMS or KIND_WHATSAPP", field="template.kind"
        )
    contents = tuple(_contents(pb, medium))
    template = ContentTemplate(
        account=account,
        id=template_id,
        display_name=checks.text(pb.display_name, "template.display_name", bounds.NAME_CHARS_MAX),
        description=checks.text(pb.description, "template.description", bounds.TEXT_CHARS_MAX),
        medium=medium,
        families=_families(pb.families),
        contents=contents,
        default_locale=_default_locale(pb.default_locale, contents),
    )
    size_bytes = len(msgspec.json.encode(template))
    if size_bytes > bounds.TEMPLATE_BYTES_MAX:
        raise InvalidField(
            f"{_FIELD} have {size_bytes:,} bytes in all; at most {bounds.TEMPLATE_BYTES_MAX:,}",
            field=_FIELD,
        )
    tag_count = sum(map(_tag_count, contents))
    if tag_count > bounds.TEMPLATE_ALL_TAGS_MAX:
        raise InvalidField(
            f"{_FIELD} have {tag_count:,} tags and outputs in all; at most "
            f"{bounds.TEMPLATE_ALL_TAGS_MAX:,}",
            field=_FIELD,
        )
    try:
        trial.try_out(template)
    except RenderingFailed as error:
        raise InvalidField(
            f"{_FIELD} cannot be rendered for an order made up: {error.message}", field=_FIELD
        ) from None
    return template


def _families(found: Sequence[int]) -> tuple[Family, ...]:
    field = "template.families"
    if not found:
        checks.missing(field, "the families of the rules that may name it")
    for index, one in enumerate(found):
        checks.choice(one, f"{field}[{index}]", rule_service_pb2.Rule.Family, is_required=True)
    return tuple(sorted({Family(one) for one in found}))


def _tag_count(content: Content) -> int:
    source = msgspec.json.encode(content.parts)
    return source.count(b"{{") + source.count(b"{%")


def _default_locale(wanted: str, contents: Sequence[Content]) -> str:
    if not wanted:
        return contents[0].locale
    locale = checks.locale(wanted, "template.default_locale")
    known = [content.locale for content in contents]
    if locale not in known:
        raise InvalidField(
            f"template.default_locale must be one of those in contents: {', '.join(known)}",
            field="template.default_locale",
        )
    return locale


def _contents(pb: pb2.Template, medium: Medium) -> list[Content]:
    if not pb.contents:
        checks.missing(_FIELD, "what it says, in at least one locale")
    checks.count(len(pb.contents), _FIELD, bounds.TEMPLATE_LOCALES_MAX, "locales")
    found: dict[str, Content] = {}
    for index, one in enumerate(pb.contents):
        place = f"{_FIELD}[{index}]"
        if not one.locale:
            checks.missing(f"{place}.locale", '"de" or "pt_BR"')
        locale = checks.locale(one.locale, f"{place}.locale")
        if _tag(locale) in found:
            raise InvalidField(
                f"{place}.locale {locale} is there already; each locale once",
                field=f"{place}.locale",
            )
        wanted = _PARTS[medium]
        if one.WhichOneof("parts") != wanted:
            raise InvalidField(
                f"{place}.{wanted} must be set: the template is for {medium.name}",
                field=f"{place}.{wanted}",
            )
        parts = _READERS[medium](one, f"{place}.{wanted}")
        found[_tag(locale)] = Content(locale, parts)
    return list(found.values())


def _tag(locale: str) -> str:
    return locale.lower().replace("-", "_")


# --- parts --------------------------------------------------------------------------------------


def _email(pb: pb2.TemplateContent, field: str) -> EmailParts:
    given = pb.email
    parts = EmailParts(
        subject=_line(given.subject, f"{field}.subject", is_required=True),
        preheader=_line(given.preheader, f"{field}.preheader"),
        sender_name=_line(given.sender_name, f"{field}.sender_name"),
        reply_to=checks.email(given.reply_to, f"{field}.reply_to") if given.reply_to else "",
        html=_text(
            given.html, f"{field}.html", bounds.TEMPLATE_SOURCE_CHARS_MAX, is_html=True,
        ),
        text=_text(given.text, f"{field}.text", bounds.TEMPLATE_TEXT_CHARS_MAX, is_required=False),
    )  # fmt: skip
    if not parts.text:
        try:
            # The library may read what is left of it in another way, or find no end of a block.
            source = plain_text.text_of(parts.html)
            checking.parsed(
                source, field=f"{field}.html", chars_max=2 * bounds.TEMPLATE_SOURCE_CHARS_MAX
            )
        except InvalidField as error:
            raise InvalidField(
                f"{field}.text must be set: no plain part can be made from the page "
                f"({error.message})",
                field=f"{field}.text",
            ) from None
    return parts


def _sms(pb: pb2.TemplateContent, field: str) -> SmsParts:
    return SmsParts(text=_text(pb.sms.text, f"{field}.text", bounds.TEXT_CHARS_MAX))


def _whatsapp(pb: pb2.TemplateContent, field: str) -> WhatsAppParts:
    given = pb.whatsapp
    if not _APPROVED.fullmatch(given.template_name):
        raise InvalidField(
            f"{field}.template_name must be the name of an approved template at the provider: lower "
            "case, digits and _",
            field=f"{field}.template_name",
        )
    if not _CODE.fullmatch(given.language):
        raise InvalidField(
            f'{field}.language must be the code that it was approved in: "en", "pt_BR"',
            field=f"{field}.language",
        )
    checks.count(
        len(given.parameters), f"{field}.parameters", bounds.TEMPLATE_PARAMETERS_MAX, "parameters"
    )
    return WhatsAppParts(
        template_name=given.template_name,
        language=given.language,
        parameters=tuple(
            _line(one, f"{field}.parameters[{index}]", is_required=True)
            for index, one in enumerate(given.parameters)
        ),
    )


_READERS: Final[dict[Medium, Callable[[pb2.TemplateContent, str], Parts]]] = {
    Medium.EMAIL: _email,
    Medium.SMS: _sms,
    Medium.WHATSAPP: _whatsapp,
}


def _line(source: str, field: str, *, is_required: bool = False) -> str:
    """Return the source of a text that may become a header or parameter."""
    if "\n" in source or "\r" in source:
        raise InvalidField(f"{field} is one line, without line breaks", field=field)
    return _text(source, field, bounds.TEMPLATE_LINE_CHARS_MAX, is_required=is_required)


def _text(
    source: str, field: str, chars_max: int, *, is_html: bool = False, is_required: bool = True
) -> str:
    if not source.strip():
        if is_required:
            checks.missing(field, "what it says, in Liquid")
        return ""
    lines = source.replace("\r\n", "\n")
    checking.parsed(lines, field=field, is_html=is_html, chars_max=chars_max)
    return lines


# --- as clients see them ------------------------------------------------------------------------


def template_to_proto(template: ContentTemplate) -> pb2.Template:
    """Return an own template."""
    kind = next(kind for kind, medium in _MEDIA.items() if medium is template.medium)
    return pb2.Template(
        name=template.name,
        kind=kind,
        display_name=template.display_name,
        description=template.description,
        families=[rule_service_pb2.Rule.Family.ValueType(each) for each in template.families],
        contents=[_content_to_proto(content) for content in template.contents],
        default_locale=template.default_locale,
        revision=template.revision,
        etag=template.etag,
        create_time=times.timestamp(template.create_ms),
        update_time=times.timestamp(template.update_ms),
    )


def _content_to_proto(content: Content) -> pb2.TemplateContent:
    pb, parts = pb2.TemplateContent(locale=content.locale), content.parts
    if isinstance(parts, EmailParts):
        pb.email.CopyFrom(
            pb2.EmailContent(
                subject=parts.subject, preheader=parts.preheader, sender_name=parts.sender_name,
                reply_to=parts.reply_to, html=parts.html, text=parts.text,
            )
        )  # fmt: skip
    elif isinstance(parts, SmsParts):
        pb.sms.text = parts.text
    else:
        pb.whatsapp.CopyFrom(
            pb2.WhatsAppContent(
                template_name=parts.template_name, language=parts.language,
                parameters=parts.parameters,
            )
        )  # fmt: skip
    return pb
