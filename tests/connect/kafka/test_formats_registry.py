"""Messages of Avro that tell the number of their schema, which a registry keeps."""

import json
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, HTTPServer
from types import SimpleNamespace
from typing import Any

import polars as pl
import pytest

from streamem.connect.kafka.formats import Format, RegistrySettings, open_decoder
from streamem.connect.kafka.formats.avro import AvroMessages, messages
from streamem.connect.kafka.formats.avro.registry import MARK, Registry, open_registry
from streamem.errors import ConfigError, ConnectError, DataError

URL = "http://registry:8081"


def schema(*fields: tuple[str, Any], name: str = "car") -> str:
    return json.dumps({"type": "record", "name": name, "fields": [{"name": f, "type": t} for f, t in fields]})


SCHEMAS = {
    1: schema(("id", "string"), ("n", "int")),
    2: schema(("id", "string"), ("n", "long"), ("x", ["null", "double"])),
    3: schema(("id", "long"), ("n", "int")),
    4: schema(("other", "long")),
    5: schema(("n", "int"), ("id", "part")),
    6: schema(("next", ["null", "car"])),
}
PART = schema(("p", "string"), name="part")
SUBJECTS = {("part-value", 1): PART}


class RefusedError(Exception):
    """What the client raises for an answer that is none."""

    def __init__(self, status: int, code: int) -> None:
        super().__init__(f"answer {code}")
        self.http_status_code, self.error_code = status, code


@dataclass
class Client:
    """Confluent's client as far as it is used."""

    asked: list[int] = field(default_factory=list)
    failure: Exception | None = None

    def get_schema(self, number: int) -> Any:
        self.asked.append(number)
        if self.failure:
            raise self.failure
        if number == 9:
            return SimpleNamespace(schema_type="PROTOBUF", schema_str="", references=[])
        if number not in SCHEMAS:
            raise RefusedError(404, 40403)
        references = [SimpleNamespace(subject="part-value", version=1)] if number == 5 else None
        return SimpleNamespace(schema_type="AVRO", schema_str=SCHEMAS[number], references=references)

    def get_version(self, subject: str, version: int) -> Any:
        text = SUBJECTS[subject, version]
        return SimpleNamespace(schema=SimpleNamespace(schema_type="AVRO", schema_str=text, references=None))


def marked(number: int, value: bytes) -> bytes:
    return b"\x00" + number.to_bytes(4, "big") + value


ONE, TWO = marked(1, b"\x02a\x02"), marked(2, b"\x02b\x04\x02" + b"\x00" * 8)
WANTED = pl.Schema({"id": pl.String(), "n": pl.Float64()})


@pytest.fixture
def client(monkeypatch: pytest.MonkeyPatch) -> Client:
    client = Client()
    monkeypatch.setattr(messages, "open_registry", lambda settings: Registry(settings.url, client))
    return client


def opened(sample: list[bytes | None], url: str = URL, **more: Any) -> Any:
    declared = Format(format="avro", schema_registry=RegistrySettings(url=url))
    return open_decoder(declared, sample, frozenset("n"), place="topic cars", **more)


def test_the_first_message_with_a_schema_gives_the_columns(client: Client) -> None:
    assert opened([None, b"{}", marked(7, b""), ONE, TWO]).schema == WANTED
    assert opened([TWO]).schema == {**WANTED, "x": pl.Float64()}
    assert opened([ONE], schema=WANTED).schema == WANTED
    with pytest.raises(DataError, match=r"^topic cars: found no message with a schema of the registry; wanted"):
        opened([None, b"{}", marked(7, b"")])


def test_messages_of_several_schemas_stay_in_order_and_each_schema_is_asked_for_once(client: Client) -> None:
    decoder = opened([ONE])
    values = [
        TWO,
        ONE,
        marked(7, b"\x02"),
        TWO,
        None,
        ONE,
        b"\x00\x00",
        b"\x01" + ONE[1:],
        marked(2, b"\x02b"),
        marked(9, b""),
    ]
    for _ in range(2):
        result = decoder.decode(values)
        assert result.frame.rows() == [("b", 2.0), ("a", 1.0), ("b", 2.0), ("a", 1.0)]
        assert result.messages.tolist() == [0, 1, 3, 5]
        assert [n for n, _ in result.bad] == [2, 4, 6, 7, 8, 9]
    assert sorted(client.asked) == [1, 2, 7, 9]
    reasons = [why.split(". To do")[0] for _, why in result.bad]
    assert reasons == [
        f"found schema 7, which {URL} does not know; wanted a schema of this registry",
        "found no value (a tombstone); wanted a record",
        "found a message that begins with 00 00; wanted 00 and the number of a schema",
        "found a message that begins with 01 00 00 00 01; wanted 00 and the number of a schema",
        "found bytes that give EOFError; wanted a record of the Avro schema",
        "found schema 9 of type PROTOBUF; wanted AVRO",
    ]


