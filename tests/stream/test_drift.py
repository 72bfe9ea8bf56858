"""Drift: detectors against river's own, what a drift changes, and that a restart of the pipeline changes no bit."""

import json
from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from river import drift as of_river

from streamem.config import json_schema, load
from streamem.em import Constant, Cumulative, GrowingWindow, Mixture, Observations, OnlineEM, Power
from streamem.errors import ConfigError, SnapshotError
from streamem.stream.operators import Learn
from streamem.stream.operators.detectors import DETECTORS, KSWIN, DummyDriftDetector, PageHinkley
from streamem.stream.operators.drift import DriftMonitor
from streamem.stream.outputs import Output
from tests.stream.pipelines import Place

MODEL = Mixture(components=2)
USUAL = PageHinkley()
NATS = PageHinkley(over="log_likelihood", delta=0.5, threshold=200.0)
SMALL_KSWIN = KSWIN(alpha=0.001, window_size=60, stat_size=20)
RANDOM_DUMMY = DummyDriftDetector(trigger_method="random", t_0=200, w=50, seed=3)
CASES = [
    (PageHinkley(), lambda: of_river.PageHinkley(delta=0.1, threshold=20.0, alpha=1.0, mode="up")),
    (PageHinkley(mode="down", threshold=9.0), lambda: of_river.PageHinkley(30, 0.1, 9.0, 1.0, "down")),
    (
        PageHinkley(mode="both", delta=0.005, threshold=5.0, alpha=0.999, min_instances=50),
        lambda: of_river.PageHinkley(50, 0.005, 5.0, 0.999, "both"),
    ),
    (SMALL_KSWIN, lambda: of_river.KSWIN(0.001, 60, 20, seed=0)),
    (DummyDriftDetector(t_0=150), lambda: of_river.DummyDriftDetector(t_0=150, seed=0)),
    (DummyDriftDetector(t_0=150, w=90), lambda: of_river.DummyDriftDetector(t_0=150, w=90, seed=0)),
    (RANDOM_DUMMY, lambda: of_river.DummyDriftDetector("random", 200, 50, seed=3)),
]


def ranks(seed=0):
    """Return numbers in [0, 1] that change twice, as ranks do: at 700 all become high, at 1000 half of them low."""
    rng = np.random.default_rng(seed)
    return np.concatenate([rng.random(700), 0.7 + 0.3 * rng.random(300), 0.5 * rng.random(500)])


def test_every_detector_of_the_table_is_compared():
    assert {type(declared) for declared, _ in CASES} == set(DETECTORS.values())


@pytest.mark.parametrize(("declared", "theirs"), CASES)
@pytest.mark.parametrize("seed", range(2))
def test_a_detector_tells_the_same_records_as_river(declared, theirs, seed):
    numbers, river = ranks(seed), theirs()
    found = []
    for number in numbers.tolist():
        river.update(number)
        found.append(river.drift_detected)
    assert declared.open().watch(numbers).tolist() == found
    assert any(found)


@pytest.mark.parametrize("declared", [declared for declared, _ in CASES])
@pytest.mark.parametrize("cut", [1, 444, 763, 1499])
def test_a_state_in_plain_values_goes_on_as_if_nothing_had_been(declared, cut):
    numbers = ranks()
    whole, first, second = declared.open(), declared.open(), declared.open()
    found = whole.watch(numbers)
    told = first.watch(numbers[:cut])
    values, arrays = first.state()
    second.restore(json.loads(json.dumps(values)), {name: array.copy() for name, array in arrays.items()})
    assert np.concatenate([told, second.watch(numbers[cut:])]).tolist() == found.tolist()
    [(values, arrays), (others, other_arrays)] = [one.state() for one in (whole, second)]
    assert values == others
    assert {k: a.tobytes() for k, a in arrays.items()} == {k: a.tobytes() for k, a in other_arrays.items()}


def stream(count=6000, change=4000, seed=0):
    """Return rows of two clusters whose centres move at record `change`."""
    rng = np.random.default_rng(seed)
    centres = np.array([[-4.0, 0.0], [4.0, 0.0]])[rng.integers(2, size=count)]
    centres[change:] += [0.0, 7.0]
    xy = centres + rng.normal(size=(count, 2))
    return pl.DataFrame({"x": xy[:, 0], "y": xy[:, 1], "time": np.arange(count, dtype=float)})


def learn(drift=USUAL, **settings):
    settings = {"schedule": GrowingWindow(), "warmup_records": 500, "seed": 1} | settings
    return Learn(name="r", features=["x", "y"], model=MODEL, drift=drift, **settings)


