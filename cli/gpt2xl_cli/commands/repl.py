"""gpt2xl repl."""

import sys
from dataclasses import replace

import typer

from gpt2xl_cli.models import model_folder
from gpt2xl_cli.options import GenerationConfig, Model, Provider, Threads
from gpt2xl_cli.signals import cleaning_up
from gpt2xl_cli.terminal import echo_line
from gpt2xl_cli.text_options.layers import layers_of, options_over
from gpt2xl_cli.text_options.spreading import spread
from gpt2xl_cli.text_options.text_options import OneText

NEW_TOKENS = 64
"""New tokens of a turn where no option says how many."""


@spread
def repl(
    *,
    text: OneText,
    model: Model = None,
    generation_config: GenerationConfig = "model",
    provider: Provider = "auto",
    threads: Threads = 0,
) -> None:
    """Write a text with a model at a prompt: continue, undo, try alternatives.

    There, /help lists all commands. Options are those of `gpt2xl generate`, and can be changed with /set.
    """
    import gpt2xl
    from gpt2xl.errors import system_reason

    check_terminal()
    try:
        import platformdirs

        from gpt2xl_cli.repl.console import TerminalPrompt
    except ModuleNotFoundError as missing:
        raise gpt2xl.RequestError(
            f"the prompt needs `pip install 'gpt2xl[cli]'` ({missing.name} is not installed)."
        ) from None
    from gpt2xl_cli.repl.history_file import history_file
    from gpt2xl_cli.repl.loop import run_loop
    from gpt2xl_cli.repl.state import ModelFacts, ReplState
    from gpt2xl_cli.repl.workspace import Workspace

    layers = layers_of(text)
    loaded = gpt2xl.load(
        model_folder(model),
        provider=provider,
        threads=threads,
        generation_config=generation_config,
    )
    options = options_over(loaded.defaults, layers)
    if options.max_new_tokens is None and options.max_length is None:
        options = replace(options, max_new_tokens=NEW_TOKENS)
    try:
        lines = history_file(platformdirs.user_state_path("gpt2xl"))
    except OSError as reason:
        echo_line(f"warning: the history is not kept: {system_reason(reason)}", err=True)
        lines = None
    prompt = TerminalPrompt(lines)
    work = Workspace(loaded, ReplState(ModelFacts.of(loaded), options), prompt)
    typer.echo("Type a text and press Enter; /help lists the commands, Ctrl-D ends.")
    with cleaning_up():
        run_loop(work, prompt)


def check_terminal() -> None:
    """Raise RequestError where there is nobody to type."""
    from gpt2xl import RequestError

    if any(stream is None or not stream.isatty() for stream in (sys.stdin, sys.stdout)):
        raise RequestError("repl needs a terminal: in a pipe or a script use `gpt2xl generate`.")
