"""The settings of a pipeline: the top level of a pipeline file, and the way from a file to it."""

import functools
import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, is_dataclass, replace
from typing import Annotated, Any, ClassVar

from pydantic import Discriminator, Field, Tag, TypeAdapter, ValidationError

from streamem.config.checks import check, on_stdout
from streamem.config.declared import described, narrowed, one_of, within
from streamem.config.explain import explain
from streamem.config.problems import refuse
from streamem.config.reading import read
from streamem.connect import SINKS, SOURCES, FilesSource, KafkaSink, KafkaSource, TopicCheckpoints
from streamem.connect.kafka import Workers
from streamem.connect.kafka.formats import RegistrySettings
from streamem.em import FAMILIES, INERTIAS, MODELS, SCHEDULES, Gaussian, LogNormal, Part, Power, Product
from streamem.stream.home import Keeping
from streamem.stream.operators import OPERATORS, Lag, Learn, Order, River, Score
from streamem.stream.operators.detectors import DETECTORS
from streamem.stream.operators.lag import MOST_LAG
from streamem.stream.outputs import Output
from streamem.stream.pipeline import Checkpoints, Pipeline
from streamem.stream.progress import Progress
from streamem.stream.protocol import Columns, Cuts, Operator, Source, World
from streamem.stream.rejections import Errors

__all__ = ["Settings", "json_schema", "load"]

Name = Annotated[str, Field(min_length=1)]
Count = Annotated[int, Field(ge=1)]
Whole = Annotated[int, Field(ge=0)]
Floor = Annotated[float, Field(gt=0, lt=1)]

BOUNDS: dict[type, dict[str, Any]] = {
    Gaussian: {"covariance_floor": Floor},
    LogNormal: {"covariance_floor": Floor},
    Power: {"exponent": Annotated[float, Field(gt=0.5, le=1)]},
    KafkaSink: {"rows_per_message": Count | None},
    Workers: {"index": Whole, "count": Count},
    Lag: {
        "name": Name,
        "columns": Annotated[list[str], Field(min_length=1)],
        "lags": list[Annotated[int, Field(ge=1, le=MOST_LAG)]],
        "max_keys": Count | None,
    },
    River: {
        "name": Name,
        "features": Annotated[list[str], Field(min_length=1)],
        "columns": Annotated[list[Name], Field(min_length=1)] | None,
    },
    Order: {"name": Name, "reorder_ms": Count | None, "max_keys": Count | None},
    Learn: {
        "name": Name,
        "warmup_records": Count | None,
        "seed": Annotated[int, Field(ge=0, lt=2**63)],
        "until_records": Count | None,
        "anomaly_window_records": Count,
        "max_keys": Count | None,
        "idle_ttl_ms": Count | None,
    },
    Score: {"name": Name, "anomaly_window_records": Count, "max_keys": Count | None, "idle_ttl_ms": Count | None},
}
"""What declarations say of their numbers in words: limits within which each makes sense.

What `streamem.em` declares brings its own. The edges that an experiment may want and a run that nobody watches may not
are left out here: no floor at all, and step sizes that no theorem covers.
"""

