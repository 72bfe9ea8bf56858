"""Which transitions of a chain are possible."""

from collections.abc import Sequence

import numpy as np

from streamem.em.observations import Flags
from streamem.errors import ConfigError, tell

__all__ = ["check_mask", "possible"]

Mask = Sequence[Sequence[int]]


def possible(mask: Mask, states: int, *, ordered: bool) -> Flags:
    """Return which transitions are, shape (K, K): those of the mask, in a chain that is `ordered` to later states."""
    every = np.ones((states, states), bool)
    flags = np.triu(every) if ordered else every
    return flags & np.array(mask, bool) if mask else flags


def check_mask(mask: Mask, states: int, *, ordered: bool, absorbing: bool) -> None:
    """Refuse a mask of another shape, or with a state that nothing follows where chains do not end; a ConfigError."""
    rows = [len(row) for row in mask]
    if rows and (rows != [states] * states or not set().union(*mask) <= {0, 1}):
        found, wanted = f"rows of {rows} numbers", f"{states} rows of {states} numbers, each 0 or 1"
        raise ConfigError(tell("hmm: mask", found=found, wanted=wanted, do="write 1 where a transition is possible"))
    allowed = possible(mask, states, ordered=ordered)
    if not allowed.any():
        do = "write 1 where a transition is possible, or learn a mixture"
        raise ConfigError(tell("hmm: mask", found="no transition at all", wanted="at least one 1", do=do))
    empty = np.flatnonzero(~allowed.any(axis=1))
    if empty.size and not absorbing:
        found, wanted = f"no state that may follow state {empty[0]}", "at least one 1 in every row"
        raise ConfigError(tell("hmm: mask", found=found, wanted=wanted, do="allow it to stay: 1 on the diagonal"))
