"""The mathematics: arrays in, arrays out. No clock, no files, no Kafka.

Read `online` first: every model learns by the one rule in it.
"""

from streamem.em.anomaly import AnomalyRank
from streamem.em.carry import Carry
from streamem.em.families import (
    FAMILIES,
    Bernoulli,
    CompoundDirichlet,
    Exponential,
    Gamma,
    Gaussian,
    Geometric,
    LogNormal,
    Multinomial,
    Poisson,
)
from streamem.em.hmm import HMM
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
    "MODELS",
    "SCHEDULES",
    "AnomalyRank",
    "Bernoulli",
    "Carry",
    "CompoundDirichlet",
    "Constant",
    "Cumulative",
    "ExactInertia",
    "Exponential",
    "Gamma",
    "Gaussian",
    "Geometric",
    "GrowingWindow",
    "LogNormal",
    "Mixture",
    "Multinomial",
    "Observations",
    "OnlineEM",
    "Poisson",
    "Posterior",
    "Power",
    "SampledInertia",
    "Snapshot",
    "combine",
]
