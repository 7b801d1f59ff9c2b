"""How many bytes a matrix takes in each format, and a bundle beside its matrices."""

import math
from collections.abc import Mapping
from pathlib import Path

from gpt2xl_export.formats.nbits import NBits
from gpt2xl_export.formats.protocol import Format
from gpt2xl_export.graph.weights import PAGE
from gpt2xl_export.options import ExportOptions
from gpt2xl_export.recipes import EMBEDDINGS, head_format
from gpt2xl_export.rounding.equalization import ATTENTION_IN, ATTENTION_OUT
from gpt2xl_export.source.checkpoint import Checkpoint
from gpt2xl_export.source.tensors import expected_shapes, matrix_names

FLOAT_BYTES = 4
GRAPH_BYTES = 30_000
"""Of both graphs, for each layer."""
MANIFEST_BYTES, MATRIX_BYTES = 10_000, 1_200
"""Of the manifest, about: in any case, and for each matrix."""


def matrix_sizes(
    checkpoint: Checkpoint,
    options: ExportOptions,
    forms: Mapping[str, Format | None],
    choices: tuple[str, ...],
) -> dict[str, dict[str, int]]:
    """Bytes by weight and format.

    Args:
        checkpoint: the source.
        options: resolved.
        forms: every format by name.
        choices: the names of those that are compared, as a keep rule has them.
    """
    shapes = expected_shapes(checkpoint.config)
    return {
        name: {
            choice: _stored_size(
                name,
                shapes[name],
                forms[head_format(choice) if name in EMBEDDINGS else choice],
                is_scaled=options.kv == "int8",
            )
            for choice in choices
        }
        for name in matrix_names(checkpoint.config)
    }


def _stored_size(name: str, shape: tuple[int, ...], form: Format | None, *, is_scaled: bool) -> int:
    """Bytes on whole pages; an int8 KV cache gives the engine graph scales of its own (`passes.kv_int8`)."""
    if form is None:
        return _paged(FLOAT_BYTES * math.prod(shape))
    n_in, n_out = reversed(shape) if name in EMBEDDINGS else shape
    *codes, scales = form.stored_bytes(n_in, n_out)
    copied = (ATTENTION_IN, ATTENTION_OUT) if isinstance(form, NBits) else (ATTENTION_IN,)
    copies = 2 if is_scaled and name.removesuffix(".weight").endswith(copied) else 1
    return sum(map(_paged, codes)) + copies * _paged(scales)


def _paged(size: int) -> int:
    return -(-size // PAGE) * PAGE if size >= PAGE else size


def other_bytes(checkpoint: Checkpoint) -> int:
    """Bytes of a bundle beside its matrices, tokenizer and configs, about."""
    config, matrices = checkpoint.config, set(matrix_names(checkpoint.config))
    shapes = expected_shapes(config)
    floats = sum(FLOAT_BYTES * math.prod(s) for name, s in shapes.items() if name not in matrices)
    graphs = GRAPH_BYTES * (config.n_layer + 1)
    return floats + graphs + manifest_bytes(len(matrices))


def manifest_bytes(matrices: int) -> int:
    """Of the manifest of a model with so many matrices, at most."""
    return MANIFEST_BYTES + MATRIX_BYTES * matrices


def files_bytes(folder: Path) -> int:
    """Of all files in ``folder``."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
