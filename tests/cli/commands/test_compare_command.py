"""gpt2xl compare."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

Run = Callable[..., subprocess.CompletedProcess[str]]
Refused = Callable[..., str]
MakeBundle = Callable[..., Path]
TEXT = "Once upon a time there was a king \x1b[2J and the king said: go.\n" * 12


@pytest.fixture
def pair(make_bundle: MakeBundle) -> tuple[Path, Path]:
    """A checkpoint in two precisions."""
    return make_bundle(), make_bundle(precision="int4")


@pytest.fixture
def text(tmp_path: Path) -> Path:
    path = tmp_path / "text.txt"
    path.write_text(TEXT, newline="\n")
    return path


def test_the_tables_say_what_is_compared(run: Run, pair: tuple[Path, Path], text: Path) -> None:
    done = run("compare", *pair, "--data", text, "--show", 4)
    assert (done.returncode, done.stderr) == (0, "")
    first, second, data, _, *lines = done.stdout.splitlines()
    assert (first, second) == (f"A     {pair[0]}, fp32", f"B     {pair[1]}, int4")
    assert data.startswith("Data  text.txt, ")
    assert data.endswith(" tokens in disjoint windows of 96")
    names = [line.split("  ")[0] for line in lines[: lines.index("")]]
    assert names == [
        "Perplexity of A", "Perplexity of B", "B / A, with standard error", "KL(A||B), mean",
        "KL(A||B), 99th percentile", "Same most probable token",
    ]  # fmt: skip
    differences = lines.index("The tokens with the largest KL")
    assert len(lines[differences + 2 : -2]) == 4
    assert lines[-1].startswith("Perplexity is ")
    assert done.stdout.replace("\n", "").isprintable()


@pytest.mark.parametrize("columns", [60, 80, 120])
def test_no_line_of_a_table_is_wider_than_the_terminal(
    run: Run, pair: tuple[Path, Path], text: Path, columns: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    lines = run("compare", *pair, "--data", text).stdout.splitlines()
    tables = lines[lines.index("By the number of tokens before it in the window") : -2]
    assert max(map(len, tables)) <= columns


def test_json_has_what_the_tables_have(run: Run, pair: tuple[Path, Path], text: Path) -> None:
    words = ("compare", *pair, "--data", text, "--limit", 200, "--context", 50, "--stride", 20)
    done = run(*words, "--show", 3, "--json")
    assert done.stderr == ""
    found = json.loads(done.stdout)
    assert [model["precision"] for model in found["models"]] == ["fp32", "int4"]
    assert (found["tokens"], found["context"], found["stride"]) == (200, 50, 20)
    first, second = found["perplexities"]
    assert found["ratio"] == pytest.approx(second / first)
    for bins in (found["by_position"], found["by_frequency"]):
        assert sum(each["tokens"] for each in bins) == 200
    kl = [each["kl"] for each in found["most_different"]]
    assert len(kl) == 3
    assert kl == sorted(kl, reverse=True)
    for each in found["most_different"]:
        chosen = zip(each["preferred"], each["probabilities"], strict=True)
        assert all(top["probability"] >= probability for top, probability in chosen)


def test_a_model_equals_itself(run: Run, bundle: Path) -> None:
    done = run("compare", bundle, bundle)
    assert "1.00000 ± 0" in done.stdout
    assert "Perplexity is the same with A and with B" in done.stdout
    assert "Same next token at 100 % of " in done.stdout
    assert "exact but for float rounding" in done.stdout
    assert "tokens are few: name a text with --data." in done.stdout.splitlines()[-1]


def test_the_order_of_the_models_turns_the_ratio_over(
    run: Run, pair: tuple[Path, Path], text: Path
) -> None:
    ahead, back = (
        json.loads(run("compare", *models, "--data", text, "--json").stdout)
        for models in (pair, pair[::-1])
    )
    assert ahead["ratio"] * back["ratio"] == pytest.approx(1)
    assert ahead["mean_kl"] != pytest.approx(back["mean_kl"], rel=1e-6)


def test_one_token_can_be_compared(run: Run, pair: tuple[Path, Path], text: Path) -> None:
    done = run("compare", *pair, "--data", text, "--limit", 1)
    assert (done.returncode, done.stderr) == (0, "")
    assert "nan" not in done.stdout


def test_a_picture_is_drawn(run: Run, pair: tuple[Path, Path], text: Path, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    text = text.rename(tmp_path / "$5_ and $^.txt")
    picture = tmp_path / "compare.png"
    done = run("compare", *pair, "--data", text, "--picture", picture)
    assert (done.returncode, done.stderr) == (0, "")
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_models_of_other_vocabularies_are_refused(
    refused: Refused, bundle: Path, make_bundle: MakeBundle
) -> None:
    line = refused("compare", bundle, make_bundle({"vocab_size": 300}))
    assert "the same vocabulary" in line
    assert "one has 289 tokens and the other 300" in line


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"", "text.txt is empty"), (b"a\xff", "is not UTF-8: byte 0xff at offset 1"), (None, "text.txt' cannot be read")],
    ids=["empty", "not UTF-8", "missing"],
)  # fmt: skip
def test_unusable_data_is_refused(
    refused: Refused, bundle: Path, tmp_path: Path, content: bytes | None, message: str
) -> None:
    path = tmp_path / "text.txt"
    if content is not None:
        path.write_bytes(content)
    assert message in refused("compare", bundle, bundle, "--data", path)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--context", 97], "--context has to be from 1 to 96, but is 97"),
        (["--context", 0], "--context has to be from 1 to 96, but is 0"),
        (["--context", 20, "--stride", 21], "--stride has to be from 1 to 20, but is 21"),
        (["--stride", 0], "--stride has to be from 1 to 96, but is 0"),
    ],
)
def test_windows_that_do_not_fit_are_refused(
    refused: Refused, bundle: Path, options: list[object], message: str
) -> None:
    assert message in refused("compare", bundle, bundle, *options)


def test_the_shorter_context_is_taken(run: Run, bundle: Path, make_bundle: MakeBundle) -> None:
    done = run("compare", make_bundle({"n_positions": 40}), bundle, "--json")
    assert json.loads(done.stdout)["context"] == 40
