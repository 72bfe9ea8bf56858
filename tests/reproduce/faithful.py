"""Old Faithful, batch EM: the figures that Azzalini and Bowman's data are known for."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from streamem.em import Gaussian, Mixture, Observations
from streamem.em.start import batch_em
from tests.reproduce.figure import Figure

DATA = Path(__file__).parents[2] / "examples" / "data" / "faithful.csv"

WEIGHTS = (0.35587, 0.64413)
MEANS = ((2.03639, 54.47852), (4.28966, 79.96812))
COVARIANCES = (((0.06917, 0.43517), (0.43517, 33.69728)), ((0.16997, 0.94061), (0.94061, 36.04621)))


def fitted(covariance: str, components: int, draws: int):
    """Return the best model of several starts, its parameters, and its log-likelihood."""
    rows = Observations(np.loadtxt(DATA, delimiter=",", skiprows=1))
    model = Mixture(components=components, family=Gaussian(covariance=covariance))
    found = []
    for seed in range(draws):
        theta = model.start(rows, np.random.default_rng(seed))
        theta, _ = batch_em(model, theta, rows, iterations=5000, tolerance=1e-13)
        found.append((float(model.posterior(theta, rows)[0].log_likelihood.sum()), seed, theta))
    likelihood, _, theta = max(found, key=lambda one: one[0])
    return theta, likelihood


def figures(seeds: int) -> Iterator[Figure]:
    """Yield what was found beside what was published."""
    theta, likelihood = fitted("full", 2, 1)
    yield Figure("faithful 2 full: log L", likelihood, -1130.2640, 5e-5)
    order = np.argsort(theta.components.mean[:, 0])
    for k, number in enumerate(order):
        name = f"faithful 2 full: component {k}"
        yield Figure(f"{name} weight", theta.weights[number], WEIGHTS[k], 5e-6)
        for column in range(2):
            yield Figure(f"{name} mean {column}", theta.components.mean[number, column], MEANS[k][column], 5e-6)
        for i, j in ((0, 0), (0, 1), (1, 1)):
            found = theta.components.covariance[number, i, j]
            yield Figure(f"{name} covariance {i}{j}", found, COVARIANCES[k][i][j], 5e-6)
    _, likelihood = fitted("tied", 3, 5)
    yield Figure("faithful 3 tied: log L", likelihood, -1126.326, 5e-4, at_least=True)
