"""The pipeline: read, operate, write, flush, checkpoint, commit. This file alone owns that order."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, Future
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from streamem.errors import ConfigError, ConnectError, DataError, tell
from streamem.stream.batch import Batch, Position, Rejected
from streamem.stream.checkpoint import (
    Checkpoint,
    Checkpoints,
    check_fingerprint,
    check_operators,
    locked,
    move_checkpoint_aside,
    read_checkpoint,
    write_checkpoint,
)
from streamem.stream.checks import at_least, columns_exist
from streamem.stream.disk import UnsyncedDisk
from streamem.stream.operators.learn import LearnStep
from streamem.stream.outputs import Output, ends_one, posterior_columns
from streamem.stream.progress import Progress, Summary
from streamem.stream.protocol import Columns, Cuts, Operator, Resume, Sink, Source, Step, World, Writer
from streamem.stream.rejections import Errors, dead_letters, refusal
from streamem.stream.snapshots import snapshot_frame
from streamem.stream.times import iso_time, time_types

__all__ = ["DEAD_LETTERS", "Checkpoints", "Pipeline"]  # Checkpoints: a setting of Pipeline, and found beside it

DEAD_LETTERS = "dead_letters"
"""The name under which a checkpoint keeps the state of the dead letters' sink."""


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
    checkpoint : Checkpoints or None
        None keeps nothing: a run begins at the beginning, and outputs that stand there are refused.
    errors : Errors
        What becomes of bad records.
    world : World
        What the pipeline touches outside its own memory. Set its `stopping` to end a run after the present batch.
    fingerprint : mapping
        The settings that must not change between runs over one checkpoint, plain JSON values.
    listener : callable or None
        Called with a Progress after each batch that was read.
    """

    name: str
    source: Source
    cuts: Cuts
    operators: Sequence[Operator] = ()
    outputs: Sequence[Output] = ()
    columns: Columns = field(default_factory=Columns)
    checkpoint: Checkpoints | None = None
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

    def run(self, *, limit: int | None = None, fresh: bool = False) -> Summary:
        """Read until the input ends, and return how it went.

        Parameters
        ----------
        limit : int or None
            Ends the run after this many records; the last batch is cut short there.
        fresh : bool
            Moves earlier outputs and state aside (``.1``, ``.2``) and begins at the beginning.

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
        with ExitStack() as stack:
            began = self.world.monotonic()
            saved = None
            if self.checkpoint is not None:
                folder = Path(self.checkpoint.path)
                stack.enter_context(locked(folder))
                saved = None if fresh else read_checkpoint(folder)
                if saved is not None:
                    check_fingerprint(folder, saved.fingerprint, self.fingerprint)
                    check_operators(folder, saved.steps, [operator.name for operator in self.operators])
            run = _Run(self, saved, limit)
            try:
                run.open_input(stack)
            except DataError:
                if not self.world.stopping.is_set():
                    raise
                # asked to stop while it waited for the first record: there is nothing to be done
                nothing = Progress(0, 0, run.records, dict(run.rejected), None, {})
                return Summary(nothing, "stop", False, self.world.monotonic() - began)
            moved = self._move_aside() if fresh else []
            run.open_outputs(stack)
            ended = run.go()
            return Summary(
                progress=run.progress(),
                ended=ended,
                was_finished=saved is not None and saved.finished,
                seconds=self.world.monotonic() - began,
                moved_aside=tuple(moved),
            )

    def _move_aside(self) -> list[str]:
        """Make room for a run that starts afresh, once everything else is known to fit; the state goes first."""
        moved = [] if self.checkpoint is None else move_checkpoint_aside(self.world.disk, Path(self.checkpoint.path))
        return moved + [path for sink in self.sinks.values() for path in sink.move_aside(self.world)]

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
        self.errors.check()


