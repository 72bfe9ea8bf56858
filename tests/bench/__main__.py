"""``python -m tests.bench [NAME…]``: ours and the peer's in turn, on one thread; exit 1 if one is short."""

import argparse
import os
import sys

# before numpy and polars are imported, or they have started their threads
for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "POLARS_MAX_THREADS", "NUMBA_NUM_THREADS"):
    os.environ[variable] = "1"

NAMES = ("em", "chain", "kalman", "pipeline", "checkpoint", "kafka", "start", "memory", "estimators")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(NAMES))
    parser.add_argument("--rounds", type=int, default=7, help="how often each side runs; the best counts")
    arguments = parser.parse_args()
    if unknown := set(arguments.names) - set(NAMES):
        parser.error(f"unknown: {', '.join(sorted(unknown))}; there are {', '.join(NAMES)}")
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})

    from tests.bench import chain_pass, em_pass, estimators, kafka, kalman, memory, pipeline, start

    reports = {
        "em": em_pass.comparisons,
        "chain": chain_pass.comparisons,
        "kalman": kalman.comparisons,
        "pipeline": pipeline.comparisons,
        "checkpoint": pipeline.checkpoint_comparisons,
        "kafka": kafka.comparisons,
        "start": start.comparisons,
        "memory": memory.comparisons,
        "estimators": estimators.comparisons,
    }
    print(f"{'name':<44} {'ours':>11} {'peer':>11} {'unit':<10} {'ratio':>8}  {'goal':<20}")
    short = 0
    for name in arguments.names or NAMES:
        for comparison in reports[name](arguments.rounds):
            print(comparison, flush=True)
            short += not comparison.holds
    print(f"{short} short" if short else "all hold")
    return 1 if short else 0


if __name__ == "__main__":
    sys.exit(main())
