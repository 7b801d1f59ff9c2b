"""Scores of continuations, against the softmax of a run of the session alone."""

from collections.abc import Callable, Iterator
from itertools import count, islice

import numpy as np
import numpy.typing as npt
import pytest

from gpt2xl import Continuation, ContinuationScore, Model, RequestError
from gpt2xl.scores.continuation_plans import AHEAD_TOKENS
from gpt2xl.scores.continuations import scored

PRECISIONS = pytest.mark.parametrize("precision", ["fp32", "int8", "int4", "int8 --kv float"])


def log_softmax(logits: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    exact = logits.astype(np.float64)
    largest = exact.max(-1, keepdims=True)
    return np.asarray(exact - largest - np.log(np.exp(exact - largest).sum(-1, keepdims=True)))


def plain(model: Model, each: Continuation) -> npt.NDArray[np.float64]:
    """Log-probabilities of the vocabulary before each of the ids, by one call of the session."""
    fed = [*each.context, *each.ids][:-1]
    session = model.session
    return log_softmax(
        session.forward(np.array([fed]), session.new_cache(), keep=len(fed))[0, -len(each.ids) :]
    )


def chosen(values: npt.NDArray[np.float64], each: Continuation) -> npt.NDArray[np.float64]:
    return values[np.arange(len(each.ids)), each.ids]


def mixture(model: Model) -> list[Continuation]:
    """Texts of all kinds: alone in several chunks, in rows, of one token, with a common prefix in context or ids."""
    rng = np.random.default_rng(5)

    def ids(length: int) -> list[int]:
        return [int(token_id) for token_id in rng.integers(0, 4000, length)]

    long, question, blank = ids(model.config.n_positions), ids(70), ids(300)
    lengths = [(60, 4), (90, 1), (3, 2), (5, 1), (75, 3), (1, 1), (2, 12), (1, 7), (100, 120)]
    return [
        Continuation(long[:1], long[1:]),
        *(Continuation(ids(before), ids(after)) for before, after in lengths),
        *(Continuation(question, ids(length)) for length in (1, 4, 9, 30)),
        *(Continuation(question, [token_id]) for token_id in (7, 8, 9)),
        *(Continuation(blank[:2], [*blank[2:], *ids(length)]) for length in (20, 2)),
        Continuation(long[:400], long[400:410]),
        Continuation(long[10:60], long[60:63]),
    ]


@PRECISIONS
def test_scores_are_the_softmax_of_the_logits(demo: Callable[[str], Model], precision: str) -> None:
    model = demo(precision)
    texts = mixture(model)
    scores = list(model.score_continuations(texts, top=3))
    assert len(scores) == len(texts)
    for each, score in zip(texts, scores, strict=True):
        wanted = plain(model, each)
        # int4 rounds a step of one token otherwise than a longer one.
        error = 1e-3 if precision == "int4" else 1e-5
        assert score.logprobs == pytest.approx(chosen(wanted, each), abs=error)
        assert (score.top_ids == (-wanted).argsort(kind="stable")[:, :3]).all()


@PRECISIONS
@pytest.mark.parametrize("rows", [2, 16])
def test_a_score_does_not_depend_on_the_other_continuations(
    demo: Callable[[str], Model], precision: str, rows: int
) -> None:
    """To the bit, but for float32, which only rounds differently."""
    model = demo(precision)
    texts = mixture(model)
    together = list(model.score_continuations(texts, rows=rows))
    for each, score in zip(texts, together, strict=True):
        (alone,) = model.score_continuations([each])
        assert (score.top_ids == alone.top_ids).all()
        tolerance = 1e-5 if precision == "fp32" else 0.0
        assert np.abs(score.logprobs - alone.logprobs).max() <= tolerance


def fed_by(
    model: Model, texts: list[Continuation], monkeypatch: pytest.MonkeyPatch
) -> tuple[list[tuple[int, int]], list[ContinuationScore]]:
    """Rows and positions of each step that scores ``texts``, and the scores."""
    forward, shapes = model.session.forward, list[tuple[int, int]]()

    def counted(ids: npt.NDArray[np.int64], *args: object, **keywords: object) -> object:
        shapes.append(ids.shape)
        return forward(ids, *args, **keywords)  # type: ignore[arg-type]

    assert model.shares_steps  # runs the model, so not below
    with monkeypatch.context() as patch:
        patch.setattr(model.session, "forward", counted)
        scores = list(model.score_continuations(texts))
    return shapes, scores


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_a_common_prefix_is_fed_once(
    demo: Callable[[str], Model], precision: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    question = list(range(100, 300))
    texts = [Continuation(question, [*range(at, at + 12)]) for at in (5, 50, 500, 5)]
    shapes, _ = fed_by(demo(precision), texts, monkeypatch)
    assert sum(rows * length for rows, length in shapes) < len(question) + 4 * 14


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_short_texts_share_steps_with_little_padding(
    demo: Callable[[str], Model], precision: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(1)
    texts = [
        Continuation(rng.integers(0, 4000, length).tolist(), [1, 2])
        for length in rng.integers(10, 30, 64)
    ]
    shapes, _ = fed_by(demo(precision), texts, monkeypatch)
    needed = sum(len(each.context) + 1 for each in texts)
    assert len(shapes) < 16
    assert sum(rows * length for rows, length in shapes) < 1.15 * needed


def test_answers_of_one_token_take_one_step(
    demo: Callable[[str], Model], monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = [Continuation([5, 6, 7], [token_id]) for token_id in (1, 2, 3, 4)]
    shapes, _ = fed_by(demo("fp32"), texts, monkeypatch)
    assert shapes == [(1, 3)]


def test_only_logits_that_count_are_computed(
    demo: Callable[[str], Model], monkeypatch: pytest.MonkeyPatch
) -> None:
    model, kept = demo("fp32"), list[int]()
    forward = model.session.forward

    def counted(ids: npt.NDArray[np.int64], *args: object, keep: int, **keywords: object) -> object:
        kept.append(keep)
        return forward(ids, *args, keep=keep, **keywords)  # type: ignore[arg-type]

    ids = list(range(model.config.n_positions))
    with monkeypatch.context() as patch:
        patch.setattr(model.session, "forward", counted)
        list(model.score_continuations([Continuation(ids[:-5], ids[-5:])]))
    assert sum(kept) == 5 + len(kept) - 1


@pytest.mark.parametrize("top", [0, 1, 2, 4000])
def test_the_most_probable_ids(demo: Callable[[str], Model], top: int) -> None:
    model, each = demo("fp32"), Continuation([7, 8], [9, 10, 11])
    (score,) = model.score_continuations([each], top=top)
    order = (-plain(model, each)).argsort(kind="stable")[:, :top]
    assert score.top_ids.shape == (3, top)
    assert (score.top_ids == order).all()


def test_float_exponentials_are_exact_enough() -> None:
    rng = np.random.default_rng(2)
    for spread in (0.1, 1, 4, 20):
        logits = rng.normal(-90, spread, (20, 50257)).astype(np.float32)
        ids = rng.integers(0, 50257, 20)
        wanted = log_softmax(logits)[np.arange(20), ids]
        found = scored(logits, ids.tolist(), 1)
        assert found.logprobs == pytest.approx(wanted, rel=0, abs=5e-7)
        assert (found.top_ids[:, 0] == logits.argmax(-1)).all()


def test_an_endless_iterable_is_read_a_little_ahead(demo: Callable[[str], Model]) -> None:
    model, read = demo("fp32"), list[int]()

    def endless() -> Iterator[Continuation]:
        for number in count():
            read.append(number)
            yield Continuation([number % 4000, 2, 3, 4, 5, 6, 7], [8])

    scores = list(islice(model.score_continuations(endless()), 3))
    assert len(scores) == 3
    assert len(read) <= AHEAD_TOKENS // 7 + 4


def test_windows_are_read_as_they_are_scored(demo: Callable[[str], Model]) -> None:
    model, ids = demo("fp32"), list(range(700))
    windows = [
        Continuation(ids[at : at + 200], ids[at + 200 : at + 400]) for at in (0, 100, 200, 300)
    ]
    read = list[int]()

    def reading() -> Iterator[Continuation]:
        for number, each in enumerate(windows):
            read.append(number)
            yield each

    for number, _ in enumerate(model.score_continuations(reading())):
        assert len(read) <= number + 3


def test_bad_continuations_are_refused_by_number(demo: Callable[[str], Model]) -> None:
    model = demo("fp32")
    longest, last = model.config.n_positions, model.config.vocab_size - 1
    good = Continuation([1], [2])
    for bad, message in (
        (Continuation([], [1]), "continuation 1 has no context"),
        (Continuation([1], []), "continuation 1 has no ids to score"),
        (
            Continuation([1] * longest, [1] * 3),
            f"continuation 1 has {longest} ids of context and 3 to score, but the model takes {longest + 1}",
        ),
        (Continuation([1], [last + 1]), f"continuation 1 holds id {last + 1}, .* 0 to {last}"),
        (Continuation([-1], [1]), "continuation 1 holds id -1"),
    ):
        with pytest.raises(RequestError, match=message):
            list(model.score_continuations([good, bad]))
    for top, rows in ((-1, 1), (last + 2, 1), (1, 0), (1, 2.5)):
        with pytest.raises(RequestError, match="has to be"):
            model.score_continuations([good], top=top, rows=rows)  # type: ignore[arg-type]


def test_the_longest_continuation_fits(demo: Callable[[str], Model]) -> None:
    model = demo("int8")
    ids = [number % 4000 for number in range(model.config.n_positions + 1)]
    for cut in (1, len(ids) - 1):
        each = Continuation(ids[:cut], ids[cut:])
        (score,) = model.score_continuations([each])
        assert score.logprobs == pytest.approx(chosen(plain(model, each), each), abs=1e-5)


def test_nothing_to_score(demo: Callable[[str], Model]) -> None:
    assert list(demo("fp32").score_continuations([])) == []
