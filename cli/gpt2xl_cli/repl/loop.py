"""The loop of a prompt: read a line, run it, until the user ends it."""

from typing import Protocol

from gpt2xl import Gpt2xlError
from gpt2xl_cli.repl.commands import run_command
from gpt2xl_cli.repl.workspace import CommandTyped, Console, Workspace


class Prompt(Console, Protocol):
    """A terminal that reads lines."""

    def read(self, work: Workspace) -> str:
        """The next line, or several.

        Raises:
            EOFError: the user ends the prompt.
            KeyboardInterrupt: the user gives this line up.
        """


def run_loop(work: Workspace, prompt: Prompt) -> None:
    """Run lines until the user ends it; errors are shown and change nothing."""
    while True:
        try:
            run_line(work, prompt.read(work))
        except KeyboardInterrupt:
            continue
        except EOFError:
            return
        except (Gpt2xlError, OSError) as reason:
            prompt.note(f"error: {reason}")


def run_line(work: Workspace, line: str) -> None:
    """Run a command, or continue the text with ``line``.

    Raises:
        EOFError: the command ends the prompt.
        Gpt2xlError, OSError: the line cannot be run.
    """
    try:
        _run(work, line)
    except CommandTyped as typed:
        run_line(work, typed.line)


def _run(work: Workspace, line: str) -> None:
    if line.startswith("/") and not line.startswith("//"):
        run_command(work, line)
        return
    if line:
        work.state.append(line.removeprefix("/") if line.startswith("//") else line)
    work.go_on()
