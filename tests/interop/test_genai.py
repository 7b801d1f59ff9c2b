"""Bundles in onnxruntime-genai."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

og = pytest.importorskip("onnxruntime_genai", reason="the extra 'interop' is not installed")


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


def test_each_prompt_gets_the_tokens_of_our_runtime(
    folder: Path,
    prompts: dict[str, list[int]],
    check: Callable[[list[list[int]]], None],
) -> None:
    model = og.Model(str(folder))
    check([greedy(model, [ids])[0] for ids in prompts.values()])


def test_rows_of_a_right_padded_batch_get_the_tokens_of_their_prompts_alone(
    folder: Path,
    prompts: dict[str, list[int]],
    check: Callable[[list[list[int]]], None],
) -> None:
    check(greedy(og.Model(str(folder)), list(prompts.values())))


def test_its_tokenizer_reads_the_bundle_as_ours_does(
    folder: Path, prompts: dict[str, list[int]]
) -> None:
    tokenizer = og.Tokenizer(og.Model(str(folder)))
    for prompt, ids in prompts.items():
        assert tokenizer.encode(prompt).tolist() == ids
        # it leaves special tokens out
        assert tokenizer.decode(np.array(ids, np.int32)) == prompt.removesuffix("<|endoftext|>")
