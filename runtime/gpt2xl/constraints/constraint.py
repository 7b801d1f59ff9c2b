"""Constrained output: a logits processor that allows only the tokens that a grammar allows."""

from collections.abc import Collection, Sequence
from copy import copy

import numpy as np
import numpy.typing as npt

from gpt2xl.constraints.grammar import Grammar
from gpt2xl.constraints.llguidance_api import problem
from gpt2xl.constraints.vocabulary import Vocabulary
from gpt2xl.decoding.context import common_prefix
from gpt2xl.errors import RequestError
from gpt2xl.sessions.protocol import Logits


class Constraint:
    """Excludes every id that would lead out of a grammar; a logits processor of one text.

    End-of-text is allowed where the grammar allows the end; where nothing else may follow, nothing else is allowed. It
    needs the logits of the whole vocabulary, and comes after every processor that may exclude ids for another reason,
    so that it notices when no id is left. The ids may go back to an earlier state of the text, or to another text
    after the same prompt. A deep copy is independent of the original.

    Args:
        grammar: what the text after the prompt has to match.
        vocabulary: the model's.
        prompt_length: number of ids before the text.
        eos_ids: ids that end a text; may be empty. A model without any has to be stopped where `is_finished`.

    Raises:
        RequestError: a grammar that this vocabulary cannot follow.
    """

    def __init__(
        self,
        grammar: Grammar,
        vocabulary: Vocabulary,
        prompt_length: int,
        eos_ids: Collection[int] = (),
    ) -> None:
        self.grammar = grammar
        self._vocabulary = vocabulary
        self._prompt_length = prompt_length
        self._eos_ids = frozenset(i for i in eos_ids if i < vocabulary.size)
        self._ends = np.array(sorted(self._eos_ids), np.int64)
        # Their bytes may occur in the grammar, but as tokens they would end the text.
        self._ordinary_ends = np.array([i for i in self._ends if vocabulary.tokens[i]], np.int64)
        self._matcher = vocabulary.matcher(grammar)
        self._ids: list[int] = []  # that the matcher has consumed
        self._has_ended = False
        self._allowed: npt.NDArray[np.bool_] | None = None  # after these ids

    def __call__(self, ids: Sequence[int], logits: Logits) -> Logits:
        """The logits with -inf for every id that the grammar excludes.

        Args:
            ids: the text so far, prompt included.
            logits: [vocab_size].

        Raises:
            RequestError: no id is left, or ``ids`` do not fit the grammar.
        """
        allowed = self._allowed_after(ids)[:-1]
        if logits.shape != allowed.shape:
            raise RequestError(f"a grammar needs all {allowed.size} logits, but got {logits.size}.")
        changed = np.full_like(logits, -np.inf)
        np.copyto(changed, logits, where=allowed)
        if changed.max() == -np.inf:
            raise self._dead_end(allowed)
        return changed

    def is_finished(self, ids: Sequence[int]) -> bool:
        """Whether the text is complete and nothing but its end may follow.

        Args:
            ids: the text so far, prompt included.

        Raises:
            RequestError: ``ids`` do not fit the grammar.
        """
        self._follow(ids)
        if not (self._has_ended or self._matcher.is_accepting()):
            return False
        allowed = self._allowed_after(ids)
        return bool(allowed[-1] and np.count_nonzero(allowed) == 1 + self._ends.size)

    def accepted(self, ids: Sequence[int], draft: Sequence[int]) -> list[int]:
        """The beginning of ``draft``, up to the first token that cannot follow ``ids``.

        Args:
            ids: the text so far, prompt included.
            draft: draft tokens after it.

        Raises:
            RequestError: ``ids`` do not fit the grammar.
        """
        self._follow(ids)
        count = 0 if self._has_ended else self._matcher.validate_tokens(list(draft))
        return list(draft[:count])

    def __deepcopy__(self, memo: object) -> "Constraint":
        twin = copy(self)
        twin._matcher, twin._ids = self._matcher.deep_copy(), list(self._ids)
        return twin

    def _allowed_after(self, ids: Sequence[int]) -> npt.NDArray[np.bool_]:
        """For each id, and at last for the end of the text, whether it may follow ``ids``."""
        self._follow(ids)
        if self._allowed is None:
            self._allowed = self._computed()
        return self._allowed

    def _computed(self) -> npt.NDArray[np.bool_]:
        count = self._vocabulary.size + 1
        if self._has_ended:
            allowed = np.zeros(count, np.bool_)
            allowed[-1] = True
        else:
            bits = np.frombuffer(self._matcher.compute_bitmask(), np.uint8)
            if self._matcher.is_error():
                raise self._failure()
            allowed = np.unpackbits(bits, count=count, bitorder="little").view(np.bool_)
        allowed[self._ordinary_ends] = False
        if allowed[-1]:
            allowed[self._ends] = True
        return allowed

    def _follow(self, ids: Sequence[int]) -> None:
        """Bring the matcher to ``ids``: back to what it shares with them, then on."""
        text = list(ids[self._prompt_length :])
        known = common_prefix(self._ids, text)
        if known < len(self._ids) or len(text) > known or self._has_ended:
            self._go_back(known)
            self._go_on(text[known:])

    def _go_back(self, length: int) -> None:
        self._allowed = None
        if not self._matcher.rollback(len(self._ids) - length):
            raise self._failure()
        del self._ids[length:]

    def _go_on(self, new: list[int]) -> None:
        ends = [position for position, token_id in enumerate(new) if token_id in self._eos_ids]
        self._has_ended = bool(ends)
        new = new[: ends[0]] if ends else new
        count = self._matcher.try_consume_tokens(new)
        self._ids += new[:count]
        if self._matcher.is_error():
            raise self._failure()
        if count < len(new):
            raise RequestError(
                f"token {new[count]} ({self._text([new[count]])}) after {self._text()} does not fit the"
                f" {self.grammar}: a processor or sampler after the grammar chose what it excludes."
            )

    def _failure(self) -> RequestError:
        found = problem(self._matcher.get_error())
        if found.startswith("NoExtension"):
            return self._dead_end(np.zeros(0, np.bool_))
        return RequestError(f"the {self.grammar} cannot be followed after {self._text()}: {found}.")

    def _dead_end(self, allowed: npt.NDArray[np.bool_]) -> RequestError:
        if allowed.any():
            reason = "other processors exclude every token that it allows; change their options"
        elif self._allowed is not None and self._allowed[-1]:
            reason = "it is complete, and the model has no end-of-text: stop where `is_finished`"
        else:
            reason = "no text matches it, or only one whose tokens the model lacks or stops at; change it"
        return RequestError(f"the {self.grammar} allows no token after {self._text()}: {reason}.")

    def _text(self, ids: Sequence[int] | None = None) -> str:
        found = self._vocabulary.tokenizer.decode(self._ids if ids is None else ids)
        return repr(found[-30:])
