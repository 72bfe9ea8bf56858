import csv
import json
import runpy
import sys
from itertools import pairwise
from pathlib import Path
from xml.etree import ElementTree

import pytest

from streamem.em import Snapshot

EXAMPLES = Path(__file__).parents[2] / "examples"


def test_every_example_is_tested_here():
    names = sorted(path.name for path in EXAMPLES.iterdir() if path.suffix in (".yaml", ".py"))
    assert names == ["faithful.yaml", "freeway.yaml", "mixture.py", "picture.py"]


def test_freeway_finds_light_busy_and_dense_traffic(learned):
    snapshots = (learned / "out/freeway/snapshots.ndjson").read_text().splitlines()
    assert len(snapshots) >= 4
    components = Snapshot.from_json(json.loads(snapshots[-1])).summary()["components"]
    occupancies = sorted(one["mean"][1] for one in components)
    assert len(occupancies) == 3
    assert min(b - a for a, b in pairwise(occupancies)) >= 1.5


def test_faithful_writes_csv_with_flat_probabilities(streamem, workplace):
    assert streamem("run", "examples/faithful.yaml").code == 0
    with open(workplace / "out/faithful/posteriors.csv", newline="") as file:
        records = list(csv.DictReader(file))
    assert len(records) == 272
    total = [sum(float(record[f"eruption.probabilities.{k}"]) for k in range(2)) for record in records]
    assert total == pytest.approx([1.0] * 272)
    last = (workplace / "out/faithful/snapshots.ndjson").read_text().splitlines()[-1]
    means = sorted(one["mean"] for one in Snapshot.from_json(json.loads(last)).summary()["components"])
    # Batch EM on all of it finds (2.036, 54.48 / 60) and (4.290, 79.97 / 60); one pass over 272 records comes near.
    assert means == [pytest.approx([2.036, 0.908], abs=0.05), pytest.approx([4.290, 1.333], abs=0.05)]


def test_faithful_takes_its_path_from_outside(streamem, workplace, monkeypatch):
    rows = (workplace / "examples/data/faithful.csv").read_text().splitlines()
    (workplace / "half.csv").write_text("\n".join(rows[:151]) + "\n")
    monkeypatch.setenv("FAITHFUL", "half.csv")
    assert streamem("run", "examples/faithful.yaml").code == 0
    assert len((workplace / "out/faithful/posteriors.csv").read_text().splitlines()) == 151


def test_mixture_follows_the_source_that_wanders(capsys):
    runpy.run_path(str(EXAMPLES / "mixture.py"), run_name="__main__")
    rows = capsys.readouterr().out.splitlines()[1:]
    assert len(rows) == 6
    off = [float(row.split()[-2]) for row in rows]
    assert max(off) < 0.5


def test_the_picture_in_the_readme_is_that_of_a_real_run(learned, tmp_path, monkeypatch):
    target = tmp_path / "freeway.svg"
    monkeypatch.setattr(sys, "argv", ["picture.py", str(learned / "out/freeway/posteriors.ndjson"), str(target)])
    runpy.run_path(str(EXAMPLES / "picture.py"), run_name="__main__")
    committed = EXAMPLES / "freeway.svg"
    assert committed.stat().st_size < 150_000

    def skeleton(path):
        tree = ElementTree.parse(path).getroot()
        words = [node.text for node in tree.iter("{http://www.w3.org/2000/svg}text")]
        dots = sum(node.get("d").count("M") for node in tree.iter("{http://www.w3.org/2000/svg}path"))
        return words, dots

    words, dots = skeleton(target)
    assert (words, dots) == skeleton(committed)
    assert dots == 3 * 2380
