"""The pipelines that are killed: all kinds of file output, two input files, bad records, a warm-up of several batches.

Besides a mixture there are the examples of a hidden Markov model and of trackers, with their own operators over some
of their records: what they carry from batch to batch must survive too.
"""

import gzip
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import yaml

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


SCENARIOS = ("regimes", "machine", "aircraft")

EXAMPLES = Path(__file__).parents[2] / "examples"

TAKE = """
import sys
import polars as pl
frame = pl.read_parquet(sys.argv[1]).sort("timestamp")
middle = frame.height // 2 - 3000
frame[middle : middle + int(sys.argv[3])].with_row_index("id").write_parquet(sys.argv[2])
"""


def write_scenario(folder: Path, name: str = "regimes") -> Path:
    """Write the input and the pipeline file, the same ones whatever the folder; return the latter's path."""
    folder.mkdir(parents=True)
    if name == "regimes":
        write_regimes(folder)
        pipeline = PIPELINE.format(folder=folder)
    else:
        usual = yaml.safe_load(PIPELINE.format(folder=folder))
        example = yaml.safe_load((EXAMPLES / f"{name}.yaml").read_text())
        example |= {key: usual[key] for key in ("batch", "outputs", "checkpoint", "errors")}
        example["source"]["paths"] = [str(write_machine(folder) if name == "machine" else write_aircraft(folder))]
        example["operators"][-1]["warmup_records"] = 450
        for output in example["outputs"][:2]:
            output["include"] = ["id"]
        pipeline = yaml.safe_dump(example, sort_keys=False)
    (folder / "pipeline.yaml").write_text(pipeline)
    return folder / "pipeline.yaml"


def write_machine(folder: Path) -> Path:
    """Write the first temperatures of the machine, some of them no numbers."""
    rows = (EXAMPLES / "data" / "machine_temperature.csv").read_text().splitlines()[1 : RECORDS + 1]
    lines = [f"{n},{row}" + (",more" if n % 97 == 5 else "") for n, row in enumerate(rows)]
    (folder / "in.csv").write_text("\n".join(["id,timestamp,temperature_f", *lines, ""]))
    return folder / "in.csv"


def write_aircraft(folder: Path) -> Path:
    """Write positions of a day on which two aircraft flew; in another process, since polars forbids forks after it."""
    shared = folder.parent / "aircraft.parquet"
    if not shared.exists():
        data = EXAMPLES / "data" / "adsb_tour_de_france.parquet"
        subprocess.run([sys.executable, "-c", TAKE, str(data), str(shared), str(RECORDS)], check=True)
    shutil.copy(shared, folder / "in.parquet")
    return folder / "in.parquet"


def write_regimes(folder: Path) -> None:
    """Write rows of three clusters, some of which cannot be used."""
    rng = np.random.default_rng(0)
    regime = rng.integers(3, size=RECORDS)
    values = np.array([[-5.0, 0.0], [0.0, 4.0], [6.0, 1.0]])[regime] + rng.normal(size=(RECORDS, 2))
    lines = []
    for n, (x, y) in enumerate(values):
        second = {0: "", 1: "oops", 2: "inf"}.get(n % 97, f"{y:.6f}")
        lines.append(f"{n},{1_700_000_000 + n},{x:.6f},{second}{',more' if n % 501 == 3 else ''}\n")
    header, half = "id,time,x,y\n", RECORDS // 2 + 37
    (folder / "in-0.csv").write_text(header + "".join(lines[:half]))
    with gzip.GzipFile(folder / "in-1.csv.gz", "wb", mtime=0) as file:
        file.write((header + "".join(lines[half:])).encode())


def outputs(folder: Path) -> dict[str, bytes]:
    """Return every output file by its name, paths in it made those of no folder."""
    found = {}
    for path in sorted((folder / "out").rglob("*")):
        if path.is_file():
            found[str(path.relative_to(folder / "out"))] = path.read_bytes().replace(str(folder).encode(), b"FOLDER")
    return found


def parameters(folder: Path) -> bytes:
    """Return the arrays of the last checkpoint: parameters, carries, keys, earlier values, log-likelihoods."""
    with zipfile.ZipFile(folder / "state" / "checkpoint.zip") as archive:
        return archive.read("arrays.bin")
