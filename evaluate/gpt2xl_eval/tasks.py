"""The tasks by name."""

from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path

from gpt2xl import RequestError, Tokenizer
from gpt2xl_eval.corpora.entries import CORPORA
from gpt2xl_eval.entry import TaskEntry, filled_in
from gpt2xl_eval.options import EvalOptions
from gpt2xl_eval.questions.entries import QUESTIONS
from gpt2xl_eval.task import Task

TASKS: Mapping[str, TaskEntry] = {**QUESTIONS, **CORPORA}
"""In the order in which they are listed."""


def entry_of(name: str) -> TaskEntry:
    """The task ``name``; RequestError where there is none."""
    if name not in TASKS:
        close = get_close_matches(name.casefold(), TASKS, 1, 0.5)
        hint = f"did you mean '{close[0]}'?" if close else f"tasks are {', '.join(TASKS)}."
        raise RequestError(f"there is no task '{name}'; {hint}")
    return TASKS[name]


def make_task(
    name: str, path: Path, tokenizer: Tokenizer, n_positions: int, options: EvalOptions
) -> Task:
    """Read the data of a task.

    Raises:
        RequestError: there is no such task, its data cannot be read, or it has no such option.
    """
    entry = entry_of(name)
    return entry.make(path, tokenizer, n_positions, filled_in(name, entry, options, n_positions))
