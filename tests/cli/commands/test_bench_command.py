"""gpt2xl bench, on bundles that are measured in a moment."""

import csv
import io
import json
import warnings
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from gpt2xl import Gpt2xlWarning

Run = Callable[..., CompletedProcess[str]]
LABELS = [
    "load", "prefill, 64 tokens", "decode, after 64 tokens", "peak memory, 1 text", "batch, 8 texts",
    "peak memory, 8 texts",
]  # fmt: skip
ONCE = ("--prompt-tokens", 64, "--repeats", 1, "-n", 4)


@pytest.fixture(scope="module")
def wide(make_bundle: Callable[..., Path]) -> Path:
    """A bundle with room for 64 tokens and some more, but not for 512."""
    return make_bundle({"n_positions": 128})


@pytest.fixture(scope="module")
def int4(make_bundle: Callable[..., Path]) -> Path:
    """A bundle whose texts do not share steps."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Gpt2xlWarning)  # int4 loses much on random weights
        return make_bundle({"n_positions": 128, "n_embd": 128, "n_head": 2}, "int4")


def test_json_has_every_round_of_all_figures(run: Run, wide: Path) -> None:
    done = run("bench", wide, "--json", "--repeats", 2, "-n", 4)
    assert done.returncode == 0
    content = json.loads(done.stdout)
    figures = content["bundles"][str(wide)]["figures"]
    sizes = [(figure["name"], figure["size"]) for figure in figures]
    single = [("load", None), ("prefill", 64), ("decode", 64), ("peak memory", 1)]
    assert sizes == [*single, ("batch", 8), ("peak memory", 8)]
    for figure in figures:
        low, high = sorted(figure["values"])
        assert 0 < low <= figure["median"] <= high
        assert (figure["low"], figure["high"]) == (low, high)
    assert content["settings"]["repeats"] == 2
    assert content["machine"]["cores"] >= 1


def test_the_text_says_what_is_measured_where_and_how(run: Run, wide: Path) -> None:
    from gpt2xl.version import __version__

    done = run("bench", wide, *ONCE, "--threads", 1)
    assert (done.returncode, done.stderr) == (0, "")
    title, table = done.stdout.split("\n\n")
    assert f"gpt2xl {__version__}, onnxruntime " in title
    assert "1 thread; 1 round; no speculation" in title
    assert f"{wide.name}  fp32, " in title
    heading, *lines = table.splitlines()
    assert heading.split() == ["median"]
    assert [line[: len(LABELS[2])].rstrip() for line in lines] == LABELS


def test_models_are_named_in_every_way(run: Run, wide: Path, int4: Path) -> None:
    done = run("bench", wide, "-m", int4, "--model", wide, *ONCE, "--json", "-q")
    assert list(json.loads(done.stdout)["bundles"]) == [str(wide), str(int4)]


def test_the_sizes_are_those_that_are_asked_for(run: Run, wide: Path) -> None:
    sizes = ("--prompt-tokens", 20, "--prompt-tokens", 9, "--rows", 1, "--rows", 3)
    done = run("bench", wide, *sizes, "--repeats", 1, "-n", 2, "--format", "csv")
    assert (done.returncode, done.stderr) == (0, "")
    rows = list(csv.DictReader(io.StringIO(done.stdout)))
    assert [(row["figure"], row["size"]) for row in rows] == [
        ("load", ""), ("prefill", "9"), ("decode", "9"), ("prefill", "20"), ("decode", "20"),
        ("peak memory", "1"), ("batch", "1"), ("batch", "3"), ("peak memory", "3"),
    ]  # fmt: skip
    assert all(float(row["low"]) == float(row["median"]) > 0 for row in rows)


def test_markdown_has_a_column_for_each_bundle(run: Run, wide: Path, int4: Path) -> None:
    done = run("bench", wide, int4, *ONCE, "--format", "markdown")
    assert done.returncode == 0
    _, _, heads, rule, *lines = done.stdout.splitlines()
    assert "(fp32, " in heads
    assert "(int4 in blocks of 64, " in heads
    assert rule == "| --- | --: | --: |"
    assert [line.split("|")[1].rsplit(",", 1)[0].strip() for line in lines] == LABELS


def test_texts_that_do_not_share_steps_are_said_to_run_one_by_one(run: Run, int4: Path) -> None:
    done = run("bench", int4, *ONCE)
    assert done.returncode == 0
    assert done.stderr.startswith(f"note: {int4.name}: texts are generated one after the other")
    assert "--block-size 32" in done.stderr


def test_a_default_prompt_beyond_the_context_is_left_out(run: Run, wide: Path) -> None:
    done = run("bench", wide, "--repeats", 1, "-n", 4)
    assert (done.returncode, done.stderr) == (0, "")
    assert "64 tokens" in done.stdout
    assert "512 tokens" not in done.stdout


def test_a_prompt_beyond_the_context_is_refused_where_it_is_asked_for(
    run: Run, error_line: Callable[[CompletedProcess[str]], str], wide: Path
) -> None:
    line = error_line(run("bench", wide, "--prompt-tokens", 126))
    assert "prompts of 126 tokens with 24 new ones do not fit the context of 128 tokens" in line


def test_json_and_another_format_exclude_each_other(run: Run, wide: Path) -> None:
    done = run("bench", wide, "--json", "--format", "csv")
    assert (done.returncode, done.stdout) == (2, "")
    assert "exclude each other" in done.stderr


def test_a_picture_is_drawn(run: Run, wide: Path, int4: Path, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    path = tmp_path / "bench.png"
    assert run("bench", wide, int4, *ONCE, "--picture", path).returncode == 0
    assert path.read_bytes().startswith(b"\x89PNG")


def test_a_terminal_shows_what_is_being_measured(
    wide: Path, on_terminal: Callable[..., bytes]
) -> None:
    output = on_terminal("bench", wide, *ONCE).decode()
    assert output.index("Machine") < output.index("measuring")
    assert "measuring" not in output.rpartition("\x1b[2K")[2]
    quiet = on_terminal("bench", wide, *ONCE, "--quiet").decode()
    assert "measuring" not in quiet
    assert "batch, 8 texts" in quiet


def test_a_folder_that_is_not_a_bundle_is_one_error_line(
    run: Run, error_line: Callable[[CompletedProcess[str]], str], tmp_path: Path
) -> None:
    (tmp_path / "empty").mkdir()
    assert "holds no ONNX file" in error_line(run("bench", tmp_path / "empty"))


def test_recommend_needs_two_bundles(
    run: Run, error_line: Callable[[CompletedProcess[str]], str], wide: Path
) -> None:
    assert "name two or more" in error_line(run("bench", wide, "--recommend"))


def test_recommend_names_a_bundle_with_reasons(run: Run, wide: Path, int4: Path) -> None:
    done = run("bench", wide, int4, *ONCE, "--recommend", "--json")
    content = json.loads(done.stdout)
    assert content["recommended"] in {str(wide), str(int4)}
    assert content["reasons"][0].startswith("It decodes ")