def test_a_schema_whose_columns_are_of_other_types_makes_bad_messages(client: Client) -> None:
    result = opened([ONE]).decode([marked(3, b"\x02\x02"), ONE, marked(4, b"\x02"), marked(6, b"\x00")])
    assert result.frame.rows() == [("a", 1.0)]
    assert [(n, why.split(". To do")[0]) for n, why in result.bad] == [
        (0, "found id of type Int64; wanted String"),
        (2, "found the columns other; wanted one at least of id, n"),
        (3, f"schema 6 of {URL}: found car within itself; wanted records that do not hold themselves"),
    ]


def test_a_number_too_large_for_the_column_of_the_first_schema_is_bad_alone(client: Client) -> None:
    decoder = opened([ONE], schema=pl.Schema({"n": pl.Int32()}))
    large = marked(2, b"\x02b" + b"\x80\x80\x80\x80\x80\x01" + b"\x00")
    result = decoder.decode([TWO, large, TWO])
    assert (result.frame["n"].to_list(), [n for n, _ in result.bad]) == ([2, 2], [1])


def test_a_schema_may_refer_to_others(client: Client) -> None:
    decoder = opened([marked(5, b"")])
    assert decoder.schema == {"n": pl.Float64(), "id": pl.Struct({"p": pl.String()})}
    assert decoder.decode([marked(5, b"\x02\x02q")]).frame.rows() == [(1.0, {"p": "q"})]


@pytest.mark.parametrize(
    ("failure", "retry"),
    [
        (OSError("refused"), True),
        (RefusedError(500, 50001), True),
        (RefusedError(429, 42901), True),
        (RefusedError(401, 40101), False),
    ],
)
def test_a_registry_that_does_not_answer_is_no_fault_of_the_message(
    client: Client, failure: Exception, retry: bool
) -> None:
    decoder = opened([ONE])
    client.failure = failure
    with pytest.raises(ConnectError, match=rf"^{URL}: found .*; wanted a schema from the registry") as caught:
        decoder.decode([TWO])
    assert caught.value.retry is retry
    client.failure = None
    assert decoder.decode([TWO]).frame.height == 1


def test_a_client_that_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "confluent_kafka.schema_registry", None)
    with pytest.raises(ConfigError, match=r"^source\.schema_registry: found .*pip install 'streamem\[registry\]'"):
        open_registry(RegistrySettings(url=URL))


# Confluent's own client


@pytest.fixture
def served() -> Iterator[str]:
    """Serve the schemas as a registry does."""

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            parts = self.path.split("?")[0].strip("/").split("/")
            status, body = 404, {"error_code": 40403, "message": "Schema not found"}
            if parts[:2] == ["schemas", "ids"] and int(parts[2]) in SCHEMAS:
                number = int(parts[2])
                status, body = 200, {"schema": SCHEMAS[number]}
                if number == 5:
                    body["references"] = [{"name": "part", "subject": "part-value", "version": 1}]
            elif parts[0] == "subjects":
                status, body = 200, {"subject": parts[1], "version": 1, "id": 8, "schema": SUBJECTS[parts[1], 1]}
            self.answer(status, body)

        def do_POST(self) -> None:
            asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            fits = self.path.startswith("/subjects/out-value/versions") and json.loads(asked["schema"])["name"] == "car"
            self.answer(200 if fits else 409, {"id": 8} if fits else {"error_code": 409, "message": "incompatible"})

        def answer(self, status: int, body: Any) -> None:
            content = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *arguments: Any) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Answer)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def confluent() -> None:
    for part in ("certifi", "authlib", "cachetools", "attrs"):
        pytest.importorskip(part, reason="confluent-kafka[schemaregistry] is not installed")


def test_confluents_client_gives_schemas_and_what_they_refer_to(confluent: None, served: str) -> None:
    registry = open_registry(RegistrySettings(url=served))
    decoder = AvroMessages(WANTED, MARK, registry.written)
    result = decoder.decode([ONE, marked(7, b""), TWO])
    assert result.frame.rows() == [("a", 1.0), ("b", 2.0)]
    assert "does not know" in result.bad[0][1]
    assert opened([marked(5, b"")], served).schema == {"n": pl.Float64(), "id": pl.Struct({"p": pl.String()})}


def test_confluents_client_takes_schemas_or_tells_that_they_do_not_fit(confluent: None, served: str) -> None:
    registry = open_registry(RegistrySettings(url=served))
    assert registry.register("out-value", SCHEMAS[1]) == marked(8, b"")
    with pytest.raises(ConnectError, match=r"found incompatible .*; wanted room for a schema of out-value") as caught:
        registry.register("out-value", PART)
    assert not caught.value.retry


def test_settings_that_confluents_client_does_not_take_are_refused(confluent: None) -> None:
    for settings in (RegistrySettings(url="nonsense"), RegistrySettings(url=URL, options={"nonsense": "1"})):
        with pytest.raises(ConfigError, match=r"^source\.schema_registry: found .*; wanted settings of the registry's"):
            open_registry(settings)


def test_a_registry_that_is_not_there_is_told(confluent: None) -> None:
    settings = RegistrySettings(url="http://127.0.0.1:1", options={"max.retries": 0})
    with pytest.raises(ConnectError, match=r"^http://127\.0\.0\.1:1: found .*; wanted a schema") as caught:
        open_registry(settings).written(marked(1, b""))
    assert caught.value.retry
