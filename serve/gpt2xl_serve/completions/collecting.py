"""Takes the updates of a run: as they come, or until its texts are whole."""

import math
from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import dataclass

from gpt2xl import Generation, RequestError, Tokenizer
from gpt2xl.errors import Gpt2xlError
from gpt2xl_serve.completions.deltas import Delta, DeltaWriter, joined
from gpt2xl_serve.completions.options import refused
from gpt2xl_serve.completions.plan import Plan
from gpt2xl_serve.completions.response import Usage
from gpt2xl_serve.engine import EndedError, Run
from gpt2xl_serve.errors import ApiError, busy


@dataclass(frozen=True)
class Started:
    """A request whose texts are in the queue."""

    plan: Plan
    run: Run
    tokenizer: Tokenizer

    async def deltas(self) -> AsyncIterator[Delta]:
        """What each token adds, to the end of the last text.

        Raises:
            ApiError: an error has ended a text.
        """
        count = len(self.plan.texts)
        writers = [DeltaWriter(self.plan, number, self.tokenizer) for number in range(count)]
        while count:
            number, update = await self.run.updates.get()
            if update.error:
                raise text_error(update.error)
            count -= update.generation is not None
            yield writers[number].add(update)

    async def whole(self) -> list[Delta]:
        """All texts, in the order of the plan; errors as of `deltas`."""
        parts: list[list[Delta]] = [[] for _ in self.plan.texts]
        async for delta in self.deltas():
            parts[delta.number].append(delta)
        return [joined(some) for some in parts]

    def best(self, texts: Sequence[Delta]) -> list[Delta]:
        """The ``n`` best of each prompt by the mean log-probability of their tokens, the best first."""
        plan, found = self.plan, list[Delta]()
        if plan.n == plan.best_of:
            return list(texts)
        for start in range(0, len(texts), plan.best_of):
            several = texts[start : start + plan.best_of]
            found += sorted(several, key=_mean_logprob, reverse=True)[: plan.n]
        return found

    def usage(self, texts: Iterable[Delta]) -> Usage:
        """Counts of tokens, also those of texts that were not the best."""
        generations = [each.generation for each in texts if each.generation]
        new = sum(len(each.new_ids) for each in generations) if self.plan.max_tokens else 0
        return Usage(self.plan.prompt_tokens, new, self.plan.prompt_tokens + new)


def text_error(error: Exception) -> ApiError:
    """The answer to a request whose text ``error`` has ended."""
    if isinstance(error, RequestError):
        return refused(error)
    if isinstance(error, EndedError):
        return busy("the server has ended before the text.", 503)
    shown = str(error) if isinstance(error, Gpt2xlError) else type(error).__name__
    return ApiError(500, f"an internal error has ended the text: {shown}")


def _mean_logprob(text: Delta) -> float:
    generation: Generation | None = text.generation
    values = [each.token for each in generation.logprobs or ()] if generation else []
    return math.fsum(values) / len(values) if values else -math.inf
