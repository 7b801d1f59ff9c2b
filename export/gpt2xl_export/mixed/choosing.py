"""Choose a format for each matrix: the least loss at a size, or the smallest size at a loss.

Going from the smallest formats to finer ones, each step saves loss and costs bytes. Taken in the order of loss saved for
a byte, the steps are the solutions for all budgets, from the smallest bundle to the exact one.
"""

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


Candidates = Mapping[str, Sequence[Candidate]]
"""By weight."""
Choice = Mapping[str, Candidate]


def choose(
    candidates: Candidates, *, max_loss: float = 0.0, max_size: float = float("inf")
) -> Choice:
    """Refine the smallest formats until the loss is at most ``max_loss``, as far as ``max_size`` allows.

    Args:
        candidates: of each weight.
        max_loss: of all weights together, nats.
        max_size: of all weights together, bytes.
    """
    hulls = {name: convex(found) for name, found in candidates.items()}
    choice = {name: hull[0] for name, hull in hulls.items()}
    size, left_out = total_size(choice), set[str]()
    for name, finer in _steps(hulls):
        if total_loss(choice) <= max_loss:
            break
        larger = size + finer.size - choice[name].size
        if larger > max_size or name in left_out:
            left_out.add(name)  # later steps of other weights may fit
        else:
            choice[name], size = finer, larger
    return choice


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
