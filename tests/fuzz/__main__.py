"""``python -m tests.fuzz --inputs N``: bad settings, records, files and states; exit 1 on a surprise."""

import argparse
import sys
import tempfile
from pathlib import Path


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--inputs", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()

    from tests.fuzz.runner import fuzz

    with tempfile.TemporaryDirectory() as folder:
        report = fuzz(Path(folder), arguments.inputs, arguments.seed)
    for kind, count in report.inputs.items():
        print(f"{kind:<42} {count:>5} inputs {report.expected[kind]:>5} as expected")
    for deviation in report.deviations[:20]:
        print("SURPRISE", deviation)
    print(f"{report.expected.total()} of {report.inputs.total()} as expected, {len(report.inputs)} kinds, "
          f"{report.tracebacks} tracebacks, {report.lost} good records lost")  # fmt: skip
    return 0 if report.holds else 1


if __name__ == "__main__":
    sys.exit(main())
