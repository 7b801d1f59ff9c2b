"""The tensors a GPT-2 has: names, shapes, and every quirk checkpoints show."""

from collections.abc import Mapping

from gpt2xl.config import GPT2Config
from gpt2xl.errors import CheckpointError

Shape = tuple[int, ...]

# Causal-mask buffers that transformers before 4.31 saved with the weights.
MASK_BUFFERS = (".attn.bias", ".attn.masked_bias")


def expected_shapes(config: GPT2Config) -> dict[str, Shape]:
    """Name -> shape of every tensor, in file order; matrices are Conv1D's [in, out]."""
    width, inner = config.n_embd, config.inner_dim
    shapes: dict[str, Shape] = {
        "wte.weight": (config.vocab_size, width),
        "wpe.weight": (config.n_positions, width),
    }
    for i in range(config.n_layer):
        shapes |= _norm(f"h.{i}.ln_1", width)
        shapes |= _linear(f"h.{i}.attn.c_attn", width, 3 * width)
        shapes |= _linear(f"h.{i}.attn.c_proj", width, width)
        shapes |= _norm(f"h.{i}.ln_2", width)
        shapes |= _linear(f"h.{i}.mlp.c_fc", width, inner)
        shapes |= _linear(f"h.{i}.mlp.c_proj", inner, width)
    shapes |= _norm("ln_f", width)
    if not config.tie_word_embeddings:
        shapes["lm_head.weight"] = (config.vocab_size, width)
    return shapes


def _norm(name: str, width: int) -> dict[str, Shape]:
    return {f"{name}.weight": (width,), f"{name}.bias": (width,)}


def _linear(name: str, n_in: int, n_out: int) -> dict[str, Shape]:
    return {f"{name}.weight": (n_in, n_out), f"{name}.bias": (n_out,)}


def matrix_names(config: GPT2Config) -> list[str]:
    """The weights that are multiplied with, and so can be quantized: all but wpe."""
    shapes = expected_shapes(config)
    return [name for name, shape in shapes.items() if len(shape) == 2 and name != "wpe.weight"]


def match_tensors(found: Mapping[str, Shape], config: GPT2Config) -> dict[str, str]:
    """Our name of each tensor -> its name in the checkpoint.

    Knows the ``transformer.`` prefix, mask buffers (dropped) and a stored copy of a tied head
    (dropped: transformers ties it again whatever the file says).

    Raises:
        CheckpointError: a tensor is missing, left over or has the wrong shape; it is named.
    """
    expected = expected_shapes(config)
    stored = {name.removeprefix("transformer."): name for name in found}
    for name in found:
        other = stored[name.removeprefix("transformer.")]
        if other != name:
            raise CheckpointError(f"tensor '{name}' is there twice, also as '{other}'.")
    names = {name: original for name, original in stored.items() if not name.endswith(MASK_BUFFERS)}
    if config.tie_word_embeddings:
        names.pop("lm_head.weight", None)
    missing = [name for name in expected if name not in names]
    if missing:
        raise CheckpointError(f"tensor '{missing[0]}' is missing{_more(missing)}.")
    extra = [name for name in names if name not in expected]
    if extra:
        raise CheckpointError(
            f"tensor '{names[extra[0]]}' belongs to no GPT-2 of this config{_more(extra)}."
        )
    for name, shape in expected.items():
        if found[names[name]] != shape:
            raise CheckpointError(
                f"tensor '{names[name]}' has shape {list(found[names[name]])}, the config asks for"
                f" {list(shape)}."
            )
    return {name: names[name] for name in expected}


def _more(names: list[str]) -> str:
    return f" (and {len(names) - 1} more)" if len(names) > 1 else ""
