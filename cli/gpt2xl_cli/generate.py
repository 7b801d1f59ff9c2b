"""gpt2xl generate."""

import json
from typing import Annotated

import typer

from gpt2xl_cli.options import (
    Greedy,
    Json,
    MaxNewTokens,
    Model,
    Provider,
    Seed,
    Temperature,
    Threads,
    TopK,
    model_folder,
    text_or_stdin,
)


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
    provider: Provider = "auto",
    threads: Threads = 0,
    as_json: Json = False,
) -> None:
    """Continue a text."""
    import gpt2xl

    text = text_or_stdin(prompt)
    if prompt is None or prompt == "-":
        text = text.removesuffix("\n")
    loaded = gpt2xl.load(model_folder(model), provider=provider, threads=threads)
    smaller = None
    if draft is not None:
        smaller = gpt2xl.load(model_folder(draft), provider=provider, threads=threads)
    stream = loaded.stream(
        text,
        max_new_tokens=max_new_tokens,
        greedy=greedy,
        top_k=top_k,
        temperature=temperature,
        seed=seed,
        draft=smaller,
        prompt_lookup=prompt_lookup,
    )
    if as_json:
        typer.echo(json.dumps({"prompt": text, **stream.result().to_dict()}))
        return
    if echo:
        typer.echo(text, nl=False)
    try:
        for piece in stream:
            typer.echo(piece.text, nl=False)
    finally:
        typer.echo()
