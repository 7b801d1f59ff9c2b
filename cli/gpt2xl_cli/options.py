"""Options that several commands share, each written once. This module imports nothing of ours."""

from typing import Annotated, Literal

import typer

Model = Annotated[
    str | None,
    typer.Option(
        "--model",
        "-m",
        help="Bundle folder, the name of a model on the hub (gpt2-xl), or demo. Default: the built-in demo.",
        metavar="MODEL",
        show_default=False,
    ),
]
MaxNewTokens = Annotated[
    int, typer.Option("--max-new-tokens", "-n", help="Maximum number of tokens to generate.")
]
TopK = Annotated[
    int, typer.Option(help="Sample from the k most likely tokens; 0 samples from all tokens.")
]
Temperature = Annotated[
    float,
    typer.Option(help="Higher values give more varied text; 0 is the same as --greedy."),
]
Greedy = Annotated[
    bool, typer.Option("--greedy", help="Always take the most likely token; nothing is random.")
]
Seed = Annotated[
    int | None,
    typer.Option(help="The same seed gives the same text again.", show_default="random"),
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
        help="Device to run on; auto: CUDA for a float16 bundle if CUDA works, else the CPU."
    ),
]
CudaGraph = Annotated[
    bool,
    typer.Option(
        "--cuda-graph/--no-cuda-graph",
        help="On CUDA, capture a decode step once and replay it for each token.",
    ),
]
Threads = Annotated[
    int,
    typer.Option(
        help="Number of threads for each operator; 0 leaves it to onnxruntime, about one for each core."
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object instead of text.")]
Force = Annotated[bool, typer.Option("--force", help="Replace the output if it exists.")]
