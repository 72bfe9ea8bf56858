"""Two ways to do the same work, timed in turn in one process."""

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Comparison:
    """One line of the report.

    Parameters
    ----------
    name : str
    ours, peer : float
        In `unit`, smaller is better.
    unit : str
    floor, aim : float or None
        The ratio peer / ours that must, and that should be reached.
    """

    name: str
    ours: float
    peer: float
    unit: str
    floor: float
    aim: float | None = None

    @property
    def ratio(self) -> float:
        return self.peer / self.ours

    @property
    def holds(self) -> bool:
        return self.ratio >= self.floor

    def __str__(self) -> str:
        goal = f"floor {self.floor:g}" + ("" if self.aim is None else f", aim {self.aim:g}")
        verdict = "ok" if self.holds else "SHORT"
        figures = f"{self.ours:>11.3f} {self.peer:>11.3f} {self.unit:<10} {self.ratio:>7.2f}x"
        return f"{self.name:<44} {figures}  {goal:<20} {verdict}"


def in_turn(
    ours: Callable[[], object], peer: Callable[[], object], rounds: int, before: Callable[[], object] = lambda: None
) -> tuple[float, float]:
    """Return the median seconds of each; the first round of both only warms caches and compiles.

    The median, since the best of a few is a matter of luck where other machines share the processor. Each runs twice
    in its turn: memory that lay idle while the other ran is slow to touch again on a virtual machine, and a stream
    does not pause. `before` clears up before every run, and is not timed.
    """
    seconds: list[list[float]] = [[], []]
    for turn in range(rounds + 1):
        for index, work in enumerate((ours, ours, peer, peer)):
            before()
            start = time.perf_counter()
            work()
            if turn:
                seconds[index // 2].append(time.perf_counter() - start)
    return statistics.median(seconds[0]), statistics.median(seconds[1])
