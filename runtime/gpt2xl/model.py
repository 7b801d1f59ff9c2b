"""The library's front: a loaded bundle, which generates text."""

import secrets
from collections.abc import Container, Generator, Iterable, Iterator
from functools import cached_property
from pathlib import Path
from typing import Unpack
from warnings import warn
from weakref import WeakKeyDictionary

from gpt2xl.bundle.bundle import Bundle
from gpt2xl.bundle.config import GPT2Config
from gpt2xl.bundle.remedies import draft_remedy, row_remedy
from gpt2xl.decoding.context import Context
from gpt2xl.decoding.drafting import Drafter, DraftModel, PromptLookup
from gpt2xl.decoding.loop import Request, Token, generate_tokens
from gpt2xl.decoding.prefix_reuse import PrefixReuse
from gpt2xl.decoding.prompt_cache import bundle_id, load_context, save_context
from gpt2xl.decoding.scheduler import Scheduler
from gpt2xl.decoding.speculation import Acceptance, Experience, Speculator
from gpt2xl.errors import Gpt2xlWarning, RequestError
from gpt2xl.options import GenerationKeywords, GenerationOptions, updated
from gpt2xl.sessions.cancellation import Cancellation
from gpt2xl.sessions.exactness import Exactness
from gpt2xl.sessions.protocol import Session
from gpt2xl.startup.options import checked_integer
from gpt2xl.startup.providers import Device
from gpt2xl.text.prompts import Prompt, check_prompts, prompt_ids
from gpt2xl.text.results import Generation, Stream, Transcript
from gpt2xl.text.tokenizer import Tokenizer

MAX_ROWS = 4096  # texts in a step; GPT-2 XL in int8 needs 150 MB of KV cache for each


