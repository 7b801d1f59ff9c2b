"""The picture of gpt2xl bench."""

from pathlib import Path

import pytest

from gpt2xl import LoadOptions
from gpt2xl.speed import Speed, SpeedSizes

pytest.importorskip("matplotlib")
from matplotlib import image

from gpt2xl_cli.benchmark.machine import this_machine
from gpt2xl_cli.benchmark.measured import opened
from gpt2xl_cli.benchmark.picture import draw
from gpt2xl_cli.benchmark.report import Report
from gpt2xl_cli.benchmark.rounds import Settings


@pytest.mark.parametrize("count", [1, 5])
def test_any_number_of_bundles_with_any_name_is_drawn(
    bundle: Path, tmp_path: Path, count: int
) -> None:
    settings = Settings(LoadOptions(), SpeedSizes(), 3)
    measured = [opened({bundle: f"{number}$^$_long{'g' * 90}"})[0] for number in range(count)]
    for number, one in enumerate(measured):
        for value in (2.0, 1.0, 3.0):
            one.add(Speed("decode", 64, value + number, "tokens/s"))
            one.add(Speed("peak memory", 1, 1000 * value, "MB"))
    path = tmp_path / "bench.png"
    draw(Report(this_machine(), settings, measured), path)
    assert image.imread(path).shape[:2] > (300, 1000)
