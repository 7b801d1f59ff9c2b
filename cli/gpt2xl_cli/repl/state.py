"""The state of a prompt: a text, the steps that led to it, and the options of the next generation."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from gpt2xl import GenerationOptions, Model, RequestError, Tokenizer
from gpt2xl_cli.repl.document import Document, appended, edited, ids_of_text, shown, text_of
from gpt2xl_cli.repl.history import History, Step
from gpt2xl_cli.repl.option_values import with_value


@dataclass(frozen=True)
class ModelFacts:
    """What the state has to know of the model; it does not run it."""

    tokenizer: Tokenizer
    n_positions: int
    vocab_size: int
    eos_token_ids: frozenset[int] = frozenset()
    start_ids: tuple[int, ...] = ()
    """What an empty text starts from; none where the model has no such token."""

    @classmethod
    def of(cls, model: Model) -> "ModelFacts":
        """Those of ``model``."""
        config = model.config
        try:
            start = tuple(model.prompt_ids(""))
        except RequestError:  # it has neither beginning- nor end-of-text
            start = ()
        return cls(
            model.tokenizer, config.n_positions, config.vocab_size, config.eos_token_ids, start
        )


@dataclass(frozen=True)
class Turn:
    """A generation to run."""

    document: Document
    """What it continues."""
    first: int
    """See `Step`."""
    options: GenerationOptions
    prompt: list[int]
    """What the model is given: the ids of ``document``, or what its context holds of them."""


class ReplState:
    """A text that grows by prompts and generations; holds no terminal and runs no model.

    Args:
        facts: of the model.
        options: of generations. ``seed`` is that of the next one; each takes the next number. None: each draws its own.
    """

    def __init__(self, facts: ModelFacts, options: GenerationOptions) -> None:
        self.facts = facts
        self.options = options
        self.history = History()

    @property
    def document(self) -> Document:
        """The text now, as ids."""
        return self.history.document

    @property
    def text(self) -> str:
        """The text now."""
        return self.text_of(self.document)

    @property
    def is_full(self) -> bool:
        """Whether the text fills the context and may not slide."""
        is_long = len(self.document.ids) >= self.facts.n_positions
        return is_long and self.options.overflow == "stop"

    def text_of(self, document: Document, position: int = 0) -> str:
        """The text of ``document`` from an id on."""
        hidden = max(0, document.hidden - position)
        return text_of(Document(document.ids[position:], hidden), self.facts.tokenizer)

    def set_option(self, name: str, text: str) -> None:
        """Set an option to the value that ``text`` writes; raises RequestError."""
        self.options = with_value(self.options, name, text)

    def append(self, text: str) -> None:
        """Add ``text``, which is tokenized by itself; raises RequestError where it cannot be."""
        document = self.document
        encode, special = self.facts.tokenizer.encode, self.options.parse_special
        if not document.ids:  # what the tokenizer puts before every text
            first = tuple(encode(""))
            document = Document(first, len(first))
        ids = encode(text, parse_special=special, add_special_tokens=False)
        self._push_text("prompt", appended(document, ids))

    def edit(self, text: str) -> bool:
        """Replace the text; False where it is the same."""
        if text == self.text:
            return False
        special = self.options.parse_special
        after = edited(self.document, text, self.facts.tokenizer, parse_special=special)
        self._push_text("edit", after)
        return True

    def clear(self) -> None:
        """Start a new text; `History.undo` brings the old one back."""
        self.history.push(Step("new", Document()))

    def turn(self) -> Turn:
        """The generation that continues the text.

        Raises:
            RequestError: the context is full, or the model has nothing to start an empty text from.
        """
        start = self.facts.start_ids
        document = self.document if self.document.ids else Document(start, len(start))
        return self._turn(document, len(document.ids))

    def turn_again(self, seed: int | None = None) -> Turn:
        """The last generation again.

        Args:
            seed: None takes that of the next generation.

        Raises:
            RequestError: the last step is no generation, or as `turn`.
        """
        step = self.last_generation()
        return self._turn(step.base, step.first, seed)

    def turn_instead(self, position: int, token_id: int) -> Turn:
        """The generation that goes on from ``token_id`` in place of the id at ``position``, or behind the last one."""
        step, document = self.history.current, self.document
        is_generated = step is not None and step.kind == "generation" and position >= step.first
        first = step.first if step is not None and is_generated else position
        return self._turn(Document((*document.ids[:position], token_id), document.hidden), first)

    def cut(self, position: int) -> None:
        """End the text before the id at ``position``."""
        self._push_text("edit", Document(self.document.ids[:position], self.document.hidden))

    def add_generation(
        self,
        turn: Turn,
        new_ids: Sequence[int],
        seed: int | None,
        *,
        healed: int = 0,
        cut_text: str | None = None,
    ) -> None:
        """Take what a turn has generated.

        Args:
            turn: from `turn`, `turn_again` or `turn_instead`.
            new_ids: what was generated.
            seed: of the sampler.
            healed: how many of the last ids of ``turn.document`` token healing has generated again.
            cut_text: the new text up to a stop string that ended it; what ``new_ids`` have beyond is left out.
        """
        base, kept = turn.document, len(turn.document.ids) - healed
        if cut_text is not None:
            repeated = text_of(Document(base.ids[kept:]), self.facts.tokenizer)
            new_ids = ids_of_text(new_ids, repeated + cut_text, self.facts.tokenizer)
        after = Document((*base.ids[:kept], *new_ids), base.hidden)
        self.history.push(Step("generation", after, min(turn.first, kept), base, seed))

    def last_generation(self) -> Step:
        """The current step, which has to be a generation; raises RequestError."""
        step = self.history.current
        if step is None or step.kind != "generation":
            raise RequestError(
                "the last step is no generation: press Enter on an empty line first."
            )
        return step

    def shown(self, ids: Sequence[int]) -> list[int]:
        """What the model is given of a text; raises RequestError where it does not fit."""
        options, n_positions = self.options, self.facts.n_positions
        if options.overflow == "slide":
            window = options.overflow_window
            window = max(1, n_positions // 2) if window is None else window
            if options.overflow_keep + window < n_positions:  # else the model refuses the options
                return shown(ids, options.overflow_keep, window, n_positions)
            return list(ids)
        if len(ids) > n_positions:
            raise RequestError(
                f"the text has {len(ids)} tokens, but the model's context is {n_positions}:"
                " `/set overflow slide` goes on, /undo or /edit shorten it."
            )
        return list(ids)

    def _turn(self, document: Document, first: int, seed: int | None = None) -> Turn:
        if not document.ids:
            raise RequestError("the text is empty and this model cannot start from nothing: type.")
        prompt = self.shown(document.ids)
        seed = self._next_seed() if seed is None else seed
        return Turn(document, first, replace(self.options, seed=seed), prompt)

    def _next_seed(self) -> int | None:
        """The seed of the next generation; the one after it gets the next number."""
        seed = self.options.seed
        if seed is not None:
            self.options = replace(self.options, seed=seed + 1)
        return seed

    def _push_text(self, kind: Literal["prompt", "edit"], document: Document) -> None:
        self.history.push(Step(kind, document))
