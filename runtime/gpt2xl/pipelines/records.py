"""The form of results: transformers' list of dicts."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypedDict

from gpt2xl.errors import RequestError
from gpt2xl.model import Model
from gpt2xl.options.generation import GenerationOptions
from gpt2xl.text.prompts import Prompt
from gpt2xl.text.results import Generation

FORM_OPTIONS = frozenset({
    "return_full_text", "return_text", "return_tensors", "skip_special_tokens", "clean_up_tokenization_spaces",
})  # fmt: skip


class Record(TypedDict, total=False):
    """One text: has one of the two keys."""

    generated_text: str
    generated_token_ids: list[int]


@dataclass(frozen=True)
class Form:
    """What a record holds."""

    full_text: bool = True
    """Whether the prompt stands before the new text."""
    ids: bool = False
    """Ids of prompt and text, instead of the text."""
    skip_special_tokens: bool = True


def form_of(given: Mapping[str, Any]) -> Form:
    """The form that the options of a call ask for; raises RequestError for two that clash."""
    for name in FORM_OPTIONS:
        if given.get(name) not in (None, True, False):
            raise RequestError(f"{name} has to be True or False, but is {given[name]!r}.")
    chosen = [
        name
        for name in ("return_full_text", "return_text", "return_tensors")
        if given.get(name) is not None
    ]
    if len(chosen) > 1:
        raise RequestError(f"{chosen[0]} and {chosen[1]} exclude each other: give only one.")
    if given.get("return_text") is False:
        raise RequestError("return_text=False leaves nothing to return: give return_tensors=True.")
    return Form(
        full_text=given.get("return_full_text") is not False,
        ids=given.get("return_tensors") is True,
        skip_special_tokens=given.get("skip_special_tokens") is not False,
    )


def record_of(
    form: Form, prompt: Prompt, generation: Generation, model: Model, options: GenerationOptions
) -> Record:
    """What a call returns for one text; ``prompt`` is as the caller gave it."""
    end = _end(generation, model, options)
    if form.ids:
        return {"generated_token_ids": [*generation.prompt_ids, *generation.new_ids, *end]}
    text = _new_text(form, generation, model, end)
    if not form.full_text:
        return {"generated_text": text}
    before = prompt if isinstance(prompt, str) else model.tokenizer.decode(prompt)
    return {"generated_text": before + text}


def _new_text(form: Form, generation: Generation, model: Model, end: Sequence[int]) -> str:
    """As transformers' decoding of all new ids; an end-of-text that is no special token is part of it."""
    tokenizer = model.tokenizer
    skipped = tokenizer.special_ids if form.skip_special_tokens else frozenset[int]()
    text = generation.text
    if not skipped.isdisjoint(generation.new_ids):
        shown = (i for i in generation.new_ids if i in tokenizer and i not in skipped)
        text = tokenizer.decode(shown)
    return text + tokenizer.decode(i for i in end if i in tokenizer and i not in skipped)


def _end(generation: Generation, model: Model, options: GenerationOptions) -> list[int]:
    """The id that ended the text, where end-of-text did and there is only one such id."""
    own = options.eos_token_id
    eos = model.config.eos_token_ids if own is None else ({own} if isinstance(own, int) else {*own})
    ended = generation.finish_reason == "stop" and generation.stop_string is None
    if not ended or options.stopping or options.stop_token_ids or len(eos) != 1:
        return []
    return list(eos)
