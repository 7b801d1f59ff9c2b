"""What holds for every combination of options, on a tiny model."""

from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from hypothesis import given, reject, settings
from hypothesis import strategies as st

from gpt2xl import Generation, GenerationOptions, Model, RequestError, load

Floats = npt.NDArray[np.float64]
VOCAB, EOS, ROWS = 287, 286, 7
LETTERS = st.integers(64, 75)  # the ids of a to l
IDS = st.lists(LETTERS, max_size=4)
OPTIONS = st.fixed_dictionaries(
    {
        "seed": st.integers(0, 99),
        "max_new_tokens": st.integers(1, 24),
        "allowed_token_ids": st.just((*range(64, 84),)) | st.just(()),  # few, so that rules bite
    },
    optional={
        "greedy": st.just(True),
        "temperature": st.sampled_from([0.3, 1.0, 2.5]),
        "top_k": st.sampled_from([0, 1, 5, 300]),
        "top_p": st.sampled_from([0.2, 0.9]),
        "min_p": st.sampled_from([0.05, 0.5]),
        "epsilon_cutoff": st.just(0.004),
        "repetition_penalty": st.sampled_from([0.8, 1.5]),
        "presence_penalty": st.sampled_from([-1.0, 1.0]),
        "frequency_penalty": st.sampled_from([0.7]),
        "no_repeat_ngram_size": st.integers(2, 3),
        "bad_words_ids": st.lists(st.lists(LETTERS, min_size=1, max_size=2), max_size=3),
        "logit_bias": st.dictionaries(LETTERS | st.just(EOS), st.sampled_from([-5.0, 4.0])),
        "suppress_tokens": IDS,
        "begin_suppress_tokens": IDS,
        "min_new_tokens": st.integers(0, 9),
        "ignore_eos": st.just(True),
        "stop_token_ids": IDS,
        "stop_strings": st.lists(st.text("abcdefghijkl", min_size=1, max_size=3), max_size=4),
        "keep_stop_string": st.just(True),
        "repetition_detection": st.just(2),
        "logprobs": st.integers(0, 2),
        "overflow": st.just("slide"),
    },
)


@cache
def loaded(folder: Path) -> Model:
    return load(folder, threads=1)


def excluded(ids: Sequence[int], start: int, options: GenerationOptions, eos: set[int]) -> set[int]:
    """The ids that rules forbid after ``ids``, of which ``start`` are the prompt."""
    found, size = {*options.suppress_tokens}, options.no_repeat_ngram_size
    if options.ignore_eos:
        found |= {EOS} - {*options.stop_token_ids}
    if len(ids) == start:
        found |= {*options.begin_suppress_tokens}
    if len(ids) - start < options.min_new_tokens:
        found |= eos
    if options.allowed_token_ids:
        found |= {*range(VOCAB)} - {*options.allowed_token_ids} - eos
    for *before, last in options.bad_words_ids:
        if [*ids][len(ids) - len(before) :] == before and [*before, last] not in [[e] for e in eos]:
            found.add(last)
    for at in range(len(ids) - size + 1 if size else 0):
        if [*ids[at : at + size - 1]] == [*ids[len(ids) - size + 1 :]]:
            found.add(ids[at + size - 1])
    return found


def processed(
    ids: Sequence[int], start: int, logits: npt.NDArray[np.float32], options: GenerationOptions
) -> Floats:
    """The logits after the rules that exclude nothing."""
    values = logits.astype(np.float64)
    for token_id in {*ids}:
        penalty, negative = options.repetition_penalty, values[token_id] < 0
        values[token_id] *= penalty if negative else 1 / penalty
    for token_id in {*ids[start:]}:
        count = [*ids[start:]].count(token_id)
        values[token_id] -= options.presence_penalty + count * options.frequency_penalty
    for token_id, bias in (options.logit_bias or {}).items():
        values[token_id] += bias
    return values


