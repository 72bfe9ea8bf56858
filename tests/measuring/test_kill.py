"""`tests.kill` with small numbers, and what a machine without power leaves."""

import subprocess
import sys
from dataclasses import replace

import pytest

from streamem.config import load
from streamem.errors import StreamemError
from streamem.stream.protocol import World
from tests.kill.child import PHASES
from tests.kill.power import LosingDisk, PowerCut, without_syncs
from tests.kill.scenario import outputs, parameters, write_drifting, write_scenario


def test_kills_at_every_point_lose_nothing_and_repeat_nothing():
    # in a process of its own: it forks, which a process whose polars has started threads must not
    command = [sys.executable, "-m", "tests.kill", "--times", str(2 * len(PHASES)), "--seed", "3"]
    found = subprocess.run(command, capture_output=True, text=True, timeout=900)
    assert found.returncode == 0, found.stdout + found.stderr
    counts = {line.rsplit(None, 1)[0].strip(): int(line.rsplit(None, 1)[1]) for line in found.stdout.splitlines()}
    assert all(counts[f"killed, {phase}"] >= 1 for phase in PHASES)
    assert counts["kills in all"] == 2 * len(PHASES)
    assert counts["records lost"] == counts["records repeated"] == 0


def test_a_point_that_comes_only_after_a_kill_is_met_when_it_is_all_that_is_left(tmp_path):
    program = (
        "import random, sys; from pathlib import Path; from tests.kill.campaign import killed, warm; warm(); "
        "print(killed(Path(sys.argv[1]), 'regimes', ['cutting back'] * 2, random.Random(1)))"
    )
    command = [sys.executable, "-c", program, str(tmp_path / "regimes")]
    found = subprocess.run(command, capture_output=True, text=True, timeout=900)
    assert found.returncode == 0, found.stdout + found.stderr
    assert "'cutting back': 2" in found.stdout


def test_what_is_killed_while_it_watches_has_drifts(tmp_path):
    file = write_drifting(tmp_path / "drifting")
    summary = load(str(file), []).pipeline(world=World()).run()
    assert min(summary.progress.drifts[name] for name in ("regime", "again")) >= 2


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """What an undisturbed run over the first 1,500 records leaves, and how many calls to the disk it makes."""
    file = write_scenario(tmp_path_factory.mktemp("power") / "undisturbed")
    disk = LosingDisk()
    run(file, disk)
    return outputs(file.parent), parameters(file.parent), disk.calls


def run(file, disk):
    load(str(file), []).pipeline(world=replace(World(), disk=disk)).run(limit=1500)


def test_losing_what_was_not_synced_at_any_call_changes_nothing(tmp_path, undisturbed):
    expected, bits, calls = undisturbed
    assert calls > 60
    for call in range(0, calls, 4):
        file = write_scenario(tmp_path / str(call))
        disk = LosingDisk(call)
        with pytest.raises(PowerCut):
            run(file, disk)
        disk.lose()
        done = load(str(file), []).pipeline(world=World())
        # the limit counts the records of a run: go on to where the undisturbed one ended
        before = records_done(file.parent)
        if before < 1500:
            done.run(limit=1500 - before)
        assert outputs(file.parent) == expected, f"call {call}"
        assert parameters(file.parent) == bits, f"call {call}"


def records_done(folder):
    """Return how many records the checkpoint of a folder speaks of."""
    from streamem.stream.checkpoint import read_checkpoint

    found = read_checkpoint(folder / "state")
    return found.records if found else 0


def test_a_program_that_does_not_sync_is_found_out(tmp_path, undisturbed):
    expected, _, calls = undisturbed
    differs = 0
    for call in range(calls // 2, calls, 5):
        file = write_scenario(tmp_path / str(call))
        disk = without_syncs(LosingDisk(call))
        with pytest.raises(PowerCut):
            run(file, disk)
        disk.lose()
        try:
            load(str(file), []).pipeline(world=World()).run(limit=max(1, 1500 - records_done(file.parent)))
            differs += outputs(file.parent) != expected
        except StreamemError:
            differs += 1
    assert differs > 0
