"""Several families side by side, each over columns of its own, independent within a component: product.

Everything is left to the parts: their log densities add, and so do their relative entropies. Each part does with a
missing value what it does alone.

References
----------
Amid and Warmuth (2020), section 3: the inertia of independent parts is the sum of theirs.
"""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import accumulate
from typing import Any, Literal

import numpy as np

from streamem.em.declaration import Declaration, check_instance, limited
from streamem.em.families.family import Family, Parameters
from streamem.em.families.multinomial import Multinomial
from streamem.em.observations import Array, Flags, Labels, Observations, Span
from streamem.errors import ConfigError, ModelError, SnapshotError, tell

__all__ = ["Part", "Product", "ProductParameters", "ProductStatistics"]


@dataclass(frozen=True, eq=False)
class ProductParameters:
    """The parameters of K components: those of each part."""

    parts: tuple[Parameters, ...]

    @property
    def components(self) -> int:
        """K."""
        return self.parts[0].components

    @property
    def columns(self) -> int:
        """D, of all parts together."""
        return sum(part.columns for part in self.parts)

    def take(self, order: Labels) -> "ProductParameters":
        """Return the same components in another order."""
        return ProductParameters(tuple(part.take(order) for part in self.parts))


@dataclass(frozen=True, eq=False)
class ProductStatistics:
    """The statistics of each part, of the same rows."""

    parts: tuple[Any, ...]

    @property
    def weight(self) -> Any:
        """How many rows belong to each component, shape (K,)."""
        return self.parts[0].weight

    def __add__(self, other: "ProductStatistics") -> "ProductStatistics":
        return ProductStatistics(tuple(mine + theirs for mine, theirs in zip(self.parts, other.parts, strict=True)))

    def scale(self, factor: float) -> "ProductStatistics":
        """Return the statistics with every row counted `factor` times."""
        return ProductStatistics(tuple(part.scale(factor) for part in self.parts))

    def blend(self, new: "ProductStatistics", step: float) -> "ProductStatistics":
        """Return (1 - step) self + step new."""
        pairs = zip(self.parts, new.parts, strict=True)
        return ProductStatistics(tuple(mine.blend(theirs, step) for mine, theirs in pairs))


@dataclass(frozen=True)
class Part(Declaration):
    """A family over some of the columns.

    Parameters
    ----------
    family : Family
        Any but a product.
    columns : int
        How many columns it takes, at least 1: those behind the columns of the parts before it.

    Raises
    ------
    ConfigError
        No family, or no columns.

    Examples
    --------
    >>> from streamem.em import Gaussian, Poisson, Product
    >>> both = Product(parts=(Part(Gaussian(), columns=2), Part(Poisson())))
    >>> sum(part.columns for part in both.parts)
    3
    """

    family: Family
    columns: int = limited(1, ge=1)

    def __post_init__(self) -> None:
        super().__post_init__()
        from streamem.em.families import FAMILIES  # which are made of this file too

        check_instance("product: part: family", self.family, FAMILIES, "log_density")


