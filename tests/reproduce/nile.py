"""The yearly flow of the Nile as a local level: Durbin and Koopman (2012), sections 2.2.5 and 2.10."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from streamem.em import Observations
from streamem.em.kalman import Kalman
from tests.reproduce.figure import Figure

DATA = Path(__file__).parents[2] / "examples" / "data" / "nile.csv"

OBSERVATION, LEVEL, DIFFUSE = 15098.5, 1469.2, -632.5456
"""σ²_ε, σ²_η, and the log-likelihood of all years but the first, which a diffuse start explains."""

DIFFUSE_VARIANCE = 1e13
"""As good as infinite: the level after the first year is known to 1 in 1e9 as if it were."""


def figures(seeds: int) -> Iterator[Figure]:
    """Yield what was found beside what was published."""
    rows = Observations(np.loadtxt(DATA, delimiter=",", skiprows=1)[:, 1:])
    model = Kalman(dynamics="local_level", sequences="complete")
    start = model.start(rows, np.random.default_rng(0))
    diffuse = replace(start, initial_covariance=np.array([[DIFFUSE_VARIANCE]]))
    published = replace(diffuse, noise=np.array([[LEVEL]]), observation_covariance=np.array([[OBSERVATION]]))
    for name, theta, tolerance in (("published variances", published, 5e-5), ("our variances", diffuse, 2e-3)):
        likelihood = float(model.posterior(theta, rows)[0].log_likelihood[1:].sum())
        yield Figure(f"nile, {name}: diffuse log L", likelihood, DIFFUSE, tolerance)
    # the likelihood is flat about its maximum, and the start is not quite diffuse
    yield Figure(
        "nile: observation variance", float(start.observation_covariance[0, 0]), OBSERVATION, 0.002 * OBSERVATION
    )
    yield Figure("nile: level variance", float(start.noise[0, 0]), LEVEL, 0.002 * LEVEL)
