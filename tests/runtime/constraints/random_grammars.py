"""Random regexes and JSON schemas, and what says whether a text fits them."""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from random import Random
from typing import Any

from gpt2xl.constraints.grammar import Grammar

Schema = dict[str, Any]
CHARACTERS = "abcxyzAZ019 _-.,:;/\\\"'#&~*(){}[]|^$\n\té\u4e2d😀"
META = frozenset("\\.+*?()|[]{}^$")
# Python and Rust agree on these; not on \w and \d, which follow different versions of Unicode.
CLASSES = (
    "[a-f]",
    "[0-9]",
    "[A-Z_]",
    "[^a-z]",
    '[^"\\\\\\n]',
    "[é-ü]",
    "[\\x00-\\x7f]",
    "\\s",
    ".",
)
BAD_REGEXES = ("(", "[z-a]", "(?=a)", "\\1", "a{3,1}", "(?<n>")
BAD_SCHEMAS: tuple[Schema, ...] = (
    {"type": "array", "uniqueItems": True},
    {"not": {"type": "string"}},
    {"oneOf": [{"type": "integer"}, {"type": "number"}]},
    {"type": "integer", "minimum": 3, "maximum": 1},
    {"type": "text"},
    {"$ref": "#/$defs/none"},
    {"type": "string", "pattern": "(?=a)"},
    {"enum": []},
)
FORMATS = {
    "date": r"\d{4}-\d\d-\d\d",
    "uuid": r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}",
    "ipv4": r"\d{1,3}(\.\d{1,3}){3}",
}
STRING = re.compile(r'"(?:\\.|[^"\\])*"')


@dataclass(frozen=True)
class Case:
    """A grammar that may be invalid, and whether a text fits it."""

    source: str
    make: Callable[[], Grammar]
    fits: Callable[[str], bool]


def random_case(rng: Random) -> Case:
    """Half of them regexes, half JSON schemas."""
    if rng.random() < 0.5:
        pattern = random_regex(rng, 3)
        if rng.random() < 0.05:
            pattern += rng.choice(BAD_REGEXES)
        return Case(
            pattern,
            lambda: Grammar.regex(pattern),
            lambda text: bool(re.fullmatch(pattern, text)),
        )
    schema, spaces = random_schema(rng, 3), rng.choice((0, 0, 3))
    if rng.random() < 0.5:
        schema["$defs"] = {"list": _list_of(random_schema(rng, 1))}
        schema = {"anyOf": [{"$ref": "#/$defs/list"}, {"type": "null"}], "$defs": schema["$defs"]}
    return Case(
        json.dumps(schema),
        lambda: Grammar.json_schema(schema, max_whitespace=spaces),
        lambda text: fits_schema(text, schema, spaces),
    )


def random_regex(rng: Random, depth: int) -> str:
    """A pattern that means the same in Python; nothing unbounded is repeated, which Python takes too long for."""
    if depth == 0:
        return _atom(rng)
    kind = rng.randrange(6)
    if kind < 3:
        return "".join(random_regex(rng, depth - 1) for _ in range(rng.randint(1, 3)))
    if kind == 3:
        parts = [random_regex(rng, depth - 1) for _ in range(rng.randint(2, 3))]
        return f"({'|'.join(parts)})"
    inner = _atom(rng) if rng.random() < 0.6 else f"(?:{random_regex(rng, depth - 1)})"
    least = rng.randint(0, 3)
    bounded = f"{{{least},{least + rng.randint(0, 3)}}}", f"{{{least}}}", "?"
    unbounded = "*", "+", f"{{{least},}}"
    is_long = any(mark in inner for mark in ("*", "+", ",}", "?", "{"))
    return inner + rng.choice(bounded if is_long else bounded + unbounded)


def _atom(rng: Random) -> str:
    if rng.random() < 0.4:
        return rng.choice(CLASSES)
    character = rng.choice(CHARACTERS)
    return "\\" + character if character in META else character


def random_schema(rng: Random, depth: int) -> Schema:
    """A schema of the kinds that llguidance supports, and some that it refuses."""
    if rng.random() < 0.02:
        return dict(rng.choice(BAD_SCHEMAS))
    simple = (_integer, _number, _string, _string, _constant, _type)
    nested = (_array, _object, _object, _any_of)
    if depth == 0 or rng.random() < 0.25:
        return rng.choice(simple)(rng)
    return rng.choice(nested)(rng, depth)


def _integer(rng: Random) -> Schema:
    schema: Schema = {"type": "integer"}
    least = rng.randint(-300, 300)
    if rng.random() < 0.6:
        schema[rng.choice(("minimum", "exclusiveMinimum"))] = least
    if rng.random() < 0.6:
        schema[rng.choice(("maximum", "exclusiveMaximum"))] = least + rng.randint(2, 2000)
    if rng.random() < 0.2:
        schema["multipleOf"] = rng.randint(1, 7)
    return schema


def _number(rng: Random) -> Schema:
    schema: Schema = {"type": "number"}
    least = rng.randint(-50, 50) / 4
    if rng.random() < 0.6:
        schema[rng.choice(("minimum", "exclusiveMinimum"))] = least
    if rng.random() < 0.6:
        schema[rng.choice(("maximum", "exclusiveMaximum"))] = least + rng.randint(1, 80) / 8
    return schema


def _string(rng: Random) -> Schema:
    kind = rng.randrange(4)
    if kind == 0:
        return {"type": "string", "format": rng.choice(list(FORMATS))}
    if kind == 1:
        return {"type": "string", "pattern": f"^(?:{random_regex(rng, 1)})$"}
    least = rng.randint(0, 4)
    return {"type": "string", "minLength": least, "maxLength": least + rng.randint(0, 12)}


