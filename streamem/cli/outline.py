"""A resolved pipeline in a few lines: what `check` prints."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from streamem.config import Settings
from streamem.stream.protocol import World

__all__ = ["outline"]


def outline(settings: Settings) -> str:
    """Return a summary of a pipeline, after its input was opened for reading and its columns were checked.

    Raises
    ------
    ConfigError
        A file or a column is missing, or of a wrong kind.
    """
    return "\n".join(f"{what:<12}{text}" for what, text in _lines(settings))


def _lines(settings: Settings) -> Iterator[tuple[str, str]]:
    yield "pipeline", settings.name
    yield "source", _told(settings.source)
    yield "batch", f"{settings.batch.max_records:,} records"
    for operator in settings.operators:
        yield "operator", _told(operator)
    for output in settings.outputs:
        yield "output", f"{output.what} to {_told(output.sink)}"
    if settings.checkpoint is not None:
        yield "checkpoint", f"{settings.checkpoint.place}, every {settings.checkpoint.every_batches} batches"
    yield "errors", settings.errors.policy
    columns = _columns(settings)
    yield "columns", ", ".join(columns) if columns else "not known before standard input is read"


def _columns(settings: Settings) -> list[str]:
    """Return the columns at the end of the pipeline; none for standard input, which can be read only once."""
    source: Any = settings.source
    if not source.resumable:
        return []
    numbers = frozenset(name for operator in settings.operators for name in operator.numbers)
    columns = replace(settings.columns, numbers=numbers)
    reader = source.open(World(), settings.batch, columns, None)
    try:
        schema = reader.schema
    finally:
        reader.close()
    for operator in settings.operators:
        schema = operator.open(schema, columns).schema
    return list(schema)


def _told(part: Any) -> str:
    """Return the settings of a part that are not at their default."""
    from dataclasses import MISSING, fields

    said = []
    for one in fields(part):
        value = getattr(part, one.name)
        default = one.default if one.default_factory is MISSING else one.default_factory()
        if one.name not in ("type", "name") and value != default:
            # the values of options may be secrets
            said.append(f"{one.name}={','.join(value) if one.name == 'options' else _short(value)}")
    kind, name = (getattr(part, one, None) for one in ("type", "name"))
    return " ".join(filter(None, [kind, name if name != kind else None, *said]))


def _short(value: Any) -> str:
    from dataclasses import is_dataclass

    if is_dataclass(value):
        return f"({_told(value)})"
    return ",".join(map(_short, value)) if isinstance(value, list | tuple) else str(value)
