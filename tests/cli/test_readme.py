"""Every command of the README is run, in its order, in a copy of what a clone has."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

TOP = Path(__file__).parents[2]
README = (TOP / "README.md").read_text()
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
BROKER = ("examples/kafka.yaml", "examples/to_kafka.yaml")
"""What commands need a broker for: test_kafka.py runs them."""

LINES = [line for language, block in BLOCKS if language == "bash" for line in block.replace("\\\n", "").splitlines()]
COMMANDS = [line for line in LINES if not any(name in line for name in BROKER)]

INSTALLS = re.compile(r"python3 -m venv \.venv && \.venv/bin/pip install -q \S+ && ")


def alike(printed, shown):
    """Whether all that was printed stands in a block; numbers to 1 %, since other processors round differently."""
    words = printed.split()
    for begin in range(len(shown.split())):
        there = shown.split()[begin : begin + len(words)]
        if len(there) == len(words) and all(map(same, words, there)):
            return True
    return False


def same(word, other):
    try:
        return float(word) == pytest.approx(float(other), rel=0.01)
    except ValueError:
        return word == other


@pytest.fixture(scope="module")
def clone(tmp_path_factory):
    """A folder with the examples, and a .venv whose programs are those that run this test."""
    folder = tmp_path_factory.mktemp("clone")
    shutil.copytree(TOP / "examples", folder / "examples")
    (folder / ".venv" / "bin").mkdir(parents=True)
    for name in ("python", "streamem"):
        (folder / ".venv" / "bin" / name).write_text(f'#!/bin/sh\nexec "{Path(sys.executable).parent / name}" "$@"\n')
        (folder / ".venv" / "bin" / name).chmod(0o755)
    return folder


def section(title):
    return README.split(f"\n## {title}\n")[1].split("\n## ")[0]


@pytest.mark.parametrize("title", ["Run", "Test"])
def test_run_and_test_begin_with_one_command_of_one_line(title):
    block = re.search(r"^```bash\n(.*?)^```$", section(title), re.MULTILINE | re.DOTALL)[1]
    assert len(block.splitlines()) == 1
    assert INSTALLS.match(block)


def test_there_are_commands_to_run():
    assert len(COMMANDS) >= 12
    assert {command.split()[1] for command in COMMANDS if command.startswith("streamem ")} == {
        "check",
        "combine",
        "list",
        "run",
        "schema",
        "score",
        "show",
    }


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_runs(clone, command):
    if command == "source .venv/bin/activate":
        pytest.skip("there is no environment to activate: its programs come by PATH here")
    if " -m pytest" in command:
        pytest.skip("it is the command that runs this very test")
    # What makes the environment needs the network; .ci/run and a fresh clone do it. The rest of the line runs here.
    rest = INSTALLS.sub("", command)
    path = f"{clone / '.venv' / 'bin'}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-c", rest], cwd=clone, env={**os.environ, "PATH": path}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    if command.startswith(("streamem show out/freeway", "streamem show out/machine", "streamem score")):
        shown = next(block for language, block in BLOCKS if language == "text" and done.stdout.split()[0] in block)
        assert alike(done.stdout, shown)


def test_the_pipeline_in_the_readme_is_the_example():
    example = (TOP / "examples" / "freeway.yaml").read_text()
    shown = [block for language, block in BLOCKS if language == "yaml"]
    assert len(shown) == 1
    assert example.endswith(shown[0])


def test_the_python_in_the_readme_runs(capsys):
    shown = [block for language, block in BLOCKS if language == "python"]
    assert len(shown) == 2
    for block in shown:
        exec(compile(block, "README.md", "exec"), {})
    river, plain = capsys.readouterr().out.rsplit("\n{", 1)
    assert "[ 5.  5.]" in river
    assert "[0.02 0.98]" in river
    assert float(river.split()[-1]) > 0.99
    assert "'in_use': 3" in plain


def test_every_file_that_the_readme_links_to_is_there():
    links = [link for link in re.findall(r"\]\(([^)]+)\)", README) if "://" not in link]
    assert len(links) >= 4
    assert [link for link in links if not (TOP / link).exists()] == []
