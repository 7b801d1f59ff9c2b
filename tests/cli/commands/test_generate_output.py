"""gpt2xl generate: several texts, JSON lines, log-probabilities, colours, statistics."""

import json
import math
import re
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import pytest

import gpt2xl

Run = Callable[..., CompletedProcess[str]]
COLOR = re.compile(rb"\x1b\[38;5;(\d+)m(.*?)\x1b\[0m", re.DOTALL)


@pytest.fixture
def model(bundle: Path) -> gpt2xl.Model:
    """The tiny bundle in Python."""
    return gpt2xl.load(bundle)


@pytest.fixture
def generate(run: Run, bundle: Path) -> Callable[..., str]:
    """Run `gpt2xl generate` with nothing on stderr; return its stdout."""

    def generate(*arguments: object, stdin: bytes = b"") -> str:
        done = run("generate", "-m", bundle, *arguments, stdin=stdin)
        assert (done.returncode, done.stderr) == (0, "")
        return done.stdout

    return generate


def objects(printed: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in printed.splitlines()]


SEARCHES = {
    "-r 3 -s 4": {"num_return_sequences": 3, "seed": 4},
    "-r 2 --num-beams 3 --greedy": {"num_return_sequences": 2, "num_beams": 3, "greedy": True},
    "--num-beams 2 --greedy": {"num_beams": 2, "greedy": True},
    "--penalty-alpha 0.6 -k 4": {"penalty_alpha": 0.6, "top_k": 4},
}


@pytest.mark.parametrize(("line", "options"), SEARCHES.items(), ids=SEARCHES)
def test_several_texts_are_json_lines_or_have_a_line_between(
    line: str, options: dict[str, Any], generate: Callable[..., str], model: gpt2xl.Model
) -> None:
    wanted = model.generate_sequences("Once", max_new_tokens=6, **options)
    found = objects(generate("Once", "-n", 6, "--json", *line.split()))
    assert [text["text"] for text in found] == [text.text for text in wanted]
    assert [text["seed"] for text in found if not options.get("penalty_alpha")] == [
        text.seed for text in wanted if not options.get("penalty_alpha")
    ]
    assert {text["prompt"] for text in found} == {"Once"}
    printed = generate("Once", "-n", 6, *line.split())
    assert printed == "--------\n".join(f"Once{text.text}\n" for text in wanted)


def test_json_lines_are_the_pieces_and_the_last_says_how_the_text_ended(
    generate: Callable[..., str], model: gpt2xl.Model
) -> None:
    wanted = model.generate("Once", seed=4, max_new_tokens=9, logprobs=2)
    found = objects(generate("Once", "--jsonl", "-s", 4, "-n", 9, "--logprobs", 2))
    assert "".join(piece["text"] for piece in found) == wanted.text
    assert [piece["id"] for piece in found] == wanted.new_ids
    assert [piece["finish_reason"] for piece in found] == [None] * 8 + ["length"]
    assert wanted.logprobs is not None
    assert [piece["logprobs"]["token"] for piece in found] == [p.token for p in wanted.logprobs]
    assert all(len(piece["logprobs"]["top"]) == 2 for piece in found)
    assert all(piece.keys() == {"text", "id", "logprobs", "finish_reason"} for piece in found[:-1])
    assert found[-1]["seed"] == 4
    assert found[-1]["timings"]["prompt"] > 0


def test_a_stop_string_is_never_shown(generate: Callable[..., str], model: gpt2xl.Model) -> None:
    whole = model.generate("Once", seed=4, max_new_tokens=20).text
    stop = whole[5:8]
    before = whole[: whole.index(stop)]
    assert generate("Once", "-s", 4, "-n", 20, "--stop", stop) == f"Once{before}\n"
    *_, last = objects(generate("Once", "-s", 4, "-n", 20, "--stop", stop, "--jsonl"))
    assert (last["finish_reason"], last["stop_string"]) == ("stop", stop)
    kept = generate("Once", "-s", 4, "-n", 20, "--stop", stop, "--keep-stop-string")
    assert kept == f"Once{before}{stop}\n"


def test_logprobs_print_a_table_after_the_text(
    generate: Callable[..., str], model: gpt2xl.Model
) -> None:
    wanted = model.generate("Once", greedy=True, max_new_tokens=4, logprobs=2, prompt_logprobs=0)
    printed = generate("Once", "--greedy", "-n", 4, "--logprobs", 2, "--prompt-logprobs", 0)
    text, heads, *rows = printed.splitlines()
    assert text == f"Once{wanted.text}"
    assert heads.split() == ["token", "logprob", "prob", "alternatives"]
    assert len(rows) == len(wanted.prompt_ids) + 4
    assert wanted.logprobs
    for row, found in zip(rows[-4:], wanted.logprobs, strict=True):
        assert f"{found.token:.3f}" in row
        assert row.count("%") == 3
        assert f"{math.exp(found.top[0][1]):.1%}" in row
    content = json.loads(generate("Once", "--greedy", "-n", 4, "--logprobs", 2, "--json"))
    assert [found["token"] for found in content["logprobs"]] == [f.token for f in wanted.logprobs]


def test_a_prompt_may_be_a_file_or_ids(
    generate: Callable[..., str], model: gpt2xl.Model, run: Run, bundle: Path
) -> None:
    Path("prompt.txt").write_text("There was\n\n")
    wanted = generate("There was\n", "--greedy")
    assert generate("--prompt-file", "prompt.txt", "--greedy") == wanted
    ids = model.prompt_ids("There was\n")
    assert generate(str(ids), "--ids", "--greedy") == wanted
    assert generate("--ids", "--greedy", stdin=" ".join(map(str, ids)).encode()) == wanted
    done = run("generate", "-m", bundle, "Once", "--prompt-file", "prompt.txt")
    assert done.returncode == 2
    done = run("generate", "-m", bundle, "12 x", "--ids")
    assert done.stderr == "error: 'x' is not a token id: ids are whole numbers.\n"


