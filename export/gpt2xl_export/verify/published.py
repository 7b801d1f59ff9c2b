"""Outputs of the original models that others have published, and whether a model gives them.

published_outputs.json holds facts only: ids, figures and where they were published; nothing in it
was computed by us. Token ids of published texts are those of GPT-2's tokenizer. By model (gpt2,
gpt2-xl, distilgpt2):

* config: what config.json has to say, else it is another model.
* continuations: of the prompt's ids, each ``ids[start:end]`` that ``greedy`` lists is what the
  most probable token gave, one after the other, after ``repetition_penalty``,
  ``no_repeat_ngram_size`` and without the ``banned`` ids.
* tables: ``figures`` of the token after ``ids``, as [id, value], in a ``unit`` of UNITS.
* scores: the sum of log-probabilities, or the mean negative log-likelihood, of each
  ``row[first:]`` of ``rows``.

``rounding`` is how far a figure may be from the truth as it was printed. float32 has to give every
greedy token and every figure within that and SLACK, which stands for other hardware: published
runs used other kernels, TF32 among them. A lossy precision is only told apart from a broken one:
it fails when more than a third of the tokens differ, or a score by more than GROSS_NLL a token.
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import PurePosixPath

import numpy as np
import numpy.typing as npt

from gpt2xl.errors import ParityError
from gpt2xl.sessions.protocol import Session

Logits = npt.NDArray[np.float64]

SLACK = 0.02
"""Of a logit, absolute; of a probability, relative, which is the same."""
SLACK_NLL = 0.005
"""Of the negative log-likelihood, a token."""
GROSS_NLL = 0.5
UNITS: Mapping[str, Callable[[Logits, Sequence[int]], Logits]] = {
    "probability": lambda logits, ids: np.exp(log_softmax(logits)[ids]),
    "percent": lambda logits, ids: 100 * np.exp(log_softmax(logits)[ids]),
    "logit": lambda logits, ids: logits[ids],
    "centred logit": lambda logits, ids: logits[ids] - logits.mean(),
    "gap": lambda logits, ids: logits[ids] - logits[ids[-1]],  # to the logit of the last id
}


@dataclass(frozen=True)
class Continuation:
    """A prompt and what greedy decoding made of it."""

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
    """How probable whole texts are."""

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
    """All that is known of one model."""

    name: str
    config: dict[str, int]
    continuations: list[Continuation]
    tables: list[Table]
    scores: list[Score]


def published(source_name: str) -> Published | None:
    """What was published of the model that a manifest's source.name means, None when nothing was.

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


def replay(session: Session, ids: Sequence[int], positions: Sequence[int]) -> Iterator[Logits]:
    """For each of ``positions``, ascending: the logits that predict ``ids[position]``."""
    cache, fed = session.new_cache(), 0
    for position in positions:
        logits = session.forward(np.array([ids[fed:position]], np.int64), cache)[:, -1][0]
        fed = position
        yield logits.astype(np.float64)


def check_continuations(records: Sequence[Continuation], session: Session, exact: bool) -> str:
    """How many tokens agree; raises ParityError naming the first that does not, or if few do."""
    agreed = total = 0
    for record in records:
        positions = [p for start, end in record.greedy for p in range(start, end)]
        for position, raw in zip(positions, replay(session, record.ids, positions), strict=True):
            logits, wanted = processed(raw, record, record.ids[:position]), record.ids[position]
            behind = float(logits.max() - logits[wanted])
            if exact and not behind <= SLACK:  # NaN fails, too
                raise ParityError(
                    f"{_cited(record)}: token {position} is {wanted}, here it is"
                    f" {int(logits.argmax())}, by {behind:.3g}."
                )
            agreed, total = agreed + (behind <= SLACK), total + 1
    _check_agreement(agreed, total)
    return f"{len(records)} continuations, {agreed} of {total} tokens as published"


def check_tables(records: Sequence[Table], session: Session, exact: bool) -> str:
    """How many tables agree; raises ParityError naming the first that does not, or if few do."""
    agreed = 0
    for record in records:
        (logits,) = replay(session, record.ids, [len(record.ids)])
        ids = [token_id for token_id, _ in record.figures]
        relative = record.unit in ("probability", "percent")
        for (token_id, value), got in zip(
            record.figures, UNITS[record.unit](logits, ids), strict=True
        ):
            limit = record.rounding + SLACK * (value if relative else 1)
            if exact and not abs(got - value) <= limit:
                raise ParityError(
                    f"{_cited(record)}: the {record.unit} of token {token_id} is {value}, here {got:.6g}."
                )
        agreed += int(logits.argmax()) == max(record.figures, key=lambda figure: figure[1])[0]
    _check_agreement(agreed, len(records))
    figures = sum(len(record.figures) for record in records)
    how = (
        f"{figures} figures as published" if exact else f"{agreed} of the first tokens as published"
    )
    return f"{len(records)} tables of next tokens, {how}"


def check_scores(records: Sequence[Score], session: Session, exact: bool) -> str:
    """The largest difference; raises ParityError naming the first score that is too far off."""
    largest = 0.0
    for record in records:
        losses = [loss for row in record.rows for loss in _losses(session, row, record.first)]
        summed = record.unit == "sum of log-probabilities"
        got = -sum(losses) if summed else sum(losses) / len(losses)
        unit = len(losses) if summed else 1
        slack = SLACK_NLL if exact else GROSS_NLL
        if not abs(got - record.value) <= record.rounding + slack * unit:
            raise ParityError(
                f"{_cited(record)} ({record.about}): the {record.unit} is {record.value}, here {got:.6g}."
            )
        largest = max(largest, abs(got - record.value) / unit)
    return f"{len(records)} scores as published, largest difference {largest:.2g} a token"


def processed(logits: Logits, record: Continuation, ids: Sequence[int]) -> Logits:
    """``logits`` of the token after ``ids``, penalised and banned as the record's run had them."""
    seen, logits = np.unique(ids), logits.copy()
    penalty, size = record.repetition_penalty, record.no_repeat_ngram_size
    logits[seen] = np.where(logits[seen] < 0, logits[seen] * penalty, logits[seen] / penalty)
    logits[list(record.banned)] = -np.inf
    for end in range(size, len(ids) + 1) if size else ():
        if ids[end - size : end - 1] == ids[len(ids) - size + 1 :]:
            logits[ids[end - 1]] = -np.inf
    return logits


def log_softmax(logits: Logits) -> Logits:
    """Of one row."""
    shifted = logits - logits.max()
    return np.asarray(shifted - np.log(np.exp(shifted).sum()))


def _losses(session: Session, row: Sequence[int], first: int) -> Iterator[float]:
    positions = range(first, len(row))
    for position, logits in zip(positions, replay(session, row, positions), strict=True):
        yield -float(log_softmax(logits)[row[position]])


def _check_agreement(agreed: int, total: int) -> None:
    if 3 * agreed < 2 * total:
        raise ParityError(f"only {agreed} of {total} tokens are the published ones.")


def _cited(record: Continuation | Table | Score) -> str:
    prompt = record.prompt if len(record.prompt) <= 60 else "…" + record.prompt[-60:]
    return f"{prompt!r}, published in {record.source}"
