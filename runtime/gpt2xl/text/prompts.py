"""A text to go on from: the ids that a model can take, or one line on why it cannot."""

from collections.abc import Callable
from functools import partial

from gpt2xl.bundle.config import GPT2Config
from gpt2xl.errors import RequestError
from gpt2xl.text.tokenizer import Tokenizer

# Characters of the first part that is looked at, for each position of the context; English has 4.5 a token.
FIRST_PART_CHARACTERS = 64
GROWTH = 4


def prompt_ids(
    prompt: str, tokenizer: Tokenizer, config: GPT2Config, *, parse_special: bool = True
) -> list[int]:
    """The ids to go on from; those of an empty prompt are beginning-of-text, or end-of-text.

    A text far beyond the context is refused by its beginning: the rest is not tokenized.

    Args:
        prompt: any text.
        tokenizer: of the model.
        config: of the model.
        parse_special: as of `Tokenizer.encode`.

    Raises:
        RequestError: more tokens than the context has positions, an id outside the model's vocabulary, or
            an empty prompt where the model has neither beginning- nor end-of-text.
    """
    encode = partial(tokenizer.encode, parse_special=parse_special)
    _refuse_huge(prompt, encode, config.n_positions, strips_spaces=tokenizer.strips_spaces)
    ids = encode(prompt) or [_start_id(config)]
    if len(ids) > config.n_positions:
        raise RequestError(
            f"the prompt has {len(ids)} tokens, but the model's context is {config.n_positions}: shorten it."
        )
    outside = [token_id for token_id in ids if token_id >= config.vocab_size]
    if outside:
        raise RequestError(
            f"the tokenizer gives id {outside[0]}, but the model's vocabulary is"
            f" {config.vocab_size}: this tokenizer.json belongs to another model."
        )
    return ids


def _refuse_huge(
    prompt: str, encode: Callable[[str], list[int]], n_positions: int, *, strips_spaces: bool
) -> None:
    """Raise RequestError when a part of ``prompt`` alone has twice the tokens that fit.

    Twice, because the last word of a part may be tokenized in another way than in the whole.
    """
    size = FIRST_PART_CHARACTERS * n_positions
    while size < len(prompt):
        part = prompt[:size]
        if strips_spaces:  # a token that follows may take all white space at the end
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
