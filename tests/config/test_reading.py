import math

import pytest

from streamem.config.reading import read
from streamem.errors import ConfigError


@pytest.fixture
def written(tmp_path):
    def write(text, **options):
        path = tmp_path / "a.yaml"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return read(str(path), options.get("environment", {}), options.get("settings", ()))

    return write


def refusal(written, text, **options):
    with pytest.raises(ConfigError) as caught:
        written(text, **options)
    return str(caught.value)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("no", "no"),
        ("on", "on"),
        ("true", True),
        ("1e-6", 1e-6),
        ("010", 10),
        ("0x10", 16),
        ("12:30:00", "12:30:00"),
        ("2015-09-01", "2015-09-01"),
        ("~", None),
        ("", None),
        ("-.inf", -math.inf),
        ("'3'", "3"),
        ("!!str 3", "3"),
    ],
)
def test_scalars_are_those_of_the_yaml_1_2_core_schema(written, text, value):
    assert written(f"a: {text}").values == {"a": value}


def test_a_value_without_quotes_is_typed_after_its_variables_are_replaced(written):
    document = written('a: ${N}\nb: "${N}"\nc: ${M:-0.5}\nd: ${N:-9}\n', environment={"N": "3"})
    assert document.values == {"a": 3, "b": "3", "c": 0.5, "d": 3}


def test_an_empty_variable_takes_the_default_as_in_a_shell(written):
    assert written("a: ${N:-x}", environment={"N": ""}).values == {"a": "x"}


def test_variables_may_stand_inside_a_text_and_be_escaped(written):
    assert written("a: ${D}/x/${E:-y}.csv $${D}", environment={"D": "/data"}).values == {"a": "/data/x/y.csv ${D}"}


def test_every_unset_variable_is_named_with_its_line(written):
    message = refusal(written, "a: 1\nb: ${FIRST}\nc:\n  d: [1, '${SECOND}']\n")
    assert "line 2: b: found ${FIRST}, which is not set" in message
    assert "line 4: c.d.1: found ${SECOND}, which is not set" in message
    assert "${SECOND:-default}" in message


@pytest.mark.parametrize("text", ["a: ${1}", "a: ${x y}", "a: ${x", "a: ${}"])
def test_what_only_looks_like_a_variable_is_refused(written, text):
    assert "wanted ${NAME} or ${NAME:-default}. To do: write $${" in refusal(written, text)


def test_a_brace_in_a_flow_mapping_gets_the_advice_to_quote(written):
    assert 'put quotes around a "${...}"' in refusal(written, "a: {path: ${X}}")


def test_a_key_twice_is_refused_at_the_second(written):
    assert "line 3: a.b: found the same key twice" in refusal(written, "a:\n  b: 1\n  b: 2\n")


def test_merge_keys_give_way_to_the_keys_of_the_mapping_itself(written):
    document = written("base: &base {x: 1, y: 2}\na:\n  <<: *base\n  y: 3\nb:\n  <<: [{x: 7}, *base]\n")
    assert document.values["a"] == {"x": 1, "y": 3}
    assert document.values["b"] == {"x": 7, "y": 2}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "found an empty file; wanted a mapping"),
        ("- 1", "found a list"),
        ("word", "found a single value"),
        ("a: [1", "line 1: found while parsing a flow sequence"),
        ("a: 1\n---\nb: 2", "expected a single document"),
        ("a: &x [*x]", "inside itself"),
        ('a: "b\\0c"', "with a null character"),
        ("a: !!python/object:os.system 1", "a value tagged python/object:os.system"),
        ("a: !!int x", "a value tagged int"),
        ("? [1]\n: 2", "a key that is a list or a mapping"),
        ("a: \x07", "found unacceptable character"),
        ("[" * 5000, "brackets nested too deep"),
        (b"a: \xff", "a byte that is not UTF-8 at offset 3"),
    ],
)
def test_what_is_no_pipeline_file_is_refused_in_words(written, text, said):
    assert said in refusal(written, text)


def test_a_missing_file_is_told_with_the_nearest_name(tmp_path):
    (tmp_path / "freeway.yaml").write_text("a: 1")
    with pytest.raises(ConfigError, match=r"no such file \(did you mean 'freeway\.yaml'\?\)"):
        read(str(tmp_path / "freway.yaml"), {})


def test_a_folder_is_not_a_pipeline_file(tmp_path):
    with pytest.raises(ConfigError, match="wanted a pipeline file in YAML"):
        read(str(tmp_path), {})


def test_set_puts_values_into_mappings_and_lists(written):
    settings = ["a.0.b=4", "c.d.e=[x, {y: 1}]", "f=", "g=${N:-2}"]
    document = written("a: [{b: 1, k: 2}]\nf: 3\n", settings=settings)
    assert document.values == {"a": [{"b": 4, "k": 2}], "c": {"d": {"e": ["x", {"y": 1}]}}, "f": None, "g": 2}


def test_a_value_that_came_by_set_is_told_by_its_option(written):
    document = written("a: [{b: 1}]\n", settings=["a.0.b=4"])
    assert document.where(("a", 0, "b")) == "--set a.0.b"
    assert document.where(("a", 0, "k")).endswith("a.yaml line 1: a.0.k")


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("a", "--set: found a; wanted NAME=VALUE"),
        ("=1", "wanted NAME=VALUE"),
        ("a..b=1", "wanted NAME=VALUE"),
        ("a.2=1", "--set a.2: found 2; wanted an index from 0 to 1"),
        ("a.x=1", "found x; wanted an index"),
        ("a.0.b=1", "found 1 where b should be inside"),
        ("a=[1", "--set a line 1: found while parsing"),
        ("a=${UNSET}", "--set a: found ${UNSET}, which is not set"),
    ],
)
def test_a_set_that_does_not_fit_is_refused(written, setting, said):
    assert said in refusal(written, "a: [1, 2]", settings=[setting])
