"""Run an exported graph one layer at a time, so that memory holds the weights of one layer."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx_ir as ir
import onnxruntime as ort

from gpt2xl.bundle.config import GPT2Config
from gpt2xl.sessions.base import CACHE_TYPES

Array = npt.NDArray[np.generic]
TOKENS = ["input_ids", "attention_mask", "position_ids"]


@dataclass
class PromptRun:
    """A batch of prompts on its way through the layers, fed in steps of the given sizes."""

    ids: npt.NDArray[np.int64]
    """[batch_size, n]"""
    steps: Sequence[int]
    """Positions in each step; they add up to n."""
    states: list[dict[str, Array]] = field(default_factory=list)
    """For each step, the outputs of the last layer that was run."""

    def spans(self) -> Iterator[tuple[int, int]]:
        """(start, end) of each step."""
        end = 0
        for size in self.steps:
            yield end, end + size
            end += size


def cut_names(config: GPT2Config, kind: str) -> list[list[str]]:
    """Names of the values between embeddings, blocks and head: n_layer + 1 lists."""
    residuals = ["embeddings", *(f"h.{i}" for i in range(config.n_layer))]
    if kind == "portable":
        return [[name] for name in residuals]
    norms = [*(f"h.{i}.ln_1" for i in range(config.n_layer)), "ln_f"]
    return [list(pair) for pair in zip(residuals, norms, strict=True)]


GraphRunner = Callable[[Sequence[PromptRun]], Iterator[None]]
"""Takes prompts through a graph and pauses n_layer + 2 times: after embeddings, each block, the head.

