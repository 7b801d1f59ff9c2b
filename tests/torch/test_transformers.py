"""Our graphs compared with transformers, on checkpoints that it has saved."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gpt2xl import Model, load
from gpt2xl.errors import Gpt2xlWarning
from gpt2xl_export.exporting import export
from gpt2xl_export.reference.activations import ACTIVATIONS
from gpt2xl_export.source.checkpoint import open_checkpoint

torch = pytest.importorskip("torch", reason="parity with transformers needs torch")
transformers = pytest.importorskip("transformers", reason="parity with transformers needs it")
activations = pytest.importorskip("transformers.activations")

Config = dict[str, Any]
Build = Callable[..., Any]
Save = Callable[..., Path]
Check = Callable[[Path, Any, list[int]], None]
DEMO = Path(__file__).parents[2] / "models" / "demo"
NEW = 200


KNOWN = [name for name in ACTIVATIONS if name in activations.ACT2FN]
GRID: list[Config] = [
    *({"activation_function": name, "n_layer": 1 + i % 4, "n_head": 1 + i % 5, "head_dim": (8, 16, 64)[i % 3],
       "vocab_size": 287 + 2 * i, "tie_word_embeddings": i % 2 == 0} for i, name in enumerate(KNOWN)),
    *({"n_layer": 3, "scale_attn_weights": scaled, "scale_attn_by_inverse_layer_idx": by_layer, "reorder_and_upcast_attn": upcast}
      for scaled in (True, False) for by_layer in (True, False) for upcast in (True, False)),
    {"n_inner": 50},
    {"n_inner": 31, "tie_word_embeddings": False},
    {"layer_norm_epsilon": 1e-2},
    {"layer_norm_epsilon": 1e-12},
    {"head_dim": 5, "n_head": 3},
    {"head_dim": 64, "n_head": 5, "n_layer": 4, "vocab_size": 1023},
]  # fmt: skip


def original(folder: Path) -> Any:
    """The model that transformers reads from ``folder``."""
    options = {"dtype": torch.float32, "attn_implementation": "eager"}
    return transformers.GPT2LMHeadModel.from_pretrained(folder, **options).eval()


def described(config: Config) -> str:
    """For test names."""
    return "-".join(f"{key}={value}" for key, value in config.items())


@pytest.mark.parametrize("config", GRID, ids=described)
def test_models_of_all_configs_generate_the_same_text(
    build: Build, save: Save, check_bundle: Check, tmp_path: Path, config: Config
) -> None:
    model = build(config)
    export(save(model, tmp_path / "model"), tmp_path / "bundle")
    check_bundle(tmp_path / "bundle", model, [5, 260, 281, 9, 77, 140, 3, 286, 11])


def test_every_activation_is_one_of_transformers() -> None:
    assert set(KNOWN) == set(ACTIVATIONS)


LAYOUTS: dict[str, Callable[[Save, Any, Path], Path]] = {
    "whole": lambda save, model, folder: save(model, folder),
    "float16": lambda save, model, folder: save(model.half(), folder),
    "bfloat16": lambda save, model, folder: save(model.bfloat16(), folder),
    "shards": lambda save, model, folder: save(model, folder, max_shard_size="60KB"),
    "no prefix": lambda save, model, folder: save(model.transformer, folder),
    "pytorch": lambda save, model, folder: save(model, folder, safe_serialization=False),
    "pytorch float16": lambda save, model, folder: save(
        model.half(), folder, safe_serialization=False
    ),
    "pytorch shards": lambda save, model, folder: save(
        model, folder, safe_serialization=False, max_shard_size="60KB"
    ),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_file_layout_of_transformers_is_read(
    build: Build, save: Save, check_bundle: Check, tmp_path: Path, layout: str
) -> None:
    source = LAYOUTS[layout](save, build({}), tmp_path / "model")
    assert (len(open_checkpoint(source).weight_files) > 2) == ("shards" in layout)
    assert any(source.glob("*.bin")) == ("pytorch" in layout)
    export(source, tmp_path / "bundle")
    check_bundle(tmp_path / "bundle", original(source), [5, 260, 281, 9])


HEADS = [
    *("GPT2DoubleHeadsModel", "GPT2ForSequenceClassification"),
    *("GPT2ForTokenClassification", "GPT2ForQuestionAnswering"),
]


@pytest.mark.parametrize("name", HEADS)
def test_another_head_is_ignored(
    build: Build, save: Save, check_bundle: Check, tmp_path: Path, name: str
) -> None:
    plain = build({})
    model = getattr(transformers, name)(plain.config)
    model.transformer.load_state_dict(plain.transformer.state_dict())
    source = save(model, tmp_path / "model")
    with pytest.warns(Gpt2xlWarning, match="left out .* to another head and do"):
        export(source, tmp_path / "bundle")
    check_bundle(tmp_path / "bundle", original(source), [5, 260, 281, 9])


@pytest.mark.parametrize("tied", [True, False])
def test_generate_gives_the_same_text_and_stops_at_the_same_token(
    build: Build, save: Save, tmp_path: Path, tied: bool
) -> None:
    model = build({"tie_word_embeddings": tied, "vocab_size": 287, "eos_token_id": None})
    ours = through(save, model, tmp_path / "endless")
    prompt = ours.tokenizer.encode("Once upon a time")
    result = ours.generate("Once upon a time", greedy=True, max_new_tokens=NEW)
    assert result.new_ids == transformers_text(model, prompt, None)
    assert len(set(result.new_ids)) > 8
    # The stop token is one that first occurs late in the text.
    end = max(set(result.new_ids), key=result.new_ids.index)
    model.config.eos_token_id = model.generation_config.eos_token_id = end
    ended = through(save, model, tmp_path / "ended")
    result = ended.generate("Once upon a time", greedy=True, max_new_tokens=NEW)
    assert [*result.new_ids, end] == transformers_text(model, prompt, end)
    assert result.finish_reason == "stop"


def through(save: Save, model: Any, folder: Path) -> Model:
    """``model`` through our exporter and runtime."""
    export(save(model, folder / "model"), folder / "bundle")
    return load(folder / "bundle", threads=1)


def transformers_text(model: Any, prompt: list[int], end: int | None) -> list[int]:
    """The ids that greedy decoding of transformers adds."""
    ids = torch.tensor([prompt])
    out = model.generate(
        ids, attention_mask=torch.ones_like(ids), do_sample=False, max_new_tokens=NEW,
        eos_token_id=end, pad_token_id=0,
    )  # fmt: skip
    return [int(token) for token in out[0, len(prompt) :]]


def test_the_demo_generates_the_same_text(check_bundle: Check, tmp_path: Path) -> None:
    assert (DEMO / "model.safetensors").is_file(), "models/demo is part of the repository"
    export(DEMO, tmp_path / "bundle")
    tokenizer = load(tmp_path / "bundle").tokenizer
    for prompt in ("Once upon a time", "In a small house by the sea"):
        check_bundle(tmp_path / "bundle", original(DEMO), tokenizer.encode(prompt))
