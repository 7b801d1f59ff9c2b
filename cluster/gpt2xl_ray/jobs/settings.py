"""What a job is told, and what it tells."""

from dataclasses import dataclass

from gpt2xl import BatchUdf
from gpt2xl_ray.resources import Actors


@dataclass(frozen=True)
class JobSettings:
    """A batch to run on a cluster."""

    source: str
    """A file, or a folder of files, by path or URI: JSON lines (``.jsonl``, ``.ndjson``, ``.json``) or Parquet."""
    out: str
    """A folder for the parts of the output, in the format of the input."""
    udf: BatchUdf
    """From `gpt2xl.batch_udf`; its bundle may be a URI, which each machine fetches once."""
    actors: Actors
    """How many, and the CPUs of each."""
    part_rows: int | None = None
    """About how many rows a part has; None: by the size of the input and the number of actors."""
    force: bool = False
    """Whether to replace what another run has written."""


@dataclass(frozen=True)
class JobProgress:
    """How far a job is."""

    done: int
    """Of ``total``: bytes of JSON lines, or rows of Parquet."""
    total: int
    unit: str
    """"B", or "row"."""
    rows: int
    """That this run has written."""
    new_tokens: int
    """That this run has generated."""
    seconds: float
    """Since this run began to generate."""
    actors: int
    """That are at work."""

    @property
    def tokens_per_second(self) -> float:
        """Of all actors together."""
        return self.new_tokens / self.seconds if self.seconds else 0.0


@dataclass(frozen=True)
class JobSummary:
    """What a run has done."""

    out: str
    parts: int
    """Files of the output."""
    done_before: int
    """Of them, those that earlier runs had finished."""
    rows: int
    """That this run has written."""
    errors: int
    """Of them, those with an error in place of a text."""
    new_tokens: int
    """Of this run."""
    tokens_per_second: float | None
    """Of this run; None where there was nothing left to generate."""
