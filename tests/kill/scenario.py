"""The pipeline that is killed: all kinds of file output, two input files, bad records, a warm-up of several batches."""

import gzip
import zipfile
from pathlib import Path

import numpy as np

RECORDS = 6000

PIPELINE = """
name: killed
key: id
time: time
source: {{type: files, paths: [{folder}/in-0.csv, {folder}/in-1.csv.gz]}}
batch: {{max_records: 100}}
operators:
  - type: learn
    name: regime
    features: [x, y]
    model: {{type: mixture, components: 3, family: {{type: gaussian}}}}
    warmup_records: 450
outputs:
  - what: posteriors
    sink: {{type: files, path: {folder}/out/posteriors.ndjson}}
  - what: posteriors
    name: parts
    sink: {{type: files, path: {folder}/out/parts.parquet, part_records: 700}}
  - what: snapshots
    every_batches: 7
    sink: {{type: files, path: {folder}/out/snapshots.ndjson}}
checkpoint: {{path: {folder}/state, every_batches: 3}}
errors:
  policy: dead_letter
  sink: {{type: files, path: {folder}/out/dead_letters.ndjson}}
"""


def write_scenario(folder: Path) -> Path:
    """Write the input and the pipeline file, the same ones whatever the folder; return the latter's path."""
    rng = np.random.default_rng(0)
    regime = rng.integers(3, size=RECORDS)
    values = np.array([[-5.0, 0.0], [0.0, 4.0], [6.0, 1.0]])[regime] + rng.normal(size=(RECORDS, 2))
    lines = []
    for n, (x, y) in enumerate(values):
        second = {0: "", 1: "oops", 2: "inf"}.get(n % 97, f"{y:.6f}")
        lines.append(f"{n},{1_700_000_000 + n},{x:.6f},{second}{',more' if n % 501 == 3 else ''}\n")
    header, half = "id,time,x,y\n", RECORDS // 2 + 37
    folder.mkdir(parents=True)
    (folder / "in-0.csv").write_text(header + "".join(lines[:half]))
    with gzip.GzipFile(folder / "in-1.csv.gz", "wb", mtime=0) as file:
        file.write((header + "".join(lines[half:])).encode())
    (folder / "pipeline.yaml").write_text(PIPELINE.format(folder=folder))
    return folder / "pipeline.yaml"


def outputs(folder: Path) -> dict[str, bytes]:
    """Return every output file by its name, paths in it made those of no folder."""
    found = {}
    for path in sorted((folder / "out").rglob("*")):
        if path.is_file():
            found[str(path.relative_to(folder / "out"))] = path.read_bytes().replace(str(folder).encode(), b"FOLDER")
    return found


def parameters(folder: Path) -> bytes:
    """Return the arrays of the last checkpoint: current and averaged parameters, and the window of log-likelihoods."""
    with zipfile.ZipFile(folder / "state" / "checkpoint.zip") as archive:
        return archive.read("arrays.bin")
