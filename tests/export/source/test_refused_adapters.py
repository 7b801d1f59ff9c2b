"""Adapters that are refused."""

import shlex
from pathlib import Path

import numpy as np
import pytest
from tests.export.source.adapters import (
    C_ATTN,
    PREFIX,
    MakeAdapter,
    Tensors,
    embedding_lora,
    lora,
    numbers,
)

from gpt2xl import CheckpointError, ExportError
from gpt2xl_export.exporting import export
from gpt2xl_export.options import ExportOptions
from gpt2xl_export.source.checkpoint import open_checkpoint

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
        "is stored twice, also as 'base_model.model.",
    ),
    "nothing": ({}, {}, "it changes no tensor of a GPT-2"),
    "tied while training": (
        embedding_lora(), {"ensure_weight_tying": True}, "ensure_weight_tying with a changed"
    ),
}  # fmt: skip


@pytest.mark.parametrize(("tensors", "config", "message"), REFUSED.values(), ids=REFUSED)
def test_an_adapter_that_cannot_be_merged_is_refused(
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


@pytest.mark.parametrize("missing", ["adapter_config.json", "adapter_model.safetensors"])
def test_an_adapter_without_one_of_its_files_is_refused(
    checkpoint: Path, make_adapter: MakeAdapter, missing: str
) -> None:
    adapter = make_adapter(lora(C_ATTN))
    (adapter / missing).unlink()
    with pytest.raises(CheckpointError, match=missing.replace(".", r"\.")):
        open_checkpoint(checkpoint, adapter)


@pytest.mark.parametrize("name", ["adapter_config.json", "adapter_model.safetensors"])
def test_a_git_lfs_pointer_in_an_adapter_is_refused(
    checkpoint: Path, make_adapter: MakeAdapter, name: str
) -> None:
    adapter = make_adapter(lora(C_ATTN))
    (adapter / name).write_text("version https://git-lfs.github.com/spec/v1\nsize 5\n")
    with pytest.raises(CheckpointError, match=f"{name}' is a Git LFS pointer"):
        open_checkpoint(checkpoint, adapter)


def test_for_an_adapter_as_source_the_right_command_is_shown(make_adapter: MakeAdapter) -> None:
    adapter = make_adapter(lora(C_ATTN))
    with pytest.raises(CheckpointError) as error:
        open_checkpoint(adapter)
    assert str(error.value) == (
        f"'{adapter}' is an adapter for the model gpt2, not a model: run"
        f" `gpt2xl export gpt2 OUT --adapter {adapter}`."
    )


def test_the_command_in_a_hint_is_quoted_for_a_shell(
    make_adapter: MakeAdapter, tmp_path: Path
) -> None:
    adapter = make_adapter(lora(C_ATTN)).rename(tmp_path / "it's mine; ls")
    with pytest.raises(CheckpointError) as error:
        open_checkpoint(adapter)
    hint = str(error.value).partition("`")[2].partition("`")[0]
    assert shlex.split(hint) == ["gpt2xl", "export", "gpt2", "OUT", "--adapter", str(adapter)]


def test_optimum_cannot_merge(checkpoint: Path, make_adapter: MakeAdapter, tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="optimum cannot merge an adapter"):
        export(
            checkpoint,
            tmp_path / "out",
            ExportOptions(backend="optimum"),
            adapter=make_adapter(lora(C_ATTN)),
        )
