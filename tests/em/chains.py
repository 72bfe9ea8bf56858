"""Chains with parameters drawn at random."""

import numpy as np

from streamem.em.chain import ChainParameters
from streamem.em.families.gaussian import GaussianParameters


def parameters(states, *, leaving=0.0, columns=1, seed=0):
    rng = np.random.default_rng([seed, states])
    transition = rng.dirichlet(np.full(states, 2.0), size=states)
    end = np.full(states, leaving) * rng.uniform(0.5, 1.5, size=states)
    mean, covariance = 2.0 * rng.normal(size=(states, columns)), np.tile(np.eye(columns), (states, 1, 1))
    emissions = GaussianParameters(mean, covariance * rng.uniform(0.5, 2.0, size=(states, 1, 1)), np.ones(columns))
    return ChainParameters(rng.dirichlet(np.ones(states)), transition * (1.0 - end)[:, None], end, emissions)
