"""gpt2xl generate."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gpt2xl_cli.options import (
    CudaGraph,
    Greedy,
    Json,
    MaxNewTokens,
    Model,
    Provider,
    Seed,
    Special,
    Temperature,
    Threads,
    TopK,
    model_folder,
    text_or_stdin,
)
from gpt2xl_cli.signals import cleaning_up
from gpt2xl_cli.terminal import echo_text

if TYPE_CHECKING:
    from gpt2xl import Piece


def generate(
    prompt: Annotated[
        str | None,
        typer.Argument(
            help="Text to go on from; - or nothing reads stdin, less its last newline.",
            show_default=False,
        ),
    ] = None,
    *,
    model: Model = None,
    max_new_tokens: MaxNewTokens = 128,
    top_k: TopK = 40,
    temperature: Temperature = 0.8,
    greedy: Greedy = False,
    seed: Seed = None,
    special: Special = True,
    echo: Annotated[bool, typer.Option(help="Print the prompt before the new text.")] = True,
    draft: Annotated[
        str | None,
        typer.Option(
            help="A smaller model that guesses tokens, named as for --model; changes no text.",
            metavar="MODEL",
            show_default=False,
        ),
    ] = None,
    prompt_lookup: Annotated[
        bool,
        typer.Option(help="Guess that what was said is said again; changes no text."),
    ] = True,
    prompt_cache: Annotated[
        Path | None,
        typer.Option(
            help="Keep what the model makes of the prompt in this file; the next run that begins alike"
            " starts from it.",
            show_default=False,
        ),
    ] = None,
    provider: Provider = "auto",
    cuda_graph: CudaGraph = True,
    threads: Threads = 0,
    as_json: Json = False,
) -> None:
    """Continue a text."""
    import gpt2xl

    text = text_or_stdin(prompt)
    if prompt is None or prompt == "-":
        text = text.removesuffix("\r\n" if text.endswith("\r\n") else "\n")
    folder = model_folder(model)
    loaded = gpt2xl.load(
        folder,
        provider=provider,
        threads=threads,
        cuda_graph=cuda_graph,
    )
    smaller = None
    if draft is not None:
        smaller = gpt2xl.load(
            model_folder(draft),
            provider=provider,
            threads=threads,
            spinning=False,
            cuda_graph=cuda_graph,
        )
    if prompt_cache and prompt_cache.exists():
        loaded.load_prompt(prompt_cache)
    stream = loaded.stream(
        text,
        max_new_tokens=max_new_tokens,
        greedy=greedy,
        top_k=top_k,
        temperature=temperature,
        seed=seed,
        parse_special=special,
        draft=smaller,
        prompt_lookup=prompt_lookup,
    )
    with cleaning_up():
        if as_json:
            typer.echo(json.dumps({"prompt": text, **stream.result().to_dict()}))
        else:
            _print_stream(text if echo else "", stream)
        if prompt_cache:
            loaded.save_prompt(text, prompt_cache, parse_special=special)


def _print_stream(prompt: str, pieces: Iterable["Piece"]) -> None:
    echo_text(prompt, nl=False)
    try:
        for piece in pieces:
            echo_text(piece.text, nl=False)
    finally:
        typer.echo()
