"""The names of categories stay: over restarts, in snapshot files, and where they are shown."""

import json
from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from rich.console import Console

from streamem.cli.portrait import portrait
from streamem.connect import FilesSink, FilesSource
from streamem.em import HMM, Categorical, Mixture, Observations
from streamem.errors import SnapshotError
from streamem.stream import protocol
from streamem.stream.operators import Score
from streamem.stream.outputs import Output
from streamem.stream.pipeline import Checkpoints, Pipeline
from streamem.stream.protocol import Columns, Cuts
from streamem.stream.rejections import Errors
from streamem.stream.snapshots import read_snapshot
from tests.stream.colours import (
    COLOUR,
    COUNT,
    FRAME,
    LABEL,
    LEARN,
    LEARNED,
    MIXED,
    NAMED,
    batches,
    numbered,
    opened,
    snapshot_file,
    through,
    with_cell,
)


def records(path, count=COUNT):
    lines = FRAME[:count].select("device", "x", "colour").rows(named=True)
    lines[40]["colour"] = None
    lines[400]["colour"] = "purple"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))


def pipeline(folder, **changes):
    learn = replace(LEARN, features=["x", "colour"], model=HMM(states=2, family=MIXED))
    settings = {
        "name": "p",
        "source": FilesSource(paths=[str(folder / "in.ndjson")]),
        "cuts": Cuts(50),
        "columns": Columns(key="device"),
        "operators": [learn],
        "outputs": [
            Output(what="posteriors", sink=FilesSink(path=str(folder / "out/posteriors.ndjson"))),
            Output(what="snapshots", every_batches=4, sink=FilesSink(path=str(folder / "out/snapshots.ndjson"))),
        ],
        "checkpoint": Checkpoints(path=str(folder / "out/state"), every_batches=2),
        "errors": Errors(policy="dead_letter", sink=FilesSink(path=str(folder / "out/dead.ndjson"))),
    }
    return Pipeline(**(settings | changes))


def left(folder):
    """Return every output, but for the folder's own name in it."""
    outputs = {path.name: path.read_text() for path in sorted((folder / "out").glob("*.ndjson"))}
    return {name: content.replace(str(folder), "") for name, content in outputs.items()}


@pytest.mark.parametrize("together", [1, 100, 16_384])
def test_a_restart_from_a_checkpoint_leaves_the_same_as_a_run_without_one(tmp_path, monkeypatch, together):
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    for folder in (whole, parts):
        folder.mkdir()
        records(folder / "in.ndjson")
    pipeline(whole).run()
    monkeypatch.setattr(protocol, "TOGETHER", together)
    for limit in (120, 130, 200, None):
        pipeline(parts).run(limit=limit)
    expected = left(whole)
    assert expected["posteriors.ndjson"].count("\n") == COUNT - 1
    assert "found 'purple'; wanted one of" in expected["dead.ndjson"]
    found = left(parts)
    assert found["dead.ndjson"] == expected["dead.ndjson"]
    assert found.keys() == expected.keys()
    # the limits cut micro-batches at 120 and 250 records: the names are those of the same 150 records all the same
    models = [json.loads(one["snapshots.ndjson"].splitlines()[-1])["model"] for one in (found, expected)]
    assert models[0] == models[1]
    assert found["posteriors.ndjson"].count("\n") == COUNT - 1


def test_a_run_in_parts_at_the_ends_of_micro_batches_has_the_same_bytes(tmp_path):
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    for folder in (whole, parts):
        folder.mkdir()
        records(folder / "in.ndjson")
    pipeline(whole).run()
    for limit in (100, 200, 250, None):
        pipeline(parts).run(limit=limit)
    assert left(parts) == left(whole)
    assert left(whole)["snapshots.ndjson"].count("\n") == 3


