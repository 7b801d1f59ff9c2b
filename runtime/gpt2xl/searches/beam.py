"""Beam search and beam sampling, with the rules of transformers 4.57 and 5.

Two rules differ, where transformers would return texts that make no sense: a candidate at -inf is never taken, and a
text that has ended never goes on. There may be fewer beams, and fewer results than asked for, where so few tokens are
possible.
"""

from collections.abc import Sequence

import numpy as np

from gpt2xl.processors.protocol import LogitsProcessor
from gpt2xl.searches.beams import Beams
from gpt2xl.searches.candidates import best, log_probabilities, processed, sampling
from gpt2xl.searches.finished import Finished
from gpt2xl.searches.groups import group_search
from gpt2xl.searches.settings import BeamSettings, Hypothesis, Stops
from gpt2xl.sessions.cancellation import Cancellation
from gpt2xl.sessions.protocol import Session


def beam_search(
    session: Session,
    ids: Sequence[int],
    settings: BeamSettings,
    *,
    max_new_tokens: int,
    eos_token_ids: Sequence[int] = (),
    processors: Sequence[LogitsProcessor] = (),
    warpers: Sequence[LogitsProcessor] = (),
    stops: Stops | None = None,
    cancel: Cancellation | None = None,
) -> list[Hypothesis]:
    """Continue a prompt, keeping the ``num_beams`` best texts of each length.

    Args:
        session: computes the logits; the beams are rows of one cache.
        ids: the prompt, at least one id.
        settings: see `BeamSettings`.
        max_new_tokens: at least 1; the context may hold fewer.
        eos_token_ids: the ids that end a text. With groups the first one stands for the tokens of a group that is done.
        processors: change log-probabilities, not logits: all values are at most 0.
        warpers: further ones, used only with a seed. They must not shift the values: scores of several rows are
            compared (`candidates.temperature` is such a one).
        stops: ends further texts, a stop string say.
        cancel: ends the search from another thread.

    Returns:
        ``num_return_sequences`` texts, the best first.

    Raises:
        RequestError: the prompt does not fit, or no token is left to choose.
        BundleError: onnxruntime fails.
        Cancelled: by ``cancel``.
    """
    beams = Beams(session, ids, settings.num_beams, max_new_tokens, cancel)
    size = settings.num_beams // settings.num_beam_groups
    ended = [
        Finished(settings, size, beams.limit, eos_token_ids, stops)
        for _ in range(settings.num_beam_groups)
    ]
    # So many that enough go on even if each row's best candidates all end it.
    width = max(2, 1 + len(eos_token_ids)) * size
    if len(ended) > 1:
        padding = list(eos_token_ids[:1]) * size
        found = group_search(beams, ended, width, processors, settings.diversity_penalty, padding)
    else:
        changes = processors if settings.seed is None else (*processors, *warpers)
        found = _search(beams, ended[0], width, changes, settings.seed)
    return found[: settings.num_return_sequences]


def _search(
    beams: Beams,
    finished: Finished,
    width: int,
    processors: Sequence[LogitsProcessor],
    seed: int | None,
) -> list[Hypothesis]:
    pick = best if seed is None else sampling(seed)
    logits, totals = beams.start(), np.zeros(1, np.float32)
    for length in range(1, beams.limit + 1):
        scores = processed(beams.ids, log_probabilities(logits), processors)
        found = pick(scores + totals[:, None], width)
        going_on = finished.take(found, beams.new_ids, is_last=length == beams.limit)
        if not going_on or finished.is_final(float(found.scores[going_on[0]]), length):
            break
        totals = found.scores[going_on]
        logits = beams.grow(found.rows[going_on], found.tokens[going_on])
    return finished.best
