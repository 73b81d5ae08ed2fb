"""`afterword consents blocks`: domains and patterns of addresses that are not written to."""

from __future__ import annotations

import argparse
from typing import Final

from afterword.v1 import consent_service_pb2 as api
from afterword.v1 import types_pb2
from control.cli.output import print_fields, print_json, print_table, short, time_text
from control.cli.parsers import SubParsers, add_noun, add_validate_only, add_verb, add_word
from control.cli.session import PAGE_SIZE, Session
from control.cli.values import word, words

MEDIA: Final = words(types_pb2.Medium, "MEDIUM_")
PURPOSES: Final = {
    text: number
    for text, number in words(types_pb2.Purpose, "PURPOSE_").items()
    if text != "data-forwarding"
}


def add_parser(verbs: SubParsers) -> None:
    """Add the noun and its verbs."""
    blocks = add_noun(verbs, "blocks", "domains and patterns of addresses that are not written to")
    create = add_verb(
        blocks, "create", run_create, "add a block; it holds at once",
        "consents blocks create rival --domain '*.rival.example'",
    )  # fmt: skip
    create.add_argument("id", help="a name of your own")
    value = create.add_mutually_exclusive_group(required=True)
    value.add_argument("--domain", metavar="DOMAIN", help="with *. before it: all below it too")
    value.add_argument("--pattern", metavar="RE2", help="what whole addresses match")
    add_word(create, "--medium", MEDIA, "only over it, may be repeated", action="append")
    add_word(create, "--purpose", PURPOSES, "only for it, may be repeated", action="append")
    create.add_argument("--reason", metavar="TEXT", default="", help="why, in words")
    add_validate_only(create)
    get = add_verb(blocks, "get", run_get, "show one block")
    delete = add_verb(blocks, "delete", run_delete, "delete a block")
    for verb in (get, delete):
        verb.add_argument("block", help="id or full name")
    add_validate_only(delete)
    add_verb(blocks, "list", run_list, "list the blocks")


def run_create(session: Session, options: argparse.Namespace) -> None:
    """Add a block."""
    block = api.Block(
        kind=api.Block.KIND_DOMAIN if options.domain else api.Block.KIND_PATTERN,
        value=options.domain or options.pattern,
        media=[MEDIA[text] for text in options.medium or ()],
        purposes=[PURPOSES[text] for text in options.purpose or ()],
        reason=options.reason,
    )
    request = api.CreateBlockRequest(
        parent=session.parent,
        block_id=options.id,
        block=block,
        validate_only=options.validate_only,
    )
    _show(session.call(session.consents.CreateBlock, request), options)


def run_get(session: Session, options: argparse.Namespace) -> None:
    """Show one block."""
    request = api.GetBlockRequest(name=session.name("blocks", options.block))
    _show(session.call(session.consents.GetBlock, request), options)


def run_delete(session: Session, options: argparse.Namespace) -> None:
    """Delete a block."""
    request = api.DeleteBlockRequest(
        name=session.name("blocks", options.block), validate_only=options.validate_only
    )
    answer = session.call(session.consents.DeleteBlock, request)
    if options.json:
        print_json(answer)
    else:
        print(f"{'can delete' if options.validate_only else 'deleted'} {request.name}")


def run_list(session: Session, options: argparse.Namespace) -> None:
    """List the blocks."""

    def page(token: str) -> api.ListBlocksResponse:
        request = api.ListBlocksRequest(
            parent=session.parent, page_size=PAGE_SIZE, page_token=token
        )
        return session.call(session.consents.ListBlocks, request)

    found = session.all_pages(page, api.ListBlocksResponse())
    if options.json:
        return print_json(found)
    print_table(
        ("ID", "KIND", "VALUE", "MEDIA", "PURPOSES", "REASON"),
        (
            (
                short(block.name),
                word(api.Block.Kind, "KIND_", block.kind),
                block.value,
                _media(block) or "all",
                _purposes(block) or "all",
                block.reason,
            )
            for block in found.blocks
        ),
    )


def _media(block: api.Block) -> str:
    return ", ".join(word(types_pb2.Medium, "MEDIUM_", medium) for medium in block.media)


def _purposes(block: api.Block) -> str:
    return ", ".join(word(types_pb2.Purpose, "PURPOSE_", purpose) for purpose in block.purposes)


def _show(block: api.Block, options: argparse.Namespace) -> None:
    if options.json:
        return print_json(block)
    print_fields(
        (
            ("block", block.name),
            ("kind", word(api.Block.Kind, "KIND_", block.kind)),
            ("value", block.value),
            ("media", _media(block) or "all"),
            ("purposes", _purposes(block) or "all"),
            ("reason", block.reason),
            ("created", time_text(block.create_time)),
        )
    )
