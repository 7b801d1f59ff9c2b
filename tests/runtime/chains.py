"""Chains of options without a model."""

from typing import Any

from tests.runtime.fakes import FakeSession

from gpt2xl import GenerationOptions
from gpt2xl.decoding.chain import Chain
from gpt2xl.options.chains import TextFacts, make_chain


def facts_of(seed: int | None = None, **facts: Any) -> TextFacts:
    """Of a text whose prompt has one token."""
    values: dict[str, Any] = {
        "prompt_length": 1, "max_length": 129, "eos_token_ids": frozenset(), "negative_ids": [0],
        "session": FakeSession(lambda ids: [0.0, 0.0], vocab_size=2),
    }  # fmt: skip
    return TextFacts(seed=seed, **(values | facts))


def chain_of(options: GenerationOptions, seed: int | None = None, **facts: Any) -> Chain:
    """The chain of ``options``; ``facts`` replace those of `facts_of`."""
    return make_chain(options, facts_of(seed, **facts))
