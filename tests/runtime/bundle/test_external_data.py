"""External data is read from the model's own folder only."""

import shutil
from collections.abc import Callable
from pathlib import Path

import onnx
import pytest

from gpt2xl import BundleError, load
from gpt2xl.bundle.external_data import check_external_data, external_locations


def point_to(graph: Path, location: str) -> None:
    model = onnx.load(graph, load_external_data=False)
    for tensor in model.graph.initializer:
        for entry in tensor.external_data:
            if entry.key == "location":
                entry.value = location
    onnx.save(model, graph)


@pytest.fixture
def engine(bundle: Path, tmp_path: Path) -> Path:
    """The engine graph of a copy of the bundle, without the manifest, which would detect a change."""
    shutil.copytree(bundle, tmp_path / "bundle")
    (tmp_path / "bundle" / "gpt2xl.json").unlink()
    return tmp_path / "bundle" / "onnx" / "engine.onnx"


def test_the_weights_file_of_a_bundle_is_found(engine: Path) -> None:
    assert set(external_locations(engine.read_bytes())) == {"model.onnx_data"}
    check_external_data(engine)


@pytest.mark.parametrize("location", ["../../secret", "/etc/passwd", "a/../../secret", "link"])
def test_a_location_outside_the_folder_is_refused(engine: Path, location: str) -> None:
    secret = engine.parents[2] / "secret"
    secret.write_bytes((engine.parent / "model.onnx_data").read_bytes())
    (engine.parent / "link").symlink_to(secret)
    point_to(engine, location)
    with pytest.raises(BundleError, match=f"'{location}', outside its folder"):
        load(engine.parents[1])


def test_a_location_in_a_folder_below_is_allowed(engine: Path) -> None:
    below = engine.parent / "below"
    below.mkdir()
    shutil.copy(engine.parent / "model.onnx_data", below / "weights")
    point_to(engine, "below/weights")
    check_external_data(engine)


def test_a_tensor_in_a_node_attribute_is_seen(tmp_path: Path) -> None:
    tensor = onnx.TensorProto(name="t", data_type=1, dims=[4], data_location="EXTERNAL")
    tensor.external_data.add(key="location", value="../outside")
    node = onnx.helper.make_node("Constant", [], ["t"], value=tensor)
    output = onnx.helper.make_tensor_value_info("t", 1, [4])
    graph = onnx.helper.make_graph([node], "g", [], [output])
    path = tmp_path / "m.onnx"
    path.write_bytes(onnx.helper.make_model(graph).SerializeToString())
    with pytest.raises(BundleError, match="outside its folder"):
        check_external_data(path)


def test_a_bundle_in_the_hubs_cache_loads(
    bundle: Path, as_hub_cache: Callable[[Path, Path], Path], tmp_path: Path
) -> None:
    snapshot = as_hub_cache(bundle, tmp_path / "repo")
    texts = [load(folder).generate("Once", greedy=True).text for folder in (bundle, snapshot)]
    assert texts[0] == texts[1]


def test_a_link_to_the_blobs_of_another_model_is_refused(
    bundle: Path, as_hub_cache: Callable[[Path, Path], Path], tmp_path: Path
) -> None:
    snapshot, other = (as_hub_cache(bundle, tmp_path / name) for name in ("repo", "other"))
    weights = snapshot / "onnx" / "model.onnx_data"
    weights.unlink()
    weights.symlink_to((other / "onnx" / "model.onnx_data").resolve())
    with pytest.raises(BundleError, match=r"'model\.onnx_data', outside its folder"):
        load(snapshot)


def nested(depth: int) -> bytes:
    """Graphs in attributes of nodes in graphs."""
    content = b""
    for field in (7, *(1, 5, 6) * depth)[::-1]:
        size, length = len(content), b""
        while True:
            length += bytes([size & 0x7F | (0x80 if size > 0x7F else 0)])
            size >>= 7
            if not size:
                break
        content = bytes([field << 3 | 2]) + length + content
    return content


@pytest.mark.no_cover  # tracing makes it three times as slow
@pytest.mark.parametrize(
    "content",
    [
        b"\xff" * 1_000_000 + b"\x01",  # one number without end
        b"\x08\x00" * 5_000_000,  # fields without end
        b"\x3a\x00" * 5_000_000,
        nested(50),
        nested(20_000),
    ],
    ids=["number", "fields", "messages", "nesting", "deep nesting"],
)
def test_a_file_crafted_to_take_long_is_refused(tmp_path: Path, content: bytes) -> None:
    """Read to its end it would be valid, or take longer than the time limit of a test."""
    (tmp_path / "m.onnx").write_bytes(content)
    with pytest.raises(BundleError, match="is cut short or not an ONNX file"):
        check_external_data(tmp_path / "m.onnx")


def test_nesting_of_real_graphs_is_read() -> None:
    assert list(external_locations(nested(30))) == []


def test_a_missing_weights_file_is_named(engine: Path) -> None:
    (engine.parent / "model.onnx_data").unlink()
    with pytest.raises(BundleError, match=r"model\.onnx_data' is missing"):
        load(engine.parents[1])


def test_a_graph_cut_short_is_refused(engine: Path) -> None:
    engine.write_bytes(engine.read_bytes()[:-20])
    with pytest.raises(BundleError, match="is cut short or not an ONNX file"):
        load(engine.parents[1])


@pytest.mark.parametrize("key", ["offset", "length"])
def test_an_offset_that_is_not_a_number_is_refused(engine: Path, key: str) -> None:
    model = onnx.load(engine, load_external_data=False)
    for tensor in model.graph.initializer:
        for entry in tensor.external_data:
            if entry.key == key:
                entry.value = "abc"
    onnx.save(model, engine)
    with pytest.raises(BundleError, match="is cut short or not an ONNX file"):
        load(engine.parents[1])


def test_a_tensor_whose_size_differs_from_its_data_is_named(engine: Path) -> None:
    model = onnx.load(engine, load_external_data=False)
    tensor = next(tensor for tensor in model.graph.initializer if tensor.external_data)
    tensor.dims[0] = 2**61
    onnx.save(model, engine)
    with pytest.raises(BundleError, match=f"tensor '{tensor.name}' of .* bytes of data"):
        load(engine.parents[1])


def test_too_many_dimensions_are_refused(engine: Path) -> None:
    model = onnx.load(engine, load_external_data=False)
    tensor = next(tensor for tensor in model.graph.initializer if tensor.external_data)
    tensor.dims.extend([1] * 1000)
    onnx.save(model, engine)
    with pytest.raises(BundleError, match="is cut short or not an ONNX file"):
        load(engine.parents[1])


@pytest.mark.parametrize("name", ["engine.onnx", "model.onnx_data"])
def test_a_git_lfs_pointer_is_named(engine: Path, name: str) -> None:
    pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"0" * 64 + b"\n"
    (engine.parent / name).write_bytes(pointer)
    with pytest.raises(BundleError, match=rf"{name}' is a Git LFS pointer.*git lfs pull"):
        load(engine.parents[1])
