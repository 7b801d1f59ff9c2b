"""Measure a bundle in a process of its own: peak memory is counted for a whole process."""

import json
import os
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

import typer

from gpt2xl import BundleError, Gpt2xlError, LoadOptions
from gpt2xl.speed import Speed, SpeedSizes, measure_speed
from gpt2xl_cli.signals import cleaning_up
from gpt2xl_cli.warning_lines import show_warning


def measure_in_process(
    folder: Path, load: LoadOptions, sizes: SpeedSizes, arrived: Callable[[Speed], None]
) -> list[str]:
    """Measure one bundle once in a new process.

    Args:
        folder: the bundle.
        load: how to load it.
        sizes: what to measure.
        arrived: called with each figure as soon as it is known.

    Returns:
        What the process has printed on stderr, by line.

    Raises:
        BundleError: the process failed; the message is its last line.
    """
    arguments = [str(folder), json.dumps(asdict(load)), json.dumps(asdict(sizes))]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    pipe = subprocess.PIPE
    with (
        cleaning_up(),
        subprocess.Popen(
            [sys.executable, "-m", __name__, *arguments],
            stdout=pipe, stderr=pipe, text=True, env=environment,
        ) as process,
        _killed_with(process),
    ):  # fmt: skip
        assert process.stdout is not None
        assert process.stderr is not None
        for line in process.stdout:
            arrived(Speed(**json.loads(line)))
        messages = process.stderr.read().strip().splitlines()
    if process.returncode:
        raise BundleError(messages[-1] if messages else f"measuring '{folder}' was killed.")
    return messages


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
    folder, load, sizes = sys.argv[1:]
    try:
        options, measured = LoadOptions(**json.loads(load)), SpeedSizes(**json.loads(sizes))
        for speed in measure_speed(Path(folder), options, measured):
            typer.echo(json.dumps(asdict(speed)))
            sys.stdout.flush()
    except Gpt2xlError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
