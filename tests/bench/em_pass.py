"""One E-step and M-step, with the factorisation that the next E-step needs, against scikit-learn's."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from sklearn.mixture import GaussianMixture

from streamem.em import Gaussian, Mixture, Observations
from streamem.em.families.gaussian import GaussianParameters
from streamem.em.mixture import MixtureParameters
from tests.bench.side_by_side import Comparison, in_turn


@dataclass(frozen=True)
class Pass:
    covariance: str
    components: int
    columns: int
    rows: int
    floor: float
    aim: float | None = None


PASSES = [
    Pass("full", 16, 8, 40_000, 6.0, 10.0),
    Pass("full", 7, 54, 20_000, 2.0, 2.5),
    Pass("full", 10, 784, 10_000, 1.7),
    Pass("diagonal", 16, 8, 40_000, 3.0, 4.0),
]


def comparisons(rounds: int) -> Iterator[Comparison]:
    """Yield one comparison for each shape, in microseconds a row."""
    for shape in PASSES:
        rng = np.random.default_rng(0)
        centres = rng.normal(size=(shape.components, shape.columns)) * 3.0 / np.sqrt(shape.columns)
        rows = centres[rng.integers(shape.components, size=shape.rows)] + rng.normal(size=(shape.rows, shape.columns))
        weights = np.full(shape.components, 1.0 / shape.components)
        diagonal = shape.covariance == "diagonal"
        ones = np.ones(centres.shape) if diagonal else np.stack([np.eye(shape.columns)] * shape.components)
        # scikit-learn adds its regularisation as a constant, we hold a floor: both do their usual work
        model = Mixture(components=shape.components, family=Gaussian(covariance=shape.covariance))
        theta = MixtureParameters(weights, GaussianParameters(centres, ones, rows.var(axis=0)))
        observations = Observations(rows)
        peer = GaussianMixture(shape.components, covariance_type="diag" if diagonal else "full")

        def ours(model=model, theta=theta, observations=observations, diagonal=diagonal) -> object:
            new = model.maximize(model.expect(theta, observations).statistics, theta)
            return new if diagonal else new.components.constant

        def theirs(peer=peer, weights=weights, centres=centres, ones=ones, rows=rows) -> object:
            peer.weights_, peer.means_, peer.covariances_, peer.precisions_cholesky_ = weights, centres, ones, ones
            peer._m_step(rows, peer._e_step(rows)[1])
            return peer.precisions_cholesky_

        best = in_turn(ours, theirs, rounds if shape.columns < 100 else min(rounds, 3))
        scaled = [seconds / shape.rows * 1e6 for seconds in best]
        name = f"E+M pass {shape.covariance} K={shape.components} d={shape.columns}"
        yield Comparison(name, *scaled, "us/row", shape.floor, shape.aim)
