"""What a model itself would give: the log-likelihoods to compare a record with whose like was hardly learned."""

from typing import Any

import numpy as np

from streamem.em import HMM, Mixture, Observations
from streamem.em.kernels.softmax import softmax
from streamem.em.observations import Array, Flags

__all__ = ["DRAWN", "expected"]

DRAWN = 1000
"""Records drawn from a model to compare one with."""


def expected(model: Mixture | HMM, parameters: Any, drawn: Array, missing: Flags) -> list[float]:
    """Return the log-likelihoods of drawn records without some of their features, sorted.

    Parameters
    ----------
    model : Mixture or HMM
    parameters : Θ
    drawn : ndarray, shape (N, D)
        From the model; of a chain, one sequence.
    missing : ndarray of bool, shape (D,)
        The features to leave out of every record.

    Returns
    -------
    list of float
        Of length N; of a chain each is given all features of the drawn records before it.

    Examples
    --------
    >>> from streamem.em import Gaussian
    >>> model = Mixture(components=1, family=Gaussian(covariance="diagonal"))
    >>> parameters = model.start(Observations([[0.0, 5.0], [2.0, 9.0]]), np.random.default_rng(0))
    >>> drawn = np.array([[1.0, 7.0], [3.0, 7.0]])
    >>> [round(one, 3) for one in expected(model, parameters, drawn, np.array([False, True]))]
    [-2.919, -0.919]
    """
    partial = Observations.trusted(np.where(missing, np.nan, drawn), checked=True)
    found = np.empty(len(drawn))
    if isinstance(model, HMM):
        rows = Observations.trusted(drawn, checked=True)
        ahead = model.passed(parameters, rows, rows.segments(), None).ahead
        with np.errstate(divide="ignore"):
            share = model.family.log_density(parameters.states, partial) + np.log(ahead.T)
        softmax(share, np.ones(model.states), found)
    else:
        softmax(model.family.log_density(parameters.components, partial), parameters.weights, found)
    return sorted(found.tolist())
