"""examples/node beside the runtime: the same texts, greedy and drawn, which also shows that the cache is written in place."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest


@pytest.fixture(scope="module")
def answer(
    text_bundle: Path, cases: list[dict[str, Any]], node_folder: Path, needed: Callable[[str], str]
) -> dict[str, Any]:
    """What texts.mjs prints."""
    command = [needed("node"), "texts.mjs", str(text_bundle)]
    done = subprocess.run(
        command,
        cwd=node_folder,
        input=json.dumps(cases),
        capture_output=True,
        text=True,
        timeout=220,
    )
    assert done.returncode == 0, done.stderr
    result: dict[str, Any] = json.loads(done.stdout)
    return result


@pytest.mark.parametrize("way", ["steps", "whole"])
def test_the_texts_are_those_of_the_runtime(
    answer: dict[str, Any], cases: list[dict[str, Any]], way: str
) -> None:
    wanted = [{key: case[key] for key in ("text", "ids", "finishReason")} for case in cases]
    assert [found[way] for found in answer["found"]] == wanted


def test_the_tokenizer_reads_the_bundle_as_ours_does(
    answer: dict[str, Any], cases: list[dict[str, Any]]
) -> None:
    assert [found["promptIds"] for found in answer["found"]] == [
        case["promptIds"] for case in cases
    ]


def test_the_numbers_are_those_of_numpys_generator(
    node_folder: Path, needed: Callable[[str], str]
) -> None:
    seeds = [0, 1, 2**32, 2**63 - 1, 2**100 + 5]
    program = (
        'import { Random } from "./gpt2xl.mjs"; const numbers = process.argv.slice(1).map((seed) => {'
        " const random = new Random(BigInt(seed)); return Array.from({ length: 9 }, () => random.next()); });"
        " console.log(JSON.stringify(numbers));"
    )
    command = [needed("node"), "--input-type=module", "-e", program, *map(str, seeds)]
    done = subprocess.run(command, cwd=node_folder, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == [
        np.random.default_rng(seed).random(9).tolist() for seed in seeds
    ]


@pytest.mark.parametrize("script", ["stream", "ids_to_text", "transformers_js"])
def test_each_script_runs(
    script: str, text_bundle: Path, node_folder: Path, needed: Callable[[str], str]
) -> None:
    command = [needed("node"), f"{script}.mjs", str(text_bundle), "The king"]
    done = subprocess.run(command, cwd=node_folder, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("The king") and len(done.stdout) > 60
