"""gpt2xl batch: resume an interrupted run, or refuse to."""

import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from subprocess import CompletedProcess, Popen
from typing import TYPE_CHECKING, Any

import pytest

import gpt2xl

if TYPE_CHECKING:
    from tests.cli.batches.conftest import Batch

Run = Callable[..., CompletedProcess[str]]
Refused = Callable[..., str]
OUT, PART = Path("out.jsonl"), Path("out.jsonl.part")


WRONG_TYPES = (
    b'{"row": [], "text": "", "finish_reason": "length", "new_tokens": 5, "seed": null}\n'
    + b"[" * 100_000
)


GOOD_ROW = {"row": 6, "text": "", "finish_reason": "length", "new_tokens": 5, "seed": 9}


@pytest.mark.parametrize(
    ("key", "value"),
    [("row", True), ("text", None), ("finish_reason", "0"), ("new_tokens", 1.5), ("seed", "9")],
)
def test_a_row_with_a_value_of_the_wrong_type_is_generated_again(
    key: str, value: object, batch: "Batch"
) -> None:
    wanted = batch(batch.write(), OUT, "--seed", 3, "-n", 20)
    OUT.unlink()
    batch.interrupted(1, "in.jsonl", OUT, "--seed", 3, "-n", 20)
    with PART.open("a") as file:
        file.write(json.dumps(GOOD_ROW | {key: value}) + "\n")
    said = "1 of 7 texts were done already; resuming.\n"
    assert batch("in.jsonl", OUT, "--seed", 3, "-n", 20, stderr=said) == wanted


def test_a_resume_file_that_is_a_pipe_is_refused_without_waiting(
    refused: Refused, batch: "Batch", bundle: Path
) -> None:
    os.mkfifo(PART)
    assert "out.jsonl.part' is not a regular file" in refused(
        "batch", "-m", bundle, batch.write(), OUT
    )


