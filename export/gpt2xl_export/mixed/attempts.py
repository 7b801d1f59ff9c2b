"""Write a bundle in mixed precision within a budget: choose, write, measure, and correct the choice.

What is chosen rests on estimates. The bundle is measured, and where it misses the budget or leaves much of it, the
next choice aims lower or higher by as much.
"""

import math
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from gpt2xl.errors import ExportError
from gpt2xl_export.check.loss import Loss, measure_loss
from gpt2xl_export.mixed.choosing import (
    Candidate,
    Candidates,
    Choice,
    Limits,
    choose,
    rules,
    total_loss,
    total_size,
)
from gpt2xl_export.mixed.sensitivity import Losses, estimate_cost, estimate_losses, sample
from gpt2xl_export.mixed.sizes import files_bytes, manifest_bytes, matrix_sizes, other_bytes
from gpt2xl_export.options import Budget, ExportOptions
from gpt2xl_export.output.graphs import WrittenGraphs, write_graphs
from gpt2xl_export.progress import Stages, Steps
from gpt2xl_export.recipes import EMBEDDINGS, formats
from gpt2xl_export.rounding.calibration import CalibrationText, written_length
from gpt2xl_export.source.checkpoint import Checkpoint

CHOICES = ("int4-256", "int4-128", "int4-64", "int4-32", "int8", "int8-weight", "fp32")
MOST = 3
"""Attempts."""
CLOSE = {"max_kl": 0.85, "max_perplexity_loss": 0.7, "max_size": 0.99}
"""The share of a budget that has to be used; with less, the next attempt aims higher."""
MARGIN = 0.97
"""Of a corrected loss."""
SMALLEST_SHARE = 1e-9
GPTQ_GAIN, COMPENSATED_GAIN = 0.5, 0.3
"""The squared error of int4 by GPTQ, relative to rounding to nearest: with a page of text, with a long one."""


@dataclass(frozen=True)
class Mixed:
    """A bundle's graphs in mixed precision, and why they are as they are."""

    graphs: WrittenGraphs
    options: ExportOptions
    """Those that make the same bundle without a choice."""
    described: dict[str, Any]
    """For the manifest."""


@dataclass(frozen=True)
class _Attempt:
    """A bundle that was written and measured."""

    choice: Choice
    graphs: WrittenGraphs
    options: ExportOptions
    loss: Loss
    size: int

    def spent(self, budget: Budget) -> float:
        """How much of the budget: nats, percent or bytes."""
        if budget.name == "max_size":
            return self.size
        if budget.name == "max_kl":
            return self.loss.kl
        return self.loss.perplexity_loss + self.loss.standard_error

    def described(self) -> dict[str, Any]:
        """What the manifest says of it."""
        estimate = float(f"{total_loss(self.choice):.4g}")
        return {"size": self.size, "estimated_kl": estimate, **asdict(self.loss)}


