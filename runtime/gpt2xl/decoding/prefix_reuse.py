"""Keep the KV cache of the last text: a prompt that begins like it is not computed from its first token."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from threading import Lock

from gpt2xl.decoding.context import Context, common_prefix
from gpt2xl.sessions.cancellation import Cancellation
from gpt2xl.sessions.exactness import reusable_prefix
from gpt2xl.sessions.protocol import Session


@dataclass(frozen=True)
class _Kept:
    context: Context
    prompt_length: int
    """Leading ids that were fed as one prompt; 0 where that is not known."""
    is_loaded: bool = False
    """Whether the context came from a file."""


class PrefixReuse:
    """Hands out contexts for new texts, and takes them back when the texts end.

    The rule is that reuse never changes a text. What a prompt and the last text have in common is kept

    * wholly, where the session gives the same logits however its input is cut into steps;
    * as far as it belonged to the last *prompt*, where steps of ``session.long_step_from`` tokens and more
      round differently than shorter ones. That prompt has to have been long enough for a long step, and enough
      of the new prompt has to be left for another one: a prompt is computed by long steps or by short ones;
    * not at all, where every way of cutting may round differently. Then only the memory is reused;
    * wholly, where it was loaded from a file (`load`), since the caller asked for it. The text after that one
      keeps nothing of it if long steps round differently.

    Several threads may use it: while one text has the kept context, others get new ones.

    Args:
        session: of the contexts.
        merges_exactly: whether the session gives the same logits however its input is cut into steps of one kind, long or short.
            Asked only when something could be reused.
    """

    def __init__(self, session: Session, merges_exactly: Callable[[], bool]) -> None:
        self._session = session
        self._merges_exactly = merges_exactly
        self._lock = Lock()
        self._kept: _Kept | None = None

    def take(
        self, ids: Sequence[int], new_tokens: int = 0, cancellation: Cancellation | None = None
    ) -> "ReusableContext":
        """A context for the prompt ``ids``, which may hold the beginning of it.

        Args:
            ids: the prompt.
            new_tokens: tokens that will be fed after it, at most: the cache is sized once.
            cancellation: ends a step of this text.
        """
        with self._lock:
            kept, self._kept = self._kept, None
        cache, known = (kept.context.cache, kept.context.ids) if kept else (None, ())
        context = ReusableContext(self._session, cancellation, cache, known)
        if kept:
            context.truncate(self._reusable(kept, ids))
        is_loaded = kept is not None and kept.is_loaded
        context.prompt_length = 0 if is_loaded else len(ids)
        context.cache.reserve(len(ids) + new_tokens)
        return context

    def give_back(self, context: "ReusableContext") -> None:
        """Keep ``context``, whose text has ended or was given up."""
        length, slide = context.prompt_length, context.slide
        if slide and slide.dropped:
            length = slide.keep + slide.window  # what was fed as one prompt at last
        self._kept = _Kept(context, length)

    def load(self, context: Context) -> None:
        """Keep ``context``, which was read from a file."""
        self._kept = _Kept(context, 0, is_loaded=True)

    def clear(self) -> None:
        """Keep nothing, and free its memory."""
        self._kept = None

    def _reusable(self, kept: _Kept, ids: Sequence[int]) -> int:
        """Number of leading ids that a text with the prompt ``ids`` may keep."""
        common = common_prefix(kept.context.ids, ids)
        if kept.is_loaded or not common:
            return common
        if not self._merges_exactly():
            return 0
        return reusable_prefix(common, kept.prompt_length, len(ids), self._session.long_step_from)


class ReusableContext(Context):
    """A context that remembers what the next text may keep of it."""

    prompt_length = 0
    """Leading ids that are fed as one prompt; 0 where that is not known."""
