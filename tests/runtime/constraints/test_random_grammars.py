import pytest
from tests.runtime.constraints.following import Follower, Found
from tests.runtime.constraints.random_grammars import fits_schema

from gpt2xl import Model
from gpt2xl.constraints.vocabulary import Vocabulary

pytest.importorskip("llguidance", reason="the extra 'grammar' is not installed")


def check(vocabulary: Vocabulary, eos_id: int) -> None:
    found, follower = Found(), Follower(vocabulary, (eos_id,))
    for seed in range(200):
        follower.follow(seed, found)
    assert found.notes == []
    assert found.total("complete") > 120
    assert found.total("refused") < 40


def test_random_grammars_with_the_demos_tokenizer(model: Model, vocabulary: Vocabulary) -> None:
    (eos_id,) = model.config.eos_token_ids
    check(vocabulary, eos_id)


def test_random_grammars_with_gpt2s_tokenizer(genuine: Vocabulary) -> None:
    check(genuine, 50256)


@pytest.mark.parametrize(
    ("text", "schema", "fits"),
    [
        ("7", {"type": "integer", "maximum": 7}, True),
        ("8", {"type": "integer", "maximum": 7}, False),
        ("true", {"type": "integer"}, False),
        ("1", {"enum": [True]}, False),
        ('{"a":  1}', {}, False),
        ('{"a": "  "}', {}, True),
        ('{"b": 1}', {"properties": {}, "additionalProperties": False}, False),
        ('{"a": 1}', {"required": ["b"]}, False),
        ('"abc"', {"type": "string", "maxLength": 2}, False),
        ("[1, 2]", {"items": {"type": "integer"}, "maxItems": 1}, False),
        ("null", {"anyOf": [{"$ref": "#/$defs/x"}], "$defs": {"x": {"type": "null"}}}, True),
    ],
)
def test_the_checker_of_schemas(text: str, schema: dict[str, object], fits: bool) -> None:
    assert fits_schema(text, schema, 0) == fits
