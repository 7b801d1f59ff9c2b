"""The ranges of the options of a text."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from gpt2xl.constraints.grammar import Grammar
from gpt2xl.errors import RequestError
from gpt2xl.options.orders import checked_order
from gpt2xl.startup.options import checked_integer


class Check(Protocol):
    """Checks the value of an option; returns it in the type that the option declares."""

    def __call__(self, name: str, value: Any) -> Any:
        """Raises RequestError."""


@dataclass(frozen=True)
class Integer:
    """An integer from ``lowest``."""

    lowest: int
    meaning: str = ""

    def __call__(self, name: str, value: Any) -> int:
        """Numpy's integers become Python's: they overflow, and JSON does not know them."""
        return checked_integer(name, value, self.lowest, None, self.meaning)


@dataclass(frozen=True)
class Number:
    """A finite number that ``holds`` what ``range`` says."""

    range: str
    holds: Callable[[float], bool]

    def __call__(self, name: str, value: Any) -> Any:
        """Keeps integers as they are."""
        if is_finite(value) and self.holds(value):
            return value.item() if isinstance(value, np.number) else value
        raise RequestError(f"{name} has to be a number{self.range}, but is {value}.")


@dataclass(frozen=True)
class Optional:
    """None, or what ``check`` takes."""

    check: Check

    def __call__(self, name: str, value: Any) -> Any:
        """See the class."""
        return None if value is None else self.check(name, value)


@dataclass(frozen=True)
class OneOf:
    """One of some values."""

    values: tuple[Any, ...]

    def __call__(self, name: str, value: Any) -> Any:
        """``True`` is not 1 here."""
        for known in self.values:
            if type(known) is type(value) and known == value:
                return known
        shown = ", ".join(map(str, self.values))
        raise RequestError(f"{name} has to be one of {shown}, but is {value!r}.")


def is_finite(value: Any) -> bool:
    """Whether ``value`` is a finite number."""
    try:
        return (
            isinstance(value, int | float | np.number)
            and not isinstance(value, bool)
            and math.isfinite(value)
        )
    except OverflowError:  # an integer beyond float64
        return False


def token_ids(name: str, value: Any) -> tuple[int, ...]:
    """A sequence of ids."""
    if isinstance(value, str | bytes) or not isinstance(
        value, Sequence | np.ndarray | set | frozenset
    ):
        raise RequestError(f"{name} has to be a list of token ids, but is {value!r}.")
    return tuple(checked_integer(name, item, 0) for item in value)


def eos_ids(name: str, value: Any) -> int | tuple[int, ...]:
    """One id, or several."""
    return (
        checked_integer(name, value, 0)
        if isinstance(value, int | np.integer)
        else token_ids(name, value)
    )


def id_sequences(name: str, value: Any) -> tuple[tuple[int, ...], ...]:
    """Several sequences of ids, none of them empty."""
    if isinstance(value, str | bytes) or not isinstance(value, Sequence):
        raise RequestError(f"{name} has to be a list of lists of token ids, but is {value!r}.")
    found = tuple(token_ids(name, item) for item in value)
    if () in found:
        raise RequestError(f"{name} holds an empty list: remove it.")
    return found


def texts(name: str, value: Any) -> tuple[str, ...]:
    """One text, or several; none of them empty."""
    found = (value,) if isinstance(value, str) else value
    if not isinstance(found, tuple | list) or not all(isinstance(item, str) for item in found):
        raise RequestError(f"{name} has to be a text or a list of texts, but is {value!r}.")
    if "" in found:
        raise RequestError(f"{name} holds an empty text: remove it.")
    return tuple(found)


def repetitions(name: str, value: Any) -> int:
    """0, or a number of repetitions."""
    found = checked_integer(name, value, 0, None, " (0 never ends a text)")
    if found == 1:
        raise RequestError(
            f"{name} has to be 0 (never) or >= 2, but is 1: nothing is repeated yet."
        )
    return found


def biases(name: str, value: Any) -> dict[int, float]:
    """A number for each id."""
    if not isinstance(value, Mapping):
        raise RequestError(f"{name} has to map token ids to numbers, but is {value!r}.")
    return {checked_integer(name, key, 0): bias(name, item) for key, item in value.items()}


def sequence_biases(name: str, value: Any) -> dict[tuple[int, ...], float]:
    """A number for each sequence of ids; also as transformers' list of [ids, number]."""
    pairs = value.items() if isinstance(value, Mapping) else value
    try:
        found = {id_sequences(name, [ids])[0]: bias(name, item) for ids, item in pairs}
    except (TypeError, ValueError) as error:
        if isinstance(error, RequestError):
            raise
        raise RequestError(
            f"{name} has to map lists of token ids to numbers, but is {value!r}."
        ) from None
    return found


def decay(name: str, value: Any) -> tuple[int, float]:
    """(start, factor)."""
    if not isinstance(value, tuple | list) or len(value) != 2:
        raise RequestError(f"{name} has to be a pair (start, factor), but is {value!r}.")
    return checked_integer(f"{name}[0]", value[0], 0), positive(f"{name}[1]", value[1])


