"""The session of a bundle's graph, optimized and pre-packed by onnxruntime, kept for the next start.

A plain load copies nearly all weights to the heap, in the layout this CPU's kernels like. A saved
session maps them instead: a quicker start, and memory that the system may take back and that several
processes share. The price is a file of twice the weights, good for one CPU and one onnxruntime only,
so it is a cache, never part of a bundle. docs/session-cache.md describes it for users.

A load saves the session on its way when asked to. The command line, which nobody asked, has
`fill_in_background` do it in a process of its own once the text is written: saving costs 5 to 10
seconds and as much memory as a load.
"""

import json
import os
import platform
import secrets
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import onnxruntime as ort

from gpt2xl.bundle.bundle import Bundle, open_bundle
from gpt2xl.bundle.external_data import external_entries
from gpt2xl.errors import BundleError
from gpt2xl.startup.memory import address_space_left, memory_left, weights_size

FORMAT = 1
MIN_BYTES = 256 << 20  # below it a plain load takes some 0.3 s: not worth twice the disk
GRAPH, DATA, RECORD, LOCK = "graph.onnx", "graph.onnx_data", "entry.json", "lock"
UNUSED_DAYS = 30
RETRY_SECONDS = 3600
Options = Callable[[], ort.SessionOptions]


@dataclass(frozen=True)
class SessionCache:
    """A folder of saved sessions."""

    folder: Path
    save: bool = True
    """Whether a load that finds no entry writes one, which takes several times as long as loading."""
    min_bytes: int = MIN_BYTES
    """Bundles with less weights than this are not kept."""

    def entry(self, bundle: Bundle) -> "Entry | None":
        """Where ``bundle``'s session is or will be; None where it is not to be cached.

        That is when it is small or without a manifest, whose sums stand for the weights, or when
        this process may not map what a saved session has to map.
        """
        weights = _weights_id(bundle)
        size = weights_size(bundle)
        space = address_space_left()
        if weights is None or size < self.min_bytes or (space is not None and space < 2.5 * size):
            return None
        _remove_leftovers(self.folder)
        about = {
            "format": FORMAT,
            "bundle": str(bundle.folder.resolve()),
            "weights": weights,
            "graph": sha256(bundle.graph.read_bytes()).hexdigest(),
            "machine": _machine_id(),
            "provider": "cpu",
            "onnxruntime": ort.__version__,
        }
        return Entry(self, about, size)


@dataclass(frozen=True)
class Entry:
    """One saved session, there or not."""

    cache: SessionCache
    about: dict[str, Any]
    """What the session depends on, and the bundle's folder, which it does not depend on."""
    weights_size: int

    @property
    def path(self) -> Path:
        """Its folder."""
        return self.cache.folder / _digest({k: v for k, v in self.about.items() if k != "bundle"})

    @property
    def is_whole(self) -> bool:
        """Whether all of it is there: the record is written last and knows the sizes."""
        try:
            sizes = json.loads((self.path / RECORD).read_text())["sizes"]
            return {*sizes} == {GRAPH, DATA} and all(
                (self.path / name).stat().st_size == size for name, size in sizes.items()
            )
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            return False

    def load(self, options: Options) -> ort.InferenceSession | None:
        """The saved session; None when there is none, or none that works, which then is removed."""
        if not self.is_whole:
            _remove(self.path)
            return None
        chosen = options()
        chosen.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL  # done already
        try:
            session = ort.InferenceSession(
                self.path / GRAPH, chosen, providers=["CPUExecutionProvider"]
            )
        except Exception as reason:  # onnxruntime's error classes share no base but Exception
            if "bad_alloc" not in str(reason):  # the process's fault, not the entry's
                _remove(self.path)
            return None
        with suppress(OSError):
            os.utime(self.path)  # in use: see _remove_old
        return session

    def save(self, graph: Path, options: Options) -> ort.InferenceSession | None:
        """Load ``graph`` and keep its session; None when the session could not be kept."""
        try:
            with _only_writer(self.cache.folder) as alone:
                return self._save(graph, options) if alone else None
        except OSError:  # no such disk, a read-only or full one: go on without
            return None

    def _save(self, graph: Path, options: Options) -> ort.InferenceSession | None:
        if shutil.disk_usage(self.cache.folder).free < 2.5 * self.weights_size:
            return None
        self._tried.touch()
        staging = self.path.with_name(f".{self.path.name}.partial-{secrets.token_hex(4)}")
        try:
            staging.mkdir(mode=0o700)
            session = _saved_session(graph, options(), staging)
            sizes = {name: _sync(staging / name) for name in (GRAPH, DATA)}
            if sizes[DATA] < _data_end(
                (staging / GRAPH).read_bytes()
            ):  # onnxruntime checks no write
                return None
            (staging / RECORD).write_text(json.dumps(self.about | {"sizes": sizes}, indent=2))
            _sync(staging / RECORD)
            staging.rename(self.path)
        except Exception:  # onnxruntime's error classes share no base but Exception
            return None
        finally:
            shutil.rmtree(staging, ignore_errors=True)
        self._tried.unlink(missing_ok=True)
        self._remove_old()
        return session

    @property
    def _tried(self) -> Path:
        return self.path.with_name(f"{self.path.name}.tried")

    @property
    def failed_lately(self) -> bool:
        """Whether the last attempt to save it did not end well, or has not ended, within an hour."""
        with suppress(OSError):
            return time.time() - self._tried.stat().st_mtime < RETRY_SECONDS
        return False

    def _remove_old(self) -> None:
        """Entries of the same bundle that this one replaces on this machine; others long unused."""
        for record in self.cache.folder.glob(f"*/{RECORD}"):
            if record.parent == self.path:
                continue
            with suppress(OSError, ValueError, AttributeError):
                about = json.loads(record.read_text())
                same = [key for key in ("bundle", "weights") if about.get(key) == self.about[key]]
                replaced = same and about.get("machine") == self.about["machine"]
                unused = time.time() - record.parent.stat().st_mtime > UNUSED_DAYS * 86400
                if replaced or unused:
                    _remove(record.parent)


