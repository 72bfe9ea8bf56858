"""NDJSON to learned posteriors in NDJSON, against the loop that a user writes today, which does not even learn."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import orjson
import polars as pl
from sklearn.mixture import GaussianMixture

from streamem.connect import FilesSink, FilesSource
from streamem.em import Mixture
from streamem.stream.operators import Learn
from streamem.stream.outputs import Output
from streamem.stream.pipeline import Checkpoints, Pipeline
from streamem.stream.protocol import Columns, Cuts
from tests.bench.side_by_side import Comparison, in_turn

RECORDS = 1_000_000
MODEL = Mixture(components=3)
FEATURES = ["speed", "occupancy"]


def write_records(path: Path, count: int) -> np.ndarray:
    """Write records of four columns with three regimes, and return their features."""
    rng = np.random.default_rng(0)
    regime = rng.integers(3, size=count)
    speed = np.array([30.0, 60.0, 75.0])[regime] + rng.normal(scale=5.0, size=count)
    occupancy = np.array([20.0, 8.0, 4.0])[regime] + rng.normal(scale=2.0, size=count)
    pl.DataFrame(
        {
            "sensor": [f"s{n % 50:02d}" for n in range(count)],
            "time": np.arange(count) + 1_700_000_000,
            "speed": speed.round(3),
            "occupancy": occupancy.round(3),
        }
    ).write_ndjson(path)
    return np.column_stack([speed, occupancy])


def ours(source: Path, folder: Path, batch: int = 1000, checkpoint_every: int | None = None) -> Pipeline:
    """Return a pipeline that learns and writes one posterior a record."""
    return Pipeline(
        name="bench",
        source=FilesSource(paths=[str(source)]),
        cuts=Cuts(max_records=batch),
        columns=Columns(time="time", key="sensor"),
        operators=[Learn(name="regime", features=FEATURES, model=MODEL, warmup_records=1000)],
        outputs=[Output(what="posteriors", sink=FilesSink(path=str(folder / "posteriors.ndjson")))],
        checkpoint=Checkpoints(path=str(folder / "state"), every_batches=checkpoint_every)
        if checkpoint_every
        else None,
    )


def todays_loop(source: Path, target: Path, model: GaussianMixture) -> None:
    """Read, score and write as one does with scikit-learn: per 1,000 records, a fitted model, no learning."""
    with source.open("rb") as lines, target.open("wb") as out:
        records: list[dict] = []

        def score() -> None:
            rows = np.array([[record[name] for name in FEATURES] for record in records])
            probabilities, likelihood = model.predict_proba(rows), model.score_samples(rows)
            component = probabilities.argmax(axis=1)
            for n, record in enumerate(records):
                posterior = {
                    "sensor": record["sensor"],
                    "time": record["time"],
                    "component": int(component[n]),
                    "probabilities": probabilities[n].tolist(),
                    "log_likelihood": float(likelihood[n]),
                }
                out.write(orjson.dumps(posterior) + b"\n")
            records.clear()

        for line in lines:
            records.append(orjson.loads(line))
            if len(records) == 1000:
                score()
        if records:
            score()


def emptied(folder: Path) -> None:
    """Make a folder empty."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()


def compare(name: str, rounds: int, floor: float, aim: float) -> Comparison:
    """Return the comparison, in microseconds a record."""
    with tempfile.TemporaryDirectory() as folder:
        source, out = Path(folder) / "in.ndjson", Path(folder) / "out"
        features = write_records(source, RECORDS)
        peer = GaussianMixture(3, random_state=0).fit(features[:5000])
        best = in_turn(
            lambda: ours(source, out).run(),
            lambda: todays_loop(source, out / "peer.ndjson", peer),
            min(rounds, 4),
            before=lambda: emptied(out),
        )
        assert sum(1 for _ in (out / "peer.ndjson").open("rb")) == RECORDS
    return Comparison(name, *(seconds / RECORDS * 1e6 for seconds in best), "us/record", floor, aim)


def comparisons(rounds: int) -> Iterator[Comparison]:
    """Yield the comparison on one thread, then with both cores in a process of its own."""
    yield compare("NDJSON to learned posteriors, 1 thread", rounds, 2.5, 4.0)
    threads = {"OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "POLARS_MAX_THREADS", "NUMBA_NUM_THREADS"}
    environment = {name: value for name, value in os.environ.items() if name not in threads}
    code = "from tests.bench import pipeline; pipeline.main()"
    done = subprocess.run(
        [sys.executable, "-c", code, str(rounds)], env=environment, capture_output=True, check=True, text=True,
        preexec_fn=lambda: os.sched_setaffinity(0, range(os.cpu_count() or 1)),
    )  # fmt: skip
    yield Comparison("NDJSON to learned posteriors, 2 cores", *json.loads(done.stdout), "us/record", 2.5, 6.0)


def main() -> None:
    """Print the figures of a run that may use all cores, for `comparisons`."""
    found = compare("", int(sys.argv[1]), 1.0, 1.0)
    print(json.dumps([found.ours, found.peer]))


def checkpoint_comparisons(rounds: int) -> Iterator[Comparison]:
    """Yield a checkpoint after every batch of 5,000 against never."""
    with tempfile.TemporaryDirectory(dir=Path.cwd().parent) as folder:
        source, out = Path(folder) / "in.ndjson", Path(folder) / "out"
        write_records(source, RECORDS)
        best = in_turn(
            lambda: ours(source, out, 5000, 1).run(),
            lambda: ours(source, out, 5000).run(),
            min(rounds, 5),
            before=lambda: emptied(out),
        )
    scaled = [seconds / RECORDS * 1e6 for seconds in best]
    yield Comparison("checkpoint every 5,000 records (peer: never)", *scaled, "us/record", 1 / 1.3)
