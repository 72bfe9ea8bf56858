"""Learn and score: features out of frames, posteriors into them, and what they refuse."""

import json
from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from streamem.em import LDS, Gaussian, Mixture, Observations, OnlineEM, Part, Poisson, Product
from streamem.errors import ConfigError, ModelError, SnapshotError
from streamem.stream.batch import ROW
from streamem.stream.operators import Learn, Score
from streamem.stream.protocol import Columns
from streamem.stream.snapshots import snapshot_frame
from tests.stream.fakes import batch_of, two_clusters

FRAME = two_clusters(600)
LEARN = Learn(name="r", features=["x", "y"], model=Mixture(components=2), warmup_records=150)


def batches(size=100, frame=FRAME):
    cuts = [batch_of(frame[at : at + size].to_dict()) for at in range(0, frame.height, size)]
    return [replace(batch, number=number) for number, batch in enumerate(cuts)]


def opened(operator, frame=FRAME):
    return operator.open(frame.schema, Columns())


def through(step, cuts):
    return [out for batch in cuts for out in step.process(batch)]


def values_of(frame):
    return frame.select("x", "y").cast(pl.Float64).to_numpy()


def snapshot_file(path, *, features=("x", "y"), operator="r", lines=1):
    step = opened(LEARN)
    through(step, batches())
    frame = snapshot_frame(
        step.snapshot, name="p", operator=operator, inputs={"features": features}, position={"record": 600}, time=None
    )
    with path.open("a") as file:
        file.write(frame.write_ndjson() * lines)
    return step.snapshot


def test_posteriors_are_those_of_the_learner_and_leave_under_their_own_batch_numbers():
    learner = OnlineEM(Mixture(components=2), warmup_records=150)
    expected = [p for cut in batches() for p in learner.update(Observations(values_of(cut.frame)))]
    out = through(opened(LEARN), batches())
    assert [batch.number for batch in out] == list(range(6))
    assert len(expected) == 6
    for batch, posterior in zip(out, expected, strict=True):
        assert batch.frame["r.batch"].unique().to_list() == [batch.number]
        assert np.array_equal(np.array(batch.frame["r.probabilities"].to_list()), posterior.probabilities)
        assert batch.frame["r.component"].to_list() == posterior.probabilities.argmax(1).tolist()
        assert np.array_equal(batch.frame["r.log_likelihood"].to_numpy(), posterior.log_likelihood)
        assert batch.frame["r.warmup"].to_list() == posterior.warmup.tolist()


def test_micro_batches_that_come_together_are_learned_one_by_one():
    alone, together = opened(LEARN), opened(LEARN)
    expected = pl.concat([batch.frame for batch in through(alone, batches())])
    [found] = together.process(replace(batch_of(FRAME.to_dict()), size=100))
    assert found.frame.drop(ROW).equals(expected.drop(ROW))
    assert together.snapshot.to_json() == alone.snapshot.to_json()


def test_a_learner_that_fails_at_the_third_of_four_micro_batches_names_the_record_of_it():
    step = opened(LEARN)
    through(step, batches()[:2])
    rows = FRAME[200:].with_columns(x=pl.when(pl.int_range(pl.len()) == 250).then(1e200).otherwise(pl.col("x")))
    with pytest.raises(ModelError, match=r"r, batch 4: record 51 of the batch: found a log-likelihood of -inf"):
        step.process(replace(batch_of(rows.to_dict()), number=2, size=100))


def test_the_schema_after_a_learner_is_that_of_its_frames_also_of_empty_ones():
    step = opened(LEARN)
    [*_, last] = through(step, batches())
    assert last.frame.drop(ROW).schema == step.schema
    [empty] = step.process(last.with_frame(batches()[0].frame.clear()))
    assert empty.frame.drop(ROW).schema == step.schema
    assert empty.frame.height == 0


def test_anomaly_is_null_for_the_first_hundred_and_then_in_the_unit_interval():
    anomaly = pl.concat([batch.frame for batch in through(opened(LEARN), batches())])["r.anomaly"]
    assert anomaly[:100].null_count() == 100
    assert anomaly.is_nan().sum() == 0
    assert 0.0 <= anomaly.min() <= anomaly.max() <= 1.0


