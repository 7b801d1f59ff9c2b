"""Ids that an option names, checked: numpy would take a negative one from the end."""

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from gpt2xl.errors import RequestError

TokenIds = npt.NDArray[np.int64]


def token_ids_of(name: str, ids: Iterable[int]) -> TokenIds:
    """The ``ids`` of the option ``name``, [n].

    >>> token_ids_of("suppress_tokens", [-1])
    Traceback (most recent call last):
    gpt2xl.errors.RequestError: suppress_tokens has to name ids >= 0, but names -1.

    Raises:
        RequestError: one is negative or no integer.
    """
    array = np.array(list(ids))
    if array.size and not np.issubdtype(array.dtype, np.integer):
        raise RequestError(f"{name} has to name ids >= 0, but names {array.tolist()}.")
    if array.size and array.min() < 0:
        raise RequestError(f"{name} has to name ids >= 0, but names {array.min()}.")
    return array.astype(np.int64)


def check_known(name: str, ids: TokenIds, vocab_size: int) -> None:
    """Raise RequestError where the option ``name`` names an id that is not in the vocabulary."""
    if ids.size and ids.max() >= vocab_size:
        raise RequestError(
            f"{name} names id {ids.max()}, but the vocabulary has the ids 0 to {vocab_size - 1}."
        )
