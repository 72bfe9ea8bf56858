"""What a user of the Python interface gets wrong, and what it says: the place, found, wanted, what to do."""

import json
import re
from dataclasses import replace

import numpy as np
import pytest

from streamem.em import (
    FAMILIES,
    HMM,
    INERTIAS,
    LDS,
    MODELS,
    SCHEDULES,
    Bernoulli,
    Categorical,
    Constant,
    Exponential,
    Gamma,
    Gaussian,
    Geometric,
    GrowingWindow,
    Kalman,
    LogNormal,
    Mixture,
    Multinomial,
    Observations,
    OnlineEM,
    Part,
    Poisson,
    Power,
    Product,
    SampledInertia,
    Snapshot,
    combine,
)
from streamem.em.kernels.support import uncounted
from streamem.em.start import least_rows
from streamem.errors import ConfigError, DataError, ModelError, SnapshotError
from tests import naive

X = np.random.default_rng(0).normal(size=(300, 2)) + np.repeat([[-4.0], [4.0]], 150, axis=0)
COUNTS = np.random.default_rng(1).poisson([[2.0, 9.0]] * 150 + [[20.0, 1.0]] * 150).astype(float)


def learner(model=None, values=X):
    one = OnlineEM(Mixture(components=2) if model is None else model, warmup_records=200, seed=1)
    one.update(Observations(values))
    return one


DECLARED = [(name, kind) for table in (MODELS, FAMILIES, SCHEDULES, INERTIAS) for name, kind in table.items()]


@pytest.mark.parametrize(("name", "kind"), [one for one in DECLARED if one[0] != "categorical"])
def test_no_setting_is_given_by_its_place(name, kind):
    assert DECLARED
    with pytest.raises(TypeError, match="positional argument"):
        kind(5)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: Mixture(components=0), "mixture: components: found 0; wanted a whole number of at least 1"),
        (lambda: Mixture(components=2.5), "mixture: components: found 2.5; wanted a whole number"),
        (lambda: Mixture(components="2"), "mixture: components: found '2'; wanted a whole number"),
        (lambda: Mixture(components=True), "mixture: components: found True; wanted a whole number"),
        (lambda: Mixture(prior_records=np.nan), "prior_records: found nan; wanted a finite number of at least 0"),
        (lambda: Mixture(type="hmm"), "Mixture: type: found 'hmm'; wanted 'mixture'"),
        (lambda: Mixture(family="poisson"), "mixture: family: found 'poisson'; wanted one of Gaussian(), "),
        (lambda: Mixture(family="poison"), "To do: write Poisson()"),
        (lambda: Mixture(family=Poisson), "found the class Poisson; wanted one of Gaussian(), "),
        (lambda: HMM(family=None), "hmm: family: found None; wanted one of Gaussian(), "),
        (lambda: HMM(states=0), "hmm: states: found 0"),
        (lambda: HMM(mask=np.ones((2, 3))), "hmm: mask: found rows of [3, 3] numbers; wanted 2 rows of 2"),
        (lambda: HMM(mask="full"), "hmm: mask: found 'full'; wanted a list, each a list of whole numbers"),
        (lambda: Kalman(dynamics="velocity"), "found 'velocity' (did you mean 'constant_velocity'?); wanted one of"),
        (lambda: Kalman(gate_sigma=0), "kalman: gate_sigma: found 0; wanted a finite number above 0, or None"),
        (lambda: LDS(state_size=2, learn="AC"), "lds: learn: found 'AC'; wanted a list, each one of 'A'"),
        (lambda: Gaussian(covariance="diag"), "found 'diag' (did you mean 'diagonal'?); wanted one of 'full'"),
        (lambda: LogNormal(covariance_floor=1.0), "log_normal: covariance_floor: found 1.0; wanted a finite number"),
        (lambda: GrowingWindow(half_life_records=-1), "half_life_records: found -1; wanted a finite number above 0"),
        (lambda: Power(exponent=0.4), "exponent: found 0.4; wanted a finite number of at least 0.5 and of at most 1"),
        (lambda: Constant(step_size="a"), "constant: step_size: found 'a'; wanted a finite number"),
        (lambda: SampledInertia(samples=0), "sampled: samples: found 0"),
        (lambda: Part(Gaussian(), columns=0), "Part: columns: found 0; wanted a whole number of at least 1"),
        (lambda: Part("poisson"), "product: part: family: found 'poisson'"),
        (lambda: Product(parts=[Gaussian()]), "product: part 0: found Gaussian("),
        (lambda: OnlineEM(Mixture(), warmup_records=-1), "OnlineEM: warmup_records: found -1; wanted a whole number"),
        (lambda: OnlineEM(Mixture(), seed=-1), "OnlineEM: seed: found -1"),
        (lambda: OnlineEM(Mixture(), schedule="power"), "OnlineEM: schedule: found 'power'; wanted one of Growing"),
        (lambda: OnlineEM(Mixture(), schedule=Power), "found the class Power; wanted one of GrowingWindow()"),
        (lambda: OnlineEM("mixture"), "OnlineEM: model: found 'mixture'; wanted one of Mixture()"),
        (lambda: OnlineEM(Gaussian()), "OnlineEM: model: found a Gaussian; wanted one of Mixture()"),
        (lambda: OnlineEM(Mixture(), inertia="sampled"), "OnlineEM: inertia: found 'sampled'; wanted one of Exact"),
    ],
)
def test_a_setting_that_cannot_be_is_told_with_what_can(make, said):
    with pytest.raises(ConfigError, match=re.escape(said)) as caught:
        make()
    assert ". To do: " in str(caught.value)


