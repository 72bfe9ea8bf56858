"""How long a user waits: for the help, and from the second start to the first posterior."""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from tests.bench.pipeline import write_records
from tests.bench.side_by_side import Comparison

PIPELINE = """
name: start
key: sensor
source: {{type: files, paths: [{source}]}}
batch: {{max_records: 1000}}
operators:
  - type: learn
    name: regime
    features: [speed, occupancy]
    model: {{type: mixture, components: 3, family: {{type: gaussian}}}}
    warmup_records: 1000
outputs:
  - what: posteriors
    sink: {{type: files, path: "-"}}
"""


def seconds_to_first_line(command: list[str]) -> float:
    """Return how long a command takes until it has printed a line; it is ended then."""
    environment = {name: value for name, value in os.environ.items() if not name.endswith("_THREADS")}
    begin = time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment) as process:
        line = process.stdout.readline()
        taken = time.perf_counter() - begin
        process.kill()
    assert line, command
    return taken


def comparisons(rounds: int) -> Iterator[Comparison]:
    """Yield seconds against the limit, which stands in the place of a peer."""
    streamem = str(Path(sys.executable).with_name("streamem"))
    help_seconds = min(seconds_to_first_line([streamem, "--help"]) for _ in range(rounds))
    yield Comparison("streamem --help (peer: the limit)", help_seconds, 0.4, "s", 1.0)
    with tempfile.TemporaryDirectory() as folder:
        source, file = Path(folder) / "in.ndjson", Path(folder) / "pipeline.yaml"
        write_records(source, 20_000)
        file.write_text(PIPELINE.format(source=source))
        # the first start compiles what is not in the cache on disk yet
        taken = [seconds_to_first_line([streamem, "run", str(file)]) for _ in range(1 + min(rounds, 5))][1:]
    yield Comparison("second start to first posterior (peer: the limit)", min(taken), 2.0, "s", 1.0)
