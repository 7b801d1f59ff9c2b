"""From a prompt and its options to a request of the decode loop, and a transcript of what comes of it."""

from dataclasses import dataclass
from functools import cached_property

from gpt2xl.bundle.config import GPT2Config
from gpt2xl.constraints.constraint import Constraint
from gpt2xl.constraints.healing import Healing, heal
from gpt2xl.constraints.vocabulary import Vocabulary
from gpt2xl.decoding.logprobs import PromptScores
from gpt2xl.decoding.loop import Request
from gpt2xl.decoding.sliding import Slide
from gpt2xl.decoding.speculation import Speculator
from gpt2xl.errors import RequestError, counted
from gpt2xl.options.chains import TextFacts, active_processors, make_chain
from gpt2xl.options.generation import GenerationOptions
from gpt2xl.sessions.protocol import Session
from gpt2xl.text.endings import Endings
from gpt2xl.text.prompts import Prompt, prompt_ids
from gpt2xl.text.results import TextStart, Transcript
from gpt2xl.text.tokenizer import Tokenizer

NEW_TOKENS = 128
"""``max_new_tokens`` where neither it nor ``max_length`` is given."""
SENTENCE_TOKENS = 64
"""Tokens beyond the limit at most, with ``end_at_sentence``."""


@dataclass(frozen=True)
class Prepared:
    """One text, ready to be generated."""

    request: Request
    start: TextStart
    endings: Endings

    def transcript(self, tokenizer: Tokenizer) -> Transcript:
        """For the tokens of `request`; its time begins now."""
        speculator = self.request.speculator
        acceptance = speculator.acceptance if speculator else None
        transcript = Transcript(tokenizer, self.start, self.endings, acceptance)
        if self.request.prompt_scores:
            transcript.prompt_logprobs = self.request.prompt_scores.logprobs
        return transcript


