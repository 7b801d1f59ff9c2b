"""The bundle folder that --model means: a folder, the built-in demo, or a model on the hub."""

import os
from functools import partial
from pathlib import Path

import typer

from gpt2xl_cli.config.file import default_model
from gpt2xl_cli.exporting import export_shown

DEMO_NOTE = (
    "Using the built-in demo, a tiny model of fairy tales."
    " For the real GPT-2 XL: gpt2xl generate -m gpt2-xl"
)


def model_folder(model: str | None, *, quiet: bool = False) -> Path:
    """Find the bundle; None is the config file's, or the demo. Models with a name are exported at their first use.

    A path that exists is a folder even if it could be a name. ``quiet`` drops notes and progress bars.
    """
    from gpt2xl_export.named_models import DEMO, bundle_of
    from gpt2xl_export.source.hub import is_hub_name

    model = default_model() if model is None else model
    if model is None:
        _say_demo(quiet)
    elif os.path.exists(model) or not (model == DEMO or is_hub_name(model)):
        return Path(model)
    with export_shown(quiet=quiet) as bars:
        return bundle_of(model or DEMO, bars.show_export, note=partial(bars.say, always=True))


def _say_demo(quiet: bool) -> None:
    if not quiet:
        typer.echo(DEMO_NOTE, err=True)
