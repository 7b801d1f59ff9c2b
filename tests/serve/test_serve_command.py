"""The command: its defaults, its errors, and what it says at the start."""

import inspect
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from gpt2xl import Gpt2xlWarning, load
from gpt2xl_export import ExportOptions, export

pytest.importorskip("msgspec", reason="the server needs the extra serve")
pytest.importorskip("uvicorn", reason="the server needs the extra serve")

from gpt2xl_cli.commands.serve import serve
from gpt2xl_serve.engine import Engine
from gpt2xl_serve.options import ServeOptions

MAIN = """
import sys
sys.modules["uvicorn"] = None
from gpt2xl_cli.__main__ import main
main()
"""


def run(*arguments: object) -> CompletedProcess[str]:
    command = [sys.executable, "-m", "gpt2xl_cli", "serve", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


def test_defaults_are_those_of_the_library() -> None:
    defaults = {name: p.default for name, p in inspect.signature(serve).parameters.items()}
    library = vars(ServeOptions())
    assert {name: defaults[name] or () for name in library if name in defaults} == {
        name: value or () for name, value in library.items() if name in defaults
    }
    assert library.keys() - defaults.keys() == {"keep_alive"}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--host", "0.0.0.0"), "--no-auth"),
        (("--rows", "0"), "rows has to be >= 1"),
        (("--grace", "-1"), "grace has to be seconds >= 0"),
        (("--port", "70000"), "port has to be <= 65535"),
        (("--host", "no.such.host.invalid", "--no-auth"), "cannot be listened at"),
        (("--chat-template", "nothing.jinja"), "nothing.jinja"),
    ],
)
def test_wrong_options_are_one_line(
    arguments: tuple[str, ...], said: str, demo_bundle: Callable[[str], Path]
) -> None:
    done = run("-m", demo_bundle("int8"), *arguments)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1
    assert said in done.stderr


def test_the_missing_extra_is_named() -> None:
    command = [sys.executable, "-c", MAIN, "serve"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    wanted = "serve needs `pip install 'gpt2xl[serve]'` (uvicorn is not installed)."
    assert done.stderr == f"error: {wanted}\n"


def test_texts_that_cannot_share_steps_are_told_with_the_remedy(
    make_checkpoint: Callable[[], Path], tmp_path: Path
) -> None:
    out = tmp_path / "bundle"
    export(make_checkpoint(), out, ExportOptions("int8", kv="float"))
    model = load(out, threads=1)
    with pytest.warns(Gpt2xlWarning, match=r"one after the other.*export with `--kv int8`"):
        engine = Engine(model, rows=8, queue=1)
    assert engine.batcher.rows == 1
