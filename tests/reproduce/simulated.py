"""Simulated mixtures: one online pass with the default settings against scikit-learn's batch EM, best of five.

What counts is the log-likelihood per row of held-out rows under the averaged parameters. The shapes, the separation
and the schedule are crossed; the default schedule stands beside `cumulative` to show that it earns its place.
"""

import warnings
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.mixture import GaussianMixture

from streamem.em import Cumulative, GrowingWindow, Mixture, Observations, OnlineEM
from streamem.em.start import batch_em
from tests.reproduce.figure import Figure

ROWS = 80_000
HELD_OUT = 20_000
BATCHES = (100, 1000)


@dataclass(frozen=True)
class Shape:
    """A family of simulated mixtures; `spread` is the standard deviation of the means, whose noise is about 1."""

    name: str
    components: int
    columns: int
    spread: float


SHAPES = [
    Shape("K=5 d=2 separated", 5, 2, 6.0),
    Shape("K=5 d=2 overlapping", 5, 2, 2.0),
    Shape("K=8 d=4 separated", 8, 4, 5.0),
    Shape("K=8 d=4 overlapping", 8, 4, 1.5),
    Shape("K=16 d=8 separated", 16, 8, 4.0),
    Shape("K=16 d=8 overlapping", 16, 8, 1.25),
    Shape("K=7 d=54", 7, 54, 1.0),
]


def draw(shape: Shape, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the rows of a stream and held-out rows of the same mixture."""
    rng = np.random.default_rng([seed, shape.components, shape.columns, int(100 * shape.spread)])
    shares = rng.dirichlet(np.full(shape.components, 5.0))
    means = rng.normal(scale=shape.spread, size=(shape.components, shape.columns))
    factors = rng.normal(size=(shape.components, shape.columns, shape.columns)) / np.sqrt(shape.columns)
    factors = 0.7 * factors + 0.7 * np.eye(shape.columns)
    label = rng.choice(shape.components, size=ROWS + HELD_OUT, p=shares)
    rows = np.empty((len(label), shape.columns))
    for k in range(shape.components):
        mine = label == k
        rows[mine] = means[k] + rng.normal(size=(mine.sum(), shape.columns)) @ factors[k].T
    return np.ascontiguousarray(rows[:ROWS]), np.ascontiguousarray(rows[ROWS:])


def one_pass(model: Mixture, schedule: object, rows: np.ndarray, batch: int, seed: int) -> OnlineEM:
    """Return a learner that has seen the rows once."""
    learner = OnlineEM(model, schedule, seed=seed)
    for start in range(0, len(rows), batch):
        learner.update(Observations(rows[start : start + batch]))
    return learner


def judge(learner_parameters: object, model: Mixture, held_out: np.ndarray) -> float:
    """Return the mean log-likelihood of held-out rows."""
    return float(model.posterior(learner_parameters, Observations(held_out))[0].log_likelihood.mean())


def compare(shape: Shape, seed: int) -> dict[str, float]:
    """Return held-out log-likelihoods per row: differences to scikit-learn's, and to batch EM from our warm start."""
    rows, held_out = draw(shape, seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        peer = GaussianMixture(shape.components, n_init=5, tol=1e-4, max_iter=300, random_state=seed).fit(rows)
    published = peer.score(held_out)
    model = Mixture(components=shape.components)
    found = {}
    for batch in BATCHES:
        for name, schedule in (("default", GrowingWindow()), ("cumulative", Cumulative())):
            learner = one_pass(model, schedule, rows, batch, seed)
            assert learner.warmup(shape.columns) <= 0.05 * ROWS
            found[f"{name} {batch}"] = judge(learner.snapshot.averaged, model, held_out) - published
    warm = OnlineEM(model, seed=seed)
    warm.update(Observations(rows[: warm.warmup(shape.columns)]))
    fitted, _ = batch_em(model, warm.snapshot.parameters, Observations(rows))
    found["warm start"] = judge(fitted, model, held_out) - published
    return found


def figures(seeds: int) -> Iterator[Figure]:
    """Yield the median and the worst of the default schedule; `cumulative` and our own warm start stand in the note."""
    for shape in SHAPES:
        table = [compare(shape, seed) for seed in range(seeds)]
        for batch in BATCHES:
            gaps = np.array([row[f"default {batch}"] for row in table])
            own = gaps - np.array([row["warm start"] for row in table])
            other = np.array([row[f"cumulative {batch}"] for row in table])
            name = f"{shape.name}, batches of {batch}, {seeds} seeds"
            note = "against batch EM from our warm start {:+.4f}; cumulative {:+.4f}"
            for kind, pick, goal in (("median", np.median, -0.01), ("worst", np.min, -0.06)):
                yield Figure(
                    f"{name}: {kind}", float(pick(gaps)), 0.0, -goal, True, note.format(pick(own), pick(other))
                )
