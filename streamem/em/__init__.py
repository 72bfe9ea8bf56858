"""The mathematics: arrays in, arrays out. No clock, no files, no Kafka.

Read `online` first: every model learns by the one rule in it.
"""

from streamem.em.anomaly import AnomalyRank
from streamem.em.carry import Carry
from streamem.em.families import (
    FAMILIES,
    Bernoulli,
    Categorical,
    CompoundDirichlet,
    Exponential,
    Gamma,
    Gaussian,
    Geometric,
    LogNormal,
    Multinomial,
    Part,
    Poisson,
    Product,
)
from streamem.em.hmm import HMM
from streamem.em.kalman import Kalman
from streamem.em.lds import LDS
from streamem.em.mixture import Mixture
from streamem.em.observations import Observations
from streamem.em.online import INERTIAS, ExactInertia, OnlineEM, SampledInertia
from streamem.em.posterior import Posterior
from streamem.em.schedule import SCHEDULES, Constant, Cumulative, GrowingWindow, Power
from streamem.em.snapshot import MODELS, Snapshot, combine

__all__ = [
    "FAMILIES",
    "HMM",
    "INERTIAS",
    "LDS",
    "MODELS",
    "SCHEDULES",
    "AnomalyRank",
    "Bernoulli",
    "Carry",
    "Categorical",
    "CompoundDirichlet",
    "Constant",
    "Cumulative",
    "ExactInertia",
    "Exponential",
    "Gamma",
    "Gaussian",
    "Geometric",
    "GrowingWindow",
    "Kalman",
    "LogNormal",
    "Mixture",
    "Multinomial",
    "Observations",
    "OnlineEM",
    "Part",
    "Poisson",
    "Posterior",
    "Power",
    "Product",
    "SampledInertia",
    "Snapshot",
    "combine",
]
