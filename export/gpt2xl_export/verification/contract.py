"""The contract of docs/bundle.md: sums of files, inputs and outputs of graphs, where weights are."""

import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx
import onnx_ir as ir

from gpt2xl.bundle.config import GPT2Config
from gpt2xl.bundle.external_data import MAX_BYTES
from gpt2xl.bundle.manifest import Manifest
from gpt2xl.errors import BundleError, first_line
from gpt2xl.files.reading import belongs_to, check_regular, is_inside
from gpt2xl.sessions.engine_graph import EIGHT_BITS_INPUT, LONG_STEP_INPUT
from gpt2xl_export.progress import Count, Steps
from gpt2xl_export.source.sums import file_sha256

INT64, INT8 = ir.DataType.INT64, ir.DataType.INT8
FLOATS = (ir.DataType.FLOAT, ir.DataType.FLOAT16)
SYMBOL = "any symbol"


def check_sums(
    folder: Path, manifest: Manifest, report: Count = lambda *_: None
) -> tuple[int, int]:
    """Compare every file with the manifest; of other files only those in onnx/ are an error.

    ``report`` is called with (bytes read, bytes in all).

    Returns:
        (files, bytes) in the manifest.

    Raises:
        BundleError: a file is missing, has another size or sha256, or is unknown.
    """
    size = sum(entry.size for entry in manifest.files.values())
    count = Steps(size, size, report).add
    for name, entry in manifest.files.items():
        path = folder / name
        if not os.path.isfile(path):
            raise BundleError(f"'{name}' is missing.")
        if (found := path.stat().st_size) != entry.size:
            raise BundleError(f"'{name}' has {found} bytes, the manifest says {entry.size}.")
        if file_sha256(path, count) != entry.sha256:
            raise BundleError(f"'{name}' has another sha256 than in the manifest.")
    for path in sorted((folder / "onnx").rglob("*")):
        if path.is_file() and (name := path.relative_to(folder).as_posix()) not in manifest.files:
            raise BundleError(f"'{name}' is not in the manifest.")
    return len(manifest.files), size


@dataclass(frozen=True)
class Port:
    """The expected type and shape of an input or output."""

    dtypes: tuple[ir.DataType, ...]
    dims: tuple[int | str, ...]
    """A number, a symbol by name, or SYMBOL."""

    def check(self, value: ir.Value) -> None:
        """Raise BundleError when ``value`` has another type or shape."""
        if value.dtype not in self.dtypes:
            wanted = " or ".join(map(str, self.dtypes))
            raise BundleError(f"'{value.name}' is {value.dtype}, not {wanted}.")
        dims = [dim if isinstance(dim, int) else dim.value for dim in value.shape or ()]
        fits = len(dims) == len(self.dims) and all(map(_fits, dims, self.dims))
        if not fits:
            raise BundleError(f"'{value.name}' has the shape {dims}, not {list(self.dims)}.")


def _fits(found: int | str | None, wanted: int | str) -> bool:
    return isinstance(found, str) if wanted == SYMBOL else found == wanted


def ports(config: GPT2Config, kind: str) -> tuple[dict[str, Port], dict[str, Port]]:
    """The expected (inputs, outputs) of a graph; ``kind`` is "portable" or "engine"."""
    rows = "batch_size"
    engine = kind == "engine"
    cache = Port(
        (*FLOATS, INT8) if engine else FLOATS, (rows, config.n_head, SYMBOL, config.head_dim)
    )
    caches = [f"{layer}.{part}" for layer in range(config.n_layer) for part in ("key", "value")]
    tokens = ("input_ids", "attention_mask", "position_ids")
    inputs = dict.fromkeys(tokens, Port((INT64,), (rows, SYMBOL)))
    inputs |= {f"past_key_values.{name}": cache for name in caches}
    outputs = {"logits": Port(FLOATS, (rows, SYMBOL, config.vocab_size))}
    outputs |= {f"present.{name}": cache for name in caches}
    if engine:
        inputs["num_logits_to_keep"] = Port((INT64,), ())
        outputs["last_hidden_state"] = Port(FLOATS, (rows, SYMBOL, config.n_embd))
    return inputs, outputs


def check_ports(model: ir.Model, config: GPT2Config, kind: str) -> None:
    """Raise BundleError for the first input or output that is not as ``config`` asks."""
    inputs, outputs = ports(config, kind)
    if kind == "engine":
        names = {str(value.name) for value in model.graph.inputs}
        for name in names & {LONG_STEP_INPUT, EIGHT_BITS_INPUT}:
            inputs[name] = Port((INT64,), ())
    check_all("input", inputs, model.graph.inputs)
    check_all("output", outputs, model.graph.outputs)


