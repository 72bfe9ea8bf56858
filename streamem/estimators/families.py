"""Families by the names that scikit-learn, hmmlearn and pipeline files give them."""

from typing import Any

from streamem.em import FAMILIES
from streamem.em.families import Family
from streamem.errors import ConfigError, nearest, tell

__all__ = ["COVARIANCES", "covariance_of", "family_of"]

COVARIANCES = {"full": "full", "tied": "tied", "diag": "diagonal", "spherical": "spherical"}
"""The names of scikit-learn and hmmlearn, and ours."""


def covariance_of(name: Any) -> Any:
    """Return our name of a covariance type.

    Raises
    ------
    ConfigError
        There is none such.
    """
    if not isinstance(name, str) or name not in {*COVARIANCES, *COVARIANCES.values()}:
        wanted, do = f"one of {', '.join(COVARIANCES)}", "correct it"
        found = f"{name!r}{nearest(str(name), COVARIANCES)}"
        raise ConfigError(tell("covariance_type", found=found, wanted=wanted, do=do))
    return COVARIANCES.get(name, name)


def family_of(family: Any) -> Family:
    """Return a family that is given by name, or made already.

    Raises
    ------
    ConfigError
        There is none of that name.

    Examples
    --------
    >>> family_of("poisson")
    Poisson(type='poisson')
    """
    if not isinstance(family, str):
        made: Family = family
        return made
    if family not in FAMILIES:
        found, wanted = f"{family!r}{nearest(family, FAMILIES)}", f"one of {', '.join(FAMILIES)}"
        raise ConfigError(tell("family", found=found, wanted=wanted, do="correct the name"))
    if family == "product":
        found, do = "'product'", "write Product(parts=(Part(Gaussian()), Part(Poisson())))"
        raise ConfigError(tell("family", found=found, wanted="a product with its parts", do=do))
    named: Family = FAMILIES[family]()
    return named
