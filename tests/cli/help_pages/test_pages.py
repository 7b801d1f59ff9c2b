"""Help: the first page, the pages of commands, their examples, and completion in a shell."""

import inspect
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from subprocess import CompletedProcess

import pytest
from typer.core import TyperGroup

from gpt2xl_cli.commands.groups import config, models
from gpt2xl_cli.help_pages.boxes import Row, panel
from gpt2xl_cli.help_pages.command_table import COMMANDS, FIRST
from gpt2xl_cli.help_pages.loading import load_command

Run = Callable[..., CompletedProcess[str]]
GROUPS = (("config", config.app), ("models", models.app))
SUBCOMMANDS = [
    f"{name} {info.name or info.callback.__name__}"
    for name, app in GROUPS
    for info in app.registered_commands
    if info.callback
]
PAGES = [*COMMANDS, *SUBCOMMANDS]
MODULES = """
import sys
from gpt2xl_cli.__main__ import main
try:
    main()
except SystemExit as stop:
    assert not stop.code
print("MODULES", *sys.modules)
"""


def spawned(*arguments: str, **environment: str) -> CompletedProcess[str]:
    """`gpt2xl` in a process of its own, which prints the modules that it has imported."""
    command = [sys.executable, "-c", MODULES, *arguments]
    return subprocess.run(
        command, capture_output=True, text=True, check=True, env={**os.environ, **environment}
    )


def test_gpt2xl_alone_and_help_show_the_first_page(run: Run) -> None:
    done = run("--help")
    assert (done.returncode, done.stderr) == (0, "")
    assert run().stdout == run("-h").stdout == done.stdout
    assert run().returncode == 0
    listed = re.findall(r"^│ (\S+?),? ", done.stdout, re.MULTILINE)
    options = ["--version", "--install-completion", "--show-completion", "-h"]
    assert listed == [*COMMANDS, *options]
    assert all(f"   {command} " in done.stdout for command in FIRST)


def test_the_first_page_and_the_version_import_no_typer() -> None:
    page, version = spawned("--help"), spawned("--version")
    assert page.stdout.startswith(spawned().stdout.partition("MODULES")[0])
    assert " typer " not in page.stdout.partition("MODULES")[2]
    assert " typer " not in version.stdout.partition("MODULES")[2]
    assert " numpy " not in version.stdout.partition("MODULES")[2]


def test_the_page_of_a_command_imports_no_other_command() -> None:
    modules = spawned("info", "--help").stdout.partition("MODULES")[2].split()
    commands = [name for name in modules if name.startswith("gpt2xl_cli.commands.")]
    assert commands == ["gpt2xl_cli.commands.info"]
    assert not {"rich", "pydantic", "numpy"} & {*modules}


@pytest.mark.parametrize("name", PAGES)
def test_a_page_ends_with_two_examples_and_names_values(name: str, run: Run) -> None:
    done = run(*name.split(), "--help")
    assert (done.returncode, done.stderr) == (0, "")
    page, _, examples = done.stdout.partition(" Examples\n")
    assert page.startswith(f" Usage: gpt2xl {name} ")
    assert "<" not in page.replace("<|endoftext|>", "")
    lines = examples.splitlines()
    assert len(lines) >= 2
    assert all(re.fullmatch(r"   .{8,75}", line) for line in lines)
    assert all(f"gpt2xl {name} " in f"{line} " for line in lines if not line.startswith("   cat"))


@pytest.mark.parametrize("name", COMMANDS)
def test_a_summary_is_the_beginning_of_the_commands_own_help(name: str) -> None:
    module, attribute = COMMANDS[name].place.split(":")
    found = getattr(import_module(f"gpt2xl_cli.commands.{module}"), attribute)
    text = found.info.help if attribute == "app" else inspect.getdoc(found)
    assert " ".join(str(text).split("\n\n")[0].split()) == COMMANDS[name].summary


