"""What a generation gives: pieces as they come, and the finished text."""

import time
from collections.abc import Generator
from dataclasses import asdict, dataclass
from typing import Any

from gpt2xl.decoding.logprobs import Logprobs
from gpt2xl.decoding.loop import FinishReason, Token
from gpt2xl.decoding.speculation import Acceptance
from gpt2xl.errors import RequestError
from gpt2xl.sessions.cancellation import Cancellation, Cancelled
from gpt2xl.text.tokenizer import StreamDecoder, Tokenizer


@dataclass(frozen=True)
class Timings:
    """Durations in seconds, by a monotonic clock."""

    prompt: float
    """Until the first token, or until the text was cancelled before it."""
    decode: float
    """From the first token to the last."""
    tokens_per_second: float | None
    """New tokens a second after the first; None when there was at most one token."""


@dataclass(frozen=True)
class Piece:
    """What one token adds to a stream."""

    text: str
    """Whole characters only; may be empty."""
    id: int
    finish_reason: FinishReason | None
    """Why the text ends with this piece, if it does."""
    logprobs: Logprobs | None = None
    """This token's, with the option ``logprobs``."""


@dataclass(frozen=True)
class Generation:
    """A finished text."""

    text: str
    """The new text, without the prompt."""
    prompt_ids: list[int]
    new_ids: list[int]
    """Without the end-of-text that stopped it."""
    finish_reason: FinishReason
    """``stop``: end-of-text; ``length``: max_new_tokens or the context; ``cancelled``: `Stream.cancel`."""
    seed: int | None
    """What the sampler was seeded with; None when greedy, or with a sampler of your own."""
    timings: Timings
    guesses: Acceptance
    """How many draft tokens the model has checked and accepted."""
    logprobs: list[Logprobs] | None = None
    """With the option ``logprobs``: one for each of ``new_ids``."""

    def to_dict(self) -> dict[str, Any]:
        """All of it in types that JSON has; ``logprobs`` only where they were asked for."""
        values = asdict(self)
        if self.logprobs is None:
            del values["logprobs"]
        return values


class Transcript:
    """Takes a text's tokens as they come, and sums them up.

    Args:
        tokenizer: decodes the tokens.
        prompt_ids: the ids before them.
        seed: the sampler's; None where it has none.
        acceptance: counts of draft tokens, which the speculator fills in.
    """

    def __init__(
        self, tokenizer: Tokenizer, prompt_ids: list[int], seed: int | None, acceptance: Acceptance
    ) -> None:
        self.prompt_ids = prompt_ids
        self.seed = seed
        self.pieces: list[Piece] = []
        self._acceptance = acceptance
        self._tokenizer = tokenizer
        self._decoder = StreamDecoder(tokenizer)
        self._times = [time.perf_counter()]

    @property
    def finish_reason(self) -> FinishReason | None:
        """Why the text ended; None while it has not."""
        return self.pieces[-1].finish_reason if self.pieces else None

    def add(self, token: Token) -> Piece:
        """The piece that ``token`` adds to the text."""
        # A model whose vocabulary is padded to a round size may draw ids that the tokenizer lacks.
        silent = token.finish_reason == "stop" or token.id not in self._tokenizer
        text = "" if silent else self._decoder.add(token.id)
        if token.finish_reason:
            text += self._decoder.finish()
        self.pieces.append(Piece(text, token.id, token.finish_reason, token.logprobs))
        self._times.append(time.perf_counter())
        return self.pieces[-1]

    def result(self) -> Generation:
        """The text so far; "cancelled" unless its last token is there."""
        kept = [piece for piece in self.pieces if piece.finish_reason != "stop"]
        logprobs = [piece.logprobs for piece in kept if piece.logprobs]
        text = "".join(piece.text for piece in self.pieces)
        if self.finish_reason is None:
            text += self._decoder.unfinished
        return Generation(
            text=text,
            prompt_ids=self.prompt_ids,
            new_ids=[piece.id for piece in kept],
            finish_reason=self.finish_reason or "cancelled",
            seed=self.seed,
            timings=self._timings(),
            guesses=self._acceptance,
            logprobs=logprobs if any(piece.logprobs for piece in self.pieces) else None,
        )

    def _timings(self) -> Timings:
        start, *times = self._times
        first, last = (times[0], times[-1]) if times else (time.perf_counter(),) * 2
        steps = len(self.pieces) - 1
        rate = steps / (last - first) if steps > 0 else None
        return Timings(prompt=first - start, decode=last - first, tokens_per_second=rate)


class Stream:
    """An iterator of the pieces of one text; `result` sums it up.

    Each piece is computed when it is asked for, so leaving a loop with ``break`` computes nothing more until
    the next piece, or `result`, is asked for. To end a text early, call `cancel`.

    A stream belongs to one thread at a time, but `cancel` may be called from any.

    >>> stream = model.stream("Once upon a time", greedy=True)
    >>> for piece in stream:
    ...     if len(stream.ids) == 3:
    ...         stream.cancel()
    >>> result = stream.result()
    >>> len(result.new_ids), result.finish_reason
    (3, 'cancelled')
    """

    def __init__(
        self, tokens: Generator[Token], transcript: Transcript, cancellation: Cancellation
    ) -> None:
        self._tokens = tokens
        self._transcript = transcript
        self._cancellation = cancellation
        self._has_failed = False

    @property
    def prompt_ids(self) -> list[int]:
        """The ids of the prompt."""
        return self._transcript.prompt_ids

    @property
    def ids(self) -> list[int]:
        """The new ids so far, an end-of-text that stopped the text included."""
        return [piece.id for piece in self._transcript.pieces]

    @property
    def seed(self) -> int | None:
        """The sampler's; None when greedy, or with a sampler of your own."""
        return self._transcript.seed

    def __repr__(self) -> str:
        state = self._transcript.finish_reason or "not finished"
        if state == "not finished" and self._cancellation.is_cancelled:
            state = "cancelled"
        return f"<Stream: {len(self.prompt_ids)} prompt tokens, {len(self.ids)} new, {state}>"

    def __iter__(self) -> "Stream":
        return self

    def __next__(self) -> Piece:
        if self._cancellation.is_cancelled:
            self._tokens.close()
        try:
            return self._transcript.add(next(self._tokens))
        except Cancelled:
            raise StopIteration from None
        except StopIteration:
            raise
        except BaseException:
            self._has_failed = True
            raise

    def cancel(self) -> None:
        """End the text here: no further piece comes, and `result` has finish_reason "cancelled".

        May be called from any thread; a step that is under way is cut short. Nothing happens where the text has
        ended already.
        """
        self._cancellation.cancel()

    def result(self) -> Generation:
        """The whole text. Generates what is left of it, unless it was cancelled.

        Raises:
            RequestError: an error has ended the stream before.
        """
        for _ in self:
            pass
        is_complete = self._transcript.finish_reason or self._cancellation.is_cancelled
        if self._has_failed or not is_complete:
            raise RequestError("this stream has no result: an error ended it.")
        return self._transcript.result()
