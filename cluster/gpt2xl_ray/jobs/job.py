"""Runs a batch on the cluster that this process is connected to."""

import time
from collections.abc import Callable, Sequence
from functools import partial

import ray

from gpt2xl import RequestError
from gpt2xl_ray.jobs.plan import Input, Part, part_size, parts_of, read_input
from gpt2xl_ray.jobs.pool import Actor, Pool
from gpt2xl_ray.jobs.record import NAME, agreed, kept_record, record_of, write_record
from gpt2xl_ray.jobs.settings import JobProgress, JobSettings, JobSummary
from gpt2xl_ray.jobs.worker import Worker, part_name
from gpt2xl_ray.resources import check_room, room_for
from gpt2xl_ray.storage import TEMPORARY, Place

ENDINGS = {"json": ".jsonl", "parquet": ".parquet"}


def run_job(
    settings: JobSettings, show: Callable[[JobProgress], None] = lambda _: None
) -> JobSummary:
    """Continue the prompts of all rows of an input; what an earlier run of the same job has finished is kept.

    The output is a folder with a file for each part of the input, ``part-000000000.jsonl`` and so on, in its order. A part is
    written by one actor, as a whole or not at all, under a name that only its place in the input decides: nothing is lost or
    doubled where an actor, a node or this process dies.

    Args:
        settings: what to do.
        show: called after each part, and at least every few seconds.

    Raises:
        ClusterError: there is no room for the actors, or they keep dying.
        RequestError: input or output cannot be used, or the output is of another job.
        BundleError: the bundle cannot be loaded.
    """
    given, out = read_input(settings.source), Place.of(settings.out)
    check_room(settings.actors)
    size = _prepare(settings, given, out)
    parts = parts_of(given, size)
    missing = _missing(parts, out, ENDINGS[given.kind])
    tally = _Tally(given, parts, missing, show)
    if missing:
        with _pool(settings, given, out) as pool:
            for report in pool.reports(missing):
                if report:
                    tally.add(report.part.size, report.rows, report.errors, report.new_tokens)
                tally.tell(pool.actors)
        _remove_temporary(out)
    return tally.summary(out)


def _prepare(settings: JobSettings, given: Input, out: Place) -> int:
    """Make the folder, or take it over; the size of a part."""
    size = part_size(given, settings.part_rows, settings.actors.most)
    record = record_of(given, settings.udf, size)
    out.make_folder()
    found = out.files()
    kept = kept_record(out)
    if settings.force:
        kept = None
        _remove_parts(out)
    elif kept is not None:
        record = agreed(record, kept, out, seed_is_given=settings.udf.seed_is_given)
        settings.udf.seed = record["seed"]
    elif found:
        raise RequestError(
            f"'{out.name}' holds files, but not of such a run: choose another folder, or replace its parts with --force."
        )
    if kept is None:
        write_record(out, record)
    part: int = record["part_size"]
    return part


def _remove_parts(out: Place) -> None:
    for item in out.files():
        if item.base_name.startswith("part-") or item.base_name == NAME:
            out.child(item.base_name).remove()


def _remove_temporary(out: Place) -> None:
    """Remove what killed actors have left."""
    for item in out.files():
        if item.base_name.startswith(TEMPORARY):
            out.child(item.base_name).remove()


def _missing(parts: Sequence[Part], out: Place, ending: str) -> list[Part]:
    there = {item.base_name for item in out.files()}
    return [part for part in parts if part_name(part.number) + ending not in there]


def _pool(settings: JobSettings, given: Input, out: Place) -> Pool:
    cpus, arguments = settings.actors.cpus, (settings.udf, given.kind, given.place, out)
    actor = ray.remote(Worker).options(num_cpus=cpus)

    def make() -> Actor:
        return actor.remote(*arguments)

    return Pool(make, settings.actors.most, partial(room_for, settings.actors))


class _Tally:
    """Counts what is done."""

    def __init__(
        self,
        given: Input,
        parts: Sequence[Part],
        missing: Sequence[Part],
        show: Callable[[JobProgress], None],
    ) -> None:
        self._unit, self._show = given.unit, show
        self._parts, self._before = len(parts), len(parts) - len(missing)
        self._total = sum(part.size for part in parts)
        self._done = self._total - sum(part.size for part in missing)
        self._rows = self._errors = self._tokens = 0
        self._start = self._last = time.perf_counter()

    def add(self, size: int, rows: int, errors: int, tokens: int) -> None:
        """Count a part."""
        self._done += size
        self._rows += rows
        self._errors += errors
        self._tokens += tokens
        self._last = time.perf_counter()

    def tell(self, actors: int) -> None:
        """Show where the job is."""
        seconds = time.perf_counter() - self._start
        self._show(
            JobProgress(
                self._done, self._total, self._unit, self._rows, self._tokens, seconds, actors
            )
        )

    def summary(self, out: Place) -> JobSummary:
        """At the end."""
        speed = self._tokens / (self._last - self._start) if self._tokens else None
        return JobSummary(
            out.name, self._parts, self._before, self._rows, self._errors, self._tokens, speed
        )
