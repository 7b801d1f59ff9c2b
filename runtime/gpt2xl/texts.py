"""Generates the texts of one model: streams, batches and searches."""

from collections.abc import Callable, Container, Generator, Iterable, Iterator
from dataclasses import replace
from functools import cached_property, partial
from pathlib import Path
from warnings import warn
from weakref import WeakKeyDictionary

from gpt2xl.batcher import Batcher, check_is_one_text, drawn_seed
from gpt2xl.bundle.bundle import Bundle
from gpt2xl.bundle.config import GPT2Config
from gpt2xl.bundle.remedies import draft_remedy, row_remedy
from gpt2xl.decoding.context import Context
from gpt2xl.decoding.drafting import Drafter, DraftModel, PromptLookup
from gpt2xl.decoding.loop import Request, Token, generate_tokens
from gpt2xl.decoding.prefix_cache import PrefixCache
from gpt2xl.decoding.prefix_reuse import PrefixReuse
from gpt2xl.decoding.prompt_cache import bundle_id, load_context, save_context
from gpt2xl.decoding.scheduler import PROMPT_TOKENS_PER_STEP, Scheduler
from gpt2xl.decoding.speculation import Experience
from gpt2xl.errors import Gpt2xlWarning, RequestError
from gpt2xl.options.generation import GenerationOptions
from gpt2xl.preparing import Preparer
from gpt2xl.searching import is_search, search
from gpt2xl.sessions.cancellation import Cancellation
from gpt2xl.sessions.exactness import Exactness
from gpt2xl.sessions.protocol import Session
from gpt2xl.speculating import Speculation
from gpt2xl.text.prompts import Prompt
from gpt2xl.text.results import Generation
from gpt2xl.text.streams import Stream
from gpt2xl.text.tokenizer import Tokenizer

SEQUENCE_ROWS = 16  # texts of one prompt that share each step, at most
PROMPT_TOKENS_BETWEEN_TOKENS = 144
"""Tokens of prompts that the next token of other texts waits for, where somebody reads along."""


