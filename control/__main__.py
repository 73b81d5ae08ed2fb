"""`python -m control`: the daemon, without the rest of the command line."""

from __future__ import annotations

import argparse
import os
import sys

from control import serve, settings
from core.errors import InvalidField


def main() -> int:
    """Read the settings and run the daemon."""
    parser = argparse.ArgumentParser(prog="python -m control", description="Run the daemon.")
    settings.add_arguments(parser)
    try:
        chosen = settings.from_arguments(parser.parse_args(), os.environ)
    except InvalidField as error:
        print(f"afterword: {error}", file=sys.stderr)
        return serve.BAD_SETTINGS
    return serve.run(chosen)


if __name__ == "__main__":
    sys.exit(main())
