"""What a de-tokenizer is, and how tokens are joined so that the text gives the tokens back."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

Split = Callable[[str], list[str]]
"""From a line of text to its tokens."""


@dataclass(frozen=True)
class Detokenizer:
    """Turns the lines of a word-level data set into text as people write it, and back.

    Spaces at both ends of a line are left out. A line of text has no line end; several lines may be given at once.
    """

    name: str
    detokenize: Callable[[str], str]
    """From lines of tokens with spaces between them to text."""
    tokenize: Split | None
    """From the text to the tokens without the line ends; None where the text does not tell them."""


def by_line(name: str, line_to_text: Callable[[str], str], split: Split) -> Detokenizer:
    """A de-tokenizer that treats each line by itself."""

    def detokenize(lines: str) -> str:
        return "\n".join(map(line_to_text, lines.split("\n")))

    def tokenize(text: str) -> list[str]:
        return [token for line in text.split("\n") for token in split(line)]

    return Detokenizer(name, detokenize, tokenize)


def text_of(
    tokens: Sequence[str], joined: Sequence[bool], split: Split, spell: Callable[[str], str] = str
) -> str:
    """The tokens with a space between each two that are not joined.

    Tokens that ``split`` would not find again keep their spaces and their spelling.

    Args:
        tokens: of a line.
        joined: whether the text has no space before a token, of each.
        split: the way back.
        spell: how a token is written in the text.
    """
    spelled = [spell(token) for token in tokens]
    gaps = ("" if at == 0 or is_joined else " " for at, is_joined in enumerate(joined))
    text = "".join(part for pair in zip(gaps, spelled, strict=True) for part in pair)
    return text if split(text) == list(tokens) else _careful(tokens, joined, split, spelled)


def _careful(
    tokens: Sequence[str], joined: Sequence[bool], split: Split, spelled: Sequence[str]
) -> str:
    """The text in chunks that ``split`` takes apart again."""
    chunks = list[str]()
    start = 0
    while start < len(tokens):
        end = start + 1
        while end < len(tokens) and joined[end]:
            end += 1
        while not (chunk := _chunk(tokens, start, end, split, spelled)):
            end -= 1
        chunks.append(chunk)
        start = end
    return " ".join(chunks)


def _chunk(
    tokens: Sequence[str], start: int, end: int, split: Split, spelled: Sequence[str]
) -> str:
    """Some tokens without spaces between them; empty where ``split`` does not find them again."""
    group, chunk = tokens[start:end], "".join(spelled[start:end])
    if chunk == tokens[start]:
        return chunk
    # The token after them is there because the splitting of a full stop depends on it.
    found = split(" ".join([chunk, *tokens[end : end + 1]]))
    if found[: len(group)] == list(group):
        return chunk
    return tokens[start] if len(group) == 1 else ""
