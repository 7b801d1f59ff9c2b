"""Pieces for ``async for``: those of a stream, without blocking the event loop."""

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from gpt2xl import GenerationOptions, Model, Piece, RequestError, load

OPTIONS = GenerationOptions(seed=4, max_new_tokens=20)


@pytest.fixture(scope="module")
def model(make_bundle: Callable[..., Path]) -> Model:
    return load(make_bundle({"vocab_size": 287, "tie_word_embeddings": False}))


async def pieces_of(model: Model, prompt: str, **options: Any) -> list[Piece]:
    return [piece async for piece in model.astream(prompt, OPTIONS, **options)]


def test_its_pieces_are_those_of_a_stream(model: Model) -> None:
    assert asyncio.run(pieces_of(model, "Once")) == list(model.stream("Once", OPTIONS))
    draft = load(model.bundle.folder) if model.bundle else None
    assert asyncio.run(pieces_of(model, "Once", draft=draft)) == list(model.stream("Once", OPTIONS))


def test_several_take_turns(model: Model) -> None:
    async def both() -> tuple[list[Piece], list[Piece]]:
        return await asyncio.gather(pieces_of(model, "Once"), pieces_of(model, "the king"))

    wanted = [list(model.stream(p, OPTIONS)) for p in ("Once", "the king")]
    assert [*asyncio.run(both())] == wanted


def test_the_event_loop_runs_meanwhile(model: Model) -> None:
    """A stopping function waits for it, so that a loop that is blocked would never end the text."""

    async def text() -> list[Piece]:
        loop, ticks = asyncio.get_running_loop(), list[int]()

        def stopping(ids: Sequence[int]) -> bool:
            ticking = asyncio.run_coroutine_threadsafe(asyncio.sleep(0, len(ids)), loop)
            ticks.append(ticking.result(timeout=60))
            return False

        pieces = await pieces_of(model, "Once", stopping=stopping, ignore_eos=True)
        assert len(ticks) == 19  # the last token reaches max_new_tokens
        return pieces

    assert len(asyncio.run(text())) == 20


def test_a_cancelled_task_ends_the_step_that_is_under_way(
    make_bundle: Callable[..., Path],
) -> None:
    model = load(make_bundle({"n_embd": 256, "n_layer": 6, "n_positions": 4096}), threads=1)

    async def cancelled() -> list[Piece]:
        pieces = list[Piece]()

        async def consume() -> None:
            async for piece in model.astream([5] * 3000, OPTIONS):
                pieces.append(piece)

        task = asyncio.create_task(consume())
        await asyncio.sleep(0.05)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        return pieces

    assert asyncio.run(cancelled()) == []  # and waits for the thread, whose step is cut short
    again = model.generate("Once", OPTIONS).new_ids
    model.clear_cache()
    assert model.generate("Once", OPTIONS).new_ids == again


def test_leaving_the_loop_cancels_the_text(model: Model) -> None:
    async def first() -> Piece:
        pieces = model.astream("Once", OPTIONS)
        piece = await anext(pieces)
        await pieces.aclose()  # type: ignore[attr-defined]
        with pytest.raises(StopAsyncIteration):
            await anext(pieces)
        return piece

    assert asyncio.run(first()) == next(model.stream("Once", OPTIONS))


def test_errors_reach_the_caller(model: Model) -> None:
    def broken(ids: object, logits: object) -> Any:
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        asyncio.run(pieces_of(model, "Once", processors=(broken,)))
    with pytest.raises(RequestError, match="top_k has to be >= 0"):
        asyncio.run(pieces_of(model, "Once", top_k=-1))
