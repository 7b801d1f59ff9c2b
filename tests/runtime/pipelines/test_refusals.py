"""What pipeline calls refuse, and how they say it."""

from typing import Any

import pytest

from gpt2xl import Gpt2xlWarning, Model, RequestError, pipeline
from gpt2xl import TextGenerationPipeline as Generator


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("max_lenght", "did you mean 'max_length'"),
        ("num_return_sequence", "did you mean 'num_return_sequences'"),
        ("return_fulltext", "did you mean 'return_full_text'"),
        ("temperature_", "did you mean 'temperature'"),
        ("zzzzzz", "GenerationOptions"),
    ],
)
def test_an_unknown_option_names_the_closest_one(
    generator: Generator, model: Model, name: str, hint: str
) -> None:
    given: dict[str, Any] = {name: 1}
    for call in (
        lambda: generator("A", **given),
        lambda: pipeline("text-generation", model=model, **given),
        lambda: generator("A", generation_config=given),
    ):
        with pytest.raises(TypeError, match=hint if "full" not in name else "option"):
            call()


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"return_full_text": True, "return_tensors": True}, "exclude each other"),
    ({"return_text": True, "return_full_text": False}, "exclude each other"),
    ({"return_text": False}, "return_tensors=True"),
    ({"return_tensors": "pt"}, "True or False"),
    ({"do_sample": False, "num_return_sequences": 2}, "greedy texts are all alike"),
    ({"greedy": True, "do_sample": True}, "exclude each other"),
    ({"streamer": 1}, "Model.stream"),
    ({"output_scores": True}, "logprobs"),
    ({"logprobs": 3}, "logprobs"),
    ({"assistant_model": "demo"}, "draft"),
    ({"logits_processor": [1]}, "processors"),
    ({"stopping_criteria": [1]}, "stopping"),
    ({"watermarking_config": {"bias": 2.5}}, "no watermarks"),
    ({"force_words_ids": [[1]]}, "Grammar"),
    ({"encoder_repetition_penalty": 1.5}, "no encoder"),
    ({"tools": [{}]}, "no chat template"),
    ({"handle_long_generation": "cut"}, "'hole'"),
    ({"handle_long_generation": "hole", "max_new_tokens": 5000}, "smaller max_new_tokens"),
    ({"truncation": "left"}, "truncation has to be"),
    ({"tokenizer_encode_kwargs": {"stride": 3}}, "stride"),
    ({"generation_config": 3}, "to_dict"),
    ({"stop_sequence": "a", "stop_strings": ["b"]}, "same option"),
    ({"batch_size": 0}, "batch_size has to be"),
    ({"max_length": 2}, "prompt alone has"),
    ({"temperature": -1}, "temperature has to be"),
    ({"prefix": 3}, "prefix has to be"),
    ({"tokenizer": 1}, "leave tokenizer out"),
]


@pytest.mark.parametrize(("given", "message"), REFUSED, ids=lambda value: str(value))
def test_what_cannot_work_is_refused_in_one_line(
    generator: Generator, given: dict[str, Any], message: str
) -> None:
    with pytest.raises(RequestError, match=message) as error:
        generator("Once upon a time", **given)
    assert "\n" not in str(error.value)


CHAT = [{"role": "user", "content": "Hello"}]


@pytest.mark.parametrize("chat", [CHAT, [CHAT, CHAT], ["A", CHAT[0]]])
def test_chats_are_refused(generator: Generator, chat: Any) -> None:
    with pytest.raises(RequestError, match="no chat template"):
        generator(chat)
    with pytest.raises(RequestError, match="no chat template"):
        list(generator(iter(chat)))


@pytest.mark.parametrize("prompt", [None, 3, b"text", ["A", None], [["A"]]])
def test_what_is_no_prompt_is_refused(generator: Generator, prompt: Any) -> None:
    with pytest.raises(RequestError, match="prompt"):
        generator(prompt)


def test_values_that_ask_for_nothing_are_taken(generator: Generator) -> None:
    nothing: dict[str, Any] = {
        "use_cache": True, "output_scores": False, "encoder_repetition_penalty": 1.0, "padding": True, "num_workers": 4,
        "pad_token_id": 0, "streamer": None, "clean_up_tokenization_spaces": False, "tokenizer": generator.tokenizer,
    }  # fmt: skip
    wanted = generator("A", do_sample=False, max_new_tokens=4)
    assert generator("A", do_sample=False, max_new_tokens=4, **nothing) == wanted


def test_cleaning_up_warns(generator: Generator) -> None:
    with pytest.warns(Gpt2xlWarning, match="clean_up_tokenization_spaces has no effect"):
        generator("A", max_new_tokens=1, clean_up_tokenization_spaces=True)
