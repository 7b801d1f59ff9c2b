"""Write the text graphs of a bundle beside its other graphs."""

import json
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir

from gpt2xl.bundle.bundle import TEXT_GRAPHS
from gpt2xl.bundle.config import GPT2Config, read_config
from gpt2xl.bundle.remedies import HEAD_DIM_MULTIPLE
from gpt2xl.errors import CheckpointError, ExportError, Gpt2xlWarning
from gpt2xl.text.tokenizer import Tokenizer
from gpt2xl_export.graph.builder import typed
from gpt2xl_export.options import ExportOptions, has_engine
from gpt2xl_export.text_graphs.choosing import make_choice
from gpt2xl_export.text_graphs.detokenizing import text_of
from gpt2xl_export.text_graphs.draws import uniform_numbers
from gpt2xl_export.text_graphs.expressions import BOOL, INT64, STRING, Expressions
from gpt2xl_export.text_graphs.looping import cache_shape, empty_cache, loop_body, stopped
from gpt2xl_export.text_graphs.prompts import EXTENSIONS, ids_of, unlike_gpt2

DOUBLE = ir.DataType.DOUBLE
OPSET = 21
LARGEST_FILE = 2**31 - 1
"""Bytes of a protobuf message."""


@dataclass(frozen=True)
class TextSettings:
    """What a text graph holds of the model beside the engine graph."""

    config: GPT2Config
    tokens: Sequence[bytes]
    """The bytes of every id."""
    tokenizer: dict[str, Any]
    """The content of tokenizer.json."""


def text_settings(config: GPT2Config, tokenizer_json: Path) -> TextSettings:
    """Read what is needed from a bundle's tokenizer.json."""
    tokenizer = Tokenizer.from_file(tokenizer_json)
    # A vocabulary padded to a round size has ids that the tokenizer lacks: they are silent.
    known = (i in tokenizer for i in range(config.vocab_size))
    tokens = [tokenizer.token_bytes(i) if found else b"" for i, found in enumerate(known)]
    return TextSettings(config, tokens, json.loads(tokenizer_json.read_text("utf-8")))


def check_text(options: ExportOptions, config: GPT2Config) -> None:
    """Raise CheckpointError where text graphs are asked for and cannot be."""
    if options.text and not has_engine(config):
        raise CheckpointError(
            f"text graphs need a head size that is a multiple of {HEAD_DIM_MULTIPLE}, not {config.head_dim}: leave out"
            " --text."
        )


def write_text_graphs(folder: Path, one_file: str) -> None:
    """Add the text graphs to the bundle in ``folder``, which has an engine graph.

    Args:
        folder: the bundle, without a manifest yet.
        one_file: the kind of the graph that holds the weights itself, or "none".

    Raises:
        ExportError: that graph would have 2 GB or more, or the tokenizer does not allow it.

    Warns:
        Gpt2xlWarning: the tokenizer does not allow the graph for strings.
    """
    (engine,) = (folder / "onnx").glob("engine*.onnx")
    settings = text_settings(read_config(folder, ExportError), folder / "tokenizer.json")
    kinds = list(TEXT_GRAPHS)
    if reason := unlike_gpt2(settings.tokenizer):
        message = f"there is no graph from string to text: the tokenizer has {reason}; ids to text is there."
        if one_file == "string":
            raise ExportError(message)
        warnings.warn(message, Gpt2xlWarning, stacklevel=3)
        kinds.remove("string")
    for kind in kinds:
        write_text_graph(engine, kind, settings, holds_weights=kind == one_file)


def write_text_graph(
    engine: Path, kind: str, settings: TextSettings, *, holds_weights: bool
) -> Path:
    """Write the text graph ``kind`` beside the engine graph.

    Args:
        engine: the file of the engine graph.
        kind: "ids" or "string", what the prompt is.
        settings: of the model.
        holds_weights: whether the weights are in the file itself, not shared with the other graphs.

    Returns:
        The new file.

    Raises:
        ExportError: with its weights the file would have 2 GB or more.
    """
    model = build_text_graph(ir.load(engine), kind, settings)
    path = engine.with_name(engine.name.replace("engine", TEXT_GRAPHS[kind], 1))
    if holds_weights:
        _check_size(model)
        ir.external_data.load_to_model(model)
    ir.save(model, path)
    return path


