"""Beam search and contrastive search of one prompt, as finished texts."""

import time
from collections.abc import Sequence

from gpt2xl.decoding.speculation import Acceptance
from gpt2xl.errors import RequestError
from gpt2xl.options.chains import search_processors
from gpt2xl.options.generation import GenerationOptions
from gpt2xl.preparing import Preparer
from gpt2xl.searches.beam import beam_search
from gpt2xl.searches.contrastive import contrastive_search
from gpt2xl.searches.settings import BeamSettings, ContrastiveSettings, Hypothesis
from gpt2xl.sessions.protocol import Session
from gpt2xl.text.prompts import Prompt
from gpt2xl.text.results import Generation, TextStart, Timings
from gpt2xl.text.stop_strings import StopStrings
from gpt2xl.text.tokenizer import Tokenizer

NOT_IN_SEARCHES = (
    "sampler",
    "mirostat_tau",
    "dynatemp_range",
    "logprobs",
    "prompt_logprobs",
    "max_time",
    "repetition_detection",
    "end_at_sentence",
)
"""Options that work on a text as it is generated, token by token."""


def is_search(options: GenerationOptions) -> bool:
    """Whether texts are compared as a whole, and not generated token by token."""
    return options.num_beams > 1 or options.penalty_alpha > 0


def search(
    preparer: Preparer,
    session: Session,
    tokenizer: Tokenizer,
    prompt: Prompt,
    options: GenerationOptions,
    seed: int | None,
) -> list[Generation]:
    """The ``num_return_sequences`` best texts, the best first.

    Raises:
        RequestError: as `Preparer.prepare`, or an option that searches do not have.
    """
    _check(options)
    begin = time.perf_counter()
    ids = preparer.prompt_ids(prompt, options)
    facts = preparer.facts(ids, options, seed)
    always, shapes = search_processors(options, facts)
    ends = _StopFunction(tokenizer, options, ids)
    stops = ends if options.stop_strings or options.stopping else None
    count, eos = facts.max_length - len(ids), sorted(facts.eos_token_ids)
    if options.num_beams > 1:
        found = beam_search(
            session, ids, beam_settings(options, seed), max_new_tokens=count, eos_token_ids=eos,
            processors=always, warpers=shapes, stops=stops,
        )  # fmt: skip
    else:
        settings = ContrastiveSettings(options.penalty_alpha, options.top_k)
        found = [
            contrastive_search(
                session, ids, settings, max_new_tokens=count, eos_token_ids=eos,
                processors=always, stops=stops,
            )
        ]  # fmt: skip
    timings = Timings(time.perf_counter() - begin, 0.0, None)
    start = TextStart(ids, seed)
    return [_generation(tokenizer, text, options, start, timings) for text in found]


def beam_settings(options: GenerationOptions, seed: int | None) -> BeamSettings:
    """The options of beam search."""
    return BeamSettings(
        num_beams=options.num_beams,
        length_penalty=options.length_penalty,
        early_stopping=options.early_stopping,
        num_return_sequences=options.num_return_sequences,
        num_beam_groups=options.num_beam_groups,
        diversity_penalty=options.diversity_penalty,
        seed=None if options.is_greedy else seed,
    )


def _check(options: GenerationOptions) -> None:
    defaults = GenerationOptions()
    kind = "beam search" if options.num_beams > 1 else "contrastive search"
    for name in NOT_IN_SEARCHES:
        if getattr(options, name) != getattr(defaults, name):
            raise RequestError(
                f"{kind} has no {name}: leave it out, or num_beams and penalty_alpha."
            )
    for name, value in (("overflow", "slide"), ("token_healing", True)):
        if getattr(options, name) == value:
            raise RequestError(
                f"{kind} has no {name}: leave it out, or num_beams and penalty_alpha."
            )


class _StopFunction:
    """Whether new ids end a text."""

    def __init__(
        self, tokenizer: Tokenizer, options: GenerationOptions, ids: Sequence[int]
    ) -> None:
        self._tokenizer, self._options, self._ids = tokenizer, options, ids

    def __call__(self, new_ids: Sequence[int]) -> bool:
        options = self._options
        if options.stopping and options.stopping([*self._ids, *new_ids]):
            return True
        return _cut(self._tokenizer, new_ids, options)[1] is not None


def _cut(
    tokenizer: Tokenizer, ids: Sequence[int], options: GenerationOptions
) -> tuple[str, str | None]:
    """The text of ``ids`` up to a stop string, and that."""
    text = tokenizer.decode([token_id for token_id in ids if token_id in tokenizer])
    stops = StopStrings(options.stop_strings, keeps_found=options.keep_stop_string)
    return stops.add(text) + stops.finish(), stops.found


def _generation(
    tokenizer: Tokenizer,
    found: Hypothesis,
    options: GenerationOptions,
    start: TextStart,
    timings: Timings,
) -> Generation:
    text, stop_string = _cut(tokenizer, found.ids, options)
    return Generation(
        text=text,
        prompt_ids=start.prompt_ids,
        new_ids=found.ids,
        finish_reason=found.finish_reason,
        seed=start.seed,
        timings=timings,
        guesses=Acceptance(),
        stop_string=stop_string,
        score=found.score,
    )
