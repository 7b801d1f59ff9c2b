"""PEFT LoRA adapters: which weights come of them, and which adapters are refused."""

import json
import shlex
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import numpy.typing as npt
import pytest
from safetensors.numpy import load_file, save_file

from gpt2xl import CheckpointError, ExportError
from gpt2xl.errors import Gpt2xlWarning
from gpt2xl_export.exporting import export
from gpt2xl_export.options import ExportOptions
from gpt2xl_export.source.adapter import has_other_tokens
from gpt2xl_export.source.checkpoint import open_checkpoint
from gpt2xl_export.source.sources import Source
from gpt2xl_export.source.sums import file_sha256
from gpt2xl_export.verification.verify import verify

Tensors = dict[str, npt.NDArray[Any]]
MakeCheckpoint = Callable[..., Path]
MakeAdapter = Callable[..., Path]
PREFIX = "base_model.model."
C_ATTN, C_PROJ = "transformer.h.0.attn.c_attn", "transformer.h.1.mlp.c_proj"
SIZES = {C_ATTN: (32, 96), C_PROJ: (128, 32), "lm_head": (32, 289)}  # inputs, outputs
CONFIG = {"peft_type": "LORA", "r": 4, "lora_alpha": 6, "base_model_name_or_path": "gpt2"}


def numbers(*shape: int, seed: int = 1) -> npt.NDArray[np.float32]:
    return np.random.default_rng(seed).normal(0, 0.3, shape).astype(np.float32)


def lora(module: str, rank: int = 4) -> Tensors:
    """A and B as torch's Linear layers have them: [out, in]."""
    n_in, n_out = SIZES[module]
    a, b = numbers(rank, n_in, seed=2), numbers(n_out, rank, seed=3)
    return {f"{PREFIX}{module}.lora_A.weight": a, f"{PREFIX}{module}.lora_B.weight": b}


def embedding_lora(rank: int = 4) -> Tensors:
    module = f"{PREFIX}transformer.wte"
    a, b = numbers(rank, 289, seed=4), numbers(32, rank, seed=5)
    return {f"{module}.lora_embedding_A": a, f"{module}.lora_embedding_B": b}


def product(tensors: Tensors, scaling: float) -> npt.NDArray[np.float64]:
    """scaling * B A, [out, in], written out: a sum over the rank."""
    a, b = (values.astype(np.float64) for values in tensors.values())
    total = np.zeros((b.shape[0], a.shape[1]))
    for k in range(a.shape[0]):
        total += scaling * np.outer(b[:, k], a[k])
    return total


@pytest.fixture
def make_adapter(tmp_path: Path) -> MakeAdapter:
    """Call it with tensors and config overrides for the folder of an adapter."""

    def make(tensors: Tensors, **config: object) -> Path:
        folder = tmp_path / "adapter"
        folder.mkdir()
        (folder / "adapter_config.json").write_text(json.dumps(CONFIG | config))
        save_file(tensors, folder / "adapter_model.safetensors")
        return folder

    return make


def check_merged(base: Path, adapter: Path, changed: Tensors) -> None:
    """Only ``changed`` weights differ from the base's, and they have these values."""
    original, merged = load_file(base / "model.safetensors"), open_checkpoint(base, adapter)
    if not merged.config.tie_word_embeddings:
        original.setdefault("lm_head.weight", original["wte.weight"])
    assert set(merged.tensor_names) == set(original)
    for name, values in (original | changed).items():
        found = merged.load(name)
        assert found.dtype == np.float32
        exact = 0 if name not in changed else 1e-5
        np.testing.assert_allclose(found, values, rtol=0, atol=exact, err_msg=name)


def test_a_and_b_are_added_to_the_weights_they_belong_to(
    checkpoint: Path, make_adapter: MakeAdapter
) -> None:
    base = load_file(checkpoint / "model.safetensors")
    check_merged(
        checkpoint,
        make_adapter(lora(C_ATTN) | lora(C_PROJ)),
        {
            "h.0.attn.c_attn.weight": base["h.0.attn.c_attn.weight"] + product(lora(C_ATTN), 1.5).T,
            "h.1.mlp.c_proj.weight": base["h.1.mlp.c_proj.weight"] + product(lora(C_PROJ), 1.5).T,
        },
    )