def test_batches_without_rows_are_held_in_their_place_and_do_not_update():
    cuts = batches()
    cuts[1] = cuts[1].with_frame(cuts[1].frame.clear())
    step = opened(LEARN)
    assert step.process(cuts[0]) == []
    assert step.process(cuts[1]) == []
    assert step.holding
    out = step.process(cuts[2])
    assert [(batch.number, batch.frame.height) for batch in out] == [(0, 100), (1, 0), (2, 100)]
    seen = step.snapshot.update
    [empty] = step.process(cuts[1])
    assert empty.frame.height == 0
    assert step.snapshot.update == seen


def test_a_batch_without_rows_before_the_first_row_leaves_at_once():
    step = opened(LEARN)
    empty = batches()[0].with_frame(batches()[0].frame.clear())
    assert len(step.process(empty)) == 1
    assert not step.holding
    step.state()


def test_integers_are_features_and_null_and_nan_are_the_same_missing_value():
    frame = FRAME.with_columns(pl.col("x").fill_null(float("nan")))
    learn = replace(LEARN, features=["x", "count"])
    ours = [b.frame["r.log_likelihood"].to_list() for b in through(opened(learn), batches())]
    theirs = [b.frame["r.log_likelihood"].to_list() for b in through(opened(learn), batches(frame=frame))]
    assert ours == theirs
    assert len(ours) == 6


@pytest.mark.parametrize(
    ("column", "value", "words"),
    [
        ("x", float("inf"), "r: x: found inf; wanted a finite number or a missing value"),
        ("y", float("-inf"), "r: y: found -inf"),
        ("w", float("inf"), "r: weight column w: found inf; wanted a finite number of at least 0"),
        ("w", -1.0, "r: weight column w: found -1.0"),
        ("w", float("nan"), "r: weight column w: found nan"),
        ("w", None, "r: weight column w: found nan"),
    ],
)
def test_rows_that_cannot_be_used_are_rejected_with_the_reason(column, value, words):
    frame = FRAME.with_columns(w=pl.lit(1.0))
    cell = pl.when(pl.int_range(pl.len()) == 250).then(pl.lit(value)).otherwise(pl.col(column)).alias(column)
    spoiled = frame.with_columns(cell)
    step = opened(replace(LEARN, weight="w"), frame)
    out = through(step, batches(frame=spoiled))
    assert [batch.frame.height for batch in out] == [100, 100, 99, 100, 100, 100]
    [fallen] = out[2].rejected
    assert fallen.operator == "r"
    assert fallen.record.where == {"record": 50}
    assert fallen.message.startswith(words)
    assert step.snapshot.records_seen == 599


def test_weights_change_what_is_learned():
    frame = FRAME.with_columns(w=pl.col("count").cast(pl.Float64))
    plain, weighted = opened(LEARN, frame), opened(replace(LEARN, weight="w"), frame)
    through(plain, batches(frame=frame))
    through(weighted, batches(frame=frame))
    assert weighted.snapshot.weight_seen == frame["w"].sum()
    assert not np.array_equal(weighted.snapshot.parameters.weights, plain.snapshot.parameters.weights)


COUNTS = pl.DataFrame(
    {
        "calls": np.random.default_rng(0).poisson(
            np.repeat([2.0, 30.0], 150)[np.random.default_rng(1).permutation(300)]
        ),
        "hours": np.full(300, 2.0),
    }
)
COUNTING = Learn(name="c", features=["calls"], model=Mixture(components=2, family=Poisson()), warmup_records=150)


def test_counts_are_learned_with_their_exposure():
    plain, exposed = opened(COUNTING, COUNTS), opened(replace(COUNTING, exposure="hours"), COUNTS)
    for step in (plain, exposed):
        through(step, batches(frame=COUNTS))
    rates = exposed.snapshot.parameters.components.mean
    np.testing.assert_allclose(2.0 * rates, plain.snapshot.parameters.components.mean, rtol=1e-9)
    assert replace(COUNTING, exposure="hours").numbers == {"calls", "hours"}


