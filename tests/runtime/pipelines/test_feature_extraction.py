"""Features: nested lists, arrays and truncation; tests/torch compares them with transformers."""

from typing import Any

import numpy as np
import pytest

import gpt2xl
from gpt2xl import Model, RequestError, pipeline


def test_features_are_nested_lists_of_those_of_the_model(
    extractor: gpt2xl.FeatureExtractionPipeline, model: Model
) -> None:
    wanted = model.features("Once upon a time")
    assert extractor("Once upon a time") == [wanted.tolist()]
    assert extractor(["Once upon a time"]) == [[wanted.tolist()]]
    for tensors in ("np", True):
        array = extractor("Once upon a time", return_tensors=tensors)
        assert isinstance(array, np.ndarray)
        np.testing.assert_array_equal(array, wanted[None])
    assert extractor(model.tokenizer.encode("Once upon a time")) == [wanted.tolist()]


def test_features_of_long_texts_are_truncated_on_request(
    extractor: gpt2xl.FeatureExtractionPipeline,
) -> None:
    long = "The king " * extractor.model.config.n_positions
    with pytest.raises(RequestError, match="context"):
        extractor(long)
    assert np.shape(extractor(long, truncation=True))[1] == extractor.model.config.n_positions
    short = extractor(long, tokenize_kwargs={"truncation": True, "max_length": 3})
    assert np.shape(short)[1] == 3


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"return_tensors": "pt"}, "torch.from_numpy"),
        ({"truncation": True, "tokenize_kwargs": {"truncation": True}}, "given twice"),
        ({"tokenize_kwargs": {"stride": 3}}, "stride"),
    ],
)
def test_features_refuse_what_cannot_work(
    extractor: gpt2xl.FeatureExtractionPipeline, given: Any, message: str
) -> None:
    with pytest.raises(RequestError, match=message):
        extractor("A", **given)


def test_an_unknown_option_of_features_names_the_closest_one(model: Model) -> None:
    given: dict[str, Any] = {"return_tensor": True}
    with pytest.raises(TypeError, match="did you mean 'return_tensors'"):
        pipeline("feature-extraction", model=model, **given)
