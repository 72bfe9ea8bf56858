"""``topics`` and ``lag``: the topics of a pipeline, made and looked at."""

from collections.abc import Sequence

import click

from streamem.cli.options import debug, setting

__all__ = ["lag", "topics"]


@click.command()
@click.argument("file")
@setting
@click.option("--partitions", type=click.IntRange(min=1), default=1, help="Of a topic that is read and is not there.")
@click.option(
    "--replication", type=click.IntRange(min=1), help="Copies of a topic that is made; the brokers' own if left out."
)
@click.option("--dry-run", is_flag=True, help="Only say what would be made.")
@debug
def topics(file: str, settings: Sequence[str], partitions: int, replication: int | None, dry_run: bool) -> None:
    """Make the topics that the pipeline in FILE needs.

    Those that are there stay as they are. Posteriors and dead letters get as many partitions as what is read;
    snapshots and checkpoints are compacted.
    """
    from rich.console import Console
    from rich.table import Table

    from streamem.config import load
    from streamem.connect.kafka.topics import make, plan

    found = load(file, settings)
    outputs: list[tuple[str, object]] = [(one.what, one.sink) for one in found.outputs]
    outputs += [("dead_letters", found.errors.sink)] if found.errors.sink else []
    planned = plan(found.source, outputs, found.keeping, partitions, replication or 0)
    if not dry_run:
        make(planned)
    table = Table("topic", "partitions", "settings", "", box=None, pad_edge=False)
    for one in planned:
        made = "is there" if one.there else "would be made" if dry_run else "made"
        set_ = "" if one.there else ", ".join(f"{name}={value}" for name, value in one.topic.settings.items())
        table.add_row(one.topic.name, str(one.there or one.topic.partitions), set_, made)
    if planned:
        Console(highlight=False).print(table)
    else:
        click.echo("The pipeline has no topics.")


@click.command()
@click.argument("file")
@setting
@debug
def lag(file: str, settings: Sequence[str]) -> None:
    """Show how far the pipeline in FILE is behind in each partition that it reads.

    Offsets are those that its group committed, with its outputs or right after its checkpoint.
    """
    from rich.console import Console
    from rich.table import Table

    from streamem.config import load
    from streamem.connect.kafka import KafkaSource
    from streamem.connect.kafka.topics import lag_of
    from streamem.errors import ConfigError, tell

    source = load(file, settings).source
    if not isinstance(source, KafkaSource):
        do = "name the file of a pipeline that reads topics"
        raise ConfigError(tell("source", found="no Kafka source", wanted="type: kafka", do=do))
    table = Table(box=None, pad_edge=False)
    table.add_column("topic")
    for column in ("partition", "committed", "end", "behind"):
        table.add_column(column, justify="right")
    for one in lag_of(source):
        topic, *numbers = one
        table.add_row(topic, *("none" if number is None else f"{number:,}" for number in numbers))
    Console(highlight=False).print(table)
