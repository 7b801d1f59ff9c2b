"""What holds for every processor: arguments, copies, logits cut to the largest, rows without a choice, wrong ids."""

from collections.abc import Callable
from copy import deepcopy

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gpt2xl import RequestError
from gpt2xl.decoding.chain import Chain
from gpt2xl.decoding.samplers import Categorical, Mirostat
from gpt2xl.processors.biases import (
    allowed_token_ids,
    bad_words_ids,
    begin_suppress_tokens,
    logit_bias,
    sequence_bias,
    suppress_tokens,
)
from gpt2xl.processors.dry import dry
from gpt2xl.processors.endings import (
    exponential_decay_length_penalty,
    forced_eos_token_id,
    min_length,
    min_new_tokens,
)
from gpt2xl.processors.mass import top_h, top_p, typical_p
from gpt2xl.processors.penalties import (
    frequency_penalty,
    no_repeat_ngram,
    presence_penalty,
    repetition_penalty,
)
from gpt2xl.processors.protocol import LogitsProcessor
from gpt2xl.processors.ranking import largest
from gpt2xl.processors.scaling import dynamic_temperature, renormalize, temperature
from gpt2xl.processors.truncation import epsilon_cutoff, eta_cutoff, min_p, top_k, top_n_sigma
from gpt2xl.processors.xtc import xtc

BY_IDS = {
    "repetition_penalty": repetition_penalty(1.5),
    "presence_penalty": presence_penalty(0.5, 1),
    "frequency_penalty": frequency_penalty(0.5, 1),
    "no_repeat_ngram": no_repeat_ngram(2),
    "dry": dry(1.0, allowed_length=1),
    "logit_bias": logit_bias({1: 2.0}),
    "sequence_bias": sequence_bias({(1,): 2.0, (0, 2): -1.0}),
    "bad_words_ids": bad_words_ids([[1], [0, 2]]),
    "suppress_tokens": suppress_tokens([1]),
    "begin_suppress_tokens": begin_suppress_tokens([1], 4),
    "allowed_token_ids": allowed_token_ids([0, 1]),
    "min_length": min_length(9, [0]),
    "min_new_tokens": min_new_tokens(9, [0], 1),
    "forced_eos_token_id": forced_eos_token_id([0], 5),
    "exponential_decay": exponential_decay_length_penalty(1, 1.5, [0], 1),
}
BY_LOGITS = {
    "top_k": top_k(2),
    "top_k with ties": top_k(2, keeps_ties=True),
    "top_p": top_p(0.6),
    "min_p": min_p(0.3),
    "typical_p": typical_p(0.6),
    "top_h": top_h(0.6),
    "epsilon_cutoff": epsilon_cutoff(0.1),
    "eta_cutoff": eta_cutoff(0.1),
    "top_n_sigma": top_n_sigma(0.5),
    "xtc": xtc(1.0, 0.1, 0),
    "temperature": temperature(0.5),
    "dynamic_temperature": dynamic_temperature(1.0, 0.5),
    "renormalize": renormalize(),
}
ALL = BY_IDS | BY_LOGITS
TEXT = [0, 1, 0, 0]
each = pytest.mark.parametrize("name", ALL)
cuts = pytest.mark.parametrize("name", [name for name in BY_LOGITS if name != "top_k with ties"])


@each
def test_the_arguments_are_left_unchanged_and_something_happens(name: str) -> None:
    logits, ids = np.array([3, 2.5, 2, -1], np.float32), list(TEXT)
    logits.flags.writeable = False
    changed = ALL[name](ids, logits)
    assert ids == TEXT
    assert changed.shape == logits.shape
    assert not np.array_equal(changed, logits)


@pytest.mark.parametrize("name", BY_LOGITS)
@pytest.mark.parametrize(
    "row", [[-np.inf] * 4, [np.nan] * 4, [1, np.inf, 2, 3]], ids=["none", "nan", "infinite"]
)
def test_a_row_without_a_choice_is_refused_by_the_sampler(name: str, row: list[float]) -> None:
    chain = Chain((BY_LOGITS[name],), Categorical(0))
    with pytest.raises(RequestError, match="there is no token to choose"):
        chain.choose(TEXT, np.array(row, np.float32))


