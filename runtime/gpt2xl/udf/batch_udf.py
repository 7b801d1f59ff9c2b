"""A function of batches of rows, for Ray Data, Spark, Dask, Daft and whatever else takes one; it imports none of them."""

import secrets
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, TypeVar, Unpack

from gpt2xl.batcher import check_is_one_text
from gpt2xl.errors import RequestError
from gpt2xl.model import MAX_ROWS, Model
from gpt2xl.options.generation import GenerationOptions
from gpt2xl.options.keywords import GenerationKeywords, updated
from gpt2xl.searching import is_search
from gpt2xl.startup.options import LoadOptions, checked_integer
from gpt2xl.udf.columns import added_names, outcome_columns, reports_of
from gpt2xl.udf.process_model import process_model
from gpt2xl.udf.rows import Outcome, Row, check_options, row_texts


class Frame(Protocol):
    """What is used of a pandas.DataFrame."""

    @property
    def columns(self) -> Iterable[str]:
        """Names of its columns."""

    def __getitem__(self, name: str, /) -> Any:
        """A column."""

    def assign(self, **columns: Any) -> Any:
        """The frame with further columns."""


AnyFrame = TypeVar("AnyFrame", bound=Frame)


class BatchUdf:
    """Continues the prompts of a batch of rows; made by `gpt2xl.batch_udf`, which explains the arguments.

    It can be pickled and is small: each process loads the model at its first batch, once.
    """

    def __init__(
        self,
        bundle: str | Path,
        options: GenerationOptions | None,
        keywords: GenerationKeywords,
        *,
        id_column: str,
        prompt_column: str,
        prefix: str,
        rows: int,
        load: LoadOptions,
    ) -> None:
        checked = updated(GenerationOptions() if options is None else options, keywords)
        if not is_search(checked) or checked.num_return_sequences > 1:
            check_is_one_text(checked)
        self.bundle, self.load = bundle, load
        """Where the model is, and how each process loads it."""
        self.id_column, self.prompt_column, self.prefix = id_column, prompt_column, prefix
        self.rows = checked_integer("rows", rows, 1, MAX_ROWS)
        # A batch that an engine computes twice has to give the same texts twice.
        drawn = secrets.randbits(32) if checked.seed is None else checked.seed
        self.seed = checked_integer("seed", drawn, 0, 2**62)
        """Of the row with id 0."""
        self.seed_is_given = checked.seed is not None
        self.given_options = checked
        """As far as they are known without the model."""
        self._options, self._keywords = options, keywords

    def __call__(self, batch: Mapping[str, Any]) -> dict[str, Any]:
        """The columns of ``batch`` and the new ones.

        Args:
            batch: a sequence for each column, such as a list or numpy array.

        Raises:
            RequestError: a column is missing, or has the name of a new one.
            Gpt2xlError: the model cannot be loaded, or fails.
        """
        return {**batch, **self._new_columns(batch, list(batch))}

    def map_frames(self, frames: Iterable[AnyFrame]) -> Iterator[AnyFrame]:
        """Take and give frames of pandas, as Spark's ``mapInPandas`` calls it; errors as of a call."""
        for frame in frames:
            yield frame.assign(**self._new_columns(frame, list(frame.columns)))

    def outcomes(self, rows: Sequence[Row]) -> list[Outcome]:
        """The text of each row of id and prompt, or the error that stands for it, in the order of ``rows``."""
        found = dict(row_texts(self.model, rows, self.options, self.rows))
        return [found[number] for number in range(len(rows))]

    @property
    def model(self) -> Model:
        """The model, which the first use in a process loads."""
        return process_model(self.bundle, self.load)

    @property
    def options(self) -> GenerationOptions:
        """Of each text, over the model's own; ``seed`` is that of the id 0."""
        base = self.model.defaults if self._options is None else self._options
        return updated(updated(base, self._keywords), {"seed": self.seed})

    def _new_columns(self, batch: Any, names: list[str]) -> dict[str, Any]:
        options = self.options
        self._check_names(names, options)
        check_options(self.model, options)
        prompts = list(batch[self.prompt_column])
        ids = list(batch[self.id_column]) if options.draws else [None] * len(prompts)
        outcomes = self.outcomes([*zip(ids, prompts, strict=True)])
        new = outcome_columns(outcomes, reports_of(options))
        return {self.prefix + name: column for name, column in new.items()}

    def _check_names(self, names: list[str], options: GenerationOptions) -> None:
        needed = {"prompt_column": self.prompt_column}
        if options.draws:
            needed["id_column"] = self.id_column
        for argument, name in needed.items():
            if name not in names:
                raise RequestError(
                    f"there is no column '{name}', only {', '.join(names)}: name one with {argument}."
                )
        for name in added_names(reports_of(options)):
            if self.prefix + name in names:
                raise RequestError(
                    f"there is a column '{self.prefix}{name}' already: give another prefix for the new columns."
                )


def batch_udf(
    bundle: str | Path,
    options: GenerationOptions | None = None,
    *,
    id_column: str = "id",
    prompt_column: str = "prompt",
    prefix: str = "",
    rows: int = 16,
    load: LoadOptions | None = None,
    **keywords: Unpack[GenerationKeywords],
) -> BatchUdf:
    """A function that continues the prompts of a batch of rows, to be pickled and called in many processes.

    >>> udf = batch_udf("demo", seed=1, max_new_tokens=6)
    >>> batch = udf({"id": [0, 1], "prompt": ["Once upon a time", None]})
    >>> list(batch)
    ['id', 'prompt', 'text', 'finish_reason', 'new_tokens', 'seed', 'error']
    >>> print(batch["text"][0], batch["seed"])
    , there was a little girl [ 1 -1]
    >>> print(batch["error"][1])
    a prompt is a text or a list of token ids, but this one is None (NoneType).

    A batch is a mapping from names of columns to lists or numpy arrays, and so is what is returned: the same columns, and
    ``text``, ``finish_reason``, ``new_tokens``, ``seed`` (-1 where nothing is drawn) and ``error``, which is empty for rows
    that have a text. Options that ask for log-probabilities add columns of JSON.

    Args:
        bundle: as of `gpt2xl.load`, on every machine; each process loads it once, at its first batch.
        options: of each text; None: the model's own.
        id_column: ids of rows, integers or texts. The text of a row has the seed ``seed`` plus its id, or plus 62 bits of the
            id's SHA-256 where it is a text, wherever the row stands. Not read where nothing is drawn.
        prompt_column: texts or lists of token ids.
        prefix: stands before the names of the new columns.
        rows: texts that share a step, as of `Model.generate_batch`.
        load: how to load; where processes share a machine, give each its share of the threads.
        **keywords: fields of `GenerationOptions`, which replace those of ``options``. A ``seed`` of None is drawn here, once.

    Raises:
        RequestError: an option out of its range, or one that gives several texts.
        TypeError: an option that does not exist.
    """
    return BatchUdf(
        bundle, options, keywords, id_column=id_column, prompt_column=prompt_column, prefix=prefix,
        rows=rows, load=load or LoadOptions(),
    )  # fmt: skip
