"""The text of the prompt as token ids, and how edits and stop strings change them."""

from collections.abc import Sequence
from dataclasses import dataclass

from gpt2xl import StreamDecoder, Tokenizer

WHITE_SPACE = b" \t\n\r"


@dataclass(frozen=True)
class Document:
    """A text as the ids that the model has seen, so that its KV cache fits the next turn token for token."""

    ids: tuple[int, ...] = ()
    hidden: int = 0
    """Leading ids that are not part of the text, such as the beginning-of-text that an empty text starts from."""


def text_of(document: Document, tokenizer: Tokenizer) -> str:
    """The text. Bytes that are not UTF-8 become U+FFFD, and ids that the tokenizer lacks have no text."""
    return _bytes_of(document.ids[document.hidden :], tokenizer).decode("utf-8", "replace")


def appended(document: Document, ids: Sequence[int]) -> Document:
    """``document`` and ``ids`` behind it."""
    return Document((*document.ids, *ids), document.hidden)


def edited(
    document: Document, text: str, tokenizer: Tokenizer, *, parse_special: bool = True
) -> Document:
    """The document of ``text``, with the ids of ``document`` as far as both begin alike.

    What differs is tokenized by itself, from the beginning of the word in which it lies.

    >>> before = Document(tuple(tokenizer.encode("Once upon a time there was a king")))
    >>> after = edited(before, "Once upon a time there was a kingdom", tokenizer)
    >>> after.ids[:7] == before.ids[:7], text_of(after, tokenizer)
    (True, 'Once upon a time there was a kingdom')
    """
    wanted, start = text.encode(), 0
    kept = document.hidden
    for token_id in document.ids[document.hidden :]:
        token = _bytes_of([token_id], tokenizer)
        if not wanted.startswith(token, start):
            break
        kept, start = kept + 1, start + len(token)
    if start == len(wanted):
        return Document(document.ids[:kept], document.hidden)
    while kept > document.hidden and wanted[start : start + 1] not in WHITE_SPACE:
        kept -= 1
        start -= len(_bytes_of([document.ids[kept]], tokenizer))
    rest = wanted[start:].decode()
    new = tokenizer.encode(rest, parse_special=parse_special, add_special_tokens=False)
    return Document((*document.ids[:kept], *new), document.hidden)


def ids_of_text(ids: Sequence[int], text: str, tokenizer: Tokenizer) -> list[int]:
    """Those of ``ids`` that make up ``text``, with which their text begins; a token that goes past its end is cut.

    >>> ids_of_text(tokenizer.encode(" a king"), " a kin", tokenizer) == tokenizer.encode(" a kin")
    True
    """
    decoder = StreamDecoder(tokenizer)
    whole, size, length = 0, 0, 0
    for count, token_id in enumerate(ids, 1):
        length += len(decoder.add(token_id)) if token_id in tokenizer else 0
        if length > len(text):
            break
        if not decoder.unfinished:
            whole, size = count, length
    rest = text[size:]
    return [*ids[:whole], *(tokenizer.encode(rest, add_special_tokens=False) if rest else ())]


def shown(ids: Sequence[int], keep: int, window: int, n_positions: int) -> list[int]:
    """What a model with ``n_positions`` is shown of a text with the option ``overflow="slide"``.

    It depends on the length alone: it is what one generation of the whole text would have in its context, so that the
    KV cache of one turn fits the next.

    >>> [shown(range(size), 1, 2, 4) for size in (4, 5, 6, 7)]
    [[0, 1, 2, 3], [0, 3, 4], [0, 3, 4, 5], [0, 5, 6]]
    """
    beyond, dropped_at_once = len(ids) - n_positions, n_positions + 1 - keep - window
    dropped = -(-beyond // dropped_at_once) * dropped_at_once if beyond > 0 else 0
    return [*ids[:keep], *ids[keep + dropped :]]


def _bytes_of(ids: Sequence[int], tokenizer: Tokenizer) -> bytes:
    return b"".join(tokenizer.token_bytes(token_id) for token_id in ids if token_id in tokenizer)
