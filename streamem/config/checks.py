"""What no single setting can know: names that are used twice, parts that need one another, settings without effect."""

from collections import Counter
from collections.abc import Iterator, Sequence
from glob import glob
from pathlib import Path
from typing import TYPE_CHECKING, Any

from streamem.config.document import Document
from streamem.config.explain import restated
from streamem.config.problems import Place, Problem, dotted
from streamem.connect import KafkaSink, KafkaSource, TopicCheckpoints
from streamem.errors import ConfigError
from streamem.stream.operators import Learn, River

if TYPE_CHECKING:
    from streamem.config.settings import Settings

__all__ = ["check", "on_stdout"]


def check(settings: "Settings", document: Document) -> list[Problem]:
    """Return every contradiction between settings that are right one by one."""
    parts = (_batch, _operators, _outputs, _source, _checkpoint)
    return [problem for part in parts for problem in part(settings, document)]


def on_stdout(sink: Any) -> bool:
    """Return whether a sink writes to standard output."""
    return sink.type == "console" or getattr(sink, "path", None) == "-"


def _batch(settings: "Settings", document: Document) -> Iterator[Problem]:
    try:
        settings.batch.check(settings.columns)
    except ConfigError as error:
        yield restated(error, document, ("batch",))


def _operators(settings: "Settings", document: Document) -> Iterator[Problem]:
    operators: Sequence[Any] = settings.operators
    names = Counter(operator.name for operator in operators)
    for index, operator in enumerate(operators):
        place: Place = ("operators", index)
        if names[operator.name] > 1:
            found = _text(document, (*place, "name"), operator.name)
            do = f"give each {operator.type} a name of its own"
            yield document.problem(place, found=f"the name {found} twice", wanted="a name for each operator", do=do)
            names[operator.name] = 0
        if isinstance(operator, River | Learn):
            try:
                operator.check()
            except ConfigError as error:
                yield restated(error, document, place)
        features = getattr(operator, "features", None)
        if features is None:
            continue
        if not features:
            yield document.problem(
                (*place, "features"), wanted="at least one column", do="name the columns to learn from"
            )
        for column, times in Counter(features).items():
            if times > 1:
                at = (*place, "features")
                found = f"the column {_text(document, (*at, features.index(column)), column)} {times} times"
                yield document.problem(at, found=found, wanted="each column once", do="name it once")


def _outputs(settings: "Settings", document: Document) -> Iterator[Problem]:
    if not settings.outputs:
        do = "add one, for example - {what: posteriors, sink: {type: console}}"
        yield document.problem(("outputs",), wanted="at least one output", do=do)
    learners = [one.name for one in settings.operators if isinstance(one, Learn)]
    names = Counter(one.called for one in settings.outputs)
    for index, output in enumerate(settings.outputs):
        place: Place = ("outputs", index)
        name = output.called
        if names[name] > 1:
            found = f"the name {_text(document, (*place, 'name'), name)} twice"
            yield document.problem(place, found=found, wanted="a name for each output", do="add name: to one of them")
            names[name] = 0
        try:
            output.check(learners)
        except ConfigError as error:
            yield restated(error, document, place)
    yield from _sinks(settings, document)


def _sinks(settings: "Settings", document: Document) -> Iterator[Problem]:
    errors = settings.errors
    try:
        errors.check()
    except ConfigError as error:
        yield restated(error, document, ("errors",))
    if errors.policy == "stop" and errors.max_errors is not None:
        do = "write policy: skip or dead_letter, or remove it"
        yield document.problem(("errors", "max_errors"), wanted="nothing: policy: stop ends at the first", do=do)
    targets: dict[str, Place] = {}
    places: list[tuple[Place, Any]] = [(("outputs", i, "sink"), one.sink) for i, one in enumerate(settings.outputs)]
    places += [(("errors", "sink"), errors.sink)] if errors.sink else []
    read = getattr(settings.source, "topics", ())
    patterns = [str(Path(path).absolute()) for path in getattr(settings.source, "paths", ()) if path != "-"]
    inputs = {*patterns, *(path for pattern in patterns for path in glob(pattern, recursive=True))}
    for place, sink in places:
        if isinstance(sink, KafkaSink):
            try:
                sink.check()
            except ConfigError as error:
                yield restated(error, document, place)
            target = f"topic {sink.topic}"
            if sink.topic in read:
                found, do = f"{sink.topic}, which is read", "write to another topic"
                yield document.problem((*place, "topic"), found=found, wanted="a topic of the output's own", do=do)
        else:
            target = "standard output" if on_stdout(sink) else str(Path(getattr(sink, "path", f"{place}")).absolute())
            if target in inputs:
                found, do = f"{sink.path}, which is read", "write to another file"
                yield document.problem((*place, "path"), found=found, wanted="a file of the output's own", do=do)
        if target in targets:
            found = f"the same place as {dotted(targets[target])}"
            yield document.problem(place, found=found, wanted="a place for each", do="change one of the paths")
        targets.setdefault(target, place)


def _source(settings: "Settings", document: Document) -> Iterator[Problem]:
    source: Any = settings.source
    try:
        source.check(settings.batch, settings.columns, None)
    except ConfigError as error:
        yield restated(error, document, ("source",))
    if settings.checkpoint is not None and not source.resumable:
        found = "a checkpoint of standard input"
        do = "remove checkpoint:, or read from a file"
        yield document.problem(("checkpoint",), found=found, wanted="a source that can be read again", do=do)


def _checkpoint(settings: "Settings", document: Document) -> Iterator[Problem]:
    """Yield what a topic of checkpoints and outputs in transactions need."""
    topics = [sink for sink in settings.sinks if isinstance(sink, KafkaSink)]
    if isinstance(settings.checkpoint, TopicCheckpoints) and not (topics or isinstance(settings.source, KafkaSource)):
        found, wanted = "a topic, and no other topics", "a Kafka source or sink, on whose brokers it is"
        do = "write checkpoint: {path: FOLDER}"
        yield document.problem(("checkpoint",), found=found, wanted=wanted, do=do)
    if settings.checkpoint is None and topics:
        wanted = "a checkpoint: what is written to topics is seen when one is complete"
        do = "add checkpoint: {path: FOLDER} or {topic: NAME}"
        yield document.problem(("checkpoint",), found="nothing", wanted=wanted, do=do)


def _text(document: Document, place: Place, value: str) -> str:
    """Return a name for a message, or that of the variable it came from."""
    return document.variables.get(place, value)
