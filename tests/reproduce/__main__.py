"""``python -m tests.reproduce [NAME…]``: published figures and goals, ours beside them; exit 1 if one is short."""

import argparse
import sys

from tests.reproduce import (
    anomaly,
    blood,
    certificate,
    chains,
    combining,
    drift,
    earthquakes,
    faithful,
    nile,
    simulated,
    trackers,
)

REPORTS = {
    "faithful": faithful.figures,
    "earthquakes": earthquakes.figures,
    "blood": blood.figures,
    "nile": nile.figures,
    "certificate": certificate.figures,
    "chains": chains.figures,
    "trackers": trackers.figures,
    "combining": combining.figures,
    "simulated": simulated.figures,
    "anomaly": anomaly.figures,
    "drift": drift.figures,
}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.reproduce", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(REPORTS))
    parser.add_argument("--seeds", type=int, default=10, help="how many simulated data sets of each shape")
    arguments = parser.parse_args()
    if unknown := set(arguments.names) - set(REPORTS):
        parser.error(f"unknown: {', '.join(sorted(unknown))}; there are {', '.join(REPORTS)}")
    print(f"{'name':<52} {'ours':>15} {'published':>15} {'difference':>13} {'tolerance':>9}")
    short = 0
    for name in arguments.names or REPORTS:
        for figure in REPORTS[name](arguments.seeds):
            print(figure, flush=True)
            short += not figure.holds
    print(f"{short} short" if short else "all hold")
    return 1 if short else 0


if __name__ == "__main__":
    sys.exit(main())
