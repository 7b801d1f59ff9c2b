"""The input of gpt2xl batch: one JSON object on each line, with a prompt."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

from gpt2xl import GenerationOptions, RequestError
from gpt2xl.options.defaults import NOT_SUPPORTED
from gpt2xl.text.prompts import Prompt
from gpt2xl_cli.batches.results import ADDED_KEYS, Result
from gpt2xl_cli.text_options.conversion import option_name

OTHER_KEYS = {
    "n": "-n",
    "max_tokens": "-n",
    "stop": "--stop-strings",
    "min_tokens": "--min-new-tokens",
    "bad_words": "--bad-words-ids",
    "repeat_penalty": "--repetition-penalty",
}
"""What other programs call an option."""
PYTHON_ONLY = ("processors", "sampler", "stopping")
"""Fields of GenerationOptions that no command has as an option."""
MAX_SHOWN = 40  # characters of a line that is not JSON


@dataclass(frozen=True)
class Line:
    """One line of the input."""

    line_number: int
    """Its place in the file, from 1; blank lines count."""
    text: str
    """The JSON object as it stands in the file."""
    prompt: Prompt
    """Text or token ids."""

    def with_result(self, result: Result) -> str:
        """Return the line unchanged, with the keys of ``result`` after its own."""
        added = json.dumps(result)
        return f"{self.text[:-1].rstrip()}, {added[1:]}"


def as_json_lines(content: str) -> str:
    """Make prompts, one a line, the input that `parse` takes; blank lines stay blank."""
    return "\n".join(
        json.dumps({"prompt": line.removesuffix("\r")}, ensure_ascii=False) if line.strip() else ""
        for line in content.split("\n")
    )


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
            f' {{"prompt": "Once"}}, but this is {shown!r}. Where each line is a prompt itself, give --lines.'
        )
    try:
        values: dict[str, Any] = json.loads(text, parse_constant=_no_constant)
    except (ValueError, RecursionError) as reason:
        raise RequestError(f"{where} is not JSON: {reason}.") from None
    if "prompt" not in values:
        raise RequestError(f'{where} has no "prompt".')
    if not isinstance(values["prompt"], str | list):
        raise RequestError(f'{where}: "prompt" has to be a string, or a list of token ids.')
    for key in values:
        _check_key(key, where)
    return Line(line_number, text, values["prompt"])


def _no_constant(name: str) -> NoReturn:
    """Refuse NaN and Infinity, which Python would read although JSON does not have them."""
    raise ValueError(f"{name} is not a number")


def _check_key(key: str, where: str) -> None:
    name = key.replace("-", "_")
    if option := OTHER_KEYS.get(name) or _option_of(name):
        raise RequestError(
            f'{where}: "{key}" is not read from a line: give {option} for all of them,'
            " or rename it if it means something else."
        )
    if name in NOT_SUPPORTED:
        raise RequestError(f'{where}: gpt2xl has no "{key}": remove it, or rename it.')
    if name in PYTHON_ONLY:
        raise RequestError(
            f'{where}: only the Python API has "{key}", gpt2xl.GenerationOptions({name}=...): remove it, or'
            " rename it."
        )
    if key in ADDED_KEYS:
        raise RequestError(f'{where} has a "{key}" already, which the output adds: rename it.')


def _option_of(name: str) -> str | None:
    """The option that a field of GenerationOptions is at the command line; options hold for the whole run."""
    if name not in GenerationOptions.__annotations__ or name in PYTHON_ONLY:
        return None
    return {"max_new_tokens": "-n", "grammar": "--regex or another"}.get(
        name, f"--{option_name(name)}"
    )


def check_prompts(lines: Sequence[Line], name: str, check: Callable[[Prompt], object]) -> None:
    """Call ``check`` with every prompt; a RequestError it raises gets the number of the line."""
    for line in lines:
        try:
            check(line.prompt)
        except RequestError as reason:
            raise RequestError(f"{name}, line {line.line_number}: {reason}") from None
