"""gpt2xl batch: the options of texts, in the output and in the first line of a resume file."""

import json
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess
from typing import TYPE_CHECKING, Any

import pytest

import gpt2xl
from gpt2xl import GenerationOptions, Grammar
from gpt2xl_cli.batches.run_header import differences, run_header

if TYPE_CHECKING:
    from tests.cli.batches.conftest import Batch

Run = Callable[..., CompletedProcess[str]]
OUT, PART = Path("out.jsonl"), Path("out.jsonl.part")
OPTIONS = {
    "-p 0.7 --repetition-penalty 1.3 -s 7": {"top_p": 0.7, "repetition_penalty": 1.3, "seed": 7},
    "--num-beams 2 --greedy": {"num_beams": 2, "greedy": True},
    "--num-beams 2 -s 7": {"num_beams": 2, "seed": 7},
    "--stop a --logit-bias 5=1 --greedy": {
        "stop_strings": ("a",), "logit_bias": {5: 1.0}, "greedy": True,
    },
}  # fmt: skip


@pytest.mark.parametrize(("line", "options"), OPTIONS.items(), ids=OPTIONS)
def test_each_line_gets_the_text_that_the_options_give(
    line: str, options: dict[str, Any], batch: "Batch", bundle: Path
) -> None:
    found = batch(batch.write(), OUT, "-n", 9, *line.split())
    model = gpt2xl.load(bundle)
    for number, (prompt, row) in enumerate(zip(batch.prompts, found, strict=True)):
        seed = {"seed": options["seed"] + number} if "seed" in options else {}
        alone = model.generate(prompt, max_new_tokens=9, **options | seed)
        assert (row["text"], row["seed"]) == (alone.text, alone.seed)


@pytest.mark.parametrize("line", [*OPTIONS, "--logprobs 1 -s 3"])
def test_a_run_with_options_is_resumed(line: str, batch: "Batch") -> None:
    wanted = batch(batch.write(), OUT, "-n", 9, *line.split())
    OUT.unlink()
    batch.interrupted(2, "in.jsonl", OUT, "-n", 9, *line.split())
    said = "2 of 7 texts were done already; resuming.\n"
    assert batch("in.jsonl", OUT, "-n", 9, *line.split(), stderr=said) == wanted


def test_log_probabilities_are_added_to_each_line(batch: "Batch", bundle: Path) -> None:
    rows = batch(batch.write(), OUT, "-n", 5, "--greedy", "--logprobs", 1, "--prompt-logprobs", 0)
    wanted = gpt2xl.load(bundle).generate(
        "Once", max_new_tokens=5, greedy=True, logprobs=1, prompt_logprobs=0
    )
    assert wanted.logprobs
    assert wanted.prompt_logprobs
    found = [(values["token"], *values["top"][0]) for values in rows[0]["logprobs"]]
    # Steps that texts share may add float32 numbers in another order.
    assert found == [pytest.approx((p.token, *p.top[0]), abs=1e-6) for p in wanted.logprobs]
    assert rows[0]["prompt_logprobs"][0] is None
    assert len(rows[0]["prompt_logprobs"]) == len(wanted.prompt_ids)


def test_a_prompt_may_be_token_ids(batch: "Batch", bundle: Path) -> None:
    wanted = batch(batch.write(["the king who"]), OUT, "--greedy", "-n", 9)
    ids = gpt2xl.load(bundle).prompt_ids("the king who")
    Path("in.jsonl").write_text(json.dumps({"prompt": ids}) + "\n")
    found = batch("in.jsonl", OUT, "--greedy", "-n", 9, "--force")
    assert (found[0]["prompt"], found[0]["text"]) == (ids, wanted[0]["text"])


def test_a_preset_and_the_config_file_hold_for_all_lines(batch: "Batch", run: Run) -> None:
    assert run("config", "set", "max-new-tokens", 3).returncode == 0
    rows = batch(batch.write(), OUT, "--preset", "precise", "-s", 1)
    assert {row["new_tokens"] for row in rows} == {3}
    PART.unlink(missing_ok=True)
    assert batch("in.jsonl", OUT, "-n", 3, "-t", 0.3, "-p", 0.9, "-s", 1, "--force") == rows


SAME = {
    "prompt lookup": ({"prompt_lookup": False, "seed": 1}, {"seed": 1}),
    "do_sample": ({"do_sample": True, "seed": 1}, {"seed": 1}),
    "the default length": ({"max_new_tokens": 128, "seed": 1}, {"seed": 1}),
    "a greedy run's seed": ({"greedy": True, "seed": 3}, {"do_sample": False}),
    "a greedy run's truncation": (
        {"greedy": True, "top_p": 0.5, "mirostat_tau": 5.0},
        {"greedy": True},
    ),
}


@pytest.mark.parametrize(("one", "other"), SAME.values(), ids=SAME)
def test_options_that_change_no_text_are_the_same_run(
    one: dict[str, Any], other: dict[str, Any], bundle: Path
) -> None:
    headers = [run_header("", bundle, GenerationOptions(**options)) for options in (one, other)]
    assert differences(*headers) == []
    assert differences(*reversed(headers)) == []


def test_options_that_json_does_not_have_are_in_the_header(bundle: Path) -> None:
    pytest.importorskip("llguidance")
    plain = run_header("", bundle, GenerationOptions(seed=1))
    given: dict[str, Any] = {
        "grammar": Grammar.regex("a"),
        "sequence_bias": {(1, 2): 1.0},
        "logit_bias": {3: 1.0},
    }
    for name, value in given.items():
        header = run_header("", bundle, GenerationOptions(seed=1, **{name: value}))
        read_back = json.loads(json.dumps(header))
        assert differences(header, read_back) == []
        assert differences(header, plain) == [name]


def test_contrastive_search_has_a_use_for_top_k(bundle: Path) -> None:
    headers = [
        run_header("", bundle, GenerationOptions(greedy=True, penalty_alpha=0.5, top_k=k))
        for k in (3, 4)
    ]
    assert differences(*headers) == ["top_k"]
