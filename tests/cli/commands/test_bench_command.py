"""gpt2xl bench, on bundles that are measured in a moment."""

import json
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from gpt2xl.speed import Speed, measure_speed, memory_bandwidth
from gpt2xl_cli.benchmark.report import as_table, recommended

Run = Callable[..., CompletedProcess[str]]
NAMES = ["load", "prefill", "decode", "batch", "batch", "batch", "peak memory", "bandwidth"]


@pytest.fixture(scope="module")
def wide(make_bundle: Callable[..., Path]) -> Path:
    """A bundle with room for 64 tokens and some more, but not for 512."""
    return make_bundle({"n_positions": 128})


def test_json_has_all_figures_that_fit_the_context(run: Run, wide: Path) -> None:
    done = run("bench", wide, "--json")
    assert (done.returncode, done.stderr) == (0, "")
    figures = json.loads(done.stdout)["bundles"][str(wide)]
    assert [figure["name"] for figure in figures] == [*NAMES, "bandwidth reached"]
    assert [figure["size"] for figure in figures] == [None, 64, 64, 1, 8, 16, None, None, None]
    assert all(figure["value"] > 0 for figure in figures)


def test_the_table_has_a_line_for_each_figure(run: Run, wide: Path) -> None:
    done = run("bench", wide)
    assert (done.returncode, done.stderr) == (0, "")
    title, *lines = done.stdout.splitlines()
    assert title == str(wide)
    assert [line.split("  ")[1].partition(",")[0] for line in lines][:8] == NAMES


def test_a_context_too_short_to_decode_leaves_load_and_memory(
    make_bundle: Callable[..., Path],
) -> None:
    names = [speed.name for speed in measure_speed(make_bundle({"n_positions": 64}))]
    assert names == ["load", "peak memory", "bandwidth"]


def test_a_picture_is_drawn(run: Run, wide: Path, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    assert run("bench", wide, "--picture", tmp_path / "bench.png").returncode == 0
    assert (tmp_path / "bench.png").read_bytes().startswith(b"\x89PNG")


def test_a_folder_that_is_not_a_bundle_is_one_error_line(
    run: Run, error_line: Callable[[CompletedProcess[str]], str], tmp_path: Path
) -> None:
    (tmp_path / "empty").mkdir()
    assert "holds no ONNX file" in error_line(run("bench", tmp_path / "empty"))


def test_recommend_needs_two_bundles(
    run: Run, error_line: Callable[[CompletedProcess[str]], str], wide: Path
) -> None:
    assert "name two or more" in error_line(run("bench", wide, "--recommend"))


def test_the_fastest_is_recommended_unless_a_more_exact_one_is_nearly_as_fast(
    make_bundle: Callable[..., Path],
) -> None:
    exact, rounded = (str(make_bundle({"n_embd": 64}, p)) for p in ("fp32", "int8"))

    def speeds(first: float, second: float) -> dict[str, list[Speed]]:
        values = {exact: first, rounded: second}
        return {f: [Speed("decode", 64, value, "tokens/s")] for f, value in values.items()}

    assert recommended(speeds(95, 100)) == exact
    assert recommended(speeds(50, 100)) == rounded
    assert recommended(speeds(100, 50)) == exact


def test_the_measured_bandwidth_is_plausible() -> None:
    assert 1e8 < memory_bandwidth(1) < 1e13


def test_the_columns_of_the_table_are_aligned() -> None:
    speeds = [Speed("load", None, 0.5, "s"), Speed("decode", 64, 20.0, "tokens/s")]
    assert as_table(speeds).splitlines() == [
        "  load                           0.50 s",
        "  decode, after 64 tokens       20.00 tokens/s",
    ]
