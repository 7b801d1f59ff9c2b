"""gpt2xl generate: texts, options and JSON."""

import json
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import pytest

import gpt2xl

Run = Callable[..., CompletedProcess[str]]
Generate = Callable[..., str]
CONTEXT = 96


@pytest.fixture
def generate(run: Run, bundle: Path) -> Generate:
    """Run `gpt2xl generate` with nothing on stderr; return its stdout."""

    def generate(*arguments: object, stdin: bytes = b"") -> str:
        done = run("generate", "-m", bundle, *arguments, stdin=stdin)
        assert (done.returncode, done.stderr) == (0, "")
        return done.stdout

    return generate


def test_the_same_seed_gives_the_same_text_and_another_seed_another(generate: Generate) -> None:
    first = generate("Once", "--seed", 1)
    assert first == generate("Once", "--seed", 1)
    assert first != generate("Once", "--seed", 2)


def test_without_a_seed_texts_differ(generate: Generate) -> None:
    assert len({generate("Once") for _ in range(3)}) == 3


def test_the_text_is_that_of_the_library(generate: Generate, bundle: Path) -> None:
    options = {"max_new_tokens": 9, "top_k": 7, "temperature": 0.8, "seed": 5}
    wanted = gpt2xl.load(bundle).generate("Once", **options)  # type: ignore[arg-type]
    words = [f"--{name.replace('_', '-')}={value}" for name, value in options.items()]
    assert generate("Once", *words) == f"Once{wanted.text}\n"


@pytest.mark.parametrize("same", [["--top-k", "1"], ["--greedy", "--seed", "3"]])
def test_greedy_ignores_the_seed(same: list[str], generate: Generate) -> None:
    assert generate("Once", "--greedy") == generate("Once", *same)


def test_no_echo_leaves_the_prompt_out(generate: Generate) -> None:
    assert "Once" + generate("Once", "--greedy", "--no-echo") == generate("Once", "--greedy")


def test_json_is_one_object_with_all_results(generate: Generate, bundle: Path) -> None:
    printed = generate("Once", "--seed", 1, "-n", 7, "--json")
    assert printed.count("\n") == 1
    content = json.loads(printed)
    assert set(content) == {
        "prompt", "text", "prompt_ids", "new_ids", "finish_reason", "seed", "timings",
            "guesses",
    }  # fmt: skip
    assert (content["prompt"], content["seed"]) == ("Once", 1)
    assert (content["finish_reason"], len(content["new_ids"])) == ("length", 7)
    assert set(content["timings"]) == {"prompt", "decode", "tokens_per_second"}
    tokenizer = gpt2xl.Tokenizer.from_file(bundle / "tokenizer.json")
    assert tokenizer.decode(content["prompt_ids"]) == "Once"
    assert tokenizer.decode(content["new_ids"]) == content["text"]


def test_the_seed_in_json_gives_the_same_text_again(generate: Generate) -> None:
    first = json.loads(generate("Once", "--json"))
    again = json.loads(generate("Once", "--json", "--seed", first["seed"]))
    assert again["new_ids"] == first["new_ids"]


def test_greedy_json_has_no_seed(generate: Generate) -> None:
    assert json.loads(generate("Once", "--greedy", "--json"))["seed"] is None


@pytest.mark.parametrize("argument", [[], ["-"]])
def test_stdin_without_its_final_newline_is_the_prompt(
    argument: list[str], generate: Generate
) -> None:
    printed = generate(*argument, "--json", "--greedy", stdin=b"There was\n\n")
    assert json.loads(printed)["prompt"] == "There was\n"


def test_a_prompt_that_looks_like_an_option_follows_two_dashes(generate: Generate) -> None:
    assert generate("--greedy", "--", "-n").startswith("-n")


@pytest.mark.parametrize("options", [["--greedy"], ["--greedy", "--json"]])
def test_an_empty_prompt_starts_from_end_of_text(options: list[str], generate: Generate) -> None:
    printed = generate("", "-n", 5, *options)
    if "--json" in options:
        assert json.loads(printed)["prompt_ids"] == [286]
        assert len(json.loads(printed)["text"]) > 0
    else:
        assert len(printed) > 1