class Texts:
    """What `Model` generates with; options come to it complete."""

    def __init__(
        self, config: GPT2Config, tokenizer: Tokenizer, session: Session, bundle: Bundle | None
    ) -> None:
        self._config, self._tokenizer, self._session = config, tokenizer, session
        self._bundle = bundle
        self._preparer = Preparer(config, tokenizer, session)
        exactness = self.exactness  # a closure over self would keep a dropped model in memory
        self.reuse = PrefixReuse(session, lambda: exactness.may_reuse_prompts)
        """The KV cache of the last text."""
        self._experience = WeakKeyDictionary[Texts, Experience]()  # by the model that drafts
        self._warned = set[str]()

    @cached_property
    def exactness(self) -> Exactness:
        """Which steps may be merged without changing a text."""
        is_float32 = self._bundle is not None and self._bundle.is_float32
        return Exactness(self._session, is_float32=is_float32)

    @property
    def shares_steps(self) -> bool:
        """See `Model.shares_steps`."""
        return self._session.shares_steps and self.exactness.may_share_rows

    def active_processors(self, prompt: Prompt, options: GenerationOptions) -> list[str]:
        """See `Model.active_processors`."""
        return self._preparer.active_processors(prompt, options)

    def search(
        self, prompt: Prompt, options: GenerationOptions, draft: "Texts | None"
    ) -> list[Generation]:
        """The best texts of beam search or contrastive search, the best first."""
        if draft is not None:
            raise RequestError(
                "beam search and contrastive search use no draft model: leave draft out."
            )
        return search(
            self._preparer, self._session, self._tokenizer, prompt, options, drawn_seed(options)
        )

    def stream(self, prompt: Prompt, options: GenerationOptions, draft: "Texts | None") -> Stream:
        """See `Model.stream`."""
        check_is_one_text(options)
        speculator = self._speculation(draft).speculator(options)
        prepared = self._preparer.prepare(prompt, options, drawn_seed(options), speculator)
        cancellation = Cancellation()
        tokens = self._tokens(prepared.request, cancellation)
        return Stream(tokens, prepared.transcript(self._tokenizer), cancellation)

    def _tokens(self, request: Request, cancellation: Cancellation) -> Generator[Token]:
        context = self.reuse.take(request.ids, request.max_new_tokens - 1, cancellation)
        try:
            yield from generate_tokens(context, request)
        finally:
            self.reuse.give_back(context)

    def batch(
        self,
        prompts: Iterable[Prompt],
        options: GenerationOptions,
        rows: int,
        skip: Container[int] = (),
    ) -> Iterator[tuple[int, Generation]]:
        """See `Model.generate_batch`; prompt i has the seed plus i."""
        check_is_one_text(options)
        return self._generations(enumerate(prompts), options, rows, skip)

    def sequences(
        self, prompt: Prompt, options: GenerationOptions, draft: "Texts | None"
    ) -> list[Generation]:
        """See `Model.generate_sequences`."""
        if is_search(options):
            return self.search(prompt, options, draft)
        count, single = options.num_return_sequences, replace(options, num_return_sequences=1)
        if count == 1:
            return [self.stream(prompt, single, draft).result()]
        if draft is not None:
            raise RequestError("several texts share steps and use no draft model: leave draft out.")
        ids = self._preparer.prompt_ids(prompt, options)
        found = dict(self.batch([ids] * count, single, min(count, SEQUENCE_ROWS)))
        return [found[number] for number in range(count)]

    def _generations(
        self,
        prompts: Iterator[tuple[int, Prompt]],
        options: GenerationOptions,
        rows: int,
        skip: Container[int],
    ) -> Iterator[tuple[int, Generation]]:
        batcher = self.batcher(rows, prompt_tokens_per_step=PROMPT_TOKENS_PER_STEP)
        first = drawn_seed(options)
        wanted = ((number, prompt) for number, prompt in prompts if number not in skip)
        numbers = dict[int, int]()  # of prompts, by the batcher's
        while True:
            while batcher.has_free_row and (item := next(wanted, None)):
                seed = None if first is None else first + item[0]
                numbers[batcher.submit(item[1], replace(options, seed=seed))] = item[0]
            if batcher.is_idle:
                return
            for update in batcher.step():
                if update.error:
                    raise update.error
                if update.generation:
                    yield numbers.pop(update.number), update.generation

    def save_prompt(self, ids: list[int], path: Path) -> None:
        """See `Model.save_prompt`."""
        owner = self._bundle_id()
        context = self.reuse.take(ids)
        if context.ids != ids:
            context.advance(ids)
        try:
            save_context(context, owner, path)
        finally:
            self.reuse.give_back(context)

    def load_prompt(self, path: Path) -> None:
        """See `Model.load_prompt`."""
        context = Context(self._session)
        load_context(context, self._bundle_id(), path, self._config.vocab_size)
        self.reuse.load(context)

    def _bundle_id(self) -> str:
        if self._bundle is None:
            raise RequestError("a model without a bundle has no prompt caches.")
        return bundle_id(self._bundle)

    def batcher(
        self,
        rows: int,
        prefix_bytes: int = 0,
        draft: "Texts | None" = None,
        prompt_tokens_per_step: int = PROMPT_TOKENS_BETWEEN_TOKENS,
    ) -> Batcher:
        """See `Model.batcher`."""
        session, exactness = self._session, self.exactness
        prefixes = None
        if prefix_bytes and session.device == "cpu":
            prefixes = PrefixCache(session, lambda: exactness.may_reuse_prompts, prefix_bytes)
        scheduler = Scheduler(
            session,
            rows=self._rows(rows),
            prefixes=prefixes,
            prompt_tokens_per_step=prompt_tokens_per_step,
        )
        speculation = self._speculation(draft)
        if draft and speculation.new_drafter:  # the texts take turns with one draft cache
            drafter = speculation.new_drafter()
            speculation = replace(speculation, new_drafter=lambda: drafter)
        return Batcher(self._preparer, self._tokenizer, scheduler, speculation)

    def _rows(self, rows: int) -> int:
        if rows == 1 or self.shares_steps:
            return rows
        consequence = (
            f"texts are generated one after the other, not {rows} at a time, which takes longer"
        )
        self._warn_once("rows", f"{consequence}: {row_remedy(self._bundle)}", 5)
        return 1

    def _speculation(self, draft: "Texts | None") -> Speculation:
        """How to speculate, with ``draft`` or by prompt lookup."""
        new_drafter: Callable[[], Drafter] | None = None
        if draft:
            new_drafter = partial(DraftModel, draft._session) if self._may_draft(draft) else None
        elif self.exactness.may_feed_several:
            # The model need not run for this: the speculator compares the first steps itself.
            new_drafter = PromptLookup
        experience = self._experience.setdefault(draft or self, Experience())
        return Speculation(new_drafter, experience, self.exactness.tolerance, draft is None)

    def _may_draft(self, draft: "Texts") -> bool:
        # Comparing tokenizers takes as long as a step or two: once for each draft.
        if draft not in self._experience and not self._shares_tokenizer(draft):
            raise RequestError(
                "the draft model has another tokenizer than the model it drafts for."
            )
        if self.exactness.may_merge_steps:
            return True
        remedy = draft_remedy(self._bundle, on_cuda=self._session.device == "cuda")
        self._warn_once("draft", f"the draft model is not used: {remedy}", 6)
        return False

    def _shares_tokenizer(self, other: "Texts") -> bool:
        """Whether both give any text the same ids, and logits for the same ids."""
        sizes = {model._config.vocab_size for model in (self, other)}
        return len(sizes) == 1 and self._tokenizer == other._tokenizer

    def _warn_once(self, option: str, message: str, stacklevel: int) -> None:
        if option not in self._warned:
            self._warned.add(option)
            warn(message, Gpt2xlWarning, stacklevel)
