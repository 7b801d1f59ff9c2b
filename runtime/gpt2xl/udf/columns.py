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


def added_names(options: GenerationOptions) -> list[str]:
    """The names of the columns, without a prefix."""
    reports = [name for name in REPORTS if getattr(options, name) is not None]
    return ["text", "finish_reason", "new_tokens", "seed", "error", *reports]


def outcome_columns(outcomes: Sequence[Outcome], options: GenerationOptions) -> dict[str, Column]:
    """One value for each row: empty texts, 0 tokens and seed -1 where there is none."""
    rows = [_values(outcome) for outcome in outcomes]
    types: dict[str, Any] = {"new_tokens": np.int64, "seed": np.int64}
    return {
        name: np.array([row.get(name, "") for row in rows], types.get(name, object))
        for name in added_names(options)
    }


def _values(outcome: Outcome) -> dict[str, Any]:
    if isinstance(outcome, RequestError):
        return {"error": str(outcome), "new_tokens": 0, "seed": -1}
    return {
        "text": outcome.text,
        "finish_reason": outcome.finish_reason,
        "new_tokens": len(outcome.new_ids),
        "seed": -1 if outcome.seed is None else outcome.seed,
        **{name: reported_json(outcome, name) for name in REPORTS},
    }


def reported_json(generation: Generation, name: str) -> str:
    """A report as in `Generation.to_dict`; empty where it was not asked for."""
    found = getattr(generation, name)
    return "" if found is None else json.dumps([item and asdict(item) for item in found])
