"""The progress bar of gpt2xl batch: texts, tokens a second, time left."""

import time
from types import TracebackType

from gpt2xl import Generation, GenerationOptions
from gpt2xl.preparing import NEW_TOKENS
from gpt2xl_cli.progress import REDRAW_SECONDS, ProgressBars
from gpt2xl_cli.reporting.amounts import speed_text


class BatchProgress:
    """Counts finished texts and their tokens; the bar moves with each token.

    Args:
        options: of the texts; a running text counts by its share of the most new tokens.
        done: texts that an earlier run has finished.
        total: texts in all.
        shown: whether to show the bar, where stderr is a terminal.
    """

    def __init__(
        self, options: GenerationOptions, done: int, total: int, *, shown: bool = True
    ) -> None:
        self._longest = options.max_new_tokens or NEW_TOKENS
        self._done, self._total = done, total
        self.finished_tokens = self._tokens = 0
        """Those of the texts of this run."""
        self._bars = ProgressBars(enabled=shown)
        self._start = self._shown = time.perf_counter()
        self.each_token = self._count if self._bars.is_shown else None
        """To be called after each new token, if not None."""

    def __enter__(self) -> "BatchProgress":
        self._start = time.perf_counter()
        self._show()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._bars.clear()

    @property
    def speed(self) -> float:
        """New tokens a second, of finished and running texts."""
        return self._tokens / (time.perf_counter() - self._start)

    def finish(self, generation: Generation) -> None:
        """Count a finished text."""
        self._done += 1
        self.finished_tokens += len(generation.new_ids)
        self._tokens = max(self._tokens, self.finished_tokens)
        self._show()

    def _count(self) -> None:
        self._tokens += 1
        now = time.perf_counter()
        if now - self._shown >= REDRAW_SECONDS:
            self._shown = now
            self._show()

    def _show(self) -> None:
        running = (self._tokens - self.finished_tokens) / self._longest
        ahead = min(running, self._total - self._done)
        note = speed_text(self.speed, "tokens")
        self._bars.show("texts", self._done, self._total, note, ahead=ahead)
