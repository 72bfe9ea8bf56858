"""Outputs in transactions: exactly once wherever a run dies or a connection fails, and which checkpoint counts."""

import json
import logging
from dataclasses import dataclass, field, replace
from types import SimpleNamespace
from typing import Any

import pytest

from streamem.errors import ConfigError, ConnectError, SnapshotError
from streamem.stream.home import Checkpoints, chosen
from streamem.stream.outputs import Output
from streamem.stream.patience import Patience
from streamem.stream.protocol import State, World
from streamem.stream.rejections import Errors
from tests.stream.fakes import AtOnce, DiedError, Watched
from tests.stream.pipelines import BAD_ROWS, FRAME, LEARNERS_IN_A_ROW, Place


@dataclass
class Board:
    """A ledger in memory. What is pending is seen when it is committed; `fails` raises in place of its n-th call."""

    name: str = "board"
    seen: list[tuple[str, Any, str | None]] = field(default_factory=list)
    pending: list[tuple[str, Any, str | None]] = field(default_factory=list)
    committed: int | None = None
    calls: int = 0
    fails: dict[int, Exception] = field(default_factory=dict)
    begun: list[tuple[str, int, str]] = field(default_factory=list)

    def call(self) -> None:
        self.calls += 1
        if self.calls in self.fails:
            raise self.fails.pop(self.calls)

    def begin(self, name: str, worker: int, place: str) -> "Board":
        self.begun.append((name, worker, place))
        self.pending = []
        return self

    def send(self, place: str, value: Any, key: str | None) -> None:
        self.pending.append((place, value, key))

    def commit(self, number: int) -> None:
        self.call()
        self.seen += self.pending
        self.pending, self.committed = [], number
        self.call()

    def close(self) -> None:
        self.pending = []

    def of(self, place: str) -> list[Any]:
        return [value for where, value, _ in self.seen if where == place]


@dataclass(frozen=True)
class Pinned:
    """A sink on a board."""

    ledger: Board
    place: str

    def open(self, world: World, state: State | None) -> "PinnedWriter":
        assert world.transaction is self.ledger
        return PinnedWriter(self)

    def move_aside(self, world: World) -> list[str]:
        return []


class PinnedWriter:
    def __init__(self, sink: Pinned) -> None:
        self.sink, self.taken, self.flushed = sink, [], []

    def write(self, frame, key=None):
        keys = [key] * frame.height if isinstance(key, str) or key is None else key.to_list()
        self.taken += zip(frame.write_ndjson().splitlines(), keys, strict=True)

    def reject(self, rejected):
        self.taken += [(fallen.record.value.decode(), fallen.operator) for fallen in rejected]

    def flush(self, final):
        self.flushed.append(self.taken)
        self.taken = []
        return State()

    def sync(self):
        self.sink.ledger.call()
        for value, key in self.flushed.pop(0):
            self.sink.ledger.send(self.sink.place, value, key)

    def close(self):
        pass


def pinned(place, board, **changes):
    sinks = {name: Pinned(board, name) for name in ("posteriors", "snapshots", "dead")}
    usual = place.pipeline(BAD_ROWS, unreadable=frozenset({3, 99, 555}), operators=LEARNERS_IN_A_ROW)
    outputs = (
        Output(what="posteriors", sink=sinks["posteriors"]),
        Output(what="snapshots", sink=sinks["snapshots"], every_batches=3),
    )
    errors = Errors(policy="dead_letter", sink=sinks["dead"], retry_timeout_ms=1000)
    return replace(usual, outputs=outputs, errors=errors, world=quick(usual.world), **changes)


def quick(world: World) -> World:
    """Return a world in which a pause takes no time, but the clock goes on."""

    class Quick(World):
        now = 0.0

        def monotonic(self):
            return Quick.now

        def wait(self, seconds):
            Quick.now += seconds
            return False

    return Quick(disk=world.disk, keeper=world.keeper)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    board, place = Board(), Place(tmp_path_factory.mktemp("undisturbed"))
    pinned(place, board).run()
    assert len(board.of("posteriors")) > 700
    assert len(board.of("dead")) > 3
    return board.seen, place.left(), board.calls


