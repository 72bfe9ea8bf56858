"""The jars of Kafka, fetched once by Maven into a cache and shared by all tests of a machine."""

import fcntl
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from xml.etree import ElementTree

POM = Path(__file__).with_name("pom.xml")
KAFKA = ElementTree.parse(POM).findtext(".//{*}dependency[{*}artifactId='kafka_2.13']/{*}version")


class AbsentError(RuntimeError):
    """This machine has no broker: a program is missing, or the jars cannot be fetched."""


def cache() -> Path:
    """Return the folder in which the jars of this version of Kafka are, or will be."""
    root = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return root / "streamem-tests" / f"kafka-{KAFKA}"


def program(name: str, purpose: str) -> str:
    """Return the path of a program.

    Raises
    ------
    AbsentError
        It is not on the PATH.
    """
    found = shutil.which(name)
    if found is None:
        raise AbsentError(f"{name}, which {purpose}, is not on the PATH. Install it or set STREAMEM_TEST_KAFKA.")
    return found


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock of a file; the kernel lets go of it when a process dies."""
    with path.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def jars() -> list[Path]:
    """Return the jars in the order of their names, fetched if this is the first time.

    Several processes may ask at once: one fetches, the others wait. The folder gets its name when it is complete.

    Raises
    ------
    AbsentError
        There is no Maven, or it failed.
    """
    folder = cache()
    folder.parent.mkdir(parents=True, exist_ok=True)
    with locked(folder.with_name(f"{folder.name}.lock")):
        if not folder.exists():
            with tempfile.TemporaryDirectory(dir=folder.parent) as made:
                fetch(Path(made) / "jars")
                (Path(made) / "jars").rename(folder)
    return sorted(folder.glob("*.jar"))


def fetch(folder: Path) -> None:
    """Let Maven copy what the pom names, and what that needs, into a folder."""
    goal = ["dependency:copy-dependencies", "-DincludeScope=runtime", f"-DoutputDirectory={folder}"]
    command = [program("mvn", "fetches the jars of Kafka"), "-B", "-q", "-f", str(POM), *goal]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        said = done.stdout + done.stderr
        raise AbsentError(f"mvn could not fetch Kafka {KAFKA} (exit code {done.returncode}):\n{said}")


def archive() -> Path:
    """Return where the classes of a broker are, or will be, as the JVM maps them: a start takes 1.7 s and not 3.0 s."""
    return cache() / "classes.jsa"


def keep_archive(made: Path) -> None:
    """Let all later brokers have the archive that one left when it ended in order."""
    with tempfile.TemporaryDirectory(dir=cache().parent) as folder:
        Path(shutil.move(made, folder)).replace(archive())
