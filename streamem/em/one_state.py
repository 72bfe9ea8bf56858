"""What models with one hidden state and Gaussian noise have in common, whether its motion is known or learned."""

from typing import Any

import numpy as np

from streamem.em.declaration import Declaration
from streamem.em.observations import Array, Flags, Labels

__all__ = ["OneState"]


class OneState(Declaration):
    """A model without components to number, match or begin with pseudo-rows."""

    gate_sigma: float | None
    sequences: str

    components = 1
    prior_records = 0.0
    sequential = True
    averaging_power = 6.0
    exposed = False
    support = "a finite number or a missing value"

    @property
    def gated(self) -> bool:
        """Whether outliers are not used."""
        return self.gate_sigma is not None

    @property
    def carries(self) -> bool:
        """Whether sequences go on from batch to batch."""
        return self.sequences == "endless"

    def wrong(self, values: Array) -> Flags:
        """Return which values are infinite, shape (N, D)."""
        return np.isinf(values)

    def prior(self, parameters: Any) -> None:  # noqa: ARG002
        """Return None: there is no prior."""
        return

    def relabel(self, parameters: Any, order: Labels) -> Any:  # noqa: ARG002
        """Return the model as it is: it has one component."""
        return parameters

    def mismatch(self, parameters: Any, reference: Any) -> Array:  # noqa: ARG002
        """Return 0, shape (1, 1): there is one component to match."""
        return np.zeros((1, 1))
