"""What the sink sends in each format, and what it remembers; the transaction only takes it down."""

import json
import sys
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import polars as pl
import pytest

from streamem.connect import KafkaSink
from streamem.connect.kafka import sink as module
from streamem.connect.kafka.formats import Format, RegistrySettings, avro_schema, open_decoder
from streamem.connect.kafka.formats.avro import Registry
from streamem.connect.kafka.transaction import KafkaTransaction
from streamem.errors import ConfigError, ConnectError
from streamem.stream.outputs import Output
from streamem.stream.protocol import World
from tests.broker.reading import read
from tests.connect.kafka.running import Place, fill, left

FRAME = pl.DataFrame({"id": ["a", "b, c"], "p": [[0.25, 0.75], [0.5, 0.5]]})

REGISTRY = RegistrySettings(url="http://registry:8081")


class Sent(KafkaTransaction):
    """A transaction that keeps what is sent."""

    def __init__(self) -> None:
        self.sent: list[tuple[Any, Any, Any]] = []

    def check(self, topic: str) -> None:
        pass

    def send(self, topic: str, values: Any, keys: Any = None, headers: Any = None, partition: Any = None) -> None:
        self.sent += [(topic, value, key) for value, key in zip(values, keys or [None] * len(values), strict=True)]


def opened(state: Any = None, **settings: Any) -> tuple[module.KafkaWriter, Sent]:
    sent = Sent()
    sink = KafkaSink(bootstrap_servers="localhost:9092", topic="out", **settings)
    return sink.open(World(transaction=sent), state), sent


@pytest.mark.parametrize("keyed", [True, False])
def test_csv_goes_on_after_a_checkpoint_with_the_columns_and_widths_of_before(keyed: bool) -> None:
    writer, sent = opened(format="csv", **({"key": "id"} if keyed else {}))
    writer.write(FRAME)
    state = writer.flush(final=False)
    assert sent.sent == []
    assert state.values == {"widths": {"p": 2}, "columns": ["id", "p.0", "p.1"]}
    writer.sync()
    keys = [b"a", b"b, c"] if keyed else [None, None]
    assert sent.sent == [("out", b"a,0.25,0.75", keys[0]), ("out", b'"b, c",0.5,0.5', keys[1])]
    writer, sent = opened(state, format="csv")
    writer.write(FRAME.with_columns(p=pl.lit([1.0])))
    assert writer.flush(final=True) == state
    writer.sync()
    assert [value for _, value, _ in sent.sent] == [b"a,1.0,", b'"b, c",1.0,']
    writer.write(FRAME.with_columns(p=pl.lit([1.0, 2.0, 3.0])))
    with pytest.raises(ConfigError, match="column p: found a list of 3"):
        writer.flush(final=True)


def test_avro_is_what_its_schema_reads(tmp_path: Path) -> None:
    writer, sent = opened(format="avro", key="id")
    writer.write(FRAME)
    writer.write(FRAME)
    writer.flush(final=True)
    writer.sync()
    assert [key for _, _, key in sent.sent] == [b"a", b"b, c"] * 2
    path = tmp_path / "out.avsc"
    path.write_text(avro_schema(FRAME.schema))
    decoder = open_decoder(Format(format="avro", avro_schema=str(path)), [], frozenset(), place="topic out")
    assert decoder.decode([value for _, value, _ in sent.sent]).frame.equals(pl.concat([FRAME, FRAME]))


@dataclass
class Client:
    """Confluent's client as far as the sink uses it."""

    registered: list[tuple[str, Any]] = field(default_factory=list)
    failure: Exception | None = None

    def register_schema(self, subject: str, schema: Any) -> int:
        if self.failure:
            raise self.failure
        self.registered.append((subject, schema))
        return 258


def test_a_registry_gets_each_schema_once_and_messages_begin_with_its_number(monkeypatch: pytest.MonkeyPatch) -> None:
    client = Client()
    monkeypatch.setattr(module, "open_registry", lambda settings, place: Registry(settings.url, client))
    schemas = SimpleNamespace(Schema=lambda text, kind: (json.loads(text)["name"], kind))
    monkeypatch.setitem(sys.modules, "confluent_kafka.schema_registry", schemas)
    writer, sent = opened(format="avro", schema_registry=REGISTRY)
    for _ in range(2):
        writer.write(FRAME)
        writer.flush(final=False)
        writer.sync()
    assert client.registered == [("out-value", ("record", "AVRO"))]
    assert {value[:5] for _, value, _ in sent.sent} == {b"\x00\x00\x00\x01\x02"}
    client.failure = OSError("refused")
    writer.write(FRAME.drop("p"))
    writer.flush(final=True)
    with pytest.raises(ConnectError, match=r"^http://registry:8081: found refused; wanted room for a schema of out-v"):
        writer.sync()


def test_a_registry_is_for_avro() -> None:
    with pytest.raises(ConfigError, match=r"^sink\.schema_registry: found the format csv; wanted the format avro"):
        opened(format="csv", schema_registry=REGISTRY)


@pytest.mark.parametrize("kind", ["csv", "avro"])
def test_posteriors_come_out_of_a_topic_as_they_went_in(kind: str, broker: Any, topic: Any, tmp_path: Path) -> None:
    entry, out, plain = topic(), topic(), topic()
    fill(broker, entry, 500)
    place = Place(broker.bootstrap, "auto", tmp_path)
    outputs = [
        Output(what="posteriors", sink=place.sink(out, format=kind), include="all"),
        Output(what="posteriors", name="plain", sink=place.sink(plain), include="all"),
    ]
    pipeline = place.pipeline(place.source(entry), None, outputs=outputs)
    pipeline.run(limit=200)
    pipeline.run()
    values, rows = [one.value for one in read(broker.bootstrap, out)], left(broker, plain)
    if kind == "csv":
        assert [value.split(b",")[0] for value in values] == [str(row["n"]).encode() for row in rows]
        assert len({value.count(b",") for value in values}) == 1
        return
    frame = pl.DataFrame(rows, infer_schema_length=None)
    path = tmp_path / "out.avsc"
    path.write_text(avro_schema(frame.schema))
    decoder = open_decoder(Format(format="avro", avro_schema=str(path)), [], frozenset(), place="topic out")
    assert decoder.decode(values).frame.to_dicts() == rows
