"""The command line. One file a kind of command; each imports what it needs when it runs, so that ``--help`` is quick.

Exit codes: 0 done; 1 the run failed (records, numbers, the outside world); 2 a file or an argument is wrong.
"""

import os
import sys
import traceback
from collections.abc import Sequence
from typing import NoReturn

import click

from streamem.cli.kafka import lag, topics
from streamem.cli.pipelines import check, run
from streamem.cli.snapshots import combine, score, show
from streamem.cli.tables import list_, schema
from streamem.errors import ConfigError, SnapshotError, StreamemError

__all__ = ["commands", "main"]

WRONG, FAILED = 2, 1


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="streamem")
def commands() -> None:
    """Learn hidden-variable models from streams: a posterior for every record, parameters while the data flows."""


for _command in (run, check, schema, list_, show, combine, score, topics, lag):
    commands.add_command(_command)


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run one command and leave with its exit code; without --debug a mistake is told in words only."""
    asked = {"debug": False}
    try:
        commands.main(arguments, prog_name="streamem", standalone_mode=False, obj=asked)
        sys.stdout.flush()
        code = 0
    except Exception as error:
        code = _tell(error, debug=asked["debug"])
    except KeyboardInterrupt:
        code = 130
    sys.exit(code)


def _tell(error: Exception, *, debug: bool) -> int:
    """Say on standard error what went wrong, and return the exit code."""
    if isinstance(error, BrokenPipeError) or isinstance(error.__cause__, BrokenPipeError):
        # Nobody reads on: the usual end of `streamem ... | head`. The interpreter must not flush into it again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    if isinstance(error, click.exceptions.Exit):
        return error.exit_code
    if isinstance(error, click.Abort):
        return 130
    if debug:
        traceback.print_exception(error)
    if isinstance(error, click.ClickException):
        error.show()
        return error.exit_code
    if isinstance(error, StreamemError):
        click.echo(f"streamem: {error}", err=True)
        return WRONG if isinstance(error, ConfigError | SnapshotError) else FAILED
    kind = f"{type(error).__name__}: {error}".replace("\n", " ")
    click.echo(f"streamem: this is a bug of streamem ({kind}). To do: run again with --debug and report it.", err=True)
    return FAILED
