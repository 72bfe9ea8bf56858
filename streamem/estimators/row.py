"""What a model says of one record, without the cost of a batch of one.

A batch of one record takes 10 to 600 µs through `Model.posterior`, nearly all of it bookkeeping. Here a chain is a
mixture whose weights are where it goes from the state that it carries.
"""

from typing import Any

import numpy as np

from streamem.em import HMM, Gaussian, Mixture, Observations
from streamem.em.families.gaussian import WIDE
from streamem.em.families.independent import Independent
from streamem.em.kernels.single import diagonal_row, full_row, natural_row
from streamem.em.kernels.softmax import softmax
from streamem.em.model import Carried
from streamem.em.observations import Array

__all__ = ["Reading", "left", "read_row"]

Reading = tuple[float, int, Array]
"""Log-likelihood, most probable component and probabilities (K,) of a record."""

ONE = np.ones(1)


def read_row(model: Mixture | HMM, parameters: Any, values: Array, carried: Carried | None) -> Reading:
    """Return log-likelihood, label and probabilities of one record given those before it.

    Parameters
    ----------
    model : Mixture or HMM
    parameters : Θ
    values : ndarray, shape (D,)
        NaN where missing.
    carried : Carried or None
        What its sequence takes up, one row.
    """
    if isinstance(model, HMM):
        states, weights = parameters.states, parameters.initial
        if carried is not None and carried["known"][0]:
            weights = carried["state"][0] @ parameters.transition
    else:
        states, weights = parameters.components, parameters.weights
    family = model.family
    if type(family) is Gaussian:
        share = np.empty(len(weights))
        if not family.correlated:
            likelihood, label = diagonal_row(values, states.mean, states.covariance, weights, share)
            return likelihood, label, share
        if len(values) < WIDE:
            likelihood, label = full_row(values, states.mean, states.whitening, states.constant, weights, share)
            if likelihood == likelihood:
                return likelihood, label, share
    elif isinstance(family, Independent):
        return independent_row(family, states.mean, values, weights)
    return any_row(family, states, values, weights)


def independent_row(family: Independent, mean: Array, values: Array, weights: Array) -> Reading:
    """Return the same of independent columns that are told by the mean of each, missing values too."""
    share, exposure = np.empty(len(weights)), family.exposure_alone(values)
    base = family.log_base(values[None], np.array([[exposure]]))[0]
    natural, partition = family.natural(mean), family.log_partition(mean)
    likelihood, label = natural_row(values, exposure, natural, partition, base, weights, share)
    return likelihood, label, share


def any_row(family: Any, parameters: Any, values: Array, weights: Array) -> Reading:
    """Return the same by the kernels for many rows, for every family and with missing values."""
    with np.errstate(over="ignore", invalid="ignore"):  # what is too far is told by its log-likelihood
        share = family.log_density(parameters, Observations.trusted(values[None], checked=True))
    likelihood = np.empty(1)
    softmax(share, weights, likelihood)
    return likelihood.item(), int(share.argmax()), share[:, 0]


def left(reading: Reading) -> Carried:
    """Return what a record leaves to the next of its sequence."""
    return {"known": ONE, "state": reading[2][None]}
