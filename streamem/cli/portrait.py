"""A snapshot as a table: what `show` prints."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console, Group
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from streamem.em import Categorical, Snapshot
from streamem.em.families import Family
from streamem.errors import ConfigError, SnapshotError, nearest, tell
from streamem.stream.checkpoint import read_checkpoint
from streamem.stream.operators.categories import over
from streamem.stream.operators.posteriors import unpack

__all__ = ["from_checkpoint", "portrait"]

BROADEST = 100_000
"""Characters a table may have while it is measured."""

OF_FEATURES = ("noise", "observation_sd")
"""What a tracker tells of each feature; the rest is of the coordinates of its state."""


def portrait(snapshot: Snapshot, record: Mapping[str, Any], console: Console) -> Group:
    """Return shares, means and standard deviations of the components, and the counters.

    A category column has the likeliest category and its probability in their place.

    Parameters
    ----------
    snapshot : Snapshot
    record : mapping
        What stood around it: name, operator, features and time, as far as they are known.
    console : rich.console.Console
        Where it is shown. A component has one row if that fits, else one for each feature; what a tracker has learned
        is a row if that fits, else a column.
    """
    summary = snapshot.summary()
    features = [str(name) for name in record.get("features") or range(snapshot.columns)]
    components = summary["components"]
    if "mean" in components[0]:
        families = [family for _, family in over(snapshot.model, len(features))]
        table = _broad(components, features, families)
        shown = [table if _fits(table, console) else _long(components, features, families)]
    else:
        shown = _noises(components[0], features, console)
    spaced = [part for table in shown for part in ("", table)]
    return Group(Text(_title(snapshot, record), style="bold"), *spaced, "", _counters(snapshot, summary))


def _fits(table: Table, console: Console) -> bool:
    options = console.options.update(max_width=BROADEST)
    return Measurement.get(console, options, table).maximum <= console.width


Families = Sequence[Family | None]


def _broad(components: Sequence[Mapping[str, Any]], features: Sequence[str], families: Families) -> Table:
    table = _table(*_named(components[0]), *features)
    for one in components:
        cells = [_told(*each) for each in zip(families, one["mean"], one["sd"], strict=True)]
        table.add_row(*_label(one), *(f"{middle} ± {around}" if around else middle for middle, around in cells))
    return table


def _long(components: Sequence[Mapping[str, Any]], features: Sequence[str], families: Families) -> Table:
    table = _table(*_named(components[0]), "feature", "mean", "sd")
    for one in components:
        label = _label(one)
        for feature, *each in zip(features, families, one["mean"], one["sd"], strict=True):
            table.add_row(*label, feature, *_told(*each))
            label = [""] * len(label)
    return table


def _told(family: Family | None, mean: float, sd: float) -> tuple[str, str]:
    """Return mean and standard deviation as text; of categories the likeliest with its probability, and nothing."""
    if not isinstance(family, Categorical):
        return f"{mean:.4g}", f"{sd:.3g}"
    names, number = family.categories, int(mean)
    likeliest = names[number] if number < len(names) else "other" if names else f"category {number}"
    return f"{likeliest} {_percent(1.0 - sd)}", ""


Rows = list[tuple[str, list[str]]]


def _noises(one: Mapping[str, Any], features: Sequence[str], console: Console) -> list[Table]:
    """Return what a tracker has learned of the coordinates of its state, and of the features, each as a table."""
    state: Rows = []
    observed: Rows = []
    for name, value in one.items():
        for numbers in value if value and isinstance(value[0], list) else [value]:
            row = name.replace("_", " "), [f"{number:.4g}" for number in numbers]
            (observed if name in OF_FEATURES else state).append(row)
    tables = [_numbers(state, [str(place) for place in range(len(state[0][1]))], console)] if state else []
    return [*tables, _numbers(observed, features, console)]


def _numbers(rows: Rows, titles: Sequence[str], console: Console) -> Table:
    """Return a row for each named list of numbers, or a column where the rows are too broad."""
    table = _table("", *titles)
    for name, numbers in rows:
        table.add_row(name, *numbers)
    if _fits(table, console):
        return table
    table = _table("", *(name for name, _ in rows))
    for title, *numbers in zip(titles, *(numbers for _, numbers in rows), strict=True):
        table.add_row(title, *numbers)
    return table


def _named(one: Mapping[str, Any]) -> list[str]:
    return [name for name in one if name not in ("mean", "sd")]


def _label(one: Mapping[str, Any]) -> list[str]:
    """Return what stands before the features: a component's number, and shares in percent."""
    return [
        _percent(value) if isinstance(value, float) else str(value)
        for name, value in one.items()
        if name in _named(one)
    ]