def surviving(values: Floats, options: GenerationOptions) -> set[int]:
    """The ids that may be drawn, those at the edge of a range included."""
    if options.is_greedy:
        return {*np.flatnonzero(values >= values.max() - 1e-3).tolist()}
    values = values / options.temperature
    if options.top_k:
        edge = np.sort(values)[-min(options.top_k, VOCAB)]
        values = np.where(values >= edge - 1e-3, values, -np.inf)
    for name in ("top_p", "min_p", "epsilon_cutoff"):
        shares = np.exp(values - values.max())
        shares /= shares.sum()
        if name == "top_p" and options.top_p < 1:
            larger = np.array([shares[shares > share * 1.001].sum() for share in shares])
            values = np.where(larger <= options.top_p + 1e-3, values, -np.inf)
        elif name == "min_p":
            least = options.min_p * shares.max() * 0.999
            values = np.where(shares >= least, values, -np.inf)
        elif name == "epsilon_cutoff":
            kept = (shares >= options.epsilon_cutoff * 0.999) | (shares >= shares.max() * 0.999)
            values = np.where(kept, values, -np.inf)
    return {*np.flatnonzero(values > -np.inf).tolist()}


def check(model: Model, text: Generation, options: GenerationOptions) -> None:
    """The text is one that the options allow."""
    assert len(text.new_ids) <= (options.max_new_tokens or 0)
    start, eos = len(text.prompt_ids), {EOS, *options.stop_token_ids}
    is_eos = text.finish_reason == "stop" and text.stop_string is None
    assert not eos & {*text.new_ids}
    ids, cache, fed = [*text.prompt_ids], model.session.new_cache(), 0
    for token_id in [*text.new_ids, *([None] if is_eos else [])]:
        logits = model.session.forward(np.array([ids[fed:]]), cache)[0, -1]
        fed = len(ids)
        values = processed(ids, start, logits, options)
        values[[*excluded(ids, start, options, eos)]] = -np.inf
        left = surviving(values, options)
        assert left & eos if token_id is None else token_id in left
        if token_id is not None:
            ids.append(token_id)
    for string in options.stop_strings:
        whole = (
            text.text.removesuffix(text.stop_string or "")
            if options.keep_stop_string
            else text.text
        )
        assert string not in whole
    if not options.stop_strings:
        assert text.text == model.tokenizer.decode(text.new_ids)
    if text.finish_reason == "length":
        assert len(text.new_ids) == options.max_new_tokens


@settings(max_examples=80, deadline=None)
@given(given_options=OPTIONS, prompt=st.sampled_from(["Once upon a time", "the king", "aaaa"]))
def test_any_combination(
    make_bundle: Callable[..., Path], given_options: dict[str, Any], prompt: str
) -> None:
    try:
        compare(make_bundle, given_options, prompt)
    except RequestError as error:
        assert "there is no token to choose" in str(
            error
        )  # the options exclude all, here or in another row
        reject()


def compare(make_bundle: Callable[..., Path], given_options: dict[str, Any], prompt: str) -> None:
    """One text in all ways."""
    model = loaded(make_bundle({"vocab_size": VOCAB, "tie_word_embeddings": False}))
    options = GenerationOptions(**given_options)
    seed = given_options["seed"]
    plain = model.generate(prompt, options, prompt_lookup=False)
    check(model, plain, options)

    def facts(text: Generation) -> tuple[object, ...]:
        return text.new_ids, text.text, text.finish_reason, text.stop_string

    stream = model.stream(prompt, options, draft=model)
    assert "".join(piece.text for piece in stream) == plain.text
    assert facts(stream.result()) == facts(plain)
    assert facts(model.generate(prompt, options)) == facts(plain)
    others = ["Once", "a", "the daughter", "go.", "", "and"]
    first = {} if options.is_greedy else {"seed": max(0, seed - 3)}
    at = 0 if options.is_greedy else seed - first["seed"]
    prompts = [*others[:at], prompt, *others[at:]]
    texts = dict(model.generate_batch(prompts, options, rows=ROWS, **first))
    assert facts(texts[at]) == facts(plain)
