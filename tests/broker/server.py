"""A broker of Apache Kafka in a process of its own, which a test may kill and start again."""

import base64
import json
import random
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from tests.broker.certificates import certificates
from tests.broker.jars import archive, jars, keep_archive, program

USERS = {"alice": "alice-secret", "bob": "bob-secret"}
START_SECONDS = 60
# After a kill the controller lets nobody in before the session of the dead broker is over, 9 s if nothing is said.
SESSION_MS = 2000
STOP_SECONDS = 30
ORDERLY = 128 + signal.SIGTERM  # what a JVM ends with that was asked to

# The second compiler costs a short life more than it gives. What the JVM says of its class archive is no concern.
JVM = ("-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xlog:cds*=off", "-Xlog:class+path=off")

# A process that asks the kernel to be killed with its parent, then becomes the broker, under the same id. Done there
# and not in a preexec_fn, which may hang in a process with threads. Where there is no prctl, `stop` has to do.
DIE_WITH_PARENT = "import ctypes, os, sys; ctypes.CDLL(None).prctl(1, 9); os.execv(sys.argv[1], sys.argv[1:])"


class BrokerError(RuntimeError):
    """The broker did not start; the message ends with the end of its log."""


GIVEN: set[int] = set()
"""Ports that were given to a broker."""


def free_ports(count: int) -> list[int]:
    """Return ports of 127.0.0.1 that nobody listens on.

    They lie below those that the kernel hands out (32768 and above): while a killed broker is away no client can
    get its port, not even one that connects to it and would find itself. None is returned twice.
    """
    ports: list[int] = []
    while len(ports) < count:
        port = random.SystemRandom().randrange(20000, 32000)
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        if port not in GIVEN:
            GIVEN.add(port)
            ports.append(port)
    return ports


def new_id() -> str:
    """Return an id for a cluster."""
    return base64.urlsafe_b64encode(secrets.token_bytes(16)).decode().rstrip("=")


def controllers(count: int) -> tuple[str, ...]:
    """Return HOST:PORT for so many controllers."""
    return tuple(f"127.0.0.1:{port}" for port in free_ports(count))


@dataclass(frozen=True)
class Member:
    """The place of a broker in its cluster; without arguments, of one alone.

    Parameters
    ----------
    number : int
        Its own, from 1.
    controllers : tuple of str
        HOST:PORT of every member's controller, by number.
    cluster : str
        The id of the cluster.
    """

    number: int = 1
    controllers: tuple[str, ...] = field(default_factory=lambda: controllers(1))
    cluster: str = field(default_factory=new_id)


