"""What a cluster has to have before a job starts: without it, Ray waits in silence."""

import time
from dataclasses import dataclass
from math import floor

import ray

from gpt2xl import RequestError
from gpt2xl.errors import counted
from gpt2xl_ray.errors import ClusterError

SETTLE_SECONDS = 10.0
"""How long what an earlier job has held may take to become free."""


@dataclass(frozen=True)
class Actors:
    """How many processes generate; each loads the model once.

    >>> Actors.parse("2:8")
    Actors(least=2, most=8, cpus=1)
    >>> Actors(3, 2)
    Traceback (most recent call last):
    gpt2xl.errors.RequestError: actors have to be MIN:MAX with 1 <= MIN <= MAX, but are 3:2.
    """

    least: int = 1
    """Without room for so many, a job does not start."""
    most: int = 1
    """Those above ``least`` start as soon as there is room."""
    cpus: int = 1
    """Of each, and its threads."""

    def __post_init__(self) -> None:
        if not 1 <= self.least <= self.most:
            raise RequestError(
                f"actors have to be MIN:MAX with 1 <= MIN <= MAX, but are {self.least}:{self.most}."
            )
        if self.cpus < 1:
            raise RequestError(f"an actor has to have 1 CPU at least, not {self.cpus}.")

    @classmethod
    def parse(cls, text: str, cpus: int = 1) -> "Actors":
        """Read ``MIN:MAX``, or one number for both; raises RequestError."""
        least, _, most = text.partition(":")
        try:
            return cls(int(least), int(most or least), cpus)
        except ValueError as reason:
            if isinstance(reason, RequestError):
                raise
            raise RequestError(
                f"actors have to be MIN:MAX, such as 2:8, but are {text!r}."
            ) from None


def check_room(actors: Actors, *, readers: int = 0) -> None:
    """Check that ``actors.least`` actors and ``readers`` further tasks of one CPU can run now.

    Raises:
        ClusterError: they cannot; without this, Ray would wait forever.
    """
    places = room_for(actors)
    if places < actors.least:
        raise ClusterError(
            f"{counted(actors.least, 'actor')} of {counted(actors.cpus, 'CPU')} do not fit on the cluster, which has"
            f" room for {places}: {_nodes_text()}. Ask for fewer actors, or start more nodes."
        )
    needed, end = actors.least * actors.cpus + readers, time.monotonic() + SETTLE_SECONDS
    while (free := ray.available_resources().get("CPU", 0.0)) < needed:
        if time.monotonic() > end:
            reading = f" and {readers} to read the data" if readers else ""
            raise ClusterError(
                f"{counted(needed, 'CPU')} are needed, {actors.least * actors.cpus} for"
                f" {counted(actors.least, 'actor')}{reading}, but {free:g} are free: {_nodes_text()}. Ask for fewer"
                " actors, end other jobs, or start more nodes."
            )
        time.sleep(0.2)


def most_beside_readers(actors: Actors) -> int:
    """The most actors that leave one CPU to read the data."""
    return max(actors.least, min(actors.most, int(_cpus_in_all() - 1) // actors.cpus))


def room_for(actors: Actors) -> int:
    """How many such actors the living nodes can hold, if nothing else runs."""
    return sum(floor(cpus / actors.cpus) for cpus in _cpus_of_nodes())


def _cpus_in_all() -> float:
    return sum(_cpus_of_nodes())


def _cpus_of_nodes() -> list[float]:
    return [node["Resources"].get("CPU", 0.0) for node in ray.nodes() if node["Alive"]]


def _nodes_text() -> str:
    cpus = _cpus_of_nodes()
    return (
        f"{counted(len(cpus), 'node')} with {' + '.join(f'{count:g}' for count in cpus[:8])} CPUs"
    )
