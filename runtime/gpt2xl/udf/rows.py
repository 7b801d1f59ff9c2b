"""Texts of rows: each seeded by its row's id, and a row that cannot be continued is an error of its own."""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from hashlib import sha256
from typing import Any

import numpy as np

from gpt2xl.batcher import Batcher
from gpt2xl.errors import RequestError
from gpt2xl.model import Model
from gpt2xl.options.generation import GenerationOptions
from gpt2xl.searching import is_search
from gpt2xl.text.prompts import Prompt
from gpt2xl.text.results import Generation

Row = tuple[Any, Prompt]
"""An id and a prompt, as they stand in the table."""
Outcome = Generation | RequestError
MAX_SEED = 2**63 - 1  # what a column of 64 bits holds


def row_seed(first: int, row_id: object) -> int:
    """The seed of a row's text: ``first`` plus the id, or plus 62 bits of its SHA-256 where it is a text.

    >>> row_seed(1, 41)
    42
    >>> row_seed(0, "a") == row_seed(0, "a") != row_seed(0, "b")
    True

    Raises:
        RequestError: an id that is neither, or leads to no seed of 64 bits.
    """
    if isinstance(row_id, str):
        return first + int.from_bytes(sha256(row_id.encode()).digest()[:8]) % 2**62
    if isinstance(row_id, bool | np.bool_) or not isinstance(row_id, int | np.integer):
        raise RequestError(f"an id has to be an integer or a text, but this one is {row_id!r}.")
    seed = first + int(row_id)
    if not 0 <= seed <= MAX_SEED:
        raise RequestError(
            f"seed {first} and id {row_id} add up to {seed}, but a seed goes from 0 to 2**63 - 1."
        )
    return seed


def row_texts(
    model: Model, rows: Iterable[Row], options: GenerationOptions, together: int
) -> Iterator[tuple[int, Outcome]]:
    """The text of each row, or why it has none, with the row's number from 0, in the order in which they end.

    Args:
        model: generates.
        rows: read as texts end.
        options: of every text; ``seed`` is that of the id 0.
        together: rows that share a step.

    Raises:
        Gpt2xlError: what is no fault of one row.
    """
    numbered = enumerate(rows)
    if is_search(options):
        for number, row in numbered:
            yield number, _searched(model, row, options)
        return
    batcher = model.batcher(rows=together)
    numbers = dict[int, int]()  # of rows, by the batcher's
    while True:
        while batcher.has_free_row and (item := next(numbered, None)):
            if isinstance(submitted := _submitted(batcher, item[1], options), RequestError):
                yield item[0], submitted
            else:
                numbers[submitted] = item[0]
        if batcher.is_idle:
            return
        for update in batcher.step():
            if update.error and not isinstance(update.error, RequestError):
                raise update.error
            if outcome := update.generation or update.error:
                assert isinstance(outcome, Generation | RequestError)
                yield numbers.pop(update.number), outcome


def check_options(model: Model, options: GenerationOptions) -> None:
    """Raise what every row would raise: RequestError where the model cannot take an option at all."""
    options = replace(options, max_length=None)  # which a row's prompt may be too long for
    if is_search(options):
        model.active_processors([0], options)
    else:
        model.batcher(rows=1).prepare([0], options)


def _seeded(row: Row, options: GenerationOptions) -> GenerationOptions:
    if not options.draws:
        return options
    assert options.seed is not None
    return replace(options, seed=row_seed(options.seed, row[0]))


def _submitted(batcher: Batcher, row: Row, options: GenerationOptions) -> int | RequestError:
    try:
        return batcher.submit(row[1], _seeded(row, options))
    except RequestError as error:
        return error


def _searched(model: Model, row: Row, options: GenerationOptions) -> Outcome:
    try:
        return model.generate(row[1], _seeded(row, options))
    except RequestError as error:
        return error
