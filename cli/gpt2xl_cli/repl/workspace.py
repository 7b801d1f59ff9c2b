"""What the commands of a prompt work with: the model, the state, and a terminal."""

from contextlib import AbstractContextManager
from typing import Protocol

from gpt2xl import Generation, Model
from gpt2xl.errors import counted
from gpt2xl_cli.repl.generating import run_turn
from gpt2xl_cli.repl.state import ModelFacts, ReplState, Turn
from gpt2xl_cli.reporting.amounts import speed_text

TAIL_CHARACTERS = 160  # of the text, shown where it changes other than by growing


class Console(Protocol):
    """A terminal."""

    def write(self, text: str) -> None:
        """Show a part of the text."""

    def without_echo(self) -> AbstractContextManager[None]:
        """Within the block, keys that are pressed do not appear in the text."""

    def note(self, line: str) -> None:
        """Show a line about the text, on a line of its own."""

    def ask(self, question: str) -> str:
        """A short answer; empty where the user gives none."""

    def edit(self, text: str) -> str:
        """The text as the user leaves it; raises RequestError."""


class CommandTyped(Exception):  # noqa: N818  # no error
    """A command in place of an answer: the question is given up, and the command is run."""

    def __init__(self, line: str) -> None:
        super().__init__(line)
        self.line = line


class Workspace:
    """One prompt."""

    def __init__(self, model: Model, state: ReplState, console: Console) -> None:
        self.model = model
        self.state = state
        self.console = console
        self.last: Generation | None = None
        """The last generation."""

    @property
    def facts(self) -> ModelFacts:
        """Those of the model."""
        return self.state.facts

    @property
    def status(self) -> str:
        """The line of the toolbar."""
        bundle, options = self.model.bundle, self.state.options
        parts = [bundle.folder.name if bundle else "model"]
        tokens = counted(len(self.state.document.ids), "token")
        parts.append(f"{tokens}, context {self.facts.n_positions}")
        if self.last and (rate := self.last.timings.tokens_per_second):
            parts.append(speed_text(rate, "tokens"))
        if (seed := self.state.history.last_seed) is not None:
            parts.append(f"seed {seed}")
        if options.is_greedy:
            parts.append("greedy")
        if options.overflow == "slide":
            parts.append("slide")
        return " | ".join(parts)

    def ask(self, question: str) -> str:
        """A short answer; raises CommandTyped for a command."""
        answer = self.console.ask(question).strip()
        if answer.startswith("/"):
            raise CommandTyped(answer)
        return answer

    def go_on(self) -> None:
        """Continue the text; where it fills the context, ask whether it may slide."""
        if self.state.is_full:
            self._offer_slide()
        if not self.state.is_full:
            self.run(self.state.turn())

    def run(self, turn: Turn, shown_from: int | None = None) -> None:
        """Generate, and say why the text ends here, unless it has reached max_new_tokens.

        Args:
            turn: what to generate.
            shown_from: show the text from this id on first.
        """
        if shown_from is not None:
            self.console.write(self.state.text_of(turn.document, shown_from))
        found = None
        try:
            with self.console.without_echo():
                found = run_turn(self.model, self.state, turn, self.console.write)
        finally:
            self.console.write("\n")
        self.last = found or self.last
        if reason := self._reason(found):
            self.console.note(reason)

    def show_end(self, line: str) -> None:
        """Show a note, and how the text ends."""
        self.console.note(line)
        text = self.state.text
        if text:
            start = "..." if len(text) > TAIL_CHARACTERS else ""
            self.console.write(f"{start}{text[-TAIL_CHARACTERS:]}\n")

    def _offer_slide(self) -> None:
        count, n_positions = len(self.state.document.ids), self.facts.n_positions
        self.console.note(f"The text has {count} tokens and fills the context of {n_positions}.")
        answer = self.ask("Go on with its beginning out of the model's sight? [y/N] ")
        if answer.lower() in ("y", "yes"):
            self.state.set_option("overflow", "slide")
            self.console.note(
                "overflow is slide now; /set overflow_keep N keeps the first N tokens."
            )
        else:
            self.console.note(
                "Your line is kept: /undo takes it back, /edit shortens the text, /new starts another one."
            )

    def _reason(self, found: Generation | None) -> str:
        """What the user could not see from the text."""
        if found is None:
            return "Interrupted; a search gives nothing before its end."
        if found.finish_reason == "stop" and found.stop_string is None:
            return "The text ended here; /set ignore_eos on goes on."
        if found.stop_string is not None:
            return f"Stopped at {found.stop_string!r}."
        if found.finish_reason == "length" and self.state.is_full:
            return f"The context of {self.facts.n_positions} tokens is full."
        reasons = {
            "cancelled": "Interrupted; what came is kept.",
            "time": "max_time is over.",
            "repetition": "The text repeats itself.",
        }
        return reasons.get(found.finish_reason, "")