class Preparer:
    """Prepares texts for one model."""

    def __init__(self, config: GPT2Config, tokenizer: Tokenizer, session: Session) -> None:
        self._config, self._tokenizer, self._session = config, tokenizer, session
        self._breaker_ids = dict[tuple[str, ...], frozenset[int]]()

    @cached_property
    def vocabulary(self) -> Vocabulary:
        """The bytes of all ids; takes a moment at first use."""
        return Vocabulary(self._tokenizer, self._config.vocab_size)

    def prepare(
        self,
        prompt: Prompt,
        options: GenerationOptions,
        seed: int | None,
        speculator: Speculator | None = None,
    ) -> Prepared:
        """Check ``prompt`` and ``options`` against the model.

        Args:
            prompt: text or ids.
            options: of the text.
            seed: the sampler's; None where nothing is drawn.
            speculator: of this text; None where nothing is drafted.

        Raises:
            RequestError: the model cannot take the prompt or an option.
        """
        whole = self.prompt_ids(prompt, options)
        ids, healing = self._healed(whole, options)
        facts = self.facts(ids, options, seed, healing)
        request = Request(
            ids,
            make_chain(options, facts),
            max_new_tokens=self._last_length(facts.max_length, options) - len(ids),
            eos_token_ids=facts.eos_token_ids,
            logprobs=options.logprobs,
            processed_logprobs=options.processed_logprobs,
            prompt_scores=_scores(ids, options),
            slide=self._slide(options),
            speculator=speculator,
        )
        start = TextStart(whole, seed, len(healing.removed) if healing else 0)
        return Prepared(request, start, self._endings(options, facts, ids))

    def active_processors(self, prompt: Prompt, options: GenerationOptions) -> list[str]:
        """The names of a text's logits processors, in their order."""
        ids, healing = self._healed(self.prompt_ids(prompt, options), options)
        return active_processors(options, self.facts(ids, options, None, healing))

    def _healed(
        self, ids: list[int], options: GenerationOptions
    ) -> tuple[list[int], Healing | None]:
        return heal(ids, self.vocabulary) if options.token_healing else (ids, None)

    def prompt_ids(self, prompt: Prompt, options: GenerationOptions) -> list[int]:
        """The ids of a prompt; raises RequestError where the model cannot take it."""
        return prompt_ids(
            prompt, self._tokenizer, self._config, parse_special=options.parse_special
        )

    def facts(
        self,
        ids: list[int],
        options: GenerationOptions,
        seed: int | None,
        healing: Healing | None = None,
    ) -> TextFacts:
        """What the logits processors of a text after ``ids`` have to know."""
        eos = self._eos_token_ids(options)
        constraint, healed = None, len(healing.removed_ids) if healing else 0
        if options.grammar:
            constraint = Constraint(options.grammar, self.vocabulary, len(ids), eos)
        return TextFacts(
            prompt_length=len(ids),
            max_length=self._max_length(len(ids) + healed, options),
            eos_token_ids=eos,
            session=self._session,
            negative_ids=self._negative_ids(ids, options),
            seed=seed,
            suppressed=(
                *options.suppress_tokens,
                *(sorted(eos - {*options.stop_token_ids}) if options.ignore_eos else ()),
            ),
            sequence_breakers=self._breakers(options),
            least_kept=1 + max(1, len(eos)) if options.num_beams > 1 else 1,
            grammar=constraint,
            token_healing=healing,
        )

    def _max_length(self, prompt_length: int, options: GenerationOptions) -> int:
        new, most = options.max_new_tokens, options.max_length
        if new is not None or most is None:
            most = prompt_length + (NEW_TOKENS if new is None else new)
        if most <= prompt_length:
            raise RequestError(
                f"max_length is {most}, but the prompt alone has {counted(prompt_length, 'token')}: it counts both;"
                " max_new_tokens counts new ones only."
            )
        return self._within_context(most, options)

    def _last_length(self, limit: int, options: GenerationOptions) -> int:
        """Tokens of prompt and text at which the text is cut, whether or not a sentence has ended."""
        further = SENTENCE_TOKENS if options.end_at_sentence else 0
        return self._within_context(limit + further, options)

    def _within_context(self, length: int, options: GenerationOptions) -> int:
        if options.overflow == "slide":
            return length
        return min(length, self._config.n_positions + 1)  # the last token is not fed back

    def _eos_token_ids(self, options: GenerationOptions) -> frozenset[int]:
        own = options.eos_token_id
        if own is None:
            eos = self._config.eos_token_ids
        else:
            eos = frozenset((own,) if isinstance(own, int) else own)
        return eos | frozenset(options.stop_token_ids)

    def _negative_ids(self, ids: list[int], options: GenerationOptions) -> list[int]:
        if options.negative_prompt is None:
            return ids[-1:]
        return self.prompt_ids(options.negative_prompt, options)

    def _breakers(self, options: GenerationOptions) -> frozenset[int]:
        """Ids whose text holds a sequence breaker of DRY."""
        if not options.dry_multiplier:
            return frozenset()
        texts = options.dry_sequence_breakers
        if (
            texts not in self._breaker_ids
        ):  # all tokens are looked at, which takes as long as a step
            breakers = [text.encode() for text in texts]
            tokens = enumerate(self.vocabulary.tokens)
            found = (i for i, token in tokens if any(text in token for text in breakers))
            self._breaker_ids[texts] = frozenset(found)
        return self._breaker_ids[texts]

    def _slide(self, options: GenerationOptions) -> Slide | None:
        if options.overflow != "slide":
            return None
        context, keep = self._config.n_positions, options.overflow_keep
        window = (
            max(1, context // 2) if options.overflow_window is None else options.overflow_window
        )
        if keep + window >= context:
            raise RequestError(
                f"overflow_keep {keep} and overflow_window {window} have to be less than the context, {context},"
                " together: lower one of them."
            )
        return Slide(keep, window, context)

    def _endings(self, options: GenerationOptions, facts: TextFacts, ids: list[int]) -> Endings:
        grammar, can_end = facts.grammar, facts.eos_token_ids and not options.ignore_eos
        return Endings(
            stop_strings=options.stop_strings,
            keep_stop_string=options.keep_stop_string,
            stopping=options.stopping,
            # Without end-of-text it could not end otherwise.
            is_finished=grammar.is_finished if grammar and not can_end else None,
            context_ids=ids,
            max_time=options.max_time,
            repetition_detection=options.repetition_detection,
            sentence_after=facts.max_length - len(ids) if options.end_at_sentence else None,
        )


def _scores(ids: list[int], options: GenerationOptions) -> PromptScores | None:
    return None if options.prompt_logprobs is None else PromptScores(ids, options.prompt_logprobs)
