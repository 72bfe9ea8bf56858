"""Estimators for river: mixtures, hidden Markov models and trackers that learn from records as they come."""

from streamem.estimators.chains import HMM, GaussianHMM, PoissonHMM
from streamem.estimators.mixtures import CompoundDirichlet, GaussianMixture, Mixture, PoissonMixture
from streamem.estimators.tracker import KalmanTracker

__all__ = [
    "HMM",
    "CompoundDirichlet",
    "GaussianHMM",
    "GaussianMixture",
    "KalmanTracker",
    "Mixture",
    "PoissonHMM",
    "PoissonMixture",
]
