"""Many texts that share steps, each with options of its own: what servers and batches are made of."""

import secrets
from dataclasses import dataclass
from threading import Lock

from gpt2xl.decoding.logprobs import Logprobs
from gpt2xl.decoding.prefix_cache import PrefixCache
from gpt2xl.decoding.scheduler import Outcome, Scheduler
from gpt2xl.decoding.speculation import Acceptance
from gpt2xl.errors import RequestError
from gpt2xl.options.generation import GenerationOptions
from gpt2xl.preparing import Prepared, Preparer
from gpt2xl.searching import is_search
from gpt2xl.speculating import Speculation
from gpt2xl.text.prompts import Prompt
from gpt2xl.text.results import Generation, Piece, Transcript
from gpt2xl.text.tokenizer import Tokenizer


@dataclass(frozen=True)
class Update:
    """What a step did for one text."""

    number: int
    """From `Batcher.submit`."""
    piece: Piece | None = None
    """What the text has grown by; None where an error ended it."""
    generation: Generation | None = None
    """The whole text, with its last piece."""
    error: Exception | None = None
    """What ended the text."""
    prompt_logprobs: list[Logprobs | None] | None = None
    """With the first piece, where the options ask for them."""


class Batcher:
    """Generates the texts of requests that come at any time; made by `Model.batcher`.

    >>> batcher, options = model.batcher(rows=4), GenerationOptions(greedy=True, max_new_tokens=5)
    >>> numbers = [batcher.submit(prompt, options) for prompt in ("Once", "The king")]
    >>> while not batcher.is_idle:
    ...     for update in batcher.step():
    ...         if update.generation:
    ...             print(update.number, repr(update.generation.text))
    0 ' upon a time, there'
    1 ' and the Princess were very'

    `submit` and `cancel` may be called from any thread at any time; `step` is for one thread at a time. Each text is the one
    that it would be alone.

    Args:
        preparer: of the model.
        tokenizer: of the model.
        scheduler: of the model; nobody else uses it.
        speculation: drafts tokens for a text that decodes alone.
    """

    def __init__(
        self,
        preparer: Preparer,
        tokenizer: Tokenizer,
        scheduler: Scheduler,
        speculation: Speculation,
    ) -> None:
        self._preparer, self._tokenizer = preparer, tokenizer
        self._scheduler, self._speculation = scheduler, speculation
        # Of the transcripts; and no step comes between a text's entry there and in the scheduler.
        self._lock = Lock()
        self._transcripts = dict[int, Transcript]()

    @property
    def rows(self) -> int:
        """Most texts that share a step."""
        return self._scheduler.rows

    @property
    def prefixes(self) -> PrefixCache | None:
        """The prompts that are kept."""
        return self._scheduler.prefixes

    @property
    def acceptance(self) -> Acceptance:
        """Draft tokens that were checked and accepted, so far."""
        return self._speculation.acceptance

    @property
    def is_idle(self) -> bool:
        """Whether no text waits or runs."""
        return self._scheduler.is_idle

    @property
    def has_free_row(self) -> bool:
        """Whether a text submitted now would not have to wait for another one to end."""
        return self._scheduler.has_free_row

    @property
    def waiting(self) -> int:
        """Texts without a row."""
        return self._scheduler.waiting

    @property
    def running(self) -> int:
        """Texts with a row."""
        return self._scheduler.running

    def submit(self, prompt: Prompt, options: GenerationOptions) -> int:
        """Queue a text; its number.

        Args:
            prompt: as of `Model.stream`.
            options: all of them; a seed of None draws one.

        Raises:
            RequestError: as of `Model.stream`; searches and several sequences are refused.
        """
        return self.add(self.prepare(prompt, options))

    def prepare(self, prompt: Prompt, options: GenerationOptions) -> Prepared:
        """Check a text, for `add`; arguments and errors as of `submit`. It may take a moment, and holds no step up."""
        check_is_one_text(options)
        speculator = self._speculation.speculator(options)
        return self._preparer.prepare(prompt, options, drawn_seed(options), speculator)

    def add(self, prepared: Prepared) -> int:
        """Queue what `prepare` has returned, once; its number."""
        with self._lock:
            number = self._scheduler.submit(prepared.request)
            self._transcripts[number] = prepared.transcript(self._tokenizer)
        return number

    def cancel(self, number: int) -> None:
        """Give up a text: no step that begins after this has an update of it; a prompt that is being fed is cut short.

        Where the text has ended already, nothing happens.
        """
        with self._lock:
            self._transcripts.pop(number, None)
        self._scheduler.cancel(number)

    def step(self) -> list[Update]:
        """Feed prompts that wait, then one token of each text with a row; what came of it.

        A text may have several updates, in order: after its prompt, or where it decodes alone and draft tokens were accepted.
        """
        outcomes = self._scheduler.step()
        updates = (self._update(number, outcome) for number, outcome in outcomes)
        return [update for update in updates if update]

    def _update(self, number: int, outcome: Outcome) -> Update | None:
        with self._lock:
            transcript = self._transcripts.get(number)
        if transcript is None:  # cancelled, or a second token of a text that ended with the first
            return None
        try:
            if isinstance(outcome, Exception):
                raise outcome
            piece = transcript.add(outcome)
        except Exception as error:
            self.cancel(number)
            return Update(number, error=error)
        scores = transcript.prompt_logprobs if len(transcript.pieces) == 1 else None
        if not piece.finish_reason:
            return Update(number, piece, prompt_logprobs=scores)
        self.cancel(number)  # the scheduler need not know that it has ended
        return Update(number, piece, transcript.result(), prompt_logprobs=scores)


def check_is_one_text(options: GenerationOptions) -> None:
    """Refuse what is not generated token by token.

    Raises:
        RequestError: the option that asks for several texts or a search.
    """
    if is_search(options) or options.num_return_sequences > 1:
        name = (
            "num_return_sequences"
            if options.num_return_sequences > 1
            else "num_beams or penalty_alpha"
        )
        raise RequestError(f"{name} gives whole texts: use generate_sequences, or leave it out.")


def drawn_seed(options: GenerationOptions) -> int | None:
    """The seed to use; None where nothing is drawn."""
    if not options.draws:
        return None
    return secrets.randbits(32) if options.seed is None else options.seed
