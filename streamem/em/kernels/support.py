"""Whether values can be what they should be, in one pass over all of them."""

import numpy as np

from streamem.em.kernels import compiled

__all__ = ["uncounted"]


@compiled
def uncounted(values, highest):  # type: ignore[no-untyped-def]
    """Return how many values are no whole numbers from 0 to `highest`; a missing one is not among them."""
    bad = 0
    for value in values.flat:
        bad += (value < 0.0) | (value > np.floor(value)) | (value > highest)
    return bad
