"""Progress bars and notes on stderr; none where stderr is not a terminal, or with --quiet."""

import sys
import time
from types import TracebackType
from typing import TYPE_CHECKING

from gpt2xl_cli.reporting.amounts import Pace, amount_text, speed_text
from gpt2xl_cli.terminal import echo_line

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID, TextColumn

    from gpt2xl_export import Progress as ExportProgress

WIDEST_BAR, NARROWEST_BAR, TEXT_WIDTH = 40, 8, 60
"""Columns: of a bar, and of what usually stands beside it."""
TIMES_WIDTH = len(" 0:00:00 left 0:00:00") + 3
"""Columns of the times and of the spaces between columns."""
REDRAW_SECONDS = 0.2
LABELS = {
    "download": "downloading",
    "arrived": "verifying",
    "hash": "reading",
    "tokenizer": "tokenizing",
    "text": "sampling",
    "measure": "measuring",
    "weights": "converting",
    "check": "checking",
}
"""What is done in a stage of the exporter."""


class ProgressBars:
    """One bar for each stage of a command; all are removed at the end of the context.

    Each bar has the time left and, if it counts in a unit, the speed.

    Args:
        enabled: False shows nothing even on a terminal.
        quiet: show and say nothing at all.

    Example::

        with ProgressBars(enabled=not quiet) as bars:
            bars.say("Measuring demo: 2 threads")
            for number, name in enumerate(names):
                bars.show("figures", number, len(names), name)
    """

    def __init__(self, *, enabled: bool = True, quiet: bool = False) -> None:
        self._is_quiet = quiet
        self.is_shown = enabled and not quiet and sys.stderr is not None and sys.stderr.isatty()
        self._bars: Progress | None = None
        self._tasks: dict[str, TaskID] = {}
        self._paces: dict[str, Pace] = {}
        self._drawn: dict[str, float] = {}

    def __enter__(self) -> "ProgressBars":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.clear()

    def clear(self) -> None:
        """Remove all bars; the next `show` begins anew."""
        if self._bars:
            self._bars.stop()
        self._bars = None
        for values in (self._tasks, self._paces, self._drawn):
            values.clear()

    def say(self, line: str, *, always: bool = False) -> None:
        """Print a line on stderr, above the bars; it stays.

        Args:
            line: the text.
            always: also where stderr is not a terminal; nothing is printed where the bars are quiet.
        """
        if self._bars is None and (self.is_shown or (always and not self._is_quiet)):
            echo_line(line, err=True)
        elif self._bars is not None:
            from gpt2xl.errors import one_line

            self._bars.console.print(one_line(line), markup=False, highlight=False, soft_wrap=True)

    def show(
        self,
        stage: str,
        done: int,
        total: int,
        note: str = "",
        *,
        unit: str = "",
        share: float | None = None,
        ahead: float = 0.0,
        is_even: bool = False,
    ) -> None:
        """Set the bar of ``stage``; the first call adds it.

        Args:
            stage: the bar's name.
            done: what is done of ``total``.
            total: the work of the stage; 0 while it is not known.
            note: a text beside the bar.
            unit: "B" for bytes, or a noun for what is counted; with one the bar has the speed, unless there is a note.
            share: of the whole work of several stages, from 0 to 1; these then share one bar.
            ahead: what is begun beyond ``done``: it moves the bar, and is not counted.
            is_even: whether all of the work is alike, so that the time left can be said at once.
        """
        now = time.monotonic()
        key = stage if share is None else ""
        if not self.is_shown or (done < total and now - self._drawn.get(stage, 0) < REDRAW_SECONDS):
            return
        is_new = stage not in self._drawn
        self._drawn[stage] = now
        if self._bars is None:  # not earlier: a note may come before
            self._bars = _started_bars()
        own = (done + ahead) / total if total else 0.0
        whole = own if share is None else share
        if unit and not note:
            note = speed_text(self._pace(f"{stage} alone", own, now).speed * total, unit)
        left = self._pace(key, whole, now, is_even=is_even).left(whole, now)
        amount = f"{whole:4.0%}" if share is not None else amount_text(done, total, unit)
        if key not in self._tasks:
            self._tasks[key] = self._bars.add_task(stage, total=1.0, amount="", note="", left="")
        self._fit(stage, amount, note)
        self._bars.update(
            self._tasks[key],
            completed=whole,
            refresh=is_new,
            description=stage,
            amount=amount,
            note=note,
            left=left,
        )

    def _fit(self, *texts: str) -> None:
        """Make the bars narrower where a line with these texts would not fit."""
        from rich.progress import BarColumn

        assert self._bars is not None
        room = self._bars.console.width - sum(map(len, texts)) - TIMES_WIDTH
        for column in self._bars.columns:
            if isinstance(column, BarColumn) and column.bar_width is not None:
                column.bar_width = max(NARROWEST_BAR, min(column.bar_width, room))

    def _pace(self, key: str, share: float, now: float, *, is_even: bool = False) -> Pace:
        pace = self._paces.setdefault(key, Pace(is_even=is_even))
        pace.measure(share, now)
        return pace

    def show_export(self, progress: "ExportProgress") -> None:
        """Set the bar of what the exporter reports: an export, a download, a verification."""
        self.show(
            LABELS.get(progress.stage, progress.stage),
            progress.done,
            progress.total,
            unit=progress.unit,
            share=progress.share,
        )


def _started_bars() -> "Progress":
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn
    from rich.progress import TimeElapsedColumn as Elapsed
    from rich.table import Column

    console = Console(stderr=True)
    width = min(WIDEST_BAR, max(NARROWEST_BAR, console.width - TEXT_WIDTH))
    stage = TextColumn("{task.description:11}", markup=False)
    amount, left = (
        TextColumn(f"{{task.fields[{name}]}}", markup=False) for name in ("amount", "left")
    )
    bars = Progress(
        stage,
        BarColumn(width, table_column=Column(no_wrap=True)),
        amount,
        _shrinking_note(),
        left,
        Elapsed(table_column=Column(no_wrap=True)),
        console=console,
        transient=True,
        refresh_per_second=1 / REDRAW_SECONDS,
        # Otherwise rich would send what is printed to stderr.
        redirect_stdout=sys.stdout is not None and sys.stdout.isatty(),
    )
    bars.start()
    return bars


def _shrinking_note() -> "TextColumn":
    """The column of notes, the only one that is cut where a terminal is narrow."""
    from rich.progress import Task, TextColumn
    from rich.table import Column
    from rich.text import Text

    class Note(TextColumn):
        def render(self, task: Task) -> Text:
            text = super().render(task)
            text.no_wrap, text.overflow = True, "ellipsis"
            return text

    return Note("{task.fields[note]}", markup=False, table_column=Column())