@pytest.mark.parametrize(
    ("column", "value", "words"),
    [
        ("calls", -1.0, "c: calls: found -1.0; wanted a whole number of at least 0 or a missing value"),
        ("calls", 0.5, "c: calls: found 0.5; wanted a whole number"),
        ("hours", 0.0, "c: exposure column hours: found 0.0; wanted a finite number above 0"),
        ("hours", None, "c: exposure column hours: found nan"),
    ],
)
def test_a_count_or_an_exposure_that_cannot_be_is_rejected(column, value, words):
    frame = COUNTS.cast(pl.Float64)
    cell = pl.when(pl.int_range(pl.len()) == 250).then(pl.lit(value)).otherwise(pl.col(column)).alias(column)
    step = opened(replace(COUNTING, exposure="hours"), frame)
    out = through(step, batches(frame=frame.with_columns(cell)))
    [fallen] = out[2].rejected
    assert fallen.message.startswith(words)
    assert step.snapshot.records_seen == 299


def test_an_exposure_that_means_nothing_to_the_family_is_refused():
    with pytest.raises(ConfigError, match=r"r.exposure: found count for the family gaussian; wanted an exposure"):
        opened(replace(LEARN, exposure="count"))


def test_a_score_takes_the_exposure_that_the_snapshot_was_learned_with(tmp_path):
    step = opened(replace(COUNTING, exposure="hours"), COUNTS)
    through(step, batches(frame=COUNTS))
    frame = snapshot_frame(
        step.snapshot,
        name="p",
        operator="c",
        inputs={"features": ["calls"], "exposure": "hours"},
        position={},
        time=None,
    )
    (tmp_path / "s.json").write_text(frame.write_ndjson())
    score = Score(name="s", snapshot=str(tmp_path / "s.json"))
    assert score.numbers == {"calls", "hours"}
    [first, *_] = through(opened(score, COUNTS), batches(frame=COUNTS))
    observations = Observations(COUNTS["calls"][:100].to_numpy()[:, None].astype(float), exposure=np.full(100, 2.0))
    expected = step.snapshot.posterior(observations)
    np.testing.assert_array_equal(first.frame["s.log_likelihood"].to_numpy(), expected.log_likelihood)


def test_a_restored_learner_goes_on_with_the_same_bits():
    cuts = batches()
    whole = opened(LEARN)
    expected = through(whole, cuts)
    first, second = opened(LEARN), opened(LEARN)
    through(first, cuts[:3])
    second.restore(first.state())
    again = through(second, cuts[3:])
    assert len(again) == 3
    for ours, theirs in zip(again, expected[3:], strict=True):
        assert ours.frame.equals(theirs.frame)


def test_fewer_rows_than_the_warm_up_are_an_error_at_the_end():
    step = opened(replace(LEARN, warmup_records=601))
    assert through(step, batches()) == []
    with pytest.raises(ModelError, match="600"):
        step.finish()


def test_until_records_ends_learning_with_the_batch_in_which_they_are_reached():
    step = opened(replace(LEARN, until_records=250))
    assert len(through(step, batches())) == 6
    assert step.snapshot.records_seen == 300


def test_a_paused_learner_gives_posteriors_and_stands_still(tmp_path):
    learned = snapshot_file(tmp_path / "s.json")
    step = opened(replace(LEARN, paused=True, start_from=str(tmp_path / "s.json")))
    out = through(step, batches())
    assert step.snapshot.update == learned.update
    expected = OnlineEM(learned.model, start=learned).posterior(Observations(values_of(out[5].frame)))
    assert np.array_equal(out[5].frame["r.log_likelihood"].to_numpy(), expected.log_likelihood)


def test_a_paused_learner_without_parameters_says_what_it_needs():
    with pytest.raises(ConfigError, match=r"r.paused: found .*To do: add start_from"):
        opened(replace(LEARN, paused=True)).process(batches()[0])


def test_a_learner_that_starts_from_a_snapshot_has_no_warm_up_and_goes_on(tmp_path):
    learned = snapshot_file(tmp_path / "s.ndjson", lines=3)
    step = opened(replace(LEARN, start_from=str(tmp_path / "s.ndjson")))
    [first] = step.process(batches()[0])
    assert not first.frame["r.warmup"].any()
    assert step.snapshot.records_seen == learned.records_seen + 100


