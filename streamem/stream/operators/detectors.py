"""River's drift detectors: what tells from a row of numbers that they have become others.

A detector is a frozen description, whose settings have river's names; `open` makes it running. A new one is a class
here and a line in `DETECTORS`. ADWIN is none of them: its state is in compiled code that gives it as opaque bytes only.
"""

import random
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol

import numba
import numpy as np

from streamem.em.declaration import Declaration, limited
from streamem.errors import ConfigError, tell

if TYPE_CHECKING:
    from river.base import DriftDetector

__all__ = ["DETECTORS", "KSWIN", "Detector", "DummyDriftDetector", "PageHinkley"]

Array = np.ndarray


class Detector(Protocol):
    """A running detector."""

    def watch(self, numbers: Array) -> Array:
        """Return at which of the numbers, shape (N,), a drift is detected; they are taken in order."""

    def state(self) -> tuple[dict[str, Any], dict[str, Array]]:
        """Return plain values and arrays that tell all of it."""

    def restore(self, values: Any, arrays: Any) -> None:
        """Go on from them. Raises KeyError, TypeError or ValueError where they are another detector's."""


@dataclass(frozen=True, kw_only=True)
class Watching(Declaration):
    """What all detectors have.

    Parameters
    ----------
    over : str
        What is watched, higher for a stranger record. ``anomaly``: the rank of its log-likelihood among the records
        before it, in [0, 1], which has no unit and which no single record can move far. ``log_likelihood``: minus its
        log-likelihood in nats, for thresholds that know the model.
    """

    over: Literal["anomaly", "log_likelihood"] = "anomaly"


@dataclass(frozen=True, kw_only=True)
class PageHinkley(Watching):
    """Page and Hinkley's test: how far the sum of what exceeds the mean so far, and `delta`, is above its minimum.

    The numbers are those of `river.drift.PageHinkley` to the last bit, by a compiled loop. Three defaults are not.
    River's `delta` .005 and `threshold` 50 suit a share of errors. By its `alpha` .9999 the sums forget `delta` too:
    after some ten thousand records a stream that never changes drifts now and again; `python -m tests.reproduce drift`
    counts false drifts with both, and what a restart gains.

    Parameters
    ----------
    detector : str
        This one.
    min_instances : int
        Records before which no drift is told.
    delta : float
        What a record may exceed the mean by without counting.
    threshold : float
        The sum that is a drift.
    alpha : float
        Forgetting factor of the sums.
    mode : str
        ``up``: records become stranger; ``down``: they become usual; ``both``.
    """

    detector: Literal["page_hinkley"] = "page_hinkley"
    min_instances: int = limited(30, ge=1)
    delta: float = limited(0.1, ge=0)
    threshold: float = limited(20.0, gt=0)
    alpha: float = limited(1.0, gt=0, le=1)
    mode: Literal["up", "down", "both"] = "up"

    def open(self) -> "RunningPageHinkley":
        """Return the running detector."""
        return RunningPageHinkley(self)


class RunningPageHinkley:
    """Page and Hinkley's test, in one array: n, mean, both sums, minimum, maximum, and whether the last was a drift."""

    BEGIN = (0.0, 0.0, 0.0, 0.0, np.inf, -1.0, 0.0)

    def __init__(self, declared: PageHinkley) -> None:
        self.declared = declared
        self.sums = np.array(self.BEGIN)

    def watch(self, numbers: Array) -> Array:
        one, drifts, sums = self.declared, np.zeros(len(numbers), np.bool_), self.sums.copy()
        up, down = one.mode != "down", one.mode != "up"
        _page_hinkley(numbers, sums, drifts, (one.min_instances, one.delta, one.threshold, one.alpha, up, down))
        self.sums = sums
        return drifts

    def state(self) -> tuple[dict[str, Any], dict[str, Array]]:
        return {}, {"sums": self.sums}

    def restore(self, values: Any, arrays: Any) -> None:  # noqa: ARG002
        if arrays["sums"].shape != self.sums.shape:
            raise ValueError(f"sums of the shape {arrays['sums'].shape}")
        self.sums = arrays["sums"]


@dataclass(frozen=True, kw_only=True)
class KSWIN(Watching):
    """Kolmogorov and Smirnov's test of the last records against some drawn from those before them.

    River's own, called for each record: 0.1 to 0.5 ms each, so for slow streams.

    Parameters
    ----------
    detector : str
        This one.
    alpha : float
        Probability below which the two are different.
    window_size : int
        Records that are kept.
    stat_size : int
        How many of them are the last ones, and how many are drawn from the others: at most half.
    seed : int
        Of the draws.
    """

    detector: Literal["kswin"] = "kswin"
    alpha: float = limited(0.0001, gt=0, lt=1)
    window_size: int = limited(300, ge=2)
    stat_size: int = limited(100, ge=1)
    seed: int = limited(0, ge=0)

    def __post_init__(self) -> None:
        super().__post_init__()
        if 2 * self.stat_size > self.window_size:
            found, wanted = str(self.stat_size), f"at most half of window_size, {self.window_size // 2}"
            raise ConfigError(tell("KSWIN: stat_size", found=found, wanted=wanted, do="write a smaller number"))

    def open(self) -> "OfRiver":
        """Return the running detector."""
        from river import drift

        made = drift.KSWIN(self.alpha, self.window_size, self.stat_size, self.seed)
        return OfRiver(made, ("n",), maxlen=self.window_size)


