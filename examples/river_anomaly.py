"""Find anomalies of a space shuttle by progressive validation, with river's own tools.

Each record is scored before it is learned, and its label is shown to the metric alone. A mixture of streamem stands in
river's pipelines like any detector of river, and is evaluated by river's `evaluate` beside one of them. Run it with
``python examples/river_anomaly.py``.
"""

from river import anomaly, compose, datasets, evaluate, metrics, preprocessing

from streamem.estimators import GaussianMixture

RECORDS = 20_000
EVERY = 5_000


def detectors() -> dict[str, compose.Pipeline]:
    """Return the detectors to compare, each as a pipeline."""
    # a score says nothing before the start is made: the sooner, the less is missed
    mixture = GaussianMixture(n_components=2, warmup_records=300)
    return {
        "GaussianMixture": compose.Pipeline(preprocessing.StandardScaler(), mixture),
        "HalfSpaceTrees": compose.Pipeline(preprocessing.MinMaxScaler(), anomaly.HalfSpaceTrees(seed=42)),
    }


def main() -> None:
    """Print the area under the ROC curve of each detector as the stream passes."""
    print(f"{'records':>8}  " + "  ".join(f"{name:>16}" for name in detectors()))
    runs = []
    for model in detectors().values():
        # of all records: scores have no common scale, and this metric asks only for their order
        metric = metrics.RollingROCAUC(window_size=RECORDS)
        stream = datasets.Shuttle().take(RECORDS)
        steps = evaluate.iter_progressive_val_score(stream, model, metric, step=EVERY)
        runs.append([(step["Step"], step["RollingROCAUC"].get()) for step in steps])
    for row in zip(*runs, strict=True):
        print(f"{row[0][0]:8d}  " + "  ".join(f"{auc:16.4f}" for _, auc in row))


if __name__ == "__main__":
    main()
