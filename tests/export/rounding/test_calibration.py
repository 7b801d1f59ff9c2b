"""The texts that a model is calibrated on: gpt2xl's own, or a file of the user's."""

import dataclasses
from collections.abc import Callable
from pathlib import Path

import pytest

from gpt2xl import ExportError
from gpt2xl.bundle.config import GPT2Config
from gpt2xl_export.rounding.calibration import PAGE, PAGE_TOKENS, CalibrationText, given_text, page

CONFIG = GPT2Config(vocab_size=257, n_positions=96, n_embd=8, n_layer=1, n_head=1)


def encode(text: str) -> list[int]:
    return list(text.encode())


@pytest.fixture
def write(tmp_path: Path) -> Callable[[bytes], Path]:
    """Call it for a file with this content."""

    def write(content: bytes) -> Path:
        (tmp_path / "text.txt").write_bytes(content)
        return tmp_path / "text.txt"

    return write


def test_a_file_is_cut_into_rows_of_the_context(write: Callable[[bytes], Path]) -> None:
    content = "".join(map(chr, range(32, 127))) * 3
    found = given_text(write(content.encode()), encode, CONFIG)
    assert [len(row) for row in found.rows] == [96, 96, 93]
    assert bytes(i for row in found.rows for i in row).decode() == content
    assert (found.origin, found.tokens) == ("text.txt", 285)


def test_only_the_first_4096_tokens_of_a_file_count(write: Callable[[bytes], Path]) -> None:
    found = given_text(write(b"a" * 4096 + b"b" * 100), encode, CONFIG)
    assert found.tokens == 4096
    assert {i for row in found.rows for i in row} == {ord("a")}


def test_tokens_that_the_model_does_not_know_are_left_out(write: Callable[[bytes], Path]) -> None:
    small = dataclasses.replace(CONFIG, vocab_size=ord("c"))
    assert given_text(write(b"abcabc"), encode, small) == CalibrationText(
        [[97, 98] * 2], "text.txt"
    )
    with pytest.raises(ExportError, match="has no tokens that the model knows"):
        given_text(write(b"ccc"), encode, small)


def test_the_page_has_a_token_at_every_position() -> None:
    found = page(encode, CONFIG)
    assert found.origin == "gpt2xl's page"
    assert {len(row) for row in found.rows} == {96}
    text = PAGE.read_bytes()[:PAGE_TOKENS]
    filled = bytes(i for row in found.rows for i in row)
    assert filled.startswith(text)
    assert text.startswith(filled[len(text) :])
    long = dataclasses.replace(CONFIG, n_positions=2 * len(text))
    assert [bytes(row) for row in page(encode, long).rows] == [text * 2]
