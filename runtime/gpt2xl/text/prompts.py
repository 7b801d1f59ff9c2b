"""Prompts: the token ids that a model can continue, or one line on why it cannot."""

from collections.abc import Callable, Iterable, Sequence
from functools import partial

import numpy as np

from gpt2xl.bundle.config import GPT2Config
from gpt2xl.errors import RequestError
from gpt2xl.text.tokenizer import Tokenizer

Prompt = str | Sequence[int]
"""A text, or token ids, which are taken as they are."""
# Characters of the first part that is tokenized, for each position of the context; English has 4.5 a token.
FIRST_PART_CHARACTERS = 64
GROWTH = 4


def prompt_ids(
    prompt: Prompt, tokenizer: Tokenizer, config: GPT2Config, *, parse_special: bool = True
) -> list[int]:
    """The ids to continue; those of an empty prompt are beginning-of-text, or else end-of-text.

    A text far beyond the context is refused after its first part: the rest is not tokenized.

    Args:
        prompt: a text, or token ids.
        tokenizer: the model's.
        config: the model's.
        parse_special: as in `Tokenizer.encode`; has no effect on ids.

    Raises:
        RequestError: more tokens than the context has positions, an id outside the model's vocabulary, an
            empty prompt where the model has neither beginning- nor end-of-text, or no prompt at all.
    """
    if isinstance(prompt, str):
        encode = partial(tokenizer.encode, parse_special=parse_special)
        _refuse_huge(prompt, encode, config.n_positions, strips_spaces=tokenizer.strips_spaces)
    ids = text_ids(prompt, tokenizer, config, parse_special=parse_special) or [_start_id(config)]
    if len(ids) > config.n_positions:
        raise RequestError(
            f"the prompt has {len(ids)} tokens, but the model's context is {config.n_positions}: shorten it."
        )
    return ids


def text_ids(
    text: Prompt, tokenizer: Tokenizer, config: GPT2Config, *, parse_special: bool = True
) -> list[int]:
    """The ids of a text of any length; arguments as of `prompt_ids`.

    Raises:
        RequestError: an id outside the model's vocabulary, or no text at all.
    """
    if isinstance(text, str):
        ids = tokenizer.encode(text, parse_special=parse_special)
        origin, remedy = "the tokenizer gives", "this tokenizer.json belongs to another model"
    else:
        ids, origin = _checked(text), "the prompt holds"
        remedy = f"ids go from 0 to {config.vocab_size - 1}"
    outside = [token_id for token_id in ids if not 0 <= token_id < config.vocab_size]
    if outside:
        raise RequestError(
            f"{origin} id {outside[0]}, but the model's vocabulary is {config.vocab_size}: {remedy}."
        )
    return ids


def check_prompts(prompts: Iterable[Prompt]) -> None:
    """Refuse one prompt where several are meant.

    Raises:
        RequestError: ``prompts`` is a text, bytes or not iterable.
    """
    if isinstance(prompts, str | bytes):
        raise RequestError(
            f"generate_batch takes a list of prompts, but got one text: write [{_shown(prompts)}],"
            " or use generate."
        )
    if not isinstance(prompts, Iterable):
        raise RequestError(
            f"generate_batch takes a list of prompts, but got {type(prompts).__name__}."
        )


def _checked(prompt: Sequence[int]) -> list[int]:
    if isinstance(prompt, bytes | bytearray):
        raise RequestError(f"the prompt is bytes: decode it, {_shown(prompt)}.decode().")
    if not isinstance(prompt, Iterable):
        raise RequestError(
            "a prompt is a text or a list of token ids, but this one is"
            f" {_shown(prompt)} ({type(prompt).__name__})."
        )
    ids = list(prompt)
    for item in ids:
        if isinstance(item, bool) or not isinstance(item, int | np.integer):
            several = ": for several prompts use generate_batch" if isinstance(item, str) else ""
            raise RequestError(
                "a prompt is a text or a list of token ids, but this list holds"
                f" {_shown(item)}{several}."
            )
    return [int(item) for item in ids]


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:37]}..."


def _refuse_huge(
    prompt: str, encode: Callable[[str], list[int]], n_positions: int, *, strips_spaces: bool
) -> None:
    """Raise RequestError when a part of ``prompt`` alone has twice the tokens that fit.

    Twice, because the last word of a part may be tokenized differently than in the whole.
    """
    size = FIRST_PART_CHARACTERS * n_positions
    while size < len(prompt):
        part = prompt[:size]
        if strips_spaces:  # an added token may take all white space before it along
            part = part.rstrip()
        if len(encode(part)) > 2 * n_positions:
            raise RequestError(
                f"the prompt has over {2 * n_positions} tokens ({len(prompt)} characters), but the model's"
                f" context is {n_positions}: shorten it."
            )
        size *= GROWTH


def _start_id(config: GPT2Config) -> int:
    bos, eos = config.bos_token_id, sorted(config.eos_token_ids)
    known = [i for i in (bos, *eos) if i is not None and i < config.vocab_size]
    if not known:
        raise RequestError(
            "the prompt is empty and the model has no beginning- or end-of-text to start from."
        )
    return known[0]
