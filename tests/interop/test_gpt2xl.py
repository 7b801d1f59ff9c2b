"""The portable graph, which the other runtimes load, against the engine graph, in our own runtime."""

from dataclasses import replace
from pathlib import Path

import gpt2xl
from gpt2xl.bundle import open_bundle
from gpt2xl.generate import generate_tokens
from gpt2xl.sampling import greedy
from gpt2xl.session import open_best


def test_the_portable_graph_gives_the_tokens_of_the_engine_graph(
    folder: Path, model: gpt2xl.Model, expected: dict[str, list[int]]
) -> None:
    session = open_best(replace(open_bundle(folder), engine=None), "cpu")
    for prompt, new_ids in expected.items():
        ids = model.tokenizer.encode(prompt)
        tokens = generate_tokens(session, ids, greedy, max_new_tokens=24, eos_token_ids=frozenset())
        assert [token.id for token in tokens] == new_ids
