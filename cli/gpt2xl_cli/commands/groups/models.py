"""gpt2xl models."""

import json
import sys
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from gpt2xl_cli.exporting import missing_extra_explained
from gpt2xl_cli.options import Json, stored_names
from gpt2xl_cli.signals import cleaning_up
from gpt2xl_cli.terminal import echo_line

if TYPE_CHECKING:
    from gpt2xl_export.inventory.stored import StoredModel

app = typer.Typer(help="List, find and remove the models on this machine.", add_completion=False)

NO_MODELS = (
    "There are no models on this machine yet. `gpt2xl generate` makes the demo's bundle,"
    " `gpt2xl generate -m gpt2-xl` downloads GPT-2 XL (6.4 GB)."
)
SHARED = "Other programs, such as transformers, use the checkpoints, too."
NO_HUB = "The hub's cache is not listed: that needs `pip install 'gpt2xl[hub]'`."
Only = Annotated[
    Literal["bundle", "checkpoint"] | None,
    typer.Option(help="Only the bundle, or only the checkpoint of that name.", show_default=False),
]


@app.callback(invoke_without_command=True)
def models(context: typer.Context, *, as_json: Json = False) -> None:
    """List the models on this machine: bundles, and GPT-2 checkpoints in the hub's cache."""
    if context.invoked_subcommand is not None:
        return
    with missing_extra_explained():
        from gpt2xl_export.inventory.hub_cache import is_readable
        from gpt2xl_export.inventory.listing import stored_models
        from gpt2xl_export.places import cache_folder
        from gpt2xl_export.source.disk_space import free_space, size_text

    stored = stored_models()
    if as_json:
        rows = [{**vars(model), "folder": str(model.folder)} for model in stored]
        total = sum(model.size for model in stored)
        content = {"cache": str(cache_folder()), "size": total, "free": free_space(cache_folder())}
        typer.echo(json.dumps({**content, "hub_is_listed": is_readable(), "models": rows}))
        return
    for line in _table(stored) if stored else [NO_MODELS]:
        echo_line(line)
    if stored:
        free = size_text(free_space(cache_folder()))
        echo_line(f"{free} are free; `gpt2xl models rm NAME` removes a model.")
    if not is_readable():
        echo_line(NO_HUB, indent=0)


@app.command(epilog="gpt2xl models rm my-gpt2\ngpt2xl models rm --leftovers --yes")
def rm(
    names: Annotated[
        list[str] | None,
        typer.Argument(
            help="Models as `gpt2xl models` names them, or folders of bundles.",
            metavar="NAME",
            show_default=False,
            autocompletion=stored_names,
        ),
    ] = None,
    *,
    only: Only = None,
    leftovers: Annotated[
        bool,
        typer.Option("--leftovers", help="Remove what interrupted exports have left, too."),
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Remove models from this machine: the bundle and the checkpoint of each name. It shows them and asks."""
    if not names and not leftovers:
        raise typer.BadParameter("name a model, or give --leftovers.")
    with missing_extra_explained():
        from gpt2xl_export.inventory.listing import find_models, stored_models
        from gpt2xl_export.inventory.removal import check_removable

    chosen = [model for name in names or () for model in find_models(name, only)]
    if leftovers:
        chosen += [model for model in stored_models() if model.kind == "unfinished"]
    chosen = sorted({model.folder: model for model in chosen}.values(), key=lambda m: -m.size)
    for model in chosen:
        check_removable(model)
    if not chosen:
        echo_line("There are no leftovers.")
    elif yes or _is_confirmed(chosen):
        _remove(chosen)
    else:
        echo_line("Nothing was removed.")
        raise typer.Exit(1)


@app.command(epilog="gpt2xl models where\ngpt2xl models where demo")
def where(
    name: Annotated[
        str | None,
        typer.Argument(
            help="A model; without it the folder of gpt2xl's cache is printed.",
            show_default=False,
            autocompletion=stored_names,
        ),
    ] = None,
    *,
    only: Only = None,
) -> None:
    """Print the folder of a model: that of its bundle, or else of its checkpoint."""
    with missing_extra_explained():
        from gpt2xl_export.inventory.listing import find_models
        from gpt2xl_export.places import cache_folder

    folder = cache_folder() if name is None else find_models(name, only)[0].folder
    typer.echo(folder)


def _is_confirmed(chosen: "list[StoredModel]") -> bool:
    """Show what is chosen and ask; raises BadParameter where nobody can answer."""
    if sys.stdin is None or not sys.stdin.isatty():
        raise typer.BadParameter("there is no terminal to ask on: add --yes.")
    for line in _table(chosen):
        echo_line(line)
    if any(model.kind == "checkpoint" for model in chosen):
        echo_line(SHARED, indent=0)
    return typer.confirm("Remove?")


def _remove(chosen: "list[StoredModel]") -> None:
    from gpt2xl import BusyError
    from gpt2xl_export.inventory.removal import remove
    from gpt2xl_export.source.disk_space import size_text

    freed = 0
    for model in chosen:
        try:
            with cleaning_up():
                freed += remove(model)
        except BusyError as busy:
            if model.kind != "unfinished":
                raise
            echo_line(f"Left alone: {busy}", err=True)
    echo_line(f"Freed {size_text(freed)}.")


def _table(stored: "list[StoredModel]") -> list[str]:
    """A line for each model, with names last, since they may be long; then the sum."""
    from gpt2xl.bundle.demo import demo_bundle
    from gpt2xl_export.source.disk_space import size_text

    rows = [("size", "precision", "last read", "kind", "name")]
    for model in stored:
        day, kind = _day(model.last_read), model.kind
        shown = "built in" if model.folder == demo_bundle() else kind
        rows.append((size_text(model.size), model.precision or "-", day, shown, model.name))
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    total = size_text(sum(model.size for model in stored))
    sizes, *others = widths
    lines = [
        "  ".join([row[0].rjust(sizes), *map(str.ljust, row[1:4], others), row[4]]) for row in rows
    ]
    return [*lines, f"{total:>{sizes}}  in all"]


def _day(seconds: float) -> str:
    """How many days ago that was, or the date."""
    from datetime import date

    days = (date.today() - date.fromtimestamp(seconds)).days
    words = {0: "today", 1: "yesterday"}
    if days > 30:
        return date.fromtimestamp(seconds).isoformat()
    return words.get(days, f"{days} days ago")
