"""Keeps keys and values of prompts: a later prompt that begins like one is not computed from its first token."""

from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from gpt2xl.decoding.context import common_prefix
from gpt2xl.sessions.exactness import reusable_prefix
from gpt2xl.sessions.protocol import Cache, KeysAndValues, Session

SHORTEST_KEPT = 32
"""Shorter prompts are not worth a copy."""
LEAST_NEW_SHARE = 0.25
"""A prompt is kept where at least this share of it was computed: of those with one beginning, one or two are."""


@dataclass(frozen=True)
class _Prompt:
    ids: list[int]
    keys_and_values: KeysAndValues

    @property
    def bytes(self) -> int:
        return sum(values.nbytes for values in self.keys_and_values)


class PrefixCache:
    """The prompts that were used last, up to a size in memory.

    It never changes a text: of an earlier prompt as much is used as `reusable_prefix` says, and nothing where steps round
    differently however they are cut. For one thread at a time.

    Args:
        session: of the caches.
        merges_exactly: `Exactness.may_reuse_prompts`; asked once, at the first prompt.
        most_bytes: memory for keys and values; 0 keeps nothing.
    """

    def __init__(
        self, session: Session, merges_exactly: Callable[[], bool], most_bytes: int
    ) -> None:
        self._session, self._most_bytes = session, most_bytes
        self._merges_exactly = merges_exactly
        self._prompts = OrderedDict[int, _Prompt]()  # by number, the last used one at the end
        self._kept = 0
        self.bytes = 0
        """Memory in use."""
        self.reused_tokens = 0
        """Tokens of prompts that did not have to be computed, so far."""

    def restore(self, ids: Sequence[int], row: Cache) -> int:
        """Fill ``row`` with what is known of the beginning of the prompt ``ids``; how many tokens that is."""
        found, length = self._longest(list(ids))
        if found is None:
            return 0
        self._prompts.move_to_end(found)
        values = self._prompts[found].keys_and_values
        row.fill([each[:, :, :length] for each in values])
        self.reused_tokens += length
        return length

    def keep(self, ids: Sequence[int], row: Cache, restored: int) -> None:
        """Keep a prompt that ``row`` holds and nothing else.

        Args:
            ids: the prompt.
            row: where it was computed.
            restored: leading tokens that came from `restore`.
        """
        size = len(ids)
        if size < SHORTEST_KEPT or size - restored < LEAST_NEW_SHARE * size or not self._may_reuse:
            return
        held = row.keys_and_values
        if not 0 < sum(values.nbytes for values in held) <= self._most_bytes:
            return
        prompt = _Prompt(list(ids), [values.copy() for values in held])
        self._prompts[self._kept] = prompt
        self._kept += 1
        self.bytes += prompt.bytes
        while self.bytes > self._most_bytes:
            self.bytes -= self._prompts.popitem(last=False)[1].bytes

    @property
    def _may_reuse(self) -> bool:
        return self._most_bytes > 0 and self._merges_exactly()

    def _longest(self, ids: list[int]) -> tuple[int | None, int]:
        """The number of the prompt with the most reusable tokens, and their count."""
        best, longest = None, 0
        for number, prompt in self._prompts.items():
            common = common_prefix(prompt.ids, ids)
            length = reusable_prefix(
                common, len(prompt.ids), len(ids), self._session.long_step_from
            )
            length = min(length, len(ids) - 1)  # the logits of the last one are wanted
            if length > longest:
                best, longest = number, length
        return best, longest
