"""Tokens as people read them."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gpt2xl import Tokenizer


def token_name(token_id: int, tokenizer: "Tokenizer") -> str:
    """A token's text in quotes; bytes that are no whole characters are escaped."""
    if token_id not in tokenizer:
        return f"<{token_id}>"
    return repr(tokenizer.token_bytes(token_id).decode("utf-8", "backslashreplace"))


def text_of(ids: Iterable[int], tokenizer: "Tokenizer") -> str:
    """The text of ``ids`` on one line; control characters are escaped."""
    return repr(tokenizer.decode(i for i in ids if i in tokenizer))[1:-1]
