"""How far a run is, and how it ended: values for whoever shows them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from streamem.em import Snapshot

__all__ = ["Progress", "Summary"]


@dataclass(frozen=True)
class Progress:
    """Where a run stands after a batch.

    Parameters
    ----------
    records, batches : int
        Of this run, bad records included.
    total_records : int
        Over the whole life of the pipeline.
    rejected : mapping of str to int
        Bad records by who refused them, over the whole life.
    done : float or None
        The share of the input read so far, in [0, 1], or None where nobody knows.
    snapshots : mapping of str to Snapshot
        The learners by name, as far as they have begun; mean log-likelihood and components in use are in them.
    drifts : mapping of str to int
        Of the learners that watch for them, how many there were, over the whole life.
    dropped : mapping of str to int
        Late records that were left out, by the operator, over the whole life.
    """

    records: int
    batches: int
    total_records: int
    rejected: Mapping[str, int]
    done: float | None
    snapshots: Mapping[str, Snapshot]
    drifts: Mapping[str, int] = field(default_factory=dict)
    dropped: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Summary:
    """How a run ended.

    Parameters
    ----------
    progress : Progress
        Where it stood at the end.
    ended : str
        ``input`` (all of it was read), ``limit`` (of records) or ``stop`` (it was asked to).
    was_finished : bool
        An earlier run had already read all of the input there was; with ``progress.records == 0`` nothing is new.
    seconds : float
        How long it ran.
    moved_aside : tuple of str
        Where a run that started afresh put the earlier outputs and state.
    """

    progress: Progress
    ended: Literal["input", "limit", "stop"]
    was_finished: bool
    seconds: float
    moved_aside: tuple[str, ...] = ()

    @property
    def nothing_new(self) -> bool:
        """Whether the run found a finished pipeline and no new records."""
        return self.was_finished and self.progress.records == 0
