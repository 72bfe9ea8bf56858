from pathlib import Path

import pytest

from streamem.config import load
from streamem.config.settings import BOUNDS
from streamem.connect.kafka import KafkaSink, Workers
from streamem.em import FAMILIES, INERTIAS, MODELS, SCHEDULES, Gaussian, GrowingWindow, Mixture, Part
from streamem.errors import ConfigError
from streamem.stream.operators import OPERATORS, Learn

EXAMPLE = """\
name: roads
source:
  type: files
  paths: [a.csv]
batch: {max_records: 100}
operators:
  - type: learn
    name: regime
    features: [speed, occupancy]
    model: {type: mixture, components: 3, family: {type: gaussian, covariance: full}}
    schedule: {type: growing_window, half_life_records: 1000}
outputs:
  - what: posteriors
    sink: {type: files, path: out/posteriors.ndjson}
  - what: snapshots
    sink: {type: files, path: out/snapshots.ndjson}
checkpoint: {path: out/state}
errors: {policy: stop}
"""


@pytest.fixture
def loaded(tmp_path):
    path = tmp_path / "roads.yaml"

    def load_changed(*changes, settings=(), environment=None):
        text = EXAMPLE
        for old, new in changes:
            assert old in text
            text = text.replace(old, new)
        path.write_text(text)
        return load(str(path), settings, environment or {})

    return load_changed


@pytest.fixture
def refusal(loaded):
    def refuse(*changes, **options):
        with pytest.raises(ConfigError) as caught:
            loaded(*changes, **options)
        return str(caught.value)

    return refuse


def test_components_come_out_as_the_classes_that_are_declared(loaded):
    learn = loaded().operators[0]
    assert type(learn) is Learn
    assert learn.model == Mixture(components=3, family=Gaussian(covariance="full"))
    assert learn.schedule == GrowingWindow(half_life_records=1000.0)


def test_a_relative_path_stays_relative_to_the_working_directory(loaded):
    assert loaded().outputs[0].sink.path == "out/posteriors.ndjson"


def test_set_reaches_into_lists(loaded):
    learn = loaded(settings=["operators.0.model.components=4", "source.paths=[b.csv, c.csv]"]).operators[0]
    assert learn.model.components == 4


def test_a_variable_takes_the_type_that_its_setting_wants(loaded):
    changes = ("{max_records: 100}", "\n  max_records: ${N:-100}")
    assert loaded(changes, environment={"N": "7"}).batch.max_records == 7


MISTAKES = [
    ("components: 3", 'components: "3"', 'line 10: operators.0.model.components: found "3"; wanted a whole number'),
    ("components: 3", "components: true", "components: found true; wanted a whole number"),
    ("components: 3", "components: 3.0", "components: found 3.0; wanted a whole number"),
    ("components: 3", "components: 0", "components: found 0; wanted a number of at least 1"),
    ("components: 3", "component: 3", "the unknown key component; wanted one of components,"),
    ("components: 3", "component: 3", "(did you mean 'components'?)"),
    (
        "covariance: full",
        "covariance: ful",
        "one of full, diagonal, spherical, tied. To do: correct it (did you mean 'full'?)",
    ),
    ("type: growing_window", "type: growin_window", 'line 11: operators.0.schedule.type: found "growin_window"'),
    ("type: growing_window", "type: growin_window", "(did you mean 'growing_window'?)"),
    ("type: mixture, ", "", "operators.0.model.type: found no such key; wanted one of hmm, kalman, lds, mixture"),
    ("half_life_records: 1000", "half_life_records: -1", "wanted a number above 0"),
    ("half_life_records: 1000", "half_life_records: .nan", "half_life_records: found"),
    (
        "paths: [a.csv]",
        "path: [a.csv]",
        "line 2: source.paths: found no such key; wanted a list. To do: add paths:, or rename path",
    ),
    ("paths: [a.csv]", "paths: a.csv", 'line 4: source.paths: found "a.csv"; wanted a list'),
    ("  type: files\n  paths", "  type: filez\n  paths", "(did you mean 'files'?)"),
    ("name: roads\n", "nam: roads\n", "line 1: nam: found the unknown key nam"),
    ("max_records: 100", "max_records: 0", "line 5: batch.max_records: found 0; wanted a number of at least 1"),
    ("max_records: 100", "max_records: 9, limit: 5", "batch.limit: found the unknown key limit"),
    ("max_records: 100", "max_records: 9, every: [3]", "batch.every: found the unknown key every"),
    (
        "max_records: 100",
        "max_records: 9, max_wait_ms: 5",
        "line 5: batch.max_wait_ms: found a source that ends; wanted a live source",
    ),
    (
        "max_records: 100",
        "max_records: 9, whole_keys: true",
        "line 5: batch.whole_keys: found no key; wanted a key, and batches by count",
    ),
    ("features: [speed, occupancy]", "features: []", "operators.0.features: found a list of 0; wanted at least one"),
    ("features: [speed, occupancy]", "features: [speed, speed]", "found the column speed 2 times"),
    ("    features: [speed, occupancy]\n", "", "operators.0.features: found no such key; wanted a list"),
    ("schedule: {", "schedule: 3\n    other: {", "line 11: operators.0.schedule: found 3; wanted a mapping"),
    ("name: regime", "name: ''", "wanted text of at least 1 characters"),
    ("what: snapshots", "what: posteriors", "found the name posteriors twice"),
    ("what: snapshots", "what: snapshots\n    operator: regim", "(did you mean 'regime'?)"),
    ("what: snapshots", "what: snapshots\n    include: all", "found include of snapshots"),
    (
        "paths: [a.csv]",
        "paths: [a.csv, out/snapshots.ndjson]",
        "outputs.1.sink.path: found out/snapshots.ndjson, which is",
    ),
    ("out/snapshots", "out/posteriors", "outputs.1.sink: found the same place as outputs.0.sink"),
    (
        "{type: files, path: out/snapshots.ndjson}",
        "{type: console}\n  - {what: posteriors, name: b, sink: {type: console}}",
        "found the same place as outputs.1.sink",
    ),
    ("policy: stop", "policy: dead_letter", "line 18: errors: found policy dead_letter without a sink"),
    ("policy: stop", "policy: skip, sink: {type: console}", "found policy skip with a sink"),
    ("policy: stop", "policy: stop, max_errors: 3", "errors.max_errors: found 3; wanted nothing: policy: stop"),
    (
        "policy: stop",
        'policy: skip, max_errors: "3"',
        'errors.max_errors: found "3"; wanted a number. To do: remove the quotes',
    ),
    ("paths: [a.csv]", "paths: ['-']\n  format: csv", "checkpoint: found a checkpoint of standard input"),
]


