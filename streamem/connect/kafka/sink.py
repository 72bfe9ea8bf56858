"""The Kafka sink: records of a transaction."""

import logging
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any, ClassVar, Literal, NamedTuple

import polars as pl

from streamem.connect.files.lines import Lines
from streamem.connect.kafka.client import Header
from streamem.connect.kafka.cluster import ClientName, Cluster
from streamem.connect.kafka.formats import (
    RegistrySettings,
    avro_schema,
    encode_arrow,
    encode_avro,
    encode_csv,
    encode_json,
)
from streamem.connect.kafka.formats.avro import library, open_registry
from streamem.connect.kafka.options import check_options
from streamem.connect.kafka.transaction import KafkaTransaction
from streamem.errors import ConfigError, DataError, tell
from streamem.stream.batch import Rejected
from streamem.stream.checks import columns_exist
from streamem.stream.protocol import State, World

__all__ = ["KafkaSink"]

LOG = logging.getLogger("streamem")

ROWS = 1000
"""Of one Arrow message, unless the settings say otherwise."""


@dataclass(frozen=True, kw_only=True)
class KafkaSink:
    """A topic, written in one transaction a checkpoint; exactly once for whoever reads it as committed.

    The key of a posterior is that of its record (the pipeline's ``key:``), of a snapshot ``PIPELINE/OPERATOR``: a
    compacted topic keeps the last of each. A bad record keeps its own value, key and headers, and gets headers
    ``__streamem.errors.…`` that say where it was and why.

    Parameters
    ----------
    bootstrap_servers : str or sequence of str
        Some of the brokers, each ``host:port``.
    topic : str
        It must be there: ``streamem topics`` makes it.
    client : str
        ``kafka-python``, ``confluent-kafka``, or ``auto``: the second where it is installed.
    options : mapping of str to value
        Dotted Kafka names for TLS, logins and limits, such as ``compression.type``.
    format : str
        ``json``, an object a row; ``csv``, a record a row, without a header; ``avro``, a datum a row, each field a
        union of null and its type; or ``arrow``, an IPC stream of many rows.
    rows_per_message : int, optional
        Of ``arrow``, at most; by default 1,000.
    schema_registry : RegistrySettings, optional
        Where the schema of ``avro`` is registered, as ``TOPIC-value``; each message then begins with its number.
    key : str, optional
        Another column for the key than the pipeline's.

    Examples
    --------
    >>> sink = KafkaSink(bootstrap_servers="localhost:9092", topic="posteriors", options={"compression.type": "lz4"})
    >>> sink.check()
    >>> sink.place
    'posteriors'
    """

    __pydantic_config__: ClassVar[Any] = {"extra": "forbid"}

    type: Literal["kafka"] = "kafka"
    bootstrap_servers: str | Sequence[str]
    topic: str
    client: ClientName = "auto"
    options: Mapping[str, Any] = field(default_factory=dict, repr=False)
    format: Literal["json", "csv", "avro", "arrow"] = "json"
    rows_per_message: int | None = None
    schema_registry: RegistrySettings | None = None
    key: str | None = None

    @property
    def ledger(self) -> Cluster:
        """The brokers."""
        return Cluster(self.bootstrap_servers, self.client, self.options)

    @property
    def place(self) -> str:
        """The topic."""
        return self.topic

    def check(self) -> None:
        """Raise ConfigError for settings that contradict each other."""
        check_options(self.options, "sink.options")
        if self.format != "arrow" and self.rows_per_message is not None:
            do = "take it out, or write format: arrow"
            raise ConfigError(
                tell("sink.rows_per_message", found=f"the format {self.format}", wanted="the format arrow", do=do)
            )
        if self.format == "arrow" and self.key is not None:
            do = "take it out, or write format: json"
            raise ConfigError(tell("sink.key", found="the format arrow", wanted="a row a message", do=do))
        if self.format != "avro" and self.schema_registry is not None:
            found, do = f"the format {self.format}", "take it out, or write format: avro"
            raise ConfigError(tell("sink.schema_registry", found=found, wanted="the format avro", do=do))

    def open(self, world: World, state: State | None) -> "KafkaWriter":
        """Return a writer in the pipeline's transaction.

        Raises
        ------
        ConfigError
            There is no such topic, settings contradict each other, or a library is not installed.
        """
        self.check()
        if self.format == "avro":
            library()
        assert isinstance(world.transaction, KafkaTransaction)  # noqa: S101  the pipeline began it for this sink
        world.transaction.check(self.topic)
        return KafkaWriter(self, world.transaction, state.values if state else {})

    def move_aside(self, world: World) -> list[str]:  # noqa: ARG002
        """Leave what stands in the topic, and say so."""
        LOG.warning("topic %s: what it holds stays; what comes is added to it.", self.topic)
        return []