def _table(*titles: str) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for title in titles:
        table.add_column(title, justify="right", no_wrap=True)
    return table


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def _title(snapshot: Snapshot, record: Mapping[str, Any]) -> str:
    model = snapshot.model
    family = getattr(model, "family", None)
    what = model.type if family is None else f"{model.type} of {model.components} x {family.type}"
    whose = " / ".join(str(record[key]) for key in ("name", "operator") if record.get(key))
    when = f", at {record['time']}" if record.get("time") else ""
    return f"{whose}: {what}{when}" if whose else f"{what}{when}"


def _counters(snapshot: Snapshot, summary: Mapping[str, Any]) -> str:
    told = f"{snapshot.log_likelihood:.4f} nats per record"
    if snapshot.step_size:
        last = [f"last step size {snapshot.step_size:.3g}", f"log-likelihood of the last batch {told}"]
        learned = [f"{snapshot.update:,} updates", *last]
    else:
        # a start has made no update, and what was combined no last one
        learned = [] if snapshot.update else ["0 updates", f"log-likelihood of the warm-up {told}"]
    parts = [
        f"{snapshot.records_seen:,} records",
        *learned,
        f"{summary['in_use']} of {len(summary['components'])} components in use",
    ]
    if snapshot.weight_seen != snapshot.records_seen:
        parts.insert(1, f"weight {snapshot.weight_seen:,.6g}")
    if (certificate := snapshot.certificate) is not None:
        broken = f"{certificate.violations} of {certificate.updates:,} updates break the certificate"
        parts.append(f"{broken}, last slack {certificate.slack:.3g} nats per record")
    if summary["at_floor"]:
        parts.append(f"{summary['at_floor']} at a floor")
    return "\n".join(parts)


def from_checkpoint(folder: Path, operator: str | None) -> tuple[Snapshot, dict[str, Any]]:
    """Return the snapshot of a learner in a checkpoint folder, and what the checkpoint knows around it.

    Raises
    ------
    ConfigError
        No checkpoint is there, or `operator` is none of its learners, or several learn and none is named.
    """
    checkpoint = read_checkpoint(folder)
    if checkpoint is None:
        wanted = "a snapshot file, or the folder of a checkpoint"
        raise ConfigError(
            tell(str(folder), found="a folder without a checkpoint", wanted=wanted, do="correct the path")
        )
    learners = {name: state for name, state in checkpoint.steps.items() if "snapshot" in state.values}
    if not learners:
        wanted = "a learner that has begun"
        raise SnapshotError(
            tell(str(folder), found="no learned parameters", wanted=wanted, do="let the pipeline run longer")
        )
    if operator is None and len(learners) == 1:
        operator = next(iter(learners))
    if operator not in learners:
        found = "several learners" if operator is None else f"no learner {operator!r}{nearest(operator, learners)}"
        do = "name one by --operator"
        raise ConfigError(tell(str(folder), found=found, wanted=f"one of {', '.join(learners)}", do=do))
    declared = [one for one in checkpoint.fingerprint.get("operators", []) if one.get("name") == operator]
    features = declared[0].get("features") if declared else None
    record = {"operator": operator, "time": checkpoint.time, "features": features}
    return Snapshot.from_arrays(*unpack(learners[operator], "snapshot")), record
