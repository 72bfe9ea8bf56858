"""The experiments of Amid and Warmuth (2020) on simulated data: ``python examples/paper.py [FOLDER]``.

Three models see each record once and are compared with batch EM, which sees all of them ten times; then workers that
learn apart are combined, by complete-data moments and by plainly averaging their parameters. A table is printed, and a
picture of each experiment is put into FOLDER (out/paper).

The paper prints neither its true parameters nor the lengths of its sequences. Chosen here: absorbing chains of 10 steps
on average, Kalman sequences of 10, 50 counts a row, true parameters and starts as in the code below; five draws of
each. Mixtures are drawn in the shapes of the paper's data (Covertype, Fashion-MNIST), which are not here.
It needs matplotlib and takes some minutes, most of them for the mixtures in 784 columns.
"""

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib import pyplot as plt

from streamem.em import (
    HMM,
    LDS,
    CompoundDirichlet,
    Mixture,
    Observations,
    OnlineEM,
    Power,
    SampledInertia,
    Snapshot,
)
from streamem.em.chain import ChainParameters
from streamem.em.combine import average
from streamem.em.families.compound_dirichlet import CompoundDirichletParameters
from streamem.em.families.gaussian import GaussianParameters
from streamem.em.linear import LDSParameters
from streamem.em.mixture import MixtureParameters
from streamem.em.start import batch_em

UNITS = 2000  # sequences, or rows of counts
DRAWS = 5
ITERATIONS = 10


@dataclass(frozen=True)
class Experiment:
    """A model, where it starts, its data unit by unit, and how an online pass goes through them."""

    name: str
    model: Any
    start: Any
    units: list[Observations]
    step: Power
    together: int = 1
    settings: dict[str, Any] = field(default_factory=dict)

    def loss(self, theta: Any) -> float:
        """Return the mean negative log-likelihood of a unit."""
        likelihood = self.model.posterior(theta, joined(self.units))[0].log_likelihood
        return -float(likelihood.sum()) / len(self.units)

    def batch(self) -> list[float]:
        """Return the loss at the start and after each iteration of batch EM."""
        theta, losses, every = self.start, [self.loss(self.start)], joined(self.units)
        for _ in range(ITERATIONS):
            theta, _ = batch_em(self.model, theta, every, iterations=1)
            losses.append(self.loss(theta))
        return losses

    def online(self) -> tuple[list[int], list[float]]:
        """Return after how many units of one pass the loss was looked at, and the losses."""
        learner = OnlineEM(self.model, self.step, start=begun(self.model, self.start), **self.settings)
        looked, losses = [0], [self.loss(self.start)]
        due = 2 ** np.arange(0, 12) * self.together
        for first in range(0, len(self.units), self.together):
            learner.update(joined(self.units[first : first + self.together]))
            done = first + self.together
            if done in due or done == len(self.units):
                looked.append(done)
                losses.append(self.loss(learner.snapshot.parameters))
        return looked, losses


def begun(model: Any, theta: Any) -> Snapshot:
    """Return a snapshot of a model that has seen nothing yet."""
    return Snapshot(model, theta, theta, 0, 0.0, 0, 0.0, 0.0)


def joined(units: list[Observations]) -> Observations:
    """Return units as one batch, each a sequence of its own."""
    numbered = [replace(unit, sequence=np.full(len(unit), n)) for n, unit in enumerate(units)]
    return Observations.concatenate(numbered)


def split(rows: Observations) -> list[Observations]:
    """Return the sequences of rows one by one."""
    bounds = rows.segments().bounds
    return [rows[first:last] for first, last in pairwise(bounds)]


def absorbing_chain(seed: int) -> Experiment:
    """Return 3 states and an absorbing one, Gaussian in 4 columns; one sequence an update."""
    rng = np.random.default_rng(seed)
    stays = 0.5 * np.eye(3) + 0.5 * rng.dirichlet(np.full(3, 2.0), size=3)
    means, ones = 2.5 * rng.normal(size=(3, 4)), np.stack([np.eye(4)] * 3)
    initial, end = np.array([0.6, 0.3, 0.1]), np.full(3, 0.1)
    truth = ChainParameters(initial, 0.9 * stays, end, GaussianParameters(means, ones, np.ones(4)))
    wide = GaussianParameters(means + rng.normal(size=(3, 4)), 4.0 * ones, np.ones(4))
    start = ChainParameters(np.full(3, 1 / 3), np.full((3, 3), 0.8 / 3), np.full(3, 0.2), wide)
    model = HMM(states=3, sequences="absorbing")
    return Experiment("absorbing HMM", model, start, split(model.sample(truth, UNITS, rng)[0]), Power(rate=0.5))


