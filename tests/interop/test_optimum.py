"""Bundles in optimum's ORTModelForCausalLM, with the tokenizer of transformers."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

reason = "the extra 'interop' is not installed"
optimum = pytest.importorskip("optimum.onnxruntime", reason=reason)
transformers = pytest.importorskip("transformers", reason=reason)


@pytest.fixture(scope="module")
def loaded(folder: Path) -> tuple[Any, Any]:
    """(model, tokenizer).

    optimum finds a model.onnx by itself; where there is none it may take the engine graph, which is
    wrong for left padding, so that the other precisions are named.
    """
    (graph,) = folder.glob("onnx/model*.onnx")
    name = None if graph.name == "model.onnx" else graph.name
    model = optimum.ORTModelForCausalLM.from_pretrained(folder, file_name=name)
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder, padding_side="left")
    tokenizer.pad_token = tokenizer.eos_token
    return model, tokenizer


def greedy(loaded: tuple[Any, Any], prompts: list[str]) -> list[list[int]]:
    """24 tokens after each prompt."""
    model, tokenizer = loaded
    inputs = tokenizer(prompts, padding=True, return_tensors="pt")
    pad = tokenizer.pad_token_id
    output = model.generate(**inputs, do_sample=False, max_new_tokens=24, pad_token_id=pad)
    new: list[list[int]] = output[:, inputs["input_ids"].shape[1] :].tolist()
    return new


def test_each_prompt_gets_the_tokens_of_our_runtime(
    loaded: tuple[Any, Any],
    prompts: dict[str, list[int]],
    check: Callable[[list[list[int]]], None],
) -> None:
    check([greedy(loaded, [prompt])[0] for prompt in prompts])


def test_rows_of_a_left_padded_batch_get_the_tokens_of_their_prompts_alone(
    loaded: tuple[Any, Any],
    prompts: dict[str, list[int]],
    check: Callable[[list[list[int]]], None],
) -> None:
    check(greedy(loaded, list(prompts)))


def test_its_tokenizer_reads_the_bundle_as_ours_does(
    loaded: tuple[Any, Any], prompts: dict[str, list[int]]
) -> None:
    _, tokenizer = loaded
    assert tokenizer(list(prompts))["input_ids"] == list(prompts.values())
