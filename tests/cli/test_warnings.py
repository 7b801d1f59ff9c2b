"""Warnings of the runtime are one line each on stderr."""

from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import pytest

Run = Callable[..., CompletedProcess[str]]
pytestmark = pytest.mark.filterwarnings("default::gpt2xl.errors.Gpt2xlWarning")


@pytest.fixture
def int4(make_bundle: Callable[..., Path]) -> Path:
    """A bundle whose rows cannot share a step: int4 in blocks of 64."""
    return make_bundle({"n_embd": 64}, "int4")


def check_one_warning(done: CompletedProcess[str], *words: str) -> None:
    assert done.returncode == 0, done
    assert done.stderr.count("\n") == 1, done
    assert done.stderr.startswith("warning: "), done
    assert [word for word in words if word not in done.stderr] == []


@pytest.mark.parametrize("out", ["out.jsonl", "-"])
def test_rows_that_cannot_share_a_step_are_one_warning(out: str, run: Run, int4: Path) -> None:
    Path("in.jsonl").write_text('{"prompt": "Once"}\n{"prompt": "go"}\n')
    done = run("batch", "-m", int4, "in.jsonl", out, "-n", 3, "--greedy")
    check_one_warning(done, "not 16 at a time", "--block-size 32")


def test_a_draft_that_cannot_be_used_is_one_warning(run: Run, int4: Path) -> None:
    done = run("generate", "-m", int4, "Once", "--draft", int4, "-n", 3, "--greedy")
    check_one_warning(done, "draft")


def test_one_row_and_no_draft_give_no_warning(run: Run, int4: Path) -> None:
    Path("in.jsonl").write_text('{"prompt": "Once"}\n')
    done = run("batch", "-m", int4, "in.jsonl", "-", "-n", 3, "--rows", 1)
    assert (done.returncode, done.stderr) == (0, "")
    done = run("generate", "-m", int4, "Once", "-n", 3)
    assert (done.returncode, done.stderr) == (0, "")
