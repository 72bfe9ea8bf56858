import inspect
import json

import pytest

from streamem.cli.tables import KINDS, _tables


def test_list_shows_every_entry_of_every_table_with_its_first_line(streamem):
    result = streamem("list")
    assert result.code == 0
    entries = [(name, declared) for table in _tables().values() for name, declared in table.items()]
    assert len(entries) >= 10
    for name, declared in entries:
        line = inspect.getdoc(declared).partition("\n")[0]
        assert any(row.split(maxsplit=1) == [name, line] for row in result.out.splitlines())


@pytest.mark.parametrize("kind", KINDS)
def test_list_of_one_kind_shows_that_kind_only(streamem, kind):
    lines = streamem("list", kind).out.splitlines()
    assert lines[0] == kind
    assert [line.split()[0] for line in lines[1:]] == list(_tables()[kind])


def test_schema_is_json_schema(streamem):
    schema = json.loads(streamem("schema").out)
    assert schema["$schema"].endswith("2020-12/schema")
    assert {"source", "operators", "outputs"} <= set(schema["properties"])
