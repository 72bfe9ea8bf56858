"""One list of models; every law runs over all of them."""

from dataclasses import dataclass, fields, is_dataclass
from typing import Any, get_args, get_type_hints

import numpy as np

from streamem.em import (
    HMM,
    Bernoulli,
    CompoundDirichlet,
    Exponential,
    Gamma,
    Gaussian,
    Geometric,
    LogNormal,
    Mixture,
    Multinomial,
    Observations,
    Poisson,
)
from streamem.em.observations import Span


@dataclass(frozen=True)
class Case:
    name: str
    model: Any
    columns: int
    missing: bool = False
    weighted: bool = False
    exposed: bool = False
    sequences: int = 0
    """How many sequences the rows are of."""

    @property
    def family(self):
        """Return the name of its family, None for a model without."""
        return self.model.family.type if hasattr(self.model, "family") else None

    @property
    def certified(self):
        """Return whether `tests.reproduce` looks at a thousand updates of it."""
        return (self.weighted and type(getattr(self.model, "family", None)) is not Gaussian) or self.model.sequential

    def rows(self, count, seed=0):
        """Return observations that the model fits roughly, drawn from components far apart."""
        rng = np.random.default_rng([seed, self.columns])
        component = rng.integers(self.model.components, size=count)
        weight = rng.uniform(0.2, 3.0, size=count) if self.weighted else None
        sequence = None
        if self.model.sequential:
            stays = rng.random(count) < 0.8
            stays[0] = False
            component = component[np.maximum.accumulate(np.where(stays, 0, np.arange(count)))]
            if self.sequences:
                sequence = np.sort(rng.integers(self.sequences, size=count))
                weight = None if weight is None else weight[sequence]
        exposure = rng.uniform(0.5, 4.0, size=count) if self.exposed else None
        values = self.drawn(component, np.ones(count) if exposure is None else exposure, rng)
        if self.missing:
            values = np.where(rng.random(values.shape) < 0.2, np.nan, values)
        return Observations(values, weight, exposure, sequence)

    def order(self):
        """Return another order of the components, where the model has one."""
        there = np.arange(self.model.components)
        return there if getattr(self.model, "transitions", "full") == "left_to_right" else np.roll(there, 1)

    def boundary(self, rows, near):
        """Return the first place from `near` on where no sequence is cut."""
        if not self.model.sequential:
            return near
        return next((n for n in range(near, len(rows)) if rows.sequence[n] != rows.sequence[n - 1]), len(rows))

    def drawn(self, component, exposure, rng):
        """Return values of components whose parameters never change."""
        shape = (self.model.components, self.columns)
        still = np.random.default_rng(99)
        if isinstance(self.model.family, Gaussian):
            values = still.normal(scale=4.0, size=shape)[component]
            values = values + rng.normal(size=values.shape) @ (np.eye(self.columns) + 0.4)
            return np.exp(0.3 * values) if isinstance(self.model.family, LogNormal) else values
        mean = still.uniform(0.05, 0.95, size=shape)
        if isinstance(self.model.family, Gamma):
            return rng.gamma(20.0 * mean[component]) / still.uniform(0.1, 10.0, size=shape)[component]
        if isinstance(self.model.family, Multinomial):
            trials = rng.integers(0, 40, size=len(component))
            return rng.multinomial(trials, mean[component] / mean[component].sum(axis=1, keepdims=True)).astype(float)
        if isinstance(self.model.family, CompoundDirichlet):
            shares = rng.standard_gamma(8.0 * mean[component]) + 1e-300
            return rng.multinomial(30, shares / shares.sum(axis=1, keepdims=True)).astype(float)
        if not isinstance(self.model.family, Bernoulli):
            mean = np.exp(6.0 * mean - 2.0)
        return self.model.family.draw(mean[component] * exposure[:, None], rng)

    def parameters(self, seed=0):
        """Return parameters fitted to other rows than `rows` gives by default."""
        return self.model.start(self.rows(300 + 4 * self.columns, seed=seed + 1000), np.random.default_rng(seed))

    def support(self):
        """Return points over all that a value can be, and their weights in a sum that is an integral over it."""
        family = self.model.family
        if isinstance(family, Gaussian) and not isinstance(family, LogNormal):
            # the trapezoid rule over 120 standard deviations in steps of 0.02 is exact to rounding
            return np.linspace(-60.0, 60.0, 6001), np.full(6001, 0.02)
        if isinstance(family, (Exponential, Gamma, LogNormal)):
            logarithm = np.linspace(-45.0, 9.0, 20_001)  # the same rule for exp(u)
            return np.exp(logarithm), np.exp(logarithm) * (logarithm[1] - logarithm[0])
        points = np.arange(2.0 if isinstance(family, Bernoulli) else 20_000.0)
        return points, np.ones(len(points))


