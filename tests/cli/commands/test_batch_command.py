"""gpt2xl batch: every line gets its text, whatever happens on the way."""

import json
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess, Popen
from typing import Any

import pytest

import gpt2xl

Run = Callable[..., CompletedProcess[str]]
Refused = Callable[..., str]
PROMPTS = ["Once", "the king who", "", "a fair daughter " * 4, "go", "€", "said to her: go."]
OUT, PART = Path("out.jsonl"), Path("out.jsonl.part")


def write(prompts: list[str], **more: object) -> str:
    """IN.jsonl; its name."""
    lines = [json.dumps({"id": n, "prompt": p, **more}) + "\n" for n, p in enumerate(prompts)]
    Path("in.jsonl").write_text("".join(lines), encoding="utf-8")
    return "in.jsonl"


def rows(path: Path = OUT) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


@pytest.fixture
def batch(run: Run, bundle: Path) -> Callable[..., list[dict[str, Any]]]:
    """Run it, which has to go well and leave OUT only; what OUT holds."""

    def batch(*arguments: object, stderr: str = "", stdin: bytes = b"") -> list[dict[str, Any]]:
        done = run("batch", "-m", bundle, *arguments, stdin=stdin)
        assert (done.returncode, done.stderr) == (0, stderr)
        assert not [path for path in Path.cwd().iterdir() if path.name.endswith(".part")]
        assert not [path for path in Path.cwd().iterdir() if path.name.startswith(".")]
        return rows()

    return batch


Batch = Callable[..., list[dict[str, Any]]]


def interrupted(
    run: Run, monkeypatch: pytest.MonkeyPatch, after: int, *arguments: object
) -> list[str]:
    """Run it until ``after`` texts are finished; the lines of the .part file."""
    from gpt2xl_cli.batches.jsonl import Part

    def add(self: Part, number: int, text: gpt2xl.Generation) -> None:
        if len(added) == after:
            raise KeyboardInterrupt
        added.append(number)
        real(self, number, text)

    added: list[int] = []
    real = Part.add
    with monkeypatch.context() as patch:
        patch.setattr(Part, "add", add)
        done = run("batch", *arguments)
    assert (done.returncode, done.stdout) == (130, "")
    count, message = PART.read_bytes().count(b"\n") - 1, done.stderr.splitlines()[-1]
    assert message == (
        f"error: interrupted: {count} of 7 texts are done in 'out.jsonl.part';"
        " run the same command again to go on."
    )
    assert not OUT.exists()
    return PART.read_text("utf-8").splitlines()


@pytest.mark.parametrize("way", [["--greedy"], ["--seed", "7"]], ids=["greedy", "sampled"])
@pytest.mark.parametrize("count", [1, 3, 16])
def test_each_line_gets_the_text_it_gets_alone(
    way: list[str], count: int, batch: Batch, bundle: Path
) -> None:
    found = batch(write(PROMPTS, x=[1.5]), OUT, "-n", 30, "--rows", count, *way)
    for number, (prompt, row) in enumerate(zip(PROMPTS, found, strict=True)):
        seed = None if way == ["--greedy"] else 7 + number
        alone = gpt2xl.load(bundle).generate(
            prompt, max_new_tokens=30, greedy=seed is None, seed=seed
        )
        assert row == {
            "id": number, "prompt": prompt, "x": [1.5], "text": alone.text,
            "finish_reason": alone.finish_reason, "new_tokens": len(alone.new_ids), "seed": seed,
        }  # fmt: skip


def test_a_line_is_carried_along_to_the_letter(batch: Batch) -> None:
    line = '{"a":1.50,  "b": 1e999, "prompt":"Once", "c": "\\u20ac €" }'
    Path("in.jsonl").write_text(f"  {line}\r\n", encoding="utf-8")
    batch("in.jsonl", OUT, "-n", 3)
    text = OUT.read_bytes().decode()
    assert text.startswith(line[:-2] + ', "text": ')
    assert text.count("\n") == 1


def test_nan_is_no_json(refused: Refused, bundle: Path) -> None:
    Path("in.jsonl").write_text('{"prompt": "Once", "x": NaN}\n')
    message = refused("batch", "-m", bundle, "in.jsonl", OUT)
    assert "line 1 is not JSON: NaN is not a number" in message


