"""Log-probabilities in the shape of OpenAI's completions."""

from collections.abc import Sequence
from dataclasses import dataclass

from gpt2xl import Logprobs, Tokenizer
from gpt2xl_serve.completions.deltas import ScoredToken
from gpt2xl_serve.completions.response import TokenLogprobs


@dataclass(frozen=True)
class TokenNames:
    r"""How tokens are spelt.

    >>> names = TokenNames(tokenizer)
    >>> [names.name(token_id) for token_id in tokenizer.encode("a é")]
    ['a', ' ', 'bytes:\\xc3', 'bytes:\\xa9']
    """

    tokenizer: Tokenizer
    as_ids: bool = False
    """Whether as "token_id:ID"."""

    def name(self, token_id: int) -> str:
        r"""The text of a token; "bytes:\x.." for a part of a character."""
        if self.as_ids:
            return f"token_id:{token_id}"
        content = self.bytes(token_id)
        try:
            return content.decode()
        except UnicodeDecodeError:
            return "bytes:" + "".join(f"\\x{byte:02x}" for byte in content)

    def bytes(self, token_id: int) -> bytes:
        """The bytes of a token; none where the vocabulary is padded."""
        return self.tokenizer.token_bytes(token_id) if token_id in self.tokenizer else b""

    def legacy(self, tokens: Sequence[ScoredToken]) -> TokenLogprobs:
        """All of ``tokens``."""
        return TokenLogprobs(
            [self.name(each.id) for each in tokens],
            [each.logprobs.token if each.logprobs else None for each in tokens],
            [self._top(each.id, each.logprobs) if each.logprobs else None for each in tokens],
            [each.offset for each in tokens],
        )

    def _top(self, token_id: int, logprobs: Logprobs) -> dict[str, float]:
        """The most probable tokens, and ``token_id`` with the very number that it has itself."""
        found = {self.name(each): value for each, value in logprobs.top}
        return found | {self.name(token_id): logprobs.token}
