"""Many texts at once: each is a row of one KV cache, at its own length, and all rows share each step.

Weights are read once for all rows of a step, and nothing is padded. A request may come at any time. The
scheduler knows nothing of text.
"""

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from threading import RLock

import numpy as np

from gpt2xl.decoding.context import Context
from gpt2xl.decoding.loop import Request, Token
from gpt2xl.decoding.prefix_cache import PrefixCache
from gpt2xl.decoding.speculation import Speculator
from gpt2xl.errors import RequestError
from gpt2xl.sessions.cancellation import Cancellation, Cancelled
from gpt2xl.sessions.prefill import cut_into_chunks
from gpt2xl.sessions.protocol import Cache, Ids, Logits, Session, StepLogits, TopLogits

PROMPT_TOKENS_PER_STEP = 256
"""Tokens of prompts after which the rows that decode get their next step."""
Outcome = Token | Exception
"""What a step gives of a text: its next token, or the error that has ended it."""


@dataclass(eq=False)
class _Running:
    """A request whose text is not finished, and how far it is."""

    number: int
    request: Request
    ids: list[int]
    """The prompt and the tokens so far."""
    cancellation: Cancellation = field(default_factory=Cancellation)
    chunks: deque[Ids] = field(default_factory=deque)
    """What is left of the prompt, each chunk [1, n]."""
    restored: int = 0
    """Leading tokens of the prompt that the prefix cache had."""

    def add(self, logits: Logits | TopLogits) -> Token:
        token = self.request.choose(self.ids, logits)
        self.ids.append(token.id)
        return token

    def shown(self) -> list[int]:
        """The ids to feed as a prompt: the prompt, or what the model sees of a text that has slid."""
        slide = self.request.slide
        return slide.shown(self.ids) if slide else self.ids

    @property
    def wants_prompt_scores(self) -> bool:
        """Whether the logits of all positions of the prompt are needed."""
        scores = self.request.prompt_scores
        return scores is not None and not scores.is_complete

    @property
    def is_full(self) -> bool:
        """Whether the text has to slide before it goes on."""
        slide = self.request.slide
        return slide is not None and slide.is_due(len(self.ids))