def _constant(rng: Random) -> Schema:
    values: list[Any] = ["king", 'a "b"\n', "é😀", 7, -1.5, True, None, [1, {"a": []}], {"k": "v"}]
    if rng.random() < 0.3:
        return {"const": rng.choice(values)}
    return {"enum": rng.sample(values, rng.randint(1, 4))}


def _type(rng: Random) -> Schema:
    return rng.choice(
        [{"type": "boolean"}, {"type": "null"}, {"type": ["boolean", "integer"]}, {}, {"type": "object"}]
    )  # fmt: skip


def _array(rng: Random, depth: int) -> Schema:
    least = rng.randint(0, 2)
    schema: Schema = {"type": "array", "items": random_schema(rng, depth - 1), "minItems": least}
    if rng.random() < 0.7:
        schema["maxItems"] = least + rng.randint(0, 3)
    if rng.random() < 0.2:
        schema["prefixItems"] = [random_schema(rng, depth - 1)]
    return schema


def _object(rng: Random, depth: int) -> Schema:
    names = rng.sample(["a", "name", "the age", 'q"', "é", "x/y", ""], rng.randint(0, 4))
    schema: Schema = {
        "type": "object",
        "properties": {name: random_schema(rng, depth - 1) for name in names},
        "required": rng.sample(names, rng.randint(0, len(names))),
    }
    if rng.random() < 0.8:
        extra = rng.random() < 0.8
        schema["additionalProperties"] = False if extra else random_schema(rng, depth - 1)
    return schema


def _any_of(rng: Random, depth: int) -> Schema:
    return {"anyOf": [random_schema(rng, depth - 1) for _ in range(rng.randint(1, 3))]}


def _list_of(item: Schema) -> Schema:
    rest = {"anyOf": [{"type": "null"}, {"$ref": "#/$defs/list"}]}
    return {
        "type": "object",
        "properties": {"item": item, "rest": rest},
        "required": ["item", "rest"],
        "additionalProperties": False,
    }


def fits_schema(text: str, schema: Schema, max_whitespace: int) -> bool:
    """Whether ``text`` is JSON that ``schema`` describes, without more white space than that."""
    outside = STRING.sub("string", text)
    longest = max(map(len, re.findall(r"\s+", outside)), default=0)
    if longest > max(max_whitespace, 1) or (not max_whitespace and "\n" in outside):
        return False
    return _fits(json.loads(text, parse_float=_decimal), schema, schema.get("$defs", {}))


def _decimal(text: str) -> Decimal:
    try:
        return Decimal(text)
    except InvalidOperation:  # an exponent of 18 digits and more
        return Decimal("-Infinity" if text.startswith("-") else "Infinity")


def _fits(value: Any, schema: Schema, defs: Schema) -> bool:
    if "$ref" in schema:
        return _fits(value, defs[schema["$ref"].rpartition("/")[2]], defs)
    if "anyOf" in schema:
        return any(_fits(value, one, defs) for one in schema["anyOf"])
    if "const" in schema:
        return _same(value, schema["const"])
    if "enum" in schema:
        return any(_same(value, one) for one in schema["enum"])
    kinds = schema.get("type", [])
    if kinds and not any(
        _is(value, kind) for kind in ([kinds] if isinstance(kinds, str) else kinds)
    ):
        return False
    if isinstance(value, str):
        return _string_fits(value, schema)
    if isinstance(value, list):
        return _array_fits(value, schema, defs)
    if isinstance(value, dict):
        return _object_fits(value, schema, defs)
    return not isinstance(value, int | Decimal) or _number_fits(Decimal(value), schema)


def _is(value: Any, kind: str) -> bool:
    types: dict[str, tuple[type, ...]] = {
        "string": (str,), "integer": (int,), "number": (int, Decimal), "boolean": (bool,),
        "null": (type(None),), "array": (list,), "object": (dict,),
    }  # fmt: skip
    return isinstance(value, types[kind]) and (kind == "boolean" or not isinstance(value, bool))


def _same(first: Any, second: Any) -> bool:
    return bool(first == second) and isinstance(first, bool) == isinstance(second, bool)


def _string_fits(value: str, schema: Schema) -> bool:
    return (
        schema.get("minLength", 0) <= len(value) <= schema.get("maxLength", len(value))
        and ("pattern" not in schema or bool(re.search(schema["pattern"], value)))
        and ("format" not in schema or bool(re.fullmatch(FORMATS[schema["format"]], value)))
    )


def _number_fits(value: Decimal, schema: Schema) -> bool:
    limits: dict[str, Callable[[Decimal], bool]] = {
        "minimum": lambda limit: value >= limit,
        "exclusiveMinimum": lambda limit: value > limit,
        "maximum": lambda limit: value <= limit,
        "exclusiveMaximum": lambda limit: value < limit,
        "multipleOf": lambda factor: int(value) % int(factor) == 0,  # of integers only
    }
    return all(limits[key](Decimal(number)) for key, number in schema.items() if key in limits)


def _array_fits(value: list[Any], schema: Schema, defs: Schema) -> bool:
    first = schema.get("prefixItems", [])
    rest = schema.get("items", {})
    wanted = [*first, *[rest] * len(value)]
    return schema.get("minItems", 0) <= len(value) <= schema.get("maxItems", len(value)) and all(
        _fits(item, one, defs) for item, one in zip(value, wanted, strict=False)
    )


def _object_fits(value: dict[str, Any], schema: Schema, defs: Schema) -> bool:
    named, extra = schema.get("properties", {}), schema.get("additionalProperties", {})
    if not {*schema.get("required", [])} <= value.keys():
        return False
    return all(
        _fits(item, named[name], defs) if name in named else extra is not False and _fits(item, extra, defs)
        for name, item in value.items()
    )  # fmt: skip
