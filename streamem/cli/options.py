"""What several commands share."""

from collections.abc import Callable
from typing import Any, TypeVar

import click

__all__ = ["debug", "setting"]

Command = TypeVar("Command", bound=Callable[..., Any])


def _note(context: click.Context, _: click.Parameter, value: bool) -> None:
    if value and isinstance(context.obj, dict):
        context.obj["debug"] = True


def debug(command: Command) -> Command:
    """Give a command the option --debug."""
    text = "Show the traceback of an error."
    return click.option("--debug", is_flag=True, expose_value=False, is_eager=True, callback=_note, help=text)(command)


def setting(command: Command) -> Command:
    """Give a command the option --set."""
    text = "Change a setting, for example operators.0.model.components=4. As often as needed."
    return click.option("--set", "settings", multiple=True, metavar="NAME=VALUE", help=text)(command)
