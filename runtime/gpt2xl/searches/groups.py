"""Diverse beam search: groups of beams, each kept away from the tokens that the groups before it have just chosen.

Vijayakumar et al., "Diverse beam search", 2016, with the Hamming diversity and the rules of transformers 4.55. They
differ from those of plain beam search: all beams that are left at the end compete, and the best candidate of a step
decides whether a group is done, even one that has ended.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from gpt2xl.processors.protocol import LogitsProcessor
from gpt2xl.searches.beams import Beams
from gpt2xl.searches.candidates import Candidates, best, log_probabilities, processed
from gpt2xl.searches.finished import Finished
from gpt2xl.searches.settings import Hypothesis
from gpt2xl.sessions.protocol import Ids


class _Group:
    """Some of the beams.

    Args:
        finished: the texts of this group that have ended.
        width: candidates of a step.
    """

    def __init__(self, finished: Finished, width: int) -> None:
        self.finished, self.is_done = finished, False
        self.rows = np.zeros(1, np.int64)
        """Where its beams are among all."""
        self.going_on = Candidates(self.rows, self.rows, np.zeros(1, np.float32))
        """What `choose` chose; at first the prompt."""
        self._width = width

    def choose(self, scores: npt.NDArray[np.float32], new_ids: Ids) -> None:
        """Choose the next tokens.

        Args:
            scores: log-probabilities after each beam of the group, [beams, vocab_size].
            new_ids: of the beams of all groups.
        """
        found = best(scores + self.going_on.scores[:, None], self._width)
        found = Candidates(self.rows[found.rows], found.tokens, found.scores)
        chosen = self.finished.take(found, new_ids)
        self.is_done = not chosen or self.finished.is_final(
            float(found.scores[0]), new_ids.shape[1] + 1
        )
        self.going_on = Candidates(found.rows[chosen], found.tokens[chosen], found.scores[chosen])

    def finish(self, new_ids: Ids) -> None:
        """Let the beams that could go on end here."""
        rest = self.going_on
        for row, token, total in zip(rest.rows, rest.tokens, rest.scores, strict=True):
            self.finished.add(new_ids[row].tolist(), int(token), float(total), "length")


def group_search(
    beams: Beams,
    ended: Sequence[Finished],
    width: int,
    processors: Sequence[LogitsProcessor],
    diversity_penalty: float,
    padding: Sequence[int],
) -> list[Hypothesis]:
    """Search in groups.

    Args:
        beams: at the prompt.
        ended: for each group where its finished texts go.
        width: candidates of a step in each group.
        processors: as of `beam_search`; diversity comes before them.
        diversity_penalty: as of `BeamSettings`.
        padding: what counts as chosen by a group that is done.

    Returns:
        The finished texts of all groups, the best first.
    """
    groups = [_Group(finished, width) for finished in ended]
    logits = beams.start()
    for length in range(1, beams.limit + 1):
        log_probs, chosen = log_probabilities(logits), list[int]()
        for group in groups:
            if group.is_done:
                chosen += padding
                continue
            own = _penalized(log_probs[group.rows], chosen, diversity_penalty)
            group.choose(processed(beams.ids[group.rows], own, processors), beams.new_ids)
            chosen += group.going_on.tokens.tolist()
        open_groups = [group for group in groups if not group.is_done]
        if not open_groups or length == beams.limit:
            break
        logits = _grow(beams, open_groups)
    for group in open_groups:
        group.finish(beams.new_ids)
    every = [text for finished in ended for text in finished.best]
    return sorted(every, key=lambda text: -text.score)


def _grow(beams: Beams, groups: Sequence[_Group]) -> npt.NDArray[np.float32]:
    sizes = [len(group.going_on.rows) for group in groups]
    rows = np.split(np.arange(sum(sizes)), np.cumsum(sizes)[:-1])
    sources = np.concatenate([group.going_on.rows for group in groups])
    tokens = np.concatenate([group.going_on.tokens for group in groups])
    for group, own in zip(groups, rows, strict=True):
        group.rows = own
    return beams.grow(sources, tokens)


def _penalized(
    scores: npt.NDArray[np.float32], chosen: Sequence[int], penalty: float
) -> npt.NDArray[np.float32]:
    """``scores``, changed in place: ``penalty`` is taken from each token as often as it is in ``chosen``."""
    tokens, counts = np.unique(np.array(chosen, np.int64), return_counts=True)
    scores[:, tokens] -= (penalty * counts).astype(np.float32)
    return scores
