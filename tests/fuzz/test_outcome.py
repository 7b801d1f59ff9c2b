"""Which results of a command are faults."""

import json
from pathlib import Path

import pytest
from tests.fuzz.outcome import Ended, Wrong, batch_texts, of_end, of_exception

TEXT = json.dumps({"text": "go", "finish_reason": "stop"}).encode()
INFO = b"Folder     x\nPrecision  fp32\n"


@pytest.mark.parametrize(
    ("reads", "ended"),
    [
        ("json", Ended(0, TEXT, b"")),
        ("json", Ended(0, TEXT, b"warning: running on the CPU.\n")),
        ("json", Ended(1, b"", b"error: 'config.json' does not exist.\n")),
        ("text", Ended(1, b"Once\n", b"error: the weights are damaged.\n")),
        ("info", Ended(0, INFO, b"")),
        ("batch", Ended(0, b"Wrote out.jsonl.\n", b"2 of 3 texts were done already; resuming.\n")),
    ],
)
def test_allowed_results(reads: str, ended: Ended) -> None:
    assert of_end(reads, ended) is None


@pytest.mark.parametrize(
    ("reads", "ended", "told"),
    [
        ("json", Ended(1, b"", b""), "no line of error"),
        ("json", Ended(1, b"", b"error: a\nb\n"), "several lines"),
        ("json", Ended(1, b"", b"thread panicked\nerror: a\n"), "several lines"),
        ("json", Ended(1, b"{}", b"error: a.\n"), "an error and output"),
        ("json", Ended(2, b"", b"error: a.\n"), "exit status 2"),
        ("json", Ended(1, b"", b"error: \n"), "says nothing"),
        ("json", Ended(1, b"", b"error: 'vocab'\n"), "says nothing"),
        ("json", Ended(1, b"", b"error: \x1b[31m\n"), "control characters"),
        ("json", Ended(1, b"", b"error: \xff\n"), "not UTF-8"),
        ("json", Ended(1, b"", b"error: " + b"x" * 5000 + b"\n"), "very long"),
        ("json", Ended(0, TEXT, b"onnxruntime says\n"), "unknown line"),
        ("json", Ended(0, TEXT, b"warning: overflow encountered in cast\n"), "stray warning"),
        ("json", Ended(0, b'{"text": NaN}', b""), "NaN in JSON"),
        ("json", Ended(0, b'{"text": 5}', b""), "no text"),
        ("json", Ended(0, b"{", b""), "no JSON"),
        ("ids", Ended(0, b'{"ids": [1.5]}', b""), "no integers"),
        ("info", Ended(0, INFO + b"Source  a\x07b\n", b""), "control characters"),
        ("info", Ended(0, INFO + b"loose\n", b""), "without its label"),
        ("verify", Ended(0, b"ok  a\x1b[2J\n", b""), "control characters"),
        ("text", Ended(0, b"\xff", b""), "not UTF-8"),
    ],
)
def test_faults(reads: str, ended: Ended, told: str) -> None:
    fault = of_end(reads, ended)
    assert fault is not None
    assert told in fault.where


def test_exceptions_are_grouped_by_their_last_frame() -> None:
    from gpt2xl import RequestError, Tokenizer

    with pytest.raises((RequestError, ValueError)) as caught:
        Tokenizer("{")
    assert of_exception(caught.value).where == "ValueError at tokenizer_json.py:parse"


def test_batches_have_a_text_in_every_line(tmp_path: Path) -> None:
    row = {"id": 1, "text": "go", "new_tokens": 2, "finish_reason": "stop"}
    (tmp_path / "good").write_text(json.dumps(row) + "\n")
    (tmp_path / "bad").write_text(json.dumps(row | {"text": 5}) + "\n")
    assert batch_texts(tmp_path / "good") == ["go"]
    with pytest.raises(Wrong, match="without its text"):
        batch_texts(tmp_path / "bad")
