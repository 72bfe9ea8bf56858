"""`tests.kill` between topics and files, with small numbers."""

import subprocess
import sys

import pytest

from tests.broker.fixture import without
from tests.broker.jars import AbsentError


@pytest.mark.parametrize(
    "pairing",
    [
        ["--source", "kafka", "--sink", "kafka", "--checkpoint", "topic"],
        ["--source", "files", "--sink", "kafka"],
        ["--source", "kafka", "--sink", "files"],
    ],
)
def test_kills_lose_nothing_and_repeat_nothing(pairing):
    # in a process of its own: it forks, which a process with threads must not
    command = [sys.executable, "-m", "tests.kill", *pairing, "--times", "4", "--seed", "3"]
    found = subprocess.run(command, capture_output=True, text=True, timeout=900)
    if "AbsentError" in found.stderr:
        without(AbsentError(found.stderr))
    assert found.returncode == 0, found.stdout + found.stderr
    assert "kills in all                       4" in found.stdout
