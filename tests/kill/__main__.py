"""``python -m tests.kill --times N --seed S``: kill -9, start again, compare with an undisturbed run."""

import argparse
import os
import sys
import tempfile
from pathlib import Path

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")


def main() -> int:
    from tests.kill.scenario import SCENARIOS

    parser = argparse.ArgumentParser(prog="python -m tests.kill", description=__doc__)
    parser.add_argument("--source", choices=["files"], default="files")
    parser.add_argument("--sink", choices=["files"], default="files")
    parser.add_argument("--times", type=int, default=200, help="how many kills")
    parser.add_argument("--seed", type=int, default=1, help="of the order of the points and of the random times")
    parser.add_argument("--pipeline", nargs="+", choices=[*SCENARIOS], default=[*SCENARIOS])
    arguments = parser.parse_args()
    names = list(dict.fromkeys(arguments.pipeline))
    if arguments.times < len(names):
        wanted = f"at least one kill for each of {', '.join(names)}"
        parser.error(f"argument --times: found {arguments.times}, wanted {wanted}")

    from tests.kill.campaign import RANDOM, Report, campaign
    from tests.kill.child import PHASES

    with tempfile.TemporaryDirectory() as folder:
        reports = campaign(Path(folder), arguments.times, arguments.seed, names)
    report = sum(reports.values(), Report())
    for phase in (*PHASES, RANDOM):
        print(f"killed, {phase:<22} {report.kills[phase]:>5}")
    for name, one in {"all": report, **reports}.items():
        print(f"{'kills in ' + name:<30} {one.kills.total():>5}")
        print(f"{'  runs compared':<30} {one.runs:>5}")
        for what in ("lost", "repeated"):
            print(f"{'  records ' + what:<30} {getattr(one, what):>5}")
        for what in ("outputs", "parameters", "carries"):
            print(f"{'  ' + what + ' that differ':<30} {getattr(one, what):>5}")
    held = all(one.holds for one in reports.values())
    return 0 if held and report.kills.total() == arguments.times else 1


if __name__ == "__main__":
    sys.exit(main())