class Broker:
    """A broker and its controller in one JVM, with its data in a folder.

    As a context manager it starts, and stops in the end. The JVM dies with the *thread* that started it.

    Parameters
    ----------
    folder : Path
        Where its data, settings and log go; made if it is not there.
    secure : bool
        Whether there is a second listener, with TLS and the users `USERS`: SASL_SSL with SCRAM-SHA-256, PLAIN or
        OAUTHBEARER (see `token`).
    authorizer : bool
        Whether rights are asked for. The listener without TLS and alice may do everything, bob nothing until he is
        given the right.
    properties : mapping
        More settings of the broker, or others than those chosen here.
    member : Member, optional
        Its place in a cluster of several; by default it is alone.

    Attributes
    ----------
    bootstrap, secure_bootstrap : str
        HOST:PORT of the listeners, the same after a restart.
    ca, other_ca : Path
        Certificates of the authority that signed the broker's, and of one that did not.
    log : Path
        What the broker said, over all its starts.
    """

    def __init__(
        self,
        folder: Path,
        *,
        secure: bool = False,
        authorizer: bool = False,
        properties: Mapping[str, object] | None = None,
        member: Member | None = None,
    ) -> None:
        self.folder = folder
        self.secure = secure
        self.member = member or Member()
        plain, tls = free_ports(2)
        self.bootstrap = f"127.0.0.1:{plain}"
        self.secure_bootstrap = f"127.0.0.1:{tls}"
        self.ca = folder / "ca.pem"
        self.other_ca = folder / "other_ca.pem"
        self.log = folder / "broker.log"
        self.settings = folder / "server.properties"
        self.archive = folder / "classes.jsa"
        self.process: subprocess.Popen[bytes] | None = None
        folder.mkdir(parents=True, exist_ok=True)
        chosen = self.listeners() | storage(folder / "data", copies=len(self.member.controllers))
        if secure:
            certificates(folder)
            chosen |= secured(folder / "server.pem")
        if authorizer:
            chosen |= {
                "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
                "super.users": "User:ANONYMOUS;User:alice",
            }
        chosen |= properties or {}
        self.settings.write_text("".join(f"{name}={value}\n" for name, value in chosen.items()))

    def listeners(self) -> dict[str, object]:
        """Return the settings of who listens where."""
        number, known = self.member.number, self.member.controllers
        outside = [f"PLAIN://{self.bootstrap}"] + [f"SECURE://{self.secure_bootstrap}"] * self.secure
        return {
            "process.roles": "broker,controller",
            "node.id": number,
            "controller.quorum.voters": ",".join(f"{n}@{place}" for n, place in enumerate(known, 1)),
            "listeners": ",".join([*outside, f"CONTROLLER://{known[number - 1]}"]),
            "advertised.listeners": ",".join(outside),
            "controller.listener.names": "CONTROLLER",
            "inter.broker.listener.name": "PLAIN",
            "listener.security.protocol.map": "PLAIN:PLAINTEXT,CONTROLLER:PLAINTEXT,SECURE:SASL_SSL",
        }

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Start the broker on its folder and its ports, as new or after an end; return when it answers.

        Raises
        ------
        AbsentError
            Java or the jars of Kafka are not there and cannot be fetched.
        BrokerError
            It ended, or did not answer in time.
        """
        self.launch()
        try:
            wait(self.bootstrap, self.running, self.tail)
        except BaseException:
            self.kill()
            raise

    def launch(self) -> None:
        """Start the broker, and do not wait for it."""
        if not (self.folder / "data").exists():
            self.format()
        leaving = [f"-XX:ArchiveClassesAtExit={self.archive}"] * (not archive().exists())
        self.process = self.java(*leaving, "kafka.Kafka", str(self.settings))

    def format(self) -> None:
        """Write the cluster's id, and its users, into the empty folder."""
        users = [f"SCRAM-SHA-256=[name={name},password={password}]" for name, password in USERS.items()]
        added = [word for user in users * self.secure for word in ("--add-scram", user)]
        named = f"--cluster-id={self.member.cluster}"  # the equals sign: it may begin with a minus
        code = self.java("kafka.tools.StorageTool", "format", named, "-c", str(self.settings), *added).wait()
        if code:
            raise BrokerError(f"kafka.tools.StorageTool ended with {code}:\n{self.tail()}")

    def java(self, *arguments: str) -> subprocess.Popen[bytes]:
        """Start a class of Kafka; what it says goes to the log."""
        java = program("java", "runs Kafka")
        path = ":".join(map(str, jars()))
        mapped = [f"-XX:SharedArchiveFile={archive()}"] * archive().exists()
        said = f"-Dlog4j2.configurationFile={Path(__file__).with_name('log4j2.properties')}"
        command = [sys.executable, "-S", "-c", DIE_WITH_PARENT] * (sys.platform == "linux")
        with self.log.open("ab") as log:
            return subprocess.Popen(
                [*command, java, *JVM, *mapped, said, "-cp", path, *arguments],
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def tail(self) -> str:
        """Return the end of the log."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-40:])

    def kill(self) -> None:
        """End the broker as by kill -9, and nothing else."""
        self.end(signal.SIGKILL)

    def stop(self) -> None:
        """Let the broker end in order; kill it if it does not."""
        if self.end(signal.SIGTERM) == ORDERLY and self.archive.exists():
            keep_archive(self.archive)

    def end(self, number: signal.Signals) -> int | None:
        """Send a signal to the broker's own process, if there is one; return how it ended."""
        if self.process is None:
            return None
        self.process.send_signal(number)
        try:
            self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        code, self.process = self.process.returncode, None
        return code


def storage(data: Path, copies: int) -> dict[str, object]:
    """Return the settings of what is kept: so many copies of everything, and no topic that nobody made.

    What is written has to reach a majority of them.
    """
    enough = copies // 2 + 1
    return {
        "log.dirs": data,
        "default.replication.factor": copies,
        "min.insync.replicas": enough,
        "auto.create.topics.enable": "false",
        "broker.session.timeout.ms": SESSION_MS,
        "broker.heartbeat.interval.ms": SESSION_MS // 10,
        "group.initial.rebalance.delay.ms": 0,
        "offsets.topic.num.partitions": 1,
        "offsets.topic.replication.factor": copies,
        "transaction.state.log.num.partitions": 1,
        "transaction.state.log.replication.factor": copies,
        "transaction.state.log.min.isr": enough,
        "share.coordinator.state.topic.num.partitions": 1,
        "share.coordinator.state.topic.replication.factor": copies,
        "share.coordinator.state.topic.min.isr": enough,
    }


def secured(certificate: Path) -> dict[str, object]:
    """Return the settings of the listener with TLS and users."""
    listener = "listener.name.secure"
    module = "org.apache.kafka.common.security"
    known = " ".join(f'user_{name}="{password}"' for name, password in USERS.items())
    return {
        "sasl.enabled.mechanisms": "SCRAM-SHA-256,PLAIN,OAUTHBEARER",
        f"{listener}.ssl.keystore.type": "PEM",
        f"{listener}.ssl.keystore.location": certificate,
        f"{listener}.scram-sha-256.sasl.jaas.config": f"{module}.scram.ScramLoginModule required;",
        f"{listener}.plain.sasl.jaas.config": f"{module}.plain.PlainLoginModule required {known};",
        f"{listener}.oauthbearer.sasl.jaas.config": f"{module}.oauthbearer.OAuthBearerLoginModule required "
        'unsecuredLoginStringClaim_sub="broker";',
    }


def token(user: str) -> str:
    """Return an unsigned JSON Web Token that says who one is, which the secure listener believes for an hour."""
    now = int(time.time())
    parts = {"alg": "none"}, {"sub": user, "iat": now, "exp": now + 3600}
    encoded = [base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in parts]
    return ".".join([*encoded, ""])


def wait(bootstrap: str, running: Callable[[], bool], tail: Callable[[], str]) -> None:
    """Return when a broker answers; raise BrokerError if it is not running, or takes too long."""
    until = time.monotonic() + START_SECONDS
    while not answers(bootstrap):
        if not running():
            raise BrokerError(f"The broker ended before it answered. The end of its log:\n{tail()}")
        if time.monotonic() > until:
            raise BrokerError(f"The broker did not answer within {START_SECONDS} s. The end of its log:\n{tail()}")
        time.sleep(0.05)


def answers(bootstrap: str) -> bool:
    """Return whether a broker listens, and knows itself to be part of its cluster."""
    host, _, port = bootstrap.rpartition(":")
    try:
        socket.create_connection((host, int(port)), timeout=1).close()
        return bool(AdminClient({"bootstrap.servers": bootstrap}).list_topics(timeout=1).brokers)
    except (OSError, KafkaException):
        return False
