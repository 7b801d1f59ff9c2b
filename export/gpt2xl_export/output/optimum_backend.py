"""Let optimum trace and export the graph (needs torch), and move it to its place in a bundle."""

import tempfile
from pathlib import Path

import onnx_ir as ir

from gpt2xl.errors import CheckpointError, ExportError
from gpt2xl_export.graph.weights import WeightsFile

INLINE = 256  # bytes; smaller initializers stay in the graph


def write_optimum_graph(checkpoint: Path, folder: Path) -> tuple[str, str]:
    """Write model.onnx and its weights into the empty ``folder``; there is no engine graph.

    Returns:
        (name, sha256) of the weights file.

    Raises:
        ExportError: the extra is not installed.
        CheckpointError: optimum refuses the checkpoint.
    """
    try:
        from optimum.exporters.onnx import main_export
    except ModuleNotFoundError as missing:
        raise ExportError(
            f"the optimum backend needs `pip install 'gpt2xl[optimum]'` ({missing.name} is not"
            " installed)."
        ) from None
    with tempfile.TemporaryDirectory(dir=folder) as traced:
        try:
            main_export(
                str(checkpoint), traced, task="text-generation-with-past", do_validation=False
            )
        except Exception as reason:  # torch, transformers and optimum raise anything
            first_line = (str(reason) or type(reason).__name__).splitlines()[0]
            raise CheckpointError(f"optimum cannot export '{checkpoint}': {first_line}") from None
        digest = _move_weights(ir.load(Path(traced) / "model.onnx"), folder)
    return "model.onnx_data", digest


def _move_weights(model: ir.Model, folder: Path) -> str:
    with WeightsFile(folder / "model.onnx_data") as weights:
        for name, value in model.graph.initializers.items():
            if value.const_value is not None and value.const_value.nbytes >= INLINE:
                value.const_value = weights.add(name, value.const_value)
    ir.save(model, folder / "model.onnx")
    return weights.sha256
