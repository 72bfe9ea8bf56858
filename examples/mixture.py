"""Follow three sources that move, with the mathematics alone: no files, no pipeline, no settings.

Each of three sources sends points; one of them wanders. A short half-life lets the model go along, and what it knows
is printed as the stream passes. Run it with ``python examples/mixture.py``.
"""

from collections.abc import Iterator

import numpy as np

from streamem.em import Gaussian, GrowingWindow, Mixture, Observations, OnlineEM

BATCHES, RECORDS = 60, 500
SHARES = np.array([0.5, 0.3, 0.2])
HOMES = np.array([[0.0, 0.0], [5.0, 0.0], [0.0, 6.0]])
DRIFT = np.array([3.0, 5.0])  # how far the last source has gone at the end


def stream(rng: np.random.Generator) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield batches of points, shape (RECORDS, 2), and where the sources are, shape (3, 2)."""
    for batch in range(BATCHES):
        homes = HOMES.copy()
        homes[2] += DRIFT * batch / (BATCHES - 1)
        source = rng.choice(3, size=RECORDS, p=SHARES)
        yield rng.normal(homes[source]), homes


def main() -> None:
    """Learn from the stream and print the wandering source beside what was learned of it."""
    model = Mixture(components=3, family=Gaussian(covariance="full"))
    learner = OnlineEM(model, schedule=GrowingWindow(half_life_records=500), warmup_records=1000, seed=1)
    print("records   where it is    learned      off   log-likelihood")
    for batch, (points, homes) in enumerate(stream(np.random.default_rng(7))):
        learner.update(Observations(points))
        snapshot = learner.snapshot
        if snapshot is None or batch % 10 != 9:
            continue
        means = snapshot.parameters.components.mean
        nearest = means[np.linalg.norm(means - homes[2], axis=1).argmin()]
        off = np.linalg.norm(nearest - homes[2])
        places = "  ".join("({:5.2f},{:5.2f})".format(*place) for place in (homes[2], nearest))
        print(f"{snapshot.records_seen:7d}  {places}  {off:.2f}   {snapshot.log_likelihood:.3f}")


if __name__ == "__main__":
    main()
