"""How much memory a server will take, so that one that cannot fit is refused before it starts."""

from dataclasses import dataclass

from gpt2xl import Model
from gpt2xl.errors import RequestError
from gpt2xl.startup.memory import memory_left

KV_BYTES, INT8_KV_BYTES = 4, 1


@dataclass(frozen=True)
class MemoryNeed:
    """Bytes that a server takes when all its rows hold texts of the whole context.

    >>> print(MemoryNeed(weights=1_600_000_000, row=157_286_400, rows=16, prefixes=268_435_456))
    up to 4.4 GB of memory (1.6 GB weights, 2.5 GB KV cache, 0.3 GB kept prompts)
    """

    weights: int
    row: int
    """KV cache of one text."""
    rows: int
    prefixes: int
    """Keys and values of earlier prompts."""
    draft: int = 0
    """KV cache of the draft model."""

    @property
    def growth(self) -> int:
        """What comes on top of the weights, which are loaded first."""
        return self.rows * self.row + self.prefixes + self.draft

    def __str__(self) -> str:
        parts = {
            "weights": self.weights,
            "KV cache": self.rows * self.row + self.draft,
            "kept prompts": self.prefixes,
        }
        shown = ", ".join(f"{_shown(size)} {name}" for name, size in parts.items() if size)
        return f"up to {_shown(sum(parts.values()))} of memory ({shown})"


def memory_need(
    model: Model, rows: int, prefix_bytes: int, draft: Model | None = None
) -> MemoryNeed:
    """What a server of ``model`` takes.

    Args:
        model: loaded.
        rows: texts that share a step.
        prefix_bytes: memory for earlier prompts.
        draft: a smaller model beside it, with a row of its own.
    """
    models = [model, draft] if draft else [model]
    weights = sum(each.bundle.weights_size for each in models if each.bundle)
    return MemoryNeed(
        weights, _row_bytes(model), rows, prefix_bytes, _row_bytes(draft) if draft else 0
    )


def _row_bytes(model: Model) -> int:
    config = model.config
    value_bytes = INT8_KV_BYTES if model.session.has_int8_cache else KV_BYTES
    return 2 * config.n_layer * config.n_embd * config.n_positions * value_bytes


def check_fits(need: MemoryNeed, free: int | None = None) -> None:
    """Refuse a server whose caches will not fit beside the weights.

    >>> check_fits(MemoryNeed(weights=0, row=10**8, rows=16, prefixes=10**8), free=10**9)
    Traceback (most recent call last):
    gpt2xl.errors.RequestError: 16 rows of KV cache take 1.6 GB and kept prompts 0.1 GB, but 1.0 GB of memory is left beside the model: use --rows 9 or fewer, or a smaller --prefix-cache.

    Args:
        need: of a model that is loaded.
        free: bytes left; what the system says by default.

    Raises:
        RequestError: with the numbers and the options to lower.
    """
    free = memory_left() if free is None else free
    if free is None or need.growth <= free:
        return
    fitting = (free - need.prefixes - need.draft) // need.row
    remedy = f"use --rows {fitting} or fewer" if fitting > 0 else "use fewer --rows"
    raise RequestError(
        f"{need.rows} rows of KV cache take {_shown(need.rows * need.row)} and kept prompts"
        f" {_shown(need.prefixes)}, but {_shown(free)} of memory is left beside the model:"
        f" {remedy}, or a smaller --prefix-cache."
    )


def _shown(size: int) -> str:
    return f"{size / 1e9:.1f} GB" if size >= 10**8 else f"{size / 1e6:.0f} MB"
