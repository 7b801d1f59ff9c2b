"""`--backend optimum`: optimum's graph in our bundle passes our checks."""

from pathlib import Path

import pytest

import gpt2xl
from gpt2xl_export.exporting import export
from gpt2xl_export.options import ExportOptions

pytest.importorskip("optimum.exporters.onnx", reason="the extra 'interop' is not installed")


# TorchScript warns that it is deprecated, and of shapes that it treats as constants.
@pytest.mark.filterwarnings("ignore")
def test_optimums_graph_passes_our_parity_check_and_generates_the_same(
    demo: Path, tmp_path: Path
) -> None:
    manifest = export(demo, tmp_path / "theirs", ExportOptions(backend="optimum"))
    export(demo, tmp_path / "ours")
    assert manifest["backend"] == "optimum"
    for mode in ("whole", "stepwise"):
        assert manifest["parity"]["portable"][mode]["relative_logit_diff"] < 1e-4
    names = {path.name for path in (tmp_path / "theirs" / "onnx").iterdir()}
    assert names == {"model.onnx", "model.onnx_data"}
    theirs, ours = (
        gpt2xl.load(tmp_path / name).generate("The king", greedy=True, max_new_tokens=24).new_ids
        for name in ("theirs", "ours")
    )
    assert theirs == ours
