"""The columns that texts add to a table. Their types never depend on the rows, so that batches fit together."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import numpy.typing as npt

from gpt2xl.errors import RequestError
from gpt2xl.options.generation import GenerationOptions
from gpt2xl.text.results import Generation
from gpt2xl.udf.rows import Outcome

Column = npt.NDArray[Any]
REPORTS = ("logprobs", "prompt_logprobs")
"""Options that add a column of JSON."""


def reports_of(options: GenerationOptions) -> list[str]:
    """The columns of JSON that ``options`` ask for."""
    return [name for name in REPORTS if getattr(options, name) is not None]


def added_names(reports: Sequence[str]) -> list[str]:
    """The names of the columns, without a prefix."""
    return ["text", "finish_reason", "new_tokens", "seed", "error", *reports]


def outcome_columns(outcomes: Sequence[Outcome], reports: Sequence[str]) -> dict[str, Column]:
    """One value for each row: empty texts, 0 tokens and seed -1 where there is none."""
    rows = [_values(outcome) for outcome in outcomes]
    types: dict[str, Any] = {"new_tokens": np.int64, "seed": np.int64}
    return {
        name: np.array([row.get(name, "") for row in rows], types.get(name, object))
        for name in added_names(reports)
    }


def added_values(generation: Generation) -> dict[str, Any]:
    """What a text adds to its row, in types that JSON has; reports are as in `Generation.to_dict`."""
    values = {
        "text": generation.text,
        "finish_reason": generation.finish_reason,
        "new_tokens": len(generation.new_ids),
        "seed": generation.seed,
    }
    found = {name: getattr(generation, name) for name in REPORTS}
    return values | {
        name: [item and asdict(item) for item in items]
        for name, items in found.items()
        if items is not None
    }


def _values(outcome: Outcome) -> dict[str, Any]:
    if isinstance(outcome, RequestError):
        return {"error": str(outcome), "new_tokens": 0, "seed": -1}
    values = added_values(outcome)
    reports = {name: json.dumps(values[name]) for name in REPORTS if name in values}
    return values | {"seed": -1 if outcome.seed is None else outcome.seed} | reports