class _Run:
    """One run of a pipeline: what is open, and how far it is."""

    def __init__(self, pipeline: Pipeline, saved: Checkpoint | None, limit: int | None) -> None:
        self.pipeline = pipeline
        durable = pipeline.checkpoint is not None
        self.world = pipeline.world if durable else replace(pipeline.world, disk=UnsyncedDisk())
        self.saved = saved
        self.limit = limit
        self.read_records = 0
        self.read_batches = 0
        self.records = saved.records if saved else 0
        self.number = saved.number if saved else 0
        self.position: Position = saved.position if saved else {}
        self.time = saved.time if saved else None
        self.rejected = Counter(saved.rejected if saved else {})
        self.last_snapshots = dict(saved.last_snapshots if saved else {})
        self.checkpoint_due = False
        self.changed = False
        self.keeper: Executor | None = None
        self.keeping: Future[Position] | None = None
        pipeline.errors.judge(self.rejected, self.records, final=False)

    def open_input(self, stack: ExitStack) -> None:
        """Open the source and the operators, and see that the outputs fit what they give."""
        pipeline, saved = self.pipeline, self.saved
        numbers = pipeline.columns.numbers.union(*(operator.numbers for operator in pipeline.operators))
        columns = replace(pipeline.columns, numbers=numbers)
        resume = Resume(saved.position, saved.schema, saved.number) if saved and saved.position else None
        cuts = replace(pipeline.cuts, limit=self.limit, every=pipeline.due)
        self.reader = pipeline.source.open(self.world, cuts, columns, resume)
        stack.callback(self.reader.close)
        schema = self.reader.schema
        keys = [column for column in (pipeline.columns.key, pipeline.columns.time) if column is not None]
        self.steps: dict[str, Step] = {}
        own: list[str] = []
        for operator in pipeline.operators:
            step = operator.open(schema, columns)
            if saved is not None:
                step.restore(saved.steps[operator.name])
            own += [c for c in step.schema.names() if c not in schema and c.startswith(f"{operator.name}.")]
            schema = step.schema
            self.steps[operator.name] = step
        _check_named(pipeline, schema)
        self.learners = {name: step for name, step in self.steps.items() if isinstance(step, LearnStep)}
        self.selections: dict[str, list[str]] = {}
        for output in pipeline.outputs:
            output.check(list(self.learners))
            if output.what == "posteriors":
                others = [column for column in schema.names() if column not in own]
                self.selections[output.called] = posterior_columns(output, others, own, keys=keys)

    def open_outputs(self, stack: ExitStack) -> None:
        """Open the sinks, each where the checkpoint left it."""
        self.writers: dict[str, Writer] = {}
        for name, sink in self.pipeline.sinks.items():
            writer = sink.open(self.world, self.saved.sinks.get(name) if self.saved else None)
            stack.callback(writer.close)
            self.writers[name] = writer
        if self.pipeline.checkpoint is not None:
            self.keeper = stack.enter_context(self.world.keeper())

    def go(self) -> Literal["input", "limit", "stop"]:
        """Run to the end of the input, to the limit, or until asked to stop; return which it was."""
        try:
            return self._go()
        finally:
            self._kept()

    def _go(self) -> Literal["input", "limit", "stop"]:
        ended: Literal["input", "limit", "stop"] = "input"
        if self.saved is None:
            # so that whatever a kill leaves behind, even before the first batch, a checkpoint speaks of it
            self._keep(final=False)
        for batch in self._read():
            if batch is None:
                self._settle()
            else:
                self._take(batch)
            if self.limit is not None and self.read_records >= self.limit:
                ended = "limit"
                break
            if self.world.stopping.is_set():
                break
        if ended == "input" and self.world.stopping.is_set():
            ended = "stop"
        if ended == "input":
            self._finish()
        else:
            self._settle()
        return ended

    def _read(self) -> Iterator[Batch | None]:
        """Yield what the reader gives; when it fails, put down first what was done before."""
        try:
            yield from self.reader
        except (DataError, ConnectError):
            self._settle()
            raise

    def _take(self, batch: Batch) -> None:
        if batch.rejected and self.pipeline.errors.policy == "stop":
            self._settle()
            raise refusal(batch.rejected[0])
        self.read_records += batch.records
        self.read_batches += len(batch.numbers)
        self._leave(self._operate([batch], list(self.steps.values())))
        if self.pipeline.listener is not None:
            self.pipeline.listener(self.progress())

    def _operate(self, batches: list[Batch], steps: Sequence[Step]) -> list[Batch]:
        for step in steps:
            batches = [leaving for batch in batches for leaving in step.process(batch)]
        return batches

    def _leave(self, batches: list[Batch]) -> None:
        """Write batches that passed every operator, then what is due after them."""
        if not batches:
            return
        for batch in batches:
            self._reject(batch.fallen())
            if batch.frame.height:
                for name, columns in self.selections.items():
                    self.writers[name].write(batch.frame[columns])
                if self.pipeline.columns.time is not None:
                    self.time = batch.frame.get_column(self.pipeline.columns.time)[-1]
            self.records += batch.records
        self.position = batches[-1].position
        numbers = range(batches[0].number, batches[-1].numbers.stop)
        self.number = numbers.stop
        self.changed = True
        for output in self.pipeline.outputs:
            if output.is_due(self.number):
                self._write_snapshots(output)
        if self.pipeline.checkpoint is not None:
            self.checkpoint_due |= ends_one(numbers, self.pipeline.checkpoint.every_batches)
        if self.checkpoint_due:
            self._settle()
        self._judge(final=False)

    def _reject(self, rejected: Sequence[Rejected]) -> None:
        if not rejected:
            return
        if self.pipeline.errors.policy == "stop":
            raise refusal(rejected[0])
        self.rejected.update(fallen.operator for fallen in rejected)
        if DEAD_LETTERS in self.writers:
            self.writers[DEAD_LETTERS].write(dead_letters(rejected))

    def _judge(self, *, final: bool) -> None:
        try:
            self.pipeline.errors.judge(self.rejected, self.records, final=final)
        except DataError:
            self._settle()  # so that the dead letters which tell why are there to be read
            raise

    def _write_snapshots(self, output: Output) -> None:
        for name, step in self.learners.items():
            if step.snapshot is None or output.operator not in (None, name):
                continue
            frame = snapshot_frame(
                step.snapshot,
                name=self.pipeline.name,
                operator=name,
                inputs=step.inputs.record(),
                position=self.position,
                time=iso_time(self.time, self.pipeline.columns),
            )
            self.writers[output.called].write(frame)
        self.last_snapshots[output.called] = self.number - 1

    def _finish(self) -> None:
        """Let go of what is held, write the last snapshots, and put down that the input has ended."""
        if self.saved is not None and self.saved.finished and not self.read_batches:
            return
        steps = list(self.steps.values())
        for index, step in enumerate(steps):
            self._leave(self._operate(step.finish(), steps[index + 1 :]))
        if self.records == 0:
            raise DataError(
                tell(
                    f"source of {self.pipeline.name}",
                    found="no records",
                    wanted="at least one",
                    do="look whether the input is the right one",
                )
            )
        for output in self.pipeline.outputs:
            if output.what == "snapshots" and self.last_snapshots.get(output.called) != self.number - 1:
                self._write_snapshots(output)
        self.changed = True
        self._settle(final=True)
        self._judge(final=True)

    def _settle(self, *, final: bool = False) -> None:
        """Flush, sync, checkpoint, commit: in this order, and not while a step holds batches.

        From sync on, the next batches are learned meanwhile; the next checkpoint waits for this one.
        """
        if self.changed and not any(step.holding for step in self.steps.values()):
            self._keep(final=final)

    def _keep(self, *, final: bool) -> None:
        """Flush, then begin to sync and to checkpoint. What an earlier checkpoint does not know, a restart cuts off."""
        sinks = {name: writer.flush(final) for name, writer in self.writers.items()}
        self._kept()
        self.checkpoint_due = False
        self.changed = False
        if self.keeper is not None and self.pipeline.checkpoint is not None:
            before = self.saved.sinks if self.saved else {}
            checkpoint = Checkpoint(
                fingerprint=self.pipeline.fingerprint,
                number=self.number,
                position=self.position,
                schema=self.reader.schema,
                records=self.records,
                rejected=dict(self.rejected),
                finished=final,
                time=iso_time(self.time, self.pipeline.columns),
                last_snapshots=dict(self.last_snapshots),
                steps={name: step.state() for name, step in self.steps.items()},
                sinks={**before, **sinks},  # an output that is left out of one run goes on in the next
            )
            self.keeping = self.keeper.submit(self._sync, Path(self.pipeline.checkpoint.path), checkpoint)
            if self.keeping.done():
                self._kept()

    def _sync(self, folder: Path, checkpoint: Checkpoint) -> Position:
        """Put a checkpoint down once what it tells of is on the disk; in another thread."""
        for writer in self.writers.values():
            writer.sync()
        write_checkpoint(self.world.disk, folder, checkpoint)
        return checkpoint.position

    def _kept(self) -> None:
        """Wait for the checkpoint under way, if there is one, and commit what it holds."""
        keeping, self.keeping = self.keeping, None
        if keeping is not None and (position := keeping.result()):
            self.reader.commit(position)

    def progress(self) -> Progress:
        return Progress(
            records=self.read_records,
            batches=self.read_batches,
            total_records=self.records,
            rejected=dict(self.rejected),
            done=self.reader.done,
            snapshots={name: step.snapshot for name, step in self.learners.items() if step.snapshot is not None},
        )


def _check_named(pipeline: Pipeline, schema: Any) -> None:
    """Refuse key and time columns that the records do not have, or a time that is none."""
    for setting, column in (("key", pipeline.columns.key), ("time", pipeline.columns.time)):
        if column is not None:
            columns_exist(setting, [column], schema.names())
    time = pipeline.columns.time
    if time is not None and not time_types(schema[time]):
        raise ConfigError(
            tell(
                "time",
                found=f"{time!r} of type {schema[time]}",
                wanted="ISO 8601 text, a time or a number",
                do="name another",
            )
        )
