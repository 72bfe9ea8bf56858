"""Text among the features: where names come from, what becomes of unknown ones, and that they stay over restarts."""

from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from streamem.em import HMM, Bernoulli, Categorical, Mixture, Observations, OnlineEM, Part, Poisson, Product
from streamem.em.families import categorical
from streamem.errors import ConfigError, ModelError
from streamem.stream.batch import ROW
from streamem.stream.protocol import Columns
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
    first_seen,
    numbered,
    opened,
    through,
    told,
    with_cell,
)
from tests.stream.fakes import batch_of


def test_names_are_those_of_the_warm_up_row_by_row_and_join_the_model():
    step = opened(LEARN)
    out = through(step, batches())
    rows = FRAME[:150].select("colour", "valve").rows()
    names = first_seen(text for row in rows for text in row)
    assert step.snapshot.model.family.categories == names
    assert len(names) == 5
    learner = OnlineEM(named := replace(LEARNED, family=Categorical(categories=names)), warmup_records=150)
    values = numbered(names, "colour", "valve")
    expected = [p for at in range(0, COUNT, 100) for p in learner.update(Observations(values[at : at + 100]))]
    assert step.snapshot.model == named
    assert len(out) == len(expected) == 6
    for batch, posterior in zip(out, expected, strict=True):
        assert np.array_equal(batch.frame["r.log_likelihood"].to_numpy(), posterior.log_likelihood)


def test_a_name_behind_the_warm_up_in_the_batch_that_ends_it_is_unknown():
    step = opened(COLOUR)
    out = through(step, batches(frame=with_cell(150, "purple")))
    [fallen] = out[1].rejected
    assert fallen.record.where == {"record": 50}
    assert "purple" not in step.snapshot.model.family.categories
    step = opened(COLOUR)
    through(step, batches(frame=with_cell(149, "purple")))
    assert step.snapshot.model.family.categories[-1] == "purple"
    assert step.snapshot.records_seen == COUNT


def test_a_bad_record_neither_joins_the_warm_up_nor_names_a_category():
    frame = with_cell(20, "purple").with_columns(w=pl.when(pl.int_range(pl.len()) == 20).then(-1.0).otherwise(1.0))
    step = opened(replace(COLOUR, weight="w"), frame)
    out = through(step, batches(frame=with_cell(150, "violet", frame=frame)))
    assert [len(batch.rejected) for batch in out] == [1, 0, 0, 0, 0, 0]
    assert step.snapshot.model.family.categories == ("red", "green", "blue", "violet")


def test_sequences_that_must_not_be_cut_name_their_categories_to_the_end_of_the_micro_batch():
    model = HMM(states=2, family=Categorical(), sequences="complete")
    alone, together = (opened(replace(COLOUR, model=model)) for _ in range(2))
    frame = with_cell(250, "violet", frame=with_cell(199, "purple"))
    out = through(alone, batches(frame=frame))
    assert alone.snapshot.model.family.categories[-1] == "purple"
    assert [len(batch.rejected) for batch in out] == [0, 0, 1, 0, 0, 0]
    through(together, [replace(batch_of(frame.to_dict()), size=100)])
    assert together.snapshot.to_json() == alone.snapshot.to_json()


def test_the_names_of_the_family_are_taken_where_it_has_them():
    step = opened(replace(COLOUR, model=NAMED))
    through(step, batches())
    numbers = numbered(["blue", "green", "red"], "colour").ravel()
    by_number = opened(replace(COLOUR, model=NAMED), FRAME.with_columns(colour=pl.Series(numbers)))
    through(by_number, batches(frame=FRAME.with_columns(colour=pl.Series(numbers))))
    assert step.snapshot.to_json() == by_number.snapshot.to_json()
    assert step.snapshot.model == NAMED


def test_numbers_are_categories_as_before():
    frame = FRAME.with_columns(colour=pl.Series(LABEL + 1))
    step = opened(COLOUR, frame)
    through(step, batches(frame=frame))
    assert step.snapshot.model == LEARNED
    assert step.snapshot.parameters.components.categories == 3


def test_numbers_are_refused_where_the_names_are_numbers_that_are_no_positions():
    family = Categorical(categories=("10", "20", "30"))
    frame = FRAME.with_columns(colour=pl.Series(10 * LABEL + 10))
    with pytest.raises(ConfigError) as caught:
        opened(replace(COLOUR, model=Mixture(components=2, family=family)), frame)
    assert "found 'colour', which is numbers, and categories named 10, 20, 30" in str(caught.value)
    assert "To do: declare it with source.schema: {colour: string}" in str(caught.value)


