"""Two sets of weights in one engine graph: the length of a step chooses."""

from collections.abc import Iterable
from dataclasses import dataclass

import onnx_ir as ir

from gpt2xl.sessions.engine_graph import EIGHT_BITS_INPUT
from gpt2xl.sessions.exactness import LONG_STEP
from gpt2xl_export.graph.builder import typed
from gpt2xl_export.graph.rewriting import register_initializers, rewriter


class ChooseBits(ir.passes.InPlacePass):
    """Put each layer, and the head, into an If: long steps take it as it is, short ones that of another graph.

    The graph gets the optional input `eight_bits_from`.

    Args:
        short: the other graph, of the same checkpoint, whose cache has the same scales; its nodes are taken out of it.
        n_layer: layers of both.
    """

    def __init__(self, short: ir.Model, n_layer: int) -> None:
        self._short, self._n_layer = short, n_layer

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Rewrite ``model``, an engine graph with an int8 KV cache and 8-bit weights."""
        parts = [_Part.layer(number) for number in range(self._n_layer)] + [HEAD]
        long = [part.nodes(model) for part in parts]
        short = [part.nodes(self._short) for part in parts]
        condition = _condition(model)
        self._short.graph.outputs.clear()
        for nodes in short:
            _connect(model, nodes)
        for part, *both in zip(parts, long, short, strict=True):
            _choose(model, condition, part, *both)
        return ir.passes.PassResult(model, True)


@dataclass(frozen=True)
class _Part:
    """A part of an engine graph: the nodes whose names begin with its own."""

    name: str
    results: tuple[str, ...]
    """Names of the values that it gives."""
    outside: tuple[str, ...]
    """Names of nodes that do not belong to it."""

    @staticmethod
    def layer(number: int) -> "_Part":
        """A layer between its first norm and its residual sum."""
        h = f"h.{number}"
        present = (f"present.{number}.{part}" for part in ("key", "value"))
        return _Part(h, (h, *present), (f"{h}.ln_1", f"{h}.kept"))

    def nodes(self, model: ir.Model) -> list[ir.Node]:
        """Its nodes in order."""
        return [
            node
            for node in model.graph
            if f"{node.name}.".startswith(f"{self.name}.") and node.name not in self.outside
        ]


HEAD = _Part("lm_head", ("lm_head",), ("lm_head.flat",))


def _condition(model: ir.Model) -> ir.Value:
    """Whether a step takes the 8-bit weights."""
    new = rewriter(model)
    limit = typed(new.constant(EIGHT_BITS_INPUT, LONG_STEP), ir.DataType.INT64, [])
    length = ir.convenience.create_value_mapping(model.graph)["step.length"]
    is_long = new.op("GreaterOrEqual", [length, limit], "step.takes_eight_bits")
    register_initializers(model, new)
    node = length.producer()
    assert node is not None
    model.graph.insert_after(node, new.tape.nodes)
    model.graph.inputs.append(limit)
    return typed(is_long, ir.DataType.BOOL, [])


def _choose(
    model: ir.Model, condition: ir.Value, part: _Part, long: list[ir.Node], short: list[ir.Node]
) -> None:
    """Replace the nodes of a part, ``long``, by an If whose other branch is ``short``."""
    inside = _outputs(long, part.results)
    outputs = [ir.Value(name=v.name, type=v.type, shape=v.shape) for v in inside]
    for value, new in zip(inside, outputs, strict=True):
        for user, index in list(value.uses()):
            if user not in long:
                user.replace_input_with(index, new)
    graph_outputs = {value.name: value for value in outputs}
    model.graph.outputs[:] = [graph_outputs.get(value.name, value) for value in model.graph.outputs]
    place = ir.Node("", "If", [condition], (), outputs=outputs, name=f"{part.name}.choice")
    model.graph.insert_after(long[-1], [place])
    for name, nodes, bits in (("then", long, "8_bits"), ("else", short, "4_bits")):
        branch = _branch(nodes, part, bits)
        place.attributes.add(ir.AttrGraph(f"{name}_branch", branch))


def _branch(nodes: list[ir.Node], part: _Part, suffix: str) -> ir.Graph:
    """A graph of the ``nodes`` of a part, which leave the one they are in."""
    assert nodes[0].graph is not None
    nodes[0].graph.remove(nodes)
    outputs = _outputs(nodes, part.results)
    for value in outputs:
        value.name = f"{value.name}.{suffix}"
    return ir.Graph([], outputs, nodes=nodes, name=f"{part.name}.{suffix}")


def _connect(model: ir.Model, nodes: list[ir.Node]) -> None:
    """Let ``nodes`` of another graph use the values of ``model`` that have the same names as theirs."""
    made = {id(value) for node in nodes for value in node.outputs}
    known = ir.convenience.create_value_mapping(model.graph)
    for node in nodes:
        for index, value in enumerate(node.inputs):
            if value is None or id(value) in made:
                continue
            name = str(value.name)
            if name not in known:  # only initializers differ
                assert value.const_value is not None, name
                known[name] = ir.Value(name=name, const_value=value.const_value)
                model.graph.register_initializer(known[name])
            node.replace_input_with(index, known[name])


def _outputs(nodes: list[ir.Node], names: Iterable[str]) -> list[ir.Value]:
    """The outputs of ``nodes`` with these names."""
    by_name = {value.name: value for node in nodes for value in node.outputs}
    return [by_name[name] for name in names]
