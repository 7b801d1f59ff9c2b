"""Saved sessions: the same bits, whole or not at all, gone when stale; real processes throughout."""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnxruntime as ort
import pytest

from gpt2xl import SessionCache, load, session_cache
from gpt2xl.bundle.bundle import open_bundle
from gpt2xl.sessions.protocol import last_logits, open_best
from gpt2xl.startup.session_cache import DATA, GRAPH, RECORD, Entry, fill_in_background, save_entry

MakeBundle = Callable[..., Path]
# In a process of its own, argv: bundle, cache folder.
SAVE = "import sys; from pathlib import Path; from gpt2xl.startup.session_cache import save_entry;"
SAVE_ENTRY = SAVE + "print(save_entry(Path(sys.argv[1]), Path(sys.argv[2])))"


@pytest.fixture(scope="session")
def int8(make_bundle: MakeBundle) -> Path:
    """An int8 bundle that tests only read: its matrices are what kernels pack."""
    return make_bundle({"n_embd": 64, "n_layer": 3}, "int8")


@pytest.fixture
def cache(tmp_path: Path) -> SessionCache:
    """An empty one, for bundles of any size."""
    return SessionCache(tmp_path / "cache", min_bytes=0)


def entry_of(bundle: Path, cache: SessionCache) -> Entry:
    entry = cache.entry(open_bundle(bundle))
    assert entry is not None
    return entry


def logits(bundle: Path, entry: Entry | None) -> list[npt.NDArray[np.float32]]:
    """Of a prompt and two single steps."""
    session = open_best(open_bundle(bundle), "cpu", entry=entry)
    kept = session.new_cache()
    return [last_logits(session, np.array([ids]), kept) for ids in ([5, 6, 7, 8, 9], [3], [250])]


def partials(cache: SessionCache) -> list[str]:
    return [path.name for path in cache.folder.iterdir() if "partial" in path.name]


@pytest.mark.parametrize("precision", ["fp32", "int8", "int8-weight", "int4"])
def test_the_bits_are_those_of_a_plain_load(
    precision: str, make_bundle: MakeBundle, cache: SessionCache
) -> None:
    bundle = make_bundle({"n_embd": 64}, precision)
    plain = logits(bundle, None)
    entry = entry_of(bundle, cache)
    saving = logits(bundle, entry)
    assert entry.is_whole
    assert entry.load(ort.SessionOptions) is not None
    for kept in (saving, logits(bundle, entry)):
        for expected, actual in zip(plain, kept, strict=True):
            assert np.array_equal(expected, actual)


def test_the_second_load_reads_the_saved_session_and_not_the_weights(
    int8: Path, tmp_path: Path, cache: SessionCache
) -> None:
    copy = shutil.copytree(int8, tmp_path / "copy")
    first = load(copy, session_cache=cache).generate("Once", greedy=True, max_new_tokens=8)
    (weights,) = copy.glob("onnx/*.onnx_data")
    weights.write_bytes(bytes(weights.stat().st_size))
    again = load(copy, session_cache=cache).generate("Once", greedy=True, max_new_tokens=8)
    assert again.new_ids == first.new_ids
    assert load(copy).generate("Once", greedy=True, max_new_tokens=8).new_ids != first.new_ids


def test_a_moved_bundle_keeps_its_session(int8: Path, tmp_path: Path, cache: SessionCache) -> None:
    entry = entry_of(int8, cache)
    assert entry_of(shutil.copytree(int8, tmp_path / "elsewhere"), cache).path == entry.path


def test_nothing_is_written_unasked(int8: Path, tmp_path: Path) -> None:
    load(int8)
    load(int8, session_cache=SessionCache(tmp_path / "cache", save=False, min_bytes=0))
    load(int8, session_cache=tmp_path / "cache")  # small
    assert not (tmp_path / "cache").exists()


def test_without_a_manifest_there_is_no_entry(
    int8: Path, tmp_path: Path, cache: SessionCache
) -> None:
    copy = shutil.copytree(int8, tmp_path / "copy")
    (copy / "gpt2xl.json").unlink()
    assert cache.entry(open_bundle(copy)) is None
    load(copy, session_cache=cache)


