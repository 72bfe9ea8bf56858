"""The measuring commands with small numbers: that they run, and say what they should."""

import os
import subprocess
import sys

import pytest

from tests.fuzz.runner import KINDS, fuzz
from tests.reproduce import anomaly, certificate, drift, faithful, simulated


def test_every_kind_of_bad_input_ends_as_expected(tmp_path):
    report = fuzz(tmp_path, inputs=2 * len(KINDS), seed=7)
    assert set(report.inputs) == set(KINDS)
    assert len(KINDS) > 115
    assert report.deviations == []
    assert report.holds


@pytest.mark.parametrize("report", [faithful, certificate])
def test_published_figures_hold(report):
    figures = list(report.figures(1))
    assert len(figures) >= 4
    assert [str(figure) for figure in figures if not figure.holds] == []


def test_one_online_pass_is_as_good_as_batch_em(monkeypatch):
    monkeypatch.setattr(simulated, "SHAPES", simulated.SHAPES[:1])
    figures = list(simulated.figures(1))
    assert len(figures) == 4
    assert [str(figure) for figure in figures if not figure.holds] == []


def test_anomalies_are_found_beside_detectors_of_river():
    figures = list(anomaly.figures(1))
    assert len(figures) == 18
    assert [str(figure) for figure in figures if not figure.holds] == []
    lost = [figure for figure in figures if figure.ours < figure.published]
    assert all(figure.note.startswith("loses: ") for figure in lost)


def test_a_restart_at_a_drift_pays(monkeypatch):
    monkeypatch.setattr(drift, "SHAPES", drift.SHAPES[1:2])
    figures = list(drift.figures(1))
    assert len(figures) == 5
    assert [str(figure) for figure in figures if not figure.holds] == []


def ran(*arguments):
    """Run a measuring command in a process of its own, as a user does."""
    environment = {name: value for name, value in os.environ.items() if name != "COVERAGE_PROCESS_START"}
    return subprocess.run([sys.executable, "-m", *arguments], capture_output=True, text=True, env=environment)


@pytest.mark.parametrize("command", ["tests.bench", "tests.reproduce", "tests.kill", "tests.fuzz"])
def test_a_wrong_argument_is_told(command):
    found = ran(command, "--nonsense")
    assert found.returncode == 2
    assert "--nonsense" in found.stderr


def test_the_benchmark_prints_a_line_each_and_compares_with_the_peer():
    # whether the ratios hold is for a machine that does nothing else; here only that both sides run
    found = ran("tests.bench", "em", "start", "--rounds", "1")
    lines = found.stdout.splitlines()
    assert len(lines) == 8, found.stderr
    assert all(line.split()[-1] in ("ok", "SHORT") for line in lines[1:-1])
