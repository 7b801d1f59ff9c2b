"""Parts of Parquet: read a range of rows, and write it with further columns."""

from collections.abc import Iterator, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from gpt2xl import RequestError
from gpt2xl.udf.columns import added_names, outcome_columns
from gpt2xl.udf.rows import Outcome, Row
from gpt2xl_ray.jobs.plan import Part
from gpt2xl_ray.storage import Place, storage_errors

TYPES = {"new_tokens": pa.int64(), "seed": pa.int64()}
"""The other columns are texts."""


class ParquetPart:
    """Reads and writes parts.

    Args:
        place: of the input.
        id_column: of ids; empty where none are needed.
        prompt_column: of prompts.
        reports: names of the columns that options add.
    """

    ending = ".parquet"

    def __init__(
        self, place: Place, id_column: str, prompt_column: str, reports: Sequence[str]
    ) -> None:
        self._place, self._id, self._prompt = place, id_column, prompt_column
        self._reports = reports

    def read(self, part: Part) -> tuple[pa.Table, list[Row | RequestError]]:
        """The rows, and id and prompt of each; raises RequestError where a column is missing or has a new one's name."""
        with storage_errors(part.file), self._place.filesystem.open_input_file(part.file) as file:
            table = pa.concat_tables(_tables(pq.ParquetFile(file), part.start, part.stop))
        self._check(table.column_names, part.file)
        prompts = table[self._prompt].to_pylist()
        ids = table[self._id].to_pylist() if self._id else [None] * len(prompts)
        return table, [*zip(ids, prompts, strict=True)]

    def write(self, table: pa.Table, outcomes: Sequence[Outcome]) -> bytes:
        """The rows with what came of them; null where a row has no seed, no text or no error."""
        for name, values in outcome_columns(outcomes, self._reports).items():
            absent = -1 if name == "seed" else ""
            column = [None if value == absent else value for value in values.tolist()]
            if name == "text":  # a text may be empty
                column = [
                    None if isinstance(outcome, RequestError) else text
                    for outcome, text in zip(outcomes, values.tolist(), strict=True)
                ]
            table = table.append_column(name, pa.array(column, TYPES.get(name, pa.string())))
        sink = pa.BufferOutputStream()
        pq.write_table(table, sink)
        return bytes(sink.getvalue())

    def _check(self, columns: list[str], file: str) -> None:
        for name in (self._prompt, self._id):
            if name and name not in columns:
                raise RequestError(f"'{file}' has no column '{name}', only {', '.join(columns)}.")
        if taken := [name for name in added_names(self._reports) if name in columns]:
            raise RequestError(
                f"'{file}' has a column '{taken[0]}' already, which the output adds: rename it."
            )


def _tables(file: Any, start: int, stop: int) -> Iterator[pa.Table]:
    """The rows from ``start`` to ``stop`` of each row group that has some."""
    first = 0
    for group in range(file.num_row_groups):
        count = file.metadata.row_group(group).num_rows
        low, high = max(start, first), min(stop, first + count)
        if low < high:
            yield file.read_row_group(group).slice(low - first, high - low)
        first += count
