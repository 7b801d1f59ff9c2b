"""gpt2xl generate keeps the session of a large model, once the text is written."""

import subprocess
from collections.abc import Callable
from functools import partial
from pathlib import Path
from subprocess import CompletedProcess

import pytest

import gpt2xl
from gpt2xl.startup import session_cache

Run = Callable[..., CompletedProcess[str]]
Processes = list["subprocess.Popen[bytes]"]


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> Processes:
    """The processes that fill the cache; every bundle is large."""
    processes: Processes = []
    fill = session_cache.fill_in_background

    def recorded(folder: Path, cache: gpt2xl.SessionCache) -> "subprocess.Popen[bytes] | None":
        process = fill(folder, cache)
        processes.extend([process] if process else [])
        return process

    monkeypatch.setattr(session_cache, "fill_in_background", recorded)
    every = partial(gpt2xl.SessionCache, min_bytes=0)
    monkeypatch.setattr(gpt2xl, "SessionCache", every)
    return processes


def test_the_first_run_saves_it_and_the_second_uses_it(
    run: Run, started: Processes, bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GPT2XL_CACHE", str(tmp_path / "named"))
    words = ["generate", "Once", "-m", bundle, "--greedy", "-n", 5]
    first = run(*words)
    assert first.returncode == 0
    (said,) = first.stderr.splitlines()
    assert f"Saving the session to {tmp_path / 'named' / 'sessions'}" in said
    assert "--no-session-cache" in said
    (process,) = started
    assert process.wait(60) == 0
    (entry,) = (tmp_path / "named" / "sessions").glob("*/entry.json")
    used = entry.parent.stat().st_mtime_ns
    again = run(*words)
    assert (again.returncode, again.stdout, again.stderr) == (0, first.stdout, "")
    assert entry.parent.stat().st_mtime_ns > used
    assert len(started) == 1


def test_it_can_be_turned_off(run: Run, started: Processes, bundle: Path, tmp_path: Path) -> None:
    done = run("generate", "Once", "-m", bundle, "-n", 5, "--no-session-cache", "--json")
    assert (done.returncode, done.stderr, started) == (0, "", [])
    assert not (tmp_path / "cache" / "gpt2xl").exists()


def test_a_small_model_is_not_saved(run: Run, bundle: Path, tmp_path: Path) -> None:
    assert run("generate", "Once", "-m", bundle, "-n", 5).stderr == ""
    assert not (tmp_path / "cache" / "gpt2xl").exists()
