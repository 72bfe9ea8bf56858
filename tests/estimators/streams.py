"""Streams of records, and one estimator of every class, as several tests take them."""

import random

from river import base, datasets

from streamem import estimators

CLASSES = [getattr(estimators, name) for name in estimators.__all__]
LABELLED = [kind for kind in CLASSES if kind is not estimators.KalmanTracker]

SMALL = {"warmup_records": 60, "batch_size": 7}


def small(kind, **settings):
    """Return an estimator that begins soon, with micro-batches that never end where anything else does."""
    if kind is estimators.HMM or kind is estimators.Mixture:
        settings = {"family": "exponential", **settings}
    return kind(**{**SMALL, **settings})


def records(kind, count, seed=1, keys=0):
    """Return records that a class can learn from: two clusters that last, a tenth of the features missing."""
    rng, busy, out = random.Random(seed), False, []
    for place in range(count):
        busy ^= rng.random() < 0.1
        if kind is estimators.CompoundDirichlet:
            x = {name: rng.randint(0, 9) + 9 * (busy == (name == "b")) for name in "abc"}
        elif kind in (estimators.PoissonMixture, estimators.PoissonHMM):
            x = {name: rng.randint(0, 5) + 12 * busy for name in "abc"}
        elif kind in (estimators.HMM, estimators.Mixture):
            x = {name: rng.expovariate(0.2 if busy else 3.0) for name in "abc"}
        elif kind is estimators.KalmanTracker:
            x = {name: 2.0 * place + rng.gauss(0.0, 1.0) for name in "abc"}
        else:
            x = {name: rng.gauss(4.0 * busy, 1.0) for name in "abc"}
        if rng.random() < 0.1:
            del x[rng.choice("abc")]
        if keys:
            x["device"] = f"d{rng.randrange(keys)}"
        out.append(x)
    return out


ROWS = list(datasets.Shuttle().take(10_000))
LEAST = {name: min(x[name] for x, _ in ROWS) for name in ROWS[0][0]}


class Shuttle:
    """River's bundled Shuttle in place of CreditCard, which is downloaded; moved to zero for who needs counts."""

    def __init__(self, model):
        self.lift = base.tags.POSITIVE_INPUT in model._tags

    def take(self, count):
        for x, y in ROWS[:count]:
            yield ({name: value - LEAST[name] for name, value in x.items()} if self.lift else x), y
