"""The bundle folder that --model means: a folder, the built-in demo, or a model on the hub."""

import os
from pathlib import Path

import typer

from gpt2xl_cli.config.file import default_model
from gpt2xl_cli.exporting import export_shown, show_note

DEMO_NOTE = (
    "Using the built-in demo, a tiny model of fairy tales."
    " For the real GPT-2 XL: gpt2xl generate -m gpt2-xl"
)


def model_folder(model: str | None) -> Path:
    """Find the bundle; None is the config file's, or the demo. Models with a name are exported at their first use.

    A path that exists is a folder even if it could be a name.
    """
    from gpt2xl.bundle.demo import DEMO
    from gpt2xl_export.named_models import bundle_of
    from gpt2xl_export.source.hub import is_hub_name

    model = default_model() if model is None else model
    if model is None:
        typer.echo(DEMO_NOTE, err=True)
    elif os.path.exists(model) or not (model == DEMO or is_hub_name(model)):
        return Path(model)
    with export_shown() as bars:
        return bundle_of(
            model or DEMO, bars.show_export, note=show_note, show_progress=bars.is_shown
        )