SCALINGS: dict[str, tuple[dict[str, object], int, float]] = {
    "defaults": ({"r": 8, "lora_alpha": 8}, 8, 1.0),
    "rank-stabilized": ({"use_rslora": True}, 4, 6 / 4**0.5),
    "a whole number of alpha": ({"lora_alpha": 64}, 4, 16.0),
    "alpha of its own": ({"alpha_pattern": {"c_attn": 10}}, 4, 2.5),
    "rank of its own": ({"rank_pattern": {"h.0.attn.c_attn": 3}}, 3, 2.0),
    "rank of its own, rank-stabilized": (
        {"rank_pattern": {"h.0.attn.c_attn": 9}, "use_rslora": True}, 9, 2.0
    ),
    "a pattern": ({"alpha_pattern": {r"h\.\d+\.attn.*": 2}}, 4, 0.5),
    "an anchored pattern": ({"alpha_pattern": {"^transformer.h.0.attn.c_attn": 2}}, 4, 0.5),
    "the first pattern": ({"alpha_pattern": {"c_attn": 2, "attn.c_attn": 4}}, 4, 0.5),
    "patterns of others": ({"alpha_pattern": {"attn": 2, "h.1.attn.c_attn": 2, "c_att": 2}}, 4, 1.5),
    "the wrong layout said": ({"fan_in_fan_out": False}, 4, 1.5),
}  # fmt: skip


@pytest.mark.parametrize(("config", "rank", "scaling"), SCALINGS.values(), ids=SCALINGS)
def test_the_scaling_is_the_configs(
    checkpoint: Path,
    make_adapter: MakeAdapter,
    config: dict[str, object],
    rank: int,
    scaling: float,
) -> None:
    weight = load_file(checkpoint / "model.safetensors")["h.0.attn.c_attn.weight"]
    tensors = lora(C_ATTN, rank)
    changed = {"h.0.attn.c_attn.weight": weight + product(tensors, scaling).T}
    check_merged(checkpoint, make_adapter(tensors, **config), changed)


@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16])
def test_half_precision_is_multiplied_in_float32(
    checkpoint: Path, make_adapter: MakeAdapter, dtype: type
) -> None:
    weight = load_file(checkpoint / "model.safetensors")["h.0.attn.c_attn.weight"]
    halves: Tensors = {name: values.astype(dtype) for name, values in lora(C_ATTN).items()}
    changed = {"h.0.attn.c_attn.weight": weight + product(halves, 1.5).T}
    check_merged(checkpoint, make_adapter(halves), changed)


def test_whole_tensors_take_the_place_of_the_bases(
    checkpoint: Path, make_adapter: MakeAdapter
) -> None:
    wholes = {
        "transformer.ln_f.weight": numbers(32),
        "transformer.h.0.attn.c_attn.base_layer.bias": numbers(96),  # with bias="lora_only"
        "transformer.h.1.ln_1.bias": numbers(32),
        "transformer.h.0.attn.bias": np.tril(np.ones((1, 1, 96, 96), np.uint8)),  # a mask
    }
    tensors = {f"{PREFIX}{name}": values for name, values in wholes.items()}
    adapter = make_adapter(tensors, modules_to_save=["ln_f"], bias="all")
    check_merged(
        checkpoint,
        adapter,
        {
            "ln_f.weight": numbers(32),
            "h.0.attn.c_attn.bias": numbers(96),
            "h.1.ln_1.bias": numbers(32),
        },
    )


EMBEDDED = numbers(289, 32, seed=7)
UNTYING: dict[str, tuple[Tensors, list[str], Callable[[npt.NDArray[Any]], Tensors]]] = {
    "lora on the embedding": (
        embedding_lora(), [], lambda wte: {"wte.weight": wte + product(embedding_lora(), 1.5).T}
    ),
    "lora on the head": (
        lora("lm_head"), [], lambda wte: {"lm_head.weight": wte + product(lora("lm_head"), 1.5)}
    ),
    "lora on the head, its base saved": (
        lora("lm_head") | {f"{PREFIX}lm_head.base_layer.weight": EMBEDDED},
        [],
        lambda _: {
            "wte.weight": EMBEDDED, "lm_head.weight": EMBEDDED + product(lora("lm_head"), 1.5)
        },
    ),
    "a head of its own": (
        {f"{PREFIX}lm_head.weight": EMBEDDED}, ["lm_head"], lambda _: {"lm_head.weight": EMBEDDED}
    ),
    "an embedding of its own": (
        {f"{PREFIX}transformer.wte.weight": EMBEDDED}, ["wte"], lambda _: {"wte.weight": EMBEDDED}
    ),
    "both of their own": (
        {f"{PREFIX}transformer.wte.weight": EMBEDDED, f"{PREFIX}lm_head.weight": -EMBEDDED},
        ["lm_head", "wte"],
        lambda _: {"wte.weight": EMBEDDED, "lm_head.weight": -EMBEDDED},
    ),
}  # fmt: skip


