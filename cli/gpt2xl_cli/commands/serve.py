"""gpt2xl serve."""

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from gpt2xl_cli.models import model_folder, short_name
from gpt2xl_cli.options import Model, Provider, Quiet, Threads, model_names
from gpt2xl_cli.signals import watch_kept
from gpt2xl_cli.terminal import echo_line

SERVER, LIMITS, ACCESS = "Server", "Limits", "Access"


def serve(
    *,
    host: Annotated[
        str, typer.Option(help="Address to listen at.", rich_help_panel=SERVER)
    ] = "127.0.0.1",
    port: Annotated[
        int, typer.Option(help="Port to listen at; 0 takes a free one.", rich_help_panel=SERVER)
    ] = 8000,
    name: Annotated[
        str | None,
        typer.Option(
            help="What clients call the model.",
            metavar="NAME",
            show_default="the model's name",
            rich_help_panel=SERVER,
        ),
    ] = None,
    rows: Annotated[
        int,
        typer.Option(
            help="Maximum number of texts that share each step; it changes no text.",
            rich_help_panel=LIMITS,
        ),
    ] = 16,
    queue: Annotated[
        int,
        typer.Option(
            help="Maximum number of texts that wait for a row; more are answered 429.",
            rich_help_panel=LIMITS,
        ),
    ] = 128,
    prefix_cache: Annotated[
        int,
        typer.Option(
            help="Memory for prompts that later ones begin like, in MB; 0 keeps none.",
            metavar="MB",
            rich_help_panel=LIMITS,
        ),
    ] = 256,
    max_body: Annotated[
        int,
        typer.Option(
            help="Maximum size of a request in bytes.", metavar="BYTES", rich_help_panel=LIMITS
        ),
    ] = 1 << 20,
    max_connections: Annotated[
        int,
        typer.Option(
            help="Maximum number of connections; more are answered 503.", rich_help_panel=LIMITS
        ),
    ] = 1024,
    header_timeout: Annotated[
        float,
        typer.Option(
            help="Seconds in which a client has to send a request's head, and then its body.",
            metavar="SECONDS",
            rich_help_panel=LIMITS,
        ),
    ] = 10.0,
    grace: Annotated[
        float,
        typer.Option(
            help="Seconds that running texts have after Ctrl-C or SIGTERM; a second one ends at once.",
            metavar="SECONDS",
            rich_help_panel=LIMITS,
        ),
    ] = 30.0,
    api_key: Annotated[
        str | None,
        typer.Option(
            help="Key that clients have to send; better in the environment, as GPT2XL_API_KEY.",
            metavar="KEY",
            envvar="GPT2XL_API_KEY",
            show_default=False,
            rich_help_panel=ACCESS,
        ),
    ] = None,
    no_auth: Annotated[
        bool,
        typer.Option(
            "--no-auth",
            help="Let other machines use the server without a key.",
            rich_help_panel=ACCESS,
        ),
    ] = False,
    cors: Annotated[
        list[str] | None,
        typer.Option(
            help="Origin whose pages may use the server; repeatable, * is all.",
            metavar="ORIGIN",
            show_default=False,
            rich_help_panel=ACCESS,
        ),
    ] = None,
    ignore_unknown: Annotated[
        bool,
        typer.Option(
            "--ignore-unknown",
            help="Name fields that are not known in the header X-Ignored-Fields, and do not refuse them.",
            rich_help_panel=SERVER,
        ),
    ] = False,
    chat_template: Annotated[
        Path | None,
        typer.Option(
            help="Jinja template that makes a prompt of messages, for /v1/chat/completions.",
            metavar="FILE",
            show_default=False,
            rich_help_panel=SERVER,
        ),
    ] = None,
    draft: Annotated[
        str | None,
        typer.Option(
            help="Smaller model that drafts tokens for this one to check, while one text is generated; changes no text.",
            autocompletion=model_names,
            metavar="MODEL",
            show_default=False,
            rich_help_panel=SERVER,
        ),
    ] = None,
    model: Model = None,
    provider: Provider = "auto",
    threads: Threads = 0,
    quiet: Quiet = False,
) -> None:
    """Serve a model over HTTP, with OpenAI's protocol and a page to play with it."""
    from gpt2xl import ExportError, LoadOptions, load

    try:
        from gpt2xl_serve.options import ServeOptions
        from gpt2xl_serve.server import Server
    except ModuleNotFoundError as missing:
        raise ExportError(
            f"serve needs `pip install 'gpt2xl[serve]'` ({missing.name} is not installed)."
        ) from None
    options = ServeOptions(
        host=host,
        port=port,
        rows=rows,
        queue=queue,
        prefix_cache=prefix_cache,
        api_key=api_key,
        no_auth=no_auth,
        cors=tuple(cors or ()),
        max_body=max_body,
        grace=grace,
        header_timeout=header_timeout,
        max_connections=max_connections,
        ignore_unknown=ignore_unknown,
        chat_template=chat_template,
    )
    folder = model_folder(model, quiet=quiet)
    loading = LoadOptions(provider=provider, threads=threads)
    load_draft = None
    if draft is not None:
        draft_folder = model_folder(draft, quiet=quiet)
        load_draft = partial(load, draft_folder, replace(loading, spinning=False))
    server = Server(
        partial(load, folder, loading), name or short_name(model, folder), options, load_draft
    )

    def announce() -> None:
        count = server.service.engine.batcher.rows
        texts = "one text" if count == 1 else f"{count} texts"
        echo_line(
            f"Serving {server.service.name} at {server.url}/v1 (page: {server.url}/),"
            f" {texts} at a time, {server.service.memory}. Ctrl-C ends it.",
            indent=2,
        )

    def say_what_runs() -> None:
        if (count := server.service.engine.load) and not quiet:
            texts = "1 text has" if count == 1 else f"{count} texts have"
            echo_line(f"Ending: {texts} {grace:g} seconds; Ctrl-C again ends at once.", err=True)

    with watch_kept():
        server.run(announce, say_what_runs)
