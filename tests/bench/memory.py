"""Resident memory after ten million records against that after one million."""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import psutil

from streamem.stream.progress import Progress
from tests.bench.pipeline import ours, write_records
from tests.bench.side_by_side import Comparison

EARLY, LATE = 1_000_000, 10_000_000


def main() -> None:
    """Print the largest resident size around the millionth and around the last record, in MiB."""
    folder = Path(sys.argv[1])
    process, sizes = psutil.Process(), {EARLY: 0, LATE: 0}

    def look(progress: Progress) -> None:
        for mark in sizes:
            if mark - 200_000 < progress.records <= mark and progress.batches % 20 == 0:
                sizes[mark] = max(sizes[mark], process.memory_info().rss)

    pipeline = ours(folder / "0.ndjson", folder / "out", 1000, 100)
    source = replace(pipeline.source, paths=[str(folder / f"{n}.ndjson") for n in range(LATE // EARLY)])
    summary = replace(pipeline, source=source, listener=look).run()
    assert summary.progress.records == LATE
    print(json.dumps([size / 2**20 for size in sizes.values()]))


def comparisons(rounds: int) -> Iterator[Comparison]:
    """Yield the two sizes; ten names of one file are the input."""
    with tempfile.TemporaryDirectory(dir=Path.cwd().parent) as folder:
        write_records(Path(folder) / "0.ndjson", EARLY)
        for n in range(1, LATE // EARLY):
            os.link(Path(folder) / "0.ndjson", Path(folder) / f"{n}.ndjson")
        code = "from tests.bench import memory; memory.main()"
        done = subprocess.run([sys.executable, "-c", code, folder], capture_output=True, check=True, text=True)
    early, late = json.loads(done.stdout)
    yield Comparison("resident after 10M records (peer: after 1M)", late, early, "MiB", 1 / 1.05)
