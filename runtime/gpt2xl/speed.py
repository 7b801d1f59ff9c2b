"""How fast a bundle is on this machine: loading, prompts, decoding, batches, memory."""

import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, Unpack

import numpy as np

from gpt2xl.errors import RequestError, counted
from gpt2xl.loading import load
from gpt2xl.model import Model
from gpt2xl.options.generation import GenerationOptions
from gpt2xl.options.keywords import updated
from gpt2xl.startup.options import LoadKeywords, LoadOptions, checked_integer

WARM_UP_TOKENS = 8
SIZES = {
    "prefill": ("", "token"),
    "decode": ("after ", "token"),
    "batch": ("", "text"),
    "peak memory": ("", "text"),
}
"""By quantity: what stands before its size, and what is counted."""

Quantity = Literal["load", "prefill", "decode", "batch", "peak memory"]


@dataclass(frozen=True)
class Speed:
    """One figure."""

    name: Quantity
    size: int | None
    """Tokens of the prompt or the context, or texts at a time."""
    value: float
    unit: str

    @property
    def label(self) -> str:
        """Name and size.

        >>> Speed("decode", 64, 18.4, "tokens/s").label
        'decode, after 64 tokens'
        """
        return label(self.name, self.size)


@dataclass(frozen=True, kw_only=True)
class SpeedSizes:
    """What is measured.

    Raises:
        RequestError: a size is out of its range.
    """

    prompt_tokens: tuple[int, ...] = (64, 512)
    """Lengths of single prompts; the rows of a batch have the shortest one."""
    rows: tuple[int, ...] = (8,)
    """Texts at a time in `generate_batch`."""
    new_tokens: int = 24
    """Tokens that each text generates, at least 2."""

    def __post_init__(self) -> None:
        for name in ("prompt_tokens", "rows"):
            values = sorted({checked_integer(name, value, 1) for value in getattr(self, name)})
            object.__setattr__(self, name, tuple(values))
        checked_integer("new_tokens", self.new_tokens, 2)

    def within(self, n_positions: int) -> "SpeedSizes":
        """Without the prompts that do not fit a context of ``n_positions`` with their new tokens, or all batches.

        >>> SpeedSizes().within(128).prompt_tokens
        (64,)
        """
        fitting = tuple(n for n in self.prompt_tokens if n + self.new_tokens <= n_positions)
        return replace(self, prompt_tokens=fitting, rows=self.rows if fitting else ())

    def check(self, n_positions: int) -> None:
        """Raise RequestError unless all prompts fit a context of ``n_positions`` with their new tokens."""
        if self.within(n_positions) != self:
            raise RequestError(
                f"prompts of {self.prompt_tokens[-1]} tokens with {self.new_tokens} new ones do not fit the"
                f" context of {n_positions} tokens: choose smaller prompt_tokens or new_tokens."
            )

    @property
    def figures(self) -> list[tuple[Quantity, int | None]]:
        """Name and size of each figure, in the order in which they are measured."""
        single: list[tuple[Quantity, int | None]] = [
            (name, size) for size in self.prompt_tokens for name in ("prefill", "decode")
        ]
        batches: list[tuple[Quantity, int | None]] = [
            (name, rows)
            for rows in self.rows
            for name in (("batch", "peak memory") if rows > 1 else ("batch",))
        ]
        return [("load", None), *single, ("peak memory", 1), *batches]


def label(name: Quantity, size: int | None) -> str:
    """Name and size of a figure in words.

    >>> label("batch", 1), label("load", None)
    ('batch, 1 text', 'load')
    """
    if size is None:
        return name
    before, noun = SIZES[name]
    return f"{name}, {before}{counted(size, noun)}"