@dataclass(frozen=True, kw_only=True)
class Product(Declaration):
    """Columns of several kinds: families side by side, each over columns of its own.

    Parameters
    ----------
    parts : tuple of Part
        The first takes the first columns, the next those behind them, and so on.

    Raises
    ------
    ConfigError
        No parts, one that is no `Part` or a product, or a multinomial beside a part whose rows have another
        exposure.

    Examples
    --------
    >>> from streamem.em import Gaussian, Part, Poisson
    >>> family = Product(parts=(Part(Gaussian(), columns=2), Part(Poisson())))
    >>> family.free_parameters(components=2, columns=3)
    12
    >>> family.wrong(np.array([[-1.5, 0.0, -1.0]])).tolist()
    [[False, False, True]]
    """

    parts: tuple[Part, ...]
    type: Literal["product"] = "product"

    def __post_init__(self) -> None:
        super().__post_init__()
        wanted, do = "at least one part", "add a part: a family and how many columns it takes"
        if not self.parts:
            raise ConfigError(tell("product: parts", found="none", wanted=wanted, do=do))
        for number, part in enumerate(self.parts):
            place = f"product: part {number}"
            if not isinstance(part, Part):
                do = "write for example Part(Poisson(), columns=2)"
                raise ConfigError(tell(place, found=repr(part), wanted="a Part: a family and its columns", do=do))
            if isinstance(part.family, Product):
                do = "write the parts of the inner product in its place"
                raise ConfigError(tell(place, found="a product", wanted="any other family", do=do))
        whole = [part.family.type for part in self.parts if isinstance(part.family, Multinomial)]
        if whole and len(whole) + sum(part.family.exposed for part in self.parts) > 1:
            found = " and ".join(part.family.type for part in self.parts if self.measured(part))
            wanted = "one multinomial, and then nothing with an exposure: its rows have the sum of their counts"
            do = "take compound_dirichlet for the multinomial, or poisson for each of its columns"
            raise ConfigError(tell("product: parts", found=found, wanted=wanted, do=do))

    @property
    def columns(self) -> int:
        """How many columns all parts take together."""
        return sum(part.columns for part in self.parts)

    @property
    def exposed(self) -> bool:
        """Whether an exposure of each row means anything to a part."""
        return any(part.family.exposed for part in self.parts)

    @property
    def support(self) -> str:
        """What a value must be, in words, for messages."""
        told = [f"{several(part.columns)} {part.family.support}" for part in self.parts]
        return "for the first " + ", for the next ".join(told)

    @staticmethod
    def measured(part: Part) -> bool:
        """Return whether the exposure of a span is that of this part."""
        return part.family.exposed or isinstance(part.family, Multinomial)

    def split(self, values: Array) -> list[Array]:
        """Return the columns of each part, C-contiguous.

        Raises
        ------
        ConfigError
            There are more or fewer columns than the parts take.
        """
        if values.shape[1] != self.columns:
            wanted = f"{self.columns}: " + ", ".join(f"{part.columns} {part.family.type}" for part in self.parts)
            do = "name as many features as the parts have columns"
            raise ConfigError(tell("product", found=f"{values.shape[1]} columns", wanted=wanted, do=do))
        ends = list(accumulate(part.columns for part in self.parts))
        return [np.ascontiguousarray(part) for part in np.split(values, ends[:-1], axis=1)]

    def rows(self, observations: Observations) -> list[Observations]:
        """Return the rows as each part sees them; those without an exposure do not see it."""
        return [
            Observations.trusted(values, observations.weight, observations.exposure if part.family.exposed else None)
            for part, values in zip(self.parts, self.split(observations.values), strict=True)
        ]

    def exposures(self, exposure: float) -> list[float]:
        """Return the exposure of each part."""
        return [exposure if self.measured(part) else 1.0 for part in self.parts]

    def free_parameters(self, components: int, columns: int) -> int:  # noqa: ARG002
        """Return how many numbers are learned."""
        return sum(part.family.free_parameters(components, part.columns) for part in self.parts)

    def wrong(self, values: Array) -> Flags:
        """Return which values no component can have given rise to, shape (N, D)."""
        split = self.split(values)
        return np.hstack([part.family.wrong(mine) for part, mine in zip(self.parts, split, strict=True)])

    def span(self, observations: Observations) -> Span:
        """Return how much data rows are: their weight, and the exposure of the parts that have one."""
        for part, rows in zip(self.parts, self.rows(observations), strict=True):
            if self.measured(part):
                return part.family.span(rows)
        return observations.span()

    def coordinates(self, values: Array) -> Array:
        """Return rows as they are clustered for a start: the coordinates of the parts side by side."""
        split = self.split(values)
        return np.hstack([part.family.coordinates(mine) for part, mine in zip(self.parts, split, strict=True)])

    def broad(self, observations: Observations, components: int) -> ProductParameters:
        """Return `components` equal components as wide as the data.

        Raises
        ------
        ModelError
            A column has no observed value, or always the same, or what a part refuses.
        """
        found: list[Parameters] = []
        for part, rows, first in zip(self.parts, self.rows(observations), self.firsts(), strict=True):
            with renumbered(first):
                found.append(part.family.broad(rows, components))
        return ProductParameters(tuple(found))

    def firsts(self) -> list[int]:
        """Return the number of the first column of each part."""
        return list(accumulate((part.columns for part in self.parts[:-1]), initial=0))

    def log_density(self, parameters: ProductParameters, observations: Observations) -> Array:
        """Return the log density of every row's observed part under every component, shape (K, N)."""
        total: Array | None = None
        each = zip(self.parts, parameters.parts, self.rows(observations), self.firsts(), strict=True)
        for part, mine, rows, first in each:
            with renumbered(first):
                found = part.family.log_density(mine, rows)
            total = found if total is None else np.add(total, found, out=total)
        return np.zeros((parameters.components, len(observations))) if total is None else total

    def expect(
        self, parameters: ProductParameters, observations: Observations, responsibility: Array
    ) -> ProductStatistics:
        """Return the expected statistics of rows that belong to components by shares, shape (K, N)."""
        each = zip(self.parts, parameters.parts, self.rows(observations), strict=True)
        return ProductStatistics(tuple(part.family.expect(mine, rows, responsibility) for part, mine, rows in each))

    def moments(self, parameters: ProductParameters, weight: Array, span: Span) -> ProductStatistics:
        """Return the statistics that the components expect of so much data, `weight` of shape (K,)."""
        each = zip(self.parts, parameters.parts, self.exposures(span.exposure), strict=True)
        return ProductStatistics(
            tuple(
                part.family.moments(mine, weight, Span(span.weight, its_exposure)) for part, mine, its_exposure in each
            )
        )

    def prior(self, parameters: ProductParameters, weight: float) -> ProductStatistics:
        """Return the pseudo-rows of each part, `weight` a component."""
        each = zip(self.parts, parameters.parts, strict=True)
        return ProductStatistics(tuple(part.family.prior(mine, weight) for part, mine in each))

    def maximize(self, statistics: ProductStatistics, previous: ProductParameters) -> ProductParameters:
        """Return the parameters under which the statistics are most likely; no weight keeps the `previous` ones."""
        each = zip(self.parts, statistics.parts, previous.parts, strict=True)
        return ProductParameters(tuple(part.family.maximize(mine, before) for part, mine, before in each))

    def at_floor(self, parameters: ProductParameters) -> Flags:
        """Return for each component whether a floor holds up any part of it, shape (K,)."""
        each = zip(self.parts, parameters.parts, strict=True)
        return np.asarray(np.any([part.family.at_floor(mine) for part, mine in each], axis=0))

    def sample(
        self, parameters: ProductParameters, component: Labels, rng: np.random.Generator, exposure: float = 1.0
    ) -> Array:
        """Return one row for each entry of `component`, shape (N, D)."""
        each = zip(self.parts, parameters.parts, self.exposures(exposure), strict=True)
        return np.hstack([part.family.sample(mine, component, rng, its_exposure) for part, mine, its_exposure in each])

    def relative_entropy(self, one: ProductParameters, other: ProductParameters, exposure: float = 1.0) -> Array:
        """Return KL(k of `one` || l of `other`) in nats a row for every pair, shape (K, L)."""
        each = zip(self.parts, one.parts, other.parts, self.exposures(exposure), strict=True)
        return np.asarray(sum(part.family.relative_entropy(a, b, its_exposure) for part, a, b, its_exposure in each))

    def mean(self, parameters: ProductParameters) -> Array:
        """Return the mean of every column in every component, shape (K, D), each as its family tells it."""
        return np.hstack([part.family.mean(mine) for part, mine in zip(self.parts, parameters.parts, strict=True)])

    def spread(self, parameters: ProductParameters) -> Array:
        """Return the spread of every column in every component, shape (K, D), each as its family tells it."""
        return np.hstack([part.family.spread(mine) for part, mine in zip(self.parts, parameters.parts, strict=True)])

    def assemble(self, arrays: Mapping[str, Any]) -> ProductParameters:
        """Return the parameters that nested `arrays` hold: under ``parts``, by the number of each.

        Raises
        ------
        SnapshotError
            A part is missing, has other columns or components, or is refused by its family.
        """
        nested = arrays.get("parts")
        names = [str(number) for number in range(len(self.parts))]
        if not isinstance(nested, Mapping) or sorted(nested) != sorted(names):
            found = f"parts {', '.join(sorted(nested))}" if isinstance(nested, Mapping) and nested else "no parts"
            raise unlike(found, f"parts {', '.join(names)}")
        inner = [nested[name] if isinstance(nested[name], Mapping) else {} for name in names]
        found_parts = [part.family.assemble(mine) for part, mine in zip(self.parts, inner, strict=True)]
        sizes = [(part.components, part.columns) for part in found_parts]
        wanted_sizes = [(sizes[0][0], part.columns) for part in self.parts]
        if sizes != wanted_sizes:
            raise unlike(f"components and columns {sizes}", f"{wanted_sizes}")
        return ProductParameters(tuple(found_parts))


def several(columns: int) -> str:
    """Return how many features, in words."""
    return "feature" if columns == 1 else f"{columns} features"


def unlike(found: str, wanted: str) -> SnapshotError:
    """Return the error for parameters of other parts."""
    do = "use a snapshot of a model with these parts"
    return SnapshotError(tell("parameters of the product family", found=found, wanted=wanted, do=do))


@contextmanager
def renumbered(first: int) -> Iterator[None]:
    """Make a part's ModelError name its column by the number it has in the whole row."""
    try:
        yield
    except ModelError as error:

        def moved(found: re.Match[str]) -> str:
            return f"column {first + int(found[1])} of the features"

        raise ModelError(re.sub(r"column (\d+) of the features", moved, str(error))) from error
