"""Log-probabilities in the shape of OpenAI's completions."""

from dataclasses import dataclass

from gpt2xl import Logprobs, StreamDecoder, Tokenizer
from gpt2xl_serve.completions.response import TokenLogprobs


@dataclass(frozen=True)
class TokenNames:
    """How tokens are spelt."""

    tokenizer: Tokenizer
    as_ids: bool = False
    """Whether as "token_id:ID"."""

    def name(self, token_id: int) -> str:
        r"""The text of a token; "bytes:\x.." for a part of a character."""
        if self.as_ids:
            return f"token_id:{token_id}"
        if token_id not in self.tokenizer:  # the vocabulary may be padded
            return ""
        content = self.tokenizer.token_bytes(token_id)
        try:
            return content.decode()
        except UnicodeDecodeError:
            return "bytes:" + "".join(f"\\x{byte:02x}" for byte in content)

    def top(self, token_id: int, logprobs: Logprobs) -> dict[str, float]:
        """The most probable tokens, and ``token_id`` with the very number that it has itself."""
        found = {self.name(each): value for each, value in logprobs.top}
        return found | {self.name(token_id): logprobs.token}


@dataclass(frozen=True)
class _Entry:
    token: str
    logprob: float | None
    top: dict[str, float] | None
    offset: int


class LogprobsWriter:
    """Collects the tokens of a choice, and hands out those that its text has reached.

    A stop string cuts a text, and the tokens behind the cut with it; a token that is a part of a character waits for the
    character.
    """

    def __init__(self, names: TokenNames) -> None:
        self._names = names
        self._decoder = StreamDecoder(names.tokenizer)
        self._length = 0
        self._waiting = list[_Entry]()

    def add(self, token_id: int, logprobs: Logprobs | None) -> None:
        """The next token; None for the first one of a prompt."""
        name = self._names.name(token_id)
        value = None if logprobs is None else logprobs.token
        top = None if logprobs is None else self._names.top(token_id, logprobs)
        self._waiting.append(_Entry(name, value, top, self._length))
        if token_id in self._names.tokenizer:
            self._length += len(self._decoder.add(token_id))

    def take(self, text_length: int, *, is_whole: bool = False) -> TokenLogprobs:
        """The tokens that begin before ``text_length`` characters; all of them where the text is whole and was not cut."""
        ready = [each for each in self._waiting if is_whole or each.offset < text_length]
        self._waiting = self._waiting[len(ready) :]
        return TokenLogprobs(
            [each.token for each in ready],
            [each.logprob for each in ready],
            [each.top for each in ready],
            [each.offset for each in ready],
        )
