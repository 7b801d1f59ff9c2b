"""Several texts of one prompt."""

from collections.abc import Callable
from typing import Any

import pytest

from gpt2xl import Generation, GenerationOptions, Model, RequestError

PROMPT = "Once upon a time"


def facts(texts: list[Generation]) -> list[tuple[object, ...]]:
    return [(text.seed, text.new_ids, text.text, text.finish_reason) for text in texts]


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_each_is_the_text_of_its_seed(demo: Callable[[str], Model], precision: str) -> None:
    model, options = demo(precision), GenerationOptions(max_new_tokens=30, seed=5)
    texts = model.generate_sequences(PROMPT, options, num_return_sequences=3)
    alone = [model.generate(PROMPT, options, seed=seed) for seed in (5, 6, 7)]
    assert facts(texts) == facts(alone)
    assert len({text.text for text in texts}) == 3
    more = model.generate_sequences(
        PROMPT, options, num_return_sequences=18
    )  # more than share a step
    assert facts(more)[:3] == facts(texts)
    assert [text.seed for text in more] == list(range(5, 23))


def test_one_is_the_text_of_generate(demo: Callable[[str], Model]) -> None:
    model, options = demo("fp32"), GenerationOptions(max_new_tokens=9, greedy=True)
    (text,) = model.generate_sequences(PROMPT, options)
    assert facts([text]) == facts([model.generate(PROMPT, options)])
    (drafted,) = model.generate_sequences(PROMPT, options, draft=demo("draft"))
    assert drafted.new_ids == text.new_ids


def test_seeds_are_drawn_where_none_is_given(demo: Callable[[str], Model]) -> None:
    texts = demo("fp32").generate_sequences(PROMPT, num_return_sequences=2, max_new_tokens=3)
    first, second = (text.seed for text in texts)
    assert first is not None
    assert second == first + 1


def test_beams_come_with_the_best_first(demo: Callable[[str], Model]) -> None:
    model = demo("fp32")
    options: dict[str, Any] = {"num_beams": 4, "greedy": True, "max_new_tokens": 12}
    texts = model.generate_sequences(PROMPT, num_return_sequences=3, **options)
    scores = [text.score for text in texts if text.score is not None]
    assert len(scores) == 3
    assert scores == sorted(scores, reverse=True)
    assert len({text.text for text in texts}) == 3
    best = model.generate(PROMPT, **options)
    assert (best.text, best.score) == (texts[0].text, scores[0])
    assert "score" in best.to_dict()
    for text in texts:  # length_penalty is 1: the score is the mean log-probability of a token
        logprobs = model.score([*text.prompt_ids, *text.new_ids]).logprobs[len(text.prompt_ids) :]
        total = sum(found.token for found in logprobs if found)
        assert text.score == pytest.approx(total / len(text.new_ids), abs=1e-4)


def test_stop_strings_and_functions_end_beams(demo: Callable[[str], Model]) -> None:
    model = demo("fp32")
    options: dict[str, Any] = {"num_beams": 3, "greedy": True, "max_new_tokens": 20}
    (whole,) = model.generate_sequences(PROMPT, **options)
    stop = whole.text[6:9]
    for text in model.generate_sequences(
        PROMPT, num_return_sequences=3, stop_strings=(stop,), **options
    ):
        assert stop not in text.text
        assert (text.finish_reason == "stop") == (text.stop_string == stop)
    length = len(whole.prompt_ids) + 4
    ended = model.generate(PROMPT, stopping=lambda ids: len(ids) == length, **options)
    assert (len(ended.new_ids), ended.finish_reason) == (4, "stop")


def test_a_search_that_draws_nothing_names_no_seed(demo: Callable[[str], Model]) -> None:
    model = demo("fp32")
    contrastive = model.generate(PROMPT, penalty_alpha=0.6, top_k=4, max_new_tokens=5)
    assert contrastive.seed is None
    assert model.generate(PROMPT, num_beams=2, greedy=True, max_new_tokens=5).seed is None
    sampled = model.generate(PROMPT, num_beams=2, max_new_tokens=5)
    again = model.generate(PROMPT, num_beams=2, max_new_tokens=5, seed=sampled.seed)
    assert sampled.new_ids == again.new_ids


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"greedy": True, "num_return_sequences": 2},
            "greedy texts are all alike: sample, or give",
        ),
        ({"temperature": 0, "num_return_sequences": 2}, "greedy texts are all alike"),
        ({"penalty_alpha": 0.5, "num_return_sequences": 2}, "greedy texts are all alike"),
        (
            {"num_beams": 2, "num_return_sequences": 3},
            "beam search with num_beams 2 gives 2 at most",
        ),
        ({"num_beams": 2, "mirostat_tau": 3.0}, "beam search has no mirostat_tau"),
        ({"num_beams": 2, "logprobs": 1}, "beam search has no logprobs"),
        ({"num_beams": 2, "max_time": 1}, "beam search has no max_time"),
        ({"num_beams": 2, "overflow": "slide"}, "beam search has no overflow"),
        ({"penalty_alpha": 0.5, "token_healing": True}, "contrastive search has no token_healing"),
        ({"penalty_alpha": 0.5, "prompt_logprobs": 0}, "contrastive search has no prompt_logprobs"),
    ],
    ids=str,
)
def test_what_a_search_cannot_give_is_refused(
    demo: Callable[[str], Model], options: dict[str, Any], message: str
) -> None:
    with pytest.raises(RequestError, match=message):
        demo("fp32").generate_sequences(PROMPT, **options)


@pytest.mark.parametrize(
    "options", [{"num_return_sequences": 2}, {"num_beams": 2}, {"penalty_alpha": 0.5}], ids=str
)
def test_streams_and_batches_have_no_several_texts(
    demo: Callable[[str], Model], options: dict[str, Any]
) -> None:
    model = demo("fp32")
    with pytest.raises(RequestError, match="gives whole texts: use generate_sequences"):
        model.stream(PROMPT, **options)
    with pytest.raises(RequestError, match="gives whole texts: use generate_sequences"):
        model.generate_batch([PROMPT], **options)


@pytest.mark.parametrize("options", [{"num_return_sequences": 2}, {"num_beams": 2}], ids=str)
def test_several_texts_use_no_draft_model(
    demo: Callable[[str], Model], options: dict[str, Any]
) -> None:
    with pytest.raises(RequestError, match="use no draft model: leave draft out"):
        demo("fp32").generate_sequences(PROMPT, draft=demo("draft"), **options)
