"""The portable graph, which the other runtimes load, in our own runtime."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from gpt2xl.bundle.bundle import open_bundle
from gpt2xl.decoding.chain import Chain
from gpt2xl.decoding.context import Context
from gpt2xl.decoding.loop import Request, generate_tokens
from gpt2xl.sessions.opening import open_session
from gpt2xl.startup.options import LoadOptions


@pytest.mark.slow
def test_the_portable_graph_gives_the_tokens_of_the_engine_graph(
    folder: Path, prompts: dict[str, list[int]], check: Callable[[list[list[int]]], None]
) -> None:
    session = open_session(replace(open_bundle(folder), engine=None), LoadOptions(provider="cpu"))
    rows = []
    for ids in prompts.values():
        tokens = generate_tokens(Context(session), Request(ids, Chain(), 24))
        rows.append([token.id for token in tokens])
    check(rows)
