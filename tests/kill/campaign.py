"""Kills without number, and what is left after them."""

import os
import random
import shutil
import signal
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path

import numpy as np

from streamem.connect.files.framing import csv_records
from streamem.em import HMM, AnomalyRank, Kalman, Mixture, Observations, OnlineEM
from streamem.stream.operators.detectors import DETECTORS
from streamem.stream.operators.scalers import SCALERS
from tests.kill.child import PHASES, forked, start
from tests.kill.scenario import SCENARIOS, SIZES, carry, copied, outputs, parameters, records

RANDOM = "random time"


@dataclass
class Report:
    """What a campaign found of one pipeline, or of several.

    Parameters
    ----------
    kills : Counter
        By phase.
    runs : int
        Pipelines that ran from the beginning to the end, each over several kills.
    lost, repeated : int
        Records without a posterior or dead letter, or with more than one, over all of them.
    outputs, parameters, carries : int
        Files, and of final checkpoints arrays and what the operators carry besides, that are not byte for byte those
        of the undisturbed run.
    """

    kills: Counter = field(default_factory=Counter)
    runs: int = 0
    lost: int = 0
    repeated: int = 0
    outputs: int = 0
    parameters: int = 0
    carries: int = 0

    def __add__(self, other: "Report") -> "Report":
        return Report(*(getattr(self, one.name) + getattr(other, one.name) for one in fields(Report)))

    @property
    def holds(self) -> bool:
        wrong = self.lost, self.repeated, self.outputs, self.parameters, self.carries
        return self.runs > 0 and not any(wrong)


@dataclass(frozen=True)
class Undisturbed:
    """What a run without a kill left, and how long it took."""

    outputs: dict[str, bytes]
    parameters: bytes
    carry: dict[str, bytes]
    seconds: float


def warm() -> None:
    """Compile and load every kernel before the first fork, without starting a thread of polars."""
    csv_records(b"a,b\n1,2\n", ",", final=True)
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(600, 2)) + rng.choice([-5.0, 5.0], size=(600, 1))
    rows[::50, 1] = np.nan
    observations = Observations(rows, sequence=np.arange(600) % 2, time=np.arange(600.0))
    later = replace(observations, time=np.arange(600.0, 1200.0))
    for model in (Mixture(components=3), HMM(states=2), Kalman(gate_sigma=20.0, horizon_seconds=10.0)):
        learner = OnlineEM(model, warmup_records=300)
        for posterior in learner.update(observations) + learner.update(later):
            AnomalyRank().rank(posterior.log_likelihood, np.isnan(rows))
    for scaler in SCALERS.values():
        scaler().scale(rows, np.zeros((len(scaler.begin), 2)), np.empty_like(rows))
    for detector in DETECTORS.values():
        detector().open().watch(rows[:400, 0])


def finished(child: int, log: Path | None = None) -> bool:
    """Wait for a process; return whether it ended by itself, and raise with the end of its log if it failed."""
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL:
        return False
    said = "" if log is None else log.read_text()[-2000:]
    assert os.waitstatus_to_exitcode(status) == 0, f"a run failed with status {status}: {said}"
    return True


def killed_once(file: Path, phase: str, rng: random.Random, seconds: float) -> bool:
    """Start the pipeline and kill it; return whether it came to its end before."""
    if phase == RANDOM:
        child = start(file)
        time.sleep(rng.uniform(0.0, seconds))
        try:
            os.kill(child, signal.SIGKILL)
        finally:
            ended = finished(child, file.with_name("log.txt"))
        return ended
    return finished(start(file, phase, rng.randint(1, 4)), file.with_name("log.txt"))


def lead_up(file: Path, points: Sequence[str], rng: random.Random) -> None:
    """Kill a new run, uncounted, where nothing is left but a point that comes only to one that was killed before."""
    if set(points) == {"cutting back"}:
        finished(start(file, "half a write", rng.randint(1, 4)), file.with_name("log.txt"))


def campaign(folder: Path, times: int, seed: int, names: Sequence[str] = tuple(SCENARIOS)) -> dict[str, Report]:
    """Kill the pipelines so many times in all, half of them at named points, and compare what is left.

    Each pipeline in turn takes its share of the kills, of which there must be one at least.
    """
    warm()
    # as many of each named point as there are, then random times
    points = [PHASES[n % len(PHASES)] for n in range(times // 2)]
    reports = {}
    for number, name in enumerate(names):
        first, last = (len(points) * n // len(names) for n in (number, number + 1))
        share = times * (number + 1) // len(names) - times * number // len(names)
        mine = points[first:last] + [RANDOM] * (share - (last - first))
        reports[name] = killed(folder / name, name, mine, random.Random(seed))
    return reports


def killed(folder: Path, name: str, points: list[str], rng: random.Random) -> Report:
    """Kill one pipeline at all of the points, in an order by chance, and compare what is left."""
    report = Report()
    folder.mkdir()
    made = folder / "made"
    # some are written by polars, whose threads would not survive a fork
    assert finished(forked(folder, lambda: SCENARIOS[name](made))), "writing the input was killed"
    expected = undisturbed(copied(made, folder / "undisturbed"))
    rng.shuffle(points)
    while points:
        file = copied(made, folder / f"run-{report.runs}")
        lead_up(file, points, rng)
        # up to eight kills a run, then it may come to its end
        for _ in range(min(8, len(points))):
            ended = killed_once(file, points[-1], rng, expected.seconds)
            if not ended:
                report.kills[points.pop()] += 1
            elif points:
                # this point does not come any more in this run; another run will meet it
                points.insert(0, points.pop())
                break
        assert finished(start(file), file.with_name("log.txt")), "a run without a kill was killed"
        compare(file.parent, expected, SIZES[name], report)
        shutil.rmtree(file.parent)
    return report


def undisturbed(file: Path) -> Undisturbed:
    """Return what a run without a kill leaves."""
    begin = time.monotonic()
    assert finished(start(file), file.with_name("log.txt")), "the undisturbed run was killed"
    seconds = time.monotonic() - begin
    folder = file.parent
    return Undisturbed(outputs(folder), parameters(folder), carry(folder), seconds)


def compare(folder: Path, expected: Undisturbed, size: int, report: Report) -> None:
    """Add to the report how a finished run differs from the undisturbed one."""
    found = outputs(folder)
    report.runs += 1
    report.outputs += differing(found, expected.outputs)
    report.parameters += parameters(folder) != expected.parameters
    report.carries += differing(carry(folder), expected.carry)
    everything = records(found)
    report.lost += sum(n not in everything for n in range(size))
    report.repeated += sum(count > 1 for count in everything.values())


def differing(found: dict[str, bytes], expected: dict[str, bytes]) -> int:
    """Return how many names have other content, or stand on one side only."""
    return sum(found.get(name) != expected.get(name) for name in {*found, *expected})
