"""The pipeline as it is declared, and its runs, each from a checkpoint on."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from streamem.errors import ConfigError, ConnectError, DataError, tell
from streamem.stream.checkpoint import Checkpoint, check_fingerprint, check_operators
from streamem.stream.checks import at_least
from streamem.stream.home import Checkpoints, Home, Keeping, chosen
from streamem.stream.outputs import Output
from streamem.stream.patience import Patience
from streamem.stream.progress import Progress, Summary
from streamem.stream.protocol import (
    Columns,
    Cuts,
    LedgerSink,
    Operator,
    Sink,
    Source,
    Transaction,
    World,
)
from streamem.stream.rejections import Errors
from streamem.stream.run import DEAD_LETTERS, Run

__all__ = ["DEAD_LETTERS", "Checkpoints", "Pipeline"]  # Checkpoints: a setting of Pipeline, and found beside it


@dataclass(frozen=True, kw_only=True)
class Pipeline:
    """A source, operators in a row, and outputs.

    Parameters
    ----------
    name : str
        In messages and in snapshots.
    source : Source
        Where records come from.
    cuts : Cuts
        Where micro-batches end. Its `limit` and `every` are set by `run`.
    operators : sequence of Operator
        In the order in which they see a batch.
    outputs : sequence of Output
        What is written, and where to.
    columns : Columns
        The key and time columns, which posterior records carry; what operators use as numbers is added to `numbers`.
    checkpoint : Keeping or None
        None keeps nothing: a run begins at the beginning, and outputs that stand there are refused.
    errors : Errors
        What becomes of bad records.
    world : World
        What the pipeline touches outside its own memory. Set its `stopping` to end a run after the present batch.
    fingerprint : mapping
        The settings that must not change between runs over one checkpoint, plain JSON values.
    listener : callable or None
        Called with a Progress after each batch that was read.

    Examples
    --------
    >>> import polars as pl
    >>> from streamem.connect import MemorySink, MemorySource
    >>> from streamem.stream.operators import Where
    >>> from streamem.stream.outputs import Output
    >>> from streamem.stream.protocol import Cuts
    >>> source, sink = MemorySource(frame=pl.DataFrame({"x": [1.0, -2.0, 3.0]})), MemorySink()
    >>> outputs = [Output(what="posteriors", sink=sink, include="all")]
    >>> pipeline = Pipeline(
    ...     name="positive", source=source, cuts=Cuts(100), operators=[Where(condition="x > 0")], outputs=outputs
    ... )
    >>> pipeline.run().progress.records, sink.frame["x"].to_list()
    (3, [1.0, 3.0])
    """

    name: str
    source: Source
    cuts: Cuts
    operators: Sequence[Operator] = ()
    outputs: Sequence[Output] = ()
    columns: Columns = field(default_factory=Columns)
    checkpoint: Keeping | None = None
    errors: Errors = field(default_factory=Errors)
    world: World = field(default_factory=World)
    fingerprint: Mapping[str, Any] = field(default_factory=dict)
    listener: Callable[[Progress], None] | None = None

    @property
    def sinks(self) -> dict[str, Sink]:
        """Every sink by the name of its output, that of the dead letters among them."""
        sinks = {output.called: output.sink for output in self.outputs}
        return sinks if self.errors.sink is None else sinks | {DEAD_LETTERS: self.errors.sink}

    @property
    def due(self) -> tuple[int, ...]:
        """After how many micro-batches a snapshot or a checkpoint is due."""
        periods = [output.every_batches for output in self.outputs]
        if self.checkpoint is not None:
            periods.append(self.checkpoint.every_batches)
        return tuple(sorted({period for period in periods if period is not None}))

    def run(self, *, limit: int | None = None, fresh: bool = False, begin: str | None = None) -> Summary:
        """Read until the input ends, and return how it went.

        Where a connection fails and trying again can help, the run goes on from its last checkpoint by itself.

        Parameters
        ----------
        limit : int or None
            Ends the run after this many records; the last batch is cut short there.
        fresh : bool
            Moves earlier outputs and state aside (``.1``, ``.2``) and begins at the beginning.
        begin : str or None
            Where to read from in place of where the checkpoint left off, for sources that can: what was learned is
            kept. ``checkpoint`` goes on from the latest checkpoint, also where no commit is known that belongs to it.

        Raises
        ------
        ConfigError
            Settings, columns and what stands on the disk do not fit; nothing was read or written.
        DataError
            A bad record under the policy ``stop``, more of them than `max_errors`, or no records at all.
        ModelError
            A learner degenerated. Everything up to the last checkpoint stands; so it is with the other errors.
        SnapshotError
            The checkpoint, or a snapshot to begin from, does not fit.
        ConnectError
            The outside failed.
        """
        self._check()
        at_least("limit", limit, 1)
        pipeline = self if begin in (None, "checkpoint") else replace(self, source=_from(self.source, begin))
        attempt = Attempt(pipeline, limit, begin, fresh)
        patience = Patience(self.world, self.errors.retry_timeout_ms / 1000)
        while True:
            try:
                return attempt.go()
            except ConnectError as error:
                if error.retry and attempt.saved and self.world.stopping.is_set():
                    return attempt.stopped()
                if not (error.retry and attempt.saved and patience.wait(error, attempt.saved.records)):
                    raise

    def _check(self) -> None:
        """Refuse settings that cannot be right whatever the source holds."""
        for place, names in (
            ("operators", [operator.name for operator in self.operators]),
            ("outputs", [*(output.called for output in self.outputs), DEAD_LETTERS]),
        ):
            for name, count in Counter(names).items():
                if count > 1 or not name:
                    found = f"{count} times the name {name!r}"
                    raise ConfigError(tell(place, found=found, wanted="a name of its own for each", do="write name:"))
        if self.checkpoint is not None:
            at_least("checkpoint.every_batches", self.checkpoint.every_batches, 1)
        at_least("batch.max_records", self.cuts.max_records, 1)
        self.cuts.check(self.columns)
        self.errors.check()
        self.ledger()

    def ledger(self) -> tuple[Any, str] | None:
        """Return the system whose transactions the outputs are in, and a place in it; None where there is none.

        Raises ConfigError where there are several, or no checkpoint.
        """
        parts: list[Any] = [sink for sink in self.sinks.values() if isinstance(sink, LedgerSink)]
        if parts and self.checkpoint is None:
            found = f"no checkpoint, and outputs to {parts[0].place}"
            do = "add checkpoint: {path: FOLDER} or {topic: NAME}"
            raise ConfigError(
                tell("checkpoint", found=found, wanted="one: a transaction ends with each checkpoint", do=do)
            )
        if self.checkpoint is not None and self.checkpoint.ledger is not None:
            parts.append(self.checkpoint)
        for part in parts:
            if part.ledger != parts[0].ledger:
                found, wanted = f"{parts[0].place} on {parts[0].ledger}, and {part.place} on another", "one cluster"
                do = "write to one, or take a pipeline for each"
                if str(part.ledger) == str(parts[0].ledger):
                    found = f"{parts[0].place} and {part.place} with different clients or options"
                    wanted, do = "the same client and options", "write them alike: one transaction holds all"
                raise ConfigError(tell("outputs", found=found, wanted=f"{wanted} for all that is written", do=do))
        return (parts[0].ledger, parts[0].place) if parts else None


class Attempt:
    """A run from one checkpoint on, as often as it takes."""

    def __init__(self, pipeline: Pipeline, limit: int | None, begin: str | None, fresh: bool) -> None:
        self.pipeline, self.limit, self.begin, self.fresh = pipeline, limit, begin, fresh
        self.began = pipeline.world.monotonic()
        self.moved: list[str] = []
        self.was_finished = False
        self.records_before = self.batches_before = 0
        self.saved: Checkpoint | None = None

    def go(self) -> Summary:
        """Run from the last checkpoint."""
        pipeline = self.pipeline
        with ExitStack() as stack:
            saved, home, transaction = self._open(stack)
            world = replace(pipeline.world, transaction=transaction)
            run = Run(replace(pipeline, world=world), saved, self, home, transaction)
            try:
                run.open_input(stack)
            except DataError:
                if not world.stopping.is_set():
                    raise
                # asked to stop while it waited for the first record: there is nothing to be done
                return self._summary(Progress(0, 0, run.records, dict(run.rejected), None, {}), "stop")
            if self.fresh:
                self._move_aside(home)
            run.open_outputs(stack)
            ended = run.go()
            return self._summary(run.progress(), ended)

    def _open(self, stack: ExitStack) -> tuple[Checkpoint | None, Home | None, Transaction | None]:
        """Return the checkpoint to go on from, where checkpoints are kept, and the transactions that outputs are in."""
        pipeline, home, transaction, saved = self.pipeline, None, None, self.saved
        worker = getattr(pipeline.source, "worker", 0)
        if pipeline.checkpoint is not None:
            home = stack.enter_context(pipeline.checkpoint.open(pipeline.world, pipeline.name, worker))
        if (ledger := pipeline.ledger()) is not None:
            transaction = ledger[0].begin(pipeline.name, worker, ledger[1])
            stack.callback(transaction.close)
        if home is not None and (not self.fresh or self.saved):
            answered = self.saved.serial if self.saved else 0
            saved = chosen(home, transaction, latest=self.begin == "checkpoint", answered=answered)
        if saved is not None and home is not None:
            check_fingerprint(home.place, saved.fingerprint, pipeline.fingerprint)
            check_operators(home.place, saved.steps, [operator.name for operator in pipeline.operators])
        if saved is not None and self.saved is None:
            self.was_finished = saved.finished
            self.records_before, self.batches_before = saved.records, saved.number
        return saved, home, transaction

    def _move_aside(self, home: Home | None) -> None:
        """Make room for a run that starts afresh, once everything else is known to fit; the state goes first."""
        self.moved += home.move_aside() if home is not None else []
        for sink in self.pipeline.sinks.values():
            self.moved += sink.move_aside(self.pipeline.world)
        self.fresh = False

    def keep(self, checkpoint: Checkpoint) -> None:
        """Learn that a checkpoint is kept: from there the next attempt goes on."""
        self.saved = checkpoint
        self.begin = None

    def stopped(self) -> Summary:
        """Return the summary of a run that was asked to stop while a connection was away: its checkpoint stands."""
        saved = self.saved
        assert saved is not None  # noqa: S101  asked before
        records, batches = saved.records - self.records_before, saved.number - self.batches_before
        return self._summary(Progress(records, batches, saved.records, dict(saved.rejected), None, {}), "stop")

    def _summary(self, progress: Progress, ended: Literal["input", "limit", "stop"]) -> Summary:
        return Summary(
            progress=progress,
            ended=ended,
            was_finished=self.was_finished,
            seconds=self.pipeline.world.monotonic() - self.began,
            moved_aside=tuple(self.moved),
        )


def _from(source: Any, begin: str) -> Any:
    """Return a source that begins elsewhere."""
    if not hasattr(source, "start"):
        found, wanted = f"{begin} for {type(source).__name__}", "a source that can begin anywhere: KafkaSource"
        raise ConfigError(tell("--from", found=found, wanted=wanted, do="leave it out, or start afresh with --fresh"))
    return replace(source, start=begin)
