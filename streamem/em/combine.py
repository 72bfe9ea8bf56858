"""Models combined by their complete-data moments, components matched first.

References
----------
Amid and Warmuth (2020), section 4. Kuhn (1955) for the assignment, by `scipy.optimize.linear_sum_assignment`.
"""

from collections.abc import Sequence
from itertools import combinations
from typing import Any

import numpy as np

from streamem.em.model import Model
from streamem.em.observations import Labels

__all__ = ["average", "match"]

ROUNDS = 50
"""Rounds of matching at most; it usually stands still after two or three."""


def average(model: Model, parameters: Sequence[Any], weights: Sequence[float]) -> Any:
    """Return Θ' = maximize(Σ α_m moments(Θ_m) / Σ α_m): component k of one model is component k of all.

    Parameters
    ----------
    model : Model
    parameters : sequence of Θ
    weights : sequence of float
        α_m >= 0, not all zero.
    """
    total = model.moments(parameters[0], model.unit(weights[0]))
    for theta, weight in zip(parameters[1:], weights[1:], strict=True):
        total = total + model.moments(theta, model.unit(weight))
    return model.maximize(total, parameters[0])


def blend_parameters(model: Model, old: Any, new: Any, step: float) -> Any:
    """Return the combination of two models of the same job, with weights 1 - step and step."""
    one = model.unit(1.0)
    return model.maximize(model.moments(old, one).blend(model.moments(new, one), step), new)


def match(model: Model, parameters: Sequence[Any], weights: Sequence[float]) -> list[Any]:
    """Return the models with components renumbered so that equal numbers mean the same.

    Each model is assigned to a reference (the model of most weight, then the average) at the least total mismatch,
    until the assignment stands still. Where an order matters the mismatch of states one by one is not all, so pairs
    are then exchanged while that lowers the relative entropy of whole models.
    """
    from scipy.optimize import linear_sum_assignment  # 0.3 s to import, and only needed here

    reference = parameters[int(np.argmax(weights))]
    matched = list(parameters)
    for _ in range(ROUNDS):
        still = True
        for index, theta in enumerate(matched):
            order = np.argsort(linear_sum_assignment(model.mismatch(theta, reference))[1])
            if model.sequential:
                order = exchanged(model, theta, reference, order)
            if not np.array_equal(order, np.arange(len(order))):
                matched[index] = model.relabel(theta, order)
                still = False
        if still:
            break
        reference = average(model, matched, weights)
    return matched


def exchanged(model: Model, parameters: Any, reference: Any, order: Labels) -> Labels:
    """Return the order after exchanging pairs while that lowers the relative entropy to the reference."""

    def apart(order: Labels) -> float:
        return model.relative_entropy(model.relabel(parameters, order), reference, model.unit(1.0))

    least, better = apart(order), True
    while better:
        better = False
        for one, other in combinations(range(len(order)), 2):
            tried = order.copy()
            tried[[one, other]] = order[[other, one]]
            found = apart(tried)
            if found < least - 1e-12 * abs(least):
                order, least, better = tried, found, True
    return order
