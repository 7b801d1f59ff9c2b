"""What a generation gives: pieces as they come, and the finished text."""

import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from gpt2xl.decoding.loop import FinishReason, Token
from gpt2xl.decoding.speculation import Acceptance
from gpt2xl.text.tokenizer import StreamDecoder, Tokenizer


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
    guesses: Acceptance
    """What came of speculation."""

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


class Transcript:
    """Takes a text's tokens as they come, and sums them up.

    Args:
        tokenizer: of the text.
        prompt_ids: what it goes on from.
        seed: of its sampler; None when greedy.
        guesses: filled in by who makes them.
    """

    def __init__(
        self, tokenizer: Tokenizer, prompt_ids: list[int], seed: int | None, guesses: Acceptance
    ) -> None:
        self.prompt_ids = prompt_ids
        self.seed = seed
        self._guesses = guesses
        self._tokenizer = tokenizer
        self._decoder = StreamDecoder(tokenizer)
        self._pieces: list[Piece] = []
        self._times = [time.perf_counter()]

    def add(self, token: Token) -> Piece:
        """What ``token`` adds to the text."""
        # A model padded to a round vocabulary may draw ids that have no text.
        silent = token.finish_reason == "stop" or token.id not in self._tokenizer
        text = "" if silent else self._decoder.add(token.id)
        if token.finish_reason:
            text += self._decoder.finish()
        self._pieces.append(Piece(text, token.id, token.finish_reason))
        self._times.append(time.perf_counter())
        return self._pieces[-1]

    def result(self) -> Generation:
        """The whole text, once its last token is there."""
        last = self._pieces[-1]
        assert last.finish_reason is not None
        return Generation(
            text="".join(piece.text for piece in self._pieces),
            prompt_ids=self.prompt_ids,
            new_ids=[piece.id for piece in self._pieces if piece.finish_reason != "stop"],
            finish_reason=last.finish_reason,
            seed=self.seed,
            timings=self._timings(),
            guesses=self._guesses,
        )

    def _timings(self) -> Timings:
        start, first, last = self._times[0], self._times[1], self._times[-1]
        steps = len(self._pieces) - 1
        rate = steps / (last - first) if steps else None
        return Timings(prompt=first - start, decode=last - first, tokens_per_second=rate)


class Stream:
    """An iterator of pieces that remembers what it gave; ``result`` sums it up."""

    def __init__(self, tokens: Iterator[Token], transcript: Transcript) -> None:
        self._tokens = tokens
        self._transcript = transcript

    @property
    def prompt_ids(self) -> list[int]:
        """What the text goes on from."""
        return self._transcript.prompt_ids

    @property
    def seed(self) -> int | None:
        """Of the sampler; None when greedy."""
        return self._transcript.seed

    def __iter__(self) -> "Stream":
        return self

    def __next__(self) -> Piece:
        return self._transcript.add(next(self._tokens))

    def result(self) -> Generation:
        """The whole text; runs what is left of the stream."""
        for _ in self:
            pass
        return self._transcript.result()
