"""gpt2xl batch: inputs, outputs and options that are refused."""

from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess
from typing import TYPE_CHECKING

import pytest

import gpt2xl

if TYPE_CHECKING:
    from tests.cli.batches.conftest import Batch

Run = Callable[..., CompletedProcess[str]]
Refused = Callable[..., str]
OUT, PART = Path("out.jsonl"), Path("out.jsonl.part")


def test_nan_is_not_json(refused: Refused, bundle: Path) -> None:
    Path("in.jsonl").write_text('{"prompt": "Once", "x": NaN}\n')
    message = refused("batch", "-m", bundle, "in.jsonl", OUT)
    assert "line 1 is not JSON: NaN is not a number" in message


def test_an_endless_input_is_refused(
    refused: Refused, bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gpt2xl_cli.text_input.MAX_INPUT_BYTES", 1 << 20)
    assert "'/dev/zero' is larger than 1 MB" in refused("batch", "-m", bundle, "/dev/zero", OUT)


def test_an_output_is_replaced_only_with_force(
    batch: "Batch", refused: Refused, bundle: Path
) -> None:
    OUT.write_text("precious")
    message = refused("batch", "-m", bundle, batch.write(), OUT)
    assert "'out.jsonl' exists already: choose another file, or replace it with --force" in message
    assert OUT.read_text() == "precious"
    assert len(batch("in.jsonl", OUT, "-n", 2, "--force")) == 7


def test_an_output_that_appears_during_the_run_is_not_replaced(
    run: Run, batch: "Batch", bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from gpt2xl_cli.batches.resume_file import ResumeFile

    def add(self: ResumeFile, number: int, text: gpt2xl.Generation) -> None:
        OUT.write_text("precious")
        real(self, number, text)

    real = ResumeFile.add
    monkeypatch.setattr(ResumeFile, "add", add)
    done = run("batch", "-m", bundle, batch.write(), OUT, "-n", 2)
    assert (done.returncode, OUT.read_text()) == (1, "precious")
    assert "exists already" in done.stderr
    assert len(batch.rows(PART)) == 8


@pytest.mark.parametrize(
    ("out", "message"),
    [
        ("nowhere/out", "'nowhere/out' cannot be written: 'nowhere' is not a folder"),
        ("in.jsonl/out", "'in.jsonl' is not a folder"),
        (".", "'.' exists and is not a file"),
    ],
)
def test_an_output_that_cannot_be_written_is_refused_before_anything_runs(
    out: str, message: str, refused: Refused, batch: "Batch", bundle: Path
) -> None:
    assert message in refused("batch", "-m", bundle, batch.write(), out, "--force")


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
    '{"prompt": "a", "seed": 4}': '"seed" is not read from a line: give --seed for all of them',
    '{"prompt": "a", "n": 4}': '"n" is not read from a line: give -n for all',
    '{"prompt": "a", "top-k": 4}': '"top-k" is not read from a line: give --top-k for all',
    '{"prompt": "a", "temperature": 1}': '"temperature" is not read from a line',
    '{"prompt": "a", "max_tokens": 1}': '"max_tokens" is not read from a line: give -n',
    '{"prompt": "a", "top_p": 1}': '"top_p" is not read from a line: give --top-p for all of them',
    '{"prompt": "a", "stop": "b"}': '"stop" is not read from a line: give --stop-strings for all of them',
    '{"prompt": "a", "no-repeat-ngram-size": 2}': "give --no-repeat-ngram-size for all of them",
    '{"prompt": "a", "parse_special": false}': "give --special for all of them",
    '{"prompt": "a", "sampler": 2}': "GenerationOptions(sampler=...): remove it, or",
    '{"prompt": "a", "dola_layers": "high"}': 'gpt2xl has no "dola_layers": remove it, or rename it',
    '{"prompt": ["a"]}': "a prompt is a text or a list of token ids, but this list holds 'a'",
    '{"prompt": [1, 289]}': "the prompt holds id 289, but the model's vocabulary is 289",
    '{"prompt": "%s"}' % ("#" * 97): "the prompt has 97 tokens, but the model's context is 96",
    '{"prompt": "\\ud800"}': "lone surrogate",
}


@pytest.mark.parametrize("source", ["in.jsonl", "-"])
@pytest.mark.parametrize(("line", "message"), BAD.items(), ids=[line[:20] for line in BAD])
def test_a_bad_line_is_refused_with_its_number_before_anything_runs(
    source: str, line: str, message: str, refused: Refused, bundle: Path
) -> None:
    good = '{"prompt": "Once"}\n'
    content = f"{good}{good}{line}\n{good}"
    Path("in.jsonl").write_text(content)
    found = refused("batch", "-m", bundle, source, OUT, stdin=content.encode())
    name = "'in.jsonl'" if source == "in.jsonl" else "stdin"
    assert found.startswith(f"error: {name}, line 3")
    assert message in found


def test_a_missing_input_or_one_that_is_not_utf_8_is_refused(
    refused: Refused, bundle: Path
) -> None:
    assert "'nowhere'" in refused("batch", "-m", bundle, "nowhere", OUT)
    Path("in.jsonl").write_bytes(b'{"prompt": "\xff"}\n')
    message = refused("batch", "-m", bundle, "in.jsonl", OUT)
    assert "'in.jsonl' is not UTF-8: byte 0xff at offset 12" in message


@pytest.mark.parametrize(
    ("option", "message"),
    [
        (("--rows", "0"), "rows has to be >= 1, but is 0"),
        (("-n", "0"), "--max-new-tokens has to be >= 1"),
        (("--temperature", "nan"), "temperature has to be a number >= 0"),
        (("--seed", "-1"), "seed has to be >= 0"),
        (("-r", "2"), "a batch writes one text for each line: leave --num-return-sequences out"),
        (("--logit-bias", "a=1"), "--logit-bias has to be ID=NUMBER"),
    ],
)
def test_an_option_out_of_range_is_refused_and_leaves_no_file(
    option: tuple[str, str], message: str, refused: Refused, batch: "Batch", bundle: Path
) -> None:
    assert message in refused("batch", "-m", bundle, batch.write(), OUT, *option)


@pytest.mark.parametrize("out", ["in.jsonl", "./in.jsonl", "link"])
def test_the_input_is_not_replaced(
    out: str, refused: Refused, batch: "Batch", bundle: Path
) -> None:
    Path("link").symlink_to(batch.write())
    before = Path("in.jsonl").read_bytes()
    message = refused("batch", "-m", bundle, "in.jsonl", out, "--force")
    assert f"'{Path(out)}' is the input, too: name another file to write" in message
    assert Path("in.jsonl").read_bytes() == before
