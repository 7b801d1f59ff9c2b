"""Pages of weights are released without changing a result or touching another model."""

import gc
import mmap
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest

import gpt2xl
from gpt2xl.bundle.bundle import open_bundle
from gpt2xl.bundle.external_data import stored_tensors
from gpt2xl.sessions.opening import open_session
from gpt2xl.startup.graph import open_graph
from gpt2xl.startup.mapped_weights import map_weights
from gpt2xl.startup.options import LoadOptions

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="Linux only")
IDS = np.arange(600)[None] % 90


def resident(path: Path) -> int:
    """Bytes of ``path`` that this process has mapped and in memory."""
    total, inside = 0, False
    for line in Path("/proc/self/smaps").read_text().splitlines():
        first, *rest = line.split()
        if not first.endswith(":"):
            inside = bool(rest) and rest[-1] == str(path.resolve())
        elif inside and first == "Rss:":
            total += int(rest[0]) * 1024
    return total


def mapped(path: Path) -> bool:
    return str(path.resolve()) in Path("/proc/self/maps").read_text()


@pytest.fixture
def long(make_bundle: Callable[..., Path], tmp_path: Path) -> Path:
    """A bundle whose prompts may be fed in several chunks, which no other test has loaded."""
    return shutil.copytree(make_bundle({"n_positions": 600}), tmp_path / "long")


def data_file(folder: Path) -> Path:
    return next(folder.glob("**/*.onnx_data"))


@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8", "int8-weight", "int4"])
@pytest.mark.parametrize("kind", ["engine", "model"])
def test_every_large_tensor_of_our_graphs_is_lent(
    make_bundle: Callable[..., Path], precision: str, kind: str
) -> None:
    folder = make_bundle(precision=precision)
    path = next(folder.glob(f"**/{kind}*.onnx"))
    model = onnx.load(path, load_external_data=False)
    wanted = {t.name: tuple(t.dims) for t in model.graph.initializer if t.external_data}
    assert {t.name: t.dims for t in stored_tensors(path.read_bytes())} == wanted
    weights = map_weights(path)
    assert weights is not None
    assert {name: tuple(v.shape()) for name, v in weights.tensors.items()} == wanted
    whole = {t.name: onnx.numpy_helper.to_array(t) for t in onnx.load(path).graph.initializer}
    for name, value in weights.tensors.items():
        assert np.array_equal(value.numpy(), whole[name])


def test_an_unaligned_tensor_is_left_to_onnxruntime(bundle: Path, tmp_path: Path) -> None:
    graph = next(bundle.glob("**/engine.onnx"))
    model = onnx.load(graph)
    onnx.save(
        model, tmp_path / "engine.onnx", save_as_external_data=True, location="w",
        size_threshold=512,
    )  # fmt: skip
    content = (tmp_path / "w").read_bytes()
    (tmp_path / "w").write_bytes(b"\0" * 4 + content)
    moved = onnx.load(tmp_path / "engine.onnx", load_external_data=False)
    for tensor in moved.graph.initializer:
        for entry in tensor.external_data:
            if entry.key == "offset":
                entry.value = str(int(entry.value) + 4)
    onnx.save(moved, tmp_path / "engine.onnx")
    weights = map_weights(tmp_path / "engine.onnx")
    assert weights is not None
    assert not weights.tensors
    assert open_graph(tmp_path / "engine.onnx", "cpu", LoadOptions()).session.get_inputs()


def test_no_page_of_the_weights_is_resident_after_loading(bundle: Path, tmp_path: Path) -> None:
    bundle = shutil.copytree(bundle, tmp_path / "own")  # which no other test has loaded
    opened = open_graph(next(bundle.glob("**/engine*.onnx")), "cpu", LoadOptions())
    assert opened.session.get_inputs()
    assert opened.weights is not None
    assert mapped(data_file(bundle))
    assert resident(data_file(bundle)) == 0


def test_each_large_tensor_is_a_mapping_of_its_own(bundle: Path) -> None:
    """Otherwise each read of a bias would map megabytes of neighbouring weights."""
    graph = next(bundle.glob("**/engine*.onnx"))
    large = {t.offset for t in stored_tensors(graph.read_bytes()) if t.length >= mmap.PAGESIZE}
    weights = map_weights(graph)
    lines = Path("/proc/self/maps").read_text().splitlines()
    starts = {
        int(line.split()[2], 16) for line in lines if str(data_file(bundle).resolve()) in line
    }
    assert weights is not None
    assert len(large) > 5
    assert large <= starts


def test_no_page_of_the_embedding_is_resident_after_a_long_prompt(long: Path) -> None:
    session = open_session(open_bundle(long), LoadOptions(provider="cpu"))
    first = session.forward(IDS, session.new_cache())[:, -1]
    assert resident(data_file(long)) == 0
    again = session.forward(IDS, session.new_cache())[:, -1]
    assert np.array_equal(first, again)


def test_a_deleted_model_leaves_no_mapping(long: Path) -> None:
    session = open_session(open_bundle(long), LoadOptions(provider="cpu"))
    session.forward(IDS, session.new_cache())[:, -1]
    del session
    gc.collect()
    assert not mapped(data_file(long))


def test_a_model_does_not_touch_other_mappings(long: Path) -> None:
    first = gpt2xl.load(long, threads=1)
    first.session.forward(IDS, first.session.new_cache())[:, -1]
    path = data_file(long)
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY) as own:
        own[:] = b"x" * len(own)  # where another model's mapping may have been
        first.session.forward(IDS[:, ::-1], first.session.new_cache())[:, -1]
        assert own[:] == b"x" * len(own)


def test_nothing_is_mapped_where_address_space_is_scarce(
    bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    graph = next(bundle.glob("**/engine*.onnx"))
    size = data_file(bundle).stat().st_size
    monkeypatch.setattr("gpt2xl.startup.mapped_weights.address_space_left", lambda: 2 * size)
    assert map_weights(graph) is None
    opened = open_graph(graph, "cpu", LoadOptions())
    assert opened.weights is None
    assert opened.session.get_inputs()


def test_a_session_keeps_the_weights_that_it_reads(long: Path) -> None:
    """The onnxruntime session outlives its owner; run in a process, since a fault would end it."""
    script = """
import gc, sys, numpy as np, gpt2xl
graph = gpt2xl.load(sys.argv[1], threads=1).session
session, inputs = graph.session, graph.signature.inputs
del graph
gc.collect()
feed = {n: np.zeros((1, 2, 4, 16), np.float32) for n in inputs if n.startswith("past")}
feed |= {n: np.array([[0, 1, 2, 3]]) for n in ("input_ids", "position_ids")}
feed["attention_mask"] = np.ones((1, 4), np.int64)
assert np.isfinite(session.run(["logits"], feed)[0]).all()
"""
    done = subprocess.run([sys.executable, "-c", script, str(long)], capture_output=True)
    assert (done.returncode, done.stderr) == (0, b"")
