"""Every precision on small random checkpoints: sizes, errors, keep rules, and exactness."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import pytest
from safetensors.numpy import load_file, save_file

from gpt2xl import ParityError, RequestError, load
from gpt2xl.bundle.bundle import Bundle, open_bundle
from gpt2xl.sessions.opening import open_session
from gpt2xl.sessions.portable import PortableSession
from gpt2xl.sessions.protocol import Session
from gpt2xl.startup.graph import open_graph
from gpt2xl.startup.options import LoadOptions
from gpt2xl_export.exporting import export
from gpt2xl_export.formats.nbits import NBits, dequantize_blocks, encode, to_blocks
from gpt2xl_export.options import ExportOptions
from gpt2xl_export.recipes import INT4_HEAD, RECIPES, formats

DEMO = Path(__file__).parents[2] / "models" / "demo"
MakeCheckpoint = Callable[..., Path]
LOSSY = [name for name in RECIPES if name != "fp32"]
VARIANTS: list[dict[str, object]] = [
    {"n_embd": 64},
    {"n_embd": 48, "n_inner": 72},  # no multiple of any block
    {"n_embd": 64, "tie_word_embeddings": False},
    {"n_embd": 64, "n_layer": 1, "activation_function": "relu", "vocab_size": 301},
]


@pytest.fixture(scope="module")
def exported(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The bundle of the random checkpoint at a precision, made once."""
    folder = tmp_path_factory.mktemp("precisions")

    def get(precision: str) -> Path:
        if not (folder / precision).exists():
            export(checkpoint, folder / precision, ExportOptions(precision))
        return folder / precision

    return get


@pytest.mark.slow
@pytest.mark.parametrize("precision", RECIPES)
@pytest.mark.parametrize("config", VARIANTS, ids=str)
def test_every_precision_works_with_every_shape(
    make_checkpoint: MakeCheckpoint, tmp_path: Path, precision: str, config: dict[str, object]
) -> None:
    manifest = export(make_checkpoint(config), tmp_path / "out", ExportOptions(precision))
    for kind in ("portable", "engine"):
        for mode in ("whole", "stepwise", "page"):
            assert manifest["parity"][kind][mode]["mean_kl"] < (
                0.2 if precision.startswith(("int4", "fast")) else 0.02
            )
    result = load(tmp_path / "out").generate("the king", greedy=True, max_new_tokens=5)
    assert len(result.new_ids) >= 1


@pytest.mark.parametrize("precision", LOSSY)
def test_the_error_of_every_changed_weight_is_in_the_manifest(
    exported: Callable[[str], Path], precision: str
) -> None:
    passes = json.loads((exported(precision) / "gpt2xl.json").read_text())["passes"]
    assert {"wte.weight", "h.0.attn.c_attn.weight", "h.1.mlp.c_proj.weight"} <= passes.keys()
    limit = {"fp16": 1e-3, "int4": 0.2, "fast": 0.2, "int4-fp16": 0.2}.get(precision, 0.02)
    for error in passes.values():
        assert error["relative_error"] < limit
    assert max(error["relative_error"] for error in passes.values()) > 0


def test_fewer_bits_make_a_smaller_file(exported: Callable[[str], Path]) -> None:
    sizes = [
        sum(path.stat().st_size for path in (exported(name) / "onnx").glob("*_data"))
        for name in ("int4", "int8", "fp16", "fp32")
    ]
    assert sizes == sorted(sizes)
    assert len(set(sizes)) == len(sizes)


def logits_of(session: Session, rows: npt.NDArray[np.int64], step: int) -> npt.NDArray[np.float32]:
    cache = session.new_cache(len(rows))
    for start in range(0, rows.shape[1], step):
        last = session.forward(rows[:, start : start + step], cache)[:, -1]
    return last


def open_engine(bundle: Bundle) -> Session:
    return open_session(bundle, LoadOptions(provider="cpu"))


def open_portable(bundle: Bundle) -> Session:
    assert bundle.portable is not None
    return PortableSession(open_graph(bundle.portable, "cpu", LoadOptions()), bundle.config)


