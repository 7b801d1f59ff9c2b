"""Outputs of the original models that others have published.

published_outputs.json holds facts only: ids, figures and where they were published. We computed none
of them. Token ids of published texts are those of GPT-2's tokenizer. For each model (gpt2, gpt2-xl,
distilgpt2) it has:

* config: values of config.json; a model with other values is another model.
* continuations: each ``ids[start:end]`` that ``greedy`` lists was chosen greedily, token by token,
  after ``repetition_penalty``, ``no_repeat_ngram_size`` and without the ``banned`` ids.
* tables: ``figures`` of candidates for the token after ``ids``, as [id, value], in a ``unit`` of
  `gpt2xl_export.verification.replay.UNITS`.
* scores: the sum of log-probabilities, or the mean negative log-likelihood, of each ``row[first:]``
  of ``rows``.

``rounding`` is the largest error of a figure by the way it was printed.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import PurePosixPath


@dataclass(frozen=True)
class Continuation:
    """A prompt and its greedy continuation."""

    source: str
    prompt: str
    ids: list[int]
    greedy: list[list[int]]
    repetition_penalty: float = 1.0
    no_repeat_ngram_size: int = 0
    banned: Sequence[int] = ()


@dataclass(frozen=True)
class Table:
    """Figures of some candidates for the token after ``ids``."""

    source: str
    prompt: str
    ids: list[int]
    unit: str
    rounding: float
    figures: list[tuple[int, float]]


@dataclass(frozen=True)
class Score:
    """The probability of whole texts."""

    source: str
    about: str
    prompt: str
    rows: list[list[int]]
    first: int
    unit: str
    value: float
    rounding: float


@dataclass(frozen=True)
class Published:
    """Everything known of one model."""

    name: str
    config: dict[str, int]
    continuations: list[Continuation]
    tables: list[Table]
    scores: list[Score]


def published(source_name: str) -> Published | None:
    """Published outputs of the model that a manifest's source.name names; None if there are none.

    >>> published("openai-community/gpt2-xl").name
    'gpt2-xl'
    """
    content = json.loads(
        files("gpt2xl_export").joinpath("published_outputs.json").read_text("utf-8")
    )
    name = PurePosixPath(source_name.replace("\\", "/").partition("@")[0]).name.lower()
    if name not in content["models"]:
        return None
    model = content["models"][name]
    cited = {kind: [{**r, "source": content["sources"][r["source"]]} for r in model[kind]]
             for kind in ("continuations", "tables", "scores")}  # fmt: skip
    return Published(
        name,
        model["config"],
        [Continuation(**record) for record in cited["continuations"]],
        [Table(**record) for record in cited["tables"]],
        [Score(**record) for record in cited["scores"]],
    )