In the end each ``run.states`` has {"logits": [batch_size, positions, vocab_size]} for every step.
"""


def run_by_layer(
    model: ir.Model, kind: str, config: GPT2Config, folder: Path, runs: Sequence[PromptRun]
) -> Iterator[None]:
    """A `GraphRunner`, with its first four arguments, for a graph that gpt2xl built.

    Args:
        model: a graph with external weights in ``folder``.
        kind: "portable" or "engine".
        config: what the graph was built from.
        folder: where the weights file is.
        runs: the prompts.
    """
    cuts = cut_names(config, kind)
    for run in runs:
        run.states = [{} for _ in run.steps]
    none = _Cache(range(0), config)
    _run(_cut(model, folder, TOKENS, cuts[0], none), TOKENS, cuts[0], none, runs)
    yield
    for layer, (before, after) in enumerate(pairwise(cuts)):
        cache = _Cache(range(layer, layer + 1), config, in_place=kind == "engine")
        inputs = [*TOKENS, *before]
        _run(_cut(model, folder, inputs, after, cache), inputs, after, cache, runs)
        yield
    inputs = [*TOKENS, *cuts[-1]]
    _run(_cut(model, folder, inputs, ["logits"], none), inputs, ["logits"], none, runs)
    yield


def head_by_pieces(
    model: ir.Model, config: GPT2Config, folder: Path, runs: Sequence[PromptRun], size: int
) -> Iterator[Array]:
    """The logits of a portable graph, [positions, vocab_size] of at most ``size`` positions of a run at a time.

    Args:
        model: the graph.
        config: what it was built from.
        folder: where the weights file is.
        runs: prompts of one step each, which `run_by_layer` has taken through the last block.
        size: positions of a piece.
    """
    inputs, none = [*TOKENS, *cut_names(config, "portable")[-1]], _Cache(range(0), config)
    session = _cut(model, folder, inputs, ["logits"], none)
    for run in runs:
        (states,) = run.states
        for start in range(0, run.ids.shape[1], size):
            span = slice(start, start + size)
            ids = run.ids[:, span]
            piece = PromptRun(ids, [ids.shape[1]], [{n: x[:, span] for n, x in states.items()}])
            _run(session, inputs, ["logits"], none, [piece])
            yield piece.states[0]["logits"][0]


def run_whole(path: Path, config: GPT2Config, runs: Sequence[PromptRun]) -> Iterator[None]:
    """A `GraphRunner`, with its first two arguments, for any portable graph.

    It loads the whole graph and does everything before the first pause.
    """
    for run in runs:
        run.states = [{} for _ in run.steps]
    session = ort.InferenceSession(path, _options(), providers=["CPUExecutionProvider"])
    inputs = [value.name for value in session.get_inputs() if value.name in TOKENS]
    _run(session, inputs, ["logits"], _Cache(range(config.n_layer), config), runs)
    for _ in range(config.n_layer + 2):
        yield


@dataclass
class _Cache:
    """The KV cache of some layers."""

    layers: range
    config: GPT2Config
    in_place: bool = False

    def names(self, prefix: str) -> list[str]:
        return [f"{prefix}.{layer}.{part}" for layer in self.layers for part in ("key", "value")]

    def empty(self, run: PromptRun, dtypes: Sequence[type[np.generic]]) -> list[ort.OrtValue]:
        length = run.ids.shape[1] if self.in_place else 0
        shape = (len(run.ids), self.config.n_head, length, self.config.head_dim)
        return [ort.OrtValue.ortvalue_from_numpy(np.zeros(shape, dtype)) for dtype in dtypes]


def _run(
    session: ort.InferenceSession,
    inputs: Sequence[str],
    outputs: Sequence[str],
    cache: _Cache,
    runs: Sequence[PromptRun],
) -> None:
    """Take ``runs`` through one session; its ``outputs`` become their states."""
    past = cache.names("past_key_values")
    types = {value.name: value.type for value in session.get_inputs()}
    for run in runs:
        values = cache.empty(run, [CACHE_TYPES[types[name]] for name in past])
        for step, (start, end) in enumerate(run.spans()):
            feed = {**_token_feed(run, start, end), **run.states[step]}
            binding = session.io_binding()
            for name in inputs:
                binding.bind_cpu_input(name, np.ascontiguousarray(feed[name]))
            results = _bind_and_run(session, binding, outputs, cache, values)
            run.states[step] = {name: results[name].numpy() for name in outputs}
            if not cache.in_place:
                values = [results[name] for name in cache.names("present")]


def _bind_and_run(
    session: ort.InferenceSession,
    binding: ort.IOBinding,
    outputs: Sequence[str],
    cache: _Cache,
    values: Sequence[ort.OrtValue],
) -> dict[str, ort.OrtValue]:
    present = cache.names("present")
    for name, value in zip(cache.names("past_key_values"), values, strict=True):
        binding.bind_ortvalue_input(name, value)
    for name in outputs:
        binding.bind_output(name)
    for name, value in zip(present, values, strict=True):
        if cache.in_place:
            binding.bind_ortvalue_output(name, value)
        else:
            binding.bind_output(name)
    session.run_with_iobinding(binding)
    return dict(zip([*outputs, *present], binding.get_outputs(), strict=True))


def _token_feed(run: PromptRun, start: int, end: int) -> dict[str, Array]:
    batch_size = len(run.ids)
    return {
        "input_ids": run.ids[:, start:end],
        "attention_mask": np.ones((batch_size, end), np.int64),
        "position_ids": np.tile(np.arange(start, end, dtype=np.int64), (batch_size, 1)),
    }


def _cut(
    model: ir.Model, folder: Path, inputs: Sequence[str], outputs: Sequence[str], cache: _Cache
) -> ort.InferenceSession:
    """A session for the part of the graph between ``inputs`` and ``outputs``."""
    ends = [*inputs, *cache.names("past_key_values")], [*outputs, *cache.names("present")]
    graph = ir.convenience.extract(model.graph, *ends)
    part = ir.Model(graph, ir_version=model.ir_version)
    options = _options()
    options.add_session_config_entry(
        "session.model_external_initializers_file_folder_path", str(folder)
    )
    content = ir.serde.serialize_model(part).SerializeToString()
    return ort.InferenceSession(content, options, providers=["CPUExecutionProvider"])


def _options() -> ort.SessionOptions:
    options = ort.SessionOptions()
    options.log_severity_level = 3
    return options
