"""Categories: one probability for each in every column, or categorical. Values are the categories' numbers.

Log probabilities are looked up and shares added up by number, so that the cost does not grow with the categories. A
missing value is a category more, of log probability 0: it counts as its component's probabilities.

References
----------
Amid and Warmuth (2020), section 3.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from streamem.em.families.family import column_moments
from streamem.em.observations import Array, Flags, Labels, Observations, Span
from streamem.em.statistics import Sums
from streamem.errors import ConfigError, ModelError, SnapshotError, tell

__all__ = ["MOST", "Categorical", "CategoricalParameters", "CategoricalStatistics", "learned", "listed"]

FLOOR = 1e-9
"""No probability falls below this share of 1/C, so that every log is finite."""

MOST = 10_000
"""Categories that are learned at most: beyond it a column is an identifier or an amount, not a category."""

SHOWN = 8
"""Names of categories in a message at most."""


@dataclass(frozen=True, eq=False)
class CategoricalParameters:
    """The parameters of K components.

    Parameters
    ----------
    probability : ndarray, shape (K, D, C)
        Of every category, that for whatever was never seen included; they sum to 1 in each column.
    centre : ndarray, shape (D, C)
        The shares of the categories in the warm-up: what the prior is.
    """

    probability: Array
    centre: Array

    @property
    def components(self) -> int:
        """K."""
        return len(self.probability)

    @property
    def columns(self) -> int:
        """D."""
        return int(self.probability.shape[1])

    @property
    def categories(self) -> int:
        """C."""
        return int(self.probability.shape[2])

    @property
    def table(self) -> Array:
        """The probabilities as a matrix, shape (K, D C)."""
        return self.probability.reshape(len(self.probability), -1)

    def take(self, order: Labels) -> "CategoricalParameters":
        """Return the same components in another order."""
        return CategoricalParameters(self.probability[order], self.centre)


@dataclass(frozen=True, eq=False)
class CategoricalStatistics(Sums):
    """Weighted sums over rows: rows (K,), how often every category came (K, D, C)."""

    weight: Array
    total: Array


@dataclass(frozen=True)
class Categorical:
    """Categories, such as a colour or a state of a valve, as text or as their numbers: categorical.

    Parameters
    ----------
    categories : tuple of str
        Their names, shared by all columns; the first has number 0. Empty: those of the warm-up, in the order of their
        first appearance, and of numbers all up to the largest.
    other : bool
        One category more, for whatever is none of them. Without it such a value makes a bad record.

    Raises
    ------
    ConfigError
        A category is named twice, or is the only one.

    Examples
    --------
    >>> Categorical(categories=("free", "dense", "jam")).wrong(np.array([[0.0, 2.0, 3.0, 0.5, np.nan]])).tolist()
    [[False, False, True, True, False]]
    >>> Categorical(categories=("free", "dense", "jam"), other=True).free_parameters(components=2, columns=1)
    6
    """

    exposed: ClassVar[bool] = False
    type: Literal["categorical"] = "categorical"
    categories: tuple[str, ...] = ()
    other: bool = False

    def __post_init__(self) -> None:
        doubled = [name for name in self.categories if self.categories.count(name) > 1]
        if doubled:
            found, do = f"{doubled[0]!r} twice", "name it once"
            raise ConfigError(tell("categories", found=found, wanted="each category once", do=do))
        if len(self.categories) == 1 and not self.other:
            found, do = f"only {self.categories[0]!r}", "name another, or set other: true"
            raise ConfigError(tell("categories", found=found, wanted="at least two categories", do=do))

    @property
    def support(self) -> str:
        """What a value must be, in words, for messages."""
        if not self.categories or self.other:
            return "a category, or its number: a whole number of at least 0, or a missing value"
        return (
            f"one of {listed(self.categories)}, or its number from 0 to {len(self.categories) - 1}, or a missing value"
        )

    def free_parameters(self, components: int, columns: int) -> int:
        """Return how many numbers are learned; two categories are taken to be there while none is named."""
        return components * columns * (max(len(self.categories), 2 - self.other) + self.other - 1)

    def wrong(self, values: Array) -> Flags:
        """Return which values are no number of a category; of categories that are learned each may be one."""
        bad = ~((values >= 0.0) & np.isfinite(values) & (values == np.floor(values))) & ~np.isnan(values)
        if self.categories and not self.other:
            bad |= values >= len(self.categories)
        return np.asarray(bad)

    def span(self, observations: Observations) -> Span:
        """Return how much data rows are: their weight."""
        return observations.span()

    def coordinates(self, values: Array) -> Array:
        """Return rows as they are clustered for a start: 1 or 0 for every category that a column has, NaN if missing.

        With columns of unit variance, as a start makes them, that is the distance of correspondence analysis.
        """
        marks = []
        for column in values.T:
            absent = np.isnan(column)
            marks += [np.where(absent, np.nan, column == category) for category in np.unique(column[~absent])]
        return np.column_stack(marks)

    def broad(self, observations: Observations, components: int) -> CategoricalParameters:
        """Return `components` equal components with the data's shares.

        Raises
        ------
        ModelError
            A column has no observed value, or always the same, or too many categories.
        """
        weight = np.ones(len(observations)) if observations.weight is None else observations.weight
        column_moments(observations.values, weight)
        count = (len(self.categories) or self.counted(observations.values)) + self.other
        total = tallied(self.numbered(observations.values, count), weight[None], count + 1)[0, :, :count]
        centre = above_floor(total / total.sum(axis=1, keepdims=True))
        return CategoricalParameters(np.tile(centre, (components, 1, 1)), centre)

    def counted(self, values: Array) -> int:
        """Return how many categories there are by their numbers.

        Raises
        ------
        ModelError
            More than can be meant.
        """
        largest = np.nanmax(values, axis=0)
        if largest.max() >= MOST:
            place, found = f"column {largest.argmax()} of the features", f"category {largest.max():.0f}"
            wanted = f"categories numbered from 0, at most {MOST:,} of them"
            raise ModelError(tell(place, found=found, wanted=wanted, do="name the categories, or leave the column out"))
        return int(largest.max()) + 1

    def numbered(self, values: Array, count: int) -> Labels:
        """Return the numbers of the categories, shape (N, D), `count` for a missing one.

        Raises
        ------
        ModelError
            A value is none of the `count` categories.
        """
        absent = np.isnan(values)
        numbers = np.where(absent, 0.0, values)
        unknown = numbers < 0.0
        if self.other:
            numbers = np.minimum(numbers, count - 1.0)
        else:
            unknown |= numbers >= count
        if unknown.any():
            row, column = np.argwhere(unknown)[0]
            place, found = f"column {column} of the features", f"the unknown category {values[row, column]:g}"
            do = "set other: true, or name all categories, or raise warmup_records"
            raise ModelError(tell(place, found=found, wanted=f"a category from 0 to {count - 1}", do=do))
        numbers[absent] = count
        return numbers.astype(np.intp)

    def log_density(self, parameters: CategoricalParameters, observations: Observations) -> Array:
        """Return the log probability of every row's observed part under every component, shape (K, N).

        Raises
        ------
        ModelError
            A value is a category that the warm-up did not have, and there is no `other`.
        """
        numbers = self.numbered(observations.values, parameters.categories)
        missing = np.zeros((*parameters.probability.shape[:2], 1))
        logarithm = np.concatenate([np.log(parameters.probability), missing], axis=2)
        out = np.zeros((parameters.components, len(numbers)))
        for column in range(parameters.columns):
            out += np.take(logarithm[:, column], numbers[:, column], axis=1)
        return out

    def expect(
        self, parameters: CategoricalParameters, observations: Observations, responsibility: Array
    ) -> CategoricalStatistics:
        """Return the expected statistics of rows that belong to components by shares, shape (K, N)."""
        count = parameters.categories
        found = tallied(self.numbered(observations.values, count), responsibility, count + 1)
        total = found[:, :, :count] + parameters.probability * found[:, :, count:]
        return CategoricalStatistics(responsibility.sum(axis=1), total)

    def moments(self, parameters: CategoricalParameters, weight: Array, span: Span) -> CategoricalStatistics:  # noqa: ARG002
        """Return the statistics that the components expect of so much data, `weight` of shape (K,)."""
        return CategoricalStatistics(weight, weight[:, None, None] * parameters.probability)

    def prior(self, parameters: CategoricalParameters, weight: float) -> CategoricalStatistics:
        """Return pseudo-rows with the data's shares, `weight` a component."""
        each = np.full(parameters.components, weight)
        return CategoricalStatistics(each, np.tile(weight * parameters.centre, (len(each), 1, 1)))

    def maximize(self, statistics: CategoricalStatistics, previous: CategoricalParameters) -> CategoricalParameters:
        """Return the probabilities; a component of no weight keeps its `previous` ones, and none is below the floor.

        They are the likeliest of all above the floor, so that an update holds its promise at the floor too.
        """
        rows = statistics.total.sum(axis=2, keepdims=True)
        alive = rows > np.finfo(float).tiny
        share = above_floor(statistics.total / np.where(alive, rows, 1.0))
        return CategoricalParameters(np.where(alive, share, previous.probability), previous.centre)

    def at_floor(self, parameters: CategoricalParameters) -> Flags:
        """Return for each component whether it lacks a category that the warm-up had in that column, shape (K,)."""
        least = (1.0 + 1e-6) * FLOOR / parameters.categories
        lacking = (parameters.probability <= least) & (parameters.centre > least)
        return np.asarray(lacking.any(axis=(1, 2)))

    def sample(
        self,
        parameters: CategoricalParameters,
        component: Labels,
        rng: np.random.Generator,
        exposure: float = 1.0,  # noqa: ARG002
    ) -> Array:
        """Return one row for each entry of `component`, shape (N, D)."""
        components, columns, count = parameters.probability.shape
        # the distribution functions of all components and columns, end to end: one search finds every draw
        edges = np.cumsum(parameters.probability, axis=2)
        edges[:, :, -1] = 1.0
        edges += np.arange(components * columns).reshape(components, columns, 1)
        place = component[:, None] * columns + np.arange(columns)
        found = np.searchsorted(edges.ravel(), place + rng.random(place.shape), side="right")
        return np.asarray(np.clip(found - place * count, 0, count - 1), float)

    def relative_entropy(
        self,
        one: CategoricalParameters,
        other: CategoricalParameters,
        exposure: float = 1.0,  # noqa: ARG002
    ) -> Array:
        """Return KL(k of `one` || l of `other`) in nats a row for every pair, shape (K, L).

        Raises
        ------
        ModelError
            They have learned different numbers of categories.
        """
        if one.categories != other.categories:
            found, wanted = f"{one.categories} and {other.categories} of them", "the same categories in all models"
            raise ModelError(tell("categories", found=found, wanted=wanted, do="name the categories"))
        mine = (one.table * np.log(one.table)).sum(axis=1)
        return np.asarray(mine[:, None] - one.table @ np.log(other.table).T)

    def mean(self, parameters: CategoricalParameters) -> Array:
        """Return the number of the likeliest category of every column in every component, shape (K, D)."""
        return np.asarray(parameters.probability.argmax(axis=2).astype(float))

    def spread(self, parameters: CategoricalParameters) -> Array:
        """Return the probability of any category but the likeliest, shape (K, D): the variation ratio."""
        return np.asarray(1.0 - parameters.probability.max(axis=2))

    def beside(self, one: CategoricalParameters, other: CategoricalParameters) -> CategoricalParameters:
        """Return the components with the columns of both; the one with fewer categories has the others hardly ever."""
        count = max(one.categories, other.categories)
        parts = [(padded(part.probability, count), padded(part.centre, count)) for part in (one, other)]
        return CategoricalParameters(
            np.concatenate([part[0] for part in parts], axis=1), np.concatenate([part[1] for part in parts])
        )

    def assemble(self, arrays: Mapping[str, Array]) -> CategoricalParameters:
        """Return the parameters that `arrays` hold under the names of `CategoricalParameters`.

        Raises
        ------
        SnapshotError
            An array is missing, or its shape or a probability is impossible.
        """
        probability, centre = (arrays.get(name, np.empty(0)) for name in ("probability", "centre"))
        count = len(self.categories) + self.other if self.categories else probability.shape[-1]
        fits = probability.ndim == 3 and 0 not in probability.shape and centre.shape == probability.shape[1:]
        if not fits or probability.shape[2] != count:
            raise SnapshotError(
                tell(
                    "parameters of the categorical family",
                    found=f"probability {probability.shape}, centre {centre.shape}",
                    wanted=f"(K, D, {count if self.categories else 'C'}) and (D, C), none of them zero",
                    do="use a snapshot of a model with these categories",
                )
            )
        sums = np.append(probability.sum(axis=2).ravel(), centre.sum(axis=1))
        if not (probability > 0.0).all() or not (centre > 0.0).all() or np.abs(sums - 1.0).max() > 1e-9:
            raise SnapshotError(
                tell(
                    "parameters of the categorical family",
                    found=f"probabilities from {probability.min():g} with sums from {sums.min():g} to {sums.max():g}",
                    wanted="probabilities above 0 with the sum 1",
                    do="use a snapshot as streamem wrote it",
                )
            )
        return CategoricalParameters(probability, centre)


