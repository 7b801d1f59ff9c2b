"""The first line of a resume file: what decides the texts of a run."""

from hashlib import sha256
from pathlib import Path
from typing import Any

from gpt2xl.bundle.bundle import open_bundle
from gpt2xl.decoding.prompt_cache import bundle_id

RunHeader = dict[str, Any]
FORMAT_KEY, FORMAT = "gpt2xl batch", 1


def run_header(
    content: str, folder: Path, options: dict[str, object], seed: int | None
) -> RunHeader:
    """Describe a run.

    Args:
        content: the input.
        folder: the bundle; without a manifest, its path stands for the model.
        options: those that decide the texts, without the seed.
        seed: of the first text; None to draw one.
    """
    bundle = open_bundle(folder)
    has_hashes = bundle.manifest is not None and bundle.manifest.files
    return {
        FORMAT_KEY: FORMAT,
        "input": sha256(content.encode()).hexdigest(),
        "model": bundle_id(bundle) if has_hashes else str(folder.resolve()),
        **options,
        "seed": seed,
    }


def is_header(values: dict[str, Any]) -> bool:
    """Whether this version wrote ``values`` as the first line of a resume file."""
    return values.get(FORMAT_KEY) == FORMAT and isinstance(values.get("seed"), int | None)


def differences(wanted: RunHeader, found: RunHeader) -> list[str]:
    """Name what makes ``found`` another run than ``wanted``, whose seed of None takes the seed found."""
    if wanted["seed"] is None and not wanted["greedy"]:
        wanted = wanted | {"seed": found.get("seed")}
    return [key for key in {**wanted, **found} if wanted.get(key) != found.get(key)]