def kalman(seed: int) -> Experiment:
    """Return 5 states and 10 observed columns, noise known; one sequence an update."""
    rng = np.random.default_rng(seed)
    rotation, _ = np.linalg.qr(rng.normal(size=(5, 5)))
    known = LDSParameters(
        0.9 * rotation, rng.normal(size=(10, 5)), np.eye(5), np.eye(10), np.zeros(5), np.eye(5), np.ones(15)
    )
    model = LDS(
        state_size=5,
        transition_covariance=tuple(map(tuple, np.eye(5))),
        observation_covariance=tuple(map(tuple, np.eye(10))),
        sequences="complete",
    )
    rows, _ = model.sample(known, rng, np.full(UNITS, 10))
    off = {"transition": known.transition + 0.2 * rng.normal(size=(5, 5))}
    start = replace(known, **off, observation=known.observation + 0.7 * rng.normal(size=(10, 5)))
    return Experiment("Kalman", model, start, split(rows), Power(rate=1.0))


def compound_dirichlet(seed: int) -> Experiment:
    """Return counts of 50 in 10 columns; 100 rows an update, the inertia from 2,000 drawn rows as in the paper."""
    rng = np.random.default_rng(seed)
    alpha = 0.5 * rng.gamma(2.0, size=10)
    counts = [rng.multinomial(50, shares) for shares in rng.dirichlet(alpha, size=UNITS)]
    units = [Observations(row[None].astype(float)) for row in counts]
    start = CompoundDirichletParameters(3.0 * rng.gamma(2.0, size=(1, 10)), np.full(10, 0.1))
    model = Mixture(components=1, family=CompoundDirichlet())
    sampled = {"inertia": SampledInertia(samples=2000)}
    theta = MixtureParameters(np.ones(1), start)
    return Experiment("compound Dirichlet", model, theta, units, Power(rate=1.0), together=100, settings=sampled)


ONLINE: dict[Callable[[int], Experiment], float] = {absorbing_chain: 0.022, kalman: 0.028, compound_dirichlet: 0.076}
"""The experiments, and by what share of the drop to ten iterations of batch EM the paper's online pass missed them."""


@dataclass(frozen=True)
class Workers:
    """Mixtures that learn apart and are combined every so many records of each."""

    components: int
    columns: int
    workers: int
    records: int = 5000
    rounds: int = 4
    batch: int = 100

    def data(self, rng: np.random.Generator) -> tuple[MixtureParameters, Callable[[int], Observations]]:
        """Return a common start, and what draws rows."""
        k, d = self.components, self.columns
        centres = rng.normal(size=(k, d)) * 4.0 / np.sqrt(d)
        factors = rng.normal(size=(k, d, d)) * 0.7 / np.sqrt(d) + np.eye(d)
        shares = rng.dirichlet(np.full(k, 5.0))

        def rows(count: int) -> Observations:
            which = np.sort(rng.choice(k, size=count, p=shares))
            noise = rng.normal(size=(count, d))
            for c in range(k):
                noise[which == c] = noise[which == c] @ factors[c]
            return Observations((centres[which] + noise)[rng.permutation(count)])

        means = centres + rng.normal(size=(k, d)) / np.sqrt(d)
        start = GaussianParameters(means, np.stack([np.eye(d)] * k), np.ones(d))
        return MixtureParameters(np.full(k, 1.0 / k), start), rows

    def losses(self, seed: int = 0) -> Iterator[tuple[int, float, float]]:
        """Yield records a worker, and the held-out loss by complete-data moments and by plain averages."""
        rng = np.random.default_rng(seed)
        start, rows = self.data(rng)
        model, held_out = Mixture(components=self.components), rows(2000)
        joint = [begun(model, start)] * 2
        for turn in range(self.rounds):
            shards = [rows(self.records) for _ in range(self.workers)]
            found = []
            for kind, combine in enumerate((average, plain_average)):
                local = [self.learned(joint[kind], shard) for shard in shards]
                theta = combine(model, [one.parameters for one in local], [1.0] * self.workers)
                joint[kind] = replace(local[0], parameters=theta, averaged=theta)
                found.append(-float(model.posterior(theta, held_out)[0].log_likelihood.mean()))
            yield (turn + 1) * self.records, found[0], found[1]

    def learned(self, start: Snapshot, shard: Observations) -> Snapshot:
        """Return what one worker has learned from its shard."""
        learner = OnlineEM(start.model, Power(rate=0.05, exponent=0.5), start=start)
        for first in range(0, len(shard), self.batch):
            learner.update(shard[first : first + self.batch])
        return learner.snapshot