def fill_in_background(
    bundle_folder: Path, cache: SessionCache
) -> "subprocess.Popen[bytes] | None":
    """Start a process of its own that saves the session of a bundle that deserves it and has none.

    Call it when the model is no longer needed: two of them may not fit. Returns the process, for
    which nobody has to wait, or None where none was started.
    """
    bundle = open_bundle(bundle_folder)
    entry = cache.entry(bundle)
    free = memory_left()
    if (
        entry is None
        or entry.is_whole
        or entry.failed_lately
        or (free is not None and free < 1.5 * entry.weights_size)
    ):
        return None
    command = [sys.executable, "-c", "from gpt2xl.startup.session_cache import main; main()"]
    try:
        cache.folder.mkdir(parents=True, exist_ok=True)
        return subprocess.Popen(
            [*command, str(bundle_folder.resolve()), str(cache.folder.resolve())],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd=cache.folder,
            start_new_session=True,  # Ctrl-C in the terminal is meant for what runs there next
            env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        )
    except OSError:
        return None


def save_entry(bundle_folder: Path, folder: Path) -> bool:
    """Save a bundle's session, however small; whether it is there now."""
    from gpt2xl.startup.providers import session_options

    bundle = open_bundle(bundle_folder)
    entry = SessionCache(folder, min_bytes=0).entry(bundle)
    if entry is None:
        return False
    return entry.is_whole or entry.save(bundle.graph, session_options) is not None


def main() -> None:
    """Of the process that fills the cache: bundle and cache folder are its arguments."""
    if sys.platform != "win32":
        os.nice(19)
    with suppress(BundleError):
        save_entry(Path(sys.argv[1]), Path(sys.argv[2]))


def _saved_session(graph: Path, options: ort.SessionOptions, folder: Path) -> ort.InferenceSession:
    options.optimized_model_filepath = str(folder / GRAPH)
    for key, value in {
        "session.optimized_model_external_initializers_file_name": DATA,
        "session.optimized_model_external_initializers_min_size_in_bytes": "1024",
        "session.save_external_prepacked_constant_initializers": "1",
    }.items():
        options.add_session_config_entry(key, value)
    return ort.InferenceSession(graph, options, providers=["CPUExecutionProvider"])


def _data_end(model: bytes) -> int:
    """Where the last tensor or pre-packed weight of a saved model ends in its data file."""
    end = offset = 0
    for key, value in external_entries(model):
        if key == "offset":
            offset = int(value)
        elif key == "length":
            end = max(end, offset + int(value))
        elif key.startswith("prepacked_"):  # "kernel+hash|offset;length;checksum;offset;..."
            numbers = value.rpartition("|")[2].split(";")
            for at, length in zip(numbers[0::3], numbers[1::3], strict=False):
                end = max(end, int(at) + int(length))
    return end


def _sync(path: Path) -> int:
    """Bring a file to the disk, so that no record outlives what it vouches for; its size."""
    with path.open("rb+") as file:
        os.fsync(file.fileno())
        return os.fstat(file.fileno()).st_size


def _weights_id(bundle: Bundle) -> str | None:
    files = bundle.manifest.files if bundle.manifest else {}
    sums = {name: files[name].sha256 for name in files if name.endswith(".onnx_data")}
    return _digest(sums) if sums and all(sums.values()) else None


def _machine_id() -> str:
    """The features of the CPU, by which onnxruntime chooses kernels and their layout of weights."""
    wanted = {"vendor_id", "model name", "flags", "Features", "CPU implementer", "CPU part"}
    found = [platform.system(), platform.machine(), platform.processor()]
    with suppress(OSError, UnicodeDecodeError), open("/proc/cpuinfo") as lines:
        for line in lines:
            name, _, value = line.partition(":")
            if name.strip() in wanted:
                found.append(value.strip())
            if line == "\n":  # the first processor stands for all
                break
    return _digest(found)


def _digest(value: object) -> str:
    return sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:24]


def _remove(entry: Path) -> None:
    """Remove an entry at once: half of one would be left by a kill in the middle."""
    gone = entry.with_name(f".{entry.name}.partial-{secrets.token_hex(4)}")
    with suppress(OSError):
        entry.rename(gone)
        shutil.rmtree(gone, ignore_errors=True)


def _remove_leftovers(folder: Path) -> None:
    """What a killed writer left behind: nobody who holds the lock is at work there."""
    if any(folder.glob(".*.partial-*")):
        with suppress(OSError), _only_writer(folder):
            pass


@contextmanager
def _only_writer(folder: Path) -> Iterator[bool]:
    """Whether nobody else writes to the cache; the system frees the lock of a killed process."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    with (folder / LOCK).open("a+b") as file:
        alone = _lock(file.fileno())
        if alone:
            for leftover in folder.glob(".*.partial-*"):
                shutil.rmtree(leftover, ignore_errors=True)
        yield alone


def _lock(descriptor: int) -> bool:
    """Lock a file for as long as it is open, if nobody else has."""
    try:
        if sys.platform == "win32":
            import msvcrt

            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True
