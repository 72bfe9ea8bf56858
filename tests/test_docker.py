"""What stands in docker/, as far as it can be looked at without Docker: linted, valid, and in line with the rest."""

import json
import os
import re
import signal
import subprocess
import sys
import time
import tomllib
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path

import pytest
import yaml
from compose_spec import PyCompose
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from streamem.config import load
from tests.broker import reading
from tests.broker.fixture import without
from tests.broker.jars import AbsentError
from tests.broker.server import Broker, free_ports

TOP = Path(__file__).parents[1]
DOCKERFILE = TOP / "docker" / "Dockerfile"
LINES = DOCKERFILE.read_text().splitlines()
PROJECT = tomllib.loads((TOP / "pyproject.toml").read_text())["project"]
COMPOSE = yaml.safe_load((TOP / "docker" / "compose.yaml").read_text())
SERVICES = COMPOSE["services"]


def plain(services):
    """Return a compose file as its reader takes it: YAML's merged mappings written out, no extensions."""
    return yaml.safe_dump({"services": services, "volumes": COMPOSE["volumes"], "name": COMPOSE["name"]})


def test_the_dockerfile_is_clean():
    hadolint = Path(sys.executable).parent / "hadolint"
    done = subprocess.run([hadolint, "--failure-threshold", "style", DOCKERFILE], capture_output=True, text=True)
    assert done.stdout == ""
    assert done.returncode == 0


def test_the_compose_file_keeps_to_the_specification():
    assert sorted(PyCompose.from_yaml(plain(SERVICES)).service_names()) == ["kafka", "producer", "streamem", "topics"]
    with pytest.raises(ValueError, match="prots"):
        PyCompose.from_yaml(plain(SERVICES | {"kafka": {"image": "x", "prots": []}}))


def test_the_base_is_pinned_and_new_enough():
    froms = [re.fullmatch(r"FROM (\S+?)(?: AS (\S+))?", line).groups() for line in LINES if line.startswith("FROM")]
    stages = [name for _, name in froms if name]
    outside = {base for base, _ in froms if base.replace("${TARGETARCH}", "amd64") not in stages}
    assert len(froms) > len(outside) == 1
    version = re.fullmatch(r"python:(3\.\d+\.\d+)-slim-\w+", outside.pop())[1]
    assert version in SpecifierSet(PROJECT["requires-python"])
    assert {"base-amd64", "base-arm64"} <= set(stages)


def test_all_that_is_installed_is_pinned_within_what_the_project_asks_for():
    lines = (TOP / "docker" / "constraints.txt").read_text().splitlines()
    pins = dict(line.lower().replace("_", "-").split("==") for line in lines if not line.startswith("#"))
    extras = re.search(r"\[([a-z,]+)\]\"", DOCKERFILE.read_text())[1].split(",")
    asked = [*PROJECT["dependencies"], *(one for extra in extras for one in PROJECT["optional-dependencies"][extra])]
    assert len(asked) > 10
    for one in map(Requirement, asked):
        assert pins[one.name.lower()] in one.specifier


def test_it_runs_as_a_user_without_rights_and_says_how_it_is():
    users = [line.split()[1] for line in LINES if line.startswith("USER")]
    assert users == ["10001"]
    assert any(line.startswith("HEALTHCHECK") for line in LINES)


def test_everything_that_is_copied_is_there_and_not_left_out():
    copied = [name for line in LINES if line.startswith("COPY") and "--from" not in line for name in line.split()[1:-1]]
    kept = (TOP / "docker" / "Dockerfile.dockerignore").read_text()
    assert len(copied) == 5
    for name in copied:
        assert (TOP / name).exists()
        assert f"!{name}\n" in kept


def test_the_broker_is_the_version_of_the_tests():
    pom = (TOP / "tests" / "broker" / "pom.xml").read_text()
    version = re.search(r"<artifactId>kafka_2\.13</artifactId>\s*<version>([^<]+)<", pom)[1]
    assert SERVICES["kafka"]["image"] == f"apache/kafka:{version}"


def test_ports_are_open_to_this_machine_only():
    ports = [port for service in SERVICES.values() for port in service.get("ports", [])]
    assert ports == ["127.0.0.1:29092:29092"]


@pytest.mark.parametrize("name", ["topics", "producer", "streamem"])
def test_commands_name_pipelines_that_load(name, monkeypatch):
    service = SERVICES[name]
    arguments = [re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", argument) for argument in service["command"]]
    assert arguments[0] in ("run", "topics")
    settings = [value for flag, value in pairwise(arguments) if flag == "--set"]
    monkeypatch.chdir(TOP)
    found = load(arguments[1], settings, service["environment"])
    servers = [sink.bootstrap_servers for sink in found.sinks]
    assert set(servers) == {"kafka:9092"}
    assert (TOP / service["build"]["context"]).resolve() in (TOP, TOP.parent)


def test_the_commands_of_the_readme_name_the_compose_file():
    text = (TOP / "docker" / "README.md").read_text()
    assert "docker compose -f docker/compose.yaml up --build\n" in text
    assert "docker/README.md" in (TOP / "README.md").read_text()


@contextmanager
def composed(folder):
    """Run the broker with the settings of the compose file; its containers' names and ports become ours."""
    ports = dict(zip(("9092", "9093", "29092"), free_ports(3), strict=True))
    given = {name.removeprefix("KAFKA_"): value for name, value in SERVICES["kafka"]["environment"].items()}
    given["LOG_DIRS"] = folder / "data"
    made = Broker(folder)
    made.bootstrap = f"127.0.0.1:{ports['9092']}"
    lines = [f"{name.lower().replace('_', '.')}={value}" for name, value in given.items()]
    places = re.compile(r"(?:kafka|127\.0\.0\.1|(?<=//)):(\d+)")
    made.settings.write_text("\n".join(places.sub(lambda one: f"127.0.0.1:{ports[one[1]]}", line) for line in lines))
    try:
        made.start()
    except AbsentError as missing:
        without(missing)
    try:
        yield made
    finally:
        made.stop()


def test_the_services_bring_every_record_through_once(tmp_path):
    work = tmp_path / "work"
    (work / "out").mkdir(parents=True)
    (work / "examples").symlink_to(TOP / "examples")

    def start(words):
        words = [word.replace("${SPEED:-300}", "1e9") for word in words]
        environment = {**os.environ, "KAFKA": broker.bootstrap}
        streamem = Path(sys.executable).parent / "streamem"
        return subprocess.Popen([streamem, *words], cwd=work, env=environment, stderr=subprocess.PIPE, text=True)

    def finish(process):
        said = process.communicate(timeout=300)[1]
        assert process.returncode == 0, said

    with composed(tmp_path / "kafka") as broker:
        finish(start(SERVICES["topics"]["command"]))
        pipeline = start(SERVICES["streamem"]["command"])
        # 50 records a transaction: one each, as a live sensor has it, takes half a minute
        finish(start([*SERVICES["producer"]["command"], "--set", "batch.max_records=50"]))
        test = SERVICES["streamem"]["healthcheck"]["test"]
        assert test[:2] == ["CMD", "streamem"]
        finish(start(test[2:]))
        until = time.monotonic() + 60
        while len(reading.read(broker.bootstrap, "traffic-regimes", pending=True)) < 2380:
            assert pipeline.poll() is None
            assert time.monotonic() < until
            time.sleep(0.5)
        pipeline.send_signal(signal.SIGTERM)
        finish(pipeline)
        told = [json.loads(one.value) for one in reading.read(broker.bootstrap, "traffic-regimes")]
    assert len(told) == len({one["kafka.offset"] for one in told}) == 2380
