"""Both kinds of graph through our sessions: however the tokens are fed, the logits are the same."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from gpt2xl.bundle.bundle import open_bundle
from gpt2xl.decoding.chain import Chain
from gpt2xl.decoding.context import Context
from gpt2xl.decoding.loop import Request, generate_tokens
from gpt2xl.sessions.engine import EngineCache, EngineSession
from gpt2xl.sessions.opening import open_session
from gpt2xl.sessions.portable import PortableSession
from gpt2xl.startup.graph import open_graph
from gpt2xl.startup.options import LoadOptions

AnySession = EngineSession | PortableSession
Logits = npt.NDArray[np.float32]
KINDS = ["engine", "portable"]
CONTEXT = 600
LONG: dict[str, object] = {"n_positions": CONTEXT}


def open_kind(folder: Path, kind: str) -> AnySession:
    """The named graph of a bundle."""
    bundle = open_bundle(folder)
    if kind == "engine":
        assert bundle.engine is not None
        return EngineSession(
            open_graph(bundle.engine, "cpu", LoadOptions(threads=1)), bundle.config
        )
    assert bundle.portable is not None
    return PortableSession(
        open_graph(bundle.portable, "cpu", LoadOptions(threads=1)), bundle.config
    )


def random_ids(*shape: int, seed: int = 0) -> npt.NDArray[np.int64]:
    """Random token ids."""
    return np.random.default_rng(seed).integers(0, 287, shape)


def feed(session: AnySession, ids: npt.NDArray[np.int64], size: int) -> list[Logits]:
    """Logits after each piece of ``size`` tokens."""
    cache = session.new_cache(len(ids))
    pieces = [ids[:, start : start + size] for start in range(0, ids.shape[1], size)]
    found = [session.forward(piece, cache)[:, -1] for piece in pieces]
    assert cache.length == ids.shape[1]
    return found


def assert_same(got: Logits | list[Logits], wanted: Logits | list[Logits]) -> None:
    """Up to float32 rounding; the logits of these models reach about 5."""
    np.testing.assert_allclose(np.asarray(got), np.asarray(wanted), rtol=0, atol=2e-5)


@pytest.fixture(scope="module")
def long_bundle(make_bundle: Callable[..., Path]) -> Path:
    """A bundle whose context is more than two prefill chunks."""
    return make_bundle(LONG)


@pytest.fixture(scope="module")
def whole(long_bundle: Path, run_graph: Callable[..., Logits]) -> Logits:
    """Logits of all positions of random_ids(1, 600), by one run of the portable graph."""
    path = long_bundle / "onnx" / "model.onnx"
    logits: Logits = run_graph(path, random_ids(1, CONTEXT).tolist())[0]
    return logits


@pytest.mark.parametrize("kind", KINDS)
def test_token_by_token_equals_running_the_whole_text_again(bundle: Path, kind: str) -> None:
    session, ids = open_kind(bundle, kind), random_ids(1, 96)
    cached = feed(session, ids, 1)
    for length in range(1, 97):
        again = session.forward(ids[:, :length], session.new_cache())[:, -1]
        assert_same(cached[length - 1], again)


@pytest.mark.parametrize("size", [1, 3, 7, CONTEXT])
@pytest.mark.parametrize("kind", KINDS)
def test_pieces_of_any_size_equal_one_run(
    long_bundle: Path, whole: Logits, kind: str, size: int
) -> None:
    found = feed(open_kind(long_bundle, kind), random_ids(1, CONTEXT), size)
    ends = [*range(size, CONTEXT, size), CONTEXT]
    assert_same(np.concatenate(found), whole[[end - 1 for end in ends]])


@pytest.mark.parametrize("length", [255, 256, 257, 511, 512, 513, 599])
@pytest.mark.parametrize("kind", KINDS)
def test_a_prompt_longer_than_a_prefill_chunk_equals_one_run(
    long_bundle: Path, whole: Logits, kind: str, length: int
) -> None:
    session = open_kind(long_bundle, kind)
    ids, cache = random_ids(1, CONTEXT), session.new_cache()
    assert_same(session.forward(ids[:, :length], cache)[:, -1][0], whole[length - 1])
    assert_same(session.forward(ids[:, length : length + 1], cache)[:, -1][0], whole[length])


@pytest.mark.parametrize("size", [1, 8, CONTEXT])
@pytest.mark.parametrize("kind", KINDS)
def test_rows_of_a_batch_equal_single_rows(long_bundle: Path, kind: str, size: int) -> None:
    # Pieces of 8: onnxruntime does not take several tokens of several rows after a past.
    session, ids = open_kind(long_bundle, kind), random_ids(5, 300)
    together = feed(session, ids, size)
    for row in range(5):
        alone = feed(session, ids[row : row + 1], size)
        assert_same([logits[row] for logits in together], [logits[0] for logits in alone])


@pytest.mark.parametrize("kind", KINDS)
def test_two_caches_of_a_session_do_not_touch_each_other(bundle: Path, kind: str) -> None:
    session, ids = open_kind(bundle, kind), random_ids(2, 12)
    caches = [session.new_cache(), session.new_cache()]
    for at in range(12):  # the caches take turns
        found = [session.forward(ids[i : i + 1, at : at + 1], caches[i])[:, -1] for i in range(2)]
    for row in range(2):
        assert_same(found[row], feed(session, ids[row : row + 1], 12)[-1])


@pytest.mark.parametrize("kind", KINDS)
def test_the_next_step_does_not_overwrite_returned_logits(bundle: Path, kind: str) -> None:
    session = open_kind(bundle, kind)
    cache = session.new_cache()
    first = session.forward(random_ids(1, 4), cache)[:, -1]
    kept = first.copy()
    session.forward(random_ids(1, 4, seed=1), cache)[:, -1]
    assert np.array_equal(first, kept)


def greedy_ids(session: AnySession, prompt: list[int], count: int) -> list[int]:
    """The text of greedy decoding."""
    tokens = generate_tokens(Context(session), Request(prompt, Chain(), count))
    return [token.id for token in tokens]


@pytest.mark.parametrize("seed", range(3))
def test_200_greedy_tokens_are_the_same_on_both_graphs_and_without_a_cache(
    make_bundle: Callable[..., Path], run_graph: Callable[..., Logits], seed: int
) -> None:
    folder = make_bundle({"n_positions": 256, "tie_word_embeddings": False})
    prompt = random_ids(9, seed=seed).tolist()
    engine = greedy_ids(open_kind(folder, "engine"), prompt, 200)
    assert len(set(engine)) > 10, "the text is too dull to show anything"
    assert engine == greedy_ids(open_kind(folder, "portable"), prompt, 200)
    again = run_graph(folder / "onnx" / "model.onnx", [prompt + engine[:-1]])[0]
    assert engine == again[len(prompt) - 1 :].argmax(-1).tolist()


def test_the_last_position_of_the_context_is_usable(bundle: Path) -> None:
    for kind in KINDS:
        assert len(greedy_ids(open_kind(bundle, kind), random_ids(96).tolist(), 1)) == 1


def test_the_engine_graph_is_preferred(bundle: Path) -> None:
    assert isinstance(open_session(open_bundle(bundle)), EngineSession)


def cache_buffers(session: EngineSession, rows: int) -> tuple[EngineCache, list[Any]]:
    """A new cache and its buffers."""
    cache = session.new_cache(rows)
    return cache, [*cache.buffers]


def test_the_engine_cache_is_allocated_once_and_written_in_place(bundle: Path) -> None:
    session = open_kind(bundle, "engine")
    assert isinstance(session, EngineSession)
    cache, buffers = cache_buffers(session, 1)
    addresses = [buffer.ctypes.data for buffer in buffers]
    assert len(set(addresses)) == 4  # key and value of two layers
    for seed in range(3):
        session.forward(random_ids(1, 5, seed=seed), cache)[:, -1]
        *presents, _logits = cache.binding(("logits",)).get_outputs()
        assert [present.data_ptr() for present in presents] == addresses
        assert all(np.any(buffer[:, :, cache.length - 1]) for buffer in buffers)


@pytest.mark.parametrize("steps", [[5, 1, 1], [1], [40, 40], [95]])
def test_the_engine_writes_only_positions_of_fed_tokens(bundle: Path, steps: list[int]) -> None:
    session = open_kind(bundle, "engine")
    assert isinstance(session, EngineSession)
    cache, buffers = cache_buffers(session, 2)
    for buffer in buffers:
        buffer[:] = 777.0
    for size in steps:
        before = [buffer[:, :, : cache.length].copy() for buffer in buffers]
        session.forward(random_ids(2, size), cache)[:, -1]
        for buffer, old in zip(buffers, before, strict=True):
            assert np.array_equal(buffer[:, :, : old.shape[2]], old)
            assert np.all(buffer[:, :, cache.length :] == 777.0)
            assert not np.any(buffer[:, :, : cache.length] == 777.0)


def test_a_growing_cache_keeps_its_content(bundle: Path, whole_96: Logits) -> None:
    session = open_kind(bundle, "engine")
    assert isinstance(session, EngineSession)
    ids, cache = random_ids(1, 96), session.new_cache(capacity=1)
    assert cache.capacity == 64
    for at in range(96):
        got = session.forward(ids[:, at : at + 1], cache)[:, -1][0]
        assert_same(got, whole_96[at])
    assert cache.capacity == 96  # n_positions


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("keep", [1, 2, 7, 40])
def test_the_last_logits_equal_those_of_the_whole_text(
    bundle: Path, whole_96: Logits, kind: str, keep: int
) -> None:
    session, ids = open_kind(bundle, kind), random_ids(1, 96)
    cache = session.new_cache()
    session.forward(ids[:, :20], cache)[:, -1]
    assert_same(session.forward(ids[:, 20:60], cache, keep=keep)[0], whole_96[60 - keep : 60])


@pytest.mark.parametrize("kind", KINDS)
def test_a_truncated_cache_forgets_the_rest(bundle: Path, whole_96: Logits, kind: str) -> None:
    session, ids = open_kind(bundle, kind), random_ids(1, 96)
    cache = session.new_cache()
    session.forward(ids[:, :30], cache)[:, -1]
    session.forward(random_ids(1, 9, seed=5), cache)[:, -1]
    cache.truncate(30)
    assert cache.length == 30
    assert_same(session.forward(ids[:, 30:40], cache, keep=10)[0], whole_96[30:40])


def test_rows_of_different_length_share_a_step(bundle: Path, whole_96: Logits) -> None:
    session = open_kind(bundle, "engine")
    assert isinstance(session, EngineSession)
    ids, cache = random_ids(1, 96), session.new_cache(3)
    for row, length in enumerate((5, 40, 17)):
        session.forward(ids[:, :length], cache.rows(row, row + 1))[:, -1]
    assert cache.lengths.tolist() == [5, 40, 17]
    got = session.forward(ids[0, [5, 40, 17]][:, None], cache)[:, -1]
    assert_same(got, whole_96[[5, 40, 17]])
    cache.copy_row(1, 0)
    got = session.forward(ids[0, [41, 41]][:, None], cache.rows(0, 2))[:, -1]
    assert_same(got, whole_96[[41, 41]])


@pytest.fixture(scope="module")
def whole_96(bundle: Path, run_graph: Callable[..., Logits]) -> Logits:
    """Logits of all positions of random_ids(1, 96), by one run of the portable graph."""
    logits: Logits = run_graph(bundle / "onnx" / "model.onnx", random_ids(1, 96).tolist())[0]
    return logits
