"""Exports with an adapter: manifest, verify, warnings."""

import json
import shutil
from pathlib import Path

import pytest
from safetensors.numpy import save_file
from tests.export.source.adapters import (
    C_ATTN,
    CONFIG,
    PREFIX,
    MakeAdapter,
    MakeCheckpoint,
    lora,
    numbers,
)

from gpt2xl.errors import Gpt2xlWarning
from gpt2xl_export.exporting import export
from gpt2xl_export.options import ExportOptions
from gpt2xl_export.source.adapter import has_other_tokens
from gpt2xl_export.source.checkpoint import open_checkpoint
from gpt2xl_export.source.sources import Source
from gpt2xl_export.source.sums import file_sha256
from gpt2xl_export.verification.verify import verify


def test_an_untied_export_has_an_untied_config(
    checkpoint: Path, make_adapter: MakeAdapter, tmp_path: Path
) -> None:
    adapter = make_adapter(lora("lm_head") | lora(C_ATTN))
    with pytest.warns(Gpt2xlWarning, match="one side of the tied embedding: the bundle unties it"):
        export(checkpoint, tmp_path / "out", adapter=adapter)
    assert json.loads((tmp_path / "out/config.json").read_text())["tie_word_embeddings"] is False
    statuses = {check.name: check.status for check in verify(tmp_path / "out", checkpoint, adapter)}
    assert (statuses["source sums"], statuses["source parity"]) == ("ok", "ok")


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["fp32", "int8", "int4"])
def test_the_bundle_is_that_of_the_merged_checkpoint(
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


def test_published_outputs_of_the_base_are_skipped(
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


def test_merged_weights_are_not_those_trained_for_a_rounding(
    make_checkpoint: MakeCheckpoint, make_adapter: MakeAdapter
) -> None:
    base = make_checkpoint({"int4_rounding": {"method": "nearest", "block_size": 64}})
    assert open_checkpoint(base).int4_rounding
    assert not open_checkpoint(base, make_adapter(lora(C_ATTN))).int4_rounding


def test_a_head_of_the_adapter_is_left_out_with_a_warning(
    checkpoint: Path, make_adapter: MakeAdapter, tmp_path: Path
) -> None:
    adapter = make_adapter(lora(C_ATTN) | {f"{PREFIX}score.weight": numbers(2, 32)})
    with pytest.warns(
        Gpt2xlWarning, match=r"left out base_model\.model\.score\.weight: it belongs to an"
    ):
        export(checkpoint, tmp_path / "out", adapter=adapter)


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


def test_an_adapter_of_another_hub_model_gives_a_warning(
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
