"""gpt2xl batch: one process writes an output; kills at its last steps; lines on stdout."""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from subprocess import CompletedProcess, Popen
from typing import Any

import pytest

import gpt2xl

Run = Callable[..., CompletedProcess[str]]
Spawn = Callable[..., Popen[bytes]]
Refused = Callable[..., str]
TALKER: dict[str, object] = {"vocab_size": 287, "n_embd": 128, "n_layer": 4, "n_positions": 4096}
PROMPTS = ["Once", "the king who", "", "€", "said to her: go."]
OUT, PART = Path("out.jsonl"), Path("out.jsonl.part")


@pytest.fixture
def lines(tmp_path: Path) -> str:
    """IN.jsonl; its name."""
    lines = [json.dumps({"id": n, "prompt": p}) + "\n" for n, p in enumerate(PROMPTS)]
    Path("in.jsonl").write_text("".join(lines), encoding="utf-8")
    return "in.jsonl"


def hidden(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir() if path.name.startswith(".")]


def await_rows(process: Popen[bytes], count: int) -> None:
    while not PART.exists() or PART.read_bytes().count(b"\n") <= count:
        assert process.poll() is None
        time.sleep(0.002)


# --- one writer


def test_a_second_run_on_the_same_output_is_refused_at_once(
    make_bundle: Callable[..., Path], lines: str, spawn: Spawn, run: Run, error_line: Any
) -> None:
    command = ["batch", "-m", make_bundle(TALKER), lines, OUT, "-n", 4000, "--rows", 1, "--greedy"]
    first = spawn(*command)
    await_rows(first, 0)
    before = PART.read_bytes()
    for again in ([], ["--force"]):
        message = error_line(run(*command, *again))
        assert (
            "another gpt2xl is writing 'out.jsonl': wait until it has finished, or choose"
            in message
        )
    assert PART.read_bytes().startswith(before)
    assert run("batch", "-m", command[2], lines, "other", "-n", 1).returncode == 0
    assert first.poll() is None


@pytest.mark.parametrize(
    ("number", "status", "word"),
    [(signal.SIGINT, 130, "interrupted"), (signal.SIGTERM, 143, "terminated")],
)
def test_the_line_about_a_signal_counts_the_finished_texts(
    number: int, status: int, word: str, make_bundle: Callable[..., Path], lines: str, spawn: Spawn,
    tmp_path: Path,
) -> None:  # fmt: skip
    options = ["-m", make_bundle(TALKER), lines, OUT, "-n", 300, "--rows", 1, "--greedy"]
    process = spawn("batch", *options)
    await_rows(process, 2)
    process.send_signal(number)
    output, errors = process.communicate(timeout=60)
    assert (process.returncode, output) == (status, b"")
    done = PART.read_bytes().count(b"\n") - 1
    assert 2 <= done < 5
    assert errors.decode() == (
        f"error: {word}: {done} of 5 texts are done; the same command resumes.\n"
    )
    assert hidden(tmp_path) == []


# --- kills at the last steps


KILLED = """
import os, signal, sys
from gpt2xl_cli.app import run
where, sys.argv[1:] = sys.argv[1], sys.argv[2:]
real = os.replace
def replace(source, target):
    if where == "after":
        real(source, target)
    os.kill(os.getpid(), signal.SIGKILL)
os.replace = replace
run()
"""


@pytest.mark.parametrize("where", ["before", "after"])
@pytest.mark.parametrize("force", [[], ["--force"]])
def test_the_next_run_cleans_up_after_a_kill_at_the_last_step(
    where: str, force: list[str], bundle: Path, lines: str, run: Run, tmp_path: Path
) -> None:
    options = ["batch", "-m", str(bundle), lines, str(OUT), "--greedy", "-n", "5"]
    assert run(*options).returncode == 0
    wanted = OUT.read_text("utf-8")
    OUT.unlink()
    if force:
        OUT.write_text("old")
    command = [sys.executable, "-c", KILLED, where, *options, *force]
    assert subprocess.run(command, check=False).returncode == -signal.SIGKILL
    assert PART.exists()
    assert len(hidden(tmp_path)) == (2 if where == "before" else 1)
    done = run(*options, *force)
    if where == "after" and not force:
        assert "exists already" in done.stderr
    else:
        assert done.stderr == "5 of 5 texts were done already; resuming.\n"
    assert OUT.read_text("utf-8") == wanted
    assert not PART.exists()
    assert hidden(tmp_path) == []


def test_a_resume_file_with_other_texts_than_the_output_is_kept(
    bundle: Path, lines: str, run: Run, refused: Refused
) -> None:
    options = ["batch", "-m", bundle, lines, OUT, "--greedy", "-n", 5]
    assert run(*options).returncode == 0
    row = '{"row": 0, "text": "", "finish_reason": "length", "new_tokens": 5, "seed": null}\n'
    for content in (row, row.replace("0", "[0]", 1), '{"row": {}}\n', "[" * 100_000, ""):
        PART.write_text('{"gpt2xl batch": 1}\n' + content)
        assert "exists already" in refused(*options)
        assert PART.exists()


# --- stdout


