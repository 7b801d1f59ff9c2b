"""Channels scaled up, with their readers scaled down, cost quantized bundles nothing."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import pytest
from tests.conftest import write_checkpoint
from tests.export.outliers import KINDS, with_outliers

from gpt2xl_export.check.difference import difference
from gpt2xl_export.exporting import export
from gpt2xl_export.options import ExportOptions
from gpt2xl_export.reference.forward import Reference
from gpt2xl_export.source.checkpoint import open_checkpoint

IDS = np.random.default_rng(0).integers(0, 280, (1, 60)).tolist()
GRAPHS = {"portable": "model", "engine": "engine"}
Exported = Callable[[str, str], tuple[Path, dict[str, Any]]]
RunGraph = Callable[..., npt.NDArray[np.float32]]


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The plain checkpoint, and one with outliers of each kind."""
    folder = tmp_path_factory.mktemp("outliers")
    plain = write_checkpoint(folder / "plain", {"n_embd": 64, "n_head": 4})
    return {"plain": plain} | {kind: with_outliers(plain, folder / kind, kind) for kind in KINDS}


@pytest.fixture(scope="module")
def exported(sources: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Exported:
    """Call it with a precision and a source for the bundle and its manifest, made once."""
    folder = tmp_path_factory.mktemp("exported")
    made: dict[str, tuple[Path, dict[str, Any]]] = {}

    def get(precision: str, source: str) -> tuple[Path, dict[str, Any]]:
        name = f"{precision}-{source}"
        if name not in made:
            manifest = export(sources[source], folder / name, ExportOptions(precision))
            made[name] = folder / name, manifest
        return made[name]

    return get


def loss(manifest: dict[str, Any], graph: str) -> float:
    """The KL on the page to the float32 model of the same checkpoint."""
    return float(manifest["parity"][graph]["page"]["mean_kl"])


@pytest.mark.parametrize("kind", ["norms", "values", "keys"])
def test_outliers_do_not_change_the_float32_model(sources: dict[str, Path], kind: str) -> None:
    plain, spiky = (Reference(open_checkpoint(sources[k])).logits(IDS)[0] for k in ("plain", kind))
    assert np.abs(plain - spiky).max() < 1e-4 * np.abs(plain).max()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("precision", "kind"),
    [
        ("int8", "norms"),
        ("int8", "values"),
        ("int8", "keys"),
        ("int4", "norms"),
        ("int4", "values"),
    ],
)
def test_outliers_do_not_make_a_bundle_less_exact(
    exported: Exported, precision: str, kind: str
) -> None:
    (_, plain), (_, spiky) = exported(precision, "plain"), exported(precision, kind)
    for graph in GRAPHS:
        assert loss(spiky, graph) < 1.5 * loss(plain, graph)


@pytest.mark.parametrize("precision", ["int8", "int4"])
def test_scaled_channels_of_norms_give_the_same_quantized_model(
    exported: Exported, run_graph: RunGraph, precision: str
) -> None:
    (plain, manifest), (spiky, _) = exported(precision, "plain"), exported(precision, "norms")
    suffix = {"int8": "_int8", "int4": "_q4"}[precision]
    logits = [run_graph(path / "onnx" / f"model{suffix}.onnx", IDS)[0] for path in (plain, spiky)]
    assert difference(*logits).mean_kl < 0.1 * loss(manifest, "portable")


def test_hidden_units_that_are_outliers_are_divided_in_both_graphs(exported: Exported) -> None:
    (_, plain), (bundle, spiky) = exported("int8", "plain"), exported("int8", "units")
    divided = [f"h.{layer}.mlp.c_proj" for layer in (0, 1)]
    assert spiky["calibration"]["divided"] == divided
    assert not set(divided) & set(spiky["calibration"]["equalized"])
    for graph, stem in GRAPHS.items():
        assert loss(spiky, graph) < 2 * loss(plain, graph)
        check_divided(bundle / "onnx" / f"{stem}_int8.onnx", divided)


def check_divided(path: Path, names: list[str]) -> None:
    """Each mlp.c_proj quantizes what a Mul makes of the output of Gelu, with its zero point."""
    graph = onnx.load(path, load_external_data=False).graph
    producers = {output: node for node in graph.node for output in node.output}
    numbers = {
        i.name: onnx.numpy_helper.to_array(i) for i in graph.initializer if not i.external_data
    }
    products = [
        node
        for node in graph.node
        if node.op_type == "MatMulIntegerToFloat" and "mlp.c_proj" in node.name
    ]
    assert len(products) == len(names)
    for product, name in zip(products, names, strict=True):
        assert int(numbers[product.input[4]]) == 24
        mul = producers[producers[product.input[0]].input[0]]
        assert (mul.op_type, mul.output[0]) == ("Mul", f"{name}.input")
        assert producers[mul.input[0]].op_type == "Gelu"