MAY_CHANGE: dict[type, tuple[str, ...]] = {
    FilesSource: ("follow", "speed"),
    KafkaSource: ("bootstrap_servers", "client", "options", "start", "stop", "group_id"),
    Learn: ("paused", "until_records", "certificate"),
}
"""Settings of parts that a restart may change: they say what is done from now on, not what was done before."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """A pipeline file.

    Parameters
    ----------
    name : str
        Appears in messages.
    key : str or None
        Column that tells sequences apart (a device, a vehicle).
    time : str or None
        Column of the event time: ISO 8601 text, a temporal type, or a number since the epoch in `time_unit`.
    time_unit : str
        s, ms, us or ns; for times that are numbers.
    source : Source
        Where records come from.
    batch : Cuts
        Where micro-batches end. One update of the model each.
    operators : list of Operator
        What is done with every batch, in this order.
    outputs : list of Output
        What is written, and where.
    checkpoint : Keeping or None
        Where and how often the state is put down; None starts anew every time.
    errors : Errors
        What becomes of records that cannot be used.
    progress_seconds : float
        Time between two lines of progress where standard error is not a terminal.
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = {"extra": "forbid"}

    name: str = "pipeline"
    key: str | None = None
    time: str | None = None
    time_unit: str = "s"
    source: Source
    batch: Cuts = field(default_factory=lambda: Cuts(max_records=1000))
    operators: Sequence[Operator]
    outputs: Sequence[Output]
    checkpoint: Keeping | None = None
    errors: Errors = field(default_factory=Errors)
    progress_seconds: float = 10.0

    @property
    def columns(self) -> Columns:
        """The columns that the top level names."""
        return Columns(key=self.key, time=self.time, time_unit=self.time_unit)

    @property
    def keeping(self) -> Keeping | None:
        """The checkpoint; a topic of checkpoints is on the cluster of the other topics."""
        if not isinstance(self.checkpoint, TopicCheckpoints):
            return self.checkpoint
        sinks = [one.ledger for one in self.sinks if isinstance(one, KafkaSink)]
        return replace(self.checkpoint, cluster=sinks[0] if sinks else self.source.cluster)  # type: ignore[attr-defined]

    @property
    def sinks(self) -> list[Any]:
        """Those of all outputs, and of the dead letters."""
        return [*(one.sink for one in self.outputs), *([self.errors.sink] if self.errors.sink else [])]

    @property
    def uses_stdout(self) -> bool:
        """Whether an output goes to standard output; nothing else may be written there then."""
        return any(on_stdout(sink) for sink in self.sinks)

    @property
    def fingerprint(self) -> dict[str, Any]:
        """What must be the same when a checkpoint is taken up again, as plain values.

        Outputs, the errors policy, progress and the cadence of checkpoints are not in it, nor are the
        settings in `MAY_CHANGE`.
        """
        parts = ("key", "time", "time_unit", "source", "operators")
        cuts = {"max_records": self.batch.max_records, "max_wait_ms": self.batch.max_wait_ms}
        if self.batch.whole_keys:
            cuts["whole_keys"] = True
        return {"batch": cuts, **{name: _lasting(getattr(self, name)) for name in parts}}

    def pipeline(self, *, world: World | None = None, listener: Callable[[Progress], None] | None = None) -> Pipeline:
        """Return the pipeline; nothing is opened before its `run`."""
        return Pipeline(
            name=self.name,
            source=self.source,
            cuts=self.batch,
            columns=self.columns,
            operators=self.operators,
            outputs=self.outputs,
            checkpoint=self.keeping,
            errors=self.errors,
            world=world or World(),
            fingerprint=self.fingerprint,
            listener=listener,
        )


def load(path: str, settings: Sequence[str] = (), environment: Mapping[str, str] = os.environ) -> Settings:
    """Return the settings of a pipeline file.

    Parameters
    ----------
    path : str
        The file. Paths inside it are relative to the working directory, as on a command line.
    settings : sequence of str
        ``NAME=VALUE`` with dotted names, put over those of the file.
    environment : mapping of str to str
        What ``${NAME}`` stands for.

    Raises
    ------
    ConfigError
        Tells up to five problems, each with the line.
    """
    document = read(path, environment, settings)
    try:
        found: Settings = _adapter().validate_json(json.dumps(document.values), strict=True)
    except ValidationError as error:
        refuse(explain(error, document, json_schema()))
        raise
    refuse(check(found, document))
    return found