@pytest.mark.parametrize("kind", [pl.Categorical(), pl.Enum(["red", "green", "blue"])])
def test_text_that_parquet_keeps_as_a_dictionary_is_text(kind):
    frame = FRAME.with_columns(pl.col("colour").cast(kind))
    step, plain = opened(COLOUR, frame), opened(COLOUR)
    cuts = [replace(batch, frame=batch.frame.with_columns(pl.col("colour").cast(kind))) for batch in batches()]
    through(step, cuts)
    through(plain, batches())
    assert step.snapshot.to_json() == plain.snapshot.to_json()


@pytest.mark.parametrize("model", [LEARNED, NAMED])
def test_a_text_never_seen_is_a_bad_record_that_says_what_is_known_and_what_to_do(model):
    step = opened(replace(COLOUR, model=model))
    out = through(step, batches(frame=with_cell(250, "purple")))
    [fallen] = out[2].rejected
    known = ", ".join(step.snapshot.model.family.categories)
    assert known.count(",") == 2
    assert fallen.message == (
        f"r: colour: found 'purple'; wanted one of {known}, or a missing value. "
        "To do: set other: true, or name it in categories, or drop the record by where."
    )
    assert fallen.record.where == {"record": 50}
    assert step.snapshot.records_seen == COUNT - 1


def test_a_long_text_is_cut_in_the_message():
    step = opened(COLOUR)
    through(step, batches()[:2])
    [out] = step.process(batches(frame=with_cell(250, "long " * 1000))[2])
    assert "long long" in out.rejected[0].message
    assert len(out.rejected[0].message) < 300


def test_the_other_slot_takes_every_text_never_seen():
    model = replace(LEARNED, family=Categorical(other=True))
    step = opened(replace(COLOUR, model=model))
    out = through(step, batches(frame=with_cell(260, "violet", frame=with_cell(250, "purple"))))
    assert sum(len(batch.rejected) for batch in out) == 0
    assert step.snapshot.records_seen == COUNT
    names = step.snapshot.model.family.categories
    assert step.snapshot.parameters.components.categories == len(names) + 1 == 4
    lone = opened(replace(COLOUR, model=model))
    through(lone, batches())
    mine, without = (one.snapshot.averaged.components.probability[:, 0, 3].max() for one in (step, lone))
    assert mine > 1e6 * without


def test_a_missing_text_is_a_missing_value():
    frame = with_cell(0, None, frame=with_cell(250, None))
    step = opened(COLOUR)
    out = through(step, batches(frame=frame))
    names = first_seen(frame["colour"][:150])
    learner = OnlineEM(replace(LEARNED, family=Categorical(categories=names)), warmup_records=150)
    values = numbered(names, "colour", frame=frame)
    expected = [p for at in range(0, COUNT, 100) for p in learner.update(Observations(values[at : at + 100]))]
    assert np.isnan(values).sum() == 2
    assert out[2].frame["r.log_likelihood"][50] == expected[2].log_likelihood[50] == pytest.approx(0.0, abs=1e-12)


def test_a_product_has_numbers_beside_text():
    learn = replace(LEARN, features=["x", "colour"], model=Mixture(components=2, family=MIXED))
    step = opened(learn)
    out = through(step, batches())
    assert step.snapshot.model.family.parts[0] == MIXED.parts[0]
    assert step.snapshot.model.family.parts[1].family.categories == first_seen(FRAME["colour"][:150])
    assert learn.numbers == {"x"}
    component = told(out)["r.component"].to_numpy()
    right = (component == LABEL).mean()
    assert max(right, 1.0 - right) > 0.97
    [fallen] = step.process(batches(frame=with_cell(0, "purple"))[0])[0].rejected
    assert fallen.message.startswith("r: colour: found 'purple'; wanted one of ")
    [fallen] = step.process(batches(frame=with_cell(0, float("inf"), "x"))[0])[0].rejected
    assert fallen.message.startswith("r: x: found inf; wanted ")


def test_each_part_of_a_product_learns_its_own_names():
    model = Mixture(components=2, family=Product(parts=(Part(Categorical()), Part(Categorical(other=True)))))
    step = opened(replace(LEARN, model=model))
    through(step, batches())
    first, second = (part.family.categories for part in step.snapshot.model.family.parts)
    assert (first, second) == (first_seen(FRAME["colour"][:150]), first_seen(FRAME["valve"][:150]))


def test_true_and_false_are_one_and_zero_for_bernoulli():
    learn = replace(LEARN, features=["alarm"], model=Mixture(components=2, family=Bernoulli()))
    numbers = FRAME.with_columns(pl.col("alarm").cast(pl.Float64))
    ours, theirs = opened(learn), opened(learn, numbers)
    through(ours, batches())
    through(theirs, batches(frame=numbers))
    assert ours.snapshot.to_json() == theirs.snapshot.to_json()


