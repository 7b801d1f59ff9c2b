"""Choose a format for each matrix: the least loss at a size, or the smallest size at a loss.

Going from the smallest formats to finer ones, each step saves loss and costs bytes. Taken in the order of loss saved for
a byte, the steps lead from the smallest bundle to the exact one; each is the best of its size.
"""

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

BASE = "int4-64"
"""The format of the blocks' matrices that no rule names: int4's, at its default block size."""
BASE_HEAD = "int8-weight"


@dataclass(frozen=True)
class Candidate:
    """A format that a matrix may have."""

    form: str
    """As a keep rule names it."""
    size: int
    """Bytes."""
    loss: float
    """Nats of KL divergence."""


Candidates = dict[str, list[Candidate]]
"""By weight."""
Choice = Mapping[str, Candidate]


@dataclass(frozen=True)
class Limits:
    """What a choice may come to: one of the two."""

    loss: float | None = None
    """Nats, of all weights together."""
    size: float = math.inf
    """Bytes, of all weights together."""

    def allow(self, loss: float, size: float) -> bool:
        """Whether a choice is within them."""
        return size <= self.size and (self.loss is None or loss <= self.loss)

    def rank(self, loss: float, size: float) -> tuple[float, float]:
        """Of two choices the one with the lower rank is better."""
        fits = self.allow(loss, size)
        if self.loss is None:
            return (loss, size) if fits else (math.inf, size)
        return (size, loss) if fits else (math.inf, loss)


def choose(candidates: Candidates, limits: Limits) -> Choice:
    """The best choice within ``limits``; where none is, the nearest: the smallest, or the most exact one.

    A large matrix, such as the head of a small model, may take more than the steps of all others: each of its formats
    is tried.
    """
    largest = max(candidates, key=lambda name: max(c.size for c in candidates[name]))
    choices = [
        _improved(candidates, _greedy(candidates | {largest: [one]}, limits), limits)
        for one in candidates[largest]
    ]
    return min(choices, key=lambda choice: limits.rank(total_loss(choice), total_size(choice)))


def _greedy(candidates: Candidates, limits: Limits) -> Choice:
    """Refine the smallest formats until the loss is low enough, or nothing more fits."""
    hulls = {name: convex(found) for name, found in candidates.items()}
    choice = {name: hull[0] for name, hull in hulls.items()}
    loss, size, left_out = total_loss(choice), total_size(choice), set[str]()
    for name, finer in _steps(hulls):
        if limits.loss is not None and loss <= limits.loss:
            break
        larger = size + finer.size - choice[name].size
        if larger > limits.size or name in left_out:
            left_out.add(name)  # later steps of other weights may fit
        else:
            loss += finer.loss - choice[name].loss
            choice[name], size = finer, larger
    return choice


def _improved(candidates: Candidates, choice: Choice, limits: Limits) -> Choice:
    """Change single formats as long as that makes a better choice: what is left of the budget is used."""
    best = dict(choice)
    while True:
        loss, size = total_loss(best), total_size(best)
        changes = [
            (limits.rank(loss + c.loss - best[name].loss, size + c.size - best[name].size), name, c)
            for name, found in candidates.items()
            for c in found
        ]
        rank, name, change = min(changes, key=lambda item: item[0])
        if rank >= limits.rank(loss, size) or change == best[name]:
            return best
        best[name] = change


def _steps(hulls: Candidates) -> Iterator[tuple[str, Candidate]]:
    """(weight, its finer format), those first that save most loss for a byte."""
    steps = [
        ((before.loss - after.loss) / (after.size - before.size), name, after)
        for name, hull in hulls.items()
        for before, after in pairwise(hull)
    ]
    for _, name, after in sorted(steps, key=lambda step: -step[0]):
        yield name, after


def convex(candidates: Sequence[Candidate]) -> list[Candidate]:
    """Those worth having, the smallest first: each step saves less loss for a byte than the one before.

    >>> found = convex([Candidate("a", 1, 9.0), Candidate("b", 2, 8.0), Candidate("c", 3, 1.0), Candidate("d", 4, 2.0)])
    >>> [candidate.form for candidate in found]
    ['a', 'c']
    """
    hull: list[Candidate] = []
    for new in sorted(candidates, key=lambda c: (c.size, c.loss)):
        if hull and new.loss >= hull[-1].loss:
            continue
        while hull and (
            new.size == hull[-1].size or (len(hull) > 1 and not _bends(hull[-2], hull[-1], new))
        ):
            hull.pop()
        hull.append(new)
    return hull


def _bends(first: Candidate, middle: Candidate, last: Candidate) -> bool:
    """Whether the way to ``middle`` saves more for a byte than the way on to ``last``."""
    return (first.loss - middle.loss) * (last.size - middle.size) > (middle.loss - last.loss) * (
        middle.size - first.size
    )


def total_size(choice: Choice) -> int:
    """Bytes."""
    return sum(candidate.size for candidate in choice.values())


def total_loss(choice: Choice) -> float:
    """Nats, if losses add."""
    return sum(candidate.loss for candidate in choice.values())


def rules(choice: Choice) -> tuple[str, ...]:
    """The keep rules that give int4 these formats: one for most matrices of a kind, then the others."""
    found: list[str] = []
    for kind in dict.fromkeys(map(_kind, choice)):
        forms = {name: c.form for name, c in choice.items() if _kind(name) == kind}
        most, _ = Counter(forms.values()).most_common(1)[0]
        if most != (BASE if kind.startswith("h.") else BASE_HEAD):
            found.append(f"{most}:{kind}")
        found += [f"{form}:{name}" for name, form in forms.items() if form != most]
    return tuple(found)


def _kind(name: str) -> str:
    """The pattern of the same matrix in all layers.

    >>> _kind("h.10.mlp.c_fc.weight"), _kind("wte.weight")
    ('h.*.mlp.c_fc.weight', 'wte.weight')
    """
    prefix, number, *rest = name.split(".")
    return ".".join(["h", "*", *rest]) if prefix == "h" else f"{prefix}.{number}"