@pytest.mark.parametrize(("tensors", "saved", "changed"), UNTYING.values(), ids=UNTYING)
def test_what_changes_one_side_of_a_tied_embedding_unties_it(
    checkpoint: Path,
    make_adapter: MakeAdapter,
    tensors: Tensors,
    saved: list[str],
    changed: Callable[[npt.NDArray[Any]], Tensors],
) -> None:
    wte = load_file(checkpoint / "model.safetensors")["wte.weight"]
    adapter = make_adapter(tensors, modules_to_save=saved)
    assert open_checkpoint(checkpoint).config.tie_word_embeddings
    assert not open_checkpoint(checkpoint, adapter).config.tie_word_embeddings
    check_merged(checkpoint, adapter, changed(wte))


def test_a_saved_embedding_that_is_the_models_own_stays_tied(
    checkpoint: Path, make_adapter: MakeAdapter
) -> None:
    adapter = make_adapter({f"{PREFIX}transformer.wte.weight": EMBEDDED})
    assert open_checkpoint(checkpoint, adapter).config.tie_word_embeddings
    check_merged(checkpoint, adapter, {"wte.weight": EMBEDDED})


def test_an_untied_base_stays_as_it_is(
    make_checkpoint: MakeCheckpoint, make_adapter: MakeAdapter
) -> None:
    base = make_checkpoint({"tie_word_embeddings": False})
    wte = load_file(base / "model.safetensors")["wte.weight"]
    changed = {"wte.weight": wte + product(embedding_lora(), 1.5).T}
    check_merged(base, make_adapter(embedding_lora()), changed)


def test_an_untied_export_says_so_and_verifies(
    checkpoint: Path, make_adapter: MakeAdapter, tmp_path: Path
) -> None:
    adapter = make_adapter(lora("lm_head") | lora(C_ATTN))
    with pytest.warns(Gpt2xlWarning, match="one side of the tied embedding: the bundle unties it"):
        export(checkpoint, tmp_path / "out", adapter=adapter)
    assert json.loads((tmp_path / "out/config.json").read_text())["tie_word_embeddings"] is False
    statuses = {check.name: check.status for check in verify(tmp_path / "out", checkpoint, adapter)}
    assert (statuses["source sums"], statuses["source parity"]) == ("ok", "ok")


@pytest.mark.parametrize("precision", ["fp32", "int8", "int4"])
def test_an_export_is_that_of_the_merged_checkpoint(
    make_checkpoint: MakeCheckpoint, make_adapter: MakeAdapter, tmp_path: Path, precision: str
) -> None:
    base, merged, adapter = make_checkpoint(), make_checkpoint(), make_adapter(lora(C_ATTN))
    opened = open_checkpoint(base, adapter)
    values = {name: opened.load(name) for name in opened.tensor_names}
    save_file(values, merged / "model.safetensors", metadata={"format": "pt"})
    export(base, tmp_path / "a", ExportOptions(precision), adapter=adapter)
    export(merged, tmp_path / "b", ExportOptions(precision))
    (a,), (b,) = ([*(tmp_path / out).rglob("*.onnx_data")] for out in "ab")
    assert file_sha256(a) == file_sha256(b)
    export(base, tmp_path / "c", ExportOptions(precision))
    assert file_sha256(a) != file_sha256(next((tmp_path / "c").rglob("*.onnx_data")))


