"""Kills of pipelines between topics and files, and what is left after them.

This process makes no client of Kafka: librdkafka's threads would not survive the forks. Children do.
"""

import random
import shutil
import time
from collections.abc import Callable
from pathlib import Path

from tests.broker.shared import shared
from tests.kill.campaign import RANDOM, Report, Undisturbed, differing, finished, killed_once, lead_up, warm
from tests.kill.child import forked, start
from tests.kill.scenario import carry, outputs, parameters
from tests.kill.topics import RECORDS, Pairing, fetch, records, write_input, write_run

MOST = 8
"""Kills of one run, at most; then it may come to its end."""


def campaign(folder: Path, times: int, seed: int, pairings: dict[str, Pairing]) -> dict[str, Report]:
    """Kill each pairing's pipelines its share of so many times, half of them at named points."""
    warm()
    reports = {}
    with shared(folder / "broker") as servers:
        for number, (name, pairing) in enumerate(pairings.items()):
            share = times * (number + 1) // len(pairings) - times * number // len(pairings)
            points = [pairing.phases[n % len(pairing.phases)] for n in range(share // 2)]
            points += [RANDOM] * (share - len(points))
            reports[name] = killed(folder / f"p{number}", pairing, points, random.Random(seed), servers)
    return reports


def killed(folder: Path, pairing: Pairing, points: list[str], rng: random.Random, servers: str) -> Report:
    """Kill a pipeline at all of the points, in an order by chance, and compare what is left."""
    report = Report()
    apart(folder.parent, lambda: write_input(pairing, folder, servers))
    expected = left(begun(pairing, folder / "undisturbed", servers), pairing, servers)
    rng.shuffle(points)
    while points:
        file = begun(pairing, folder / f"run-{report.runs}", servers)
        lead_up(file, points, rng)
        for _ in range(min(MOST, len(points))):
            ended = killed_once(file, points[-1], rng, expected.seconds)
            if not ended:
                report.kills[points.pop()] += 1
                if pairing.checkpoint == "topic":
                    shutil.rmtree(file.parent / "state", ignore_errors=True)  # another machine goes on
            elif points:
                points.insert(0, points.pop())  # another run will meet it
                break
        compare(left(file, pairing, servers), expected, pairing, report)
        shutil.rmtree(file.parent)
    return report


def apart(folder: Path, work: Callable[[], None]) -> None:
    """Let a child do some work with a client."""
    assert finished(forked(folder, work), folder / "log.txt"), "a client was killed"


def begun(pairing: Pairing, folder: Path, servers: str) -> Path:
    """Make ready for a run in a folder; return its pipeline file."""
    apart(folder.parent, lambda: write_run(pairing, folder, servers))
    return folder / "pipeline.yaml"


def left(file: Path, pairing: Pairing, servers: str) -> Undisturbed:
    """Let a run come to its end; return what it leaves, and how long this took."""
    begin = time.monotonic()
    assert finished(start(file), file.with_name("log.txt")), "a run without a kill was killed"
    seconds = time.monotonic() - begin
    apart(file.parent, lambda: fetch(pairing, file.parent, servers))
    return Undisturbed(outputs(file.parent), parameters(file.parent), carry(file.parent), seconds)


def compare(found: Undisturbed, expected: Undisturbed, pairing: Pairing, report: Report) -> None:
    """Add to the report how a run differs from the undisturbed one; cut by time, each run has batches of its own."""
    report.runs += 1
    everything = records(found.outputs)
    report.lost += sum(n not in everything for n in range(RECORDS))
    report.repeated += sum(count > 1 for count in everything.values())
    if pairing.partitions == 1:
        report.outputs += differing(found.outputs, expected.outputs)
        report.parameters += found.parameters != expected.parameters
        report.carries += differing(found.carry, expected.carry)