def check_all(what: str, wanted: Mapping[str, Port], values: Iterable[ir.Value]) -> None:
    """Raise BundleError for the first of ``values`` that is not as ``wanted``, by name, says; ``what`` they are."""
    found = {str(value.name): value for value in values}
    for name in [*wanted, *found]:
        if name not in found:
            raise BundleError(f"there is no {what} '{name}'.")
        if name not in wanted:
            raise BundleError(f"unexpected {what} '{name}'.")
    for name, port in wanted.items():
        port.check(found[name])


def read_graph(path: Path) -> ir.Model:
    """Read a graph without its weights; BundleError if that fails."""
    check_regular(path, BundleError, MAX_BYTES)
    try:
        return ir.load(path)
    except Exception as reason:  # anything that protobuf and onnx_ir raise
        raise BundleError(
            f"'{path.name}' cannot be read as an ONNX file: {first_line(reason)}"
        ) from None


def follow_links(model: ir.Model, folder: Path) -> Path:
    """Make the weights of ``model`` point to the targets of links in ``folder``, not to the links.

    onnx_ir and onnxruntime refuse links out of the folder, as the hub's cache has them.

    Returns:
        The folder of the weights: ``folder``, or the blobs of the hub's cache.
    """
    weights_folder = folder
    for value in model.graph.initializers.values():
        tensor = value.const_value
        if isinstance(tensor, ir.ExternalTensor) and (folder / tensor.location).is_symlink():
            file = _weights_file(tensor, folder)
            value.const_value = ir.ExternalTensor(
                file.name, tensor.offset, tensor.length, tensor.dtype,
                shape=tensor.shape, name=str(tensor.name), base_dir=file.parent,
            )  # fmt: skip
            weights_folder = file.parent
    return weights_folder


def check_onnx(path: Path) -> None:
    """Raise BundleError if the ONNX checker refuses the graph ``path``.

    External data is left to `check_weights`: the checker refuses it behind links.
    """
    try:
        model = onnx.load(path, load_external_data=False)
        for tensor in _external(model.graph):
            tensor.ClearField("external_data")
            tensor.ClearField("data_location")
            tensor.dims[:] = [0]
        onnx.checker.check_model(model)
    except Exception as reason:  # anything that protobuf and onnx raise
        raise BundleError(first_line(reason)) from None


def _external(graph: onnx.GraphProto) -> Iterator[onnx.TensorProto]:
    """The tensors of ``graph`` and its subgraphs that have their data in another file."""
    inside = [attribute for node in graph.node for attribute in node.attribute]
    tensors = [*graph.initializer, *(attribute.t for attribute in inside)]
    tensors += [tensor for attribute in inside for tensor in attribute.tensors]
    yield from (t for t in tensors if t.data_location == onnx.TensorProto.EXTERNAL)
    for attribute in inside:
        for below in (attribute.g, *attribute.graphs):
            yield from _external(below)


def check_weights(model: ir.Model, folder: Path) -> None:
    """Raise BundleError for the first tensor whose data is not completely inside ``folder``."""
    for tensor in _tensors(model):
        if isinstance(tensor, ir.ExternalTensor):
            size = _weights_file(tensor, folder).stat().st_size
            start, length = tensor.offset or 0, tensor.length
            end = start + (tensor.nbytes if length is None else length)
            if start < 0 or end > size or end - start != tensor.nbytes:
                raise BundleError(
                    f"the tensor '{tensor.name}' of {tensor.nbytes} bytes should be at bytes {start}"
                    f" to {end} of '{tensor.location}', which has {size} bytes."
                )


def _tensors(model: ir.Model) -> Iterable[Any]:
    for graph in model.graphs():
        yield from (value.const_value for value in graph.initializers.values())
        for node in graph:
            for attribute in node.attributes.values():
                match attribute.type:
                    case ir.AttributeType.TENSOR:
                        yield attribute.value
                    case ir.AttributeType.TENSORS:
                        yield from attribute.value


def _weights_file(tensor: ir.ExternalTensor, folder: Path) -> Path:
    """The file that holds ``tensor``: one in ``folder`` or, by a link, in the hub's cache."""
    location = str(tensor.location)
    path = (folder / location).resolve()
    if not is_inside(location) or not belongs_to(path, folder):
        raise BundleError(
            f"the data of the tensor '{tensor.name}' is outside the bundle: '{location}'."
        )
    if not os.path.isfile(path):
        raise BundleError(f"the data of the tensor '{tensor.name}' is missing: '{location}'.")
    return path
