"""How the study's scripts are run: what a user can mend, or stops, ends them in one line."""

import sys
from collections.abc import Callable
from pathlib import Path

import typer

from ser_meta.configuration.errors import Interrupted, UserError


def run(main: Callable[..., None]) -> None:
    """Calls a script's function with the words of the command line; leaves with the exit code that an error has."""
    try:
        typer.run(main)
    except (Interrupted, UserError) as error:
        print(f"{Path(sys.argv[0]).name}: {error}", file=sys.stderr)
        sys.exit(getattr(error, "exit_code", 2))
