"""The inputs and outputs of a graph, checked before the first run: another tool may have exported it."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnxruntime as ort

from gpt2xl.bundle.config import GPT2Config
from gpt2xl.errors import BundleError, first_line

TOKENS = ("input_ids", "attention_mask", "position_ids")
INT64 = ("tensor(int64)",)
FLOAT = ("tensor(float)",)
FLOATS = (*FLOAT, "tensor(float16)")
CACHES = (*FLOATS, "tensor(int8)")


@dataclass(frozen=True)
class TensorInfo:
    """An input or an output."""

    name: str
    type: str
    """The type as onnxruntime writes it, "tensor(float)"."""
    shape: list[Any]
    """Sizes; a name or None where the graph leaves one open."""


TensorInfos = dict[str, TensorInfo]


@dataclass(frozen=True)
class Signature:
    """Inputs and outputs of a loaded graph, by name."""

    path: Path
    """The graph's file, for errors."""
    inputs: TensorInfos
    outputs: TensorInfos
    optional: TensorInfos
    """Inputs with a default."""


def read_signature(session: ort.InferenceSession, path: Path) -> Signature:
    """The signature of ``session``, loaded from ``path``; BundleError where a name in it is not UTF-8."""
    kinds = (
        session.get_inputs, session.get_outputs, session.get_overridable_initializers,
    )  # fmt: skip
    try:
        return Signature(path, *(_infos(kind()) for kind in kinds))
    except Exception as reason:  # onnxruntime's binding may fail to decode a name or a shape
        raise BundleError(
            f"'{path}' has inputs or outputs that cannot be read: {first_line(reason)}"
        ) from None


def _infos(values: Sequence[Any]) -> TensorInfos:
    return {value.name: TensorInfo(value.name, value.type, list(value.shape)) for value in values}


def check_signature(signature: Signature, config: GPT2Config, *, in_place: bool) -> None:
    """Refuse a graph whose inputs and outputs are not those of a GPT-2 of ``config``.

    Args:
        signature: of the graph.
        config: the bundle's config.json.
        in_place: whether it is an engine graph.

    Raises:
        BundleError: names an input or output that is missing, unknown or of another type or shape.
    """
    layers = [f"{i}.{part}" for i in range(config.n_layer) for part in ("key", "value")]
    past = [f"past_key_values.{name}" for name in layers]
    present = [f"present.{name}" for name in layers]
    missing = [name for name in (*TOKENS[:2], *past) if name not in signature.inputs]
    missing += [name for name in ("logits", *present) if name not in signature.outputs]
    if missing:
        raise BundleError(
            f"'{signature.path}' lacks {', '.join(missing)}: not a GPT-2 of {config.n_layer} layers with"
            " past-key-value inputs as docs/bundle.md describes it."
        )
    if unknown := signature.inputs.keys() - {*TOKENS, *past}:
        raise BundleError(
            f"'{signature.path}' wants the input '{min(unknown)}', which nothing feeds."
        )
    for name in signature.inputs.keys() & TOKENS:
        _check(signature, signature.inputs[name], INT64, (None, None))
    cache = (None, config.n_head, None, config.head_dim)
    for value in [
        *(signature.inputs[name] for name in past),
        *(signature.outputs[name] for name in present),
    ]:
        _check(signature, value, CACHES, cache)
        if value.type != signature.inputs[past[0]].type:
            raise BundleError(f"'{signature.path}' has keys and values of several types.")
    vocab = config.vocab_size if in_place else None
    _check(
        signature, signature.outputs["logits"], FLOAT if in_place else FLOATS, (None, None, vocab)
    )


def _check(
    signature: Signature, value: TensorInfo, types: Sequence[str], shape: Sequence[int | None]
) -> None:
    """Raise BundleError unless ``value`` has one of ``types`` and the sizes in ``shape`` that are not None."""
    fits = len(value.shape) == len(shape) and all(
        want in (None, have) for have, want in zip(value.shape, shape, strict=True)
    )
    if value.type not in types or not fits:
        wanted = ", ".join("any" if size is None else str(size) for size in shape)
        raise BundleError(
            f"'{signature.path}' does not fit its config.json: '{value.name}' is {value.type} of"
            f" {value.shape}, not {' or '.join(types)} of [{wanted}]."
        )
