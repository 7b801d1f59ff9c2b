"""What warnings advise where texts share no steps or a draft model is not used: an export that is possible."""

from pathlib import Path
from typing import Any

import pytest

from gpt2xl.bundle.bundle import Bundle
from gpt2xl.bundle.config import GPT2Config
from gpt2xl.bundle.manifest import Manifest
from gpt2xl.bundle.remedies import draft_remedy, row_remedy

MANIFESTS: dict[str, tuple[dict[str, Any], str]] = {
    "int8 --kv float": ({"precision": "int8"}, "export with `--kv int8`"),
    "int4": (
        {"precision": "int4", "kv": "int8", "block_size": 64},
        "export with `--block-size 32`",
    ),
    "int4 --kv float": (
        {"precision": "int4", "block_size": 128},
        "export with `--kv int8 --block-size 32`",
    ),
    "keep rules": (
        {"precision": "fp32", "keep": ("int4:h.0.*",), "block_size": 32},
        "export with `--kv int8`",
    ),
    "keep rules with blocks": (
        {"precision": "int8", "kv": "int8", "keep": ("int4-128:h.0.*", "int4-32:h.1.*")},
        "export with `--block-size 32` and no larger blocks in `--keep`",
    ),
    "keep rules with small blocks": (
        {"precision": "int8", "keep": ("int4-32:h.0.*", "int4-64:wte.weight")},
        "export with `--kv int8`",
    ),
    "fast": ({"precision": "fast", "kv": "int8"}, "export with `--precision int8`"),
    "fp16": ({"precision": "fp16"}, "export with `--precision int8`"),
    "int4-fp16": ({"precision": "int4-fp16", "block_size": 64}, "export with `--precision int8`"),
}


def bundle(manifest: Manifest | None, head_dim: int = 8, *, has_engine: bool = True) -> Bundle:
    config = GPT2Config(vocab_size=9, n_positions=9, n_embd=head_dim, n_layer=1, n_head=1)
    engine = Path("engine.onnx") if has_engine else None
    return Bundle(Path(), config, engine, Path("model.onnx"), manifest)


@pytest.mark.parametrize(("values", "advice"), MANIFESTS.values(), ids=MANIFESTS)
def test_the_advice_fits_the_precision(values: dict[str, Any], advice: str) -> None:
    found = bundle(Manifest(**values))
    assert advice in row_remedy(found) == draft_remedy(found, on_cuda=False)


def test_nothing_is_claimed_of_an_export_of_another_tool() -> None:
    told = "nothing says how this graph rounds: export the model with gpt2xl"
    for found in (None, bundle(None), bundle(None, has_engine=False)):
        assert told in row_remedy(found) == draft_remedy(found, on_cuda=False)


def test_a_bundle_without_an_engine_graph_is_told_what_is_possible() -> None:
    optimum = bundle(Manifest("fp32", backend="optimum"), has_engine=False)
    assert "export with `--backend gpt2xl`" in row_remedy(optimum)
    odd = bundle(Manifest("int8"), head_dim=6, has_engine=False)
    assert "multiple of 8; this model's is 6" in row_remedy(odd)
    assert "export with `--precision fp32`" in draft_remedy(odd, on_cuda=False)
    assert "missing: export the model again" in row_remedy(
        bundle(Manifest("fp32"), has_engine=False)
    )


def test_a_draft_model_is_to_be_left_out_on_cuda() -> None:
    found = bundle(Manifest("fp16"))
    assert "leave the draft model out" in draft_remedy(found, on_cuda=True)
