"""The demo in float32, and its pipelines."""

from collections.abc import Callable

import pytest

from gpt2xl import FeatureExtractionPipeline, Model, TextGenerationPipeline, pipeline


@pytest.fixture(scope="session")
def model(demo: Callable[[str], Model]) -> Model:
    return demo("fp32")


@pytest.fixture(scope="session")
def generator(model: Model) -> TextGenerationPipeline:
    return pipeline("text-generation", model=model)


@pytest.fixture(scope="session")
def extractor(model: Model) -> FeatureExtractionPipeline:
    return pipeline("feature-extraction", model=model)
