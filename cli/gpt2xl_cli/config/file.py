"""The config file: a table [defaults] and tables [presets.NAME], whose keys are options.

It is read as it stands; `gpt2xl_cli.text_options.layers` checks the options.
"""

import os
import tomllib
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gpt2xl_cli.config.presets import BUILT_IN, Table
from gpt2xl_cli.text_input import read_text_file

VARIABLE = "GPT2XL_CONFIG"
DEFAULTS, PRESETS, MODEL = "defaults", "presets", "model"


@dataclass(frozen=True)
class Config:
    """What the config file holds."""

    path: Path | None = None
    model: str | None = None
    """What --model is where nobody gives it; the key ``model`` of [defaults]."""
    defaults: Table = field(default_factory=dict)
    """Without ``model``."""
    presets: Mapping[str, Table] = field(default_factory=dict)
    """Those of the file."""

    def preset(self, name: str) -> Table:
        """A preset of the file, or a built-in one; raises RequestError."""
        known = {**BUILT_IN, **self.presets}
        if name not in known:
            from gpt2xl import RequestError

            raise RequestError(f"there is no preset '{name}'; {closest(name, known)}")
        return known[name]


def config_path() -> Path | None:
    """The file that GPT2XL_CONFIG names, else the one in the user's config folder; None where it is empty."""
    named = os.environ.get(VARIABLE)
    if named is not None:
        return Path(named) if named else None
    import platformdirs

    return platformdirs.user_config_path("gpt2xl") / "config.toml"


def read_config() -> Config:
    """The config file; an empty one where there is none.

    Raises:
        RequestError: it cannot be read, is not TOML, or has other tables.
    """
    path = config_path()
    if path is None or not os.path.lexists(path):
        return Config(path)
    return parsed(read_text_file(path), path)


def default_model() -> str | None:
    """The model of the config file, if it names one; raises RequestError as `read_config`."""
    return read_config().model


def parsed(text: str, path: Path) -> Config:
    """The config file of this text; raises RequestError as `read_config`."""
    from gpt2xl import RequestError

    try:
        content = tomllib.loads(text)
    except (ValueError, RecursionError) as reason:
        raise RequestError(f"'{path}' is not TOML: {reason}.") from None
    for name in content:
        if name not in (DEFAULTS, PRESETS):
            raise RequestError(
                f"'{path}' has '{name}' outside its tables: options belong into [defaults] or [presets.NAME]."
            )
    presets = _table(content.get(PRESETS, {}), path, PRESETS)
    defaults = _table(content.get(DEFAULTS, {}), path, DEFAULTS)
    model = defaults.pop(MODEL, None)
    if not isinstance(model, str | None):
        raise RequestError(f"'{path}', [defaults]: model has to be text, but is {model!r}.")
    return Config(
        path,
        model,
        defaults,
        {name: _table(table, path, f"{PRESETS}.{name}") for name, table in presets.items()},
    )


def _table(value: Any, path: Path, name: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        from gpt2xl import RequestError

        raise RequestError(f"'{path}': '{name}' has to be a table, [{name}].")
    return value


def closest(name: str, known: Mapping[str, object]) -> str:
    """What to say of a name that is not ``known``.

    >>> closest("topp", {"top-p": 1, "seed": 2}), closest("x", {"top-p": 1, "seed": 2})
    ("did you mean 'top-p'?", 'there are: top-p, seed')
    """
    from difflib import get_close_matches

    found = get_close_matches(name, known, 1, 0.5)
    return f"did you mean '{found[0]}'?" if found else f"there are: {', '.join(known)}"


def preset_names(incomplete: str) -> list[str]:
    """For the shell to complete; a file that cannot be read has none."""
    names = [*BUILT_IN]
    with suppress(OSError, ValueError, AttributeError, ImportError):
        if path := config_path():
            # Not `read_config`, whose errors import the whole library.
            names += tomllib.loads(path.read_text("utf-8")).get(PRESETS, {})
    return [name for name in dict.fromkeys(names) if name.startswith(incomplete)]
