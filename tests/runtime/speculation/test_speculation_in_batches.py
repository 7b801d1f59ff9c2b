"""A text that decodes alone in a batcher feeds draft tokens, and is the text of plain decoding in any company."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gpt2xl import Batcher, Generation, GenerationOptions, Model
from gpt2xl.decoding.drafting import DraftModel, PromptLookup
from gpt2xl.decoding.scheduler import Scheduler
from gpt2xl.decoding.speculation import Experience
from gpt2xl.decoding.speculation_costs import SpeculationCosts
from gpt2xl.preparing import Preparer
from gpt2xl.speculating import Speculation

RHYME = "The king said no, and the king said yes, and the king said no, and the king said"
CASES: list[tuple[str, dict[str, Any]]] = [
    (RHYME, {"greedy": True, "max_new_tokens": 120}),
    (RHYME, {"seed": 3, "top_k": 2, "max_new_tokens": 24}),
    (RHYME, {"greedy": True, "stop_strings": (" yes",), "max_new_tokens": 24}),
    (RHYME, {"greedy": True, "logprobs": 1, "max_new_tokens": 9}),
    (RHYME, {"greedy": True, "overflow": "slide", "max_new_tokens": 12}),
    ("Once", {"seed": 1, "max_new_tokens": 5}),
    (RHYME, {"greedy": True, "repetition_penalty": 1.2, "max_new_tokens": 16}),
]


class Eager(SpeculationCosts):
    """Drafts whenever there is something to draft."""

    def choose(self, room: int) -> int:
        return max((count for count in (1, 3, 7) if count <= room), default=0)


def eager_batcher(model: Model, rows: int, draft: Model | None = None) -> Batcher:
    preparer = Preparer(model.config, model.tokenizer, model.session)
    experience, tolerance = Experience(Eager(plain_seconds=1.0)), model.exactness.tolerance
    drafter = DraftModel(draft.session) if draft else None
    speculation = Speculation(
        lambda: drafter or PromptLookup(), experience, tolerance, is_lookup=draft is None
    )
    scheduler = Scheduler(model.session, rows=rows)
    return Batcher(preparer, model.tokenizer, scheduler, speculation)


def facts(text: Generation) -> tuple[object, ...]:
    return text.text, text.new_ids, text.finish_reason, len(text.logprobs or ())


def run(batcher: Batcher, arrivals: list[tuple[int, str, GenerationOptions]]) -> list[Generation]:
    """The texts by their place in ``arrivals``, each of which is (steps before it, prompt, options)."""
    numbers, texts = list[int](), dict[int, Generation]()
    for wait, prompt, options in arrivals:
        for _ in range(wait):
            take(batcher, texts)
        numbers.append(batcher.submit(prompt, options))
    while not batcher.is_idle:
        take(batcher, texts)
    return [texts[number] for number in numbers]


def take(batcher: Batcher, texts: dict[int, Generation]) -> None:
    for update in batcher.step():
        assert update.error is None
        assert update.number not in texts  # nothing after the end
        if update.generation:
            texts[update.number] = update.generation


@pytest.mark.parametrize("precision", ["fp32", "int8"])
@pytest.mark.parametrize("drafts", [False, True], ids=["prompt lookup", "draft"])
def test_a_text_alone_takes_draft_tokens(
    demo: Callable[[str], Model], precision: str, drafts: bool
) -> None:
    model = demo(precision)
    batcher = eager_batcher(model, 3, demo("int8") if drafts else None)
    for prompt, own in CASES:
        options = replace(GenerationOptions(), **own)
        (found,) = run(batcher, [(0, prompt, options)])
        wanted = model.generate(prompt, options, prompt_lookup=False)
        assert facts(found) == facts(wanted)
    assert batcher.acceptance.accepted > 10


@settings(max_examples=15, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 6), st.integers(0, len(CASES) - 1)), min_size=1, max_size=5),
    st.integers(1, 3),
)
def test_company_that_comes_and_goes_changes_no_text(
    wanted_texts: tuple[Model, list[Generation]], arrivals: list[tuple[int, int]], rows: int
) -> None:
    model, wanted = wanted_texts
    given_texts = [
        (wait, CASES[case][0], replace(GenerationOptions(), **CASES[case][1]))
        for wait, case in arrivals
    ]
    found = run(eager_batcher(model, rows), given_texts)
    assert [facts(text) for text in found] == [facts(wanted[case]) for _, case in arrivals]


@pytest.fixture(scope="module")
def wanted_texts(demo: Callable[[str], Model]) -> tuple[Model, list[Generation]]:
    model = demo("int8")
    return model, [model.generate(prompt, prompt_lookup=False, **own) for prompt, own in CASES]


def test_the_option_turns_prompt_lookup_off_but_no_draft_model(
    demo: Callable[[str], Model],
) -> None:
    model, options = demo("int8"), GenerationOptions(greedy=True, prompt_lookup=False)
    for draft, is_used in ((None, False), (model, True)):
        batcher = eager_batcher(model, 2, draft)
        run(batcher, [(0, RHYME, options)])
        assert (batcher.acceptance.guessed > 0) is is_used


def test_a_failed_step_with_draft_tokens_ends_the_text(
    demo: Callable[[str], Model], monkeypatch: pytest.MonkeyPatch
) -> None:
    model, options = demo("int8"), GenerationOptions(greedy=True, max_new_tokens=24)
    batcher = eager_batcher(model, 2)
    number = batcher.submit(RHYME, options)

    def fail(*_: object, **__: object) -> None:
        raise MemoryError("no room")

    with monkeypatch.context() as patch:
        patch.setattr(model.session, "forward", fail)  # steps of one token use forward_top
        updates = []
        while not batcher.is_idle:
            updates += batcher.step()
    assert isinstance(updates[-1].error, MemoryError)
    assert {update.number for update in updates} == {number}
    (after,) = run(batcher, [(0, RHYME, options)])
    assert facts(after) == facts(model.generate(RHYME, options, prompt_lookup=False))
