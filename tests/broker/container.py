"""A plain broker in Docker, where Docker and testcontainers are at hand."""

import importlib.util
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.broker.jars import KAFKA
from tests.broker.server import free_ports, storage, wait

INSIDE = 9092


def docker_answers() -> bool:
    """Return whether there is testcontainers, and a daemon that it can talk to."""
    if importlib.util.find_spec("testcontainers") is None:
        return False
    import docker

    try:
        return bool(docker.from_env().ping())
    except docker.errors.DockerException:
        return False


@contextmanager
def container() -> Iterator[str]:
    """Run a broker in a container; its HOST:PORT, to which only this machine can connect."""
    from testcontainers.core.container import DockerContainer

    (port,) = free_ports(1)
    settings = storage(Path("/tmp/data")) | {
        "process.roles": "broker,controller",
        "node.id": 1,
        "controller.quorum.voters": "1@127.0.0.1:9093",
        "listeners": f"PLAIN://:{INSIDE},CONTROLLER://127.0.0.1:9093",
        "advertised.listeners": f"PLAIN://127.0.0.1:{port}",
        "controller.listener.names": "CONTROLLER",
        "inter.broker.listener.name": "PLAIN",
        "listener.security.protocol.map": "PLAIN:PLAINTEXT,CONTROLLER:PLAINTEXT",
    }
    made = DockerContainer(f"apache/kafka:{KAFKA}")
    for name, value in settings.items():
        made.with_env(f"KAFKA_{name.upper().replace('.', '_')}", str(value))
    # with_bind_ports would open the port to the whole network
    made.ports[f"{INSIDE}/tcp"] = ("127.0.0.1", port)
    with made:
        wait(f"127.0.0.1:{port}", lambda: made.status in ("created", "running"), lambda: made.get_logs()[0].decode())
        yield f"127.0.0.1:{port}"
