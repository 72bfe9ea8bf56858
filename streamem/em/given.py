"""What is asked of the matrices of an LDS that are given, and of the rows that the others are started from."""

from collections.abc import Collection, Mapping
from typing import Any, Literal

import numpy as np

from streamem.em.linear import least_rows
from streamem.em.observations import Array, Observations
from streamem.em.start import check_runs, seen_rows
from streamem.em.state_space import unfit
from streamem.errors import ConfigError, ModelError, tell

__all__ = ["NAMES", "SURE", "Matrix", "Part", "check_given", "check_support", "misfit"]

Part = Literal["A", "C", "Q", "R", "m1", "V1"]
Matrix = tuple[tuple[float, ...], ...]

NAMES: dict[Part, str] = {
    "A": "transition",
    "C": "observation",
    "Q": "transition_covariance",
    "R": "observation_covariance",
    "m1": "initial_mean",
    "V1": "initial_covariance",
}
"""The setting of each part."""

SURE: dict[Part, set[Part]] = {"R": {"R"}, "Q": {"A", "Q"}, "V1": {"m1", "V1"}}
"""The covariances, and which learned parts need them positive definite; R always is, the others semi-definite."""


def misfit(
    part: Part, matrix: Array, *, learned: Collection[Part], diagonal: Collection[Part]
) -> tuple[str, str] | None:
    """Return what a part has, and must not, and what it must be; None if it can be this part."""
    if part not in SURE:
        return None
    return unfit(matrix, sure=part == "R" or not SURE[part].isdisjoint(learned), diagonal=part in diagonal)


def check_given(
    given: Mapping[Part, Any], states: int, *, learned: Collection[Part], diagonal: Collection[Part]
) -> None:
    """Refuse given matrices that do not fit `states` coordinates or one another, with a ConfigError; empty ones fit."""
    n, m = states, len(given["C"]) or len(given["R"])
    shapes: dict[Part, tuple[int, ...]] = {"A": (n, n), "C": (m, n), "Q": (n, n), "R": (m, m), "m1": (n,), "V1": (n, n)}
    for part, shape in shapes.items():
        rows = given[part]
        if not rows:
            continue
        lengths = {len(row) for row in rows} if isinstance(rows[0], tuple) else set()
        if len(rows) != shape[0] or (len(shape) == 2 and lengths != {shape[1]}):
            found, wanted = f"{len(rows)} rows of {sorted(lengths)} numbers", f"the shape {shape}"
            raise ConfigError(tell(f"lds: {NAMES[part]}", found=found, wanted=wanted, do="correct it"))
        if wrong := misfit(part, np.array(rows, float), learned=learned, diagonal=diagonal):
            raise ConfigError(tell(f"lds: {NAMES[part]}", found=wrong[0], wanted=wrong[1], do="correct it"))


def check_support(
    observations: Observations, given: Mapping[Part, Any], states: int, *,
    learned: Collection[Part], diagonal: Collection[Part], first: bool,
) -> None:  # fmt: skip
    """Refuse warm-up rows from which what is learned cannot be started, with a ModelError.

    Parameters
    ----------
    observations : Observations
    given : mapping
        The matrices by their parts, empty where they are not given.
    states : int
        n.
    learned, diagonal : collection of str
        The parts, and those of them that are held diagonal.
    first : bool
        Whether a sequence begins with the state of its first row, so that one row alone shows no step.
    """
    columns = observations.values.shape[1]
    for part in ("C", "R"):
        if given[part] and len(given[part]) != columns:
            found, wanted = f"records of {columns} columns", f"{len(given[part])} of them, the rows of {NAMES[part]}"
            raise ModelError(tell("the start of the lds", found=found, wanted=wanted, do="name other features"))
    seen = observations[seen_rows(observations)]
    if first and not {"A", "Q"}.isdisjoint(learned):
        check_runs(seen, np.ones(len(seen)), 2, "what moves the state shows in how they differ")
    known = int((~np.isnan(seen.values)).sum())
    least = least_rows(learned, states, columns, diagonal=diagonal)
    if known < least * columns:
        gaps = "" if known == seen.values.size else f" with {known} values"
        found = f"{len(seen)} warm-up records{gaps}"
        wanted = f"at least {least}: {states} states in {columns} columns can repeat fewer without learning"
        do = f"use a smaller state_size, or warmup_records of {10 * least}"
        raise ModelError(tell("the start of the lds", found=found, wanted=wanted, do=do))
