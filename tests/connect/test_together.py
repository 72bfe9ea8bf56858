"""Pipelines over real files: how many micro-batches come together never shows, and every checkpoint is synced."""

import json
import threading

import numpy as np
import pytest

from streamem.connect import FilesSink, FilesSource
from streamem.em import HMM, Mixture
from streamem.stream import protocol
from streamem.stream.checkpoint import read_checkpoint
from streamem.stream.disk import Disk
from streamem.stream.operators import Learn, Score, Transform, Where
from streamem.stream.outputs import Output
from streamem.stream.pipeline import Checkpoints, Pipeline
from streamem.stream.protocol import Columns, Cuts, World
from streamem.stream.rejections import Errors
from tests.stream.fakes import AtOnce

FEATURES = ["x", "y"]


def write_records(path, count=3000, missing=True):
    rng = np.random.default_rng(3)
    rows = rng.normal(loc=rng.choice([-4.0, 4.0], size=(count, 1)), size=(count, 2))
    with path.open("w") as file:
        for n, (x, y) in enumerate(rows.tolist()):
            record = {"time": n, "x": None if missing and n % 97 == 5 else x, "y": y, "text": str(n)}
            record["device"] = f"d{(n * n) % 7}"
            file.write("no record\n" if n % 611 == 400 else json.dumps(record) + "\n")


def pipeline(folder, *, size=50, world=None, checkpoint=4, **changes):
    operators = [
        Transform(columns={"z": "x - y"}),
        Where(condition="time % 7 <> 0"),
        Learn(name="first", features=FEATURES, model=Mixture(components=2), warmup_records=330),
        Learn(name="second", features=["z"], model=Mixture(components=2), warmup_records=1010, until_records=2000),
        Learn(name="third", features=["z"], model=HMM(states=2), warmup_records=500, max_keys=4),
    ]
    settings = {
        "name": "together",
        "source": FilesSource(paths=[str(folder / "in.ndjson")]),
        "cuts": Cuts(size),
        "columns": Columns(time="time", key="device"),
        "operators": operators,
        "outputs": [
            Output(what="posteriors", sink=FilesSink(path=str(folder / "out/posteriors.ndjson"))),
            Output(what="snapshots", every_batches=10, sink=FilesSink(path=str(folder / "out/snapshots.ndjson"))),
        ],
        "checkpoint": Checkpoints(path=str(folder / "out/state"), every_batches=checkpoint),
        "errors": Errors(policy="dead_letter", sink=FilesSink(path=str(folder / "out/dead.ndjson"))),
        "world": world or World(),
    }
    return Pipeline(**(settings | changes))


def left(folder):
    """Return every output, and the state of every operator."""
    outputs = {path.name: path.read_bytes() for path in sorted((folder / "out").glob("*.ndjson"))}
    steps = read_checkpoint(folder / "out/state").steps
    arrays = {f"{name}/{key}": a.tobytes() for name, step in steps.items() for key, a in step.arrays.items()}
    return outputs | arrays | {name: json.dumps(step.values) for name, step in steps.items()}


@pytest.mark.parametrize("size", [1, 50, 700])
def test_how_many_micro_batches_come_together_shows_in_no_output(tmp_path, monkeypatch, size):
    found = []
    for together in (1, 120, 16_384):
        folder = tmp_path / str(together)
        folder.mkdir()
        write_records(folder / "in.ndjson", 1400 if size == 1 else 3000)
        monkeypatch.setattr(protocol, "TOGETHER", together)
        pipeline(folder, size=size).run(limit=1111)
        pipeline(folder, size=size, checkpoint=7).run()
        posteriors = (folder / "out/posteriors.ndjson").read_bytes().replace(str(folder).encode(), b"")
        assert posteriors.count(b"\n") > 1000
        found.append({name: value.replace(str(folder).encode(), b"") for name, value in bytes_of(folder).items()})
    assert found[0] == found[1] == found[2]


def bytes_of(folder):
    return {name: value if isinstance(value, bytes) else value.encode() for name, value in left(folder).items()}


def test_scores_do_not_depend_on_it_either(tmp_path, monkeypatch):
    write_records(tmp_path / "in.ndjson")
    pipeline(tmp_path).run()
    score = Score(name="s", snapshot=str(tmp_path / "out/snapshots.ndjson"), operator="first")
    found = []
    for together in (1, 16_384):
        monkeypatch.setattr(protocol, "TOGETHER", together)
        outputs = [Output(what="posteriors", sink=FilesSink(path=str(tmp_path / f"scores.{together}.ndjson")))]
        pipeline(tmp_path, operators=[score], outputs=outputs, checkpoint=1).run(fresh=True)
        found.append((tmp_path / f"scores.{together}.ndjson").read_bytes())
    assert found[0] == found[1] != b""


def test_a_checkpoint_syncs_each_output_itself_and_its_folder(tmp_path):
    class Counting(Disk):
        calls: list[str]

        def sync(self, descriptor):
            super().sync(descriptor)
            self.calls.append("sync")

        def sync_folder(self, path):
            super().sync_folder(path)
            self.calls.append("folder")

        def replace(self, source, target):
            super().replace(source, target)
            self.calls.append("replace")

    disk = Counting()
    disk.calls = []
    write_records(tmp_path / "in.ndjson")
    pipeline(tmp_path, world=World(disk=disk, keeper=AtOnce), checkpoint=1, size=1000).run()
    # checkpoint zero, one a batch once 1,010 records have passed for the second warm-up, one at the end of the input
    each = ["sync", "sync", "sync", "sync", "replace", "folder"]
    new = ["sync", "folder"] * 3 + ["sync", "replace", "folder"]
    assert disk.calls == new + each * 3


def test_a_run_that_is_stopped_before_the_first_record_came_has_done_nothing(tmp_path):
    (tmp_path / "in.ndjson").write_bytes(b"")
    world = World()
    source = FilesSource(paths=[str(tmp_path / "in.ndjson")], follow=True)
    threading.Timer(0.2, world.stopping.set).start()
    summary = pipeline(tmp_path, source=source, world=world).run()
    assert (summary.ended, summary.progress.records, summary.was_finished) == ("stop", 0, False)
    assert not (tmp_path / "out/posteriors.ndjson").exists()
