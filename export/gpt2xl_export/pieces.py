"""Run an exported graph one layer at a time: memory holds one layer's weights, whatever the model."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx_ir as ir
import onnxruntime as ort

from gpt2xl.config import GPT2Config
from gpt2xl.session import CACHE_TYPES

Array = npt.NDArray[np.generic]


@dataclass
class Run:
    """One prompt on its way through the layers, fed in steps of the given sizes."""

    ids: npt.NDArray[np.int64]
    """[batch_size, n]"""
    steps: Sequence[int]
    """Sizes of the steps; they add up to n."""
    states: list[dict[str, Array]] = field(default_factory=list)
    """For each step, the values that cross from this layer to the next."""

    def spans(self) -> Iterator[tuple[int, int]]:
        """(start, end) of each step."""
        end = 0
        for size in self.steps:
            yield end, end + size
            end += size


def cut_names(config: GPT2Config, kind: str) -> list[list[str]]:
    """Values that cross from one piece to the next, n_layer + 1 times."""
    residuals = ["embeddings", *(f"h.{i}" for i in range(config.n_layer))]
    if kind == "portable":
        return [[name] for name in residuals]
    norms = [*(f"h.{i}.ln_1" for i in range(config.n_layer)), "ln_f"]
    return [list(pair) for pair in zip(residuals, norms, strict=True)]


def run_pieces(
    model: ir.Model, kind: str, config: GPT2Config, folder: Path, runs: Sequence[Run]
) -> Iterator[None]:
    """Take ``runs`` through embeddings, each block and the head, pausing after each.

    When done, each ``run.states`` holds {"logits": [batch_size, positions, vocab_size]} per step.

    Args:
        model: a graph whose weights are external, in ``folder``.
        kind: "portable" or "engine".
        config: what the graph was built from.
        folder: where the weights file is.
        runs: the prompts.
    """
    cuts = cut_names(config, kind)
    tokens = ["input_ids", "attention_mask", "position_ids"]
    for run in runs:
        run.states = [{} for _ in run.steps]
    _run_piece(model, folder, tokens, cuts[0], None, runs)
    yield
    for layer, (before, after) in enumerate(zip(cuts[:-1], cuts[1:], strict=True)):
        cache = _Cache(layer, config, in_place=kind == "engine")
        _run_piece(model, folder, [*tokens[:2], *before], after, cache, runs)
        yield
    _run_piece(model, folder, [*tokens[:2], *cuts[-1]], ["logits"], None, runs)
    yield


@dataclass
class _Cache:
    layer: int
    config: GPT2Config
    in_place: bool

    def names(self, prefix: str) -> list[str]:
        return [f"{prefix}.{self.layer}.{part}" for part in ("key", "value")]

    def empty(self, run: Run, dtype: type[np.generic]) -> list[ort.OrtValue]:
        length = run.ids.shape[1] if self.in_place else 0
        shape = (len(run.ids), self.config.n_head, length, self.config.head_dim)
        return [ort.OrtValue.ortvalue_from_numpy(np.zeros(shape, dtype)) for _ in range(2)]


def _run_piece(
    model: ir.Model,
    folder: Path,
    inputs: list[str],
    outputs: list[str],
    cache: _Cache | None,
    runs: Sequence[Run],
) -> None:
    past, present = (cache.names("past_key_values"), cache.names("present")) if cache else ([], [])
    session = _open(model, folder, [*inputs, *past], [*outputs, *present])
    types = {value.name: value.type for value in session.get_inputs()}
    for run in runs:
        values = cache.empty(run, CACHE_TYPES[types[past[0]]]) if cache else []
        for step, (start, end) in enumerate(run.spans()):
            feed = {**_token_feed(run, start, end), **run.states[step]}
            binding = session.io_binding()
            for name in inputs:
                binding.bind_cpu_input(name, np.ascontiguousarray(feed[name]))
            for name in outputs:
                binding.bind_output(name)
            for old, new, value in zip(past, present, values, strict=True):
                binding.bind_ortvalue_input(old, value)
                if cache is not None and cache.in_place:
                    binding.bind_ortvalue_output(new, value)
                else:
                    binding.bind_output(new)
            session.run_with_iobinding(binding)
            results = dict(zip([o.name for o in session.get_outputs()], binding.get_outputs(), strict=True))  # fmt: skip
            run.states[step] = {name: results[name].numpy() for name in outputs}
            if cache is not None and not cache.in_place:
                values = [results[name] for name in present]


def _token_feed(run: Run, start: int, end: int) -> dict[str, Array]:
    batch_size = len(run.ids)
    return {
        "input_ids": run.ids[:, start:end],
        "attention_mask": np.ones((batch_size, end), np.int64),
        "position_ids": np.tile(np.arange(start, end, dtype=np.int64), (batch_size, 1)),
    }


def _open(model: ir.Model, folder: Path, inputs: list[str], outputs: list[str]) -> ort.InferenceSession:  # fmt: skip
    graph = ir.convenience.extract(model.graph, inputs, outputs)
    piece = ir.Model(graph, ir_version=model.ir_version)
    options = ort.SessionOptions()
    options.log_severity_level = 3
    options.add_session_config_entry(
        "session.model_external_initializers_file_folder_path", str(folder)
    )
    content = ir.serde.serialize_model(piece).SerializeToString()
    return ort.InferenceSession(content, options, providers=["CPUExecutionProvider"])
