"""What a graph has to take and give, looked at before anything is fed: somebody else may have exported it."""

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
class Port:
    """An input or output."""

    name: str
    type: str
    """As onnxruntime writes it, "tensor(float)"."""
    shape: list[Any]
    """Sizes; a name, or None, where the graph leaves one open."""


Ports = dict[str, Port]


@dataclass(frozen=True)
class Signature:
    """Inputs, outputs and inputs with a default of a loaded graph."""

    path: Path
    """For errors."""
    inputs: Ports
    outputs: Ports
    optional: Ports


def read_signature(session: ort.InferenceSession, path: Path) -> Signature:
    """The ports of ``session``, loaded from ``path``; BundleError where a name in them is not UTF-8."""
    kinds = (
        session.get_inputs, session.get_outputs, session.get_overridable_initializers,
    )  # fmt: skip
    try:
        return Signature(path, *(_ports(kind()) for kind in kinds))
    except Exception as reason:  # of the binding, which may not decode a name or a shape
        raise BundleError(
            f"'{path}' has inputs or outputs that cannot be read: {first_line(reason)}"
        ) from None


def _ports(values: Sequence[Any]) -> Ports:
    return {value.name: Port(value.name, value.type, list(value.shape)) for value in values}


def check_signature(ports: Signature, config: GPT2Config, *, in_place: bool) -> None:
    """Refuse a graph that does not take and give what a GPT-2 of ``config`` does.

    Args:
        ports: of the graph.
        config: the bundle's config.json.
        in_place: whether it is an engine graph.

    Raises:
        BundleError: a missing or unknown port, or one of another type or shape; names it.
    """
    layers = [f"{i}.{part}" for i in range(config.n_layer) for part in ("key", "value")]
    past = [f"past_key_values.{name}" for name in layers]
    present = [f"present.{name}" for name in layers]
    missing = [name for name in (*TOKENS[:2], *past) if name not in ports.inputs]
    missing += [name for name in ("logits", *present) if name not in ports.outputs]
    if missing:
        raise BundleError(
            f"'{ports.path}' lacks {', '.join(missing)}: not a GPT-2 of {config.n_layer} layers with"
            " past-key-value inputs as docs/bundle.md describes it."
        )
    if unknown := ports.inputs.keys() - {*TOKENS, *past}:
        raise BundleError(f"'{ports.path}' wants the input '{min(unknown)}', which nothing feeds.")
    for name in ports.inputs.keys() & TOKENS:
        _check(ports, ports.inputs[name], INT64, (None, None))
    cache = (None, config.n_head, None, config.head_dim)
    for value in [
        *(ports.inputs[name] for name in past),
        *(ports.outputs[name] for name in present),
    ]:
        _check(ports, value, CACHES, cache)
        if value.type != ports.inputs[past[0]].type:
            raise BundleError(f"'{ports.path}' has keys and values of several types.")
    vocab = config.vocab_size if in_place else None
    _check(ports, ports.outputs["logits"], FLOAT if in_place else FLOATS, (None, None, vocab))


def _check(
    ports: Signature, value: Port, types: Sequence[str], shape: Sequence[int | None]
) -> None:
    """Whether ``value`` has one of ``types``, and the numbers in ``shape`` where these are not None."""
    fits = len(value.shape) == len(shape) and all(
        want in (None, have) for have, want in zip(value.shape, shape, strict=True)
    )
    if value.type not in types or not fits:
        wanted = ", ".join("any" if size is None else str(size) for size in shape)
        raise BundleError(
            f"'{ports.path}' does not fit its config.json: '{value.name}' is {value.type} of"
            f" {value.shape}, not {' or '.join(types)} of [{wanted}]."
        )