@pytest.mark.parametrize("after", [0, 1, 4, 6])
@pytest.mark.parametrize("torn", [b"", b'{"row": 3, "te', b"\xff\n", WRONG_TYPES])
def test_an_interrupted_run_resumes_after_its_last_whole_row(
    after: int, torn: bytes, batch: "Batch", monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = batch(batch.write(), OUT, "--seed", 3, "-n", 20)
    OUT.unlink()
    options = ["in.jsonl", OUT, "--seed", 3, "-n", 20]
    header, *done = batch.interrupted(after, *options, "--rows", 2)
    assert len(done) == after
    with PART.open("ab") as file:
        file.write(torn)
    generated: list[int] = []
    real = gpt2xl.Model.generate_batch

    def recorded(*arguments: Any, **more: Any) -> Iterator[tuple[int, gpt2xl.Generation]]:
        for number, text in real(*arguments, **more):
            generated.append(number)
            yield number, text

    monkeypatch.setattr(gpt2xl.Model, "generate_batch", recorded)
    said = f"{after} of 7 texts were done already; resuming.\n" if after else ""
    assert batch(*options, "--rows", 5, stderr=said) == wanted
    assert len(generated) == 7 - after
    assert json.loads(header)["seed"] == 3


def test_a_resumed_run_keeps_the_seed_that_was_drawn(batch: "Batch") -> None:
    options = ["in.jsonl", OUT, "-n", 9]
    header, *_ = batch.interrupted(3, batch.write(), OUT, "-n", 9)
    seed = json.loads(header)["seed"]
    found = batch(*options, stderr="3 of 7 texts were done already; resuming.\n")
    assert [row["seed"] for row in found] == list(range(seed, seed + 7))
    OUT.unlink()
    assert batch(*options, "--seed", seed) == found


def test_the_summary_of_a_resumed_run_tells_its_own_tokens_apart(
    run: Run, batch: "Batch", bundle: Path
) -> None:
    options = ["in.jsonl", OUT, "-n", 5, "--greedy"]
    batch.interrupted(3, batch.write(), *options[1:])
    done = run("batch", "-m", bundle, *options)
    assert done.stdout.startswith(
        "Wrote out.jsonl: 7 texts, 35 new tokens, 20 of them in this run, "
    )
    OUT.unlink()
    batch.interrupted(3, *options)
    found = json.loads(run("batch", "-m", bundle, *options, "--json").stdout)
    assert (found["new_tokens"], found["new_tokens_now"], found["done_before"]) == (35, 20, 3)


def test_a_run_that_failed_after_its_last_text_only_writes_the_output(
    run: Run, batch: "Batch", bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from gpt2xl_cli.batches.resume_file import ResumeFile

    def fail(self: ResumeFile, *_: object, **__: object) -> None:
        raise OSError("no space")

    with monkeypatch.context() as patch:
        patch.setattr(ResumeFile, "finish", fail)
        done = run("batch", "-m", bundle, batch.write(), OUT, "-n", 5)
    assert done.stderr == "error: no space\n"
    said = "7 of 7 texts were done already; resuming.\n"
    assert len(batch("in.jsonl", OUT, "-n", 5, stderr=said)) == 7


def test_a_killed_run_loses_no_finished_text(
    make_bundle: Callable[..., Path], spawn: Callable[..., Popen[bytes]], run: Run, batch: "Batch"
) -> None:
    talker = make_bundle({"vocab_size": 287, "n_embd": 128, "n_layer": 4, "n_positions": 4096})
    batch.write([f"{number} kings" for number in range(12)])
    options = ["batch", "-m", talker, "in.jsonl", OUT, "-n", 400, "--seed", 1]
    process = spawn(*options, "--rows", 2)
    while not PART.exists() or PART.read_bytes().count(b"\n") < 4:
        assert process.poll() is None
        time.sleep(0.002)
    process.kill()
    process.communicate(timeout=60)
    assert process.returncode == -signal.SIGKILL
    assert not OUT.exists()
    content = PART.read_bytes()
    kept = content[: content.rfind(b"\n")].split(b"\n")[1:]
    assert 3 <= len(kept) < 12
    done = run(*options)
    said = f"{len(kept)} of 12 texts were done already; resuming.\n"
    assert (done.returncode, done.stderr) == (0, said)
    resumed = batch.rows()
    assert [row["id"] for row in resumed] == list(range(12))
    for line in map(json.loads, kept):
        assert resumed[line["row"]]["text"] == line["text"]
    assert run(*options, "--force").returncode == 0
    assert batch.rows() == resumed


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (["--seed", "4"], "seed"),
        (["-n", "8"], "--max-new-tokens"),
        (["--temperature", "0.7"], "temperature"),
        (["--top-k", "9"], "--top-k"),
        (["--greedy"], "greedy"),
        (["-m", "other"], "model"),
        ([], "input"),
    ],
)
def test_the_texts_of_another_run_are_not_reused(
    change: list[str], named: str, run: Run, refused: Refused, batch: "Batch", bundle: Path,
    make_bundle: Callable[..., Path],
) -> None:  # fmt: skip
    options = ["-m", bundle, batch.write(), OUT, "--seed", "3", "-n", "9"]
    batch.interrupted(2, *options[2:])
    if named == "input":
        batch.write(batch.prompts[::-1])
    if named == "model":
        Path("other").symlink_to(make_bundle({"n_positions": 48}))
    before = PART.read_bytes()
    message = refused("batch", *options, *change)
    assert "'out.jsonl.part' belongs to a run with another " in message
    assert named in message
    assert "delete it, or replace it with --force" in message
    assert PART.read_bytes() == before
    assert run("batch", *options, *change, "--force").stderr == ""
    assert len(batch.rows()) == 7
    assert not PART.exists()


@pytest.mark.parametrize(
    "content",
    [
        "precious",
        "precious\n",
        '{"a": 1}\n',
        "[1]\n",
        '{"gpt2xl batch": 1, "seed": "1"}\n',
        "[" * 100_000,
    ],
)
@pytest.mark.parametrize("force", [[], ["--force"]])
def test_a_file_that_is_not_a_resume_file_is_left_alone(
    content: str, force: list[str], refused: Refused, batch: "Batch", bundle: Path
) -> None:
    PART.write_text(content)
    message = refused("batch", "-m", bundle, batch.write(), OUT, *force)
    assert (
        "'out.jsonl.part' was not written by this gpt2xl batch: delete it or move it away"
        in message
    )
    assert PART.read_text() == content


def test_an_empty_resume_file_holds_no_texts(batch: "Batch") -> None:
    PART.touch()
    assert len(batch(batch.write(), OUT, "-n", 2)) == 7
