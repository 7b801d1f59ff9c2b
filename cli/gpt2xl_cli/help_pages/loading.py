"""Commands that are imported when they are asked for."""

import inspect
import shlex
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from types import NoneType, UnionType
from typing import TYPE_CHECKING, Annotated, Any, Literal, Union, get_args, get_origin

import typer
from typer._click.exceptions import NoSuchOption
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command
from typer.models import ArgumentInfo, OptionInfo

from gpt2xl_cli.help_pages.command_page import PageCommand, PageGroup
from gpt2xl_cli.help_pages.command_table import COMMANDS
from gpt2xl_cli.help_pages.front_page import front_page
from gpt2xl_cli.help_pages.remedies import for_early_option

if TYPE_CHECKING:
    from typer._click import Command, Context, HelpFormatter

METAVARS = {int: "N", float: "X", str: "TEXT", Path: "FILE", bool: ""}


class LazyGroup(PageGroup):
    """Holds a stand-in for each command of the table, and imports the command that is run or completed."""

    def format_help(self, ctx: "Context", formatter: "HelpFormatter") -> None:
        """Write the first page."""
        formatter.write(front_page())

    def parse_args(self, ctx: "Context", args: list[str]) -> list[str]:
        """Leave out the options of the group where there are none: their values would import pydantic."""
        if args and args[0] in self.commands:
            self.params, self.add_help_option = [], False
        given = [*args]  # the parser takes words out
        try:
            return super().parse_args(ctx, args)
        except NoSuchOption as error:
            if error.possibilities:
                raise
            ctx.fail(f"{error.message}; {for_early_option(given)}")

    def resolve_command(
        self, ctx: "Context", args: list[str]
    ) -> "tuple[str | None, Command | None, list[str]]":
        """Import the command that ``args`` begin with."""
        if " " in args[0] and args[0] not in self.commands:
            ctx.fail(f"A text needs a command: gpt2xl generate {shlex.quote(args[0])}.")
        name, found, rest = super().resolve_command(ctx, args)
        return name, found and load_command(str(name)), rest


def load_command(name: str) -> TyperCommand | TyperGroup:
    """Import a command of the table."""
    entry = COMMANDS[name]
    module, attribute = entry.place.split(":")
    found = getattr(import_module(f"gpt2xl_cli.commands.{module}"), attribute)
    examples = "\n".join(entry.examples)
    if isinstance(found, typer.Typer):
        app = found
        app.info.cls, app.info.epilog = PageGroup, examples
    else:
        app = typer.Typer(add_completion=False)
        app.command(name, epilog=examples)(found)
    for info in app.registered_commands:
        info.cls = PageCommand
        if info.callback:
            name_values(info.callback)
    command = get_command(app)
    assert isinstance(command, TyperCommand | TyperGroup)
    return command


def name_values(function: Callable[..., object]) -> None:
    """Give each option of ``function`` that has no metavar one for its type: N, X, TEXT, FILE, a|b."""
    for name, parameter in inspect.signature(function, eval_str=True).parameters.items():
        if get_origin(parameter.annotation) is not Annotated:
            continue
        kind, *remarks = get_args(parameter.annotation)
        for remark in remarks:
            if isinstance(remark, OptionInfo | ArgumentInfo) and remark.metavar is None:
                remark.metavar = (
                    name.upper() if isinstance(remark, ArgumentInfo) else metavar_of(kind)
                )


def metavar_of(kind: Any) -> str:
    """What stands for a value of this type.

    >>> metavar_of(int | None), metavar_of(list[str]), metavar_of(Literal["cpu", "cuda"])
    ('N', 'TEXT', 'cpu|cuda')
    """
    if get_origin(kind) in (Union, UnionType):
        return next(metavar_of(part) for part in get_args(kind) if part is not NoneType)
    if get_origin(kind) is Literal:
        return "|".join(get_args(kind))
    if get_origin(kind) is list:
        return metavar_of(get_args(kind)[0])
    return METAVARS.get(kind, "VALUE")
