"""What a user may give for rows of numbers: arrays and all that becomes one, but never text, and nothing impossible."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from streamem.errors import DataError, tell

__all__ = ["by_row", "numbers"]

WANTED = {
    "weight": "a finite number of at least 0",
    "exposure": "a finite number above 0",
    "sequence": "a whole number of at least 0",
    "time": "a finite number of seconds",
}

NUMBERED = "number the sequences from 0 on, the same number for the same sequence in every batch"


def numbers(place: str, given: Any) -> NDArray[np.float64]:
    """Return what was given as an array of float64; it is the same array where it can be.

    None and what is masked are NaN.

    Raises
    ------
    DataError
        Text, dates, rows of different lengths.

    Examples
    --------
    >>> numbers("values", [[1, None], [2.5, 3]]).tolist()
    [[1.0, nan], [2.5, 3.0]]
    """
    if isinstance(given, np.ma.MaskedArray):
        given = np.ma.filled(given.astype(np.float64), np.nan)
    try:
        array = np.asarray(given)
    except (TypeError, ValueError) as error:
        raise unlike(place, f"a {type(given).__name__} that is no array: {error}") from error
    if array.dtype.kind not in "biufO":
        raise unlike(place, "text" if array.dtype.kind in "US" else f"an array of {array.dtype}")
    if array.dtype.kind == "O" and any(isinstance(one, str | bytes) for one in array.flat):
        raise unlike(place, "text")
    try:
        # in C order, and never fewer dimensions than before
        return array.astype(np.float64, order="C", copy=False)
    except (TypeError, ValueError) as error:
        raise unlike(place, f"an array of {array.dtype}: {error}") from error


def unlike(place: str, found: str) -> DataError:
    """Return the error for what is no numbers."""
    do = "give an array of numbers; for times subtract one of them and divide by np.timedelta64(1, 's')"
    if place == "sequence":
        do = NUMBERED
    elif place != "time":
        do = "make numbers of it, or leave it out"
    return DataError(tell(place, found=found, wanted="numbers", do=do))


def by_row(name: str, given: Any, rows: int) -> NDArray[Any]:
    """Return one number a row as an array: weights, exposures, numbers of sequences or times.

    Raises
    ------
    DataError
        Another shape, or a number that a row cannot have.

    Examples
    --------
    >>> by_row("weight", [1, 2], rows=2).tolist()
    [1.0, 2.0]
    """
    found: NDArray[Any] = numbers(name, given)
    if found.shape != (rows,):
        do = "give one number for each row of values"
        raise DataError(tell(name, found=f"the shape {found.shape}", wanted=f"({rows},)", do=do))
    right = np.isfinite(found)
    if name == "weight":
        right &= found >= 0.0
    elif name == "exposure":
        right &= found > 0.0
    elif name == "sequence":
        right &= (found >= 0.0) & (found == np.floor(found)) & (found < 2.0**53)
    if np.count_nonzero(right) != rows:
        row = int(right.argmin())
        do = NUMBERED if name == "sequence" else "mend the row, or leave it out"
        raise DataError(tell(f"{name}[{row}]", found=f"{found[row]:g}", wanted=WANTED[name], do=do))
    return found.astype(np.intp) if name == "sequence" else found