def test_a_summary_is_printed_and_json_changes_nothing_else(
    run: Run, bundle: Path, batch: Batch
) -> None:
    wanted = batch(write(PROMPTS), OUT, "-n", 5, "--greedy")
    done = run("batch", "-m", bundle, "in.jsonl", "other", "-n", 5, "--greedy")
    assert done.stdout == "Wrote other: 7 texts, 35 new tokens.\n"
    done = run("batch", "-m", bundle, "in.jsonl", "third", "-n", 5, "--greedy", "--json")
    facts = {"out": "third", "rows": 7, "done_before": 0, "new_tokens": 35}
    assert (json.loads(done.stdout), done.stderr) == (facts, "")
    assert wanted == rows(Path("other")) == rows(Path("third"))


def test_stdin_is_an_input_as_well(batch: Batch) -> None:
    content = Path(write(PROMPTS)).read_bytes()
    wanted = batch("in.jsonl", OUT, "--greedy", "-n", 5)
    assert batch("-", OUT, "--greedy", "-n", 5, "--force", stdin=content) == wanted


@pytest.mark.parametrize("way", [["--greedy"], []], ids=["greedy", "sampled"])
def test_no_lines_give_no_lines(batch: Batch, way: list[str]) -> None:
    assert batch(write([]), OUT, *way) == []
    assert OUT.read_bytes() == b""


def test_without_a_seed_one_is_drawn_and_told(batch: Batch, bundle: Path) -> None:
    first = batch(write(PROMPTS), OUT, "-n", 9)
    assert [row["seed"] - first[0]["seed"] for row in first] == list(range(7))
    again = batch("in.jsonl", OUT, "-n", 9, "--force", "--seed", first[0]["seed"])
    assert again == first


# --- going on


FOREIGN = (
    b'{"row": [], "text": "", "finish_reason": "length", "new_tokens": 5, "seed": null}\n'
    + b"[" * 100_000
)


ROW = {"row": 6, "text": "", "finish_reason": "length", "new_tokens": 5, "seed": 9}