def test_another_onnxruntime_cpu_graph_or_weights_is_another_entry(
    int8: Path, tmp_path: Path, cache: SessionCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = shutil.copytree(int8, tmp_path / "copy")
    paths = {entry_of(copy, cache).path}
    manifest = json.loads((copy / "gpt2xl.json").read_text())
    (data,) = (name for name in manifest["files"] if name.endswith(".onnx_data"))
    manifest["files"][data]["sha256"] = "0" * 64
    (copy / "gpt2xl.json").write_text(json.dumps(manifest))
    paths.add(entry_of(copy, cache).path)
    graph = next(copy.glob("onnx/engine*.onnx"))
    graph.write_bytes(graph.read_bytes()[:-1] + b"\0")
    paths.add(entry_of(copy, cache).path)
    monkeypatch.setattr(ort, "__version__", "9.9.9")
    paths.add(entry_of(copy, cache).path)
    monkeypatch.setattr("gpt2xl.startup.session_cache._machine_id", lambda: "another")
    paths.add(entry_of(copy, cache).path)
    assert len(paths) == 5


def test_a_new_entry_removes_the_stale_ones_of_its_bundle_only(
    int8: Path, bundle: Path, cache: SessionCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(ort, "__version__", "1.2.3")
        old, other = entry_of(int8, cache), entry_of(bundle, cache)
        patch.setattr("gpt2xl.startup.session_cache._machine_id", lambda: "another")
        elsewhere = entry_of(int8, cache)
    for folder, entry in ((int8, old), (bundle, other), (int8, elsewhere)):
        logits(folder, entry)
    assert old.is_whole
    logits(int8, entry_of(int8, cache))
    left = {entry_of(int8, cache).path, other.path, elsewhere.path}
    assert {path for path in cache.folder.iterdir() if path.is_dir()} == left
    os.utime(other.path, (0, 0))  # unused since 1970
    shutil.rmtree(entry_of(int8, cache).path)
    logits(int8, entry_of(int8, cache))
    assert not other.path.exists()


@pytest.mark.parametrize("damage", ["record", "cut", "garbage"])
def test_a_damaged_entry_is_dropped_and_the_bundle_loaded(
    damage: str, int8: Path, cache: SessionCache
) -> None:
    entry = entry_of(int8, cache)
    plain = logits(int8, entry)
    if damage == "record":
        (entry.path / RECORD).unlink()
    elif damage == "cut":
        os.truncate(entry.path / DATA, (entry.path / DATA).stat().st_size - 1)
    else:  # of the right size
        (entry.path / GRAPH).write_bytes(b"\xff" * (entry.path / GRAPH).stat().st_size)
    reading = SessionCache(cache.folder, save=False, min_bytes=0)
    assert np.array_equal(logits(int8, entry_of(int8, reading))[0], plain[0])
    assert not entry.path.exists()
    logits(int8, entry)
    assert entry.is_whole


def test_killed_in_the_middle_it_leaves_nothing_that_is_used(
    int8: Path, cache: SessionCache
) -> None:
    slow = (
        "from gpt2xl.startup import session_cache as s; import time\n"
        "s._data_end = lambda model: print('written', flush=True) or time.sleep(60)\n"
    )
    command = [sys.executable, "-c", slow + SAVE_ENTRY, str(int8), str(cache.folder)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "written\n"
    (partial,) = partials(cache)
    assert (cache.folder / partial / DATA).stat().st_size > 0
    entry = entry_of(int8, cache)
    assert partials(cache) == [partial]  # its writer lives
    assert not entry.is_whole
    process.send_signal(signal.SIGKILL)
    process.communicate()
    entry = entry_of(int8, cache)
    assert partials(cache) == []
    logits(int8, entry)
    assert entry.is_whole


def test_two_processes_at_once_leave_one_whole_entry(int8: Path, cache: SessionCache) -> None:
    code = f"import sys; sys.stdin.readline(); {SAVE_ENTRY}"
    command = [sys.executable, "-c", code, str(int8), str(cache.folder)]
    pipe = subprocess.PIPE
    both = [subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) for _ in range(2)]
    for process in both:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
    answers = [process.communicate()[0].strip() for process in both]
    assert "True" in answers
    assert all(process.returncode == 0 for process in both)
    assert entry_of(int8, cache).is_whole
    assert partials(cache) == []
    folders = [path for path in cache.folder.iterdir() if path.is_dir()]
    assert folders == [entry_of(int8, cache).path]


@pytest.mark.skipif(sys.platform == "win32", reason="no such limit")
def test_a_disk_that_is_full_in_the_middle_means_no_entry(int8: Path, cache: SessionCache) -> None:
    limit = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000));"
    code = (
        f"{limit} import sys; from pathlib import Path; import gpt2xl;"
        "cache = gpt2xl.SessionCache(Path(sys.argv[2]), min_bytes=0);"
        "model = gpt2xl.load(sys.argv[1], session_cache=cache);"
        "print(model.generate('Once', greedy=True, max_new_tokens=4).new_ids)"
    )
    command = [sys.executable, "-c", code, str(int8), str(cache.folder)]
    done = subprocess.run(command, capture_output=True, text=True)
    expected = load(int8).generate("Once", greedy=True, max_new_tokens=4).new_ids
    assert (done.returncode, done.stdout) == (0, f"{expected}\n"), done.stderr
    assert not entry_of(int8, cache).is_whole
    assert partials(cache) == []


def test_a_cache_that_cannot_be_written_is_gone_without(int8: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    cache = SessionCache(tmp_path / "file" / "cache", min_bytes=0)
    assert load(int8, session_cache=cache).generate("Once", max_new_tokens=2).new_ids
    assert not fill_in_background(int8, cache)


def test_too_little_disk_is_seen_before_writing(
    int8: Path, cache: SessionCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    full = shutil.disk_usage("/")._replace(free=1000)
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: full)
    load(int8, session_cache=cache)
    assert [path.name for path in cache.folder.iterdir()] == ["lock"]


def filled(bundle: Path, cache: SessionCache) -> bool:
    """Whether a process was started; over when this returns."""
    process = fill_in_background(bundle, cache)
    return process is not None and process.wait(60) == 0


def test_filled_in_the_background_once(int8: Path, cache: SessionCache) -> None:
    assert filled(int8, cache)
    entry = entry_of(int8, cache)
    assert entry.is_whole
    assert not filled(int8, cache)
    shutil.rmtree(entry.path)
    entry._tried.touch()  # somebody has just failed
    assert not filled(int8, cache)
    os.utime(entry._tried, (0, 0))
    assert filled(int8, cache)
    assert entry.is_whole
    assert not entry._tried.exists()


def test_small_bundles_are_not_filled_in(int8: Path, tmp_path: Path) -> None:
    assert not fill_in_background(int8, SessionCache(tmp_path / "cache"))
    assert session_cache.MIN_BYTES > 50 << 20  # the demo and the like


def test_save_entry_takes_any_size(int8: Path, tmp_path: Path) -> None:
    assert save_entry(int8, tmp_path / "cache")
    assert entry_of(int8, SessionCache(tmp_path / "cache", min_bytes=0)).is_whole
