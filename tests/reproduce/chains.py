"""Endless hidden Markov models after one pass, against batch EM by hmmlearn and against themselves.

The chains have 4 states in 2 columns. Judged is the held-out log-likelihood per step of the averaged parameters.
"""

import warnings
from collections.abc import Iterator

import numpy as np
from hmmlearn.hmm import GaussianHMM

from streamem.em import HMM, Observations, OnlineEM, Snapshot
from streamem.em.chain import ChainParameters
from streamem.em.families.gaussian import GaussianParameters
from tests.reproduce.figure import Figure

STEPS = 200_000
HELD_OUT = 20_000
STARTS = 5
SEGMENTS = (1, 5, 20, 100, 1000)
STICKY = 0.99
WARMUP = 5000
"""Of the sticky chain: long enough to be in every state, some 50 changes."""


def simulated(seed: int, stays: float | None = None) -> tuple[ChainParameters, Observations]:
    """Return a chain of four states, and what it gave; `stays` sets every self-transition."""
    rng = np.random.default_rng(seed)
    transition = rng.dirichlet(np.ones(4), size=4)
    keep = np.full(4, stays) if stays else rng.uniform(0.7, 0.95, size=4)
    np.fill_diagonal(transition, 0.0)
    transition *= ((1.0 - keep) / transition.sum(axis=1))[:, None]
    np.fill_diagonal(transition, keep)
    factor = rng.normal(size=(4, 2, 2)) * 0.5 + np.eye(2)
    covariance = factor @ factor.transpose(0, 2, 1) + 0.1 * np.eye(2)
    states = GaussianParameters(2.5 * rng.normal(size=(4, 2)), covariance, np.ones(2))
    theta = ChainParameters(np.full(4, 0.25), transition, np.zeros(4), states)
    return theta, HMM(states=4).sample(theta, 1, rng, np.array([STEPS + HELD_OUT]))[0]


def learned(rows: Observations, size: int, start: Snapshot | None = None, warmup: int | None = None) -> Snapshot:
    """Return what one pass with the default settings learns from micro-batches of `size`."""
    learner = OnlineEM(HMM(states=4), start=start, warmup_records=warmup)
    for begin in range(0, len(rows), size):
        learner.update(rows[begin : begin + size])
    return learner.snapshot


def judged(theta: ChainParameters, rows: Observations) -> float:
    """Return the log-likelihood per step."""
    return float(HMM(states=4).posterior(theta, rows)[0].log_likelihood.mean())


def of_peer(values: np.ndarray, held_out: np.ndarray, starts: int) -> float:
    """Return the held-out log-likelihood per step of hmmlearn's best start by the training data."""
    best, found = -np.inf, np.nan
    for seed in range(starts):
        tolerance = 1e-5 * len(values)
        peer = GaussianHMM(4, "full", n_iter=50, tol=tolerance, random_state=seed, implementation="scaling")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            peer.fit(values)
        likelihood = peer.monitor_.history[-1]
        if likelihood > best:
            best, found = likelihood, peer.score(held_out) / len(held_out)
    return found


def figures(seeds: int) -> Iterator[Figure]:
    """Yield the median and the worst gap to batch EM, and what the length of a segment costs a sticky chain."""
    gaps = []
    for seed in range(seeds):
        _, rows = simulated(seed)
        train, held_out = rows[:STEPS], rows[STEPS:]
        ours = judged(learned(train, 1000).averaged, held_out)
        gaps.append(ours - of_peer(train.values, held_out.values, STARTS))
    for name, found, limit in (("median", np.median(gaps), -0.001), ("worst", min(gaps), -0.003)):
        yield Figure(f"endless HMM against batch EM: {name}", found, limit, 0.0, at_least=True)
    _, rows = simulated(100, STICKY)
    train, held_out = rows[:STEPS], rows[STEPS:]
    start = learned(train[:WARMUP], WARMUP, warmup=WARMUP)
    found = {size: judged(learned(train[WARMUP:], size, start).averaged, held_out) for size in SEGMENTS}
    best = max(found.values())
    for size, likelihood in found.items():
        limit = 0.003 if size >= 20 else 0.015
        yield Figure(f"sticky HMM, segments of {size}", likelihood - best, -limit, 0.0, at_least=True)