def test_a_snapshot_of_other_features_or_another_model_is_refused(tmp_path):
    path = tmp_path / "s.json"
    snapshot_file(path)
    learn = replace(LEARN, start_from=str(path))
    with pytest.raises(SnapshotError, match=r"found a snapshot of the features x, y; wanted y, x"):
        opened(replace(learn, features=["y", "x"]))
    with pytest.raises(SnapshotError, match=r"found a snapshot of Mixture\(.*components=2"):
        opened(replace(learn, model=Mixture(components=3)))
    with pytest.raises(SnapshotError, match="diagonal"):
        opened(replace(learn, model=Mixture(components=2, family=Gaussian(covariance="diagonal"))))


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"features": ["x", "yy"]}, r"r.features: found the column 'yy' \(did you mean 'y'\?\)"),
        ({"features": ["text"]}, "r.features: found 'text' of type String; wanted numbers"),
        ({"features": []}, "r.features: found no columns"),
        ({"features": ["x", "x"]}, "r.features: found 'x' twice"),
        ({"weight": "device"}, "r.weight: found 'device' of type String"),
        ({"warmup_records": 0}, "r.warmup_records: found 0; wanted at least 1"),
        ({"seed": -1}, "r.seed: found -1; wanted at least 0"),
        ({"until_records": 0}, "r.until_records: found 0"),
        ({"anomaly_window_records": 99}, "r.anomaly_window_records: found 99; wanted at least 100"),
        ({"start_from": "/nowhere/s.json"}, "/nowhere/s.json: found no such file"),
    ],
)
def test_wrong_settings_are_refused_by_their_place(settings, words):
    with pytest.raises(ConfigError, match=words):
        opened(replace(LEARN, **settings))


def test_a_column_that_is_there_already_is_not_overwritten():
    with pytest.raises(ConfigError, match=r"found a column 'r.batch' before it"):
        opened(LEARN, FRAME.with_columns(pl.lit(1).alias("r.batch")))


def test_score_gives_the_posteriors_of_the_averaged_parameters_and_restores_its_ranks(tmp_path):
    path = tmp_path / "s.json"
    learned = snapshot_file(path)
    score = Score(name="s", snapshot=str(path))
    assert score.numbers == {"x", "y"}
    out = through(opened(score), batches())
    expected = learned.posterior(Observations(values_of(out[4].frame)))
    assert np.array_equal(out[4].frame["s.log_likelihood"].to_numpy(), expected.log_likelihood)
    assert "s.warmup" not in out[4].frame
    first, second = opened(score), opened(score)
    through(first, batches()[:2])
    second.restore(first.state())
    assert through(second, batches()[2:])[0].frame.equals(out[2].frame)
    [empty] = second.process(batches()[0].with_frame(batches()[0].frame.clear()))
    assert empty.frame.drop(ROW).schema == second.schema


def test_score_refuses_another_snapshot_than_the_checkpoint_was_made_with(tmp_path):
    path = tmp_path / "s.json"
    snapshot_file(path)
    score = Score(name="s", snapshot=str(path))
    state = opened(score).state()
    record = json.loads(path.read_text())
    path.write_text(json.dumps(record | {"log_likelihood": -1.0}))
    with pytest.raises(SnapshotError, match=r"s.snapshot: found another snapshot"):
        opened(score).restore(state)


def test_score_without_names_needs_features_and_takes_no_other_number_of_them(tmp_path):
    path = tmp_path / "s.json"
    learned = snapshot_file(path)
    path.write_text(json.dumps(learned.to_json()))
    with pytest.raises(ConfigError, match=r"s.features: found no names"):
        opened(Score(name="s", snapshot=str(path)))
    with pytest.raises(SnapshotError, match="over 3 columns"):
        opened(Score(name="s", snapshot=str(path), features=["x", "y", "count"]))
    with pytest.raises(ConfigError, match=r"s.anomaly_window_records"):
        opened(Score(name="s", snapshot=str(path), features=["x", "y"], anomaly_window_records=5))
    assert opened(Score(name="s", snapshot=str(path), features=["y", "x"])).process(batches()[0])


@pytest.mark.parametrize(
    ("model", "wanted"),
    [
        (Mixture(components=2, family=Product(parts=(Part(Gaussian()),))), "1 for its parts"),
        (Mixture(components=2, family=Product(parts=(Part(Gaussian(), columns=3),))), "3 for its parts"),
        (LDS(observation=((1.0, 0.0), (0.0, 1.0), (1.0, 1.0))), "3, the rows of observation"),
    ],
)
def test_another_number_of_features_than_the_model_is_for_is_refused_before_anything_is_read(model, wanted):
    with pytest.raises(ConfigError, match=f"m.features: found 2 features; wanted {wanted}"):
        Learn(name="m", features=["x", "y"], model=model).open(two_clusters(10).schema, Columns())
