"""What a model says of one record, without the cost of a batch of one.

A batch of one record takes 10 to 600 µs through `Model.posterior`, nearly all of it bookkeeping. Here the same kernels
are called on that row alone: a chain is a mixture whose weights are where it goes from the state that it carries.
"""

from typing import Any

import numpy as np

from streamem.em import HMM, Gaussian, Mixture, Observations
from streamem.em.families.gaussian import WIDE
from streamem.em.kernels import diagonal, full
from streamem.em.kernels.softmax import softmax
from streamem.em.model import Carried
from streamem.em.observations import Array

__all__ = ["Reading", "read_row"]

Reading = tuple[float, Array]
"""Log-likelihood and probabilities (K,) of a record."""

ONE = np.ones(1)


def read_row(model: Mixture | HMM, parameters: Any, values: Array, carried: Carried | None, gap: bool) -> Reading:
    """Return log-likelihood and probabilities of one record given those before it.

    Parameters
    ----------
    model : Mixture or HMM
    parameters : Θ
    values : ndarray, shape (1, D)
    carried : Carried or None
        What its sequence takes up, one row.
    gap : bool
        Whether a value is missing.
    """
    if isinstance(model, HMM):
        states, weights = parameters.states, parameters.initial
        if carried is not None and carried["known"][0]:
            weights = carried["state"][0] @ parameters.transition
    else:
        states, weights = parameters.components, parameters.weights
    share = densities(model.family, states, values, gap)
    log_likelihood = np.empty(1)
    softmax(share, weights, log_likelihood)
    return log_likelihood.item(), share[:, 0]


def densities(family: Any, parameters: Any, values: Array, gap: bool) -> Array:
    """Return the log density of one row under every component, shape (K, 1)."""
    if type(family) is Gaussian:
        if not family.correlated:
            share = np.empty((len(parameters.mean), 1))
            diagonal.log_density(values, parameters.mean, parameters.covariance, share)
            return share
        if not gap and values.shape[1] < WIDE:
            share = np.empty((len(parameters.mean), 1))
            full.log_density(values, parameters.mean, parameters.whitening, parameters.constant, share)
            return share
    return np.asarray(family.log_density(parameters, Observations.trusted(values, checked=True)))


def left(reading: Reading) -> Carried:
    """Return what a record leaves to the next of its sequence."""
    return {"known": ONE, "state": reading[1][None]}
