"""One list of models; every law runs over all of them."""

from dataclasses import dataclass
from typing import get_args, get_type_hints

import numpy as np

from streamem.em import Gaussian, Mixture, Observations
from streamem.em.observations import Span
from streamem.em.start import start


@dataclass(frozen=True)
class Case:
    name: str
    model: Mixture
    columns: int
    missing: bool = False
    weighted: bool = False

    def rows(self, count, seed=0):
        """Return observations that the model fits roughly: clusters with correlated columns."""
        rng = np.random.default_rng([seed, self.columns])
        centres = np.random.default_rng(99).normal(scale=4.0, size=(self.model.components, self.columns))
        factor = np.eye(self.columns) + 0.4
        values = centres[rng.integers(self.model.components, size=count)]
        values = values + rng.normal(size=values.shape) @ factor
        if self.missing:
            values = np.where(rng.random(values.shape) < 0.2, np.nan, values)
        return Observations(values, rng.uniform(0.2, 3.0, size=count) if self.weighted else None)

    def parameters(self, seed=0):
        """Return parameters fitted to other rows than `rows` gives by default."""
        return start(self.model, self.rows(300 + 4 * self.columns, seed=seed + 1000), np.random.default_rng(seed))


COVARIANCES = get_args(get_type_hints(Gaussian)["covariance"])

CASES = [
    Case(f"gaussian-{covariance}{'-missing' if missing else ''}{'-weighted' if weighted else ''}",
         Mixture(components=3, family=Gaussian(covariance=covariance)), 3, missing, weighted)
    for covariance in COVARIANCES
    for missing, weighted in ((False, False), (True, False), (True, True))
] + [
    Case("gaussian-full-one-component", Mixture(components=1), 2),
    Case("gaussian-full-one-column", Mixture(components=3), 1),
    Case("gaussian-full-through-blas", Mixture(components=2), 170),
]  # fmt: skip

ONE = Span(1.0)


def flat(parameters):
    """Return parameters as one vector, for comparing."""
    parts = parameters.components
    return np.concatenate([parameters.weights, parts.mean.ravel(), parts.covariance.ravel()])