class Scheduler:
    """Generates the texts of requests, up to ``rows`` at a time.

    The caller calls `step` until `is_idle`. Texts depend on their own request only, if the session's rows
    give the same logits alone and together (see gpt2xl.sessions.exactness): a prompt is fed in the chunks in
    which the session would feed it alone.

    `submit` and `cancel` may be called from any thread at any time, also during a step; they return at once,
    and a step that begins after that takes them into account. `step` is for one thread at a time. An error ends the
    texts that it concerns, and the others go on.

    Args:
        session: computes the logits. Needs ``shares_steps`` unless ``rows`` is 1.
        rows: texts that share a step, at least 1.
        prefixes: keeps prompts for later ones that begin like them.
        prompt_tokens_per_step: tokens of prompts after which the rows that decode get their next step, and most tokens of a
            chunk beside them; at least ``session.long_step_from``.
    """

    def __init__(
        self,
        session: Session,
        *,
        rows: int,
        prefixes: PrefixCache | None = None,
        prompt_tokens_per_step: int = PROMPT_TOKENS_PER_STEP,
    ) -> None:
        self._session, self.rows, self.prefixes = session, rows, prefixes
        self._prompt_tokens_per_step = prompt_tokens_per_step
        self._cache = session.new_cache(rows, capacity=1)
        self._lock = RLock()  # of the next three
        self._submitted = 0
        self._waiting = deque[_Running]()
        self._unfinished: dict[int, _Running] = {}
        # Rows of the cache: those that decode come first, without a gap, then the one being prefilled.
        self._decoding: list[_Running] = []
        self._decoding_rows: Cache | None = None
        self._prefilling: _Running | None = None
        self._prefilling_row: Cache | None = None

    @property
    def is_idle(self) -> bool:
        """Whether no request waits or runs."""
        return not (self._waiting or self._prefilling or self._decoding)

    @property
    def has_free_row(self) -> bool:
        """Whether a request submitted now would not have to wait for another text to end."""
        return self.running + self.waiting < self.rows

    @property
    def waiting(self) -> int:
        """Requests whose prompts have no row yet."""
        return len(self._waiting)

    @property
    def running(self) -> int:
        """Rows in use."""
        return len(self._decoding) + (self._prefilling is not None)

    def submit(self, request: Request) -> int:
        """Queue ``request``; its number, which `step` names its tokens by."""
        with self._lock:
            number = self._submitted
            self._submitted += 1
            self._unfinished[number] = text = _Running(number, request, list(request.ids))
            self._waiting.append(text)
        return number

    def cancel(self, number: int) -> None:
        """Give up a request: no step that begins after this returns a token of it.

        A step that is feeding its prompt is cut short. Where the text has ended already, nothing happens.

        Raises:
            RequestError: no request has this number.
        """
        with self._lock:
            if not 0 <= number < self._submitted:
                raise RequestError(f"there is no request {number} to cancel.")
            if text := self._unfinished.get(number):
                text.cancellation.cancel()

    def step(self) -> list[tuple[int, Outcome]]:
        """Feed prompts that wait, then one token of each row that decodes.

        At least one chunk of a prompt is fed, and more until ``prompt_tokens_per_step`` are; without a limit while no row
        decodes. A text that decodes alone may feed draft tokens.

        Returns:
            Numbers of requests and their next tokens: one or two of a text whose prompt was fed, one of each
            other that decodes, none of those that wait, several where draft tokens were accepted. In place of a token the
            error that has ended a text: of its own chain, or of the session, which concerns all texts of a run.
        """
        self._drop_cancelled()
        first_outcomes = list(self._prefill())
        self._slide()
        return [*first_outcomes, *self._decode()]

    def _drop_cancelled(self) -> None:
        with self._lock:
            for text in [text for text in self._waiting if text.cancellation.is_cancelled]:
                self._waiting.remove(text)
                del self._unfinished[text.number]
        for index in reversed(range(len(self._decoding))):
            if self._decoding[index].cancellation.is_cancelled:
                self._end(self._decoding[index])
                self._free(index)

    def _prefill(self) -> Iterator[tuple[int, Outcome]]:
        """Feed chunks of prompts; the first tokens of the texts whose prompts are complete now."""
        fed = 0
        while fed < self._prompt_tokens_per_step or not self._decoding:
            text = self._prefilling or self._next()
            if text is None:
                return
            try:
                if not text.chunks:
                    self._begin(text)
                chunk = text.chunks.popleft()
                fed += chunk.shape[1]
                token = self._feed(text, chunk)
            except Cancelled:
                self._give_up_prompt(text)
            except Exception as error:  # processors may be the caller's, and raise anything
                self._give_up_prompt(text)
                yield text.number, error
            else:
                if token:
                    yield text.number, token

    def _next(self) -> _Running | None:
        """Give the next text that waits the first free row; None where nothing waits or no row is free."""
        if len(self._decoding) == self.rows:
            return None
        with self._lock:
            self._prefilling = self._waiting.popleft() if self._waiting else None
        return self._prefilling

    def _begin(self, text: _Running) -> None:
        """Make room for ``text``, restore what is known of its prompt, and cut the rest into chunks."""
        request = text.request
        self._reserve(len(request.ids) + request.max_new_tokens - 1)
        row = self._row_of_prompt()
        row.truncate(0)
        ids = text.shown()
        if self.prefixes and not text.wants_prompt_scores:
            text.restored = self.prefixes.restore(ids, row)
        rest = np.array([ids[text.restored :]], np.int64)
        longest = self._session.prefill_chunk
        if self._decoding and self._session.device == "cpu":  # a GPU takes no longer for them
            longest = min(longest, self._prompt_tokens_per_step)
        text.chunks.extend(cut_into_chunks(rest, longest))

    def _feed(self, text: _Running, chunk: Ids) -> Token | None:
        """The first token of ``text`` where ``chunk`` was the last of its prompt."""
        logits = self._prompt_logits(text, chunk)
        if text.chunks:
            return None
        if self.prefixes:
            self.prefixes.keep(text.shown(), self._row_of_prompt(), text.restored)
        token = text.add(logits[0, -1])
        self._prefilling = self._prefilling_row = None
        if token.finish_reason:
            self._end(text)
        else:
            self._decoding.append(text)
            self._decoding_rows = None
        return token

    def _give_up_prompt(self, text: _Running) -> None:
        self._prefilling = self._prefilling_row = None
        self._end(text)

    def _prompt_logits(self, text: _Running, chunk: Ids) -> StepLogits | TopLogits:
        row, request = self._row_of_prompt(), text.request
        if not text.wants_prompt_scores:
            return self._session.forward_top(
                chunk, row, request.needed_logits, cancel=text.cancellation
            )
        logits = self._session.forward(chunk, row, keep=chunk.shape[1], cancel=text.cancellation)
        assert request.prompt_scores
        request.prompt_scores.add(logits[0])
        return logits

    def _slide(self) -> None:
        """Texts that have reached the context limit are fed again."""
        for index in reversed(range(len(self._decoding))):
            if (text := self._decoding[index]).is_full:
                with self._lock:
                    self._waiting.appendleft(text)
                self._free(index)

    def _decode(self) -> list[tuple[int, Outcome]]:
        if len(self._decoding) == 1 and not self._prefilling:
            text, speculator = self._decoding[0], self._decoding[0].request.speculator
            if speculator:
                outcomes = self._drafted_tokens(text, speculator)
                self._end_finished([outcomes[-1]])
                return [(text.number, outcome) for outcome in outcomes]
        texts = list(self._decoding)
        outcomes = self._next_tokens(texts) if texts else []
        self._end_finished(outcomes)
        return [(text.number, outcome) for text, outcome in zip(texts, outcomes, strict=True)]

    def _end_finished(self, outcomes: Sequence[Outcome]) -> None:
        """Free the rows whose texts have ended; ``outcomes`` are the last of each row."""
        for row in reversed(range(len(outcomes))):
            outcome = outcomes[row]
            if isinstance(outcome, Exception) or outcome.finish_reason:
                self._end(self._decoding[row])
                self._free(row)

    def _drafted_tokens(self, text: _Running, speculator: Speculator) -> list[Outcome]:
        """The next tokens of the only text that decodes, one at least."""
        shown, request = text.shown(), text.request
        context = Context(self._session, cache=self._cache.rows(0, 1), ids=shown[:-1])
        context.slide = request.slide
        room = min(request.draft_room(len(text.ids)), context.room(len(text.ids)))
        outcomes = list[Outcome]()
        try:
            draft, logits = speculator.advance(context, text.ids, room, request.chain)
            for token in request.choose_while_drafted(text.ids, logits, draft):
                outcomes.append(token)
        except Exception as error:  # as of `_next_tokens` and `_outcome`
            outcomes.append(error)
        context.truncate(len(shown) - 1 + len(outcomes))
        return outcomes

    def _next_tokens(self, texts: list[_Running]) -> list[Outcome]:
        if self._decoding_rows is None:
            self._decoding_rows = self._cache.rows(0, len(texts))
        ids = np.array([[text.ids[-1]] for text in texts], np.int64)
        counts = [text.request.needed_logits for text in texts]
        needed = max(counts) if all(counts) else 0
        try:
            logits = self._session.forward_top(ids, self._decoding_rows, needed)
        except Exception as error:  # beside our own, such as MemoryError
            return [error] * len(texts)
        return [_outcome(text, logits[row, -1]) for row, text in enumerate(texts)]

    def _free(self, index: int) -> None:
        """Close the gap that the row ``index`` leaves with the last row, and move the one being prefilled up."""
        last = self._decoding.pop()
        if index < len(self._decoding):
            self._cache.copy_row(len(self._decoding), index)
            self._decoding[index] = last
        if self._prefilling:
            self._cache.copy_row(len(self._decoding) + 1, len(self._decoding))
        self._decoding_rows = self._prefilling_row = None

    def _reserve(self, capacity: int) -> None:
        """Make room in all rows; that may move the cache."""
        self._cache.reserve(capacity)
        self._decoding_rows = self._prefilling_row = None

    def _row_of_prompt(self) -> Cache:
        """The row that is being prefilled."""
        if self._prefilling_row is None:
            index = len(self._decoding)
            self._prefilling_row = self._cache.rows(index, index + 1)
        return self._prefilling_row

    def _end(self, text: _Running) -> None:
        with self._lock:
            del self._unfinished[text.number]


def _outcome(text: _Running, logits: Logits | TopLogits) -> Outcome:
    try:
        return text.add(logits)
    except Exception as error:  # processors may be the caller's, and raise anything
        return error
