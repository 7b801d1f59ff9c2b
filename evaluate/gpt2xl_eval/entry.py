"""What is told of a task before its data is read."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal, get_args

from gpt2xl import RequestError, Tokenizer
from gpt2xl_eval.options import EvalOptions
from gpt2xl_eval.task import Task

MakeTask = Callable[[Path, Tokenizer, int, EvalOptions], Task]
"""From the data, the tokenizer, n_positions and the options, in which nothing is left to a default."""
OptionName = Literal[
    "stride", "context", "detokenizer", "denominator", "prefix", "documents", "part"
]


@dataclass(frozen=True)
class TaskEntry:
    """A task of the list.

    Names of figures say their unit: "perplexity per word", "bits per byte". A figure whose name begins with "accuracy" is a
    share from 0 to 1.
    """

    make: MakeTask
    summary: str
    """One line: what is measured, and on what."""
    data: str
    """What --data takes, in a few words."""
    files: tuple[str, ...] = ()
    """Where the data lies as it is distributed, the preferred one first: ends of paths, with wildcards as in a shell.
    A folder ends with a slash. Empty where it has no usual name."""
    defaults: EvalOptions = field(default_factory=EvalOptions)
    """Without a limit. A context of None is n_positions, a stride of None half of the context."""
    options: frozenset[OptionName] = frozenset(
        {"stride", "context", "detokenizer", "denominator", "prefix"}
    )
    """Those that the task has; the others are refused."""
    columns: Mapping[str, str] = field(default_factory=dict)
    """Which figure stands in which column of the model card's table, such as {"WikiText2": "perplexity per word"}."""


def filled_in(name: str, entry: TaskEntry, given: EvalOptions, n_positions: int) -> EvalOptions:
    """The options of a run: the given ones, else the task's own.

    Raises:
        RequestError: the task has no such option, or it is out of its range.
    """
    nothing = EvalOptions()
    options = entry.defaults
    for option in get_args(OptionName):
        value = getattr(given, option)
        if value == getattr(nothing, option):
            continue
        if option not in entry.options:
            raise RequestError(f"task {name} has no {option}: leave --{option} out.")
        options = replace(options, **{option: value})
    context = n_positions if options.context is None else options.context
    if not 2 <= context <= n_positions:
        raise RequestError(
            f"context has to be from 2 to {n_positions}, the model's n_positions, but is {context}."
        )
    stride = max(1, context // 2) if options.stride is None else options.stride
    if not 1 <= stride <= context:
        raise RequestError(f"stride has to be from 1 to the context, {context}, but is {stride}.")
    if given.limit is not None and given.limit < 1:
        raise RequestError(f"limit has to be >= 1, but is {given.limit}.")
    return replace(options, context=context, stride=stride, limit=given.limit)
