"""Load options are checked when they are made."""

from dataclasses import fields
from typing import get_type_hints

import pytest

from gpt2xl import RequestError
from gpt2xl.startup.options import LoadKeywords, LoadOptions


@pytest.mark.parametrize(
    ("keywords", "message"),
    [
        ({"provider": "x"}, "provider has to be one of cpu, cuda, auto, but is 'x'"),
        ({"threads": -1}, "threads has to be >= 0 .*, but is -1"),
        ({"threads": 1025}, "threads has to be <= 1024, but is 1025"),
    ],
)
def test_an_option_out_of_its_range_is_named(keywords: LoadKeywords, message: str) -> None:
    with pytest.raises(RequestError, match=message):
        LoadOptions(**keywords)


def test_keywords_are_the_fields() -> None:
    assert get_type_hints(LoadKeywords) == {
        field.name: get_type_hints(LoadOptions)[field.name] for field in fields(LoadOptions)
    }
