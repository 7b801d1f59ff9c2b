"""What an actor does to a batch of rows of a dataset. It loads the model when it starts, once."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import nan
from typing import Any, Literal

import numpy as np

from gpt2xl import BatchUdf, LoadOptions, Model, RequestError
from gpt2xl.udf.process_model import process_model
from gpt2xl_ray.bundles import local_bundle

Columns = dict[str, Any]


@dataclass(frozen=True)
class TextSource:
    """Whose texts a worker reads, and what with."""

    bundle: str
    column: str
    load: LoadOptions

    def model(self) -> Model:
        """The model of this process."""
        return process_model(local_bundle(self.bundle), self.load)

    def texts(self, batch: Mapping[str, Any], added: tuple[str, ...]) -> list[Any]:
        """The texts of a batch to which columns called ``added`` will be added; raises RequestError."""
        if self.column not in batch:
            raise RequestError(
                f"there is no column '{self.column}', only {', '.join(batch)}: name one with text_column."
            )
        if taken := [name for name in added if name in batch]:
            raise RequestError(f"there is a column '{taken[0]}' already: rename it.")
        return list(batch[self.column])


class Generator:
    """Continues prompts."""

    def __init__(self, udf: BatchUdf) -> None:
        udf.bundle = local_bundle(str(udf.bundle))
        self._udf = udf
        _ = udf.model

    def __call__(self, batch: Mapping[str, Any]) -> Columns:
        """The columns and the texts."""
        return self._udf(batch)


class Scorer:
    """Computes how probable texts are."""

    def __init__(self, source: TextSource, stride: int | None) -> None:
        self._source, self._stride, self._model = source, stride, source.model()

    def __call__(self, batch: Mapping[str, Any]) -> Columns:
        """The columns, and ``nats``, ``tokens`` and ``error``."""
        texts = self._source.texts(batch, ("nats", "tokens", "error"))
        scores = [self._score(text) for text in texts]
        return {
            **batch,
            "nats": np.array([score[0] for score in scores], np.float64),
            "tokens": np.array([score[1] for score in scores], np.int64),
            "error": np.array([score[2] for score in scores], object),
        }

    def _score(self, text: Any) -> tuple[float, int, str]:
        try:
            score = self._model.score(text, stride=self._stride)
        except RequestError as error:
            return nan, 0, str(error)
        return -score.sum, len(score.ids) - 1, ""


class Featurizer:
    """Computes a vector for each text."""

    def __init__(self, source: TextSource, pooling: Literal["mean", "last"]) -> None:
        self._source, self._pooling, self._model = source, pooling, source.model()

    def __call__(self, batch: Mapping[str, Any]) -> Columns:
        """The columns, and ``features`` and ``error``."""
        texts = self._source.texts(batch, ("features", "error"))
        vectors = np.full((len(texts), self._model.config.n_embd), nan, np.float32)
        errors = [""] * len(texts)
        for row, text in enumerate(texts):
            try:
                vectors[row] = self._model.features(text, pooling=self._pooling)
            except RequestError as error:
                errors[row] = str(error)
        return {**batch, "features": vectors, "error": np.array(errors, object)}
