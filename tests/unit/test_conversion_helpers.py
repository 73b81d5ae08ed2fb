"""Names, pages and masks: what requests of all services share."""

from __future__ import annotations

import pytest

from afterword.v1 import channel_service_pb2
from control.conversion import masks, names, pages
from core.errors import InvalidField, NotFound


def test_names_of_others_are_not_there() -> None:
    assert names.ids("accounts/a/channels/c", "a", "channels/{channel}", "name") == ("c",)
    for name, kind in (
        ("accounts/b/channels/c", NotFound),
        ("accounts/a/channels", InvalidField),
        ("accounts/a/channels/", InvalidField),
        ("accounts/a/rules/c", InvalidField),
        ("accounts/a/channels/c/d", InvalidField),
        ("", InvalidField),
    ):
        with pytest.raises(kind):
            names.ids(name, "a", "channels/{channel}", "name")


def test_keys_in_names_are_whole() -> None:
    member = bytes(range(16))
    assert names.member(names.invitation_name("a", member), "a", "name") == member
    for text in ("00", "g" * 32, "A" * 32, "0" * 33, "0" * 31 + "\u0660"):
        with pytest.raises(NotFound):
            names.member(f"accounts/a/invitations/{text}", "a", "name")


def test_pages_cover_a_list_once() -> None:
    found = [f"id-{number:03}" for number in range(10)]
    seen: list[str] = []
    token = ""
    while True:
        shown, token = pages.page(found, str, "list", 3, token)
        seen += shown
        if not token:
            break
    assert seen == found
    _, token = pages.page(found, str, "list", 3, "")
    for scope, wrong in (
        ("other", token),
        ("list", token[:-4]),
        ("list", "\u00e9"),
        ("list", "e30="),
    ):
        with pytest.raises(InvalidField):
            pages.page(found, str, scope, 3, wrong)
    assert len(pages.page(range(5_000), lambda n: f"{n:05}", "l", 9_999, "")[0]) == 1_000


def test_masks_keep_what_is_unset_unset() -> None:
    present = channel_service_pb2.Cap(limit=3, display_name="old")
    merged = masks.merged(
        present,
        channel_service_pb2.Cap(name="x"),
        masks.FieldMask(paths=["limit", "name"]),
        frozenset({"name"}),
    )
    assert not merged.HasField("limit")
    assert merged.display_name == "old"
    assert not merged.name, "output only"


def test_masks_reach_inside_and_cover_everything() -> None:
    present = channel_service_pb2.Channel(display_name="old", locale="es")
    present.email_sender.address = "a@b.c"
    request = channel_service_pb2.Channel(display_name="new")
    request.email_sender.reply_to = "d@e.f"
    inside = masks.FieldMask(paths=["email_sender.reply_to"])
    merged = masks.merged(_copy(present), request, inside, frozenset())
    assert (merged.email_sender.address, merged.email_sender.reply_to) == ("a@b.c", "d@e.f")
    assert merged.display_name == "old"
    whole = masks.merged(_copy(present), request, masks.FieldMask(paths=["*"]), frozenset())
    assert whole == request
    for path in ("colour", "email_sender.colour", "locale.x", ""):
        with pytest.raises(InvalidField):
            masks.merged(_copy(present), request, masks.FieldMask(paths=[path]), frozenset())


def _copy(channel: channel_service_pb2.Channel) -> channel_service_pb2.Channel:
    copy = channel_service_pb2.Channel()
    copy.CopyFrom(channel)
    return copy