@pytest.mark.parametrize(
    ("key", "value"),
    [("row", True), ("text", None), ("finish_reason", "0"), ("new_tokens", 1.5), ("seed", "9")],
)
def test_a_row_of_foreign_types_is_done_again(
    key: str, value: object, run: Run, batch: Batch, bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = batch(write(PROMPTS), OUT, "--seed", 3, "-n", 20)
    OUT.unlink()
    interrupted(run, monkeypatch, 1, "in.jsonl", OUT, "-m", bundle, "--seed", 3, "-n", 20)
    with PART.open("a") as file:
        file.write(json.dumps(ROW | {key: value}) + "\n")
    said = "1 of 7 texts were done already; going on.\n"
    assert batch("in.jsonl", OUT, "--seed", 3, "-n", 20, stderr=said) == wanted


def test_a_part_that_is_a_pipe_is_not_waited_for(refused: Refused, bundle: Path) -> None:
    os.mkfifo(PART)
    assert "out.jsonl.part' is not a regular file" in refused(
        "batch", "-m", bundle, write(PROMPTS), OUT
    )


def test_an_input_without_end_is_refused(
    refused: Refused, bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gpt2xl_cli.options.MAX_INPUT_BYTES", 1 << 20)
    assert "'/dev/zero' is larger than 1 MB" in refused("batch", "-m", bundle, "/dev/zero", OUT)


@pytest.mark.parametrize("after", [0, 1, 4, 6])
@pytest.mark.parametrize("torn", [b"", b'{"row": 3, "te', b"\xff\n", FOREIGN])
def test_a_run_goes_on_where_it_was_cut_short(
    after: int, torn: bytes, run: Run, batch: Batch, bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = batch(write(PROMPTS), OUT, "--seed", 3, "-n", 20)
    OUT.unlink()
    options = ["in.jsonl", OUT, "-m", bundle, "--seed", 3, "-n", 20]
    header, *done = interrupted(run, monkeypatch, after, *options, "--rows", 2)
    assert len(done) == after
    with PART.open("ab") as file:
        file.write(torn)
    started: list[list[int]] = []
    real = gpt2xl.Model._request

    def request(self: gpt2xl.Model, ids: list[int], *rest: Any) -> Any:
        started.append(ids)
        return real(self, ids, *rest)

    monkeypatch.setattr(gpt2xl.Model, "_request", request)
    said = f"{after} of 7 texts were done already; going on.\n" if after else ""
    assert batch("in.jsonl", OUT, "--seed", 3, "-n", 20, "--rows", 5, stderr=said) == wanted
    assert len(started) == 7 - after
    assert json.loads(header)["seed"] == 3


def test_a_drawn_seed_is_that_of_the_run_that_goes_on(
    run: Run, batch: Batch, bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = ["in.jsonl", OUT, "-n", 9]
    header, *_ = interrupted(run, monkeypatch, 3, write(PROMPTS), OUT, "-n", 9, "-m", bundle)
    seed = json.loads(header)["seed"]
    found = batch(*options, stderr="3 of 7 texts were done already; going on.\n")
    assert [row["seed"] for row in found] == list(range(seed, seed + 7))
    OUT.unlink()
    assert batch(*options, "--seed", seed) == found


def test_a_run_with_every_row_done_only_has_to_sort(
    run: Run, batch: Batch, bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from gpt2xl_cli.batches.jsonl import Part

    def fail(self: Part, *_: object, **__: object) -> None:
        raise OSError("no space")

    with monkeypatch.context() as patch:
        patch.setattr(Part, "finish", fail)
        done = run("batch", "-m", bundle, write(PROMPTS), OUT, "-n", 5)
    assert done.stderr == "error: no space\n"
    assert (
        len(batch("in.jsonl", OUT, "-n", 5, stderr="7 of 7 texts were done already; going on.\n"))
        == 7
    )


def test_a_killed_run_loses_no_finished_row(
    make_bundle: Callable[..., Path], spawn: Callable[..., Popen[bytes]], run: Run
) -> None:
    talker = make_bundle({"vocab_size": 287, "n_embd": 128, "n_layer": 4, "n_positions": 4096})
    write([f"{number} kings" for number in range(12)])
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
    assert (done.returncode, done.stderr) == (
        0,
        f"{len(kept)} of 12 texts were done already; going on.\n",
    )
    resumed = rows()
    assert [row["id"] for row in resumed] == list(range(12))
    for line in map(json.loads, kept):
        assert resumed[line["row"]]["text"] == line["text"]
    assert run(*options, "--force").returncode == 0
    assert rows() == resumed


# --- refusals


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (["--seed", "4"], "seed"),
        (["-n", "8"], "max_new_tokens"),
        (["--temperature", "0.7"], "temperature"),
        (["--top-k", "9"], "top_k"),
        (["--greedy"], "greedy"),
        (["-m", "other"], "model"),
        ([], "input"),
    ],
)
def test_another_run_is_not_gone_on_with(
    change: list[str],
    named: str,
    run: Run,
    refused: Callable[..., str],
    batch: Batch,
    bundle: Path,
    make_bundle: Callable[..., Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    options = ["in.jsonl", OUT, "-m", bundle, "--seed", "3", "-n", "9"]
    write(PROMPTS)
    interrupted(run, monkeypatch, 2, *options)
    if named == "input":
        write(PROMPTS[::-1])
    if named == "model":
        Path("other").symlink_to(make_bundle({"n_positions": 48}))
    before = PART.read_bytes()
    message = refused("batch", *options, *change)
    assert "'out.jsonl.part' is of a run with another " in message
    assert named in message
    assert "delete it, or replace it with --force" in message
    assert PART.read_bytes() == before
    assert run("batch", *options, *change, "--force").stderr == ""
    assert len(rows()) == 7
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
def test_a_file_of_something_else_is_left_alone(
    content: str, force: list[str], refused: Callable[..., str], bundle: Path
) -> None:
    PART.write_text(content)
    message = refused("batch", "-m", bundle, write(PROMPTS), OUT, *force)
    assert "'out.jsonl.part' is not of this gpt2xl batch: delete it or move it away" in message
    assert PART.read_text() == content


def test_an_empty_part_file_is_a_run_that_had_not_begun(batch: Batch) -> None:
    PART.touch()
    assert len(batch(write(PROMPTS), OUT, "-n", 2)) == 7


def test_what_is_there_is_replaced_with_force_only(
    batch: Batch, refused: Callable[..., str], bundle: Path
) -> None:
    OUT.write_text("precious")
    message = refused("batch", "-m", bundle, write(PROMPTS), OUT)
    assert "'out.jsonl' exists already: choose another file, or replace it with --force" in message
    assert OUT.read_text() == "precious"
    assert len(batch("in.jsonl", OUT, "-n", 2, "--force")) == 7


def test_a_file_that_came_to_exist_meanwhile_is_not_replaced(
    run: Run, bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from gpt2xl_cli.batches.jsonl import Part

    def add(self: Part, number: int, text: gpt2xl.Generation) -> None:
        OUT.write_text("precious")
        real(self, number, text)

    real = Part.add
    monkeypatch.setattr(Part, "add", add)
    done = run("batch", "-m", bundle, write(PROMPTS), OUT, "-n", 2)
    assert (done.returncode, OUT.read_text()) == (1, "precious")
    assert "exists already" in done.stderr
    assert len(rows(PART)) == 8


@pytest.mark.parametrize(
    ("out", "message"),
    [
        ("nowhere/out", "'nowhere/out' cannot be written: 'nowhere' is not a folder"),
        ("in.jsonl/out", "'in.jsonl' is not a folder"),
        (".", "'.' exists and is no file"),
    ],
)
def test_a_place_that_cannot_be_written_is_named_before_anything_runs(
    out: str, message: str, refused: Callable[..., str], bundle: Path
) -> None:
    assert message in refused("batch", "-m", bundle, write(PROMPTS), out, "--force")


BAD = {
    "Once": 'is not a JSON object: each line has to be one with a "prompt", such as {"prompt": "Once"},'
    " but this is 'Once'.",
    "Once upon a time there lived a king and \x1b[31m": "this is 'Once upon a time there lived a king and ...'",
    "\x1b[31mOnce": r"this is '\x1b[31mOnce'",
    '{"prompt": "a"} x': "is not JSON: Extra data",
    "[" * 100_000: "is not a JSON object: ",
    '{"a":' * 100_000: "is not JSON: ",
    '{"a": %s}' % ("1" * 5000): "is not JSON: ",
    '["prompt"]': "is not a JSON object",
    '{"Prompt": "a"}': 'has no "prompt"',
    '{"prompt": 1}': '"prompt" has to be a string',
    '{"prompt": null}': '"prompt" has to be a string',
    '{"prompt": "a", "text": "b"}': 'has a "text" already, which the output adds: rename it',
    '{"prompt": "a", "seed": 4}': '"seed" is not taken from a line: give --seed for all of them',
    '{"prompt": "a", "n": 4}': '"n" is not taken from a line: give -n for all',
    '{"prompt": "a", "top-k": 4}': '"top-k" is not taken from a line: give --top-k for all',
    '{"prompt": "a", "temperature": 1}': '"temperature" is not taken from a line',
    '{"prompt": "a", "max_tokens": 1}': '"max_tokens" is not taken from a line: give -n',
    '{"prompt": "a", "top_p": 1}': 'gpt2xl has no "top_p": remove it, or rename it',
    '{"prompt": "%s"}' % ("#" * 97): "the prompt has 97 tokens, but the model's context is 96",
    '{"prompt": "\\ud800"}': "lone surrogate",
}


@pytest.mark.parametrize("source", ["in.jsonl", "-"])
@pytest.mark.parametrize(("line", "message"), BAD.items(), ids=[line[:20] for line in BAD])
def test_a_bad_line_is_named_before_anything_runs(
    source: str, line: str, message: str, refused: Callable[..., str], bundle: Path
) -> None:
    good = '{"prompt": "Once"}\n'
    content = f"{good}{good}{line}\n{good}"
    Path("in.jsonl").write_text(content)
    found = refused("batch", "-m", bundle, source, OUT, stdin=content.encode())
    name = "'in.jsonl'" if source == "in.jsonl" else "stdin"
    assert found.startswith(f"error: {name}, line 3")
    assert message in found


def test_an_input_has_to_be_there_and_utf_8(refused: Callable[..., str], bundle: Path) -> None:
    assert "'nowhere'" in refused("batch", "-m", bundle, "nowhere", OUT)
    Path("in.jsonl").write_bytes(b'{"prompt": "\xff"}\n')
    message = refused("batch", "-m", bundle, "in.jsonl", OUT)
    assert "'in.jsonl' is not UTF-8: byte 0xff at offset 12" in message


@pytest.mark.parametrize(
    ("option", "message"),
    [
        (("--rows", "0"), "rows has to be >= 1, but is 0"),
        (("-n", "0"), "max_new_tokens has to be >= 1"),
        (("--temperature", "nan"), "temperature has to be a number >= 0"),
        (("--seed", "-1"), "seed has to be >= 0"),
    ],
)
def test_an_option_out_of_its_range_leaves_no_file(
    option: tuple[str, str], message: str, refused: Callable[..., str], bundle: Path
) -> None:
    assert message in refused("batch", "-m", bundle, write(PROMPTS), OUT, *option)
