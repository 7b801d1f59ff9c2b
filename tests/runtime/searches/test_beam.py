"""Beam search on small cases that can be computed by hand, or by trying all texts."""

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.runtime.fakes import FakeSession, told_by_all_ids

from gpt2xl import RequestError
from gpt2xl.searches.beam import beam_search
from gpt2xl.searches.candidates import log_probabilities
from gpt2xl.searches.settings import BeamSettings, EarlyStopping, Hypothesis
from gpt2xl.sessions.cancellation import Cancellation, Cancelled

A, B, C, END = range(4)
PROMPT = [C]


def told_by_last(table: Mapping[int, Sequence[float]]) -> FakeSession:
    """Probabilities of A, B, C and END after each id."""
    return FakeSession(lambda ids: np.log(np.array(table[ids[-1]]) + 1e-30), vocab_size=4)


# A is likelier at first, but nothing after it is: the best text of two tokens begins with B.
TRAP = {
    C: (0.6, 0.4, 0.0, 0.0),
    A: (0.3, 0.3, 0.2, 0.2),
    B: (0.0, 0.0, 0.05, 0.95),
}


def search(session: FakeSession, num_beams: int = 2, **options: Any) -> list[Hypothesis]:
    """Both results where there are two."""
    names = BeamSettings.__dataclass_fields__.keys() & options.keys()
    chosen = {"num_return_sequences": num_beams} | {name: options.pop(name) for name in names}
    asked: dict[str, Any] = {"max_new_tokens": 2, "eos_token_ids": [END]} | options
    return beam_search(session, PROMPT, BeamSettings(num_beams, **chosen), **asked)


def test_the_best_text_need_not_begin_with_the_best_token() -> None:
    first, second = search(told_by_last(TRAP))
    assert (first.ids, first.finish_reason) == ([B], "stop")
    assert first.score == pytest.approx(math.log(0.4 * 0.95) / 2)
    assert second.ids[0] == A
    assert second.score == pytest.approx(math.log(0.6 * 0.3) / 2)
    assert second.finish_reason == "length"


@pytest.mark.parametrize(("penalty", "divisor"), [(-1.0, 0.5), (0.0, 1), (1.0, 2), (2.0, 4)])
def test_the_length_counts_the_end_of_text(penalty: float, divisor: float) -> None:
    first, _ = search(told_by_last(TRAP), length_penalty=penalty)
    assert first.score == pytest.approx(math.log(0.4 * 0.95) / divisor)


def test_the_prompt_is_fed_once_and_every_token_but_the_last_as_a_row() -> None:
    session = FakeSession(told_by_all_ids(20), vocab_size=20)
    beam_search(session, [1, 2, 3], BeamSettings(4), max_new_tokens=3)
    assert [np.shape(rows) for rows in session.fed] == [(1, 3), (4, 1), (4, 1)]


# After C a text ends now and then, each time with a worse score.
ENDING = {C: (0.1, 0.0, 0.6, 0.3), A: (0.1, 0.0, 0.6, 0.3), B: (0.25, 0.25, 0.25, 0.25)}


@pytest.mark.parametrize(
    ("early", "penalty", "steps"),
    [
        # True: END, then C END: two texts.
        (True, 0.0, 2),
        # False and "never" without length penalty: C C at 0.36 is still better than C END at 0.18, C C C at 0.216
        # is, too, and C C C C at 0.13 is not.
        (False, 0.0, 4),
        ("never", 0.0, 4),
        # C C C C may still become as long as the limit, where its mean is ln(0.13) / 9.
        ("never", 1.0, 9),
    ],
)
def test_early_stopping(early: EarlyStopping, penalty: float, steps: int) -> None:
    session = told_by_last(ENDING)
    search(session, early_stopping=early, length_penalty=penalty, max_new_tokens=9)
    assert len(session.fed) == steps


@settings(max_examples=30, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    penalty=st.sampled_from([-1.0, 0.0, 0.5, 2.0]),
    length=st.integers(1, 3),
)
def test_enough_beams_find_the_best_of_all_texts(seed: int, penalty: float, length: int) -> None:
    told = told_by_all_ids(4)

    def logits_of(ids: Sequence[int]) -> npt.NDArray[np.float32]:
        return np.asarray(told([seed, *ids]), np.float32)

    got = beam_search(
        FakeSession(logits_of, vocab_size=4),
        PROMPT,
        BeamSettings(40, penalty, "never", 5),
        max_new_tokens=length,
        eos_token_ids=[END],
    )
    texts = [
        text
        for size in range(1, length + 1)
        for text in itertools.product(range(4), repeat=size)
        if END not in text[:-1] and (size == length or text[-1] == END)
    ]
    scores = {}
    for text in texts:
        starts = [[*PROMPT, *text[:at]] for at in range(len(text))]
        parts = [log_probabilities(logits_of(s))[t] for s, t in zip(starts, text, strict=True)]
        scores[text] = sum(parts) / len(text) ** penalty
    wanted = sorted(texts, key=lambda text: -scores[text])[: len(got)]
    assert len(got) == min(5, len(texts))
    assert [tuple(text.ids) for text in got] == [
        text[:-1] if text[-1] == END else text for text in wanted
    ]
    assert [text.score for text in got] == pytest.approx(
        [scores[text] for text in wanted], rel=1e-5
    )


