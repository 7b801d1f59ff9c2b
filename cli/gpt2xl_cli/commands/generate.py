"""gpt2xl generate."""

import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gpt2xl_cli.generating.closing import Closing, hint_lines, is_first_demo
from gpt2xl_cli.generating.output import Output
from gpt2xl_cli.generating.prompt import parsed_ids, prompt_text, read_prompt
from gpt2xl_cli.models import is_demo_by_default, model_folder
from gpt2xl_cli.options import (
    MODEL_PANEL,
    CudaGraph,
    GenerationConfig,
    Json,
    Model,
    Provider,
    Quiet,
    Threads,
    model_names,
)
from gpt2xl_cli.signals import cleaning_up
from gpt2xl_cli.terminal import echo_line, echo_note, has_colors, is_terminal
from gpt2xl_cli.text_options.layers import layers_of, options_over
from gpt2xl_cli.text_options.panels import PROMPT, REPORT
from gpt2xl_cli.text_options.spreading import spread
from gpt2xl_cli.text_options.text_options import TextOptions

if TYPE_CHECKING:
    import gpt2xl
    from gpt2xl.text.prompts import Prompt


@dataclass(frozen=True, kw_only=True)
class LoadingOptions:
    """The model and how it is loaded."""

    model: Model = None
    draft: Annotated[
        str | None,
        typer.Option(
            help="Smaller model that drafts tokens for this one to check; changes no text. A folder or"
            " name as for --model.",
            metavar="MODEL",
            show_default=False,
            autocompletion=model_names,
            rich_help_panel=MODEL_PANEL,
        ),
    ] = None
    prompt_cache: Annotated[
        Path | None,
        typer.Option(
            help="Save the KV cache of the prompt in this file; a later run whose prompt begins the same"
            " way starts from it.",
            show_default=False,
            rich_help_panel=MODEL_PANEL,
        ),
    ] = None
    generation_config: GenerationConfig = "model"
    provider: Provider = "auto"
    cuda_graph: CudaGraph = True
    threads: Threads = 0


@spread
def generate(
    prompt: Annotated[
        str | None,
        typer.Argument(
            help="Text to continue; without it, or with -, stdin is read and its final newline removed.",
            show_default=False,
        ),
    ] = None,
    *,
    text: TextOptions,
    prompt_file: Annotated[
        Path | None,
        PROMPT(
            "--prompt-file",
            "-f",
            help="Read the prompt from this file; its final newline is removed.",
        ),
    ] = None,
    ids: Annotated[bool, PROMPT("--ids", help="The prompt is token ids, not text.")] = False,
    echo: Annotated[
        bool,
        PROMPT("--echo/--no-echo", help="Print the prompt before the new text.", default="echo"),
    ] = True,
    as_json: Json = False,
    quiet: Quiet = False,
    jsonl: Annotated[
        bool,
        REPORT("--jsonl", help="Print one JSON object for each token, as soon as it is there."),
    ] = False,
    show_probs: Annotated[
        bool,
        REPORT(
            "--show-probs",
            help="Colour tokens by their probability, if stdout is a terminal with colours.",
        ),
    ] = False,
    stats: Annotated[
        bool,
        REPORT(
            "--stats",
            help="Print speed, accepted draft tokens and the reason of the end on stderr.",
        ),
    ] = False,
    verbose: Annotated[
        bool, REPORT("--verbose", help="Print the logits processors in their order on stderr.")
    ] = False,
    loading: LoadingOptions,
) -> None:
    """Continue a text.

    Options that are not given have the values of --preset, of the config file (gpt2xl config), of the model's
    generation_config.json, or the defaults stated here.
    """
    _refuse_together(("--json", as_json), ("--jsonl", jsonl), ("--show-probs", show_probs))
    layers = layers_of(text)
    given = read_prompt(prompt, prompt_file, quiet=quiet)
    content: Prompt = parsed_ids(given) if ids else given
    model, draft = _loaded(loading, quiet)
    options = options_over(model.defaults, layers)
    table = options.logprobs is not None or options.prompt_logprobs is not None
    if show_probs and has_colors(sys.stdout) and options.logprobs is None:
        options = replace(options, logprobs=0)
    if verbose:
        names = model.active_processors(content, options)
        echo_line(f"Logits processors: {', '.join(names) or 'none'}.", err=True)
    is_watched = is_terminal(sys.stdout) and is_terminal(sys.stderr)
    is_watched = is_watched and not (quiet or as_json or jsonl)
    output = Output(
        prompt_text(content, model.tokenizer), model.tokenizer,
        echo=echo, as_json=as_json, as_json_lines=jsonl, show_probs=show_probs, table=table,
        stats=stats, closing=Closing(options, model.config.n_positions) if is_watched else None,
    )  # fmt: skip
    with cleaning_up():
        _print(output, model, content, options, draft)
        if loading.prompt_cache:
            model.save_prompt(content, loading.prompt_cache, parse_special=options.parse_special)
    if is_watched and is_demo_by_default(loading.model) and is_first_demo():
        for line in hint_lines():
            echo_note(line)


def _print(
    output: Output,
    model: "gpt2xl.Model",
    prompt: "Prompt",
    options: "gpt2xl.GenerationOptions",
    draft: "gpt2xl.Model | None",
) -> None:
    from gpt2xl import RequestError
    from gpt2xl.searching import is_search

    if not is_search(options) and options.num_return_sequences == 1:
        output.print_stream(model.stream(prompt, options, draft=draft))
        return
    if output.as_json_lines:
        raise RequestError(
            "--jsonl streams one text: leave out num_return_sequences, num_beams and penalty_alpha, or use --json."
        )
    output.print_texts(model.generate_sequences(prompt, options, draft=draft))


def _loaded(loading: LoadingOptions, quiet: bool) -> "tuple[gpt2xl.Model, gpt2xl.Model | None]":
    """The model and the draft model."""
    import gpt2xl
    from gpt2xl_cli.batches.claim import refuse_existing

    options = gpt2xl.LoadOptions(
        provider=loading.provider,
        threads=loading.threads,
        cuda_graph=loading.cuda_graph,
        generation_config=loading.generation_config,
    )
    if loading.prompt_cache and not loading.prompt_cache.exists():
        refuse_existing(loading.prompt_cache, force=False)
    model = gpt2xl.load(model_folder(loading.model, quiet=quiet), options)
    draft = None
    if loading.draft is not None:
        folder = model_folder(loading.draft, quiet=quiet)
        draft = gpt2xl.load(folder, replace(options, spinning=False))
    if loading.prompt_cache and loading.prompt_cache.exists():
        model.load_prompt(loading.prompt_cache)
    return model, draft


def _refuse_together(*flags: tuple[str, bool]) -> None:
    given = [name for name, is_given in flags if is_given]
    if len(given) > 1:
        raise typer.BadParameter(f"cannot be combined with {given[1]}.", param_hint=given[0])
