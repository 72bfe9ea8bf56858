"""A process of its own that runs the scenario and kills itself, or is killed, with SIGKILL."""

import os
import signal
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NoReturn

from streamem.config import load
from streamem.connect.kafka.transaction import KafkaTransaction
from streamem.stream.disk import Disk
from streamem.stream.operators.learn import LearnStep
from streamem.stream.protocol import World

PHASES = (
    "start",
    "warm-up",
    "mid-batch",
    "before flush",
    "half a write",
    "after flush",
    "before rename",
    "after rename",
    "cutting back",
)

TRANSACTION_PHASES = tuple(
    f"{when} {what}" for what in ("sending", "offsets", "commit") for when in ("before", "after")
)
"""What comes to those of a pipeline that writes to topics."""


def die() -> NoReturn:
    """End as by kill -9: nothing is flushed, nothing is cleaned up."""
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError("unreachable")


@dataclass
class Point:
    """Dies when a phase is reached for the n-th time."""

    phase: str
    left: int

    def reached(self, phase: str) -> None:
        if phase == self.phase:
            self.left -= 1
            if self.left <= 0:
                die()


class DyingDisk(Disk):
    """A disk whose calls are phases."""

    def __init__(self, point: Point) -> None:
        self.point = point

    def write(self, descriptor: int, content: bytes | memoryview) -> None:
        if self.point.phase == "half a write" and self.point.left <= 1:
            super().write(descriptor, content[: len(content) // 2])
        self.point.reached("half a write")
        super().write(descriptor, content)

    def truncate(self, descriptor: int, length: int) -> None:
        self.point.reached("cutting back")
        super().truncate(descriptor, length)
        self.point.reached("cutting back")

    def sync(self, descriptor: int) -> None:
        self.point.reached("before flush")
        super().sync(descriptor)
        self.point.reached("after flush")

    def replace(self, source: Path, target: Path) -> None:
        self.point.reached("before rename")
        super().replace(source, target)
        self.point.reached("after rename")


def watched(process: Callable[..., Any], point: Point) -> Callable[..., Any]:
    """Return a step's `process` that is a phase: in the warm-up, or in the middle of a batch that was learned."""

    def run(step: LearnStep, batch: Any) -> Any:
        left = process(step, batch)
        point.reached("warm-up" if step.holding else "mid-batch")
        return left

    return run


def framed(call: Callable[..., Any], point: Point, name: str) -> Callable[..., Any]:
    """Return a call with a phase before and a phase after it."""

    def run(*arguments: Any, **named: Any) -> Any:
        point.reached(f"before {name}")
        left = call(*arguments, **named)
        point.reached(f"after {name}")
        return left

    return run


def run(file: Path, phase: str | None = None, times: int = 1) -> None:
    """Run the pipeline in `file` as the command line does; die at a phase if one is named."""
    point = Point(phase or "", times)
    point.reached("start")
    for method, name in (("send", "sending"), ("offsets", "offsets"), ("commit", "commit")):
        setattr(KafkaTransaction, method, framed(getattr(KafkaTransaction, method), point, name))
    LearnStep.process = watched(LearnStep.process, point)  # type: ignore[method-assign]
    load(str(file), []).pipeline(world=replace(World(), disk=DyingDisk(point))).run()


def start(file: Path, phase: str | None = None, times: int = 1) -> int:
    """Fork a process that runs the pipeline; return its id."""
    return forked(file.parent, lambda: run(file, phase, times))


def forked(folder: Path, work: Callable[[], Any]) -> int:
    """Fork a process that does some work, and tells what it says to a file in a folder; return its id."""
    child = os.fork()
    if child:
        return child
    status = 1
    try:
        descriptor = os.open(folder / "log.txt", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(descriptor, 1)
        os.dup2(descriptor, 2)
        work()
        status = 0
    except BaseException:
        import traceback

        traceback.print_exc()
    finally:
        os._exit(status)
