"""Values of JSON files are of the required type, or refused."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gpt2xl import BundleError
from gpt2xl.files.json_values import Value, parse_json, read_json


def value(content: object) -> Value:
    return Value(content, Path("a.json"), BundleError, "b")


@pytest.mark.parametrize("text", ["NaN", "[-Infinity]", '{"a": 1e999}', "-1e999", "[" * 100_000])
def test_nan_infinity_and_deep_nesting_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"is not a number|nested too deep"):
        parse_json(text)


def test_valid_json_is_read(tmp_path: Path) -> None:
    content = '{"a": [1, -2.5e-3, "é\\ud800", null, true], "a": {"b": 1e300}}'
    (tmp_path / "f").write_text(content, "utf-8")
    assert read_json(tmp_path / "f", BundleError) == {"a": {"b": 1e300}}  # the last of a kind


def test_a_file_that_is_too_large_is_not_parsed(tmp_path: Path) -> None:
    with (tmp_path / "f").open("wb") as file:
        file.truncate(17 << 20)
    with pytest.raises(BundleError, match="f' is larger than the 16 MB"):
        read_json(tmp_path / "f", BundleError)


READERS: dict[str, tuple[Callable[[Value], object], str, list[Any], list[Any]]] = {
    "text": (Value.text, "a string", ["", "a"], [None, 1, True, [], {}]),
    "flag": (Value.flag, "true or false", [True, False], [None, 0, 1, "true", []]),
    "integer": (Value.integer, "an integer >= 0", [0, 7, 2**63 - 1], [-1, 1.0, True, None, "1"]),
    "number": (
        Value.number,
        "a number",
        [0, -1.5, 1e18],
        [None, True, "1", [1], float("nan"), float("inf"), 10**400],
    ),
}


@pytest.mark.parametrize("name", READERS)
def test_a_value_of_another_type_is_named_with_file_and_key(name: str) -> None:
    read, wanted, good, bad = READERS[name]
    for content in good:
        assert read(value(content)) == content
    for content in bad:
        with pytest.raises(BundleError, match=rf"^'a\.json': b has to be {wanted}, but is "):
            read(value(content))


def test_integers_have_limits() -> None:
    with pytest.raises(BundleError, match="b has to be a positive integer, but is 0"):
        value(0).integer(1)
    with pytest.raises(BundleError, match="b has to be at most 9, but is 10"):
        value(10).integer(1, 9)
    with pytest.raises(BundleError, match=r"b has to be at most 9, but is 1000\d*\.\.\.\d*\."):
        value(10**3000).integer(1, 9)


def test_errors_name_the_path_of_the_key() -> None:
    top = Value({"a": {"b": [1, "x"]}}, Path("a.json"), BundleError)
    with pytest.raises(BundleError, match=r"'a\.json': a\.b\[1\] has to be an integer >= 0"):
        [item.integer() for item in top.get("a").get("b").items()]
    with pytest.raises(BundleError, match=r"'a\.json': a\.c has to be a string, but is None"):
        top.get("a").get("c").text()
    with pytest.raises(BundleError, match=r"a\.b has to be an object, but is \[1, 'x'\]"):
        top.get("a").get("b").entries()
    with pytest.raises(BundleError, match="a has to be a list"):
        top.get("a").items()


def test_absent_objects_and_lists_are_empty() -> None:
    assert value(None).entries() == {}
    assert value(None).items() == []
    assert value({}).get("a", 3).integer() == 3


def test_a_long_value_is_shortened() -> None:
    with pytest.raises(BundleError) as caught:
        value(["x" * 10_000] * 10_000).text()
    assert len(str(caught.value)) < 400