def test_the_manifest_names_the_adapter_and_verify_asks_for_it(
    checkpoint: Path, make_adapter: MakeAdapter, tmp_path: Path
) -> None:
    adapter, out = make_adapter(lora(C_ATTN)), tmp_path / "out"
    said = export(checkpoint, out, adapter=Source(adapter, "me/tales", "abc"))["source"]["adapter"]
    files = ("adapter_config.json", "adapter_model.safetensors")
    assert said == {
        "name": "me/tales",
        "revision": "abc",
        "sha256": {name: file_sha256(adapter / name) for name in files},
    }
    assert failure(out, checkpoint) == ("an adapter was merged (me/tales): give it as `--adapter`.")
    other = Path(shutil.copytree(adapter, tmp_path / "other"))
    (other / "adapter_config.json").write_text(json.dumps(CONFIG | {"lora_alpha": 7}))
    assert f"'{other}' is not the adapter: adapter_config.json differs" in failure(
        out, checkpoint, other
    )


def test_verify_refuses_an_adapter_that_was_not_merged(
    bundle: Path, checkpoint: Path, make_adapter: MakeAdapter
) -> None:
    adapter = make_adapter(lora(C_ATTN))
    assert failure(bundle, checkpoint, adapter) == (
        f"no adapter was merged: leave out '{adapter}'."
    )


def test_outputs_of_the_base_are_not_asked_of_a_merged_model(
    checkpoint: Path, make_adapter: MakeAdapter, tmp_path: Path
) -> None:
    source = Source(checkpoint, "openai-community/gpt2")
    export(source, tmp_path / "out", adapter=make_adapter(lora(C_ATTN)))
    last = [*verify(tmp_path / "out")][-1]
    assert (last.name, last.status) == ("published", "skipped")
    assert last.detail.startswith("no outputs of 'openai-community/gpt2' with an adapter")


def failure(bundle: Path, source: Path, adapter: Path | None = None) -> str:
    (failed,) = (c for c in verify(bundle, source, adapter) if c.status == "failed")
    assert failed.name == "source sums"
    return failed.detail


def test_what_the_weights_were_trained_for_ends_with_a_merge(
    make_checkpoint: MakeCheckpoint, make_adapter: MakeAdapter
) -> None:
    base = make_checkpoint({"int4_rounding": {"method": "nearest", "block_size": 64}})
    assert open_checkpoint(base).int4_rounding
    assert not open_checkpoint(base, make_adapter(lora(C_ATTN))).int4_rounding


