"""Progress bars on stderr; none where stderr is not a terminal."""

import sys
from types import TracebackType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

    from gpt2xl_export import Progress as ExportProgress


class ProgressBars:
    """One bar for each stage of a command; all are removed at the end of the context.

    Args:
        enabled: False shows nothing even on a terminal.
    """

    def __init__(self, *, enabled: bool = True) -> None:
        self.is_shown = enabled and sys.stderr is not None and sys.stderr.isatty()
        self._bars: Progress | None = None
        self._tasks: dict[str, TaskID] = {}

    def __enter__(self) -> "ProgressBars":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._bars:
            self._bars.stop()

    def show(self, stage: str, done: int, total: int, note: str = "") -> None:
        """Set the bar of ``stage``, with ``note`` beside it; the first call for a stage adds its bar."""
        if not self.is_shown:
            return
        if self._bars is None:  # not earlier: a download may show bars of its own before
            self._bars = _started_bars()
        if stage not in self._tasks:
            self._tasks[stage] = self._bars.add_task(stage, total=total, note=note)
        self._bars.update(self._tasks[stage], completed=done, note=note)

    def show_export(self, progress: "ExportProgress") -> None:
        """Set the bar of the stage that an export is in."""
        self.show(progress.stage, progress.done, progress.total)


def _started_bars() -> "Progress":
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
    from rich.progress import TimeElapsedColumn as Elapsed

    stage, note = TextColumn("{task.description:8}"), TextColumn("{task.fields[note]}")
    columns = (stage, BarColumn(), MofNCompleteColumn(), note, Elapsed())
    bars = Progress(*columns, console=Console(stderr=True), transient=True)
    bars.start()
    return bars