def measure_speed(
    folder: str | Path,
    options: LoadOptions | None = None,
    sizes: SpeedSizes | None = None,
    **keywords: Unpack[LoadKeywords],
) -> Iterator[Speed]:
    """Measure the bundle in ``folder`` once, by generating texts after prompts of random ids, without speculation.

    Args:
        folder: as of `load`.
        options: as of `load`.
        sizes: what to measure; prompts that do not fit the context are left out.
        **keywords: as of `load`.

    Yields:
        Figures, as they are known: seconds to load; prompt tokens a second until the first new token; new tokens a
        second after it; new tokens a second of `Model.generate_batch`, prompts included. A batch of a bundle whose
        texts do not share steps is measured on one text. Peak memory is the process's so far, so measure one
        bundle a process; Windows does not say it.

    Raises:
        Gpt2xlError: as of `load`.

    Example::

        for speed in measure_speed("my-gpt2-xl", sizes=SpeedSizes(prompt_tokens=(900,))):
            print(speed.label, speed.value, speed.unit)
    """
    start = time.perf_counter()
    model = load(folder, updated(LoadOptions() if options is None else options, keywords))
    yield Speed("load", None, time.perf_counter() - start, "s")
    sizes = (SpeedSizes() if sizes is None else sizes).within(model.config.n_positions)
    texts = _Texts(model, sizes.new_tokens)
    texts.warm_up()
    for size in sizes.prompt_tokens:
        yield from texts.single(size)
    yield from _peak_memory(1)
    for rows in sizes.rows:
        yield Speed("batch", rows, texts.batch(rows, sizes.prompt_tokens[0]), "tokens/s")
        if rows > 1:
            yield from _peak_memory(rows)


class _Texts:
    """Generates texts of a fixed length from random ids."""

    def __init__(self, model: Model, new_tokens: int) -> None:
        self._model, self._new_tokens = model, new_tokens
        self._options = GenerationOptions(
            max_new_tokens=new_tokens, seed=0, ignore_eos=True, prompt_lookup=False
        )
        self._rng = np.random.default_rng(0)

    def warm_up(self) -> None:
        """The first run allocates."""
        room = self._model.config.n_positions - 2
        if room > 0:
            options = replace(self._options, max_new_tokens=2)
            self._model.generate(self._ids(min(WARM_UP_TOKENS, room)), options)

    def single(self, size: int) -> Iterator[Speed]:
        stream = self._model.stream(self._ids(size), self._options)
        seconds = _seconds(lambda: next(stream))
        yield Speed("prefill", size, size / seconds, "tokens/s")
        seconds = _seconds(stream.result)
        yield Speed("decode", size, (self._new_tokens - 1) / seconds, "tokens/s")

    def batch(self, rows: int, prompt_tokens: int) -> float:
        """New tokens a second of `Model.generate_batch`."""
        count = rows if self._model.shares_steps else 1  # one after the other is as fast as one
        prompts = [self._ids(prompt_tokens) for _ in range(count)]
        texts = self._model.generate_batch(prompts, self._options, rows=rows)
        return count * self._new_tokens / _seconds(lambda: list(texts))

    def _ids(self, count: int) -> list[int]:
        ids = self._rng.integers(0, self._model.config.vocab_size, count)
        return [int(id_) for id_ in ids]


def _seconds(action: Callable[[], object]) -> float:
    start = time.perf_counter()
    action()
    return time.perf_counter() - start


def _peak_memory(rows: int) -> Iterator[Speed]:
    if (size := _peak_bytes()) is not None:
        yield Speed("peak memory", rows, size / 1e6, "MB")


def _peak_bytes() -> int | None:
    """The most memory that this process has had; None where the system does not say."""
    status = Path("/proc/self/status")
    if status.exists():  # ru_maxrss may be the parent's here: exec inherits it
        lines = status.read_text().splitlines()
        return next((int(n.split()[1]) * 1024 for n in lines if n.startswith("VmHWM:")), None)
    if sys.platform == "win32":  # has no resource module
        return None
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak * (1 if sys.platform == "darwin" else 1024)
