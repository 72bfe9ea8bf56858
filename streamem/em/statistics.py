"""Expected statistics as a vector space: what can be added and scaled can be blended, averaged and combined.

Nothing else in the program needs to know what is inside them.
"""

from typing import Protocol, Self

__all__ = ["Statistics"]


class Statistics(Protocol):
    """Sums over rows of expected complete-data statistics, in whatever form is numerically best."""

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
