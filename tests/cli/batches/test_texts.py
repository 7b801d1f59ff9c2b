"""gpt2xl batch: the text of each line, and the summary."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess
from typing import TYPE_CHECKING

import pytest

import gpt2xl

if TYPE_CHECKING:
    from tests.cli.batches.conftest import Batch

Run = Callable[..., CompletedProcess[str]]
OUT = Path("out.jsonl")


@pytest.mark.parametrize("way", [["--greedy"], ["--seed", "7"]], ids=["greedy", "sampled"])
@pytest.mark.parametrize("count", [1, 3, 16])
def test_each_line_gets_the_text_that_generate_gives(
    way: list[str], count: int, batch: "Batch", bundle: Path
) -> None:
    found = batch(batch.write(x=[1.5]), OUT, "-n", 30, "--rows", count, *way)
    for number, (prompt, row) in enumerate(zip(batch.prompts, found, strict=True)):
        seed = None if way == ["--greedy"] else 7 + number
        alone = gpt2xl.load(bundle).generate(
            prompt, max_new_tokens=30, greedy=seed is None, seed=seed
        )
        assert row == {
            "id": number, "prompt": prompt, "x": [1.5], "text": alone.text,
            "finish_reason": alone.finish_reason, "new_tokens": len(alone.new_ids), "seed": seed,
        }  # fmt: skip


def test_the_input_line_is_copied_byte_for_byte(batch: "Batch") -> None:
    line = '{"a":1.50,  "b": 1e999, "prompt":"Once", "c": "\\u20ac €" }'
    Path("in.jsonl").write_text(f"  {line}\r\n", encoding="utf-8")
    batch("in.jsonl", OUT, "-n", 3)
    text = OUT.read_bytes().decode()
    assert text.startswith(line[:-2] + ', "text": ')
    assert text.count("\n") == 1


def test_a_summary_is_printed_as_text_or_as_json(run: Run, bundle: Path, batch: "Batch") -> None:
    wanted = batch(batch.write(), OUT, "-n", 5, "--greedy")
    done = run("batch", "-m", bundle, "in.jsonl", "other", "-n", 5, "--greedy")
    assert re.fullmatch(r"Wrote other: 7 texts, 35 new tokens, [\d.]+ tokens/s\.\n", done.stdout)
    done = run("batch", "-m", bundle, "in.jsonl", "third", "-n", 5, "--greedy", "--json")
    facts = {"out": "third", "rows": 7, "done_before": 0, "new_tokens": 35, "new_tokens_now": 35}
    found = json.loads(done.stdout)
    assert found.pop("tokens_per_second") > 0
    assert (found, done.stderr) == (facts, "")
    assert wanted == batch.rows(Path("other")) == batch.rows(Path("third"))


def test_one_text_of_one_token_is_singular(run: Run, bundle: Path, batch: "Batch") -> None:
    done = run("batch", "-m", bundle, batch.write(["Once"]), OUT, "-n", 1, "--greedy")
    assert done.stdout.startswith("Wrote out.jsonl: 1 text, 1 new token, ")


def test_the_input_may_be_stdin(batch: "Batch") -> None:
    content = Path(batch.write()).read_bytes()
    wanted = batch("in.jsonl", OUT, "--greedy", "-n", 5)
    assert batch("-", OUT, "--greedy", "-n", 5, "--force", stdin=content) == wanted


@pytest.mark.parametrize("way", [["--greedy"], []], ids=["greedy", "sampled"])
def test_an_empty_input_gives_an_empty_output(batch: "Batch", way: list[str]) -> None:
    assert batch(batch.write([]), OUT, *way) == []
    assert OUT.read_bytes() == b""


def test_without_a_seed_one_is_drawn_and_written_to_each_line(batch: "Batch") -> None:
    first = batch(batch.write(), OUT, "-n", 9)
    assert [row["seed"] - first[0]["seed"] for row in first] == list(range(7))
    again = batch("in.jsonl", OUT, "-n", 9, "--force", "--seed", first[0]["seed"])
    assert again == first


def test_plain_lines_are_prompts(bundle: Path, run: Run) -> None:
    Path("in.txt").write_text('the "king"\r\n\n who said\n', "utf-8")
    way = ["-m", bundle, "--seed", 3, "-n", 9]
    assert run("batch", "--lines", "in.txt", OUT, *way).returncode == 0
    found = [json.loads(line) for line in OUT.read_text("utf-8").splitlines()]
    assert [row["prompt"] for row in found] == ['the "king"', " who said"]
    prompts = "".join(json.dumps({"prompt": row["prompt"]}) + "\n" for row in found)
    done = run("batch", "-", "-", *way, stdin=prompts.encode())
    assert [json.loads(line)["text"] for line in done.stdout.splitlines()] == [
        row["text"] for row in found
    ]