class Model:
    """A loaded bundle.

    Several threads may use one model at once, and streams may take turns in one thread: each text has a KV
    cache of its own, and is the text that it would be alone. One `Stream` belongs to one thread at a time.
    """

    def __init__(
        self,
        config: GPT2Config,
        tokenizer: Tokenizer,
        session: Session,
        bundle: Bundle | None = None,
    ) -> None:
        self.config = config
        self.tokenizer = tokenizer
        self.session = session
        """The loaded graph: token ids in, logits out."""
        self.bundle = bundle
        """Where it was loaded from."""
        exactness = self.exactness  # a closure over self would keep a dropped model in memory
        self._reuse = PrefixReuse(session, lambda: exactness.may_merge_steps)
        self._experience = WeakKeyDictionary[Model, Experience]()  # by the model that drafts
        self._warned = set[str]()

    def __repr__(self) -> str:
        config = self.config
        name = f" '{self.bundle.folder.name}'" if self.bundle else ""
        return (
            f"<Model{name}: {config.n_layer} layers, {config.n_embd} wide, context {config.n_positions},"
            f" vocabulary {config.vocab_size}, on {self.device}>"
        )

    @property
    def device(self) -> Device:
        """Where it runs."""
        return self.session.device

    @cached_property
    def exactness(self) -> Exactness:
        """Which steps may be merged without changing a text."""
        is_float32 = self.bundle is not None and self.bundle.is_float32
        return Exactness(self.session, is_float32=is_float32)

    @property
    def shares_steps(self) -> bool:
        """Whether `generate_batch` computes several texts in one step; the first call may run the model."""
        return self.session.shares_steps and self.exactness.may_share_rows

    def stream(
        self,
        prompt: Prompt,
        options: GenerationOptions | None = None,
        *,
        draft: "Model | None" = None,
        **keywords: Unpack[GenerationKeywords],
    ) -> Stream:
        """Generate piece by piece.

        >>> for piece in model.stream("Once upon a time", greedy=True, max_new_tokens=3):
        ...     print(repr(piece.text))
        ' there'
        ' was'
        ' a'

        Args:
            prompt: the text to continue, or its token ids; an empty one starts from beginning-of-text. What it
                has in common with the beginning of the last text is not computed again.
            options: how to generate.
            draft: a smaller model with the same tokenizer that drafts tokens, loaded with
                ``spinning=False``; never changes the text.
            **keywords: fields of `GenerationOptions`, which replace those of ``options``.

        Warns:
            Gpt2xlWarning: ``draft`` is not used, since its draft tokens cannot be checked exactly.

        Raises:
            RequestError: an option out of its range, or a prompt that the model cannot take.
            TypeError: an option that does not exist.
        """
        return self._stream(
            prompt, updated(GenerationOptions() if options is None else options, keywords), draft
        )

    def generate(
        self,
        prompt: Prompt,
        options: GenerationOptions | None = None,
        *,
        draft: "Model | None" = None,
        **keywords: Unpack[GenerationKeywords],
    ) -> Generation:
        """The whole text at once; arguments, warnings and errors as of `stream`.

        >>> model.generate("Once upon a time", greedy=True, max_new_tokens=5).text
        ' there was a great many'
        """
        options = updated(GenerationOptions() if options is None else options, keywords)
        return self._stream(prompt, options, draft).result()

    def generate_batch(
        self,
        prompts: Iterable[Prompt],
        options: GenerationOptions | None = None,
        *,
        rows: int = 16,
        skip: Container[int] = (),
        **keywords: Unpack[GenerationKeywords],
    ) -> Iterator[tuple[int, Generation]]:
        """Generate many texts, up to ``rows`` at a time.

        >>> texts = model.generate_batch(["Once", "The king"], greedy=True, max_new_tokens=5)
        >>> for number, text in sorted(texts, key=lambda item: item[0]):
        ...     print(number, repr(text.text))
        0 ', I will go and'
        1 "'s daughter was very angry"

        Args:
            prompts: texts or token ids; read as rows become free, so an endless iterator will do.
            options: of each text. A text's seed is ``seed`` plus the number of its prompt, so that `generate`
                gives any of them again.
            rows: texts that share each step; weights are read once for all of them. On CUDA a text may differ
                from the one alone where two tokens are almost equally probable.
            skip: numbers of prompts to leave out, from 0; the others keep their numbers and seeds.
            **keywords: fields of `GenerationOptions`, which replace those of ``options``.

        Returns:
            The number of a prompt, from 0, and its generation, in the order in which they end.

        Warns:
            Gpt2xlWarning: the texts are generated one after the other, since sharing steps would change them.

        Raises:
            RequestError: as of `stream`; what concerns a prompt is raised when the prompt is read.
            TypeError: an option that does not exist.
        """
        rows = checked_integer("rows", rows, 1, MAX_ROWS)
        options = updated(GenerationOptions() if options is None else options, keywords)
        check_prompts(prompts)
        return self._generations(enumerate(prompts), options, rows, skip)

    def save_prompt(self, prompt: Prompt, path: str | Path, *, parse_special: bool = True) -> None:
        """Write the keys and values of ``prompt`` to a file, so that `load_prompt` spares computing them.

        Args:
            prompt: as of `stream`.
            path: the file to write.
            parse_special: as in `GenerationOptions`.

        Raises:
            RequestError: a prompt that the model cannot take, or a bundle without a manifest.
            OSError: the file cannot be written; an older one stays.
        """
        owner, ids = self._bundle_id(), self.prompt_ids(prompt, parse_special=parse_special)
        context = self._reuse.take(ids)
        if context.ids != ids:
            context.advance(ids)
        try:
            save_context(context, owner, Path(path))
        finally:
            self._reuse.give_back(context)

    def load_prompt(self, path: str | Path) -> None:
        """Start the next text from what `save_prompt` wrote, as far as both begin alike.

        Raises:
            RequestError: no such file, or one of another bundle.
        """
        context = Context(self.session)
        load_context(context, self._bundle_id(), Path(path), self.config.vocab_size)
        self._reuse.load(context)

    def clear_cache(self) -> None:
        """Free the KV cache that is kept of the last text, or was loaded."""
        self._reuse.clear()

    def prompt_ids(self, prompt: Prompt, *, parse_special: bool = True) -> list[int]:
        """The ids to continue; raises RequestError when the model cannot take them."""
        return prompt_ids(prompt, self.tokenizer, self.config, parse_special=parse_special)

    def _stream(self, prompt: Prompt, options: GenerationOptions, draft: "Model | None") -> Stream:
        seed = _seed(options)
        request = self._request(prompt, options, seed)
        drafter = self._drafter(draft, options)
        speculator = self._speculator(drafter, draft) if drafter else None
        acceptance = speculator.acceptance if speculator else Acceptance()
        transcript = Transcript(self.tokenizer, list(request.ids), seed, acceptance)
        cancellation = Cancellation()
        return Stream(self._tokens(request, speculator, cancellation), transcript, cancellation)

    def _request(self, prompt: Prompt, options: GenerationOptions, seed: int | None) -> Request:
        ids = self.prompt_ids(prompt, parse_special=options.parse_special)
        room = self.config.n_positions - len(ids) + 1  # the last token is not fed back
        new_tokens = min(options.max_new_tokens, room)
        return Request(ids, options.chain(seed), new_tokens, options.logprobs)

    def _tokens(
        self, request: Request, speculator: Speculator | None, cancellation: Cancellation
    ) -> Generator[Token]:
        context = self._reuse.take(request.ids, request.max_new_tokens - 1, cancellation)
        try:
            yield from generate_tokens(context, request, self.config.eos_token_ids, speculator)
        finally:
            self._reuse.give_back(context)

    def _generations(
        self,
        prompts: Iterator[tuple[int, Prompt]],
        options: GenerationOptions,
        rows: int,
        skip: Container[int],
    ) -> Iterator[tuple[int, Generation]]:
        scheduler = Scheduler(
            self.session, rows=self._rows(rows), eos_token_ids=self.config.eos_token_ids
        )
        first = _seed(options)
        wanted = ((number, prompt) for number, prompt in prompts if number not in skip)
        running: dict[int, tuple[int, Transcript]] = {}  # by the scheduler's number
        while True:
            while scheduler.has_free_row and (item := next(wanted, None)):
                seed = None if first is None else first + item[0]
                request = self._request(item[1], options, seed)
                transcript = Transcript(self.tokenizer, list(request.ids), seed, Acceptance())
                running[scheduler.submit(request)] = item[0], transcript
            if scheduler.is_idle:
                return
            for number, token in scheduler.step():
                running[number][1].add(token)
                if token.finish_reason:
                    prompt_number, transcript = running.pop(number)
                    yield prompt_number, transcript.result()

    def _rows(self, rows: int) -> int:
        if rows == 1 or self.shares_steps:
            return rows
        consequence = f"texts are generated one after the other, not {rows} at a time"
        self._warn_once("rows", f"{consequence}: {row_remedy(self.bundle)}", 4)
        return 1

    def _drafter(self, draft: "Model | None", options: GenerationOptions) -> Drafter | None:
        if draft is None:
            # The model need not run for this: the speculator compares the first steps itself.
            return (
                PromptLookup()
                if options.prompt_lookup and self.exactness.may_feed_several
                else None
            )
        # Comparing tokenizers takes as long as a step or two: once for each draft.
        if draft not in self._experience and not self._shares_tokenizer(draft):
            raise RequestError(
                "the draft model has another tokenizer than the model it drafts for."
            )
        if not self.exactness.may_merge_steps:
            remedy = draft_remedy(self.bundle, on_cuda=self.device == "cuda")
            self._warn_once("draft", f"the draft model is not used: {remedy}", 5)
            return None
        return DraftModel(draft.session)

    def _speculator(self, drafter: Drafter, draft: "Model | None") -> Speculator:
        experience = self._experience.setdefault(draft or self, Experience())
        return Speculator(drafter, experience, self.exactness.tolerance)

    def _shares_tokenizer(self, other: "Model") -> bool:
        """Whether both give any text the same ids, and logits for the same ids."""
        sizes = {model.config.vocab_size for model in (self, other)}
        return len(sizes) == 1 and self.tokenizer == other.tokenizer

    def _warn_once(self, option: str, message: str, stacklevel: int) -> None:
        if option not in self._warned:
            self._warned.add(option)
            warn(message, Gpt2xlWarning, stacklevel)

    def _bundle_id(self) -> str:
        if self.bundle is None:
            raise RequestError("a model without a bundle has no prompt caches.")
        return bundle_id(self.bundle)


def _seed(options: GenerationOptions) -> int | None:
    """The seed to use; None where nothing is drawn."""
    if not options.draws:
        return None
    return secrets.randbits(32) if options.seed is None else options.seed
