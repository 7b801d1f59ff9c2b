"""Tasks that ask for the best of several candidates."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from gpt2xl import Continuation, ContinuationScore
from gpt2xl_eval.task import Measured, Setting


@dataclass(frozen=True)
class Candidate:
    """One of the candidates of a question."""

    continuation: Continuation
    tokens: int
    """Of the candidate alone: the first ones of the continuation."""
    text: str
    """Of the candidate alone, without the space before it."""


@dataclass(frozen=True)
class Question:
    """Candidates after the same context."""

    candidates: tuple[Candidate, ...]
    answer: int
    is_cut: bool
    """Whether the context lost tokens on its left."""
    group: str = ""
    """Questions of a group get a figure of their own; empty for none."""


Merit = Callable[[Candidate, Measured], float]
"""How good a candidate is, from the log-probabilities of the whole continuation and of the candidate alone."""


def total(candidate: Candidate, measured: Measured) -> float:
    """The log-probability of the whole continuation."""
    return measured[0]


def alone(candidate: Candidate, measured: Measured) -> float:
    """The log-probability of the candidate, without what follows it."""
    return measured[1]


def per_token(candidate: Candidate, measured: Measured) -> float:
    """The log-probability divided by tokens."""
    return measured[0] / len(candidate.continuation.ids)


def per_byte(candidate: Candidate, measured: Measured) -> float:
    """The log-probability divided by the bytes of the candidate."""
    return measured[0] / len(candidate.text.encode())


def per_character(candidate: Candidate, measured: Measured) -> float:
    """The log-probability divided by the characters of the candidate."""
    return measured[0] / len(candidate.text)


@dataclass(frozen=True)
class Candidates:
    """Questions whose candidates are scored; see ``Task``.

    A question counts as right where its answer is better than every other candidate. Where candidates share the first
    place it counts as wrong; a figure says how many such questions there are by the first merit.
    """

    name: str
    questions: Sequence[Question]
    merits: Mapping[str, Merit]
    """By the names of their figures, the main one first."""
    own_settings: Mapping[str, Setting]
    top: int = 1

    @property
    def settings(self) -> Mapping[str, Setting]:
        """What the figures depend on."""
        cut = sum(question.is_cut for question in self.questions)
        return {
            **self.own_settings,
            "questions": len(self.questions),
            "contexts cut on the left": cut,
        }

    @cached_property
    def continuations(self) -> Sequence[Continuation]:
        """Those of all candidates, question by question."""
        return [candidate.continuation for candidate in self._candidates]

    @cached_property
    def _candidates(self) -> Sequence[Candidate]:
        return [each for question in self.questions for each in question.candidates]

    def measure(self, index: int, score: ContinuationScore) -> Measured:
        """The log-probabilities of the continuation and of the candidate alone."""
        return (
            float(score.logprobs.sum()),
            float(score.logprobs[: self._candidates[index].tokens].sum()),
        )

    def figures(self, measured: Sequence[Measured]) -> Mapping[str, float]:
        """Accuracies by each merit and of each group, and the number of tied questions."""
        left = iter(measured)
        rows = [[(each, next(left)) for each in q.candidates] for q in self.questions]
        merits = {
            name: [[merit(*pair) for pair in row] for row in rows]
            for name, merit in self.merits.items()
        }
        main = next(iter(merits.values()))
        figures = {name: self._accuracy(values) for name, values in merits.items()}
        figures |= self._by_group(main)
        figures["tied questions"] = float(sum(row.count(max(row)) > 1 for row in main))
        return figures

    def _by_group(self, merits: Sequence[Sequence[float]]) -> dict[str, float]:
        groups = dict[str, list[bool]]()
        for question, is_right in zip(self.questions, self._verdicts(merits), strict=True):
            if question.group:
                groups.setdefault(question.group, []).append(is_right)
        return {f"accuracy, {group}": float(np.mean(rights)) for group, rights in groups.items()}

    def _accuracy(self, merits: Sequence[Sequence[float]]) -> float:
        return float(np.mean(list(self._verdicts(merits))))

    def _verdicts(self, merits: Sequence[Sequence[float]]) -> Iterable[bool]:
        for question, row in zip(self.questions, merits, strict=True):
            others = (*row[: question.answer], *row[question.answer + 1 :])
            yield row[question.answer] > max(others)
