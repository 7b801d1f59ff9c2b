"""gpt2xl config."""

import json
from dataclasses import fields
from pathlib import Path
from typing import Annotated

import typer

from gpt2xl_cli.config.file import (
    DEFAULTS,
    MODEL,
    PRESETS,
    Config,
    config_path,
    parsed,
    preset_names,
    read_config,
)
from gpt2xl_cli.config.presets import BUILT_IN, Table
from gpt2xl_cli.options import Json
from gpt2xl_cli.terminal import echo_line
from gpt2xl_cli.text_options.conversion import option_name
from gpt2xl_cli.text_options.layers import field_of, options_over, table_layer, value_of_words
from gpt2xl_cli.text_options.text_options import TextOptions

app = typer.Typer(help="Show or change the defaults and presets of options.", add_completion=False)


def _keys(incomplete: str) -> list[str]:
    """For the shell to complete."""
    names = [MODEL, *(option_name(field.name) for field in fields(TextOptions))]
    return [name for name in names if name.startswith(incomplete) and name != "preset"]


Key = Annotated[
    str,
    typer.Argument(
        help="An option without its dashes, such as top-p; or model.",
        metavar="KEY",
        autocompletion=_keys,
    ),
]
Preset = Annotated[
    str | None,
    typer.Option(
        help="Change this preset, not the defaults.",
        metavar="NAME",
        show_default=False,
        autocompletion=preset_names,
    ),
]


@app.command(epilog='gpt2xl config path\ncat "$(gpt2xl config path)"')
def path() -> None:
    """Print the name of the config file, which need not exist."""
    typer.echo(_path())


@app.command(epilog="gpt2xl config show\ngpt2xl config show --json")
def show(*, as_json: Json = False) -> None:
    """Show what the config file sets; it is checked."""
    config = read_config()
    _check(config)
    tables = _tables(config)
    if as_json:
        typer.echo(json.dumps({"path": config.path and str(config.path), **tables}))
        return
    echo_line(f"# {config.path or 'no file: GPT2XL_CONFIG is empty'}")
    _print_table(DEFAULTS, tables[DEFAULTS])
    for name, table in config.presets.items():
        _print_table(f"{PRESETS}.{name}", table)


@app.command(epilog="gpt2xl config presets\ngpt2xl config presets --json")
def presets(*, as_json: Json = False) -> None:
    """List all presets, the built-in ones first, and what they set."""
    known = {**BUILT_IN, **read_config().presets}
    if as_json:
        typer.echo(json.dumps(known))
        return
    width = max(map(len, known))
    for name, table in known.items():
        echo_line(f"{name:{width}}  {_in_one_line(table)}")


@app.command(
    "set",
    epilog='gpt2xl config set temperature 0.7\ngpt2xl config set --preset short stop-strings "." "!"',
)
def set_(
    key: Key,
    values: Annotated[
        list[str], typer.Argument(help="Its value; several for a list.", metavar="VALUE")
    ],
    *,
    preset: Preset = None,
) -> None:
    """Set an option in the config file."""
    if key == MODEL:
        _change(key, _model_name(values, preset), preset)
    else:
        _change(option_name(field_of(key)), value_of_words(key, values), preset)


def _model_name(values: list[str], preset: str | None) -> str:
    from gpt2xl import RequestError

    if preset is not None:
        raise RequestError("a preset names no model: leave --preset out, or give -m.")
    if len(values) != 1:
        raise RequestError(f"model takes one value, but has {len(values)}.")
    return values[0]


@app.command(
    epilog="gpt2xl config unset temperature\ngpt2xl config unset --preset short stop-strings"
)
def unset(key: Key, *, preset: Preset = None) -> None:
    """Remove an option from the config file."""
    from gpt2xl import RequestError

    config = read_config()
    if (spelled := _spelling(config, key, preset)) is None:
        raise RequestError(f"'{config.path}' does not set {key} there.")
    _change(spelled, None, preset)


def _spelling(config: Config, key: str, preset: str | None) -> str | None:
    """How the file spells ``key``; None where it does not set it."""
    table = _tables(config)[DEFAULTS] if preset is None else config.presets.get(preset, {})
    name = key.replace("_", "-")
    return next((found for found in table if found.replace("_", "-") == name), None)


def _change(key: str, value: object | None, preset: str | None) -> None:
    """Write the file with one option changed; it is checked before."""
    from gpt2xl import RequestError
    from gpt2xl.files.atomic import locked, written_atomically
    from gpt2xl_cli.config.editing import edited

    file = _path()
    file.parent.mkdir(parents=True, exist_ok=True)
    with locked(file):
        config = read_config()
        text = file.read_text("utf-8") if file.exists() else ""
        table = [DEFAULTS] if preset is None else [PRESETS, preset]
        new = edited(text, table, _spelling(config, key, preset) or key, value)
        if new is None:
            raise RequestError(
                f"'{config.path}' is written in a way that cannot be changed here: edit it."
            )
        _check(parsed(new, file))
        with written_atomically(file) as temporary:
            temporary.write_text(new, "utf-8")
    echo_line(f"Wrote {file}.")


def _check(config: Config) -> None:
    """Raise RequestError for an option that does not exist, is out of its range, or clashes with another."""
    from gpt2xl import GenerationOptions

    defaults = table_layer(config.defaults, f"'{config.path}', [{DEFAULTS}]")
    options = options_over(GenerationOptions(), [defaults])
    for name, table in config.presets.items():
        options_over(options, [table_layer(table, f"'{config.path}', [{PRESETS}.{name}]")])


def _path() -> Path:
    from gpt2xl import RequestError

    if (found := config_path()) is None:
        raise RequestError(
            "there is no config file: GPT2XL_CONFIG is empty. Unset it, or name a file."
        )
    return found


def _tables(config: Config) -> dict[str, Table]:
    model = {} if config.model is None else {MODEL: config.model}
    return {DEFAULTS: {**model, **config.defaults}, PRESETS: config.presets}


def _print_table(name: str, table: Table) -> None:
    from gpt2xl_cli.config.editing import toml_value

    echo_line(f"[{name}]")
    for key, value in table.items():
        echo_line(f"{key} = {toml_value(value)}")


def _in_one_line(table: Table) -> str:
    from gpt2xl_cli.config.editing import toml_value

    return ", ".join(f"{key} {toml_value(value)}" for key, value in table.items())