def test_keys_are_those_of_the_records_and_of_the_learners(undisturbed):
    seen, _, _ = undisturbed
    for place, value, key in seen:
        if place == "posteriors":
            assert json.loads(value)["device"] == key
        elif place == "snapshots":
            assert key == f"clusters/{json.loads(value)['operator']}"
        else:
            assert key in ("source", "first", "second", "transform")


def test_wherever_a_run_dies_the_next_ones_leave_the_same(undisturbed, tmp_path):
    seen, left, calls = undisturbed
    assert calls > 25
    for call in range(1, calls + 1):
        board, place = Board(fails={call: DiedError()}), Place(tmp_path / str(call))
        with pytest.raises(DiedError):
            pinned(place, board).run()
        pinned(place, board).run()
        assert board.seen == seen, f"died at call {call}"
        assert place.left() == left


def test_a_checkpoint_that_was_not_committed_is_forgotten_even_when_the_next_run_dies_again(undisturbed, tmp_path):
    seen, left, calls = undisturbed
    for call in range(1, calls, 3):
        board, place = Board(fails={call: DiedError()}), Place(tmp_path / str(call))
        for step in (2, 1, 5):
            with pytest.raises(DiedError):
                pinned(place, board).run()
            board.fails = {board.calls + step: DiedError()}
        board.fails = {}
        pinned(place, board).run()
        assert board.seen == seen, f"died at call {call}"
        assert place.left() == left


def test_a_rename_that_dies_between_the_two_checkpoints_leaves_the_one_that_counts(undisturbed, tmp_path):
    seen, _, _ = undisturbed
    for call in range(10):
        board, place = Board(), Place(tmp_path / str(call))
        left = [call]

        def die(_, left=left):
            left[0] -= 1
            return DiedError() if left[0] < 0 else None

        usual = pinned(place, board)
        with pytest.raises(DiedError):
            replace(usual, world=World(disk=Watched([], die), keeper=AtOnce)).run()
        pinned(place, board).run()
        assert board.seen == seen


def failing(*calls):
    return {call: ConnectError(f"the line is dead at {call}", retry=True) for call in calls}


def test_a_connection_that_fails_is_tried_again_from_the_last_checkpoint(undisturbed, tmp_path, caplog):
    seen, left, calls = undisturbed
    board, place = Board(fails=failing(*range(10, calls, 6))), Place(tmp_path)
    with caplog.at_level(logging.WARNING, logger="streamem"):
        summary = pinned(place, board).run()
    assert board.seen == seen
    assert place.left() == left
    assert summary.ended == "input"
    assert summary.progress.records == 1000
    assert not summary.was_finished
    assert "the line is dead at 10 Going on from the last checkpoint, after 0 records." in caplog.text


def test_a_limit_counts_what_was_read_before_a_failure(tmp_path):
    board = Board(fails=failing(10, 14))
    summary = pinned(Place(tmp_path), board).run(limit=750)
    assert summary.ended == "limit"
    assert summary.progress.total_records == 750
    whole = Board()
    pinned(Place(tmp_path / "whole"), whole).run(limit=750)
    assert board.seen == whole.seen


def test_a_run_that_is_asked_to_stop_while_a_connection_is_away_ends_in_order(undisturbed, tmp_path):
    seen, left, _ = undisturbed
    place, world = Place(tmp_path), World()

    class Away(Board):
        def commit(self, number):
            if number == 4:
                world.stopping.set()
                raise ConnectError("the line is dead", retry=True)
            super().commit(number)

    board = Away()
    summary = replace(pinned(place, board), world=world).run()
    assert summary.ended == "stop"
    assert summary.progress.records == summary.progress.total_records == 600
    board.__class__ = Board
    pinned(place, board).run()
    assert board.seen == seen
    assert place.left() == left


def test_what_trying_again_cannot_help_ends_the_run(tmp_path):
    board = Board(fails={10: ConnectError("another process has taken over")})
    with pytest.raises(ConnectError, match="another process"):
        pinned(Place(tmp_path), board).run()