def test_stats_are_one_line_on_stderr(run: Run, bundle: Path) -> None:
    done = run("generate", "-m", bundle, "Once", "-s", 3, "-n", 7, "--stats")
    assert re.fullmatch(
        r"7 tokens, first after \d+\.\d\d s, then \d+\.\d tokens/s,"
        r" \d of \d+ draft tokens accepted, ended by length, seed 3\.\n",
        done.stderr,
    )
    done = run("generate", "-m", bundle, "Once", "-s", 3, "-r", 2, "-n", 7, "--stats")
    assert [line[-8:] for line in done.stderr.splitlines()] == [" seed 3.", " seed 4."]


def test_verbose_names_the_processors_in_their_order(run: Run, bundle: Path) -> None:
    def processors(*arguments: object) -> str:
        done = run("generate", "-m", bundle, "Once", "-n", 2, "--verbose", *arguments)
        assert done.returncode == 0
        return done.stderr.removeprefix("Logits processors: ").rstrip(".\n")

    assert processors() == "top_k, temperature"
    assert processors("--greedy") == "none"
    given = ["-p", 0.9, "--repetition-penalty", 1.2, "-k", 0]
    assert processors(*given) == "repetition_penalty, temperature, top_p"
    order = ["--sampler-order", "llama.cpp"]
    assert processors(*given, *order) == "repetition_penalty, top_p, temperature"


def test_show_probs_colours_tokens_on_a_terminal(
    bundle: Path, on_terminal: Callable[..., bytes], model: gpt2xl.Model,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)
    stream = model.stream("Once", seed=4, max_new_tokens=6, logprobs=0)
    wanted = [piece for piece in stream if piece.text]
    whole = "".join(piece.text for piece in wanted)
    arguments = ["generate", "-m", bundle, "Once", "-s", 4, "-n", 6, "-q", "--show-probs"]
    text, legend = on_terminal(*arguments).split(b"\r\n")[:2]
    painted = COLOR.findall(text)
    assert b"".join(piece for _, piece in painted).decode() == whole
    colors = [196, 208, 220, 148, 40]
    probabilities = [math.exp(piece.logprobs.token) for piece in wanted if piece.logprobs]
    steps = [sum(p >= bound for bound in (0.02, 0.1, 0.3, 0.6)) for p in probabilities]
    assert [int(color) for color, _ in painted] == [colors[step] for step in steps]
    assert legend.startswith(b"probability: ")
    for variable, value in (("NO_COLOR", "1"), ("TERM", "dumb")):
        with monkeypatch.context() as patch:
            patch.setenv(variable, value)
            assert on_terminal(*arguments) == f"Once{whole}\r\n".encode()


def test_show_probs_changes_nothing_in_a_pipe(generate: Callable[..., str]) -> None:
    assert generate("Once", "-s", 4, "--show-probs") == generate("Once", "-s", 4)


@pytest.mark.parametrize(
    "flags", [["--json", "--jsonl"], ["--jsonl", "--show-probs"], ["--json", "--show-probs"]]
)
def test_outputs_exclude_each_other(flags: list[str], run: Run, bundle: Path) -> None:
    done = run("generate", "-m", bundle, "Once", *flags)
    assert (done.returncode, done.stdout) == (2, "")
    assert f"cannot be combined with {flags[1]}" in done.stderr


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--jsonl", "-r", 2], "--jsonl streams one text: leave out --num-return-sequences"),
        (
            ["--jsonl", "--num-beams", 2],
            "--jsonl streams one text: leave out --num-return-sequences",
        ),
        (["-r", 2, "--greedy"], "greedy texts are all alike"),
        (["--num-beams", 2, "--logprobs", 1], "beam search has no logprobs"),
        (["--overflow-keep", 2], "--overflow-keep and --overflow-window need --overflow 'slide'"),
    ],
)
def test_options_that_clash_are_one_line(
    options: list[object], message: str, refused: Callable[..., str], bundle: Path
) -> None:
    assert message in refused("generate", "-m", bundle, "Once", *options)


def test_generation_config_sets_defaults_unless_it_is_ignored(
    run: Run, bundle: Path, tmp_path: Path
) -> None:
    own = tmp_path / "own"
    own.mkdir()
    for path in bundle.iterdir():
        if path.name not in ("gpt2xl.json", "generation_config.json"):
            (own / path.name).symlink_to(path)
    (own / "generation_config.json").write_text('{"do_sample": false, "max_new_tokens": 3}')
    arguments = ["generate", "-m", own, "Once", "--json"]
    content = json.loads(run(*arguments).stdout)
    assert (content["seed"], len(content["new_ids"])) == (None, 3)
    content = json.loads(run(*arguments, "--do-sample", "-n", 4, "-s", 1).stdout)
    assert (content["seed"], len(content["new_ids"])) == (1, 4)
    content = json.loads(run(*arguments, "--generation-config", "none", "-s", 2).stdout)
    assert content["seed"] == 2
    assert len(content["new_ids"]) > 3


def test_a_constrained_text_matches(generate: Callable[..., str]) -> None:
    pytest.importorskip("llguidance")
    for seed in range(3):
        printed = generate("Once", "--no-echo", "-s", seed, "--regex", "[a-c]{2}[0-9]")
        assert re.fullmatch(r"[a-c]{2}[0-9]\n", printed)
        assert generate("a", "--no-echo", "-s", seed, "--choice", "yes", "--choice", "no") in (
            "yes\n", "no\n",
        )  # fmt: skip
