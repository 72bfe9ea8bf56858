"""Expected statistics as a vector space: what can be added and scaled can be blended, averaged and combined.

Nothing else in the program needs to know what is inside them.
"""

from dataclasses import fields
from typing import Any, Protocol, Self

__all__ = ["Statistics", "Sums"]


class Statistics(Protocol):
    """Sums over rows of expected complete-data statistics, in whatever form is numerically best."""

    @property
    def weight(self) -> Any:
        """How many rows belong to each component, shape (K,)."""

    def __add__(self, other: Self) -> Self:
        """Return the statistics of both sets of rows together."""

    def scale(self, factor: float) -> Self:
        """Return the statistics with every row counted `factor` times, `factor` >= 0."""

    def blend(self, new: Self, step: float) -> Self:
        """Return (1 - step) self + step new; Amid and Warmuth (2020), eq. 7 and 8.

        Parameters
        ----------
        new : Statistics
            Of the same span of data.
        step : float
            The step size γ in [0, 1].
        """


class Sums:
    """Statistics that are plain sums, one array a field: what a dataclass of them inherits."""

    def __add__(self, other: Self) -> Self:
        return type(self)(*(mine + theirs for mine, theirs in zip(arrays(self), arrays(other), strict=True)))

    def scale(self, factor: float) -> Self:
        """Return the statistics with every row counted `factor` times."""
        return type(self)(*(factor * mine for mine in arrays(self)))

    def blend(self, new: Self, step: float) -> Self:
        """Return (1 - step) self + step new."""
        return self.scale(1.0 - step) + new.scale(step)


def arrays(statistics: Any) -> list[Any]:
    """Return the arrays of a dataclass in order."""
    return [getattr(statistics, field.name) for field in fields(statistics)]
