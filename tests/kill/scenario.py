"""The pipelines that are killed: input, settings, and what is compared afterwards.

``regimes`` has all kinds of file output, two input files, bad records and a warm-up of several batches. ``machine`` and
``aircraft`` are the examples of these names over a part of their data, with bad records put in: a hidden Markov model
behind a lag, and a tracker of two keys behind a lag and records that wait for earlier ones. ``drifting`` has two of
river's scalers and two learners behind them, each watched by another detector, over records that change twice.
"""

import gzip
import json
import shutil
import zipfile
from collections import Counter
from collections.abc import Callable
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import yaml

EXAMPLES = Path(__file__).parents[2] / "examples"

MACHINE_RECORDS = 2400
AIRCRAFT_ROWS = slice(4200, 6200)
"""Both aircraft are in the air then, and some altitudes are missing."""

DRIFTING_RECORDS = 3000

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
    folder.mkdir(parents=True)
    write_halves(folder, "id,time,x,y\n", lines)
    (folder / "pipeline.yaml").write_text(PIPELINE.format(folder=folder))
    return folder / "pipeline.yaml"


def write_halves(folder: Path, header: str, lines: list[str]) -> None:
    """Write the lines to a plain and a compressed file, which do not end where a batch does."""
    half = len(lines) // 2 + 37
    (folder / "in-0.csv").write_text(header + "".join(lines[:half]))
    with gzip.GzipFile(folder / "in-1.csv.gz", "wb", mtime=0) as file:
        file.write((header + "".join(lines[half:])).encode())


def write_machine(folder: Path) -> Path:
    """Write the machine's first days with a few bad records, and the example's pipeline; return the latter's path."""
    _, *rows = (EXAMPLES / "data" / "machine_temperature.csv").read_text().splitlines()[: MACHINE_RECORDS + 1]
    lines = []
    for n, row in enumerate(rows):
        time, value = row.split(",")
        lines.append(f"{n},{time},{ {5: '', 7: 'oops', 11: 'inf'}.get(n % 89, value) }\n")
    folder.mkdir(parents=True)
    write_halves(folder, "id,timestamp,temperature_f\n", lines)
    settings = shortened("machine", folder, [folder / "in-0.csv", folder / "in-1.csv.gz"])
    settings["operators"][-1]["warmup_records"] = 450
    return written(settings, folder)


def write_aircraft(folder: Path) -> Path:
    """Write reports of two aircraft, some of them late, and the example's pipeline, which waits; return its path.

    It uses polars, so a process that goes on to fork must leave it to a child.
    """
    import polars as pl

    frame = pl.read_parquet(EXAMPLES / "data" / "adsb_tour_de_france.parquet")[AIRCRAFT_ROWS].with_row_index("id")
    order = np.arange(frame.height, dtype=float)
    order[::13] += 6.0  # comes a little later than it should, and is waited for
    order[50::211] += 90.0  # comes too late for that
    frame = frame[np.argsort(order, kind="stable")].with_columns(
        pl.when(pl.int_range(pl.len()) % 307 != 9).then("icao24"),
        pl.when(pl.int_range(pl.len()) % 401 != 3).then("timestamp"),
    )
    folder.mkdir(parents=True)
    half = frame.height // 2 + 37
    frame[:half].write_parquet(folder / "in-0.parquet", row_group_size=300)
    frame[half:].write_parquet(folder / "in-1.parquet")
    settings = shortened("aircraft", folder, [folder / "in-*.parquet"])
    place, order_step, track = settings["operators"]
    order_step.update(policy="reorder", reorder_ms=60_000)
    lag = {"type": "lag", "name": "climb", "columns": ["altitude_km"], "lags": [3], "differences": True}
    settings["operators"] = [place, order_step, lag, track]
    track.update(warmup_records=400, max_keys=2, idle_ttl_ms=7_200_000)
    settings["outputs"][0]["include"].append("id")
    return written(settings, folder)


def write_drifting(folder: Path) -> Path:
    """Write records that become others twice, and a pipeline that scales and watches them; return the latter's path."""
    rng = np.random.default_rng(0)
    regime, change = rng.integers(2, size=DRIFTING_RECORDS), np.arange(DRIFTING_RECORDS) // 1000
    x = (8.0 * regime - 4.0 + rng.normal(size=DRIFTING_RECORDS)).round(6).tolist()
    y = (7.0 * change + rng.normal(size=DRIFTING_RECORDS)).round(6).tolist()
    lines = [f"{n},{x[n]},{ {4: '', 6: 'oops', 12: 'inf'}.get(n % 83, y[n]) }\n" for n in range(DRIFTING_RECORDS)]
    folder.mkdir(parents=True)
    write_halves(folder, "id,x,y\n", lines)
    settings = yaml.safe_load(PIPELINE.format(folder=folder))
    del settings["key"], settings["time"]
    settings["batch"]["max_records"] = 50
    [learner] = settings["operators"]
    learner |= {"model": {"type": "mixture", "components": 2}, "warmup_records": 330, "anomaly_window_records": 200}
    scaler = {"type": "river", "features": ["x", "y"]}
    kswin = {"detector": "kswin", "alpha": 0.001, "window_size": 60, "stat_size": 20}
    settings["operators"] = [
        scaler | {"name": "all", "transformer": "StandardScaler"},
        scaler | {"name": "last", "transformer": "AdaptiveStandardScaler", "parameters": {"fading_factor": 0.01}},
        learner | {"features": ["x.all", "y.all"], "drift": {"detector": "page_hinkley", "threshold": 10.0}},
        learner | {"name": "again", "features": ["x.last", "y.last"], "drift": kswin},
    ]
    settings["outputs"][0]["include"] = "all"
    return written(settings, folder)


