"""The paper's table and others' figures."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from tests.conftest import DATA

from gpt2xl.bundle.config import read_config
from gpt2xl.errors import BundleError
from gpt2xl_eval.published import (
    COLUMNS,
    MODELS,
    PAPER,
    REPRODUCTIONS,
    SHAPES,
    reproductions,
    sizes_like,
)


def test_the_table_is_the_paper_s() -> None:
    path = DATA / "reference_outputs.json"
    if not path.exists():
        pytest.skip(f"{path} is absent")
    references = json.loads(path.read_text("utf-8"))["references"]
    (table,) = (each["table"] for each in references if each["kind"] == "paper_table3")
    assert len(table["columns"]) == len(COLUMNS) == 10
    assert {size: list(values) for size, values in PAPER.items()} == {s: table[s] for s in PAPER}


def test_a_model_is_compared_with_the_size_of_its_shape_else_with_all(bundle: Path) -> None:
    config = read_config(bundle, BundleError)
    assert sizes_like(config) == tuple(PAPER)
    xl = replace(config, n_layer=48, n_embd=1600)
    assert sizes_like(xl) == ("1542M",)
    assert {each.model for each in reproductions("lambada", xl)} == {"gpt2-xl"}
    assert reproductions("lambada", config) == REPRODUCTIONS["lambada"]
    assert reproductions("ptb", xl) == REPRODUCTIONS["ptb"]
    assert reproductions("perplexity", xl) == ()


def test_every_size_has_a_shape_and_a_name() -> None:
    assert sorted(SHAPES.values()) == sorted(PAPER) == sorted(MODELS)
    assert all(len(values) == len(COLUMNS) for values in PAPER.values())