def run(place, operator, frame=None, **options):
    snapshots = Output(what="snapshots", sink=place.sink("snapshots"), every_batches=5)
    outputs = [Output(what="posteriors", sink=place.sink("posteriors"), include="all"), snapshots]
    frame = stream() if frame is None else frame
    columns = replace(place.pipeline().columns, key=None)
    return place.pipeline(frame, operators=(operator,), outputs=outputs, columns=columns).run(**options)


def told(place, column):
    return [record[column] for record in place.records("posteriors")]


@pytest.mark.parametrize("detector", [PageHinkley(), KSWIN(), NATS])
def test_one_change_is_one_drift_and_is_told_and_counted(tmp_path, detector):
    place = Place(tmp_path)
    summary = run(place, learn(detector))
    where = np.flatnonzero(told(place, "r.drift"))
    assert len(where) == 1
    assert 4000 <= where[0] < 4200
    assert summary.progress.drifts == {"r": 1}
    assert [record["drifts"] for record in place.records("snapshots")][::11] == [0, 1]


def test_a_stream_that_stays_as_it_is_has_none(tmp_path):
    place = Place(tmp_path)
    assert run(place, learn(), stream(20_000, change=20_000)).progress.drifts == {"r": 0}
    assert set(told(place, "r.drift")) == {False}


def test_without_a_detector_there_is_no_column_and_no_count(tmp_path):
    place = Place(tmp_path)
    assert run(place, learn(None)).progress.drifts == {}
    assert "r.drift" not in place.records("posteriors")[0]
    assert "drifts" not in place.records("snapshots")[-1]


@pytest.mark.parametrize("schedule", [GrowingWindow(), Cumulative(), Power()])
def test_a_drift_raises_the_step_size_and_the_model_follows_sooner(tmp_path, schedule):
    with_it, without = Place(tmp_path / "with"), Place(tmp_path / "without")
    run(with_it, learn(schedule=schedule))
    run(without, learn(None, schedule=schedule))
    [watched, blind] = [told(place, "r.log_likelihood") for place in (with_it, without)]
    drift = told(with_it, "r.drift").index(True)
    batch = drift // 100
    assert watched[: 100 * (batch + 1)] == blind[: 100 * (batch + 1)]  # nothing before it, and not its own batch
    steps = [[record["step_size"] for record in place.records("snapshots")] for place in (with_it, without)]
    assert steps[0][7] == steps[1][7]
    assert steps[0][-1] > 1.5 * steps[1][-1]
    # 4.14 nats is what the true mixture has: 1 + ln 2π + ln 2 and the entropy of two clusters that do not overlap
    assert np.mean(watched[4500:]) > np.mean(blind[4500:]) + 0.1
    # the average that score and combine take begins again too
    height = [
        [mean[1] for mean in place.records("snapshots")[-1]["averaged"]["components"]["mean"]]
        for place in (with_it, without)
    ]
    assert np.abs(np.subtract(height[0], 7.0)).max() < 1.0 < np.abs(np.subtract(height[1], 7.0)).max()


def test_where_micro_batches_come_together_changes_nothing(tmp_path):
    frame, left = stream(), []
    for name, every in (("a", 5), ("b", 2)):
        place = Place(tmp_path / name)
        snapshots = Output(what="snapshots", sink=place.sink("snapshots"), every_batches=every)
        outputs = [Output(what="posteriors", sink=place.sink("posteriors")), snapshots]
        columns = replace(place.pipeline().columns, key=None)
        place.pipeline(frame, operators=(learn(),), outputs=outputs, columns=columns).run()
        left.append(place.records("posteriors"))
    assert left[0] == left[1]


