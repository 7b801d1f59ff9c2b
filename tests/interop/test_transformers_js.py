"""Bundles in transformers.js on Node; config.json decides on the dtype."""

import json
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parent
NODE_MODULES = Path(os.environ.get("GPT2XL_NODE_MODULES", HERE / "node_modules")).resolve()


@pytest.fixture(scope="module")
def generated(folder: Path, prompts: dict[str, list[int]]) -> dict[str, Any]:
    """What generate.mjs prints."""
    node = shutil.which("node")
    if node is None:
        pytest.skip("node is not installed")
    if not (NODE_MODULES / "@huggingface" / "transformers").is_dir():
        pytest.skip(f"{NODE_MODULES} (GPT2XL_NODE_MODULES names another) has no transformers.js")
    command = [node, str(HERE / "generate.mjs"), str(NODE_MODULES), str(folder), "24", *prompts]
    done = subprocess.run(command, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def test_each_prompt_gets_the_tokens_of_our_runtime(
    generated: dict[str, Any], check: Callable[[list[list[int]]], None]
) -> None:
    check(generated["alone"])


def test_rows_of_a_left_padded_batch_get_the_tokens_of_their_prompts_alone(
    generated: dict[str, Any], check: Callable[[list[list[int]]], None]
) -> None:
    check(generated["batch"])


def test_its_tokenizer_reads_the_bundle_as_ours_does(
    generated: dict[str, Any], prompts: dict[str, list[int]]
) -> None:
    assert generated["ids"] == list(prompts.values())
