import subprocess
import sys

import pytest

from streamem import cli
from streamem.errors import ConfigError, ConnectError, DataError, ModelError, SnapshotError

HEAVY = ("numba", "numpy", "polars", "pydantic", "rich", "scipy", "yaml")


def test_help_imports_nothing_heavy():
    program = f"import sys, streamem.cli; print([name for name in {HEAVY} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_help_lists_every_command_and_each_has_its_own(streamem):
    text = streamem("--help").out
    assert sorted(cli.commands.commands) == [
        *("check", "combine", "lag", "list", "run", "schema", "score", "show", "topics")
    ]
    for name in cli.commands.commands:
        assert f"\n  {name} " in text
        result = streamem(name, "--help")
        assert result.code == 0
        assert "--debug" in result.out


def test_the_module_is_the_command():
    done = subprocess.run([sys.executable, "-m", "streamem", "--version"], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("streamem, version ")


@pytest.mark.parametrize("arguments", [("runn",), ("run",), ("run", "a.yaml", "--limit", "0"), ("list", "colours")])
def test_a_wrong_command_or_option_exits_2(streamem, arguments):
    result = streamem(*arguments)
    assert result.code == 2
    assert "Usage: streamem" in result.err
    assert result.out == ""


@pytest.fixture
def failing(monkeypatch):
    def fail_with(error):
        def load(*_):
            raise error

        monkeypatch.setattr("streamem.config.load", load)

    return fail_with


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ConfigError("wrong setting"), 2),
        (SnapshotError("wrong snapshot"), 2),
        (DataError("bad record"), 1),
        (ModelError("no numbers"), 1),
        (ConnectError("disk full"), 1),
    ],
)
def test_each_kind_of_error_has_its_exit_code_and_no_traceback(streamem, failing, error, code):
    failing(error)
    result = streamem("check", "a.yaml")
    assert (result.code, result.out, result.err) == (code, "", f"streamem: {error}\n")


def test_an_unexpected_error_is_called_a_bug_in_one_line(streamem, failing):
    failing(KeyError("x\ny"))
    result = streamem("check", "a.yaml")
    assert result.code == 1
    assert result.err.startswith("streamem: this is a bug of streamem (KeyError: ")
    assert "run again with --debug" in result.err
    assert result.err.count("\n") == 1


def test_debug_shows_the_traceback(streamem, failing):
    failing(DataError("bad record"))
    result = streamem("check", "a.yaml", "--debug")
    assert result.code == 1
    assert "Traceback (most recent call last)" in result.err
    assert result.err.endswith("streamem: bad record\n")


def test_a_reader_that_went_away_is_told_nothing():
    with subprocess.Popen(
        [sys.executable, "-m", "streamem", "schema"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait() == 1
