"""Measure one task: read its data, go on from a journal, show progress."""

import time
import warnings
from dataclasses import dataclass
from pathlib import Path

from gpt2xl import Gpt2xlWarning, LoadOptions, Model, RequestError, __version__, load
from gpt2xl.files.atomic import locked
from gpt2xl.files.reading import check_regular
from gpt2xl_cli.evaluation.eval_progress import EvalProgress
from gpt2xl_cli.evaluation.journal import Journal, journal_name
from gpt2xl_cli.reporting.verdicts import exported_precision
from gpt2xl_cli.resuming.model_key import model_key
from gpt2xl_cli.signals import with_detail
from gpt2xl_cli.terminal import echo_line
from gpt2xl_eval.options import EvalOptions
from gpt2xl_eval.running import evaluate
from gpt2xl_eval.sources import checksum_warning, data_sum
from gpt2xl_eval.task import Outcome, Task
from gpt2xl_eval.tasks import make_task

JOURNALS = "eval"
"""A folder in gpt2xl's cache."""


@dataclass(frozen=True)
class Subject:
    """The model that is measured."""

    name: str
    model: Model
    key: str
    """Stands for its files."""
    precision: str


@dataclass(frozen=True)
class Data:
    """What a task has read."""

    path: Path
    size: int | None
    """In bytes; None for a folder."""
    sha256: str
    """Of a folder, of the names, sizes and times of its files."""


@dataclass(frozen=True)
class Settings:
    """How to measure."""

    options: EvalOptions
    rows: int
    journal: Path | None = None
    """A file of the user's; None for one in the cache."""
    quiet: bool = False


@dataclass(frozen=True)
class Result:
    """The figures of a task, and what they are of."""

    outcome: Outcome
    data: Data
    limit: int | None
    resumed: int
    """Continuations that an earlier run had measured."""
    seconds: float
    """Of this run."""
    journal: Path
    """To be removed when the figures are told."""

    @property
    def tokens_per_second(self) -> float | None:
        """Scored tokens a second; None where the run was resumed."""
        return None if self.resumed else self.outcome.counts["tokens"] / self.seconds


def opened(folder: Path, name: str, options: LoadOptions) -> Subject:
    """Load the model in ``folder``."""
    model = load(folder, options)
    assert model.bundle is not None
    precision = exported_precision(model.bundle.manifest)
    return Subject(name, model, model_key(model.bundle), precision)


def measure(subject: Subject, name: str, path: Path, settings: Settings) -> Result:
    """Measure the task ``name`` on the data at ``path``, except for what a journal has.

    Warns:
        Gpt2xlWarning: the data has another checksum than as distributed.

    Raises:
        BusyError: another process runs the same.
        RequestError: the data cannot be read, or the journal belongs to another run.
    """
    data = _hashed(path)
    model, limit = subject.model, settings.options.limit
    task = make_task(name, path, model.tokenizer, model.config.n_positions, settings.options)
    if warning := checksum_warning(name, path, data.sha256):
        warnings.warn(warning, Gpt2xlWarning, stacklevel=2)
    count, run = len(task.continuations), _described(subject, task, data, limit)
    journal_path = settings.journal or _own_journal(journal_name(name, run))
    if not journal_path.parent.is_dir():
        raise RequestError(
            f"'{journal_path}' cannot be written: '{journal_path.parent}' is not a folder."
        )
    with locked(journal_path):
        journal = Journal(journal_path, run, count)
        resumed = len(journal.measured)
        if resumed and not settings.quiet:
            echo_line(f"{name}: {resumed} of {count} were measured already; resuming.", err=True)
        start = time.perf_counter()
        with with_detail(
            lambda: (
                f"{len(journal.measured)} of {count} of {name} are measured; run the same command again to resume."
            )
        ):
            outcome = _evaluated(model, task, journal, settings)
        return Result(outcome, data, limit, resumed, time.perf_counter() - start, journal_path)


def _hashed(path: Path) -> Data:
    if not path.is_dir():
        check_regular(path, RequestError)
    return Data(path, None if path.is_dir() else path.stat().st_size, data_sum(path))


def _described(subject: Subject, task: Task, data: Data, limit: int | None) -> dict[str, object]:
    """What the figures depend on, for the header of the journal."""
    return {
        "version": __version__,
        "model": subject.key,
        "device": str(subject.model.device),
        "task": task.name,
        "settings": dict(task.settings),
        "limit": limit,
        "data": data.sha256,
    }


def _own_journal(name: str) -> Path:
    """The path of a journal in gpt2xl's cache, whose folder is made."""
    from gpt2xl_export.places import cache_folder

    folder = cache_folder() / JOURNALS
    folder.mkdir(parents=True, exist_ok=True)
    return folder / name


def _evaluated(model: Model, task: Task, journal: Journal, settings: Settings) -> Outcome:
    continuations, done = task.continuations, journal.measured
    progress = EvalProgress(task.name, continuations, len(done), quiet=settings.quiet)

    def keep(measured: tuple[float, ...]) -> None:
        journal.add(measured)
        progress.measure()

    with journal, progress:
        return evaluate(
            progress.counted(model), task, rows=settings.rows, done=tuple(done), keep=keep
        )
