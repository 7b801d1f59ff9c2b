"""Kill the real command at random moments, run it again, and check what is left.

    python tests/stress/kills.py --rounds 150

Each round starts a command on a tiny model in a folder of its own, sends it a signal after a random part
of the time that it takes undisturbed, checks that what was there before is whole, runs the same command
again, and compares the result with that of an undisturbed run. Exit status 1: something was wrong. It
is run by hand: some seconds a round.
"""

import argparse
import filecmp
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from zipfile import BadZipFile

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[2]))
from tests.conftest import write_checkpoint

SIGNALS = ("SIGKILL", "SIGTERM", "SIGHUP", "SIGINT")
LINES = {
    signal.SIGTERM: b"error: terminated",
    signal.SIGHUP: b"error: hung up",
    signal.SIGINT: b"error: interrupted",
}
COLUMNS = {
    "killed": "ended by the signal, not by itself",
    "early": "of those, while Python itself started, before any code of gpt2xl",
    "untidy": "ended by a signal that can be handled, but without its line and exit status",
    "before": "what was there before was not whole after the kill",
    "left": "something was left beside the output after the kill",
    "left2": "something was left beside the output after the next run",
    "wrong": "the next run failed, or its result was not that of an undisturbed run",
}
Same = Callable[[Path, Path], bool]


@dataclass(frozen=True)
class Kind:
    """A command, run in a folder of its own."""

    words: list[str]
    out: str
    before: Path | None
    """What is at ``out`` when it starts."""
    same: Same
    left_by_stop: tuple[str, ...] = ()
    """Files that it leaves on purpose when it is stopped."""


def same_folder(one: Path, other: Path) -> bool:
    """Whether both have the same files."""
    names = [sorted(p.relative_to(f) for p in f.rglob("*") if p.is_file()) for f in (one, other)]
    return names[0] == names[1] and not any(filecmp.cmpfiles(one, other, names[0], False)[1:])


def same_file(one: Path, other: Path) -> bool:
    """Whether both have the same bytes."""
    return one.read_bytes() == other.read_bytes()


def same_cache(one: Path, other: Path) -> bool:
    """Whether both have the same prompt and, apart from rounding, the same keys and values."""
    try:
        with np.load(one) as first, np.load(other) as second:
            same = np.array_equal(first["about"], second["about"])
            values = [found["keys_and_values"].astype(np.float32) for found in (first, second)]
    except (EOFError, KeyError, OSError, ValueError, BadZipFile):
        return False
    return (
        same and values[0].shape == values[1].shape and np.allclose(values[0], values[1], atol=1e-4)
    )


