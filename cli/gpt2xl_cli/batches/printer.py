"""Print the lines of gpt2xl batch on stdout in the order of the input."""

from collections.abc import Sequence

from gpt2xl import Generation
from gpt2xl_cli.batches.lines import Line
from gpt2xl_cli.batches.results import result_of
from gpt2xl_cli.terminal import echo_text


class OrderedPrinter:
    """Print each line as soon as its text and all before it are done."""

    def __init__(self, lines: Sequence[Line]) -> None:
        self._lines = lines
        self._waiting: dict[int, Generation] = {}
        self.count = 0
        """Lines printed."""

    def add(self, index: int, generation: Generation) -> None:
        """Take the text of the line ``index``, counted from 0, and print all lines that it completes."""
        self._waiting[index] = generation
        while self.count in self._waiting:
            result = result_of(self._waiting.pop(self.count))
            echo_text(self._lines[self.count].with_result(result))
            self.count += 1
