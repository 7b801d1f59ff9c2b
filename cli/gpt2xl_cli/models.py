"""The bundle that --model means: a folder, the built-in demo, or a model on the hub in the user's cache."""

import os
import time
from hashlib import sha256
from importlib.resources import files
from pathlib import Path

import platformdirs
import typer

from gpt2xl_cli.exporting import missing_extra_explained, run_export
from gpt2xl_cli.terminal import echo_line

NOTE = (
    "Using the built-in demo, a tiny model of fairy tales."
    " For the real GPT-2 XL: gpt2xl generate -m gpt2-xl"
)
POLL_SECONDS = 0.2
HUB_PRECISION = "int8"  # nearly exact, a quarter of the size


def model_folder(model: str | None) -> Path:
    """The bundle folder that ``--model`` means; None is the demo. An existing path is never a hub name."""
    from gpt2xl_export.source.hub import is_hub_name

    if model is None:
        return demo_bundle()
    return hub_bundle(model) if is_hub_name(model) and not Path(model).exists() else Path(model)


def cache_folder() -> Path:
    """The folder that GPT2XL_CACHE names, else gpt2xl's folder in the user's cache."""
    named = os.environ.get("GPT2XL_CACHE")
    return Path(named) if named else platformdirs.user_cache_path("gpt2xl")


def demo_checkpoint() -> Path:
    """The demo's checkpoint folder: in the wheel, or in the checkout of an editable install."""
    installed = Path(str(files("gpt2xl_cli"))) / "models" / "demo"
    return installed if installed.is_dir() else Path(__file__).parents[2] / "models" / "demo"


def demo_bundle() -> Path:
    """Export the demo at its first use; prints a note on stderr that this is the demo."""
    from gpt2xl import __version__

    typer.echo(NOTE, err=True)
    checkpoint = demo_checkpoint()
    digest = sha256((checkpoint / "model.safetensors").read_bytes()).hexdigest()
    return _cached(f"demo-{__version__}-{digest[:12]}", str(checkpoint), "fp32")


def hub_bundle(name: str) -> Path:
    """Download and export a model on the hub at its first use."""
    from gpt2xl import __version__

    folder = f"{name.replace('/', '--')}-{HUB_PRECISION}-{__version__}"
    return _cached(folder, name, HUB_PRECISION)


def _cached(folder: str, source: str, precision: str) -> Path:
    from gpt2xl import BusyError, ExportError

    bundle = cache_folder() / folder
    if (bundle / "gpt2xl.json").is_file():
        return bundle
    with missing_extra_explained():
        from gpt2xl_export.output.graphs import ExportOptions
    if Path(source).is_dir():  # a download prints its own line
        echo_line(f"First use: exporting {source} as {precision} to {bundle}", err=True)
    is_told = False
    while not (bundle / "gpt2xl.json").is_file():
        try:
            run_export(source, bundle, ExportOptions(precision))
        except BusyError:
            if not is_told:
                echo_line(f"Waiting for another gpt2xl, which is making {bundle}", err=True)
            is_told = True
            time.sleep(POLL_SECONDS)
        except ExportError:
            if not (bundle / "gpt2xl.json").is_file():  # else another process was faster
                raise
    return bundle