@functools.cache
def json_schema() -> dict[str, Any]:
    """Return the JSON Schema of pipeline files: names, types and defaults, with what the docstrings say of them."""
    documented = [*MODELS.values(), *FAMILIES.values(), *SCHEDULES.values(), *SOURCES.values(), *SINKS.values()]
    documented += [
        *OPERATORS.values(),
        *INERTIAS.values(),
        *DETECTORS.values(),
        Part,
        Settings,
        Cuts,
        Output,
        Checkpoints,
        Errors,
    ]
    documented += [TopicCheckpoints, Workers, RegistrySettings]
    schema = {"$schema": "https://json-schema.org/draft/2020-12/schema", **_adapter().json_schema()}
    return described(schema, documented)


@functools.cache
def _adapter() -> TypeAdapter[Any]:
    """Return what reads `Settings`: every general field narrowed to the variants of its table."""
    plain = [bounded(one) for one in FAMILIES.values() if one is not Product]
    part = bounded(Part, family=one_of(plain))
    parts = Annotated[tuple[part, ...], Field(min_length=1)]  # type: ignore[valid-type]
    family = one_of([*plain, bounded(Product, parts=parts)])
    learn = {
        "model": one_of(bounded(one, **variants(one, family=family)) for one in MODELS.values()),
        "schedule": one_of(bounded(one) for one in SCHEDULES.values()),
        "inertia": one_of(bounded(one) for one in INERTIAS.values()),
        "drift": one_of((bounded(one) for one in DETECTORS.values()), by="detector") | None,
    }
    sink = one_of(bounded(one) for one in SINKS.values())
    operators = [bounded(one, **(learn if one is Learn else {})) for one in OPERATORS.values()]
    return TypeAdapter(
        narrowed(
            Settings,
            source=one_of(bounded(one) for one in SOURCES.values()),
            batch=narrowed(
                Cuts,
                max_records=Annotated[Count, Field(description="A batch ends after so many records.")],
                max_wait_ms=Annotated[Count | None, Field(description="Live sources only: it ends after so long too.")],
                whole_keys=Annotated[bool, Field(description="It ends where the key changes, after max_records.")],
                limit=None,
                every=None,
            ),
            operators=tuple[one_of(operators), ...],  # type: ignore[misc]
            outputs=tuple[narrowed(Output, sink=sink, every_batches=Count | None), ...],  # type: ignore[misc]
            checkpoint=_keeping() | None,
            errors=narrowed(Errors, sink=sink | None, retry_timeout_ms=Whole),
            progress_seconds=Annotated[float, Field(gt=0)],
        )
    )


def _keeping() -> Any:
    """Return how pydantic reads a checkpoint: its folder or its topic tells which it is."""
    folder: Any = Annotated[narrowed(Checkpoints, every_batches=Count), Tag("in a folder")]
    topic: Any = Annotated[narrowed(TopicCheckpoints, every_batches=Count, cluster=None), Tag("in a topic")]

    def home(value: Any) -> str:
        return "in a topic" if isinstance(value, dict) and "topic" in value else "in a folder"

    return Annotated[folder | topic, Discriminator(home)]


def bounded(declared: type, **variants: Any) -> Any:
    """Return how pydantic reads a component: its numbers within limits, its general fields one of `variants`."""
    return narrowed(declared, **within(declared) | BOUNDS.get(declared, {}) | variants)


def variants(declared: type, **given: Any) -> dict[str, Any]:
    """Return those of `given` that are fields of a declaration."""
    names = {one.name for one in fields(declared)}
    return {name: variant for name, variant in given.items() if name in names}


def _lasting(value: Any) -> Any:
    """Return plain values of a declaration without what may change between runs."""
    if is_dataclass(value):
        kept = [one for one in fields(value) if one.name not in MAY_CHANGE.get(type(value), ())]
        return {one.name: _lasting(getattr(value, one.name)) for one in kept}
    if isinstance(value, Mapping):
        return {str(name): _lasting(one) for name, one in value.items()}
    if isinstance(value, list | tuple | frozenset | set):
        return [_lasting(one) for one in value]
    return value
