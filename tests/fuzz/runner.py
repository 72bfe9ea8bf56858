"""Runs inputs and compares what happens with what is expected."""

import contextlib
import io
import json
import random
import resource
import shutil
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import streamem.cli as cli
from tests.fuzz import files, records, sequences, settings, states
from tests.fuzz.place import Attempt, Place

KINDS = {kind.__name__: kind for module in (settings, records, files, states, sequences) for kind in module.KINDS}


@dataclass
class Report:
    """What a run over many inputs found."""

    inputs: Counter = field(default_factory=Counter)
    expected: Counter = field(default_factory=Counter)
    tracebacks: int = 0
    lost: int = 0
    deviations: list[str] = field(default_factory=list)

    @property
    def holds(self) -> bool:
        return not self.deviations and self.tracebacks == 0 and self.lost == 0


def command(arguments: list[str]) -> tuple[int, Exception | None, str]:
    """Run a command line; return its exit code, the exception behind it, and all that it printed."""
    caught: list[Exception] = []
    tell, printed = cli._tell, io.TextIOWrapper(io.BytesIO(), write_through=True)

    def noted(error: Exception, *, debug: bool) -> int:
        caught.append(error)
        return tell(error, debug=debug)

    cli._tell = noted
    try:
        with contextlib.redirect_stderr(printed), contextlib.redirect_stdout(printed):
            try:
                cli.main(arguments)
            except SystemExit as end:
                code = int(end.code or 0)
    finally:
        cli._tell = tell
    return code, caught[0] if caught else None, printed.buffer.getvalue().decode()


@contextlib.contextmanager
def limited(room: int | None) -> Iterator[None]:
    """Let no file grow beyond `room` bytes: a write then fails as on a full disk, after a part of it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    if room is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (room, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def judge(kind: str, place: Place, attempt: Attempt, report: Report) -> None:
    """Run one input and add what it does to the report."""
    with limited(attempt.room):
        code, error, printed = command(attempt.arguments)
    found = type(error).__name__ if error else None
    problems = []
    if "Traceback" in printed or "bug of streamem" in printed:
        report.tracebacks += 1
        problems.append("a traceback")
    if (found, code) != (attempt.error, attempt.code):
        problems.append(f"{found} with exit code {code} in place of {attempt.error} with {attempt.code}")
    if attempt.error and not (attempt.place in printed and "found" in printed and "To do" in printed):
        problems.append(f"a message without its four parts, or without {attempt.place!r}")
    if attempt.good is not None and not problems:
        lines = place.posteriors.read_bytes().splitlines()
        assert all(json.loads(line) for line in lines)
        missing = attempt.good - len(lines)
        report.lost += max(missing, 0)
        if missing:
            problems.append(f"{len(lines)} posteriors in place of {attempt.good}")
    if attempt.room is not None:
        written = place.posteriors.read_bytes()
        if not written.endswith(b"\n") or not all(json.loads(line) for line in written.splitlines()):
            problems.append("half a line in the output")
    if attempt.bad is not None and not problems:
        letters = [json.loads(line) for line in (place.folder / "out" / "dead_letters.ndjson").read_text().splitlines()]
        if sorted(map(original, letters)) != sorted(one.encode("utf-8", "surrogateescape") for one in attempt.bad):
            problems.append("dead letters that are not the originals")
    report.inputs[kind] += 1
    report.expected[kind] += not problems
    report.deviations += [f"{kind}: {problem}: {printed.strip()[:300]}" for problem in problems]


def original(letter: dict) -> bytes:
    """Return the bytes of a dead letter's record."""
    import base64

    value = letter["value"]
    return base64.b64decode(value) if letter["encoding"] == "base64" else value.encode()


def fuzz(folder: Path, inputs: int, seed: int) -> Report:
    """Make and run so many inputs, all kinds in turn."""
    report = Report()
    names = list(KINDS)
    for number in range(inputs):
        kind = names[number % len(names)]
        place = Place(folder / str(number), random.Random(f"{seed} {number}"))
        try:
            judge(kind, place, KINDS[kind](place), report)
        finally:
            while states.HELD:
                states.HELD.pop().close()
        shutil.rmtree(place.folder)
    return report
