import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest

from streamem.cli import main

EXAMPLES = Path(__file__).parents[2] / "examples"


@dataclass
class Result:
    code: int
    out: str
    err: str


@pytest.fixture
def streamem(capfd):
    """Run a command in this process, as the entry point does."""

    def run(*arguments):
        capfd.readouterr()
        with pytest.raises(SystemExit) as left:
            main([str(argument) for argument in arguments])
        return Result(left.value.code or 0, *capfd.readouterr())

    return run


@pytest.fixture
def workplace(tmp_path, monkeypatch):
    """An empty working directory with the examples in it, as in a clone."""
    shutil.copytree(EXAMPLES, tmp_path / "examples")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="session")
def learned(tmp_path_factory):
    """A folder in which examples/freeway.yaml was run once; tests only read there."""
    folder = tmp_path_factory.mktemp("learned")
    shutil.copytree(EXAMPLES, folder / "examples")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        with pytest.raises(SystemExit) as left:
            main(["run", "examples/freeway.yaml", "--quiet"])
    assert not left.value.code
    return folder
