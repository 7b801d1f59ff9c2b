"""Control characters from files, arguments and models never reach the terminal."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from gpt2xl_cli.terminal import escaped

Run = Callable[..., CompletedProcess[str]]
ESCAPE = "\x1b]0;title\x07\x1b[31m\u202ered\r\nnext"


def test_line_ends_and_tabs_are_not_escaped() -> None:
    assert escaped("a\n\tb é\u3000") == "a\n\tb é\u3000"
    assert escaped("\x1b[2J\r\x00\x7f\x9b") == r"\x1b[2J\x0d\x00\x7f\x9b"


def test_values_of_a_manifest_are_escaped(run: Run, bundle: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(bundle, tmp_path / "copy")
    manifest = json.loads((copy / "gpt2xl.json").read_text())
    manifest["source"]["name"] = ESCAPE
    manifest["source"]["revision"] = "x" * 5000
    manifest["precision"] = ESCAPE
    manifest["passes"] = {ESCAPE: {"method": ESCAPE, "relative_error": 0.1}}
    (copy / "gpt2xl.json").write_text(json.dumps(manifest))
    done = run("info", copy)
    assert done.returncode == 0
    assert done.stdout.replace("\n", "").isprintable()
    assert done.stdout.count(r"\x1b]0;title\x07") == 4
    assert max(map(len, done.stdout.splitlines())) < 470
    assert json.loads(run("info", copy, "--json").stdout)["source"]["name"] == ESCAPE
    assert run("verify", copy).stdout.replace("\n", "").isprintable()


@pytest.mark.parametrize(
    "arguments",
    [
        ["info", ESCAPE],
        ["generate", "Once", "-m", f"./{ESCAPE}"],
        ["tokenize", "Once", "-m", f"./{ESCAPE}"],
        ["verify", ESCAPE],
        ["export", f"./{ESCAPE}", "out"],
        ["batch", ESCAPE, "out"],
        ["detokenize", ESCAPE],
    ],
    ids=lambda arguments: arguments[0],
)
def test_an_error_about_an_argument_is_one_line_without_escapes(
    arguments: list[str], refused: Callable[..., str]
) -> None:
    assert refused(*arguments).rstrip("\n").isprintable()


@pytest.mark.parametrize(
    "arguments",
    [
        ["info", "o" * 300],
        ["verify", "o" * 300],
        ["export", "o" * 300, "out"],
        ["generate", "Once", "-m", "./" + "o" * 300],
        ["batch", "o" * 300, "out"],
    ],
    ids=lambda arguments: arguments[0],
)
def test_an_input_name_that_is_too_long_is_one_error_line(
    arguments: list[str], refused: Callable[..., str], bundle: Path
) -> None:
    refused(*arguments)


def test_an_output_name_that_is_too_long_is_one_error_line(
    bundle: Path, checkpoint: Path, tmp_path: Path, refused: Callable[..., str]
) -> None:
    Path("in.jsonl").write_text('{"prompt": "Once"}')
    long = "o" * 300
    assert "name too long" in refused("export", checkpoint, long)
    assert "name too long" in refused("batch", "in.jsonl", long, "-m", bundle)
    assert "name too long" in refused("generate", "Once", "-m", bundle, "--prompt-cache", long)


def test_generated_text_is_escaped_only_on_a_terminal(
    bundle: Path, on_terminal: Callable[..., bytes]
) -> None:
    ids = subprocess.run(
        [sys.executable, "-m", "gpt2xl_cli", "tokenize", "a\x1b[31mb", "-m", str(bundle)],
        capture_output=True,
        check=True,
    ).stdout.split()
    piped = subprocess.run(
        [
            sys.executable,
            "-m",
            "gpt2xl_cli",
            "detokenize",
            "-m",
            str(bundle),
            *map(os.fsdecode, ids),
        ],
        capture_output=True,
        check=True,
    ).stdout
    assert piped == b"a\x1b[31mb\n"
    shown = on_terminal("detokenize", "-m", bundle, *map(os.fsdecode, ids))
    assert shown == b"a\\x1b[31mb\r\n"  # the terminal itself turns \n into \r\n
    shown = on_terminal("generate", "Once\x1b[31m", "-m", bundle, "-n", 1, "--greedy")
    assert b"Once\\x1b[31m" in shown
    assert b"\x1b[31m" not in shown


def test_export_escapes_the_name_of_its_output(run: Run, checkpoint: Path) -> None:
    done = run("export", checkpoint, "out\x1b[31m")
    assert done.stdout.startswith(r"Wrote out\x1b[31m: fp32")
    assert Path("out\x1b[31m").is_dir()
