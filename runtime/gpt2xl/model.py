"""The library's front: load a bundle, generate text."""

import secrets
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from gpt2xl.bundle import open_bundle
from gpt2xl.config import GPT2Config
from gpt2xl.errors import BundleError, RequestError
from gpt2xl.generate import FinishReason, generate_tokens
from gpt2xl.memory import check_memory
from gpt2xl.providers import Provider, choose_device
from gpt2xl.sampling import greedy as greedy_sampler
from gpt2xl.sampling import make_sampler
from gpt2xl.session import Session, open_best
from gpt2xl.session_cache import SessionCache
from gpt2xl.tokenizer import StreamDecoder, Tokenizer


@dataclass(frozen=True)
class Timings:
    """Seconds, by a monotonic clock."""

    prompt: float
    """Until the first token."""
    decode: float
    """From the first token to the last."""
    tokens_per_second: float | None
    """Of the decode part; None when there was only one token."""


@dataclass(frozen=True)
class Piece:
    """What one token adds to a stream."""

    text: str
    """Whole characters only; may be empty."""
    id: int
    finish_reason: FinishReason | None


@dataclass(frozen=True)
class Generation:
    """A finished text."""

    text: str
    """The new text, without the prompt."""
    prompt_ids: list[int]
    new_ids: list[int]
    """Without the end-of-text that stopped it."""
    finish_reason: FinishReason
    seed: int | None
    """What the sampler was seeded with; None when greedy."""
    timings: Timings

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


class Stream:
    """An iterator of pieces that remembers what it gave; ``result`` sums it up."""

    def __init__(self, pieces: Iterator[Piece], prompt_ids: list[int], seed: int | None) -> None:
        self.prompt_ids = prompt_ids
        self.seed = seed
        self._pieces = pieces
        self._seen: list[Piece] = []
        self._times = [time.perf_counter()]

    def __iter__(self) -> "Stream":
        return self

    def __next__(self) -> Piece:
        piece = next(self._pieces)
        self._times.append(time.perf_counter())
        self._seen.append(piece)
        return piece

    def result(self) -> Generation:
        """The whole text; runs what is left of the stream."""
        for _ in self:
            pass
        last = self._seen[-1]
        assert last.finish_reason is not None
        return Generation(
            text="".join(piece.text for piece in self._seen),
            prompt_ids=self.prompt_ids,
            new_ids=[piece.id for piece in self._seen if piece.finish_reason != "stop"],
            finish_reason=last.finish_reason,
            seed=self.seed,
            timings=self._timings(),
        )

    def _timings(self) -> Timings:
        start, first, last = self._times[0], self._times[1], self._times[-1]
        steps = len(self._seen) - 1
        rate = steps / (last - first) if steps else None
        return Timings(prompt=first - start, decode=last - first, tokens_per_second=rate)


