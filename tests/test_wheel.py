"""The wheel as a user installs it: into an environment of its own, without the checkout."""

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess
from venv import EnvBuilder

import pytest

ROOT = Path(__file__).parents[1]
PYTHON_BLOCK = re.compile(r"```python\n(.*?)```\n\n```text\n(.*?)```", re.DOTALL)
pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
"""They build wheels and install from the package index."""

Installed = Callable[..., CompletedProcess[str]]


def build(folder: Path) -> None:
    """Write a wheel of the checkout into ``folder``."""
    options = ["wheel", "-q", "--no-deps", "-w", str(folder)]
    subprocess.run([sys.executable, "-m", "pip", *options, str(ROOT)], check=True)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    build(folder)
    return next(folder.glob("*.whl"))


@pytest.fixture(scope="module")
def environment(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The scripts' folder of an environment with the wheel and no extras."""
    folder = tmp_path_factory.mktemp("environment")
    EnvBuilder(with_pip=True).create(folder)
    subprocess.run([folder / "bin" / "pip", "install", "-q", wheel], check=True)
    return folder / "bin"


@pytest.fixture
def installed(environment: Path, tmp_path: Path) -> Installed:
    """Run a program of the environment in an empty folder, with an empty home."""

    def run(program: str, *arguments: object) -> CompletedProcess[str]:
        variables = {"HOME": str(tmp_path), "PATH": os.environ["PATH"]}
        command = [str(environment / program), *map(str, arguments)]
        return subprocess.run(command, env=variables, cwd=tmp_path, capture_output=True, text=True)

    return run


def test_the_python_block_of_the_readme_runs(installed: Installed, tmp_path: Path) -> None:
    found = PYTHON_BLOCK.search((ROOT / "README.md").read_text("utf-8"))
    assert found
    done = installed("python", "-W", "error", "-c", found[1])
    assert (done.stderr, done.stdout) == ("", found[2])
    assert not [*tmp_path.rglob("*.onnx")]  # nothing was exported


def test_the_example_needs_no_arguments(installed: Installed) -> None:
    done = installed("python", ROOT / "examples" / "embed.py")
    assert (done.returncode, done.stderr) == (0, "")
    assert " tokens, " in done.stdout.splitlines()[-1]


def test_missing_extras_are_named_one_after_the_other(
    installed: Installed, wheel: Path, checkpoint: Path
) -> None:
    done = installed("gpt2xl", "generate", "Once")
    assert done.stderr == "error: the command line needs `pip install 'gpt2xl[cli]'`.\n"
    done = installed("pip", "install", "-q", f"{wheel}[cli]")
    assert done.returncode == 0, done.stderr
    done = installed("gpt2xl", "generate", "Once", "--seed", 1)
    assert (done.returncode, done.stdout[:4]) == (0, "Once")
    done = installed("gpt2xl", "export", checkpoint, "out")
    assert "`pip install 'gpt2xl[export]'`" in done.stderr
    assert done.stderr.count("\n") == 1


def test_two_wheels_have_the_same_bytes(wheel: Path, tmp_path: Path) -> None:
    build(tmp_path)
    assert (tmp_path / wheel.name).read_bytes() == wheel.read_bytes()


def test_the_smallest_installation_of_the_docs_runs_the_demo(wheel: Path, tmp_path: Path) -> None:
    page = (ROOT / "docs" / "python.md").read_text("utf-8")
    found = re.search(r"^pip (install --no-deps .*) \.$", page, re.MULTILINE)
    assert found
    EnvBuilder(with_pip=True).create(tmp_path)
    subprocess.run([tmp_path / "bin" / "pip", *found[1].split(), "-q", wheel], check=True)
    code = (
        "import gpt2xl; print(gpt2xl.load('demo').generate('Once', max_new_tokens=4).finish_reason)"
    )
    assert subprocess.check_output([tmp_path / "bin" / "python", "-c", code]) == b"length\n"
