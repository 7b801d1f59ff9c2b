"""The de-tokenizers that a task has."""

from collections.abc import Mapping
from typing import TypeVar

from gpt2xl import RequestError

Known = TypeVar("Known")


def detokenizer(task: str, name: str, known: Mapping[str, Known]) -> Known:
    """The one called ``name``.

    Raises:
        RequestError: ``task`` has no such one.
    """
    if name not in known:
        raise RequestError(
            f"detokenizer of {task} has to be one of {', '.join(known)}, but is {name!r}."
        )
    return known[name]
