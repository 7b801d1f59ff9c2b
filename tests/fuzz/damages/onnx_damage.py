"""Damages of ONNX files: ports, tensors, nodes, external data, and protobuf's own encoding."""

from random import Random

import onnx
from tests.fuzz.damages.damage import Damaged
from tests.fuzz.damages.json_damage import ESCAPES

NAMES = (
    "",
    "x",
    "input_ids",
    "logits",
    "past_key_values.0.key",
    "present.0.value",
    ESCAPES,
    "n" * 3000,
)
SIZES = (0, 1, -1, 2, 16, 2**31, 2**62, -(2**63))
ENTRIES = ("location", "offset", "length", "checksum", "no such", "")
PLACES = (
    "../model.onnx_data",
    "/etc/hostname",
    "",
    ".",
    "model.onnx",
    "no such",
    "a\0b",
    "/dev/zero",
    "..",
    "x" * 5000,
)
NUMBERS = ("0", "-1", "1", "4095", str(2**63), str(2**70), "x", "", "1e3", " 4096 ", "9" * 5000)
TYPES = (0, 1, 2, 3, 6, 7, 8, 9, 10, 11, 16, 22, 99, 2**31 - 1)


def _port(rng: Random, model: onnx.ModelProto) -> str:
    ports = rng.choice((model.graph.input, model.graph.output))
    number = rng.randrange(len(ports))
    port = ports[number]
    tensor = port.type.tensor_type
    what = rng.choice(
        ("dim", "dim", "rank", "type", "name", "gone", "twice", "no shape", "sequence")
    )
    if what == "dim" and tensor.shape.dim:
        dim = tensor.shape.dim[rng.randrange(len(tensor.shape.dim))]
        if rng.random() < 0.4:
            dim.dim_param = rng.choice(("x", "batch_size", "", ESCAPES))
        elif rng.random() < 0.8:
            dim.dim_value = rng.choice(SIZES)
        else:
            dim.Clear()
    elif what == "rank" and tensor.shape.dim:
        _ = tensor.shape.dim.pop() if rng.random() < 0.5 else tensor.shape.dim.add(dim_value=1)
    elif what == "type":
        tensor.elem_type = rng.choice(TYPES)
    elif what == "name":
        port.name = rng.choice(NAMES)
    elif what == "gone":
        del ports[number]
    elif what == "twice":
        ports.add().CopyFrom(port)
    elif what == "sequence":
        port.type.sequence_type.elem_type.tensor_type.elem_type = 1
    else:
        tensor.ClearField("shape")
    return f"port {number}: {what}"


def _tensor(rng: Random, model: onnx.ModelProto) -> str:
    number = rng.randrange(len(model.graph.initializer))
    tensor = model.graph.initializer[number]
    outside = [t for t in model.graph.initializer if t.external_data]
    what = rng.choice(("entry", "entry", "dims", "type", "name", "gone", "place", "bytes"))
    if what == "entry" and outside:
        tensor = rng.choice(outside)
        key = rng.choice(ENTRIES)
        value = rng.choice(PLACES if key == "location" else NUMBERS)
        rows = [e for e in tensor.external_data if e.key == key] or [
            tensor.external_data.add(key=key)
        ]
        rows[0].value = value
        what += f" {key} {value[:30]!r}"
    elif what == "dims" and tensor.dims:
        tensor.dims[rng.randrange(len(tensor.dims))] = rng.choice(SIZES)
    elif what == "type":
        tensor.data_type = rng.choice(TYPES)
    elif what == "name":
        tensor.name = rng.choice(NAMES)
    elif what == "gone":
        del model.graph.initializer[number]
    elif what == "place":
        tensor.data_location = rng.choice((0, 1))
        tensor.ClearField(rng.choice(("external_data", "raw_data")))
    else:
        tensor.raw_data = rng.choice((b"", b"\xff" * 7, b"\xff" * 8, rng.randbytes(64)))
    return f"tensor {number}: {what}"


def _node(rng: Random, model: onnx.ModelProto) -> str:
    number = rng.randrange(len(model.graph.node))
    node = model.graph.node[number]
    what = rng.choice(("op", "domain", "input", "output", "gone", "twice", "attribute", "last"))
    if what == "op":
        node.op_type = rng.choice(("", "NoSuch", "Identity", "Add", "MatMul", "If", ESCAPES))
    elif what == "domain":
        node.domain = rng.choice(("", "com.microsoft", "ai.onnx", "no.such", ESCAPES))
    elif what == "input" and node.input:
        node.input[rng.randrange(len(node.input))] = rng.choice(NAMES)
    elif what == "output" and node.output:
        node.output[rng.randrange(len(node.output))] = rng.choice(NAMES)
    elif what == "gone":
        del model.graph.node[number]
    elif what == "twice":
        model.graph.node.add().CopyFrom(node)
    elif what == "attribute" and node.attribute:
        attribute = node.attribute[rng.randrange(len(node.attribute))]
        attribute.i, attribute.f = rng.choice(SIZES), rng.choice((0.0, -1.0, float("nan"), 1e38))
        attribute.type = rng.choice((attribute.type, 0, 1, 2, 3, 4))
    else:
        nodes = [model.graph.node.pop() for _ in range(min(5, len(model.graph.node)))]
        what += f" {len(nodes)} gone"
    return f"node {number}: {what}"