@cuts
@settings(deadline=None)
@given(
    st.lists(st.sampled_from([0.0, 0.5, 1.0, 2.0, 4.0, 8.0, -np.inf]), min_size=20, max_size=300),
    st.integers(1, 19),
)
def test_ids_that_stay_do_not_depend_on_what_top_k_has_cut(
    name: str, values: list[float], count: int
) -> None:
    logits = np.array([9.0, *values], np.float32)
    kept = np.sort(largest(logits, count))
    whole = deepcopy(BY_LOGITS[name])([], top_k(count)([], logits))
    cut = deepcopy(BY_LOGITS[name])([], logits[kept])
    np.testing.assert_allclose(whole[kept], cut, rtol=1e-6)
    assert np.isneginf(np.delete(whole, kept)).all()


@pytest.mark.parametrize("make", [lambda: xtc(0.5, 0.1, 3), lambda: Mirostat(3)])
def test_a_copy_draws_what_the_original_will_draw(make: Callable[[], object]) -> None:
    logits = np.array([1, 2, 3, 2.5], np.float32)
    part = make()
    chain = Chain((), part) if isinstance(part, Mirostat) else Chain((part,), Categorical(1))  # type: ignore[arg-type]
    for _ in range(3):
        chain.choose([0], logits)
    copied = deepcopy(chain)
    ahead = [copied.choose([0], logits) for _ in range(30)]
    assert [chain.choose([0], logits) for _ in range(30)] == ahead


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: suppress_tokens([-1]), "suppress_tokens has to name ids >= 0, but names -1."),
        (lambda: begin_suppress_tokens([1.5], 0), "begin_suppress_tokens has to name ids"),  # type: ignore[list-item]
        (lambda: sequence_bias({(): 1.0}), "sequence_bias has to name ids"),
        (lambda: sequence_bias({(1, -2): 1.0}), "sequence_bias has to name ids >= 0"),
        (lambda: bad_words_ids([[-3]]), "bad_words_ids has to name ids >= 0, but names -3."),
        (lambda: allowed_token_ids([]), "allowed_token_ids has to name at least one id."),
    ],
)
def test_wrong_ids_are_refused(make: Callable[[], LogitsProcessor], message: str) -> None:
    with pytest.raises(RequestError, match=message):
        make()


@pytest.mark.parametrize(
    "processor",
    [
        logit_bias({9: 1.0}),
        sequence_bias({(0, 9): 1.0}),
        suppress_tokens([9]),
        allowed_token_ids([9]),
        min_length(1, [9]),
        forced_eos_token_id([9], 2),
        exponential_decay_length_penalty(0, 2.0, [9], 0),
    ],
)
def test_ids_beyond_the_vocabulary_are_refused(processor: LogitsProcessor) -> None:
    with pytest.raises(RequestError, match=r"id 9, but the vocabulary has the ids 0 to 3\."):
        processor([0], np.zeros(4, np.float32))


def test_the_decay_stays_finite_and_frees_no_excluded_id() -> None:
    processor = exponential_decay_length_penalty(0, 10.0, [0, 1], 0)
    changed = processor([5] * 1000, np.array([-2, -np.inf, 0], np.float32))
    assert changed.tolist() == [np.finfo(np.float32).max, -np.inf, 0]


def test_the_ties_of_top_k_stay_where_asked() -> None:
    logits = np.array([1, 3, 1, 2, 1], np.float32)
    assert np.isfinite(top_k(3)([], logits)).tolist() == [True, True, False, True, False]
    assert np.isfinite(top_k(3, keeps_ties=True)([], logits)).all()
    assert np.isfinite(top_k(2, keeps_ties=True)([], logits)).sum() == 2