def functions(name: str, value: Any) -> tuple[Any, ...]:
    """Functions (ids, logits) -> logits."""
    found = tuple(value) if isinstance(value, tuple | list) else None
    if found is None or not all(map(callable, found)):
        raise RequestError(
            f"{name} has to be a tuple of functions (ids, logits) -> logits, but is {value!r}."
        )
    return found


def sampler(name: str, value: Any) -> Any:
    """A function of logits."""
    if not callable(value):
        raise RequestError(f"{name} has to be a function of logits, but is {value!r}.")
    return value


def stopping(name: str, value: Any) -> Any:
    """A function of ids."""
    if not callable(value):
        raise RequestError(f"{name} has to be a function of ids, but is {value!r}.")
    return value


def grammar(name: str, value: Any) -> Grammar:
    """A grammar."""
    if not isinstance(value, Grammar):
        raise RequestError(
            f"{name} has to be a gpt2xl.Grammar, such as Grammar.regex(...), but is {value!r}."
        )
    return value


flag = OneOf((True, False))
bias = Number("", lambda value: True)
positive = Number(" > 0", lambda value: value > 0)
at_least_0 = Number(" >= 0", lambda value: value >= 0)
share = Number(" from 0 to 1", lambda value: 0 <= value <= 1)
positive_share = Number(" > 0 and <= 1", lambda value: 0 < value <= 1)
below_1 = Number(" from 0 to below 1", lambda value: 0 <= value < 1)

CHECKS: Mapping[str, Check] = {
    "max_new_tokens": Optional(Integer(1)),
    "max_length": Optional(Integer(1)),
    "end_at_sentence": flag,
    "min_new_tokens": Integer(0),
    "min_length": Integer(0),
    "max_time": Optional(at_least_0),
    "greedy": flag,
    "do_sample": Optional(flag),
    "seed": Optional(Integer(0)),
    "temperature": Number(" >= 0 (0 is greedy)", lambda value: value >= 0),
    "dynatemp_range": at_least_0,
    "dynatemp_exponent": positive,
    "top_k": Integer(0, " (0 keeps the whole vocabulary)"),
    "top_k_keeps_ties": flag,
    "top_p": positive_share,
    "min_p": share,
    "top_h": Optional(positive_share),
    "typical_p": positive_share,
    "epsilon_cutoff": below_1,
    "eta_cutoff": below_1,
    "top_n_sigma": at_least_0,
    "xtc_probability": share,
    "xtc_threshold": share,
    "mirostat_tau": Optional(positive),
    "mirostat_eta": positive,
    "sampler": Optional(sampler),
    "sampler_order": checked_order,
    "repetition_penalty": Number(" > 0 (1: no penalty)", lambda value: value > 0),
    "repetition_window": Integer(0, " (0 is the whole text)"),
    "presence_penalty": bias,
    "frequency_penalty": bias,
    "no_repeat_ngram_size": Integer(0, " (0 allows all)"),
    "dry_multiplier": at_least_0,
    "dry_base": Number(" >= 1", lambda value: value >= 1),
    "dry_allowed_length": Integer(0),
    "dry_sequence_breakers": texts,
    "dry_window": Integer(0, " (0 is the whole text)"),
    "repetition_detection": repetitions,
    "bad_words_ids": id_sequences,
    "sequence_bias": Optional(sequence_biases),
    "logit_bias": Optional(biases),
    "suppress_tokens": token_ids,
    "begin_suppress_tokens": token_ids,
    "allowed_token_ids": token_ids,
    "forced_eos_token_id": Optional(Integer(0)),
    "exponential_decay_length_penalty": Optional(decay),
    "renormalize_logits": flag,
    "processors": functions,
    "grammar": Optional(grammar),
    "eos_token_id": Optional(eos_ids),
    "ignore_eos": flag,
    "stop_token_ids": token_ids,
    "stop_strings": texts,
    "keep_stop_string": flag,
    "stopping": Optional(stopping),
    "overflow": OneOf(("stop", "slide")),
    "overflow_keep": Integer(0),
    "overflow_window": Optional(Integer(1)),
    "parse_special": flag,
    "token_healing": flag,
    "guidance_scale": positive,
    "prompt_lookup": flag,
    "num_return_sequences": Integer(1),
    "num_beams": Integer(1),
    "num_beam_groups": Integer(1),
    "diversity_penalty": at_least_0,
    "length_penalty": bias,
    "early_stopping": OneOf((True, False, "never")),
    "penalty_alpha": share,
    "logprobs": Optional(Integer(0)),
    "prompt_logprobs": Optional(Integer(0)),
    "processed_logprobs": flag,
}
"""By option; ``negative_prompt`` is checked where its ids are made."""


def checked_values(values: Mapping[str, Any]) -> dict[str, Any]:
    """The checked value of every option in `CHECKS`; raises RequestError."""
    return {name: check(name, values[name]) for name, check in CHECKS.items()}