@pytest.mark.parametrize(("old", "new", "said"), MISTAKES)
def test_a_mistake_is_told_with_its_place_what_was_wanted_and_the_nearest_name(refusal, old, new, said):
    message = refusal((old, new))
    assert said in message
    assert "; wanted " in message
    assert ". To do: " in message


def test_two_operators_of_one_name_are_refused(refusal):
    twice = "outputs:\n"
    again = "  - {type: where, name: regime, condition: speed > 0}\noutputs:\n"
    assert "operators.0: found the name regime twice" in refusal((twice, again))


def test_snapshots_need_a_learner(refusal):
    message = refusal(
        (EXAMPLE[EXAMPLE.index("  - type: learn") : EXAMPLE.index("outputs:")], "  - {type: where, condition: a > 0}\n")
    )
    assert "outputs.1: found no operator that learns" in message


def test_all_problems_are_told_in_the_order_of_the_file_but_no_more_than_five(refusal):
    message = refusal(("name: roads", "\n".join(f"k{i}: 1" for i in range(6))), ("components: 3", "components: x"))
    lines = message.splitlines()
    assert len(lines) == 6
    assert [f"line {i + 1}: k{i}" in line for i, line in enumerate(lines[:5])] == [True] * 5
    assert lines[5] == "... and 2 more."


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("components: 3", 'components: "${SECRET}"'),
        ("covariance: full", 'covariance: "${SECRET}"'),
        ("type: growing_window", 'type: "${SECRET}"'),
        ("paths: [a.csv]", "paths: ${SECRET}"),
        ("name: roads\n", 'name: ["${SECRET}"]\n'),
        ("what: snapshots", 'what: snapshots\n    operator: "${SECRET}"'),
        (
            "name: regime",
            "name: ${SECRET}\n    features: [a]\n    model: {type: mixture}\n  - type: learn\n    name: ${SECRET}",
        ),
        ("features: [speed, occupancy]", 'features: ["${SECRET}", "${SECRET}"]'),
    ],
)
def test_the_value_of_a_variable_is_never_shown(refusal, old, new):
    message = refusal((old, new), environment={"SECRET": "hunter2"})
    assert "hunter2" not in message
    assert "found" in message


def test_the_fingerprint_changes_with_what_decides_the_numbers(loaded):
    lasting = [
        ("a.csv", "b.csv"),
        ("max_records: 100", "max_records: 50"),
        ("components: 3", "components: 4"),
        ("covariance: full", "covariance: tied"),
        ("[speed, occupancy]", "[occupancy, speed]"),
        ("half_life_records: 1000", "half_life_records: 900"),
        ("name: regime", "name: regime\n    seed: 3"),
    ]
    same = loaded().fingerprint
    assert all(loaded(change).fingerprint != same for change in lasting)


def test_the_fingerprint_leaves_out_what_may_change_between_runs(loaded):
    free = [
        ("out/posteriors.ndjson", "out/p.ndjson"),
        ("out/state", "out/other"),
        ("policy: stop", "policy: skip, max_errors: 3"),
        ("name: roads", "name: streets\nprogress_seconds: 1"),
        ("name: regime", "name: regime\n    paused: true"),
        ("name: regime", "name: regime\n    until_records: 5000"),
    ]
    same = loaded().fingerprint
    assert [loaded(change).fingerprint == same for change in free] == [True] * len(free)


def test_a_default_that_is_written_out_is_the_same_fingerprint(loaded):
    assert loaded(("name: regime", "name: regime\n    seed: 0")).fingerprint == loaded().fingerprint


def test_bounds_speak_of_declared_components_only():
    declared = {*MODELS.values(), *FAMILIES.values(), *SCHEDULES.values(), *INERTIAS.values(), *OPERATORS.values()}
    assert BOUNDS
    assert set(BOUNDS) <= declared | {Part, KafkaSink, Workers}


def test_every_example_loads():
    examples = sorted((Path(__file__).parents[2] / "examples").glob("*.yaml"))
    assert [load(str(path)).name for path in examples] == [
        *("aircraft", "earthquakes", "faithful", "freeway", "freeway-live", "machine", "freeway-to-kafka")
    ]