@pytest.mark.parametrize("wanted", [CONTEXT + 1, 10**30])
def test_the_context_limit_ends_the_text_without_an_error(wanted: int, generate: Generate) -> None:
    printed = json.loads(generate("Once", "--seed", 1, "-n", wanted, "--json"))
    assert printed["finish_reason"] == "length"
    assert len(printed["prompt_ids"]) + len(printed["new_ids"]) == CONTEXT + 1


def test_a_prompt_that_fills_the_context_gets_one_more_token(generate: Generate) -> None:
    printed = json.loads(generate("#" * CONTEXT, "--greedy", "--json"))
    assert (len(printed["prompt_ids"]), len(printed["new_ids"])) == (CONTEXT, 1)


def test_end_of_text_stops_and_is_not_printed(run: Run, bundle: Path, tmp_path: Path) -> None:
    talker = gpt2xl.load(bundle).generate("Once", greedy=True, max_new_tokens=9).new_ids
    stops = tmp_path / "stops"
    stops.mkdir()
    for path in bundle.iterdir():
        if path.name not in ("gpt2xl.json", "generation_config.json"):
            (stops / path.name).symlink_to(path)
    (stops / "generation_config.json").write_text(json.dumps({"eos_token_id": talker[5]}))
    content = json.loads(run("generate", "-m", stops, "Once", "--greedy", "--json").stdout)
    assert content["finish_reason"] == "stop"
    assert content["new_ids"] == talker[: talker.index(talker[5])]


def test_padding_ids_of_the_vocabulary_add_no_text(generate: Generate) -> None:
    for seed in range(20):  # the model has 289 ids, its tokenizer 287
        content = json.loads(generate("a", "--top-k", 0, "--seed", seed, "--json"))
        if {287, 288} & set(content["new_ids"]):
            return
    pytest.fail("no seed drew one of the two ids")


@pytest.mark.parametrize("options", [["--threads", "1"], ["--provider", "cpu"]])
def test_threads_and_provider_change_no_text(options: list[str], generate: Generate) -> None:
    assert generate("Once", "--greedy", *options) == generate("Once", "--greedy")


@pytest.mark.parametrize("way", [["--greedy"], ["--seed", "4"]])
def test_drafts_change_no_text(way: list[str], generate: Generate, bundle: Path) -> None:
    wanted = json.loads(generate("Once", "--json", "--no-prompt-lookup", *way))
    assert wanted["guesses"] == {"guessed": 0, "accepted": 0}
    for guessing in (["--draft", bundle], ["--prompt-lookup"], []):
        found = json.loads(generate("Once", "--json", *guessing, *way))
        assert found["new_ids"] == wanted["new_ids"]


def test_a_draft_model_that_cannot_be_used_is_refused(
    run: Run, bundle: Path, make_bundle: Callable[..., Path]
) -> None:
    done = run("generate", "-m", bundle, "Once", "--draft", "no/where/at/all")
    assert (done.returncode, done.stdout) == (1, "")
    assert "no/where/at/all" in done.stderr
    other = make_bundle({"vocab_size": 290})
    done = run("generate", "-m", bundle, "Once", "--draft", other)
    assert "the draft model has another tokenizer" in done.stderr


def test_no_special_reads_special_tokens_as_characters(
    bundle: Path, run: Run, tmp_path: Path
) -> None:
    line = tmp_path / "in.jsonl"
    line.write_text('{"prompt": "king<|endoftext|>"}\n')
    texts = set()
    for special in ("--special", "--no-special"):
        way = ["-m", bundle, special, "--greedy", "-n", 9]
        alone = json.loads(run("generate", "king<|endoftext|>", "--json", *way).stdout)
        assert (286 in alone["prompt_ids"]) == (special == "--special")
        row = json.loads(run("batch", line, "-", *way).stdout)
        assert row["text"] == alone["text"]
        texts.add(alone["text"])
    assert len(texts) == 2
