"""The actor: reads a part, continues its prompts and writes it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from gpt2xl import BatchUdf, RequestError
from gpt2xl.udf.columns import reports_of
from gpt2xl.udf.rows import Outcome, Row, check_options
from gpt2xl_ray.bundles import local_bundle
from gpt2xl_ray.jobs.json_parts import JsonPart
from gpt2xl_ray.jobs.parquet_parts import ParquetPart
from gpt2xl_ray.jobs.plan import Part
from gpt2xl_ray.storage import Place


@dataclass(frozen=True)
class PartReport:
    """What came of a part."""

    part: Part
    rows: int
    errors: int
    """Of the rows."""
    new_tokens: int


def part_name(number: int) -> str:
    """The name of a part's file without its ending; names sort as the parts do."""
    return f"part-{number:09d}"


class Worker:
    """Loads the model once and computes parts; Ray starts it as an actor.

    Args:
        udf: how to continue prompts.
        kind: of the input, "json" or "parquet".
        source: the input.
        out: the folder of the output.
    """

    def __init__(self, udf: BatchUdf, kind: str, source: Place, out: Place) -> None:
        self._udf, self._kind, self._source, self._out = udf, kind, source, out

    def begin(self) -> None:
        """Fetch the bundle, load it, and check what is the same for all rows; raises Gpt2xlError."""
        udf = self._udf
        udf.bundle = local_bundle(str(udf.bundle))
        options = udf.options
        check_options(udf.model, options)
        id_column = udf.id_column if options.draws else ""
        self._parts: Any = (
            JsonPart(self._source, id_column, udf.prompt_column)
            if self._kind == "json"
            else ParquetPart(self._source, id_column, udf.prompt_column, reports_of(options))
        )

    def run(self, part: Part) -> PartReport:
        """Compute one part; it is in the output when this returns."""
        read, rows = self._parts.read(part)
        outcomes = self._outcomes(rows)
        name = part_name(part.number) + self._parts.ending
        self._out.child(name).write(self._parts.write(read, outcomes))
        errors = sum(isinstance(outcome, RequestError) for outcome in outcomes)
        tokens = sum(
            len(outcome.new_ids) for outcome in outcomes if not isinstance(outcome, RequestError)
        )
        return PartReport(part, len(outcomes), errors, tokens)

    def _outcomes(self, rows: Sequence[Row | RequestError]) -> list[Outcome]:
        good = [row for row in rows if not isinstance(row, RequestError)]
        texts = iter(self._udf.outcomes(good))
        return [row if isinstance(row, RequestError) else next(texts) for row in rows]
