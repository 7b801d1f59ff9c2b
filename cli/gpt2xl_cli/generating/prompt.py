"""The prompt of gpt2xl generate: an argument, a file or stdin; text or ids."""

import os
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from gpt2xl_cli.terminal import echo_note
from gpt2xl_cli.text_input import read_stdin, read_text_file, without_final_newline

if TYPE_CHECKING:
    from gpt2xl import Tokenizer
    from gpt2xl.text.prompts import Prompt


def read_prompt(argument: str | None, file: Path | None, *, quiet: bool = False) -> str:
    """The prompt as it is given; the final newline of stdin or a file is removed.

    ``quiet`` says nothing where it waits for somebody to type.

    Raises:
        RequestError: it cannot be read.
        BadParameter: both an argument and a file.
    """
    if file is not None:
        if argument is not None:
            raise typer.BadParameter("cannot be combined with PROMPT.", param_hint="--prompt-file")
        return without_final_newline(read_text_file(file))
    if argument is None or argument == "-":
        return without_final_newline(read_stdin("prompt", quiet=quiet))
    if not quiet and os.path.isfile(argument):
        echo_note(f"'{argument}' is taken as the prompt; it is also a file, which -f reads.")
    return argument


def parsed_ids(text: str) -> list[int]:
    """Ids with spaces or commas between, in brackets or not.

    >>> parsed_ids("[2642, 652] "), parsed_ids("258 519")
    ([2642, 652], [258, 519])

    Raises:
        RequestError: a word that is no whole number.
    """
    from gpt2xl import RequestError

    found = []
    for word in text.replace(",", " ").strip(" []\n").split():
        try:
            found.append(int(word))
        except ValueError:
            raise RequestError(f"'{word}' is not a token id: ids are whole numbers.") from None
    return found


def prompt_text(prompt: "Prompt", tokenizer: "Tokenizer") -> str:
    """The prompt to show."""
    if isinstance(prompt, str):
        return prompt
    return tokenizer.decode([token_id for token_id in prompt if token_id in tokenizer])
