"""Log-probabilities of tokens and texts, against the softmax of `Session.forward`."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from tests.runtime.chains import chain_of

from gpt2xl import GenerationOptions, Logprobs, Model, RequestError

PRECISIONS = pytest.mark.parametrize("precision", ["fp32", "int8"])


def log_probabilities(model: Model, ids: Sequence[int]) -> npt.NDArray[np.float64]:
    """After each of ``ids``, [n, vocab_size], by one call of the session."""
    session = model.session
    logits = session.forward(np.array([ids]), session.new_cache(), keep=len(ids))[0]
    return log_softmax(logits)


def log_softmax(logits: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    exact = logits.astype(np.float64)
    largest = exact.max(-1, keepdims=True)
    return np.asarray(exact - largest - np.log(np.exp(exact - largest).sum(-1, keepdims=True)))


def decoded_logits(model: Model, prompt: list[int], new: list[int]) -> list[Any]:
    """Before each of ``new``: the prompt in one call of the session, then one token a call."""
    cache, found = model.session.new_cache(), []
    for fed in (prompt, *([token_id] for token_id in new[:-1])):
        found.append(model.session.forward(np.array([fed]), cache)[0, -1])
    return found


def tokens_of(logprobs: list[Logprobs | None] | list[Logprobs]) -> list[float]:
    return [found.token for found in logprobs if found]


def long_text(model: Model, tales: list[str], length: int) -> list[int]:
    return model.tokenizer.encode(" ".join(tales))[:length]


@PRECISIONS
def test_a_score_is_the_softmax_of_the_logits(
    demo: Callable[[str], Model], tales: list[str], precision: str
) -> None:
    model = demo(precision)
    text = tales[6]
    ids = model.tokenizer.encode(text)
    wanted, score = log_probabilities(model, ids), model.score(text, top=3)
    assert score.ids == ids
    assert score.logprobs[0] is None
    chosen = [wanted[at, token_id] for at, token_id in enumerate(ids[1:])]
    assert tokens_of(score.logprobs) == pytest.approx(chosen, abs=1e-5)
    assert score.sum == pytest.approx(sum(chosen), abs=1e-4)
    assert score.perplexity == pytest.approx(math.exp(-sum(chosen) / len(chosen)), rel=1e-5)
    for at, found in enumerate(score.logprobs[1:]):
        assert found is not None
        assert [i for i, _ in found.top] == (-wanted[at]).argsort(kind="stable")[:3].tolist()
        assert found.entropy == pytest.approx(-(np.exp(wanted[at]) * wanted[at]).sum(), abs=1e-4)


@PRECISIONS
@pytest.mark.parametrize("stride", [None, 100])
def test_windows_of_a_long_text(
    demo: Callable[[str], Model], tales: list[str], precision: str, stride: int | None
) -> None:
    """Each token is scored once, with at least n_positions - stride tokens before it."""
    model = demo(precision)
    context = model.config.n_positions
    ids = long_text(model, tales, 780)
    score = model.score(ids, stride=stride)
    assert len(score.logprobs) == len(ids)
    step, wanted, end = stride or context // 2, list[float](), context
    wanted += [p[t] for p, t in zip(log_probabilities(model, ids[:end]), ids[1:end], strict=False)]
    while end < len(ids):
        start, end = max(0, min(end + step, len(ids)) - context), min(end + step, len(ids))
        rows = log_probabilities(model, ids[start:end])
        fresh = range(len(wanted) + 1, end)
        wanted += [float(rows[at - 1 - start, ids[at]]) for at in fresh]
    assert tokens_of(score.logprobs) == pytest.approx(wanted, abs=1e-4)
    assert score.perplexity == pytest.approx(np.exp(-np.mean(wanted)), rel=1e-5)


def test_a_short_or_unknown_text_is_refused(demo: Callable[[str], Model]) -> None:
    model = demo("fp32")
    for text in ("", [5]):
        with pytest.raises(RequestError, match="a text to score has to have two tokens at least"):
            model.score(text)
    last = model.config.n_positions - 1
    for stride, message in ((0, ">= 1, but is 0"), (last + 1, f"<= {last}"), (2.5, "an integer")):
        with pytest.raises(RequestError, match=f"stride has to be .*{message}"):
            model.score("Once upon a time", stride=stride)  # type: ignore[arg-type]
    with pytest.raises(RequestError, match="top has to be >= 0"):
        model.score("Once upon a time", top=-1)
    with pytest.raises(RequestError, match="holds id 99999"):
        model.score([5, 99999])


@PRECISIONS
def test_prompt_log_probabilities_are_those_of_a_score(
    demo: Callable[[str], Model], tales: list[str], precision: str
) -> None:
    """Also of prompts in several chunks, and in rows; the text stays as it is."""
    model = demo(precision)
    prompts = [model.prompt_ids(tales[4]), long_text(model, tales, 400), [7]]
    options = GenerationOptions(seed=3, max_new_tokens=12)
    plain = [model.generate(p, options, seed=3 + n).new_ids for n, p in enumerate(prompts)]
    rows = dict(model.generate_batch(prompts, options, prompt_logprobs=2, rows=3))
    for number, prompt in enumerate(prompts):
        model.generate(prompt, max_new_tokens=1)  # its cache is there to be reused
        result = model.generate(prompt, options, seed=3 + number, prompt_logprobs=2)
        wanted = model.score(prompt, top=2).logprobs if len(prompt) > 1 else [None]
        assert result.prompt_logprobs == wanted
        assert rows[number].prompt_logprobs == wanted
        assert result.new_ids == rows[number].new_ids == plain[number]
        assert result.to_dict()["prompt_logprobs"][0] is None


@PRECISIONS
@pytest.mark.parametrize(
    "options",
    [
        {"greedy": True},
        {"seed": 4},
        {"seed": 4, "top_k": 0, "top_p": 0.9, "repetition_penalty": 1.2},
        {"seed": 4, "mirostat_tau": 3.0},
        {"greedy": True, "no_repeat_ngram_size": 2, "min_new_tokens": 9},
    ],
    ids=str,
)
def test_log_probabilities_change_no_text(
    demo: Callable[[str], Model], tales: list[str], precision: str, options: dict[str, Any]
) -> None:
    model, prompt = demo(precision), tales[8]
    plain = model.generate(prompt, max_new_tokens=25, **options)
    reports: list[dict[str, Any]] = [{"logprobs": 0}, {"logprobs": 3, "processed_logprobs": True}]
    for asked in reports:
        for lookup in (True, False):
            result = model.generate(
                prompt, max_new_tokens=25, prompt_lookup=lookup, **options, **asked
            )
            assert result.new_ids == plain.new_ids
            assert result.logprobs is not None
            assert len(result.logprobs) == len(result.new_ids)
    ((_, row),) = model.generate_batch([prompt], max_new_tokens=25, logprobs=2, **options)
    assert row.new_ids == plain.new_ids


@PRECISIONS
def test_raw_and_processed_log_probabilities(
    demo: Callable[[str], Model], tales: list[str], precision: str
) -> None:
    model = demo(precision)
    options = GenerationOptions(
        seed=2, top_k=5, temperature=0.7, frequency_penalty=0.8, max_new_tokens=10, logprobs=8
    )
    raw = model.generate(tales[7], options)
    processed = model.generate(tales[7], options, processed_logprobs=True)
    assert raw.new_ids == processed.new_ids
    assert raw.logprobs is not None
    assert processed.logprobs is not None
    logits = decoded_logits(model, raw.prompt_ids, raw.new_ids)
    chain = chain_of(options, 2, prompt_length=len(raw.prompt_ids))
    for at, token_id in enumerate(raw.new_ids):
        wanted, found = log_softmax(logits[at]), raw.logprobs[at]
        assert found.token == pytest.approx(wanted[token_id], abs=1e-4)
        assert found.entropy == pytest.approx(-(np.exp(wanted) * wanted).sum(), abs=1e-4)
        assert [i for i, _ in found.top] == (-wanted).argsort(kind="stable")[:8].tolist()
        kept = chain.process([*raw.prompt_ids, *raw.new_ids[:at]], logits[at])
        (left,) = (kept > -np.inf).nonzero()
        shares, found = np.exp(log_softmax(kept[left])), processed.logprobs[at]
        assert sorted(i for i, _ in found.top) == left.tolist()  # nothing that is excluded
        assert len(left) == 5
        assert found.token == pytest.approx(np.log(shares[left == token_id])[0], abs=1e-4)
        assert found.entropy == pytest.approx(-(shares * np.log(shares)).sum(), abs=1e-4)
