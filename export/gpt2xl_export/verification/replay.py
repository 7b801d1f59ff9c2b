"""Replay published outputs and compare.

A float32 bundle has to give every greedy token, and every figure within its rounding and SLACK. SLACK
allows for other hardware: published runs used other kernels, TF32 among them. A lossy precision only
has to be distinguishable from a broken model: it fails if more than a third of the tokens differ, or
a score by more than GROSS_NLL a token.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np
import numpy.typing as npt

from gpt2xl.decoding.logprobs import log_softmax
from gpt2xl.errors import ParityError
from gpt2xl.processors.penalties import no_repeat_ngram, repetition_penalty
from gpt2xl.sessions.protocol import Session
from gpt2xl_export.progress import Count, Steps
from gpt2xl_export.verification.published import Continuation, Score, Table

Logits = npt.NDArray[np.float64]

SLACK = 0.02
"""Absolute for logits, relative for probabilities, which comes to the same."""
SLACK_NLL = 0.005
"""Absolute, for the negative log-likelihood of a token."""
GROSS_NLL = 0.5
UNITS: Mapping[str, Callable[[Logits, Sequence[int]], Logits]] = {
    "probability": lambda logits, ids: np.exp(log_softmax(logits)[ids]),
    "percent": lambda logits, ids: 100 * np.exp(log_softmax(logits)[ids]),
    "logit": lambda logits, ids: logits[ids],
    "centred logit": lambda logits, ids: logits[ids] - logits.mean(),
    "gap": lambda logits, ids: logits[ids] - logits[ids[-1]],  # to the logit of the last id
}


def replay(session: Session, ids: Sequence[int], positions: Sequence[int]) -> Iterator[Logits]:
    """Yield the logits that predict ``ids[position]`` for each of ``positions``, in ascending order."""
    cache, fed = session.new_cache(), 0
    for position in positions:
        logits = session.forward(np.array([ids[fed:position]], np.int64), cache)[:, -1][0]
        fed = position
        yield logits.astype(np.float64)


def check_continuations(
    records: Sequence[Continuation], session: Session, exact: bool, report: Count = lambda *_: None
) -> str:
    """Say how many tokens agree; ``report`` is called with (tokens compared, tokens in all).

    Raises:
        ParityError: one does not, if ``exact``; else too few do.
    """
    agreed = total = 0
    count = sum(end - start for record in records for start, end in record.greedy)
    steps = Steps(count, count, report)
    for record in records:
        positions = [p for start, end in record.greedy for p in range(start, end)]
        for position, raw in zip(positions, replay(session, record.ids, positions), strict=True):
            logits, wanted = processed(raw, record, record.ids[:position]), record.ids[position]
            behind = float(logits.max() - logits[wanted])
            if exact and not behind <= SLACK:  # NaN fails, too
                raise ParityError(
                    f"{_cited(record)}: token {position} is {wanted}, but here it is"
                    f" {int(logits.argmax())}, whose logit is {behind:.3g} larger."
                )
            agreed, total = agreed + (behind <= SLACK), total + 1
            steps.add(1)
    _check_agreement(agreed, total)
    return f"{len(records)} continuations, {agreed} of {total} tokens as published"


def check_tables(
    records: Sequence[Table], session: Session, exact: bool, report: Count = lambda *_: None
) -> str:
    """Say how many tables agree; ``report`` is called with (tables compared, tables in all).

    Raises:
        ParityError: a figure does not, if ``exact``; else the top token of too few does.
    """
    agreed = 0
    for number, record in enumerate(records):
        report(number, len(records))
        (logits,) = replay(session, record.ids, [len(record.ids)])
        ids = [token_id for token_id, _ in record.figures]
        relative = record.unit in ("probability", "percent")
        for (token_id, value), got in zip(
            record.figures, UNITS[record.unit](logits, ids), strict=True
        ):
            limit = record.rounding + SLACK * (value if relative else 1)
            if exact and not abs(got - value) <= limit:
                raise ParityError(
                    f"{_cited(record)}: the {record.unit} of token {token_id} is {value}, but here {got:.6g}."
                )
        agreed += int(logits.argmax()) == max(record.figures, key=lambda figure: figure[1])[0]
    _check_agreement(agreed, len(records))
    figures = sum(len(record.figures) for record in records)
    how = (
        f"{figures} figures as published" if exact else f"{agreed} of the first tokens as published"
    )
    return f"{len(records)} tables of next tokens, {how}"


def check_scores(
    records: Sequence[Score], session: Session, exact: bool, report: Count = lambda *_: None
) -> str:
    """Say what the largest difference is; ``report`` is called with (tokens scored, tokens in all).

    Raises:
        ParityError: a score differs by too much.
    """
    largest = 0.0
    count = sum(max(0, len(row) - record.first) for record in records for row in record.rows)
    steps = Steps(count, count, report)
    for record in records:
        losses = []
        for loss in (x for row in record.rows for x in _losses(session, row, record.first)):
            losses.append(loss)
            steps.add(1)
        summed = record.unit == "sum of log-probabilities"
        got = -sum(losses) if summed else sum(losses) / len(losses)
        unit = len(losses) if summed else 1
        slack = SLACK_NLL if exact else GROSS_NLL
        if not abs(got - record.value) <= record.rounding + slack * unit:
            raise ParityError(
                f"{_cited(record)} ({record.about}): the {record.unit} is {record.value}, but here {got:.6g}."
            )
        largest = max(largest, abs(got - record.value) / unit)
    return f"{len(records)} scores as published, largest difference {largest:.2g} a token"


def processed(logits: Logits, record: Continuation, ids: Sequence[int]) -> Logits:
    """``logits`` of the token after ``ids``, processed as in the published run."""
    changed = logits.astype(np.float32)  # as the session gave them
    changed = repetition_penalty(record.repetition_penalty)(ids, changed)
    if record.no_repeat_ngram_size:
        changed = no_repeat_ngram(record.no_repeat_ngram_size)(ids, changed)
    changed[list(record.banned)] = -np.inf
    return changed.astype(np.float64)


def _losses(session: Session, row: Sequence[int], first: int) -> Iterator[float]:
    positions = range(first, len(row))
    for position, logits in zip(positions, replay(session, row, positions), strict=True):
        yield -float(log_softmax(logits)[row[position]])


def _check_agreement(agreed: int, total: int) -> None:
    if 3 * agreed < 2 * total:
        raise ParityError(f"only {agreed} of {total} tokens are as published.")


def _cited(record: Continuation | Table | Score) -> str:
    prompt = record.prompt if len(record.prompt) <= 60 else "…" + record.prompt[-60:]
    return f"{prompt!r}, published in {record.source}"
