"""``python -m tests.kill --times N --seed S``: kill -9, start again, compare with an undisturbed run."""

import argparse
import os
import sys
import tempfile
from pathlib import Path

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.kill", description=__doc__)
    parser.add_argument("--source", choices=["files"], default="files")
    parser.add_argument("--sink", choices=["files"], default="files")
    parser.add_argument("--times", type=int, default=200, help="how many kills")
    parser.add_argument("--seed", type=int, default=1, help="of the order of the points and of the random times")
    parser.add_argument("--pipeline", action="append", help="regimes, machine or aircraft; by default all of them")
    arguments = parser.parse_args()

    from tests.kill.campaign import RANDOM, campaign
    from tests.kill.child import PHASES
    from tests.kill.scenario import SCENARIOS

    names = arguments.pipeline or SCENARIOS
    if unknown := set(names) - set(SCENARIOS):
        parser.error(f"unknown: {', '.join(sorted(unknown))}; there are {', '.join(SCENARIOS)}")
    with tempfile.TemporaryDirectory() as folder:
        report = campaign(Path(folder), arguments.times, arguments.seed, names)
    for phase in (*PHASES, RANDOM):
        print(f"killed, {phase:<22} {report.kills[phase]:>5}")
    for name, count in report.by_pipeline.items():
        print(f"{'kills of ' + name:<30} {count:>5}")
    print(f"{'kills in all':<30} {report.kills.total():>5}")
    print(f"{'runs compared':<30} {report.runs:>5}")
    for name in ("lost", "repeated"):
        print(f"{'records ' + name:<30} {getattr(report, name):>5}")
    for name in ("outputs", "parameters"):
        print(f"{name + ' that differ':<30} {getattr(report, name):>5}")
    return 0 if report.holds and report.kills.total() == arguments.times else 1


if __name__ == "__main__":
    sys.exit(main())
