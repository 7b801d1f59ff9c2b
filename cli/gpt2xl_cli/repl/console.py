"""The terminal of a prompt, by prompt_toolkit (the extra "cli")."""

import os
import sys
import termios
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from prompt_toolkit import PromptSession, print_formatted_text
from prompt_toolkit.completion import CompleteEvent, Completer, Completion, PathCompleter
from prompt_toolkit.document import Document as InputLine
from prompt_toolkit.filters import Condition
from prompt_toolkit.formatted_text import FormattedText
from prompt_toolkit.history import FileHistory, History, InMemoryHistory
from prompt_toolkit.input import Input
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent
from prompt_toolkit.output import Output
from prompt_toolkit.styles import Style

from gpt2xl.errors import one_line
from gpt2xl_cli.repl.completion import completions
from gpt2xl_cli.repl.editor import edited_text, editor_command
from gpt2xl_cli.repl.workspace import Workspace
from gpt2xl_cli.signals import Stopped, on_stop, watch_kept
from gpt2xl_cli.terminal import GrowingText, escaped

STYLE = Style.from_dict(
    {"prompt": "bold", "note": "ansibrightblack", "bottom-toolbar": "noreverse ansibrightblack"}
)
EDIT_KEYS = " Alt-Enter: done | Ctrl-C: leave the text as it is"


class TerminalPrompt:
    """A `gpt2xl_cli.repl.loop.Prompt`.

    Args:
        history: file of the lines that were typed; None keeps them in memory.
        source: None is the terminal.
        target: None is the terminal.
    """

    def __init__(
        self,
        history: Path | None = None,
        source: Input | None = None,
        target: Output | None = None,
    ) -> None:
        self._source, self._target = source, target
        self._text = GrowingText()
        lines: History = FileHistory(history) if history else InMemoryHistory()
        self._session = PromptSession[str](
            history=lines, completer=_Words(), complete_while_typing=_is_command(),
            multiline=True, key_bindings=_keys(), prompt_continuation=". ", style=STYLE,
            input=source, output=target,
        )  # fmt: skip

    def read(self, work: Workspace) -> str:
        """See `gpt2xl_cli.repl.loop.Prompt`."""
        with _signals_end(self._session):
            return self._session.prompt(
                [("class:prompt", "> ")],
                bottom_toolbar=lambda: [("", f" {one_line(work.status)}")],
            )

    def write(self, text: str) -> None:
        """See `gpt2xl_cli.repl.workspace.Console`."""
        self._text.write(text)

    @contextmanager
    def without_echo(self) -> Iterator[None]:
        """See `gpt2xl_cli.repl.workspace.Console`."""
        if not sys.stdin.isatty():
            yield
            return
        before = termios.tcgetattr(sys.stdin)
        silent = [*before[:3], before[3] & ~termios.ECHO, *before[4:]]
        termios.tcsetattr(sys.stdin, termios.TCSADRAIN, silent)
        try:
            yield
        finally:
            termios.tcsetattr(sys.stdin, termios.TCSADRAIN, before)

    def note(self, line: str) -> None:
        """See `gpt2xl_cli.repl.workspace.Console`."""
        text = FormattedText([("class:note", escaped(line))])
        print_formatted_text(text, style=STYLE, output=self._target)

    def ask(self, question: str) -> str:
        """See `gpt2xl_cli.repl.workspace.Console`."""
        answers = PromptSession[str](style=STYLE, input=self._source, output=self._target)
        try:
            with _signals_end(answers):
                return answers.prompt([("class:prompt", question)])
        except (EOFError, KeyboardInterrupt):
            return ""

    def edit(self, text: str) -> str:
        """See `gpt2xl_cli.repl.workspace.Console`."""
        if command := editor_command(os.environ):
            return edited_text(text, command)
        lines = PromptSession[str](
            multiline=True, bottom_toolbar=[("", EDIT_KEYS)], style=STYLE, input=self._source,
            output=self._target,
        )  # fmt: skip
        with _signals_end(lines):
            return lines.prompt("", default=text)


@contextmanager
def _signals_end(session: PromptSession[str]) -> Iterator[None]:
    """Within the block, SIGTERM and SIGHUP end what is being typed with `Stopped`."""

    def end(stop: Stopped) -> None:
        app = session.app
        if app.loop is None or not app.is_running:
            raise stop
        app.loop.call_soon_threadsafe(partial(app.exit, exception=stop))

    with watch_kept(), on_stop(end):
        yield


class _Words(Completer):
    def __init__(self) -> None:
        self._files = PathCompleter(expanduser=True)

    def get_completions(
        self, document: InputLine, complete_event: CompleteEvent
    ) -> Iterable[Completion]:
        found = completions(document.text_before_cursor)
        if found.are_files:
            yield from self._files.get_completions(InputLine(found.replaced), complete_event)
        for word in found.words:
            yield Completion(word, start_position=-len(found.replaced))


def _is_command() -> Condition:
    from prompt_toolkit.application import get_app

    return Condition(lambda: get_app().current_buffer.text.startswith("/"))


def _keys() -> KeyBindings:
    keys = KeyBindings()

    @keys.add("enter")
    def accept(event: KeyPressEvent) -> None:
        buffer = event.current_buffer
        before = buffer.document
        if before.is_cursor_at_the_end and before.text.endswith("\\"):
            buffer.delete_before_cursor()
            buffer.insert_text("\n")
        else:
            buffer.validate_and_handle()

    @keys.add("escape", "enter")
    def new_line(event: KeyPressEvent) -> None:
        event.current_buffer.insert_text("\n")

    return keys