class MixedExport:
    """Exports in mixed precision.

    Args:
        checkpoint: the source.
        folder: of the bundle; holds its tokenizer and configs.
        options: resolved; the precision is "auto".
        calibration: the text to calibrate on.
        held_out: the text to measure on.
        stages: of the export.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        folder: Path,
        options: ExportOptions,
        calibration: CalibrationText,
        held_out: CalibrationText,
        stages: Stages,
    ) -> None:
        assert options.budget is not None
        self._checkpoint, self._options, self._budget = checkpoint, options, options.budget
        self._calibration, self._held_out, self._stages = calibration, held_out, stages
        self._kept = folder / "kept"
        self._best: _Attempt | None = None
        self._companions = files_bytes(folder)
        self._other = other_bytes(checkpoint)
        self._forms = formats(options.block_size)
        self._sizes = matrix_sizes(checkpoint, options, self._forms, CHOICES)

    def write(self, target: Path) -> Mixed:
        """Write the graphs into the new folder ``target``.

        Raises:
            ExportError: no bundle of this model is within the budget.
        """
        least = sum(min(by_form.values()) for by_form in self._sizes.values()) + self._companions
        if self._budget.name == "max_size" and least > self._budget.limit:
            smallest = replace(self._budget, limit=least + self._other)
            raise ExportError(f"{self._budget} is not possible: the nearest is about {smallest}.")
        losses = self._estimated_losses()
        candidates = {
            name: [Candidate(form, size, losses[name][form]) for form, size in by_form.items()]
            for name, by_form in self._sizes.items()
        }
        attempts = list(self._attempts(candidates, target))
        if self._best is None:
            raise ExportError(self._missed(attempts))
        self._kept.rename(target)
        described = self._described(self._best, attempts, candidates)
        return Mixed(self._best.graphs, self._best.options, described)

    def _estimated_losses(self) -> Losses:
        """Of each matrix alone, by format; less where GPTQ will round it."""
        rows = sample(self._checkpoint, self._calibration.rows)
        report = self._stages.counter("measure")
        losses = estimate_losses(self._checkpoint, rows, self._forms, CHOICES, report)
        gain = COMPENSATED_GAIN if written_length(self._checkpoint) else GPTQ_GAIN
        if self._options.rounding == "nearest":
            gain = 1.0
        return {
            name: {form: x * (gain if _is_by_gptq(name, form) else 1) for form, x in found.items()}
            for name, found in losses.items()
        }

    def _attempts(self, candidates: Candidates, target: Path) -> Iterator[_Attempt]:
        """Bundles, each nearer to the budget; the best that is within it is kept."""
        aim = self._first_aim()
        tried: list[Choice] = []
        for number in range(1, MOST + 1):
            choice = self._choose(candidates, aim)
            if choice in tried:
                return
            tried.append(choice)
            attempt = self._write_one(choice, target, number)
            self._keep_or_drop(attempt, target)
            yield attempt
            used = attempt.spent(self._budget) / self._budget.limit
            if CLOSE[self._budget.name] <= used <= 1:
                return
            aim = self._next_aim(choice, used)

    def _keep_or_drop(self, attempt: _Attempt, target: Path) -> None:
        fits = attempt.spent(self._budget) <= self._budget.limit
        if fits and (self._best is None or self._rank(attempt) < self._rank(self._best)):
            shutil.rmtree(self._kept, ignore_errors=True)
            target.rename(self._kept)
            self._best = attempt
        else:
            shutil.rmtree(target)

    def _rank(self, attempt: _Attempt) -> float:
        """Of two bundles within the budget the one with the lower rank is better."""
        return attempt.loss.kl if self._budget.name == "max_size" else attempt.size

    def _first_aim(self) -> float:
        """What the estimates may come to: bytes of the matrices, or nats."""
        limit = self._budget.limit
        if self._budget.name == "max_size":
            return limit - self._companions - self._other
        return limit if self._budget.name == "max_kl" else math.log1p(limit / 100)

    def _next_aim(self, choice: Choice, used: float) -> float:
        """What the estimates of the next choice may come to, after one that used this share of the budget."""
        if self._budget.name == "max_size":
            return total_size(choice) + self._budget.limit * (1 - used)
        return total_loss(choice) * MARGIN / max(used, SMALLEST_SHARE)

    def _choose(self, candidates: Candidates, aim: float) -> Choice:
        if self._budget.name == "max_size":
            return choose(candidates, Limits(size=aim))
        return choose(candidates, Limits(loss=aim))

    def _write_one(self, choice: Choice, target: Path, number: int) -> _Attempt:
        options = self._options.with_formats(rules(choice))
        target.mkdir()
        report = self._stages.counter(f"weights {number}")
        graphs = write_graphs(
            self._checkpoint, target, options, lambda _: self._calibration, report
        )
        parts = self._checkpoint.config.n_layer + 2
        steps = Steps(parts, parts, self._stages.counter(f"check {number}"))
        model, rows = graphs.models["portable"], self._held_out.rows
        loss = measure_loss(self._checkpoint, model, target, rows, lambda: steps.add(1))
        size = self._companions + files_bytes(target) + manifest_bytes(len(choice))
        return _Attempt(choice, graphs, options, loss, size)

    def _missed(self, attempts: list[_Attempt]) -> str:
        spent = min(attempt.spent(self._budget) for attempt in attempts)
        nearest = replace(self._budget, limit=spent)
        return (
            f"{self._budget} is not possible: the nearest of {len(attempts)} attempts is {nearest}."
        )

    def _described(
        self, best: _Attempt, attempts: list[_Attempt], candidates: Candidates
    ) -> dict[str, Any]:
        return {
            self._budget.name: self._budget.limit,
            "held_out": {"text": self._held_out.origin, "tokens": self._held_out.tokens},
            "measured": best.described(),
            "attempts": [attempt.described() for attempt in attempts],
            "matrices": {
                name: {
                    "format": best.choice[name].form,
                    "estimated_kl": {c.form: float(f"{c.loss:.3g}") for c in found},
                    "size": {c.form: c.size for c in found},
                }
                for name, found in candidates.items()
            },
        }


def mixed_costs(checkpoint: Checkpoint, costs: Mapping[str, float]) -> dict[str, float]:
    """The stages of an export with their costs, for as many attempts as there may be.

    Args:
        checkpoint: the source.
        costs: of an export in one precision.
    """
    found = {name: costs[name] for name in ("hash", "tokenizer", "text")}
    found |= {"text 2": costs["text"] / 4, "measure": estimate_cost(checkpoint)}
    for number in range(1, MOST + 1):
        found |= {f"weights {number}": costs["weights"], f"check {number}": costs["check"]}
    return found | {"check": costs["check"]}


def _is_by_gptq(name: str, form: str) -> bool:
    return form.startswith("int4") and name not in EMBEDDINGS
