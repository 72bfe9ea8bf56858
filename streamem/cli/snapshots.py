"""``show``, ``combine`` and ``score``: what is done with a snapshot."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from streamem.cli.options import debug
from streamem.errors import ConfigError, SnapshotError, tell

if TYPE_CHECKING:
    from streamem.em import Snapshot

__all__ = ["combine", "score", "show"]

KEPT = ("name", "operator", "features", "exposure", "key", "time_column", "time_unit")
"""What a combined snapshot keeps of the first one's record."""

SCORE_RECORDS = 5000
"""Records a batch of ``score``; nothing is learned, so it decides speed and memory only."""


@click.command()
@click.argument("snapshot")
@click.option("--operator", metavar="NAME", help="Whose snapshot, where several operators wrote.")
@debug
def show(snapshot: str, operator: str | None) -> None:
    """Show the model in SNAPSHOT.

    SNAPSHOT is a .json file, an .ndjson file (its last line), or the folder of a checkpoint.
    """
    from rich.console import Console

    from streamem.cli.portrait import portrait

    found, record = _read(snapshot, operator)
    console = Console(highlight=False)
    console.print(portrait(found, record, console))


@click.command()
@click.argument("snapshots", nargs=-1, required=True)
@click.option("--weights", metavar="A,B,...", help="One for each; by default the weight of the records each has seen.")
@click.option(
    "-o", "--output", metavar="OUT", required=True, help="File for the combined snapshot; - is standard output."
)
@debug
def combine(snapshots: Sequence[str], weights: str | None, output: str) -> None:
    """Combine models that learned apart.

    Their components are matched, then complete-data moments are averaged.
    """
    import json

    from streamem import em

    alphas = None if weights is None else _numbers(weights)
    found = [_read(path, None) for path in snapshots]
    first = found[0][1]
    for path, (_, record) in zip(snapshots, found, strict=True):
        if record.get("features") != first.get("features"):
            wanted = f"those of {snapshots[0]}: {_listed(first)}"
            do = "combine models of the same columns in the same order"
            raise SnapshotError(tell(path, found=f"the features {_listed(record)}", wanted=wanted, do=do))
    combined = em.combine([one for one, _ in found], alphas)
    kept = {key: first[key] for key in KEPT if key in first}
    _write(output, json.dumps({**combined.to_json(), **kept}) + "\n")


@click.command()
@click.argument("snapshot")
@click.argument("files", nargs=-1, required=True)
@click.option("--operator", metavar="NAME", help="Whose snapshot, where several operators wrote.")
@click.option("-o", "--output", metavar="OUT", help="File for a posterior of every record (.ndjson, .csv, .parquet).")
@debug
def score(snapshot: str, files: Sequence[str], operator: str | None, output: str | None) -> None:
    """Score data FILES with a SNAPSHOT.

    Under its averaged parameters; nothing is learned. Prints how many records there are, and their mean log-likelihood
    in nats.
    """
    from streamem.cli.tally import Tally
    from streamem.connect import FilesSink, FilesSource
    from streamem.stream.operators import Score
    from streamem.stream.outputs import Output
    from streamem.stream.pipeline import Pipeline
    from streamem.stream.protocol import Columns, Cuts

    _, record = _read(snapshot, operator)
    name = str(record.get("operator") or "model")
    tally = Tally(f"{name}.log_likelihood")
    outputs = [Output(what="posteriors", name="tally", sink=tally, include=[])]
    if output is not None:
        outputs.append(Output(what="posteriors", sink=FilesSink(path=output), include="all"))
    Pipeline(
        name="score",
        source=FilesSource(paths=list(files)),
        cuts=Cuts(max_records=SCORE_RECORDS),
        columns=Columns(record.get("time_column"), record.get("time_unit") or "s", key=record.get("key")),
        operators=[Score(name=name, snapshot=snapshot, operator=operator)],
        outputs=outputs,
    ).run()
    click.echo(f"{tally.records} records, mean log-likelihood {tally.mean:.6f} nats per record")


def _read(path: str, operator: str | None) -> "tuple[Snapshot, dict[str, Any]]":
    """Return the snapshot in a file or a checkpoint folder, and the record around it."""
    from pathlib import Path

    from streamem.cli.portrait import from_checkpoint
    from streamem.stream.snapshots import read_snapshot

    return from_checkpoint(Path(path), operator) if Path(path).is_dir() else read_snapshot(path, operator=operator)


def _listed(record: dict[str, Any]) -> str:
    return ", ".join(map(str, record.get("features") or ["(without names)"]))


def _numbers(text: str) -> list[float]:
    try:
        return [float(part) for part in text.split(",")]
    except ValueError as error:
        wanted = "numbers with commas between them"
        raise ConfigError(tell("--weights", found=text, wanted=wanted, do="write it like --weights 1,2")) from error


def _write(path: str, text: str) -> None:
    """Write `text` to a file in one step, or to standard output."""
    from pathlib import Path

    from streamem.errors import ConnectError

    if path == "-":
        click.echo(text, nl=False)
        return
    target = Path(path)
    temporary = target.with_name(f".{target.name}.new")
    try:
        temporary.write_text(text, encoding="utf-8")
        temporary.replace(target)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        do = "look at the folder, its permissions and the room on the disk"
        raise ConnectError(tell(path, found=str(error.strerror), wanted="a file that can be written", do=do)) from error
