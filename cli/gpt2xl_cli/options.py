"""Options that several commands share, each written once. This module imports nothing of ours.

The options of a text are in `gpt2xl_cli.text_options`.
"""

from pathlib import Path
from typing import Annotated, Literal

import typer

NAMED_MODELS = ("demo", "gpt2", "gpt2-medium", "gpt2-large", "gpt2-xl", "distilgpt2")
PRECISIONS = ("fp32", "fp16", "int8", "int8-weight", "int4", "int4-fp16")
MODEL_PANEL, REPORT_PANEL = "Model", "Report"


def model_names(incomplete: str) -> list[str]:
    """Names of models, and folders, for the shell to complete."""
    start = Path(incomplete).parent if incomplete else Path()
    names = [name for name in NAMED_MODELS if name.startswith(incomplete)]
    try:
        folders = sorted(str(path) for path in start.iterdir() if path.is_dir())
    except OSError:
        folders = []
    return names + [folder for folder in folders if folder.startswith(incomplete)]


def precision_names(incomplete: str) -> list[str]:
    """Precisions, for the shell to complete."""
    return [name for name in PRECISIONS if name.startswith(incomplete)]


Model = Annotated[
    str | None,
    typer.Option(
        "--model",
        "-m",
        help="Bundle folder, the name of a model on the hub (gpt2-xl), or demo. Default: that of the config"
        " file, or the built-in demo.",
        metavar="MODEL",
        show_default=False,
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
