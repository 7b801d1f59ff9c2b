from collections.abc import Callable

import pytest

from gpt2xl.constraints.grammar import Grammar
from gpt2xl.errors import Gpt2xlWarning, RequestError

pytest.importorskip("llguidance", reason="the extra 'grammar' is not installed")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Grammar.regex("a(b"), "the regex 'a(b' is refused: unclosed group, at '(b'."),
        (lambda: Grammar.regex("a(?=b)"), "look-ahead and look-behind, is not supported, at '(?=b)'"),
        (
            lambda: Grammar.regex(7),  # type: ignore[arg-type]
            "a regex has to be a str, but is 7.",
        ),
        (lambda: Grammar.regex("\ud800"), "is not valid Unicode: it holds a lone surrogate."),
        (lambda: Grammar.json_schema("{"), "the JSON schema '{' is not JSON: Expecting property name"),
        (lambda: Grammar.json_schema('{"minimum": NaN}'), "is refused: "),
        (lambda: Grammar.json_schema({"minimum": float("inf")}), "cannot be written as JSON"),
        (lambda: Grammar.json_schema({"pattern": "\ud800"}), "is refused: "),
        (lambda: Grammar.json_schema('{"a":' * 200 + "1" + "}" * 200), "is refused: "),
        (lambda: Grammar.json_schema('{"a":' * 99999), "is not JSON: maximum recursion depth"),
        (lambda: Grammar.json_schema("[1]"), "a JSON schema has to be an object (a dict), but is '[1]'."),
        (lambda: Grammar.json_schema({"type": {1}}), "the schema cannot be written as JSON"),
        (
            lambda: Grammar.json_schema({"type": "text"}),
            "the JSON schema '{\"type\": \"text\"}' is refused: Invalid type: text.",
        ),
        (lambda: Grammar.json_schema({"uniqueItems": True}), 'Unimplemented keys: ["uniqueItems"].'),
        (
            lambda: Grammar.json_schema({"type": "integer", "minimum": 3, "maximum": 1}),
            "Unsatisfiable schema: minimum (3) is greater than maximum (1).",
        ),
        (
            lambda: Grammar.json_schema({}, max_whitespace=-1),
            "max_whitespace has to be an integer >= 0, but is -1.",
        ),
        (lambda: Grammar.choice([]), "choices have to be a list of texts, but are []."),
        (
            lambda: Grammar.choice(3),  # type: ignore[arg-type]
            "choices have to be a list of texts, but are 3.",
        ),
        (lambda: Grammar.choice("yes"), "choices have to be a list of texts, but are 'yes'."),
        (
            lambda: Grammar.choice(["a", 1]),  # type: ignore[list-item]
            "a choice has to be a str, but is 1.",
        ),
        (lambda: Grammar.lark("start: a\n"), 'is refused: line 1, column 8: unknown name: "a".'),
        (lambda: Grammar.lark("start: /a(/"), "is refused: unclosed group, at '('."),
        (lambda: Grammar.lark('begin: "a"'), "is refused: no start rule found."),
        (lambda: Grammar.gbnf('root = "a"'), "Expected ::= at line 1, 'root ' ^ '= \"a\"'."),
        (lambda: Grammar.gbnf("root ::= x"), "is refused: Rule 'x' not found."),
        (lambda: Grammar.gbnf('root ::= "a\\'), "is refused: it ends in the middle of a rule."),
        (lambda: Grammar.gbnf("root ::= " + "(" * 5000), "is refused: it is nested too deeply."),
    ],
)  # fmt: skip
def test_an_invalid_grammar_is_refused_with_its_fault(
    make: Callable[[], Grammar], message: str
) -> None:
    with pytest.raises(RequestError) as error:
        make()
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("bounds", "is_refused"),
    [
        ({"exclusiveMinimum": 10, "maximum": 10.5}, True),
        ({"exclusiveMinimum": 10, "maximum": 12.5}, False),
        ({"exclusiveMinimum": -1.75, "exclusiveMaximum": -1.0}, True),
        ({"exclusiveMaximum": 0, "minimum": -0.5}, True),
        ({"exclusiveMinimum": 10.25, "maximum": 10.5}, False),
    ],
)
def test_exclusive_bounds_that_llguidance_ignores_are_refused(
    bounds: dict[str, float], is_refused: bool
) -> None:
    schema = {"type": "array", "items": {"type": "number", **bounds}}
    if is_refused:
        with pytest.raises(
            RequestError, match=r"llguidance would allow -?\d+ in spite of exclusiveM"
        ):
            Grammar.json_schema(schema)
    else:
        Grammar.json_schema(schema)
    Grammar.json_schema({"const": bounds})  # data, not a schema


def test_what_a_lenient_schema_ignores_is_warned_of() -> None:
    schema = {"type": "array", "uniqueItems": True, "x-guidance": {"lenient": True}}
    with pytest.warns(Gpt2xlWarning, match="Unimplemented keys"):
        Grammar.json_schema(schema)


def test_a_schema_may_be_a_dict_or_its_text() -> None:
    from_dict = Grammar.json_schema({"type": "integer"})
    assert Grammar.json_schema('{"type": "integer"}') == from_dict
    assert hash(from_dict) == hash(Grammar.json_schema({"type": "integer"}))


def test_without_llguidance_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "llguidance", None)
    with pytest.raises(RequestError, match=r"pip install 'gpt2xl\[grammar\]'"):
        Grammar.regex("a")
