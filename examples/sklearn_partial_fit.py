"""Learn traffic regimes with scikit-learn's partial_fit, a batch of a file at a time, and look at what is found.

The settings are those of ``examples/freeway.yaml``, and so are the regimes, to the last bit: an estimator and a
pipeline that see the same batches learn the same. Run it with ``python examples/sklearn_partial_fit.py``; it needs
``pip install 'streamem[sklearn]'``.
"""

from pathlib import Path

import polars as pl
from sklearn.mixture import GaussianMixture

from streamem.sklearn import OnlineGaussianMixture

TRAFFIC = Path(__file__).parent / "data/traffic_6005.csv"
BATCH = 100


def learn(frame: pl.DataFrame) -> OnlineGaussianMixture:
    """Return what was learned from a frame in batches, and print how likely each was before it was learned from."""
    model = OnlineGaussianMixture(3, warmup_records=600, random_state=7)
    print("records   log-likelihood of the next batch")
    for start in range(0, len(frame), BATCH):
        batch = frame[start : start + BATCH]
        if hasattr(model, "means_") and start % 500 == 0:
            print(f"{start:7d}   {model.score(batch):.3f}")
        model.partial_fit(batch)
    return model


def main() -> None:
    """Learn in one pass, and print the regimes and what scikit-learn makes of all records at once."""
    frame = pl.read_csv(TRAFFIC).select("speed_mph", "occupancy_percent")
    model = learn(frame)
    print("regime   share   speed (mph)   occupancy (%)")
    for k in model.means_[:, 1].argsort():
        speed, occupancy = model.means_[k]
        print(f"{k:6d}   {model.weights_[k]:5.2f}   {speed:11.1f}   {occupancy:13.1f}")
    whole = GaussianMixture(3, n_init=5, random_state=7).fit(frame)
    print(f"mean log-likelihood: one pass {model.score(frame):.3f}, all at once {whole.score(frame):.3f}")
    unknown = pl.DataFrame({"speed_mph": [35.0, None], "occupancy_percent": [None, 4.0]})
    for record, label in zip(unknown.to_dicts(), model.predict(unknown), strict=True):
        print(f"regime {label} for {record}")


if __name__ == "__main__":
    main()
