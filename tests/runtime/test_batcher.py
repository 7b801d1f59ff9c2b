"""Texts with options of their own that share steps: each is the text alone, an error ends one text only."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from gpt2xl import Batcher, Generation, GenerationOptions, Grammar, Model, RequestError
from gpt2xl.errors import BundleError
from gpt2xl.sessions.protocol import Logits

LONG = "Once upon a time there was a king who had a fair daughter. " * 6
CASES: list[tuple[str, dict[str, Any]]] = [
    ("Once", {"seed": 1}),
    ("The king", {"greedy": True}),
    (LONG, {"seed": 2, "top_p": 0.9}),
    ("The wolf", {"seed": 3, "stop_strings": ("e",)}),
    ("", {"seed": 4, "logprobs": 2, "prompt_logprobs": 1}),
    (LONG + "The wolf", {"seed": 5, "prompt_logprobs": 3}),
    ("She", {"greedy": True, "repetition_penalty": 1.3, "max_new_tokens": 3}),
]


def run(batcher: Batcher) -> tuple[dict[int, Generation], dict[int, str], dict[int, Exception]]:
    """Until it is idle: whole texts, their pieces together, and errors."""
    texts, pieces, errors = dict[int, Generation](), dict[int, str](), dict[int, Exception]()
    while not batcher.is_idle:
        for update in batcher.step():
            if update.piece:
                pieces[update.number] = pieces.get(update.number, "") + update.piece.text
            if update.generation:
                texts[update.number] = update.generation
            if update.error:
                errors[update.number] = update.error
    return texts, pieces, errors


def facts(text: Generation) -> tuple[object, ...]:
    return text.text, text.new_ids, text.finish_reason, text.seed, text.stop_string


@pytest.mark.parametrize("precision", ["fp32", "int8"])
@pytest.mark.parametrize("rows", [1, 3, 16])
def test_each_text_is_the_one_alone(
    demo: Callable[[str], Model], precision: str, rows: int
) -> None:
    model, options = demo(precision), GenerationOptions(max_new_tokens=12)
    batcher = model.batcher(rows=rows, prefix_bytes=1 << 24)
    wanted, numbers = dict[int, Generation](), list[int]()
    for _ in range(2):  # the second time with prompts that are kept
        for prompt, own in CASES:
            number = batcher.submit(prompt, replace(options, **own))
            wanted[number] = model.generate(prompt, options, **own)
            numbers.append(number)
        texts, pieces, errors = run(batcher)
        assert not errors
        for number in texts:
            assert facts(texts[number]) == facts(wanted[number])
            assert pieces[number] == texts[number].text
            assert close(texts[number].logprobs, wanted[number].logprobs)
            assert close(texts[number].prompt_logprobs, wanted[number].prompt_logprobs)
    assert batcher.prefixes
    assert batcher.prefixes.reused_tokens > 0


def close(found: Sequence[Any] | None, wanted: Sequence[Any] | None) -> bool:
    if found is None or wanted is None:
        return found is wanted
    values = [[each.token if each else 0.0 for each in some] for some in (found, wanted)]
    return bool(np.allclose(values[0], values[1], atol=1e-4))


def bad_processor(ids: Sequence[int], logits: Logits) -> Logits:
    if len(ids) >= 6:
        raise KeyError("mine")
    return logits


def test_an_error_of_one_text_leaves_the_others_alone(demo: Callable[[str], Model]) -> None:
    model, options = demo("int8"), GenerationOptions(max_new_tokens=12, greedy=True)
    batcher = model.batcher(rows=3)
    bad = batcher.submit("Once upon", replace(options, processors=(bad_processor,)))
    at_once = batcher.submit(LONG, replace(options, processors=(bad_processor,)))
    good = [batcher.submit(prompt, options) for prompt in ("The king", "A", "She")]
    texts, _, errors = run(batcher)
    assert set(errors) == {bad, at_once}
    assert {str(error) for error in errors.values()} == {"'mine'"}
    alone = [model.generate(prompt, options).text for prompt in ("The king", "A", "She")]
    assert [texts[number].text for number in good] == alone
    assert (batcher.running, batcher.waiting) == (0, 0)


def test_a_failed_run_ends_the_texts_of_the_run_and_later_ones_go_on(
    demo: Callable[[str], Model], monkeypatch: pytest.MonkeyPatch
) -> None:
    model, options = demo("int8"), GenerationOptions(max_new_tokens=5, greedy=True)
    batcher = model.batcher(rows=2)
    numbers = [batcher.submit(prompt, options) for prompt in ("The king", "A", "She")]
    batcher.step()

    def fail(*_: object, **__: object) -> None:
        raise BundleError("no")

    with monkeypatch.context() as patch:
        patch.setattr(model.session, "forward_top", fail)
        failed = {update.number: update.error for update in batcher.step()}
    assert set(failed) == set(numbers[:2])
    texts, _, errors = run(batcher)
    assert not errors
    assert texts[numbers[2]].text == model.generate("She", options).text


def test_cancelled_texts_have_no_more_updates(demo: Callable[[str], Model]) -> None:
    model, options = demo("fp32"), GenerationOptions(max_new_tokens=30, ignore_eos=True)
    batcher = model.batcher(rows=1)
    running, waiting = batcher.submit("Once", options), batcher.submit("The", options)
    assert {update.number for update in batcher.step()} == {running}
    assert (batcher.running, batcher.waiting) == (1, 1)
    for number in (running, waiting, running):
        batcher.cancel(number)
    assert batcher.step() == []
    assert batcher.is_idle
    assert (batcher.running, batcher.waiting) == (0, 0)


def test_what_is_no_single_text_is_refused(demo: Callable[[str], Model]) -> None:
    batcher = demo("fp32").batcher()
    for options in (GenerationOptions(num_return_sequences=2), GenerationOptions(num_beams=2)):
        with pytest.raises(RequestError, match="gives whole texts"):
            batcher.submit("Once", options)
    with pytest.raises(RequestError, match="the prompt has"):
        batcher.submit([5] * 5000, GenerationOptions())
    with pytest.raises(RequestError, match="prefix_bytes"):
        demo("fp32").batcher(prefix_bytes=-1)


def test_a_grammar_that_allows_nothing_is_an_error_of_its_text(
    demo: Callable[[str], Model],
) -> None:
    pytest.importorskip("llguidance")
    batcher = demo("fp32").batcher(rows=2)
    options = GenerationOptions(grammar=Grammar.regex("a+b"), allowed_token_ids=(3,), seed=1)
    number = batcher.submit("Once", options)
    other = batcher.submit("Once", GenerationOptions(max_new_tokens=2))
    texts, _, errors = run(batcher)
    assert isinstance(errors[number], RequestError)
    assert set(texts) == {other}