@pytest.mark.parametrize("detector", [PageHinkley(), SMALL_KSWIN, RANDOM_DUMMY])
@pytest.mark.parametrize("limit", [4100, 700])
def test_a_run_in_parts_leaves_the_same_bytes(tmp_path, detector, limit):
    whole, parts = Place(tmp_path / "whole"), Place(tmp_path / "parts")
    frame = stream(count=4900)
    assert run(whole, learn(detector), frame).progress.drifts["r"] >= 1
    for _ in range(-(-4900 // limit) + 1):
        run(parts, learn(detector), frame, limit=limit)
    assert parts.left() == whole.left()


def test_records_with_missing_values_are_ranked_among_their_own_kind(tmp_path):
    frame = stream(8000, change=8000).with_columns(
        y=pl.when(pl.int_range(pl.len()) > 4000).then(None).otherwise(pl.col("y"))
    )
    assert run(Place(tmp_path), learn(), frame).progress.drifts == {"r": 0}
    # in nats a record with fewer values is likelier
    down = PageHinkley(over="log_likelihood", delta=0.5, mode="down")
    assert run(Place(tmp_path / "nats"), learn(down), frame).progress.drifts == {"r": 1}


def test_a_restart_counts_what_was_before_as_the_first_window():
    rows = np.random.default_rng(0).normal(size=(5000, 1))
    learner = OnlineEM(Mixture(components=1), warmup_records=100)
    learner.restart()  # there is no start yet, and nothing to begin again
    for start in range(0, 5000, 100):
        learner.update(Observations(rows[start : start + 100]))
    window = learner.first_window(1)
    learner.restart()
    assert (learner.weight_before, learner.updates_before) == (5000 - window, 49)
    learner.update(Observations(rows[:100]))
    fresh = GrowingWindow().integral(window + 100, window) - GrowingWindow().integral(window, window)
    assert learner.snapshot.step_size == pytest.approx(-np.expm1(-fresh), rel=1e-12)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: PageHinkley(threshold=0), "PageHinkley: threshold: found 0; wanted a finite number above 0"),
        (lambda: PageHinkley(mode="upp"), r"PageHinkley: mode: found 'upp' \(did you mean 'up'\?\)"),
        (lambda: KSWIN(stat_size=200), "KSWIN: stat_size: found 200; wanted at most half of window_size, 150"),
        (lambda: DummyDriftDetector(trigger_method="random"), "DummyDriftDetector: w: found 0; wanted at least 1"),
        (lambda: learn(schedule=Constant()).check(), "r.schedule: found constant, which has no window to begin again"),
    ],
)
def test_wrong_settings_are_refused(make, words):
    with pytest.raises(ConfigError, match=words):
        make()


def test_the_state_of_another_detector_is_refused():
    state = DriftMonitor(KSWIN(), 1000).state()
    with pytest.raises(SnapshotError, match=r"r.drift: found a state that does not fit \(the state of kswin\)"):
        DriftMonitor(PageHinkley(), 1000).restore(state["drift"], state["drift_rank"], "r")


PIPELINE = """
source: {{type: files, paths: [rows.csv]}}
operators:
  - type: learn
    name: r
    features: [x]
    model: {{type: mixture, components: 2}}
    {drift}
outputs:
  - {{what: posteriors, sink: {{type: console}}}}
"""


def test_a_pipeline_file_names_a_detector_and_its_settings(tmp_path):
    file = tmp_path / "p.yaml"
    file.write_text(PIPELINE.format(drift="drift: {detector: page_hinkley, threshold: 30}"))
    assert load(str(file)).operators[0].drift == PageHinkley(threshold=30.0)
    assert "PageHinkley" in json_schema()["$defs"]


@pytest.mark.parametrize(
    ("drift", "words"),
    [
        (
            "drift: {detector: page_hinkly}",
            r"line 8: operators.0.drift.detector: found \"?page_hinkly.*page_hinkley, kswin, dummy.*did you mean",
        ),
        (
            "drift: {detector: adwin}",
            "line 8: operators.0.drift.detector: .*adwin.*wanted one of page_hinkley, kswin, dummy",
        ),
        (
            "drift: {detector: page_hinkley, treshold: 3}",
            r"the unknown key treshold; wanted one of alpha.*did you mean 'threshold'",
        ),
        (
            "drift: {detector: page_hinkley, threshold: -3}",
            "operators.0.drift.threshold: found -3; wanted a number above 0",
        ),
        ("drift: {threshold: 3}", "operators.0.drift.detector: found no such key; wanted one of"),
        ("drift: yes", "operators.0.drift"),
        (
            "drift: {detector: page_hinkley}\n    schedule: {type: constant}",
            "line 9: operators.0.schedule: found .*constant.*; wanted another schedule, or no drift",
        ),
        ("drift: {detector: kswin, stat_size: 290}", "stat_size: found 290; wanted at most half"),
        (
            "drift: {detector: kswin, window_size: 90}",
            "line 8: operators.0.drift.stat_size: found 100; wanted at most half",
        ),
        ("drift: {detector: dummy, trigger_method: random}", "line 8: operators.0.drift.w: found 0; wanted at least 1"),
    ],
)
def test_a_wrong_detector_is_refused_with_the_line(tmp_path, drift, words):
    file = tmp_path / "p.yaml"
    file.write_text(PIPELINE.format(drift=drift))
    with pytest.raises(ConfigError, match=words):
        load(str(file))
