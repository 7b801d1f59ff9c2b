"""Checks of published outputs."""

from collections.abc import Callable
from pathlib import Path

import pytest
from tests.export.verification.tampering import (
    change_manifest,
    failure,
)

from gpt2xl import load
from gpt2xl_export.verification.published import Continuation, Published, Score, Table
from gpt2xl_export.verification.verify import Check, verify


@pytest.mark.parametrize(
    "name", ["gpt2-xl", "openai-community/gpt2-xl", "gpt2", "distilbert/distilgpt2"]
)
def test_a_wrong_model_of_a_known_name_is_refused(copy: Path, name: str) -> None:
    change_manifest(copy, source={"name": name})
    check = failure(copy)
    assert check.name == "published"
    known = name.rpartition("/")[2]
    assert check.detail == (
        f"'gpt2xl.json' names '{name}', but vocab_size is 289, {known}'s is 50257."
    )


def known_of(folder: Path) -> Published:
    """What the model in ``folder`` gives itself, as if somebody had published it."""
    model = load(folder, provider="cpu")
    result = model.generate("Once upon", greedy=True, max_new_tokens=9)
    ids = [*result.prompt_ids, *result.new_ids]
    start = Continuation("a book", "Once upon", ids, [[len(result.prompt_ids), len(ids)]])
    return Published("tiny", {"vocab_size": 289}, [start], [], [])


@pytest.fixture
def publish(monkeypatch: pytest.MonkeyPatch) -> Callable[[Published], None]:
    return lambda known: monkeypatch.setattr(
        "gpt2xl_export.verification.bundle_under_test.published", lambda _: known
    )


def test_published_outputs_are_replayed(bundle: Path, publish: Callable[[Published], None]) -> None:
    publish(known_of(bundle))
    checks = {check.name: check for check in verify(bundle)}
    assert checks["published"].detail == "of tiny there are 1 continuations, 0 tables and 0 scores"
    assert checks["continuations"].detail == "1 continuations, 9 of 9 tokens as published"
    assert checks["tables"] == Check("tables", "skipped", "none have been published for tiny")


def test_published_outputs_that_differ_are_found(
    bundle: Path, publish: Callable[[Published], None]
) -> None:
    known = known_of(bundle)
    known.continuations[0].ids[-1] ^= 1
    publish(known)
    check = failure(bundle)
    assert check.name == "continuations"
    assert check.detail.startswith("'Once upon', published in a book: token ")
    publish(Published("tiny", {}, [], [Table("a book", "Once", [3], "logit", 0.1, [(4, 1e3)])], []))
    assert "the logit of token 4 is 1000.0, but here " in failure(bundle).detail
    unit = "mean negative log-likelihood"
    publish(
        Published(
            "tiny", {}, [], [], [Score("a book", "whole", "Once", [[3, 4]], 1, unit, 99.0, 0)]
        )
    )
    assert f"(whole): the {unit} is 99.0, but here " in failure(bundle).detail
