"""Contrastive search on a real graph; tests/transformers455 compares it with transformers."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from gpt2xl import RequestError
from gpt2xl.bundle.bundle import open_bundle
from gpt2xl.processors.penalties import repetition_penalty
from gpt2xl.searches.contrastive import contrastive_search
from gpt2xl.searches.settings import ContrastiveSettings
from gpt2xl.sessions.cancellation import Cancellation, Cancelled
from gpt2xl.sessions.device_engine import DeviceEngineSession
from gpt2xl.sessions.opening import open_session
from gpt2xl.sessions.protocol import Session
from gpt2xl.startup.graph import open_graph
from gpt2xl.startup.options import LoadOptions

CPU = LoadOptions(provider="cpu", threads=1)
PROMPT = np.random.default_rng(0).integers(0, 280, 20).tolist()
SETTINGS = ContrastiveSettings(0.6, 4)


@pytest.fixture(scope="module")
def session(bundle: Path) -> Session:
    return open_session(open_bundle(bundle), CPU)


def plainly(session: Session, alpha: float, top_k: int, count: int) -> list[int]:
    """The definition, each text and each candidate fed from its beginning."""
    text = list(PROMPT)
    for _ in range(count):
        logits = session.forward(np.array([text]), session.new_cache())[0, -1].astype(float)
        probabilities = np.exp(logits - logits.max()) / np.exp(logits - logits.max()).sum()
        scores = {}
        for token in np.argsort(-probabilities)[:top_k].tolist():
            ids = np.array([[*text, token]])
            states = session.last_hidden_state(ids, session.new_cache())[0]
            states /= np.linalg.norm(states, axis=1, keepdims=True)
            likeness = (states[:-1] @ states[-1]).max()
            scores[token] = (1 - alpha) * probabilities[token] - alpha * likeness
        text.append(max(scores, key=lambda token: scores[token]))
    return text[len(PROMPT) :]


@pytest.mark.parametrize("alpha", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("top_k", [1, 3, 6])
def test_tokens_are_those_of_the_definition(session: Session, alpha: float, top_k: int) -> None:
    got = contrastive_search(session, PROMPT, ContrastiveSettings(alpha, top_k), max_new_tokens=8)
    assert got.ids == plainly(session, alpha, top_k, 8)
    assert got.finish_reason == "length"


def test_a_device_gives_the_same_text(bundle: Path, session: Session) -> None:
    opened = open_bundle(bundle)
    device = DeviceEngineSession(open_graph(opened.graph, "cpu", CPU), opened.config)
    texts = [
        contrastive_search(one, PROMPT, SETTINGS, max_new_tokens=12) for one in (session, device)
    ]
    assert texts[0].ids == texts[1].ids


def test_a_prompt_of_one_token(session: Session) -> None:
    assert len(contrastive_search(session, [7], SETTINGS, max_new_tokens=5).ids) == 5


def test_the_end_of_text_is_left_out_and_a_stop_is_kept(session: Session) -> None:
    whole = contrastive_search(session, PROMPT, SETTINGS, max_new_tokens=8).ids
    at = whole.index(whole[5])
    ended = contrastive_search(
        session, PROMPT, SETTINGS, max_new_tokens=8, eos_token_ids=[whole[5]]
    )
    assert (ended.ids, ended.finish_reason) == (whole[:at], "stop")
    stopped = contrastive_search(
        session, PROMPT, SETTINGS, max_new_tokens=8, stops=lambda new: len(new) == 3
    )
    assert (stopped.ids, stopped.finish_reason) == (whole[:3], "stop")


def test_each_token_adds_its_log_probability_to_the_score(session: Session) -> None:
    texts = [
        contrastive_search(session, PROMPT, SETTINGS, max_new_tokens=count) for count in range(1, 7)
    ]
    assert [text.ids for text in texts] == [texts[-1].ids[:count] for count in range(1, 7)]
    assert {text.finish_reason for text in texts} == {"length"}
    scores = [0.0, *(text.score for text in texts)]
    assert all(later < earlier for earlier, later in pairwise(scores))


def test_every_token_has_to_fit_the_context(session: Session) -> None:
    prompt = [1] * (session.n_positions - 2)
    found = contrastive_search(session, prompt, SETTINGS, max_new_tokens=9)
    assert (len(found.ids), found.finish_reason) == (2, "length")
    with pytest.raises(RequestError, match="no new token fits"):
        contrastive_search(session, [1] * session.n_positions, SETTINGS, max_new_tokens=9)


def test_processors_change_logits_of_the_whole_text(session: Session) -> None:
    plain = contrastive_search(session, PROMPT, SETTINGS, max_new_tokens=8)
    penalized = contrastive_search(
        session, PROMPT, SETTINGS, max_new_tokens=8, processors=[repetition_penalty(5.0)]
    )
    assert plain.ids != penalized.ids

    def only(ids: Sequence[int], logits: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        changed = np.full_like(logits, -np.inf)
        changed[[5, 6][: 1 + len(ids) % 2]] = 0
        return changed

    few = contrastive_search(session, PROMPT, SETTINGS, max_new_tokens=8, processors=[only])
    assert set(few.ids) <= {5, 6}
    assert few.ids[::2] == [5] * 4


def test_the_portable_graph_is_refused(bundle: Path) -> None:
    portable = open_session(replace(open_bundle(bundle), engine=None), CPU)
    with pytest.raises(RequestError, match="has no output 'last_hidden_state'"):
        contrastive_search(portable, PROMPT, SETTINGS, max_new_tokens=2)


def test_a_cancelled_search_ends(session: Session) -> None:
    cancel, lengths = Cancellation(), list[int]()

    def cancel_at_two(new: Sequence[int]) -> bool:
        lengths.append(len(new))
        if len(new) == 2:
            cancel.cancel()
        return False

    with pytest.raises(Cancelled):
        contrastive_search(
            session, PROMPT, SETTINGS, max_new_tokens=9, stops=cancel_at_two, cancel=cancel
        )
    assert lengths == [1, 2]


@pytest.mark.parametrize(
    ("alpha", "top_k", "told"),
    [
        (-0.1, 4, "penalty_alpha has to be 0 to 1"),
        (0.5, 0, "top_k of contrastive search has to be"),
    ],
)
def test_settings_out_of_range_are_refused(alpha: float, top_k: int, told: str) -> None:
    with pytest.raises(RequestError, match=told):
        ContrastiveSettings(alpha, top_k)
