"""Figures over several rounds, and the names of bundles."""

import shutil
from pathlib import Path

import pytest

from gpt2xl.speed import Speed
from gpt2xl_cli.benchmark.measured import Figure, Measured, opened, shortened


@pytest.mark.parametrize(
    ("values", "median", "range_"),
    [
        ((21.74,), "21.7", ""),
        ((1842.4,), "1,840", ""),
        ((0.04567, 0.0457), "0.0457", "0.0457 to 0.0457"),
        ((343.0, 330.0, 350.0), "340", "330 to 350"),
        ((31.0, 29.0, 36.0), "31", "29 to 36"),
        ((120.0, 20.0, 400.0), "100", "0 to 400"),
    ],
)
def test_digits_that_the_spread_leaves_uncertain_are_not_shown(
    values: tuple[float, ...], median: str, range_: str
) -> None:
    figure = Figure("decode", 64, "tokens/s", values)
    assert figure.text(figure.median) == median
    assert figure.range_text == range_


def test_rounds_are_added_to_the_figure_of_their_size(bundle: Path) -> None:
    (measured,) = opened({bundle: "tiny"})
    for size, value in [(64, 3.0), (512, 9.0), (64, 1.0), (64, 2.0)]:
        measured.add(Speed("decode", size, value, "tokens/s"))
    assert [(f.size, f.values) for f in measured.figures] == [(64, (3, 1, 2)), (512, (9,))]
    assert [f.median for f in measured.figures] == [2, 9]


def test_bundles_with_one_name_are_named_by_path(bundle: Path, tmp_path: Path) -> None:
    copies = [shutil.copytree(bundle, tmp_path / name / "model") for name in "ab"]
    names = [measured.name for measured in opened(dict.fromkeys(copies, "model"))]
    assert names == list(map(str, copies))


def test_long_names_keep_the_end_if_that_is_unique() -> None:
    assert shortened(["a-long-name-int4", "x"], 6) == {"a-long-name-int4": "…-int4", "x": "x"}
    same = ["my-model-int4", "your-model-int4"]
    assert shortened(same, 6) == dict(zip(same, same, strict=True))


def test_the_precision_names_what_is_kept(bundle: Path) -> None:
    measured: Measured = opened({bundle: "tiny"})[0]
    assert measured.precision == "fp32"
    assert measured.size_bytes > 0
    assert measured.parity is not None
