"""Drift: watching whether a learner's records have become another kind."""

from typing import Any

import numpy as np

from streamem.em import AnomalyRank, Posterior
from streamem.errors import SnapshotError, tell
from streamem.stream.operators.detectors import Detector

__all__ = ["DriftMonitor"]

Array = np.ndarray


class DriftMonitor:
    """Watches what a learner says of its records, and counts the drifts.

    It ranks them by itself, anew after a micro-batch with a drift: what came before is no measure for what comes then.

    Parameters
    ----------
    declared : PageHinkley or another of `DETECTORS`
    window : int
        Records that an anomaly is ranked among.

    Examples
    --------
    >>> from streamem.stream.operators.detectors import PageHinkley
    >>> monitor = DriftMonitor(PageHinkley(), window=1000)
    >>> numbers = np.concatenate([np.random.default_rng(0).normal(size=2000), np.full(500, -9.0)])
    >>> drifts = monitor.watch(Posterior(numbers), np.zeros((2500, 1), bool))
    >>> np.flatnonzero(drifts).tolist(), monitor.count
    ([2051], 1)
    """

    def __init__(self, declared: Any, window: int) -> None:
        self.declared = declared
        self.window = window
        self.count = 0
        self._detector: Detector = declared.open()
        self._rank = AnomalyRank(window)

    def watch(self, posterior: Posterior, missing: Array) -> Array:
        """Return at which rows a drift is detected, shape (N,); those of a warm-up are not looked at.

        Parameters
        ----------
        posterior : Posterior
            Of rows in order.
        missing : ndarray of bool, shape (N, D)
            Which values were missing.
        """
        drifts = np.zeros(len(posterior), np.bool_)
        rows = np.flatnonzero(~posterior.warmup)
        numbers = -posterior.log_likelihood[rows]
        if self.declared.over == "anomaly":
            numbers = self._rank.rank(-numbers, missing[rows])
            rows, numbers = rows[~np.isnan(numbers)], numbers[~np.isnan(numbers)]
        drifts[rows] = self._detector.watch(numbers)
        if drifts.any():
            self.count += int(drifts.sum())
            self._rank = AnomalyRank(self.window)
        return drifts

    def state(self) -> dict[str, tuple[dict[str, Any], dict[str, Array]]]:
        """Return named parts of plain values and arrays."""
        values, arrays = self._detector.state()
        counted = {"detector": self.declared.detector, "count": self.count, **values}
        return {"drift": (counted, arrays), "drift_rank": self._rank.to_arrays()}

    def restore(self, drift: tuple[Any, Any], rank: tuple[Any, Any], place: str) -> None:
        """Go on from the parts of `state`. Raises SnapshotError where they are another detector's."""
        try:
            if drift[0]["detector"] != self.declared.detector:
                raise ValueError(f"the state of {drift[0]['detector']}")
            self._detector.restore(*drift)
            self.count = int(drift[0]["count"])
        except (KeyError, TypeError, ValueError) as error:
            found, wanted = f"a state that does not fit ({error})", f"one of {self.declared.detector}"
            do = "set drift: back, or start afresh with --fresh"
            raise SnapshotError(tell(f"{place}.drift", found=found, wanted=wanted, do=do)) from error
        self._rank = AnomalyRank.from_arrays(*rank)
