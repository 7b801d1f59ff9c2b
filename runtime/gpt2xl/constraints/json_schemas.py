"""JSON schemas: their text, the white space of what they describe, and a bound that llguidance ignores."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from gpt2xl.constraints.llguidance_api import llguidance, shown
from gpt2xl.errors import RequestError

EXCLUSIVE = ("exclusiveMinimum", "exclusiveMaximum")
BOUNDS = (*EXCLUSIVE, "minimum", "maximum")
DATA = frozenset(("const", "enum", "default", "examples"))  # their values are no schemas
LARGEST = 2**53  # integers up to it are exact as floats


def as_json(name: str, value: object) -> str:
    """``value`` as JSON; RequestError says that the ``name`` cannot be written so."""
    try:
        return json.dumps(dict(value) if isinstance(value, Mapping) else value, allow_nan=False)
    except (TypeError, ValueError, RecursionError) as reason:
        raise RequestError(f"the {name} cannot be written as JSON: {reason}.") from None


def schema_content(source: str) -> dict[str, Any]:
    """The schema that ``source`` spells; RequestError where it is none."""
    try:
        content = json.loads(source)
    except (ValueError, RecursionError) as reason:
        raise RequestError(f"the JSON schema {shown(source)} is not JSON: {reason}.") from None
    if not isinstance(content, dict):
        raise RequestError(f"a JSON schema has to be an object (a dict), but is {shown(source)}.")
    return content


def whitespace_options(most: object) -> dict[str, object]:
    """Llguidance's options for at most so many characters of white space; 0: as `json.dumps` writes.

    Raises:
        RequestError: not an integer >= 0.
    """
    if not isinstance(most, int) or most < 0:
        raise RequestError(f"max_whitespace has to be an integer >= 0, but is {most!r}.")
    if most:
        return {"whitespace_pattern": rf"[ \t\r\n]{{1,{most}}}"}
    return {"whitespace_flexible": False, "item_separator": ", ", "key_separator": ": "}


def ignored_bound(schema: dict[str, Any]) -> str | None:
    """What is wrong with an exclusive bound that llguidance would allow itself; None where there is none.

    llguidance 1.9.1 allows 10 where exclusiveMinimum is 10 and maximum is less than 11.
    """
    for part in _parts(schema):
        bounds = {name: part[name] for name in BOUNDS if _is_number(part.get(name))}
        for name in EXCLUSIVE:
            if name in bounds and (number := _allowed(bounds, bounds[name])):
                return (
                    f"llguidance would allow {number} in spite of {name} {bounds[name]};"
                    " move the bound a little, or make it inclusive"
                )
    return None


def _parts(schema: object) -> Iterator[dict[str, Any]]:
    waiting = [schema]
    while waiting:
        part = waiting.pop()
        if isinstance(part, dict):
            yield part
            waiting += [value for name, value in part.items() if name not in DATA]
        elif isinstance(part, list):
            waiting += part


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _allowed(bounds: dict[str, float], bound: float) -> str | None:
    """The text of ``bound`` where a number in ``bounds`` may be it."""
    if abs(bound) > LARGEST or bound != round(bound):
        return None  # it has digits, and these are compared rightly
    module = llguidance()
    grammar = module.LLMatcher.grammar_from_json_schema({"type": "number", **bounds})
    for text in (str(int(bound)), "-0" if bound == 0 else ""):
        matcher = module.LLMatcher(module.LLTokenizer("byte"), grammar, log_level=0)
        count = matcher.try_consume_tokens(list(text.encode()))
        if text and count == len(text) and matcher.is_accepting():
            return text
    return None
