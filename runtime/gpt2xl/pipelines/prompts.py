"""What a pipeline feeds for a prompt: with a prefix, truncated, or with room for the new text."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from gpt2xl.errors import RequestError
from gpt2xl.model import Model
from gpt2xl.options.generation import GenerationOptions
from gpt2xl.startup.options import checked_integer
from gpt2xl.text.prompts import Prompt, text_ids

PROMPT_OPTIONS = frozenset({
    "prefix", "truncation", "add_special_tokens", "tokenizer_encode_kwargs", "handle_long_generation",
})  # fmt: skip
OF_TOKENIZER = frozenset({"truncation", "max_length", "add_special_tokens", "padding"})
TRUNCATIONS = {
    True: True, "longest_first": True, "only_first": True, False: False, "do_not_truncate": False,
}  # fmt: skip
"""transformers' names, and whether a prompt is truncated."""


@dataclass(frozen=True)
class PromptRules:
    """How prompts become what is fed."""

    prefix: str = ""
    """Stands before each prompt, but not in the result."""
    truncates: bool = False
    max_length: int | None = None
    """Tokens that truncation leaves, from the first on; None: the context."""
    leaves_room: bool = False
    """Whether a prompt loses its beginning where the new text would not fit the context."""
    add_special_tokens: bool = True

    def prefix_length(self, model: Model) -> int:
        """Tokens of the prefix."""
        return len(model.tokenizer.encode(self.prefix)) if self.prefix else 0

    def fed(self, prompt: Prompt, model: Model, options: GenerationOptions) -> Prompt:
        """What the model gets for ``prompt``; raises RequestError where no room can be made."""
        if isinstance(prompt, str):
            prompt = self.prefix + prompt
            if not self.add_special_tokens:
                prompt = model.tokenizer.encode(
                    prompt, parse_special=options.parse_special, add_special_tokens=False
                )
        elif self.prefix:
            raise RequestError(
                "prefix is for prompts that are texts: put its ids before the prompt's."
            )
        if not (self.truncates or self.leaves_room):
            return prompt
        ids = text_ids(prompt, model.tokenizer, model.config, parse_special=options.parse_special)
        if self.truncates:
            ids = ids[: self.max_length or model.config.n_positions]
        return _with_room(ids, options, model.config.n_positions) if self.leaves_room else ids


def prompt_rules(given: Mapping[str, Any]) -> PromptRules:
    """The rules that the options of a call give; raises RequestError for a value that transformers does not take."""
    of_tokenizer = given.get("tokenizer_encode_kwargs") or {}
    for name in of_tokenizer:
        if name not in OF_TOKENIZER:
            raise RequestError(
                f"tokenizer_encode_kwargs takes {', '.join(sorted(OF_TOKENIZER))}, but has {name}: leave it out."
            )
    values = {name: given[name] for name in OF_TOKENIZER if given.get(name) is not None}
    return _rules(given, values | of_tokenizer)


def truncates(value: object) -> bool:
    """Whether transformers' option ``truncation`` asks for it; raises RequestError for another value."""
    if not isinstance(value, bool | str | None) or (value is not None and value not in TRUNCATIONS):
        raise RequestError(f"truncation has to be True or False, but is {value!r}.")
    return value is not None and TRUNCATIONS[value]


def _rules(given: Mapping[str, Any], of_tokenizer: Mapping[str, Any]) -> PromptRules:
    long = given.get("handle_long_generation")
    if long not in (None, "hole"):
        raise RequestError(
            f"handle_long_generation has to be None or 'hole', but is {long!r}; overflow='slide' goes on"
            " past the context."
        )
    prefix = given.get("prefix") or ""
    if not isinstance(prefix, str):
        raise RequestError(f"prefix has to be a text, but is {prefix!r}.")
    length = of_tokenizer.get("max_length")
    return PromptRules(
        prefix,
        truncates(of_tokenizer.get("truncation")),
        None if length is None else checked_integer("max_length", length, 1),
        long == "hole",
        of_tokenizer.get("add_special_tokens") is not False,
    )


def _with_room(ids: list[int], options: GenerationOptions, n_positions: int) -> list[int]:
    """The end of ``ids`` that leaves room for the new text. Source: ``"hole"`` of transformers' pipeline."""
    new = options.max_new_tokens
    if new is None:
        new = (options.max_length or 0) - len(ids)
    if not 0 <= new < n_positions:
        raise RequestError(
            f"handle_long_generation 'hole' cannot make room for {new} new tokens in a context of {n_positions}:"
            " give a smaller max_new_tokens."
        )
    return ids[-(n_positions - new) :]
