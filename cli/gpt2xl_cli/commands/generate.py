"""gpt2xl generate."""

import json
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gpt2xl_cli.models import model_folder
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
)
from gpt2xl_cli.signals import cleaning_up
from gpt2xl_cli.terminal import echo_text
from gpt2xl_cli.text_input import text_or_stdin, without_final_newline

if TYPE_CHECKING:
    from gpt2xl import Piece


def generate(
    prompt: Annotated[
        str | None,
        typer.Argument(
            help="Text to continue; without it, or with -, stdin is read and its final newline removed.",
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
            help="Smaller model that drafts tokens for this one to check; changes no text. A folder or"
            " name as for --model.",
            metavar="MODEL",
            show_default=False,
        ),
    ] = None,
    prompt_lookup: Annotated[
        bool,
        typer.Option(help="Draft tokens by matching earlier n-grams of the text; changes no text."),
    ] = True,
    prompt_cache: Annotated[
        Path | None,
        typer.Option(
            help="Save the KV cache of the prompt in this file; a later run whose prompt begins the same"
            " way starts from it.",
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
        text = without_final_newline(text)
    load = gpt2xl.LoadOptions(provider=provider, threads=threads, cuda_graph=cuda_graph)
    options = gpt2xl.GenerationOptions(
        max_new_tokens=max_new_tokens, top_k=top_k, temperature=temperature, greedy=greedy,
        seed=seed, parse_special=special, prompt_lookup=prompt_lookup,
    )  # fmt: skip
    loaded = gpt2xl.load(model_folder(model), load)
    draft_model = None
    if draft is not None:
        draft_model = gpt2xl.load(model_folder(draft), replace(load, spinning=False))
    if prompt_cache and prompt_cache.exists():
        loaded.load_prompt(prompt_cache)
    stream = loaded.stream(text, options, draft=draft_model)
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