@pytest.mark.parametrize("kind", ["engine", "portable"])
def test_int8_gives_a_prompt_the_same_logits_alone_in_a_batch_and_in_chunks(
    exported: Callable[[str], Path], kind: str
) -> None:
    bundle = open_bundle(exported("int8"))
    session = (open_engine if kind == "engine" else open_portable)(bundle)
    rows = np.random.default_rng(0).integers(0, bundle.config.vocab_size, (8, 70))
    rows[3] = 7  # one dull neighbour, one lively
    alone = logits_of(session, rows[:1], 70)
    scale = np.abs(alone).max()
    for other in (
        logits_of(session, rows, 70)[:1],
        *(logits_of(session, rows[:1], step) for step in (1, 7, 64)),
    ):
        assert np.abs(other - alone).max() < 1e-5 * scale


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["int8", "int8-weight"])
def test_the_demo_gives_a_prompt_the_same_bits_alone_in_a_batch_and_in_chunks(
    tmp_path: Path, precision: str
) -> None:
    manifest = export(DEMO, tmp_path / "out", ExportOptions(precision))
    assert manifest["kv"] == "int8"
    bundle = open_bundle(tmp_path / "out")
    rows = np.random.default_rng(0).integers(0, bundle.config.vocab_size, (8, 130))

    session = open_session(bundle, LoadOptions(provider="cpu", exact_prompts=True))
    alone = logits_of(session, rows[:1], 130)
    assert np.array_equal(logits_of(session, rows, 130)[:1], alone)
    for step in (1, 7, 64):
        assert np.array_equal(logits_of(session, rows[:1], step), alone)
        assert np.array_equal(logits_of(session, rows, step)[:1], alone)

    # Otherwise short steps agree to the bit, and long ones do; the one with the other nearly.
    session = open_session(bundle, LoadOptions(provider="cpu"))
    long, short = logits_of(session, rows[:1], 130), logits_of(session, rows[:1], 1)
    assert np.array_equal(short, alone)
    assert np.array_equal(logits_of(session, rows[:1], 7), short)
    assert np.array_equal(logits_of(session, rows, 130)[:1], long)
    for step in (10, 65, 121):
        assert np.array_equal(logits_of(session, rows[:1], step), long)
    assert 0 < np.abs(long - short).max() < 0.05 * np.abs(short).max()


def test_quantized_weights_have_an_int8_cache_by_default(
    checkpoint: Path, make_checkpoint: Callable[..., Path], tmp_path: Path
) -> None:
    wanted = {"int8": "int8", "int4": "int8", "fp32": "float", "fp16": "float"}
    wanted["int4-fp16"] = "float"
    for precision, kv in wanted.items():
        out = tmp_path / precision
        assert export(checkpoint, out, ExportOptions(precision))["kv"] == kv
    told = export(checkpoint, tmp_path / "told", ExportOptions("int8", kv="float"))
    odd = export(make_checkpoint({"n_embd": 24}), tmp_path / "odd", ExportOptions("int8"))
    assert told["kv"] == odd["kv"] == "float"


def formats_of(manifest: dict[str, Any]) -> dict[str, str]:
    return {name: error["method"] for name, error in manifest["passes"].items()}


def test_keep_rules_choose_the_format_of_single_weights(checkpoint: Path, tmp_path: Path) -> None:
    rules = ("fp32:h.0.*", "int8:h.1.mlp.*")
    found = formats_of(export(checkpoint, tmp_path / "out", ExportOptions("int4", keep=rules)))
    assert not any(name.startswith("h.0.") for name in found)
    assert found["h.1.mlp.c_fc.weight"] == "int8"
    assert found["h.1.attn.c_attn.weight"].startswith("int4")
    assert found["wte.weight"].startswith("int8")


@pytest.mark.parametrize("config", VARIANTS, ids=str)
def test_a_graph_with_an_int4_head_computes_with_the_stored_values(
    make_checkpoint: MakeCheckpoint, tmp_path: Path, config: dict[str, object]
) -> None:
    checkpoint, names = make_checkpoint(config), ["wte.weight"]
    if not config.get("tie_word_embeddings", True):
        names.append("lm_head.weight")
    keep = tuple(f"int4:{name}" for name in names)
    found = formats_of(export(checkpoint, tmp_path / "out", ExportOptions("fp32", keep=keep)))
    assert found == dict.fromkeys(names, "int4, blocks of 32")

    tensors = load_file(checkpoint / "model.safetensors")
    form = formats(64)[INT4_HEAD]
    assert isinstance(form, NBits)
    for name in names:
        assert form.scale is not None
        blocks = to_blocks(tensors[name], form.block_size)
        scales = form.scale(blocks.reshape(-1, form.block_size).T, 4).reshape(blocks.shape[:2])
        codes = encode(blocks, scales[..., None], 8)
        restored = dequantize_blocks(codes, scales, 4).reshape(len(blocks), -1)
        tensors[name] = np.ascontiguousarray(restored[:, : tensors[name].shape[1]])
    save_file(tensors, checkpoint / "model.safetensors", metadata={"format": "pt"})
    export(checkpoint, tmp_path / "restored", ExportOptions("fp32"))

    ids = np.random.default_rng(0).integers(0, 286, (1, 40))
    for open_one in (open_engine, open_portable):
        wanted, got = (
            logits_of(open_one(open_bundle(tmp_path / name)), ids, 40)
            for name in ("restored", "out")
        )
        # The head rounds what it is multiplied with to 8 bits.
        assert np.abs(got - wanted).max() < 0.03 * np.abs(wanted).max()


