"""The built-in demo model, exported into the user's cache at its first use."""

from hashlib import sha256
from importlib.resources import files
from pathlib import Path

import platformdirs
import typer

import gpt2xl
from gpt2xl import ExportError

NOTE = (
    "Using the built-in demo, a tiny model of fairy tales. "
    "For the real GPT-2 XL: gpt2xl export FOLDER_OF_GPT2_XL my-gpt2-xl, then -m my-gpt2-xl."
)


def demo_checkpoint() -> Path:
    """Where the demo's checkpoint is: in the wheel, or in the checkout of an editable install."""
    installed = Path(str(files("gpt2xl_cli"))) / "models" / "demo"
    return installed if installed.is_dir() else Path(__file__).parents[2] / "models" / "demo"


def demo_bundle() -> Path:
    """The demo's bundle; says on stderr that it is the demo."""
    typer.echo(NOTE, err=True)
    checkpoint = demo_checkpoint()
    digest = sha256((checkpoint / "model.safetensors").read_bytes()).hexdigest()
    cache = platformdirs.user_cache_path("gpt2xl")
    bundle = cache / f"demo-{gpt2xl.__version__}-{digest[:12]}"
    if not (bundle / "gpt2xl.json").is_file():
        _export(checkpoint, bundle)
    return bundle


def _export(checkpoint: Path, bundle: Path) -> None:
    from gpt2xl_cli.export import run_export

    typer.echo(f"First use: exporting it to {bundle}", err=True)
    try:
        run_export(checkpoint, bundle)
    except ExportError:
        if not (bundle / "gpt2xl.json").is_file():  # else another process was faster
            raise
