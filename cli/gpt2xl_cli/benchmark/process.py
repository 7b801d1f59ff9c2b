"""Measure each bundle in a process of its own: peak memory is counted for a whole process."""

import json
import os
import subprocess
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import IO

import typer

from gpt2xl import BundleError, Gpt2xlError, LoadOptions
from gpt2xl.errors import one_line
from gpt2xl.speed import Speed, measure_speed
from gpt2xl_cli.signals import cleaning_up
from gpt2xl_cli.terminal import echo_line
from gpt2xl_cli.warning_lines import show_warning


def measure_in_process(folder: Path, load: LoadOptions) -> list[Speed]:
    """Measure one bundle in a new process; on a terminal, stderr shows each figure as it arrives.

    Raises:
        BundleError: the process failed; the message is its last line.
    """
    command = [sys.executable, "-m", __name__, str(folder), json.dumps(asdict(load))]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    pipe = subprocess.PIPE
    with (
        cleaning_up(),
        subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True, env=environment) as process,
        _killed_with(process),
    ):
        assert process.stdout is not None
        assert process.stderr is not None
        speeds = list(_shown(folder, process.stdout))
        messages = process.stderr.read().strip().splitlines()
    if process.returncode:
        raise BundleError(messages[-1] if messages else f"measuring '{folder}' was killed.")
    for message in messages:
        echo_line(message, err=True)
    return speeds


def _shown(folder: Path, lines: IO[str]) -> Iterator[Speed]:
    """Read the figures; a line on the terminal names the last one and is removed at the end."""
    is_terminal = sys.stderr.isatty()
    for line in lines:
        speed = Speed(**json.loads(line))
        if is_terminal:
            typer.echo(f"\r\x1b[K{one_line(f'{folder}: {speed.label}')}\r", err=True, nl=False)
        yield speed
    if is_terminal:
        typer.echo("\x1b[K", err=True, nl=False)


@contextmanager
def _killed_with(process: "subprocess.Popen[str]") -> Iterator[None]:
    """Kill ``process`` if the block fails or a signal ends it."""
    try:
        yield
    except BaseException:
        process.kill()
        raise


def main() -> None:
    """Measure in this process and print a JSON line for each figure; arguments as in `measure_in_process`."""
    warnings.showwarning = show_warning
    folder, load = sys.argv[1:]
    try:
        for speed in measure_speed(Path(folder), LoadOptions(**json.loads(load))):
            typer.echo(json.dumps(asdict(speed)))
            sys.stdout.flush()
    except Gpt2xlError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
