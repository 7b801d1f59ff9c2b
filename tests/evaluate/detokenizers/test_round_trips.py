# ruff: noqa: RUF001
"""De-tokenizers are invertible: of made-up lines, and of WikiText-2."""

from pathlib import Path

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from gpt2xl_eval.detokenizers.by_name import detokenizer

WORDS = "a I it The word words <unk> <formula> 5 1990 10 000 No. No U.S. Mr. etc. pp v x-ray second- é ß 1980s ... .. - -- & + @ ="
MARKS = ". , ; : ! ? ' \" ( ) [ ] { } $ £ % # / ° – — ‑ “ ” ‘ ’ ′ ♭ 's 't 're n't 'em 'll @-@ @,@ @.@ N \\/"
ANY = st.text(
    st.characters(exclude_categories=["Z", "C"]) | st.sampled_from(".,'-\"/$N1"),
    min_size=1,
    max_size=5,
)
LINES = st.lists(st.sampled_from(WORDS.split()) | st.sampled_from(MARKS.split()) | ANY, max_size=12)
PAIRS = ("wikitext", "ptb", "1bw")


@pytest.mark.parametrize("name", PAIRS)
@settings(max_examples=200, deadline=None)
@given(tokens=LINES)
def test_a_line_whose_tokens_are_not_split_further_returns_exactly(
    name: str, tokens: list[str]
) -> None:
    pair = detokenizer(name)
    assert pair.tokenize is not None
    tokens = pair.tokenize(" ".join(tokens))
    assume(pair.tokenize(" ".join(tokens)) == tokens)
    text = pair.detokenize(f" {' '.join(tokens)} ")
    assert pair.tokenize(text) == tokens


@pytest.mark.parametrize("name", PAIRS)
@settings(max_examples=100, deadline=None)
@given(tokens=LINES)
def test_any_line_becomes_text_with_the_same_letters(name: str, tokens: list[str]) -> None:
    def letters(text: str) -> str:
        text = text.replace("N", "1") if name == "ptb" else text
        return "".join(character for character in text if character.isalnum())

    assert letters(detokenizer(name).detokenize(" ".join(tokens))) == letters("".join(tokens))


@pytest.mark.parametrize(
    ("part", "not_returning"), [("test", 2), pytest.param("valid", 3, marks=pytest.mark.slow)]
)
def test_wikitext_2_returns_but_for_abbreviations_before_unknown_words(
    shared_data: Path, part: str, not_returning: int
) -> None:
    pair = detokenizer("wikitext")
    assert pair.tokenize is not None
    lines = (shared_data / "eval" / "wikitext-2" / f"{part}.txt").read_text("utf-8").split("\n")
    texts = [pair.detokenize(line) for line in lines]
    failing = [
        line for line, text in zip(lines, texts, strict=True) if pair.tokenize(text) != line.split()
    ]
    assert len(lines) > 3000
    assert len(failing) == not_returning  # as docs/evaluation.md says
    # The word that <unk> stands for would say whether the full stop belongs to the word before.
    assert all(any(f" {word} <unk>" in line for word in ("No.", "var.")) for line in failing)


def test_no_artefacts_are_left_in_wikitext_2(shared_data: Path) -> None:
    tokens = (shared_data / "eval" / "wikitext-2" / "test.txt").read_text("utf-8")
    text = detokenizer("wikitext").detokenize(tokens)
    for artefact, most in ((" , ", 0), (" ; ", 0), ("( ", 0), (" )", 0), (" 's ", 5), (" . ", 10)):
        assert tokens.count(artefact) > 500
        assert text.count(artefact) <= most, artefact
    assert text.count("@") <= 10
