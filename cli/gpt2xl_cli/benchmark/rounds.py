"""Measure bundles in turn, round by round, so that a machine that becomes slower does so for all of them."""

from collections.abc import Sequence
from dataclasses import dataclass

from gpt2xl import LoadOptions
from gpt2xl.speed import Speed, SpeedSizes, label
from gpt2xl_cli.benchmark.measured import Measured, shortened
from gpt2xl_cli.benchmark.process import measure_in_process
from gpt2xl_cli.progress import ProgressBars

NAME_WIDTH = 14  # columns for a bundle in the progress


@dataclass(frozen=True)
class Settings:
    """How to measure."""

    load: LoadOptions
    sizes: SpeedSizes
    repeats: int
    """Rounds."""


def measure_rounds(
    bundles: Sequence[Measured], settings: Settings, *, show_progress: bool = True
) -> None:
    """Add figures to ``bundles``; on a terminal, stderr shows what is being measured and the last figure of each.

    Raises:
        BundleError: a bundle cannot be loaded.
    """
    with ProgressBars(enabled=show_progress) as bars:
        progress = _Progress(bars, bundles, settings)
        for number in range(settings.repeats):
            start = number % len(bundles)  # none always runs after the same one
            for measured in [*bundles[start:], *bundles[:start]]:
                progress.begin(measured)
                folder, load, sizes = measured.bundle.folder, settings.load, settings.sizes
                for line in measure_in_process(folder, load, sizes, progress.add):
                    measured.note(line.removeprefix("warning: "))


class _Progress:
    """A bar for all figures, which names the one being measured, and one for each bundle with its last figure."""

    def __init__(self, bars: ProgressBars, bundles: Sequence[Measured], settings: Settings) -> None:
        self._bars, self._repeats = bars, settings.repeats
        self._labels = {
            m.name: [label(*figure) for figure in _sizes_of(m, settings.sizes).figures]
            for m in bundles
        }
        self._names = shortened(list(self._labels), NAME_WIDTH)
        self._total = settings.repeats * sum(map(len, self._labels.values()))
        self._done = self._done_this_time = 0
        self._measured = bundles[0]

    def begin(self, measured: Measured) -> None:
        """The next figures are of ``measured``."""
        self._measured, self._done_this_time = measured, 0
        self._show()

    def add(self, speed: Speed) -> None:
        """Take a figure."""
        figure, name = self._measured.add(speed), self._measured.name
        self._done, self._done_this_time = self._done + 1, self._done_this_time + 1
        self._show()
        count = len(self._labels[name])
        done = (len(figure.values) - 1) * count + self._done_this_time
        shown = f"{figure.median_text}: {figure.label}"
        self._bars.show(self._names[name], done, self._repeats * count, shown)

    def _show(self) -> None:
        name = self._measured.name
        if self._done_this_time == len(self._labels[name]):  # the next bundle begins at once
            return
        now = self._labels[name][self._done_this_time]
        shown = f"{self._names[name]}: {now}" if len(self._labels) > 1 else now
        self._bars.show("measuring", self._done, self._total, shown)


def _sizes_of(measured: Measured, sizes: SpeedSizes) -> SpeedSizes:
    return sizes.within(measured.bundle.config.n_positions)
