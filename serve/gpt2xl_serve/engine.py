"""The one thread that runs the model: it steps a Batcher and hands what comes of it to the event loop."""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from itertools import repeat
from threading import Condition, Thread
from typing import TypeVar

from gpt2xl import Batcher, GenerationOptions, Model, Update
from gpt2xl.errors import first_line
from gpt2xl_serve.errors import ApiError, busy
from gpt2xl_serve.statistics import Statistics

Result = TypeVar("Result")
FIRST_NAP, LONGEST_NAP = 0.01, 1.0  # seconds after steps that fail one after the other


@dataclass(frozen=True)
class Text:
    """A text to generate."""

    prompt_ids: list[int]
    options: GenerationOptions
    """With a seed, where a token is drawn."""


class Run:
    """The texts of one request.

    Updates come in `updates` as (index of the text, update), on the event loop.
    """

    def __init__(self, engine: "Engine", loop: asyncio.AbstractEventLoop) -> None:
        self._engine = engine
        self.loop = loop
        self.updates = asyncio.Queue[tuple[int, Update]]()
        """Not bounded: it holds at most what the texts may have tokens, so a slow reader holds nobody up."""

    def cancel(self) -> None:
        """Give up those texts that have not ended."""
        self._engine.cancel(self)


@dataclass(eq=False)
class _Running:
    """A text that has not ended."""

    run: Run
    index: int
    text: Text
    has_begun: bool = False
    was_repeated: bool = False
    """Whether a crash has put it into the queue again."""
    last_time: float = field(default_factory=time.monotonic)


