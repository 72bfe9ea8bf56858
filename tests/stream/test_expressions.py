"""SQL expressions: what is taken gives each row its value from that row alone, everything else is refused."""

from datetime import datetime

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_series_equal

from streamem.errors import ConfigError
from streamem.stream.operators.expressions import failing_rows, row_wise

SCHEMA = pl.Schema(
    {
        "a": pl.Float64,
        "i": pl.Int64,
        "b": pl.String,
        "t": pl.Datetime("us"),
        "l": pl.List(pl.Int64),
        "order by": pl.Int64,
    }
)

ROW_WISE = [
    "a + 1",
    "-a * i / 2 - a % 3",
    "a // 2",
    "i & 3",
    "cast(i as double) / 3",
    "try_cast(b as int)",
    "case when a > 1 then 'high' when a < 0 then 'low' end",
    "coalesce(a, 0)",
    "nullif(i, 1)",
    "greatest(a, 1, i)",
    "a is null or i in (1, 2)",
    "a between -1 and 1",
    "ln(abs(a) + 1) + sqrt(abs(a)) + exp(-a * a) + power(a, 2) + round(a, 2) + sign(a) + floor(a)",
    "sin(a) + cosd(a) + atan2(a, 2) + degrees(a)",
    "upper(b) || 'x'",
    "b like 'a%' and not b ilike '%Z'",
    "left(b, 1)",
    "length(b)",
    "date_part('hour', t)",
    "extract(epoch from t)",
    "t + interval '1 hour'",
    "strftime(t, '%Y')",
    "l[1]",
    "array_sum(l)",
    '"order by" + 1',
    "'now()'",
    "date '2026-01-01'",
    "b = 'current_date'",
]

NOT_ROW_WISE = [
    "sum(a)",
    "a - avg(a)",
    "count(*)",
    "max(a)",
    "median(a)",
    "stddev(a)",
    "quantile_cont(a, 0.5)",
    "corr(a, i)",
    "first(a)",
    "count(distinct b)",
    "string_agg(b, ',')",
    "array_agg(a)",
    "row_number() over ()",
    "row_number() over (order by a)",
    "rank() over (order by a)",
    "sum(a) over (partition by b)",
    "lag(a) over (order by t)",
    "first_value(a) over (order by t)",
    "unnest(l)",
    "columns('a')",
    "exists(select 1)",
    "case when a > avg(a) then 1 else 0 end",
    "cast(sum(a) as int)",
    "coalesce(a, max(a))",
]

floats = st.one_of(st.none(), st.floats(-1e6, 1e6, allow_nan=False))
rows = st.lists(
    st.tuples(
        floats,
        st.one_of(st.none(), st.integers(-1000, 1000)),
        st.one_of(st.none(), st.text("aAzZ1 ", max_size=4)),
        st.one_of(st.none(), st.datetimes(min_value=datetime(1990, 1, 1))),
        st.one_of(st.none(), st.lists(st.integers(-9, 9), min_size=2, max_size=3)),
        st.integers(-5, 5),
    ),
    min_size=2,
    max_size=8,
)


@pytest.mark.parametrize("sql", ROW_WISE)
def test_a_row_wise_expression_is_taken(sql):
    row_wise(sql, SCHEMA, "here")


@settings(max_examples=25, deadline=None)
@given(rows=rows)
def test_what_is_taken_gives_the_same_value_whatever_other_rows_are_there(rows):
    frame = pl.DataFrame(rows, schema=SCHEMA, orient="row")
    for sql in ROW_WISE:
        expression, dtype = row_wise(sql, SCHEMA, "here")
        whole = frame.with_columns(x=expression)["x"]
        alone = pl.concat([frame[row : row + 1].with_columns(x=expression) for row in range(frame.height)])["x"]
        assert whole.dtype == dtype
        assert_series_equal(whole, alone, rel_tol=1e-12)  # vectorised functions may round a last digit differently


@pytest.mark.parametrize("sql", NOT_ROW_WISE)
def test_what_looks_at_other_rows_is_refused_by_its_place(sql):
    with pytest.raises(ConfigError, match="which is not known to look at one record only") as caught:
        row_wise(sql, SCHEMA, "transform.columns.z")
    assert str(caught.value).startswith("transform.columns.z: found ")
    assert repr(sql) in str(caught.value)


@pytest.mark.parametrize("sql", ["now()", "current_date", "t < CURRENT_TIMESTAMP", "localtimestamp"])
def test_what_reads_a_clock_is_refused(sql):
    with pytest.raises(ConfigError, match="reads a clock"):
        row_wise(sql, SCHEMA, "here")


def test_an_unknown_column_is_refused_with_the_nearest_name():
    schema = pl.Schema({"speed_mph": pl.Float64, "occupancy": pl.Float64})
    with pytest.raises(ConfigError, match=r"'sped_mph' \(did you mean 'speed_mph'\?\)"):
        row_wise("sped_mph * 1.6", schema, "here")


@pytest.mark.parametrize(
    "sql", ["", "a +", "*", "a, b", "select a", "no_such_function(a)", "(select max(a) from self)"]
)
def test_what_does_not_parse_is_refused(sql):
    with pytest.raises(ConfigError, match=r"which does not parse|not known to look at one record only"):
        row_wise(sql, SCHEMA, "here")


@pytest.mark.parametrize("sql", ["ln(b)", "upper(a)", "l + t", "b and a"])
def test_operations_that_the_types_do_not_allow_are_refused(sql):
    with pytest.raises(ConfigError, match="does not fit its columns"):
        row_wise(sql, SCHEMA, "here")


@settings(max_examples=30, deadline=None)
@given(texts=st.lists(st.sampled_from(["1", "2.5", "x", "", "1e3", "nan", "ten"]), min_size=1, max_size=40))
def test_exactly_the_rows_that_do_not_cast_are_found(texts):
    def is_number(text):
        try:
            float(text)
        except ValueError:
            return False
        return True

    failing = failing_rows(pl.DataFrame({"b": texts}), [pl.sql_expr("cast(b as double)").alias("x")])
    assert sorted(failing) == [row for row, text in enumerate(texts) if not is_number(text)]


@pytest.mark.parametrize("sql", ["i * 1.609", "i + 0.5", "cast(i as decimal(10, 2))"])
def test_decimals_that_polars_makes_of_whole_numbers_become_floats(sql):
    expression, dtype = row_wise(sql, SCHEMA, "here")
    frame = pl.DataFrame({"i": [2]}).select(x=expression)
    assert (dtype, frame["x"].dtype) == (pl.Float64, pl.Float64)
    assert frame["x"][0] == pytest.approx({"i * 1.609": 3.218, "i + 0.5": 2.5}.get(sql, 2.0))
