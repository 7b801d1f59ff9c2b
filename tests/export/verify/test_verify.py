"""Tampered bundles: each check has to notice what it is there for, and say where."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx.external_data_helper import uses_external_data
from safetensors.numpy import load_file, save_file

from gpt2xl import BundleError, load
from gpt2xl_export.check.parity import Tolerance
from gpt2xl_export.export import export
from gpt2xl_export.output.graphs import ExportOptions
from gpt2xl_export.recipes import RECIPES
from gpt2xl_export.source.checkpoint import file_sha256
from gpt2xl_export.verify.published import Continuation, Published, Score, Table
from gpt2xl_export.verify.subject import Subject
from gpt2xl_export.verify.verify import Check, verify

WEIGHTS = "onnx/model.onnx_data"
FOREVER_SKIPPED = {"source sums", "source parity", "published"}


@pytest.fixture
def copy(bundle: Path, tmp_path: Path) -> Path:
    """A bundle to be tampered with."""
    return Path(shutil.copytree(bundle, tmp_path / "copy"))


def manifest(folder: Path) -> dict[str, Any]:
    content = json.loads((folder / "gpt2xl.json").read_text("utf-8"))
    assert isinstance(content, dict)
    return content


def change_manifest(folder: Path, **changes: object) -> None:
    (folder / "gpt2xl.json").write_text(json.dumps(manifest(folder) | changes), "utf-8")


def sum_again(folder: Path) -> None:
    """Make the manifest fit the files."""
    names = [name for name in manifest(folder)["files"] if (folder / name).is_file()]
    files = {
        name: {"size": (folder / name).stat().st_size, "sha256": file_sha256(folder / name)}
        for name in names
    }
    change_manifest(folder, files=files)


def change_graph(folder: Path, stem: str, change: Callable[[onnx.ModelProto], None]) -> None:
    path = folder / "onnx" / f"{stem}.onnx"
    model = onnx.load(path, load_external_data=False)
    change(model)
    path.write_bytes(model.SerializeToString())
    sum_again(folder)


def external(model: onnx.ModelProto, name: str) -> dict[str, Any]:
    """The key-value entries of a tensor's external data, by key."""
    (tensor,) = (t for t in model.graph.initializer if t.name == name)
    assert uses_external_data(tensor)
    return {entry.key: entry for entry in tensor.external_data}


def statuses(folder: Path, source: Path | None = None) -> dict[str, str]:
    return {check.name: check.status for check in verify(folder, source)}


def failure(folder: Path, source: Path | None = None) -> Check:
    """The one failed check; what comes after it is skipped on its account."""
    checks = list(verify(folder, source))
    (at,) = (i for i, check in enumerate(checks) if check.status == "failed")
    for check in checks[at + 1 :]:
        assert (check.status, check.detail) == ("skipped", f"{checks[at].name} failed")
    return checks[at]


def test_a_bundle_and_its_source_pass_all_checks(bundle: Path, checkpoint: Path) -> None:
    checks = {check.name: check for check in verify(bundle, checkpoint)}
    assert {name for name, check in checks.items() if check.status != "ok"} == {"published"}
    assert checks["published"].detail == "no outputs are known of the model 'tiny'"
    count = len(manifest(bundle)["files"])
    assert checks["sums"].detail.startswith(f"{count} files, ")
    assert checks["parity"].detail.startswith("portable and engine, whole and stepwise: ")


def test_without_a_source_the_rest_is_checked(bundle: Path) -> None:
    skipped = {name for name, status in statuses(bundle).items() if status == "skipped"}
    assert skipped == FOREVER_SKIPPED
    assert list(statuses(bundle)) == [
        "sums", "tokenization", "graphs", "parity", "source sums", "source parity", "published"
    ]  # fmt: skip


@pytest.mark.parametrize(
    "options",
    [
        ExportOptions("int8"),
        ExportOptions("int4"),
        ExportOptions("fp16"),
        ExportOptions("fp32", keep=("int4:h.*",)),
        ExportOptions("int8", kv="int8"),
    ],
    ids=["int8", "int4", "fp16", "keep-int4", "kv-int8"],
)
def test_other_precisions_pass(options: ExportOptions, checkpoint: Path, tmp_path: Path) -> None:
    export(checkpoint, tmp_path / "out", options)
    skipped = {name for name, s in statuses(tmp_path / "out", checkpoint).items() if s != "ok"}
    assert skipped == {"published"}
    assert not Subject(tmp_path / "out", None).exact