class Engine:
    """Generates the texts of all requests.

    `submit` and `cancel` are for the event loop or its threads; `run` takes jobs that need the model for themselves.

    Args:
        model: what generates.
        rows: most texts that share a step.
        queue: most texts and jobs that wait beside them.
        prefix_bytes: memory for prompts.
        draft: a smaller model that drafts tokens while one text decodes.

    Warns:
        Gpt2xlWarning: texts cannot share steps, or ``draft`` cannot be used.
    """

    def __init__(
        self,
        model: Model,
        *,
        rows: int,
        queue: int,
        prefix_bytes: int = 0,
        draft: Model | None = None,
    ) -> None:
        self.model = model
        self.queue = queue
        self.statistics = Statistics()
        self._new_batcher = partial(
            model.batcher, rows=rows, prefix_bytes=prefix_bytes, draft=draft
        )
        self.batcher: Batcher = self._new_batcher()
        """Its ``waiting``, ``running``, ``prefixes`` and ``acceptance`` are for metrics."""
        self._changed = Condition()  # of the next three
        self._running = dict[int, _Running]()  # by the batcher's numbers
        self._jobs = deque[Callable[[], None]]()
        self._is_ending = False
        self._thread = Thread(target=self._work, name="gpt2xl-engine", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self) -> None:
        """End the thread after the step that is under way, and then the texts that run, with an error."""
        with self._changed:
            self._is_ending = True
            numbers = list(self._running)
            for number in numbers:
                self.batcher.cancel(number)
            self._changed.notify()
        if self._thread.is_alive():
            self._thread.join()
        self._hand_over([Update(number, error=EndedError()) for number in numbers])

    @property
    def load(self) -> int:
        """Texts and jobs that run or wait."""
        return len(self._running) + len(self._jobs)

    @property
    def capacity(self) -> int:
        """Most texts and jobs that run and wait."""
        return self.batcher.rows + self.queue

    def check_room(self, count: int) -> None:
        """Refuse ``count`` more texts at once where the queue is full.

        Raises:
            ApiError: 429, or 400 where even an idle server would not take so many.
        """
        if count > self.capacity:
            raise ApiError(
                400,
                f"the request asks for {count} texts, but the server takes {self.capacity} at a time"
                " (--rows and --queue): split it.",
            )
        if self.load + count > self.capacity:
            self.statistics.requests_refused += 1
            raise busy(f"{self.load} texts run or wait, and the queue is full: try again later.")

    def submit(self, texts: Sequence[Text], loop: asyncio.AbstractEventLoop) -> Run:
        """Queue the texts of a request; it may take a moment, so call it from a thread.

        Args:
            texts: all of them are checked before the first is queued.
            loop: where updates are taken.

        Raises:
            RequestError: a text or an option that the model cannot take.
            ApiError: the queue is full.
        """
        prepared = [self.batcher.prepare(text.prompt_ids, text.options) for text in texts]
        run = Run(self, loop)
        with self._changed:
            self.check_room(len(texts))
            for index, (text, each) in enumerate(zip(texts, prepared, strict=True)):
                self._running[self.batcher.add(each)] = _Running(run, index, text)
            self.statistics.texts_submitted += len(texts)
            self.statistics.prompt_tokens += sum(len(text.prompt_ids) for text in texts)
            self._changed.notify()
        return run

    def cancel(self, run: Run) -> None:
        """See `Run.cancel`."""
        with self._changed:
            numbers = [number for number, text in self._running.items() if text.run is run]
            for number in numbers:
                del self._running[number]
                self.batcher.cancel(number)
            self.statistics.texts_cancelled += len(numbers)
            self._changed.notify()  # an idle engine has to drop them

    def run(self, functions: Sequence[Callable[[], Result]]) -> list[Future[Result]]:
        """Call ``functions`` on the engine's thread, each between two steps; cancel a future to leave one out.

        Raises:
            ApiError: the queue is full.
        """
        futures = [Future[Result]() for _ in functions]
        with self._changed:
            self.check_room(len(functions))
            self._jobs += map(partial, repeat(fulfil), functions, futures)
            self._changed.notify()
        return futures

    def _work(self) -> None:
        nap = FIRST_NAP
        while True:
            with self._changed:
                self._changed.wait_for(self._has_work)
                if self._is_ending:
                    return
                job = self._jobs.popleft() if self._jobs else None
            if job:
                job()
            try:
                updates = self.batcher.step()
            except Exception as error:  # a bug: it must not end the server
                self._recover(error)
                time.sleep(nap)
                nap = min(2 * nap, LONGEST_NAP)
            else:
                nap = FIRST_NAP
                self._hand_over(updates)

    def _has_work(self) -> bool:
        return self._is_ending or bool(self._jobs) or not self.batcher.is_idle

    def _hand_over(self, updates: Sequence[Update]) -> None:
        self.statistics.steps += 1
        now = time.monotonic()
        loops = dict[asyncio.AbstractEventLoop, list[tuple[Run, int, Update]]]()
        with self._changed:
            for update in updates:
                if text := self._running.get(update.number):
                    self._count(text, update, now)
                    if update.generation or update.error:
                        del self._running[update.number]
                    item = (text.run, text.index, update)
                    loops.setdefault(text.run.loop, []).append(item)
        for loop, items in loops.items():
            with suppress(RuntimeError):  # the loop has been closed
                loop.call_soon_threadsafe(_put, items)

    def _count(self, text: _Running, update: Update, now: float) -> None:
        counts = self.statistics
        if update.error:
            counts.texts_failed += 1
            return
        counts.new_tokens += 1
        counts.texts_finished += update.generation is not None
        observe = counts.observe_next_token if text.has_begun else counts.observe_first_token
        observe(now - text.last_time)
        text.has_begun, text.last_time = True, now

    def _recover(self, error: Exception) -> None:
        """Take a new batcher: texts that have begun end with ``error``, and the others are queued again, once."""
        self.statistics.crashes += 1
        failed = list[Update]()
        with self._changed:
            before, self._running = self._running, {}
            self.batcher = self._new_batcher()
            for number, text in before.items():
                again = None
                if not (text.has_begun or text.was_repeated):
                    with suppress(Exception):  # it was prepared before
                        again = self.batcher.prepare(text.text.prompt_ids, text.text.options)
                if again is None:
                    self._running[-1 - number] = text  # numbers of the new batcher are not negative
                    failed.append(Update(-1 - number, error=CrashError(first_line(error))))
                else:
                    text.was_repeated = True
                    self._running[self.batcher.add(again)] = text
            self._hand_over(
                failed
            )  # within: nobody cancels a number that the new batcher does not know


class CrashError(Exception):
    """A step failed as a whole."""


class EndedError(Exception):
    """The server has ended before the text."""


def fulfil(function: Callable[[], Result], future: Future[Result]) -> None:
    """Call ``function``, and give what comes of it to ``future``."""
    if future.set_running_or_notify_cancel():
        try:
            future.set_result(function())
        except Exception as error:  # for the caller
            future.set_exception(error)


def _put(items: Sequence[tuple[Run, int, Update]]) -> None:
    for run, index, update in items:
        run.updates.put_nowait((index, update))
