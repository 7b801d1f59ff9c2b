"""Sessions and models that play back a script of token ids."""

from collections.abc import Sequence
from typing import Any

from tests.runtime.fakes import FakeSession, LogitsOf, scripted

from gpt2xl import GPT2Config, Model, Tokenizer

VOCAB, CONTEXT, EOS = 289, 16, 286  # the tokenizer has 287 ids


class PlaysBack:
    """The i-th token after the first prompt that is fed is ``script[i]``."""

    def __init__(self, script: Sequence[int]) -> None:
        self._script = script
        self._logits_of: LogitsOf | None = None

    def __call__(self, ids: Sequence[int]) -> Any:
        self._logits_of = self._logits_of or scripted(self._script, VOCAB, len(ids))
        return self._logits_of(ids)


def session_of(script: Sequence[int]) -> FakeSession:
    return FakeSession(PlaysBack(script), n_positions=CONTEXT)


def model(tokenizer: Tokenizer, script: Sequence[int], **config: Any) -> Model:
    """A model that generates ``script``."""
    values = {"bos_token_id": EOS, "eos_token_id": EOS} | config
    made = GPT2Config(VOCAB, n_positions=CONTEXT, n_embd=8, n_layer=1, n_head=1, **values)
    return Model(made, tokenizer, session_of(script))
