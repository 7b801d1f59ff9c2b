"""The library's front: a loaded bundle, which generates text."""

import asyncio
from collections.abc import AsyncIterator, Container, Iterable, Iterator
from pathlib import Path
from typing import Unpack

from gpt2xl.batcher import Batcher
from gpt2xl.bundle.bundle import Bundle
from gpt2xl.bundle.config import GPT2Config
from gpt2xl.errors import RequestError, counted
from gpt2xl.features import Features, Pooling, features_of, pooled
from gpt2xl.options.generation import GenerationOptions
from gpt2xl.options.keywords import GenerationKeywords, updated
from gpt2xl.scores.continuations import Continuation, ContinuationScore, score_continuations
from gpt2xl.scores.texts import Score, score_ids
from gpt2xl.searching import is_search
from gpt2xl.sessions.exactness import Exactness
from gpt2xl.sessions.protocol import Session
from gpt2xl.startup.options import checked_integer
from gpt2xl.startup.providers import Device
from gpt2xl.text.prompts import Prompt, check_prompts, prompt_ids, text_ids
from gpt2xl.text.results import Generation, Piece
from gpt2xl.text.streams import Stream
from gpt2xl.text.tokenizer import Tokenizer
from gpt2xl.texts import Texts

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
        defaults: GenerationOptions | None = None,
    ) -> None:
        self.config = config
        self.tokenizer = tokenizer
        self.session = session
        """The loaded graph: token ids in, logits out."""
        self.bundle = bundle
        """Where it was loaded from."""
        self.defaults = defaults or GenerationOptions()
        """Options of a text where the caller gives none: those of generation_config.json over our own."""
        self._texts = Texts(config, tokenizer, session, bundle)

    def __repr__(self) -> str:
        config = self.config
        name = f" '{self.bundle.folder.name}'" if self.bundle else ""
        return (
            f"<Model{name}: {counted(config.n_layer, 'layer')}, {config.n_embd} wide, context {config.n_positions},"
            f" vocabulary {config.vocab_size}, on {self.device}>"
        )

    @property
    def device(self) -> Device:
        """Where it runs."""
        return self.session.device

    @property
    def exactness(self) -> Exactness:
        """Which steps may be merged without changing a text."""
        return self._texts.exactness

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
        ','
        ' there'
        ' was'

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
        return self._texts.stream(prompt, self._options(options, keywords), _texts_of(draft))

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
        ', there was a little'
        """
        options = self._options(options, keywords)
        if is_search(options) and options.num_return_sequences == 1:
            return self._texts.search(prompt, options, _texts_of(draft))[0]
        return self._texts.stream(prompt, options, _texts_of(draft)).result()

    async def astream(
        self,
        prompt: Prompt,
        options: GenerationOptions | None = None,
        *,
        draft: "Model | None" = None,
        **keywords: Unpack[GenerationKeywords],
    ) -> AsyncIterator[Piece]:
        """As `stream`, for ``async for``: steps run in a thread, and a cancelled task ends the step that is under way.

        >>> async def text():
        ...     pieces = model.astream("Once upon a time", greedy=True, max_new_tokens=3)
        ...     return "".join([piece.text async for piece in pieces])
        >>> asyncio.run(text())
        ', there was'
        """
        stream = self.stream(prompt, self._options(options, keywords), draft=draft)
        try:
            while (piece := await asyncio.to_thread(next, stream, None)) is not None:
                yield piece
        finally:
            stream.cancel()

    def generate_sequences(
        self,
        prompt: Prompt,
        options: GenerationOptions | None = None,
        *,
        draft: "Model | None" = None,
        **keywords: Unpack[GenerationKeywords],
    ) -> list[Generation]:
        """``num_return_sequences`` texts of one prompt; arguments, warnings and errors as of `stream`.

        Those of beam search come with the best first. Sampled ones have the seeds ``seed``, ``seed + 1`` and so on, so that
        `generate` gives any of them again.

        >>> texts = model.generate_sequences("The king", num_return_sequences=2, seed=1, max_new_tokens=4)
        >>> [(text.seed, text.text) for text in texts]
        [(1, ' was as happy as'), (2, ' and the Bo')]
        """
        return self._texts.sequences(prompt, self._options(options, keywords), _texts_of(draft))

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
        0 ' upon a time, there'
        1 ' and the Princess were very'

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
        check_prompts(prompts)
        return self._texts.batch(prompts, self._options(options, keywords), rows, skip)

    def batcher(
        self, *, rows: int = 16, prefix_bytes: int = 0, draft: "Model | None" = None
    ) -> Batcher:
        """For texts that come at any time, each with options of its own, as a server has them.

        Warnings and errors are those of `generate_batch` and, for ``draft``, of `stream`.

        Args:
            rows: most texts that share a step, as of `generate_batch`.
            prefix_bytes: memory for prompts that are kept for later ones that begin alike; changes no text. None on CUDA.
            draft: as of `stream`; it drafts tokens while a text decodes alone, as prompt lookup does without one.
        """
        checked_integer("prefix_bytes", prefix_bytes, 0)
        rows = checked_integer("rows", rows, 1, MAX_ROWS)
        return self._texts.batcher(rows, prefix_bytes, _texts_of(draft))

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
        ids = self.prompt_ids(prompt, parse_special=parse_special)
        self._texts.save_prompt(ids, Path(path))

    def load_prompt(self, path: str | Path) -> None:
        """Start the next text from what `save_prompt` wrote, as far as both begin alike.

        Raises:
            RequestError: no such file, or one of another bundle.
        """
        self._texts.load_prompt(Path(path))

    def clear_cache(self) -> None:
        """Free the KV cache that is kept of the last text, or was loaded."""
        self._texts.reuse.clear()

    def score(self, text: Prompt, *, top: int = 0, stride: int | None = None) -> Score:
        """Log-probabilities of the tokens of ``text``, however long it is.

        >>> round(model.score("Once upon a time there was a king").perplexity, 1)
        2.5

        Args:
            text: text or token ids, two at least.
            top: how many of the most probable ids each token carries.
            stride: a text beyond the context is read in windows; so many tokens of each but the first are new, and those
                before them are context. None: half of the context.

        Raises:
            RequestError: too few tokens, or an option out of its range.
        """
        ids = text_ids(text, self.tokenizer, self.config)
        return score_ids(self.session, ids, checked_integer("top", top, 0), stride)

    def score_continuations(
        self, continuations: Iterable[Continuation], *, top: int = 1, rows: int = 16
    ) -> Iterator[ContinuationScore]:
        """Score token ids, each after a context of its own.

        >>> context, ids = tokenizer.encode("Once upon"), tokenizer.encode(" a time")
        >>> (score,) = model.score_continuations([Continuation(context, ids)])
        >>> score.top_ids[:, 0].tolist() == ids
        True

        Consecutive ones that begin alike, such as the endings of a question, share the computation of what they have in
        common. Short ones share steps, where that changes no score (`Exactness.may_share_rows`; in float32 and on a
        GPU it changes their rounding).

        Args:
            continuations: read some 4,000 tokens ahead, so that those in a step are of about one length.
            top: how many of the most probable ids are returned for each position.
            rows: most continuations that share a step.

        Returns:
            A score of each, in their order.

        Raises:
            RequestError: an option out of its range; when a continuation is read: an empty context or continuation,
                one longer than the context of the model, or an id that it does not have.
            BundleError: onnxruntime fails, or the logits are not numbers.
        """
        top = checked_integer("top", top, 0, self.config.vocab_size)
        rows = checked_integer("rows", rows, 1, MAX_ROWS)
        return score_continuations(self.session, self.exactness, continuations, top, rows)

    def features(self, text: Prompt, *, pooling: Pooling = "none") -> Features:
        """The hidden state after the final layer norm, as transformers' GPT2Model gives it.

        >>> model.features("Once upon a time").shape
        (4, 320)

        Args:
            text: text or token ids, at most the context.
            pooling: "none", "mean" over the tokens, or "last", the last token's.

        Returns:
            float32, [tokens, n_embd], or [n_embd] where pooled.

        Raises:
            RequestError: the prompt does not fit, or the bundle's graph has no output for it.
        """
        return pooled(features_of(self.session, self.prompt_ids(text)), pooling)

    def active_processors(
        self,
        prompt: Prompt,
        options: GenerationOptions | None = None,
        **keywords: Unpack[GenerationKeywords],
    ) -> list[str]:
        """The names of the logits processors that act on a text, in their order; arguments and errors as of `stream`.

        >>> model.active_processors("Once", top_p=0.9, repetition_penalty=1.2)
        ['repetition_penalty', 'top_k', 'temperature', 'top_p']
        """
        return self._texts.active_processors(prompt, self._options(options, keywords))

    def prompt_ids(self, prompt: Prompt, *, parse_special: bool = True) -> list[int]:
        """The ids to continue; raises RequestError when the model cannot take them."""
        return prompt_ids(prompt, self.tokenizer, self.config, parse_special=parse_special)

    def _options(
        self, options: GenerationOptions | None, keywords: GenerationKeywords
    ) -> GenerationOptions:
        return updated(self.defaults if options is None else options, keywords)


def _texts_of(model: Model | None) -> Texts | None:
    if not isinstance(model, Model | None):
        raise RequestError(
            f"draft has to be a loaded model, gpt2xl.load(NAME, spinning=False), but is {model!r}."
        )
    return None if model is None else model._texts