COVARIANCES = get_args(get_type_hints(Gaussian)["covariance"])

CASES = [
    Case(f"gaussian-{covariance}{'-missing' if missing else ''}{'-weighted' if weighted else ''}",
         Mixture(components=3, family=Gaussian(covariance=covariance)), 3, missing, weighted)
    for covariance in COVARIANCES
    for missing, weighted in ((False, False), (True, False), (True, True))
] + [
    Case("gaussian-full-one-component", Mixture(components=1), 2),
    Case("gaussian-full-one-column", Mixture(components=3), 1),
    Case("gaussian-full-through-blas", Mixture(components=2), 170),
] + [
    Case(f"{family.type}{'-missing' if missing else ''}{'-weighted' if weighted else ''}",
         Mixture(components=2, family=family), 4, missing, weighted)
    for family in (Poisson(), Bernoulli(), Exponential(), Geometric(), Gamma())
    for missing, weighted in ((False, False), (True, True))
] + [
    Case(f"log_normal-{covariance}{'-missing-weighted' if missing else ''}",
         Mixture(components=2, family=LogNormal(covariance=covariance)), 3, missing, missing)
    for covariance in ("full", "diagonal")
    for missing in (False, True)
] + [
    Case(f"hmm-{sequences}{'-missing-weighted' if missing else ''}",
         HMM(states=3, sequences=sequences), 2, missing, missing, sequences=9)
    for sequences in ("endless", "complete", "absorbing")
    for missing in (False, True)
] + [
    Case("hmm-poisson-exposed", HMM(states=2, family=Poisson()), 2, exposed=True, sequences=3),
    Case("hmm-left-to-right", HMM(states=3, sequences="complete", transitions="left_to_right"), 2, sequences=9),
    Case("multinomial", Mixture(components=2, family=Multinomial()), 5),
    Case("multinomial-weighted", Mixture(components=2, family=Multinomial()), 5, weighted=True),
    Case("compound_dirichlet", Mixture(components=2, family=CompoundDirichlet()), 5),
    Case("compound_dirichlet-weighted", Mixture(components=2, family=CompoundDirichlet()), 5, weighted=True),
    Case("compound_dirichlet-one-component", Mixture(components=1, family=CompoundDirichlet()), 10),
    Case("poisson-exposed", Mixture(components=2, family=Poisson()), 3, exposed=True),
    Case("poisson-exposed-missing-weighted", Mixture(components=2, family=Poisson()), 3, True, True, exposed=True),
]  # fmt: skip

ONE = Span(1.0)

PAST = ("scale", "centre", "log_centre")
"""Fields of parameters that belong to the warm-up."""

WHOLE = dict.fromkeys(
    ("multinomial", "compound_dirichlet"), "a row that lacks a count says nothing of how many there were"
)
"""Families whose rows must be whole, and why: no missing value can be marginalised."""


def flat(parameters):
    """Return parameters as one vector, for comparing; without what belongs to the warm-up."""
    parts = [getattr(parameters, one.name) for one in fields(parameters) if one.name not in PAST]
    return np.concatenate([flat(part) if is_dataclass(part) else np.ravel(part) for part in parts])
