"""Models that take up a column which was not there when they began.

The new columns start from their own data: each component gets what the records that it accounts for show in them,
independent of the columns that it knew. What they have to do with each other is learned from then on.
"""

from typing import Any

import numpy as np

from streamem.em.families import Family, Multinomial
from streamem.em.hmm import HMM
from streamem.em.mixture import Mixture, MixtureParameters
from streamem.em.model import Model
from streamem.em.observations import Array, Observations
from streamem.errors import ModelError, tell

__all__ = ["growable", "grown"]

PRIOR = 2.0
"""Pseudo-records a component, as the new columns at large: one that accounts for none of the records starts there."""


def growable(model: Model) -> bool:
    """Return whether a model can take up columns: mixtures and hidden Markov models of most families can.

    A tracker cannot: its state would need a place and a speed for the new column at every key. Nor can a family whose
    rows are shares of a whole, or one whose columns are declared.

    Examples
    --------
    >>> from streamem.em import Kalman, Multinomial
    >>> growable(Mixture()), growable(Mixture(family=Multinomial())), growable(Kalman())
    (True, False, False)
    """
    if not isinstance(model, Mixture | HMM) or isinstance(model.family, Multinomial):
        return False
    return hasattr(model.family, "beside")


def grown(model: Any, parameters: Any, observations: Observations) -> Any:
    """Return the parameters of a model with further columns.

    Parameters
    ----------
    model : Mixture or HMM
    parameters : Θ
        Over the first columns of the observations.
    observations : Observations
        Records with the columns that the model knows, then the new ones.

    Raises
    ------
    ModelError
        The model cannot take up columns, or a new one has no value, or always the same.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> old, new = rng.normal(size=(500, 1)), rng.normal(loc=7.0, size=(500, 1))
    >>> model = Mixture(components=1)
    >>> theta = model.start(Observations(old), rng)
    >>> grown(model, theta, Observations(np.hstack([old, new]))).components.mean.round().tolist()
    [[-0.0, 7.0]]
    """
    if not growable(model):
        do = "name all columns from the beginning, or begin anew"
        raise ModelError(tell(f"the model {model.type}", found="a new column", wanted="the same columns", do=do))
    known = parameters.columns
    before = observations.with_values(np.ascontiguousarray(observations.values[:, :known]))
    added = observations.with_values(np.ascontiguousarray(observations.values[:, known:]))
    if isinstance(parameters, MixtureParameters):
        share = model.posterior(parameters, before)[0].probabilities.T
        components = joined(model.family, parameters.components, added, share)
        return MixtureParameters(parameters.weights, components)
    share = model.smooth(parameters, before).T
    states = joined(model.family, parameters.states, added, share)
    return type(parameters)(parameters.initial, parameters.transition, parameters.leaving, states)


def joined(family: Family, known: Any, added: Observations, share: Array) -> Any:
    """Return components with the columns of `added`, whose rows belong to them by `share` (K, N), beside theirs.

    One column after the other, each from the rows that have it: what a row lacks must not count as the average.
    """
    for column in range(added.values.shape[1]):
        seen = ~np.isnan(added.values[:, column])
        rows = added[seen]
        rows = rows.with_values(np.ascontiguousarray(rows.values[:, column : column + 1]))
        mine = np.ascontiguousarray(share[:, seen] if rows.weight is None else share[:, seen] * rows.weight)
        one = family.broad(rows, known.components)
        for _ in range(2):  # the second time about each component's own mean, so that no digits are lost
            statistics = family.expect(one, rows, mine) + family.prior(one, PRIOR)
            one = family.maximize(statistics, one)
        known = family.beside(known, one)  # type: ignore[attr-defined]
    return known
