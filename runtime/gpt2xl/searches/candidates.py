"""The next tokens of all beams, ranked together."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from gpt2xl.decoding.samplers import NOTHING_TO_CHOOSE
from gpt2xl.errors import RequestError
from gpt2xl.processors.protocol import LogitsProcessor
from gpt2xl.sessions.protocol import Ids

Scores = npt.NDArray[np.float32]  # [rows, vocab_size], of texts up to and with each next token
Pick = Callable[[Scores, int], "Candidates"]


@dataclass(frozen=True)
class Candidates:
    """Texts one token longer, the best first."""

    rows: npt.NDArray[np.int64]
    """For each the row that it continues."""
    tokens: npt.NDArray[np.int64]
    """For each its last id."""
    scores: npt.NDArray[np.float32]


def log_probabilities(logits: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Natural logarithms of the probabilities over the last axis.

    >>> np.exp(log_probabilities(np.zeros((1, 4), np.float32))).tolist()
    [[0.25, 0.25, 0.25, 0.25]]
    """
    with np.errstate(invalid="ignore"):  # where all are -inf: `best` refuses what is not a number
        shifted = logits - logits.max(-1, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(-1, keepdims=True)))


def processed(
    texts: Ids, scores: npt.NDArray[np.float32], processors: Sequence[LogitsProcessor]
) -> npt.NDArray[np.float32]:
    """``scores`` after ``processors``.

    Args:
        texts: ids of each row, prompt included, [rows, n].
        scores: log-probabilities or logits of each row's next token, [rows, vocab_size].
        processors: called one after the other.

    Raises:
        RequestError: a processor returned something of another shape.
    """
    if not processors:
        return scores
    found = np.empty_like(scores)
    for number, ids in enumerate(texts.tolist()):
        values = scores[number]
        values.flags.writeable = False
        for processor in processors:
            values = processor(ids, values)
            if np.shape(values) != scores.shape[1:]:
                raise RequestError(
                    f"a logits processor returned an array of shape {np.shape(values)}, not of shape"
                    f" {scores.shape[1:]}."
                )
        found[number] = values
    return found


def best(scores: Scores, count: int) -> Candidates:
    """The ``count`` candidates with the largest scores, of a tie the first; never one at -inf.

    >>> best(np.array([[1, 3], [-np.inf, 2]], np.float32), 3).tokens.tolist()
    [1, 1, 0]

    Raises:
        RequestError: there is none, or a score is infinite or not a number.
    """
    return _candidates(scores, _largest(scores.ravel(), count))


def sampling(seed: int) -> Pick:
    """Draws candidates without replacement, each with its probability, softmax(scores); the best first again.

    The largest of scores plus independent Gumbel noise are such a draw: Kool, van Hoof and Welling, "Stochastic beams
    and where to find them", 2019.
    """
    rng = np.random.default_rng(seed)

    def draw(scores: Scores, count: int) -> Candidates:
        flat = scores.ravel()
        (possible,) = (flat > -np.inf).nonzero()
        noise = rng.gumbel(size=possible.size)
        places = possible[_largest(flat[possible] + noise, count)]
        return _candidates(scores, places[(-flat[places]).argsort(kind="stable")])

    return draw


def temperature(value: float) -> LogitsProcessor:
    """Divide log-probabilities by ``value``, as beam sampling in transformers does.

    Unlike the processor for single texts it does not shift them: scores of several rows are compared.

    >>> temperature(0.5)([], np.array([-1, -2], np.float32)).tolist()
    [-2.0, -4.0]
    """

    def divide(ids: Sequence[int], scores: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        with np.errstate(divide="ignore", over="ignore"):  # to -inf
            return (scores / value).astype(np.float32)

    return divide


def _largest(flat: npt.NDArray[np.floating], count: int) -> npt.NDArray[np.int64]:
    """Indices of the ``count`` largest of ``flat``, the largest first."""
    if not flat.size or not np.isfinite(flat.max()):  # the largest is NaN where any is
        raise RequestError(NOTHING_TO_CHOOSE)
    bound = np.partition(flat, -count)[-count] if count < flat.size else -np.inf
    (places,) = (flat >= bound if bound > -np.inf else flat > bound).nonzero()
    return places[(-flat[places]).argsort(kind="stable")][:count]


def _candidates(scores: Scores, places: npt.NDArray[np.int64]) -> Candidates:
    rows, tokens = np.divmod(places, scores.shape[1])
    return Candidates(rows, tokens, scores.ravel()[places])
