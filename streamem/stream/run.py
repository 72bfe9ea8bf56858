"""One attempt at a run: read, operate, write, flush, checkpoint, commit. This file alone owns that order."""

from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor, Future
from contextlib import ExitStack
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

import polars as pl

from streamem.errors import ConfigError, ConnectError, DataError, tell
from streamem.stream.batch import Batch, Position, Rejected
from streamem.stream.checkpoint import Checkpoint
from streamem.stream.checks import columns_exist
from streamem.stream.disk import UnsyncedDisk
from streamem.stream.home import Home
from streamem.stream.operators.learn import LearnStep
from streamem.stream.operators.order import OrderStep
from streamem.stream.outputs import Output, ends_one, posterior_columns
from streamem.stream.progress import Progress
from streamem.stream.protocol import LedgerWriter, Resume, Step, Transaction, Writer
from streamem.stream.rejections import dead_letters, refusal
from streamem.stream.snapshots import snapshot_frame
from streamem.stream.times import iso_time, time_types

if TYPE_CHECKING:
    from streamem.stream.pipeline import Attempt, Pipeline

__all__ = ["DEAD_LETTERS", "Run"]

DEAD_LETTERS = "dead_letters"
"""The name under which a checkpoint keeps the state of the dead letters' sink."""

MOST_WAITING = 1 << 20
"""Records that may wait in memory for a transaction; with more of them a checkpoint comes earlier."""


class Run:
    """One attempt: what is open, and how far it is."""

    def __init__(
        self,
        pipeline: "Pipeline",
        saved: Checkpoint | None,
        attempt: "Attempt",
        home: Home | None,
        transaction: Transaction | None,
    ) -> None:
        self.pipeline = pipeline
        durable = pipeline.checkpoint is not None
        self.world = pipeline.world if durable else replace(pipeline.world, disk=UnsyncedDisk())
        self.saved = saved
        self.attempt, self.home, self.transaction = attempt, home, transaction
        self.read_records = (saved.records if saved else 0) - attempt.records_before
        self.read_batches = (saved.number if saved else 0) - attempt.batches_before
        self.records = saved.records if saved else 0
        self.number = saved.number if saved else 0
        self.position: Position = saved.position if saved else {}
        self.time = saved.time if saved else None
        self.rejected = Counter(saved.rejected if saved else {})
        self.last_snapshots = dict(saved.last_snapshots if saved else {})
        self.checkpoint_due = False
        self.changed = False
        self.keeper: Executor | None = None
        self.keeping: Future[Checkpoint] | None = None
        self.serial = max(saved.serial if saved else 0, (transaction and transaction.committed) or 0)
        self.waiting = 0
        pipeline.errors.judge(self.rejected, self.records, final=False)

    def open_input(self, stack: ExitStack) -> None:
        """Open the source and the operators, and see that the outputs fit what they give."""
        pipeline, saved = self.pipeline, self.saved
        numbers = pipeline.columns.numbers.union(*(operator.numbers for operator in pipeline.operators))
        columns = replace(pipeline.columns, numbers=numbers)
        resume = Resume(saved.position, saved.schema, saved.number) if saved and saved.position else None
        if resume is not None and self.attempt.begin not in (None, "checkpoint"):
            resume = replace(resume, position={})
        limit = self.attempt.limit
        cuts = replace(pipeline.cuts, limit=None if limit is None else limit - self.read_records, every=pipeline.due)
        self.reader = pipeline.source.open(self.world, cuts, columns, resume)
        stack.callback(self.reader.close)
        schema = self.reader.schema
        if cuts.whole_keys:
            columns_exist("batch.whole_keys: key", [columns.key or ""], schema.names())
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
        limit = self.attempt.limit
        for batch in self._read() if limit is None or self.read_records < limit else ():
            if self.keeping is not None and self.keeping.done():
                self._kept()  # what failed there ends the run now, also where no other checkpoint follows soon
            if batch is None:
                self._settle()
            else:
                self._take(batch)
            if self.world.stopping.is_set() or (limit is not None and self.read_records >= limit):
                break
        if limit is not None and self.read_records >= limit:
            ended = "limit"
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
        self._refuse_held()
        if self.pipeline.listener is not None:
            self.pipeline.listener(self.progress())

    def _refuse_held(self) -> None:
        """Raise DataError for a bad record that a warm-up holds, under the policy that stops at the first one."""
        if self.pipeline.errors.policy == "stop":
            for step in self.learners.values():
                if step.last_held is not None and (fallen := step.last_held.fallen()):
                    raise refusal(fallen[0])

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
                column = self.pipeline.columns.key
                key = None if column is None else batch.frame.get_column(column)
                self.waiting += batch.frame.height
                for name, columns in self.selections.items():
                    self._write(name, batch.frame[columns], key)
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
            self.checkpoint_due |= self.transaction is not None and self.waiting >= MOST_WAITING
        if self.checkpoint_due:
            self._settle()
        self._judge(final=False)

    def _reject(self, rejected: Sequence[Rejected]) -> None:
        if not rejected:
            return
        if self.pipeline.errors.policy == "stop":
            raise refusal(rejected[0])
        self.rejected.update(fallen.operator for fallen in rejected)
        writer = self.writers.get(DEAD_LETTERS)
        if isinstance(writer, LedgerWriter):
            writer.reject(rejected)
        elif writer is not None:
            writer.write(dead_letters(rejected))

    def _write(self, output: str, frame: pl.DataFrame, key: pl.Series | str | None) -> None:
        writer = self.writers[output]
        if isinstance(writer, LedgerWriter):
            writer.write(frame, key)
        else:
            writer.write(frame)

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
                inputs=step.record(),
                position=self.position,
                time=iso_time(self.time, self.pipeline.columns),
            )
            self._write(output.called, frame, f"{self.pipeline.name}/{name}")
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
        self.waiting = 0
        if self.keeper is not None and self.home is not None:
            self.serial += self.transaction is not None
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
                serial=self.serial,
            )
            self.keeping = self.keeper.submit(self._sync, self.home, checkpoint)
            if self.keeping.done():
                self._kept()

    def _sync(self, home: Home, checkpoint: Checkpoint) -> Checkpoint:
        """Put a checkpoint down once what it tells of is on the disk, and commit what it holds; in another thread."""
        for writer in self.writers.values():
            writer.sync()
        home.write(checkpoint, self.transaction)
        if checkpoint.position:
            self.reader.commit(checkpoint.position)
        if self.transaction is not None:
            self.transaction.commit(checkpoint.serial)
        return checkpoint

    def _kept(self) -> None:
        """Wait for the checkpoint under way, if there is one."""
        keeping, self.keeping = self.keeping, None
        if keeping is not None:
            self.attempt.keep(keeping.result())

    def progress(self) -> Progress:
        """Return how far the run is."""
        return Progress(
            records=self.read_records,
            batches=self.read_batches,
            total_records=self.records,
            rejected=dict(self.rejected),
            done=self.reader.done,
            snapshots={name: step.snapshot for name, step in self.learners.items() if step.snapshot is not None},
            drifts={name: step.drifts for name, step in self.learners.items() if step.drifts is not None},
            dropped={
                name: step.dropped for name, step in self.steps.items() if isinstance(step, OrderStep) and step.dropped
            },
        )


def _check_named(pipeline: "Pipeline", schema: Any) -> None:
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
