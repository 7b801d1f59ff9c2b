"""Options of a text: names, meanings and validation. Those of loading are in startup/options.py, and available here."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from difflib import get_close_matches
from typing import Any, TypedDict, TypeVar

import numpy as np

from gpt2xl.decoding.chain import Chain
from gpt2xl.decoding.samplers import Categorical, Sampler, greedy
from gpt2xl.errors import RequestError
from gpt2xl.processors.penalties import no_repeat_ngram, repetition_penalty
from gpt2xl.processors.protocol import LogitsProcessor
from gpt2xl.processors.scaling import temperature
from gpt2xl.processors.truncation import top_k
from gpt2xl.startup.options import LoadKeywords, LoadOptions, checked_integer

__all__ = ["GenerationKeywords", "GenerationOptions", "LoadKeywords", "LoadOptions", "updated"]

Options = TypeVar("Options", "GenerationOptions", LoadOptions)


@dataclass(frozen=True, kw_only=True)
class GenerationOptions:
    """How a text is generated.

    Logits pass through these in order: ``repetition_penalty``, ``no_repeat_ngram_size``, ``processors``,
    ``top_k``, ``temperature``, then ``sampler``.

    >>> GenerationOptions(temperature=-1)
    Traceback (most recent call last):
    gpt2xl.errors.RequestError: temperature has to be a number >= 0 (0 is greedy), but is -1.
    """

    max_new_tokens: int = 128
    """Tokens to generate at most. Reaching the context limit ends a text earlier, with finish_reason "length"."""
    greedy: bool = False
    """Always choose the most probable token: top_k, temperature and seed have no effect."""
    top_k: int = 40
    """Sample from the k most probable tokens; 0, or more than there are, is the whole vocabulary."""
    temperature: float = 0.8
    """0 is greedy; the higher, the more random."""
    repetition_penalty: float = 1.0
    """Above 1, tokens that the prompt or the text holds become less probable."""
    no_repeat_ngram_size: int = 0
    """No sequence of so many tokens occurs twice, prompt included; 0 allows all."""
    seed: int | None = None
    """The same seed gives the same text; None draws a seed, which the result names."""
    parse_special: bool = True
    """Whether the prompt may spell special tokens such as <|endoftext|>; False for untrusted text."""
    prompt_lookup: bool = True
    """Without a draft model, draft tokens by matching earlier n-grams. Never changes the text."""
    logprobs: int | None = None
    """Number of most probable tokens to report with each token and its own log-probability; None: no report."""
    processors: tuple[LogitsProcessor, ...] = ()
    """Logits processors of your own; each call gets the ids so far and the logits, which it must not change."""
    sampler: Sampler | None = None
    """Chooses the id in place of the seeded draw, from the processed logits (excluded ids are at -inf). All texts of
    a batch share it, so it should keep no state."""

    def __post_init__(self) -> None:
        """Validate.

        Raises:
            RequestError: names the option, its value and its range.
        """
        # Stored as Python's own: numpy's integers overflow, and JSON does not know them.
        for name, lowest, meaning in (
            ("max_new_tokens", 1, ""),
            ("top_k", 0, " (0 keeps the whole vocabulary)"),
            ("no_repeat_ngram_size", 0, " (0 allows all)"),
            ("seed", 0, ""),
            ("logprobs", 0, ""),
        ):
            if (value := getattr(self, name)) is not None or name not in ("seed", "logprobs"):
                object.__setattr__(self, name, checked_integer(name, value, lowest, None, meaning))
        self._check_functions()
        if not (_is_finite(self.temperature) and self.temperature >= 0):
            raise RequestError(
                f"temperature has to be a number >= 0 (0 is greedy), but is {self.temperature}."
            )
        if not (_is_finite(self.repetition_penalty) and self.repetition_penalty > 0):
            raise RequestError(
                "repetition_penalty has to be a number > 0 (1: no penalty),"
                f" but is {self.repetition_penalty}."
            )
        if self.sampler is not None and (self.greedy or self.temperature == 0):
            raise RequestError(
                "greedy (or temperature 0) and a sampler exclude each other: give only one."
            )

    def _check_functions(self) -> None:
        object.__setattr__(self, "processors", _checked_processors(self.processors))
        if self.sampler is not None and not callable(self.sampler):
            raise RequestError(f"sampler has to be a function of logits, but is {self.sampler!r}.")

    @property
    def draws(self) -> bool:
        """Whether a seed has an effect."""
        return self.sampler is None and not self.greedy and self.temperature > 0

    def chain(self, seed: int | None) -> Chain:
        """What chooses the tokens of one text; ``seed`` is needed where `draws`."""
        sampler = self.sampler or (Categorical(seed or 0) if self.draws else greedy)
        is_greedy = self.sampler is None and not self.draws
        shape = () if is_greedy else self._top_k_and_temperature()
        # They may change which logits are the largest, so with them all logits are needed.
        reordering = self._penalties() + self.processors
        needed = 0 if reordering or self.sampler else 1 if is_greedy else self.top_k
        draft = None
        if self.processors or self.sampler:
            draft = Chain(self._penalties() + shape, greedy if self.sampler else sampler)
        return Chain(reordering + shape, sampler, needed, draft)

    def _penalties(self) -> tuple[LogitsProcessor, ...]:
        penalties = []
        if self.repetition_penalty != 1:
            penalties.append(repetition_penalty(self.repetition_penalty))
        if self.no_repeat_ngram_size:
            penalties.append(no_repeat_ngram(self.no_repeat_ngram_size))
        return tuple(penalties)

    def _top_k_and_temperature(self) -> tuple[LogitsProcessor, ...]:
        # Temperature keeps the order of logits, so top-k may come first, which leaves fewer to divide.
        selection = (top_k(self.top_k),) if self.top_k else ()
        return (*selection, temperature(self.temperature))


class GenerationKeywords(TypedDict, total=False):
    """The fields of `GenerationOptions` as keyword arguments."""

    max_new_tokens: int
    greedy: bool
    top_k: int
    temperature: float
    repetition_penalty: float
    no_repeat_ngram_size: int
    seed: int | None
    parse_special: bool
    prompt_lookup: bool
    logprobs: int | None
    processors: tuple[LogitsProcessor, ...]
    sampler: Sampler | None


def updated(options: Options, keywords: Mapping[str, Any]) -> Options:
    """``options`` with the fields that ``keywords`` name.

    >>> updated(GenerationOptions(seed=1), {"topk": 3})
    Traceback (most recent call last):
    TypeError: there is no option 'topk'; did you mean 'top_k'?

    Raises:
        TypeError: a keyword that is no field.
        RequestError: a value out of range.
    """
    if not isinstance(options, GenerationOptions | LoadOptions):
        raise TypeError(f"options have to be GenerationOptions or LoadOptions, not {options!r}.")
    names = [field.name for field in fields(options)]
    for name in keywords:
        if name not in names:
            close = get_close_matches(name, names, 1, 0.5)
            hint = f"did you mean '{close[0]}'?" if close else f"there are: {', '.join(names)}."
            raise TypeError(f"there is no option '{name}'; {hint}")
    return replace(options, **keywords)


def _checked_processors(processors: object) -> tuple[LogitsProcessor, ...]:
    found = tuple(processors) if isinstance(processors, tuple | list) else None
    if found is None or not all(map(callable, found)):
        raise RequestError(
            f"processors has to be a tuple of functions (ids, logits) -> logits, but is {processors!r}."
        )
    return found


def _is_finite(value: float) -> bool:
    try:
        return isinstance(value, int | float | np.number) and math.isfinite(value)
    except OverflowError:  # an integer beyond float64
        return False
