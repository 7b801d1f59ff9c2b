"""Bundles in onnxruntime-genai."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gpt2xl

og = pytest.importorskip("onnxruntime_genai", reason="the extra 'interop' is not installed")

Overlay = Callable[[Path], dict[str, Any]]


def engine_graph(folder: Path) -> dict[str, Any]:
    """What to lay over genai_config.json for the graph with the cache written in place."""
    (path,) = folder.glob("onnx/engine*.onnx")
    graph = path.relative_to(folder).as_posix()
    return {
        "model": {"decoder": {"filename": graph}},
        "search": {"past_present_share_buffer": True},
    }


GRAPHS = pytest.mark.parametrize(
    "overlay", [lambda folder: {}, engine_graph], ids=["portable", "engine"]
)


def load(folder: Path, overlay: Overlay) -> Any:
    config = og.Config(str(folder))
    config.overlay(json.dumps(overlay(folder)))
    return og.Model(config)


def greedy(model: Any, rows: list[list[int]]) -> list[list[int]]:
    """24 tokens after each row; shorter rows are padded right, with -1 as genai_config.json says."""
    width = max(map(len, rows))
    params = og.GeneratorParams(model)
    params.set_search_options(batch_size=len(rows), max_length=width + 24)
    generator = og.Generator(model, params)
    generator.append_tokens(np.array([row + [-1] * (width - len(row)) for row in rows], np.int32))
    while not generator.is_done():
        generator.generate_next_token()
    return [generator.get_sequence(row)[width:].tolist() for row in range(len(rows))]


@GRAPHS
def test_each_prompt_gets_the_tokens_of_our_runtime(
    folder: Path, model: gpt2xl.Model, expected: dict[str, list[int]], overlay: Overlay
) -> None:
    genai = load(folder, overlay)
    for prompt, new_ids in expected.items():
        assert greedy(genai, [model.tokenizer.encode(prompt)]) == [new_ids]


@GRAPHS
def test_rows_of_a_right_padded_batch_get_the_tokens_of_their_prompts_alone(
    folder: Path, model: gpt2xl.Model, expected: dict[str, list[int]], overlay: Overlay
) -> None:
    rows = [model.tokenizer.encode(prompt) for prompt in expected]
    assert greedy(load(folder, overlay), rows) == list(expected.values())


def test_its_tokenizer_reads_the_bundle_as_ours_does(
    folder: Path, model: gpt2xl.Model, expected: dict[str, list[int]]
) -> None:
    tokenizer = og.Tokenizer(og.Model(str(folder)))
    for prompt in expected:
        ids = tokenizer.encode(prompt)
        assert ids.tolist() == model.tokenizer.encode(prompt)
        assert tokenizer.decode(ids) == prompt.removesuffix("<|endoftext|>")  # it leaves those out
