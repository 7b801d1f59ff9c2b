"""The --help of a command, made from what typer knows of it."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import typer
from typer._click.exceptions import UsageError
from typer.core import TyperArgument, TyperCommand, TyperGroup, TyperOption

from gpt2xl_cli.help_pages.boxes import Row, example_lines, panel, paragraphs
from gpt2xl_cli.help_pages.option_names import as_typed
from gpt2xl_cli.help_pages.remedies import for_command, for_extra_words
from gpt2xl_cli.terminal import BOLD, painted

if TYPE_CHECKING:
    from typer._click import Command, Context, HelpFormatter, Parameter

HELP = (["-h"], ["--help"])
COMMAND_WIDTH = 12
NO_SHORT_NAME = " " * len("-k, ")


class PageCommand(TyperCommand):
    """A command whose --help is our page. Its epilog is examples, one a line."""

    def format_help(self, ctx: "Context", formatter: "HelpFormatter") -> None:
        """Write the page."""
        formatter.write("\n".join(_page(self, ctx)))

    def collect_usage_pieces(self, ctx: "Context") -> list[str]:
        """The usage as the page has it, for errors."""
        return [*_usage_pieces(self, ctx)]

    def parse_args(self, ctx: "Context", args: list[str]) -> list[str]:
        """Show the page at once where nothing else is asked for: typer's own way imports pydantic."""
        if args in HELP:
            _show_page(ctx)
        ctx.allow_extra_args = True  # click's message for these names no remedy
        try:
            rest = super().parse_args(ctx, args)
        except UsageError as error:
            error.ctx = error.ctx or ctx  # an option without its value lacks it
            raise
        if rest and not ctx.resilient_parsing:
            ctx.fail(for_extra_words(ctx.command_path, ctx.params, rest))
        return rest

    def invoke(self, ctx: "Context") -> object:
        """Run the command; errors about options name them as they are typed."""
        try:
            return super().invoke(ctx)
        except Exception as error:
            from gpt2xl.errors import ExportError, RequestError

            if isinstance(error, ExportError | RequestError):
                error.args = (as_typed(str(error), self.params),)
            raise


class PageGroup(TyperGroup):
    """A command with commands of its own; alone, it shows its page unless it can run without one."""

    def format_help(self, ctx: "Context", formatter: "HelpFormatter") -> None:
        """Write the page."""
        formatter.write("\n".join(_page(self, ctx)))

    def collect_usage_pieces(self, ctx: "Context") -> list[str]:
        """The usage as the page has it, for errors."""
        return [*_usage_pieces(self, ctx)]

    def parse_args(self, ctx: "Context", args: list[str]) -> list[str]:
        """Show the page at once where nothing else is asked for."""
        is_incomplete = not args and not self.invoke_without_command
        if (args in HELP or is_incomplete) and not ctx.resilient_parsing:
            _show_page(ctx)
        return super().parse_args(ctx, args)

    def resolve_command(
        self, ctx: "Context", args: list[str]
    ) -> "tuple[str | None, Command | None, list[str]]":
        """Find the command; where it is one of other programs, the error names ours."""
        if args[0] not in self.commands and (
            remedy := for_command(f"{ctx.command_path} {args[0]}")
        ):
            ctx.fail(f"No such command '{args[0]}': {remedy}.")
        return super().resolve_command(ctx, args)


def _show_page(ctx: "Context") -> None:
    typer.echo(ctx.get_help(), color=True)
    raise typer.Exit


def _page(command: TyperCommand | TyperGroup, ctx: "Context") -> Iterator[str]:
    pieces = " ".join(_usage_pieces(command, ctx))
    yield f" {painted('Usage:', BOLD)} {ctx.command_path} {pieces}"
    yield ""
    yield from paragraphs(command.help or "")
    if isinstance(command, TyperGroup):
        commands = command.commands.items()
        rows = [Row(name, found.get_short_help_str(limit=200)) for name, found in commands]
        yield from panel("Commands", rows, COMMAND_WIDTH)
    panels: dict[str, list[Row]] = {}
    for parameter in command.get_params(ctx):
        if isinstance(parameter, TyperArgument | TyperOption) and not parameter.hidden:
            title = "Arguments" if isinstance(parameter, TyperArgument) else "Options"
            panels.setdefault(parameter.rich_help_panel or title, []).append(_row(parameter))
    for title, rows in sorted(panels.items(), key=lambda item: item[0] == "Options"):
        yield from panel(title, rows)
    if command.epilog:
        yield from example_lines(command.epilog.splitlines())


def _usage_pieces(command: TyperCommand | TyperGroup, ctx: "Context") -> Iterator[str]:
    yield "[OPTIONS]"
    for parameter in command.get_params(ctx):
        if isinstance(parameter, TyperArgument):
            name = _value(parameter) + ("..." if parameter.nargs != 1 else "")
            yield name if parameter.required else f"[{name}]"
    if isinstance(command, TyperGroup):
        yield "COMMAND"


def _row(parameter: TyperArgument | TyperOption) -> Row:
    remark = "required" if parameter.required else _default(parameter)
    help_ = f"{parameter.help or ''} [{remark}]" if remark else parameter.help or ""
    if isinstance(parameter, TyperArgument):
        return Row(_value(parameter), help_)
    short = [name for name in parameter.opts if not name.startswith("--")]
    long = [name for name in parameter.opts if name.startswith("--")]
    names = ", ".join([*short, *long])
    if parameter.secondary_opts:
        names += f" / {', '.join(parameter.secondary_opts)}"
    return Row(names if short else NO_SHORT_NAME + names, help_, parameter.metavar or "")


def _value(parameter: "Parameter") -> str:
    return parameter.metavar or (parameter.name or "").upper()


def _default(parameter: TyperArgument | TyperOption) -> str:
    """The default in words; nothing where there is none to state."""
    shown, default = parameter.show_default, parameter.default
    if isinstance(shown, str):
        return f"default: {shown}"
    if not shown or default is None or default == []:
        return ""
    if isinstance(default, bool):
        if not parameter.secondary_opts:
            return ""
        names = parameter.opts if default else parameter.secondary_opts
        return f"default: {names[0].lstrip('-')}"
    return f"default: {default}"