def test_a_chain_over_text_finds_its_states_along_every_key():
    learn = replace(COLOUR, model=HMM(states=2, family=Categorical()))
    columns = Columns(key="device")
    whole = opened(learn, columns=columns)
    expected = through(whole, batches())
    right = (told(expected)["r.state"].to_numpy() == LABEL).mean()
    assert max(right, 1.0 - right) > 0.85
    first, second = (opened(learn, columns=columns) for _ in range(2))
    through(first, batches()[:3])
    second.restore(first.state())
    again = through(second, batches()[3:])
    assert told(again).equals(told(expected[3:]))
    assert second.snapshot.to_json() == whole.snapshot.to_json()


def test_a_warm_up_by_default_is_as_long_as_before_the_names_were_known():
    model = replace(LEARNED, components=2)
    step = opened(replace(COLOUR, warmup_records=None, model=model))
    frame = pl.concat([FRAME] * 3).with_columns(colour=(pl.int_range(pl.len()) % 300).cast(pl.String))
    out = told(through(step, batches(frame=frame)))
    wanted = OnlineEM(model).warmup(1)
    assert out["r.warmup"].sum() == wanted
    assert wanted < OnlineEM(step.snapshot.model).warmup(1)


@pytest.mark.parametrize("warmup", [150, 200, 1])
def test_micro_batches_together_or_alone_give_the_same(warmup):
    frame = with_cell(330, None, frame=with_cell(340, "violet", frame=with_cell(155, "purple")))
    frame = frame.with_columns(x=pl.when(pl.int_range(pl.len()) % 37 == 5).then(float("inf")).otherwise("x"))
    learn = replace(LEARN, features=["x", "colour"], model=Mixture(components=2, family=MIXED), warmup_records=warmup)
    if warmup == 1:
        with pytest.raises(ModelError, match="feature x: found"):
            opened(learn).process(replace(batch_of(frame.to_dict()), size=50))
        return
    alone, together, pairs = (opened(learn) for _ in range(3))
    out = through(alone, batches(50, frame))
    expected = told(out)
    [found] = together.process(replace(batch_of(frame.to_dict()), size=50))
    two = through(pairs, [replace(batch, number=2 * n, size=50) for n, batch in enumerate(batches(100, frame))])
    assert found.frame.drop(ROW, "r.batch").equals(expected)
    assert told(two).equals(expected)
    assert alone.snapshot.to_json() == together.snapshot.to_json() == pairs.snapshot.to_json()
    messages = [fallen.message for batch in out for fallen in batch.rejected]
    assert sorted(messages) == sorted(fallen.message for fallen in found.rejected)
    assert sum("'purple'" in message for message in messages) == (warmup == 150)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (
            {"model": Mixture()},
            r"r.features: found 'colour' of type String; wanted numbers: text is for the family cat",
        ),
        ({"model": Mixture(family=Poisson())}, r"To do: take family categorical for it, leave it out, or make a numb"),
        ({"model": Mixture(family=MIXED)}, r"found 'colour' of type String; wanted numbers"),
        ({"features": ["alarm"]}, r"found 'alarm' of type Boolean; wanted numbers: true and false is for .* bernoulli"),
        ({"features": ["x", "colour"]}, r"found 'colour', which is text, beside 'x', which is numbers; .* a product"),
        ({"features": ["colour"], "weight": "valve"}, "r.weight: found 'valve' of type String; wanted numbers"),
    ],
)
def test_text_where_it_means_nothing_is_refused_before_the_start(settings, words):
    with pytest.raises(ConfigError, match=words):
        opened(replace(LEARN, **settings))


def test_a_column_that_is_always_the_same_text_is_named_with_it():
    step = opened(COLOUR, frame := FRAME.with_columns(colour=pl.lit("red")))
    with pytest.raises(ModelError, match=r"r, batch 1: feature colour: found 'red' in all 150 warm-up records"):
        through(step, batches(frame=frame))


def test_more_texts_than_categories_can_be_meant_are_refused(monkeypatch):
    monkeypatch.setattr("streamem.stream.operators.categories.MOST", 20)
    frame = FRAME.with_columns(colour=pl.int_range(pl.len()).cast(pl.String))
    with pytest.raises(ModelError, match=r"r: feature colour: found 150 different texts; wanted at most 20 categories"):
        through(opened(COLOUR, frame), batches(frame=frame))
    assert categorical.MOST == 10_000
