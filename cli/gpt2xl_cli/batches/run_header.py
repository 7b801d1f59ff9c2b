"""The first line of a resume file: what decides the texts of a run."""

import json
from collections.abc import Mapping
from dataclasses import asdict, fields
from hashlib import sha256
from pathlib import Path
from typing import Any

from gpt2xl import GenerationOptions, Grammar
from gpt2xl.bundle.bundle import open_bundle
from gpt2xl.options.orders import SHAPES
from gpt2xl.preparing import NEW_TOKENS
from gpt2xl_cli.resuming.model_key import model_key

RunHeader = dict[str, Any]
FORMAT_KEY, FORMAT = "gpt2xl batch", 1
WITHOUT_EFFECT = {"do_sample": None, "prompt_lookup": True}
"""What is in every header as it is here: ``greedy`` says whether anything is drawn, and drafts change no text."""
SHAPE_OPTIONS = (
    *SHAPES, "top_k_keeps_ties", "dynatemp_range", "dynatemp_exponent", "xtc_threshold", "mirostat_tau",
    "mirostat_eta",
)  # fmt: skip
"""What only shapes a draw."""


def run_header(content: str, folder: Path, options: GenerationOptions) -> RunHeader:
    """Describe a run by its input, its model and all its options.

    Args:
        content: the input.
        folder: the bundle; without a manifest, its path stands for the model.
        options: a seed of None is drawn later.
    """
    return {
        FORMAT_KEY: FORMAT,
        "input": sha256(content.encode()).hexdigest(),
        "model": model_key(open_bundle(folder)),
        **_option_values(options),
    }


def is_header(values: dict[str, Any]) -> bool:
    """Whether ``values`` are the first line of a resume file that this version can read."""
    return values.get(FORMAT_KEY) == FORMAT and isinstance(values.get("seed"), int | None)


def differences(wanted: RunHeader, found: RunHeader) -> list[str]:
    """Name what makes ``found`` another run than ``wanted``; a wanted seed of None takes the one found."""
    if wanted["seed"] is None and not wanted["greedy"]:
        wanted = wanted | {"seed": found.get("seed")}
    found = _completed(found)
    return [key for key in {**wanted, **found} if wanted.get(key) != found.get(key)]


def _option_values(options: GenerationOptions) -> dict[str, Any]:
    """Every field as JSON gives it back, without those that have no effect."""
    values = {
        field.name: _with_text_keys(getattr(options, field.name)) for field in fields(options)
    }
    values["greedy"] = not options.draws
    if options.max_new_tokens is None and options.max_length is None:
        values["max_new_tokens"] = NEW_TOKENS
    if values["greedy"]:
        values["seed"] = None
    # Contrastive search has a use for top_k.
    unused = SHAPE_OPTIONS if values["greedy"] and not options.penalty_alpha else ()
    for name in unused:
        del values[name]
    read_back: dict[str, Any] = json.loads(json.dumps(values | WITHOUT_EFFECT, default=_as_json))
    return read_back


def _with_text_keys(value: object) -> object:
    """A mapping as pairs: JSON has no ids as keys."""
    return [*value.items()] if isinstance(value, Mapping) else value


def _as_json(value: object) -> object:
    if isinstance(value, Grammar):
        return asdict(value)
    raise TypeError(f"{value!r} is not an option of a command.")


def _completed(header: RunHeader) -> RunHeader:
    """Add the options that did not exist when ``header`` was written: their defaults change no text."""
    found = dict(header)
    if "special" in found:  # an earlier name of parse_special
        found["parse_special"] = found.pop("special")
    return _option_values(GenerationOptions(greedy=bool(found.get("greedy")))) | found
