"""gpt2xl tokenize and detokenize."""

import json
from typing import TYPE_CHECKING, Annotated

import typer

from gpt2xl_cli.generating.prompt import parsed_ids
from gpt2xl_cli.models import model_folder
from gpt2xl_cli.options import Json, Model, Special
from gpt2xl_cli.terminal import echo_text
from gpt2xl_cli.text_input import read_stdin, text_or_stdin

if TYPE_CHECKING:
    from gpt2xl import Tokenizer


def tokenize(
    text: Annotated[
        str | None,
        typer.Argument(
            help="Text to encode; without it, or with -, stdin is read.", show_default=False
        ),
    ] = None,
    *,
    model: Model = None,
    special: Special = True,
    as_json: Json = False,
) -> None:
    """Turn text into token ids."""
    content = text_or_stdin(text)
    tokenizer = _tokenizer(model)
    ids = tokenizer.encode(content, parse_special=special)
    if as_json:
        tokens = [tokenizer.token_bytes(i).decode("utf-8", "backslashreplace") for i in ids]
        typer.echo(json.dumps({"ids": ids, "tokens": tokens}))
    else:
        typer.echo(" ".join(map(str, ids)))


def detokenize(
    ids: Annotated[
        list[str] | None,
        typer.Argument(help="Token ids; without any, stdin is read.", show_default=False),
    ] = None,
    *,
    model: Model = None,
    as_json: Json = False,
) -> None:
    """Turn token ids into text."""
    numbers = parsed_ids(" ".join(ids) if ids else read_stdin())
    text = _tokenizer(model).decode(numbers)
    if as_json:
        typer.echo(json.dumps({"text": text}))
    else:
        echo_text(text)


def _tokenizer(model: str | None) -> "Tokenizer":
    from gpt2xl import Tokenizer

    return Tokenizer.from_file(model_folder(model) / "tokenizer.json")
