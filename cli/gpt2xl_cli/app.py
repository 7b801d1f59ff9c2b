"""The typer app; turns errors into one line on stderr. Signals: `gpt2xl_cli.signals`."""

import io
import os
import sys
import warnings
from typing import Annotated, NoReturn

import typer
from typer._click.exceptions import ClickException

from gpt2xl_cli.help_pages.command_table import COMMANDS
from gpt2xl_cli.help_pages.loading import LazyGroup
from gpt2xl_cli.help_pages.usage_errors import usage_line
from gpt2xl_cli.help_pages.version import version_line
from gpt2xl_cli.signals import Stopped
from gpt2xl_cli.terminal import echo_line
from gpt2xl_cli.warning_lines import show_warning

INTERRUPTED = 130  # typer returns it after a KeyboardInterrupt

app = typer.Typer(
    cls=LazyGroup,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _stand_in() -> None:
    """For a command that is not imported yet."""


for name, entry in COMMANDS.items():
    app.command(name, help=entry.summary)(_stand_in)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(version_line())
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool,
        typer.Option("--version", help="Show the version.", callback=_version, is_eager=True),
    ] = False,
) -> None:
    """Run GPT-2 XL, and any other GPT-2, without PyTorch."""


def run() -> None:
    """Run a command; our own errors and signals end it with one line and an exit code."""
    warnings.showwarning = show_warning
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(encoding="utf-8", errors="surrogateescape")
    try:
        status = app(prog_name="gpt2xl", standalone_mode=False)
        if status == INTERRUPTED:
            _fail("interrupted.", INTERRUPTED)
        raise SystemExit(status or 0)
    except ClickException as error:
        _fail(usage_line(error), error.exit_code)
    except typer.Abort:
        _fail("aborted.")
    except Stopped as stop:
        _fail(str(stop), stop.exit_status)
    except Exception as error:
        from gpt2xl.errors import Gpt2xlError, system_reason

        known = isinstance(error, Gpt2xlError | OSError | MemoryError)
        if not known or os.environ.get("GPT2XL_DEBUG"):
            raise
        message = system_reason(error) if isinstance(error, OSError) else str(error)
        _fail(message or "not enough memory.")


def _fail(message: str, status: int = 1) -> NoReturn:
    echo_line(f"error: {message}", err=True)
    raise SystemExit(status) from None
