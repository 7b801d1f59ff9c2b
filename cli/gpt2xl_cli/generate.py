"""gpt2xl generate."""

import json
from typing import Annotated, Literal

import typer

from gpt2xl_cli.options import Json, Model, model_folder, text_or_stdin


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
    max_new_tokens: Annotated[
        int, typer.Option("--max-new-tokens", "-n", help="Tokens to generate at most.")
    ] = 128,
    top_k: Annotated[
        int, typer.Option(help="Sample among so many most probable tokens; 0: all.")
    ] = 40,
    temperature: Annotated[float, typer.Option(help="Above 0; higher is wilder.")] = 0.8,
    greedy: Annotated[
        bool, typer.Option("--greedy", help="Always take the most probable token.")
    ] = False,
    seed: Annotated[
        int | None, typer.Option(help="Same seed, same text.", show_default="random")
    ] = None,
    echo: Annotated[bool, typer.Option(help="Print the prompt before the new text.")] = True,
    provider: Annotated[
        Literal["auto", "cpu", "cuda"], typer.Option(help="Where to run.")
    ] = "auto",
    threads: Annotated[int, typer.Option(help="Threads for one operator; 0: all cores.")] = 0,
    as_json: Json = False,
) -> None:
    """Continue a text."""
    import gpt2xl

    text = text_or_stdin(prompt)
    if prompt is None or prompt == "-":
        text = text.removesuffix("\n")
    loaded = gpt2xl.load(model_folder(model), provider=provider, threads=threads)
    stream = loaded.stream(
        text,
        max_new_tokens=max_new_tokens,
        greedy=greedy,
        top_k=top_k,
        temperature=temperature,
        seed=seed,
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
