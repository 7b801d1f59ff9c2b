"""The tokens of a model as bytes: what grammars and token healing compare texts with."""

from bisect import bisect_left, bisect_right
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from gpt2xl.constraints.grammar import Grammar
from gpt2xl.constraints.llguidance_api import Matcher, llguidance
from gpt2xl.text.tokenizer import Tokenizer


class Vocabulary:
    """The ids of a model and their bytes. Keep one for each model: what it computes at first use takes a moment.

    Args:
        tokenizer: the model's.
        size: number of the model's logits, which may be more than the tokenizer has ids.
    """

    def __init__(self, tokenizer: Tokenizer, size: int) -> None:
        self.tokenizer = tokenizer
        self.size = size
        self._last: tuple[Grammar, Matcher] | None = None

    @cached_property
    def tokens(self) -> list[bytes]:
        """The bytes of each id; empty for special tokens and for ids that the tokenizer lacks."""
        known, special = self.tokenizer, self.tokenizer.special_ids
        return [
            known.token_bytes(token_id) if token_id in known and token_id not in special else b""
            for token_id in range(self.size)
        ]

    @cached_property
    def longest(self) -> int:
        """Bytes of the longest token."""
        return max(map(len, self.tokens), default=0)

    def extensions(self, prefix: bytes, *, whole: bool = True) -> npt.NDArray[np.int64]:
        """Ids of the tokens that begin with ``prefix`` (not empty), by their bytes.

        Args:
            prefix: the first bytes.
            whole: whether ``prefix`` ends a character, so that no byte that continues one may follow it.
        """
        tokens, ids = self._sorted
        first = bisect_left(tokens, prefix)
        last = bisect_right(tokens, prefix, key=lambda token: token[: len(prefix)])
        if not whole:
            return ids[first:last]
        # UTF-8 continues characters with bytes from 0x80 to 0xBF.
        left_out = slice(*(bisect_left(tokens, prefix + byte) for byte in (b"\x80", b"\xc0")))
        return np.concatenate((ids[first : left_out.start], ids[left_out.stop : last]))

    def matcher(self, grammar: Grammar) -> Matcher:
        """What checks a text against ``grammar``, at the beginning of the text. Id ``size`` is the end of the text.

        Raises:
            RequestError: the grammar names a special token that the tokenizer lacks, or is too complex.
        """
        last = self._last
        if last is None or last[0] != grammar:
            compiled = llguidance().LLMatcher(self._guide, grammar.compiled, log_level=0)
            if compiled.is_error():
                raise grammar.refused(compiled.get_error())
            self._last = last = grammar, compiled
        return last[1].deep_copy()

    @cached_property
    def _sorted(self) -> tuple[list[bytes], npt.NDArray[np.int64]]:
        ids = sorted(
            (i for i, token in enumerate(self.tokens) if token), key=self.tokens.__getitem__
        )
        return [self.tokens[token_id] for token_id in ids], np.array(ids, np.int64)

    @cached_property
    def _guide(self) -> Any:
        """The vocabulary in the form that llguidance wants."""
        module = llguidance()
        return module.LLTokenizer(module.TokenizerWrapper(_GuideTokens(self)))


class _GuideTokens:
    """A vocabulary as llguidance wants it, with an end-of-text of our own: a model may have several or none."""

    bos_token_id = None

    def __init__(self, vocabulary: Vocabulary) -> None:
        self._tokenizer, self._size = vocabulary.tokenizer, vocabulary.size
        special = [i for i in sorted(self._tokenizer.special_ids) if i < vocabulary.size]
        tokens = list(vocabulary.tokens)
        for token_id in special:
            tokens[token_id] = self._tokenizer.token_bytes(token_id)
        self._ids = {token: i for i, token in enumerate(vocabulary.tokens) if token}
        self._longest = vocabulary.longest
        self.tokens = [*tokens, b""]
        self.eos_token_id = vocabulary.size
        self.special_token_ids = special

    def __call__(self, text: str) -> list[int]:
        """The ids of a text that the grammar prescribes."""
        # With parse_special=False the tokenizer parses its file again at first use, so only where it has to.
        for parse_special in (True, False):
            ids = self._tokenizer.encode(
                text, add_special_tokens=False, parse_special=parse_special
            )
            if self._are_bytes_of(ids, text):
                return ids
        return self._longest_first(text.encode())

    def _are_bytes_of(self, ids: list[int], text: str) -> bool:
        if not all(0 <= i < self._size and i not in self._tokenizer.special_ids for i in ids):
            return False
        return b"".join(map(self._tokenizer.token_bytes, ids)) == text.encode()

    def _longest_first(self, text: bytes) -> list[int]:
        """Where the tokenizer changes the text, such as by a space before it."""
        ids = list[int]()
        while text:
            lengths = range(min(self._longest, len(text)), 0, -1)
            length = next((n for n in lengths if text[:n] in self._ids), 0)
            if not length:
                return ids  # a byte that the vocabulary lacks: a dead end
            ids.append(self._ids[text[:length]])
            text = text[length:]
        return ids