def test_arrays_and_numbers_of_numpy_are_settings_too():
    assert HMM(mask=np.ones((2, 2))) == HMM(mask=((1, 1), (1, 1))) == HMM(mask=[[True, True], [True, True]])
    assert LDS(transition=np.eye(2)) == LDS(transition=((1.0, 0.0), (0.0, 1.0)))
    model = Mixture(components=np.int64(2), prior_records=np.float32(0.5))
    assert model == Mixture(components=2, prior_records=0.5)
    assert Snapshot.from_json(json.loads(json.dumps(learner(model).snapshot.to_json()))).model == model


def test_a_snapshot_of_settings_that_cannot_be_is_no_snapshot():
    record = learner().snapshot.to_json()
    with pytest.raises(SnapshotError, match="snapshot: mixture: components: found 0"):
        Snapshot.from_json(record | {"model": record["model"] | {"components": 0}})


def test_a_start_is_a_snapshot_of_the_model():
    two = learner().snapshot
    with pytest.raises(ConfigError, match=r"OnlineEM: start: .*found 2 numbers .*; wanted 3 shares"):
        OnlineEM(Mixture(components=3), start=two)
    with pytest.raises(ConfigError, match="OnlineEM: start: "):
        OnlineEM(HMM(states=2), start=two)
    with pytest.raises(ConfigError, match="found a MixtureParameters; wanted a Snapshot"):
        OnlineEM(Mixture(components=2), start=two.parameters)
    assert OnlineEM(Mixture(components=2), start=two).snapshot is two


def test_combine_takes_a_list_of_snapshots():
    one = learner().snapshot
    with pytest.raises(ConfigError, match=r"write combine\(\[a, b\]\)"):
        combine(one, one)
    with pytest.raises(ConfigError, match="combine: snapshot 2: found None; wanted a Snapshot"):
        combine([one, OnlineEM(Mixture(components=2)).snapshot])


def test_what_differs_between_models_is_named_and_only_that():
    one = learner().snapshot
    red = replace(one, model=Mixture(components=2, family=Categorical(categories=("red", "blue"))))
    blue = replace(one, model=Mixture(components=2, family=Categorical(categories=("blue", "red"))))
    with pytest.raises(SnapshotError, match=r"found family.categories: .*same order: name `categories`") as caught:
        combine([red, blue])
    assert "components" not in str(caught.value)
    with pytest.raises(SnapshotError, match="snapshot 2: found columns: 1; wanted 2, as the first one"):
        combine([one, learner(values=X[:, :1]).snapshot])
    track = learner(Kalman()).snapshot
    gated = replace(track, model=Kalman(gate_sigma=4.0, horizon_seconds=3.0))
    assert combine([track, gated]).model == track.model


@pytest.mark.parametrize("family", [kind() for name, kind in FAMILIES.items() if name != "product"])
def test_what_a_value_must_be_says_once_whether_it_may_be_missing(family):
    may = not family.wrong(np.array([[np.nan, 1.0]]))[0, 0]
    assert family.support.count("missing") == 1
    assert ("or a missing value" in family.support) is may


