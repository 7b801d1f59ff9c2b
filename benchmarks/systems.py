"""The systems of a comparison, and one run of one of them in a process of its own."""

import json
import os
import subprocess
import sys
import time
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from figures import Case, Figure

HERE = Path(__file__).parent


@dataclass(frozen=True)
class System:
    """A model and the adapter that runs it."""

    name: str
    command: list[str]
    """The interpreter, the adapter, the model and the adapter's own options."""
    model: Path
    folder: Path
    """Where the command runs: relative paths in it start here."""
    ours: bool = False

    @property
    def weights(self) -> int:
        """Bytes of the model's largest file."""
        files = [self.model, *self.model.rglob("*")]
        return max(path.stat().st_size for path in files if path.is_file())


@dataclass(frozen=True)
class Settings:
    """Settings that all runs of a comparison share."""

    new: int
    threads: int
    vocabulary: int
    seconds: float
    """A run that takes longer is stopped."""


def our_system(bundle: str, python: str) -> System:
    """``NAME=FOLDER`` or ``FOLDER``, named by its last part."""
    name, _, folder = bundle.rpartition("=")
    model = Path(folder).resolve()
    command = [python, str(HERE / "peers" / "ours.py"), str(model)]
    return System(name or model.name, command, model, Path.cwd(), ours=True)


def read_peers(path: Path) -> list[System]:
    """The peers of a TOML file, a table each; benchmarks/README.md shows one."""
    tables = tomllib.loads(path.read_text())
    return [_peer(name, table, path.resolve().parent) for name, table in tables.items()]


def _peer(name: str, table: dict[str, Any], folder: Path) -> System:
    adapter = str(HERE / "peers" / table["adapter"])
    command = [table["program"], adapter, table["model"], *table.get("options", [])]
    return System(name, command, folder / table["model"], folder)


def run(system: System, case: Case, settings: Settings, round_: int) -> Figure | None:
    """Run a new process; None if the system fails, with the reason on stderr."""
    bandwidth = read_rate(settings.threads)
    started = time.time()
    line = _last_line(system, [*system.command, *_options(case, settings)], settings.seconds)
    if line is None:
        return None
    values = json.loads(line)
    start_s = values.pop("warm_at") - started
    of_bandwidth = system.weights * values["decode_tok_s"] / case.rows / bandwidth
    return Figure(
        system=system.name,
        ours=system.ours,
        round=round_,
        prompt=case.prompt,
        rows=case.rows,
        start_s=start_s,
        of_bandwidth=of_bandwidth,
        **values,
    )


def read_rate(threads: int) -> float:
    """Bytes a second; measured elsewhere, since a child's peak memory includes its parent's."""
    command = [sys.executable, str(HERE / "bandwidth.py"), "--threads", str(threads)]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def _options(case: Case, settings: Settings) -> list[str]:
    options = {"prompt": case.prompt, "rows": case.rows, "new": settings.new}
    options |= {"threads": settings.threads, "vocabulary": settings.vocabulary}
    return [part for name, value in options.items() for part in (f"--{name}", str(value))]


def _last_line(system: System, command: list[str], seconds: float) -> str | None:
    environment = dict(os.environ)
    if not system.ours:
        environment.pop("PYTHONPATH", None)
    try:
        done = subprocess.run(
            command,
            cwd=system.folder,
            env=environment,
            timeout=seconds,
            check=True,
            capture_output=True,
            text=True,
        )
    except (subprocess.SubprocessError, OSError) as reason:
        _explain(system.name, reason)
        return None
    return done.stdout.splitlines()[-1]


def _explain(name: str, reason: Exception) -> None:
    said = (getattr(reason, "stderr", "") or "").strip().splitlines()
    print(f"{name}: {said[-1] if said else reason}", file=sys.stderr)
