"""What a model says of the rows of a batch."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np

from streamem.em.observations import Array, Flags

__all__ = ["Kind", "Posterior"]

Kind = Literal["label", "index", "number", "flag", "vector", "matrix"]
"""What a column of a posterior holds for a row; a label is the index of the largest of the ``probabilities``."""


@dataclass(frozen=True, eq=False)
class Posterior:
    """What a model says of the rows of a batch.

    Parameters
    ----------
    log_likelihood : ndarray, shape (N,)
        Of each row given those before it, in nats.
    columns : mapping of str to ndarray
        Whatever else the model tells, one row a record: the ``probabilities`` of its components or states (N, K), the
        ``mean`` (N, n) and ``covariance`` (N, n, n) of what a tracker follows.
    begun : ndarray, shape (N,), optional
        Whether the row is one of those that the start was made from; None of them if left out.

    Examples
    --------
    >>> posterior = Posterior(np.array([-1.0, -2.5]), {"probabilities": np.array([[0.9, 0.1], [0.2, 0.8]])})
    >>> posterior.probabilities.argmax(axis=1).tolist(), len(posterior[:1])
    ([0, 1], 1)
    """

    log_likelihood: Array
    columns: Mapping[str, Array] = field(default_factory=dict)
    begun: Flags | None = None

    def __len__(self) -> int:
        return len(self.log_likelihood)

    def __getitem__(self, rows: slice) -> "Posterior":
        columns = {name: column[rows] for name, column in self.columns.items()}
        return Posterior(self.log_likelihood[rows], columns, None if self.begun is None else self.begun[rows])

    @property
    def probabilities(self) -> Array:
        """p(component | row), or p(state | this row and those before it), shape (N, K)."""
        return self.columns["probabilities"]

    @property
    def warmup(self) -> Flags:
        """Whether each row is one of those that the start was made from, shape (N,)."""
        return np.zeros(len(self), bool) if self.begun is None else self.begun

    def of_warmup(self) -> "Posterior":
        """Return the same of rows that the start was made from."""
        return replace(self, begun=np.ones(len(self), bool))

    @staticmethod
    def concatenate(parts: "Sequence[Posterior]") -> "Posterior":
        """Return the rows of all parts, in order."""
        if len(parts) == 1:
            return parts[0]
        columns = {name: np.concatenate([part.columns[name] for part in parts]) for name in parts[0].columns}
        begun = None
        if any(part.begun is not None for part in parts):
            begun = np.concatenate([part.warmup for part in parts])
        return Posterior(np.concatenate([part.log_likelihood for part in parts]), columns, begun)
