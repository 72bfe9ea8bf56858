"""Where a chain begins: clusters of its rows as states, with the transitions that the rows show."""

import numpy as np

from streamem.em.chain import ChainParameters
from streamem.em.families import Parameters
from streamem.em.mixture import Mixture
from streamem.em.observations import Array, Flags, Labels, Observations, Segments
from streamem.em.start import ROUNDS, STAGES, coordinates, moving_average

__all__ = ["candidates"]

TINY = np.finfo(float).tiny

ROUNDED = 9
"""Decimals in which rows differ that are not the same: their columns have unit variance."""

LASTING = 20.0
"""States that are to last stay this many times as often as they were seen to go on."""


def candidates(
    mixture: Mixture, observations: Observations, rng: np.random.Generator, *,
    broad: Parameters, allowed: Flags, ordered: bool, absorbing: bool,
) -> list[ChainParameters]:  # fmt: skip
    """Return the chains that a start chooses from.

    Parameters
    ----------
    mixture : Mixture
        Of the states, as if rows did not follow one another.
    observations : Observations
    rng : numpy.random.Generator
    broad : Parameters
        Of the family, as wide as all rows.
    allowed : ndarray of bool, shape (K, K)
        Which transitions are possible.
    ordered : bool
        Whether states are numbered by when they come.
    absorbing : bool
        Whether a sequence ends because its chain does.
    """
    each, segments = coordinates(mixture.family, observations), observations.segments()
    around = moving_average(each, segments)
    # in sequences no longer than the average is wide all neighbours are the same
    counted = slice(None) if observations.weight is None else observations.weight > 0.0
    apart = len(np.unique(around[counted].round(ROUNDED), axis=0)) >= mixture.components
    found = []
    for draw in range(STAGES[0][0] if mixture.components > 1 else 1):
        # states that last show in what is common to neighbours, states that change in each row
        lasting = apart and draw % 2 == 1
        rows, rounds = around if lasting else each, ROUNDS[draw // 2 % 2]
        clusters = mixture.clustered(observations, rows, broad, rng, rounds=rounds)
        share = segments.sorted(mixture.posterior(clusters, observations)[0].probabilities)
        order = by_place(share, segments) if ordered else np.arange(mixture.components)
        initial, pairs, ends = shown(share[:, order], segments, allowed, absorbing=absorbing)
        if lasting:
            pairs += np.diag(np.diagonal(pairs) > 0.0) * LASTING * pairs.sum(axis=1, keepdims=True)
        out = pairs.sum(axis=1) + ends
        states = clusters.components.take(order)
        found.append(ChainParameters(initial / initial.sum(), pairs / out[:, None], ends / out, states))
    return found


def by_place(share: Array, segments: Segments) -> Labels:
    """Return the clusters by how far into their sequences their rows are."""
    place = np.concatenate([np.linspace(0.0, 1.0, n) for n in np.diff(segments.bounds)])
    return np.argsort((place @ share) / np.maximum(share.sum(axis=0), TINY), kind="stable")


def shown(share: Array, segments: Segments, allowed: Flags, *, absorbing: bool) -> tuple[Array, Array, Array]:
    """Return how often rows show each first state (K,), transition (K, K) and end (K,), and once more all possible.

    Nothing is ruled out by a few warm-up rows.
    """
    first, last = segments.bounds[:-1], segments.bounds[1:] - 1
    following = np.setdiff1d(np.arange(len(share)), first)
    pairs = np.where(allowed, share[following - 1].T @ share[following] + 1.0, 0.0)
    ends = share[last].sum(axis=0) + 1.0 if absorbing else np.zeros(share.shape[1])
    return share[first].sum(axis=0) + 1.0, pairs, ends
