"""The probabilities of the next word of a prompt: whole words, from logits."""

import heapq
import math
from collections.abc import Collection, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from gpt2xl import Model
from gpt2xl.decoding.context import Context
from gpt2xl.decoding.logprobs import log_softmax
from gpt2xl_cli.bias.vocabulary import FOLLOWING, WORD, Kind, State, Vocabulary, read

MAX_STEPS = 400  # runs of the model for one prompt
LEAST_MASS = 1e-7  # of a beginning of a word that is kept; what is less probable is only summed up
SHARE = 0.01  # of a word's probability: beginnings that could add less are not expanded for it

Probabilities = npt.NDArray[np.float64]  # [vocab_size]


@dataclass(frozen=True)
class Beginning:
    """Tokens after the prompt that begin a word and could go on with it."""

    mass: float
    """Probability that the text goes on with these tokens."""
    ids: tuple[int, ...]
    found: bytes
    word: str
    state: State

    def __lt__(self, other: "Beginning") -> bool:
        return self.mass > other.mass  # the most probable is the first of a heap

    def may_become(self, word: str) -> bool:
        """Whether the tokens may go on to ``word``, or are it."""
        return word.encode().startswith(self.found.removeprefix(b" "))


class WordSearch:
    """Best-first search for the next words of one prompt.

    The probability of a word is the sum, over all ways to spell it in tokens, of the probability of the tokens times that
    of a token after them that ends the word: white space, punctuation, end-of-text. The search always expands the most
    probable beginning of a word, so that no word it has not met is as probable as the most probable beginning left. The
    probability of all beginnings left is `not_expanded`: with `words` and `no_word` it sums to 1. A word that `settle` was
    asked for misses less than a hundredth of its probability for each beginning left that may become it.

    >>> search = WordSearch(model, "The king")
    >>> search.find(3)
    >>> search.top(1)
    ['and']
    >>> round(sum(search.words.values()) + search.no_word + search.not_expanded, 9)
    1.0
    """

    def __init__(self, model: Model, prompt: str) -> None:
        """Compute the probabilities of the first token.

        Args:
            model: gives the logits, at temperature 1 and without any processor.
            prompt: a text; a word begins after a space, or at once where the prompt does not end in a letter or digit.

        Raises:
            RequestError: the model cannot take the prompt.
        """
        self.words = dict[str, float]()
        """By word, as far as it is known."""
        self.no_word = 0.0
        """Probability that no word comes next: punctuation, a line end, end-of-text, or more of the prompt's last word."""
        self.steps = 0
        """Runs of the model so far."""
        self._model = model
        self._vocabulary = Vocabulary(model.tokenizer, model.config.vocab_size)
        self._ids = model.prompt_ids(prompt)
        self._context = Context(model.session)
        self._heap = list[Beginning]()
        self._too_small = 0.0
        self._start(needs_space=WORD.search(prompt[-1:]) is not None)

    @property
    def not_expanded(self) -> float:
        """Probability of all beginnings whose words are not known yet."""
        return self._too_small + math.fsum(beginning.mass for beginning in self._heap)

    def top(self, count: int) -> list[str]:
        """The most probable words, the most probable first."""
        return heapq.nsmallest(count, self.words, key=lambda word: (-self.words[word], word))

    def find(self, count: int, max_steps: int = MAX_STEPS) -> None:
        """Expand until no beginning is as probable as the ``count``-th word, or ``max_steps`` are spent."""
        end = self.steps + max_steps
        while self._heap and self.steps < end:
            least = heapq.nlargest(count, self.words.values())
            if len(least) == count and least[-1] >= self._heap[0].mass:
                return
            self._expand(heapq.heappop(self._heap))

    def settle(self, words: Collection[str], max_steps: int = MAX_STEPS) -> None:
        """Expand what could add to the probabilities of ``words``, down to a hundredth of each."""
        end = self.steps + max_steps
        while self.steps < end:
            wanted = [b for b in self._heap if any(self._matters(b, word) for word in words)]
            if not wanted:
                return
            for beginning in sorted(wanted)[: end - self.steps]:
                self._heap.remove(beginning)
                self._expand(beginning)
            heapq.heapify(self._heap)

    def _matters(self, beginning: Beginning, word: str) -> bool:
        return beginning.mass > SHARE * self.words.get(word, 0.0) and beginning.may_become(word)

    def _start(self, *, needs_space: bool) -> None:
        kinds = (Kind.SPACED,) if needs_space else (Kind.SPACED, Kind.LETTER, Kind.UNCLEAR)
        probabilities = self._probabilities(())
        ids = self._vocabulary.ids(*kinds)
        self.no_word += 1.0 - float(probabilities[ids].sum())
        self._push(Beginning(1.0, (), b"", "", State.ENDED), probabilities, ids)

    def _expand(self, beginning: Beginning) -> None:
        probabilities = self._probabilities(beginning.ids)
        ids = self._vocabulary.ids(*FOLLOWING[beginning.state])
        self._end(beginning.word, beginning.mass * (1.0 - float(probabilities[ids].sum())))
        self._push(beginning, probabilities, ids)

    def _push(
        self, before: Beginning, probabilities: Probabilities, ids: npt.NDArray[np.int64]
    ) -> None:
        """Keep the beginnings that ``before`` becomes with each of ``ids``; where that ends the word, count it."""
        masses = before.mass * probabilities[ids]
        kept = masses >= LEAST_MASS
        self._too_small += float(masses[~kept].sum())
        for beginning in self._longer(before, ids[kept], masses[kept]):
            if beginning.state == State.ENDED or len(self._ids) + len(beginning.ids) > self._limit:
                self._end(beginning.word, beginning.mass)
            else:
                heapq.heappush(self._heap, beginning)

    def _longer(
        self, before: Beginning, ids: npt.NDArray[np.int64], masses: npt.NDArray[np.float64]
    ) -> Iterator[Beginning]:
        for token_id, mass in zip(ids.tolist(), masses.tolist(), strict=True):
            found = before.found + self._vocabulary.tokens[token_id]
            reading = read(found)
            yield Beginning(mass, (*before.ids, token_id), found, reading.word, reading.state)

    def _end(self, word: str, mass: float) -> None:
        mass = max(0.0, mass)  # a sum of probabilities may round to a little over 1
        if word:
            self.words[word] = self.words.get(word, 0.0) + mass
        else:
            self.no_word += mass

    @property
    def _limit(self) -> int:
        """Tokens of prompt and word at most: the context."""
        return self._model.config.n_positions

    def _probabilities(self, ids: tuple[int, ...]) -> Probabilities:
        self.steps += 1
        logits = np.asarray(self._context.advance([*self._ids, *ids]))[-1]
        return np.exp(log_softmax(logits))
