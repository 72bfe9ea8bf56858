from pathlib import Path

import jsonschema
import pytest
import yaml

from streamem.config import json_schema

EXAMPLES = sorted((Path(__file__).parents[2] / "examples").glob("*.yaml"))


@pytest.fixture(scope="module")
def validator():
    jsonschema.Draft202012Validator.check_schema(json_schema())
    return jsonschema.Draft202012Validator(json_schema())


@pytest.fixture
def freeway():
    return yaml.safe_load(next(path for path in EXAMPLES if path.name == "freeway.yaml").read_text())


def test_there_are_examples():
    assert [path.name for path in EXAMPLES] == [
        *("aircraft.yaml", "earthquakes.yaml", "faithful.yaml", "freeway.yaml", "kafka.yaml", "machine.yaml"),
        "to_kafka.yaml",
    ]


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_every_example_is_valid(validator, path):
    validator.validate(yaml.safe_load(path.read_text()))


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (("nam",), "x"),
        (("batch", "max_records"), "3"),
        (("batch", "max_records"), 0),
        (("operators", 0, "type"), "learns"),
        (("operators", 0, "featurs"), ["x"]),
        (("operators", 0, "model", "components"), -1),
        (("operators", 0, "model", "family"), {"covariance": "full"}),
        (("operators", 0, "schedule", "step_size"), 0.5),
        (("outputs", 0, "sink", "type"), "kafka"),
        (("errors", "policy"), "ignore"),
    ],
)
def test_a_mistake_is_not_valid(validator, freeway, place, value):
    inside = freeway
    for step in place[:-1]:
        inside = inside[step]
    inside[place[-1]] = value
    assert not validator.is_valid(freeway)


def test_every_setting_says_what_it_is():
    schema = json_schema()
    nodes = {**schema["$defs"], "Settings": schema}
    assert len(nodes) > 8
    silent = [
        f"{name}.{key}"
        for name, node in nodes.items()
        for key, setting in node["properties"].items()
        if "description" not in setting and key != "type"
    ]
    assert silent == []
