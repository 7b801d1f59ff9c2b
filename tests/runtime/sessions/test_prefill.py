"""How a prompt is cut into the chunks in which it is fed."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from gpt2xl.bundle.bundle import open_bundle
from gpt2xl.sessions.exactness import LONG_STEP
from gpt2xl.sessions.opening import open_session
from gpt2xl.sessions.prefill import PREFILL_CHUNK, PREFILL_TILE, cut_into_chunks, prefill_chunks
from gpt2xl.startup.options import LoadOptions

CPU = LoadOptions(provider="cpu", threads=1)


@pytest.mark.parametrize("precision", ["fp32", "int8", "int4"])
def test_a_prompt_fed_chunk_by_chunk_is_fed_as_forward_does(
    make_bundle: Callable[..., Path], precision: str
) -> None:
    bundle = open_bundle(make_bundle({"n_positions": 600}, precision=precision))
    session = open_session(bundle, CPU)
    ids = np.random.default_rng(0).integers(0, 280, (1, 590))
    cache, at = session.new_cache(), 0
    for size in prefill_chunks(590, session.prefill_chunk):
        got = session.forward(ids[:, at : at + size], cache)
        at += size
    assert at == 590
    assert np.array_equal(got, session.forward(ids, session.new_cache()))


@pytest.mark.parametrize("size", [1, 7, 48, 100, PREFILL_CHUNK])
def test_chunks_of_a_prompt_are_whole_tiles_and_none_is_short(size: int) -> None:
    for count in range(1, 1025, 3):
        chunks = prefill_chunks(count, size)
        assert sum(chunks) == count
        assert max(chunks) <= size
        assert all(chunk % min(PREFILL_TILE, size) == 0 for chunk in chunks[:-1])
        if size == PREFILL_CHUNK and count > size:
            assert min(chunks) > PREFILL_TILE > LONG_STEP


def test_chunks_keep_the_order_of_rows_and_ids() -> None:
    ids = np.random.default_rng(0).integers(0, 280, (2, 300))
    np.testing.assert_array_equal(np.concatenate(cut_into_chunks(ids, 128), 1), ids)