class _Rows(NamedTuple):
    frame: pl.DataFrame
    key: pl.Series | str | None


class _Letters(NamedTuple):
    values: list[bytes | None]
    keys: list[bytes | None] | None
    headers: list[list[Header]] | None


class KafkaWriter:
    """An open `KafkaSink`. What was flushed is encoded and sent by `sync`, in the thread that commits.

    Only CSV is encoded by `flush`, whose state tells the columns and the widths of lists.
    """

    def __init__(self, sink: KafkaSink, transaction: KafkaTransaction, told: Mapping[str, Any]) -> None:
        self.sink, self.transaction = sink, transaction
        self.lines = Lines("csv", widths=told.get("widths"), columns=told.get("columns"))
        self.registry = open_registry(sink.schema_registry, "sink") if sink.schema_registry else None
        self.taken: list[_Rows | _Letters] = []
        self.flushed: deque[list[_Rows | _Letters]] = deque()

    def write(self, frame: pl.DataFrame, key: pl.Series | str | None = None) -> None:
        """Take rows."""
        if self.sink.key is not None:
            columns_exist(f"key of topic {self.sink.topic}", [self.sink.key], frame.columns)
            key = frame.get_column(self.sink.key)
        self.taken.append(_Rows(frame, key))

    def reject(self, rejected: Sequence[Rejected]) -> None:
        """Take bad records as they came in."""
        records = [fallen.record for fallen in rejected]
        keys, values = [record.key for record in records], [record.value for record in records]
        self.taken.append(_Letters(values, keys, [_headers(fallen) for fallen in rejected]))

    def flush(self, final: bool) -> State:  # noqa: ARG002
        """Let what was taken be sent by the next `sync`."""
        taken, self.taken = self.taken, []
        if self.sink.format != "csv":
            self.flushed.append(taken)
            return State()
        self.flushed.append([one for _, alike in groupby(taken, key=_kind) for one in self.encoded(list(alike))])
        return State({"widths": dict(self.lines.widths), "columns": self.lines.columns})

    def sync(self) -> None:
        """Send what was flushed."""
        for _, alike in groupby(self.flushed.popleft(), key=_kind):
            for letters in self.encoded(list(alike)):
                self.transaction.send(self.sink.topic, *letters)

    def encoded(self, alike: list[Any]) -> list[_Letters]:
        """Return rows of one schema, or bad records, as messages."""
        if isinstance(alike[0], _Letters):
            return alike
        frame = pl.concat([rows.frame for rows in alike], rechunk=True)
        keys = None
        if alike[0].key is not None and self.sink.format != "arrow":
            keys = [key for rows in alike for key in _keys(rows)]
        return [_Letters(self.values(frame), keys, None)]

    def values(self, frame: pl.DataFrame) -> list[bytes | None]:
        """Return rows as the values of messages."""
        match self.sink.format:
            case "arrow":
                return [*encode_arrow(frame, self.sink.rows_per_message or ROWS)]
            case "csv":
                return [*encode_csv(frame, self.lines)]
            case "avro":
                mark = b""
                if self.registry is not None:
                    mark = self.registry.register(f"{self.sink.topic}-value", avro_schema(frame.schema))
                return [*encode_avro(frame, mark)]
        return [*encode_json(frame)]

    def close(self) -> None:
        """Nothing is open: the transaction is the pipeline's."""


def _kind(taken: _Rows | _Letters) -> Any:
    return None if isinstance(taken, _Letters) else (taken.frame.schema, taken.key is None)


def _keys(rows: _Rows) -> list[bytes | None]:
    if isinstance(rows.key, str):
        return [rows.key.encode()] * rows.frame.height
    assert rows.key is not None  # noqa: S101  asked before
    return [None if key is None else key.encode() for key in rows.key.cast(pl.String).to_list()]


def _headers(fallen: Rejected) -> list[Header]:
    told = {
        **fallen.record.where,
        "operator": fallen.operator,
        "exception": DataError.__name__,
        "message": fallen.message,
    }
    return [
        *fallen.record.headers,
        *((f"__streamem.errors.{name}", str(value).encode()) for name, value in told.items()),
    ]