def test_a_snapshot_as_text_is_not_one_yet():
    with pytest.raises(SnapshotError, match="snapshot: found text; wanted a mapping"):
        Snapshot.from_json("{")


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"values": X[:, 0]}, r"values: found the shape (300,); wanted (rows, columns)"),
        ({"values": X[None]}, r"values: found the shape (1, 300, 2)"),
        ({"values": X[:, :0]}, r"values: found the shape (300, 0)"),
        ({"values": np.array([["a"], ["b"]])}, "values: found text; wanted numbers"),
        ({"values": [["1.5"], ["2"]]}, "values: found text"),
        ({"values": np.array([["1", None]], object)}, "values: found text"),
        ({"values": np.array([[{}]], object)}, "values: found an array of object"),
        ({"values": [[1.0], [1.0, 2.0]]}, "values: found a list that is no array"),
        ({"values": X + 1j}, "values: found an array of complex128"),
        ({"values": None}, "values: found the shape ()"),
        ({"weight": np.ones(299)}, "weight: found the shape (299,); wanted (300,)"),
        ({"weight": 2.0}, "weight: found the shape ()"),
        ({"weight": np.where(np.arange(300) == 7, -1.0, 1.0)}, "weight[7]: found -1; wanted a finite number of at"),
        ({"weight": np.full(300, np.nan)}, "weight[0]: found nan"),
        ({"weight": np.full(300, np.inf)}, "weight[0]: found inf"),
        ({"exposure": np.zeros(300)}, "exposure[0]: found 0; wanted a finite number above 0"),
        ({"exposure": np.full(300, np.nan)}, "exposure[0]: found nan"),
        ({"time": np.arange(10.0)}, "time: found the shape (10,); wanted (300,)"),
        ({"time": np.full(300, np.inf)}, "time[0]: found inf; wanted a finite number of seconds"),
        ({"time": np.full(300, "2024-01-01", "M8[s]")}, "time: found an array of datetime64[s]; wanted numbers"),
        ({"sequence": ["a"] * 300}, "sequence: found text; wanted numbers. To do: number the sequences from 0 on"),
        ({"sequence": np.full(300, -1)}, "sequence[0]: found -1; wanted a whole number of at least 0"),
        ({"sequence": np.full(300, 0.5)}, "sequence[0]: found 0.5"),
    ],
)
def test_observations_that_cannot_be_are_refused_when_they_are_made(given, said):
    with pytest.raises(DataError, match=re.escape(said)):
        Observations(**{"values": X} | given)


def test_whatever_becomes_numbers_is_observations():
    rows = Observations([[1, None], [2, 3]], weight=[1, 2], sequence=[0, 0], time=range(2))
    np.testing.assert_array_equal(rows.values, [[1.0, np.nan], [2.0, 3.0]])
    assert [one.dtype for one in (rows.values, rows.weight, rows.time)] == [np.float64] * 3
    assert rows.sequence.dtype == np.intp
    np.testing.assert_array_equal(Observations(np.ma.masked_equal([[1, 2]], 2)).values, [[1.0, np.nan]])
    assert Observations(X.T.copy().T).values.flags.c_contiguous
    assert Observations(X).values is X
    with pytest.raises(DataError, match=r"found row 3; wanted rows. To do: write \[3 : 4\]"):
        Observations(X)[3]


def test_parts_and_joins_of_rows_are_not_checked_again_and_keep_what_is_known():
    known = Observations(X, np.ones(300), checked=True)
    assert known[:5].checked
    assert known.with_values(X[:, :1]).checked
    assert Observations.concatenate([known, known[:5]]).checked
    assert not Observations.concatenate([known, Observations(X)]).checked
    assert not Observations(X)[:5].checked
    np.testing.assert_array_equal(known[2:4].weight, [1.0, 1.0])
    assert known[2:4].time is None


