"""Models that learned apart, combined by complete-data moments: THEORY section 7."""

from collections.abc import Iterator
from itertools import pairwise

import numpy as np

from streamem.em import Gaussian, Mixture, Observations
from streamem.em.combine import average, match
from streamem.em.families.gaussian import GaussianParameters
from streamem.em.mixture import MixtureParameters
from streamem.em.start import batch_em
from tests.reproduce.figure import Figure

COMPONENTS, COLUMNS, SHARDS, ROWS = 8, 4, 10, 2000
SPREAD = 4.0
"""Standard deviation of the means of the components, whose noise is about 1."""


def mixture_rows(rng: np.random.Generator, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Return rows of a mixture, and the log-likelihood of each under it."""
    factors = 0.7 * rng.normal(size=(COMPONENTS, COLUMNS, COLUMNS)) / np.sqrt(COLUMNS) + 0.7 * np.eye(COLUMNS)
    covariances = factors @ factors.transpose(0, 2, 1)
    components = GaussianParameters(SPREAD * rng.normal(size=(COMPONENTS, COLUMNS)), covariances, np.ones(COLUMNS))
    truth = MixtureParameters(rng.dirichlet(np.full(COMPONENTS, 5.0)), components)
    model = Mixture(components=COMPONENTS)
    rows, _ = model.sample(truth, count, rng)
    return rows.values, model.posterior(truth, rows)[0].log_likelihood


def excess(seed: int) -> tuple[float, float, float]:
    """Return by how many nats a held-out row is less likely than under the truth: one model, matched, unmatched."""
    rng = np.random.default_rng(seed)
    model = Mixture(components=COMPONENTS, family=Gaussian())
    rows, truth = mixture_rows(rng, SHARDS * ROWS + 50_000)
    shards = [Observations(rows[n * ROWS : (n + 1) * ROWS]) for n in range(SHARDS)]
    held_out = Observations(rows[SHARDS * ROWS :])

    def off(theta: object) -> float:
        return float((truth[SHARDS * ROWS :] - model.posterior(theta, held_out)[0].log_likelihood).mean())

    apart = [model.start(shard, np.random.default_rng([seed, n])) for n, shard in enumerate(shards)]
    apart = [model.relabel(theta, rng.permutation(COMPONENTS)) for theta in apart]
    weights = [1.0] * SHARDS
    whole = batch_em(model, apart[0], Observations.concatenate(shards))[0]
    return off(whole), off(average(model, match(model, apart, weights), weights)), off(average(model, apart, weights))


def one_step(seed: int) -> float:
    """Return the largest relative difference between one global EM step and the steps of ten shards, combined."""
    rng = np.random.default_rng(seed)
    model = Mixture(components=COMPONENTS, family=Gaussian())
    rows, _ = mixture_rows(rng, SHARDS * ROWS)
    every = Observations(rows)
    theta = model.start(every[:ROWS], rng)
    sizes = rng.multinomial(SHARDS * ROWS, np.full(SHARDS, 1.0 / SHARDS))
    bounds = np.concatenate([[0], np.cumsum(sizes)])
    local = [batch_em(model, theta, every[a:b], iterations=1)[0] for a, b in pairwise(bounds)]
    together, step = average(model, local, sizes.astype(float)), batch_em(model, theta, every, iterations=1)[0]
    pairs = [
        (together.weights, step.weights),
        (together.components.mean, step.components.mean),
        (together.components.covariance, step.components.covariance),
    ]
    return max(float(np.abs(one - other).max() / np.abs(other).max()) for one, other in pairs)


def figures(seeds: int) -> Iterator[Figure]:
    """Yield the exact fact and the median excess; 20 seeds in a full run."""
    yield Figure("combined steps of ten shards against one step", one_step(0), 0.0, 1e-12)
    found = np.median([excess(seed) for seed in range(2 * seeds)], axis=0)
    note = f"one model of all rows {found[0]:.4f}, unmatched {found[2]:.3f}; {2 * seeds} seeds"
    yield Figure("ten mixtures combined, matched: excess loss", found[1], 0.0, 0.012, note=note)
