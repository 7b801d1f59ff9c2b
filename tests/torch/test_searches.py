"""Beam search equals that of transformers, token for token, in float32."""

import itertools
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from tests.torch.demo_searches import COMMA, PROCESSING, Peer, assert_same, exported, prompts

from gpt2xl.searches.beam import beam_search
from gpt2xl.searches.settings import BeamSettings, EarlyStopping
from gpt2xl.sessions.protocol import Session

pytest.importorskip("torch", reason="parity with transformers needs torch")
pytest.importorskip("transformers", "4.57", reason="parity with transformers needs 4.57 or later")

NEW = 16
GRID = [*itertools.product((2, 3, 5), (-1.0, 0.0, 1.0, 2.0), (False, True, "never"))]
CASES = [(number, *case) for number, case in enumerate(GRID)]


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> Session:
    return exported(tmp_path_factory.mktemp("demo") / "bundle")


@pytest.fixture(scope="module")
def peer() -> Peer:
    return Peer()


@pytest.mark.parametrize(("number", "num_beams", "length_penalty", "early_stopping"), CASES)
def test_beams_equal_those_of_transformers(
    session: Session,
    peer: Peer,
    number: int,
    num_beams: int,
    length_penalty: float,
    early_stopping: EarlyStopping,
) -> None:
    """Each of the 36 settings on five of 30 prompts."""
    for ids in prompts()[number % 6 :: 6]:
        named, processors = PROCESSING[(number // 6 + len(ids)) % 4]
        returned = 1 + (number + len(ids)) % num_beams
        wanted = peer.generate(
            ids,
            num_beams=num_beams,
            length_penalty=length_penalty,
            early_stopping=early_stopping,
            num_return_sequences=returned,
            eos_token_id=COMMA,
            max_new_tokens=NEW,
            **named,
        )
        settings = BeamSettings(num_beams, length_penalty, early_stopping, returned)
        got = beam_search(
            session, ids, settings, max_new_tokens=NEW, eos_token_ids=COMMA, processors=processors
        )
        assert_same(got, wanted)


def test_the_comma_ends_some_beams_and_the_limit_others(session: Session) -> None:
    """Else the grid would show little."""
    settings = BeamSettings(3, num_return_sequences=3)
    texts = [
        text
        for ids in prompts()
        for text in beam_search(session, ids, settings, max_new_tokens=NEW, eos_token_ids=COMMA)
    ]
    reasons = Counter(text.finish_reason for text in texts)
    assert min(reasons["stop"], reasons["length"]) >= 15
    assert len({len(text.ids) for text in texts}) > 8


def test_a_stopping_function_equals_a_stopping_criterion(session: Session, peer: Peer) -> None:
    import torch
    from transformers import StoppingCriteria

    class EndsWithComma(StoppingCriteria):
        def __call__(self, input_ids: Any, scores: Any, **options: Any) -> Any:
            return torch.isin(input_ids[:, -1], torch.tensor(COMMA))

    ended = 0
    for ids in prompts()[::3]:
        texts, scores = peer.generate(
            ids,
            num_beams=4,
            num_return_sequences=4,
            max_new_tokens=NEW,
            eos_token_id=None,
            stopping_criteria=[EndsWithComma()],
        )
        got = beam_search(
            session,
            ids,
            BeamSettings(4, num_return_sequences=4),
            max_new_tokens=NEW,
            stops=lambda new: new[-1] in COMMA,
        )
        ended += sum(text.finish_reason == "stop" for text in got)
        for text in got:  # unlike end-of-text the comma stays, which `generate` cuts off
            assert (text.ids[-1:] == COMMA) == (text.finish_reason == "stop")
        cut = [text.ids[:-1] if text.finish_reason == "stop" else text.ids for text in got]
        assert cut == texts
        assert [text.score for text in got] == pytest.approx(scores.tolist(), abs=1e-4)
    assert ended > 10


def test_several_ends_of_text(session: Session, peer: Peer, tmp_path: Path) -> None:
    """transformers fills up with the comma, so that only ids before either end are compared."""
    ends = [*COMMA, prompts()[3][-1], prompts()[9][-1]]
    for ids in prompts()[1::3]:
        texts, scores = peer.generate(
            ids, num_beams=3, num_return_sequences=3, max_new_tokens=NEW, eos_token_id=ends
        )
        got = beam_search(
            session,
            ids,
            BeamSettings(3, num_return_sequences=3),
            max_new_tokens=NEW,
            eos_token_ids=ends,
        )
        wanted = [text[:-1] if text and text[-1] in ends else text for text in texts]
        assert [text.ids for text in got] == wanted
        assert [text.score for text in got] == pytest.approx(scores.tolist(), abs=1e-4)