@pytest.mark.parametrize("rule", ["fp8:h.0.*", "fp32:h.9.*"])
def test_a_wrong_keep_rule_is_refused_and_nothing_is_written(
    checkpoint: Path, tmp_path: Path, rule: str
) -> None:
    with pytest.raises(RequestError, match=re.escape(f"'{rule}'")):
        export(checkpoint, tmp_path / "out", ExportOptions("int4", keep=(rule,)))
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_smaller_blocks_are_more_exact(checkpoint: Path, tmp_path: Path) -> None:
    errors = []
    for block_size in (16, 32, 64):
        options = ExportOptions("int4", block_size=block_size)
        manifest = export(checkpoint, tmp_path / str(block_size), options)
        errors.append(manifest["passes"]["h.0.mlp.c_proj.weight"]["relative_error"])
    assert errors == sorted(errors)


@pytest.mark.parametrize("precision", ["fp32", "int8", "int4"])
def test_an_int8_kv_cache_stays_close(checkpoint: Path, tmp_path: Path, precision: str) -> None:
    manifest = export(checkpoint, tmp_path / "out", ExportOptions(precision, kv="int8"))
    assert manifest["kv"] == "int8"
    assert manifest["parity"]["engine"]["stepwise"]["mean_kl"] < 0.2
    session = open_session(open_bundle(tmp_path / "out"), LoadOptions(provider="cpu"))
    assert session.has_int8_cache


def test_a_wrong_quantizer_fails_the_export(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from gpt2xl_export.formats import nbits

    encode = nbits.encode
    monkeypatch.setattr(nbits, "encode", lambda *args: encode(*args)[..., ::-1])
    with pytest.raises(ParityError, match="mean_kl"):
        export(checkpoint, tmp_path / "out", ExportOptions("int4"))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("declared", "options", "method"),
    [
        (None, ExportOptions("int4"), "GPTQ"),
        (None, ExportOptions("int4", rounding="nearest"), "blocks of 64"),
        (64, ExportOptions("int4"), "blocks of 64"),
        (64, ExportOptions("int4", rounding="gptq"), "GPTQ"),
        (64, ExportOptions("int4", block_size=32), "GPTQ"),  # not what it was trained for
    ],
)
def test_by_default_a_checkpoint_is_rounded_as_it_was_trained(
    make_checkpoint: MakeCheckpoint,
    tmp_path: Path,
    declared: int | None,
    options: ExportOptions,
    method: str,
) -> None:
    trained = {"method": "nearest", "block_size": declared}
    checkpoint = make_checkpoint({"int4_rounding": trained} if declared else {})
    manifest = export(checkpoint, tmp_path / "out", options)
    assert formats_of(manifest)["h.0.mlp.c_fc.weight"].endswith(method)
    assert manifest["rounding"] == ("gptq" if method == "GPTQ" else "nearest")


@pytest.mark.parametrize(("function", "zero_point"), [("gelu_new", 24), ("relu", 0), ("tanh", 128)])
def test_the_zero_point_of_activations_depends_on_the_function(
    make_checkpoint: MakeCheckpoint, tmp_path: Path, function: str, zero_point: int
) -> None:
    export(
        make_checkpoint({"activation_function": function}), tmp_path / "out", ExportOptions("int8")
    )
    graph = onnx.load(tmp_path / "out" / "onnx" / "model_int8.onnx", load_external_data=False).graph
    numbers = {
        i.name: onnx.numpy_helper.to_array(i) for i in graph.initializer if not i.external_data
    }
    products = [node for node in graph.node if node.op_type == "MatMulIntegerToFloat"]
    found = {bool("mlp.c_proj" in node.name): int(numbers[node.input[4]]) for node in products}
    assert found == {True: zero_point, False: 128}
    rounded_around = {
        bool("mlp.c_proj" in node.name): int(numbers[node.input[2]])
        for node in graph.node
        if node.name.endswith(".zero_points")
    }
    assert rounded_around == found