@pytest.mark.parametrize("source", ["in.jsonl", "-"])
@pytest.mark.parametrize("rows", [1, 3])
def test_a_dash_prints_the_same_lines_on_stdout(
    source: str, rows: int, bundle: Path, lines: str, run: Run, tmp_path: Path
) -> None:
    way = ["-m", bundle, "--seed", 3, "-n", 20]
    assert run("batch", lines, OUT, *way).returncode == 0
    before = sorted(tmp_path.iterdir())
    content = Path(lines).read_bytes()
    done = run("batch", source, "-", *way, "--rows", rows, stdin=content)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == OUT.read_text("utf-8")
    assert sorted(tmp_path.iterdir()) == before


def test_a_line_is_printed_once_all_before_it_are_done(
    bundle: Path, lines: str, run: Run, monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    def backwards(self: gpt2xl.Model, *_: Any, **more: Any) -> Iterator[Any]:
        texts = dict(real(self, *_, **more))
        for number in (1, 0, 4, 2, 3):
            yield number, texts[number]
            written.append(capfd.readouterr().out.count("\n"))

    written: list[int] = []
    real = gpt2xl.Model.generate_batch
    monkeypatch.setattr(gpt2xl.Model, "generate_batch", backwards)
    assert run("batch", "-m", bundle, lines, "-", "-n", 2).returncode == 0
    assert written == [0, 2, 0, 1, 2]


def test_json_cannot_be_combined_with_texts_on_stdout(bundle: Path, lines: str, run: Run) -> None:
    done = run("batch", "-m", bundle, lines, "-", "--json")
    assert (done.returncode, done.stdout) == (2, "")
    assert "stdout carries the texts" in done.stderr


def test_a_signal_to_a_run_on_stdout_counts_the_lines_printed(
    make_bundle: Callable[..., Path], lines: str, spawn: Spawn
) -> None:
    options = ["-m", make_bundle(TALKER), lines, "-", "-n", 300, "--rows", 1, "--greedy"]
    process = spawn("batch", *options)
    assert process.stdout is not None
    first = process.stdout.readline()
    time.sleep(0.05)  # until it has counted that line
    process.send_signal(signal.SIGINT)
    rest, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    count = (first + rest).count(b"\n")
    assert errors.decode() == f"error: interrupted: {count} of 5 texts are written.\n"
    assert all("text" in json.loads(line) for line in (first + rest).splitlines())


def test_a_closed_pipe_ends_the_run_without_a_message(
    make_bundle: Callable[..., Path], lines: str, spawn: Spawn
) -> None:
    options = ["-m", make_bundle(TALKER), lines, "-", "-n", 300, "--rows", 1, "--greedy"]
    process = spawn("batch", *options)
    assert process.stdout is not None
    process.stdout.readline()
    process.stdout.close()
    process.stdout = None
    _, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (1, b"")


# --- byte order marks, line ends and blank lines


@pytest.mark.parametrize("source", ["in.jsonl", "-"])
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
def test_byte_order_marks_line_ends_and_blank_lines_are_ignored(
    source: str, mark: bytes, end: bytes, bundle: Path, run: Run
) -> None:
    texts = [b"", b'{"prompt": "Once"}', b" \t", b'{"prompt": "go"}', b"", b""]
    content = mark + end.join(texts)
    Path("in.jsonl").write_bytes(content)
    done = run("batch", "-m", bundle, source, "-", "--seed", 3, "-n", 9, stdin=content)
    assert (done.returncode, done.stderr) == (0, "")
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert [(row["prompt"], row["seed"]) for row in found] == [("Once", 3), ("go", 4)]


def test_errors_count_the_blank_lines_of_the_file(bundle: Path, refused: Refused) -> None:
    Path("in.jsonl").write_bytes(b'\xef\xbb\xbf\r\n{"prompt": "Once"}\r\n\r\n{"prompt": 1}\r\n')
    assert "'in.jsonl', line 4: \"prompt\" has" in refused("batch", "-m", bundle, "in.jsonl", OUT)
    Path("in.jsonl").write_text('\n\n{"prompt": "%s"}' % ("#" * 97))
    assert "'in.jsonl', line 3: the prompt" in refused("batch", "-m", bundle, "in.jsonl", OUT)


@pytest.mark.parametrize("end", [b"", b"\n", b"\r\n"])
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_a_prompt_on_stdin_loses_its_byte_order_mark_and_final_line_end(
    mark: bytes, end: bytes, bundle: Path, run: Run
) -> None:
    content = mark + b"Once\r\nupon\n" + end
    done = run("generate", "-m", bundle, "--json", "-n", 1, stdin=content)
    assert json.loads(done.stdout)["prompt"] == "Once\r\nupon" + ("\n" if end else "")


def test_tokenize_and_detokenize_ignore_a_byte_order_mark_on_stdin(bundle: Path, run: Run) -> None:
    plain = run("tokenize", "-m", bundle, stdin=b"Once")
    assert run("tokenize", "-m", bundle, stdin=b"\xef\xbb\xbfOnce").stdout == plain.stdout
    ids = b"\xef\xbb\xbf" + plain.stdout.encode()
    assert run("detokenize", "-m", bundle, stdin=ids).stdout == "Once\n"
