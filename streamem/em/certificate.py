"""The certificate of an update: how far it stays within what its method promises.

L(Θ'|batch) + D_RE(Θ, Θ')/η <= L(Θ|batch), L the mean negative log-likelihood of a row. It holds exactly where the
update is the minimum of its objective: with exact inertia, without a prior, and while no floor acts.

References
----------
Amid and Warmuth (2020), section 2.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from streamem.em.model import Carried, Model
from streamem.em.observations import Array, Observations

__all__ = ["Certificate", "certify"]

TOLERANCE = 1e-12
"""Share of |L| that rounding may take away."""


@dataclass(frozen=True)
class Certificate:
    """What was found of all updates so far.

    Parameters
    ----------
    slack : float
        L(Θ) - L(Θ') - D_RE(Θ, Θ')/η of the last update, nats a row: how much likelier the batch became than it had to.
    updates : int
        Updates that were looked at; those in which a floor acted are not among them.
    violations : int
        Updates with a negative slack, beyond rounding.
    """

    slack: float = 0.0
    updates: int = 0
    violations: int = 0


def certify(
    model: Model,
    old: Any,
    new: Any,
    step: float,
    observations: Observations,
    carried: Carried | None,
    log_likelihood: Array,
    before: Certificate,
) -> Certificate:
    """Return the certificate after the update from `old` to `new` by `observations` with step size `step`.

    It costs a second E-step. `log_likelihood` is that of the rows under `old`, shape (N,).
    """
    if model.at_floor(new).any():
        return before
    was = observations.mean(log_likelihood)
    gain = observations.mean(model.posterior(new, observations, carried)[0].log_likelihood) - was
    # 1/η = (1-γ)/γ
    cost = model.relative_entropy(old, new, model.span(observations, carried)) * (1.0 - step) / step
    slack = gain - cost
    broken = slack < -TOLERANCE * max(abs(was), float(np.finfo(float).tiny))
    return Certificate(slack, before.updates + 1, before.violations + broken)
