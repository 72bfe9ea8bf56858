"""Errors about settings by the names that an estimator has for them, whatever the floors below call them."""

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from streamem.errors import ConfigError, tell

__all__ = ["as_written", "check_name", "check_whole"]

WRITTEN = {
    "components": "n_components",
    "states": "n_components",
    "covariance": "covariance_type",
    "observation_covariance": "observation_covariance_type",
    "seed": "random_state",
}
"""Our names of settings, and those of scikit-learn and hmmlearn, where an estimator has these and not ours."""


@contextmanager
def as_written(kind: str, settings: Collection[str]) -> Iterator[None]:
    """Raise a ConfigError about a setting again with a place that names the class `kind` and the setting as it has it.

    Examples
    --------
    >>> from streamem.em import Mixture
    >>> with as_written("GaussianMixture", ["n_components"]):
    ...     Mixture(components=0)
    Traceback (most recent call last):
    ...
    streamem.errors.ConfigError: GaussianMixture: n_components: found 0; wanted a whole number of at least 1. To do: \
write 2.
    """
    try:
        yield
    except ConfigError as error:
        place, found, rest = str(error).partition(": found ")
        name = place.rpartition(": ")[2]
        name = name if name in settings else WRITTEN.get(name, "")
        if not found or name not in settings:
            raise
        raise ConfigError(f"{kind}: {name}{found}{rest}") from error


def check_whole(place: str, value: Any) -> None:
    """Refuse what is no whole number, with a ConfigError."""
    if not isinstance(value, int | np.integer) or isinstance(value, bool | np.timedelta64):
        raise ConfigError(tell(place, found=repr(value), wanted="a whole number", do="write one"))


def check_name(place: str, value: Any) -> None:
    """Refuse what cannot be the name of a field, with a ConfigError."""
    try:
        hash(value)
    except TypeError as error:
        found = repr(value)[:60]
        raise ConfigError(tell(place, found=found, wanted="the name of a field", do="write one")) from error
