"""How far a run is: a bar on a terminal, else a line now and then; a table at the end. All of it on standard error."""

import sys
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Protocol

import click
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn
from rich.table import Table

from streamem.stream.progress import Progress as Stand
from streamem.stream.progress import Summary

__all__ = ["Bar", "Display", "Lines", "Reading", "Silent", "display_of", "summarise"]

BAR_SECONDS = 0.1

Clock = Callable[[], float]


@dataclass(frozen=True)
class Reading:
    """What is shown of a run at one moment.

    Parameters
    ----------
    records : int
        Read in this run.
    records_per_second : float
        Mean over this run.
    done : float or None
        Share of the input, in [0, 1].
    seconds_left : float or None
        At the rate so far.
    learners : tuple of str
        A phrase for each learner that has begun: mean log-likelihood of the last batch, components in use.
    """

    records: int
    records_per_second: float
    done: float | None
    seconds_left: float | None
    learners: tuple[str, ...]

    def line(self) -> str:
        """Return all of it as one line.

        Examples
        --------
        >>> Reading(1500, 3000.0, 0.25, 1.5, ("regime: log-likelihood -6.050, 3 of 3 components",)).line()
        '1,500 records, 3,000 records/s, 25 %, 0:00:02 left, regime: log-likelihood -6.050, 3 of 3 components'
        """
        parts = [f"{self.records:,} records", f"{self.records_per_second:,.0f} records/s"]
        if self.done is not None:
            parts.append(f"{100 * self.done:.0f} %")
        if self.seconds_left is not None:
            parts.append(f"{timedelta(seconds=round(self.seconds_left))} left")
        return ", ".join([*parts, *self.learners])


class Display(AbstractContextManager["Display"], Protocol):
    """What a run tells its progress to."""

    def show(self, stand: Stand) -> None:
        """Take note of a batch; called after each, so it must be cheap when nothing is due."""


class Silent(nullcontext["Silent"]):
    """Show nothing."""

    def __init__(self) -> None:
        super().__init__(self)

    def show(self, stand: Stand) -> None:
        """Do nothing."""


class _Timed:
    """Keep the beginning of a run, and when something was last shown."""

    def __init__(self, clock: Clock, every_seconds: float) -> None:
        self.clock, self.every_seconds = clock, every_seconds
        self.began = self.last = clock()
        self.done_before: float | None = None

    def due(self) -> bool:
        """Return whether it is time again, and if so count from now."""
        now = self.clock()
        if now - self.last < self.every_seconds:
            return False
        self.last = now
        return True

    def reading(self, stand: Stand) -> Reading:
        """Return what to show of `stand` now."""
        seconds = max(self.clock() - self.began, 1e-9)
        left = None
        if self.done_before is None:
            self.done_before = stand.done
        elif stand.done is not None and stand.done > self.done_before:
            left = seconds * (1 - stand.done) / (stand.done - self.done_before)
        learners = tuple(f"{name}: {learner(snapshot)}" for name, snapshot in stand.snapshots.items())
        return Reading(stand.records, stand.records / seconds, stand.done, left, learners)


def learner(snapshot: Any) -> str:
    """Return one phrase on a learner: how well its last batch fitted, and how many of its components are alive."""
    summary = snapshot.summary()
    return (
        f"log-likelihood {snapshot.log_likelihood:.3f}, {summary['in_use']} of {len(summary['components'])} components"
    )


class Lines(_Timed):
    """Write a plain line every `every_seconds`."""

    def __enter__(self) -> "Lines":
        return self

    def __exit__(self, *_: object) -> None:
        return None

    def show(self, stand: Stand) -> None:
        """Write a line if it is time."""
        if self.due():
            click.echo(self.reading(stand).line(), err=True)


class Bar(_Timed):
    """Keep one line of the terminal up to date."""

    def __init__(self, clock: Clock, console: Console) -> None:
        super().__init__(clock, BAR_SECONDS)
        columns = (BarColumn(bar_width=24), TextColumn("{task.description}"))
        self.progress = Progress(*columns, console=console, transient=True)
        self.task = self.progress.add_task("reading", total=None)

    def __enter__(self) -> "Bar":
        self.progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.progress.stop()

    def show(self, stand: Stand) -> None:
        """Bring the line up to date if it is time."""
        if self.due():
            reading = self.reading(stand)
            total = None if reading.done is None else 1.0
            self.progress.update(self.task, total=total, completed=reading.done or 0.0, description=reading.line())


def display_of(clock: Clock, every_seconds: float, *, stdout_in_use: bool) -> Display:
    """Return a bar if standard error is a terminal that shows nothing else, else lines."""
    if sys.stderr.isatty() and not (stdout_in_use and sys.stdout.isatty()):
        return Bar(clock, Console(stderr=True))
    return Lines(clock, every_seconds)


def summarise(summary: Summary, again: str, *, resumable: bool) -> None:
    """Write to standard error how a run ended, and what to type next."""
    stand = summary.progress
    for moved in summary.moved_aside:
        click.echo(f"moved aside: {moved}", err=True)
    if summary.nothing_new:
        click.echo(
            f"Nothing new to read: all {stand.total_records:,} records were done by an earlier run. "
            f"To start afresh: {again} --fresh",
            err=True,
        )
        return
    table = Table(show_header=False, box=None, pad_edge=False)
    seconds = max(summary.seconds, 1e-9)
    table.add_row("records", f"{stand.records:,} in {stand.batches:,} batches")
    if stand.total_records != stand.records:
        table.add_row("", f"{stand.total_records:,} with those of earlier runs")
    table.add_row("time", f"{summary.seconds:.1f} s, {stand.records / seconds:,.0f} records/s")
    for who, count in stand.rejected.items():
        table.add_row("bad records", f"{count:,} refused by {who}")
    for who, count in stand.dropped.items():
        table.add_row("late records", f"{count:,} dropped by {who}")
    for name, snapshot in stand.snapshots.items():
        table.add_row(name, learner(snapshot))
        if name in stand.drifts:
            table.add_row("", f"{stand.drifts[name]:,} drifts")
    table.add_row("ended", _ended(summary, again, resumable))
    Console(stderr=True, highlight=False).print(table)


def _ended(summary: Summary, again: str, resumable: bool) -> str:
    """Return why a run ended, and what starting it again would do."""
    if summary.ended == "input":
        return "all of the input is read"
    why = "the limit is reached" if summary.ended == "limit" else "asked to stop"
    return f"{why}; {again} goes on from here" if resumable else f"{why}; without checkpoint: it would begin anew"
