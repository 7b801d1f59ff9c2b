"""Contexts of questions as token ids."""

from collections.abc import Sequence
from dataclasses import dataclass

from gpt2xl import Continuation, RequestError, Tokenizer
from gpt2xl_eval.formats.json_lines import Line

TEXTS_OF_PREFIXES = {"endoftext": "<|endoftext|>", "newline": "\n", "none": ""}


@dataclass(frozen=True)
class Continuations:
    """The continuations of one context."""

    items: tuple[Continuation, ...]
    is_cut: bool
    """Whether the context lost tokens on its left."""


class Encoder:
    """Makes continuations of texts.

    Context and continuation are encoded one after the other, with the space between them in the continuation. GPT-2's
    splitting never joins a space to what stands before it, so these are the ids of the joined text.

    Args:
        tokenizer: of the model.
        prefix: "endoftext", "newline" or "none": what stands before each context.
        limit: tokens of a context and a continuation together, at most.

    Raises:
        RequestError: there is no such prefix.
    """

    def __init__(self, tokenizer: Tokenizer, prefix: str, limit: int) -> None:
        if prefix not in TEXTS_OF_PREFIXES:
            raise RequestError(f"prefix has to be endoftext, newline or none, but is {prefix!r}.")
        self._tokenizer, self._limit = tokenizer, limit
        self._prefix = self.ids(TEXTS_OF_PREFIXES[prefix])

    def ids(self, text: str) -> list[int]:
        """The ids of a part of a text."""
        return self._tokenizer.encode(text, add_special_tokens=False) if text else []

    def count(self, text: str) -> int:
        """The number of ids of a part of a text."""
        return len(self.ids(text))

    def continuations(
        self, line: Line, context: str, endings: Sequence[str], shared: str = ""
    ) -> Continuations:
        """Each of ``endings`` after the same context.

        Args:
            line: for errors.
            context: what stands before.
            endings: texts, each with the space that stands before it; white space at the end of the context goes to them.
            shared: the end of the context, where it has to be encoded together with the endings.

        Raises:
            RequestError: the context is empty, or an ending does not fit after one token.
        """
        kept = context.rstrip()
        space = context[len(kept) :]
        joined = self.ids(space + shared) if shared else []
        before = [*self._prefix, *self.ids(kept), *joined]
        if not before:
            line.refuse("the context is empty: --prefix endoftext puts a token before it.")
        after = [self.ids(space + shared + ending)[len(joined) :] for ending in endings]
        room = self._limit - max(map(len, after))
        if room < 1 or not all(after):
            line.refuse(
                f"an ending has to be of 1 to {self._limit - 1} tokens, the context less one, but one has"
                f" {0 if not all(after) else self._limit - room}."
            )
        cut = before[-room:]
        items = tuple(Continuation(cut, ids) for ids in after)
        return Continuations(items, len(before) > room)