def parsed(example: str) -> list[str]:
    """Parse an example as typer would; the commands in it."""
    lexer = shlex.shlex(example, posix=True, punctuation_chars="|<>")
    lexer.whitespace_split = True
    calls: list[list[str]] = [[]]
    words = iter(lexer)
    for word in words:
        if word == "|":
            calls.append([])
        elif word in "<>":
            next(words)
        else:
            calls[-1].append(word)
    found = []
    for program, name, *arguments in calls:
        assert program == "gpt2xl"
        if not {"-h", "--help"} & {*arguments}:
            command = load_command(name)
            if isinstance(command, TyperGroup) and arguments:
                command, arguments = command.commands[arguments[0]], arguments[1:]  # type: ignore[assignment]
            command.make_context(name, arguments).close()
        found.append(name)
    return found


EXAMPLES = [(n, example) for n, entry in COMMANDS.items() for example in entry.examples]
EXAMPLES += [
    (name, example)
    for name, app in GROUPS
    for info in app.registered_commands
    for example in (info.epilog or "").splitlines()
    if example.startswith("gpt2xl")
]
EXAMPLES += [(shlex.split(example)[1], example) for example in FIRST]


@pytest.mark.parametrize(("name", "example"), EXAMPLES)
def test_an_example_is_a_call_of_its_command(name: str, example: str) -> None:
    assert name in parsed(example)


def test_what_is_no_call_is_not_taken_for_one() -> None:
    with pytest.raises(Exception, match="No such option"):
        parsed("gpt2xl generate --nope")


@pytest.mark.parametrize("name", ["tokenize", "detokenize", "features", "bias", "info", "config"])
def test_the_examples_run(name: str, run: Run, bundle: Path) -> None:
    """Those of commands that need no long run, with a tiny model in place of the demo's and of others."""
    Path("prompt.txt").write_text("Once\n")
    Path("texts.txt").write_text("Once\nThere\n")
    run("config", "set", "model", bundle)
    for example in COMMANDS[name].examples:
        *_, last = example.replace("my-gpt2", str(bundle)).split(" | ")
        command, _, file = last.partition(" < ")
        stdin = Path(file).read_bytes() if file else b"65 66"
        done = run(*shlex.split(command)[1:], stdin=stdin)
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout


@pytest.mark.parametrize("columns", [20, 80, 300])
def test_the_lines_of_a_panel_are_equally_long(
    columns: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    rows = [
        Row("-k", "word " * 30, "N"),
        Row("--" + "x" * 40, "b [default: the whole]"),
        Row("", ""),
    ]
    lines = [*panel("Title", rows)]
    assert len({*map(len, lines)}) == 1
    assert any(" [default: the whole] " in line for line in lines)


COMPLETED = {
    "gpt2xl ": [*COMMANDS],
    "gpt2xl gen": ["generate"],
    "gpt2xl --ver": ["--version"],
    "gpt2xl generate --end": ["--end-at-sentence"],
    "gpt2xl generate --provider c": ["cpu", "cuda"],
    "gpt2xl info --model gpt2-x": ["gpt2-xl"],
    "gpt2xl export in out -p int4": ["int4", "int4-fp16"],
    "gpt2xl config s": ["show", "set"],
    "gpt2xl config set temp": ["temperature"],
    "gpt2xl eval cbt": ["cbt-cn", "cbt-ne"],
}


@pytest.mark.parametrize(("line", "wanted"), COMPLETED.items(), ids=COMPLETED)
def test_a_shell_completes(
    line: str, wanted: list[str], run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in shell(line).items():
        monkeypatch.setenv(name, value)
    assert run().stdout.split() == wanted


def test_a_process_completes_before_all_else() -> None:
    done = spawned(**shell("gpt2xl gen"))
    assert done.stdout.partition("MODULES")[0].split() == ["generate"]


def shell(line: str) -> dict[str, str]:
    """What bash sets to complete ``line``."""
    words = len(line.split())
    place = words if line.endswith(" ") else words - 1
    return {
        "_GPT2XL_COMPLETE": "complete_bash", "COMP_WORDS": line, "COMP_CWORD": str(place),
    }  # fmt: skip