def tallied(numbers: Labels, share: Array, count: int) -> Array:
    """Return how often every category comes in every column, rows counted by shares.

    Parameters
    ----------
    numbers : ndarray of int, shape (N, D)
        From 0 to `count` - 1.
    share : ndarray, shape (K, N)
    count : int

    Returns
    -------
    ndarray, shape (K, D, count)
    """
    columns = numbers.shape[1]
    places = (numbers + count * np.arange(columns)).ravel()
    each = [np.bincount(places, np.repeat(rows, columns), columns * count) for rows in share]
    return np.array(each, dtype=float).reshape(len(share), columns, count)


def above_floor(share: Array) -> Array:
    """Return the probabilities p that maximise Σ s log p with none below the floor.

    What is below is lifted, the rest shrinks in proportion, until nothing more falls below.

    Parameters
    ----------
    share : ndarray, shape (..., C)
        s >= 0 with the sum 1; a row of zeros is returned as some distribution.
    """
    least = FLOOR / share.shape[-1]
    low = share < least
    while low.any():
        rest = np.where(low, 0.0, share)
        room = 1.0 - least * low.sum(axis=-1, keepdims=True)
        scaled = rest * (room / np.maximum(rest.sum(axis=-1, keepdims=True), np.finfo(float).tiny))
        lower = low | (scaled < least)
        if np.array_equal(lower, low):
            return np.asarray(np.where(low, least, scaled))
        low = lower
    return share


def padded(share: Array, count: int) -> Array:
    """Return shares over so many categories, those that it lacks at the floor, shape (..., count)."""
    wide = np.zeros((*share.shape[:-1], count))
    wide[..., : share.shape[-1]] = share
    return above_floor(wide)


def listed(names: Sequence[str]) -> str:
    """Return the names of categories as they stand in a message."""
    return ", ".join(names[:SHOWN]) + (", ..." if len(names) > SHOWN else "")


def learned(names: Sequence[str], values: Iterable[str | None]) -> tuple[str, ...]:
    """Return the names of categories with the new ones of `values` behind them, in order of their first appearance.

    Examples
    --------
    >>> learned(("free",), ["jam", None, "free", "dense", "jam"])
    ('free', 'jam', 'dense')
    """
    return tuple(name for name in dict.fromkeys([*names, *values]) if name is not None)
