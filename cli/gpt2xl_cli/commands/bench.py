"""gpt2xl bench."""

import json
import math
import os
import subprocess
import sys
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gpt2xl_cli.options import Json, Provider, Threads, model_folder, show_warning
from gpt2xl_cli.signals import cleaning_up
from gpt2xl_cli.terminal import echo_line

if TYPE_CHECKING:
    from gpt2xl.speed import Speed

SAME_SPEED = 0.9  # a bundle this close to the fastest may win by exactness


def bench(
    models: Annotated[
        list[str] | None,
        typer.Argument(
            help="Bundle folders or models on the hub. Without one, the built-in demo.",
            metavar="[MODEL]...",
        ),
    ] = None,
    *,
    recommend: Annotated[
        bool, typer.Option("--recommend", help="Name the one to use of several bundles.")
    ] = False,
    picture: Annotated[
        Path | None,
        typer.Option(help="Draw the figures into this PNG.", show_default=False),
    ] = None,
    provider: Provider = "auto",
    threads: Threads = 0,
    as_json: Json = False,
) -> None:
    """Measure how fast bundles are on this machine, and how much memory they take."""
    from gpt2xl import RequestError

    folders = [model_folder(model) for model in models] if models else [model_folder(None)]
    if recommend and len(folders) < 2:
        raise RequestError("--recommend chooses among bundles: name two or more.")
    if picture:
        _check_matplotlib()
    options = [provider, str(threads)]
    results = {str(folder): _measure(folder, options) for folder in folders}
    if picture:
        from gpt2xl_cli.bench_picture import draw

        draw(results, picture)
    chosen = _recommended(results) if recommend else None
    if as_json:
        typer.echo(json.dumps({"bundles": results} | ({"recommended": chosen} if chosen else {})))
        return
    for folder, figures in results.items():
        echo_line(folder)
        typer.echo(as_table(figures))
    if chosen:
        echo_line(f"Recommended: {chosen}")


def _measure(folder: Path, options: list[str]) -> list[dict[str, Any]]:
    """In a process of its own: peak memory is a process's, and what runs before leaves traces."""
    from gpt2xl.errors import one_line

    command = [sys.executable, "-m", "gpt2xl_cli.commands.bench", str(folder), *options]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    figures = []
    with (
        cleaning_up(),
        subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
        ) as process,
        _killed_with(process),
    ):
        assert process.stdout is not None
        assert process.stderr is not None
        for line in process.stdout:
            figures.append(json.loads(line))
            if sys.stderr.isatty():
                told = one_line(f"{folder}: {label(figures[-1])}")
                typer.echo(f"\r\x1b[K{told}\r", err=True, nl=False)
        told = process.stderr.read().strip()
    if sys.stderr.isatty():
        typer.echo("\x1b[K", err=True, nl=False)
    if process.returncode:
        from gpt2xl import BundleError

        raise BundleError(told.splitlines()[-1] if told else f"measuring '{folder}' was killed.")
    if told:
        for line in told.splitlines():
            echo_line(line, err=True)
    return figures


@contextmanager
def _killed_with(process: "subprocess.Popen[str]") -> Iterator[None]:
    """End ``process``, too, when the block is ended."""
    try:
        yield
    except BaseException:
        process.kill()
        raise


def _recommended(results: Mapping[str, list[dict[str, Any]]]) -> str:
    """The fastest at decoding, or one nearly as fast that is nearer to its checkpoint."""
    from gpt2xl.bundle.bundle import open_bundle

    def exactness(folder: str) -> float:
        manifest = open_bundle(Path(folder)).manifest
        parity = manifest.parity if manifest else {}
        graph = parity.get("engine") or parity.get("portable") or {}
        return graph["whole"].mean_kl if "whole" in graph else math.inf

    speeds = {
        folder: next(f["value"] for f in figures if f["name"] == "decode")
        for folder, figures in results.items()
    }
    fastest = max(speeds.values())
    return min((f for f, s in speeds.items() if s >= SAME_SPEED * fastest), key=exactness)


def label(figure: dict[str, Any]) -> str:
    """Name and size of a figure."""
    sizes = {"prefill": "{} tokens", "decode": "after {} tokens", "batch": "{} rows"}
    size = sizes.get(figure["name"], "").format(figure["size"])
    return f"{figure['name']}, {size}" if size else figure["name"]


def as_table(figures: list[dict[str, Any]]) -> str:
    """A line a figure."""
    width = max(len(label(figure)) for figure in figures)
    return "\n".join(f"  {label(f):{width}}  {f['value']:10.2f} {f['unit']}" for f in figures)


def _check_matplotlib() -> None:
    try:
        import matplotlib  # noqa: F401
    except ImportError:
        from gpt2xl import RequestError

        raise RequestError("--picture needs `pip install 'gpt2xl[bench]'`.") from None


def main() -> None:
    """Of the process that measures: bundle, provider, threads."""
    import gpt2xl
    from gpt2xl.speed import measure_speed

    warnings.showwarning = show_warning
    folder, provider, threads = sys.argv[1:]
    speeds = measure_speed(
        Path(folder),
        provider=provider,  # type: ignore[arg-type]  # the command line has checked it
        threads=int(threads),
    )
    try:
        for speed in speeds:
            _tell(speed)
    except gpt2xl.Gpt2xlError as error:
        sys.exit(str(error))


def _tell(speed: "Speed") -> None:
    typer.echo(json.dumps(asdict(speed)))
    sys.stdout.flush()


if __name__ == "__main__":
    main()
