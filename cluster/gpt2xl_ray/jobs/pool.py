"""Gives parts to actors, and to other actors where one dies."""

from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Protocol

import ray
from ray.exceptions import RayError, RayTaskError

from gpt2xl import Gpt2xlError
from gpt2xl.errors import counted, first_line
from gpt2xl_ray.errors import ClusterError
from gpt2xl_ray.jobs.plan import Part
from gpt2xl_ray.jobs.worker import PartReport

Actor = Any
Reference = Any
MOST_DEATHS = 3  # of actors, for one part; and in a row before any was ready
POLL_SECONDS = 1.0


class Make(Protocol):
    """Starts an actor, which may have to wait for room."""

    def __call__(self) -> Actor:
        """Its handle."""


class Pool:
    """Actors at work; as a context manager, they are ended with it.

    Args:
        make: starts an actor.
        most: actors at a time.
        room: how many actors the living nodes can hold.
    """

    def __init__(self, make: Make, most: int, room: Callable[[], int]) -> None:
        self._make, self._most, self._room = make, most, room
        self._beginning = dict[Reference, Actor]()
        self._running = dict[Reference, tuple[Actor, Part]]()
        self._idle = list[Actor]()
        self._deaths = Counter[Part]()
        self._early_deaths = 0

    def __enter__(self) -> "Pool":
        return self

    def __exit__(self, *_: object) -> None:
        runners = [actor for actor, _ in self._running.values()]
        for actor in (*self._beginning.values(), *runners, *self._idle):
            ray.kill(actor)

    @property
    def actors(self) -> int:
        """That are at work."""
        return len(self._running)

    def reports(self, parts: Iterable[Part]) -> Iterator[PartReport | None]:
        """What came of each part, as they end; None now and then where nothing has ended.

        Raises:
            ClusterError: a part has ended several actors, or no node can hold one.
            Gpt2xlError: an actor cannot begin, or a part cannot be read or written.
        """
        waiting = deque(parts)
        while waiting or self._running:
            self._start(len(waiting))
            references = [*self._beginning, *self._running]
            ended, _ = ray.wait(references, num_returns=1, timeout=POLL_SECONDS)
            if not ended:
                self._check_room()
                yield None
            for reference in ended:
                if reference in self._beginning:
                    self._take_beginner(reference)
                elif isinstance(report := self._take(reference), PartReport):
                    yield report
                else:
                    waiting.appendleft(report)
            while self._idle and waiting:
                actor, part = self._idle.pop(), waiting.popleft()
                self._running[actor.run.remote(part)] = (actor, part)

    def _start(self, wanted: int) -> None:
        """Start as many actors as parts wait, up to the most."""
        there = len(self._beginning) + len(self._idle)
        for _ in range(min(wanted - there, self._most - there - len(self._running))):
            actor = self._make()
            self._beginning[actor.begin.remote()] = actor

    def _take_beginner(self, reference: Reference) -> None:
        actor = self._beginning.pop(reference)
        try:
            ray.get(reference)
        except RayTaskError as error:
            raise _cause(error) from None
        except RayError as error:
            self._early_deaths += 1
            if self._early_deaths >= MOST_DEATHS:
                raise ClusterError(
                    f"{self._early_deaths} actors in a row died before they had loaded the model: {first_line(error)}"
                ) from None
        else:
            self._early_deaths = 0
            self._idle.append(actor)

    def _take(self, reference: Reference) -> PartReport | Part:
        """The report of a part; the part where its actor has died."""
        actor, part = self._running.pop(reference)
        try:
            report: PartReport = ray.get(reference)
        except RayTaskError as error:
            raise _cause(error) from None
        except RayError as error:
            self._deaths[part] += 1
            if self._deaths[part] >= MOST_DEATHS:
                raise ClusterError(
                    f"part {part.number}, '{part.file}' from {part.start} to {part.stop}, has ended"
                    f" {counted(MOST_DEATHS, 'actor')}: {first_line(error)}"
                ) from None
            return part
        self._idle.append(actor)
        return report

    def _check_room(self) -> None:
        if not self._running and not self._room():
            raise ClusterError(
                "no node that lives can hold an actor: start nodes, and run it again."
            )


def _cause(error: RayTaskError) -> Exception:
    """The error that an actor has raised, if it is one of ours: one line."""
    cause: Exception = error.cause
    return cause if isinstance(cause, Gpt2xlError) else error
