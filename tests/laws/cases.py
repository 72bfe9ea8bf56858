"""One list of models; every law runs over all of them."""

import functools
from dataclasses import dataclass, fields, is_dataclass
from typing import Any, get_args, get_type_hints

import numpy as np

from streamem.em import (
    HMM,
    LDS,
    Bernoulli,
    Categorical,
    CompoundDirichlet,
    Exponential,
    Gamma,
    Gaussian,
    Geometric,
    Kalman,
    LogNormal,
    Mixture,
    Multinomial,
    Observations,
    Part,
    Poisson,
    Product,
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
        if isinstance(self.model, (Kalman, LDS)):
            return self.moving(count, rng)
        component = rng.integers(self.model.components, size=count)
        weight = rng.uniform(0.2, 3.0, size=count) if self.weighted else None
        sequence = None
        if self.model.sequential:
            stays = rng.random(count) < 0.8
            stays[0] = False
            component = component[np.maximum.accumulate(np.where(stays, 0, np.arange(count)))]
            if self.sequences:
                sequence = np.sort(rng.integers(self.sequences, size=count))
                weight = None if weight is None else rng.uniform(0.2, 3.0, size=self.sequences)[sequence]
        exposure = rng.uniform(0.5, 4.0, size=count) if self.exposed else None
        values = self.drawn(component, np.ones(count) if exposure is None else exposure, rng)
        if self.missing:
            values = np.where(rng.random(values.shape) < 0.2, np.nan, values)
        return Observations(values, weight, exposure, sequence)

    def moving(self, count, rng):
        """Return several sequences of something that moves, at irregular times."""
        sequence = np.sort(rng.integers(self.sequences, size=count))
        elapsed = rng.exponential(size=count) * (rng.random(count) < 0.9)
        velocity = 0.3 * np.cumsum(rng.normal(size=(count, self.columns)), axis=0)
        values = np.cumsum(velocity * elapsed[:, None], axis=0) if self.model.timed else 0.1 * velocity
        values = values + rng.normal(size=values.shape) * np.linspace(0.5, 1.0, self.columns)
        if self.missing:
            values = np.where(rng.random(values.shape) < 0.2, np.nan, values)
        weight = rng.uniform(0.2, 3.0, size=self.sequences)[sequence] if self.weighted else None
        return Observations(values, weight, None, sequence, np.cumsum(elapsed) if self.model.timed else None)

    def order(self):
        """Return another order of the components, where the model has one."""
        there = np.arange(self.model.components)
        return there if getattr(self.model, "transitions", "full") == "left_to_right" else np.roll(there, 1)

    def boundary(self, rows, near):
        """Return the first place from `near` on where no sequence is cut."""
        if not self.model.sequential:
            return near
        return next((n for n in range(near, len(rows)) if rows.sequence[n] != rows.sequence[n - 1]), len(rows))

    def reach(self, theta):
        """Return how much of the state each column shows."""
        return theta.observation if isinstance(self.model, LDS) else np.ones(1)

    def drawn(self, component, exposure, rng):
        """Return values of components whose parameters never change."""
        return drawn(self.model.family, (self.model.components, self.columns), component, exposure, rng)

    def parameters(self, seed=0):
        """Return parameters fitted to other rows than `rows` gives by default."""
        return fitted(self, seed)

    def support(self, theta):
        """Return points over all that a value can be, and their weights in a sum that is an integral over it."""
        if isinstance(self.model, (Kalman, LDS)):
            spread = np.sqrt(np.trace(theta.initial_covariance) + np.trace(theta.observation_covariance)) + 1.0
            step = 0.5 * np.sqrt(theta.observation_covariance[0, 0])
            wide = np.abs(theta.initial_mean).max() + 12.0 * spread * (1.0 + np.abs(self.reach(theta)).max())
            points = np.linspace(-wide, wide, 2 * int(min(wide / step, 400_000)) + 1)
            return points, np.full(len(points), points[1] - points[0])
        family = self.model.family
        if isinstance(family, Product):
            family = family.parts[0].family
        if isinstance(family, Categorical):
            count = len(family.categories) + family.other
            return np.arange(float(count)), np.ones(count)
        if isinstance(family, Gaussian) and not isinstance(family, LogNormal):
            # the trapezoid rule over 120 standard deviations in steps of 0.02 is exact to rounding
            return np.linspace(-60.0, 60.0, 6001), np.full(6001, 0.02)
        if isinstance(family, (Exponential, Gamma, LogNormal)):
            logarithm = np.linspace(-45.0, 9.0, 20_001)  # the same rule for exp(u)
            return np.exp(logarithm), np.exp(logarithm) * (logarithm[1] - logarithm[0])
        points = np.arange(2.0 if isinstance(family, Bernoulli) else 20_000.0)
        return points, np.ones(len(points))


@functools.cache
def fitted(case, seed):
    """Return the parameters of `Case.parameters`; many laws ask for the same."""
    return case.model.start(case.rows(300 + 4 * case.columns, seed=seed + 1000), np.random.default_rng(seed))


def drawn(family, shape, component, exposure, rng):
    """Return values of components whose parameters never change; `shape` is components and columns."""
    still = np.random.default_rng(99)
    if isinstance(family, Product):
        shapes = [(shape[0], part.columns) for part in family.parts]
        each = zip(family.parts, shapes, strict=True)
        return np.hstack([drawn(part.family, its_shape, component, exposure, rng) for part, its_shape in each])
    if isinstance(family, Gaussian):
        values = still.normal(scale=4.0, size=shape)[component]
        values = values + rng.normal(size=values.shape) @ (np.eye(shape[1]) + 0.4)
        return np.exp(0.3 * values) if isinstance(family, LogNormal) else values
    if isinstance(family, Categorical):
        share = still.dirichlet(np.ones(len(family.categories) + family.other), size=shape)[component]
        return (rng.random((*share.shape[:2], 1)) > share.cumsum(axis=2)[:, :, :-1]).sum(axis=2).astype(float)
    mean = still.uniform(0.05, 0.95, size=shape)
    if isinstance(family, Gamma):
        return rng.gamma(20.0 * mean[component]) / still.uniform(0.1, 10.0, size=shape)[component]
    if isinstance(family, Multinomial):
        trials = rng.integers(0, 40, size=len(component))
        return rng.multinomial(trials, mean[component] / mean[component].sum(axis=1, keepdims=True)).astype(float)
    if isinstance(family, CompoundDirichlet):
        shares = rng.standard_gamma(8.0 * mean[component]) + 1e-300
        return rng.multinomial(30, shares / shares.sum(axis=1, keepdims=True)).astype(float)
    if not isinstance(family, Bernoulli):
        mean = np.exp(6.0 * mean - 2.0)
    if not family.exposed:
        exposure = np.ones(len(component))
    return family.draw(mean[component] * exposure[:, None], rng)


COLOURS = Categorical(categories=("red", "green", "blue", "grey"))

MIXED = Product(parts=(Part(Gaussian(), columns=2), Part(Poisson()), Part(Bernoulli()), Part(COLOURS)))

SEASON = {"period": 6, "harmonics": 1}

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
    Case(f"kalman-{dynamics}{'-missing-weighted' if missing else ''}",
         Kalman(dynamics=dynamics, **(SEASON if dynamics == "seasonal" else {})), 2, missing, missing, sequences=4)
    for dynamics in get_args(get_type_hints(Kalman)["dynamics"])
    for missing in (False, True)
] + [
    Case("kalman-complete-full", Kalman(sequences="complete", observation_covariance="full"), 2, sequences=4),
    Case("lds", LDS(state_size=2), 3, sequences=5),
    Case("lds-complete-missing-weighted", LDS(state_size=2, sequences="complete"), 3, True, True, sequences=6),
    Case("lds-known-observation", LDS(observation=((1.0, 0.0), (0.0, 1.0), (1.0, 1.0)), diagonal=("R",),
                                      transition=((0.9, 0.1), (0.0, 0.8)), sequences="complete"), 3, sequences=6),
    Case("hmm-poisson-exposed", HMM(states=2, family=Poisson()), 2, exposed=True, sequences=3),
    Case("hmm-left-to-right", HMM(states=3, sequences="complete", transitions="left_to_right"), 2, sequences=9),
    Case("categorical", Mixture(components=2, family=COLOURS), 4),
    Case("categorical-other-missing-weighted",
         Mixture(components=3, family=Categorical(categories=("on", "off"), other=True)), 6, True, True),
    Case("hmm-categorical", HMM(states=2, family=COLOURS), 3, sequences=3),
    Case("product", Mixture(components=2, family=MIXED), 5),
    Case("product-missing-weighted", Mixture(components=2, family=MIXED), 5, True, True),
    Case("product-exposed-missing-weighted", Mixture(components=2, family=MIXED), 5, True, True, exposed=True),
    Case("product-with-multinomial-weighted", Mixture(components=2, family=Product(
        parts=(Part(Gaussian(covariance="diagonal")), Part(Multinomial(), columns=3)))), 4, weighted=True),
    Case("hmm-product-exposed", HMM(states=2, family=MIXED), 5, exposed=True, sequences=3),
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
    if isinstance(parameters, tuple):
        return np.concatenate([flat(part) for part in parameters])
    if not is_dataclass(parameters):
        return np.ravel(parameters)
    return np.concatenate([flat(getattr(parameters, one.name)) for one in fields(parameters) if one.name not in PAST])
