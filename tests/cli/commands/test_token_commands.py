"""gpt2xl tokenize and detokenize."""

import json
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import pytest

Run = Callable[..., CompletedProcess[str]]
TEXTS = ["Once upon a time", "", "  two  spaces\tand\n", "Grüße, 世界 🙂", "<|endoftext|>", "-5"]


@pytest.mark.parametrize("text", TEXTS)
def test_ids_decode_to_the_text_they_encode(text: str, run: Run, bundle: Path) -> None:
    ids = run("tokenize", "-m", bundle, "--", text).stdout
    done = run("detokenize", "-m", bundle, *ids.split())
    assert (done.returncode, done.stdout, done.stderr) == (0, f"{text}\n", "")


@pytest.mark.parametrize("argument", [[], ["-"]])
@pytest.mark.parametrize("text", TEXTS)
def test_both_commands_read_stdin(text: str, argument: list[str], run: Run, bundle: Path) -> None:
    ids = run("tokenize", "-m", bundle, *argument, stdin=text.encode()).stdout
    assert run("detokenize", "-m", bundle, stdin=ids.encode()).stdout == f"{text}\n"


def test_tokenize_keeps_the_final_newline_of_stdin(run: Run, bundle: Path) -> None:
    done = run("tokenize", "-m", bundle, "--json", stdin=b"go\n")
    assert json.loads(done.stdout)["tokens"][-1] == "\n"


@pytest.mark.parametrize("ids", [b"[275, 75]", b"275,75", b" 275\n75\n"])
def test_ids_may_be_a_json_list_or_lines(ids: bytes, run: Run, bundle: Path) -> None:
    wanted = run("detokenize", "-m", bundle, 275, 75).stdout
    assert run("detokenize", "-m", bundle, stdin=ids).stdout == wanted


def test_end_of_text_is_one_id_or_thirteen_characters(run: Run, bundle: Path) -> None:
    special = run("tokenize", "-m", bundle, "<|endoftext|>").stdout.split()
    ordinary = run("tokenize", "-m", bundle, "<|endoftext|>", "--no-special").stdout.split()
    assert special == ["286"]
    assert "286" not in ordinary
    assert len(ordinary) > 5


def test_json_of_ids_shows_tokens_that_are_parts_of_characters(run: Run, bundle: Path) -> None:
    content = json.loads(run("tokenize", "-m", bundle, "ü", "--json").stdout)
    assert set(content) == {"ids", "tokens"}
    assert content["tokens"] == ["\\xc3", "\\xbc"]


def test_json_of_text_is_one_object(run: Run, bundle: Path) -> None:
    done = run("detokenize", "-m", bundle, 65, "--json")
    assert set(json.loads(done.stdout)) == {"text"}


IDS = {
    "not a number": (["12", "x"], "'x' is not a token id"),
    "a fraction": (["1.5"], "'1.5' is not a token id"),
    "the first id past the last": (["287"], "id 287 is not in the vocabulary of 287"),
    "a huge id": ([str(10**20)], f"id {10**20} is not in the vocabulary"),
    "a negative id": (["--", "-5"], "id -5 is not in the vocabulary"),
}


@pytest.mark.parametrize(("ids", "message"), IDS.values(), ids=IDS)
def test_ids_that_are_not_in_the_vocabulary_are_refused(
    ids: list[str], message: str, refused: Callable[..., str], bundle: Path
) -> None:
    assert message in refused("detokenize", "-m", bundle, *ids)


def test_ids_on_stdin_are_checked_too(refused: Callable[..., str], bundle: Path) -> None:
    message = "'twelve' is not a token id"
    assert message in refused("detokenize", "-m", bundle, stdin=b"[12, twelve]")


@pytest.mark.parametrize("command", ["tokenize", "detokenize", "generate"])
def test_stdin_has_to_be_utf_8(command: str, refused: Callable[..., str], bundle: Path) -> None:
    message = "stdin is not UTF-8: byte 0xff at offset 2"
    assert message in refused(command, "-m", bundle, stdin=b"12\xff34")


@pytest.mark.parametrize("command", ["tokenize", "detokenize", "generate"])
def test_a_closed_stdin_is_one_error_line(
    command: str, refused: Callable[..., str], bundle: Path
) -> None:
    assert "no stdin" in refused(command, "-m", bundle, stdin=None)


@pytest.mark.parametrize("command", ["tokenize", "detokenize"])
def test_a_folder_without_a_tokenizer_is_refused(
    command: str, refused: Callable[..., str], tmp_path: Path
) -> None:
    assert "tokenizer.json' does not exist" in refused(command, "-m", tmp_path, "12")
