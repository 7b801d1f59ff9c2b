"""Token healing: the model chooses the last tokens of a prompt again, so that a token may go past its end.

A prompt that ends in a space or in half a word ends in tokens that no text of the training had there: " king" is one
token, but after the token " " the model has hardly seen "king". So the end of the prompt is removed and generated
again, from tokens that agree with it.

As in guidance 0.0.64, the ids that are allowed are the one that was removed at that place and those that begin with
all that is left. Newer guidance also allows shorter tokens, in other splits of the same bytes; but the most probable of
these are whole words themselves (" in" of " inconv"), and the text goes on from a split that no training text had.
transformers strips white space from the prompt, re-tokenizes it and replaces its last token once and for all by the
most probable extension, so that its texts do not begin with the prompt. It does so neither here.
"""

import codecs
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from gpt2xl.constraints.vocabulary import Vocabulary
from gpt2xl.errors import RequestError
from gpt2xl.sessions.protocol import Logits


class Healing:
    """Allows only ids that repeat the removed end of a prompt, until it is used up; a logits processor of one text.

    It keeps no state, and comes after every processor that may exclude ids for another reason.

    Args:
        prompt_length: number of ids that are left of the prompt.
        removed_ids: the ids that were removed from its end.
        removed: their bytes. The generated text begins with them, unless it ends before.
        allowed: for each of the removed ids, what may stand in its place after the ones before it.
    """

    def __init__(
        self,
        prompt_length: int,
        removed_ids: tuple[int, ...],
        removed: bytes,
        allowed: tuple[npt.NDArray[np.int64], ...],
    ) -> None:
        self.prompt_length = prompt_length
        self.removed_ids = removed_ids
        self.removed = removed
        self._allowed = allowed

    def __repr__(self) -> str:
        return f"<Healing: {self.removed!r} is generated again>"

    def __call__(self, ids: Sequence[int], logits: Logits) -> Logits:
        """The logits, with -inf for every id that disagrees with what is left of the removed end.

        Args:
            ids: the text so far, what is left of the prompt included.
            logits: [vocab_size].

        Raises:
            RequestError: no id is left.
        """
        count = len(ids) - self.prompt_length
        if (
            count >= len(self._allowed)
            or tuple(ids[self.prompt_length :]) != self.removed_ids[:count]
        ):
            return logits
        kept, changed = self._allowed[count], np.full_like(logits, -np.inf)
        changed[kept] = logits[kept]
        if changed.max() == -np.inf:
            raise RequestError(
                f"token healing cannot generate {self.removed!r} again: other processors exclude every token that"
                " begins so; change their options, or leave the prompt as it is."
            )
        return changed


def heal(ids: Sequence[int], vocabulary: Vocabulary) -> tuple[list[int], Healing | None]:
    """Remove the end of a prompt as far as one longer token could hold it.

    >>> from gpt2xl.constraints.vocabulary import Vocabulary
    >>> vocabulary = Vocabulary(tokenizer, tokenizer.vocab_size)
    >>> ids, healing = heal(tokenizer.encode("Once upon a "), vocabulary)
    >>> tokenizer.decode(ids), healing
    ('Once upon a', <Healing: b' ' is generated again>)

    Args:
        ids: the prompt.
        vocabulary: the model's.

    Returns:
        What is left of the prompt, at least one id, and what generates the rest again; None where nothing is removed.
        Special tokens, and what is before them, stay.
    """
    kept = list(ids)
    count = _removable(kept, vocabulary)
    if not count:
        return kept, None
    removed_ids = tuple(kept[-count:])
    tokens = [vocabulary.tokens[token_id] for token_id in removed_ids]
    is_whole = _ends_whole(kept, vocabulary)
    allowed = []
    for position, token_id in enumerate(removed_ids):
        ways = vocabulary.extensions(b"".join(tokens[position:]), whole=is_whole)
        allowed.append(np.union1d(ways, [token_id]))
    healing = Healing(len(kept) - count, removed_ids, b"".join(tokens), tuple(allowed))
    return kept[:-count], healing


def _removable(ids: Sequence[int], vocabulary: Vocabulary) -> int:
    """The largest number of last ids whose bytes a longer token begins with."""
    found, end = 0, b""
    is_whole = _ends_whole(ids, vocabulary)
    for count in range(1, len(ids)):
        token = vocabulary.tokens[ids[-count]]
        end = token + end
        if not token or len(end) >= vocabulary.longest:
            break
        ways = vocabulary.extensions(end, whole=is_whole)
        if (
            ways.size and vocabulary.tokens[ways[-1]] != end
        ):  # the last one is the longest of its beginning
            found = count
    return found


def _ends_whole(ids: Sequence[int], vocabulary: Vocabulary) -> bool:
    """Whether ``ids`` do not end in the middle of a character."""
    decoder = codecs.getincrementaldecoder("utf-8")("ignore")
    decoder.decode(b"".join(vocabulary.tokens[token_id] for token_id in ids[-4:]))
    return not decoder.getstate()[0]
