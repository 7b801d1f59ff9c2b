"""Options that several commands share, each written once. This module imports nothing of ours when it is loaded.

The options of a text are in `gpt2xl_cli.text_options`.
"""

from contextlib import suppress
from pathlib import Path
from typing import Annotated, Literal

import typer

NAMED_MODELS = ("demo", "gpt2", "gpt2-medium", "gpt2-large", "gpt2-xl", "distilgpt2")
Precision = Literal["fp32", "fp16", "int8", "int8-weight", "int4", "fast", "int4-fp16", "auto"]
MODEL_PANEL, REPORT_PANEL = "Model", "Report"


def model_names(incomplete: str) -> list[str]:
    """Names of models, then folders, for the shell to complete."""
    names = [*NAMED_MODELS, *stored_names(incomplete)]
    with suppress(OSError, RuntimeError):  # there may be no home
        names += _folders(incomplete)
    return [name for name in dict.fromkeys(names) if name.startswith(incomplete)]


def _folders(incomplete: str) -> list[str]:
    """Folders that ``incomplete`` begins; only those that hold a model, or lead to one, unless it looks like a path."""
    place, slash, last = incomplete.rpartition("/")
    is_path = bool(slash) or incomplete[:1] in (".", "~")
    return [
        f"{place}{slash}{folder.name}"
        for folder in sorted(Path(place + slash).expanduser().iterdir())
        if folder.name.startswith(last)
        and (folder.name[0] != "." or last)
        and folder.is_dir()
        and (is_path or _has_model(folder))
    ]


def _has_model(folder: Path) -> bool:
    """Whether ``folder``, or one in it, is a bundle or a checkpoint."""
    return any(next(folder.glob(pattern), None) for pattern in ("config.json", "*/config.json"))


def stored_names(incomplete: str) -> list[str]:
    """Names of models on this machine, for the shell to complete."""
    names = list[str]()
    with suppress(OSError, ImportError):
        from gpt2xl_export.places import bundle_names, checkpoint_names, remembered_exports

        names = [*bundle_names(), *checkpoint_names(), *map(str, remembered_exports())]
    return [name for name in dict.fromkeys(names) if name.startswith(incomplete)]


ModelArgument = Annotated[
    str | None,
    typer.Argument(
        metavar="MODEL",
        help="The same as --model.",
        show_default=False,
        autocompletion=model_names,
    ),
]
Model = Annotated[
    str | None,
    typer.Option(
        "--model",
        "-m",
        help="Bundle folder, the name of a model on the hub (gpt2-xl), or demo.",
        metavar="MODEL",
        show_default="that of the config file, else demo",
        autocompletion=model_names,
        rich_help_panel=MODEL_PANEL,
    ),
]
Special = Annotated[
    bool,
    typer.Option(
        "--special/--no-special",
        help="Read special tokens such as <|endoftext|> in the text as tokens, not as ordinary"
        " characters; use --no-special for untrusted text.",
    ),
]
Provider = Annotated[
    Literal["auto", "cpu", "cuda"],
    typer.Option(
        help="Device to run on; auto: CUDA for a float16 bundle if CUDA works, else the CPU.",
        rich_help_panel=MODEL_PANEL,
    ),
]
CudaGraph = Annotated[
    bool,
    typer.Option(
        "--cuda-graph/--no-cuda-graph",
        help="On CUDA, capture a decode step once and replay it for each token.",
        rich_help_panel=MODEL_PANEL,
    ),
]
Threads = Annotated[
    int,
    typer.Option(
        help="Number of threads for each operator; 0 leaves it to onnxruntime, about one for each core.",
        rich_help_panel=MODEL_PANEL,
    ),
]
GenerationConfig = Annotated[
    Literal["model", "none"],
    typer.Option(
        help="Whether the model's generation_config.json sets the defaults of texts.",
        rich_help_panel=MODEL_PANEL,
    ),
]
Json = Annotated[
    bool,
    typer.Option(
        "--json", help="Print one JSON object instead of text.", rich_help_panel=REPORT_PANEL
    ),
]
Force = Annotated[bool, typer.Option("--force", help="Replace the output if it exists.")]
Quiet = Annotated[
    bool,
    typer.Option(
        "--quiet",
        "-q",
        help="No progress bars and notes on stderr; results, warnings and errors stay.",
        rich_help_panel=REPORT_PANEL,
    ),
]
