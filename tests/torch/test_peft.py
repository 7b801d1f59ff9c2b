"""Adapters that PEFT has trained and saved, compared with PEFT's own results."""

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from gpt2xl_export.exporting import export
from gpt2xl_export.source.checkpoint import open_checkpoint

torch = pytest.importorskip("torch", reason="PEFT needs torch")
peft = pytest.importorskip("peft", reason="what it makes of an adapter is the truth here")

Build = Callable[..., Any]
Save = Callable[..., Path]
LogitsOf = Callable[[Any, list[int]], npt.NDArray[np.float32]]
IDS = [5, 260, 281, 9, 77, 140, 3, 286, 11]

ADAPTERS: dict[str, dict[str, Any]] = {
    "its own choice of modules": {},
    "every matrix": {"target_modules": ["c_attn", "c_proj", "c_fc"]},
    "rank-stabilized": {"target_modules": ["c_attn"], "use_rslora": True, "lora_alpha": 10},
    "patterns": {
        "target_modules": ["c_attn", "c_proj"],
        "rank_pattern": {"h.0.attn.c_attn": 3, "mlp.c_proj": 2},
        "alpha_pattern": {r"^transformer.h.1.*c_proj": 40, "c_attn": 1},
    },
    "all biases": {"target_modules": ["c_attn"], "bias": "all"},
    "its biases": {"target_modules": ["c_attn"], "bias": "lora_only"},
    "positions": {"target_modules": ["wpe", "c_attn"]},
    "a norm of its own": {"target_modules": ["c_fc"], "modules_to_save": ["ln_f"]},
    "a head of its own": {"target_modules": ["c_attn"], "modules_to_save": ["lm_head"]},
    "an embedding of its own": {"target_modules": ["c_attn"], "modules_to_save": ["wte"]},
    "both of their own": {"target_modules": ["c_attn"], "modules_to_save": ["wte", "lm_head"]},
}
# Here merge_and_unload changes both sides of the tied embedding; the trained model does not.
UNMERGEABLE: dict[str, dict[str, Any]] = {
    "the embedding": {"target_modules": ["wte", "c_attn"]},
    "the head": {"target_modules": ["lm_head", "c_attn"]},
    "both": {"target_modules": ["wte", "lm_head", "c_attn"]},
}


@pytest.fixture
def trained(build: Build, tmp_path: Path) -> Callable[..., tuple[Any, Path]]:
    """Call it with options of LoraConfig for a model with an adapter, and the adapter's folder."""

    def make(options: dict[str, Any], *, tied: bool, safe: bool = True) -> tuple[Any, Path]:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of PEFT, about layouts and tied embeddings
            config = peft.LoraConfig(task_type="CAUSAL_LM", r=4, **options)
            model = peft.get_peft_model(build({"tie_word_embeddings": tied}), config)
            with torch.no_grad():
                for parameter in model.parameters():
                    if parameter.requires_grad:
                        parameter += 0.2 * torch.randn_like(parameter)
            model.save_pretrained(tmp_path / "adapter", safe_serialization=safe)
        return model.eval(), tmp_path / "adapter"

    return make


@pytest.mark.filterwarnings("ignore:the adapter changes one side of the tied embedding")
@pytest.mark.parametrize("tied", [True, False], ids=["tied", "untied"])
@pytest.mark.parametrize(
    "options", [*ADAPTERS.values(), *UNMERGEABLE.values()], ids=[*ADAPTERS, *UNMERGEABLE]
)
def test_an_export_gives_the_logits_of_the_model_with_the_adapter(
    build: Build,
    save: Save,
    trained: Callable[..., tuple[Any, Path]],
    logits_of: LogitsOf,
    run_graph: Callable[..., npt.NDArray[np.float32]],
    tmp_path: Path,
    options: dict[str, Any],
    tied: bool,
) -> None:
    base = save(build({"tie_word_embeddings": tied}), tmp_path / "base")
    model, adapter = trained(options, tied=tied)
    export(base, tmp_path / "out", adapter=adapter)
    found = run_graph(tmp_path / "out/onnx/model.onnx", [IDS])[0]
    wanted = logits_of(model, IDS)
    assert np.abs(wanted - logits_of(build({"tie_word_embeddings": tied}), IDS)).max() > 0.01
    np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-4)


def merged_state(model: Any) -> dict[str, Any]:
    """Our name of a weight -> its values after merge_and_unload."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that the embeddings are no longer tied
        state = model.merge_and_unload().state_dict()
    return {name.removeprefix("transformer."): tensor.numpy() for name, tensor in state.items()}


@pytest.mark.parametrize("options", ADAPTERS.values(), ids=ADAPTERS)
def test_the_weights_are_those_of_merge_and_unload(
    build: Build,
    save: Save,
    trained: Callable[..., tuple[Any, Path]],
    tmp_path: Path,
    options: dict[str, Any],
) -> None:
    base = save(build({}), tmp_path / "base")
    model, adapter = trained(options, tied=True)
    wanted, merged = merged_state(model), open_checkpoint(base, adapter)
    for name in merged.tensor_names:
        np.testing.assert_allclose(merged.load(name), wanted[name], rtol=0, atol=1e-5)


def test_an_adapter_in_pytorchs_format_is_read(
    build: Build, save: Save, trained: Callable[..., tuple[Any, Path]], tmp_path: Path
) -> None:
    base = save(build({}), tmp_path / "base")
    model, adapter = trained({"target_modules": ["c_attn"]}, tied=True, safe=False)
    assert (adapter / "adapter_model.bin").is_file()
    name = "h.0.attn.c_attn.weight"
    found = open_checkpoint(base, adapter).load(name)
    np.testing.assert_allclose(found, merged_state(model)[name], rtol=0, atol=1e-5)