def plain_average(_: Mixture, parameters: list[MixtureParameters], __: list[float]) -> MixtureParameters:
    """Return the means of the parameters, each by itself: what combining by moments is compared with."""
    parts = [theta.components for theta in parameters]
    mean, covariance = (np.mean([getattr(part, name) for part in parts], axis=0) for name in ("mean", "covariance"))
    components = GaussianParameters(mean, covariance, parts[0].scale)
    return MixtureParameters(np.mean([theta.weights for theta in parameters], axis=0), components)


COMBINED = (Workers(7, 54, 20), Workers(10, 784, 3, batch=500))


def drawn(folder: Path, name: str, lines: dict[str, tuple[list[float], list[float]]], x: str, y: str) -> None:
    """Draw lines into FOLDER/NAME.svg."""
    mpl.rcParams.update({"svg.hashsalt": "streamem", "font.size": 9})
    figure, axes = plt.subplots(figsize=(5.2, 3.2), layout="constrained")
    for (label, (along, losses)), colour in zip(lines.items(), ("#c1324f", "#2a9d8f", "#e09f3e"), strict=False):
        axes.plot(along, losses, "o-", markersize=3, linewidth=1.2, label=label, color=colour)
    axes.set(xlabel=x, ylabel=y, title=name)
    if x.startswith("records seen"):
        axes.set_xscale("symlog", linthresh=max(1.0, min(point for point in along if point) / 2))
    axes.legend(frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(folder / f"{name.replace(' ', '_')}.svg", metadata={"Date": None})
    plt.close(figure)


def online_experiments(folder: Path, draws: int = DRAWS) -> Iterator[tuple[Any, ...]]:
    """Yield name, losses at the start, after 1 and 10 iterations and online, the share missed, and the paper's."""
    for build, published in ONLINE.items():
        found = []
        for seed in range(draws):
            experiment = build(seed)
            batch, (looked, online) = experiment.batch(), experiment.online()
            found.append((batch[0], batch[1], batch[-1], online[-1]))
            if seed == 0:
                passes = [float(n) * UNITS for n in range(ITERATIONS + 1)]
                lines = {"batch EM, a dot an iteration": (passes, batch)}
                lines["online EM, one pass"] = ([*map(float, looked)], online)
                drawn(folder, experiment.name, lines, "records seen (sequences or rows)", "loss, nats a unit")
        start, one, ten, online_loss = np.mean(found, axis=0)
        yield experiment.name, start, one, ten, online_loss, (online_loss - ten) / (start - ten), published


def main(folder: str = "out/paper") -> None:
    """Run all experiments."""
    target = Path(folder)
    target.mkdir(parents=True, exist_ok=True)
    titles = ("start", "1 iteration", "10", "online", "missed", "paper")
    print(f"{'mean loss of a sequence or row':<32}" + "".join(f"{title:>12}" for title in titles))
    for name, *losses, missed, published in online_experiments(target):
        print(f"{name:<32}" + "".join(f"{loss:>12.2f}" for loss in losses) + f"{missed:>12.4f}{published:>12.3f}")
    print(f"\n{'held-out loss when combined':<32}{'records':>12}{'moments':>12}{'plain':>12}")
    for shape in COMBINED:
        name = f"d={shape.columns} k={shape.components} M={shape.workers}"
        found = list(shape.losses())
        for records, moments, plain in found:
            print(f"{name:<32}{records:>12}{moments:>12.4f}{plain:>12.4f}")
        along = [float(records) for records, _, _ in found]
        lost = [plain - moments for _, moments, plain in found]
        lines = {"lost by plain averages": (along, lost)}
        drawn(target, f"combining {name}", lines, "records a worker", "held-out loss, nats a row")


if __name__ == "__main__":
    main(*sys.argv[1:])
