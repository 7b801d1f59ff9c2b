"""gpt2xl features."""

import json
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import numpy as np
import pytest

import gpt2xl
from gpt2xl.features import Pooling

Run = Callable[..., CompletedProcess[str]]
TEXTS = ["Once", "the king who had", ""]
OUT = Path("out.npy")


@pytest.fixture
def features(run: Run, bundle: Path) -> Callable[..., str]:
    """Run `gpt2xl features` with nothing on stderr; return its stdout."""

    def features(*arguments: object, stdin: bytes = b"") -> str:
        done = run("features", "-m", bundle, *arguments, stdin=stdin)
        assert (done.returncode, done.stderr) == (0, "")
        return done.stdout

    return features


@pytest.mark.parametrize("pooling", ["mean", "last"])
def test_pooled_features_are_one_row_for_each_line(
    pooling: Pooling, features: Callable[..., str], bundle: Path
) -> None:
    Path("in.txt").write_text("\n".join(TEXTS) + "\n\n")
    lines = [*TEXTS[:2], "", ""]
    wanted = np.stack([gpt2xl.load(bundle).features(text, pooling=pooling) for text in lines])
    printed = features("-f", "in.txt", "-o", OUT, "--pooling", pooling)
    assert printed == "Wrote out.npy: features of 4 texts.\n"
    found = np.load(OUT)
    assert (found.dtype, found.shape) == (np.float32, (4, 32))
    np.testing.assert_array_equal(found, wanted)
    assert sorted(path.name for path in Path.cwd().iterdir()) == ["in.txt", "out.npy"]


def test_one_text_gives_one_vector_for_each_token(
    features: Callable[..., str], bundle: Path
) -> None:
    model = gpt2xl.load(bundle)
    features("the king who had", "-o", OUT)
    found = np.load(OUT)
    assert found.shape == (len(model.prompt_ids("the king who had")), 32)
    np.testing.assert_array_equal(found, model.features("the king who had"))


@pytest.mark.parametrize("out", [[], ["-o", "-"], ["-o", "out.jsonl"]])
def test_json_lines_hold_each_text_and_its_features(
    out: list[str], features: Callable[..., str], bundle: Path
) -> None:
    printed = features(*out, stdin=b"Once\nthe king who had\n")
    lines = Path("out.jsonl").read_text() if out[-1:] == ["out.jsonl"] else printed
    for line, text in zip(lines.splitlines(), TEXTS[:2], strict=True):
        content = json.loads(line)
        assert content["text"] == text
        wanted = gpt2xl.load(bundle).features(text)
        np.testing.assert_array_equal(np.array(content["features"], np.float32), wanted)


def test_no_special_reads_special_tokens_as_characters(features: Callable[..., str]) -> None:
    one, many = (
        json.loads(features("<|endoftext|>", special))["features"]
        for special in ("--special", "--no-special")
    )
    assert len(one) == 1
    assert len(many) > 1


def test_an_output_is_replaced_only_with_force(
    features: Callable[..., str], refused: Callable[..., str], bundle: Path
) -> None:
    OUT.write_text("precious")
    message = refused("features", "-m", bundle, "Once", "-o", OUT)
    assert "'out.npy' exists already: choose another file, or replace it with --force" in message
    features("Once", "-o", OUT, "--force")
    assert np.load(OUT).shape[1] == 32


REFUSED = {
    "a b -o out.npy": "'out.npy' can hold the tokens of one text only, but there are 2 texts: give --pooling",
    f"a {'#' * 97} -o out.npy --pooling mean": "text 2 of 2: the prompt has 97 tokens, but the model's context is 96",
    "a -o nowhere/out.npy": "'nowhere' is not a folder",
    "-f nowhere": "'nowhere' cannot be read",
    "": "there is no text: give one, or a file with one on each line",
}


@pytest.mark.parametrize(("line", "message"), REFUSED.items(), ids=[*map(str, range(5))])
def test_a_refused_request_leaves_no_file(
    line: str, message: str, refused: Callable[..., str], bundle: Path
) -> None:
    assert message in refused("features", "-m", bundle, *line.split())


def test_progress_is_shown_on_a_terminal(bundle: Path, on_terminal: Callable[..., bytes]) -> None:
    output = on_terminal("features", "-m", bundle, *TEXTS[:2], "-o", OUT, "--pooling", "mean")
    assert b"0/2" in output
    assert b"Wrote out.npy: features of 2 texts." in output
