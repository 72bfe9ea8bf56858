"""What stands in docker/, as far as it can be looked at without Docker: linted, valid, and in line with the rest."""

import re
import subprocess
import sys
import tomllib
from itertools import pairwise
from pathlib import Path

import pytest
import yaml
from compose_spec import PyCompose

from streamem.config import load

TOP = Path(__file__).parents[1]
DOCKERFILE = TOP / "docker" / "Dockerfile"
LINES = DOCKERFILE.read_text().splitlines()
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
    bases = [line.split()[1] for line in LINES if line.startswith("FROM")]
    assert len(bases) == 2
    assert len(set(bases)) == 1
    version = re.fullmatch(r"python:3\.(\d+)-slim-\w+", bases[0])
    wanted = tomllib.loads((TOP / "pyproject.toml").read_text())["project"]["requires-python"]
    assert int(version[1]) >= int(wanted.removeprefix(">=3."))


def test_it_runs_as_a_user_without_rights_and_says_how_it_is():
    users = [line.split()[1] for line in LINES if line.startswith("USER")]
    assert users == ["10001"]
    assert any(line.startswith("HEALTHCHECK") for line in LINES)


def test_everything_that_is_copied_is_there_and_not_left_out():
    copied = [name for line in LINES if line.startswith("COPY") and "--from" not in line for name in line.split()[1:-1]]
    kept = (TOP / "docker" / "Dockerfile.dockerignore").read_text()
    assert len(copied) == 4
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
