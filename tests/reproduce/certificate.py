"""The certificate: L(Θ'|batch) + D_RE(Θ, Θ')/η <= L(Θ|batch), over thousands of online updates."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from streamem.em import Carry, Gaussian, Mixture, Observations
from tests.laws.cases import CASES, Case
from tests.reproduce.figure import Figure

COVARIANCES = ("full", "diagonal", "spherical", "tied")
UPDATES = 1500


def violations(covariance: str, updates: int) -> tuple[int, float]:
    """Return how many updates break the certificate, and the smallest slack relative to |L|."""
    rng = np.random.default_rng(0)
    # no floor: where one acts, the step is another one and the certificate says nothing
    model = Mixture(components=4, family=Gaussian(covariance=covariance, covariance_floor=1e-12))
    centres = rng.normal(scale=2.0, size=(4, 3))

    def rows(count: int) -> Observations:
        values = centres[rng.integers(4, size=count)] + rng.normal(size=(count, 3)) @ (np.eye(3) + 0.3)
        return Observations(np.where(rng.random(values.shape) < 0.05, np.nan, values), rng.uniform(0.1, 2.0, count))

    theta = model.start(rows(500), rng)
    broken, least = 0, np.inf
    for _ in range(updates):
        batch, eta = rows(int(rng.integers(1, 60))), float(np.exp(rng.uniform(-6.0, 2.0)))
        expectation = model.expect(theta, batch)
        moments = model.moments(theta, model.span(batch))
        new = model.maximize(moments.blend(expectation.statistics, eta / (1.0 + eta)), theta)
        assert not model.at_floor(new).any()
        before = -batch.mean(expectation.log_likelihood)
        after = -batch.mean(model.posterior(new, batch)[0].log_likelihood)
        slack = before - after - model.relative_entropy(theta, new, model.span(batch)) / eta
        least = min(least, slack / abs(before))
        broken += slack < -1e-12 * abs(before)
        theta = new
    return broken, least


def violations_of_case(case: Case, updates: int) -> tuple[int, float]:
    """Return the same for a case of `tests.laws`; an update where a floor acts does not count, and begins anew."""
    rng = np.random.default_rng(0)
    model, theta, carry = case.model, case.parameters(), Carry()
    broken, least, done, seed, clock = 0, np.inf, 0, 0, 0.0
    while done < updates:
        seed += 1
        batch, eta = case.rows(int(rng.integers(1, 60)), seed=seed), float(np.exp(rng.uniform(-6.0, 2.0)))
        if batch.time is not None:
            batch = replace(batch, time=batch.time + clock)
            clock = batch.time[-1]
        sequence = batch.segments().sequence
        carried = carry.take(sequence)
        expectation = model.expect(theta, batch, carried)
        before = -batch.mean(expectation.log_likelihood)
        if abs(before) < 1e-9:  # the batch says nothing: it has no values, or no trials
            continue
        span = model.span(batch, carried)
        new = model.maximize(model.moments(theta, span).blend(expectation.statistics, eta / (1.0 + eta)), theta)
        if model.at_floor(new).any():
            theta, carry = case.parameters(), Carry()
            continue
        after = -batch.mean(model.posterior(new, batch, carried)[0].log_likelihood)
        slack = before - after - model.relative_entropy(theta, new, span) / eta
        least = min(least, slack / abs(before))
        broken += slack < -1e-12 * abs(before)
        carry.put(sequence, expectation.carried)
        theta, done = new, done + 1
    return broken, least


def figures(seeds: int) -> Iterator[Figure]:
    """Yield the violations for each covariance and each family; `seeds` below 10 shortens the run."""
    updates = UPDATES if seeds >= 10 else 150 * seeds
    for covariance in COVARIANCES:
        broken, least = violations(covariance, updates)
        note = f"in {updates} updates with missing values and weights; least slack {least:.1e} |L|"
        yield Figure(f"certificate {covariance}: violations", float(broken), 0.0, 0.0, note=note)
    for case in (one for one in CASES if one.certified):
        broken, least = violations_of_case(case, 2 * updates // 3)
        note = f"in {2 * updates // 3} updates; least slack {least:.1e} |L|"
        yield Figure(f"certificate {case.name}: violations", float(broken), 0.0, 0.0, note=note)
