"""What caps do with a step of a rule: options to the step's fields."""

from __future__ import annotations

import argparse

from afterword.v1 import rule_service_pb2 as api
from control.cli.parsers import add_word
from control.cli.rule_text import STEP_ON_CAP
from control.cli.values import UsageError, names_or_none


def add_cap_options(parser: argparse.ArgumentParser) -> None:
    """Add the options, for `create` and `update`."""
    caps = parser.add_argument_group("what caps do with a step")
    caps.add_argument(
        "--exempt-from-cap",
        action="append",
        metavar="CAP",
        help="a cap that does not hold it back, may be repeated, or none",
    )
    caps.add_argument(
        "--not-counted-by-cap",
        action="append",
        metavar="CAP",
        help="a cap in which it does not count, may be repeated, or none",
    )
    add_word(caps, "--on-cap", STEP_ON_CAP, "what happens over a limit (as the cap says)")
    caps.add_argument("--caps-of-step", metavar="ID", help="which step these are about (the first)")


def apply_caps(rule: api.Rule, options: argparse.Namespace) -> None:
    """Write into a step of the rule what the options give."""
    given = (options.exempt_from_cap, options.not_counted_by_cap, options.on_cap)
    if all(value is None for value in given):
        if options.caps_of_step is not None:
            raise UsageError(
                "--caps-of-step goes with --exempt-from-cap, --not-counted-by-cap or --on-cap"
            )
        return
    if not rule.steps:
        raise UsageError("caps look at a step: give --after")
    wanted = options.caps_of_step or rule.steps[0].id
    step = next((one for one in rule.steps if one.id == wanted), None)
    if step is None:
        ids = ", ".join(one.id for one in rule.steps)
        raise UsageError(f"the rule has no step '{wanted}'; it has {ids}")
    if options.exempt_from_cap is not None:
        step.exempt_from_caps[:] = names_or_none("--exempt-from-cap", options.exempt_from_cap)
    if options.not_counted_by_cap is not None:
        names = names_or_none("--not-counted-by-cap", options.not_counted_by_cap)
        step.not_counted_by_caps[:] = names
    if options.on_cap is not None:
        step.on_cap = STEP_ON_CAP[options.on_cap]
