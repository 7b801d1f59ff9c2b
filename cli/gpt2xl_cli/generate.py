"""gpt2xl generate."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gpt2xl_cli.options import (
    Json,
    Model,
    Provider,
    SessionCache,
    Threads,
    model_folder,
    text_or_stdin,
)

if TYPE_CHECKING:
    from gpt2xl import Piece
    from gpt2xl import SessionCache as SavedSessions


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
    provider: Provider = "auto",
    threads: Threads = 0,
    session_cache: SessionCache = True,
    as_json: Json = False,
) -> None:
    """Continue a text."""
    import gpt2xl
    from gpt2xl.providers import choose_device
    from gpt2xl_cli.demo import cache_folder

    text = text_or_stdin(prompt)
    if prompt is None or prompt == "-":
        text = text.removesuffix("\n")
    folder = model_folder(model)
    cache = gpt2xl.SessionCache(cache_folder() / "sessions", save=False)
    loaded = gpt2xl.load(
        folder,
        provider=provider,
        threads=threads,
        session_cache=cache if session_cache else None,
    )
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
    else:
        _print_stream(text if echo else "", stream)
    del loaded, stream  # the process that fills the cache may need the memory
    if session_cache and choose_device(provider) == "cpu":
        _fill(cache, folder)


def _fill(cache: "SavedSessions", folder: Path) -> None:
    from gpt2xl.session_cache import fill_in_background

    if fill_in_background(folder, cache):
        typer.echo(
            f"Saving the session to {cache.folder} for a quicker start, twice the model's size;"
            " --no-session-cache does without.",
            err=True,
        )


def _print_stream(prompt: str, pieces: Iterable["Piece"]) -> None:
    typer.echo(prompt, nl=False)
    try:
        for piece in pieces:
            typer.echo(piece.text, nl=False)
    finally:
        typer.echo()