def _check_size(model: ir.Model) -> None:
    values = (v for graph in model.graphs() for v in graph.initializers.values())
    size = sum(value.const_value.nbytes for value in values if value.const_value is not None)
    if size > LARGEST_FILE - 2**24:
        raise ExportError(
            f"with its weights, {size / 1e9:.1f} GB, the text graph would not stay below 2 GB, the largest ONNX file:"
            " leave out --one-file, or choose a smaller precision."
        )


def build_text_graph(engine: ir.Model, kind: str, settings: TextSettings) -> ir.Model:
    """The text graph ``kind`` around ``engine``, which becomes a part of it."""
    e = Expressions("text")
    prompt = _prompt_input(kind)
    options = [
        typed(ir.val("max_new_tokens"), INT64, []),
        typed(ir.val("temperature"), DOUBLE, []),
        typed(ir.val("top_k"), INT64, []),
        typed(ir.val("seed"), INT64, []),
        typed(ir.val("stop_at_end_of_text"), BOOL, []),
    ]
    ids = prompt if kind == "ids" else ids_of(e, prompt, settings.tokenizer)
    outputs = _generate(e, engine, ids, options, settings)
    opsets = {"": max(OPSET, engine.graph.opset_imports[""]), "com.microsoft": 1}
    graph = ir.Graph(
        [prompt, *options],
        outputs,
        nodes=e.tape.nodes,
        initializers=e.tape.initializers,
        opset_imports=opsets | ({EXTENSIONS: 1} if kind == "string" else {}),
        name=f"gpt2_{TEXT_GRAPHS[kind]}",
    )
    return ir.Model(graph, ir_version=engine.ir_version, producer_name="gpt2xl")


def _prompt_input(kind: str) -> ir.Value:
    if kind == "ids":
        return typed(ir.val("input_ids"), INT64, ["prompt_length"])
    return typed(ir.val("prompt"), STRING, [1])


def _generate(
    e: Expressions,
    engine: ir.Model,
    prompt: ir.Value,
    options: Sequence[ir.Value],
    settings: TextSettings,
) -> list[ir.Value]:
    """The outputs: text, ids and finish_reason."""
    max_new_tokens, temperature, top_k, seed, stops = options
    config = settings.config
    ids = _never_empty(e, prompt, config)
    length = e.of("Shape", ids)
    # The last token is not fed back.
    room = e.of("Sub", config.n_positions + 1, length)
    rounds = e.of("Squeeze", e.of("Max", e.of("Min", max_new_tokens, room), 0))
    shape = cache_shape(e, config, e.of("Add", length, rounds))
    cache = empty_cache(e, engine, shape)
    may_go_on = e.of("Not", stops)
    ends = sorted(config.eos_token_ids)
    choice = make_choice(e, temperature, top_k, config.vocab_size)
    numbers = uniform_numbers(e, seed, config.n_positions)
    body = loop_body(engine, choice, numbers, may_go_on, ends)
    state = [e.of("Unsqueeze", ids, [0]), length, *[cache] * (len(body.outputs) - 4)]
    always = e.array(np.array(True))
    results = e.nested("Loop", [rounds, always, *state], body, len(state) + 1, {})
    chosen = e.of("Reshape", results[-1], [-1])
    has_stopped = stopped(e, chosen, may_go_on, ends)
    kept = e.cut(chosen, [0], e.of("Sub", e.of("Shape", chosen), e.cast(has_stopped, INT64)))
    reason = e.of("Where", has_stopped, e.strings([b"stop"]), e.strings([b"length"]))
    text = text_of(e, kept, settings.tokens)
    return [
        _output(e, text, "text", STRING, [1]),
        _output(e, kept, "ids", INT64, ["new_tokens"]),
        _output(e, reason, "finish_reason", STRING, [1]),
    ]


def _never_empty(e: Expressions, prompt: ir.Value, config: GPT2Config) -> ir.Value:
    """``prompt``, or beginning-of-text where it is empty."""
    known = [i for i in (config.bos_token_id, *sorted(config.eos_token_ids)) if i is not None]
    is_empty = e.cast(e.of("Equal", e.of("Shape", prompt), 0), INT64)
    return e.concat(prompt, e.cut(known[:1] or [0], [0], is_empty))


def _output(
    e: Expressions, value: ir.Value, name: str, dtype: ir.DataType, shape: Sequence[int | str]
) -> ir.Value:
    return typed(e.op("Identity", [value], name), dtype, shape)
