"""What a generation gives: pieces as they come, and the finished text."""

import time
from dataclasses import asdict, dataclass
from typing import Any

from gpt2xl.decoding.logprobs import Logprobs
from gpt2xl.decoding.loop import FinishReason, Token
from gpt2xl.decoding.speculation import Acceptance
from gpt2xl.text.endings import Endings
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
    """Without the end-of-text that stopped it, or the tokens after the sentence that ended it."""
    finish_reason: FinishReason
    """``stop``: end-of-text, a stop string or the function ``stopping``; ``length``: max_new_tokens or the context;
    ``sentence``: end_at_sentence, after max_new_tokens; ``time``: max_time; ``repetition``: repetition_detection; ``cancelled``: `Stream.cancel`."""
    seed: int | None
    """What the sampler was seeded with; None when greedy, or with a sampler of your own."""
    timings: Timings
    guesses: Acceptance
    """How many draft tokens the model has checked and accepted."""
    stop_string: str | None = None
    """The one of ``stop_strings`` that ended the text."""
    score: float | None = None
    """Of a text of beam search: the sum of its log-probabilities over its length to the power ``length_penalty``."""
    logprobs: list[Logprobs] | None = None
    """With the option ``logprobs``: one for each of ``new_ids``."""
    prompt_logprobs: list[Logprobs | None] | None = None
    """With the option ``prompt_logprobs``: one for each of ``prompt_ids``; None for the first, which nothing precedes."""

    def to_dict(self) -> dict[str, Any]:
        """All of it in types that JSON has; what was not asked for is left out."""
        values = asdict(self)
        for name in ("stop_string", "score", "logprobs", "prompt_logprobs"):
            if values[name] is None:
                del values[name]
        return values


@dataclass(frozen=True)
class TextStart:
    """What is known of a text before its first token."""

    prompt_ids: list[int]
    seed: int | None = None
    """The sampler's; None where it has none."""
    healed_bytes: int = 0
    """Length of the end of the prompt that token healing generates again; it is not part of the text."""


class Transcript:
    """Takes a text's tokens as they come, decides whether it ends, and sums it up.

    Args:
        tokenizer: decodes the tokens.
        start: what comes before them.
        endings: what ends the text beside end-of-text and its length.
        acceptance: counts of draft tokens, which the speculator fills in.
    """

    def __init__(
        self,
        tokenizer: Tokenizer,
        start: TextStart,
        endings: Endings | None = None,
        acceptance: Acceptance | None = None,
    ) -> None:
        self.start = start
        self.pieces: list[Piece] = []
        self.prompt_logprobs: list[Logprobs | None] | None = None
        """Filled in where the prompt is scored."""
        self._acceptance = acceptance or Acceptance()
        self._tokenizer = tokenizer
        self._context_ids = endings.context_ids if endings else start.prompt_ids
        self._watch = (endings or Endings()).watch()
        self._decoder = StreamDecoder(tokenizer, start.healed_bytes)
        self._new_ids: list[int] = []
        self._space = ""
        self._times = [time.perf_counter()]

    @property
    def finish_reason(self) -> FinishReason | None:
        """Why the text ended; None while it has not."""
        return self.pieces[-1].finish_reason if self.pieces else None

    @property
    def all_ids(self) -> list[int]:
        """The ids of prompt and text so far; the end of the prompt as token healing has generated it again."""
        return [*self._context_ids, *self._new_ids]

    def add(self, token: Token) -> Piece:
        """The piece that ``token`` adds to the text; its finish_reason says whether the text ends with it."""
        stops, is_eos = self._watch.stop_strings, token.finish_reason == "stop"
        # A model whose vocabulary is padded to a round size may draw ids that the tokenizer lacks.
        silent = is_eos or token.id not in self._tokenizer
        added = "" if silent else self._decoder.add(token.id)
        if self._watch.ends_before(added, len(self._new_ids)):
            text = self._shown(stops.finish())
            self._drop_space()
            return self._keep(Piece(text, token.id, "sentence", token.logprobs))
        if not is_eos:
            self._new_ids.append(token.id)
        text = stops.add(added)
        reason = token.finish_reason or self._watch.reason(self._new_ids)
        if reason and stops.found is None:
            text += stops.add(self._decoder.finish())
        if stops.found is not None:
            reason = "stop"
        elif reason:
            text += stops.finish()
        text = self._shown(text)
        if reason:
            text += self._space
        return self._keep(Piece(text, token.id, reason, token.logprobs))

    def _shown(self, text: str) -> str:
        """``text`` and the space before it; space at its end waits, since a sentence may end before it."""
        if not self._watch.ends_with_sentence:
            return text
        text = self._space + text
        shown = text.rstrip()
        self._space = text[len(shown) :]
        return shown

    def _drop_space(self) -> None:
        """Drop the tokens of the space after the last sentence."""
        while self._new_ids and self._tokenizer.decode(self._new_ids[-1:]).isspace():
            self._new_ids.pop()

    def _keep(self, piece: Piece) -> Piece:
        self.pieces.append(piece)
        self._times.append(time.perf_counter())
        return piece

    def result(self) -> Generation:
        """The text so far; "cancelled" unless its last token is there."""
        logprobs = [piece.logprobs for piece in self.pieces if piece.logprobs]
        text = "".join(piece.text for piece in self.pieces)
        if self.finish_reason is None:
            text += self._space + self._watch.stop_strings.held + self._decoder.unfinished
        return Generation(
            text=text,
            prompt_ids=self.start.prompt_ids,
            new_ids=self._new_ids.copy(),
            finish_reason=self.finish_reason or "cancelled",
            seed=self.start.seed,
            timings=self._timings(),
            guesses=self._acceptance,
            stop_string=self._watch.stop_strings.found,
            logprobs=logprobs[: len(self._new_ids)] if logprobs else None,
            prompt_logprobs=self.prompt_logprobs,
        )

    def _timings(self) -> Timings:
        start, *times = self._times
        first, last = (times[0], times[-1]) if times else (time.perf_counter(),) * 2
        steps = len(self.pieces) - 1
        rate = steps / (last - first) if steps > 0 else None
        return Timings(prompt=first - start, decode=last - first, tokens_per_second=rate)
