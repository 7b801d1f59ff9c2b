"""What `load` takes: folders, paths, options, and names of models."""

import os
import subprocess
import sys
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest

from gpt2xl import BundleError, LoadOptions, RequestError, load

EXAMPLE = Path(__file__).parents[2] / "examples" / "embed.py"


class FakeEntryPoint:
    """Names one model, "demo"."""

    def __init__(self, bundle: Path) -> None:
        self.bundle = bundle
        self.asked: list[str] = []

    def load(self) -> Callable[[str], Path]:
        return self.bundle_of

    def bundle_of(self, name: str) -> Path:
        self.asked.append(name)
        return self.bundle


@pytest.fixture
def named(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> FakeEntryPoint:
    """In place of the exporter's entry point."""
    made = FakeEntryPoint(bundle)
    monkeypatch.setattr("gpt2xl.loading.entry_points", lambda group: [made])
    return made


@pytest.mark.parametrize("name", ["demo", "gpt2-xl", "owner/name"])
def test_a_name_is_looked_up(named: FakeEntryPoint, name: str) -> None:
    assert load(name).config.n_embd == 32
    assert named.asked == [name]


def test_a_folder_comes_before_a_name(
    named: FakeEntryPoint, bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "demo").symlink_to(bundle)
    monkeypatch.chdir(tmp_path)
    load("demo")
    assert named.asked == []


@pytest.mark.parametrize(
    "path", [Path("demo"), "./demo", "/no/such/folder", "a/b/c", "demo/", "~demo", ""]
)
def test_a_path_is_no_name(named: FakeEntryPoint, path: Any) -> None:
    with pytest.raises(BundleError):
        load(path)
    assert named.asked == []


def test_the_demo_of_a_wheel_needs_no_exporter(
    bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gpt2xl.loading.demo_bundle", lambda: bundle)
    monkeypatch.setattr("gpt2xl.loading.entry_points", lambda group: [])
    assert load("demo").bundle.folder == bundle  # type: ignore[union-attr]


def test_without_the_exporter_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gpt2xl.loading.entry_points", lambda group: [])
    with pytest.raises(
        BundleError, match=r"'demo' is not a folder.*pip install 'gpt2xl\[export,hub\]'"
    ):
        load("demo")


def test_options_as_an_object_or_as_keywords(bundle: Path) -> None:
    assert load(str(bundle), LoadOptions(threads=1)).config.n_embd == 32
    with pytest.raises(RequestError, match="threads has to be >= 0"):
        load(bundle, threads=-1)
    with pytest.raises(RequestError, match="threads has to be >= 0"):
        load(bundle, LoadOptions(), threads=-1)
    with pytest.raises(TypeError, match="no option 'thread'; did you mean 'threads'"):
        load(bundle, thread=1)  # type: ignore[call-arg]


def test_the_example_runs(bundle: Path) -> None:
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    arguments = [str(bundle), "Once"]
    if any(metadata.entry_points(group="gpt2xl.models")):
        arguments = []  # it has a model and a prompt of its own
    run = subprocess.run(
        [sys.executable, EXAMPLE, *arguments], env=environment, capture_output=True, text=True
    )
    assert run.returncode == 0, run.stderr
    assert run.stdout.startswith("Once")
    assert " tokens, " in run.stdout.splitlines()[-1]


@pytest.mark.parametrize("name", [None, 3, b"demo", ["demo"]])
def test_what_is_no_name_is_refused_as_it_is(name: Any) -> None:
    with pytest.raises(
        TypeError, match=r"a model is named by a str or a Path, not by \[?(None|3|b?'demo')"
    ):
        load(name)


def test_a_mistyped_folder_is_called_no_folder(tmp_path: Path) -> None:
    with pytest.raises(
        BundleError, match="'no-such-bundle' is not a folder, and not a model to load"
    ):
        load("no-such-bundle")


def test_a_name_that_is_too_long_for_a_file_is_refused_in_one_line() -> None:
    with pytest.raises(BundleError, match="is not a folder"):
        load("a" * 300)
