import json
import re

import numpy as np
import pytest

from streamem.em import Snapshot

SNAPSHOTS = "out/freeway/snapshots.ndjson"


@pytest.fixture(autouse=True)
def there(learned, monkeypatch):
    monkeypatch.chdir(learned)


@pytest.fixture
def last(learned):
    return json.loads((learned / SNAPSHOTS).read_text().splitlines()[-1])


def test_show_prints_shares_means_and_deviations_of_every_component(streamem, last):
    result = streamem("show", SNAPSHOTS)
    assert result.code == 0
    assert "freeway / regime: mixture of 3 x gaussian, at 2015-09-17" in result.out
    assert "2,380 records" in result.out
    assert "3 of 3 components in use" in result.out
    for one in Snapshot.from_json(last).summary()["components"]:
        row = next(line for line in result.out.splitlines() if line.split()[:1] == [str(one["component"])])
        assert f"{one['share']:.1%}".rstrip("%") in row
        for mean, deviation in zip(one["mean"], one["sd"], strict=True):
            assert f"{mean:.4g} ± {deviation:.3g}" in row


def test_show_reads_json_and_checkpoints_like_snapshot_files(streamem, last, tmp_path):
    path = tmp_path / "one.json"
    path.write_text(json.dumps(last, indent=1))
    table = streamem("show", SNAPSHOTS).out
    assert streamem("show", path).out == table
    of_checkpoint = streamem("show", "out/freeway/state").out
    assert of_checkpoint.splitlines()[1:] == table.splitlines()[1:]


def test_show_tells_what_became_of_the_certificate(streamem, last, tmp_path):
    path = tmp_path / "certified.json"
    path.write_text(json.dumps(last | {"certificate": {"slack": 0.04, "updates": 1500, "violations": 2}}))
    assert "2 of 1,500 updates break the certificate, last slack 0.04 nats per record" in streamem("show", path).out
    assert "certificate" not in streamem("show", SNAPSHOTS).out


def test_a_table_that_is_too_broad_has_a_row_for_each_feature(streamem, last, tmp_path):
    rng = np.random.default_rng(0)
    parameters = {
        "weights": [0.5, 0.5],
        "components": {
            "mean": rng.normal(size=(2, 9)).tolist(),
            "covariance": np.ones((2, 9)).tolist(),
            "scale": [1.0] * 9,
        },
    }
    model = {"type": "mixture", "components": 2, "family": {"type": "gaussian", "covariance": "diagonal"}}
    wide = {**last, "model": {**last["model"], **model}, "parameters": parameters, "averaged": parameters}
    path = tmp_path / "wide.json"
    path.write_text(json.dumps({**wide, "features": [f"sensor_{i}" for i in range(9)]}))
    result = streamem("show", path)
    assert result.code == 0, result.err
    rows = [line.split() for line in result.out.splitlines() if "sensor_" in line]
    assert len(rows) == 18
    assert rows[0][:4] == ["0", "50.0", "%", "sensor_0"]
    assert rows[1][0] == "sensor_1"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "no such file"),
        ("", "an empty file"),
        ('{"format": "streamem.snapshot/9"}', "streamem.snapshot/9"),
        ("{]", "no JSON"),
    ],
)
def test_what_is_no_snapshot_exits_2(streamem, tmp_path, content, said):
    path = tmp_path / "x.json"
    if content is not None:
        path.write_text(content)
    result = streamem("show", path)
    assert result.code == 2
    assert said in result.err


def test_show_names_the_learners_when_another_is_asked_for(streamem):
    for path in (SNAPSHOTS, "out/freeway/state"):
        result = streamem("show", path, "--operator", "regim")
        assert result.code == 2
        assert "did you mean 'regime'?" in result.err


def test_a_folder_without_a_checkpoint_exits_2(streamem, tmp_path):
    result = streamem("show", tmp_path)
    assert result.code == 2
    assert "a folder without a checkpoint" in result.err


def test_score_prints_records_and_mean_log_likelihood(streamem, last):
    result = streamem("score", SNAPSHOTS, "examples/data/traffic_6005.csv")
    assert result.code == 0, result.err
    records, mean = re.fullmatch(r"(\d+) records, mean log-likelihood (\S+) nats per record\n", result.out).groups()
    assert records == "2380"
    assert len(mean.partition(".")[2]) >= 4
    assert float(mean) >= -6.08


def test_score_writes_a_posterior_for_every_record(streamem, tmp_path):
    path = tmp_path / "scored.ndjson"
    result = streamem("score", SNAPSHOTS, "examples/data/traffic_6005.csv", "-o", path)
    assert result.code == 0, result.err
    records = [json.loads(line) for line in path.read_text().splitlines()]
    assert len(records) == 2380
    mean = np.mean([record["regime.log_likelihood"] for record in records])
    assert f"{mean:.6f}" in result.out


def test_score_refuses_data_without_the_features(streamem):
    result = streamem("score", SNAPSHOTS, "examples/data/faithful.csv")
    assert result.code == 2
    assert "speed_mph" in result.err


def test_combining_copies_of_a_model_gives_the_model(streamem, last, tmp_path):
    path = tmp_path / "both.json"
    result = streamem("combine", SNAPSHOTS, SNAPSHOTS, "--weights", "1,2", "-o", path)
    assert (result.code, result.out) == (0, "")
    record = json.loads(path.read_text())
    assert record["features"] == last["features"]
    assert record["records_seen"] == 2 * last["records_seen"]
    combined, one = Snapshot.from_json(record), Snapshot.from_json(last)
    np.testing.assert_allclose(combined.averaged.components.mean, one.averaged.components.mean, rtol=1e-12)
    table = streamem("show", path)
    assert table.code == 0
    for part in ("updates", "step size", "last batch"):
        assert part not in table.out


def test_combine_writes_to_standard_output(streamem):
    result = streamem("combine", SNAPSHOTS, "-o", "-")
    assert json.loads(result.out)["format"] == "streamem.snapshot/1"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--weights", "1,x"), "--weights: found 1,x"),
        (("--weights", "1"), "combine: weights"),
        (("--weights", "0,0"), "combine: weights"),
    ],
)
def test_weights_that_do_not_fit_exit_2(streamem, tmp_path, arguments, said):
    path = tmp_path / "c.json"
    result = streamem("combine", SNAPSHOTS, SNAPSHOTS, *arguments, "-o", path)
    assert result.code == 2
    assert said in result.err
    assert not path.exists()


def test_combine_refuses_models_of_other_columns(streamem, last, tmp_path):
    path = tmp_path / "other.json"
    path.write_text(json.dumps({**last, "features": ["a", "b"]}))
    result = streamem("combine", SNAPSHOTS, path, "-o", tmp_path / "c.json")
    assert result.code == 2
    assert "found the features a, b; wanted those of" in result.err


def test_an_output_that_cannot_be_written_exits_1_and_leaves_nothing(streamem, tmp_path):
    result = streamem("combine", SNAPSHOTS, "-o", tmp_path / "none" / "c.json")
    assert result.code == 1
    assert "wanted a file that can be written" in result.err
    assert list(tmp_path.iterdir()) == []
