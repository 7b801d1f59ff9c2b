"""The bundle folder that --model means: a folder, the built-in demo, or a model on the hub."""

import os
from functools import partial
from pathlib import Path

import typer

from gpt2xl_cli.config.file import default_model
from gpt2xl_cli.exporting import export_shown


def given_model(argument: str | None, option: str | None) -> str | None:
    """The model that a command is given as an argument or as --model; BadParameter for both."""
    if argument is not None and option is not None:
        raise typer.BadParameter(
            "cannot be combined with the argument MODEL.", param_hint="--model"
        )
    return option if argument is None else argument


def is_demo_by_default(model: str | None) -> bool:
    """Whether nobody has named a model."""
    return model is None and default_model() is None


def model_name(model: str | None) -> str:
    """The model as somebody has named it: here, in the config file, or nowhere, which is the demo."""
    return model or default_model() or "demo"


def short_name(model: str | None, folder: Path) -> str:
    """For tables: a hub name or demo as given, otherwise the name of the bundle's ``folder``."""
    name = model_name(model)
    return folder.absolute().name if folder == Path(name) else name


def model_folder(model: str | None, *, quiet: bool = False) -> Path:
    """Find the bundle; None is the config file's, or the demo. Models with a name are exported at their first use.

    A path that exists is a folder even if it could be a name. ``quiet`` drops notes and progress bars.

    Raises:
        BundleError: it is neither a folder nor a name.
    """
    from gpt2xl.bundle.demo import DEMO
    from gpt2xl_export.named_models import bundle_of
    from gpt2xl_export.source.hub import is_hub_name

    model = default_model() if model is None else model
    if model is not None and os.path.exists(model):
        return Path(model)
    if not (model in (None, DEMO) or is_hub_name(str(model))):
        raise _no_model(str(model))
    with export_shown(quiet=quiet, may_download=model not in (None, DEMO)) as bars:
        return bundle_of(model or DEMO, bars.show_export, note=partial(bars.say, always=True))


def _no_model(model: str) -> Exception:
    from gpt2xl import BundleError
    from gpt2xl.bundle.hints import did_you_mean
    from gpt2xl_export.named_models import known_names

    hint = did_you_mean(model, known_names())
    return BundleError(f"'{model}' is not a folder, nor the name of a model{hint}")