WHOLES = {f"{PREFIX}transformer.wte.weight": numbers(291, 32)}
REFUSED: dict[str, tuple[Tensors, dict[str, object], str]] = {
    "another method": (lora(C_ATTN), {"peft_type": "IA3"}, "peft_type 'IA3'; only 'LORA'"),
    "DoRA": (lora(C_ATTN), {"use_dora": True}, "has use_dora, which is not supported"),
    "an option of a later PEFT": (lora(C_ATTN), {"use_magic": True}, "has use_magic, which is not"),
    "a config of a later PEFT": (lora(C_ATTN), {"magic_config": {"a": 1}}, "has magic_config, which"),
    "activated LoRA": (lora(C_ATTN), {"alora_invocation_tokens": [1]}, "alora_invocation_tokens"),
    "PiSSA": (lora(C_ATTN), {"init_lora_weights": "pissa"}, "'pissa', which changes the base"),
    "no rank": (lora(C_ATTN), {"r": 0}, "r has to be a positive integer, but is 0"),
    "a rank of true": (lora(C_ATTN), {"r": True}, "r has to be a positive integer, but is True"),
    "alpha as text": (lora(C_ATTN), {"lora_alpha": "16"}, "lora_alpha has to be a number"),
    "alpha not a number": (lora(C_ATTN), {"lora_alpha": "x"}, "lora_alpha has to be a"),
    "a flag as text": (lora(C_ATTN), {"use_rslora": "no"}, "use_rslora has to be true or false"),
    "patterns in a list": (lora(C_ATTN), {"rank_pattern": [1]}, "rank_pattern has to be an object"),
    "a pattern that never ends": (
        lora(C_ATTN), {"alpha_pattern": {"(a+)+$": 1}}, "the alpha_pattern '(a+)+$' is not"
    ),
    "a pattern that is none": (lora(C_ATTN), {"alpha_pattern": {"a**": 1}}, "'a**' is not"),
    "modules as text": (lora(C_ATTN), {"modules_to_save": "wte"}, "modules_to_save cannot be 'wte'"),
    "another rank": (lora(C_ATTN, 3), {}, "lora_A.weight' has shape [3, 32], the base asks for"),
    "no B": (
        dict(list(lora(C_ATTN).items())[:1]), {}, "c_attn.lora_B.weight' is missing"
    ),
    "no A": (dict(list(lora(C_ATTN).items())[1:]), {}, "lora_B.weight' cannot be merged"),
    "a longer vocabulary": (WHOLES, {}, "wte.weight' has shape [291, 32], the base asks for [289, 32] (was its vocabulary resized?"),
    "a magnitude": (
        {f"{PREFIX}{C_ATTN}.lora_magnitude_vector": numbers(96)}, {}, "magnitude_vector' cannot be"
    ),
    "of another model": (
        {f"{PREFIX}model.layers.0.q_proj.lora_A.weight": numbers(4, 32)}, {}, "q_proj.lora_A.weight'"
    ),
    "a layer too many": (
        {f"{PREFIX}transformer.h.2.mlp.c_fc.lora_A.weight": numbers(4, 32)}, {}, "h.2.mlp.c_fc.lora_A"
    ),
    "a norm with ranks": (
        {f"{PREFIX}transformer.ln_f.lora_A.weight": numbers(4, 32)}, {}, "ln_f.lora_A.weight' cannot"
    ),
    "integers": (
        {name: values.astype(np.int32) for name, values in lora(C_ATTN).items()}, {}, "is I32"
    ),
    "a tensor twice": (
        lora(C_ATTN) | {n.replace("transformer.", ""): v for n, v in lora(C_ATTN).items()},
        {},
        "is there twice, also as 'base_model.model.",
    ),
    "nothing": ({}, {}, "it changes no tensor of a GPT-2"),
    "tied while training": (
        embedding_lora(), {"ensure_weight_tying": True}, "ensure_weight_tying with a changed"
    ),
}  # fmt: skip


@pytest.mark.parametrize(("tensors", "config", "message"), REFUSED.values(), ids=REFUSED)
def test_an_adapter_that_cannot_be_merged_is_refused_by_name(
    checkpoint: Path,
    make_adapter: MakeAdapter,
    tensors: Tensors,
    config: dict[str, object],
    message: str,
) -> None:
    adapter = make_adapter(tensors, **config)
    with pytest.raises(CheckpointError) as error:
        open_checkpoint(checkpoint, adapter)
    assert message in str(error.value)
    assert str(adapter) in str(error.value)


def test_a_head_of_the_adapter_is_left_out_with_a_warning(
    checkpoint: Path, make_adapter: MakeAdapter, tmp_path: Path
) -> None:
    adapter = make_adapter(lora(C_ATTN) | {f"{PREFIX}score.weight": numbers(2, 32)})
    with pytest.warns(
        Gpt2xlWarning, match=r"left out base_model\.model\.score\.weight: it belongs to an"
    ):
        export(checkpoint, tmp_path / "out", adapter=adapter)


@pytest.mark.parametrize("missing", ["adapter_config.json", "adapter_model.safetensors"])
def test_half_an_adapter_is_refused(
    checkpoint: Path, make_adapter: MakeAdapter, missing: str
) -> None:
    adapter = make_adapter(lora(C_ATTN))
    (adapter / missing).unlink()
    with pytest.raises(CheckpointError, match=missing.replace(".", r"\.")):
        open_checkpoint(checkpoint, adapter)


@pytest.mark.parametrize("name", ["adapter_config.json", "adapter_model.safetensors"])
def test_a_git_lfs_pointer_in_an_adapter_is_called_one(
    checkpoint: Path, make_adapter: MakeAdapter, name: str
) -> None:
    adapter = make_adapter(lora(C_ATTN))
    (adapter / name).write_text("version https://git-lfs.github.com/spec/v1\nsize 5\n")
    with pytest.raises(CheckpointError, match=f"{name}' is a Git LFS pointer"):
        open_checkpoint(checkpoint, adapter)


