"""What starts are made of: k-means++ (Arthur and Vassilvitskii 2007), Lloyd's rounds, and batch EM."""

from typing import Any

import numpy as np

from streamem.em.families import Family, Gamma, Gaussian, Product
from streamem.em.families.family import column_moments
from streamem.em.model import Model
from streamem.em.observations import Array, Flags, Labels, Observations, Segments
from streamem.errors import ModelError, tell

__all__ = [
    "ROUNDS",
    "STAGES",
    "batch_em",
    "check_runs",
    "check_support",
    "coordinates",
    "least_rows",
    "likeliest",
    "moving_average",
    "nearest_centres",
    "seed_centres",
    "seen_rows",
]

STAGES = ((30, 5), (8, 15), (4, 40))
"""(candidates, EM iterations): all k-means++ draws get a few iterations, the likeliest of them some more.

Measured on four mixtures of 16 overlapping components in 8 columns: with 10 draws of 20 iterations two of them ended
.11 and .17 nats a record lower than with 30; this finds what 30 draws of 20 iterations find but for one, in half
the time. The last stage is for components that overlap, where EM is slow to show which optimum is the higher: on forty
simulated sets and real ones of 3 to 5 components, starts with it and with both `ROUNDS` ended .0027 nats a record below
the best that was found, without .0036; chains .0018 and .0025.
"""

ROUNDS = (10, 1)
"""Rounds of Lloyd's algorithm, in turn: after many of them draws are alike, after one they are not.

Many alone find one optimum over and over where components overlap; one alone misses some of 16 components.
"""

NEIGHBOURS = 5
"""Rows on either side in a moving average: with 5 chains that stay for 100 steps start well, and those for 5 too."""

LONG = 300
"""EM iterations of the last candidate, at most."""

TOLERANCE = 1e-6
"""EM stands still when an iteration gains less than this many nats a record."""


def coordinates(family: Family, observations: Observations) -> Array:
    """Return rows as they are clustered: columns of unit variance, missing values at the mean; shape (N, C).

    Raises
    ------
    ModelError
        A column is constant.
    """
    weight = np.ones(len(observations)) if observations.weight is None else observations.weight
    found = family.coordinates(observations.values)
    mean, variance = column_moments(found, weight)
    scaled = (found - mean) / np.sqrt(variance)
    scaled[np.isnan(scaled)] = 0.0
    return np.asarray(scaled)


def least_rows(family: Family, components: int, columns: int) -> int:
    """Return how many rows it takes for the likelihood to have a maximum at all: with fewer, some width is zero.

    A full covariance needs one row more than columns, a tied one as many rows as columns besides one a component, a
    variance two rows; a mean alone one. Anderson (2003), theorem 3.2.1.

    Examples
    --------
    >>> from streamem.em import Gaussian, Poisson
    >>> least_rows(Gaussian(), components=2, columns=2), least_rows(Poisson(), components=2, columns=2)
    (6, 2)
    """
    if isinstance(family, Product):
        return max(least_rows(part.family, components, part.columns) for part in family.parts)
    if isinstance(family, Gaussian) and family.covariance == "tied":
        return components + columns
    if isinstance(family, Gaussian) and family.covariance == "full":
        return components * (columns + 1)
    return components * (2 if isinstance(family, Gaussian | Gamma) else 1)


def check_support(model: Model, family: Family, observations: Observations) -> None:
    """Refuse fewer warm-up rows than `least_rows`, with a ModelError, unless there is a prior to hold the widths up."""
    rows = len(observations) if observations.weight is None else int(np.count_nonzero(observations.weight))
    components, columns = model.components, observations.values.shape[1]
    least = least_rows(family, components, columns)
    if rows < least and model.prior_records == 0.0:
        found, do = f"{rows} warm-up records", f"use fewer components, or warmup_records of {10 * least}"
        wanted = f"at least {least}: with fewer, some of {components} components in {columns} columns has no width"
        raise ModelError(tell("the start", found=found, wanted=wanted, do=do))


def seen_rows(observations: Observations) -> Flags:
    """Return which rows have a value and a weight, shape (N,)."""
    known: Flags = ~np.asarray(np.isnan(observations.values).all(axis=1))
    return known if observations.weight is None else known & (observations.weight > 0.0)


def check_runs(observations: Observations, seconds: Array, least: int, why: str) -> None:
    """Refuse a warm-up, with a ModelError, if no sequence in it has `least` rows one after another in time.

    Parameters
    ----------
    observations : Observations
    seconds : ndarray, shape (N,)
        Before each row in the order of its segments; what they are before the first of a segment does not count.
    least : int
    why : str
        Why so many.
    """
    bounds = observations.segments().bounds
    goes = seconds > 0.0
    goes[bounds[:-1]] = True
    longest = int(np.add.reduceat(goes, bounds[:-1], dtype=int).max()) if len(goes) else 0
    if longest >= least:
        return
    some = f"at most {longest}" if longest > 1 else "no two"
    raise ModelError(
        tell(
            f"the start from {len(observations)} warm-up records",
            found=f"{some} records of a sequence that follow one another",
            wanted=f"at least {least}: {why}",
            do="use more warmup_records, name the key by which records belong together, or leave it out",
        )
    )