def shortened(example: str, folder: Path, paths: list[Path]) -> dict[str, Any]:
    """Return an example's settings over other input, with smaller batches, one more output, and dead letters."""
    settings: dict[str, Any] = yaml.safe_load((EXAMPLES / f"{example}.yaml").read_text())
    out = folder / "out"
    settings["source"]["paths"] = [str(path) for path in paths]
    settings["batch"]["max_records"] = 50
    for output in settings["outputs"]:
        output["sink"]["path"] = str(out / f"{output['what']}.ndjson")
    parts = {"type": "files", "path": str(out / "parts.parquet"), "part_records": 350}
    settings["outputs"].append({"what": "posteriors", "name": "parts", "sink": parts})
    settings["checkpoint"] = {"path": str(folder / "state"), "every_batches": 3}
    letters = {"type": "files", "path": str(out / "dead_letters.ndjson")}
    settings["errors"] = {"policy": "dead_letter", "sink": letters}
    return settings


def written(settings: dict[str, Any], folder: Path) -> Path:
    """Write a pipeline file and return its path."""
    (folder / "pipeline.yaml").write_text(yaml.safe_dump(settings, sort_keys=False))
    return folder / "pipeline.yaml"


SCENARIOS: dict[str, Callable[[Path], Path]] = {
    "regimes": write_scenario,
    "machine": write_machine,
    "aircraft": write_aircraft,
    "drifting": write_drifting,
}
"""By the name of the pipeline, what writes it to a new folder."""

SIZES = {
    "regimes": RECORDS,
    "machine": MACHINE_RECORDS,
    "aircraft": AIRCRAFT_ROWS.stop - AIRCRAFT_ROWS.start,
    "drifting": DRIFTING_RECORDS,
}
"""How many records each reads; they are numbered from 0 in a column `id`."""


def copied(made: Path, folder: Path) -> Path:
    """Copy a scenario that never ran to another folder; return the path of its pipeline file."""
    shutil.copytree(made, folder)
    file = folder / "pipeline.yaml"
    file.write_text(file.read_text().replace(str(made), str(folder)))
    return file


def outputs(folder: Path) -> dict[str, bytes]:
    """Return every output file by its name, paths in it made those of no folder."""
    found = {}
    for path in sorted((folder / "out").rglob("*")):
        if path.is_file():
            found[str(path.relative_to(folder / "out"))] = path.read_bytes().replace(str(folder).encode(), b"FOLDER")
    return found


def records(found: dict[str, bytes]) -> Counter[int]:
    """Return how often each record stands among the posteriors and the dead letters, by its `id`."""
    everything = Counter(int(json.loads(line)["id"]) for line in found["posteriors.ndjson"].splitlines())
    for line in found["dead_letters.ndjson"].splitlines():
        value = json.loads(line)["value"]
        everything[int(json.loads(value)["id"] if value.startswith("{") else value.split(",")[0])] += 1
    return everything


def parameters(folder: Path) -> bytes:
    """Return the arrays of the last checkpoint.

    Current and averaged parameters, the window of log-likelihoods, and whatever is carried.
    """
    with zipfile.ZipFile(folder / "state" / "checkpoint.zip") as archive:
        return archive.read("arrays.bin")


def carry(folder: Path) -> dict[str, bytes]:
    """Return what the operators of the last checkpoint keep besides parameters and log-likelihoods, by its name.

    Filtered states, keys and their slots, earlier values, newest times, records that wait with their originals.
    """
    kept: dict[str, bytes] = {}
    with zipfile.ZipFile(folder / "state" / "checkpoint.zip") as archive:
        values = json.loads(archive.read("checkpoint.json"))
        arrays, blobs = archive.read("arrays.bin"), archive.read("blobs.bin")
    start = 0
    for kind, operator, name, dtype, shape in values["arrays"]:
        stop = start + prod(shape) * np.dtype(dtype).itemsize
        if kind == "steps" and not name.startswith(("snapshot/", "rank/")):
            kept[f"{operator}/{name} {dtype} {shape}"] = arrays[start:stop]
        start = stop
    start = 0
    for kind, operator, name, length in values["blobs"]:
        if kind == "steps":
            kept[f"{operator}/{name}"] = blobs[start : start + length].replace(str(folder).encode(), b"FOLDER")
        start += length
    for operator, plain in values["steps"].items():
        kept[operator] = json.dumps(plain).replace(str(folder), "FOLDER").encode()
    return kept
