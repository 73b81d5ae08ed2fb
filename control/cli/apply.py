"""`afterword apply`: bring a daemon to the configuration in a file."""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import grpc

from afterword import errors
from control.cli.output import count_text
from control.cli.parsers import SubParsers, add_options
from control.cli.problems import FAILED, OK, report
from control.cli.session import Session
from control.cli.values import UsageError
from core.errors import AfterwordError

if TYPE_CHECKING:
    from google.protobuf.message import Message

    from control.cli.config_plan import Plan
    from control.simulation.config import ConfigFile

_DESCRIPTION = """\
Bring a daemon to the configuration in a YAML file: create and change what the file names, switch rules
as it says, record its consents. What the file does not name is left alone, unless --prune is given.

First it shows what would change, as a diff, and tries all of it out: in memory, and with the daemon as
far as that can judge without doing it. Then it asks. The changes are single calls, one after the other,
no transaction: if one fails, those before it stand, and the same command goes on where it stopped.
Where nothing differs it says so and does nothing.

Exit code 1 if the file is wrong, or something was refused.
"""

_EPILOG = """\
example:
  afterword apply -f docs/examples/shop.yaml --dry-run
  afterword apply -f docs/examples/shop.yaml --yes
"""

_DONE: Final = {
    "create": "created", "update": "changed", "delete": "deleted", "switch": "switched",
    "consent": "recorded",
}  # fmt: skip


def add_parser(nouns: SubParsers) -> None:
    """Add the command."""
    parser = nouns.add_parser(
        "apply",
        help="bring a daemon to the configuration in a file",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("-f", "--file", required=True, metavar="FILE", help="YAML")
    parser.add_argument("--dry-run", action="store_true", help="show and check, change nothing")
    parser.add_argument("--yes", action="store_true", help="do not ask")
    parser.add_argument(
        "--prune",
        action="store_true",
        help="also delete platforms, senders, channels, carriers, caps, rules and event types that the "
        "file does not name, and switch off rules where it does not say that they are on",
    )
    add_options(parser)
    parser.set_defaults(run=run)


def run(session: Session, options: argparse.Namespace) -> int:
    """Show the difference, ask, and apply."""
    from control.simulation.config import ConfigFile

    try:
        text = Path(options.file).read_bytes()
    except OSError as error:
        raise UsageError(f"--file: {error}") from None
    try:
        config = ConfigFile.read(options.file, text, session.account)
    except AfterwordError as error:
        report(error.message)
        return FAILED
    try:
        return asyncio.run(_apply(_Daemon(session), config, options))
    except AfterwordError as error:
        report(config.blame(error).message)
        return FAILED


async def _apply(daemon: _Daemon, config: ConfigFile, options: argparse.Namespace) -> int:
    from control.cli import config_plan
    from control.simulation.configure import carry_out

    plan = await config_plan.make(daemon.call, config, prune=options.prune)
    for note in plan.notes:
        report(note)
    if not options.json:
        for line in config_plan.diff(plan, options.file):
            print(line)
    if not plan.steps:
        _tell(options, plan, 0, "nothing to change")
        return OK
    await config_plan.validate(daemon.call, plan.steps)
    changes = count_text(len(plan.steps), "change")
    if options.dry_run:
        _tell(options, plan, 0, f"{changes} to make; nothing was changed")
        return OK
    if not options.yes and not _agreed(changes):
        _tell(options, plan, 0, "nothing was changed")
        return OK
    done = 0
    try:
        for step in plan.steps:
            await carry_out(daemon.call, [step])
            done += 1
    except (AfterwordError, grpc.RpcError):
        report(f"{done:,} of {changes} made; the same command goes on from there")
        raise
    left = await config_plan.remaining(daemon.call, plan)
    for name in left:
        report(f"{name} is still not as the file says: somebody else may have changed it")
    _tell(options, plan, done, f"{changes} made")
    return FAILED if left else OK


def _agreed(changes: str) -> bool:
    if not sys.stdin.isatty():
        raise UsageError("nobody is there to be asked; give --yes to apply without asking")
    print(f"Make {changes}? [y/N] ", end="", flush=True)
    return sys.stdin.readline().strip().lower() in ("y", "yes")


def _tell(options: argparse.Namespace, plan: Plan, done: int, text: str) -> None:
    if options.json:
        steps = [{"verb": step.verb, "name": step.name} for step in plan.steps]
        print(json.dumps({"changes": steps, "made": done}, indent=2))
        return
    for step in plan.steps[:done]:
        print(f"{_DONE[step.verb]} {step.name}")
    print(text)


class _Daemon:
    """A daemon as what answers the calls of a configuration."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._stubs: dict[str, Any] = {
            "ChannelService": session.channels, "RuleService": session.rules,
            "EventService": session.events, "ConsentService": session.consents,
            "PlatformService": session.platforms, "SenderService": session.senders,
            "TemplateService": session.templates,
        }  # fmt: skip

    async def call(self, method: str, request: Message) -> Any:
        """Call; see `control.simulation.kinds.ApiCall`. Nothing else runs on this loop."""
        from control.simulation.kinds import Unserved

        service, _, name = method.partition("/")
        try:
            return self._session.call(getattr(self._stubs[service], name), request)
        except grpc.RpcError as error:
            problem = errors.details(error)
            if problem.code is grpc.StatusCode.UNIMPLEMENTED:
                raise Unserved(f"the daemon does not know {method}") from None
            if not problem.reason:
                raise
            field = problem.field_violations[0].field if problem.field_violations else ""
            raise AfterwordError(problem.message, field=field, reason=problem.reason) from None
