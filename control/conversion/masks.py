"""Field masks: what an update changes.

Decides: which fields of the resource as it is are replaced by those of the request (AIP-134).
Never: whether the outcome is valid; it is checked like a new resource.

`FieldMask.MergeMessage` of protobuf is not used: it turns an optional field that is not set into its
zero, and a cap without limit into one that blocks everything.
"""

from __future__ import annotations

from typing import TypeVar

from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.message import Message

from core.errors import InvalidField

MessageT = TypeVar("MessageT", bound=Message)

EVERYTHING = "*"
WHOLE = FieldMask(paths=[EVERYTHING])
"""For resources that are meant as a whole if no mask says otherwise."""


def merged(
    present: MessageT, request: MessageT, mask: FieldMask, output_only: frozenset[str]
) -> MessageT:
    """Return the resource as it will be.

    Args:
        present: the resource as it is; changed in place.
        request: the resource of the request.
        mask: paths below the resource; empty: every field that is set.
        output_only: fields that clients cannot set; ignored wherever they are named.
    """
    paths = list(mask.paths)
    if paths == [EVERYTHING]:
        paths = [field.name for field in present.DESCRIPTOR.fields]
    elif not paths:
        paths = [field.name for field, _ in request.ListFields()]
    for path in paths:
        head, _, _ = path.partition(".")
        if head in output_only:
            continue
        _replace(present, request, path, path)
    return present


def _replace(target: Message, source: Message, path: str, whole: str) -> None:
    """Make one field of the target what it is in the source, unset included."""
    head, _, rest = path.partition(".")
    field = target.DESCRIPTOR.fields_by_name.get(head)
    if field is None:
        raise InvalidField(
            f"update_mask names {whole[:200]!r}, which is no field here", field="update_mask"
        )
    if rest:
        if field.is_repeated or field.message_type is None:
            raise InvalidField(
                f"update_mask names {whole[:200]!r}: {head} can only be replaced as a whole",
                field="update_mask",
            )
        if source.HasField(head) or target.HasField(head):
            _replace(getattr(target, head), getattr(source, head), rest, whole)
        return
    target.ClearField(head)
    if field.is_repeated:
        getattr(target, head).MergeFrom(getattr(source, head))
    elif not field.has_presence:
        setattr(target, head, getattr(source, head))
    elif source.HasField(head):
        if field.message_type is None:
            setattr(target, head, getattr(source, head))
        else:
            getattr(target, head).CopyFrom(getattr(source, head))