def test_patience_ends_when_there_is_no_progress(tmp_path):
    board = Board(fails=failing(*range(10, 200)))
    with pytest.raises(ConnectError, match="the line is dead at 1"):
        pinned(Place(tmp_path), board).run()
    assert 10 < board.calls < 60


def test_patience_counts_anew_after_progress():
    world = quick(World())
    patience = Patience(world, 2.0)
    assert [patience.wait(ConnectError("x"), records) for records in (0, 0, 0, 0, 7, 7, 7, 7, 7)] == [
        *[True] * 4,
        *[True] * 4,
        False,
    ]


def test_a_first_attempt_is_not_repeated(tmp_path):
    board = Board(fails=failing(1))
    with pytest.raises(ConnectError, match="the line is dead at 1"):
        pinned(Place(tmp_path), board).run()


def test_a_checkpoint_without_a_commit_is_a_choice(undisturbed, tmp_path):
    seen, _, _ = undisturbed
    board, place = Board(), Place(tmp_path)
    pinned(place, board).run(limit=600)
    board.committed = None
    with pytest.raises(SnapshotError, match=r"600 records, and no commit that belongs to it; .*--from checkpoint"):
        pinned(place, board).run()
    pinned(place, board).run(begin="checkpoint")
    assert len(board.of("posteriors")) == sum(place == "posteriors" for place, _, _ in seen)


def test_a_commit_without_its_checkpoint_is_refused(tmp_path):
    board = Board()
    pinned(Place(tmp_path / "here"), board).run(limit=600)
    with pytest.raises(SnapshotError, match=r"found commit \d+ outside, and of checkpoints none; .*--fresh"):
        pinned(Place(tmp_path / "there"), board).run()
    before = board.committed
    pinned(Place(tmp_path / "there"), board).run(fresh=True)
    assert board.committed > before


def test_a_commit_that_was_done_and_is_gone_is_told_in_the_run_and_after_it(tmp_path):
    class Forgetful(Board):
        def commit(self, number):
            if number == 4:
                self.committed = 2
                raise ConnectError("the line is dead", retry=True)
            super().commit(number)

    board, place = Forgetful(), Place(tmp_path)
    gone = r"found commit 2 outside, where commit 3 was done; wanted what was committed\. .*several replicas"
    for _ in range(2):
        with pytest.raises(SnapshotError, match=gone):
            pinned(place, board).run()
    inside = SimpleNamespace(place="a topic", inside=True, read=list)
    with pytest.raises(SnapshotError, match=gone):
        chosen(inside, board, latest=False, answered=3)


def test_several_ledgers_and_no_checkpoint_are_refused_before_the_start(tmp_path):
    board, other = Board(), Board("another board")
    usual = pinned(Place(tmp_path), board)
    with pytest.raises(ConfigError, match="wanted one: a transaction ends with each checkpoint"):
        replace(usual, checkpoint=None).run()
    mixed = (usual.outputs[0], replace(usual.outputs[1], sink=Pinned(other, "elsewhere")))
    with pytest.raises(ConfigError, match="and elsewhere on another; wanted one cluster"):
        replace(usual, outputs=mixed).run()
    assert board.begun == []


def test_files_and_a_ledger_side_by_side_are_each_exactly_once(tmp_path):
    def both(place, board):
        usual = pinned(place, board)
        outputs = (*usual.outputs, Output(what="posteriors", name="file", sink=place.sink("file")))
        return replace(usual, outputs=outputs, checkpoint=Checkpoints(path=str(place.state), every_batches=2))

    whole, place = Board(), Place(tmp_path / "whole")
    both(place, whole).run()
    expected = place.records("file")
    for call in range(4, whole.calls, 4):
        board, place = Board(fails={call: DiedError()}), Place(tmp_path / str(call))
        with pytest.raises(DiedError):
            both(place, board).run()
        both(place, board).run()
        assert board.seen == whole.seen
        assert place.records("file") == expected


def test_begin_needs_a_source_that_can(tmp_path):
    with pytest.raises(ConfigError, match="--from"):
        Place(tmp_path).pipeline(FRAME).run(begin="latest")
