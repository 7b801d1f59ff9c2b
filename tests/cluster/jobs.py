"""Jobs of the tests, and what they write."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from gpt2xl import LoadOptions, batch_udf
from gpt2xl_ray import Actors, JobSettings

ROOT = Path(__file__).parents[2]
PROMPTS = ["Once upon a time", "The king said", "One day the fox", "In the forest"]
ROWS, NEW_TOKENS, SEED = 96, 24, 5
Write = Callable[..., Path]
ONE = LoadOptions(threads=1)


class EndProcess:
    """A `stopping` that ends its process the first time it is called with a file of this name missing, or always."""

    def __init__(self, marker: Path | None) -> None:
        self._marker = marker

    def __call__(self, _: object) -> bool:
        if self._marker is None or not self._marker.exists():
            if self._marker is not None:
                self._marker.touch()
            os._exit(1)
        return False


class Slow:
    """A `stopping` that lets every token take a while, so that all actors get to work."""

    def __call__(self, _: object) -> bool:
        time.sleep(0.01)
        return False


def write_lines(path: Path, rows: int = ROWS) -> Path:
    """JSON lines whose ids are their numbers, so that `gpt2xl batch` has the same seeds."""
    values = [{"id": number, "prompt": f"{PROMPTS[number % 4]} {number}"} for number in range(rows)]
    path.write_text("".join(json.dumps(value) + "\n" for value in values))
    return path


def run_cli(*arguments: object) -> subprocess.Popen[str]:
    """Start gpt2xl."""
    command = [sys.executable, "-m", "gpt2xl", *map(str, arguments)]
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT
    )


def job(
    source: Path | str, out: Path | str, bundle: Path | str, actors: str, **options: Any
) -> JobSettings:
    """A job with the options of `local`."""
    kept = {name: options.pop(name) for name in ("part_rows", "force") if name in options}
    given: dict[str, Any] = {"seed": SEED, "max_new_tokens": NEW_TOKENS, "load": ONE} | options
    udf = batch_udf(str(bundle), **given)
    return JobSettings(str(source), str(out), udf, Actors.parse(actors), **kept)


def parts(out: Path) -> list[Path]:
    """The files of an output, in order."""
    return sorted(out.glob("part-*"))


def content(out: Path) -> bytes:
    """All of an output."""
    return b"".join(path.read_bytes() for path in parts(out))
