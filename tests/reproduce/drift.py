"""Drift: what it costs not to notice an abrupt change, and how often one is told where there is none.

Mixtures of several shapes see 60,000 records that stay as they are; then every centre jumps, in each column by a normal
draw with a deviation of 3 times that within a component, and 20,000 more come. Some of these jumps hardly change the
likelihood: those are not told, and the losses are over all of them. The loss is that of the model beside the mixture
that the records are drawn from, in nats a record. Under "published" stands the goal, or the same run without a restart;
the delay is the median of the jumps that are told.
"""

from collections.abc import Iterator

import numpy as np

from streamem.em import Gaussian, Mixture, Observations, OnlineEM
from streamem.stream.operators.detectors import PageHinkley
from streamem.stream.operators.drift import DriftMonitor
from tests.reproduce.figure import Figure

SHAPES = ((1, 2), (2, 3), (10, 4))
"""Columns and components."""
BEFORE, AFTER, BATCH = 60_000, 20_000, 100
SHIFT = 3.0


def true_loss(rows: np.ndarray, centres: np.ndarray, shares: np.ndarray) -> float:
    """Return the mean of -log p of the mixture that rows were drawn from."""
    distance = ((rows[:, None] - centres) ** 2).sum(axis=2)
    density = np.log(shares) - 0.5 * distance - 0.5 * centres.shape[1] * np.log(2.0 * np.pi)
    return -float(np.logaddexp.reduce(density, axis=1).mean())


def passed(seed: int, shape: tuple[int, int], detector: PageHinkley, *, restarts: bool) -> tuple[int, int, np.ndarray]:
    """Return the drifts told before the change, the records until one is told after it, and the losses of its batches.

    No drift told counts as all records after it.
    """
    rng = np.random.default_rng(seed)
    columns, components = shape
    shares = rng.dirichlet(np.full(components, 5.0))
    centres = rng.normal(0.0, 4.0, (components, columns))
    learner = OnlineEM(Mixture(components=components, family=Gaussian(covariance="full")), seed=1)
    monitor = DriftMonitor(detector, window=1000)
    false, delay, losses = 0, AFTER, []
    for start in range(0, BEFORE + AFTER, BATCH):
        if start == BEFORE:
            centres = centres + SHIFT * rng.normal(size=centres.shape)
        rows = rng.normal(centres[rng.choice(components, BATCH, p=shares)])
        told = learner.update(Observations(rows))
        if not told:
            continue
        drifts = np.flatnonzero(monitor.watch(told[-1], np.zeros((BATCH, 1), np.bool_)))
        if len(drifts) and restarts:
            learner.restart()
        if start < BEFORE:
            false += len(drifts)
        else:
            losses.append(-float(told[-1].log_likelihood.mean()) - true_loss(rows, centres, shares))
            delay = min([delay, *(start - BEFORE + drifts)])
    return false, int(delay), np.array(losses)


def figures(seeds: int) -> Iterator[Figure]:
    """Yield false drifts, delays, and the losses with and without a restart."""
    for columns, components in SHAPES:
        name = f"drift K={components} d={columns}"
        draws = [(seed, (columns, components)) for seed in range(seeds)]
        ours = [passed(*draw, PageHinkley(), restarts=True) for draw in draws]
        blind = [passed(*draw, PageHinkley(), restarts=False) for draw in draws]
        records = seeds * BEFORE
        forgetful = [passed(*draw, PageHinkley(alpha=0.9999), restarts=False) for draw in draws]
        note = f"with river's alpha {sum(one[0] for one in forgetful)}"
        yield Figure(f"{name}: false in {records:,} records", sum(one[0] for one in ours), 0.0, 0.0, note=note)
        late = [one[1] for one in ours if one[1] < AFTER]
        median = float(np.median(late)) if late else np.inf
        yield Figure(f"{name}: minus delay, {len(late)} of {seeds} told", -median, -200.0, 0.0, at_least=True)
        for first, last in ((0, 2000), (2000, 5000), (5000, AFTER)):
            here = slice(first // BATCH, last // BATCH)
            with_it, without = (float(np.mean([one[2][here] for one in runs])) for runs in (ours, blind))
            yield Figure(f"{name}: minus loss, {first} to {last} after", -with_it, -without, 0.0, at_least=True)
