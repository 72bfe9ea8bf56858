"""Where checkpoints are kept, and which of them counts when a run begins."""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Protocol

from streamem.errors import SnapshotError, tell
from streamem.stream.checkpoint import (
    Checkpoint,
    locked,
    move_checkpoint_aside,
    read_checkpoints,
    take_back,
    write_checkpoint,
)
from streamem.stream.protocol import Ledger, Transaction, World

__all__ = ["Checkpoints", "Home", "Keeping", "chosen"]


class Home(Protocol):
    """Where the checkpoints of one run are kept."""

    @property
    def place(self) -> str:
        """Where that is, for messages."""

    @property
    def inside(self) -> bool:
        """Whether they are written inside the transaction, so that the last one that is seen always counts."""

    def read(self) -> Sequence[Checkpoint]:
        """Return the checkpoints that are there, the latest first.

        Raises SnapshotError where one is damaged or of another format, ConnectError where it cannot be read.
        """

    def settle(self, checkpoint: Checkpoint) -> None:
        """Forget what is later than a checkpoint that was read: it was never committed."""

    def write(self, checkpoint: Checkpoint, transaction: Transaction | None) -> None:
        """Put a checkpoint down; the one before it stays until the next where there is a transaction.

        When this returns it survives a loss of power, inside a transaction once that commits.
        """

    def move_aside(self) -> list[str]:
        """Make room for a run that starts afresh, and return the new names of what was there."""


class Keeping(Protocol):
    """Declared: where and how often checkpoints are kept."""

    @property
    def every_batches(self) -> int:
        """After how many micro-batches."""

    @property
    def ledger(self) -> Ledger | None:
        """The system in whose transactions they are written, if any."""

    @property
    def place(self) -> str:
        """Where they are kept, for messages: a folder, a topic."""

    def open(self, world: World, name: str, worker: int) -> AbstractContextManager[Home]:
        """Return where the checkpoints of a pipeline's worker are kept, with every other process kept off."""


@dataclass(frozen=True, kw_only=True)
class Checkpoints:
    """A folder for the state, and how often it is put down.

    Parameters
    ----------
    path : str
        A folder of the pipeline's own.
    every_batches : int
        After every so many batches; besides when the input ends or is idle, and when the run is asked to stop.

    Examples
    --------
    >>> Checkpoints(path="state", every_batches=100).place
    'state'
    """

    __pydantic_config__: ClassVar[Any] = {"extra": "forbid"}

    path: str
    every_batches: int = 10

    ledger: ClassVar[None] = None

    @property
    def place(self) -> str:
        """The folder."""
        return self.path

    @contextmanager
    def open(self, world: World, name: str, worker: int) -> Iterator[Home]:  # noqa: ARG002
        """Return the folder, locked."""
        folder = Path(self.path)
        with locked(folder):
            yield _Folder(folder, world)


@dataclass
class _Folder:
    folder: Path
    world: World
    inside: ClassVar[bool] = False

    @property
    def place(self) -> str:
        """The folder."""
        return str(self.folder)

    def read(self) -> Sequence[Checkpoint]:
        """Return the checkpoint, and the one before it where it was kept."""
        return read_checkpoints(self.folder)

    def settle(self, checkpoint: Checkpoint) -> None:
        """Let the checkpoint before the last one take its place, if that is the one."""
        if self.read()[0].serial != checkpoint.serial:
            take_back(self.world.disk, self.folder)

    def write(self, checkpoint: Checkpoint, transaction: Transaction | None) -> None:
        """Replace the checkpoint in one step."""
        # the one before is needed as long as nobody knows whether the transaction of this one came to its end
        write_checkpoint(self.world.disk, self.folder, checkpoint, keep=transaction is not None)

    def move_aside(self) -> list[str]:
        """Rename what is there."""
        return move_checkpoint_aside(self.world.disk, self.folder)


def chosen(home: Home, transaction: Transaction | None, *, latest: bool, answered: int = 0) -> Checkpoint | None:
    """Return the checkpoint that belongs to what is seen outside.

    Parameters
    ----------
    home : Home
    transaction : Transaction or None
        Knows the number of the last commit.
    latest : bool
        Take the latest checkpoint, whatever the transaction knows.
    answered : int
        The number of a commit that is known to have been done.

    Raises
    ------
    SnapshotError
        None of them does, or what was committed is no longer there.
    """
    there = home.read()
    if transaction is None or latest:
        return there[0] if there else None
    committed = transaction.committed
    if not home.inside and len(there) > 1:
        answered = max(answered, there[-1].serial)  # the later one was written when this one was known to be done
    if committed is not None and committed < answered:
        found = f"commit {committed} outside, where commit {answered} was done"
        do = (
            "give topics several replicas, since a broker alone may forget a commit as it is killed; "
            "then start afresh with --fresh, or go on without what is missing with --from checkpoint"
        )
        raise SnapshotError(tell(f"checkpoint in {home.place}", found=found, wanted="what was committed", do=do))
    if home.inside:
        return there[0] if there else None
    for checkpoint in there:
        if checkpoint.serial == committed:
            home.settle(checkpoint)
            return checkpoint
    if committed is None:
        if all(checkpoint.records == 0 for checkpoint in there):
            return there[0] if there else None  # the first commit, of nothing, never came to its end
        found = f"a checkpoint after {there[0].records:,} records, and no commit that belongs to it"
        do = "go on from it with --from checkpoint (commits are forgotten after seven idle days), or begin with --fresh"
    else:
        numbers = " and ".join(str(checkpoint.serial) for checkpoint in there) or "none"
        found = f"commit {committed} outside, and of checkpoints {numbers}"
        do = "run where that checkpoint is, restore it, or start afresh with --fresh"
    raise SnapshotError(tell(f"checkpoint in {home.place}", found=found, wanted="the one of the last commit", do=do))
