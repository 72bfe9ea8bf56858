"""Exponential families: what a component of a mixture is made of. A new one is a file and a line here."""

from typing import Any

from streamem.em.families.bernoulli import Bernoulli
from streamem.em.families.exponential import Exponential
from streamem.em.families.family import Family, Parameters
from streamem.em.families.gaussian import Gaussian
from streamem.em.families.geometric import Geometric
from streamem.em.families.poisson import Poisson

__all__ = ["FAMILIES", "Bernoulli", "Exponential", "Family", "Gaussian", "Geometric", "Parameters", "Poisson"]

FAMILIES: dict[str, type[Any]] = {
    "gaussian": Gaussian,
    "poisson": Poisson,
    "bernoulli": Bernoulli,
    "exponential": Exponential,
    "geometric": Geometric,
}
