"""Features of a text: the hidden state after the final layer norm."""

from collections.abc import Sequence
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt

from gpt2xl.errors import RequestError
from gpt2xl.sessions.protocol import Session

Features = npt.NDArray[np.float32]
Pooling = Literal["none", "mean", "last"]


def features_of(session: Session, ids: Sequence[int]) -> Features:
    """[tokens, n_embd]; raises RequestError where the graph has no such output."""
    fed = np.array([ids], np.int64)
    states = session.last_hidden_state(fed, session.new_cache(capacity=len(ids)))
    return np.asarray(states[0])


def pooled(features: Features, pooling: Pooling) -> Features:
    """The features of a whole text.

    >>> pooled(np.array([[1, 2], [3, 4]], np.float32), "mean")
    array([2., 3.], dtype=float32)

    Raises:
        RequestError: no such pooling.
    """
    if pooling not in get_args(Pooling):
        raise RequestError(f"pooling has to be one of none, mean, last, but is {pooling!r}.")
    if pooling == "none":
        return features
    return np.asarray(features[-1] if pooling == "last" else features.mean(0))
