"""/v1/completions: every field, and that each text is the one that the library generates alone."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

pytest.importorskip("msgspec", reason="the server needs the extra serve")
pytest.importorskip("uvicorn", reason="the server needs the extra serve")
pytest.importorskip("httpx", reason="the tests of the server need httpx")

from tests.serve.conftest import Running
from tests.serve.test_names import MIKUPAD

from gpt2xl import Continuation, GenerationOptions, Grammar

LONG = "Once upon a time there was a king who had a fair daughter. " * 4
OPENAI: dict[str, Any] = {"temperature": 1.0, "top_p": 1.0, "top_k": 0, "max_new_tokens": 16}
CASES: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({}, {}),
    ({"temperature": 0}, {"temperature": 0}),
    ({"temperature": 0.7, "top_p": 0.9, "max_tokens": 12}, {"temperature": 0.7, "top_p": 0.9, "max_new_tokens": 12}),
    ({"top_k": 40, "min_p": 0.05, "max_tokens": 20}, {"top_k": 40, "min_p": 0.05, "max_new_tokens": 20}),
    ({"stop": ["e", "a"], "max_tokens": 30}, {"stop_strings": ("e", "a"), "max_new_tokens": 30}),
    ({"stop": ".", "include_stop_str_in_output": True}, {"stop_strings": (".",), "keep_stop_string": True}),
    ({"repetition_penalty": 1.3, "presence_penalty": 0.5}, {"repetition_penalty": 1.3, "presence_penalty": 0.5}),
    ({"frequency_penalty": 1, "logit_bias": {"262": 3, "5": -100}}, {"frequency_penalty": 1.0, "logit_bias": {262: 3.0, 5: -100.0}}),
    ({"typical_p": 0.8, "ignore_eos": True, "max_tokens": 25}, {"typical_p": 0.8, "ignore_eos": True, "max_new_tokens": 25}),
    ({"min_tokens": 5, "stop_token_ids": [11]}, {"min_new_tokens": 5, "stop_token_ids": (11,)}),
    ({"allowed_token_ids": [262, 263, 264]}, {"allowed_token_ids": (262, 263, 264)}),
    ({"dry_multiplier": 0.8, "xtc_probability": 0.5}, {"dry_multiplier": 0.8, "xtc_probability": 0.5}),
    ({"end_at_sentence": True, "max_tokens": 5}, {"end_at_sentence": True, "max_new_tokens": 5}),
    ({"logprobs": 3}, {"logprobs": 3}),
    ({"n_predict": 7, "repeat_last_n": 8, "repeat_penalty": 1.2, "top_k": -1, "mirostat": 0, "mirostat_tau": 5},
     {"max_new_tokens": 7, "repetition_window": 8, "repetition_penalty": 1.2}),
]  # fmt: skip


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_32_texts_of_8_clients_at_once_are_those_alone(
    served: Callable[[str], Running], precision: str
) -> None:
    running = served(precision)
    prompts = ["Once", "The king", LONG, LONG + "The wolf", "", "She said"]
    jobs = [
        (prompts[number % len(prompts)], *CASES[number % len(CASES)], number)
        for number in range(32)
    ]

    def text(job: tuple[str, dict[str, Any], dict[str, Any], int]) -> str:
        prompt, fields, _, seed = job
        asked = {"prompt": prompt, "seed": seed} | fields
        if seed % 2:
            return "".join(part["choices"][0]["text"] for part in running.stream(**asked))
        return str(running.complete(**asked)["choices"][0]["text"])

    with ThreadPoolExecutor(8) as clients:
        found = list(clients.map(text, jobs))
    for (prompt, _, options, seed), served_text in zip(jobs, found, strict=True):
        alone = running.model.generate(prompt, GenerationOptions(**OPENAI | options, seed=seed))
        assert served_text == alone.text
    assert running.server.service.engine.load == 0


def test_prompts_are_texts_ids_and_lists_of_them(served: Callable[[str], Running]) -> None:
    running = served("fp32")
    ids = running.model.tokenizer.encode("Once upon a")
    for prompt, count in (
        ("Once upon a", 1),
        (ids, 1),
        (["Once upon a", "Once upon a"], 2),
        ([ids, ids, ids], 3),
    ):
        answer = running.complete(prompt=prompt, temperature=0, max_tokens=3)
        assert [each["text"] for each in answer["choices"]] == [" time, there"] * count
        assert [each["index"] for each in answer["choices"]] == list(range(count))
        usage = {
            "prompt_tokens": 3 * count,
            "completion_tokens": 3 * count,
            "total_tokens": 6 * count,
        }
        assert answer["usage"] == usage


def test_seeds_follow_each_other(served: Callable[[str], Running]) -> None:
    running = served("fp32")
    answer = running.complete(prompt=["Once", "The king"], n=2, seed=5, max_tokens=6)
    assert [each["seed"] for each in answer["choices"]] == [5, 6, 7, 8]
    for number, choice in enumerate(answer["choices"]):
        prompt, options = ["Once", "The king"][number // 2], OPENAI | {"max_new_tokens": 6}
        alone = running.model.generate(prompt, GenerationOptions(**options, seed=5 + number))
        assert choice["text"] == alone.text


def test_a_drawn_seed_gives_the_text_again(served: Callable[[str], Running]) -> None:
    running = served("fp32")
    (choice,) = running.complete(prompt="Once")["choices"]
    again = running.complete(prompt="Once", seed=choice["seed"])["choices"][0]
    assert again == choice


def test_the_best_of_several_have_the_most_probable_tokens(
    served: Callable[[str], Running],
) -> None:
    running = served("fp32")
    asked = {"prompt": "The king", "seed": 3, "max_tokens": 6}
    every = running.complete(n=5, logprobs=0, **asked)["choices"]
    means = {each["text"]: sum(each["logprobs"]["token_logprobs"]) / 6 for each in every}
    answer = running.complete(n=2, best_of=5, **asked)
    assert [each["text"] for each in answer["choices"]] == sorted(means, key=lambda t: -means[t])[
        :2
    ]
    assert [each["index"] for each in answer["choices"]] == [0, 1]
    assert answer["choices"][0]["logprobs"] is None
    assert answer["usage"]["completion_tokens"] == 30


@pytest.mark.parametrize("stop", [None, "time"])
@pytest.mark.parametrize("prompt", ["Once upon a time", "It\u2019s é", ""])
def test_a_stream_adds_up_to_the_whole(
    served: Callable[[str], Running], prompt: str, stop: str | None
) -> None:
    running = served("fp32")
    asked = {
        "prompt": prompt,
        "n": 2,
        "seed": 1,
        "max_tokens": 9,
        "logprobs": 2,
        "echo": True,
        "stop": stop,
    }
    whole = running.complete(**asked)
    chunks = list(running.stream(**asked, stream_options={"include_usage": True}))
    assert chunks[-1]["choices"] == []
    assert chunks[-1]["usage"] == whole["usage"]
    for choice in whole["choices"]:
        parts = [each["choices"][0] for each in chunks[:-1]]
        parts = [each for each in parts if each["index"] == choice["index"]]
        assert "".join(each["text"] for each in parts) == choice["text"]
        for name, values in choice["logprobs"].items():
            assert [value for each in parts for value in each["logprobs"][name]] == values
        assert [each["finish_reason"] for each in parts[:-1]] == [None] * (len(parts) - 1)
        assert parts[-1]["finish_reason"] == choice["finish_reason"]


def test_echo_scores_the_prompt_as_the_library_does(served: Callable[[str], Running]) -> None:
    running = served("fp32")
    text = "The king said: \u201cIt\u2019s é.\u201d"
    (choice,) = running.complete(prompt=text, max_tokens=0, echo=True, logprobs=2)["choices"]
    score, found = running.model.score(text, top=2), choice["logprobs"]
    assert choice["text"] == text
    assert choice["finish_reason"] == "length"
    assert found["token_logprobs"][0] is found["top_logprobs"][0] is None
    wanted = [each.token for each in score.logprobs if each]
    assert found["token_logprobs"][1:] == pytest.approx(wanted, abs=1e-4)
    for offset, token in zip(found["text_offset"], found["tokens"], strict=True):
        if not token.startswith("bytes:"):
            assert text[offset:].startswith(token)
    fragments = [token.removeprefix("bytes:") for token in found["tokens"] if "bytes:" in token]
    assert "\\xe2" in fragments[0]


def test_the_contract_of_lm_eval_holds(served: Callable[[str], Running]) -> None:
    """Lists of ids, echo, one token, one log-probability; the chosen token is among the top with the very same number."""
    running = served("fp32")
    encode = running.model.tokenizer.encode
    pairs = [("Once upon", " a time"), ("The king", " said no"), (LONG, " The wolf ate é")]
    items = [Continuation(encode(context), encode(rest)) for context, rest in pairs]
    prompts = [[*each.context, *each.ids] for each in items]
    answer = running.complete(
        model="demo", prompt=prompts, echo=True, max_tokens=1, logprobs=1, temperature=0, seed=1234
    )
    wanted = running.model.score_continuations(items)
    for item, choice, score in zip(items, answer["choices"], wanted, strict=True):
        start, found = len(item.context), choice["logprobs"]
        values, tops = found["token_logprobs"][start:-1], found["top_logprobs"][start:-1]
        assert len(found["tokens"]) == len(item.context) + len(item.ids) + 1
        assert sum(values) == pytest.approx(float(score.logprobs.sum()), rel=1e-6)
        greedy = [value == max(top.values()) for value, top in zip(values, tops, strict=True)]
        assert greedy == (score.top_ids[:, 0] == item.ids).tolist()
        for token, value, top in zip(found["tokens"][start:-1], values, tops, strict=True):
            assert top[token] == value


def test_tokens_behind_a_stop_string_are_left_out(served: Callable[[str], Running]) -> None:
    running = served("fp32")
    asked = {"prompt": "Once upon a", "temperature": 0, "logprobs": 0}
    (choice,) = running.complete(stop=" there", **asked)["choices"]
    assert choice["text"] == " time,"
    assert choice["logprobs"]["tokens"] == [" time", ","]
    assert (choice["finish_reason"], choice["stop_reason"]) == ("stop", " there")


def test_ids_are_returned_where_they_are_asked_for(served: Callable[[str], Running]) -> None:
    running = served("fp32")
    ids = running.model.tokenizer.encode("Once upon")
    asked = {"prompt": "Once upon", "temperature": 0, "max_tokens": 2, "return_token_ids": True}
    (choice,) = running.complete(logprobs=1, return_tokens_as_token_ids=True, **asked)["choices"]
    assert choice["prompt_token_ids"] == ids
    assert choice["token_ids"] == running.model.tokenizer.encode(" a time")
    assert choice["logprobs"]["tokens"] == [f"token_id:{each}" for each in choice["token_ids"]]
    parts = [each["choices"][0] for each in running.stream(**asked)]
    assert [i for each in parts for i in each["token_ids"]] == choice["token_ids"]


def test_prompts_are_cut_and_read_as_asked(served: Callable[[str], Running]) -> None:
    running = served("fp32")
    asked = {"temperature": 0, "max_tokens": 2, "return_token_ids": True}
    ids = running.model.tokenizer.encode(LONG)
    (choice,) = running.complete(prompt=LONG, truncate_prompt_tokens=5, **asked)["choices"]
    assert choice["prompt_token_ids"] == ids[-5:]
    (choice,) = running.complete(prompt="<|endoftext|>a", **asked)["choices"]
    assert len(choice["prompt_token_ids"]) == 2
    (choice,) = running.complete(prompt="<|endoftext|>a", parse_special=False, **asked)["choices"]
    assert len(choice["prompt_token_ids"]) > 2


@pytest.mark.parametrize(
    "fields",
    [
        {"regex": "(yes|no)"},
        {"guided_choice": ["yes", "no"]},
        {"grammar": 'root ::= "yes" | "no"'},
        {"json_schema": {"type": "boolean"}},
        {
            "response_format": {
                "type": "json_schema",
                "json_schema": {"schema": {"type": "boolean"}},
            }
        },
    ],
)
def test_grammars_constrain_texts(served: Callable[[str], Running], fields: dict[str, Any]) -> None:
    pytest.importorskip("llguidance", reason="grammars need the extra grammar")
    (choice,) = served("fp32").complete(prompt="Is it? ", seed=1, **fields)["choices"]
    assert choice["text"] in ("yes", "no", "true", "false")
    assert choice["finish_reason"] == "stop"
    assert Grammar.regex("a")


def test_a_text_slides_beyond_the_context(served: Callable[[str], Running]) -> None:
    running = served("int8")
    limit = running.model.config.n_positions
    prompt = [262] * (limit - 2)
    asked = {"prompt": prompt, "max_tokens": 6, "ignore_eos": True, "seed": 1}
    assert running.complete(**asked)["usage"]["completion_tokens"] == 3
    assert running.complete(overflow="slide", **asked)["usage"]["completion_tokens"] == 6


def test_a_client_of_llama_cpp_reads_each_token_with_its_alternatives(
    served: Callable[[str], Running],
) -> None:
    """As mikupad does: of each chunk the first choice's text, and its first top_logprobs as a dict."""
    running = served("fp32")
    for chunk in running.stream(**MIKUPAD | {"grammar_string": "", "seed": -1}):
        choice = chunk["choices"][0]
        if len(choice["logprobs"]["tokens"]) == 1:
            (top,) = choice["logprobs"]["top_logprobs"]
            assert len(top) in (10, 11)
            assert choice["text"] in top
