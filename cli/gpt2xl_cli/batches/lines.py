"""The input of gpt2xl batch: one JSON object on each line, with a prompt."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

from gpt2xl import RequestError
from gpt2xl_cli.batches.results import ADDED_KEYS, Result

OPTION_KEYS = {
    "seed": "--seed",
    "n": "-n",
    "max_new_tokens": "-n",
    "max_tokens": "-n",
    "max_length": "-n",
    "temperature": "--temperature",
    "top_k": "--top-k",
    "greedy": "--greedy",
    "do_sample": "--greedy",
}
"""Keys that people write for an option; options hold for the whole run."""
UNSUPPORTED = ("top_p", "stop", "num_beams")
"""Options of other libraries that gpt2xl does not have."""
PYTHON_ONLY = ("repetition_penalty", "no_repeat_ngram_size")
"""Fields of GenerationOptions that no command has as an option."""
MAX_SHOWN = 40  # characters of a line that is not JSON


@dataclass(frozen=True)
class Line:
    """One line of the input."""

    line_number: int
    """Its place in the file, from 1; blank lines count."""
    text: str
    """The JSON object as it stands in the file."""
    prompt: str

    def with_result(self, result: Result) -> str:
        """Return the line unchanged, with the keys of ``result`` after its own."""
        added = json.dumps(result)
        return f"{self.text[:-1].rstrip()}, {added[1:]}"


def parse(content: str, name: str) -> list[Line]:
    """Parse the lines of ``content`` that are not blank; ``name`` is for errors.

    Raises:
        RequestError: a line that is not a JSON object, has no prompt, or has a key that the output
            adds or that means an option.
    """
    texts = enumerate(map(str.strip, content.split("\n")), 1)
    return [_line(number, text, f"{name}, line {number}") for number, text in texts if text]


def _line(line_number: int, text: str, where: str) -> Line:
    if not text.startswith("{"):
        shown = text if len(text) <= MAX_SHOWN else f"{text[:MAX_SHOWN]}..."
        raise RequestError(
            f'{where} is not a JSON object: each line has to be one with a "prompt", such as'
            f' {{"prompt": "Once"}}, but this is {shown!r}.'
        )
    try:
        values: dict[str, Any] = json.loads(text, parse_constant=_no_constant)
    except (ValueError, RecursionError) as reason:
        raise RequestError(f"{where} is not JSON: {reason}.") from None
    if "prompt" not in values:
        raise RequestError(f'{where} has no "prompt".')
    if not isinstance(values["prompt"], str):
        raise RequestError(f'{where}: "prompt" has to be a string.')
    for key in values:
        _check_key(key, where)
    return Line(line_number, text, values["prompt"])


def _no_constant(name: str) -> NoReturn:
    """Refuse NaN and Infinity, which Python would read although JSON does not have them."""
    raise ValueError(f"{name} is not a number")


def _check_key(key: str, where: str) -> None:
    name = key.replace("-", "_")
    if name in OPTION_KEYS:
        raise RequestError(
            f'{where}: "{key}" is not read from a line: give {OPTION_KEYS[name]} for all of them,'
            " or rename it if it means something else."
        )
    if name in UNSUPPORTED:
        raise RequestError(f'{where}: gpt2xl has no "{key}": remove it, or rename it.')
    if name in PYTHON_ONLY:
        raise RequestError(
            f'{where}: only the Python API has "{key}", gpt2xl.GenerationOptions({name}=...): remove it, or'
            " rename it."
        )
    if key in ADDED_KEYS:
        raise RequestError(f'{where} has a "{key}" already, which the output adds: rename it.')


def check_prompts(lines: Sequence[Line], name: str, check: Callable[[str], object]) -> None:
    """Call ``check`` with every prompt; a RequestError it raises gets the number of the line."""
    for line in lines:
        try:
            check(line.prompt)
        except RequestError as reason:
            raise RequestError(f"{name}, line {line.line_number}: {reason}") from None
