"""Models combined by their complete-data moments, components matched first.

References
----------
Amid and Warmuth (2020), section 4. Kuhn (1955) for the assignment, by `scipy.optimize.linear_sum_assignment`.
"""

from collections.abc import Sequence

import numpy as np

from streamem.em.mixture import Mixture, MixtureParameters
from streamem.em.observations import Span

__all__ = ["average", "match"]

ROUNDS = 50
"""Rounds of matching at most; it usually stands still after two or three."""


def average(model: Mixture, parameters: Sequence[MixtureParameters], weights: Sequence[float]) -> MixtureParameters:
    """Return Θ' = maximize(Σ α_m moments(Θ_m) / Σ α_m): component k of one model is component k of all.

    Parameters
    ----------
    model : Mixture
    parameters : sequence of MixtureParameters
    weights : sequence of float
        α_m >= 0, not all zero.
    """
    total = model.moments(parameters[0], Span(weights[0]))
    for theta, weight in zip(parameters[1:], weights[1:], strict=True):
        total = total + model.moments(theta, Span(weight))
    return model.maximize(total, parameters[0])


def blend_parameters(model: Mixture, old: MixtureParameters, new: MixtureParameters, step: float) -> MixtureParameters:
    """Return the combination of two models of the same job, with weights 1 - step and step."""
    one = Span(1.0)
    return model.maximize(model.moments(old, one).blend(model.moments(new, one), step), new)


def match(model: Mixture, parameters: Sequence[MixtureParameters], weights: Sequence[float]) -> list[MixtureParameters]:
    """Return the models with components renumbered so that equal numbers mean the same.

    Each model is assigned to a reference (the first model, then the average) at the least total of
    π_k (KL(k || l) - log π~_l), until the assignment stands still.
    """
    from scipy.optimize import linear_sum_assignment  # 0.3 s to import, and only needed here

    reference = parameters[int(np.argmax(weights))]
    matched = list(parameters)
    for _ in range(ROUNDS):
        still = True
        for index, theta in enumerate(matched):
            cross = model.family.relative_entropy(theta.components, reference.components)
            cost = theta.weights[:, None] * (cross - np.log(reference.weights))
            order = np.argsort(linear_sum_assignment(cost)[1])
            if not np.array_equal(order, np.arange(len(order))):
                matched[index] = model.relabel(theta, order)
                still = False
        if still:
            break
        reference = average(model, matched, weights)
    return matched