def test_a_stopping_function_gets_new_ids_and_keeps_the_last() -> None:
    seen = []

    def stops(new: Sequence[int]) -> bool:
        seen.append(list(new))
        return new[-1] == B

    found = search(told_by_last(TRAP), stops=stops, eos_token_ids=[], length_penalty=0.0)
    assert [A] in seen
    assert ([B], "stop") in [(text.ids, text.finish_reason) for text in found]


def test_texts_end_where_the_context_does() -> None:
    session = FakeSession(told_by_all_ids(9), n_positions=8, vocab_size=9)
    found = beam_search(session, [1] * 5, BeamSettings(3), max_new_tokens=50)
    assert [(len(text.ids), text.finish_reason) for text in found] == [(4, "length")]
    with pytest.raises(RequestError, match="no new token fits: the prompt has 9 of at most 8"):
        beam_search(session, [1] * 9, BeamSettings(3), max_new_tokens=50)
    with pytest.raises(RequestError, match="the prompt is empty"):
        beam_search(session, [], BeamSettings(3), max_new_tokens=50)


def test_processors_see_the_whole_text_and_log_probabilities() -> None:
    seen = []

    def processor(ids: Sequence[int], scores: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        seen.append(list(ids))
        assert np.exp(scores).sum() == pytest.approx(1, abs=1e-6)
        return scores

    search(told_by_last(TRAP), processors=[processor])
    assert seen == [[C], [C, A], [C, B]]


def test_fewer_beams_where_fewer_tokens_are_possible() -> None:
    """One token, then three, then two: never one at -inf, never a text twice."""
    allowed = ([A], [A, B, C], [B, C])

    def only(ids: Sequence[int], scores: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        changed = np.full_like(scores, -np.inf)
        kept = allowed[len(ids) - 1]
        changed[kept] = scores[kept]
        return changed

    session = FakeSession(told_by_all_ids(4), vocab_size=4)
    found = search(session, 5, processors=[only], max_new_tokens=3)
    assert [len(rows) for rows in session.fed] == [1, 1, 3]
    texts = [tuple(text.ids) for text in found]
    assert len(set(texts)) == 5
    assert all(text[at] in allowed[at] for text in texts for at in range(3))


@pytest.mark.parametrize("value", [-np.inf, np.nan, np.inf])
def test_nothing_to_choose_is_an_error(value: float) -> None:
    def spoil(ids: Sequence[int], scores: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        return np.full_like(scores, value)

    with pytest.raises(RequestError, match="no token to choose"):
        search(told_by_last(TRAP), processors=[spoil])


def test_a_processor_that_returns_another_shape_is_refused() -> None:
    with pytest.raises(
        RequestError, match=r"returned an array of shape \(2,\), not of shape \(4,\)"
    ):
        search(told_by_last(TRAP), processors=[lambda ids, scores: scores[:2]])


def test_a_cancelled_search_ends() -> None:
    cancel = Cancellation()

    def stops(new: Sequence[int]) -> bool:
        cancel.cancel()
        return False

    session = FakeSession(told_by_all_ids(9), vocab_size=9)
    with pytest.raises(Cancelled):
        beam_search(session, [1], BeamSettings(2), max_new_tokens=50, stops=stops, cancel=cancel)
    assert len(session.fed) == 1


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"num_beams": 1}, "num_beams has to be >= 2 for beam search, but is 1"),
        ({"num_return_sequences": 5}, "num_return_sequences has to be 1 to 4"),
        ({"num_return_sequences": 0}, "num_return_sequences has to be 1 to 4"),
        ({"length_penalty": math.nan}, "length_penalty has to be -50 to 50, but is nan"),
        ({"early_stopping": "always"}, "early_stopping has to be True, False or 'never'"),
        ({"num_beam_groups": 3, "diversity_penalty": 1.0}, "num_beam_groups has to divide"),
        ({"num_beam_groups": 2}, "diversity_penalty has to be > 0 with groups"),
        ({"diversity_penalty": 1.0}, "there is one group"),
        ({"num_beam_groups": 2, "diversity_penalty": 1.0, "seed": 1}, "groups of beams do not"),
    ],
)
def test_settings_out_of_range_are_refused(options: dict[str, Any], told: str) -> None:
    with pytest.raises(RequestError, match=told):
        BeamSettings(**{"num_beams": 4} | options)
