"""gpt2xl repl."""

import sys

import typer

from gpt2xl_cli.models import model_folder
from gpt2xl_cli.options import Greedy, MaxNewTokens, Model, Seed, Temperature, Threads, TopK
from gpt2xl_cli.signals import cleaning_up
from gpt2xl_cli.terminal import echo_line


def repl(
    *,
    model: Model = None,
    max_new_tokens: MaxNewTokens = 64,
    top_k: TopK = 40,
    temperature: Temperature = 0.8,
    greedy: Greedy = False,
    seed: Seed = None,
    threads: Threads = 0,
) -> None:
    """Write a text with a model at a prompt: continue, undo, try alternatives. /help there lists all."""
    import gpt2xl

    check_terminal()
    try:
        import platformdirs

        from gpt2xl_cli.repl.console import TerminalPrompt
    except ModuleNotFoundError as missing:
        raise gpt2xl.RequestError(
            f"the prompt needs `pip install 'gpt2xl[repl]'` ({missing.name} is not installed)."
        ) from None
    from gpt2xl_cli.repl.history_file import history_file
    from gpt2xl_cli.repl.loop import run_loop
    from gpt2xl_cli.repl.state import ModelFacts, ReplState
    from gpt2xl_cli.repl.workspace import Workspace

    loaded = gpt2xl.load(model_folder(model), threads=threads)
    options = gpt2xl.GenerationOptions(
        max_new_tokens=max_new_tokens, top_k=top_k, temperature=temperature, greedy=greedy, seed=seed
    )  # fmt: skip
    try:
        lines = history_file(platformdirs.user_state_path("gpt2xl"))
    except OSError as reason:
        echo_line(f"warning: the history is not kept: {reason}", err=True)
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
