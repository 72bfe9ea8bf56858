"""Compiled loops over rows: pure functions on C-contiguous float64, each with a slow twin in tests/naive.py.

Rows are taken in blocks that stay in the first-level cache, transposed so that a column of the block is contiguous:
the inner loops then run over rows and become vector instructions. Sums are reassociated (``fastmath`` without the
flags that would hide NaN or infinity); tests/em/test_kernels.py shows their error. All kernels release the GIL and
are cached on disk.
"""

from collections.abc import Callable
from typing import Any

import numba

__all__ = ["BLOCK", "compiled", "compiled_in_order", "inlined"]

BLOCK = 128
"""Rows a block; measured between 32 and 256 at d = 2, 8 and 54."""


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return `function` compiled for the arrays it is called with, as every kernel of the house is."""
    return kernel(function, {"reassoc", "contract", "nsz", "arcp"})


def compiled_in_order(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return `function` compiled so that no sum is reassociated: for arithmetic that compensates its own rounding."""
    return kernel(function, {"contract"})


def inlined(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return `function` to be pasted into the kernels that call it: up to a quarter faster in a loop."""
    made: Callable[..., Any] = numba.njit(inline="always")(function)
    return made


def kernel(function: Callable[..., Any], fastmath: set[str]) -> Callable[..., Any]:
    """Return `function` compiled, cached on disk, and run without the GIL."""
    made: Callable[..., Any] = numba.njit(cache=True, nogil=True, error_model="numpy", fastmath=fastmath)(function)
    return made
