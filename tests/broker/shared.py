"""One plain broker for all workers of a test run: the first to come has it started, the last to go has it stopped.

A keeper, a process of its own, owns the broker: the worker that came first may be gone before the others. Who uses
the broker holds a shared lock on a file, and the keeper waits for the lock alone: it gets it when the last one has
let go, in whatever way that one ended.
"""

import fcntl
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.broker.container import container, docker_answers
from tests.broker.jars import AbsentError, locked
from tests.broker.server import Broker, BrokerError


@contextmanager
def shared(folder: Path) -> Iterator[str]:
    """Use the broker of a folder; its HOST:PORT.

    Raises
    ------
    AbsentError
        This machine cannot have one.
    BrokerError
        It did not start.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "users").open("a") as users:
        with locked(folder / "entering"):
            fcntl.flock(users, fcntl.LOCK_SH)
            if not (folder / "address").exists():
                employ_keeper(folder)
        yield (folder / "address").read_text()


def employ_keeper(folder: Path) -> None:
    """Start the keeper of a folder's broker; return when there is an address."""
    address, absent, log = folder / "address", folder / "absent", folder / "keeper.log"
    written = os.O_WRONLY | os.O_CREAT | os.O_APPEND
    # not a Popen, which has to be waited for: this one outlives us
    keeper = os.posix_spawn(
        sys.executable,
        [sys.executable, "-m", "tests.broker.shared", str(folder)],
        {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
        file_actions=[(os.POSIX_SPAWN_OPEN, 1, log, written, 0o644), (os.POSIX_SPAWN_DUP2, 1, 2)],
        setsid=True,
    )
    while not address.exists():
        ended, _ = os.waitpid(keeper, os.WNOHANG)
        if absent.exists():
            raise AbsentError(absent.read_text())
        if ended:
            raise BrokerError(f"The broker of {folder} did not start:\n{log.read_text()}")
        time.sleep(0.02)


def keep(folder: Path) -> None:
    """Run a broker until nobody uses it any more."""
    try:
        with container() if docker_answers() else own(folder) as bootstrap:
            with TemporaryDirectory(dir=folder) as made:
                (Path(made) / "address").write_text(bootstrap)
                (Path(made) / "address").rename(folder / "address")
            with (folder / "users").open("a") as users:
                fcntl.flock(users, fcntl.LOCK_EX)
                (folder / "address").unlink()
    except AbsentError as missing:
        (folder / "absent").write_text(str(missing))


@contextmanager
def own(folder: Path) -> Iterator[str]:
    with Broker(folder / "kafka") as broker:
        yield broker.bootstrap


if __name__ == "__main__":
    keep(Path(sys.argv[1]))