class Model:
    """A loaded bundle."""

    def __init__(self, config: GPT2Config, tokenizer: Tokenizer, session: Session) -> None:
        self.config = config
        self.tokenizer = tokenizer
        self._session = session

    def stream(
        self,
        prompt: str,
        *,
        max_new_tokens: int = 128,
        greedy: bool = False,
        top_k: int = 40,
        temperature: float = 0.8,
        seed: int | None = None,
    ) -> Stream:
        """Generate piece by piece.

        Args:
            prompt: the text to go on from; an empty one starts from end-of-text.
            max_new_tokens: tokens to generate at most; reaching the context limit ends the text
                earlier, with finish_reason "length".
            greedy: always take the most probable token; top_k, temperature and seed do nothing.
            top_k: sample among so many most probable tokens; 0 is the whole vocabulary.
            temperature: above 0; higher is wilder.
            seed: same seed, same text; None draws one, which the result names.

        Raises:
            RequestError: an option out of its range, or a prompt longer than the context.
        """
        if max_new_tokens < 1:
            raise RequestError(f"max_new_tokens has to be >= 1, but is {max_new_tokens}.")
        if top_k > self.config.vocab_size:
            raise RequestError(
                f"top_k has to be <= the vocabulary of {self.config.vocab_size}, but is {top_k}."
            )
        if seed is None and not greedy:
            seed = secrets.randbits(32)
        sampler = greedy_sampler if greedy else make_sampler(top_k, temperature, seed or 0)
        prompt_ids = self._prompt_ids(prompt)
        room = self.config.n_positions - len(prompt_ids) + 1  # the last token is not fed back
        tokens = generate_tokens(
            self._session,
            prompt_ids,
            sampler,
            max_new_tokens=min(max_new_tokens, room),
            eos_token_ids=self.config.eos_token_ids,
        )
        decoder = StreamDecoder(self.tokenizer)

        def pieces() -> Iterator[Piece]:
            for token in tokens:
                # A model padded to a round vocabulary may draw ids that have no text.
                silent = token.finish_reason == "stop" or token.id not in self.tokenizer
                text = "" if silent else decoder.add(token.id)
                if token.finish_reason:
                    text += decoder.finish()
                yield Piece(text, token.id, token.finish_reason)

        return Stream(pieces(), prompt_ids, None if greedy else seed)

    def generate(
        self,
        prompt: str,
        *,
        max_new_tokens: int = 128,
        greedy: bool = False,
        top_k: int = 40,
        temperature: float = 0.8,
        seed: int | None = None,
    ) -> Generation:
        """The whole text at once; arguments and errors as of ``stream``."""
        return self.stream(
            prompt,
            max_new_tokens=max_new_tokens,
            greedy=greedy,
            top_k=top_k,
            temperature=temperature,
            seed=seed,
        ).result()

    def _prompt_ids(self, prompt: str) -> list[int]:
        ids = self.tokenizer.encode(prompt) or self._start_ids()
        context = self.config.n_positions
        if len(ids) > context:
            raise RequestError(
                f"the prompt has {len(ids)} tokens, but the model's context is {context}: shorten it."
            )
        outside = [token_id for token_id in ids if token_id >= self.config.vocab_size]
        if outside:
            raise RequestError(
                f"the tokenizer gives id {outside[0]}, but the model's vocabulary is"
                f" {self.config.vocab_size}: this tokenizer.json belongs to another model."
            )
        return ids

    def _start_ids(self) -> list[int]:
        bos = self.config.bos_token_id
        starts = sorted(self.config.eos_token_ids) or ([] if bos is None else [bos])
        if not starts:
            raise RequestError(
                "the prompt is empty and the model has no end-of-text to start from."
            )
        return [starts[0]]


def load(
    folder: str | Path,
    *,
    provider: Provider = "auto",
    threads: int = 0,
    session_cache: str | Path | SessionCache | None = None,
) -> Model:
    """Load the bundle in ``folder``.

    Args:
        folder: what `gpt2xl export` wrote, or any folder with a GPT-2 config.json, tokenizer.json
            and an ONNX graph with past-key-value inputs (optimum's, for instance).
        provider: ``cpu``, ``cuda``, or ``auto``: CUDA where onnxruntime has it.
        threads: threads for one operator; 0 leaves it to onnxruntime.
        session_cache: a folder for sessions that load faster the next time; the first load of a
            large bundle writes twice its size there and takes seconds longer. None writes nothing.

    Raises:
        BundleError: the folder is incomplete, too large for the memory this process may have, or
            onnxruntime cannot load it.
        ProviderError: CUDA was asked for and is not there.
    """
    device = choose_device(provider)
    bundle = open_bundle(Path(folder))
    entry = None
    if device == "cpu":
        if isinstance(session_cache, str | Path):
            session_cache = SessionCache(Path(session_cache))
        entry = session_cache.entry(bundle) if session_cache else None
        check_memory(bundle, mapped=entry is not None and entry.is_whole)
    # onnxruntime leaves the interpreter to others while it loads.
    with ThreadPoolExecutor(1) as pool:
        tokenizer = pool.submit(Tokenizer.from_file, bundle.tokenizer)
        try:
            session = open_best(bundle, device, threads, entry)
        except MemoryError:
            raise BundleError(f"not enough memory to load '{folder}'.") from None
        return Model(bundle.config, tokenizer.result(), session)
