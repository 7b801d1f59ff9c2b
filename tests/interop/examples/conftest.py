"""Bundles with text graphs, the texts that the runtime gives, and the examples beside their npm packages."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import gpt2xl
from gpt2xl_export.exporting import export
from gpt2xl_export.options import ExportOptions

ROOT = Path(__file__).parents[3]
NODE = ROOT / "examples" / "node"
MODULES = Path(os.environ.get("GPT2XL_EXAMPLES_NODE_MODULES", NODE / "node_modules")).resolve()
DEMO = ROOT / "models" / "demo"
PROMPTS = (
    "Once upon a time", "The king said “hello” ", "naïve", "One day, a little", "“Who are you?”",
    "The old witch 😀", "One day\n\n", "", "In the forest there lived", "She went to the well and", "A", "Then the fox",
    "Lily", " 1234", "Tom had a red", "x < y", "It was raining.", "A cat", "The end", "Mom said,",
)  # fmt: skip


@pytest.fixture(scope="session", params=["fp32", "int8"])
def text_bundle(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo with text graphs."""
    out = tmp_path_factory.mktemp("examples") / str(request.param)
    export(DEMO, out, ExportOptions(request.param, text=True))
    return out


@pytest.fixture(scope="session")
def cases(text_bundle: Path) -> list[dict[str, Any]]:
    """Greedy and drawn texts of the prompts by the runtime, with the options that gave them."""
    model = gpt2xl.load(text_bundle)
    found = []
    for seed, prompt in enumerate(PROMPTS):
        for temperature in (0.0, 0.8):
            result = model.generate(
                prompt, temperature=temperature, top_k=40, seed=seed, max_new_tokens=40
            )
            found.append({
                "prompt": prompt, "promptIds": model.tokenizer.encode(prompt), "seed": seed,
                "temperature": temperature, "text": result.text, "ids": result.new_ids,
                "finishReason": result.finish_reason,
            })  # fmt: skip
    return found


@pytest.fixture(scope="session")
def needed() -> Callable[..., str]:
    """Call it with the names of a program; the test skips without any."""

    def find(*names: str) -> str:
        for name in names:
            if path := shutil.which(name):
                return path
        pytest.skip(f"{names[0]} is not installed")

    return find


@pytest.fixture(scope="session")
def node_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of examples/node with its packages."""
    if not (MODULES / "onnxruntime-node").is_dir():
        pytest.skip(
            f"{MODULES} (GPT2XL_EXAMPLES_NODE_MODULES names another) has no onnxruntime-node"
        )
    folder = tmp_path_factory.mktemp("node") / "node"
    shutil.copytree(NODE, folder, ignore=shutil.ignore_patterns("node_modules"))
    shutil.copy(Path(__file__).with_name("texts.mjs"), folder)
    (folder / "node_modules").symlink_to(MODULES)
    return folder
