"""Kills without number, and what is left after them."""

import json
import os
import random
import shutil
import signal
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from streamem.connect.files.framing import csv_records
from streamem.em import HMM, AnomalyRank, Kalman, Mixture, Observations, OnlineEM
from tests.kill.child import PHASES, start
from tests.kill.scenario import RECORDS, SCENARIOS, outputs, parameters, write_scenario

RANDOM = "random time"


@dataclass
class Report:
    """What a campaign found.

    Parameters
    ----------
    kills, by_pipeline : Counter
        By phase, and by pipeline.
    runs : int
        Pipelines that ran from the beginning to the end, each over several kills.
    lost, repeated : int
        Records without a posterior, or with more than one, over all of them.
    outputs, parameters : int
        Files, and final checkpoints, that are not byte for byte those of the undisturbed run.
    """

    kills: Counter = field(default_factory=Counter)
    by_pipeline: Counter = field(default_factory=Counter)
    runs: int = 0
    lost: int = 0
    repeated: int = 0
    outputs: int = 0
    parameters: int = 0

    @property
    def holds(self) -> bool:
        return self.runs > 0 and self.lost == self.repeated == self.outputs == self.parameters == 0


def warm() -> None:
    """Compile and load every kernel before the first fork, without starting a thread of polars."""
    csv_records(b"a,b\n1,2\n", ",", final=True)
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(600, 2)) + rng.choice([-5.0, 5.0], size=(600, 1))
    rows[::50, 1] = np.nan
    for model in (Mixture(components=3), HMM(states=3), Kalman(gate_sigma=20.0, horizon_seconds=10.0)):
        learner = OnlineEM(model, warmup_records=300)
        for posterior in learner.update(Observations(rows)) + learner.update(Observations(rows)):
            AnomalyRank().rank(posterior.log_likelihood, np.isnan(rows))


def finished(child: int) -> bool:
    """Wait for a process; return whether it ended by itself, and raise if it failed."""
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL:
        return False
    assert os.waitstatus_to_exitcode(status) == 0, f"a run failed with status {status}"
    return True


def killed_once(file: Path, phase: str, rng: random.Random, seconds: float) -> bool:
    """Start the pipeline and kill it; return whether it came to its end before."""
    if phase == RANDOM:
        child = start(file)
        time.sleep(rng.uniform(0.0, seconds))
        try:
            os.kill(child, signal.SIGKILL)
        finally:
            ended = finished(child)
        return ended
    return finished(start(file, phase, rng.randint(1, 4)))


def campaign(folder: Path, times: int, seed: int, names: Sequence[str] = SCENARIOS) -> Report:
    """Kill the pipelines so many times in all, half of them at named points, and compare what is left."""
    warm()
    rng, report = random.Random(seed), Report()
    # as many of each named point as there are, then random times
    points = [PHASES[n % len(PHASES)] for n in range(times // 2)] + [RANDOM] * (times - times // 2)
    rng.shuffle(points)
    for index, name in enumerate(names):
        kill(folder / name, name, points[index :: len(names)], rng, report)
    return report


def kill(folder: Path, name: str, points: list[str], rng: random.Random, report: Report) -> None:
    """Kill one of the pipelines at these points, and add to the report what is left."""
    reference = write_scenario(folder / "undisturbed", name)
    begin = time.monotonic()
    assert finished(start(reference)), "the undisturbed run was killed"
    seconds = time.monotonic() - begin
    expected, bits = outputs(reference.parent), parameters(reference.parent)
    while points:
        file = write_scenario(folder / f"run-{report.runs}", name)
        # up to eight kills a run, then it may come to its end
        for _ in range(min(8, len(points))):
            ended = killed_once(file, points[-1], rng, seconds)
            if not ended:
                report.kills[points.pop()] += 1
                report.by_pipeline[name] += 1
            elif points:
                # this point does not come any more in this run; another run will meet it
                points.insert(0, points.pop())
                break
        assert finished(start(file)), "a run without a kill was killed"
        compare(file.parent, expected, bits, report)
        shutil.rmtree(file.parent)


def compare(folder: Path, expected: dict[str, bytes], bits: bytes, report: Report) -> None:
    """Add to the report how a finished run differs from the undisturbed one."""
    found = outputs(folder)
    report.runs += 1
    report.outputs += sum(found.get(name) != expected.get(name) for name in {*found, *expected})
    report.parameters += parameters(folder) != bits
    seen = Counter(json.loads(line)["id"] for line in found["posteriors.ndjson"].splitlines())
    letters = found.get("dead_letters.ndjson", b"").splitlines()
    dead = Counter(int(json.loads(line)["value"].split(",")[0]) for line in letters)
    everything = seen + dead
    report.lost += sum(n not in everything for n in range(RECORDS))
    report.repeated += sum(count > 1 for count in everything.values())
