"""Snapshot files: how a snapshot becomes a record of an output, and how it is read again."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl

from streamem.em import Categorical, Snapshot
from streamem.em.families import Family, Product
from streamem.em.model import Model
from streamem.errors import ConfigError, ConnectError, SnapshotError, StreamemError, nearest, tell
from streamem.stream.batch import Position

__all__ = ["check_features", "check_model", "named", "names_of", "read_snapshot", "snapshot_frame"]

_FORMAT = "streamem.snapshot/1"
_WANTED = "a snapshot that streamem wrote: JSON, or NDJSON with one snapshot a line"


def read_snapshot(path: str | Path, *, operator: str | None = None) -> tuple[Snapshot, dict[str, Any]]:
    """Return the snapshot in a file, and the whole record it came in.

    Parameters
    ----------
    path : str or Path
        A JSON file of one snapshot, or NDJSON, of which the last line counts.
    operator : str or None
        Whose snapshot to take from a file that several operators' went to.

    Returns
    -------
    tuple of Snapshot and dict
        The record has besides the snapshot's own keys those of a pipeline, where a pipeline wrote it: name, operator,
        features, position, time.

    Raises
    ------
    ConfigError
        There is no such file, or several operators' snapshots are in it and `operator` names none of them.
    ConnectError
        The file cannot be read.
    SnapshotError
        It is empty, truncated, no JSON, or of another format.
    """
    try:
        content = Path(path).read_bytes()
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError, ValueError) as error:  # ValueError: a null byte
        raise ConfigError(tell(repr(str(path))[1:-1], found="no such file", wanted=_WANTED, do="correct it")) from error
    except OSError as error:
        raise ConnectError(
            tell(str(path), found=str(error.strerror), wanted="a file that can be read", do="look at its permissions")
        ) from error
    record = _chosen(str(path), content, operator)
    try:
        return Snapshot.from_json(record), record
    except StreamemError as error:  # also a ConfigError, for settings that no model can have
        raise SnapshotError(f"{path}: {error}") from error


def _chosen(path: str, content: bytes, operator: str | None) -> dict[str, Any]:
    """Return the last record, or the last of `operator`."""
    records = _backwards(path, content)
    last = next(records, None)
    if last is None:
        raise SnapshotError(tell(path, found="an empty file", wanted=_WANTED, do="let a pipeline run to its end first"))
    if operator is None:
        before = next(records, last)  # learners write in turn, so two lines tell whether there are several
        if before.get("operator") != last.get("operator"):
            several = f"snapshots of several operators, {before.get('operator')!r} and {last.get('operator')!r}"
            raise ConfigError(tell(path, found=several, wanted="one", do="name the operator"))
        return last
    others = set()
    record: dict[str, Any] | None = last
    while record is not None:
        if record.get("operator", operator) == operator:
            return record
        others.add(str(record["operator"]))
        record = next(records, None)
    raise ConfigError(
        tell(
            path,
            found=f"no snapshot of the operator {operator!r}{nearest(operator, others)}",
            wanted=f"one of {', '.join(sorted(others))}",
            do="name one of these",
        )
    )


def _backwards(path: str, content: bytes) -> Iterator[dict[str, Any]]:
    """Yield the records of a file from its end on, each checked to be a snapshot of the format we know."""
    text = content.strip()
    if not text:
        return
    whole = _parse(text)
    if whole is not None:
        yield _of_our_format(path, whole)
        return
    lines = text.splitlines()
    for number in range(len(lines), 0, -1):
        line = lines[number - 1].strip()
        if not line:
            continue
        record = _parse(line)
        if record is None:
            raise SnapshotError(
                tell(
                    f"{path}: line {number}",
                    found=f"{line[:40].decode('utf-8', 'replace')!r}, which is no JSON object or a part of one",
                    wanted=_WANTED,
                    do="give another file, or take the broken line off",
                )
            )
        yield _of_our_format(f"{path}: line {number}", record)


def _parse(text: bytes) -> dict[str, Any] | None:
    try:
        record = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return record if isinstance(record, dict) else None


def _of_our_format(place: str, record: dict[str, Any]) -> dict[str, Any]:
    if record.get("format") != _FORMAT:
        found = f"the format {record['format']!r}" if "format" in record else "JSON without a format"
        raise SnapshotError(tell(place, found=found, wanted=repr(_FORMAT), do="give a snapshot that streamem wrote"))
    if isinstance(record.get("position"), str):
        position = _parse(record["position"].encode())
        if position is None:
            found = f"a position that is no JSON object: {record['position'][:40]!r}"
            raise SnapshotError(tell(place, found=found, wanted=_WANTED, do="give another file"))
        record["position"] = position
    return record


def check_features(record: Mapping[str, Any], features: Sequence[str], place: str) -> None:
    """Refuse a snapshot record that was learned from other columns, or from the same in another order.

    Raises
    ------
    SnapshotError
        With both lists. A record that names no columns (it did not come from a pipeline) passes.
    """
    learned = record.get("features")
    if learned is not None and list(learned) != list(features):
        raise SnapshotError(
            tell(
                place,
                found=f"a snapshot of the features {', '.join(map(str, learned))}",
                wanted=", ".join(features),
                do="name the features as the snapshot has them, in its order, or give another snapshot",
            )
        )


def check_model(snapshot: Snapshot, model: Model, features: Sequence[str], place: str) -> None:
    """Refuse a snapshot of another model, or over another number of columns, with a SnapshotError.

    Where the model names no categories the snapshot may have learned names.
    """
    if snapshot.model != named(model, names_of(snapshot.model)) or snapshot.columns != len(features):
        raise SnapshotError(
            tell(
                place,
                found=f"a snapshot of {snapshot.model} over {snapshot.columns} columns",
                wanted=f"{model} over {len(features)} columns",
                do="set the model as the snapshot has it, or give another snapshot",
            )
        )


def names_of(model: Model) -> tuple[tuple[str, ...], ...]:
    """Return the names of the categories in each part, () for none."""
    family = getattr(model, "family", None)
    parts = [part.family for part in family.parts] if isinstance(family, Product) else [family]
    return tuple(part.categories if isinstance(part, Categorical) else () for part in parts)


def named(model: Any, names: Sequence[tuple[str, ...]]) -> Any:
    """Return the model with the names of categories in each part, where it has none and there are at least two.

    Examples
    --------
    >>> from streamem.em import Mixture
    >>> named(Mixture(family=Categorical()), [("red", "blue")]).family.categories
    ('red', 'blue')
    """

    def with_names(family: Family, number: int) -> Family:
        mine = names[number] if number < len(names) else ()
        if not isinstance(family, Categorical) or family.categories or len(mine) < 2:
            return family
        return replace(family, categories=mine)

    family = getattr(model, "family", None)
    if isinstance(family, Product):
        parts = [replace(part, family=with_names(part.family, number)) for number, part in enumerate(family.parts)]
        return replace(model, family=replace(family, parts=tuple(parts)))
    return replace(model, family=with_names(family, 0)) if isinstance(family, Categorical) else model


def snapshot_frame(
    snapshot: Snapshot,
    *,
    name: str,
    operator: str,
    inputs: Mapping[str, Any],
    position: Position,
    time: str | None,
) -> pl.DataFrame:
    """Return a snapshot as a frame of one row: nested values as structs and lists.

    `inputs` names the columns that the model reads: features, key, time_column, exposure; and counts drifts.

    The position is its JSON text, since only the reader that made it knows its shape.
    """
    own = snapshot.to_json()
    record = {
        "format": own.pop("format"),
        "name": name,
        "operator": operator,
        **inputs,
        **own,
        "position": json.dumps(position, separators=(",", ":")),
        "time": time,
    }
    types: dict[str, Any] = {"time": pl.String, "log_likelihood": pl.Float64}
    return pl.DataFrame({key: pl.Series(key, [value], dtype=types.get(key)) for key, value in record.items()})
