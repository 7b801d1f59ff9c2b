"""Draws texts from random logits under a random grammar, and counts what became of them."""

import re
import time
from collections import Counter
from copy import deepcopy
from dataclasses import dataclass, field
from random import Random
from typing import Literal

import numpy as np
from tests.runtime.constraints.random_grammars import Case, random_case

from gpt2xl.constraints.constraint import Constraint
from gpt2xl.constraints.vocabulary import Vocabulary
from gpt2xl.errors import RequestError
from gpt2xl.sessions.protocol import Logits

Outcome = Literal["complete", "length", "refused", "dead end", "WRONG"]
CLOSERS = (b'"', b"]", b"}", b"1", b", ")
MAX_TOKENS = 60


@dataclass
class Found:
    """What became of the texts."""

    outcomes: Counter[tuple[str, Outcome]] = field(default_factory=Counter)
    """By the grammar's kind."""
    messages: Counter[str] = field(default_factory=Counter)
    """Of grammars that were refused, without what they quote."""
    notes: list[str] = field(default_factory=list)
    """Of dead ends and of what is wrong."""
    seconds: list[float] = field(default_factory=list)
    """Of each call of a constraint."""

    def total(self, outcome: Outcome) -> int:
        return sum(count for (_, found), count in self.outcomes.items() if found == outcome)


class Follower:
    """Follows random grammars with one vocabulary."""

    def __init__(self, vocabulary: Vocabulary, eos_ids: tuple[int, ...]) -> None:
        self._vocabulary = vocabulary
        self._eos_ids = eos_ids
        rng = np.random.default_rng(0)
        self._pool = rng.standard_normal((32, vocabulary.size)).astype(np.float32)
        for token_id, token in enumerate(vocabulary.tokens):  # so that texts come to an end
            self._pool[:, token_id] += 3 * (len(token) == 1) + 2 * (token in CLOSERS)

    def follow(self, seed: int, found: Found) -> None:
        """Make a grammar from ``seed`` and generate one text."""
        rng = Random(seed)
        case = random_case(rng)
        kind = case.make.__code__.co_names[-1]
        try:
            outcome, note = self._outcome(case, rng, found)
        except Exception as reason:  # whatever happens is counted
            outcome, note = "WRONG", repr(reason)
        found.outcomes[kind, outcome] += 1
        if outcome == "refused":
            fault = note.rpartition("refused: ")[2].partition(" at ")[0]
            found.messages[re.sub(r"-?\d+(\.\d+)?", "N", fault)[:60]] += 1
        elif outcome in ("dead end", "WRONG"):
            found.notes.append(f"{outcome}, seed {seed}: {case.source!r}: {note}")

    def _outcome(self, case: Case, rng: Random, found: Found) -> tuple[Outcome, str]:
        try:
            constraint = Constraint(case.make(), self._vocabulary, 1, self._eos_ids)
        except RequestError as reason:
            return "refused", str(reason)
        try:
            ids = self._text(constraint, rng, found)
        except RequestError as reason:
            return "dead end", str(reason)
        text = self._vocabulary.tokenizer.decode(ids[1:-1])
        if ids[-1] not in self._eos_ids:
            return "length", text
        is_right = case.fits(text) and constraint.is_finished(ids)
        return "complete" if is_right else "WRONG", repr(text)

    def _text(self, constraint: Constraint, rng: Random, found: Found) -> list[int]:
        ids, eagerness = [0], rng.choice((0, 3, 8))
        while len(ids) <= MAX_TOKENS and ids[-1] not in self._eos_ids:
            logits = rng.choice(self._pool).copy()
            logits[list(self._eos_ids)] += eagerness
            start = time.perf_counter()
            masked = constraint(ids, logits)
            found.seconds.append(time.perf_counter() - start)
            chosen = int(masked.argmax())
            if rng.random() < 0.05:
                self._check(constraint, ids, logits, masked, chosen, rng)
            ids.append(chosen)
        return ids

    def _check(
        self,
        constraint: Constraint,
        ids: list[int],
        logits: Logits,
        masked: Logits,
        chosen: int,
        rng: Random,
    ) -> None:
        """A copy, and the constraint after it has been back, give the same; a draft is cut after what fits."""
        assert (deepcopy(constraint)(ids, logits) == masked).all(), "a copy differs"
        constraint(ids[: rng.randint(1, len(ids))], logits)
        assert (constraint(ids, logits) == masked).all(), "it differs after going back"
        accepted = constraint.accepted(ids, [chosen, self._vocabulary.size - 1])
        assert accepted == [chosen][: chosen not in self._eos_ids], f"accepted {accepted}"
