"""Replaying published outputs: sessions that realise them, and sessions that do not."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import tokenizers
from tests.runtime.fakes import FakeSession
from tokenizers import decoders, models, pre_tokenizers

from gpt2xl import ParityError
from gpt2xl.bundle.bundle import open_bundle
from gpt2xl.decoding.samplers import greedy
from gpt2xl.sessions.opening import open_session
from gpt2xl.startup.options import LoadOptions
from gpt2xl_export.verification.published import Continuation, Published, Score, Table, published
from gpt2xl_export.verification.replay import (
    check_continuations,
    check_scores,
    check_tables,
    processed,
)

NAMES = ("gpt2", "gpt2-xl", "distilgpt2")
VOCAB = 50257
Row = npt.NDArray[np.float32]


class TableSession(FakeSession):
    """Gives the logits of a table of contexts, and zeros after other ids."""

    def __init__(self, rows: dict[tuple[int, ...], Row]) -> None:
        self.rows = rows
        super().__init__(
            lambda ids: self.rows.get(tuple(ids), np.zeros(VOCAB, np.float32)),
            n_positions=1024,
            vocab_size=VOCAB,
        )


def known(name: str) -> Published:
    found = published(name)
    assert found is not None
    return found


def probable(chances: Mapping[int, float]) -> Row:
    """Logits of a distribution; the other ids share what is left."""
    rest = (1 - sum(chances.values())) / (VOCAB - len(chances))
    logits = np.full(VOCAB, np.log(rest), np.float32)
    for token_id, chance in chances.items():
        logits[token_id] = np.log(chance)
    return logits


def realise_continuations(records: Sequence[Continuation]) -> TableSession:
    """What was published leads by far; an id that is banned there leads even more."""
    rows = {}
    for record in records:
        for start, end in record.greedy:
            for position in range(start, end):
                logits = np.zeros(VOCAB, np.float32)
                logits[record.ids[position]] = 10
                logits[list(record.banned)] = 20
                rows[tuple(record.ids[:position])] = logits
    return TableSession(rows)


def realise_table(record: Table) -> TableSession:
    """A session that gives exactly the figures of one table."""
    figures = dict(record.figures)
    if record.unit in ("probability", "percent"):
        divisor = 100 if record.unit == "percent" else 1
        logits = probable({token_id: value / divisor for token_id, value in figures.items()})
    else:
        others = (
            -sum(figures.values()) / (VOCAB - len(figures)) if "centred" in record.unit else -900
        )
        logits = np.full(VOCAB, others, np.float32)
        logits[list(figures)] = list(figures.values())
        logits += 7 if record.unit in ("gap", "centred logit") else 0  # a shift is no difference
    return TableSession({tuple(record.ids): logits})


def realise_score(record: Score) -> TableSession:
    """A session by which each token of one record is as probable as the average."""
    count = sum(len(row) - record.first for row in record.rows)
    nll = -record.value / count if record.value < 0 else record.value
    rows = {}
    for row in record.rows:
        for position in range(record.first, len(row)):
            rows[tuple(row[:position])] = probable({row[position]: float(np.exp(-nll))})
    return TableSession(rows)


TABLES = [
    pytest.param(t, id=f"{n}-{t.prompt[-15:]}-{t.unit}") for n in NAMES for t in known(n).tables
]
SCORES = [pytest.param(s, id=f"{n}-{s.about}") for n in NAMES for s in known(n).scores]


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ("gpt2", "gpt2"),
        ("gpt2-xl", "gpt2-xl"),
        ("openai-community/gpt2-xl", "gpt2-xl"),
        ("distilbert/distilgpt2", "distilgpt2"),
        ("models\\GPT2-XL@15ea56dee5df", "gpt2-xl"),
    ],
)
def test_a_model_is_known_by_the_last_part_of_its_name(source: str, name: str) -> None:
    assert known(source).name == name


@pytest.mark.parametrize("source", ["", "demo", "gpt2-medium", "gpt2-xl-finetuned", "gpt2/other"])
def test_nothing_is_known_of_other_models(source: str) -> None:
    assert published(source) is None


@pytest.mark.parametrize(
    ("name", "counts"), [("gpt2", (13, 6, 2)), ("gpt2-xl", (3, 13, 3)), ("distilgpt2", (2, 0, 0))]
)
def test_what_is_known_of_each_model(name: str, counts: tuple[int, int, int]) -> None:
    model = known(name)
    assert (len(model.continuations), len(model.tables), len(model.scores)) == counts
    assert model.config["vocab_size"] == VOCAB


@pytest.mark.parametrize("name", NAMES)
def test_every_id_is_in_the_vocabulary_and_every_text_in_the_context(name: str) -> None:
    model = known(name)
    rows = [record.ids for record in model.continuations]
    rows += [record.ids for record in model.tables]
    rows += [row for record in model.scores for row in record.rows]
    for row in rows:
        assert 0 <= min(row) <= max(row) < VOCAB
        assert len(row) <= model.config["n_positions"]
    for record in model.continuations:
        assert all(0 < start < end <= len(record.ids) for start, end in record.greedy)


def test_the_ids_are_those_of_the_prompts(shared_data: Path) -> None:
    vocabulary = json.loads((shared_data / "tokenizer" / "encoder.json").read_text("utf-8"))
    lines = (shared_data / "tokenizer" / "vocab.bpe").read_text("utf-8").splitlines()[1:]
    merges = [(left, right) for left, right in (line.split() for line in lines)]
    tokenizer = tokenizers.Tokenizer(models.BPE(vocabulary, merges))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    for name in NAMES:
        model = known(name)
        for record in model.continuations:
            assert tokenizer.encode(record.prompt).ids == record.ids[: record.greedy[0][0]]
        for table in model.tables:
            ids = table.ids[table.ids[0] == 50256 :]
            assert tokenizer.encode(table.prompt.removeprefix("<|endoftext|>")).ids == ids


@pytest.mark.parametrize("exact", [True, False])
@pytest.mark.parametrize("name", NAMES)
def test_a_model_that_continues_as_published_passes(name: str, exact: bool) -> None:
    records = known(name).continuations
    count = sum(end - start for record in records for start, end in record.greedy)
    detail = check_continuations(records, realise_continuations(records), exact)
    assert detail == f"{len(records)} continuations, {count} of {count} tokens as published"


@pytest.mark.parametrize("name", NAMES)
def test_one_other_token_fails_and_names_the_prompt(name: str) -> None:
    records = known(name).continuations
    session = realise_continuations(records)
    position = records[-1].greedy[-1][1] - 1
    session.rows[tuple(records[-1].ids[:position])][5] = 30
    with pytest.raises(ParityError) as error:
        check_continuations(records, session, exact=True)
    assert repr(records[-1].prompt)[-30:-2] in str(error.value)
    assert (
        f"token {position} is {records[-1].ids[position]}, but here it is 5, whose logit is 2"
        in str(error.value)
    )
    assert records[-1].source in str(error.value)


def test_a_near_tie_may_fall_either_way() -> None:
    records = known("gpt2").continuations[:1]
    session = realise_continuations(records)
    logits = session.rows[tuple(records[0].ids[:5])]
    logits[5] = 10.01
    check_continuations(records, session, exact=True)
    logits[5] = 10.03
    with pytest.raises(ParityError, match=r"'The dog'.*token 5 is"):
        check_continuations(records, session, exact=True)


def test_a_lossy_precision_may_differ_in_a_third_of_the_tokens() -> None:
    record = Continuation("nowhere", "prompt", [1, 2, 3, 4], [[1, 4]])
    session = realise_continuations([record])
    session.rows[1,][9] = 11
    detail = check_continuations([record], session, exact=False)
    assert detail == "1 continuations, 2 of 3 tokens as published"
    session.rows[1, 2][9] = 11
    with pytest.raises(ParityError, match="only 1 of 3 tokens"):
        check_continuations([record], session, exact=False)


class BrokenSession(TableSession):
    """Gives NaN."""

    def forward(
        self, input_ids: npt.NDArray[np.int64], cache: Any, *, keep: int = 1, cancel: Any = None
    ) -> Row:
        return np.full((1, 1, VOCAB), np.nan, np.float32)


@pytest.mark.parametrize("exact", [True, False])
def test_logits_that_are_no_numbers_never_pass(exact: bool) -> None:
    model, session = known("gpt2"), BrokenSession({})
    with pytest.raises(ParityError):
        check_continuations(model.continuations, session, exact)
    with pytest.raises(ParityError):
        check_tables(model.tables, session, exact)
    with pytest.raises(ParityError):
        check_scores(model.scores, session, exact)


@pytest.mark.parametrize("record", TABLES)
def test_a_model_with_the_published_figures_passes(record: Table) -> None:
    for exact in (True, False):
        assert "as published" in check_tables([record], realise_table(record), exact)


@pytest.mark.parametrize("record", TABLES)
def test_a_figure_that_is_off_fails_and_names_the_prompt(record: Table) -> None:
    session = realise_table(record)
    token_id = record.figures[0 if record.unit == "gap" else -1][0]
    session.rows[tuple(record.ids)][token_id] += 0.1
    with pytest.raises(ParityError) as error:
        check_tables([record], session, exact=True)
    assert repr(record.prompt)[-30:-2] in str(error.value)
    assert f"the {record.unit} of token {token_id} is " in str(error.value)


@pytest.mark.parametrize("record", SCORES)
def test_a_model_with_the_published_score_passes(record: Score) -> None:
    detail = check_scores([record], realise_score(record), exact=True)
    assert detail.startswith("1 scores as published")


@pytest.mark.parametrize(("nats", "exact"), [(0.03, True), (0.6, False)])
@pytest.mark.parametrize("record", SCORES)
def test_a_score_that_is_off_fails_and_names_the_text(
    record: Score, nats: float, exact: bool
) -> None:
    count = sum(len(row) - record.first for row in record.rows)
    shift = nats * count if record.value < 0 else nats
    other = replace(record, value=record.value - shift)
    if not exact:
        check_scores(
            [record], realise_score(replace(record, value=record.value - shift / 2)), exact
        )
    with pytest.raises(ParityError) as error:
        check_scores([record], realise_score(other), exact)
    assert f"({record.about}): the {record.unit} is {record.value}, but here" in str(error.value)
    assert repr(record.prompt)[-30:-2] in str(error.value)


def test_a_lossy_precision_only_needs_the_first_of_a_table() -> None:
    record = Table("nowhere", "prompt", [1], "logit", 0.0, [(4, -3.0), (5, -4.0)])
    session = realise_table(record)
    session.rows[1,][[4, 5]] = -1, -2
    assert "1 of the first tokens" in check_tables([record], session, exact=False)
    session.rows[1,][5] = 0
    with pytest.raises(ParityError, match="only 0 of 1 tokens"):
        check_tables([record], session, exact=False)


def test_a_penalty_lowers_what_was_seen_and_an_n_gram_is_not_repeated() -> None:
    logits = np.array([-1.0, 2.0, 3.0, 4.0, 5.0])
    record = Continuation("", "", [], [], repetition_penalty=2.0)
    assert processed(logits, record, [0, 1]).tolist() == [-2, 1, 3, 4, 5]
    banned = replace(record, repetition_penalty=1.0, no_repeat_ngram_size=2, banned=[4])
    never = -np.inf
    assert processed(logits, banned, [1, 3, 2, 1]).tolist() == [-1, 2, 3, never, never]
    three = replace(banned, no_repeat_ngram_size=3, banned=[])
    assert processed(logits, three, [1, 3, 2, 1]).tolist() == [-1, 2, 3, 4, 5]
    assert processed(logits, three, [1, 3, 2, 1, 3]).tolist() == [-1, 2, never, 4, 5]
    assert logits.tolist() == [-1, 2, 3, 4, 5]


def test_a_real_session_is_replayed_as_it_generates(bundle: Path) -> None:
    session = open_session(open_bundle(bundle), LoadOptions(provider="cpu"))
    cache, ids = session.new_cache(), [5, 6, 7]
    logits = session.forward(np.array([ids]), cache)[:, -1][0]
    for _ in range(12):
        ids.append(greedy(logits))
        logits = session.forward(np.array([ids[-1:]]), cache)[:, -1][0]
    record = Continuation("nowhere", "prompt", ids, [[3, 5], [9, 15]])
    assert "8 of 8" in check_continuations([record], session, exact=True)
    table = Table("nowhere", "prompt", ids, "logit", 0.0, [(greedy(logits), float(logits.max()))])
    assert "1 figures" in check_tables([table], session, exact=True)
    ids[10] = (ids[10] + 1) % 256
    with pytest.raises(ParityError, match="token 10 is"):
        check_continuations([record], session, exact=True)
