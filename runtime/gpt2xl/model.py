"""The library's front: a loaded bundle, which generates text."""

import secrets
from collections.abc import Container, Iterable, Iterator
from functools import cached_property
from pathlib import Path
from threading import Lock
from weakref import WeakKeyDictionary

from gpt2xl.bundle.bundle import Bundle
from gpt2xl.bundle.config import GPT2Config
from gpt2xl.decoding.context import Context
from gpt2xl.decoding.drafting import Drafter, DraftModel, PromptLookup
from gpt2xl.decoding.loop import Token, generate_tokens
from gpt2xl.decoding.prompt_cache import bundle_id, load_context, save_context
from gpt2xl.decoding.samplers import Sampler, make_sampler
from gpt2xl.decoding.samplers import greedy as greedy_sampler
from gpt2xl.decoding.scheduler import Request, generate_batch
from gpt2xl.decoding.speculation import Acceptance, Costs, Speculator
from gpt2xl.errors import RequestError
from gpt2xl.sessions.exactness import Exactness
from gpt2xl.sessions.protocol import Session
from gpt2xl.startup.providers import Device
from gpt2xl.text.prompts import prompt_ids
from gpt2xl.text.results import Generation, Stream, Transcript
from gpt2xl.text.tokenizer import Tokenizer


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
        self._bundle = bundle
        self.session = session
        """The loaded graph: ids in, logits out."""
        self._idle: Context | None = None  # the last text's, for one that begins alike
        self._idle_lock = Lock()
        self._costs = WeakKeyDictionary[Model, Costs]()  # of guessing, by the model that guesses

    def stream(
        self,
        prompt: str,
        *,
        max_new_tokens: int = 128,
        greedy: bool = False,
        top_k: int = 40,
        temperature: float = 0.8,
        seed: int | None = None,
        parse_special: bool = True,
        draft: "Model | None" = None,
        prompt_lookup: bool = True,
    ) -> Stream:
        """Generate piece by piece.

        Args:
            prompt: the text to go on from; an empty one starts from beginning-of-text. What it has in common
                with the beginning of the last text is not computed again.
            max_new_tokens: tokens to generate at most; reaching the context limit ends the text
                earlier, with finish_reason "length".
            greedy: always take the most probable token; top_k, temperature and seed do nothing.
            top_k: sample from the k most probable tokens; 0, or more than there are, is the whole vocabulary.
            temperature: 0 is greedy; higher is wilder.
            seed: same seed, same text; None draws one, which the result names.
            parse_special: whether ``prompt`` may spell special tokens; False for untrusted text.
            draft: a smaller model with the same tokenizer that guesses tokens, loaded with
                ``spinning=False``; never changes the text.
            prompt_lookup: without a draft, guess that what was said will be said again; never changes
                the text. Neither does anything where a step of several tokens rounds in another way than
                one of a single token.

        Raises:
            RequestError: an option out of its range, or a prompt longer than the context.
        """
        greedy = greedy or temperature == 0
        if seed is None and not greedy:
            seed = secrets.randbits(32)
        sampler = self._sampler(max_new_tokens, greedy, top_k, temperature, seed)
        ids = self.prompt_ids(prompt, parse_special=parse_special)
        request = self._request(ids, sampler, max_new_tokens, 1 if greedy else top_k)
        drafter = self._drafter(draft, prompt_lookup)
        costs = self._costs.setdefault(draft or self, Costs())
        speculator = Speculator(drafter, costs, self._exactness.tolerance) if drafter else None
        guesses = speculator.acceptance if speculator else Acceptance()
        transcript = Transcript(
            self.tokenizer, list(request.ids), None if greedy else seed, guesses
        )
        return Stream(self._tokens(request, speculator), transcript)

    def _tokens(self, request: Request, speculator: Speculator | None) -> Iterator[Token]:
        context = self._take_idle()
        context.begin(request.ids, request.max_new_tokens - 1)  # the last is not fed back
        context.top_k = 0 if speculator else request.top_k  # guesses are checked against all logits
        try:
            yield from generate_tokens(
                context,
                request.ids,
                request.sampler,
                max_new_tokens=request.max_new_tokens,
                eos_token_ids=self.config.eos_token_ids,
                speculator=speculator,
            )
        finally:
            context.is_loaded = False  # it holds what was generated, too
            self._idle = context

    def _take_idle(self) -> Context:
        """What is left of the last text: no more than its memory where more could change this one."""
        with self._idle_lock:
            idle, self._idle = self._idle, None
        context = idle or Context(self.session)
        if context.ids and not context.is_loaded and not self._exactness.may_merge_steps:
            context.truncate(0)
        return context

    @property
    def device(self) -> Device:
        """Where it runs."""
        return self.session.device

    @cached_property
    def _exactness(self) -> Exactness:
        is_float = self._bundle is not None and self._bundle.is_float
        return Exactness(self.session, is_float=is_float)

    def _drafter(self, draft: "Model | None", prompt_lookup: bool) -> Drafter | None:
        if draft is None:
            return PromptLookup() if prompt_lookup and self._exactness.may_feed_several else None
        # To compare tokenizers takes as long as a step or two: once for each draft.
        if draft not in self._costs and not self._speaks_as(draft):
            raise RequestError(
                "the draft model has another tokenizer than the model it guesses for."
            )
        return DraftModel(draft.session) if self._exactness.may_feed_several else None

    def _speaks_as(self, other: "Model") -> bool:
        """Whether both give any text the same ids, and logits for the same ones."""
        sizes = {model.config.vocab_size for model in (self, other)}
        return len(sizes) == 1 and self.tokenizer == other.tokenizer

    def generate(
        self,
        prompt: str,
        *,
        max_new_tokens: int = 128,
        greedy: bool = False,
        top_k: int = 40,
        temperature: float = 0.8,
        seed: int | None = None,
        parse_special: bool = True,
        draft: "Model | None" = None,
        prompt_lookup: bool = True,
    ) -> Generation:
        """The whole text at once; arguments and errors as of ``stream``."""
        return self.stream(
            prompt,
            max_new_tokens=max_new_tokens,
            greedy=greedy,
            top_k=top_k,
            temperature=temperature,
            seed=seed,
            parse_special=parse_special,
            draft=draft,
            prompt_lookup=prompt_lookup,
        ).result()

    def save_prompt(self, prompt: str, path: Path, *, parse_special: bool = True) -> None:
        """Write what the model makes of ``prompt``, so that `load_prompt` spares computing it.

        Args:
            prompt: as of ``stream``.
            path: the file to write.
            parse_special: as of ``stream``.

        Raises:
            RequestError: a prompt the model cannot take, or a bundle without a manifest.
            OSError: the file cannot be written; an older one stays.
        """
        owner, ids = self._owner(), self.prompt_ids(prompt, parse_special=parse_special)
        context = self._take_idle()
        context.begin(ids)
        if context.ids[: len(ids)] != ids:
            context.advance(ids)
        context.truncate(len(ids))
        try:
            save_context(context, owner, path)
        finally:
            self._idle = context

    def load_prompt(self, path: Path) -> None:
        """Begin the next text with what `save_prompt` wrote, as far as its prompt begins alike.

        Raises:
            RequestError: no such file, or one of another bundle.
        """
        context = Context(self.session)
        load_context(context, self._owner(), path, self.config.vocab_size)
        self._idle = context

    def _owner(self) -> str:
        if self._bundle is None:
            raise RequestError("a model without a bundle has no prompt caches.")
        return bundle_id(self._bundle)

    def generate_batch(
        self,
        prompts: Iterable[str],
        *,
        rows: int = 16,
        max_new_tokens: int = 128,
        greedy: bool = False,
        top_k: int = 40,
        temperature: float = 0.8,
        seed: int | None = None,
        parse_special: bool = True,
        skip: Container[int] = (),
    ) -> Iterator[tuple[int, Generation]]:
        """Generate many texts, up to ``rows`` at a time; other arguments and errors as of ``stream``.

        Args:
            prompts: read as rows become free, so an endless iterator will do.
            rows: texts that share each step; on the CPU one where the kernels would make another text of it.
                On CUDA a text may be another one than alone where two tokens are all but as probable.
            max_new_tokens: of each text.
            greedy: of each text.
            top_k: of each text.
            temperature: of each text.
            seed: of the first text; each further one has the next number, so that ``generate`` gives
                any of them again.
            parse_special: of each prompt.
            skip: numbers of prompts that need no text, from 0; the others keep theirs, and their seeds.

        Returns:
            The number of a prompt, from 0, and its text, in the order in which the texts end.
        """
        if rows < 1:
            raise RequestError(f"rows has to be >= 1, but is {rows}.")
        greedy = greedy or temperature == 0
        first = secrets.randbits(32) if seed is None else seed
        self._sampler(max_new_tokens, greedy, top_k, temperature, first)  # to refuse at once

        begun: dict[int, Transcript] = {}

        def requests() -> Iterator[tuple[int, Request]]:
            for number, prompt in enumerate(prompts):
                if number in skip:
                    continue
                own = first + number
                sampler = self._sampler(max_new_tokens, greedy, top_k, temperature, own)
                ids = self.prompt_ids(prompt, parse_special=parse_special)
                request = self._request(ids, sampler, max_new_tokens, 1 if greedy else top_k)
                begun[number] = Transcript(
                    self.tokenizer, list(request.ids), None if greedy else own, Acceptance()
                )
                yield number, request

        return self._texts(requests(), rows, begun)

    def _texts(
        self, requests: Iterable[tuple[int, Request]], rows: int, begun: dict[int, Transcript]
    ) -> Iterator[tuple[int, Generation]]:
        """What becomes of ``begun``, which grows as requests are read."""
        rows = rows if rows == 1 or self._exactness.may_share_rows else 1
        ends = self.config.eos_token_ids
        for number, token in generate_batch(self.session, requests, rows, ends):
            begun[number].add(token)
            if token.finish_reason:
                yield number, begun.pop(number).result()

    def _request(
        self, ids: list[int], sampler: Sampler, max_new_tokens: int, top_k: int
    ) -> Request:
        """What fits into the context and the vocabulary."""
        room = self.config.n_positions - len(ids) + 1  # the last token is not fed back
        top_k = min(top_k, self.config.vocab_size)
        return Request(ids, sampler, min(max_new_tokens, room), top_k)

    def _sampler(
        self, max_new_tokens: int, greedy: bool, top_k: int, temperature: float, seed: int | None
    ) -> Sampler:
        if max_new_tokens < 1:
            raise RequestError(f"max_new_tokens has to be >= 1, but is {max_new_tokens}.")
        return greedy_sampler if greedy else make_sampler(top_k, temperature, seed or 0)

    def prompt_ids(self, prompt: str, *, parse_special: bool = True) -> list[int]:
        """The ids to go on from; raises RequestError when the model cannot take them."""
        return prompt_ids(prompt, self.tokenizer, self.config, parse_special=parse_special)
