"""The choice of formats: the best at every budget, and the keep rules that name it."""

from itertools import product

import numpy as np
import pytest

from gpt2xl_export.mixed.choosing import (
    Candidate,
    choose,
    convex,
    rules,
    total_loss,
    total_size,
)
from gpt2xl_export.recipes import RECIPES, assign, head_format

FORMS = ("int4-128", "int4-32", "int8", "fp32")
NAMES = [f"h.{layer}.{kind}.weight" for layer in range(3) for kind in ("attn.c_attn", "mlp.c_fc")]


def candidates(seed: int, names: list[str]) -> dict[str, list[Candidate]]:
    rng = np.random.default_rng(seed)
    found = {}
    for name in names:
        sizes = np.cumsum(rng.integers(1, 40, len(FORMS))).tolist()
        losses = sorted(rng.random(len(FORMS)).tolist(), reverse=True)
        found[name] = [Candidate(*values) for values in zip(FORMS, sizes, losses, strict=True)]
    return found


@pytest.mark.parametrize("seed", range(20))
def test_a_choice_within_a_loss_is_the_smallest_of_those_with_its_loss(seed: int) -> None:
    found = candidates(seed, NAMES)
    every = [dict(zip(found, some, strict=True)) for some in product(*found.values())]
    for limit in (0.1, 1.0, 2.5):
        choice = choose(found, max_loss=limit + total_loss({n: c[-1] for n, c in found.items()}))
        size, loss = total_size(choice), total_loss(choice)
        assert not any(total_size(o) < size and total_loss(o) <= loss - 1e-12 for o in every)


@pytest.mark.parametrize("seed", range(20))
def test_a_choice_within_a_size_fits_and_wastes_less_than_a_step(seed: int) -> None:
    found = candidates(seed, NAMES)
    smallest = sum(min(c.size for c in some) for some in found.values())
    every = [dict(zip(found, some, strict=True)) for some in product(*found.values())]
    for limit in (smallest, smallest + 30, smallest + 90):
        choice = choose(found, max_size=limit)
        assert total_size(choice) <= limit
        best = min(total_loss(o) for o in every if total_size(o) <= limit)
        largest_step = max(c.loss for some in found.values() for c in some)
        assert total_loss(choice) <= best + largest_step


def test_without_a_limit_everything_is_exact() -> None:
    found = candidates(0, NAMES)
    assert {c.form for c in choose(found, max_loss=-1).values()} == {"fp32"}


def test_formats_that_cost_more_and_lose_more_are_never_chosen() -> None:
    found = [Candidate("a", 4, 3.0), Candidate("b", 2, 3.5), Candidate("c", 2, 3.0)]
    assert [c.form for c in convex(found)] == ["c"]


def test_the_rules_give_the_formats_that_were_chosen() -> None:
    rng = np.random.default_rng(0)
    forms = ("int4-64", "int4-128", "int8", "int8-weight", "fp32")
    for _ in range(20):
        choice = {n: Candidate(forms[rng.integers(5)], 1, 0.0) for n in [*NAMES, "wte.weight"]}
        wanted = {n: c.form for n, c in choice.items()}
        wanted["wte.weight"] = head_format(wanted["wte.weight"])
        assigned = assign(RECIPES["int4"], choice, rules(choice))
        # int4 has blocks of 64 unless the export names other ones.
        assert {n: "int4-64" if f == "int4" else f for n, f in assigned.items()} == wanted


def test_rules_name_most_matrices_of_a_kind_at_once() -> None:
    choice = {name: Candidate("int8", 1, 0.0) for name in NAMES}
    choice["h.1.mlp.c_fc.weight"] = Candidate("fp32", 1, 0.0)
    assert rules(choice) == (
        "int8:h.*.attn.c_attn.weight",
        "int8:h.*.mlp.c_fc.weight",
        "fp32:h.1.mlp.c_fc.weight",
    )
