"""Text among the features: which columns may hold it, and the names that stand for the numbers of categories.

The mathematics knows categories by number. Their names are those that the family has, or else those of the warm-up in
the order of their first appearance, row by row; from then on they are the family's, and so in every snapshot.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain

import polars as pl

from streamem.em.families import Bernoulli, Categorical, Family, Product
from streamem.em.families.categorical import MOST, learned, listed
from streamem.em.model import Model
from streamem.em.observations import Array
from streamem.errors import ConfigError, ModelError, SnapshotError, tell
from streamem.stream.snapshots import names_of

__all__ = ["Texts", "over", "texts_of"]

TEXT = (pl.String, pl.Categorical, pl.Enum)
"""The types of columns of text; the last two are how Parquet keeps few different ones."""

LONGEST = 80
"""Characters of a text in a message at most."""


def over(model: Model, columns: int) -> list[tuple[int, Family | None]]:
    """Return the family over each column, and which part of a product it is: 0 where there is no product.

    Examples
    --------
    >>> from streamem.em import Gaussian, Mixture, Part
    >>> family = Product(parts=(Part(Gaussian(), columns=2), Part(Categorical())))
    >>> [(part, family.type) for part, family in over(Mixture(family=family), 3)]
    [(0, 'gaussian'), (0, 'gaussian'), (1, 'categorical')]
    """
    family: Family | None = getattr(model, "family", None)
    if not isinstance(family, Product):
        return [(0, family)] * columns
    each = [(number, part.family) for number, part in enumerate(family.parts) for _ in range(part.columns)]
    missing: list[tuple[int, Family | None]] = [(len(family.parts), None)] * columns
    return [*each, *missing][:columns]


@dataclass(frozen=True)
class Texts:
    """The features that are text, and the names of their categories.

    Parameters
    ----------
    parts : mapping of str to int
        The part of the model that each is over.
    names : tuple of tuple of str
        Of the categories in each part.
    learning : frozenset of int
        The parts whose names come from the warm-up.
    """

    parts: Mapping[str, int] = field(default_factory=dict)
    names: tuple[tuple[str, ...], ...] = ()
    learning: frozenset[int] = frozenset()

    def numbers(self, feature: str, column: pl.Series) -> Array:
        """Return the numbers of a column's categories, NaN for a missing one, the one after the last if unknown.

        That number is `other` in a family that has it; in one that has not `wrong` refuses it.
        """
        names = self.names[self.parts[feature]]
        known = column.cast(pl.String).cast(pl.Enum(names), strict=False).to_physical().cast(pl.Float64)
        unknown = known.is_null() & column.is_not_null()
        return known.set(unknown, len(names)).to_numpy()

    def learned(self, frame: pl.DataFrame) -> "Texts":
        """Return the texts with the new names of a frame behind those that are known, where names are learned."""
        names = list(self.names)
        for part in self.learning:
            features = [feature for feature, number in self.parts.items() if number == part]
            rows: Iterable[tuple[str | None, ...]] = frame.select(pl.col(features).cast(pl.String)).iter_rows()
            names[part] = learned(names[part], chain.from_iterable(rows))
        return replace(self, names=tuple(names))

    def settled(self, place: str) -> "Texts":
        """Return the texts with the names that were learned, to which no more come.

        Raises
        ------
        ModelError
            There are more than can be meant.
        """
        for feature, part in self.parts.items():
            if part in self.learning and len(self.names[part]) > MOST:
                found, wanted = f"{len(self.names[part]):,} different texts", f"at most {MOST:,} categories"
                do = "name the categories, or leave the column out"
                raise ModelError(tell(f"{place}: feature {feature}", found=found, wanted=wanted, do=do))
        return replace(self, learning=frozenset())

    def of(self, model: Model, place: str) -> "Texts":
        """Return the texts as a model that has learned already names them.

        Raises
        ------
        SnapshotError
            It has no names.
        """
        names = names_of(model)
        for feature, part in self.parts.items():
            if not names[part]:
                found = f"a snapshot that knows categories by number only, and {feature!r} as text"
                do = "give the numbers, or learn from the text"
                raise SnapshotError(tell(place, found=found, wanted="a snapshot with their names", do=do))
        return replace(self, names=names, learning=frozenset())

    def unknown(self, place: str, feature: str, text: str) -> str:
        """Return the message for a text that is none of the categories."""
        shown = repr(text) if len(text) <= LONGEST else f"{text[:LONGEST]!r}..."
        wanted = f"one of {listed(self.names[self.parts[feature]])}, or a missing value"
        do = "set other: true, or name it in categories, or drop the record by where"
        return tell(place, found=shown, wanted=wanted, do=do)


def texts_of(model: Model, features: Sequence[str], schema: pl.Schema, place: str) -> Texts:
    """Return which features are text, and refuse those that are neither numbers nor what their family takes.

    Raises
    ------
    ConfigError
        Text for another family than categorical, true and false for another than bernoulli, text beside numbers where
        the names are to be learned, or numbers where the names are numbers too.
    """
    parts: dict[str, int] = {}
    numeric: dict[int, str] = {}
    names = names_of(model)
    for feature, (part, family) in zip(features, over(model, len(features)), strict=True):
        kind = schema[feature]
        if kind in TEXT and isinstance(family, Categorical):
            parts[feature] = part
        elif kind.is_numeric() or (kind == pl.Boolean and isinstance(family, Bernoulli)):
            numeric[part] = feature
        else:
            raise _refused(feature, kind, place)
    learning = frozenset(part for part in parts.values() if not names[part])
    for feature, part in parts.items():
        if part in learning and part in numeric:
            found = f"{feature!r}, which is text, beside {numeric[part]!r}, which is numbers"
            do = "name the categories, or take a product in which each has a part of its own"
            raise ConfigError(tell(place, found=found, wanted="text or numbers in all columns of a family", do=do))
    for part, feature in numeric.items():
        if _numbers(names[part]) and [*names[part]] != [str(n) for n in range(len(names[part]))]:
            found = f"{feature!r}, which is numbers, and categories named {listed(names[part])}"
            do = f"declare it with source.schema: {{{feature}: string}}; numbers stand for positions among the names"
            raise ConfigError(tell(place, found=found, wanted="text, as the names are", do=do))
    return Texts(parts, names, learning)


def _numbers(names: Sequence[str]) -> bool:
    """Return whether there are names and all of them are numbers."""
    return bool(names) and pl.Series(names, dtype=pl.String).cast(pl.Float64, strict=False).null_count() == 0


def _refused(feature: str, kind: pl.DataType, place: str) -> ConfigError:
    wanted, do = "numbers", "leave it out"
    for kinds, what, family in ((TEXT, "text", "categorical"), ((pl.Boolean,), "true and false", "bernoulli")):
        if kind in kinds:
            wanted = f"numbers: {what} is for the family {family}"
            do = f"take family {family} for it, leave it out"
    do += f", or make a number of it: transform with CAST({feature} AS DOUBLE)"
    return ConfigError(tell(place, found=f"{feature!r} of type {kind}", wanted=wanted, do=do))
