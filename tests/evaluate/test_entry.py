"""Options of a task: its own defaults under the given ones, checked before anything is computed."""

import re
from dataclasses import replace

import pytest

from gpt2xl import RequestError
from gpt2xl_eval.entry import TaskEntry, filled_in
from gpt2xl_eval.options import EvalOptions
from gpt2xl_eval.tasks import entry_of

ENTRY = TaskEntry(
    entry_of("perplexity").make,
    "A task.",
    "a file",
    defaults=EvalOptions(detokenizer="none", denominator="word", prefix="endoftext"),
    options=frozenset({"stride", "context", "prefix"}),
)


def test_what_is_not_given_is_the_task_s_or_follows_from_the_model() -> None:
    wanted = replace(ENTRY.defaults, context=96, stride=48)
    assert filled_in("a", ENTRY, EvalOptions(), 96) == wanted
    given = EvalOptions(context=10, prefix="none", limit=3)
    found = filled_in("a", ENTRY, given, 96)
    assert (found.context, found.stride, found.prefix, found.limit) == (10, 5, "none", 3)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (
            EvalOptions(context=97),
            "context has to be from 2 to 96, the model's n_positions, but is 97.",
        ),
        (EvalOptions(context=1), "context has to be from 2 to 96"),
        (EvalOptions(context=8, stride=9), "stride has to be from 1 to the context, 8, but is 9."),
        (EvalOptions(stride=0), "stride has to be from 1 to the context, 96, but is 0."),
        (EvalOptions(stride=-3), "but is -3."),
        (EvalOptions(limit=0), "limit has to be >= 1, but is 0."),
        (EvalOptions(denominator="byte"), "task a has no denominator: leave --denominator out."),
        (EvalOptions(detokenizer="none"), "task a has no detokenizer: leave --detokenizer out."),
    ],
)
def test_options_out_of_range_are_refused(given: EvalOptions, message: str) -> None:
    with pytest.raises(RequestError, match=re.escape(message)):
        filled_in("a", ENTRY, given, 96)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("perplexty", "there is no task 'perplexty'; did you mean 'perplexity'?"),
        ("zebra", "there is no task 'zebra'; tasks are "),
    ],
)
def test_an_unknown_task_is_told_with_the_one_most_like_it(name: str, message: str) -> None:
    with pytest.raises(RequestError, match=re.escape(message)):
        entry_of(name)
