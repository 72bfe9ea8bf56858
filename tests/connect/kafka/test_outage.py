"""Brokers that go away and come back."""

import subprocess
import sys

from tests.broker.fixture import without
from tests.broker.jars import AbsentError


def test_brokers_that_are_killed_again_and_again_cost_nothing():
    # a process of its own, since it is the command that is promised
    command = [sys.executable, "-m", "tests.kill", "--broker", "40000", "--times", "2", "--seed", "2"]
    found = subprocess.run(command, capture_output=True, text=True, timeout=900)
    if "AbsentError" in found.stderr:
        without(AbsentError(found.stderr))
    assert found.returncode == 0, found.stdout + found.stderr