def _model(rng: Random, model: onnx.ModelProto) -> str:
    what = rng.choice(
        ("opset", "ir", "no opset", "domain", "empty graph", "function", "metadata", "inner")
    )
    if what == "opset":
        for opset in model.opset_import[:1]:
            opset.version = rng.choice((-1, 0, 1, 9, 99, 2**31))
    elif what == "ir":
        model.ir_version = rng.choice((0, -1, 1, 3, 99, 2**31))
    elif what == "no opset":
        del model.opset_import[:]
    elif what == "domain":
        model.opset_import.add(domain=rng.choice(("", "no.such", ESCAPES)), version=1)
    elif what == "empty graph":
        model.graph.Clear()
    elif what == "function":
        model.functions.add(name=rng.choice(NAMES), domain="x", input=["a"], output=["a"])
    elif what == "metadata":
        model.metadata_props.add(key=ESCAPES, value="x" * 100_000)
    else:
        graph = (
            model.graph.node.add(op_type="If", input=["x"], output=["y"])
            .attribute.add(name="then_branch", type=5)
            .g
        )
        for _ in range(rng.choice((1, 20, 60))):
            graph = graph.node.add(op_type="If").attribute.add(name="then_branch", type=5).g
    return what


def structure(rng: Random, content: bytes) -> Damaged:
    model = onnx.ModelProto.FromString(content)
    whats: list[str] = []
    while model.graph.node and len(whats) < 1 + (rng.random() < 0.3):
        change = rng.choice((_port, _port, _tensor, _tensor, _node, _node, _model))
        whats.append(change(rng, model))
    return Damaged(model.SerializeToString(), "; ".join(whats))


def port(rng: Random, content: bytes) -> Damaged:
    model = onnx.ModelProto.FromString(content)
    what = _port(rng, model)
    return Damaged(model.SerializeToString(), what)


def same(rng: Random, content: bytes) -> Damaged:
    """Change something that has no effect."""
    model = onnx.ModelProto.FromString(content)
    model.doc_string = rng.choice(("", "words", ESCAPES))
    model.producer_name = rng.choice(("other", "x" * 1000))
    model.metadata_props.add(key="k", value="v")
    return Damaged(model.SerializeToString(), "words that do not count", True)


def spelling(rng: Random, content: bytes) -> Damaged:
    """Valid or broken protobuf that no library writes."""
    name = rng.choice(
        (
            b"input_ids",
            b"logits",
            b"attention_mask",
            b"present.0.key",
            b"past_key_values.0.value",
            b"location",
        )
    )
    field = bytes([rng.choice((7, 1, 8, 20)) << 3 & 0x7F | rng.choice((0, 1, 2, 3, 4, 5, 6, 7))])
    whats = {
        "a name that is no UTF-8": content.replace(name, b"\xff" + name[1:]),
        "a name of a control character": content.replace(name, b"\x1b" + name[1:]),
        "a megabyte of varint": content + field + b"\xff" * 1_000_000 + b"\x01",
        "a long varint": content + field + b"\x80" * rng.choice((9, 10, 11, 100)) + b"\x01",
        "a length beyond the end": content + field + b"\xff\xff\xff\xff\x0f",
        "deep groups": content + b"\x0b" * 100_000,
        "deep messages": content + _nested(rng.choice((50, 500, 5000))),
        "many fields": content + b"\x08\x01" * 300_000,
        "twice": content * 2,
    }
    what = rng.choice(sorted(whats))
    return Damaged(whats[what], f"{what} ({name.decode()}, {field.hex()})")


def _nested(depth: int) -> bytes:
    """Nest graphs in attributes of nodes of graphs..."""
    inner = b""
    for _ in range(depth):
        for tag in (b"\x0a", b"\x2a", b"\x32"):  # graph.node, node.attribute, attribute.g
            inner = tag + _varint(len(inner)) + inner
    return b"\x3a" + _varint(len(inner)) + inner


def _varint(number: int) -> bytes:
    out = b""
    while number > 0x7F:
        out += bytes([number & 0x7F | 0x80])
        number >>= 7
    return out + bytes([number])


ONNX = (structure, structure, structure, port, port, spelling, same)
