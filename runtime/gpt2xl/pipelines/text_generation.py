"""The pipeline "text-generation"."""

from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Literal, Unpack, cast, overload

import numpy as np

from gpt2xl.errors import RequestError
from gpt2xl.model import Model
from gpt2xl.options.generation import GenerationOptions
from gpt2xl.pipelines.calls import Call, call_of, merged
from gpt2xl.pipelines.fields import CHAT
from gpt2xl.pipelines.keywords import TextGenerationKeywords
from gpt2xl.pipelines.records import Record, record_of
from gpt2xl.pipelines.seeds import SEEDS
from gpt2xl.searching import is_search
from gpt2xl.text.prompts import Prompt
from gpt2xl.text.results import Generation

Records = list[Record]


class TextGenerationPipeline:
    """Continues texts: takes the calls of transformers' class of this name, and returns what it returns.

    Where a call, a ``generation_config`` and the model's generation_config.json say nothing, transformers' defaults hold:
    ``do_sample=True``, ``temperature=0.7``, ``top_k=50``, and ``max_new_tokens=256`` unless ``max_length`` is given; a stop
    string stays in the text. Any other option of `GenerationOptions` may be given, too.

    >>> from gpt2xl import pipeline
    >>> generator = pipeline("text-generation", model=model)
    >>> generator("Once upon a time", do_sample=False, max_new_tokens=4)
    [{'generated_text': 'Once upon a time, there was a'}]
    >>> generator(["Once", "The king"], return_full_text=False, do_sample=False, max_new_tokens=2)
    [[{'generated_text': ' upon a'}], [{'generated_text': ' and the'}]]
    """

    task: Literal["text-generation"] = "text-generation"

    def __init__(self, model: Model, **options: Unpack[TextGenerationKeywords]) -> None:
        """Keep ``options`` for all calls; raises as a call does.

        Args:
            model: generates the texts.
            **options: of each call that does not give others.
        """
        self.model = model
        self.tokenizer = model.tokenizer
        self._options = cast(Mapping[str, object], options)
        call_of(model, self._options)

    def __repr__(self) -> str:
        return f"<TextGenerationPipeline of {self.model!r}>"

    @property
    def device(self) -> str:
        """Where the model runs: "cpu" or "cuda"."""
        return self.model.device

    @overload
    def __call__(
        self, text_inputs: str | list[int], **options: Unpack[TextGenerationKeywords]
    ) -> Records: ...

    @overload
    def __call__(
        self,
        text_inputs: list[str] | tuple[str, ...] | list[list[int]],
        **options: Unpack[TextGenerationKeywords],
    ) -> list[Records]: ...

    @overload
    def __call__(
        self, text_inputs: Iterator[Prompt], **options: Unpack[TextGenerationKeywords]
    ) -> Iterator[Records]: ...

    def __call__(
        self,
        text_inputs: Prompt | Iterable[Prompt],
        **options: Unpack[TextGenerationKeywords],
    ) -> Records | list[Records] | Iterator[Records]:
        """Continue one prompt or several.

        Args:
            text_inputs: a text, a list of texts, or an iterator of texts, which is read as rows become free. Token ids
                stand for a text everywhere.
            **options: fields of `GenerationOptions`, those of transformers' GenerationConfig that concern GPT-2, and:
                return_full_text (False leaves the prompt out), return_tensors (ids in place of text), prefix,
                truncation, handle_long_generation="hole", stop_sequence, generation_config, batch_size (rows of a
                step, 16), skip_special_tokens, tokenizer_encode_kwargs.

        Returns:
            For a text a list of ``{"generated_text": str}``, one for each of ``num_return_sequences``; for a list of texts a
            list of such lists; for an iterator an iterator of them. With ``return_tensors=True`` the dicts are
            ``{"generated_token_ids": list[int]}``, without padding.

        Raises:
            TypeError: an option that does not exist; names the closest one.
            RequestError: an option out of its range, options that clash, one that this library does not have, a chat,
                or a prompt that the model cannot take.
        """
        call = call_of(self.model, merged(self._options, cast(Mapping[str, object], options)))
        if _is_one(text_inputs):
            return next(self._results(iter([cast(Prompt, text_inputs)]), call, is_single=True))
        if not isinstance(text_inputs, Iterable):
            raise RequestError(
                f"a prompt is a text or a list of texts, but this one is {text_inputs!r}."
            )
        results = self._results(map(_checked, cast(Iterable[Prompt], text_inputs)), call)
        return list(results) if isinstance(text_inputs, list | tuple) else results

    def _results(
        self, prompts: Iterator[Prompt], call: Call, *, is_single: bool = False
    ) -> Iterator[Records]:
        options = call.options
        if options.draws and options.seed is None:
            options = replace(options, seed=SEEDS.draw())
        waiting = deque[Prompt]()
        fed = _fed(prompts, waiting, call, self.model)
        for generations in self._generations(fed, options, 1 if is_single else call.rows, call):
            prompt = waiting.popleft()
            yield [record_of(call.form, prompt, g, self.model, options) for g in generations]

    def _generations(
        self, prompts: Iterator[Prompt], options: GenerationOptions, rows: int, call: Call
    ) -> Iterator[list[Generation]]:
        """The texts of each prompt; the one of number n of all has the seed plus n, a search that of its prompt."""
        count = options.num_return_sequences
        if is_search(options) or (rows == 1 and count == 1):
            for number, prompt in enumerate(prompts):
                seed = None if options.seed is None else options.seed + number
                yield self.model.generate_sequences(prompt, replace(options, seed=seed))
            return
        repeated = (prompt for prompt in prompts for _ in range(count))
        single = replace(options, num_return_sequences=1)
        rows = min(call.rows, count) if rows == 1 else rows
        yield from _in_order(self.model.generate_batch(repeated, single, rows=rows), count)


def _fed(
    prompts: Iterator[Prompt], waiting: deque[Prompt], call: Call, model: Model
) -> Iterator[Prompt]:
    """What the model gets; each prompt is put into ``waiting`` when it is read."""
    for prompt in prompts:
        waiting.append(prompt)
        yield call.prompt.fed(prompt, model, call.options)


def _in_order(found: Iterator[tuple[int, Generation]], count: int) -> Iterator[list[Generation]]:
    """Groups of ``count`` generations by their numbers, from 0.

    >>> list(_in_order(iter([(1, "b"), (0, "a"), (2, "c"), (3, "d")]), 2))
    [['a', 'b'], ['c', 'd']]
    """
    early, first = dict[int, Generation](), 0
    for number, generation in found:
        early[number] = generation
        while all(first + k in early for k in range(count)):
            yield [early.pop(first + k) for k in range(count)]
            first += count


def _is_one(inputs: object) -> bool:
    """Whether ``inputs`` is one prompt: a text or ids; raises RequestError for a chat."""
    if isinstance(inputs, str | bytes | np.ndarray):
        return True
    if not isinstance(inputs, list | tuple):
        return False
    for item in inputs[:1]:
        _checked(item)
        return isinstance(item, int | np.integer)
    return False


def _checked(prompt: Prompt) -> Prompt:
    """``prompt``; raises RequestError where it is a chat or one of its messages."""
    first = next(iter(prompt), None) if isinstance(prompt, list | tuple) else None
    if isinstance(prompt, Mapping) or isinstance(first, Mapping):
        raise RequestError(f"chat messages are not supported: {CHAT}.")
    return prompt
