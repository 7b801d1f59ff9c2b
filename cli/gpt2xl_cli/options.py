"""Options that commands share, and the input they share: a prompt or ids from arguments or stdin."""

import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Annotated, Literal

import typer

from gpt2xl_cli.terminal import echo_line

MAX_INPUT_BYTES = 512 << 20

Model = Annotated[
    str | None,
    typer.Option(
        "--model",
        "-m",
        help="Bundle folder, or a model on the hub (gpt2-xl). Without it, the built-in demo.",
        metavar="MODEL",
    ),
]
MaxNewTokens = Annotated[
    int, typer.Option("--max-new-tokens", "-n", help="Tokens to generate at most.")
]
TopK = Annotated[int, typer.Option(help="Sample from the k most probable tokens; 0: all.")]
Temperature = Annotated[float, typer.Option(help="0 is --greedy; higher is wilder.")]
Greedy = Annotated[bool, typer.Option("--greedy", help="Always take the most probable token.")]
Seed = Annotated[int | None, typer.Option(help="Same seed, same text.", show_default="random")]
Special = Annotated[
    bool,
    typer.Option(
        "--special/--no-special",
        help="Whether the text may spell special tokens such as <|endoftext|>; --no-special for untrusted text.",
    ),
]
Provider = Annotated[Literal["auto", "cpu", "cuda"], typer.Option(help="Where to run.")]
CudaGraph = Annotated[
    bool,
    typer.Option(
        "--cuda-graph/--no-cuda-graph",
        help="On CUDA, capture the step that makes a token and replay it.",
    ),
]
Threads = Annotated[int, typer.Option(help="Threads for one operator; 0: all cores.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
Force = Annotated[bool, typer.Option("--force", help="Replace what is there.")]


def read_stdin() -> str:
    """All of stdin, which has to be UTF-8."""
    from gpt2xl import RequestError

    if sys.stdin is None:
        raise RequestError("there is no stdin to read from.")
    if sys.stdin.isatty():
        typer.echo("Reading from the terminal; end with Ctrl-D.", err=True)
    return decoded(read_limited(sys.stdin.buffer, "stdin"), "stdin")


def read_limited(file: IO[bytes], name: str) -> bytes:
    """All that ``file`` gives; ``name`` is for the error. A device gives without end."""
    from gpt2xl import RequestError

    content = file.read(MAX_INPUT_BYTES + 1)
    if len(content) > MAX_INPUT_BYTES:
        raise RequestError(
            f"{name} is larger than {MAX_INPUT_BYTES >> 20} MB: take it in several parts."
        )
    return content


def decoded(content: bytes, name: str) -> str:
    """The text that ``content`` is the UTF-8 of, less a byte order mark; ``name`` is for the error."""
    from gpt2xl import RequestError

    try:
        return content.decode("utf-8").removeprefix("\ufeff")
    except UnicodeDecodeError as reason:
        raise RequestError(
            f"{name} is not UTF-8: byte 0x{content[reason.start]:02x} at offset {reason.start}."
        ) from None


def text_or_stdin(text: str | None) -> str:
    """``text``, or stdin when it is absent or "-"."""
    return read_stdin() if text is None or text == "-" else text


def model_folder(model: str | None) -> Path:
    """The folder that ``--model`` means."""
    from gpt2xl_cli.models import demo_bundle, hub_bundle
    from gpt2xl_export.source.hub import is_hub_name

    if model is None:
        return demo_bundle()
    return hub_bundle(model) if is_hub_name(model) and not Path(model).exists() else Path(model)


def show_warning(message: Warning | str, *_: object, **__: object) -> None:
    """In place of Python's own, which names files and lines."""
    echo_line(f"warning: {message}", err=True)


@contextmanager
def warnings_collected() -> Iterator[list[str]]:
    """Warnings of the block, for a summary at its end; if it fails they are shown before the error."""
    collected, usual = list[str](), warnings.showwarning
    warnings.showwarning = lambda message, *_, **__: collected.append(str(message))
    try:
        yield collected
    except BaseException:
        for message in collected:
            show_warning(message)
        raise
    finally:
        warnings.showwarning = usual