@dataclass(frozen=True, kw_only=True)
class DummyDriftDetector(Watching):
    """A drift every so many records whatever they are: the baseline that a detector must beat.

    Parameters
    ----------
    detector : str
        This one.
    trigger_method : str
        ``fixed``: after every `t_0` records; ``random``: with a probability that is one half after `t_0` records.
    t_0 : int
        Records from one drift to the next.
    w : int
        ``fixed``: the first comes up to so many records later, drawn. ``random``: how gradual the probability rises.
    seed : int
        Of the draws.
    """

    detector: Literal["dummy"] = "dummy"
    trigger_method: Literal["fixed", "random"] = "fixed"
    t_0: int = limited(10_000, ge=1)
    w: int = limited(0, ge=0)
    seed: int = limited(0, ge=0)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.trigger_method == "random" and self.w == 0:
            do = "write for example 100"
            raise ConfigError(
                tell("DummyDriftDetector: w", found="0", wanted="at least 1 for the method random", do=do)
            )

    def open(self) -> "OfRiver":
        """Return the running detector."""
        from river import drift

        made = drift.DummyDriftDetector(self.trigger_method, self.t_0, self.w, seed=self.seed)
        return OfRiver(made, ("_n", "_warmup_done") if self.trigger_method == "fixed" else ("_n",))


DETECTORS: dict[str, type[Any]] = {
    "page_hinkley": PageHinkley,
    "kswin": KSWIN,
    "dummy": DummyDriftDetector,
}
"""The detectors of river that can be used in a pipeline: those whose state can be written as plain values."""


class OfRiver:
    """A detector of river's own, told apart by the names of what changes in it."""

    RANDOM: ClassVar[str] = "_rng"

    def __init__(self, made: "DriftDetector", counters: tuple[str, ...], maxlen: int | None = None) -> None:
        self.made: Any = made
        self.counters = (*counters, "_drift_detected")
        self.maxlen = maxlen

    def watch(self, numbers: Array) -> Array:
        drifts = np.zeros(len(numbers), np.bool_)
        for place, number in enumerate(numbers.tolist()):  # in order, each by river's own code: there is no other form
            self.made.update(number)
            drifts[place] = self.made.drift_detected
        return drifts

    def state(self) -> tuple[dict[str, Any], dict[str, Array]]:
        version, internal, gauss = self.made._rng.getstate()
        values = {name: getattr(self.made, name) for name in self.counters}
        arrays = {"random": np.array(internal, np.int64)}
        if self.maxlen is not None:
            arrays["window"] = np.array(self.made.window, np.float64)
        return values | {"random": [version, gauss]}, arrays

    def restore(self, values: Any, arrays: Any) -> None:
        kinds = {name: type(getattr(self.made, name)) for name in self.counters}
        counters = {name: kind(values[name]) for name, kind in kinds.items()}
        version, gauss = values["random"]
        drawn = random.Random(0)  # noqa: S311 (river draws so)
        drawn.setstate((version, tuple(arrays["random"].tolist()), gauss))
        if self.maxlen is not None:
            self.made.window = deque(arrays["window"].tolist(), maxlen=self.maxlen)
        self.made._rng = drawn
        for name, value in counters.items():
            setattr(self.made, name, value)


@numba.njit(cache=True, nogil=True)
def _page_hinkley(numbers, sums, drifts, settings):  # type: ignore[no-untyped-def]
    """Run `river.drift.PageHinkley` over numbers, in its order of operations; see `RunningPageHinkley` for `sums`."""
    min_instances, delta, threshold, alpha, up, down = settings
    count, mean, increase, decrease, least, most, drifted = sums
    for place in range(len(numbers)):
        if drifted:
            count, mean, increase, decrease, least, most = 0.0, 0.0, 0.0, 0.0, np.inf, -1.0
        drifted = 0.0
        number = numbers[place]
        count += 1.0
        mean += (1.0 / count) * (number - mean)
        deviation = number - mean
        increase = alpha * increase + deviation - delta
        decrease = alpha * decrease + deviation + delta
        least, most = min(least, increase), max(most, decrease)
        if count >= min_instances:
            beyond = (up and increase - least > threshold) or (down and most - decrease > threshold)
            drifts[place] = beyond
            drifted = 1.0 if beyond else 0.0
    sums[:] = (count, mean, increase, decrease, least, most, drifted)
