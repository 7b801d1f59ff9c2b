"""Print what gpt2xl generate makes: text, JSON, JSON lines or a table."""

import json
import sys
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import typer

from gpt2xl_cli.generating.closing import Closing
from gpt2xl_cli.generating.colors import colored, legend
from gpt2xl_cli.generating.tables import logprob_lines, stats_line
from gpt2xl_cli.terminal import BOLD, GrowingText, echo_line, echo_note, has_colors, painted

if TYPE_CHECKING:
    from gpt2xl import Generation, Piece, Stream, Tokenizer

BETWEEN = "-" * 8
"""A line between several texts."""


@dataclass(frozen=True)
class Output:
    """How texts of one prompt are printed."""

    prompt: str
    tokenizer: "Tokenizer"
    echo: bool = True
    """Whether the prompt is printed before the text."""
    as_json: bool = False
    as_json_lines: bool = False
    show_probs: bool = False
    table: bool = False
    """Whether the log-probabilities that were asked for follow the text."""
    stats: bool = False
    closing: Closing | None = None
    """Makes the last line of a text; None shows none."""

    def print_stream(self, stream: "Stream") -> None:
        """Print a text as it is generated."""
        if self.as_json_lines:
            _print_json_lines(stream)
        elif not self.as_json:
            self._print_pieces(stream)
        self._print_result(stream.result())

    def print_texts(self, generations: Iterable["Generation"]) -> None:
        """Print finished texts."""
        for number, generation in enumerate(generations):
            if not self.as_json:
                if number:
                    typer.echo(BETWEEN)
                self._begun().write(f"{generation.text}\n")
            self._print_result(generation)

    def _print_pieces(self, pieces: Iterable["Piece"]) -> None:
        paints = self.show_probs and has_colors(sys.stdout)
        shown = self._begun()
        try:
            for piece in pieces:
                if paints and piece.logprobs:
                    shown.write(piece.text, partial(colored, logprob=piece.logprobs.token))
                else:
                    shown.write(piece.text)
        finally:
            typer.echo()
        if paints:
            typer.echo(legend(), err=True, color=True)

    def _begun(self) -> GrowingText:
        """A text that begins with the prompt, where it is wanted."""
        shown = GrowingText()
        if self.echo:
            shown.write(self.prompt, partial(painted, style=BOLD))
        return shown

    def _print_result(self, generation: "Generation") -> None:
        """Print what follows a text."""
        if self.as_json:
            typer.echo(json.dumps({"prompt": self.prompt, **generation.to_dict()}))
        elif self.table and not self.as_json_lines:
            for line in logprob_lines(generation, self.tokenizer):
                echo_line(line)
        if self.stats:
            echo_line(stats_line(generation), err=True)
        elif self.closing:
            echo_note(self.closing.line(generation))


def _print_json_lines(stream: "Stream") -> None:
    """One object for each piece; the last says how the text came about, too."""
    for piece in stream:
        values: dict[str, Any] = {"text": piece.text, "id": piece.id}
        if piece.logprobs:
            values["logprobs"] = asdict(piece.logprobs)
        values["finish_reason"] = piece.finish_reason
        if piece.finish_reason:
            result = stream.result().to_dict()
            kept = ("seed", "stop_string", "prompt_logprobs", "timings", "guesses")
            values |= {name: result[name] for name in kept if name in result}
        typer.echo(json.dumps(values))
