"""What each token adds to a text, and all of it together."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from gpt2xl import Generation, Logprobs, Piece, StreamDecoder, Tokenizer, Update
from gpt2xl_serve.completions.plan import Plan
from gpt2xl_serve.completions.response import FinishReason

FINISH_REASONS: dict[str, FinishReason] = {"length": "length", "time": "length"}
"""OpenAI's word for ours; "stop" for the others."""


@dataclass(frozen=True)
class ScoredToken:
    """A token with its log-probabilities."""

    id: int
    logprobs: Logprobs | None
    """None for the first token of a prompt."""
    offset: int
    """Where it begins in the text, in characters."""


@dataclass
class Delta:
    """What an update adds to a text."""

    number: int
    """Of the text in its plan."""
    text: str = ""
    tokens: list[ScoredToken] = field(default_factory=list)
    """Those that the text has reached, where log-probabilities are wanted."""
    prompt_ids: list[int] | None = None
    """With the first delta."""
    ids: list[int] = field(default_factory=list)
    """New ones."""
    finish_reason: FinishReason | None = None
    stop_reason: str | None = None
    generation: Generation | None = None
    """The whole text, with the last delta."""

    @property
    def is_empty(self) -> bool:
        """Whether it has nothing to read."""
        return not (self.text or self.tokens or self.finish_reason)


class DeltaWriter:
    """Makes the deltas of one text.

    A stop string cuts a text, and the tokens behind the cut with it; a token that is a part of a character waits for the
    character.

    Args:
        plan: of the request.
        number: of the text in the plan.
        tokenizer: the model's.
    """

    def __init__(self, plan: Plan, number: int, tokenizer: Tokenizer) -> None:
        self._plan, self._number, self._tokenizer = plan, number, tokenizer
        self._prompt_ids = plan.texts[number].prompt_ids
        self._decoder = StreamDecoder(tokenizer)
        self._decoded = 0  # characters of all tokens so far
        self._length = 0  # characters of the text
        self._new_tokens = 0
        self._waiting = list[ScoredToken]()
        self._has_begun = False

    def add(self, update: Update) -> Delta:
        """What ``update``, which has a piece, adds."""
        assert update.piece
        delta, generation = Delta(self._number), update.generation
        if not self._has_begun:
            self._begin(delta, update.prompt_logprobs)
        if self._plan.max_tokens:
            self._continue(delta, update.piece, generation)
        self._length += len(delta.text)
        if generation:
            self._finish(delta, generation)
        delta.tokens = self._reached(generation)
        return delta

    def _begin(self, delta: Delta, scores: Sequence[Logprobs | None] | None) -> None:
        self._has_begun = True
        delta.prompt_ids = self._prompt_ids
        if self._plan.echo:
            delta.text = self._tokenizer.decode(self._prompt_ids)
            for token_id, logprobs in zip(self._prompt_ids, scores or (), strict=False):
                self._score(token_id, logprobs)

    def _continue(self, delta: Delta, piece: Piece, generation: Generation | None) -> None:
        delta.text += piece.text
        if generation and len(generation.new_ids) == self._new_tokens:
            return  # the token that has ended the text is not a part of it
        self._new_tokens += 1
        delta.ids = [piece.id]
        if self._plan.logprobs is not None:
            self._score(piece.id, piece.logprobs)

    def _score(self, token_id: int, logprobs: Logprobs | None) -> None:
        self._waiting.append(ScoredToken(token_id, logprobs, self._decoded))
        if token_id in self._tokenizer:  # a vocabulary may be padded
            self._decoded += len(self._decoder.add(token_id))

    def _finish(self, delta: Delta, generation: Generation) -> None:
        delta.generation = generation
        reason = generation.finish_reason if self._plan.max_tokens else "length"
        delta.finish_reason = FINISH_REASONS.get(reason, "stop")
        delta.stop_reason = generation.stop_string
        if reason not in ("stop", "length"):
            delta.stop_reason = reason

    def _reached(self, generation: Generation | None) -> list[ScoredToken]:
        is_whole = generation is not None and generation.stop_string is None
        found = [each for each in self._waiting if is_whole or each.offset < self._length]
        self._waiting = self._waiting[len(found) :]
        return found


def joined(deltas: Sequence[Delta]) -> Delta:
    """All deltas of a text as one."""
    last = deltas[-1]
    return Delta(
        last.number,
        "".join(delta.text for delta in deltas),
        [token for delta in deltas for token in delta.tokens],
        deltas[0].prompt_ids,
        [token_id for delta in deltas for token_id in delta.ids],
        last.finish_reason,
        last.stop_reason,
        last.generation,
    )