def test_float32_is_exact_and_has_to_agree_closely(bundle: Path) -> None:
    subject = Subject(bundle, None)
    assert subject.exact
    assert subject.tolerance == Tolerance(relative_logit_diff=1e-3)


@pytest.mark.parametrize(
    "changes", [{"kv": "int8"}, {"keep": ["int8:h.0.*"]}, {"precision": "int8"}]
)
def test_a_bundle_with_anything_in_int8_may_differ_as_int8_does(
    copy: Path, changes: dict[str, object]
) -> None:
    change_manifest(copy, **changes)
    subject = Subject(copy, None)
    assert not subject.exact
    assert subject.tolerance == RECIPES["int8"].tolerance


def test_checks_come_as_they_are_done(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checks = verify(bundle)
    assert [next(checks).name, next(checks).name] == ["sums", "tokenization"]
    monkeypatch.setattr("gpt2xl_export.verify.verify.check_weights", lambda *_: 1 / 0)
    assert next(checks) == Check("graphs", "failed", "ZeroDivisionError: division by zero")


def test_no_folder_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="is not a folder"):
        next(verify(tmp_path / "nope"))


def test_a_checkpoint_is_no_bundle(checkpoint: Path) -> None:
    assert "it is a checkpoint: run `gpt2xl export`" in failure(checkpoint).detail


