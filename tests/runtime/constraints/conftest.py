"""Vocabularies of the demo and of GPT-2."""

from collections.abc import Callable
from pathlib import Path

import pytest

from gpt2xl import Model, Tokenizer
from gpt2xl.constraints.vocabulary import Vocabulary
from gpt2xl_export.tokenizer.source_tokenizer import read_source_tokenizer


@pytest.fixture(scope="session")
def model(demo: Callable[[str], Model]) -> Model:
    return demo("fp32")


@pytest.fixture(scope="session")
def vocabulary(model: Model) -> Vocabulary:
    """The demo's."""
    return Vocabulary(model.tokenizer, model.config.vocab_size)


@pytest.fixture(scope="session")
def genuine(genuine_files: Path) -> Vocabulary:
    """GPT-2's, with three ids more than its tokenizer has."""
    return Vocabulary(Tokenizer(read_source_tokenizer(genuine_files, 1024).json), 50260)
