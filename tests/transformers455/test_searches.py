"""Groups of beams and contrastive search equal those of transformers 4.55, token for token, in float32.

Later versions have neither. `.ci/run` makes an environment for this folder.
"""

import itertools
from importlib.metadata import version

import pytest
from tests.torch.demo_searches import COMMA, PROCESSING, Peer, assert_same, exported, prompts

from gpt2xl.searches.beam import beam_search
from gpt2xl.searches.contrastive import contrastive_search
from gpt2xl.searches.settings import BeamSettings, ContrastiveSettings, EarlyStopping
from gpt2xl.sessions.protocol import Session

pytest.importorskip("torch", reason="parity with transformers needs torch")
pytest.importorskip("transformers", reason="parity with transformers needs it")
if tuple(map(int, version("transformers").split(".")[:2])) >= (4, 56):
    pytest.skip("transformers has these searches up to 4.55", allow_module_level=True)

NEW = 16
GROUPS = [
    (number, *case)
    for number, case in enumerate(
        itertools.product(
            ((2, 2), (4, 2), (6, 3), (6, 2)), (-1.0, 0.0, 1.0, 2.0), (False, True, "never")
        )
    )
]
CONTRASTS = [*enumerate(itertools.product((0.2, 0.6, 0.9), (2, 4, 8)))]


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> Session:
    return exported(tmp_path_factory.mktemp("demo") / "bundle")


@pytest.fixture(scope="module")
def peer() -> Peer:
    return Peer()


@pytest.mark.parametrize(("number", "beams", "length_penalty", "early_stopping"), GROUPS)
def test_groups_equal_those_of_transformers(
    session: Session,
    peer: Peer,
    number: int,
    beams: tuple[int, int],
    length_penalty: float,
    early_stopping: EarlyStopping,
) -> None:
    """Each of the 48 settings on three of 30 prompts."""
    num_beams, groups = beams
    for ids in prompts()[number % 10 :: 10]:
        named, processors = PROCESSING[(number // 6 + len(ids)) % 4]
        returned = 1 + (number + len(ids)) % num_beams
        penalty = (0.5, 2.0)[number % 2]
        wanted = peer.generate(
            ids,
            num_beams=num_beams,
            num_beam_groups=groups,
            diversity_penalty=penalty,
            length_penalty=length_penalty,
            early_stopping=early_stopping,
            num_return_sequences=returned,
            eos_token_id=COMMA,
            max_new_tokens=NEW,
            **named,
        )
        settings = BeamSettings(
            num_beams, length_penalty, early_stopping, returned, groups, penalty
        )
        got = beam_search(
            session, ids, settings, max_new_tokens=NEW, eos_token_ids=COMMA, processors=processors
        )
        assert_same(got, wanted)


@pytest.mark.parametrize(("number", "case"), CONTRASTS)
def test_contrastive_search_equals_that_of_transformers(
    session: Session, peer: Peer, number: int, case: tuple[float, int]
) -> None:
    """Each of the 9 settings on ten of 30 prompts."""
    alpha, top_k = case
    for ids in prompts()[number % 3 :: 3]:
        named, processors = PROCESSING[(number + len(ids)) % 4]
        wanted, _ = peer.generate(
            ids,
            penalty_alpha=alpha,
            top_k=top_k,
            eos_token_id=COMMA,
            max_new_tokens=NEW,
            **named,
        )
        got = contrastive_search(
            session,
            ids,
            ContrastiveSettings(alpha, top_k),
            max_new_tokens=NEW,
            eos_token_ids=COMMA,
            processors=processors,
        )
        assert [got.ids] == wanted
        assert (got.finish_reason == "length") == (len(got.ids) == NEW)