def test_a_snapshot_file_names_its_categories_for_score_and_start_from(tmp_path):
    records(tmp_path / "in.ndjson")
    pipeline(tmp_path).run()
    file = str(tmp_path / "out/snapshots.ndjson")
    snapshot, _ = read_snapshot(file)
    names = snapshot.model.family.parts[1].family.categories
    assert sorted(names) == ["blue", "green", "red"]
    score = Score(name="s", snapshot=file)
    assert score.numbers == {"x"}
    step = opened(score, columns=Columns(key="device"))
    [out] = step.process(batches(frame=with_cell(3, "purple"))[0])
    [fallen] = out.rejected
    assert fallen.message.startswith(f"s: colour: found 'purple'; wanted one of {', '.join(names)}")
    one = opened(score).process(batches()[0])[0]
    values = np.column_stack([FRAME["x"][:100].to_numpy(), numbered(names, "colour", frame=FRAME[:100])])
    expected = snapshot.posterior(Observations(values))
    assert np.array_equal(one.frame["s.log_likelihood"].to_numpy(), expected.log_likelihood)
    model = HMM(states=2, family=MIXED)
    going_on = opened(replace(LEARN, features=["x", "colour"], model=model, start_from=file))
    [out] = going_on.process(batches(frame=with_cell(3, "purple"))[0])
    assert len(out.rejected) == 1
    assert going_on.snapshot.model == snapshot.model
    assert going_on.snapshot.records_seen == snapshot.records_seen + 99


def test_a_snapshot_of_other_names_or_none_is_refused(tmp_path):
    step = opened(COLOUR)
    through(step, batches())
    file = snapshot_file(tmp_path / "s.json", step, ["colour"])
    assert opened(replace(COLOUR, start_from=file)).snapshot.model == step.snapshot.model
    with pytest.raises(SnapshotError, match=r"found a snapshot of Mixture\(.*categories=\('red'"):
        opened(replace(COLOUR, model=NAMED, start_from=file))
    with pytest.raises(SnapshotError, match="other=True"):
        opened(replace(COLOUR, model=replace(LEARNED, family=Categorical(other=True)), start_from=file))
    with pytest.raises(SnapshotError, match="gaussian"):
        opened(replace(COLOUR, model=Mixture(), features=["x"], start_from=snapshot_file(tmp_path / "t", step, ["x"])))
    numbers = FRAME.with_columns(colour=pl.Series(LABEL + 1))
    by_number = opened(COLOUR, numbers)
    through(by_number, batches(frame=numbers))
    file = snapshot_file(tmp_path / "n.json", by_number, ["colour"])
    for operator in (replace(COLOUR, start_from=file), Score(name="s", snapshot=file)):
        with pytest.raises(SnapshotError, match=r"found a snapshot that knows categories by number only, and 'colour'"):
            opened(operator)


def test_show_prints_the_likeliest_category_with_its_probability():
    learn = replace(LEARN, features=["x", "colour"], model=Mixture(components=2, family=MIXED))
    step = opened(learn)
    through(step, batches())
    names, part = step.snapshot.model.family.parts[1].family.categories, step.snapshot.averaged.components.parts[1]
    for width in (200, 72):
        console = Console(width=width, highlight=False)
        with console.capture() as captured:
            console.print(
                portrait(
                    step.snapshot, {"features": ["temperature_of_the_bearing", "colour_of_the_lamp_beside_it"]}, console
                )
            )
        for component in part.probability[:, 0]:
            assert f"{names[component.argmax()]} {100 * component.max():.1f} %" in captured.get()
        assert ("feature" in captured.get()) == (width == 72)


def test_show_numbers_categories_without_names_and_calls_the_last_one_other():
    frame = FRAME.with_columns(colour=pl.Series(LABEL + 1))
    for family, words in (
        (Categorical(), ("category 1 ", "category 2 ")),
        (Categorical(categories=("none", "one"), other=True), ("one ", "other ")),
    ):
        step = opened(replace(COLOUR, model=Mixture(components=2, family=family)), frame)
        through(step, batches(frame=frame))
        console = Console(width=200, highlight=False)
        with console.capture() as captured:
            console.print(portrait(step.snapshot, {}, console))
        assert all(word in captured.get() for word in words)