@pytest.mark.parametrize("name", [WEIGHTS, "onnx/engine.onnx", "tokenizer.json"])
def test_a_flipped_bit_is_noticed(copy: Path, name: str) -> None:
    content = bytearray((copy / name).read_bytes())
    content[len(content) // 2] ^= 1
    (copy / name).write_bytes(content)
    check = failure(copy)
    assert check.name == "sums"
    assert check.detail == f"'{name}' is not the file of the manifest: its sha256 differs."


def test_a_file_cut_short_is_noticed(copy: Path) -> None:
    size = (copy / WEIGHTS).stat().st_size
    os.truncate(copy / WEIGHTS, size - 1)
    assert failure(copy).detail == f"'{WEIGHTS}' has {size - 1} bytes, the manifest says {size}."


def test_a_missing_file_is_noticed(copy: Path) -> None:
    (copy / "genai_config.json").unlink()
    assert failure(copy).detail == "'genai_config.json' is missing."


def test_a_stranger_among_the_graphs_is_noticed_elsewhere_not(copy: Path) -> None:
    (copy / "notes.txt").write_text("mine")
    assert "failed" not in statuses(copy).values()
    (copy / "onnx" / "model.onnx_data.old").write_text("theirs")
    assert failure(copy).detail == "'onnx/model.onnx_data.old' is not in the manifest."


@pytest.mark.parametrize(
    ("files", "detail"),
    [
        (None, "'onnx/engine.onnx' is not in the manifest."),
        ([], "gpt2xl.json': files has to be an object, but is []."),
        ({"config.json": 3}, "files.config.json has to be an object, but is 3."),
        ({"config.json": {"size": 3}}, "config.json.sha256 has to be a string, but is None."),
        ({"../secret": {"size": 3, "sha256": ""}}, "'../secret', which is outside the bundle."),
    ],
)
def test_a_manifest_that_lists_no_files_is_noticed(copy: Path, files: object, detail: str) -> None:
    change_manifest(copy, files=files)
    assert failure(copy).detail.endswith(detail)


def test_a_folder_without_manifest_is_checked_as_far_as_it_goes(copy: Path) -> None:
    (copy / "gpt2xl.json").unlink()
    found = statuses(copy)
    assert (found.pop("tokenization"), found.pop("graphs")) == ("ok", "ok")
    assert set(found.values()) == {"skipped"}


def test_a_graph_that_optimum_built_is_run_in_one_piece(copy: Path, checkpoint: Path) -> None:
    (copy / "onnx" / "engine.onnx").unlink()
    change_graph(copy, "model", rename_first_layer)
    assert failure(copy).name == "parity"  # there is no place to cut
    change_manifest(copy, backend="optimum")
    checks = {check.name: check for check in verify(copy, checkpoint)}
    assert checks["parity"].detail.startswith("portable, whole and stepwise: ")
    assert checks["source parity"].status == "ok"


def rename_first_layer(model: onnx.ModelProto) -> None:
    for node in model.graph.node:
        node.input[:] = ["first" if name == "h.0" else name for name in node.input]
        node.output[:] = ["first" if name == "h.0" else name for name in node.output]


def test_a_graph_that_is_none_is_noticed(copy: Path) -> None:
    (copy / "onnx" / "engine.onnx").write_bytes(b"nonsense")
    sum_again(copy)
    check = failure(copy)
    assert check.name == "graphs"
    assert check.detail.startswith("'engine.onnx' cannot be read as an ONNX file: ")


@pytest.mark.parametrize("stem", ["model", "engine"])
@pytest.mark.parametrize(
    "location",
    ["../../etc/passwd", "/etc/passwd", "a/../../x", "..\\x", "C:\\x", "C:x", "\\x", "link/passwd"],
)
def test_weights_outside_the_bundle_are_refused(copy: Path, stem: str, location: str) -> None:
    (copy / "onnx" / "link").symlink_to("/etc")

    def change(model: onnx.ModelProto) -> None:
        external(model, "h.1.mlp.c_fc.weight")["location"].value = location

    change_graph(copy, stem, change)
    assert failure(copy) == Check(
        "graphs",
        "failed",
        f"'{stem}.onnx': the data of the tensor 'h.1.mlp.c_fc.weight' is outside the bundle: '{location}'.",
    )


def test_weights_behind_a_link_out_of_the_bundle_are_refused(copy: Path, tmp_path: Path) -> None:
    (copy / WEIGHTS).rename(tmp_path / "elsewhere")
    (copy / WEIGHTS).symlink_to(tmp_path / "elsewhere")
    check = failure(copy)
    assert check.name == "graphs"
    assert "is outside the bundle: 'model.onnx_data'" in check.detail


def test_weights_behind_a_link_inside_the_bundle_are_checked(copy: Path) -> None:
    (copy / WEIGHTS).rename(copy / "onnx" / "data")
    (copy / WEIGHTS).symlink_to("data")
    files = manifest(copy)["files"]
    change_manifest(copy, files=files | {"onnx/data": files[WEIGHTS]})
    assert statuses(copy)["parity"] == "ok"


def test_a_bundle_in_the_hubs_cache_is_checked_whole(
    bundle: Path, as_hub_cache: Callable[[Path, Path], Path], tmp_path: Path
) -> None:
    snapshot = as_hub_cache(bundle, tmp_path / "hub")
    assert "failed" not in statuses(snapshot).values()
    assert statuses(snapshot)["parity"] == "ok"


def test_a_graph_that_breaks_onnx_is_noticed(copy: Path) -> None:
    def change(model: onnx.ModelProto) -> None:
        model.graph.node[0].op_type = "Nonsense"

    change_graph(copy, "model", change)
    assert "'model.onnx': No Op registered for Nonsense" in failure(copy).detail


def test_missing_weights_are_noticed(copy: Path) -> None:
    def change(model: onnx.ModelProto) -> None:
        external(model, "wpe.weight")["location"].value = "other.onnx_data"

    change_graph(copy, "model", change)
    assert "the tensor 'wpe.weight' is missing: 'other.onnx_data'" in failure(copy).detail


@pytest.mark.parametrize(
    ("key", "value", "detail"),
    [
        (
            "offset",
            "99999999",
            "' of 12288 bytes is said to be the bytes 99999999 to 100012287 of '",
        ),
        ("length", "4", "' of 12288 bytes is said to be the bytes "),
        ("offset", "-4096", ""),  # onnx_ir refuses to read these two
        ("length", "-1", ""),
    ],
)
def test_weights_beyond_their_file_are_noticed(
    copy: Path, key: str, value: str, detail: str
) -> None:
    def change(model: onnx.ModelProto) -> None:
        external(model, "wpe.weight")[key].value = value

    change_graph(copy, "model", change)
    check = failure(copy)
    assert check.name == "graphs"
    assert check.detail.startswith("'model.onnx'")
    assert detail in check.detail


def test_weights_cut_short_before_they_were_summed_are_noticed(copy: Path) -> None:
    os.truncate(copy / WEIGHTS, (copy / WEIGHTS).stat().st_size - 1)
    sum_again(copy)
    assert "'model.onnx': the tensor '" in failure(copy).detail


def rename_input(model: onnx.ModelProto) -> None:
    model.graph.input[1].name = "mask"
    for node in model.graph.node:
        node.input[:] = ["mask" if name == "attention_mask" else name for name in node.input]


def rename_batch(model: onnx.ModelProto) -> None:
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.shape.dim[0].dim_param = "batch"


def free_heads(model: onnx.ModelProto) -> None:
    model.graph.input[3].type.tensor_type.shape.dim[1].dim_param = "n_head"


def flatten_positions(model: onnx.ModelProto) -> None:
    del model.graph.input[2].type.tensor_type.shape.dim[1]


def mask_of_int32(model: onnx.ModelProto) -> None:
    model.graph.input[1].type.tensor_type.elem_type = onnx.TensorProto.INT32


def cache_of_int8(model: onnx.ModelProto) -> None:
    model.graph.input[3].type.tensor_type.elem_type = onnx.TensorProto.INT8


def one_output_less(model: onnx.ModelProto) -> None:
    del model.graph.output[2]


def one_input_more(model: onnx.ModelProto) -> None:
    model.graph.input.append(onnx.helper.make_tensor_value_info("num_logits_to_keep", 7, [1]))


@pytest.mark.parametrize(
    ("change", "detail"),
    [
        (rename_input, "there is no input 'attention_mask'."),
        (
            rename_batch,
            "'input_ids' has the shape ['batch', 'sequence_length'], not ['batch_size', ",
        ),
        (free_heads, "'past_key_values.0.key' has the shape ['batch_size', 'n_head', "),
        (flatten_positions, "'position_ids' has the shape ['batch_size'], not "),
        (mask_of_int32, "'attention_mask' is INT32, not INT64."),
        (cache_of_int8, "'past_key_values.0.key' is INT8, not FLOAT or FLOAT16."),
        (one_output_less, "there is no output 'present.0.value'."),
        (one_input_more, "the input 'num_logits_to_keep' is none of a bundle's."),
    ],
)
def test_a_broken_contract_is_noticed(
    copy: Path, change: Callable[[onnx.ModelProto], None], detail: str
) -> None:
    change_graph(copy, "model", change)
    check = failure(copy)
    assert check.name == "graphs"
    assert check.detail.startswith("'model.onnx': ")
    assert detail in check.detail


def test_a_config_of_another_model_is_noticed(copy: Path) -> None:
    config = json.loads((copy / "config.json").read_text("utf-8"))
    (copy / "config.json").write_text(json.dumps(config | {"vocab_size": 290}), "utf-8")
    sum_again(copy)
    assert (
        "'logits' has the shape ['batch_size', 'sequence_length', 289], not "
        in failure(copy).detail
    )


def test_what_the_onnx_checker_refuses_is_noticed(copy: Path) -> None:
    change_graph(copy, "model", lambda model: model.graph.node.reverse())
    check = failure(copy)
    assert check.name == "graphs"
    assert "\n" not in check.detail


def exchange(model: onnx.ModelProto) -> None:
    """Let two weights of one shape point at each other's data."""
    one, two = (external(model, f"h.{layer}.mlp.c_fc.weight")["offset"] for layer in (0, 1))
    one.value, two.value = two.value, one.value


def test_two_weights_exchanged_in_one_graph_are_noticed_by_the_other(copy: Path) -> None:
    change_graph(copy, "engine", exchange)
    check = failure(copy)
    assert check.name == "parity"
    assert check.detail.startswith(
        "the engine graph, whole, against the portable one: relative_logit"
    )


def test_two_weights_exchanged_in_both_are_noticed_by_the_source(
    copy: Path, checkpoint: Path
) -> None:
    for stem in ("engine", "model"):
        change_graph(copy, stem, exchange)
    assert "failed" not in statuses(copy).values()
    check = failure(copy, checkpoint)
    assert check.name == "source parity"
    assert "relative_logit_diff is " in check.detail


def test_weights_that_are_no_numbers_are_noticed(copy: Path) -> None:
    model = onnx.load(copy / "onnx" / "model.onnx", load_external_data=False)
    with (copy / WEIGHTS).open("r+b") as file:
        file.seek(int(external(model, "ln_f.weight")["offset"].value))
        file.write(np.full(4, np.nan, np.float32).tobytes())
    sum_again(copy)
    with np.errstate(invalid="ignore"):
        check = failure(copy)
    assert (check.name, "relative_logit_diff is nan" in check.detail) == ("parity", True)


def test_a_bundle_without_engine_is_compared_with_itself(copy: Path) -> None:
    (copy / "onnx" / "engine.onnx").unlink()
    sum_again(copy)
    checks = {check.name: check for check in verify(copy)}
    assert checks["parity"].detail.startswith("portable, whole and stepwise: ")


def test_a_bundle_without_portable_graph_has_no_measure(copy: Path) -> None:
    (copy / "onnx" / "model.onnx").unlink()
    sum_again(copy)
    assert statuses(copy)["parity"] == "skipped"


def test_a_bundle_of_unknown_precision_is_noticed(copy: Path) -> None:
    change_manifest(copy, precision="int3")
    assert failure(copy).detail == "'gpt2xl.json' has precision 'int3', which is unknown."


def test_another_source_is_noticed(bundle: Path, make_checkpoint: Callable[..., Path]) -> None:
    source = make_checkpoint(seed=1)
    check = failure(bundle, source)
    assert check.name == "source sums"
    assert check.detail == f"'{source}' is not the source: model.safetensors differs."


def test_a_source_with_one_other_weight_is_noticed_even_without_sums(
    copy: Path, make_checkpoint: Callable[..., Path]
) -> None:
    source = make_checkpoint()
    tensors = load_file(source / "model.safetensors")
    tensors["h.1.ln_2.bias"][3] += 1
    save_file(tensors, source / "model.safetensors")
    change_manifest(copy, source={"name": "tiny"})
    assert failure(copy, source).name == "source parity"


def test_a_source_with_another_config_is_noticed(
    copy: Path, make_checkpoint: Callable[..., Path]
) -> None:
    change_manifest(copy, source=None)
    check = failure(copy, make_checkpoint({"layer_norm_epsilon": 1e-6}))
    assert check.name == "source parity"
    assert check.detail.endswith("has another config.json than the bundle.")


@pytest.mark.parametrize(
    "name", ["gpt2-xl", "openai-community/gpt2-xl", "gpt2", "distilbert/distilgpt2"]
)
def test_a_wrong_model_of_a_known_name_is_refused(copy: Path, name: str) -> None:
    change_manifest(copy, source={"name": name})
    check = failure(copy)
    assert check.name == "published"
    known = name.rpartition("/")[2]
    assert check.detail == (
        f"'gpt2xl.json' names '{name}', but vocab_size is 289, {known}'s is 50257."
    )


def known_of(folder: Path) -> Published:
    """What the model in ``folder`` gives itself, as if somebody had published it."""
    model = load(folder, provider="cpu")
    result = model.generate("Once upon", greedy=True, max_new_tokens=9)
    ids = [*result.prompt_ids, *result.new_ids]
    start = Continuation("a book", "Once upon", ids, [[len(result.prompt_ids), len(ids)]])
    return Published("tiny", {"vocab_size": 289}, [start], [], [])


@pytest.fixture
def publish(monkeypatch: pytest.MonkeyPatch) -> Callable[[Published], None]:
    return lambda known: monkeypatch.setattr(
        "gpt2xl_export.verify.subject.published", lambda _: known
    )


def test_published_outputs_are_replayed(bundle: Path, publish: Callable[[Published], None]) -> None:
    publish(known_of(bundle))
    checks = {check.name: check for check in verify(bundle)}
    assert checks["published"].detail == "of tiny there are 1 continuations, 0 tables, 0 scores"
    assert checks["continuations"].detail == "1 continuations, 9 of 9 tokens as published"
    assert checks["tables"] == Check("tables", "skipped", "there are none of tiny")


def test_published_outputs_that_differ_are_noticed(
    bundle: Path, publish: Callable[[Published], None]
) -> None:
    known = known_of(bundle)
    known.continuations[0].ids[-1] ^= 1
    publish(known)
    check = failure(bundle)
    assert check.name == "continuations"
    assert check.detail.startswith("'Once upon', published in a book: token ")
    publish(Published("tiny", {}, [], [Table("a book", "Once", [3], "logit", 0.1, [(4, 1e3)])], []))
    assert "the logit of token 4 is 1000.0, here " in failure(bundle).detail
    unit = "mean negative log-likelihood"
    publish(
        Published(
            "tiny", {}, [], [], [Score("a book", "whole", "Once", [[3, 4]], 1, unit, 99.0, 0)]
        )
    )
    assert f"(whole): the {unit} is 99.0, here " in failure(bundle).detail
