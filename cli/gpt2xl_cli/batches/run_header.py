"""The first line of a resume file: what decides the texts of a run."""

import json
from dataclasses import fields
from hashlib import sha256
from pathlib import Path
from typing import Any

from gpt2xl import GenerationOptions
from gpt2xl.bundle.bundle import open_bundle
from gpt2xl.decoding.prompt_cache import bundle_id

RunHeader = dict[str, Any]
FORMAT_KEY, FORMAT = "gpt2xl batch", 1
IGNORED_IF_GREEDY = ("top_k", "temperature")


def run_header(content: str, folder: Path, options: GenerationOptions) -> RunHeader:
    """Describe a run by its input, its model and all its options.

    Args:
        content: the input.
        folder: the bundle; without a manifest, its path stands for the model.
        options: a seed of None is drawn later.
    """
    bundle = open_bundle(folder)
    has_hashes = bundle.manifest is not None and bundle.manifest.files
    return {
        FORMAT_KEY: FORMAT,
        "input": sha256(content.encode()).hexdigest(),
        "model": bundle_id(bundle) if has_hashes else str(folder.resolve()),
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
    """Every field as JSON gives it back, without those that a greedy text ignores."""
    values = {field.name: getattr(options, field.name) for field in fields(options)}
    values["greedy"] = not options.draws
    for name in IGNORED_IF_GREEDY if values["greedy"] else ():
        del values[name]
    read_back: dict[str, Any] = json.loads(json.dumps(values))
    return read_back


def _completed(header: RunHeader) -> RunHeader:
    """Add the options that did not exist when ``header`` was written: their defaults change no text."""
    found = dict(header)
    if "special" in found:  # an earlier name of parse_special
        found["parse_special"] = found.pop("special")
    return _option_values(GenerationOptions(greedy=bool(found.get("greedy")))) | found
