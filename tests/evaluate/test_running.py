"""A run goes on from what an earlier one has measured."""

from pathlib import Path

import pytest

import gpt2xl
from gpt2xl_eval.options import EvalOptions
from gpt2xl_eval.running import evaluate
from gpt2xl_eval.task import Measured
from gpt2xl_eval.tasks import make_task

TEXT = "Once upon a time there was a king who had a fair daughter. " * 6


@pytest.mark.parametrize("before", [0, 1, 3, 99])
def test_what_is_done_is_not_scored_again_and_the_figures_are_the_same(
    before: int, bundle: Path, tmp_path: Path
) -> None:
    (tmp_path / "text.txt").write_text(TEXT)
    model = gpt2xl.load(bundle)
    options = EvalOptions(context=32, stride=16)
    task = make_task(
        "perplexity", tmp_path / "text.txt", model.tokenizer, model.config.n_positions, options
    )
    whole, rest = list[Measured](), list[Measured]()
    wanted = evaluate(model, task, keep=whole.append)
    count = len(task.continuations)
    assert len(whole) == wanted.counts["continuations"] == count > 4
    done = whole[: min(before, count)]
    found = evaluate(model, task, done=done, keep=rest.append)
    assert len(rest) == count - len(done)
    assert found.figures == pytest.approx(wanted.figures, rel=1e-6)
    assert found.counts == wanted.counts
