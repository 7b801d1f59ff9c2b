"""gpt2xl bench, on bundles small enough to take no time."""

import json
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import pytest

from gpt2xl.speed import measure_speed, memory_bandwidth
from gpt2xl_cli.commands.bench import _recommended, as_table

Run = Callable[..., CompletedProcess[str]]
NAMES = ["load", "prefill", "decode", "batch", "batch", "batch", "peak memory", "bandwidth"]


@pytest.fixture(scope="module")
def wide(make_bundle: Callable[..., Path]) -> Path:
    """A bundle with room for 64 tokens and some more, but not for 512."""
    return make_bundle({"n_positions": 128})


def test_json_has_every_figure_that_fits_the_context(run: Run, wide: Path) -> None:
    done = run("bench", wide, "--json")
    assert (done.returncode, done.stderr) == (0, "")
    figures = json.loads(done.stdout)["bundles"][str(wide)]
    assert [figure["name"] for figure in figures] == [*NAMES, "bandwidth reached"]
    assert [figure["size"] for figure in figures] == [None, 64, 64, 1, 8, 16, None, None, None]
    assert all(figure["value"] > 0 for figure in figures)


def test_a_table_has_a_line_for_each_figure(run: Run, wide: Path) -> None:
    done = run("bench", wide)
    assert (done.returncode, done.stderr) == (0, "")
    title, *lines = done.stdout.splitlines()
    assert title == str(wide)
    assert [line.split("  ")[1].partition(",")[0] for line in lines][:8] == NAMES


def test_a_context_too_short_for_any_leaves_load_and_memory(
    make_bundle: Callable[..., Path],
) -> None:
    names = [speed.name for speed in measure_speed(make_bundle({"n_positions": 64}))]
    assert names == ["load", "peak memory", "bandwidth"]


def test_a_picture_is_drawn(run: Run, wide: Path, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    assert run("bench", wide, "--picture", tmp_path / "bench.png").returncode == 0
    assert (tmp_path / "bench.png").read_bytes().startswith(b"\x89PNG")


def test_what_is_no_bundle_is_one_line(
    run: Run, error_line: Callable[[CompletedProcess[str]], str], tmp_path: Path
) -> None:
    (tmp_path / "empty").mkdir()
    assert "holds no ONNX file" in error_line(run("bench", tmp_path / "empty"))


def test_recommending_needs_a_choice(
    run: Run, error_line: Callable[[CompletedProcess[str]], str], wide: Path
) -> None:
    assert "name two or more" in error_line(run("bench", wide, "--recommend"))


def test_the_fastest_is_recommended_unless_a_more_exact_one_is_nearly_as_fast(
    make_bundle: Callable[..., Path],
) -> None:
    exact, rounded = (str(make_bundle({"n_embd": 64}, p)) for p in ("fp32", "int8"))

    def speeds(first: float, second: float) -> dict[str, list[dict[str, object]]]:
        values = {exact: first, rounded: second}
        return {f: [{"name": "decode", "value": value}] for f, value in values.items()}

    assert _recommended(speeds(95, 100)) == exact
    assert _recommended(speeds(50, 100)) == rounded
    assert _recommended(speeds(100, 50)) == exact


def test_bandwidth_is_that_of_some_real_machine() -> None:
    assert 1e8 < memory_bandwidth(1) < 1e13


def test_figures_line_up() -> None:
    figures: list[dict[str, Any]] = [
        {"name": "load", "size": None, "value": 0.5, "unit": "s"},
        {"name": "decode", "size": 64, "value": 20.0, "unit": "tokens/s"},
    ]
    assert as_table(figures).splitlines() == [
        "  load                           0.50 s",
        "  decode, after 64 tokens       20.00 tokens/s",
    ]
