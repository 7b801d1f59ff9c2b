"""`python -m gpt2xl` runs the command line."""

import subprocess
import sys

import gpt2xl

ALONE = """
import importlib.metadata, runpy
importlib.metadata.entry_points = lambda **_: ()
runpy.run_module("gpt2xl", run_name="__main__")
"""


def test_it_runs_the_command_line() -> None:
    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "gpt2xl", *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    assert run("--version").stdout == f"gpt2xl {gpt2xl.__version__}\n"
    assert run().stdout.startswith(" Usage: gpt2xl COMMAND")
    wrong = run("info", "nowhere")
    assert (wrong.returncode, wrong.stderr) == (
        1,
        "error: 'nowhere' is not a folder, nor the name of a model.\n",
    )


def test_without_the_command_line_one_line_says_what_to_install() -> None:
    command = [sys.executable, "-c", ALONE]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == ("error: the command line is not installed: pip install 'gpt2xl[cli]'\n")
