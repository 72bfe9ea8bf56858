"""Blood counts after a transplant, 37 of 91 days missing: EM as in Shumway and Stoffer's `astsa`."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from streamem.em import Observations
from streamem.em.lds import LDS
from streamem.em.linear import LDSParameters
from tests.reproduce.figure import Figure

DATA = Path(__file__).parents[2] / "examples" / "data" / "blood.csv"

TRACE = {
    0: 68.28328,
    1: -183.93608,
    2: -194.20508,
    3: -197.54440,
    4: -199.74425,
    5: -201.64313,
    10: -209.82091,
    20: -221.16485,
    40: -230.90189,
    60: -233.25013,
    64: -233.35454,
}
"""-log L without the constant. A missing day is a 0 of covariance R there, so each adds log det R / 2."""

HALF_DIGIT = 5e-6

LAST = {
    "A": (
        (0.98395673, -0.03975976, 0.008688178),
        (0.05726606, 0.92656284, 0.006023044),
        (-1.26586175, 1.96500888, 0.820475630),
    ),
    "R": (0.00694027, 0.01707764, 0.9389751),
    "Q": (0.013786286, 0.002796296, 3.33355946),
}
DIGITS = {
    "A": ((5e-9, 5e-9, 5e-10), (5e-9, 5e-9, 5e-10), (5e-9, 5e-9, 5e-10)),
    "R": (5e-9, 5e-9, 5e-8),
    "Q": (5e-10, 5e-10, 5e-9),
}
"""Half of the last printed digit."""


def days() -> Observations:
    """Return the 91 days, NaN where nothing was counted."""
    return Observations(np.ascontiguousarray(np.genfromtxt(DATA, delimiter=",", skip_header=1)[:, 1:]))


def fitted() -> Iterator[tuple[int, LDSParameters, float]]:
    """Yield iteration, parameters and -log L as `astsa` counts it."""
    identity = ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0))
    model = LDS(
        observation=identity, learn=("A", "Q", "R", "m1", "V1"), diagonal=("R",),
        initial="before_first", sequences="complete",
    )  # fmt: skip
    rows = days()
    noise = np.diag([0.01, 0.01, 1.0])
    theta = LDSParameters(np.eye(3), np.eye(3), noise, noise, np.zeros(3), np.diag([0.1, 0.1, 1.0]), np.full(6, 1e-6))
    observed = int(np.isfinite(rows.values).sum())
    missing = int(np.isnan(rows.values).all(axis=1).sum())
    for iteration in range(max(TRACE) + 1):
        expectation = model.expect(theta, rows)
        log_det = float(np.linalg.slogdet(theta.observation_covariance)[1])
        constant = 0.5 * observed * np.log(2.0 * np.pi)
        yield iteration, theta, -float(expectation.log_likelihood.sum()) - constant + 0.5 * missing * log_det
        theta = model.maximize(expectation.statistics, theta)


def figures(seeds: int) -> Iterator[Figure]:
    """Yield what was found beside what was published."""
    trace = list(fitted())
    for iteration, _, likelihood in trace:
        if iteration in TRACE:
            yield Figure(f"blood, iteration {iteration}: -log L", likelihood, TRACE[iteration], 1.01 * HALF_DIGIT)
    theta = trace[-1][1]
    found = {
        "A": theta.transition,
        "R": np.diagonal(theta.observation_covariance),
        "Q": np.diagonal(theta.transition_covariance),
    }
    for name, published in LAST.items():
        for place, number in np.ndenumerate(np.array(published)):
            index = "".join(str(one + 1) for one in place)
            tolerance = 1.01 * float(np.array(DIGITS[name])[place])
            yield Figure(
                f"blood, after 64 iterations: {name}{index}", float(found[name][place]), float(number), tolerance
            )