def command(words: list[str], folder: Path) -> "subprocess.Popen[bytes]":
    """Start gpt2xl in ``folder``."""
    return subprocess.Popen(
        [sys.executable, "-m", "gpt2xl_cli", *words],
        cwd=folder, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip


def undisturbed(words: list[str], folder: Path) -> float:
    """Run it to its end and return the seconds it took."""
    start = time.perf_counter()
    process = command(words, folder)
    _, errors = process.communicate()
    if process.returncode:
        raise SystemExit(errors.decode())
    return time.perf_counter() - start


def kinds(place: Path) -> dict[str, Kind]:
    """The commands, with models made in ``place``."""
    for seed, name in enumerate(("old", "new")):
        write_checkpoint(place / name, seed=seed)
    write_checkpoint(place / "long", {"n_embd": 64, "n_layer": 8, "n_positions": 1024})
    bundle, old = str(place / "bundle"), place / "old-bundle"
    undisturbed(["export", str(place / "new"), bundle], place)
    undisturbed(["export", str(place / "old"), str(old), "-p", "int4"], place)
    undisturbed(["export", str(place / "long"), str(place / "long-bundle")], place)
    rows = [json.dumps({"id": n, "prompt": f"{n} kings"}) for n in range(60)]
    (place / "in.jsonl").write_text("\n".join(rows), "utf-8")
    export = ["export", str(place / "new"), "out", "-p", "int4"]
    batch = ["batch", str(place / "in.jsonl"), "out.jsonl", "-m", bundle, "--seed", "1"]
    generate = [
        "generate",
        "-m",
        str(place / "long-bundle"),
        "-n",
        "1",
        "--greedy",
        "--prompt-cache",
        "out.cache",
    ]
    undisturbed([*generate[:-1], str(place / "old.cache"), "A king"], place)
    return {
        "export": Kind(export, "out", None, same_folder),
        "export --force": Kind([*export, "--force"], "out", old, same_folder),
        "batch": Kind([*batch, "-n", "80", "--rows", "2"], "out.jsonl", None, same_file, ("out.jsonl.part",)),
        "prompt cache": Kind(
            [*generate, "A king who had a fair daughter" * 30], "out.cache", place / "old.cache", same_cache
        ),
    }  # fmt: skip


def put(kind: Kind, folder: Path) -> None:
    """What is there before the command."""
    folder.mkdir()
    if kind.before and kind.before.is_dir():
        shutil.copytree(kind.before, folder / kind.out)
    elif kind.before:
        shutil.copy(kind.before, folder / kind.out)


def is_whole(kind: Kind, folder: Path, wanted: Path) -> bool:
    """Check after a kill: the old output, the new one, or files that the next run will use."""
    out = folder / kind.out
    if out.exists():
        whole = [path for path in (kind.before, wanted) if path]
        return any(kind.same(out, path) for path in whole)
    aside = list(folder.glob(f".{kind.out}.old-*"))
    return kind.before is None or (len(aside) == 1 and kind.same(aside[0], kind.before))


def one_round(
    kind: Kind,
    number: signal.Signals,
    share: float,
    seconds: list[float],
    folder: Path,
    wanted: Path,
) -> Counter[str]:
    """Kill, check, run again, check; returns what to count.

    Args:
        kind: what to run.
        number: what to send.
        share: of the time that it takes, after which to send it.
        seconds: that runs took so far, which depends on what else the machine does; grows.
        folder: to run it in.
        wanted: the output of an undisturbed run.
    """
    put(kind, folder)
    process = command(kind.words, folder)
    delay = share * max(seconds[-4:])
    time.sleep(delay)
    process.send_signal(number)
    _, errors = process.communicate()
    found = Counter({"rounds": 1})
    if process.returncode in (-number, 128 + number) or b"KeyboardInterrupt" in errors:
        found["killed"] = 1
        handled = process.returncode == 128 + number and errors.count(b"\n") == 1
        tidy = number == signal.SIGKILL or (handled and errors.startswith(LINES[number]))
        early = b"gpt2xl_cli/" not in errors and (not errors or b"Traceback" in errors)
        found["early" if early and number != signal.SIGKILL else "untidy"] += not tidy
    elif process.returncode:
        found["untidy"] = 1
    if found["untidy"]:
        print(number.name, kind.words[0], process.returncode, errors.decode(), file=sys.stderr)
    found["before"] += not is_whole(kind, folder, wanted)
    found["left"] += bool({*os.listdir(folder)} - {kind.out, *kind.left_by_stop})
    done = kind.out in os.listdir(folder) and kind.same(folder / kind.out, wanted)
    start = time.perf_counter()
    process = command(kind.words, folder)
    _, errors = process.communicate()
    seconds.append(time.perf_counter() - start)
    right = process.returncode == 0 or (done and b"exists already" in errors)
    found["left2"] += os.listdir(folder) != [kind.out]
    found["wrong"] += not (right and kind.same(folder / kind.out, wanted))
    if found["before"] or found["left2"] or found["wrong"]:
        print(number.name, kind.words, delay, os.listdir(folder), errors, file=sys.stderr)
    shutil.rmtree(folder)
    return found


def main() -> None:
    """Run all rounds and print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=10, help="of each kind with each signal")
    parser.add_argument("--kind", action="append", help="only this one; may be given again")
    parser.add_argument("--signal", action="append", help="only this one; may be given again")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=2, help="rounds at a time")
    options = parser.parse_args()
    signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored in the background,
    signal.signal(signal.SIGHUP, signal.SIG_DFL)  # and this one after nohup
    chance = random.Random(options.seed)
    for name, meaning in COLUMNS.items():
        print(f"{name:8}{meaning}")
    print(
        f"\n{'kind':16}{'signal':9}{'seconds':>8}{'rounds':>8}", *(f"{name:>7}" for name in COLUMNS)
    )
    wrong = 0
    with tempfile.TemporaryDirectory() as temporary, ThreadPoolExecutor(options.jobs) as pool:
        place = Path(temporary)
        chosen = {n: k for n, k in kinds(place).items() if n in (options.kind or [n])}
        for (name, kind), signal_name in product(chosen.items(), options.signal or SIGNALS):
            number = signal.Signals[signal_name]
            target = place / f"wanted {name} {signal_name}"
            put(kind, target)
            seconds = [undisturbed(kind.words, target)]
            rounds = [
                pool.submit(
                    one_round, kind, number, chance.random(), seconds,
                    place / f"{name} {signal_name} {index}", target / kind.out,
                )
                for index in range(options.rounds)
            ]  # fmt: skip
            total = sum((future.result() for future in rounds), Counter[str]())
            wrong += sum(total[key] for key in ("untidy", "before", "left2", "wrong"))
            counts = " ".join(f"{total[column]:7}" for column in COLUMNS)
            print(
                f"{name:16}{signal_name:9}{sum(seconds) / len(seconds):8.2f}{total['rounds']:8} {counts}",
                flush=True,
            )
    raise SystemExit(wrong > 0)


if __name__ == "__main__":
    main()
