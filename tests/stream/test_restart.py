"""Exactly once: whenever a run ends and however, the outputs and parameters after the next are those of one run."""

import errno
import os
from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamem.errors import ConnectError
from streamem.stream.disk import Disk
from streamem.stream.home import Checkpoints
from streamem.stream.protocol import Cuts, World
from streamem.stream.rejections import Errors
from tests.stream.fakes import AtOnce, DiedError
from tests.stream.pipelines import BAD_ROWS, DROPS_EVERYTHING, FRAME, LEARNERS_IN_A_ROW, ONE_LEARNER, Place

KINDS = {
    "one learner": ONE_LEARNER,
    "learners in a row": LEARNERS_IN_A_ROW,
    "a where that drops everything": DROPS_EVERYTHING,
    "bad records": LEARNERS_IN_A_ROW,
}
UNREADABLE = frozenset({3, 99, 100, 555})


def pipeline(place, kind, **changes):
    if kind == "bad records":
        changes |= {"unreadable": UNREADABLE, "errors": place.dead_letter()}
        return place.pipeline(BAD_ROWS, operators=LEARNERS_IN_A_ROW, **changes)
    if kind == "short":
        changes |= {"unreadable": UNREADABLE, "errors": place.dead_letter(), "cuts": Cuts(120)}
        return place.pipeline(BAD_ROWS[:600], **changes)
    return place.pipeline(FRAME, operators=KINDS[kind], **changes)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    @cache
    def left(kind):
        place = Place(tmp_path_factory.mktemp("undisturbed") / "run")
        pipeline(place, kind).run()
        return place.left()

    return left


class DyingDisk(Disk):
    """Raises DiedError in place of its n-th call, after `part` of what a write was given."""

    def __init__(self, calls, part=0.5):
        self.calls = calls
        self.part = part

    def count(self):
        self.calls -= 1
        if self.calls < 0:
            raise DiedError

    def open(self, path):
        self.count()
        return super().open(path)

    def write(self, descriptor, content):
        if self.calls == 0:
            super().write(descriptor, content[: int(len(content) * self.part)])
        self.count()
        super().write(descriptor, content)

    def truncate(self, descriptor, length):
        self.count()
        super().truncate(descriptor, length)

    def sync(self, descriptor):
        self.count()
        super().sync(descriptor)

    def replace(self, source, target):
        self.count()
        super().replace(source, target)

    def sync_folder(self, path):
        self.count()
        super().sync_folder(path)


@pytest.mark.parametrize("kind", KINDS)
def test_a_run_that_dies_after_any_batch_and_is_started_again_leaves_the_same(tmp_path, undisturbed, kind):
    died = 0
    for batch in range(1, 11):
        place = Place(tmp_path / f"{batch}")

        def die(progress, batch=batch):
            if progress.batches == batch:
                raise DiedError

        with pytest.raises(DiedError):
            pipeline(place, kind, listener=die).run()
        died += 1
        pipeline(place, kind).run(fresh=place.saved is None)
        assert place.left() == undisturbed(kind)
    assert died == 10


def test_a_run_that_dies_in_any_call_to_the_disk_and_is_started_again_leaves_the_same(tmp_path, undisturbed):
    calls = 0
    while True:
        place = Place(tmp_path / f"{calls}")
        try:
            pipeline(place, "short", world=World(disk=DyingDisk(calls), keeper=AtOnce)).run()
        except DiedError:
            pipeline(place, "short").run(fresh=place.saved is None)
            assert place.left() == undisturbed("short")
            calls += 1
        else:
            break
    assert calls >= 30


@settings(max_examples=10, deadline=None)
@given(deaths=st.lists(st.tuples(st.integers(0, 30), st.floats(0, 1)), min_size=1, max_size=6))
def test_a_run_that_dies_again_and_again_leaves_the_same(tmp_path_factory, undisturbed, deaths):
    place = Place(tmp_path_factory.mktemp("deaths") / "run")
    for calls, part in deaths:
        try:
            world = World(disk=DyingDisk(calls, part), keeper=AtOnce)
            pipeline(place, "bad records", world=world).run(fresh=place.folder.exists() and place.saved is None)
        except DiedError:
            continue
    pipeline(place, "bad records").run(fresh=place.saved is None)
    assert place.left() == undisturbed("bad records")


@pytest.mark.parametrize("kind", KINDS)
def test_runs_of_one_batch_after_the_other_leave_the_same(tmp_path, undisturbed, kind):
    place = Place(tmp_path / "run")
    ended = None
    runs = 0
    while ended != "input":
        limit = 100 if place.saved else 400
        ended = pipeline(place, kind).run(limit=limit, fresh=place.folder.exists() and place.saved is None).ended
        runs += 1
    assert runs == 8
    assert place.left() == undisturbed(kind)


@pytest.mark.parametrize("every", [1, 3, 7, 100])
def test_how_often_checkpoints_are_made_changes_nothing(tmp_path, undisturbed, every):
    place = Place(tmp_path / "run")
    pipeline(place, "bad records", checkpoint=Checkpoints(path=str(place.state), every_batches=every)).run()
    assert place.left() == undisturbed("bad records")


def test_a_full_disk_is_told_with_its_place_and_the_run_goes_on_after_it(tmp_path, undisturbed):
    class FullDisk(Disk):
        def replace(self, source, target):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    place = Place(tmp_path / "run")
    pipeline(place, "one learner").run(limit=500)
    with pytest.raises(ConnectError, match=r"checkpoint.path .*: found No space left on device"):
        pipeline(place, "one learner", world=World(disk=FullDisk(), keeper=AtOnce)).run()
    pipeline(place, "one learner").run()
    assert place.left() == undisturbed("one learner")


def test_the_errors_policy_may_change_between_runs(tmp_path):
    place = Place(tmp_path / "run")
    settings_of = {"operators": LEARNERS_IN_A_ROW, "unreadable": UNREADABLE}
    place.pipeline(BAD_ROWS, errors=place.dead_letter(), **settings_of).run(limit=400)
    dead = len(place.records("dead"))
    skipped = place.pipeline(BAD_ROWS, errors=Errors(policy="skip"), **settings_of).run(limit=300)
    assert len(place.records("dead")) == dead
    summary = place.pipeline(BAD_ROWS, errors=place.dead_letter(), **settings_of).run()
    fallen = [sum(s.progress.rejected.values()) for s in (skipped, summary)]
    assert len(place.records("dead")) - dead == fallen[1] - fallen[0] > 0
