"""``list`` and ``schema``: what there is to choose from, and how to write it."""

import inspect
import json
from collections.abc import Mapping
from typing import Any

import click

from streamem.cli.options import debug

__all__ = ["list_", "schema"]

KINDS = ("families", "models", "schedules", "sources", "sinks", "operators")


@click.command("list")
@click.argument("kind", required=False, type=click.Choice(KINDS))
@debug
def list_(kind: str | None) -> None:
    """List what a pipeline file can name.

    KIND is one of families, models, schedules, sources, sinks, operators; without it all are listed.
    """
    tables = _tables()
    width = max(len(name) for table in tables.values() for name in table) + 2
    for title in [kind] if kind else KINDS:
        click.echo(title)
        for name, declared in tables[title].items():
            line = (inspect.getdoc(declared) or "").partition("\n")[0]
            click.echo(f"  {name:<{width}}{line}")


@click.command()
@debug
def schema() -> None:
    """Print the JSON Schema of pipeline files."""
    from streamem.config import json_schema

    click.echo(json.dumps(json_schema(), indent=2))


def _tables() -> Mapping[str, Mapping[str, type[Any]]]:
    from streamem.connect import SINKS, SOURCES
    from streamem.em import FAMILIES, MODELS, SCHEDULES
    from streamem.stream.operators import OPERATORS

    return dict(zip(KINDS, (FAMILIES, MODELS, SCHEDULES, SOURCES, SINKS, OPERATORS), strict=True))
