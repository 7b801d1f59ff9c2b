"""gpt2xl bias."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from gpt2xl_cli.bias.report import QUOTE

Run = Callable[..., subprocess.CompletedProcess[str]]
PROMPTS = ("The king had a", "The queen had a")


def test_the_table_has_both_prompts_words_samples_and_the_card(run: Run, bundle: Path) -> None:
    done = run("bias", *PROMPTS, "-m", bundle, "--words", 3, "--samples", 2)
    assert (done.returncode, done.stderr) == (0, "")
    first, second, _, head, *rows = done.stdout.splitlines()
    assert (first, second) == (f"first   {PROMPTS[0]}", f"second  {PROMPTS[1]}")
    assert head.split() == ["next", "word", "first", "second", "ratio"]
    shares = [row.split("%")[0].split()[-1] for row in rows[: rows.index("")]]
    assert sum(map(float, shares)) == pytest.approx(100, abs=0.1)
    assert sum(line.startswith("The king had a") for line in rows) == 2
    assert rows[-1] == f'"{QUOTE}"'
    assert "more probable after the first: " in done.stdout


def test_json_has_what_the_table_has(run: Run, bundle: Path) -> None:
    done = run("bias", *PROMPTS, "-m", bundle, "--words", 3, "--seed", 7, "--json")
    content = json.loads(done.stdout)
    assert set(content) == {
        "prompts", "words", "other_words", "no_word", "not_expanded", "steps", "seed", "samples", "card",
    }  # fmt: skip
    assert (content["prompts"], content["seed"]) == ([*PROMPTS], 7)
    assert [len(texts) for texts in content["samples"]] == [5, 5]
    for word in content["words"]:
        first, second = word["probabilities"]
        assert word["ratio"] is None or word["ratio"] == pytest.approx(first / second)
    assert content["card"]["quote"] == QUOTE


def test_the_same_seed_draws_the_same_samples(run: Run, bundle: Path) -> None:
    words = ["bias", *PROMPTS, "-m", bundle, "--words", 1, "--json"]
    assert run(*words).stdout == run(*words, "--seed", 42).stdout != run(*words, "--seed", 1).stdout


def test_a_picture_is_drawn(run: Run, bundle: Path, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    prompts = ("It cost $5 and $", "_ It cost")
    done = run("bias", *prompts, "-m", bundle, "--words", 3, "--picture", tmp_path / "bias.png")
    assert (done.returncode, done.stderr) == (0, "")
    assert (tmp_path / "bias.png").read_bytes().startswith(b"\x89PNG")


def test_no_words_are_refused(refused: Callable[..., str], bundle: Path) -> None:
    assert "--words has to be >= 1" in refused("bias", *PROMPTS, "-m", bundle, "--words", 0)
