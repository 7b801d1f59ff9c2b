"""Models that need no export by hand: the built-in demo, and those on the hub, in the user's cache."""

import os
import time
from hashlib import sha256
from importlib.resources import files
from pathlib import Path

import platformdirs
import typer

import gpt2xl
from gpt2xl import BusyError, ExportError
from gpt2xl_cli.terminal import echo_line

NOTE = (
    "Using the built-in demo, a tiny model of fairy tales."
    " For the real GPT-2 XL: gpt2xl generate -m gpt2-xl"
)
POLL_SECONDS = 0.2
HUB_PRECISION = "int8"  # nearly exact, a quarter of the size


def cache_folder() -> Path:
    """What GPT2XL_CACHE names, else gpt2xl's folder in the user's cache."""
    named = os.environ.get("GPT2XL_CACHE")
    return Path(named) if named else platformdirs.user_cache_path("gpt2xl")


def demo_checkpoint() -> Path:
    """Where the demo's checkpoint is: in the wheel, or in the checkout of an editable install."""
    installed = Path(str(files("gpt2xl_cli"))) / "models" / "demo"
    return installed if installed.is_dir() else Path(__file__).parents[2] / "models" / "demo"


def demo_bundle() -> Path:
    """The demo's bundle, exported at its first use; says on stderr that it is the demo."""
    typer.echo(NOTE, err=True)
    checkpoint = demo_checkpoint()
    digest = sha256((checkpoint / "model.safetensors").read_bytes()).hexdigest()
    return _cached(f"demo-{gpt2xl.__version__}-{digest[:12]}", str(checkpoint), "fp32")


def hub_bundle(name: str) -> Path:
    """The bundle of a model on the hub, downloaded and exported at its first use."""
    folder = f"{name.replace('/', '--')}-{HUB_PRECISION}-{gpt2xl.__version__}"
    return _cached(folder, name, HUB_PRECISION)


def _cached(folder: str, source: str, precision: str) -> Path:
    from gpt2xl_cli.commands.export import missing_extra_explained, run_export

    bundle = cache_folder() / folder
    if (bundle / "gpt2xl.json").is_file():
        return bundle
    with missing_extra_explained():
        from gpt2xl_export.options import ExportOptions
    if Path(source).is_dir():  # a download says what it does once it knows
        echo_line(f"First use: exporting {source} as {precision} to {bundle}", err=True)
    told = False
    while not (bundle / "gpt2xl.json").is_file():
        try:
            run_export(source, bundle, ExportOptions(precision))
        except BusyError:
            if not told:
                echo_line(f"Waiting for another gpt2xl, which is making {bundle}", err=True)
            told = True
            time.sleep(POLL_SECONDS)
        except ExportError:
            if not (bundle / "gpt2xl.json").is_file():  # else another process was faster
                raise
    return bundle
