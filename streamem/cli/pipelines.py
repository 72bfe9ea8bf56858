"""``run`` and ``check``: what is done with a pipeline file."""

import gc
import os
import signal
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

from streamem.cli.options import debug, setting

if TYPE_CHECKING:
    from threading import Event

__all__ = ["check", "collect_seldom", "run"]

AGAIN_SECONDS = 1.0
"""Two signals within so long are one: GNU timeout, for one, sends each to the process and to its group."""

FROM = (
    "Kafka: read on from earliest, latest, committed or a time instead of where the state says; what was learned is "
    "kept. checkpoint: take the latest state although no commit is known that belongs to it."
)

MADE = 50_000
"""So many more objects than before are made until the garbage collector looks for cycles."""


def collect_seldom() -> None:
    """Let the garbage collector look at little, and seldom.

    What was imported stays, and a micro-batch holds tens of thousands of objects until it is committed, one or more a
    message: as Python is set, they are looked through again and again, a fourth of a run with kafka-python.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(MADE, 20, 50)


@click.command()
@click.argument("file")
@setting
@click.option("--limit", type=click.IntRange(min=1), metavar="N", help="Stop after N records; start again to go on.")
@click.option("--fresh", is_flag=True, help="Begin anew: move earlier files and state aside (.1, .2, ...).")
@click.option("--from", "begin", metavar="WHERE", help=FROM)
@click.option("--quiet", is_flag=True, help="No progress and no summary.")
@debug
def run(file: str, settings: Sequence[str], limit: int | None, fresh: bool, begin: str | None, quiet: bool) -> None:
    """Run the pipeline in FILE.

    It ends with its input, or at a signal: SIGINT (Ctrl-C) and SIGTERM finish the batch and put the state
    down; a second one ends at once.
    """
    from streamem.cli.display import Silent, display_of, summarise
    from streamem.config import load
    from streamem.stream.protocol import World

    found = load(file, settings)
    collect_seldom()
    world = World()
    in_use = found.uses_stdout
    display = Silent() if quiet else display_of(world.monotonic, found.progress_seconds, stdout_in_use=in_use)
    with display, stopped_by_signals(world.stopping):
        summary = found.pipeline(world=world, listener=display.show).run(limit=limit, fresh=fresh, begin=begin)
    if not quiet:
        summarise(summary, f"streamem run {file}", resumable=found.checkpoint is not None)


@contextmanager
def stopped_by_signals(stopping: "Event") -> Iterator[None]:
    """Set `stopping` at the first SIGINT or SIGTERM; one that comes `AGAIN_SECONDS` later ends the process."""
    signals = (signal.SIGINT, signal.SIGTERM)
    first: list[float] = []

    def stop(number: int, _: Any) -> None:
        now = time.monotonic()
        if not first:
            first.append(now)
            # in a thread of its own: the main thread may hold the lock of the event at this moment
            threading.Thread(target=stopping.set, daemon=True).start()
        elif now - first[0] > AGAIN_SECONDS:
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)

    before = [(one, signal.signal(one, stop)) for one in signals]
    try:
        yield
    finally:
        for one, handler in before:
            signal.signal(one, handler)


@click.command()
@click.argument("file")
@setting
@debug
def check(file: str, settings: Sequence[str]) -> None:
    """Check the pipeline in FILE; nothing is written.

    Reads the settings and opens the input to see its columns; prints what would run.
    """
    from streamem.cli.outline import outline
    from streamem.config import load

    click.echo(outline(load(file, settings)))