@pytest.mark.parametrize("ask", ["update", "posterior", "follow", "snapshot"])
def test_rows_that_cannot_be_the_models_are_refused_and_the_learner_is_as_it_was(ask):
    one = learner(Mixture(components=2, family=Poisson()), COUNTS)
    before, asked = one.snapshot, one.snapshot.posterior if ask == "snapshot" else getattr(one, ask)
    bad = COUNTS[:10].copy()
    bad[4, 1] = -5.0
    for rows, said in (
        (COUNTS[:, :1], "rows: found a plain ndarray; wanted Observations. To do: wrap it: Observations(X)"),
        (Observations(COUNTS[:, :1]), "values: found 1 column; wanted 2"),
        (Observations(np.ones((2, 3))), "values: found 3 columns; wanted 2"),
        (Observations(bad), "values[4, 1]: found -5; wanted a whole number of at least 0"),
    ):
        with pytest.raises(DataError, match=re.escape(said)):
            asked(rows)
    assert one.snapshot is before


def test_another_number_of_columns_is_seen_while_the_warm_up_gathers_rows():
    one = OnlineEM(Mixture(components=2))
    assert one.update(Observations(X)) == []
    with pytest.raises(DataError, match="found 1 column; wanted 2"):
        one.update(Observations(X[:, :1]))
    assert len(one.held) == 1
    assert one.snapshot is None


def test_an_exposure_that_means_nothing_is_refused():
    with pytest.raises(DataError, match="exposure: found one for mixture; wanted none"):
        learner().update(Observations(X, exposure=np.ones(300)))


@pytest.mark.parametrize(
    ("family", "bad"),
    [
        (Gaussian(), [np.inf, -np.inf]),
        (LogNormal(), [0.0, -1.0, np.inf]),
        (Poisson(), [-5.0, 0.5, np.inf, -np.inf]),
        (Geometric(), [-5.0, 0.5, np.inf]),
        (Bernoulli(), [2.0, 0.5, -1.0, np.inf]),
        (Exponential(), [-0.5, np.inf]),
        (Gamma(), [0.0, -1.0, np.inf]),
        (Multinomial(), [-1.0, 0.5, np.nan, np.inf]),
    ],
)
def test_every_impossible_value_is_found_by_its_row_and_column(family, bad):
    model = Mixture(components=2, family=family)
    for value in bad:
        values = np.ones((4, 2))
        values[2, 1] = value
        with pytest.raises(DataError, match=re.escape(f"values[2, 1]: found {value:g}; wanted ")):
            OnlineEM(model).update(Observations(values))
        # whoever says that rows are checked is believed
        assert OnlineEM(model).update(Observations(values, checked=True)) == []


def test_what_is_no_count_is_counted_as_its_twin_counts():
    values = np.array([[0.0, -0.0, 7.0, 2.0**60], [0.5, -1.0, np.inf, -np.inf], [np.nan, 1e300, 1e-300, -2.5]])
    most = np.finfo(float).max
    assert uncounted(values, most) == naive.uncounted(values, most) == 6
    assert uncounted(values, 1.0) == naive.uncounted(values, 1.0) == 9
    assert uncounted(values[::2, 1:3], most) == naive.uncounted(values[::2, 1:3], most) == 1


@pytest.mark.parametrize(
    ("family", "least"),
    [
        (Gaussian(), 9),
        (LogNormal(), 9),
        (Gaussian(covariance="tied"), 5),
        (Gaussian(covariance="diagonal"), 6),
        (Gamma(), 6),
        (Poisson(), 3),
        (Product(parts=(Part(Gaussian()), Part(Poisson()))), 6),
    ],
)
def test_a_start_needs_as_many_rows_as_give_every_component_a_width(family, least):
    assert least_rows(family, 3, 2) == least
    model, values = Mixture(components=3, family=family), COUNTS[::23][: least - 1] + 1.0
    if least > 3:
        with pytest.raises(
            ModelError, match=f"the start: found {least - 1} warm-up records; wanted at least {least}: "
        ):
            OnlineEM(model, warmup_records=least - 1).update(Observations(values))
        held_up = OnlineEM(replace(model, prior_records=3.0), warmup_records=least - 1)
        assert len(held_up.update(Observations(values))) == 1


def test_two_rows_are_no_start_of_two_gaussians_nor_of_two_states():
    for model in (Mixture(components=2), HMM(states=2)):
        one = OnlineEM(model, warmup_records=2)
        with pytest.raises(ModelError, match=r"found 2 warm-up records; wanted at least 6: .* warmup_records of 60"):
            one.update(Observations(np.array([[0.0, 1.0], [5.0, 3.0]])))
        assert one.snapshot is None
        assert not one.holding
