"""Exponential families: what a component of a mixture is made of. A new one is a file and a line here."""

from typing import Any

from streamem.em.families.bernoulli import Bernoulli
from streamem.em.families.categorical import Categorical
from streamem.em.families.compound_dirichlet import CompoundDirichlet
from streamem.em.families.exponential import Exponential
from streamem.em.families.family import Family, Parameters
from streamem.em.families.gamma import Gamma
from streamem.em.families.gaussian import Gaussian
from streamem.em.families.geometric import Geometric
from streamem.em.families.log_normal import LogNormal
from streamem.em.families.multinomial import Multinomial
from streamem.em.families.poisson import Poisson
from streamem.em.families.product import Part, Product

__all__ = [
    "FAMILIES",
    "Bernoulli",
    "Categorical",
    "CompoundDirichlet",
    "Exponential",
    "Family",
    "Gamma",
    "Gaussian",
    "Geometric",
    "LogNormal",
    "Multinomial",
    "Parameters",
    "Part",
    "Poisson",
    "Product",
]

FAMILIES: dict[str, type[Any]] = {
    "gaussian": Gaussian,
    "log_normal": LogNormal,
    "poisson": Poisson,
    "bernoulli": Bernoulli,
    "exponential": Exponential,
    "gamma": Gamma,
    "geometric": Geometric,
    "categorical": Categorical,
    "multinomial": Multinomial,
    "compound_dirichlet": CompoundDirichlet,
    "product": Product,
}
