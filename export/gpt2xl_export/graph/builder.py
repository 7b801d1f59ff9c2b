"""The parts of GPT-2 that both graphs share, with lazy weights."""

from collections.abc import Callable, Sequence

import numpy as np
import onnx_ir as ir

from gpt2xl.bundle.config import GPT2Config
from gpt2xl_export.graph.nodes import CONTRIB, NodeBuilder
from gpt2xl_export.source.tensor_files import FloatArray
from gpt2xl_export.source.tensors import expected_shapes

OPSET = 21  # QuantizeLinear with blocks; 20 has Gelu
FLOAT, INT64 = ir.DataType.FLOAT, ir.DataType.INT64
TOTAL = "past_sequence_length + sequence_length"


class GraphBuilder(NodeBuilder):
    """Builds GPT-2 in float32; weights are read when the graph is written."""

    def __init__(self, config: GPT2Config, load: Callable[[str], FloatArray]) -> None:
        super().__init__()
        self.config = config
        self._load = load
        self._shapes = expected_shapes(config)

    def weight(self, name: str) -> ir.Value:
        """A tensor of the checkpoint, under its own name."""

        def read() -> ir.TensorProtocol:
            return ir.tensor(self._load(name))

        return self.initializer(ir.LazyTensor(read, FLOAT, ir.Shape(self._shapes[name]), name=name))

    def linear(self, x: ir.Value, name: str) -> ir.Value:
        """Conv1D: x @ weight + bias."""
        product = self.op("MatMul", [x, self.weight(f"{name}.weight")], f"{name}.matmul")
        return self.op("Add", [product, self.weight(f"{name}.bias")], name)

    def embed(self, input_ids: ir.Value, position_ids: ir.Value) -> ir.Value:
        """[batch_size, sequence_length] -> [batch_size, sequence_length, n_embd]."""
        tokens = self.op("Gather", [self.weight("wte.weight"), input_ids], "wte")
        positions = self.op("Gather", [self.weight("wpe.weight"), position_ids], "wpe")
        return self.op("Add", [tokens, positions], "embeddings")

    def activation(self, x: ir.Value, name: str) -> ir.Value:
        """Apply the config's activation_function."""
        match self.config.activation_function:
            case "gelu_new" | "gelu_fast" | "gelu_accurate" | "gelu_pytorch_tanh" | "gelu_python_tanh":  # fmt: skip
                return self.op("Gelu", [x], name, {"approximate": "tanh"})
            case "gelu" | "gelu_python":
                return self.op("Gelu", [x], name)
            case "gelu_10":
                return self._clip(self.op("Gelu", [x], f"{name}.gelu"), -10, 10, name)
            case "relu6":
                return self._clip(x, 0, 6, name)
            case "relu2":
                relu = self.op("Relu", [x], f"{name}.relu")
                return self.op("Mul", [relu, relu], name)
            case "leaky_relu":
                return self.op("LeakyRelu", [x], name, {"alpha": 0.01})
            case "relu" | "tanh" | "sigmoid" | "mish" as function:
                return self.op(function.capitalize(), [x], name)
            case "silu" | "swish":
                return self.op("Mul", [x, self.op("Sigmoid", [x], f"{name}.sigmoid")], name)
            case "quick_gelu":
                scale = self.constant("quick_gelu.scale", 1.702, np.float32)
                scaled = self.op("Mul", [x, scale], f"{name}.scaled")
                return self.op("Mul", [x, self.op("Sigmoid", [scaled], f"{name}.sigmoid")], name)
            case _:  # "linear"
                return x

    def _clip(self, x: ir.Value, low: float, high: float, name: str) -> ir.Value:
        bounds = [self.constant(f"clip.{n}", n, np.float32) for n in (low, high)]
        return self.op("Clip", [x, *bounds], name)

    def head(self, hidden: ir.Value, shape: ir.Value) -> ir.Value:
        """[..., n_embd] -> logits of ``shape``; a tied head multiplies with wte."""
        name = "wte.weight" if self.config.tie_word_embeddings else "lm_head.weight"
        flat_shape = self.constant("lm_head.flat_shape", [-1, self.config.n_embd])
        flat = self.op("Reshape", [hidden, flat_shape], "lm_head.flat")
        product = self.op("Gemm", [flat, self.weight(name)], "lm_head", {"transB": 1})
        return self.op("Reshape", [product, shape], "logits")

    def dimension(self, value: ir.Value, axis: int, name: str) -> ir.Value:
        """The size of an axis, int64 without dimensions."""
        shape = self.op("Shape", [value], f"{name}.shape")
        return self.op("Gather", [shape, self.constant(f"axis_{axis}", axis)], name)

    def model(self, inputs: Sequence[ir.Value], outputs: Sequence[ir.Value], name: str) -> ir.Model:
        """The finished graph."""
        graph = ir.Graph(
            inputs,
            outputs,
            nodes=self.tape.nodes,
            initializers=self.tape.initializers,
            opset_imports={"": OPSET, CONTRIB: 1},
            name=name,
        )
        return ir.Model(graph, ir_version=10, producer_name="gpt2xl")

    def token_inputs(self) -> list[ir.Value]:
        """input_ids, attention_mask and position_ids."""
        lengths = {"input_ids": "sequence_length", "attention_mask": TOTAL}
        lengths["position_ids"] = "sequence_length"
        return [ir.val(name, INT64, ["batch_size", axis]) for name, axis in lengths.items()]

    def past(self, layer: int, length: str) -> tuple[ir.Value, ir.Value]:
        """The graph inputs past_key_values.{layer}.key and .value."""
        prefix = f"past_key_values.{layer}"
        key, value = ir.val(f"{prefix}.key"), ir.val(f"{prefix}.value")
        return self.typed_cache(key, length), self.typed_cache(value, length)

    def typed_cache(self, value: ir.Value, length: str) -> ir.Value:
        """``value`` as [batch_size, n_head, length, head_dim]."""
        shape: list[int | str] = ["batch_size", self.config.n_head, length, self.config.head_dim]
        return typed(value, FLOAT, shape)


def typed(value: ir.Value, dtype: ir.DataType, shape: Sequence[int | str]) -> ir.Value:
    """Declare the type of ``value``, as graph outputs and the values between layers need it."""
    value.dtype, value.shape = dtype, ir.Shape(shape)
    return value