def test_an_adapter_alone_is_refused_with_the_command(make_adapter: MakeAdapter) -> None:
    adapter = make_adapter(lora(C_ATTN))
    with pytest.raises(CheckpointError) as error:
        open_checkpoint(adapter)
    assert str(error.value) == (
        f"'{adapter}' is an adapter for the model gpt2, not a model: run"
        f" `gpt2xl export gpt2 OUT --adapter {adapter}`."
    )


def test_an_adapter_beside_the_weights_is_left_out_with_a_warning(
    make_checkpoint: MakeCheckpoint, make_adapter: MakeAdapter, tmp_path: Path
) -> None:
    folder = make_checkpoint()
    shutil.copytree(make_adapter(lora(C_ATTN)), folder, dirs_exist_ok=True)
    with pytest.warns(Gpt2xlWarning, match="left out the adapter that .* has beside the weights"):
        export(folder, tmp_path / "plain")
    export(folder, tmp_path / "merged", adapter=folder)
    digests = [file_sha256(tmp_path / o / "onnx/model.onnx_data") for o in ("plain", "merged")]
    assert digests[0] != digests[1]


def test_an_adapter_of_another_hub_model_is_said_to_be_one(
    checkpoint: Path, make_adapter: MakeAdapter, tmp_path: Path
) -> None:
    adapter = make_adapter(lora(C_ATTN))
    other = Source(checkpoint, "me/tales", "0" * 40)
    with pytest.warns(Gpt2xlWarning, match="made for openai-community/gpt2, not for me/tales"):
        export(other, tmp_path / "other", adapter=adapter)
    same = Source(checkpoint, "openai-community/gpt2", "0" * 40)
    export(same, tmp_path / "same", adapter=adapter)


def test_a_tokenizer_with_other_tokens_is_left_out_with_a_warning(
    checkpoint: Path, make_adapter: MakeAdapter, tmp_path: Path
) -> None:
    adapter = make_adapter(lora(C_ATTN))
    content = json.loads((checkpoint / "tokenizer.json").read_text())
    (adapter / "tokenizer.json").write_text(json.dumps(content | {"padding": None}, indent=1))
    export(checkpoint, tmp_path / "same", adapter=adapter)
    content["added_tokens"].append(content["added_tokens"][0] | {"content": "<pad>", "id": 287})
    (adapter / "tokenizer.json").write_text(json.dumps(content))
    with pytest.warns(
        Gpt2xlWarning, match="has other tokens than the base model's; the base model's is used"
    ):
        export(checkpoint, tmp_path / "other", adapter=adapter)


@pytest.mark.parametrize("content", [b"{", b"\xff", b"[]"])
def test_a_tokenizer_that_cannot_be_read_counts_as_other_tokens(
    checkpoint: Path, make_adapter: MakeAdapter, content: bytes
) -> None:
    adapter = make_adapter(lora(C_ATTN))
    (adapter / "tokenizer.json").write_bytes(content)
    assert has_other_tokens(adapter, checkpoint)


def test_a_tokenizer_of_more_than_16_mb_is_compared(
    checkpoint: Path, make_adapter: MakeAdapter
) -> None:
    adapter = make_adapter(lora(C_ATTN))
    (adapter / "tokenizer.json").write_bytes(
        (checkpoint / "tokenizer.json").read_bytes() + b" " * (17 << 20)
    )
    assert not has_other_tokens(adapter, checkpoint)


def test_the_command_in_a_hint_is_quoted_for_a_shell(
    make_adapter: MakeAdapter, tmp_path: Path
) -> None:
    adapter = make_adapter(lora(C_ATTN)).rename(tmp_path / "it's mine; ls")
    with pytest.raises(CheckpointError) as error:
        open_checkpoint(adapter)
    hint = str(error.value).partition("`")[2].partition("`")[0]
    assert shlex.split(hint) == ["gpt2xl", "export", "gpt2", "OUT", "--adapter", str(adapter)]


def test_optimum_is_not_asked_to_merge(
    checkpoint: Path, make_adapter: MakeAdapter, tmp_path: Path
) -> None:
    with pytest.raises(ExportError, match="optimum cannot merge an adapter"):
        export(
            checkpoint,
            tmp_path / "out",
            ExportOptions(backend="optimum"),
            adapter=make_adapter(lora(C_ATTN)),
        )
