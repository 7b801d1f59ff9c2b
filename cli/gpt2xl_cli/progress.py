"""Progress bars on stderr; none where stderr is not a terminal."""

from types import TracebackType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.progress import TaskID


class ProgressBars:
    """One bar for each stage of a command; all are removed at the end of the context.

    Args:
        enabled: False shows nothing even on a terminal.
    """

    def __init__(self, *, enabled: bool = True) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
        from rich.progress import TimeElapsedColumn as Elapsed

        console = Console(stderr=True)
        self.is_shown = enabled and console.is_terminal
        description, note = TextColumn("{task.description:8}"), TextColumn("{task.fields[note]}")
        columns = (description, BarColumn(), MofNCompleteColumn(), note, Elapsed())
        self._bars = Progress(*columns, console=console, transient=True, disable=not self.is_shown)
        self._tasks: dict[str, TaskID] = {}

    def __enter__(self) -> "ProgressBars":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._tasks:
            self._bars.stop()

    def show(self, stage: str, done: int, total: int, note: str = "") -> None:
        """Set the bar of ``stage``, with ``note`` beside it; the first call for a stage adds its bar."""
        if not self._tasks:  # not earlier: a download may show bars of its own before
            self._bars.start()
        if stage not in self._tasks:
            self._tasks[stage] = self._bars.add_task(stage, total=total, note=note)
        self._bars.update(self._tasks[stage], completed=done, note=note)
