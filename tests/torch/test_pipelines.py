"""Pipelines compared with transformers' own on the demo: greedy texts, shapes and keys of every form of call."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gpt2xl
from gpt2xl_export.exporting import export

torch = pytest.importorskip("torch", reason="parity with transformers needs torch")
transformers = pytest.importorskip("transformers", reason="parity with transformers needs it")

DEMO = Path(__file__).parents[2] / "models" / "demo"
PROMPT = "Once upon a time , there"
GREEDY: dict[str, Any] = {"do_sample": False, "max_new_tokens": 12}
Pipelines = tuple[Any, Any]
pytestmark = [
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning:transformers"),
]


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("pipelines") / "demo"
    export(DEMO, out)
    return out


@pytest.fixture(scope="module")
def generators(bundle: Path) -> Pipelines:
    """Ours and theirs."""
    theirs = transformers.pipeline(
        "text-generation", model=str(DEMO), device="cpu", dtype=torch.float32
    )
    return gpt2xl.pipeline("text-generation", model=bundle), theirs


@pytest.fixture(scope="module")
def extractors(bundle: Path) -> Pipelines:
    """Ours and theirs."""
    theirs = transformers.pipeline(
        "feature-extraction", model=str(DEMO), device="cpu", dtype=torch.float32
    )
    return gpt2xl.pipeline("feature-extraction", model=bundle), theirs


CALLS: list[dict[str, Any]] = [
    {},
    {"return_full_text": True},
    {"return_full_text": False},
    {"return_text": True},
    {"return_tensors": True},
    {"max_new_tokens": None, "max_length": 20, "min_new_tokens": 2},
    {"prefix": "Hello , "},
    {"skip_special_tokens": False},
    {"clean_up_tokenization_spaces": False},
    {"repetition_penalty": 1.3, "no_repeat_ngram_size": 3},
    {"num_beams": 3, "num_return_sequences": 2},
    {"num_beams": 3, "num_return_sequences": 3, "return_tensors": True, "early_stopping": True},
    {"truncation": True, "tokenizer_encode_kwargs": {"max_length": 5}},
    {"truncation": True},
    {"handle_long_generation": "hole"},
    {"add_special_tokens": False},
    {"use_cache": True, "pad_token_id": 4351, "num_workers": 1},
    {"suppress_tokens": [220, 11], "bad_words_ids": [[258]]},
]


@pytest.mark.parametrize("call", CALLS, ids=str)
@pytest.mark.parametrize("inputs", [PROMPT, [PROMPT, "The king said", "A"]], ids=["one", "several"])
def test_greedy_texts_and_their_structure_are_those_of_transformers(
    generators: Pipelines, inputs: Any, call: dict[str, Any]
) -> None:
    ours, theirs = generators
    given = {name: value for name, value in (GREEDY | call).items() if value is not None}
    if "max_length" in given and transformers.__version__ < "5":
        wanted = theirs(inputs, **given, max_new_tokens=None)  # its default would win
    else:
        wanted = theirs(inputs, **given)
    assert ours(inputs, **given) == wanted


def test_the_default_length_and_an_empty_prompt_are_those_of_transformers(
    generators: Pipelines,
) -> None:
    ours, theirs = generators
    assert ours("The king", do_sample=False) == theirs("The king", do_sample=False)
    assert ours("", **GREEDY) == theirs("", **GREEDY)


def test_an_iterator_gives_an_iterator(generators: Pipelines) -> None:
    prompts = ["One day", "The king", "A"]
    ours, theirs = (p((text for text in prompts), **GREEDY) for p in generators)
    assert not isinstance(ours, list)
    assert not isinstance(theirs, list)
    assert list(ours) == list(theirs)


def test_hole_drops_the_same_tokens(generators: Pipelines) -> None:
    long = "The king said to his daughter, go into the wood. " * 60
    ours, theirs = (p(long, **GREEDY, handle_long_generation="hole") for p in generators)
    assert ours == theirs


@pytest.mark.parametrize(
    "fields",
    [
        {"do_sample": False, "max_new_tokens": 9},
        {"num_beams": 2, "do_sample": False, "max_length": 18, "length_penalty": 0.5},
        {
            "do_sample": False,
            "max_new_tokens": 9,
            "repetition_penalty": 1.5,
            "suppress_tokens": [11],
        },
    ],
    ids=str,
)
def test_a_generation_config_of_transformers_is_taken(
    generators: Pipelines, fields: dict[str, Any]
) -> None:
    ours, theirs = generators
    config = transformers.GenerationConfig(**fields, eos_token_id=4351, pad_token_id=4351)
    wanted = theirs(PROMPT, generation_config=config)
    assert ours(PROMPT, generation_config=config) == wanted
    assert ours(PROMPT, generation_config=fields) == wanted


@pytest.mark.parametrize("several", [1, 3])
@pytest.mark.parametrize("inputs", [PROMPT, [PROMPT, "A"]], ids=["one", "several"])
def test_sampled_texts_have_the_same_structure(
    generators: Pipelines, inputs: Any, several: int
) -> None:
    ours, theirs = (p(inputs, max_new_tokens=5, num_return_sequences=several) for p in generators)
    assert shape_of(ours) == shape_of(theirs)


def shape_of(result: Any) -> Any:
    """Lists and keys, without the texts."""
    if isinstance(result, list):
        return [shape_of(item) for item in result]
    return sorted(result) if isinstance(result, dict) else type(result)


ENDS: list[dict[str, Any]] = [{}, {"return_tensors": True}, {"skip_special_tokens": False}]


@pytest.mark.parametrize("call", ENDS, ids=str)
def test_end_of_text_is_where_transformers_has_it(
    generators: Pipelines, call: dict[str, Any]
) -> None:
    ours, theirs = generators
    ending = {"sequence_bias": {(4351,): 100.0}, "min_new_tokens": 3}
    for given in (
        ending,
        {"eos_token_id": 307, "pad_token_id": 307},
    ):  # 307 is " was", no special token
        assert ours(PROMPT, **GREEDY, **call, **given) == theirs(PROMPT, **GREEDY, **call, **given)


TEXTS = ["Once upon a time", "The king said to his daughter, go.", "A"]


@pytest.mark.parametrize("text", TEXTS)
def test_features_are_those_of_transformers(extractors: Pipelines, text: str) -> None:
    ours, theirs = (extractor(text) for extractor in extractors)
    assert np.shape(ours) == np.shape(theirs)
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-4)
    array = extractors[0](text, return_tensors="np")
    assert array.dtype == np.float32
    tensor = extractors[1](text, return_tensors=True)
    np.testing.assert_allclose(array, tensor.numpy(), rtol=0, atol=1e-4)


def test_features_of_several_texts_are_a_list(extractors: Pipelines) -> None:
    ours, theirs = (extractor(TEXTS) for extractor in extractors)
    assert [np.shape(one) for one in ours] == [np.shape(one) for one in theirs]
    for one, other in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=1e-4)


def test_features_are_truncated_as_in_transformers(extractors: Pipelines) -> None:
    given: dict[str, Any] = {"tokenize_kwargs": {"truncation": True, "max_length": 3}}
    ours, theirs = (extractor(TEXTS[1], **given) for extractor in extractors)
    assert np.shape(ours) == np.shape(theirs)
    assert np.shape(ours)[:2] == (1, 3)