def moving_average(rows: Array, segments: Segments) -> Array:
    """Return the mean of each row and up to `NEIGHBOURS` rows on either side in its sequence."""
    total = np.concatenate([np.zeros((1, rows.shape[1])), np.cumsum(segments.sorted(rows), axis=0)])
    lengths = np.diff(segments.bounds)
    place = np.arange(len(rows))
    first = np.maximum(place - NEIGHBOURS, np.repeat(segments.bounds[:-1], lengths))
    last = np.minimum(place + NEIGHBOURS + 1, np.repeat(segments.bounds[1:], lengths))
    return np.asarray(segments.restored((total[last] - total[first]) / (last - first)[:, None]))


def likeliest(model: Model, candidates: list[Any], observations: Observations) -> Any:
    """Return the likeliest of several candidates, after batch EM until it stands still."""
    for count, iterations in STAGES:
        fitted = [batch_em(model, candidate, observations, iterations) for candidate in candidates[:count]]
        candidates = [parameters for parameters, _ in sorted(fitted, key=lambda pair: -pair[1])]
    return batch_em(model, candidates[0], observations)[0]


def batch_em(
    model: Model,
    parameters: Any,
    observations: Observations,
    iterations: int = LONG,
    tolerance: float = TOLERANCE,
) -> tuple[Any, float]:
    """Return parameters after batch EM, and their mean log-likelihood a row before the last step.

    Parameters
    ----------
    model : Model
    parameters : Θ
        Where to begin.
    observations : Observations
    iterations : int
        At most.
    tolerance : float
        Stop when an iteration gains less, in nats a row.

    Examples
    --------
    >>> from streamem.em import Mixture
    >>> rows = Observations(np.array([[0.0], [1.0], [8.0], [9.0]]))
    >>> model = Mixture(components=2)
    >>> fitted = model.start(rows, np.random.default_rng(0))
    >>> sorted(fitted.components.mean[:, 0].round(3).tolist())
    [0.5, 8.5]
    """
    likelihood = -np.inf
    for _ in range(iterations):
        expectation = model.expect(parameters, observations)
        statistics = expectation.statistics
        if (prior := model.prior(parameters)) is not None:
            statistics = statistics + prior
        before, likelihood = likelihood, observations.mean(expectation.log_likelihood)
        parameters = model.maximize(statistics, parameters)
        if likelihood - before < tolerance:
            break
    return parameters, likelihood


def seed_centres(scaled: Array, weight: Array, count: int, rng: np.random.Generator) -> Array:
    """Return `count` rows drawn by k-means++ (Arthur and Vassilvitskii 2007), each the best of a few trials."""
    trials = 2 + int(np.log(count))
    centres = np.empty((count, scaled.shape[1]))
    centres[0] = scaled[rng.choice(len(scaled), p=weight / weight.sum())]
    distance = ((scaled - centres[0]) ** 2).sum(axis=1)
    for index in range(1, count):
        chance = distance * weight
        if not chance.sum() > 0.0:
            raise ModelError(
                tell(
                    f"the start from {len(scaled)} warm-up records",
                    found=f"only {index} different records",
                    wanted=f"at least one for each of {count} components",
                    do="use fewer components or more warmup_records",
                )
            )
        drawn = rng.choice(len(scaled), size=trials, p=chance / chance.sum())
        distances = [np.minimum(distance, ((scaled - scaled[row]) ** 2).sum(axis=1)) for row in drawn]
        chosen = int(np.argmin([d @ weight for d in distances]))
        centres[index], distance = scaled[drawn[chosen]], distances[chosen]
    return centres


def nearest_centres(scaled: Array, centres: Array, weight: Array, rounds: int) -> Labels:
    """Return the index of each row's centre after a few rounds of Lloyd's algorithm, shape (N,)."""
    label: Labels = np.full(len(scaled), -1)
    for _ in range(rounds):
        before, distance = label, (centres**2).sum(axis=1) - 2.0 * scaled @ centres.T
        label = distance.argmin(axis=1)
        if np.array_equal(label, before):
            break
        share = (label == np.arange(len(centres))[:, None]) * weight
        total = share.sum(axis=1, keepdims=True)
        centres = np.where(total > 0.0, share @ scaled / np.where(total > 0.0, total, 1.0), centres)
    return label
