"""Streams of completions with the time of each token."""

import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from client import Address, stream


@dataclass
class Text:
    """A streamed text."""

    asked: float
    """When the request was sent, in seconds of a clock that all texts share."""
    times: list[float] = field(default_factory=list)
    """When each chunk with text came: one a token, but for tokens that are no whole character."""
    tokens: int = 0
    """As the server counts them."""

    @property
    def first(self) -> float:
        """Seconds to the first token."""
        return self.times[0] - self.asked

    @property
    def gaps(self) -> list[tuple[float, float]]:
        """(when it ended, seconds) of each pause between two chunks."""
        return [
            (after, after - before)
            for before, after in zip(self.times, self.times[1:], strict=False)
        ]


async def timed_text(
    address: Address, ids: list[int], new: int, on_begin: Callable[[], object] = lambda: None
) -> Text:
    """Stream a greedy text of ``new`` tokens; ``on_begin`` is called with its first one."""
    body = {
        "prompt": ids,
        "max_tokens": new,
        "temperature": 0,
        "ignore_eos": True,
        "stream_options": {"include_usage": True},
    }
    text = Text(time.perf_counter())
    async for chunk in stream(address, body):
        if any(choice["text"] for choice in chunk["choices"]):
            text.times.append(time.perf_counter())
            if len(text.times) == 1:
                on_begin()
        if chunk.get("usage"):
            text.tokens = chunk["usage"]["completion_tokens"]
    return text


def prompts(count: int, length: int, vocabulary: int, seed: int) -> list[list[int]]:
    """Random ids; no two prompts begin alike."""
    rng = random.Random(seed)
    return [[rng.randrange(vocabulary) for _ in range(length)] for _ in range(count)]
